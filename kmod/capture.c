// SPDX-License-Identifier: GPL-2.0
/*
 * Stage [1 capture]: see capture.h for what it promises, and DESIGN section 1
 * for why that is enough. Everything a front end knows of an operation is in
 * its flight; everything the consumer may see is in the ring.
 */
#include <linux/bio.h>
#include <linux/highmem.h>
#include <linux/jiffies.h>
#include <linux/sched.h>
#include <linux/timekeeping.h>

#include "capture.h"
#include "netlink.h"
#include "payload_crc.h"

/*
 * As many writes of a volume are held: each one is looked at, under the lock,
 * by every write that begins or ends meanwhile.
 */
#define HELD_MAX	256

/* As many entries as the time-out scan looks at before the lock is let go. */
#define SCAN_ENTRIES	1024

/* Monotonic and cheap: a tick is exact enough for a time-out of seconds. */
static u64 tick_ns(void)
{
	return get_jiffies_64() * TICK_NSEC;
}

static struct blkship_flight **flight_slot(struct blkship_group *grp, u64 pos)
{
	return &grp->flights[pos & (grp->ring.desc_count - 1)];
}

static u64 flight_offset_bytes(const struct blkship_flight *f)
{
	return f->first << SECTOR_SHIFT;
}

static u64 flight_length_bytes(const struct blkship_flight *f)
{
	return (f->last - f->first + 1) << SECTOR_SHIFT;
}

static struct blkship_flight *flight_of(struct rb_node *node)
{
	return rb_entry(node, struct blkship_flight, node);
}

static bool flights_meet(const struct blkship_flight *a,
			 const struct blkship_flight *b)
{
	return a->first <= b->last && b->first <= a->last;
}

/* Into the tree of what is at the device; false when a block is taken. */
static bool flight_insert(struct blkship_flight *f)
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

/* How many of those at the device share a block with it: they lie in a row. */
static u32 flights_met(const struct blkship_flight *f)
{
	struct rb_node *node = f->vol->flights.rb_node, *leftmost = NULL;
	u32 met = 0;

	while (node) {
		if (flight_of(node)->last < f->first) {
			node = node->rb_right;
		} else {
			leftmost = node;
			node = node->rb_left;
		}
	}
	for (node = leftmost; node && flights_meet(flight_of(node), f);
	     node = rb_next(node))
		met++;
	return met;
}

/*
 * Hold it until the earlier ones on its blocks have ended, those at the device
 * and those that are held themselves, and its submitter has copied the payload.
 */
static void flight_hold(struct blkship_group *grp, struct blkship_flight *f)
{
	struct blkship_ring_kernel *shared = grp->ring.shared;
	struct blkship_flight *other;

	f->blockers = 1 + flights_met(f);
	list_for_each_entry(other, &f->vol->held, waiting)
		f->blockers += flights_meet(other, f);
	list_add_tail(&f->waiting, &f->vol->held);
	f->vol->nr_held++;
	WRITE_ONCE(shared->overlaps, shared->overlaps + 1);
}

static bool meets_held(const struct blkship_flight *f)
{
	const struct blkship_flight *other;

	if (likely(!f->vol->nr_held))
		return false;
	list_for_each_entry(other, &f->vol->held, waiting)
		if (flights_meet(other, f))
			return true;
	return false;
}

/*
 * Whether it would have to be held and too many are already. Then it is not
 * captured: nobody waits for such a write, nor does it for others.
 */
static bool hold_refused(const struct blkship_flight *f)
{
	return unlikely(f->vol->nr_held >= HELD_MAX) &&
	       (meets_held(f) || flights_met(f));
}

/* A captured write begins: it goes to the device or is held. */
static void flight_add(struct blkship_group *grp, struct blkship_flight *f)
{
	lockdep_assert_held(&grp->lock);
	*flight_slot(grp, f->pos) = f;
	grp->nr_flights++;
	f->blockers = 0;
	if (unlikely(meets_held(f)) || unlikely(!flight_insert(f)))
		flight_hold(grp, f);
}

/* One reason less to hold it. When it was the last, its blocks are free. */
static bool flight_unblock(struct blkship_group *grp, struct blkship_flight *f)
{
	lockdep_assert_held(&grp->lock);
	if (--f->blockers)
		return false;
	list_del(&f->waiting);
	f->vol->nr_held--;
	WARN_ON_ONCE(!flight_insert(f));
	/* Its time at the device begins now. */
	grp->ring.entries[f->pos & (grp->ring.desc_count - 1)].submit_ns =
		tick_ns();
	return true;
}

/* It is not at the device any more; later ones may have waited for that. */
static void flight_remove(struct blkship_group *grp, struct blkship_flight *f)
{
	struct blkship_flight *other, *next;

	lockdep_assert_held(&grp->lock);
	rb_erase(&f->node, &f->vol->flights);
	*flight_slot(grp, f->pos) = NULL;
	grp->nr_flights--;
	list_for_each_entry_safe(other, next, &f->vol->held, waiting)
		if (other->seq > f->seq && flights_meet(other, f) &&
		    flight_unblock(grp, other))
			list_add_tail(&other->waiting, &grp->to_issue);
}

