// SPDX-License-Identifier: GPL-2.0-only
/* Giving space back: when it is done and at what pace, with what room, and what is removed. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/store/index.h"
#include "../../userspace/store/index_pack.h"
#include "../../userspace/store/space.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

/* -- room -- */

static void packs_leave_room_for_what_comes_in(void **state_)
{
	const uint64_t mib = 1 << 20;

	assert_int_equal(index_pack_room(0), 0);
	assert_int_equal(index_pack_room(1024 * mib), 768 * mib);
	/* Of the last, a little: what is all dead needs hardly any. */
	assert_int_equal(index_pack_room(256 * mib), 16 * mib);
	assert_int_equal(index_pack_room(160 * mib), 10 * mib);
}

/* The most that jobs take on the way, beside what they give back. */
static uint64_t most_used(struct rig *r, uint64_t limit)
{
	uint64_t most = 0;
	struct index_job *job;

	sim_env_set_limit(r->sim, limit);
	for (unsigned int nr = 0; (job = timeline_index_plan(r->tl)); nr++) {
		index_job_run(job, r->env, NULL);
		if (sim_env_used(r->sim) > most)
			most = sim_env_used(r->sim);
		assert_int_equal(timeline_index_take(r->tl, job), 0);
		assert_true(nr < 400);
	}
	return most;
}

static void without_room_a_pack_waits(void **state_)
{
	struct rig r;
	uint64_t used, ops, most;

	rig_init_dead(&r);
	used = sim_env_used(r.sim);
	ops = sim_env_ops(r.sim);
	most_used(&r, used + 4096);
	/* It was not even begun. */
	assert_int_equal(sim_env_ops(r.sim), ops);
	assert_true(rig_pack_state(&r).need_bytes > 0);
	assert_null(timeline_index_plan(r.tl));
	/* Some is there: it is tried again after a while, and takes a sixteenth at most. */
	sim_env_advance(r.sim, HOUR);
	most = most_used(&r, used + 16 * 65536);
	assert_true(r.tl->manifest.nr_packs > 0);
	assert_true(most <= used + 65536 + 65536 / 2);
	for (int i = 0; i < 20; i++) {
		sim_env_advance(r.sim, HOUR);
		most_used(&r, used + 16 * 65536);
	}
	assert_int_equal(rig_nr_unpacked(&r), 0);
	assert_int_equal(rig_pack_state(&r).need_bytes, 0);
	rig_check(&r);
	rig_fini(&r);
}

/* An idle group adds commits of the cut before: as long as that is kept a pack has them all. */
static void commits_of_kept_cuts_are_counted(void **state_)
{
	const uint64_t too_little = 64 << 10;
	struct rig r;
	uint64_t used, need, most;

	rig_init(&r, 1, 2048, 4 << 20);
	for (int i = 0; i < 20; i++)
		rig_commit(&r, RIG_DATA);
	for (int i = 0; i < 1200; i++) {
		sim_env_advance(r.sim, S);
		rig_commit(&r, RIG_IDLE);
	}
	rig_drop(&r);
	timeline_set_packing(r.tl, true);
	used = sim_env_used(r.sim);
	/* Its data alone would fit. */
	assert_int_equal(most_used(&r, used + 16 * too_little), used);
	need = rig_pack_state(&r).need_bytes;
	assert_in_range(need, 100 << 10, 300 << 10);
	sim_env_advance(r.sim, HOUR);
	most = most_used(&r, used + 16 * need);
	assert_int_equal(r.tl->manifest.nr_packs, 1);
	assert_in_range(most, used + need / 2, used + need);
	assert_int_equal(rig_pack_state(&r).need_bytes, 0);
	rig_fini(&r);
}

/* Where nobody can say how much there is, or somebody else was quicker. */
static void full_disk_is_tried_again(int error)
{
	struct rig r;
	uint64_t bytes;

	rig_init_dead(&r);
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 1, error, true);
	assert_int_equal(rig_index_faulty(&r), 0);
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	assert_true(rig_pack_state(&r).need_bytes > 0);
	assert_null(sim_env_content(r.sim, "/tl/0000000000000001.pack.new", &bytes));
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 0, 0, false);
	rig_index(&r);
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	sim_env_advance(r.sim, HOUR);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	assert_int_equal(rig_pack_state(&r).need_bytes, 0);
	rig_fini(&r);
}

static void a_full_disk_is_tried_again(void **state_)
{
	full_disk_is_tried_again(-ENOSPC);
	full_disk_is_tried_again(-EDQUOT);
}

