// SPDX-License-Identifier: GPL-2.0
/* See observe.h for what this stage promises. */
#include <linux/bio.h>

#include "observe.h"

/* -- what has no entry -- */

/* The event of a write that is not in the ring; silent until first fed. */
static void loose_mark(struct blkship_volume *vol, u64 first, u64 last)
{
	lockdep_assert_held(&vol->grp->lock);
	blkship_dirty_mark(&vol->maps, first << SECTOR_SHIFT,
			   (last - first + 1) << SECTOR_SHIFT);
	if (likely(vol->seen)) {
		/* It may be the end of the write that it is for. */
		blkship_ring_ended(&vol->grp->ring,
				   blkship_ring_mark(&vol->grp->ring));
		blkship_group_wake(vol->grp);
	}
}

/* From now on writes without an entry are to be expected for a while. */
static void loose_explain(struct blkship_volume *vol)
{
	vol->explained_until = get_jiffies_64() +
			       (u64)READ_ONCE(blkship_io_timeout_s) * HZ;
}

/* It was marked, and nobody knew of it: whether there is an explanation. */
static bool loose_explained(struct blkship_volume *vol)
{
	if (!vol->seen || get_jiffies_64() <= vol->explained_until)
		return true;
	vol->unseen++;
	return false;
}

/* -- submission -- */

/* A write that is being submitted, or the part of it that makes one record. */
struct blkship_observing {
	struct blkship_volume *vol;
	const struct bio *bio;
	struct blkship_span span;	/* of the bio */
	u64 first;			/* of the record */
	u64 last;
	bool capture;
};

/*
 * Its blocks are taken: the device may do the two in any order. Dirty, with a seq
 * that comes before that of anything that depends on how it went.
 */
static noinline void observed_set_apart(struct blkship_observed *o)
{
	flight_set_apart(&o->flight);
	if (o->flight.vol->seen)
		flight_mark(&o->flight);
}

/* It begins: found from now on by its bio and its blocks. */
static __always_inline void
observed_begin(struct blkship_observed *o, const struct blkship_observing *what,
	       u8 kind)
{
	struct blkship_flight *f = &o->flight;

	f->vol = what->vol;
	f->first = what->first;
	f->last = what->last;
	f->kind = kind;
	f->copied = false;
	f->apart = false;
	o->bio_first = what->span.first;
	o->bio_last = what->span.last;
	o->left_bytes = (what->last - what->first + 1) << SECTOR_SHIFT;
	o->failed = false;
	o->bio = what->bio;
	observed_hint(o);
	if (unlikely(!observed_insert(o, what->vol, region_of(what->first),
				      region_of(what->last))))
		observed_set_apart(o);
}

/*
 * One that is not captured: dirty now, and followed, if there is memory for
 * that, so that it is again at its end.
 */
static noinline struct blkship_observed *
uncaptured_begin(struct blkship_observing what)
{
	struct blkship_volume *vol = what.vol;
	struct blkship_observed *o = NULL;

	blkship_dirty_mark(&vol->maps, what.first << SECTOR_SHIFT,
			   (what.last - what.first + 1) << SECTOR_SHIFT);
	if (vol->nr_apart < BLKSHIP_APART_MAX)
		o = blkship_spare_get(vol->grp->observer);
	if (o)
		observed_begin(o, &what, BLKSHIP_FLIGHT_UNCAPTURED);
	else
		loose_explain(vol);
	return o;
}

/* Whether it would have to be apart, and too many are. */
static noinline bool observing_refused(struct blkship_observing what)
{
	const struct blkship_flight f = {
		.vol = what.vol, .first = what.first, .last = what.last,
	};

	return blkship_flight_refused(&f) || blkship_observed_meets(&f);
}

/*
 * Take a seq, and a place in the ring if there is one. The seq of a write that
 * the ring will not show is the event of a gap.
 */