/*
 * The consumer names the position it waits for, and is woken once for it. No
 * wake-up is lost: poll joins the queue before it looks under the lock.
 */
static void group_wake(struct blkship_group *grp)
{
	struct blkship_ring *ring = &grp->ring;
	u64 pos, payload;

	lockdep_assert_held(&grp->lock);
	if (likely(!blkship_ring_wants_wake(ring)))
		return;
	pos = READ_ONCE(ring->consumer->wake_pos);
	payload = READ_ONCE(ring->consumer->wake_payload);
	if ((pos == grp->woken_pos && payload == grp->woken_payload) ||
	    !waitqueue_active(&grp->wait))
		return;
	grp->woken_pos = pos;
	grp->woken_payload = payload;
	irq_work_queue(&grp->wake_work);
}

static void payload_copy(struct blkship_group *grp, struct blkship_flight *f,
			 struct bio *bio)
{
	u8 *payload = blkship_ring_payload(&grp->ring, f->pos);
	struct bvec_iter iter;
	struct bio_vec bv;
	u32 length = 0;

	bio_for_each_segment(bv, bio, iter) {
		memcpy_from_bvec(payload + length, &bv);
		length += bv.bv_len;
	}
	/* Of the copy, not of the pages: those may still be written to. */
	blkship_ring_publish(&grp->ring, f->pos,
			     blkship_payload_crc(payload, length));
}

/* The submitter is through with a held one: go, unless somebody is before it. */
static bool flight_release(struct blkship_group *grp, struct blkship_flight *f)
{
	unsigned long flags;
	bool go;

	raw_spin_lock_irqsave(&grp->lock, flags);
	go = flight_unblock(grp, f);
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	return go;
}

bool blkship_capture_write(struct blkship_flight *f, struct bio *bio,
			   struct blkship_write *w)
{
	struct blkship_volume *vol = f->vol;
	struct blkship_group *grp = vol->grp;
	bool captured, overflow = false, held = false;
	unsigned long flags;

	f->first = w->offset_bytes >> SECTOR_SHIFT;
	f->last = f->first + (w->length_bytes >> SECTOR_SHIFT) - 1;
	f->copied = false;
	w->volume = vol->index;
	/* The last tick: a point's time is a lower bound, and this one is cheap. */
	w->time_ns = ktime_get_coarse_real_ns();
	w->submit_ns = tick_ns();

	raw_spin_lock_irqsave(&grp->lock, flags);
	if (unlikely(hold_refused(f))) {
		f->seq = blkship_ring_pass_over(&grp->ring);
		captured = false;
	} else {
		captured = blkship_ring_reserve(&grp->ring, w, &f->seq,
						&f->pos);
	}
	if (likely(captured)) {
		f->kind = BLKSHIP_FLIGHT_CAPTURED;
		vol->captured++;
		flight_add(grp, f);
		held = f->blockers;
	} else {
		/* Its own seq, which the ring will not show, is the event. */
		f->kind = BLKSHIP_FLIGHT_UNCAPTURED;
		vol->uncaptured++;
		blkship_dirty_mark(&vol->maps, w->offset_bytes, w->length_bytes);
		overflow = grp->overflows_told != grp->ring.shared->overflows;
		grp->overflows_told = grp->ring.shared->overflows;
		group_wake(grp);
	}
	raw_spin_unlock_irqrestore(&grp->lock, flags);

	if (unlikely(!captured)) {
		if (overflow)
			queue_work(blkship_wq, &grp->overflow_work);
		return true;
	}
	if (w->op == BLKSHIP_OP_WRITE)
		payload_copy(grp, f, bio);
	/* Pairs with the scan: it leaves alone what is still being copied. */
	smp_store_release(&f->copied, true);
	return likely(!held) || flight_release(grp, f);
}

void blkship_capture_flush(struct blkship_flight *f, struct blkship_write *w)
{
	struct blkship_group *grp = f->vol->grp;
	unsigned long flags;

	f->kind = BLKSHIP_FLIGHT_NONE;
	f->blockers = 0;
	f->copied = true;
	w->op = BLKSHIP_OP_FLUSH;
	w->volume = f->vol->index;
	w->time_ns = ktime_get_real_ns();
	w->submit_ns = tick_ns();

	raw_spin_lock_irqsave(&grp->lock, flags);
	if (blkship_ring_flush(&grp->ring, w, &f->pos)) {
		f->kind = BLKSHIP_FLIGHT_FLUSH;
		f->seq = grp->ring.newest_seq;
		*flight_slot(grp, f->pos) = f;
		grp->nr_flights++;
	}
	raw_spin_unlock_irqrestore(&grp->lock, flags);
}

/*
 * A flush has no range: one that failed is skipped, which is always safe, while
 * a gap would keep points from being listed.
 */
static void flush_end(struct blkship_group *grp, struct blkship_flight *f,
		      u8 state)
{
	*flight_slot(grp, f->pos) = NULL;
	grp->nr_flights--;
	f->kind = BLKSHIP_FLIGHT_NONE;
	blkship_ring_end(&grp->ring, f->pos, f->seq,
			 state == BLKSHIP_STATE_DONE ? state :
			 BLKSHIP_STATE_ABORTED);
}