/* -- the points file -- */

/* Whatever becomes of the last copy: first there are two again, then it goes on. */
static void nothing_is_packed_beside_one_copy_of_the_points(void **state_)
{
	for (unsigned int copy = 0; copy < 2; copy++) {
		struct index_job *job;
		struct rig r;

		rig_init_dead(&r);
		assert_true(r.tl->manifest.points.flags & MANIFEST_POINTS_LEFT_OUT);
		rig_points_damage(&r, copy);
		while ((job = timeline_index_plan(r.tl))) {
			index_job_run(job, r.env, NULL);
			assert_int_equal(timeline_index_take(r.tl, job), 0);
			assert_true(rig_points_are_whole(&r) || r.tl->manifest.nr_packs == 0);
		}
		assert_true(rig_points_are_whole(&r));
		assert_int_equal(rig_nr_unpacked(&r), 0);
		rig_fini(&r);
	}
}

static void with_both_copies_lost_the_worker_hears(void **state_)
{
	struct index_job *job;
	struct rig r;

	rig_init_dead(&r);
	rig_points_damage(&r, 0);
	rig_points_damage(&r, 1);
	job = timeline_index_plan(r.tl);
	assert_non_null(job);
	assert_int_equal(index_job_run(job, r.env, NULL), -EBADMSG);
	assert_non_null(index_job_lost(job));
	assert_int_equal(timeline_index_take(r.tl, job), -EBADMSG);
	assert_null(timeline_index_plan(r.tl));
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	rig_fini(&r);
}

/* -- removing -- */

static int unlink_refused(struct env *env, const char *path)
{
	if (!strstr(path, "/manifest"))
		fail_msg("%s was removed in the thread that acknowledges", path);
	return sim_ops.unlink(env, path);
}

/* What a job replaces is removed by the next, in the thread of jobs. */
static void taking_a_job_removes_nothing(void **state_)
{
	struct env_ops ops = sim_ops;
	struct index_job *job;
	struct rig r;

	rig_init(&r, 1, 256, 16384);
	rig_append(&r, 200, S);
	timeline_set_packing(r.tl, true);
	ops.unlink = unlink_refused;
	for (int round = 0; round < 2; round++) {
		while ((job = timeline_index_plan(r.tl))) {
			bool points = !strncmp(index_job_text(job), "points", 6);

			index_job_run(job, r.env, NULL);
			r.env->ops = points ? &sim_ops : &ops;
			timeline_index_take(r.tl, job);
			r.env->ops = &sim_ops;
		}
		if (round == 0)
			rig_drop(&r);
	}
	assert_int_equal(rig_nr_unpacked(&r), 0);
	for (uint64_t n = 1; n <= r.tl->settled.last_segment; n++) {
		uint64_t bytes;
		char path[40];

		segment_path(path, sizeof(path), "/tl", n);
		assert_null(sim_env_content(r.sim, path, &bytes));
	}
	rig_fini(&r);
}

/* What cannot be undone is said before it is done; once. */
static void the_first_pack_is_told(void **state_)
{
	unsigned int nr_told = 0;
	struct index_job *job;
	struct rig r;

	rig_init_dead(&r);
	for (int i = 0; i < 2; i++) {
		while ((job = timeline_index_plan(r.tl))) {
			if (index_job_first_pack(job)) {
				nr_told++;
				assert_int_equal(r.tl->manifest.nr_packs, 0);
				assert_int_equal(index_job_first_pack(job),
						 r.tl->settled.last_ordinal -
						 r.tl->manifest.points.nr_commits);
			}
			index_job_run(job, r.env, NULL);
			timeline_index_take(r.tl, job);
		}
		assert_int_not_equal(r.tl->manifest.nr_packs, 0);
		assert_int_equal(nr_told, 1);
		rig_append(&r, 200, S);
		rig_restart(&r);
		timeline_set_packing(r.tl, true);
		sim_env_advance(r.sim, HOUR);
	}
	rig_fini(&r);
}

/* -- beside what comes in -- */

static struct {
	uint64_t read_bytes, paced_bytes;
	unsigned int nr_removed;
	unsigned int nr_paced, stop_at;
} counted;

static int64_t read_counted(struct env *env, struct env_file *file, void *data, size_t bytes,
			    uint64_t offset)
{
	int64_t got = sim_ops.read(env, file, data, bytes, offset);

	if (got > 0)
		counted.read_bytes += got;
	return got;
}

