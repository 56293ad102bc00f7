/* SPDX-License-Identifier: GPL-2.0 */
/*
 * capture - from a write's submission to its end.
 *
 * Stage [1 capture], the part that all front ends share. Fed by a front end
 * with every operation that changes its volume; feeds ring and dirty maps.
 *
 * Promises (DESIGN 1.1-1.6): a seq is taken before the device sees the write, and
 * is above those of all that ended before its payload was copied; a captured
 * write has an entry until it ended; what is not captured is dirty at submission
 * and again at completion, before the submitter is told; of two captured writes in
 * flight on one block the later is not at the device before the earlier has ended;
 * where too many wait so, what comes is not captured.
 * Never fails, waits or allocates.
 */
#ifndef BLKSHIP_CAPTURE_H
#define BLKSHIP_CAPTURE_H

#include <linux/bio.h>

#include "flight.h"

/*
 * Capture a write, write-zeroes or discard of w->length_bytes at submission.
 * f->vol and f->issue are the caller's. A volume with a write-intent log also
 * holds what goes to regions that are not listed. Returns whether it may go to the device
 * now; otherwise f->issue() is called later, from the module's workqueue.
 */
bool blkship_capture_write(struct blkship_flight *f, struct bio *bio,
			   struct blkship_write *w);

/* Note an empty flush. */
void blkship_capture_flush(struct blkship_flight *f, struct blkship_write *w);

/* It ended, and its submitter was not told yet. state as in the descriptor. */
void blkship_capture_end(struct blkship_flight *f, u8 state);

/* What the ring calls the operation of a bio that changes data; 0 for others. */
static inline u8 blkship_op_of(const struct bio *bio)
{
	switch (bio_op(bio)) {
	case REQ_OP_WRITE:
		return BLKSHIP_OP_WRITE;
	case REQ_OP_WRITE_ZEROES:
		return BLKSHIP_OP_ZERO;
	case REQ_OP_DISCARD:
	case REQ_OP_SECURE_ERASE:
		return BLKSHIP_OP_DISCARD;
	default:
		return 0;
	}
}

static inline u32 blkship_flags_of(const struct bio *bio)
{
	return (bio->bi_opf & REQ_FUA ? BLKSHIP_DESC_FUA : 0) |
	       (bio->bi_opf & REQ_PREFLUSH ? BLKSHIP_DESC_PREFLUSH : 0);
}

/* The longest record: it has to fit the ring with room to spare. */
static inline u32 blkship_record_max_bytes(const struct blkship_ring *ring)
{
	return min_t(u64, BLKSHIP_MAX_RECORD_BYTES, ring->payload_bytes / 4);
}

/* Copy what @from has left to a reserved descriptor's place, and publish it. */
void blkship_payload_copy(struct blkship_ring *ring, u64 pos,
			  const struct bio *bio, const struct bvec_iter *from);

/*
 * Let go what waited for its regions to be listed and now is, or all if there
 * is no list any more. Under the group's lock; whether issue_work is to be queued.
 */
struct blkship_list;
bool blkship_capture_listed(struct blkship_group *grp,
			    struct list_head *waiting,
			    const struct blkship_list *list);

/* Works of a group. */
void blkship_capture_issue_work(struct work_struct *work);
void blkship_capture_scan_work(struct work_struct *work);

/* Seconds after which an operation that does not end becomes a gap. */
extern unsigned int blkship_io_timeout_s;

#endif
