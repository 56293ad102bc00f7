// SPDX-License-Identifier: GPL-2.0-only
/* What merging leaves out of runs, and who is refused then: docs/STORE.md. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/index.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/run_read.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

static char why[TIMELINE_TEXT_BYTES];

static uint64_t nr_entries(const struct rig *r)
{
	const struct manifest *m = &r->tl->manifest;
	uint64_t nr = 0;

	for (size_t i = 0; i < m->nr_runs; i++)
		nr += m->runs[i].nr_entries;
	return nr;
}

/* Of one segment, in all runs. */
static uint64_t nr_entries_of(struct rig *r, uint64_t segment)
{
	const struct manifest *m = &r->tl->manifest;
	uint64_t nr = 0;

	for (size_t i = 0; i < m->nr_runs; i++) {
		struct run_stream stream;
		struct run_entry e;
		struct run run;

		assert_int_equal(run_open(r->env, "/tl", m->identity.timeline, &m->runs[i], &run), 0);
		assert_int_equal(run_stream_begin(&stream, &run), 0);
		while (!run_stream_next(&stream, &e))
			nr += e.segment == segment;
		run_stream_end(&stream);
		run_close(&run);
	}
	return nr;
}

/* More comes in, and a while later all but the last of it is dropped. */
static void come_and_go(struct rig *r)
{
	rig_append(r, 200, S);
	sim_env_advance(r->sim, HOUR);
	rig_index(r);
	assert_int_equal(rig_nr_unpacked(r), 0);
}

static void runs_do_not_grow_with_what_is_gone(void **state_)
{
	uint64_t before, first;
	struct rig r;

	rig_init_dead(&r);
	before = nr_entries(&r);
	rig_index(&r);
	first = nr_entries(&r);
	assert_true(first < before / 4);
	assert_int_equal(r.tl->packing.nr_dropped, before - first);
	rig_check(&r);
	for (int i = 0; i < 6; i++)
		come_and_go(&r);
	/* Seven times as much came in. */
	assert_true(nr_entries(&r) < 2 * first);
	rig_check(&r);
	rig_restart(&r);
	rig_check(&r);
	rig_fini(&r);
}

/* Who does not want space back keeps all of it. */
static void without_packing_all_stays(void **state_)
{
	uint64_t before;
	struct rig r;

	rig_init_dead(&r);
	rig_index(&r);
	timeline_set_packing(r.tl, false);
	before = r.tl->packing.nr_dropped;
	rig_append(&r, 200, S);
	sim_env_advance(r.sim, HOUR);
	rig_index(&r);
	assert_int_equal(r.tl->packing.nr_dropped, before);
	rig_fini(&r);
}

/* How much of a segment is dead is known by its entries only. */
static void of_what_is_not_packed_all_stays(void **state_)
{
	const uint64_t bad = 7;
	uint64_t before;
	struct rig r;
	char path[40];

	rig_init_dead(&r);
	before = nr_entries_of(&r, bad);
	segment_path(path, sizeof(path), "/tl", bad);
	assert_int_equal(r.env->ops->unlink(r.env, path), 0);
	rig_index(&r);
	assert_false(rig_is_packed(&r, bad));
	assert_int_not_equal(r.tl->packing.nr_dropped, 0);
	assert_true(nr_entries_of(&r, bad - 1) < before / 2);
	assert_int_equal(nr_entries_of(&r, bad), before);
	rig_fini(&r);
}

/* All before a pack that is due, which is not made; then all runs become one. */
static void merge_all(struct rig *r)
{
	for (int i = 0; i < 2; i++) {
		struct index_job *job = rig_index_until(r, "packing");

		assert_non_null(job);
		timeline_index_take(r->tl, job);
		r->tl->packing.gone_segment = 1;
		r->tl->packing.nr_gone = i ? 0 : nr_entries(r);
		r->tl->packing.retry_ns = 0;
	}
	assert_int_equal(r->tl->manifest.nr_runs, 1);
}