static int unlink_counted(struct env *env, const char *path)
{
	counted.nr_removed++;
	return sim_ops.unlink(env, path);
}

static int pace_counted(void *arg, uint64_t bytes)
{
	counted.paced_bytes += bytes;
	return ++counted.nr_paced == counted.stop_at ? -ECANCELED : 0;
}

static void jobs_have_a_pace(struct rig *r)
{
	const struct run_pace pace = { pace_counted, NULL };
	struct env_ops ops = sim_ops;
	struct index_job *job;

	ops.read = read_counted;
	ops.unlink = unlink_counted;
	while ((job = timeline_index_plan(r->tl))) {
		memset(&counted, 0, sizeof(counted));
		r->env->ops = &ops;
		assert_int_equal(index_job_run(job, r->env, &pace), 0);
		r->env->ops = &sim_ops;
		/* Tables and headers beside. */
		if (counted.paced_bytes < counted.read_bytes / 8 * 7)
			fail_msg("%s: %llu bytes read, %llu counted", index_job_text(job),
				 (unsigned long long)counted.read_bytes,
				 (unsigned long long)counted.paced_bytes);
		assert_true(counted.nr_removed <= 64);
		assert_true(counted.paced_bytes >= (uint64_t)counted.nr_removed << 20);
		assert_int_equal(timeline_index_take(r->tl, job), 0);
	}
}

static void reading_and_removing_have_a_pace(void **state_)
{
	struct rig r;

	rig_init(&r, 1, 256, 16384);
	rig_append(&r, 200, S);
	jobs_have_a_pace(&r);
	assert_int_not_equal(r.tl->manifest.points.number, 0);
	rig_append(&r, 200, S);
	jobs_have_a_pace(&r);	/* a points file, from one */
	rig_fini(&r);
	rig_init_dead(&r);
	jobs_have_a_pace(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_fini(&r);
}

/* Whatever it was at: nothing of it is left, and no file is to blame. */
static void a_pack_that_is_to_end_leaves_nothing(void **state_)
{
	const struct run_pace pace = { pace_counted, NULL };
	struct index_job *job;
	struct rig r;
	int ret;

	rig_init_dead(&r);
	memset(&counted, 0, sizeof(counted));
	do {
		uint64_t bytes;

		counted.nr_paced = 0;
		counted.stop_at = counted.stop_at * 3 / 2 + 1;
		job = rig_index_until(&r, "packing");
		assert_non_null(job);
		ret = index_job_run(job, r.env, &pace);
		assert_int_equal(ret, counted.nr_paced >= counted.stop_at ? -ECANCELED : 0);
		timeline_index_take(r.tl, job);
		assert_int_equal(rig_pack_state(&r).nr_aside, 0);
		assert_null(sim_env_content(r.sim, "/tl/0000000000000001.pack.new", &bytes));
		sim_env_advance(r.sim, 301 * S);
	} while (ret);
	assert_true(counted.stop_at > 100);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_check(&r);
	rig_fini(&r);
}

/* -- what is told -- */

static uint64_t data_bytes(const struct rig *r)
{
	struct space space;

	assert_int_equal(space_measure(r->tl, &space), 0);
	return space.data_bytes;
}

/* To the byte: files that went, less the packs in their place. */
static void what_is_given_back_is_counted(void **state_)
{
	uint64_t before;
	struct rig r;

	rig_init_dead(&r);
	before = data_bytes(&r);
	assert_int_equal(rig_pack_state(&r).reclaimed_bytes, 0);
	rig_index(&r);
	assert_true(r.tl->manifest.nr_packs > 0);
	assert_true(data_bytes(&r) < before);
	assert_int_equal(rig_pack_state(&r).reclaimed_bytes, before - data_bytes(&r));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(packs_leave_room_for_what_comes_in),
		cmocka_unit_test(without_room_a_pack_waits),
		cmocka_unit_test(commits_of_kept_cuts_are_counted),
		cmocka_unit_test(a_full_disk_is_tried_again),
		cmocka_unit_test(nothing_is_packed_beside_one_copy_of_the_points),
		cmocka_unit_test(with_both_copies_lost_the_worker_hears),
		cmocka_unit_test(the_first_pack_is_told),
		cmocka_unit_test(taking_a_job_removes_nothing),
		cmocka_unit_test(reading_and_removing_have_a_pace),
		cmocka_unit_test(a_pack_that_is_to_end_leaves_nothing),
		cmocka_unit_test(what_is_given_back_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
