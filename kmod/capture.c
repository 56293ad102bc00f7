// SPDX-License-Identifier: GPL-2.0
/*
 * Stage [1 capture]: see capture.h for what it promises, and DESIGN section 1
 * for why that is enough. Everything a front end knows of an operation is in
 * its flight; everything the consumer may see is in the ring.
 */
#include <linux/bio.h>
#include <linux/sched.h>

#include "capture.h"
#include "meta.h"
#include "netlink.h"
#include "observe.h"
#include "payload_crc.h"

/* As many entries as the time-out scan looks at before the lock is let go. */
#define SCAN_ENTRIES	1024

/* How many of those at the device share a block with it: they lie in a row. */
u32 blkship_flights_met(const struct blkship_flight *f)
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
static void flight_hold(struct blkship_flight *f)
{
	struct blkship_flight *other;

	f->blockers = 1 + blkship_flights_met(f);
	list_for_each_entry(other, &f->vol->apart, waiting)
		f->blockers += flights_meet(other, f);
	flight_set_apart(f);
}

bool blkship_flight_refused(const struct blkship_flight *f)
{
	return f->vol->nr_apart >= BLKSHIP_APART_MAX &&
	       (meets_apart(f) || blkship_flights_met(f));
}

/* A captured write begins: it goes to the device or is held. */
static void flight_add(struct blkship_group *grp, struct blkship_flight *f)
{
	lockdep_assert_held(&grp->lock);
	*flight_slot(grp, f->pos) = f;
	grp->nr_flights++;
	f->blockers = 0;
	f->apart = false;
	if (unlikely(meets_apart(f)) || unlikely(!flight_insert(f)))
		flight_hold(f);
}

/*
 * Captured or not, it may not reach the device before its regions are listed.
 * What shares no block with another is in the tree meanwhile, so that others
 * queue up behind it.
 */
static void flight_hold_unlisted(struct blkship_flight *f)
{
	if (!f->blockers)
		f->blockers = 1;	/* its submitter */
	f->blockers++;
	list_add_tail(&f->listing, &f->vol->log->waiting);
	blkship_meta_kick(f->vol->log);
}

/* One reason less to hold it. When it was the last, its blocks are free. */
static bool flight_unblock(struct blkship_group *grp, struct blkship_flight *f)
{
	lockdep_assert_held(&grp->lock);
	if (--f->blockers)
		return false;
	if (f->apart) {
		flight_unset_apart(f);
		WARN_ON_ONCE(!flight_insert(f));
	}
	/* Its time at the device begins now. */
	if (f->kind == BLKSHIP_FLIGHT_CAPTURED)
		grp->ring.entries[f->pos & (grp->ring.desc_count - 1)].submit_ns =
			blkship_tick_ns();
	return true;
}

bool blkship_capture_listed(struct blkship_group *grp,
			    struct list_head *waiting,
			    const struct blkship_list *list)
{
	struct blkship_flight *f, *next;

	lockdep_assert_held(&grp->lock);
	list_for_each_entry_safe(f, next, waiting, listing) {
		if (list && !blkship_list_covers(list, f->first << SECTOR_SHIFT,
				(f->last - f->first + 1) << SECTOR_SHIFT))
			continue;
		list_del(&f->listing);
		if (flight_unblock(grp, f))
			list_add_tail(&f->waiting, &grp->to_issue);
	}
	return !list_empty(&grp->to_issue);
}

/* It is not at the device any more; later ones may have waited for that. */
static void flight_remove(struct blkship_group *grp, struct blkship_flight *f)
{
	struct blkship_flight *other, *next;

	lockdep_assert_held(&grp->lock);
	rb_erase(&f->node, &f->vol->flights);
	*flight_slot(grp, f->pos) = NULL;
	grp->nr_flights--;
	list_for_each_entry_safe(other, next, &f->vol->apart, waiting)
		if (other->seq > f->seq && flights_meet(other, f) &&
		    flight_unblock(grp, other))
			list_add_tail(&other->waiting, &grp->to_issue);
}

/* No wake-up is lost: poll joins the queue before it looks under the lock. */
void blkship_group_wake_wanted(struct blkship_group *grp, u64 pos, u64 payload)
{
	lockdep_assert_held(&grp->lock);
	if ((pos == grp->woken_pos && payload == grp->woken_payload) ||
	    !waitqueue_active(&grp->wait))
		return;
	grp->woken_pos = pos;
	grp->woken_payload = payload;
	irq_work_queue(&grp->wake_work);
}

/*
 * The compiler makes one string instruction of the copy of a page to an aligned
 * place, where memcpy() of many a processor is a loop.
 */
static __always_inline u8 *aligned(u8 *to)
{
	return PTR_ALIGN_DOWN(to, sizeof(u64));
}

/* One piece, whatever it is: several pages, a part of one, at an odd place. */
static noinline u8 *copy_odd(u8 *to, const u8 *from, u32 bytes)
{
	for (; bytes >= PAGE_SIZE && to == aligned(to); bytes -= PAGE_SIZE) {
		memcpy(aligned(to), from, PAGE_SIZE);
		to += PAGE_SIZE;
		from += PAGE_SIZE;
	}
	memcpy(to, from, bytes);
	return to + bytes;
}

/*
 * All that @from has left. Mostly that is pages that lie apart, up to hundreds: no
 * more is done for each than to find it.
 */
