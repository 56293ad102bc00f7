// SPDX-License-Identifier: GPL-2.0-only
/* Whole segments that are lost: it is noticed, and what does not need them is there. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/check_state.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/segment_index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"
#include "../host/test_steps.h"

#define S	UINT64_C(1000000000)
#define RECORD_BYTES (sizeof(struct manifest_header) + sizeof(struct manifest_durable))

static char why[TIMELINE_TEXT_BYTES];

static void segment_unlink(struct rig *r, uint64_t number)
{
	char path[64];

	segment_path(path, sizeof(path), RIG_DIR, number);
	assert_int_equal(r->env->ops->unlink(r->env, path), 0);
}

/* -- the newest one -- */

static void the_newest_segment_is_missed(void **state)
{
	for (int indexed = 0; indexed < 2; indexed++) {
		struct timeline *reader;
		uint64_t last;
		struct rig r;

		rig_init(&r, 1, 256, 16384);
		rig_append(&r, 60, S);
		if (indexed)
			rig_index(&r);
		last = r.tl->writer.file_number;
		assert_true(last > 5);
		assert_int_equal(r.tl->manifest.durable.segment, last);
		rig_close(&r);
		segment_unlink(&r, last);
		reader = rig_reader(&r);
		assert_non_null(timeline_damage(reader));
		assert_non_null(strstr(timeline_damage(reader), "missing or cut short: commit"));
		timeline_close(reader);
		/* What it took was acknowledged, and must not be taken for another. */
		assert_int_equal(timeline_open(r.env, RIG_DIR, 0, "", &r.tl, why), -EUCLEAN);
		rig_fini(&r);
	}
}

/* Also where it is the only one. */
static void the_only_segment_is_missed(void **state)
{
	struct timeline *reader;
	struct rig r;

	rig_init(&r, 1, 256, 1 << 20);
	rig_append(&r, 3, S);
	rig_close(&r);
	segment_unlink(&r, 1);
	reader = rig_reader(&r);
	assert_non_null(timeline_damage(reader));
	timeline_close(reader);
	rig_fini(&r);
}

/* A second between two records, however fast segments come; and the last of them is told. */
static void the_manifest_is_told_once_a_second(void **state)
{
	uint64_t bytes;
	struct rig r;

	rig_init(&r, 1, 256, 16384);
	bytes = r.tl->manifest.image_bytes;
	for (int i = 0; i < 60; i++) {
		struct test_batch b;

		history_batch(&r.h, &b);
		assert_int_equal(test_batch_append(&b, r.tl), 0);
		test_batch_free(&b);
		timeline_flush(r.tl);
		/* There is always more to come. */
		while (r.tl->nr_pending > 5)
			sim_env_complete(r.sim, 0);
	}
	assert_true(r.tl->writer.file_number > 5);
	assert_int_equal(r.tl->manifest.image_bytes - bytes, RECORD_BYTES);
	sim_env_complete_all(r.sim);
	assert_int_equal(r.tl->manifest.image_bytes - bytes, 2 * RECORD_BYTES);
	assert_int_equal(r.tl->manifest.durable.segment, r.tl->writer.file_number);
	/* Nothing more is said of a segment that is known. */
	timeline_set_limits(r.tl, 1 << 20, 0);
	rig_append(&r, 5, S);
	bytes = r.tl->manifest.image_bytes;
	rig_append(&r, 10, S);
	assert_int_equal(r.tl->manifest.image_bytes, bytes);
	rig_fini(&r);
}

/* Where the manifest cannot take it what is durable is acknowledged all the same. */
static void a_manifest_that_cannot_be_told_stops_nothing(void **state)
{
	struct timeline *reader;
	struct rig r;

	rig_init(&r, 1, 256, 16384);
	r.tl->manifest.limit_bytes = r.tl->manifest.image_bytes;
	rig_append(&r, 30, S);
	assert_int_equal(r.tl->manifest.durable.ordinal, 0);
	assert_int_equal(r.tl->points.last_ordinal, 30);
	r.tl->manifest.limit_bytes *= 2;
	rig_append(&r, 1, S);
	assert_int_equal(r.tl->manifest.durable.ordinal, 31);
	reader = rig_reader(&r);
	assert_null(timeline_damage(reader));
	timeline_close(reader);
	rig_fini(&r);
}

