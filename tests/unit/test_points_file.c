// SPDX-License-Identifier: GPL-2.0-only
/*
 * The points file: docs/STORE.md and the code say the same; opening by it knows what reading
 * all segments knows; what is cut or turned is not used; what it leaves out is gone for good.
 */
#define DOC "docs/STORE.md"
#include "doc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/points_file.h"
#include "../../userspace/store/points_format.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define SECTORS 128
#define BATCHES 40

static char why[TIMELINE_TEXT_BYTES];

static const struct doc_field fields[] = {
	DOC_FIELD(points_header, magic),
	DOC_FIELD(points_header, version),
	DOC_FIELD(points_header, flags),
	DOC_FIELD(points_header, header_bytes),
	DOC_FIELD(points_header, crc),
	DOC_FIELD(points_header, timeline),
	DOC_FIELD(points_header, number),
	DOC_FIELD(points_header, last_segment),
	DOC_FIELD(points_header, last_ordinal),
	DOC_FIELD(points_header, last_cut_seq),
	DOC_FIELD(points_header, last_time_ns),
	DOC_FIELD(points_header, last_since_ns),
	DOC_FIELD(points_header, aged_ns),
	DOC_FIELD(points_header, readback_no),
	DOC_FIELD(points_header, hold_id),
	DOC_FIELD(points_header, last_gap_seq),
	DOC_FIELD(points_header, repaired_t0),
	DOC_FIELD(points_header, nr_commits),
	DOC_FIELD(points_header, nr_gaps),
	DOC_FIELD(points_header, nr_holds),
	DOC_FIELD(points_header, nr_repairs),
	DOC_FIELD(points_header, nr_bad),
	DOC_FIELD(points_header, nr_members),
	DOC_FIELD(points_header, nr_all_members),
	DOC_FIELD(points_header, nr_volumes),
	DOC_FIELD(points_header, body_crc),
	DOC_FIELD(points_commit, ordinal),
	DOC_FIELD(points_commit, cut_seq),
	DOC_FIELD(points_commit, time_ns),
	DOC_FIELD(points_commit, current_to_ns),
	DOC_FIELD(points_commit, target_time_ns),
	DOC_FIELD(points_commit, since_ns),
	DOC_FIELD(points_commit, batch_bytes),
	DOC_FIELD(points_commit, written_bytes),
	DOC_FIELD(points_commit, nr_records),
	DOC_FIELD(points_commit, flags),
	DOC_FIELD(points_commit, state),
	DOC_FIELD(points_commit, reserved),
	DOC_FIELD(points_stored_hold, id),
	DOC_FIELD(points_stored_hold, from_seq),
	DOC_FIELD(points_stored_hold, end_seq),
	DOC_FIELD(points_stored_bad, volume),
	DOC_FIELD(points_stored_bad, reserved),
	DOC_FIELD(points_stored_bad, offset_bytes),
	DOC_FIELD(points_stored_bad, end_bytes),
	DOC_FIELD(points_stored_bad, label_seq),
	DOC_FIELD(points_stored_members, ordinal),
	DOC_FIELD(points_stored_members, first),
	DOC_FIELD(points_stored_members, nr),
	DOC_FIELD(points_stored_member, volume),
	DOC_FIELD(points_stored_member, reserved),
	DOC_FIELD(points_stored_member, size_bytes),
	DOC_FIELD(points_stored_volume, id),
	DOC_FIELD(points_stored_volume, flags),
	DOC_FIELD(points_stored_volume, log_no),
	DOC_FIELD(manifest_points, number),
	DOC_FIELD(manifest_points, last_segment),
	DOC_FIELD(manifest_points, last_ordinal),
	DOC_FIELD(manifest_points, nr_commits),
	DOC_FIELD(manifest_points, file_bytes),
	DOC_FIELD(manifest_points, flags),
	DOC_FIELD(manifest_points, reserved),
	DOC_FIELD(manifest_policy, since_ns),
	DOC_FIELD(manifest_policy, immutable_ns),
	DOC_FIELD(manifest_policy, text),
	DOC_FIELD(manifest_pin, id),
	DOC_FIELD(manifest_pin, cut_seq),
	DOC_FIELD(manifest_pin, made_ns),
	DOC_FIELD(manifest_pin, until_ns),
	DOC_FIELD(manifest_pin, kind),
	DOC_FIELD(manifest_pin, flags),
	DOC_FIELD(manifest_pin, reserved),
	DOC_FIELD(manifest_pin, label),
};

