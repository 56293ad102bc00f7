// SPDX-License-Identifier: GPL-2.0-only
/* How retention counts time: clocks that jump, days without the daemon, the immutable window. */
#include "unit.h"

#include "../../userspace/store/index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)
#define DAY	(24 * HOUR)

/* -- the clock -- */

static void a_clock_that_jumps_ahead_ages_nothing_at_once(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:24h", 100);
	rig_index(&r);
	/* Ten years, in a second. */
	sim_env_set_realtime(r.sim, RIG_T0 + 3650 * DAY);
	rig_commits(&r, 100, S);
	rig_pass(&r, 1, HOUR);
	assert_int_equal(r.tl->points.nr_commits, 200);
	rig_restart(&r);
	rig_pass(&r, 1, HOUR);
	assert_int_equal(r.tl->points.nr_commits, 200);
	/* It is put right; what came meanwhile is as old as it is. */
	sim_env_set_realtime(r.sim, RIG_T0 + 3 * HOUR);
	rig_commits(&r, 100, S);
	rig_pass(&r, 1, 12 * HOUR);
	assert_int_equal(r.tl->points.nr_commits, 300);
	rig_pass(&r, 1, 24 * HOUR);
	assert_false(rig_has(&r, 1) || rig_has(&r, 150));
	rig_fini(&r);
}

static void a_clock_that_goes_back_ages_nothing(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:24h", 100);
	sim_env_set_realtime(r.sim, S);
	rig_commits(&r, 100, S);
	rig_index(&r);
	sim_env_set_realtime(r.sim, RIG_T0 + HOUR);
	rig_commits(&r, 100, S);
	rig_index(&r);
	assert_int_equal(r.tl->points.nr_commits, 300);
	rig_fini(&r);
}

/* The daemon was off for a month: what came before is not gone at once, and then is. */
static void it_catches_up(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:24h,1h:30d", 0);
	rig_commits(&r, 200, 10 * S);
	rig_index(&r);
	rig_close(&r);
	sim_env_advance(r.sim, 40 * DAY);
	rig_open(&r, 0);
	rig_commits(&r, 400, 10 * S);
	rig_pass(&r, 1, HOUR);
	assert_true(rig_has(&r, 1));
	/* What comes now keeps its distances: nothing falls into one stretch that did not. */
	for (size_t i = 1; i < r.tl->points.nr_commits; i++)
		assert_true(r.tl->points.commits[i].since_ns > r.tl->points.commits[i - 1].since_ns);
	rig_pass(&r, 45, DAY);
	assert_false(rig_has(&r, 1));
	rig_fini(&r);
}

/* Nothing is finished yet, so no points file says where the clock of retention stood. */
static void a_jump_before_the_first_file_ages_nothing(void **state)
{
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	rig_retain(&r, "all:24h", 7 * DAY);
	rig_commits(&r, 3, S);
	sim_env_set_realtime(r.sim, RIG_T0 + 3650 * DAY);
	rig_commits(&r, 1, S);
	rig_retain(&r, "all:25h", 7 * DAY);
	assert_int_equal(r.tl->settled.last_ordinal, 0);
	rig_restart(&r);
	rig_commits(&r, 30, S);
	rig_index(&r);
	assert_int_not_equal(r.tl->settled.last_ordinal, 0);
	assert_int_equal(r.tl->points.nr_commits, 34);
	rig_fini(&r);
}

static void the_clock_goes_on_while_a_file_is_made(void **state)
{
	struct index_job *job;
	uint64_t before_ns;
	struct rig r;

	rig_init_numbered(&r, "all:24h", 100);
	rig_index(&r);
	sim_env_advance(r.sim, 5 * HOUR);
	job = rig_points_job(&r);
	sim_env_advance(r.sim, 100 * S);
	before_ns = timeline_age_now(r.tl);
	assert_int_equal(timeline_index_take(r.tl, job), 0);
	assert_int_equal(timeline_age_now(r.tl), before_ns);
	rig_fini(&r);
}

/* Then it is not known how far apart the points are: they stay as long as any of their age. */
static void what_came_before_the_first_file_is_not_thinned(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:24h,1h:30d", 0);
	rig_commits(&r, 5, DAY);
	rig_restart(&r);
	rig_commits(&r, 30, S);
	rig_pass(&r, 48, HOUR);
	for (uint64_t ordinal = 1; ordinal <= 5; ordinal++)
		assert_true(rig_has(&r, ordinal));
	rig_pass(&r, 40, DAY);
	assert_false(rig_has(&r, 1) || rig_has(&r, 5));
	rig_fini(&r);
}

/* -- the immutable window -- */

/* 100 commits that nobody may drop for three days. */
static void init_immutable(struct rig *r)
{
	rig_init_numbered(r, NULL, 0);
	rig_retain(r, "all:48h", 72 * HOUR);
	rig_commits(r, 100, S);
	rig_index(r);
}

static void a_shorter_policy_waits_for_the_window_to_pass(void **state)
{
	struct rig r;

	init_immutable(&r);
	sim_env_advance(r.sim, HOUR);
	/* All at once: the policy, and the window itself. */
	rig_retain(&r, "1m:2m", 0);
	rig_restart(&r);
	rig_pass(&r, 40, HOUR);
	assert_int_equal(r.tl->points.nr_commits, 100);
	rig_pass(&r, 1, 8 * HOUR);
	assert_false(rig_has(&r, 1));
	rig_fini(&r);
}

/* The configuration is edited, and the daemon restarted: its clock is behind the newest points. */
static void a_shorter_policy_after_a_restart_waits_as_well(void **state)
{
	struct rig r;

	init_immutable(&r);
	rig_commits(&r, 40, 60 * S);
	rig_restart(&r);
	rig_retain(&r, "1m:2m", 0);
	for (int i = 0; i < 40; i++) {
		sim_env_advance(r.sim, HOUR);
		rig_commits(&r, 3, S);
		rig_index(&r);
	}
	for (uint64_t ordinal = 1; ordinal <= 140; ordinal++)
		assert_true(rig_has(&r, ordinal));
	rig_pass(&r, 80, HOUR);
	assert_false(rig_has(&r, 1) || rig_has(&r, 120));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clock_that_jumps_ahead_ages_nothing_at_once),
		cmocka_unit_test(a_clock_that_goes_back_ages_nothing),
		cmocka_unit_test(it_catches_up),
		cmocka_unit_test(a_jump_before_the_first_file_ages_nothing),
		cmocka_unit_test(the_clock_goes_on_while_a_file_is_made),
		cmocka_unit_test(what_came_before_the_first_file_is_not_thinned),
		cmocka_unit_test(a_shorter_policy_waits_for_the_window_to_pass),
		cmocka_unit_test(a_shorter_policy_after_a_restart_waits_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
