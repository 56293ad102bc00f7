// SPDX-License-Identifier: GPL-2.0-only
/* pack_kept - the cuts that were kept when a pack was made, as its tables have them. */
#include "pack_kept.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"

#define NUMBER_BYTES	10	/* of 7 bits each */

static bool number_put(struct pack_kept *k, size_t *max, uint64_t n)
{
	if (!array_reserve(&k->bytes, max, k->nr_bytes + NUMBER_BYTES))
		return false;
	for (; n >= 0x80; n >>= 7)
		k->bytes[k->nr_bytes++] = n | 0x80;
	k->bytes[k->nr_bytes++] = n;
	return true;
}

int pack_kept_encode(const struct thin_cuts *cuts, struct pack_kept *out)
{
	struct pack_kept k = { 0 };
	uint64_t before = 0;
	size_t max = 0;
	bool put = true;

	for (size_t i = 0; i < cuts->nr && cuts->cuts[i] < cuts->settled_cut && put; i++) {
		put = number_put(&k, &max, cuts->cuts[i] - before);
		before = cuts->cuts[i];
	}
	if (!put || !number_put(&k, &max, cuts->settled_cut - before)) {
		free(k.bytes);
		return -ENOMEM;
	}
	*out = k;
	return 0;
}

/* How many bytes it has; 0: it is none. */
static size_t number_get(const uint8_t *bytes, size_t nr_bytes, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < nr_bytes && i < NUMBER_BYTES; i++) {
		uint64_t bits = bytes[i] & 0x7f;

		if (bits << 7 * i >> 7 * i != bits)
			return 0;
		n |= bits << 7 * i;
		if (!(bytes[i] & 0x80)) {
			*out = n;
			return i + 1;
		}
	}
	return 0;
}

int pack_kept_decode(const uint8_t *bytes, size_t nr_bytes, uint64_t **cuts, size_t *nr)
{
	uint64_t *items = NULL, last = 0, more;
	size_t kept = 0, max = 0, at = 0, length;
	int ret = nr_bytes ? 0 : -EBADMSG;

	for (; at < nr_bytes && !ret; at += length) {
		length = number_get(bytes + at, nr_bytes - at, &more);
		if (!length || !more || last + more < last) {
			ret = -EBADMSG;
		} else if (!array_reserve(&items, &max, kept + 1)) {
			ret = -ENOMEM;
		} else {
			last += more;
			items[kept++] = last;
		}
	}
	if (ret) {
		free(items);
		return ret;
	}
	*cuts = items;
	*nr = kept;
	return 0;
}