static void the_document_has_the_offsets_of_the_code(void **state)
{
	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

/* -- a timeline with a points file -- */

static char path[64];	/* of the points file */

static void index_all(struct rig *r)
{
	rig_index(r);
	points_path(path, sizeof(path), "/tl", r->tl->manifest.points.number, 0);
}

/* Points files were made on the way; behind the last there are a few segments. */
static void build(struct rig *r, uint64_t seed)
{
	rig_init(r, seed, SECTORS, 8192);
	for (int i = 0; i < BATCHES; i++) {
		rig_append(r, 1, 1000000000);
		if (i % 8 == 0)
			index_all(r);
	}
	assert_true(r->tl->manifest.points.number > 0);
	assert_true(r->tl->manifest.points.last_ordinal < BATCHES);
}

static void expect_same_commits(const struct points *a, const struct points *b)
{
	assert_int_equal(a->nr_commits, b->nr_commits);
	for (size_t i = 0; i < a->nr_commits; i++) {
		assert_int_equal(a->commits[i].ordinal, b->commits[i].ordinal);
		assert_int_equal(a->commits[i].cut_seq, b->commits[i].cut_seq);
		assert_int_equal(a->commits[i].time_ns, b->commits[i].time_ns);
		assert_int_equal(a->commits[i].target_time_ns, b->commits[i].target_time_ns);
		assert_int_equal(a->commits[i].since_ns, b->commits[i].since_ns);
		assert_int_equal(a->commits[i].listed, b->commits[i].listed);
		assert_int_equal(a->commits[i].degraded, b->commits[i].degraded);
		assert_ptr_equal(a->commits[i].unlisted_why, b->commits[i].unlisted_why);
	}
}

/* All there is, where the order says something. */
static void expect_same(const struct points *a, const struct points *b)
{
	expect_same_commits(a, b);
#define SAME(nr, items) do { \
	assert_int_equal(a->nr, b->nr); \
	if (a->nr) \
		assert_memory_equal(a->items, b->items, a->nr * sizeof(*a->items)); \
} while (0)
	SAME(nr_gaps, gaps);
	SAME(nr_repairs, repairs);
#undef SAME
	assert_int_equal(a->nr_volumes, b->nr_volumes);
	for (size_t i = 0; i < a->nr_volumes; i++) {
		assert_int_equal(a->volumes[i].has_data, b->volumes[i].has_data);
		assert_int_equal(a->volumes[i].member, b->volumes[i].member);
		assert_int_equal(a->volumes[i].log_no, b->volumes[i].log_no);
	}
	assert_int_equal(a->nr_bad, b->nr_bad);
	assert_int_equal(a->nr_holds, b->nr_holds);
	assert_int_equal(a->nr_open_holds, b->nr_open_holds);
	assert_int_equal(a->nr_members, b->nr_members);
	assert_int_equal(a->nr_all_members, b->nr_all_members);
	assert_int_equal(a->last_ordinal, b->last_ordinal);
	assert_int_equal(a->last_cut_seq, b->last_cut_seq);
	assert_int_equal(a->last_time_ns, b->last_time_ns);
	assert_int_equal(a->last_since_ns, b->last_since_ns);
	assert_int_equal(a->aged_ns, b->aged_ns);
	assert_int_equal(a->readback_no, b->readback_no);
	assert_int_equal(a->hold_id, b->hold_id);
	assert_int_equal(a->last_gap_seq, b->last_gap_seq);
	assert_int_equal(a->repaired_t0, b->repaired_t0);
}

/* -- encoding -- */

static void what_was_encoded_is_decoded(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct points_file file = { .number = 7, .last_segment = 3 }, got;
		struct rig r;
		size_t bytes;
		void *copy;

		build(&r, seed);
		file.points = r.tl->points;
		assert_int_equal(points_encode(&file, &copy, &bytes), 0);
		assert_int_equal(points_decode(copy, bytes, &got), 0);
		assert_int_equal(got.number, 7);
		assert_int_equal(got.last_segment, 3);
		expect_same(&got.points, &file.points);
		points_fini(&got.points);
		free(copy);
		rig_fini(&r);
	}
}

