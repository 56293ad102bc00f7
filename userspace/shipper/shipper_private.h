/* SPDX-License-Identifier: GPL-2.0-only */
/* shipper_private - the state that drain, repair, link and shipper share. */
#ifndef BLKSHIP_SHIPPER_PRIVATE_H
#define BLKSHIP_SHIPPER_PRIVATE_H

#include "../lib/seq.h"
#include "batch.h"
#include "shipper.h"

#define REGION_SECTORS (BLKSHIP_REGION_BYTES / SECTOR_BYTES)
#define MAX_TAKES 1024
#define MAX_BATCH_RECORDS 131072
#define TAKE_WINDOW BLKSHIP_TAKE_MAX_REGIONS

struct volume {
	struct capture_volume info;
	uint16_t id;		/* in the timeline */
	uint64_t nr_regions;
	uint64_t *known;	/* bit per region: the timeline may have versions of it */
	uint64_t *need;		/* repair pass: dirty at t0, not taken over yet */
	uint64_t nr_need;
	uint64_t member_from;	/* number: joined the group's points there */
};

enum chunk_state {
	CHUNK_NONE,
	CHUNK_TAKEN,		/* hold is open; waiting for a watermark at or past t */
	CHUNK_READING,		/* stamped p; reads in flight */
	CHUNK_READ,		/* all ended: to be closed */
};

struct chunk_run {		/* one read */
	struct shipper *s;
	uint64_t offset_bytes;
	uint32_t bytes;
	uint32_t buf_offset;
	int64_t result;		/* bytes or -errno, once it ended */
};

/* One read-back: regions of one volume (DESIGN 1.4, 1.5). */
struct chunk {
	enum chunk_state state;
	struct volume *volume;
	uint64_t first_region;
	uint32_t count;		/* window */
	uint64_t *bitmap;	/* taken regions of the window */
	uint32_t taken;
	uint64_t t, p;		/* numbers */
	uint64_t hold_id;
	uint8_t *buf;
	uint64_t bytes;
	struct chunk_run *runs;
	uint32_t nr_runs, nr_submitted, nr_ended;
};

struct pass {
	bool active;
	bool incomplete;		/* a volume was left out: it covers no gap */
	uint64_t t0, end;	/* numbers */
	uint64_t regions_all, regions_done;
	uint32_t at_volume;	/* where to look for the next chunk */
	uint64_t at_region;
};

struct hold {
	uint64_t id, from_seq;
};

struct shipper {
	struct shipper_params params;
	struct capture *cap;
	struct env *env;

	/* link */
	enum shipper_link link;
	bool hello_due;
	uint64_t frame_out, frame_in;	/* numbers of the next frames */
	uint64_t credit_bytes, credit_used;
	uint8_t reply[WIRE_TEXT_BYTES];	/* PONG or UNSUPPORTED to send */
	uint32_t reply_bytes;
	uint8_t reply_type;
	char text[WIRE_TEXT_BYTES];

	/* position; valid once started */
	bool started;			/* an answer told us where to begin */
	uint32_t incarnation;
	uint64_t drained;		/* number */
	uint64_t pos;			/* next descriptor */
	uint64_t last_cut;		/* number */
	uint64_t next_ordinal;
	uint64_t time_ns;		/* of the last cut: never backwards */
	uint64_t record_time_ns;	/* of the newest record drained */
	uint64_t last_gap;		/* packed; highest to_seq */
	uint64_t repaired_t0;		/* packed */
	uint64_t clean_from;		/* packed; cuts below are covered by a hold or repair */
	uint64_t readback_no, hold_id;
	uint64_t cut_at_ns;		/* monotonic, of the last cut */
	uint64_t takes[MAX_TAKES];	/* our own seqs that are no gaps, ascending */
	uint32_t nr_takes;
	struct hold holds[COMMIT_MAX_HOLDS];
	uint32_t nr_holds;

	struct batch *open;
	struct batch *outbox, **outbox_end;
	uint32_t nr_outbox;
	uint64_t outbox_bytes;
	struct batch *sending;		/* in the outbox, or NULL: all sent */
	struct batch *spare;

	struct pass pass;
	struct chunk chunk;
	uint64_t pass_at_ns;		/* monotonic: no other pass before, after one like that */
	uint64_t read_at_ns;		/* monotonic: not to be read before, after an error */
	bool cut_now;			/* drain waits for it: a gap follows */
	bool cut_due;			/* a read-back was completed: cut soon */
	bool stranger_met;		/* drain read of a volume that is not ours */
	bool volumes_stale;		/* it has joined the group since we began */

	struct volume volumes[BLKSHIP_MAX_VOLUMES];
	uint32_t nr_volumes;

	struct shipper_status stat;
	struct unit_builder builder;
	uint8_t scratch[UNIT_MAX_DATA_BYTES];
	uint32_t crcs[BLKSHIP_MAX_RECORD_BYTES / BLOCK_BYTES + 2];
};

/* Reading the shared page: pairs with the producer's release. */
static inline uint64_t ring_watermark(const struct shipper *s)
{
	return __atomic_load_n(&s->cap->kernel->watermark_seq, __ATOMIC_ACQUIRE);
}

static inline uint64_t ring_newest(const struct shipper *s)
{
	return __atomic_load_n(&s->cap->kernel->newest_seq, __ATOMIC_ACQUIRE);
}

static inline uint64_t seq_of(const struct shipper *s, uint64_t number)
{
	return seq_pack(s->incarnation, number);
}

struct volume *volume_by_index(struct shipper *s, uint16_t index);

/* Note that the timeline has, or may have, versions of blocks in this range. */
void volume_known(struct volume *v, uint64_t offset_bytes, uint64_t length_bytes);

/* A seq range was not captured. */
void shipper_gap(struct shipper *s, uint64_t from, uint64_t to);

/* Drain to exactly limit, cutting on the way where a batch is full; false: no room. */
bool shipper_drain_to(struct shipper *s, uint64_t limit);

/* Begin where the target's answer says; everything before is forgotten. */
int shipper_start(struct shipper *s, const struct wire_hello_answer *a,
		  const struct wire_open_hold *holds, const struct wire_answer_volume *volumes);

/* What the target has, for HELLO: ours, and a successor's. */
void shipper_set_durable(struct shipper *s, uint64_t ordinal);

/* Durable up to this commit (cumulative). */
void shipper_acknowledged(struct shipper *s, uint64_t ordinal);

#endif
