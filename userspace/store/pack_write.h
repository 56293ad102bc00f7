/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_write - from live extents in the order of their origins to a durable pack.
 *
 * Fed by pack_build.c. Until pack_writer_finish() has returned 0 there is only a temporary
 * file; afterwards the pack is whole and durable, its name included (docs/PACK.md,
 * "Crash"). Memory: 72 bytes for each extent, the tables, and one unit.
 */
#ifndef BLKSHIP_PACK_WRITE_H
#define BLKSHIP_PACK_WRITE_H

#include "../lib/unit_builder.h"
#include "manifest_format.h"
#include "new_file.h"
#include "pack.h"
#include "pack_kept.h"

struct pack_writer {
	const char *dir;
	struct pack_header header;
	const uint8_t *room;		/* PACK_ROOM_BYTES, what lies behind it; NULL: zeroes; borrowed */
	struct new_file file;
	struct pack_extent *extents;	/* the directory to be */
	size_t nr_extents, max_extents;
	size_t first_in_unit;		/* of them, those of the unit in hand */
	uint64_t *ordinals;		/* of the segments, little-endian */
	size_t nr_ordinals, max_ordinals;
	uint8_t *commits;
	size_t commits_bytes, max_commits_bytes;
	struct pack_kept kept;
	struct unit_builder unit;
	uint8_t *data;			/* of it */
	uint8_t *out, *scratch;
	struct unit_cipher *cipher;	/* NULL: in clear */
};

/**
 * pack_writer_begin - begin a pack in a temporary file
 * @header: timeline, number, segments, ordinals and points_no; the rest is counted
 * @dir, @pace: borrowed until the end; @pace may be NULL
 * @keys: its units are encrypted with the newest; NULL: they are not
 * Return: 0; -errno. Then pack_writer_abort() is still due.
 */
int pack_writer_begin(struct pack_writer *w, struct env *env, const char *dir,
		      const struct pack_header *header, const struct keyring *keys,
		      const struct run_pace *pace);

/** pack_writer_segment - of each segment in turn: its last ordinal; 0 or -ENOMEM */
int pack_writer_segment(struct pack_writer *w, uint64_t last_ordinal);

/** pack_writer_commit - a commit record to keep, as it is; by ordinal; 0 or -ENOMEM */
int pack_writer_commit(struct pack_writer *w, const struct commit_view *commit);

/** pack_writer_kept - once: which cuts it was made for; 0 or -ENOMEM */
int pack_writer_kept(struct pack_writer *w, const struct thin_cuts *cuts);

/**
 * pack_writer_add - the next live part of an extent
 * @e: at and data_offset are filled in here
 * @live_bytes: EXTENT_DATA: so much of it made it be kept
 * @data, @crcs: EXTENT_DATA: its bytes, and the CRC of capture time (host order) of each block
 *	of the volume that they touch; copied
 * Return: 0; -EBADMSG not behind the one before; -EFBIG too far out; -errno.
 */
int pack_writer_add(struct pack_writer *w, const struct pack_extent *e, uint64_t live_bytes,
		    const void *data, const uint32_t *crcs);

/**
 * pack_writer_finish - write the rest, sync, rename, sync the directory
 * @out: what the manifest has to say, host order
 * Return: 0, and nothing is due; -errno, then pack_writer_abort() is.
 */
int pack_writer_finish(struct pack_writer *w, struct manifest_pack *out);

/** pack_writer_abort - remove what there is */
void pack_writer_abort(struct pack_writer *w);

#endif
