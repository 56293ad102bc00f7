// SPDX-License-Identifier: GPL-2.0-only
/* What retention takes away from a timeline, and what it must not: pins, branches, the last file. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)
#define DAY	(24 * HOUR)

static char why[TIMELINE_TEXT_BYTES];

static void what_the_policy_keeps_stays_over_lives(void **state)
{
	size_t kept;
	struct rig r;

	rig_init_numbered(&r, "all:1m,1m:1h", 300);
	rig_index(&r);
	/* 5 minutes: what is finished and older than one minute, one a minute. */
	kept = r.tl->points.nr_commits;
	assert_in_range(kept, 60, 75);
	assert_true(r.tl->manifest.points.flags & MANIFEST_POINTS_LEFT_OUT);
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(r.tl->points.commits[i].since_ns / (60 * S) -
				 r.tl->points.commits[i - 1].since_ns / (60 * S), 1);
	rig_restart(&r);
	assert_int_equal(r.tl->points.nr_commits, kept);
	assert_int_equal(r.tl->points.last_ordinal, 300);
	rig_commits(&r, 1, S);
	assert_int_equal(r.tl->points.last_ordinal, 301);
	rig_fini(&r);
}

static void without_a_policy_all_stays(void **state)
{
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	rig_commits(&r, 100, DAY);
	rig_index(&r);
	assert_int_equal(r.tl->points.nr_commits, 100);
	assert_int_equal(r.tl->manifest.points.flags, 0);
	rig_fini(&r);
}

static void an_hour_later_it_is_applied_again(void **state)
{
	struct rig r;
	size_t nr;

	rig_init_numbered(&r, "all:1h", 100);
	rig_index(&r);
	assert_int_equal(r.tl->points.nr_commits, 100);
	sim_env_advance(r.sim, HOUR - S);
	assert_null(timeline_index_plan(r.tl));
	rig_pass(&r, 1, HOUR);
	nr = r.tl->points.nr_commits;
	/* The last of the points file, and what is not in a finished segment. */
	assert_int_equal(nr, 100 - r.tl->settled.last_ordinal + 1);
	rig_fini(&r);
}

static void of_a_cut_that_stays_the_first_commit_stays(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:1m,1m:1h", 5);
	for (int i = 0; i < 600; i++) {
		sim_env_advance(r.sim, S);
		rig_commit(&r, RIG_IDLE);
	}
	rig_index(&r);
	assert_true(rig_has(&r, 5));
	assert_false(rig_has(&r, 6));
	assert_in_range(r.tl->points.nr_commits, 60, 145);
	rig_fini(&r);
}

static void what_is_pinned_stays(void **state)
{
	uint64_t hold = 0, lease = 0, none = 0;
	struct timeline_pin *pins;
	struct rig r;
	size_t nr;

	rig_init_numbered(&r, "all:1m", 30);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 7), TIMELINE_PIN_HOLD, "before", 0, &hold),
			 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 9), TIMELINE_PIN_MOUNT, "", 10 * HOUR,
				      &lease), 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 999), TIMELINE_PIN_HOLD, "", 0, &none),
			 -ENOENT);
	rig_commits(&r, 70, S);
	rig_pass(&r, 1, HOUR);
	assert_true(rig_has(&r, 7) && rig_has(&r, 9) && !rig_has(&r, 8));
	/* Durable: another life knows them. The lease ends by itself, the hold when told to. */
	rig_restart(&r);
	assert_int_equal(timeline_pins(r.tl, &pins, &nr), 0);
	assert_int_equal(nr, 2);
	assert_string_equal(pins[0].label, "before");
	free(pins);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 9), TIMELINE_PIN_MOUNT, "", 20 * HOUR,
				      &lease), 0);
	rig_pass(&r, 1, 15 * HOUR);
	assert_true(rig_has(&r, 7) && rig_has(&r, 9));
	sim_env_advance(r.sim, 15 * HOUR);
	assert_int_equal(timeline_unpin(r.tl, hold), 0);
	assert_int_equal(timeline_unpin(r.tl, hold), -ENOENT);
	rig_index(&r);
	assert_false(rig_has(&r, 7) || rig_has(&r, 9));
	rig_fini(&r);
}

