/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * join - ranges of volumes that are one, end to end or in stripes: a logical volume, for example.
 *
 * Pure. Fed by what the plugin is told; says where a byte of the whole lies.
 */
#ifndef BLKSHIP_JOIN_H
#define BLKSHIP_JOIN_H

#include <stddef.h>

#include "../lib/name.h"
#include "export.h"

#define JOIN_MAX_PIECES	256

struct join_piece {
	char name[NAME_BYTES];			/* of the volume */
	const struct export_volume *volume;	/* filled in when it is known */
	uint64_t offset_bytes, length_bytes;	/* in it; multiples of 512 */
	/* It and those beside it: a stripe of each in turn, and again. Alone it is one stripe. */
	uint32_t nr_stripes;
	uint64_t stripe_bytes;
};

struct join {
	struct join_piece pieces[JOIN_MAX_PIECES];
	size_t nr;
	/* As join_stripe() was told; and how many of them are still to come. */
	uint32_t nr_stripes, nr_wanted;
	uint64_t stripe_bytes;
	struct export_volume whole;		/* as if it were one of the group's */
};

/**
 * join_add - "VOLUME:OFFSET:BYTES" comes next
 * Return: 0; -EINVAL, also of a piece of stripes that is not as long as the first of them, or no
 * multiple of a stripe; -E2BIG too many, or too large.
 */
int join_add(struct join *join, const char *text);

/**
 * join_stripe - "NUMBER:BYTES": so many pieces come next, in stripes of BYTES
 * Return: 0; -EINVAL, also when pieces of others are still to come; -E2BIG.
 */
int join_stripe(struct join *join, const char *text);

/**
 * join_at - where a byte of the whole lies
 * @join: with at least one piece, and none to come
 * @offset_bytes: less than its size
 * @bytes: out, from there on in one range of the same piece, up to what it was
 * Return: the piece, and *offset_bytes is the place in its volume.
 */
const struct join_piece *join_at(const struct join *join, uint64_t *offset_bytes, uint64_t *bytes);

#endif
