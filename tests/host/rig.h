/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rig - a timeline on a simulated disk, for unit tests of the store.
 *
 * What goes wrong in one of these functions fails the test (cmocka), unless it says otherwise.
 */
#ifndef TEST_RIG_H
#define TEST_RIG_H

#include "history.h"
#include "sim_env.h"

struct index_job;

#define RIG_DIR "/tl"
#define RIG_T0	(UINT64_C(497000) * 3600 * 1000000000)	/* a full hour */

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

/** rig_begin - all anew, at RIG_T0: as after rig_init() with this seed */
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

/* -- numbered commits: point n is that of cut 1:n; never beside those of the model -- */

/* RIG_IDLE: nothing was written, and the cut is that of the commit before. */
enum rig_content { RIG_IDLE, RIG_ZEROES, RIG_DATA };

/** rig_commit - the next one, n, with 4 KiB in the place n mod 8; RIG_DATA: test_fill() of n */
void rig_commit(struct rig *r, enum rig_content content);

/** rig_commits - @nr of them with RIG_ZEROES, each @step_ns after the one before */
void rig_commits(struct rig *r, unsigned int nr, uint64_t step_ns);

/** rig_init_numbered - with this policy (NULL: none) and @nr of them, a second each */
void rig_init_numbered(struct rig *r, const char *policy, unsigned int nr);

/** rig_has - whether the commit is there */
bool rig_has(const struct rig *r, uint64_t ordinal);

/* -- what the worker does: runs, points files, packs -- */

/** rig_index - all there is to do */
void rig_index(struct rig *r);

/** rig_index_faulty - the same where jobs may fail; how many did */
unsigned int rig_index_faulty(struct rig *r);

/** rig_do - a job that was planned, and take what it made */
void rig_do(struct rig *r, struct index_job *job);

/** rig_index_until - all before a job whose text begins so; that, planned only, or NULL */
struct index_job *rig_index_until(struct rig *r, const char *text);

/** rig_points_job - the next job, which makes a points file; done and not taken */
struct index_job *rig_points_job(struct rig *r);

/** rig_pass - time, with the worker at work after each step */
void rig_pass(struct rig *r, unsigned int nr, uint64_t step_ns);

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
