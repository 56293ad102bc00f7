/* SPDX-License-Identifier: GPL-2.0 */
/*
 * observe - the writes of a tapped volume, from submission to their end.
 *
 * Stage [1 capture] for a front end that only looks on. Fed by the probes of
 * front_tap.c; feeds ring and dirty maps. A probe has no memory of its own with a
 * bio, so a write is found again by its blocks, and known by the bio that was
 * submitted or, where that was split, by the piece's parent.
 *
 * Promises (DESIGN 1.1-1.6): as capture.h, except that nothing is held. Two
 * writes in flight on one block make it dirty, with a seq, when the second is
 * submitted. A write that ends without an entry makes its range dirty: all of
 * the volume where the range is not known. Until the volume was fed for the
 * first time, and all of it made dirty for that, nothing takes a seq.
 *
 * Ranges are sectors of the volume, both ends included. No function here
 * fails, waits or allocates; all take the group's lock unless it says so.
 */
#ifndef BLKSHIP_OBSERVE_H
#define BLKSHIP_OBSERVE_H

#include "capture.h"
#include "observe_table.h"

/*
 * A write that fits one record and lies in the volume as a whole, from this
 * sector on, is being submitted. Most are like this.
 */
void blkship_observe_write(struct blkship_volume *vol, struct bio *bio,
			   u64 first);

/*
 * Any other is being submitted; the span begins @skip_bytes into it. With @capture
 * false it is only made dirty.
 */
void blkship_observe_submit(struct blkship_volume *vol, struct bio *bio,
			    struct blkship_span span, u32 skip_bytes, u8 op,
			    bool capture);

/* It is being submitted, and will not be followed: dirty now, and at its end. */
void blkship_observe_pass(struct blkship_volume *vol, struct blkship_span span);

/* So much of a bio ended, for which this was found by blkship_observed_whole(). */
void blkship_observed_progress(struct blkship_observed *o,
			       struct blkship_volume *vol,
			       const struct bio *bio, struct blkship_span span,
			       bool failed);

/*
 * The same by its blocks; whether its every sector was expected. What was not is dirty,
 * with a seq that comes before that of anything that depends on it.
 */
bool blkship_observe_progress(struct blkship_volume *vol, const struct bio *bio,
			      struct blkship_span span, bool failed);

/*
 * A bio ended that is in no request any more, or never was. @by_request: the
 * disk works by requests, so that something it did not issue did not happen.
 * Whether it was expected, as above.
 */
bool blkship_observe_end(struct blkship_volume *vol, const struct bio *bio,
			 struct blkship_span span, bool failed,
			 bool by_request);

/* It does not end. Under the group's lock. */
void blkship_observe_time_out(struct blkship_flight *f);

/* For a while, what has no entry is no news. */
void blkship_observe_explain(struct blkship_volume *vol);

/*
 * A raw command may have changed anything: no repair can begin until all is read
 * back. Whether that is news.
 */
bool blkship_observe_raw(struct blkship_volume *vol);

/*
 * All is read back from now on; what comes after this counts again. Whether there was
 * one.
 */
bool blkship_observe_raw_forget(struct blkship_volume *vol);

/*
 * A request for this ended without its bios, which its driver has taken out: they may
 * have been written. Dirty; and what ends without a request is not taken for never
 * issued any more.
 */
void blkship_observe_taken(struct blkship_volume *vol, struct blkship_span span);

/*
 * Written to beyond its end: it has grown. No repair can begin until it has the
 * size of its device, and the new part is dirty.
 */
void blkship_observe_outgrown(struct blkship_volume *vol);

/* Whether nothing is in flight; and make a gap of what still is. */
bool blkship_observe_idle(struct blkship_volume *vol);
void blkship_observe_give_up(struct blkship_volume *vol);

#endif
