/* SPDX-License-Identifier: GPL-2.0-only */
/* check_internal - what check*.c share. */
#ifndef BLKSHIP_CHECK_INTERNAL_H
#define BLKSHIP_CHECK_INTERNAL_H

#include "../lib/unit_cipher.h"
#include "check.h"
#include "pack_read.h"

#define CHECK_WINDOW_BYTES	(2u << 20)
#define CHECK_ANY_POINT		UINT64_MAX	/* to_seq, until all is known: any later one may need it */

/* A sector whose newest version up to some cut is in a damaged unit. */
struct lost_sector {
	uint64_t sector;
	uint64_t label_seq;
	uint64_t readback_no;
	struct pack_origin origin; /* in the stream, among versions that are equal otherwise */
	uint64_t replaced_seq;	/* the lowest label of a newer version; UINT64_MAX: none */
	uint32_t damage;	/* index */
	uint16_t volume;
};

struct check_reader {
	struct timeline *tl;
	struct check *check;
	struct lost_sector *lost;
	size_t nr_lost, max_lost;
	uint8_t *window;	/* the file's bytes from window_offset on */
	uint64_t window_offset;
	size_t window_bytes;
	uint8_t *data;		/* of a unit, unpacked */
	uint8_t *clear;		/* what it has encrypted */
	struct unit_cipher *cipher; /* of the file; NULL: in clear, or there is no key */
	bool encrypted;		/* its units are */
	struct env_file *file;
	uint64_t segment;
};

/* -- check.c -- */

/* What there is from @offset on, at least a unit if the file has one; -errno. */
int64_t check_window_at(struct check_reader *r, uint64_t offset, const uint8_t **at);

/* A unit decodes and gives its data, as far as we have its key. */
bool check_content(struct check_reader *r, const uint8_t *at, size_t bytes, uint64_t offset,
		   struct unit_view *unit);

/* Begin to tell of damage; what is lost with it follows. 0 or -ENOMEM */
int check_damage_add(struct check_reader *r, const struct check_damage *damage);
int check_lose_extent(struct check_reader *r, const struct pack_extent *e);

/* A version that may hide something that is lost. */
void check_replace(struct check_reader *r, const struct pack_extent *e);

/* -- check_pack.c -- */

/*
 * Read all of a pack. What of its directory is damaged nobody knows: any point may need that.
 * Return: 0; -ENOENT it is gone; -errno; what progress() returned.
 */
int check_pack(struct check_reader *r, const struct manifest_pack *named);

/* Hold what is lost against all that it has; as check_pack(). */
int check_pack_replace(struct check_reader *r, const struct manifest_pack *named);

/* -- check_lost.c -- */

/* A file of which nothing can be read, or nothing from some offset on. */
struct check_file {
	uint64_t first_segment, last_segment;
	uint64_t pack;		/* that had their place; 0: it was a segment */
	uint64_t from_offset;	/* in the first segment */
	uint64_t from_seq;	/* where nothing says what it had: lowest cut that may need it */
};

/* All that was in it is lost; whichever points may need it if the runs do not say what that was. */
int check_lose_file(struct check_reader *r, const struct check_file *f);
/* Of what the hole had, whoever may need it. */
int check_lose_hole(struct check_reader *r, const struct timeline_hole *hole, uint64_t from_offset);
int check_lose_pack(struct check_reader *r, const struct manifest_pack *named);

/* What it hid stays hidden: it was written over, whoever has that now. */
int check_lost_replace(struct check_reader *r, const struct check_file *f);
int check_lost_pack_replace(struct check_reader *r, const struct manifest_pack *named);

/* All is known of what a lost file had: mark the points that need it and no others. 0 or -ENOMEM */
int check_lost_narrow(struct check_reader *r, size_t index);

#endif
