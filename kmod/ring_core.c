// SPDX-License-Identifier: GPL-2.0
/* See ring_core.h for what this stage promises. */
#include <linux/kernel.h>
#include <linux/string.h>

#include "ring_core.h"

void blkship_ring_init(struct blkship_ring *r)
{
	r->newest_seq = 0;
	r->newest_ended = 0;
	r->desc_head = 0;
	r->watermark_pos = 0;
	r->watermark_payload = 0;
	r->desc_tail = 0;
	r->payload_head = 0;
	r->payload_tail = 0;
	r->capturing = true;
	r->shared->magic = BLKSHIP_RING_MAGIC;
	r->shared->abi_version = BLKSHIP_ABI_VERSION;
	r->shared->desc_count = r->desc_count;
	r->shared->region_bytes = BLKSHIP_REGION_BYTES;
	r->shared->payload_bytes = r->payload_bytes;
}

u64 blkship_ring_mark(struct blkship_ring *r)
{
	u64 seq = ++r->newest_seq;

	WRITE_ONCE(r->shared->marks, r->shared->marks + 1);
	ring_show_new(r);
	ring_show_ended(r);
	return seq;
}

/*
 * Only completed descriptors can be released, and none twice: anything else is
 * a consumer's mistake that must not reach live data, so it is not followed.
 */
void blkship_ring_follow(struct blkship_ring *r, u64 released)
{
	const struct blkship_entry *e;

	if (released < r->desc_tail || released > r->watermark_pos) {
		WRITE_ONCE(r->shared->rejected_positions,
			   r->shared->rejected_positions + 1);
		return;
	}
	e = ring_entry(r, released - 1);
	r->payload_tail = e->payload_end;
	WRITE_ONCE(r->shared->released_seq, e->seq);
	r->desc_tail = released;
	WRITE_ONCE(r->shared->payload_tail, r->payload_tail);
	WRITE_ONCE(r->shared->desc_tail, r->desc_tail);
}

/* After an overflow capture resumes at half empty, not at the first free byte. */
static bool ring_half_empty(const struct blkship_ring *r)
{
	return (r->desc_head - r->desc_tail) * 2 <= r->desc_count &&
	       (r->payload_head - r->payload_tail) * 2 <= r->payload_bytes;
}

static void ring_show_uncaptured(struct blkship_ring *r)
{
	WRITE_ONCE(r->shared->uncaptured, r->shared->uncaptured + 1);
	ring_show_new(r);
	ring_show_ended(r);
}

u64 blkship_ring_pass_over(struct blkship_ring *r)
{
	u64 seq = ++r->newest_seq;

	ring_show_uncaptured(r);
	return seq;
}

bool blkship_ring_goes_on(struct blkship_ring *r, u32 payload_bytes)
{
	u64 start;

	if (!r->capturing && ring_half_empty(r))
		r->capturing = true;
	if (r->capturing && !ring_has_room(r, payload_bytes, &start)) {
		r->capturing = false;
		WRITE_ONCE(r->shared->overflows, r->shared->overflows + 1);
	}
	if (!r->capturing)
		ring_show_uncaptured(r);
	return r->capturing;
}

bool blkship_ring_flush(struct blkship_ring *r, const struct blkship_write *w,
			u64 *pos)
{
	u64 start;

	blkship_ring_collect(r);
	if (!r->capturing || !ring_has_room(r, 0, &start))
		return false;
	*pos = ring_take(r, w, start, 0, ++r->newest_seq);
	ring_show_new(r);
	return true;
}

/* As many records that came meanwhile are looked at, under the lock, to renew one. */
#define RENEW_MAX_SPAN 2048

static bool ring_is_open(const struct blkship_ring *r, u64 pos, u64 seq)
{
	const struct blkship_entry *e = ring_entry(r, pos);

	return e->seq == seq && e->state == BLKSHIP_STATE_OPEN;
}

/*
 * Payload is given back from front to back. What came after pos must not give back
 * what pos has, if that is to stay until a later descriptor is released.
 */
static void ring_keep_payload(struct blkship_ring *r, u64 pos)
{
	u64 start = ring_desc(r, pos)->payload_pos;

	for (; pos < r->desc_head; pos++)
		ring_entry(r, pos)->payload_end =
			min(ring_entry(r, pos)->payload_end, start);
}

bool blkship_ring_renew(struct blkship_ring *r, u64 time_ns, u64 *seq, u64 *pos)
{
	struct blkship_desc *old = ring_desc(r, *pos), *d;
	struct blkship_entry *e;
	u64 old_pos = *pos;

	blkship_ring_collect(r);
	if (!ring_is_open(r, old_pos, *seq) ||
	    r->desc_head - r->desc_tail == r->desc_count ||
	    r->desc_head - old_pos > RENEW_MAX_SPAN)
		return false;
	ring_keep_payload(r, old_pos);
	*pos = r->desc_head++;
	*seq = ++r->newest_seq;
	e = ring_entry(r, *pos);
	*e = *ring_entry(r, old_pos);
	e->seq = *seq;
	e->payload_end = r->payload_head;
	d = ring_desc(r, *pos);
	*d = *old;
	d->seq = *seq;
	d->time_ns = time_ns;

	ring_entry(r, old_pos)->state = BLKSHIP_STATE_ABORTED;
	WRITE_ONCE(old->state, BLKSHIP_STATE_ABORTED);
	WRITE_ONCE(r->shared->renewed, r->shared->renewed + 1);
	ring_show_new(r);
	ring_show_ended(r);
	return true;
}

void blkship_ring_spoil(struct blkship_ring *r, u64 pos, u64 seq)
{
	if (!ring_is_open(r, pos, seq))
		return;
	ring_entry(r, pos)->spoiled = true;
	WRITE_ONCE(r->shared->uncaptured, r->shared->uncaptured + 1);
}

u8 blkship_ring_odd_end(struct blkship_ring *r, const struct blkship_entry *e,
			u8 state)
{
	/* It is in no point before its mark: what depends on it comes after that. */
	blkship_ring_ended(r, r->newest_seq);
	if (state == BLKSHIP_STATE_ABORTED)
		WRITE_ONCE(r->shared->aborted, r->shared->aborted + 1);
	else if (state == BLKSHIP_STATE_FAILED)
		WRITE_ONCE(r->shared->failed, r->shared->failed + 1);
	else if (state == BLKSHIP_STATE_GAP)
		WRITE_ONCE(r->shared->timeouts, r->shared->timeouts + 1);
	/* One that did not reach the device has nothing that could be wrong. */
	return e->spoiled && state == BLKSHIP_STATE_DONE ? BLKSHIP_STATE_GAP :
							   state;
}

const struct blkship_entry *
blkship_ring_overdue(const struct blkship_ring *r, u64 deadline_ns, u64 *from,
		     u32 *budget)
{
	if (*from < r->watermark_pos)
		*from = r->watermark_pos;
	while (*budget && *from < r->desc_head) {
		const struct blkship_entry *e = ring_entry(r, (*from)++);

		(*budget)--;
		if (e->state == BLKSHIP_STATE_OPEN && e->submit_ns <= deadline_ns)
			return e;
	}
	return NULL;
}