static void points_lose(struct rig *r)
{
	char path[40];

	points_path(path, sizeof(path), "/tl", r->tl->manifest.points.number, 0);
	rig_close(r);
	assert_int_equal(r->env->ops->unlink(r->env, path), 0);
	rig_open(r, TIMELINE_REBUILD);
}

/*
 * The newest pack lists more points than the points file does, and it is by that list that those
 * come back when the file is lost: merging goes by it.
 */
static void what_comes_back_is_whole(void **state_)
{
	uint64_t nr_back;
	struct rig r;

	rig_init_settled(&r);
	timeline_set_packing(r.tl, true);
	rig_retain(&r, "all:10m,1m:100d", 0);
	sim_env_advance(r.sim, HOUR);
	rig_index(&r);
	assert_int_not_equal(r.tl->packing.nr_dropped, 0);
	rig_append(&r, 200, S);
	rig_retain(&r, "all:1m", 0);
	sim_env_advance(r.sim, HOUR);
	merge_all(&r);
	rig_check(&r);
	points_lose(&r);
	assert_true(timeline_rebuilt(r.tl, &nr_back));
	assert_true(nr_back > 1);
	rig_check(&r);
	rig_fini(&r);
}

/* Right, or it hears that the point was dropped. */
static bool is_refused(struct rig *r, struct timeline *reader, const struct timeline_commit *c)
{
	struct view *v = NULL;
	int ret = view_open(reader, c->cut_seq, &v, why);

	if (!ret && !history_check(&r->h, v, c->ordinal - 1))
		fail_msg("commit %d: %s", (int)c->ordinal, r->h.why);
	view_close(v);
	if (ret) {
		assert_int_equal(ret, -ESTALE);
		assert_non_null(strstr(why, "dropped"));
	}
	return ret;
}

/* A reader of before. Then nearly all points are dropped, and what only they showed goes. */
static struct timeline *init_outlived(struct rig *r)
{
	struct timeline *reader;

	rig_init_settled(r);
	reader = rig_reader(r);
	rig_drop(r);
	timeline_set_packing(r->tl, true);
	rig_index(r);
	assert_int_not_equal(r->tl->packing.nr_dropped, 0);
	return reader;
}

/* He lists points that are gone, and the first time he finds files gone reads the manifest again. */
static void who_lists_a_dropped_point_is_refused(void **state_)
{
	const struct timeline_commit *commits;
	struct timeline *reader;
	size_t nr, nr_refused = 0, nr_listed = 0;
	struct rig r;

	reader = init_outlived(&r);
	nr = timeline_commits(reader, &commits);
	for (size_t i = 0; i < nr; i++) {
		const struct timeline_commit *c = &commits[i];
		bool dropped = points_find(&r.tl->points, c->cut_seq) == r.tl->points.nr_commits;

		assert_int_equal(is_refused(&r, reader, c), dropped);
		nr_refused += dropped;
		nr_listed += !dropped;
	}
	assert_true(nr_refused > 100);
	assert_true(nr_listed > 1);
	timeline_close(reader);
	rig_fini(&r);
}

/* He has read the manifest again since; now only the points file is another one. */
static void who_looks_again_is_told_the_same(void **state_)
{
	const struct timeline_commit *commits;
	struct timeline *reader;
	uint64_t points;
	struct rig r;

	reader = init_outlived(&r);
	assert_true(timeline_commits(reader, &commits) > 20);
	assert_true(is_refused(&r, reader, &commits[20]));
	points = r.tl->manifest.points.number;
	sim_env_advance(r.sim, HOUR);
	rig_append(&r, 12, S);
	timeline_index_take(r.tl, rig_index_until(&r, "packing"));
	assert_true(r.tl->manifest.points.number > points);
	assert_true(is_refused(&r, reader, &commits[20]));
	timeline_close(reader);
	rig_fini(&r);
}

