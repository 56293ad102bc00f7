/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sim - the order argument (DESIGN section 1), run against the real code.
 *
 * A seeded scheduler picks one step at a time: the application submits, the device
 * writes and completes, the shipper drains, cuts and repairs, frames cross, the
 * target writes and syncs, anything crashes. Ring and dirty-map arithmetic, shipper,
 * session, timeline and view are the product's own; application, device and the
 * capture glue are simulated, as shared model/order_model.py has them. After every
 * change at the target each newly listed point is read through a view and compared
 * with the states the disks could have crashed in.
 *
 * How a sector of a point is judged: "A completed before B was submitted" is an
 * interval order, so with L the instant the point speaks of, its content is legal
 * iff it is what the writes completed before L left there in the order the device
 * resolved them, or that of any write in flight at L, or a discard is the last
 * completed or in flight (don't-care).
 */
#ifndef BLKSHIP_SIM_H
#define BLKSHIP_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "../../kmod/dirty_core.h"
#include "../../kmod/ring_core.h"
#include "../../userspace/shipper/shipper.h"
#include "../../userspace/store/view.h"
#include "../../userspace/target/session.h"
#include "../host/sim_env.h"

#define MAX_VOLUMES 3
#define VOLUME_BYTES (3u * BLKSHIP_REGION_BYTES / 2)	/* two regions, one of them short */
#define CELL_SECTORS 4
#define MAX_CELLS 8
#define HOT_SECTORS (MAX_CELLS * CELL_SECTORS)	/* of a volume; all else stays zero */
#define MAX_SECTORS (MAX_VOLUMES * HOT_SECTORS)
#define MAX_OPS 2048
#define MAX_READS 16
#define MAX_POINTS 2048
#define MAX_SEQS 16384
#define MAX_INCARNATIONS 16

#define ID_ZERO 0u
#define ID_ANY UINT32_MAX	/* discarded */
#define ID_JUNK (UINT32_MAX - 1)

enum op_kind { OP_WRITE, OP_ZERO, OP_DISCARD };
enum op_fate { FATE_DONE, FATE_FAILED, FATE_ABORTED };
enum op_state { OP_NEW, OP_COPYING, OP_HELD, OP_ISSUED, OP_ENDED };

/* One write of the application. */
struct op {
	uint32_t id;
	enum op_kind kind;
	enum op_fate fate;
	enum op_state state;
	uint16_t volume;
	uint32_t first, count;		/* hot sectors of its volume */
	uint32_t slow;			/* as many sectors at its end are copied later */
	uint32_t late_id;		/* what those were made meanwhile; 0: nothing */
	uint32_t late_op;		/* because of that one, by its index */
	uint32_t applied;		/* bit per sector, from first */
	bool captured, at_device;
	uint64_t seq, pos;
	uint64_t t_submit, t_told;	/* t_told 0: not yet */
};

/* What happened to a sector on the device, in the order it did. */
struct effect {
	struct effect *next;
	const struct op *op;
	bool mix;			/* a failed write: perhaps */
};

struct pending_read {
	uint16_t volume;
	uint64_t offset_bytes;
	uint8_t *buf;
	uint32_t bytes;
	void (*done)(void *arg, int64_t result);
	void *arg;
};

struct seen_point {
	uint64_t ordinal, cut_seq, instant;
	uint32_t volumes;		/* members then: the first so many */
	uint32_t ids[MAX_SECTORS];
};

/* Sizes and odds of one run, drawn from the seed. */
struct sim_config {
	bool dm;			/* overlaps are held; else detected and marked */
	uint32_t volumes, cells, first_cell;
	uint32_t desc_count;
	uint64_t payload_bytes;
	uint32_t inflight, steps, outbox, chunk_regions;
	uint32_t overlap, fail, abort, corrupt, slow_copy;	/* in 100 */
	uint8_t codec;
	uint32_t segment_room;
};

struct sim {
	uint64_t rng, seed;
	uint64_t now;
	struct sim_config cfg;
	bool trace;
	bool reverted;			/* the disks went back: history says nothing any more */
	uint64_t bad_offset;		/* a block that cannot be read; 0: none */
	int bad_error;			/* what reading it gives */
	char violation[512];

	/* application and device */
	struct op ops[MAX_OPS];
	uint32_t nr_ops;
	uint32_t flying[64], nr_flying;		/* indexes of ops not ended */
	uint32_t initial[MAX_SECTORS], content[MAX_SECTORS];
	struct effect *history[MAX_SECTORS], *history_end[MAX_SECTORS];
	struct effect *effects;			/* pool */
	uint32_t nr_effects;
	struct pending_read reads[MAX_READS];
	uint32_t nr_reads;

	/* the kernel's side of the group */
	struct blkship_ring ring;
	struct blkship_ring_kernel kernel_page;
	struct blkship_ring_consumer consumer_page;
	struct blkship_desc descs[64];
	struct blkship_entry entries[64];
	uint32_t entry_op[64];			/* which op an entry is of */
	uint8_t *payload;
	struct blkship_dirty maps[MAX_VOLUMES];
	uint64_t map_words[MAX_VOLUMES][2];
	bool diverged[MAX_VOLUMES];		/* nothing feeds it */
	bool suspended[MAX_VOLUMES];
	uint64_t *seq_time[MAX_INCARNATIONS];	/* when a number was taken */
	uint32_t boot;				/* which life of the kernel */
	uint32_t boot_of[MAX_INCARNATIONS * 2];
	struct capture capture;

	/* shipper, connection, target */
	struct shipper *shipper;
	bool read_told;		/* that all reads of a chunk have ended */
	bool connected;
	struct session *session;
	struct sim_env *disk;
	struct env *env;
	struct timeline *timeline;
	uint8_t *up, *down;			/* bytes on the way */
	size_t up_bytes, down_bytes;

	struct seen_point points[MAX_POINTS];
	uint32_t nr_points;
};

/* rng */
uint32_t sim_random(struct sim *s, uint32_t bound);
bool sim_odds(struct sim *s, uint32_t in_100);
void sim_log(struct sim *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_violation(struct sim *s, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* device.c: application and device */
void device_init(struct sim *s);
void device_fill(struct sim *s, uint32_t volume);	/* what is on it before anything */
uint64_t sector_offset(const struct sim *s, uint32_t hot_sector);	/* bytes in the volume */
uint32_t op_value(const struct op *op, uint32_t i);	/* of its sector i */
void op_data(const struct op *op, uint32_t from, uint32_t end, uint8_t *out);
struct op *device_submit(struct sim *s, const struct op *what);
/* The rest of a slow copy is made, of pages that changed because of a write, or NULL. */
void device_copied(struct sim *s, struct op *op, const struct op *because);
void device_complete(struct sim *s, const struct op *op);
bool do_submit(struct sim *s);
bool do_apply(struct sim *s);
bool do_complete(struct sim *s);
bool do_timeout(struct sim *s);
bool do_device_read(struct sim *s);
void device_settle(struct sim *s);	/* the machine crashed: whatever was in flight */

/* kernel.c: capture around the module's own arithmetic */
void kernel_start(struct sim *s);
void kernel_join(struct sim *s);	/* one more volume, of which nobody is told */
void kernel_submit(struct sim *s, struct op *op);
void kernel_copy_rest(struct sim *s, struct op *op);
void kernel_complete(struct sim *s, struct op *op);
void kernel_timeout(struct sim *s, struct op *op);
bool kernel_may_issue(const struct sim *s, const struct op *op);
void kernel_consumer_gone(struct sim *s);
/* What feeds a volume goes without a word, and is there again. */
void kernel_diverge(struct sim *s, uint16_t volume);
void kernel_feed_again(struct sim *s, uint16_t volume);
/* It is suspended, and resumed. */
void kernel_suspend(struct sim *s, uint16_t volume);
void kernel_resume(struct sim *s, uint16_t volume);

/* target.c: consumer process, connection, target process */
void target_init(struct sim *s);
void target_fini(struct sim *s);
bool consumer_start(struct sim *s);
void consumer_crash(struct sim *s);
bool do_connect(struct sim *s);
bool do_disconnect(struct sim *s);
bool do_send(struct sim *s);
bool do_receive(struct sim *s);
bool do_io(struct sim *s);
bool do_target_crash(struct sim *s);

/* check.c */
void check_points(struct sim *s);
void check_all_again(struct sim *s);
void check_at_rest(struct sim *s);

/* world.c: the run; points seen, or -1 with s->violation set */
struct sim *sim_create(void);
void sim_destroy(struct sim *s);
void sim_begin(struct sim *s, const struct sim_config *config);
void sim_now(struct sim *s);		/* one tick of the clock */
int sim_run(struct sim *s, uint64_t seed);
void sim_rest(struct sim *s);
void sim_end(struct sim *s);

/* named.c: the sequences that break order, one by one; how many failed */
int named_run(int *passed);

#endif