static __always_inline struct blkship_observed *
observing_reserve(const struct blkship_observing *what,
		  const struct blkship_write *w)
{
	struct blkship_volume *vol = what->vol;
	struct blkship_group *grp = vol->grp;
	struct blkship_observed *o;
	u64 seq, pos;
	u32 place;

	if (unlikely(!vol->seen))
		return NULL;
	if (unlikely(!what->capture) ||
	    (unlikely(vol->nr_apart >= BLKSHIP_APART_MAX) &&
	     observing_refused(*what))) {
		blkship_ring_pass_over(&grp->ring);
		return NULL;
	}
	if (unlikely(!blkship_ring_reserve(&grp->ring, w, &seq, &pos)))
		return NULL;
	place = pos & (grp->ring.desc_count - 1);
	o = &grp->observer->all[place];
	o->flight.seq = seq;
	o->flight.pos = pos;
	grp->flights[place] = &o->flight;
	grp->nr_flights++;
	vol->captured++;
	return o;
}

/* Not captured; whether there is an overflow to tell of. */
static noinline bool uncaptured_record(struct blkship_observing what)
{
	struct blkship_group *grp = what.vol->grp;
	u64 told = grp->overflows_told;

	lockdep_assert_held(&grp->lock);
	what.vol->uncaptured += what.vol->seen;
	uncaptured_begin(what);
	grp->overflows_told = grp->ring.shared->overflows;
	blkship_group_wake(grp);
	return grp->overflows_told != told;
}

/*
 * A later write has ended while the payload was copied: the record comes after that
 * one in the order. Its descriptor's twin is another, so it ends and begins. Nobody
 * else has ended it: it is not at the device yet, and a tap that goes away waits for
 * its probes before it gives up what is in flight.
 */
static noinline struct blkship_observed *
observed_renew(struct blkship_observed *o, u64 seq,
	       const struct blkship_observing *what, struct blkship_write *w)
{
	struct blkship_group *grp = what->vol->grp;
	u64 pos = o->flight.pos, old_pos = pos;
	unsigned long flags;
	u32 place;

	raw_spin_lock_irqsave(&grp->lock, flags);
	blkship_write_stamp(grp, w);
	if (blkship_ring_renew(&grp->ring, w->time_ns, &seq, &pos)) {
		observed_erase(o);
		WRITE_ONCE(o->bio, NULL);
		*flight_slot(grp, old_pos) = NULL;
		place = pos & (grp->ring.desc_count - 1);
		o = &grp->observer->all[place];
		o->flight.seq = seq;
		o->flight.pos = pos;
		grp->flights[place] = &o->flight;
		observed_begin(o, what, BLKSHIP_FLIGHT_CAPTURED);
	} else {
		flight_mark(&o->flight);
		blkship_ring_spoil(&grp->ring, pos, seq);
	}
	blkship_group_wake(grp);
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	return o;
}

/* So much of it as fits one record; @from is where its payload is. */
static __always_inline void observe_record(const struct blkship_observing *what,
					   const struct bvec_iter *from,
					   struct blkship_write *w)
{
	struct blkship_group *grp = what->vol->grp;
	struct blkship_observed *o;
	unsigned long flags;
	u64 seq;

	w->offset_bytes = what->first << SECTOR_SHIFT;
	w->length_bytes = (what->last - what->first + 1) << SECTOR_SHIFT;
	raw_spin_lock_irqsave(&grp->lock, flags);
	blkship_write_stamp(grp, w);
	o = observing_reserve(what, w);
	if (unlikely(!o)) {
		bool overflow = uncaptured_record(*what);

		raw_spin_unlock_irqrestore(&grp->lock, flags);
		if (overflow)
			queue_work(blkship_wq, &grp->overflow_work);
		return;
	}
	observed_begin(o, what, BLKSHIP_FLIGHT_CAPTURED);
	seq = o->flight.seq;
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	if (w->op == BLKSHIP_OP_WRITE) {
		blkship_payload_copy(&grp->ring, o->flight.pos, what->bio,
				     from);
		if (unlikely(!blkship_ring_in_order(&grp->ring, seq)))
			o = observed_renew(o, seq, what, w);
	}
	/* Pairs with the scan: it leaves alone what is still being copied. */
	smp_store_release(&o->flight.copied, true);
}

