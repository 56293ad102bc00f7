/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_kept - the cuts that were kept when a pack was made, as its tables have them.
 *
 * Pure; docs/PACK.md, "The tables". They say which points its data are whole for, so that the
 * points file can be made again (points_build.c).
 */
#ifndef BLKSHIP_PACK_KEPT_H
#define BLKSHIP_PACK_KEPT_H

#include "thin.h"

struct pack_kept {
	uint8_t *bytes;
	size_t nr_bytes;
};

/**
 * pack_kept_encode - the cuts up to the settled one, which counts as kept
 * @out: bytes allocated; free() them
 * Return: 0; -ENOMEM.
 */
int pack_kept_encode(const struct thin_cuts *cuts, struct pack_kept *out);

/**
 * pack_kept_decode - the reverse
 * @cuts: out, allocated, rising, at least one; the last is the settled one; free() them
 * Return: 0; -EBADMSG; -ENOMEM.
 */
int pack_kept_decode(const uint8_t *bytes, size_t nr_bytes, uint64_t **cuts, size_t *nr);

#endif
