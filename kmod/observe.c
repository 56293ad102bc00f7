// SPDX-License-Identifier: GPL-2.0
/* See observe.h for what this stage promises. */
#include <linux/bio.h>
#include <linux/vmalloc.h>

#include "observe.h"

/* As many uncaptured writes of a group are followed to their end. */
#define SPARE_COUNT	4096

static struct blkship_observed *observed_of(const struct blkship_flight *f)
{
	return container_of(f, struct blkship_observed, flight);
}

/* -- memory: one for each descriptor, and the spare ones -- */

int blkship_observe_alloc(struct blkship_group *grp)
{
	size_t count = (size_t)grp->ring.desc_count + SPARE_COUNT, i;
	struct blkship_observed *all;

	/* Set once and never changed, so a look without a lock is enough. */
	if (READ_ONCE(grp->observed))
		return 0;
	all = vzalloc(array_size(count, sizeof(*all)));
	if (!all)
		return -ENOMEM;
	raw_spin_lock_irq(&grp->lock);
	if (!grp->observed) {
		for (i = grp->ring.desc_count; i < count; i++)
			list_add_tail(&all[i].flight.waiting, &grp->spare);
		WRITE_ONCE(grp->observed, all);
		all = NULL;
	}
	raw_spin_unlock_irq(&grp->lock);
	vfree(all);
	return 0;
}

void blkship_observe_free(struct blkship_group *grp)
{
	vfree(grp->observed);
}

static struct blkship_observed *spare_get(struct blkship_group *grp)
{
	struct blkship_observed *o =
		list_first_entry_or_null(&grp->spare, struct blkship_observed,
					 flight.waiting);

	if (o) {
		list_del(&o->flight.waiting);
		o->spare = true;
	}
	return o;
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

/*
 * Who has this sector for this bio; or NULL, and in *next the first sector from
 * here on that somebody else may have for it.
 */
static struct blkship_flight *observed_find(const struct blkship_volume *vol,
					    const struct bio *bio, u64 sector,
					    u64 *next)
{
	struct rb_node *node = vol->flights.rb_node;
	struct blkship_flight *f;

	*next = ~0ULL;
	while (node) {
		f = flight_of(node);
		if (sector < f->first) {
			*next = f->first;
			node = node->rb_left;
		} else if (sector > f->last) {
			node = node->rb_right;
		} else if (likely(observed_is(f, bio))) {
			return f;
		} else {
			*next = f->last + 1;
			break;
		}
	}
	return likely(!vol->nr_apart) ? NULL :
					find_apart(vol, bio, sector, next);
}

/* -- what has no entry -- */

/* The event of a write that is not in the ring; silent until first fed. */
static void loose_mark(struct blkship_volume *vol, u64 first, u64 last)
{
	lockdep_assert_held(&vol->grp->lock);
	blkship_dirty_mark(&vol->maps, first << SECTOR_SHIFT,
			   (last - first + 1) << SECTOR_SHIFT);
	if (likely(vol->seen)) {
		blkship_ring_mark(&vol->grp->ring);
		blkship_group_wake(vol->grp);
	}
}

/* From now on writes without an entry are to be expected for a while. */
static void loose_explain(struct blkship_volume *vol)
{
	vol->explained_until = get_jiffies_64() +
			       (u64)READ_ONCE(blkship_io_timeout_s) * HZ;
}

/* Something nobody knows of: whether that is news. */
static bool loose_found(struct blkship_volume *vol, u64 first, u64 last)
{
	loose_mark(vol, first, last);
	if (!vol->seen || get_jiffies_64() <= vol->explained_until)
		return false;
	vol->unseen++;
	return true;
}

/* -- submission -- */

/*
 * Its blocks are taken, or not. When they are, the device may do the two in any
 * order: dirty, with a seq that comes before that of anything that depends on
 * how it went.
 */
static void observed_place(struct blkship_flight *f)
{
	if (likely(!meets_apart(f)) && likely(flight_insert(f)))
		return;
	flight_set_apart(f);
	if (f->vol->seen)
		flight_mark(f);
}

/* One that is not captured: dirty now, and followed so that it is at its end. */
static void submit_uncaptured(struct blkship_volume *vol,
			      struct blkship_observed *o,
			      const struct blkship_observed *like)
{
	struct blkship_flight *f = &o->flight;

	*o = *like;
	o->spare = true;
	f->kind = BLKSHIP_FLIGHT_UNCAPTURED;
	observed_place(f);
}

/*
 * Reserve a place in the ring. The write's own seq, which the ring will not show
 * when there is none, is the event of a gap.
 */
static struct blkship_observed *submit_reserve(struct blkship_volume *vol,
					       struct blkship_observed *like,
					       const struct blkship_write *w,
					       bool capture)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_flight *f = &like->flight;
	struct blkship_observed *o = NULL;