static void any_cut_and_any_bit_is_refused(void **state)
{
	struct points_file file = { .number = 1 }, got;
	struct rig r;
	size_t bytes;
	uint8_t *copy;

	build(&r, 1);
	file.points = r.tl->points;
	assert_int_equal(points_encode(&file, (void **)&copy, &bytes), 0);
	for (size_t cut = 0; cut < bytes; cut += cut % 4096 == 4095 ? 1 : 4095) {
		uint8_t *exact = malloc(cut ? cut : 1);

		memcpy(exact, copy, cut);
		assert_int_equal(points_decode(exact, cut, &got), -EBADMSG);
		free(exact);
	}
	for (size_t bit = 0; bit < bytes * 8; bit += bit < 256 * 8 ? 1 : 37) {
		copy[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(points_decode(copy, bytes, &got), -EBADMSG);
		copy[bit / 8] ^= 1 << bit % 8;
	}
	assert_int_equal(points_decode(copy, bytes, &got), 0);
	points_fini(&got.points);
	free(copy);
	rig_fini(&r);
}

/* What points_add() could not have made, under CRCs that are right. */
static void what_cannot_be_is_refused(void **state)
{
	struct timeline_commit commits[2] = { { .ordinal = 1, .cut_seq = 5 },
					      { .ordinal = 2, .cut_seq = 6 } };
	struct points_hold hold = { .id = 1, .from_seq = 2, .end_seq = 4 };
	struct points_volume volume = { .has_data = true };
	struct points_bad bad = { .volume = 0, .end_bytes = 512 };
	struct points_file file = {
		.number = 1,
		.points = { .commits = commits, .nr_commits = 2, .holds = &hold, .nr_holds = 1,
			    .volumes = &volume, .nr_volumes = 1, .bad = &bad, .nr_bad = 1,
			    .last_ordinal = 2, .last_cut_seq = 6, .hold_id = 1 },
	};
	const struct {
		uint64_t *field, bad;
	} cases[] = {
		{ &commits[1].ordinal, 1 }, { &commits[1].ordinal, 3 },
		{ &commits[1].cut_seq, 4 }, { &commits[1].cut_seq, 7 },
		{ &commits[0].since_ns, 1 }, { &hold.id, 2 }, { &hold.id, 0 },
		{ &bad.offset_bytes, 512 }, { &file.points.last_ordinal, 1 },
	};
	struct points_file got;
	size_t bytes;
	void *copy;

	for (size_t i = 0; i <= ARRAY_SIZE(cases); i++) {
		uint64_t good = i ? *cases[i - 1].field : 0;

		if (i)
			*cases[i - 1].field = cases[i - 1].bad;
		assert_int_equal(points_encode(&file, &copy, &bytes), 0);
		if (points_decode(copy, bytes, &got) != (i ? -EBADMSG : 0))
			fail_msg("case %zu", i);
		if (i)
			*cases[i - 1].field = good;
		else
			points_fini(&got.points);
		free(copy);
	}
}

/* -- opening -- */

static void opening_by_it_knows_what_reading_all_knows(void **state)
{
	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct timeline *by_file, *by_segments;
		struct rig r;

		build(&r, seed);
		by_file = rig_reader(&r);
		assert_false(by_file->points_bad);
		assert_int_equal(by_file->settled.last_ordinal, r.tl->manifest.points.last_ordinal);
		assert_int_equal(r.env->ops->unlink(r.env, path), 0);
		by_segments = rig_reader(&r);
		assert_true(by_segments->points_bad);
		assert_null(timeline_damage(by_segments));
		by_segments->points.aged_ns = by_file->points.aged_ns;
		expect_same(&by_file->points, &by_segments->points);
		expect_same(&by_file->points, &r.tl->points);
		for (int i = 0; i < BATCHES; i += 7)
			if (!history_point(&r.h, by_file, i))
				fail_msg("%s", r.h.why);
		timeline_close(by_file);
		timeline_close(by_segments);
		rig_fini(&r);
	}
}

static void old_segments_are_not_read(void **state)
{
	struct timeline *reader;
	struct rig r;

	build(&r, 1);
	rig_close(&r);
	/* Its header, which opening would look at. */
	assert_int_equal(sim_env_flip(r.sim, "/tl/0000000000000001.seg", 16, 0), 0);
	rig_open(&r, TIMELINE_CREATE);
	assert_int_equal(r.tl->points.nr_commits, BATCHES);
	rig_append(&r, 1, 0);
	reader = rig_reader(&r);
	assert_null(timeline_damage(reader));
	timeline_close(reader);
	rig_close(&r);
	/* But it has to be there. */
	assert_int_equal(r.env->ops->unlink(r.env, "/tl/0000000000000001.seg"), 0);
	assert_int_equal(timeline_open(r.env, "/tl", 0, NULL, &r.tl, why), -EUCLEAN);
	assert_non_null(strstr(why, "0000000000000001.seg: missing"));
	rig_fini(&r);
}

static void a_lost_file_is_made_anew(void **state)
{
	struct timeline *reader;
	uint64_t number;
	struct rig r;

	build(&r, 2);
	number = r.tl->manifest.points.number;
	rig_close(&r);
	assert_int_equal(r.env->ops->unlink(r.env, path), 0);
	rig_open(&r, TIMELINE_CREATE);
	assert_int_equal(r.tl->points.nr_commits, BATCHES);
	index_all(&r);
	assert_int_equal(r.tl->manifest.points.number, number + 1);
	reader = rig_reader(&r);
	assert_false(reader->points_bad);
	expect_same_commits(&reader->points, &r.tl->points);
	timeline_close(reader);
	rig_fini(&r);
}