void blkship_observe_write(struct blkship_volume *vol, struct bio *bio,
			   u64 first)
{
	const u64 last = first + bio_sectors(bio) - 1;
	const struct blkship_observing what = {
		.vol = vol, .bio = bio, .span = { first, last },
		.first = first, .last = last, .capture = true,
	};
	struct blkship_write w = {
		.op = BLKSHIP_OP_WRITE, .flags = blkship_flags_of(bio),
		.volume = vol->index,
	};

	observe_record(&what, &bio->bi_iter, &w);
}

/* In several records, each with a seq of its own; or from the middle of a bio. */
void blkship_observe_submit(struct blkship_volume *vol, struct bio *bio,
			    struct blkship_span span, u32 skip_bytes, u8 op,
			    bool capture)
{
	u64 most = op == BLKSHIP_OP_WRITE && capture ?
		   blkship_record_max_bytes(&vol->grp->ring) >> SECTOR_SHIFT :
		   U64_MAX - span.first;
	struct blkship_observing what = {
		.vol = vol, .bio = bio, .span = span, .first = span.first,
		.capture = capture,
	};
	struct blkship_write w = {
		.op = op, .flags = blkship_flags_of(bio), .volume = vol->index,
	};
	struct bvec_iter from = bio->bi_iter, piece;

	if (op == BLKSHIP_OP_WRITE)
		bio_advance_iter(bio, &from, skip_bytes);
	for (;;) {
		what.last = min(span.last, what.first + most - 1);
		piece = from;
		piece.bi_size = (what.last - what.first + 1) << SECTOR_SHIFT;
		observe_record(&what, &piece, &w);
		if (what.last == span.last)
			break;
		what.first = what.last + 1;
		bio_advance_iter(bio, &from, most << SECTOR_SHIFT);
	}
}

void blkship_observe_pass(struct blkship_volume *vol, struct blkship_span span)
{
	struct blkship_group *grp = vol->grp;
	unsigned long flags;

	raw_spin_lock_irqsave(&grp->lock, flags);
	loose_explain(vol);
	vol->uncaptured++;
	loose_mark(vol, span.first, span.last);
	raw_spin_unlock_irqrestore(&grp->lock, flags);
}

/* -- end -- */

/* The same, for what was not captured or went wrong. */
static noinline void observed_end_odd(struct blkship_observed *o, u8 state)
{
	struct blkship_flight *f = &o->flight;
	struct blkship_volume *vol = f->vol;

	if (state == BLKSHIP_STATE_FAILED)
		vol->failed++;
	if (f->kind == BLKSHIP_FLIGHT_CAPTURED) {
		if (state == BLKSHIP_STATE_FAILED ||
		    state == BLKSHIP_STATE_GAP)
			flight_mark(f);
		vol->grp->nr_flights--;
		WARN_ON_ONCE(!blkship_ring_end(&vol->grp->ring, f->pos, f->seq,
					       state));
	} else {
		loose_mark(vol, f->first, f->last);
	}
	if (o->spare)
		blkship_spare_put(vol->grp->observer, o);
}

/* It ended, in this state; its memory is free for the next. */
static __always_inline void observed_end(struct blkship_observed *o, u8 state)
{
	struct blkship_flight *f = &o->flight;
	struct blkship_group *grp = f->vol->grp;

	lockdep_assert_held(&grp->lock);
	observed_erase(o);
	if (likely(f->kind == BLKSHIP_FLIGHT_CAPTURED) &&
	    likely(state == BLKSHIP_STATE_DONE)) {
		grp->nr_flights--;
		WARN_ON_ONCE(!blkship_ring_end(&grp->ring, f->pos, f->seq,
					       state));
	} else {
		observed_end_odd(o, state);
	}
	blkship_group_wake(grp);
	WRITE_ONCE(o->bio, NULL);
}