/* The runs that it has open are those of its time. What it says of other places it says so. */
static void an_open_view_shows_what_it_showed_or_ends(void **state_)
{
	const struct timeline_commit *commits;
	struct timeline *reader;
	unsigned int nr_right = 0, nr_ended = 0;
	uint8_t buf[512], before[256][512];
	struct view *v;
	struct rig r;
	int ret;

	rig_init_settled(&r);
	reader = rig_reader(&r);
	assert_true(timeline_commits(reader, &commits) > 20);
	assert_int_equal(view_open(reader, commits[20].cut_seq, &v, why), 0);
	for (unsigned int i = 0; i < 256; i++)
		if (view_read(v, 0, 512 * i, before[i], 512))
			memset(before[i], 0xff, 512);
	view_close(v);
	assert_int_equal(view_open(reader, commits[20].cut_seq, &v, why), 0);
	rig_drop(&r);
	timeline_set_packing(r.tl, true);
	rig_index(&r);
	assert_int_not_equal(r.tl->packing.nr_dropped, 0);
	for (unsigned int i = 0; 512 * i < view_size(v, 0); i++) {
		ret = view_read(v, 0, 512 * i, buf, 512);
		assert_true(!ret || ret == -ESTALE || ret == -EIO);
		nr_ended += ret == -ESTALE;
		nr_right += !ret;
		if (!ret)
			assert_memory_equal(buf, before[i], 512);
	}
	assert_int_not_equal(nr_right, 0);
	assert_int_not_equal(nr_ended, 0);
	view_close(v);
	timeline_close(reader);
	rig_fini(&r);
}

/* It reads and writes all runs there are; what opening needs is not to wait for that. */
static void a_points_file_goes_before_a_merge_of_all(void **state_)
{
	struct index_job *job;
	struct rig r;

	rig_init_dead(&r);
	job = rig_index_until(&r, "packing");
	rig_do(&r, job);
	assert_int_not_equal(r.tl->packing.nr_gone, 0);
	sim_env_advance(r.sim, HOUR);
	rig_append(&r, 12, S);
	job = rig_index_until(&r, "points");
	assert_non_null(job);
	assert_int_equal(r.tl->packing.nr_dropped, 0);
	rig_do(&r, job);
	rig_index(&r);
	assert_int_not_equal(r.tl->packing.nr_dropped, 0);
	rig_check(&r);
	rig_fini(&r);
}

/* A merge that is only to make room needs some; it waits. */
static void without_room_all_stays(void **state_)
{
	struct index_job *job;
	uint64_t before;
	struct rig r;

	rig_init_dead(&r);
	job = rig_index_until(&r, "packing");
	rig_do(&r, job);
	assert_int_not_equal(r.tl->packing.nr_gone, 0);
	before = nr_entries(&r);
	job = rig_index_until(&r, "merge");
	assert_non_null(job);
	sim_env_set_limit(r.sim, sim_env_used(r.sim) + 4096);
	assert_int_equal(index_job_run(job, r.env, NULL), 0);
	sim_env_set_limit(r.sim, 0);
	assert_int_equal(timeline_index_take(r.tl, job), 0);
	assert_int_equal(nr_entries(&r), before);
	come_and_go(&r);
	assert_true(nr_entries(&r) < before / 4);
	rig_check(&r);
	rig_fini(&r);
}

/* Of the newest pack, the last block: its tables. */
static void a_list_that_is_bad_keeps_all(void **state_)
{
	const struct manifest_pack *newest;
	uint64_t dropped;
	struct rig r;
	char path[40];

	rig_init_dead(&r);
	rig_index(&r);
	dropped = r.tl->packing.nr_dropped;
	assert_int_equal(r.tl->manifest.nr_packs, 1);
	newest = &r.tl->manifest.packs[0];
	pack_path(path, sizeof(path), "/tl", newest->number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, newest->file_bytes - 4096, 1), 0);
	rig_append(&r, 800, S);
	sim_env_advance(r.sim, HOUR);
	timeline_index_take(r.tl, rig_index_until(&r, "packing"));
	assert_true(r.tl->manifest.runs[0].level > 2);
	assert_int_equal(r.tl->packing.nr_dropped, dropped);
	rig_check(&r);
	rig_fini(&r);
}

