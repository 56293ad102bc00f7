// SPDX-License-Identifier: GPL-2.0-only
/* join - ranges of volumes that are one, end to end. */
#include "join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/segment_format.h"

/* Digits up to @end; a multiple of 512. */
static bool number_get(const char **at, char end, uint64_t *out)
{
	char *stop;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*out = strtoull(*at, &stop, 10);
	if (errno || *stop != end || *out % SECTOR_BYTES)
		return false;
	*at = stop + 1;
	return true;
}

int join_add(struct join *join, const char *text)
{
	struct join_piece p = { .volume = NULL };
	const char *colon = strchr(text, ':');

	if (!colon || colon - text >= NAME_BYTES)
		return -EINVAL;
	memcpy(p.name, text, colon - text);
	text = colon + 1;
	if (!name_valid(p.name) || !number_get(&text, ':', &p.offset_bytes) ||
	    !number_get(&text, 0, &p.length_bytes) || !p.length_bytes)
		return -EINVAL;
	if (join->nr == JOIN_MAX_PIECES || p.length_bytes > INT64_MAX - join->whole.size_bytes ||
	    p.offset_bytes > INT64_MAX - p.length_bytes)
		return -E2BIG;
	join->pieces[join->nr++] = p;
	join->whole.size_bytes += p.length_bytes;
	return 0;
}

const struct join_piece *join_at(const struct join *join, uint64_t *offset_bytes, uint64_t *bytes)
{
	const struct join_piece *p = join->pieces;
	uint64_t at = *offset_bytes;

	while (at >= p->length_bytes)
		at -= p++->length_bytes;
	if (*bytes > p->length_bytes - at)
		*bytes = p->length_bytes - at;
	*offset_bytes = p->offset_bytes + at;
	return p;
}