/* -- one in the middle -- */

/* One commit a segment: 4 KiB of data at block n; what else it says is the caller's. */
static void commit_begin(struct test_batch *b, uint64_t n)
{
	test_batch_begin(b, n, seq_pack(1, n * 10));
	test_batch_extent(b, 0, 4096 * n, 4096, EXTENT_DATA, n, 0, 0);
}

static void commit_end(struct rig *r, struct test_batch *b)
{
	b->volumes[b->nr_volumes++].size_bytes = r->h.sectors * UINT64_C(512);
	test_batch_end(b);
	assert_int_equal(test_append(r->sim, r->tl, b), 0);
}

static void commits(struct rig *r, uint64_t first, uint64_t last)
{
	for (uint64_t n = first; n <= last; n++) {
		struct test_batch b;

		commit_begin(&b, n);
		commit_end(r, &b);
	}
}

static void index_unlink(struct rig *r, bool runs, bool points)
{
	const struct manifest *m = &r->tl->manifest;
	char path[64];

	for (size_t i = 0; i < m->nr_runs && runs; i++) {
		run_path(path, sizeof(path), RIG_DIR, m->runs[i].number, 0);
		assert_int_equal(r->env->ops->unlink(r->env, path), 0);
	}
	points_path(path, sizeof(path), RIG_DIR, m->points.number, 0);
	if (points)
		assert_int_equal(r->env->ops->unlink(r->env, path), 0);
}

static int nobody(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	return 0;
}

static int copy(struct timeline *tl, uint64_t n)
{
	struct view *v;
	uint64_t at;
	int ret;

	if (view_open(tl, seq_pack(1, n * 10), &v, why))
		fail_msg("%s", why);
	ret = view_copy(v, 0, nobody, NULL, &at);
	view_close(v);
	return ret;
}

static bool is_listed(struct timeline *tl, uint64_t n)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(tl, &c);

	for (size_t i = 0; i < nr; i++)
		if (c[i].ordinal == n)
			return c[i].listed;
	return false;
}

/* A commit in the hole closed a hold at a cut before it, and brought what that point shows. */
static void a_point_that_a_lost_commit_listed_needs_it(void **state)
{
	for (int points = 0; points < 2; points++) {
		const struct timeline_hole *hole;
		struct timeline *reader;
		struct test_batch b;
		struct rig r;

		rig_init(&r, 1, 2048, 4096);
		commits(&r, 1, 2);
		commit_begin(&b, 3);
		b.holds[b.nr_holds++] = (struct commit_hold){ 1, seq_pack(1, 30), 0 };
		commit_end(&r, &b);
		commits(&r, 4, 5);
		commit_begin(&b, 6);
		test_batch_extent(&b, 0, 4096 * 20, 4096, EXTENT_DATA, 99, seq_pack(1, 30), 1);
		b.holds[b.nr_holds++] = (struct commit_hold){ 1, seq_pack(1, 30), seq_pack(1, 35) };
		commit_end(&r, &b);
		commits(&r, 7, 20);
		rig_index(&r);
		assert_true(r.tl->manifest.points.last_segment > 8);
		assert_true(is_listed(r.tl, 4));
		index_unlink(&r, true, points == 0);
		rig_close(&r);
		segment_unlink(&r, 6);
		reader = rig_reader(&r);
		assert_int_equal(timeline_holes(reader, &hole), 1);
		assert_int_equal(hole->known, points);
		assert_int_equal(hole->from_seq, seq_pack(1, 30));
		assert_int_equal(is_listed(reader, 4), points);
		assert_true(is_listed(reader, 2) && is_listed(reader, 20));
		assert_int_equal(copy(reader, 2), 0);
		if (points)
			assert_int_equal(copy(reader, 4), -EBADMSG);
		assert_int_equal(copy(reader, 20), -EBADMSG);
		timeline_close(reader);
		rig_fini(&r);
	}
}