/* How many merges there are in an hour in which packs are tried again; @full: for the second there is no room. */
static unsigned int merges_in_an_hour(struct rig *r, bool full)
{
	unsigned int nr = 0;
	struct index_job *job;

	for (int i = 0; i < 12; i++) {
		while ((job = timeline_index_plan(r->tl))) {
			const char *text = index_job_text(job);
			bool pack = strncmp(text, "packing", 7) == 0;

			nr += strncmp(text, "merg", 4) == 0;
			if (pack && full && r->tl->packing.asides.nr)
				sim_env_fail(r->sim, SIM_FAULT_WRITE, r->tl->manifest.nr_packs ? 1 : 4, -ENOSPC,
					     true);
			index_job_run(job, r->env, NULL);
			sim_env_fail(r->sim, SIM_FAULT_WRITE, 0, 0, false);
			timeline_index_take(r->tl, job);
		}
		sim_env_advance(r->sim, HOUR / 12);
	}
	return nr;
}

static void lose(struct rig *r, uint64_t segment)
{
	char path[40];

	segment_path(path, sizeof(path), "/tl", segment);
	assert_int_equal(r->env->ops->unlink(r->env, path), 0);
}

static void nothing_is_merged_for_packs_that_cannot_be_made(void **state_)
{
	struct rig r;

	rig_init_dead(&r);
	lose(&r, 7);
	assert_int_equal(merges_in_an_hour(&r, true), 0);
	assert_true(r.tl->manifest.nr_packs > 0 && r.tl->packing.asides.nr > 0);
	rig_fini(&r);

	rig_init_dead(&r);
	for (uint64_t segment = 7; segment < 60; segment += 4)
		lose(&r, segment);
	assert_int_equal(merges_in_an_hour(&r, false), 1);
	assert_true(r.tl->packing.nr_dropped > 0);
	rig_fini(&r);
}

/* The run over a segment does not check; others are made, but not of that one, as it is lost. */
static void run_lose(struct rig *r, uint64_t segment)
{
	const struct manifest *m = &r->tl->manifest;
	char path[40];

	for (size_t i = 0; i < m->nr_runs; i++) {
		if (m->runs[i].first_segment > segment || segment > m->runs[i].last_segment)
			continue;
		run_path(path, sizeof(path), "/tl", m->runs[i].number, 0);
		assert_int_equal(sim_env_flip(r->sim, path, 4096 + 100, 1), 0);
	}
	lose(r, segment);
	assert_int_equal(rig_index_faulty(r), 2);
}

/*
 * Two rows of runs. Some of what is hidden in the first is so by the second only, and stays; it is
 * counted each time that a file which is lost is looked for again.
 */
static void what_a_gap_keeps_apart_is_merged_once(void **state_)
{
	uint64_t before;
	struct rig r;

	rig_init(&r, 1, 256, 16384);
	rig_append(&r, 300, S);
	rig_index(&r);
	rig_drop(&r);
	timeline_set_packing(r.tl, true);
	run_lose(&r, r.tl->settled.last_segment / 2);
	lose(&r, r.tl->settled.last_segment / 4);
	before = nr_entries(&r);
	for (unsigned int i = 0; i < 4; i++) {
		assert_int_equal(merges_in_an_hour(&r, false), i < 2);
		sim_env_advance(r.sim, PACK_ASIDE_NS);
	}
	assert_int_equal(r.tl->manifest.nr_runs, 2);
	assert_true(nr_entries(&r) < before / 8);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_do_not_grow_with_what_is_gone),
		cmocka_unit_test(without_packing_all_stays),
		cmocka_unit_test(of_what_is_not_packed_all_stays),
		cmocka_unit_test(what_comes_back_is_whole),
		cmocka_unit_test(who_lists_a_dropped_point_is_refused),
		cmocka_unit_test(who_looks_again_is_told_the_same),
		cmocka_unit_test(an_open_view_shows_what_it_showed_or_ends),
		cmocka_unit_test(a_points_file_goes_before_a_merge_of_all),
		cmocka_unit_test(without_room_all_stays),
		cmocka_unit_test(a_list_that_is_bad_keeps_all),
		cmocka_unit_test(nothing_is_merged_for_packs_that_cannot_be_made),
		cmocka_unit_test(what_a_gap_keeps_apart_is_merged_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
