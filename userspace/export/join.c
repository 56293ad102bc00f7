// SPDX-License-Identifier: GPL-2.0-only
/* join - ranges of volumes that are one, end to end or in stripes. */
#include "join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/segment_format.h"

/* Digits up to @end. */
static bool number_get(const char **at, char end, uint64_t *out)
{
	char *stop;

	if (**at < '0' || **at > '9')
		return false;
	errno = 0;
	*out = strtoull(*at, &stop, 10);
	if (errno || *stop != end)
		return false;
	*at = stop + 1;
	return true;
}

static bool sectors_get(const char **at, char end, uint64_t *out_bytes)
{
	return number_get(at, end, out_bytes) && *out_bytes % SECTOR_BYTES == 0;
}

int join_stripe(struct join *join, const char *text)
{
	uint64_t nr, stripe_bytes;

	if (join->nr_wanted || !number_get(&text, ':', &nr) || nr < 2 ||
	    !sectors_get(&text, 0, &stripe_bytes) || !stripe_bytes)
		return -EINVAL;
	if (nr > JOIN_MAX_PIECES - join->nr)
		return -E2BIG;
	join->nr_stripes = join->nr_wanted = nr;
	join->stripe_bytes = stripe_bytes;
	return 0;
}

/* Of the stripes that were announced, as long as the piece before it; or alone, one stripe. */
static bool stripe_take(const struct join *join, struct join_piece *p)
{
	p->nr_stripes = join->nr_wanted ? join->nr_stripes : 1;
	p->stripe_bytes = join->nr_wanted ? join->stripe_bytes : p->length_bytes;
	return p->length_bytes % p->stripe_bytes == 0 &&
	       (!join->nr_wanted || join->nr_wanted == join->nr_stripes ||
		p->length_bytes == join->pieces[join->nr - 1].length_bytes);
}

int join_add(struct join *join, const char *text)
{
	struct join_piece p = { .volume = NULL };
	const char *colon = strchr(text, ':');

	if (!colon || colon - text >= NAME_BYTES)
		return -EINVAL;
	memcpy(p.name, text, colon - text);
	text = colon + 1;
	if (!name_valid(p.name) || !sectors_get(&text, ':', &p.offset_bytes) ||
	    !sectors_get(&text, 0, &p.length_bytes) || !p.length_bytes || !stripe_take(join, &p))
		return -EINVAL;
	if (join->nr == JOIN_MAX_PIECES || p.length_bytes > INT64_MAX - join->whole.size_bytes ||
	    p.offset_bytes > INT64_MAX - p.length_bytes)
		return -E2BIG;
	join->pieces[join->nr++] = p;
	join->whole.size_bytes += p.length_bytes;
	if (join->nr_wanted)
		join->nr_wanted--;
	return 0;
}

const struct join_piece *join_at(const struct join *join, uint64_t *offset_bytes, uint64_t *bytes)
{
	const struct join_piece *p = join->pieces;
	uint64_t at = *offset_bytes, stripe, in_stripe;

	while (at >= p->nr_stripes * p->length_bytes) {
		at -= p->nr_stripes * p->length_bytes;
		p += p->nr_stripes;
	}
	stripe = at / p->stripe_bytes;
	in_stripe = at % p->stripe_bytes;
	if (*bytes > p->stripe_bytes - in_stripe)
		*bytes = p->stripe_bytes - in_stripe;
	at = stripe / p->nr_stripes * p->stripe_bytes + in_stripe;
	p += stripe % p->nr_stripes;
	*offset_bytes = p->offset_bytes + at;
	return p;
}