static void one_copy_is_enough(void **state)
{
	struct manifest_points named;
	struct points_file file;
	unsigned int nr_bad;
	struct rig r;

	build(&r, 3);
	named = r.tl->manifest.points;
	for (int copy = 0; copy < 2; copy++) {
		uint64_t at = copy * named.file_bytes / 2 + 4096 + 11;

		assert_int_equal(sim_env_flip(r.sim, path, at, 3), 0);
		assert_int_equal(points_file_read(r.env, "/tl", timeline_id(r.tl), &named, &file,
						  &nr_bad), 0);
		assert_int_equal(nr_bad, 1);
		points_fini(&file.points);
		assert_int_equal(sim_env_flip(r.sim, path, at, 3), 0);
	}
	sim_env_flip(r.sim, path, 5000, 0);
	sim_env_flip(r.sim, path, named.file_bytes / 2 + 5000, 0);
	assert_int_equal(points_file_read(r.env, "/tl", timeline_id(r.tl), &named, &file, &nr_bad),
			 -EBADMSG);
	assert_int_equal(nr_bad, 2);
	rig_fini(&r);
}

/* Name a points file without the commits below @ordinal, as retention does. */
static void leave_out(struct rig *r, uint64_t ordinal)
{
	struct manifest_points named = r->tl->manifest.points;
	struct points_file file;

	assert_int_equal(points_file_read(r->env, "/tl", timeline_id(r->tl), &named, &file, NULL),
			 0);
	points_forget(&file.points, ordinal - 1);
	file.number++;
	assert_int_equal(points_file_write(r->env, "/tl", &file, NULL, &named), 0);
	assert_int_equal(manifest_add_points(&r->tl->manifest, &named), 0);
	points_path(path, sizeof(path), "/tl", named.number, 0);
	points_fini(&file.points);
	rig_close(r);
}

static void what_is_left_out_is_gone(void **state)
{
	const struct timeline_commit *commits;
	struct timeline_kept kept;
	struct view *v;
	struct rig r;

	build(&r, 4);
	leave_out(&r, 10);
	rig_open(&r, TIMELINE_CREATE);
	assert_int_equal(timeline_commits(r.tl, &commits), BATCHES - 9);
	assert_int_equal(commits[0].ordinal, 10);
	assert_int_equal(view_open(r.tl, r.h.batches[3].cut, &v, why), -ENOENT);
	rig_append(&r, 1, 0);
	assert_int_equal(r.tl->points.last_ordinal, BATCHES + 1);
	for (int i = 9; i <= BATCHES; i += 5)
		if (!history_point(&r.h, r.tl, i))
			fail_msg("%s", r.h.why);
	assert_int_equal(timeline_kept_cuts(r.tl, &kept), 0);
	assert_int_equal(kept.settled_ordinal, r.tl->manifest.points.last_ordinal);
	assert_int_equal(kept.cuts[0], r.h.batches[9].cut);
	assert_int_equal(kept.cuts[kept.nr - 1], kept.settled_cut);
	free(kept.cuts);
	rig_fini(&r);
}

static void what_only_a_lost_file_knew_is_not_guessed(void **state)
{
	uint64_t last;
	struct timeline *reader;
	struct rig r;

	build(&r, 5);
	leave_out(&r, 10);
	assert_int_equal(r.env->ops->unlink(r.env, path), 0);
	assert_int_equal(timeline_open(r.env, "/tl", 0, NULL, &r.tl, why), -EUCLEAN);
	assert_non_null(strstr(why, ".points: missing or damaged"));
	reader = rig_reader(&r);
	assert_non_null(timeline_damage(reader));
	last = reader->manifest.points.last_ordinal;
	assert_int_equal(reader->points.nr_commits, BATCHES - last);
	assert_int_equal(reader->points.commits[0].ordinal, last + 1);
	timeline_close(reader);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_the_offsets_of_the_code),
		cmocka_unit_test(what_was_encoded_is_decoded),
		cmocka_unit_test(any_cut_and_any_bit_is_refused),
		cmocka_unit_test(what_cannot_be_is_refused),
		cmocka_unit_test(opening_by_it_knows_what_reading_all_knows),
		cmocka_unit_test(old_segments_are_not_read),
		cmocka_unit_test(a_lost_file_is_made_anew),
		cmocka_unit_test(one_copy_is_enough),
		cmocka_unit_test(what_is_left_out_is_gone),
		cmocka_unit_test(what_only_a_lost_file_knew_is_not_guessed),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
