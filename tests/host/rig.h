/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rig - a timeline on a simulated disk, for unit tests of the store.
 *
 * What goes wrong in one of these functions fails the test (cmocka), unless it says otherwise.
 * Nothing moves the clock but rig_append() and rig_drop().
 */
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include "history.h"
#include "sim_env.h"

#define RIG_DIR "/tl"

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;	/* NULL: closed */
	uint64_t seal_bytes;	/* of its segments */
	struct history h;
};

/** rig_init - a disk, and on it a new timeline with two volumes of @sectors */
void rig_init(struct rig *r, uint64_t seed, uint32_t sectors, uint64_t seal_bytes);
void rig_fini(struct rig *r);

/** rig_begin - all anew: as after rig_init() with this seed */
void rig_begin(struct rig *r, uint64_t seed);

/** rig_open - @flags: of timeline_open() */
void rig_open(struct rig *r, unsigned int flags);
void rig_close(struct rig *r);

/** rig_restart - as the daemon does */
void rig_restart(struct rig *r);

/** rig_reader - one more, read only; timeline_close() is due */
struct timeline *rig_reader(struct rig *r);

/* -- batches of the model: random content, and it is known what each point must show -- */

/** rig_append - @nr batches, durable, each @step_ns after the one before */
void rig_append(struct rig *r, unsigned int nr, uint64_t step_ns);

/** rig_check - every point there is shows what the model says */
void rig_check(struct rig *r);

/* -- what the worker does: runs, points files, packs -- */

/** rig_index - all there is to do */
void rig_index(struct rig *r);

/** rig_index_faulty - the same where jobs may fail; how many did */
unsigned int rig_index_faulty(struct rig *r);

/** rig_retain - have this policy; @immutable_ns as in timeline_set_retention() */
void rig_retain(struct rig *r, const char *policy, uint64_t immutable_ns);

/** rig_drop - an hour later: of what is settled only the newest point stays */
void rig_drop(struct rig *r);

/** rig_init_settled - 200 batches of the model, with runs and a points file */
void rig_init_settled(struct rig *r);

/** rig_init_dead - the same, and most are dead and packing is on: nothing is packed yet */
void rig_init_dead(struct rig *r);

struct timeline_pack_state rig_pack_state(const struct rig *r);
bool rig_is_packed(const struct rig *r, uint64_t segment);

/** rig_nr_unpacked - finished segments that no pack replaced */
size_t rig_nr_unpacked(const struct rig *r);

/** rig_points_damage - turn a bit in one of the two copies of the points file */
void rig_points_damage(struct rig *r, unsigned int copy);

/** rig_points_are_whole - both copies are there and good */
bool rig_points_are_whole(struct rig *r);

#endif
