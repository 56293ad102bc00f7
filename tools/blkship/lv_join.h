/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lv_join - logical volumes in several pieces, which may lie on several volumes of a group; mirrors.
 *
 * What is found on each volume is noted; when all have been looked at it can be said where the
 * pieces lie.
 */
#ifndef BLKSHIP_LV_JOIN_H
#define BLKSHIP_LV_JOIN_H

#include <jansson.h>

#include "../../userspace/lib/name.h"
#include "content.h"

#define LV_JOIN_MAX 64	/* logical volumes: each is a server of its own */

struct lv_join_pv {
	char id[LVM_ID_BYTES];
	char volume[NAME_BYTES];
	char *file;
	uint64_t offset_bytes, length_bytes;	/* in it */
};

struct lv_join_lv {
	char volume[NAME_BYTES];	/* where it begins */
	char lv[CONTENT_LV_BYTES];
	json_t *row;			/* the caller's: what is told of it */
	struct lvm_piece *pieces;
	size_t nr_pieces;
	struct lvm_piece *metas;	/* of a mirror */
	size_t nr_metas;
};

struct lv_join {
	struct lv_join_pv *pvs;
	size_t nr_pvs, max_pvs;
	struct lv_join_lv *lvs;
	size_t nr_lvs, max_lvs;
};

void lv_join_fini(struct lv_join *join);

/** lv_join_note - a content of a volume: kept if it matters here; 0 or -ENOMEM
 * @file: where the volume is to be read
 * @c: its pieces are taken over
 * @row: borrowed until lv_join_fini() */
int lv_join_note(struct lv_join *join, const char *volume, const char *file, struct content *c,
		 json_t *row);

/**
 * lv_join_parameters - what mapping_file_joined() wants
 * A mirror has to be in sync; that is read from its disks.
 * @why_not: out: why there are none; NULL: there are
 * Return: NULL-terminated, one allocation, free() it; NULL.
 */
char **lv_join_parameters(const struct lv_join *join, const struct lv_join_lv *lv,
			  const char **why_not);

#endif
