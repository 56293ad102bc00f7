// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs and merging, seen from outside: whatever of the index is made, missing, damaged or
 * being replaced, a view shows what the model says.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/index.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view_internal.h"
#include "../host/rig.h"
#include "../host/test_steps.h"

#define SECTORS 256

static char why[TIMELINE_TEXT_BYTES];

/* One job, if there is one. */
static bool index_once(struct rig *r)
{
	struct index_job *job = timeline_index_plan(r->tl);

	if (!job)
		return false;
	assert_null(timeline_index_plan(r->tl));
	rig_do(r, job);
	return true;
}

/* @index_odds of 8: how often a job is done after a batch; 8: all there are. */
static void build(struct rig *r, uint64_t seed, size_t nr_batches, unsigned int index_odds)
{
	rig_begin(r, seed);
	for (size_t i = 0; i < nr_batches; i++) {
		rig_append(r, 1, 0);
		if (sim_env_random(r->sim, 8) < index_odds)
			while (index_once(r) && index_odds == 8)
				;
	}
}

static void check(struct rig *r, struct timeline *tl, size_t index)
{
	if (!history_point(&r->h, tl, index))
		fail_msg("%s", r->h.why);
}

/* Files in the directory that end so. */
struct count {
	const char *suffix;
	size_t nr;
};

static void count_name(void *arg, const char *name)
{
	struct count *c = arg;
	size_t length = strlen(name), suffix = strlen(c->suffix);

	c->nr += length > suffix && !strcmp(name + length - suffix, c->suffix);
}

static size_t nr_files(struct rig *r, const char *suffix)
{
	struct count c = { suffix, 0 };

	r->env->ops->list(r->env, "/tl", count_name, &c);
	return c.nr;
}

static size_t nr_runs(const struct rig *r)
{
	return r->tl->manifest.nr_runs;
}

static void any_point_is_the_same_with_any_runs(void **state)
{
	struct rig r;
	size_t most_runs = 0, most_level = 0;

	rig_init(&r, 1, SECTORS, 8192);
	for (uint64_t seed = 1; seed <= 18; seed++) {
		struct timeline *reader;

		build(&r, seed, 30 + seed * 2, seed % 10);
		reader = rig_reader(&r);
		for (size_t i = 0; i < r.h.nr_batches; i++) {
			check(&r, i % 2 ? r.tl : reader, i);
			if (i % 5 == 0)
				index_once(&r);	/* beside the reader, too */
		}
		while (index_once(&r))
			;
		for (size_t i = 0; i < r.h.nr_batches; i += 3)
			check(&r, i % 2 ? r.tl : reader, i);
		timeline_close(reader);
		for (size_t i = 0; i < nr_runs(&r); i++)
			if (r.tl->manifest.runs[i].level > most_level)
				most_level = r.tl->manifest.runs[i].level;
		if (nr_runs(&r) > most_runs)
			most_runs = nr_runs(&r);
		assert_int_equal(nr_files(&r, ".run"), nr_runs(&r));
		assert_int_equal(nr_files(&r, ".run.new"), 0);
		assert_int_equal(r.tl->nr_bad_runs, 0);
	}
	assert_true(most_runs > 4);
	assert_true(most_level >= 2);
	rig_fini(&r);
}

static void there_are_few_runs_of_each_level(void **state)
{
	struct rig r;
	uint64_t segments;

	rig_init(&r, 1, SECTORS, 8192);
	build(&r, 5, 700, 8);
	segments = segment_writer_finished(&r.tl->writer);
	assert_true(segments > 256);
	for (uint32_t level = 0; level < 8; level++) {
		size_t nr = 0;

		for (size_t i = 0; i < nr_runs(&r); i++)
			nr += r.tl->manifest.runs[i].level == level;
		assert_true(nr <= 3);
	}
	for (size_t i = 0; i < nr_runs(&r); i++) {
		const struct manifest_run *run = &r.tl->manifest.runs[i];

		assert_int_equal(run->first_segment, i ? run[-1].last_segment + 1 : 1);
		assert_int_equal(run->last_segment - run->first_segment + 1, 1u << 2 * run->level);
	}
	assert_int_equal(r.tl->manifest.runs[nr_runs(&r) - 1].last_segment, segments);
	for (size_t i = 0; i < r.h.nr_batches; i += 37)
		check(&r, r.tl, i);
	rig_fini(&r);
}