static __always_inline void copy_payload(u8 *to, const struct bio *bio,
					 const struct bvec_iter *from)
{
	struct bio_vec *bv = &bio->bi_io_vec[from->bi_idx];
	const u8 *end = to + from->bi_size, *last_page = end - PAGE_SIZE;
	u32 skip = from->bi_bvec_done;

	for (;;) {
		if (likely(!skip) && likely(to == aligned(to)))
			for (to = aligned(to); to <= last_page &&
			     likely(bv->bv_len == PAGE_SIZE);
			     to += PAGE_SIZE, bv++)
				memcpy(to, bvec_virt(bv), PAGE_SIZE);
		if (likely(to >= end))
			break;
		to = copy_odd(to, bvec_virt(bv) + skip,
			      min_t(u32, bv->bv_len - skip, end - to));
		bv++;
		skip = 0;
	}
}

void blkship_payload_copy(struct blkship_ring *ring, u64 pos,
			  const struct bio *bio, const struct bvec_iter *from)
{
	u8 *payload = blkship_ring_payload(ring, pos);

	copy_payload(payload, bio, from);
	/* Of the copy, not of the pages: those may still be written to. */
	blkship_ring_publish(ring, pos,
			     blkship_payload_crc(payload, from->bi_size));
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

/* Whether one that came later waits for it. */
static bool flight_waited_for(const struct blkship_flight *f)
{
	const struct blkship_flight *other;

	list_for_each_entry(other, &f->vol->apart, waiting)
		if (other->seq > f->seq && flights_meet(other, f))
			return true;
	return false;
}

/*
 * A later write has ended while its payload was copied: it comes after that one
 * in the order, unless there are others that come after it at the device.
 */
static noinline void flight_renew(struct blkship_flight *f,
				  struct blkship_write *w)
{
	struct blkship_volume *vol = f->vol;
	struct blkship_group *grp = vol->grp;
	u64 old_pos = f->pos;
	unsigned long flags;

	raw_spin_lock_irqsave(&grp->lock, flags);
	blkship_write_stamp(grp, w);
	if (!flight_waited_for(f) &&
	    blkship_ring_renew(&grp->ring, w->time_ns, &f->seq, &f->pos)) {
		*flight_slot(grp, old_pos) = NULL;
		*flight_slot(grp, f->pos) = f;
		if (f->apart)
			list_move_tail(&f->waiting, &vol->apart);
		/* The period in which it has to be is that of its position. */
		if (vol->log)
			blkship_list_touch(&vol->log->list, w->offset_bytes,
					   w->length_bytes);
	} else {
		flight_mark(f);
		blkship_ring_spoil(&grp->ring, f->pos, f->seq);
	}
	blkship_group_wake(grp);
	raw_spin_unlock_irqrestore(&grp->lock, flags);
}

bool blkship_capture_write(struct blkship_flight *f, struct bio *bio,
			   struct blkship_write *w)
{
	struct blkship_volume *vol = f->vol;
	struct blkship_group *grp = vol->grp;
	bool captured, overflow = false, held = false;
	unsigned long flags;

	flight_set_range(f, w);
	f->copied = false;
	f->observed = false;
	w->volume = vol->index;

	raw_spin_lock_irqsave(&grp->lock, flags);
	blkship_write_stamp(grp, w);
	if (unlikely(blkship_flight_refused(f))) {
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
	} else {
		/* Its own seq, which the ring will not show, is the event. */
		f->kind = BLKSHIP_FLIGHT_UNCAPTURED;
		f->blockers = 0;
		f->apart = false;
		vol->uncaptured++;
		vol->nr_uncaptured++;
		blkship_dirty_mark(&vol->maps, w->offset_bytes, w->length_bytes);
		overflow = grp->overflows_told != grp->ring.shared->overflows;
		grp->overflows_told = grp->ring.shared->overflows;
		blkship_group_wake(grp);
	}
	if (vol->log && unlikely(!blkship_list_touch(&vol->log->list,
						     w->offset_bytes,
						     w->length_bytes)))
		flight_hold_unlisted(f);
	held = f->blockers;
	raw_spin_unlock_irqrestore(&grp->lock, flags);

	if (unlikely(overflow))
		queue_work(blkship_wq, &grp->overflow_work);
	if (likely(captured) && w->op == BLKSHIP_OP_WRITE) {
		blkship_payload_copy(&grp->ring, f->pos, bio, &bio->bi_iter);
		if (unlikely(!blkship_ring_in_order(&grp->ring, f->seq)))
			flight_renew(f, w);
	}
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
	f->observed = false;
	w->op = BLKSHIP_OP_FLUSH;
	w->volume = f->vol->index;

	raw_spin_lock_irqsave(&grp->lock, flags);
	blkship_write_stamp(grp, w);
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
			flight_mark(f);
		flight_remove(grp, f);
		WARN_ON_ONCE(!blkship_ring_end(&grp->ring, f->pos, f->seq,
					       state));
	} else if (f->kind == BLKSHIP_FLIGHT_FLUSH) {
		flush_end(grp, f, state);
	} else if (f->kind == BLKSHIP_FLIGHT_UNCAPTURED) {
		f->vol->nr_uncaptured--;
		flight_mark(f);
		blkship_ring_ended(&grp->ring, grp->ring.newest_seq);
	}
	blkship_group_wake(grp);
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
	} else if (f->observed) {
		blkship_observe_time_out(f);
	} else {
		flight_mark(f);
		flight_remove(grp, f);
		/* Its completion, should it ever come, has no entry any more. */
		f->kind = BLKSHIP_FLIGHT_UNCAPTURED;
		vol->nr_uncaptured++;
		blkship_ring_end(&grp->ring, f->pos, f->seq, BLKSHIP_STATE_GAP);
	}
	blkship_group_wake(grp);
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
	u64 now_ns = blkship_tick_ns(), from = 0;
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
