/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ring_core - arithmetic of the shared ring and the in-flight table.
 *
 * Stage [2 ring]. Fed by the capture of a group (group.c) and the consumer's
 * positions; feeds the consumer through the shared pages. Also built for the
 * host: the generator and the order tests run this very file.
 *
 * Promises (DESIGN 1.1-1.3):
 *  - a seq is taken for every write and every mark, captured or not;
 *  - a record's seq is above those of all writes that ended before its payload
 *    was copied, if its submitter asks blkship_ring_in_order() and renews;
 *  - a captured write has an entry until it ended; the watermark never passes
 *    an entry that is OPEN;
 *  - descriptors at or below the watermark do not change until released;
 *  - nothing the consumer writes can make the producer overrun live data.
 *
 * The caller holds the group's lock around every call that is not marked
 * "no lock". Nothing here allocates, sleeps or waits.
 */
#ifndef BLKSHIP_RING_CORE_H
#define BLKSHIP_RING_CORE_H

#include <linux/kernel.h>
#include <linux/types.h>
#include <asm/barrier.h>
#include "../uapi/linux/blkship.h"

/* The in-flight table: the kernel's own twin of each descriptor. */
struct blkship_entry {
	u64 seq;
	u64 payload_end;	/* payload position after this record */
	u64 submit_ns;		/* monotonic, for the time-out */
	u64 offset_bytes;
	u32 length_bytes;
	u16 volume;
	u8 state;		/* enum blkship_state */
	bool spoiled;		/* its record is not to be believed */
};

struct blkship_ring {
	struct blkship_ring_kernel *shared;
	const struct blkship_ring_consumer *consumer;
	struct blkship_desc *descs;
	u8 *payload;
	struct blkship_entry *entries;	/* desc_count of them */
	u32 desc_count;			/* power of two */
	u64 payload_bytes;		/* power of two */

	u64 newest_seq;
	u64 newest_ended;	/* newest seq of what has ended */
	u64 desc_head;
	u64 watermark_pos;
	u64 watermark_payload;	/* payload position that has ended */
	u64 desc_tail;
	u64 payload_head;
	u64 payload_tail;
	bool capturing;		/* false from an overflow until half empty */
};

/* A write, as the front end hands it over. */
struct blkship_write {
	u64 offset_bytes;
	u64 time_ns;		/* wall clock, read before the lock was taken */
	u64 submit_ns;		/* monotonic */
	u32 length_bytes;
	u32 flags;		/* BLKSHIP_DESC_* */
	u16 volume;
	u8 op;			/* enum blkship_op */
};

/*
 * The memory is the caller's and stays so: zeroed pages for shared, consumer,
 * descs and payload, and desc_count zeroed entries.
 */
void blkship_ring_init(struct blkship_ring *r);

/* Take a seq for an event that marks a region dirty. */
u64 blkship_ring_mark(struct blkship_ring *r);

/*
 * Take the next seq for a write that is not to be captured although there may be
 * room: a gap, as when blkship_ring_reserve() returns false.
 */
u64 blkship_ring_pass_over(struct blkship_ring *r);

/* Note a flush, which takes a seq only when it gets a descriptor. No payload. */
bool blkship_ring_flush(struct blkship_ring *r, const struct blkship_write *w,
			u64 *pos);

/*
 * The oldest open entry submitted at or before deadline_ns, searching from
 * *from (start with 0; updated to continue). Looks at no more than *budget
 * entries and counts it down, so that the lock can be let go in between. Returns
 * NULL when there is none, which is certain only if some budget is left.
 */
const struct blkship_entry *
blkship_ring_overdue(const struct blkship_ring *r, u64 deadline_ns, u64 *from,
		     u32 *budget);

/*
 * What every write passes is here, to be part of its caller.
 */

static inline struct blkship_entry *ring_entry(const struct blkship_ring *r,
					       u64 pos)
{
	return &r->entries[pos & (r->desc_count - 1)];
}

static inline struct blkship_desc *ring_desc(const struct blkship_ring *r,
					     u64 pos)
{
	return &r->descs[pos & (r->desc_count - 1)];
}

