/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dirty_core - the two dirty maps of a volume.
 *
 * Beside stages [1 capture] and [2 ring]: what was not captured is marked here
 * and read back by [repair]. Also built for the host.
 *
 * Promises (DESIGN 1.4): a bit set dirty stays dirty until it is taken; a bit
 * that is repairing is not taken again; clearing repairing never touches dirty;
 * repairing falls back to dirty when the consumer goes.
 *
 * The caller holds the group's lock. Bit maps are arrays of u64, bit n of the
 * map is bit n % 64 of word n / 64; a window begins at a multiple of 64, so its
 * own bit map lies on words too. Nothing here allocates.
 */
#ifndef BLKSHIP_DIRTY_CORE_H
#define BLKSHIP_DIRTY_CORE_H

#include <linux/types.h>
#include "../uapi/linux/blkship.h"

struct blkship_dirty {
	u64 *dirty;
	u64 *repairing;
	u64 nr_regions;
	u64 nr_dirty;
	u64 nr_repairing;
};

/* Regions and words that a volume of this size needs. */
u64 blkship_dirty_regions(u64 size_bytes);
u64 blkship_dirty_words(u64 nr_regions);

/* Zeroed maps of blkship_dirty_words() words each; nothing is dirty. */
void blkship_dirty_init(struct blkship_dirty *d, u64 nr_regions, u64 *dirty,
			u64 *repairing);

/* Set every region that the byte range touches; a range past the end is cut. */
void blkship_dirty_mark(struct blkship_dirty *d, u64 offset_bytes,
			u64 length_bytes);

/*
 * dirty -> repairing for at most max_regions of the window [first, first +
 * count); bitmap (words of the window) gets what was taken. Returns how many.
 */
u32 blkship_dirty_take(struct blkship_dirty *d, u64 first, u32 count,
		       u32 max_regions, u64 *bitmap);

/* Clear the repairing bits that are set in the window's bitmap. */
void blkship_dirty_clear(struct blkship_dirty *d, u64 first, u32 count,
			 const u64 *bitmap);

/* Read a window of a map. */
void blkship_dirty_read(const struct blkship_dirty *d, const u64 *map,
			u64 first, u32 count, u64 *bitmap);

/*
 * repairing -> dirty for the words [first_word, first_word + nr_words): call in
 * pieces, so that the lock is not held for a whole large map.
 */
void blkship_dirty_fall_back(struct blkship_dirty *d, u64 first_word,
			     u64 nr_words);

#endif