/* While the job that drops it is under way; then nothing is dropped. */
static void what_is_pinned_late_stays(void **state)
{
	uint64_t id = 0, number;
	struct index_job *job;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	rig_index(&r);
	number = r.tl->manifest.points.number;
	sim_env_advance(r.sim, HOUR);
	job = rig_points_job(&r);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 50), TIMELINE_PIN_HOLD, "", 0, &id), 0);
	assert_int_equal(timeline_index_take(r.tl, job), -EAGAIN);
	assert_int_equal(r.tl->manifest.points.number, number);
	rig_index(&r);
	assert_true(rig_has(&r, 50) && !rig_has(&r, 49));
	rig_fini(&r);
}

static void the_parent_of_a_branch_stays(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, seq_pack(1, 11), why), 0);
	rig_pass(&r, 1, HOUR);
	assert_true(rig_has(&r, 11) && !rig_has(&r, 12));
	assert_int_equal(branch_drop(r.env, "/tl", "b", why), 0);
	rig_pass(&r, 1, 2 * HOUR);
	assert_false(rig_has(&r, 11));
	rig_fini(&r);
}

static int no_file_left(struct env *env, const char *path,
			void (*name)(void *arg, const char *name), void *arg)
{
	return strstr(path, "branches/") ? -EMFILE : sim_ops.list(env, path, name, arg);
}

/* One that cannot be looked at now is not one that is not there. */
static void a_branch_that_cannot_be_looked_at_keeps_all(void **state)
{
	struct env_ops ops = sim_ops;
	struct index_job *job;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, seq_pack(1, 11), why), 0);
	sim_env_advance(r.sim, HOUR);
	ops.list = no_file_left;
	r.env->ops = &ops;
	for (int i = 0; i < 100 && (job = timeline_index_plan(r.tl)); i++) {
		index_job_run(job, r.env, NULL);
		timeline_index_take(r.tl, job);
	}
	r.env->ops = &sim_ops;
	assert_true(rig_has(&r, 11) && rig_has(&r, 12));
	rig_pass(&r, 1, HOUR);
	assert_true(rig_has(&r, 11) && !rig_has(&r, 12));
	rig_fini(&r);
}

/* Opening must not become slower for it. */
static void a_damaged_branch_keeps_all_and_stops_no_file(void **state)
{
	unsigned int nr_failed = 0;
	struct index_job *job;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, seq_pack(1, 11), why), 0);
	sim_env_flip(r.sim, "/tl/branches/b/manifest", 20, 3);
	sim_env_advance(r.sim, HOUR);
	while ((job = timeline_index_plan(r.tl))) {
		assert_int_equal(index_job_run(job, r.env, NULL), 0);
		nr_failed += timeline_index_take(r.tl, job) != 0;
	}
	assert_int_equal(nr_failed, 1);
	assert_int_equal(r.tl->points.nr_commits, 100);
	assert_int_equal(r.tl->manifest.points.last_segment,
			 segment_writer_finished(&r.tl->writer));
	rig_fini(&r);
}