/* Reads of a view that is open while its runs are merged away. */
static void an_open_view_keeps_its_runs(void **state)
{
	struct rig r;
	struct view *v;

	rig_init(&r, 1, SECTORS, 8192);
	for (uint64_t seed = 1; seed <= 10; seed++) {
		build(&r, seed, 40, 4);
		assert_int_equal(view_open(r.tl, r.h.batches[20].cut, &v, why), 0);
		while (index_once(&r))
			;
		if (!history_check(&r.h, v, 20))
			fail_msg("%s", r.h.why);
		assert_int_equal(r.tl->nr_bad_runs, 0);
		view_close(v);
	}
	rig_fini(&r);
}

/* Whatever bit of whatever run is turned: the same content, and the run is made anew. */
static void a_damaged_run_is_passed_over_and_made_anew(void **state)
{
	struct rig r;
	unsigned int met = 0;

	rig_init(&r, 1, SECTORS, 8192);
	for (uint64_t seed = 1; seed <= 36; seed++) {
		uint64_t bytes, number;
		char path[64];
		size_t i;

		build(&r, seed % 6 + 1, 60, 8);
		sim_env_advance(r.sim, seed);
		i = sim_env_random(r.sim, nr_runs(&r));
		number = r.tl->manifest.runs[i].number;
		snprintf(path, sizeof(path), "/tl/%016llx.run", (unsigned long long)number);
		sim_env_content(r.sim, path, &bytes);
		if (seed % 4 == 0)
			r.env->ops->unlink(r.env, path);
		else
			sim_env_flip(r.sim, path, seed * 2654435761u % bytes, seed % 8);
		if (seed % 3 == 0)
			rig_restart(&r);
		for (i = seed % 7; i < r.h.nr_batches; i += 7)
			check(&r, r.tl, i);
		met += r.tl->nr_bad_runs > 0;
		while (index_once(&r))
			;
		for (i = seed % 5; i < r.h.nr_batches; i += 5)
			check(&r, r.tl, i);
		assert_int_equal(r.tl->nr_bad_runs, 0);
		for (i = 0; i < nr_runs(&r); i++)
			assert_int_equal(r.tl->manifest.runs[i].first_segment,
					 i ? r.tl->manifest.runs[i - 1].last_segment + 1 : 1);
		assert_int_equal(nr_files(&r, ".run"), nr_runs(&r));
	}
	assert_true(met > 18);
	rig_fini(&r);
}

/* A merge meets it first. */
static void a_merge_of_a_damaged_run_begins_anew(void **state)
{
	struct rig r;
	struct index_job *job;
	uint64_t bytes;
	char path[64];

	rig_init(&r, 1, SECTORS, 8192);
	build(&r, 3, 60, 0);
	do
		job = timeline_index_plan(r.tl);
	while (!strncmp(index_job_text(job), "segment", 7) &&
	       !index_job_run(job, r.env, NULL) && !timeline_index_take(r.tl, job));
	assert_string_equal(index_job_text(job), "merge of segments 1 to 4");
	snprintf(path, sizeof(path), "/tl/%016llx.run",
		 (unsigned long long)r.tl->manifest.runs[2].number);
	sim_env_content(r.sim, path, &bytes);
	sim_env_flip(r.sim, path, bytes - 2000, 3);
	assert_int_equal(index_job_run(job, r.env, NULL), -EBADMSG);
	assert_int_equal(timeline_index_take(r.tl, job), -EBADMSG);
	assert_int_equal(nr_files(&r, ".run.new"), 0);
	while (index_once(&r))
		;
	for (size_t i = 0; i < r.h.nr_batches; i += 5)
		check(&r, r.tl, i);
	assert_int_equal(nr_files(&r, ".run"), nr_runs(&r));
	rig_fini(&r);
}

/* The reader was told of runs that are gone when it looks: it asks again. */
static void a_reader_beside_a_merge_finds_the_new_runs(void **state)
{
	struct timeline *reader;
	struct rig r;

	rig_init(&r, 1, SECTORS, 8192);
	build(&r, 4, 60, 3);
	reader = rig_reader(&r);
	while (index_once(&r))
		;
	for (size_t i = 0; i < r.h.nr_batches; i += 9)
		check(&r, reader, i);
	assert_int_equal(reader->nr_bad_runs, 0);
	assert_int_equal(reader->manifest.nr_runs, nr_runs(&r));
	timeline_close(reader);
	rig_fini(&r);
}

