/* SPDX-License-Identifier: GPL-2.0-only */
/* view_internal - what view.c (index) and view_read.c (content) share. */
#ifndef BLKSHIP_VIEW_INTERNAL_H
#define BLKSHIP_VIEW_INTERNAL_H

#include <stdbool.h>

#include "view.h"

/* A stretch of a volume, and where its content lies. */
struct view_piece {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint64_t unit_offset;	/* in the segment file */
	uint32_t segment;
	uint32_t data_offset;	/* EXTENT_DATA: of this piece, in the unit's data */
	uint8_t kind;		/* enum extent_kind */
};

struct view_volume {
	uint16_t id;
	uint64_t size_bytes;
	size_t first, nr;	/* of its pieces */
};

/* An unpacked unit. */
struct view_unit {
	uint64_t unit_offset;
	uint32_t segment;	/* 0: empty */
	uint32_t data_bytes;
	uint64_t used;		/* when, for the oldest to go */
	uint8_t *data;
};

struct view_file {
	uint32_t segment;
	struct env_file *file;
};

#define VIEW_SETS	128	/* a unit has its place in one of them */
#define VIEW_WAYS	4	/* 512 units: 32 MiB, as far as used */
#define VIEW_FILES	32
#define VIEW_WINDOW_BYTES (1u << 20)

struct view {
	struct env *env;
	char *dir;
	struct view_volume *volumes;
	size_t nr_volumes, max_volumes;
	struct view_piece *pieces;	/* by volume, offset */
	size_t nr_pieces, max_pieces;

	/* view_read.c */
	struct view_unit units[VIEW_SETS][VIEW_WAYS];
	uint64_t clock;
	struct view_file files[VIEW_FILES];
	uint8_t *window;	/* part of a segment file */
	uint32_t window_segment;
	uint64_t window_offset;
	size_t window_bytes;
};

/* The first piece of a volume that ends past @offset_bytes; index into its pieces. */
size_t view_find(const struct view *v, const struct view_volume *volume, uint64_t offset_bytes);
const struct view_volume *view_volume(const struct view *v, uint16_t id);
void view_read_fini(struct view *v);
/* An unpacked and checked unit, good until the next call. */
int view_unit_get(struct view *v, uint32_t segment, uint64_t offset, struct view_unit **out);

#endif