static __always_inline void observed_add(struct blkship_observed *o, u64 bytes,
					 bool failed)
{
	o->failed |= failed;
	if (likely(bytes >= o->left_bytes))
		observed_end(o, o->failed ? BLKSHIP_STATE_FAILED :
			     BLKSHIP_STATE_DONE);
	else
		o->left_bytes -= bytes;
}

/*
 * Under the lock: so much of what these sectors belong to has ended. Whether all
 * of it had an entry; what had none is dirty.
 */
static bool span_progress(struct blkship_volume *vol, const struct bio *bio,
			  struct blkship_span span, bool failed)
{
	struct blkship_flight *f;
	bool known = true;
	u64 at, next;

	for (at = span.first; at <= span.last; at = next) {
		f = blkship_observed_find(vol, bio, at, &next);
		if (likely(f)) {
			next = min(f->last, span.last) + 1;
			observed_add(observed_of(f),
				     (next - at) << SECTOR_SHIFT, failed);
			continue;
		}
		next = min(next, span.last + 1);
		loose_mark(vol, at, next - 1);
		known = false;
	}
	return known;
}

void blkship_observed_progress(struct blkship_observed *o,
			       struct blkship_volume *vol,
			       const struct bio *bio, struct blkship_span span,
			       bool failed)
{
	struct blkship_group *grp = vol->grp;
	unsigned long flags;

	raw_spin_lock_irqsave(&grp->lock, flags);
	if (likely(o->bio == bio))
		observed_add(o, (span.last - span.first + 1) << SECTOR_SHIFT,
			     failed);
	else
		span_progress(vol, bio, span, failed);	/* it timed out */
	raw_spin_unlock_irqrestore(&grp->lock, flags);
}

bool blkship_observe_progress(struct blkship_volume *vol, const struct bio *bio,
			      struct blkship_span span, bool failed)
{
	unsigned long flags;
	bool expected;

	raw_spin_lock_irqsave(&vol->grp->lock, flags);
	expected = span_progress(vol, bio, span, failed) ||
		   loose_explained(vol);
	raw_spin_unlock_irqrestore(&vol->grp->lock, flags);
	return expected;
}

/*
 * No request that had a part of it has ended, and it has none in flight any more. Of a
 * driver that takes bios out of requests which it was given nobody can tell.
 */
static bool never_issued(const struct blkship_observed *o)
{
	return !o->flight.vol->bios_taken &&
	       o->left_bytes ==
	       (o->flight.last - o->flight.first + 1) << SECTOR_SHIFT;
}

/*
 * How a bio's own end ends what it still has in flight. On a disk that works by
 * requests a write that was issued ends with its last request, so here is only
 * what never became one, wholly or in part.
 */
static u8 end_state(const struct blkship_observed *o, bool failed,
		    bool by_request)
{
	if (!by_request)
		return failed ? BLKSHIP_STATE_FAILED : BLKSHIP_STATE_DONE;
	return failed && never_issued(o) ? BLKSHIP_STATE_ABORTED :
					   BLKSHIP_STATE_FAILED;
}

/* All that this bio has, of which f is a part. */
static void end_all_of(struct blkship_volume *vol, const struct bio *bio,
		       struct blkship_flight *f, bool failed, bool by_request)
{
	u64 at = observed_of(f)->bio_first, last = observed_of(f)->bio_last;
	u64 next;

	for (; at <= last; at = next) {
		f = blkship_observed_find(vol, bio, at, &next);
		if (!f)
			continue;
		next = f->last + 1;
		observed_end(observed_of(f), end_state(observed_of(f), failed,
						       by_request));
	}
}

