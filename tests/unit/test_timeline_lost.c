// SPDX-License-Identifier: GPL-2.0-only
/* Whole segments that are lost: it is noticed, and what does not need them is there. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/store/check.h"
#include "../../userspace/store/segment_index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_segment_is_missed),
		cmocka_unit_test(the_only_segment_is_missed),
		cmocka_unit_test(the_manifest_is_told_once_a_second),
		cmocka_unit_test(a_manifest_that_cannot_be_told_stops_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
