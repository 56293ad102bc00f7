/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * shipper - one consistency group at the source, without sockets and files.
 *
 * Stages [3 drain], [4 coalesce + cut], [repair], [5 ship]. Fed by a capture
 * (ring and maps) and by the target's frames; feeds the connection with frames.
 * The daemon and the simulator drive it alike: the daemon by shipper_tick(), the
 * simulator by the single steps in any order.
 *
 * Promises (DESIGN section 1): reads to the watermark only; every seq that is
 * not in the ring is told as a gap; a read-back is stamped with a watermark p past
 * its take-over and a batch ends exactly at p; a hold is open from the take-over to
 * the newest seq after the read; repairing bits clear and ring space is released
 * only when the commit record is durable at the target.
 *
 * One thread; calls do not nest.
 */
#ifndef BLKSHIP_SHIPPER_H
#define BLKSHIP_SHIPPER_H

#include <stdbool.h>

#include "../lib/env.h"
#include "../lib/wire_format.h"
#include "capture.h"

struct shipper;

struct shipper_params {
	struct env *env;
	struct capture *capture;	/* borrowed; bound to the group */
	uint8_t machine[16];
	uint32_t cut_bytes;		/* default 32 MiB */
	uint32_t chunk_bytes;		/* of a read-back, default 4 MiB, at most 64 MiB */
	uint32_t outbox_batches;	/* unacknowledged batches kept, default 64 */
	uint64_t cut_interval_ns;	/* default 1 s */
	uint8_t codec;			/* enum unit_codec */
	/* All reads of a chunk have ended: tick now, not at the next cut. May be NULL. */
	void (*on_read)(void *arg);
	void *on_read_arg;
};

/** shipper_create - 0; -EINVAL the ring is none; -ENOMEM */
int shipper_create(const struct shipper_params *params, struct shipper **out);

/** shipper_destroy - no read may be in flight (shipper_reading) */
void shipper_destroy(struct shipper *s);
bool shipper_reading(const struct shipper *s);

/* -- the connection -- */

enum shipper_link {
	SHIPPER_DOWN,		/* no connection */
	SHIPPER_GREETING,	/* HELLO goes out, the answer is awaited */
	SHIPPER_LIVE,
	SHIPPER_REFUSED,	/* the target said no: see status text */
};

/**
 * shipper_connected - TLS is up: HELLO will be the first frame
 * Return: 0; -ERESTART when the group's volumes changed: destroy it, close the
 * capture, and begin anew (what is dirty and in the ring is not lost by that).
 */
int shipper_connected(struct shipper *s);

/** shipper_disconnected - what is not durable will be sent again */
void shipper_disconnected(struct shipper *s);

/**
 * shipper_input - bytes from the target
 * @buf: 8-byte aligned
 * Return: 0; -errno when the connection is to be closed (shipper_status has the
 * text): -EPROTO, -EBADMSG, -EACCES refused for long, -EAGAIN try again soon,
 * -ERESTART as shipper_connected().
 */
int shipper_input(struct shipper *s, const void *buf, size_t bytes, size_t *used);

/** Room that shipper_output() needs to be sure to make progress. */
#define SHIPPER_FRAME_MAX (sizeof(struct wire_header) + 131072)

/**
 * shipper_output - encode frames to send
 * @buf: 8-byte aligned
 * Return: bytes put there; 0 when there is nothing to send, or no credit.
 */
size_t shipper_output(struct shipper *s, void *buf, size_t room);

/* -- the work -- */

/**
 * shipper_tick - do what is due: drain, cut, repair
 * To be called when the ring woke us, a read ended, frames arrived, and at
 * the time it returned.
 * Return: monotonic time (ns) of the next call that is due at the latest.
 */
uint64_t shipper_tick(struct shipper *s);

/* The single steps, for the simulator. Each returns whether it did something. */

/** shipper_drain - read records up to @limit (a number; at most the watermark) */
bool shipper_drain(struct shipper *s, uint64_t limit);
/** shipper_cut - end the batch here, if the outbox has room */
bool shipper_cut(struct shipper *s);
/** shipper_repair_step - the next step of a repair pass, starting one if due */
bool shipper_repair_step(struct shipper *s);

/* -- what it knows -- */

struct shipper_status {
	enum shipper_link link;
	char text[WIRE_TEXT_BYTES];	/* of the last refusal or error; or empty */
	uint32_t incarnation;
	uint64_t newest_seq, watermark_seq, drained_seq;
	uint64_t durable_ordinal, next_ordinal;
	uint64_t durable_time_ns;	/* of the newest durable commit */
	uint64_t point_time_ns;		/* of the newest durable recovery point; 0: not known */
	uint64_t outbox_batches, outbox_bytes;
	bool gaps_open, repairing;
	uint64_t repair_regions_done, repair_regions_all;	/* of the present pass */
	uint64_t records, record_bytes;	/* drained since start */
	uint64_t sent_bytes;		/* frames since start */
	uint64_t bad_crcs;		/* records whose payload was not what was captured */
	uint64_t bad_rings;		/* times the ring made no sense */
	uint64_t unreadable_bytes;
	int read_error;			/* -errno: reading back waits for this to go away; or 0 */
};

void shipper_status(const struct shipper *s, struct shipper_status *out);

/**
 * shipper_volumes_stale - drain met a volume that joined the group since we began
 * As when shipper_connected() says -ERESTART: there are no points with it before.
 */
bool shipper_volumes_stale(const struct shipper *s);

/** shipper_volumes_changed - the group has other volumes, or sizes, than we began with */
bool shipper_volumes_changed(struct shipper *s);

/** shipper_idle - all is drained, cut, durable and repaired */
bool shipper_idle(const struct shipper *s);

#endif