/* Every run the manifest names is there. */
static void expect_runs_there(struct rig *r)
{
	char path[64];
	uint64_t bytes;

	for (size_t i = 0; i < nr_runs(r); i++) {
		run_path(path, sizeof(path), "/tl", r->tl->manifest.runs[i].number, 0);
		if (!sim_env_content(r->sim, path, &bytes))
			fail_msg("%s is gone", path);
	}
}

/* A fault somewhere in a job: nothing is left of it, and the next time it works. */
static void a_job_that_fails_leaves_nothing(void **state)
{
	static const enum sim_fault faults[] = { SIM_FAULT_READ, SIM_FAULT_WRITE, SIM_FAULT_SYNC };
	struct rig r;
	unsigned int failed = 0;

	rig_init(&r, 1, SECTORS, 8192);
	for (uint64_t seed = 0; seed < 36; seed++) {
		build(&r, seed % 5 + 1, 40, 3);
		for (int i = 0; i < 12; i++) {
			struct index_job *job = timeline_index_plan(r.tl);
			int ret;

			if (!job)
				break;
			sim_env_fail(r.sim, faults[seed % 3], 1 + sim_env_random(r.sim, 4),
				     seed % 2 ? -ENOSPC : -EIO, false);
			index_job_run(job, r.env, NULL);
			ret = timeline_index_take(r.tl, job);
			sim_env_fail(r.sim, faults[seed % 3], 0, 0, false);
			failed += ret != 0;
			assert_int_equal(nr_files(&r, ".run.new"), 0);
			if (seed % 3)	/* what could not be read counts as bad */
				expect_runs_there(&r);
			check(&r, r.tl, sim_env_random(r.sim, r.h.nr_batches));
		}
		while (index_once(&r))
			;
		for (size_t i = 0; i < r.h.nr_batches; i += 11)
			check(&r, r.tl, i);
		assert_int_equal(nr_files(&r, ".run"), nr_runs(&r));
	}
	assert_true(failed > 40);
	rig_fini(&r);
}

/*
 * A segment was given up behind its durable end, and what was written there comes back
 * after a crash. It has no part in the index.
 */
static void what_was_given_up_is_not_indexed(void **state)
{
	unsigned int came_back = 0;
	struct rig r;

	rig_init(&r, 1, SECTORS, 8192);
	for (uint64_t seed = 1; seed <= 20; seed++) {
		uint64_t bytes, number, durable, cut_bytes;
		struct test_batch b;
		uint8_t *old;
		char path[64];

		build(&r, seed, 10, 0);
		timeline_set_limits(r.tl, 1 << 20, 4096);
		rig_append(&r, 1, 0);
		number = r.tl->writer.file_number;
		durable = r.h.nr_batches;
		history_batch(&r.h, &b);
		assert_int_equal(test_batch_append(&b, r.tl), 0);
		test_batch_free(&b);
		sim_env_fail(r.sim, SIM_FAULT_SYNC, 1, -EIO, false);
		timeline_flush(r.tl);
		sim_env_complete_all(r.sim);
		segment_path(path, sizeof(path), "/tl", number);
		old = malloc(1 << 20);
		sim_env_content(r.sim, path, &bytes);
		assert_in_range(bytes, 4096, 1 << 20);
		memcpy(old, sim_env_content(r.sim, path, &bytes), bytes);
		assert_int_equal(timeline_void_tail(r.tl), 0);
		history_truncate(&r.h, durable);
		sim_env_content(r.sim, path, &cut_bytes);
		assert_true(cut_bytes < bytes);
		sim_env_poke(r.sim, path, 0, old, bytes);
		free(old);
		rig_append(&r, 5, 0);
		while (index_once(&r))
			;
		came_back += r.tl->manifest.runs[nr_runs(&r) - 1].last_segment >= number;
		for (size_t i = 0; i < r.h.nr_batches; i += 3)
			check(&r, r.tl, i);
		assert_int_equal(r.tl->nr_bad_runs, 0);
	}
	assert_int_equal(came_back, 20);
	rig_fini(&r);
}