	if (unlikely(!vol->seen)) {
		capture = false;
	} else if (unlikely(!capture) || unlikely(blkship_flight_refused(f))) {
		blkship_ring_pass_over(&grp->ring);
		capture = false;
	} else {
		capture = blkship_ring_reserve(&grp->ring, w, &f->seq,
					       &f->pos);
	}
	if (likely(capture)) {
		o = &grp->observed[f->pos & (grp->ring.desc_count - 1)];
		*o = *like;
		vol->captured++;
		*flight_slot(grp, f->pos) = &o->flight;
		grp->nr_flights++;
		observed_place(&o->flight);
		return o;
	}
	vol->uncaptured += vol->seen;
	flight_dirty(f);
	if (vol->nr_apart < BLKSHIP_APART_MAX)
		o = spare_get(grp);
	if (o)
		submit_uncaptured(vol, o, like);
	else
		loose_explain(vol);
	blkship_group_wake(grp);
	return NULL;
}

/* So much of it as fits one record. */
static void submit_record(struct blkship_volume *vol, struct bio *bio,
			  struct blkship_observed *like,
			  struct bvec_iter start, struct blkship_write *w,
			  bool capture)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_observed *o;
	unsigned long flags;
	bool overflow;

	flight_set_range(&like->flight, w);
	like->left_bytes = w->length_bytes;
	raw_spin_lock_irqsave(&grp->lock, flags);
	o = submit_reserve(vol, like, w, capture);
	overflow = !o && grp->overflows_told != grp->ring.shared->overflows;
	if (unlikely(overflow))
		grp->overflows_told = grp->ring.shared->overflows;
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	if (unlikely(overflow))
		queue_work(blkship_wq, &grp->overflow_work);
	if (unlikely(!o))
		return;
	if (w->op == BLKSHIP_OP_WRITE) {
		start.bi_size = w->length_bytes;
		blkship_payload_copy(&grp->ring, o->flight.pos, bio, start);
	}
	/* Pairs with the scan: it leaves alone what is still being copied. */
	smp_store_release(&o->flight.copied, true);
}

void blkship_observe_submit(struct blkship_volume *vol, struct bio *bio,
			    struct blkship_span span, struct bvec_iter start,
			    struct blkship_write *w, bool capture)
{
	struct blkship_observed like = {
		.flight = { .vol = vol, .kind = BLKSHIP_FLIGHT_CAPTURED,
			    .observed = true },
		.bio = bio, .bio_first = span.first, .bio_last = span.last,
	};
	u64 left = (span.last - span.first + 1) << SECTOR_SHIFT;
	u64 most = w->op == BLKSHIP_OP_WRITE && capture ?
		   blkship_record_max_bytes(&vol->grp->ring) : left;

	w->volume = vol->index;
	w->offset_bytes = span.first << SECTOR_SHIFT;
	blkship_write_stamp(w);
	while (left) {
		w->length_bytes = min(left, most);
		submit_record(vol, bio, &like, start, w, capture);
		left -= w->length_bytes;
		w->offset_bytes += w->length_bytes;
		if (unlikely(left) && w->op == BLKSHIP_OP_WRITE)
			bio_advance_iter(bio, &start, w->length_bytes);
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

/* -- issue and end -- */

bool blkship_observe_issue(struct blkship_volume *vol, const struct bio *bio,
			   struct blkship_span span)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_flight *f;
	bool expected = true;
	unsigned long flags;
	u64 at, next;

	raw_spin_lock_irqsave(&grp->lock, flags);
	for (at = span.first; at <= span.last; at = next) {
		f = observed_find(vol, bio, at, &next);
		if (likely(f)) {
			observed_of(f)->issued = true;
			next = f->last + 1;
			continue;
		}
		next = min(next, span.last + 1);
		expected &= !loose_found(vol, at, next - 1);
	}
	raw_spin_unlock_irqrestore(&grp->lock, flags);
	return expected;
}

/* It ended, in this state; its memory is free for the next. */
static void observed_end(struct blkship_flight *f, u8 state)
{
	struct blkship_volume *vol = f->vol;
	struct blkship_group *grp = vol->grp;

	lockdep_assert_held(&grp->lock);
	if (unlikely(f->apart))
		flight_unset_apart(f);
	else
		rb_erase(&f->node, &vol->flights);
	if (state == BLKSHIP_STATE_FAILED)
		vol->failed++;
	if (likely(f->kind == BLKSHIP_FLIGHT_CAPTURED)) {
		if (unlikely(state == BLKSHIP_STATE_FAILED ||
			     state == BLKSHIP_STATE_GAP))
			flight_mark(f);
		*flight_slot(grp, f->pos) = NULL;
		grp->nr_flights--;
		WARN_ON_ONCE(!blkship_ring_end(&grp->ring, f->pos, f->seq,
					       state));
	} else {
		loose_mark(vol, f->first, f->last);
	}
	blkship_group_wake(grp);
	if (unlikely(observed_of(f)->spare))
		list_add(&f->waiting, &grp->spare);
}

static void observed_progress(struct blkship_flight *f, u64 bytes, bool failed)
{
	struct blkship_observed *o = observed_of(f);

	o->failed |= failed;
	if (likely(bytes >= o->left_bytes))
		observed_end(f, o->failed ? BLKSHIP_STATE_FAILED :
			     BLKSHIP_STATE_DONE);
	else
		o->left_bytes -= bytes;
}

void blkship_observe_progress(struct blkship_volume *vol, const struct bio *bio,
			      struct blkship_span span, bool failed)
{
	struct blkship_group *grp = vol->grp;
	struct blkship_flight *f;
	unsigned long flags;
	u64 at, next;

