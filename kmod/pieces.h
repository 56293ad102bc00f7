/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pieces - the payload of a record that is copied piece by piece.
 *
 * Of a write that is longer than a record the tap reserves the place at its
 * submission, and copies what each request carries when that is issued: to copy
 * all of it at once would keep preemption off for milliseconds. Requests are
 * issued in any order, some of them again and some at the same time, so it is
 * kept by sector what was begun, and the CRC is added up by place.
 *
 * Promises: each sector is copied once; the record is not done unless all of it
 * was; its place in the ring is not given back while anybody copies to it.
 *
 * All but the copy itself is under the group's lock.
 */
#ifndef BLKSHIP_PIECES_H
#define BLKSHIP_PIECES_H

#include <linux/list.h>
#include <linux/types.h>

struct bio;
struct blkship_observed;
struct blkship_ring;

struct blkship_pieces {
	struct list_head free;
	u32 crc_sum;
	u32 left_sectors;	/* not copied yet */
	u32 copying;		/* that many pieces at the moment */
	bool ended;		/* meanwhile: the last of them ends the record */
	unsigned long begun[];	/* bit for each sector of the record */
};

/* Of a group: as many as its ring can have in flight. */
struct blkship_pieces_pool {
	struct list_head free;
	void *memory;
};

/* May sleep; -ENOMEM. */
int blkship_pieces_alloc(struct blkship_pieces_pool *pool,
			 const struct blkship_ring *ring);
void blkship_pieces_free(struct blkship_pieces_pool *pool);

/* For a record of so many sectors; NULL when there is none. */
struct blkship_pieces *blkship_pieces_get(struct blkship_pieces_pool *pool,
					  u32 sectors);
void blkship_pieces_put(struct blkship_pieces_pool *pool,
			struct blkship_pieces *p);

/*
 * These sectors of the record are to be copied: false when some of them were
 * before, as when a request is issued again. Else blkship_pieces_copied() follows.
 */
bool blkship_pieces_begin(struct blkship_pieces *p, u32 first, u32 sectors);
/* They were, and contribute this to the CRC. */
void blkship_pieces_copied(struct blkship_pieces *p, u32 sectors,
			   u32 crc_share);

#endif
