/* SPDX-License-Identifier: GPL-2.0 */
/*
 * capture - from a write's submission to its end.
 *
 * Stage [1 capture], the part that all front ends share. Fed by a front end
 * with every operation that changes its volume; feeds ring and dirty maps.
 *
 * Promises (DESIGN 1.1-1.6): a seq is taken before the device sees the write; a
 * captured write has an entry until it ended; what is not captured is dirty at
 * submission and again at completion, before the submitter is told; of two
 * captured writes in flight on one block the later is not at the device before
 * the earlier has ended; where too many wait so, what comes is not captured.
 * Never fails, waits or allocates.
 */
#ifndef BLKSHIP_CAPTURE_H
#define BLKSHIP_CAPTURE_H

#include <linux/rbtree.h>

#include "volume.h"

struct bio;

enum blkship_flight_kind {
	BLKSHIP_FLIGHT_NONE,		/* nothing to do at its end */
	BLKSHIP_FLIGHT_CAPTURED,
	BLKSHIP_FLIGHT_UNCAPTURED,	/* no entry, or not any more: it timed out */
	BLKSHIP_FLIGHT_FLUSH,
};

/* One operation from submission to completion; lives with the front end's bio. */
struct blkship_flight {
	struct rb_node node;		/* of volume->flights */
	u64 first;			/* sectors, both ends included */
	u64 last;
	struct blkship_volume *vol;
	u64 pos;			/* of its descriptor */
	u64 seq;
	struct list_head waiting;	/* in volume->held, then group->to_issue */
	/* How a held one is sent to its device; set when it may be held. */
	void (*issue)(struct blkship_flight *f);
	u32 blockers;			/* while held: earlier ones, and its submitter */
	u8 kind;			/* enum blkship_flight_kind */
	bool copied;			/* its payload is in place */
};

/*
 * Capture a write, write-zeroes or discard of w->length_bytes at submission.
 * f->vol and f->issue are the caller's. Returns whether it may go to the device
 * now; otherwise f->issue() is called later, from the module's workqueue.
 */
bool blkship_capture_write(struct blkship_flight *f, struct bio *bio,
			   struct blkship_write *w);

/* Note an empty flush. */
void blkship_capture_flush(struct blkship_flight *f, struct blkship_write *w);

/* It ended, and its submitter was not told yet. state as in the descriptor. */
void blkship_capture_end(struct blkship_flight *f, u8 state);

/* Works of a group. */
void blkship_capture_issue_work(struct work_struct *work);
void blkship_capture_scan_work(struct work_struct *work);

/* Seconds after which an operation that does not end becomes a gap. */
extern unsigned int blkship_io_timeout_s;

#endif