/*
 * What was not captured, or has been repaired, nobody knows then, whatever the runs have of it: what
 * is behind is listed, and damaged.
 */
static void gaps_and_repairs_are_lost_with_a_segment(void **state)
{
	for (int repaired = 0; repaired < 2; repaired++) {
		struct check check = { .first_segment = 0 };
		struct timeline *reader;
		struct test_batch b;
		struct rig r;

		rig_init(&r, 1, 2048, 4096);
		commits(&r, 1, 3);
		for (uint64_t n = 4; n <= 5; n++) {
			commit_begin(&b, n);
			if (n + repaired == 5)
				b.gaps[b.nr_gaps++] = (struct commit_gap){ n * 10 - 5 + seq_pack(1, 0),
									   n * 10 - 4 + seq_pack(1, 0) };
			else if (repaired)
				b.repairs[b.nr_repairs++] = (struct commit_repair){ seq_pack(1, 40),
										    seq_pack(1, 50) };
			commit_end(&r, &b);
		}
		commits(&r, 6, 20);
		rig_index(&r);
		assert_int_equal(is_listed(r.tl, 20), repaired);
		index_unlink(&r, false, true);
		rig_close(&r);
		segment_unlink(&r, 5);
		reader = rig_reader(&r);
		assert_true(is_listed(reader, 3) && is_listed(reader, 20));
		assert_int_equal(is_listed(reader, 4), !repaired);
		assert_int_equal(check_run(reader, &check, why), 0);
		assert_int_equal(check.nr_damage, 1);
		assert_in_range(check.damage[0].from_seq, seq_pack(1, 41), seq_pack(1, 50));
		assert_int_equal(check.damage[0].to_seq, 0);
		free(check.damage);
		timeline_close(reader);
		rig_fini(&r);
	}
}

/* By a run it is known whose that was, and who has written over it. */
static void what_a_run_has_of_a_lost_segment_is_lost_alone(void **state)
{
	struct check check = { .first_segment = 0 };
	struct check_state seen = { .pass = 0 };
	const struct timeline_hole *hole;
	struct timeline_hole longer;
	uint8_t block[4096];
	struct timeline *reader;
	struct test_batch b;
	struct view *v;
	struct rig r;
	char path[64];

	rig_init(&r, 1, 2048, 4096);
	commits(&r, 1, 9);
	test_batch_begin(&b, 10, seq_pack(1, 100));
	test_batch_extent(&b, 0, 4096 * 4, 4096, EXTENT_DATA, 44, 0, 0);
	commit_end(&r, &b);
	commits(&r, 11, 20);
	rig_index(&r);
	rig_close(&r);
	segment_unlink(&r, 4);
	reader = rig_reader(&r);
	for (uint64_t n = 1; n <= 20; n++)
		assert_int_equal(copy(reader, n), n >= 4 && n < 10 ? -EBADMSG : 0);
	assert_int_equal(check_run(reader, &check, why), 0);
	assert_int_equal(check.nr_damage, 1);
	assert_int_equal(check.damage[0].lost_bytes, 4096);
	assert_int_equal(check.damage[0].from_seq, seq_pack(1, 40));
	assert_int_equal(check.damage[0].to_seq, seq_pack(1, 100));
	assert_int_equal(timeline_holes(reader, &hole), 1);
	assert_int_equal(check_state_begin(&seen, reader), 0);
	assert_int_equal(check_state_add(&seen, &check), 0);
	assert_true(check_state_has_seen(&seen, hole));
	/* Of one that is lost later it has seen nothing. */
	longer = *hole;
	longer.last_segment++;
	assert_false(check_state_has_seen(&seen, &longer));
	check_state_fini(&seen);
	free(check.damage);
	assert_int_equal(view_open(reader, seq_pack(1, 90), &v, why), 0);
	assert_int_equal(view_read(v, 0, 4096 * 5, block, sizeof(block)), 0);
	assert_int_equal(view_read(v, 0, 4096 * 4, block, sizeof(block)), -EBADMSG);
	view_fault(v, path, sizeof(path));
	assert_string_equal(path, RIG_DIR "/0000000000000004.seg");
	view_close(v);
	timeline_close(reader);
	rig_fini(&r);
}