/* Whether the record got to the disk is not known: what it names must stay what it is. */
static void a_file_that_may_be_named_is_not_made_anew(void **state)
{
	for (int seed = 1; seed <= 20; seed++) {
		struct index_job *job;
		struct env_file *lock;
		struct rig r;
		int ret;

		rig_init_numbered(&r, NULL, 0);
		for (int i = 0; i < seed; i++)
			sim_env_random(r.sim, 100);
		rig_retain(&r, "all:2h", 0);
		rig_commits(&r, 120, 60 * S);
		rig_index(&r);
		sim_env_advance(r.sim, HOUR);
		job = rig_points_job(&r);
		sim_env_fail(r.sim, SIM_FAULT_SYNC, 1, -EIO, false);
		assert_int_not_equal(timeline_index_take(r.tl, job), 0);
		sim_env_advance(r.sim, 10 * HOUR);
		job = rig_points_job(&r);
		assert_int_equal(branches_lock(r.env, "/tl", &lock), 0);
		assert_int_equal(timeline_index_take(r.tl, job), -EBUSY);
		sim_env_crash(r.sim, seed);
		r.env->ops->close(r.env, lock);
		timeline_close(r.tl);
		ret = timeline_open(r.env, "/tl", 0, "", &r.tl, why);
		if (ret)
			fail_msg("seed %d: %s", seed, why);
		rig_fini(&r);
	}
}

/* One that cannot be named is tried again after all else, as one that cannot be made. */
static void what_cannot_be_named_lets_the_others_go_first(void **state)
{
	unsigned int nr_points = 0, nr_packing = 0;
	struct index_job *job;
	struct env_file *lock;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 200);
	rig_index(&r);
	rig_commits(&r, 200, S);
	timeline_set_packing(r.tl, true);
	sim_env_advance(r.sim, HOUR);
	assert_int_equal(branches_lock(r.env, "/tl", &lock), 0);
	while (nr_points < 2 && (job = timeline_index_plan(r.tl))) {
		nr_points += !strncmp(index_job_text(job), "points", 6);
		nr_packing += !strncmp(index_job_text(job), "packing", 7);
		index_job_run(job, r.env, NULL);
		timeline_index_take(r.tl, job);
	}
	r.env->ops->close(r.env, lock);
	assert_int_equal(nr_points, 2);
	assert_int_not_equal(nr_packing, 0);
	rig_fini(&r);
}

static void of_two_copies_one_is_not_left_alone(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:1m", 200);
	rig_index(&r);
	for (unsigned int copy = 0; copy < 2; copy++) {
		rig_points_damage(&r, copy);
		rig_pass(&r, 1, HOUR);
		assert_true(rig_points_are_whole(&r));
	}
	rig_fini(&r);
}

/* While the daemon still knows the points somebody can save them. */
static void of_two_lost_copies_the_worker_hears(void **state)
{
	struct index_job *job;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 200);
	rig_index(&r);
	rig_points_damage(&r, 0);
	rig_points_damage(&r, 1);
	sim_env_advance(r.sim, HOUR);
	job = timeline_index_plan(r.tl);
	assert_non_null(job);
	assert_null(index_job_lost(job));
	assert_int_equal(index_job_run(job, r.env, NULL), -EBADMSG);
	assert_string_equal(index_job_lost(job), "0000000000000001.points");
	assert_int_equal(timeline_index_take(r.tl, job), -EBADMSG);
	assert_true(rig_has(&r, 200));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_policy_keeps_stays_over_lives),
		cmocka_unit_test(without_a_policy_all_stays),
		cmocka_unit_test(an_hour_later_it_is_applied_again),
		cmocka_unit_test(what_is_pinned_stays),
		cmocka_unit_test(the_parent_of_a_branch_stays),
		cmocka_unit_test(a_branch_that_cannot_be_looked_at_keeps_all),
		cmocka_unit_test(a_damaged_branch_keeps_all_and_stops_no_file),
		cmocka_unit_test(what_is_pinned_late_stays),
		cmocka_unit_test(a_file_that_may_be_named_is_not_made_anew),
		cmocka_unit_test(what_cannot_be_named_lets_the_others_go_first),
		cmocka_unit_test(of_two_copies_one_is_not_left_alone),
		cmocka_unit_test(of_two_lost_copies_the_worker_hears),
		cmocka_unit_test(of_a_cut_that_stays_the_first_commit_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
