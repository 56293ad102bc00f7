/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * join - ranges of volumes that are one, end to end: a logical volume, for example.
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
};

struct join {
	struct join_piece pieces[JOIN_MAX_PIECES];
	size_t nr;
	struct export_volume whole;		/* as if it were one of the group's */
};

/** join_add - "VOLUME:OFFSET:BYTES" comes next. 0; -EINVAL; -E2BIG too many, or too large */
int join_add(struct join *join, const char *text);

/**
 * join_at - where a byte of the whole lies
 * @bytes: out, from there on in the same piece, up to what it was
 * Return: the piece, and *offset_bytes is the place in its volume.
 */
const struct join_piece *join_at(const struct join *join, uint64_t *offset_bytes, uint64_t *bytes);

#endif