bool blkship_observe_end(struct blkship_volume *vol, const struct bio *bio,
			 struct blkship_span span, bool failed, bool by_request)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_flight *f;
	unsigned long flags;
	bool expected = true;
	u64 next;

	raw_spin_lock_irqsave(&grp->lock, flags);
	f = blkship_observed_find(vol, bio, span.first, &next);
	if (likely(f) && observed_of(f)->bio == bio) {
		end_all_of(vol, bio, f, failed, by_request);
	} else if (by_request) {
		/* A piece that never became a request, or has no entry. */
		span_progress(vol, bio, span, true);
	} else if (!f) {
		/* Where it began is not known any more. */
		loose_mark(vol, 0, (vol->size_bytes >> SECTOR_SHIFT) - 1);
		expected = loose_explained(vol);
	}
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	return expected;
}

/*
 * It stops holding the watermark. Its place in the ring may be used again soon,
 * so what is still to be known at its end moves to a spare one.
 */
void blkship_observe_time_out(struct blkship_flight *f)
{
	const struct blkship_observed was = *observed_of(f);
	struct blkship_observed *o;
	const struct blkship_observing what = {
		.vol = f->vol, .bio = was.bio, .first = f->first,
		.last = f->last,
		.span = { .first = was.bio_first, .last = was.bio_last },
	};

	lockdep_assert_held(&f->vol->grp->lock);
	observed_end(observed_of(f), BLKSHIP_STATE_GAP);
	o = uncaptured_begin(what);
	if (o) {
		o->left_bytes = was.left_bytes;	/* the rest may have ended */
		o->failed = was.failed;
	}
}

void blkship_observe_explain(struct blkship_volume *vol)
{
	raw_spin_lock_irq(&vol->grp->lock);
	loose_explain(vol);
	raw_spin_unlock_irq(&vol->grp->lock);
}

bool blkship_observe_raw(struct blkship_volume *vol)
{
	unsigned long flags;
	bool news;

	raw_spin_lock_irqsave(&vol->grp->lock, flags);
	news = !vol->raw_command;
	vol->raw_command = true;
	/* As long as it says so nothing is taken over: no pass can end. */
	loose_mark(vol, 0, 0);
	raw_spin_unlock_irqrestore(&vol->grp->lock, flags);
	return news;
}

bool blkship_observe_raw_forget(struct blkship_volume *vol)
{
	bool was;

	raw_spin_lock_irq(&vol->grp->lock);
	was = vol->raw_command;
	vol->raw_command = false;
	raw_spin_unlock_irq(&vol->grp->lock);
	return was;
}

void blkship_observe_taken(struct blkship_volume *vol, struct blkship_span span)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&vol->grp->lock, flags);
	vol->bios_taken = true;
	loose_mark(vol, span.first, span.last);
	raw_spin_unlock_irqrestore(&vol->grp->lock, flags);
}

void blkship_observe_outgrown(struct blkship_volume *vol)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&vol->grp->lock, flags);
	vol->outgrown = true;
	loose_mark(vol, 0, 0);
	raw_spin_unlock_irqrestore(&vol->grp->lock, flags);
}

bool blkship_observe_idle(struct blkship_volume *vol)
{
	bool idle;

	raw_spin_lock_irq(&vol->grp->lock);
	idle = RB_EMPTY_ROOT(&vol->flights) && !vol->nr_apart && !vol->nr_near;
	raw_spin_unlock_irq(&vol->grp->lock);
	return idle;
}

void blkship_observe_give_up(struct blkship_volume *vol)
{
	struct blkship_flight *f;

	do {
		raw_spin_lock_irq(&vol->grp->lock);
		f = blkship_observed_any(vol);
		if (f)
			observed_end(observed_of(f), BLKSHIP_STATE_GAP);
		raw_spin_unlock_irq(&vol->grp->lock);
	} while (f);
}