static void strays_go_when_a_writer_opens(void **state)
{
	static const char *const names[] = { "/tl/00000000000000ff.run", "/tl/0000000000000100.run.new",
					     "/tl/00000000000000ff.runs", "/tl/ff.run" };
	struct timeline *reader;
	struct env_file *file;
	struct rig r;
	size_t before;

	rig_init(&r, 1, SECTORS, 8192);
	build(&r, 2, 30, 8);
	before = nr_files(&r, ".run");
	rig_close(&r);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(r.env->ops->open(r.env, names[i], ENV_WRITE | ENV_CREATE, &file), 0);
		r.env->ops->close(r.env, file);
	}
	reader = rig_reader(&r);
	timeline_close(reader);
	assert_int_equal(nr_files(&r, ".run"), before + 2);
	rig_open(&r, TIMELINE_CREATE);
	assert_int_equal(nr_files(&r, ".run"), before + 1);	/* ff.run is not ours */
	assert_int_equal(nr_files(&r, ".run.new"), 0);
	assert_int_equal(nr_files(&r, ".runs"), 1);
	rig_fini(&r);
}

struct seen {
	uint32_t nr;
	uint8_t times[40000];
};

static int count_sectors(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct seen *s = arg;

	for (size_t i = 0; i < bytes; i += SECTOR_BYTES, s->nr++)
		if (++s->times[offset_bytes / SECTOR_BYTES + i / SECTOR_BYTES] > 1 ||
		    ((const uint8_t *)buf)[i] != (uint8_t)(offset_bytes / SECTOR_BYTES + i / SECTOR_BYTES))
			fail_msg("sector %d", (int)(offset_bytes / SECTOR_BYTES));
	return 0;
}

/* Far more pieces than are looked up at once: every other sector, in two versions. */
static void a_range_in_hand_is_bounded(void **state)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	static uint8_t data[100 * 512];
	struct view *v;
	uint64_t at;
	struct rig r;

	rig_init(&r, 1, 40000, 1 << 20);
	timeline_set_limits(r.tl, 1 << 20, 65536);
	for (uint32_t n = 0; n < 8; n++) {
		struct test_batch b;

		test_batch_begin(&b, n + 1, (1ull << 48) + n + 1);
		for (uint32_t u = 0; u < 50; u++) {
			test_batch_unit_begin();
			for (uint32_t i = 0; i < 100; i++) {
				uint32_t sector = (n % 4 * 5000 + u * 100 + i) * 2;

				memset(data + i * 512, sector, 512);
				test_batch_unit_add(0, sector * 512, 512, EXTENT_DATA, data + i * 512);
			}
			test_batch_unit_end(&b, 0, 0);
		}
		b.volumes[b.nr_volumes++].size_bytes = 40000 * 512;
		test_batch_end(&b);
		assert_int_equal(test_append(r.sim, r.tl, &b), 0);
	}
	for (int indexed = 0; indexed < 2; indexed++) {
		for (uint32_t n = 4; n <= 8; n += 4) {
			assert_int_equal(view_open(r.tl, (1ull << 48) + n, &v, why), 0);
			memset(seen, 0, sizeof(*seen));
			assert_int_equal(view_copy(v, 0, count_sectors, seen, &at), 0);
			assert_int_equal(seen->nr, 20000);
			assert_true(v->found.max <= 2 * VIEW_WINDOW_VERSIONS);
			assert_true(v->max_pieces <= 2 * VIEW_WINDOW_VERSIONS);
			view_close(v);
		}
		while (index_once(&r))
			;
	}
	assert_true(nr_runs(&r) > 0);
	free(seen);
	rig_fini(&r);
}

static int stop_at_once(void *arg, uint64_t bytes)
{
	return -ECANCELED;
}

static void a_job_can_be_stopped(void **state)
{
	const struct run_pace pace = { stop_at_once, NULL };
	struct index_job *job;
	struct rig r;

	rig_init(&r, 1, SECTORS, 8192);
	build(&r, 2, 30, 0);
	job = timeline_index_plan(r.tl);
	assert_int_equal(index_job_run(job, r.env, &pace), -ECANCELED);
	assert_int_equal(timeline_index_take(r.tl, job), -ECANCELED);
	assert_int_equal(nr_files(&r, ".run"), 0);
	assert_int_equal(nr_files(&r, ".run.new"), 0);
	job = timeline_index_plan(r.tl);	/* never run at all */
	assert_int_equal(timeline_index_take(r.tl, job), -ECANCELED);
	assert_true(index_once(&r));
	rig_fini(&r);
}

/*
 * The newest segments are gone, or their end is, and there are runs of them: that was
 * durable. Nothing may be written where the runs say that something else is.
 */
