/* SPDX-License-Identifier: GPL-2.0 */
/*
 * observe_table - finding what the tapped volumes of a group have in flight.
 *
 * Beside stage [1 capture]: observe.c puts in what is submitted and takes out what
 * ended. Most lies within one region and is in a table by region; what lies in several
 * is in the volume's tree. No two of these share a block; the few that would are apart
 * (flight.h).
 *
 * The memory is there before a volume is tapped, and stays as long as the group. Under
 * the group's lock, unless it says so.
 */
#ifndef BLKSHIP_OBSERVE_TABLE_H
#define BLKSHIP_OBSERVE_TABLE_H

#include <linux/hash.h>

#include "flight.h"

/* What one bio, or so much of it as fits a record, has in flight. */
struct blkship_observed {
	struct blkship_flight flight;
	const struct bio *bio;		/* as submitted; not followed; NULL: ended */
	u64 bio_first;			/* all that the bio has on this volume */
	u64 bio_last;
	u32 left_bytes;			/* not ended yet */
	bool failed;			/* some of it */
	bool spare;			/* not the twin of a descriptor */
	bool near;			/* in a table, not in the volume's tree */
	struct hlist_node near_node;
};

/* All of a group; one allocation. */
#define BLKSHIP_HINT_BITS 10
#define BLKSHIP_NEAR_BITS 10
struct blkship_observer {
	struct list_head spare;		/* those that are free; group lock */
	/*
	 * Where a bio's last record is, by a hash of its address: only a hint, as
	 * each one overwrites what was there. Written under the group's lock.
	 */
	struct blkship_observed *hints[1 << BLKSHIP_HINT_BITS];
	/* Those that lie within one region, by volume and region; group lock. */
	struct hlist_head near[1 << BLKSHIP_NEAR_BITS];
	struct blkship_observed all[];	/* desc_count twins, then the spare ones */
};

/* The sectors of a bio that lie on the volume, both ends included. */
struct blkship_span {
	u64 first;
	u64 last;
};

/*
 * Room for as many as the ring has descriptors, and some for writes that are not
 * captured. Once for a group, before its first tapped volume is fed. May sleep.
 * 0 or -ENOMEM.
 */
int blkship_observer_alloc(struct blkship_group *grp);
void blkship_observer_free(struct blkship_group *grp);

/* For one that has no descriptor; NULL when all are in use. */
struct blkship_observed *blkship_spare_get(struct blkship_observer *obs);
void blkship_spare_put(struct blkship_observer *obs,
		       struct blkship_observed *o);

static inline struct blkship_observed *
observed_of(const struct blkship_flight *f)
{
	return container_of(f, struct blkship_observed, flight);
}

/* -- by its bio -- */

/* Under the group's lock: this is its bio's last record. */
static __always_inline void observed_hint(struct blkship_observed *o)
{
	struct blkship_observer *obs = o->flight.vol->grp->observer;

	WRITE_ONCE(obs->hints[hash_ptr(o->bio, BLKSHIP_HINT_BITS)], o);
}

/*
 * The common case: a bio that has one record for all of these sectors. Without the
 * lock what it returns may be another's by now; it is memory that stays.
 */
static inline struct blkship_observed *
blkship_observed_whole(const struct blkship_volume *vol, const struct bio *bio,
		       struct blkship_span span)
{
	const struct blkship_observer *obs = vol->grp->observer;
	struct blkship_observed *o =
		READ_ONCE(obs->hints[hash_ptr(bio, BLKSHIP_HINT_BITS)]);

	/* Before the volume's first sector is far behind its last. */
	if (likely(o) && likely(READ_ONCE(o->bio) == bio) &&
	    likely(o->flight.vol == vol) &&
	    likely(o->flight.first <= span.first) &&
	    likely(span.first <= o->flight.last) &&
	    likely(span.last <= o->flight.last))
		return o;
	return NULL;
}

/* -- by its blocks -- */

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

static __always_inline bool meets_near(const struct blkship_flight *f,
				       const struct hlist_head *near)
{
	const struct blkship_observed *o;

	hlist_for_each_entry(o, near, near_node)
		if (o->flight.vol == f->vol && flights_meet(&o->flight, f))
			return true;
	return false;
}

/* As observed_insert(), for one that lies in several regions. */
bool blkship_observed_insert_wide(struct blkship_observed *o);

/*
 * Where it is found by its blocks; false when they are taken. Its volume and its first
 * and last region are known to the caller, and not to be read back here.
 */
static __always_inline bool observed_insert(struct blkship_observed *o,
					    struct blkship_volume *vol,
					    u64 region, u64 last_region)
{
	struct hlist_head *near = near_of(vol, region);

	if (unlikely(meets_apart(&o->flight)))
		return false;
	if (unlikely(region != last_region))
		return blkship_observed_insert_wide(o);
	if (unlikely(meets_near(&o->flight, near)) ||
	    unlikely(vol->flights.rb_node && blkship_flights_met(&o->flight)))
		return false;
	o->near = true;
	hlist_add_head(&o->near_node, near);
	vol->nr_near++;
	return true;
}

/* Out of where it was inserted or set apart. */
static __always_inline void observed_erase(struct blkship_observed *o)
{
	struct blkship_flight *f = &o->flight;

	if (unlikely(f->apart)) {
		flight_unset_apart(f);
	} else if (likely(o->near)) {
		hlist_del(&o->near_node);
		f->vol->nr_near--;
	} else {
		rb_erase(&f->node, &f->vol->flights);
	}
}

/* Whether one of those in the table shares a block with it; in any region. */
bool blkship_observed_meets(const struct blkship_flight *f);

/*
 * Who has this sector for this bio, or for the one that it is a piece of; or NULL, and
 * in *next the first sector from here on that somebody else may have for it.
 */
struct blkship_flight *blkship_observed_find(const struct blkship_volume *vol,
					     const struct bio *bio, u64 sector,
					     u64 *next);

/* Any one that the volume has in flight; NULL when nothing is. */
struct blkship_flight *blkship_observed_any(struct blkship_volume *vol);

#endif
