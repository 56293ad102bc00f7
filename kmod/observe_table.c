// SPDX-License-Identifier: GPL-2.0
/* See observe_table.h. */
#include <linux/bio.h>
#include <linux/vmalloc.h>

#include "observe_table.h"

/* As many uncaptured writes of a group are followed to their end. */
#define SPARE_COUNT	4096

/* -- memory: one for each descriptor, and the spare ones -- */

int blkship_observer_alloc(struct blkship_group *grp)
{
	size_t count = (size_t)grp->ring.desc_count + SPARE_COUNT, i;
	struct blkship_observer *obs;

	if (READ_ONCE(grp->observer))
		return 0;
	obs = vzalloc(struct_size(obs, all, count));
	if (!obs)
		return -ENOMEM;
	INIT_LIST_HEAD(&obs->spare);
	for (i = 0; i < count; i++) {
		obs->all[i].flight.observed = true;
		obs->all[i].spare = i >= grp->ring.desc_count;
		if (obs->all[i].spare)
			list_add_tail(&obs->all[i].flight.waiting, &obs->spare);
	}
	if (cmpxchg_release(&grp->observer, NULL, obs))
		vfree(obs);
	return 0;
}

void blkship_observer_free(struct blkship_group *grp)
{
	vfree(grp->observer);
}

struct blkship_observed *blkship_spare_get(struct blkship_observer *obs)
{
	struct blkship_observed *o =
		list_first_entry_or_null(&obs->spare, struct blkship_observed,
					 flight.waiting);

	if (o)
		list_del(&o->flight.waiting);
	return o;
}

void blkship_spare_put(struct blkship_observer *obs, struct blkship_observed *o)
{
	list_add(&o->flight.waiting, &obs->spare);
}

/* -- who shares blocks with whom -- */

/* A place of the table has more than one region. */
bool blkship_observed_meets(const struct blkship_flight *f)
{
	u64 region = region_of(f->first), last = region_of(f->last);

	last = min(last, region + (1 << BLKSHIP_NEAR_BITS) - 1);
	for (; f->vol->nr_near && region <= last; region++)
		if (meets_near(f, near_of(f->vol, region)))
			return true;
	return false;
}

bool blkship_observed_insert_wide(struct blkship_observed *o)
{
	o->near = false;
	return !blkship_observed_meets(&o->flight) && flight_insert(&o->flight);
}

/* -- finding -- */

/* The bio itself, or a piece that was split off it and has it as its parent. */
static bool observed_is(const struct blkship_flight *f, const struct bio *bio)
{
	const struct bio *submitted = observed_of(f)->bio;

	return submitted == bio || submitted == bio->bi_private;
}

static bool flight_has(const struct blkship_flight *f, u64 sector)
{
	return f->first <= sector && sector <= f->last;
}

/* Among those that are apart; lowers *next to where one of this bio's begins. */
static struct blkship_flight *find_apart(const struct blkship_volume *vol,
					 const struct bio *bio, u64 sector,
					 u64 *next)
{
	struct blkship_flight *f;

	list_for_each_entry(f, &vol->apart, waiting) {
		if (!observed_is(f, bio))
			continue;
		if (flight_has(f, sector))
			return f;
		if (f->first > sector)
			*next = min(*next, f->first);
	}
	return NULL;
}

/* Lowers *next as find_apart() does. */
static struct blkship_flight *find_near(const struct blkship_volume *vol,
					const struct bio *bio, u64 sector,
					u64 *next)
{
	u64 region = region_of(sector);
	struct blkship_observed *o;

	hlist_for_each_entry(o, near_of(vol, region), near_node) {
		if (o->flight.vol != vol || !observed_is(&o->flight, bio))
			continue;
		if (flight_has(&o->flight, sector))
			return &o->flight;
		if (o->flight.first > sector)
			*next = min(*next, o->flight.first);
	}
	/* Of other regions it cannot tell. */
	*next = min(*next, (region + 1) *
			   (BLKSHIP_REGION_BYTES >> SECTOR_SHIFT));
	return NULL;
}

static struct blkship_flight *find_wide(const struct blkship_volume *vol,
					const struct bio *bio, u64 sector,
					u64 *next)
{
	struct rb_node *node = vol->flights.rb_node;
	struct blkship_flight *f;

	while (node) {
		f = flight_of(node);
		if (sector < f->first) {
			*next = min(*next, f->first);
			node = node->rb_left;
		} else if (sector > f->last) {
			node = node->rb_right;
		} else if (observed_is(f, bio)) {
			return f;
		} else {
			*next = min(*next, f->last + 1);
			break;
		}
	}
	return NULL;
}

struct blkship_flight *blkship_observed_find(const struct blkship_volume *vol,
					     const struct bio *bio, u64 sector,
					     u64 *next)
{
	struct blkship_flight *f = NULL;

	*next = ~0ULL;
	if (vol->nr_near)
		f = find_near(vol, bio, sector, next);
	if (!f)
		f = find_wide(vol, bio, sector, next);
	if (!f && unlikely(vol->nr_apart))
		f = find_apart(vol, bio, sector, next);
	return f;
}

struct blkship_flight *blkship_observed_any(struct blkship_volume *vol)
{
	struct blkship_observed *o;
	u32 i;

	for (i = 0; vol->nr_near && i < 1 << BLKSHIP_NEAR_BITS; i++)
		hlist_for_each_entry(o, near_of(vol, i), near_node)
			if (o->flight.vol == vol)
				return &o->flight;
	if (vol->flights.rb_node)
		return flight_of(vol->flights.rb_node);
	return list_first_entry_or_null(&vol->apart, struct blkship_flight,
					waiting);
}