static void runs_bear_witness_of_what_is_lost(void **state)
{
	struct rig r;

	rig_init(&r, 1, SECTORS, 8192);
	for (uint64_t seed = 1; seed <= 12; seed++) {
		const struct timeline_commit *commits;
		const struct timeline_hole *holes;
		uint64_t bytes, last, points;
		struct timeline *reader;
		size_t nr, nr_holes;
		char path[64];

		build(&r, seed, 24, 8);
		points = r.tl->manifest.points.number;
		last = r.tl->manifest.runs[nr_runs(&r) - 1].last_segment;
		rig_close(&r);
		/* What is newer than the runs goes with it. */
		for (uint64_t n = last + (seed % 2); ; n++) {
			snprintf(path, sizeof(path), "/tl/%016llx.seg", (unsigned long long)n);
			if (r.env->ops->unlink(r.env, path))
				break;
		}
		if (seed % 2) {
			/* Or the commit would not even be looked at. */
			points_path(path, sizeof(path), "/tl", points, 0);
			assert_int_equal(r.env->ops->unlink(r.env, path), 0);
			snprintf(path, sizeof(path), "/tl/%016llx.seg", (unsigned long long)last);
			assert_non_null(sim_env_content(r.sim, path, &bytes));
			/* The magic of the last commit record: no witness behind it. */
			for (bytes -= 8; memcmp(sim_env_content(r.sim, path, &(uint64_t){ 0 }) + bytes,
						"BSC1", 4); bytes -= 8)
				;
			sim_env_flip(r.sim, path, bytes, 0);
		}
		assert_int_equal(timeline_open(r.env, "/tl", 0, NULL, &r.tl, why), -EUCLEAN);
		assert_non_null(strstr(why, seed % 2 ? "durable" : "missing"));
		reader = rig_reader(&r);
		assert_non_null(timeline_damage(reader));
		nr = timeline_commits(reader, &commits);
		/* Of those that the points file answers for it knows; of what they had nothing does. */
		nr_holes = timeline_holes(reader, &holes);
		assert_true(nr < 24 || nr_holes);
		/* What is no point may have lost a read-back. */
		for (size_t i = 0; i < nr; i++)
			if (commits[i].listed && (!nr_holes || commits[i].cut_seq < holes[0].from_seq))
				check(&r, reader, i);
		timeline_close(reader);
	}
	rig_fini(&r);
}

/* With a points file nobody reads them when the timeline is opened; here it is open already. */
static void segments_that_changed_places_are_not_shown(void **state)
{
	struct timeline *reader;
	struct rig r;
	struct view *v;
	uint8_t sector[512];
	size_t refused = 0;

	rig_init(&r, 1, SECTORS, 8192);
	build(&r, 3, 40, 8);
	reader = rig_reader(&r);
	assert_int_equal(r.env->ops->rename(r.env, "/tl/0000000000000002.seg", "/tl/x"), 0);
	assert_int_equal(r.env->ops->rename(r.env, "/tl/0000000000000003.seg",
					    "/tl/0000000000000002.seg"), 0);
	assert_int_equal(r.env->ops->rename(r.env, "/tl/x", "/tl/0000000000000003.seg"), 0);
	for (size_t i = 0; i < r.h.nr_batches; i++) {
		assert_int_equal(view_open(reader, r.h.batches[i].cut, &v, why), 0);
		if (!history_sample(&r.h, v, i, 64, -EBADMSG))
			fail_msg("%s", r.h.why);
		for (uint32_t s = 0; s < SECTORS; s++)
			refused += view_read(v, 0, s * 512, sector, 512) == -EBADMSG;
		view_close(v);
	}
	assert_true(refused > 100);
	timeline_close(reader);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(segments_that_changed_places_are_not_shown),
		cmocka_unit_test(any_point_is_the_same_with_any_runs),
		cmocka_unit_test(runs_bear_witness_of_what_is_lost),
		cmocka_unit_test(there_are_few_runs_of_each_level),
		cmocka_unit_test(an_open_view_keeps_its_runs),
		cmocka_unit_test(a_damaged_run_is_passed_over_and_made_anew),
		cmocka_unit_test(a_merge_of_a_damaged_run_begins_anew),
		cmocka_unit_test(a_reader_beside_a_merge_finds_the_new_runs),
		cmocka_unit_test(a_job_that_fails_leaves_nothing),
		cmocka_unit_test(a_range_in_hand_is_bounded),
		cmocka_unit_test(what_was_given_up_is_not_indexed),
		cmocka_unit_test(strays_go_when_a_writer_opens),
		cmocka_unit_test(a_job_can_be_stopped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