/*
 * Tell the consumer what is new. Pairs with its acquire of newest_seq: who has seen
 * anything of a write, on the device or told by its submitter, sees its seq.
 */
static inline void ring_show_new(struct blkship_ring *r)
{
	struct blkship_ring_kernel *shared = r->shared;

	WRITE_ONCE(shared->desc_head, r->desc_head);
	WRITE_ONCE(shared->payload_head, r->payload_head);
	smp_store_release(&shared->newest_seq, r->newest_seq);
}

/*
 * Tell the consumer what has ended. What is new went first: whoever sees the
 * watermark also sees the head, and the ends of all descriptors below it.
 */
static inline void ring_show_ended(struct blkship_ring *r)
{
	u64 watermark = r->newest_seq;

	while (r->watermark_pos < r->desc_head) {
		const struct blkship_entry *e = ring_entry(r, r->watermark_pos);

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

/* The consumer's position is not what it was: follow it, if it makes sense. */
void blkship_ring_follow(struct blkship_ring *r, u64 released);

/* Take what the consumer released. Part of a reservation; also before a dump. */
static inline void blkship_ring_collect(struct blkship_ring *r)
{
	/* Pairs with the consumer's release: it has read what it gives back. */
	u64 released = smp_load_acquire(&r->consumer->released_pos);

	if (unlikely(released != r->desc_tail))
		blkship_ring_follow(r, released);
}

/* One in sixteen descriptors is kept for operations without payload. */
#define RING_KEPT_DESC_SHIFT 4

/* Whether there is room; its payload begins at the head, or past a skipped end. */
static inline bool ring_has_room(const struct blkship_ring *r,
				 u32 payload_bytes, u64 *start)
{
	u64 descs = r->desc_count, in_ring;

	*start = r->payload_head;
	if (!payload_bytes)
		return r->desc_head - r->desc_tail < descs;
	in_ring = r->payload_head & (r->payload_bytes - 1);
	if (unlikely(in_ring + payload_bytes > r->payload_bytes))
		*start += r->payload_bytes - in_ring;
	return r->desc_head - r->desc_tail <
	       descs - (descs >> RING_KEPT_DESC_SHIFT) &&
	       *start + payload_bytes - r->payload_tail <= r->payload_bytes;
}

static __always_inline u64 ring_take(struct blkship_ring *r,
				     const struct blkship_write *w, u64 start,
				     u32 payload_bytes, u64 seq)
{
	struct blkship_ring_kernel *shared = r->shared;
	u64 pos = r->desc_head++;
	struct blkship_entry *e = ring_entry(r, pos);
	struct blkship_desc *d = ring_desc(r, pos);

	r->payload_head = start + payload_bytes;
	e->seq = seq;
	e->payload_end = start + payload_bytes;
	e->submit_ns = w->submit_ns;
	e->offset_bytes = w->offset_bytes;
	e->length_bytes = w->length_bytes;
	e->volume = w->volume;
	e->state = BLKSHIP_STATE_OPEN;
	e->spoiled = false;

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
	WRITE_ONCE(shared->captured, shared->captured + 1);
	WRITE_ONCE(shared->captured_bytes,
		   shared->captured_bytes + payload_bytes);
	return pos;
}

/*
 * There is no room, or there was none: whether capture goes on. If not, the seq
 * that was taken is shown as one of a gap.
 */
bool blkship_ring_goes_on(struct blkship_ring *r, u32 payload_bytes);

/*
 * Take the next seq for a write, and a descriptor, payload space and an entry
 * for it if there is room. Returns true and sets *pos when captured; the caller
 * then copies the payload to blkship_ring_payload() and calls
 * blkship_ring_publish(), both without the lock. On false the write is a gap:
 * the caller marks its range dirty now and again at its completion.
 */
static __always_inline bool
blkship_ring_reserve(struct blkship_ring *r, const struct blkship_write *w,
		     u64 *seq, u64 *pos)
{
	u32 payload_bytes = w->op == BLKSHIP_OP_WRITE ? w->length_bytes : 0;
	u64 start;

	blkship_ring_collect(r);
	*seq = ++r->newest_seq;
	if (unlikely(!ring_has_room(r, payload_bytes, &start) ||
		     !r->capturing) &&
	    !blkship_ring_goes_on(r, payload_bytes))
		return false;
	*pos = ring_take(r, w, start, payload_bytes, *seq);
	/* It is open: the watermark stays where it is. */
	ring_show_new(r);
	return true;
}

/* No lock: where the payload of a reserved descriptor goes. */
static inline u8 *blkship_ring_payload(const struct blkship_ring *r, u64 pos)
{
	return r->payload +
	       (ring_desc(r, pos)->payload_pos & (r->payload_bytes - 1));
}

/* No lock: the payload is in place; crc32c is of all of it. */
static inline void blkship_ring_publish(struct blkship_ring *r, u64 pos,
					u32 crc32c)
{
	/* Seen by the consumer through the release in ring_show_ended(). */
	WRITE_ONCE(ring_desc(r, pos)->crc32c, crc32c);
}

/*
 * What took this seq has ended, and its submitter was not told yet. Part of the end
 * of an entry that ended well; of a write that has none, or whose record says
 * nothing of what it did, the mark counts, or any newer seq.
 */
static inline void blkship_ring_ended(struct blkship_ring *r, u64 seq)
{
	if (seq > r->newest_ended)
		WRITE_ONCE(r->newest_ended, seq);
	/* Pairs with blkship_ring_in_order(): what its submitter writes comes after. */
	smp_wmb();
}

/*
 * No lock, when the payload is in place: whether this seq is above those of all
 * writes that ended before. A page may have changed while it was copied because
 * of one that did, so what has that page must not come before it in the order.
 * If not, the record is to be renewed.
 */
static inline bool blkship_ring_in_order(const struct blkship_ring *r, u64 seq)
{
	/* Pairs with blkship_ring_ended(): who saw what was written then sees that. */
	smp_rmb();
	return READ_ONCE(r->newest_ended) <= seq;
}

/*
 * Give the record at *pos, whose seq is *seq, the next seq and a new descriptor, for
 * the payload where it is; the old one is aborted. time_ns: as of a reservation.
 * Returns false when it has ended meanwhile (*pos and *seq stay), or when there is no
 * descriptor for it.
 */
bool blkship_ring_renew(struct blkship_ring *r, u64 time_ns, u64 *seq,
			u64 *pos);

/*
 * The record at pos is not to be believed: it will end as a gap. The caller marks
 * its range dirty; as it is open, nobody reads that back before it has ended.
 * Nothing is done when it has ended already.
 */
void blkship_ring_spoil(struct blkship_ring *r, u64 pos, u64 seq);

/*
 * One that is not done, or not to be believed, ends: what it is shown as. Counts it.
 * Its range was marked before.
 */
u8 blkship_ring_odd_end(struct blkship_ring *r, const struct blkship_entry *e,
			u8 state);

/*
 * The operation of this descriptor ended, or timed out (STATE_GAP). Returns
 * false when seq is not the open entry at pos any more (it timed out): to the
 * caller that is a completion without an entry.
 */
static inline bool blkship_ring_end(struct blkship_ring *r, u64 pos, u64 seq,
				    u8 state)
{
	struct blkship_entry *e = ring_entry(r, pos);

	if (unlikely(e->seq != seq || e->state != BLKSHIP_STATE_OPEN))
		return false;
	if (unlikely(state != BLKSHIP_STATE_DONE) || unlikely(e->spoiled))
		state = blkship_ring_odd_end(r, e, state);
	else
		blkship_ring_ended(r, seq);
	e->state = state;
	WRITE_ONCE(ring_desc(r, pos)->state, state);
	ring_show_ended(r);
	return true;
}

/* Whether who asked to be woken there (0: did not ask) is to be woken now. */
static inline bool blkship_ring_reached(const struct blkship_ring *r, u64 pos,
					u64 payload)
{
	return (pos && r->watermark_pos >= pos) ||
	       (payload && r->watermark_payload >= payload);
}

/* Whether the consumer asked to be woken at the present watermark. */
static inline bool blkship_ring_wants_wake(const struct blkship_ring *r)
{
	return blkship_ring_reached(r, READ_ONCE(r->consumer->wake_pos),
				    READ_ONCE(r->consumer->wake_payload));
}

#endif
