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

#include <linux/types.h>
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
 * Take the next seq for a write, and a descriptor, payload space and an entry
 * for it if there is room. Returns true and sets *pos when captured; the caller
 * then copies the payload to blkship_ring_payload() and calls
 * blkship_ring_publish(), both without the lock. On false the write is a gap:
 * the caller marks its range dirty now and again at its completion.
 */
bool blkship_ring_reserve(struct blkship_ring *r, const struct blkship_write *w,
			  u64 *seq, u64 *pos);

/*
 * Take the next seq for a write that is not to be captured although there may be
 * room: a gap, as when blkship_ring_reserve() returns false.
 */
u64 blkship_ring_pass_over(struct blkship_ring *r);

/* Note a flush, which takes a seq only when it gets a descriptor. No payload. */
bool blkship_ring_flush(struct blkship_ring *r, const struct blkship_write *w,
			u64 *pos);

/* No lock: where the payload of a reserved descriptor goes. */
u8 *blkship_ring_payload(struct blkship_ring *r, u64 pos);

/* No lock: the payload is in place; crc32c is of all of it. */
void blkship_ring_publish(struct blkship_ring *r, u64 pos, u32 crc32c);

/*
 * The operation of this descriptor ended, or timed out (STATE_GAP). Returns
 * false when seq is not the open entry at pos any more (it timed out): to the
 * caller that is a completion without an entry.
 */
bool blkship_ring_end(struct blkship_ring *r, u64 pos, u64 seq, u8 state);

/* Take what the consumer released. Called by reserve; also before a dump. */
void blkship_ring_collect(struct blkship_ring *r);

/*
 * The oldest open entry submitted at or before deadline_ns, searching from
 * *from (start with 0; updated to continue). Looks at no more than *budget
 * entries and counts it down, so that the lock can be let go in between. Returns
 * NULL when there is none, which is certain only if some budget is left.
 */
const struct blkship_entry *
blkship_ring_overdue(const struct blkship_ring *r, u64 deadline_ns, u64 *from,
		     u32 *budget);

/* Whether the consumer asked to be woken at the present watermark. */
bool blkship_ring_wants_wake(const struct blkship_ring *r);

#endif