/*
 * Dirty, with a seq of its own. Before the entry ends, so that whoever sees the
 * watermark pass the record also sees that newer events exist.
 */
static void flight_mark(struct blkship_group *grp, struct blkship_flight *f)
{
	blkship_dirty_mark(&f->vol->maps, flight_offset_bytes(f),
			   flight_length_bytes(f));
	blkship_ring_mark(&grp->ring);
}

void blkship_capture_end(struct blkship_flight *f, u8 state)
{
	struct blkship_group *grp;
	unsigned long flags;
	bool issue;

	if (f->kind == BLKSHIP_FLIGHT_NONE)
		return;
	grp = f->vol->grp;
	raw_spin_lock_irqsave(&grp->lock, flags);
	if (state == BLKSHIP_STATE_FAILED)
		f->vol->failed++;
	if (likely(f->kind == BLKSHIP_FLIGHT_CAPTURED)) {
		if (unlikely(state == BLKSHIP_STATE_FAILED))
			flight_mark(grp, f);
		flight_remove(grp, f);
		WARN_ON_ONCE(!blkship_ring_end(&grp->ring, f->pos, f->seq,
					       state));
	} else if (f->kind == BLKSHIP_FLIGHT_FLUSH) {
		flush_end(grp, f, state);
	} else if (f->kind == BLKSHIP_FLIGHT_UNCAPTURED) {
		flight_mark(grp, f);
	}
	group_wake(grp);
	issue = !list_empty(&grp->to_issue);
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	if (unlikely(issue))
		queue_work(blkship_wq, &grp->issue_work);
}

/* Send what waited for an earlier write on the same blocks. */
void blkship_capture_issue_work(struct work_struct *work)
{
	struct blkship_group *grp = container_of(work, struct blkship_group,
						 issue_work);
	struct blkship_flight *f;
	unsigned long flags;

	do {
		raw_spin_lock_irqsave(&grp->lock, flags);
		f = list_first_entry_or_null(&grp->to_issue,
					     struct blkship_flight, waiting);
		if (f)
			list_del(&f->waiting);
		raw_spin_unlock_irqrestore(&grp->lock, flags);
		if (f)
			f->issue(f);
		cond_resched();
	} while (f);
}

/*
 * End the oldest overdue entry; the volume it belonged to, or NULL when there
 * is none within the budget. What is held is not at the device yet, and what is
 * being copied will be in a moment: neither is late.
 */
static struct blkship_volume *scan_step(struct blkship_group *grp,
					u64 deadline_ns, u64 *from, u32 *budget)
{
	const struct blkship_entry *e;
	struct blkship_volume *vol;
	struct blkship_flight *f;

	lockdep_assert_held(&grp->lock);
	do {
		e = blkship_ring_overdue(&grp->ring, deadline_ns, from, budget);
		if (!e)
			return NULL;
		f = grp->flights[e - grp->ring.entries];
		/* Pairs with the release at the end of the copy. */
	} while (!f || f->blockers || !smp_load_acquire(&f->copied));

	vol = f->vol;
	if (f->kind == BLKSHIP_FLIGHT_FLUSH) {
		flush_end(grp, f, BLKSHIP_STATE_ABORTED);
	} else {
		flight_mark(grp, f);
		flight_remove(grp, f);
		/* Its completion, should it ever come, has no entry any more. */
		f->kind = BLKSHIP_FLIGHT_UNCAPTURED;
		blkship_ring_end(&grp->ring, f->pos, f->seq, BLKSHIP_STATE_GAP);
	}
	group_wake(grp);
	kref_get(&vol->ref);
	return vol;
}

void blkship_capture_scan_work(struct work_struct *work)
{
	struct blkship_group *grp = container_of(to_delayed_work(work),
						 struct blkship_group,
						 scan_work);
	u64 timeout_ns = (u64)max(READ_ONCE(blkship_io_timeout_s), 1U) *
			 NSEC_PER_SEC;
	u64 now_ns = tick_ns(), from = 0;
	struct blkship_volume *vol, *told = NULL;
	unsigned long flags;
	u32 budget;

	while (now_ns > timeout_ns) {
		budget = SCAN_ENTRIES;
		raw_spin_lock_irqsave(&grp->lock, flags);
		vol = scan_step(grp, now_ns - timeout_ns, &from, &budget);
		raw_spin_unlock_irqrestore(&grp->lock, flags);
		cond_resched();
		if (!vol && budget)
			break;
		if (!vol)
			continue;
		/* A stuck device has many: one alarm for a run of them. */
		if (vol != told)
			blkship_event(BLKSHIP_EVENT_TIMEOUT, grp->name,
				      vol->name);
		if (told)
			blkship_volume_put(told);
		told = vol;
	}
	if (told)
		blkship_volume_put(told);
	if (!list_empty_careful(&grp->to_issue))
		queue_work(blkship_wq, &grp->issue_work);
	queue_delayed_work(blkship_wq, &grp->scan_work, HZ);
}