	raw_spin_lock_irqsave(&grp->lock, flags);
	for (at = span.first; at <= span.last; at = next) {
		f = observed_find(vol, bio, at, &next);
		if (likely(f)) {
			next = min(f->last, span.last) + 1;
			observed_progress(f, (next - at) << SECTOR_SHIFT,
					  failed);
			continue;
		}
		/* The auditor has said what there was to say. */
		next = min(next, span.last + 1);
		loose_mark(vol, at, next - 1);
	}
	raw_spin_unlock_irqrestore(&grp->lock, flags);
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
	return failed && !o->issued ? BLKSHIP_STATE_ABORTED :
				      BLKSHIP_STATE_FAILED;
}

/* All that this bio has, of which f is a part. */
static void end_all_of(struct blkship_volume *vol, const struct bio *bio,
		       struct blkship_flight *f, bool failed, bool by_request)
{
	u64 at = observed_of(f)->bio_first, last = observed_of(f)->bio_last;
	u64 next;

	for (; at <= last; at = next) {
		f = observed_find(vol, bio, at, &next);
		if (!f)
			continue;
		next = f->last + 1;
		observed_end(f, end_state(observed_of(f), failed, by_request));
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
	f = observed_find(vol, bio, span.first, &next);
	if (likely(f) && observed_of(f)->bio == bio) {
		end_all_of(vol, bio, f, failed, by_request);
	} else if (f && by_request) {
		/* A piece that never became a request. */
		observed_progress(f, (span.last - span.first + 1) <<
				  SECTOR_SHIFT, true);
	} else if (!f && by_request) {
		loose_mark(vol, span.first, span.last);
	} else if (!f) {
		/* Where it began is not known any more. */
		expected = !loose_found(vol, 0, (vol->size_bytes >>
						 SECTOR_SHIFT) - 1);
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
	struct blkship_volume *vol = f->vol;
	struct blkship_observed copy = *observed_of(f), *o;

	lockdep_assert_held(&vol->grp->lock);
	observed_end(f, BLKSHIP_STATE_GAP);
	o = vol->nr_apart < BLKSHIP_APART_MAX ? spare_get(vol->grp) : NULL;
	if (o)
		submit_uncaptured(vol, o, &copy);
	else
		loose_explain(vol);
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
	news = !vol->raw_command && vol->seen;
	vol->raw_command |= news;
	/* As long as it says so nothing is taken over: no pass can end. */
	loose_mark(vol, 0, 0);
	raw_spin_unlock_irqrestore(&vol->grp->lock, flags);
	return news;
}

bool blkship_observe_idle(struct blkship_volume *vol)
{
	bool idle;

	raw_spin_lock_irq(&vol->grp->lock);
	idle = RB_EMPTY_ROOT(&vol->flights) && !vol->nr_apart;
	raw_spin_unlock_irq(&vol->grp->lock);
	return idle;
}

static struct blkship_flight *any_flight(struct blkship_volume *vol)
{
	if (vol->flights.rb_node)
		return flight_of(vol->flights.rb_node);
	return list_first_entry_or_null(&vol->apart, struct blkship_flight,
					waiting);
}

void blkship_observe_give_up(struct blkship_volume *vol)
{
	struct blkship_flight *f;

	do {
		raw_spin_lock_irq(&vol->grp->lock);
		f = any_flight(vol);
		if (f)
			observed_end(f, BLKSHIP_STATE_GAP);
		raw_spin_unlock_irq(&vol->grp->lock);
	} while (f);
}
