/* SPDX-License-Identifier: GPL-2.0 */
/*
 * observed - the writes that observe.c follows: their memory, and how they are
 * found again by bio and blocks. Under the group's lock.
 */
#ifndef BLKSHIP_OBSERVED_H
#define BLKSHIP_OBSERVED_H

#include "observe.h"

static inline struct blkship_observed *observed_of(const struct blkship_flight *f)
{
	return container_of(f, struct blkship_observed, flight);
}

/* Most writes lie within one region: a table has them, and is quick. */
static inline u64 region_of(u64 sector)
{
	return sector / (BLKSHIP_REGION_BYTES >> SECTOR_SHIFT);
}

static inline struct hlist_head *near_of(const struct blkship_volume *vol,
					 u64 region)
{
	/* Neighbours in neighbouring places, the volumes far from each other. */
	u32 place = (u32)region + vol->index * 97;

	return &vol->grp->observer->near[place & ((1 << BLKSHIP_NEAR_BITS) - 1)];
}

/* One for a write that is not captured; NULL when all are in use. */
struct blkship_observed *blkship_observed_spare(struct blkship_group *grp);

/*
 * Who has this sector for this bio; or NULL, and in *next the first sector from
 * here on that somebody else may have for it.
 */
struct blkship_flight *blkship_observed_find(const struct blkship_volume *vol,
					     const struct bio *bio, u64 sector,
					     u64 *next);

#endif