/* Without a run anything may have been in it; what is newer is there. */
static void what_is_newer_than_a_lost_segment_shows(void **state)
{
	uint8_t block[4096], want[4096];
	struct timeline *reader;
	struct view *v;
	struct rig r;
	char path[64];

	rig_init(&r, 1, 2048, 4096);
	commits(&r, 1, 20);
	rig_index(&r);
	index_unlink(&r, true, false);
	rig_close(&r);
	segment_unlink(&r, 4);
	reader = rig_reader(&r);
	assert_false(timeline_ends_early(reader));
	assert_int_equal(copy(reader, 3), 0);
	assert_int_equal(view_open(reader, seq_pack(1, 200), &v, why), 0);
	for (uint64_t n = 0; n < 24; n++) {
		int ret = view_read(v, 0, 4096 * n, block, sizeof(block));

		assert_int_equal(ret, n > 4 && n <= 20 ? 0 : -EBADMSG);
		view_fault(v, path, sizeof(path));
		assert_string_equal(path, ret ? RIG_DIR "/0000000000000004.seg" : "");
		test_fill(want, sizeof(want), n);
		if (!ret)
			assert_memory_equal(block, want, sizeof(want));
	}
	view_close(v);
	timeline_close(reader);
	/* Nothing is appended to that. */
	assert_int_equal(timeline_open(r.env, RIG_DIR, 0, "", &r.tl, why), -EUCLEAN);
	assert_non_null(strstr(why, "0000000000000004.seg: missing"));
	rig_fini(&r);
}

/* The last commit of what the points file goes to, and all behind it: the file looks like a torn tail. */
static void a_tail_that_the_points_file_knows_is_missed(void **state)
{
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	const uint8_t *content;
	uint64_t last, end, bytes;
	char path[64];
	struct rig r;

	rig_init(&r, 1, 2048, 32768);
	commits(&r, 1, 20);
	rig_index(&r);
	last = r.tl->settled.last_segment;
	end = r.tl->settled.last_ordinal;
	index_unlink(&r, true, false);
	for (uint64_t n = last + 1; n <= r.tl->writer.file_number; n++)
		segment_unlink(&r, n);
	rig_close(&r);
	segment_path(path, sizeof(path), RIG_DIR, last);
	content = sim_env_content(r.sim, path, &bytes);
	for (bytes = bytes / 8 * 8; memcmp(content + bytes - 8, "BSC1", 4); bytes -= 8)
		assert_true(bytes > 8);
	assert_int_equal(sim_env_flip(r.sim, path, bytes - 8 + 16, 0), 0);
	reader = rig_reader(&r);
	assert_true(is_listed(reader, end));
	assert_int_equal(check_run(reader, &check, why), 0);
	assert_int_equal(check.nr_damage, 1);
	assert_int_equal(check.damage[0].segment, last);
	assert_int_equal(copy(reader, end), -EBADMSG);
	free(check.damage);
	timeline_close(reader);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tail_that_the_points_file_knows_is_missed),
		cmocka_unit_test(the_newest_segment_is_missed),
		cmocka_unit_test(the_only_segment_is_missed),
		cmocka_unit_test(the_manifest_is_told_once_a_second),
		cmocka_unit_test(a_manifest_that_cannot_be_told_stops_nothing),
		cmocka_unit_test(a_point_that_a_lost_commit_listed_needs_it),
		cmocka_unit_test(gaps_and_repairs_are_lost_with_a_segment),
		cmocka_unit_test(what_a_run_has_of_a_lost_segment_is_lost_alone),
		cmocka_unit_test(what_is_newer_than_a_lost_segment_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
