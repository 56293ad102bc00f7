/* SPDX-License-Identifier: GPL-2.0 */
/*
 * flight - an operation between its submission and its end.
 *
 * The group's lock is held around everything here. What is at the device and
 * shares no block with anything else there is in the volume's tree by range;
 * the few others are apart, in a list by seq: held back (dm), or let be and
 * made dirty (tap), because the device is free to order them as it likes.
 */
#ifndef BLKSHIP_FLIGHT_H
#define BLKSHIP_FLIGHT_H

#include <linux/jiffies.h>
#include <linux/rbtree.h>
#include <linux/timekeeping.h>

#include "volume.h"

struct bio;

/*
 * As many of a volume are apart, and as many more as are renewed at that moment: each
 * one is looked at, under the lock, by every write that begins or ends meanwhile.
 */
#define BLKSHIP_APART_MAX	256

enum blkship_flight_kind {
	BLKSHIP_FLIGHT_NONE,		/* nothing to do at its end */
	BLKSHIP_FLIGHT_CAPTURED,
	BLKSHIP_FLIGHT_UNCAPTURED,	/* no entry, or not any more: it timed out */
	BLKSHIP_FLIGHT_FLUSH,
};

struct blkship_flight {
	struct rb_node node;		/* of volume->flights */
	u64 first;			/* sectors, both ends included */
	u64 last;
	struct blkship_volume *vol;
	u64 pos;			/* of its descriptor */
	u64 seq;
	struct list_head waiting;	/* in volume->apart, then group->to_issue */
	/* How a held one is sent to its device; set when it may be held. */
	void (*issue)(struct blkship_flight *f);
	struct list_head listing;	/* in volume->log->waiting */
	u32 blockers;			/* while held: earlier ones, its submitter, the log */
	u8 kind;			/* enum blkship_flight_kind */
	bool copied;			/* its payload is in place */
	bool apart;
	bool observed;			/* by the tap: see observe_table.h */
};

/* Monotonic and cheap: a tick is exact enough for a time-out of seconds. */
static inline u64 blkship_tick_ns(void)
{
	return get_jiffies_64() * TICK_NSEC;
}

/*
 * The time of the last tick, asked for once a tick: a point's time is a lower
 * bound. Under the group's lock and before the seq is taken.
 */
static inline void blkship_write_stamp(struct blkship_group *grp,
				       struct blkship_write *w)
{
	u64 tick_ns = blkship_tick_ns();

	if (unlikely(tick_ns != grp->stamp_tick_ns)) {
		grp->stamp_tick_ns = tick_ns;
		grp->stamp_time_ns = ktime_get_coarse_real_ns();
	}
	w->time_ns = grp->stamp_time_ns;
	w->submit_ns = tick_ns;
}

static inline struct blkship_flight **flight_slot(struct blkship_group *grp,
						  u64 pos)
{
	return &grp->flights[pos & (grp->ring.desc_count - 1)];
}

static inline struct blkship_flight *flight_of(struct rb_node *node)
{
	return rb_entry(node, struct blkship_flight, node);
}

static inline void flight_set_range(struct blkship_flight *f,
				    const struct blkship_write *w)
{
	f->first = w->offset_bytes >> SECTOR_SHIFT;
	f->last = f->first + (w->length_bytes >> SECTOR_SHIFT) - 1;
}

static inline bool flights_meet(const struct blkship_flight *a,
				const struct blkship_flight *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* Into the tree of what is at the device; false when a block is taken. */
static inline bool flight_insert(struct blkship_flight *f)
{
	struct rb_root *tree = &f->vol->flights;
	struct rb_node **link = &tree->rb_node, *parent = NULL;

	while (*link) {
		struct blkship_flight *other = flight_of(*link);

		parent = *link;
		if (f->last < other->first)
			link = &parent->rb_left;
		else if (f->first > other->last)
			link = &parent->rb_right;
		else
			return false;
	}
	rb_link_node(&f->node, parent, link);
	rb_insert_color(&f->node, tree);
	return true;
}

/* Whether it shares a block with one that is apart. */
static inline bool meets_apart(const struct blkship_flight *f)
{
	const struct blkship_flight *other;

	if (likely(!f->vol->nr_apart))
		return false;
	list_for_each_entry(other, &f->vol->apart, waiting)
		if (flights_meet(other, f))
			return true;
	return false;
}

static inline void flight_set_apart(struct blkship_flight *f)
{
	struct blkship_ring_kernel *shared = f->vol->grp->ring.shared;

	f->apart = true;
	list_add_tail(&f->waiting, &f->vol->apart);
	f->vol->nr_apart++;
	WRITE_ONCE(shared->overlaps, shared->overlaps + 1);
}

static inline void flight_unset_apart(struct blkship_flight *f)
{
	f->apart = false;
	list_del(&f->waiting);
	f->vol->nr_apart--;
}

static inline void flight_dirty(const struct blkship_flight *f)
{
	blkship_dirty_mark(&f->vol->maps, f->first << SECTOR_SHIFT,
			   (f->last - f->first + 1) << SECTOR_SHIFT);
}

/*
 * Dirty, with a seq of its own. Before the entry ends, so that whoever sees the
 * watermark pass the record also sees that newer events exist.
 */
static inline void flight_mark(const struct blkship_flight *f)
{
	flight_dirty(f);
	blkship_ring_mark(&f->vol->grp->ring);
}

/* How many of those at the device share a block with it: they lie in a row. */
u32 blkship_flights_met(const struct blkship_flight *f);

/*
 * Whether it would have to be apart and too many are already. Then it is not
 * captured: nobody waits for such a write, nor does it for others.
 */
bool blkship_flight_refused(const struct blkship_flight *f);

/*
 * Wake the consumer if it asked for that at the present watermark. What it asks for
 * is in its memory, and may change at any time: it is looked at once.
 */
void blkship_group_wake_wanted(struct blkship_group *grp, u64 pos, u64 payload);
static inline void blkship_group_wake(struct blkship_group *grp)
{
	u64 pos = READ_ONCE(grp->ring.consumer->wake_pos);
	u64 payload = READ_ONCE(grp->ring.consumer->wake_payload);

	if (unlikely(blkship_ring_reached(&grp->ring, pos, payload)))
		blkship_group_wake_wanted(grp, pos, payload);
}

#endif
