// SPDX-License-Identifier: GPL-2.0
/* See ring_core.h for what this stage promises. */
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/barrier.h>

#include "ring_core.h"

/* One in sixteen descriptors is kept for operations without payload. */
#define RESERVED_DESC_SHIFT 4

static struct blkship_entry *entry_at(const struct blkship_ring *r, u64 pos)
{
	return &r->entries[pos & (r->desc_count - 1)];
}

static struct blkship_desc *desc_at(const struct blkship_ring *r, u64 pos)
{
	return &r->descs[pos & (r->desc_count - 1)];
}

void blkship_ring_init(struct blkship_ring *r)
{
	r->newest_seq = 0;
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

/*
 * Tell the consumer what is new. Pairs with its acquire of newest_seq: who has seen
 * anything of a write, on the device or told by its submitter, sees its seq.
 */
static void ring_show_new(struct blkship_ring *r)
{
	WRITE_ONCE(r->shared->desc_head, r->desc_head);
	WRITE_ONCE(r->shared->payload_head, r->payload_head);
	smp_store_release(&r->shared->newest_seq, r->newest_seq);
}

/*
 * Tell the consumer what has ended. What is new went first: whoever sees the
 * watermark also sees the head, and the ends of all descriptors below it.
 */
static void ring_show_ended(struct blkship_ring *r)
{
	u64 watermark = r->newest_seq;

	while (r->watermark_pos < r->desc_head) {
		const struct blkship_entry *e = entry_at(r, r->watermark_pos);

		if (e->state == BLKSHIP_STATE_OPEN) {
			watermark = e->seq - 1;
			break;
		}
		r->watermark_payload = e->payload_end;
		r->watermark_pos++;
	}
	WRITE_ONCE(r->shared->watermark_pos, r->watermark_pos);
	/* Pairs with the consumer's acquire of the watermark. */
	smp_store_release(&r->shared->watermark_seq, watermark);
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
void blkship_ring_collect(struct blkship_ring *r)
{
	/* Pairs with the consumer's release: it has read what it gives back. */
	u64 released = smp_load_acquire(&r->consumer->released_pos);

	if (released == r->desc_tail)
		return;
	if (released < r->desc_tail || released > r->watermark_pos) {
		WRITE_ONCE(r->shared->rejected_positions,
			   r->shared->rejected_positions + 1);
		return;
	}
	r->payload_tail = entry_at(r, released - 1)->payload_end;
	WRITE_ONCE(r->shared->released_seq, entry_at(r, released - 1)->seq);
	r->desc_tail = released;
	WRITE_ONCE(r->shared->payload_tail, r->payload_tail);
	WRITE_ONCE(r->shared->desc_tail, r->desc_tail);
}

/* Where a record of this length begins: at the head, or past a skipped end. */
static u64 payload_start(const struct blkship_ring *r, u32 length_bytes)
{
	u64 in_ring = r->payload_head & (r->payload_bytes - 1);

	if (in_ring + length_bytes > r->payload_bytes)
		return r->payload_head + (r->payload_bytes - in_ring);
	return r->payload_head;
}

static bool ring_has_room(const struct blkship_ring *r, u32 payload_bytes)
{
	u64 descs = r->desc_count;

	if (payload_bytes)
		descs -= descs >> RESERVED_DESC_SHIFT;
	if (r->desc_head - r->desc_tail >= descs)
		return false;
	if (!payload_bytes)
		return true;
	return payload_start(r, payload_bytes) + payload_bytes - r->payload_tail <=
	       r->payload_bytes;
}

/* After an overflow capture resumes at half empty, not at the first free byte. */
static bool ring_half_empty(const struct blkship_ring *r)
{
	return (r->desc_head - r->desc_tail) * 2 <= r->desc_count &&
	       (r->payload_head - r->payload_tail) * 2 <= r->payload_bytes;
}

static u64 ring_take(struct blkship_ring *r, const struct blkship_write *w,
		     u32 payload_bytes, u64 seq)
{
	u64 pos = r->desc_head++;
	u64 start = payload_bytes ? payload_start(r, payload_bytes) :
				    r->payload_head;
	struct blkship_entry *e = entry_at(r, pos);
	struct blkship_desc *d = desc_at(r, pos);

	r->payload_head = start + payload_bytes;
	e->seq = seq;
	e->payload_end = r->payload_head;
	e->submit_ns = w->submit_ns;
	e->offset_bytes = w->offset_bytes;
	e->length_bytes = w->length_bytes;
	e->volume = w->volume;
	e->state = BLKSHIP_STATE_OPEN;

	d->seq = seq;
	d->time_ns = w->time_ns;
	d->offset_bytes = w->offset_bytes;
	d->payload_pos = start;
	d->length_bytes = w->length_bytes;
	d->crc32c = 0;
	d->volume = w->volume;
	d->op = w->op;
	d->flags = w->flags;
	WRITE_ONCE(d->state, BLKSHIP_STATE_OPEN);
	WRITE_ONCE(r->shared->captured, r->shared->captured + 1);
	WRITE_ONCE(r->shared->captured_bytes,
		   r->shared->captured_bytes + payload_bytes);
	return pos;
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

bool blkship_ring_reserve(struct blkship_ring *r, const struct blkship_write *w,
			  u64 *seq, u64 *pos)
{
	u32 payload_bytes = w->op == BLKSHIP_OP_WRITE ? w->length_bytes : 0;

	blkship_ring_collect(r);
	*seq = ++r->newest_seq;
	if (!r->capturing && ring_half_empty(r))
		r->capturing = true;
	if (r->capturing && !ring_has_room(r, payload_bytes)) {
		r->capturing = false;
		WRITE_ONCE(r->shared->overflows, r->shared->overflows + 1);
	}
	if (r->capturing) {
		*pos = ring_take(r, w, payload_bytes, *seq);
		/* It is open: the watermark stays where it is. */
		ring_show_new(r);
		return true;
	}
	ring_show_uncaptured(r);
	return false;
}

bool blkship_ring_flush(struct blkship_ring *r, const struct blkship_write *w,
			u64 *pos)
{
	blkship_ring_collect(r);
	if (!r->capturing || !ring_has_room(r, 0))
		return false;
	*pos = ring_take(r, w, 0, ++r->newest_seq);
	ring_show_new(r);
	return true;
}

u8 *blkship_ring_payload(struct blkship_ring *r, u64 pos)
{
	return r->payload + (desc_at(r, pos)->payload_pos & (r->payload_bytes - 1));
}

void blkship_ring_publish(struct blkship_ring *r, u64 pos, u32 crc32c)
{
	/* Seen by the consumer through the release in ring_show_ended(). */
	WRITE_ONCE(desc_at(r, pos)->crc32c, crc32c);
}

bool blkship_ring_end(struct blkship_ring *r, u64 pos, u64 seq, u8 state)
{
	struct blkship_entry *e = entry_at(r, pos);

	if (e->seq != seq || e->state != BLKSHIP_STATE_OPEN)
		return false;
	e->state = state;
	WRITE_ONCE(desc_at(r, pos)->state, state);
	if (state == BLKSHIP_STATE_ABORTED)
		WRITE_ONCE(r->shared->aborted, r->shared->aborted + 1);
	else if (state == BLKSHIP_STATE_FAILED)
		WRITE_ONCE(r->shared->failed, r->shared->failed + 1);
	else if (state == BLKSHIP_STATE_GAP)
		WRITE_ONCE(r->shared->timeouts, r->shared->timeouts + 1);
	ring_show_ended(r);
	return true;
}

const struct blkship_entry *
blkship_ring_overdue(const struct blkship_ring *r, u64 deadline_ns, u64 *from,
		     u32 *budget)
{
	if (*from < r->watermark_pos)
		*from = r->watermark_pos;
	while (*budget && *from < r->desc_head) {
		const struct blkship_entry *e = entry_at(r, (*from)++);

		(*budget)--;
		if (e->state == BLKSHIP_STATE_OPEN && e->submit_ns <= deadline_ns)
			return e;
	}
	return NULL;
}

bool blkship_ring_wants_wake(const struct blkship_ring *r)
{
	u64 pos = READ_ONCE(r->consumer->wake_pos);
	u64 payload = READ_ONCE(r->consumer->wake_payload);

	return (pos && r->watermark_pos >= pos) ||
	       (payload && r->watermark_payload >= payload);
}
