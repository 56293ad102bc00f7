// SPDX-License-Identifier: GPL-2.0-only
/* A store that stops being readable under a restore with --force: zeroes, and all of them told of. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../../tools/blkship/restore_part.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view_internal.h"
#include "../host/rig.h"
#include "../host/test_steps.h"

#define PIECE_BYTES	65536
#define PIECES		4
#define BYTES		(PIECES * PIECE_BYTES)
#define OLD		0x5a	/* what the device held before */

static char why[TIMELINE_TEXT_BYTES];

struct restore {
	struct rig rig;
	struct view *view;
	struct restore_output output;
	struct restore_part part;
	struct part_copy copy;
	bool fails;		/* nothing more is read of the store */
	uint64_t told_bytes;
};

static void fail_reads(struct restore *r)
{
	r->fails = true;
	sim_env_fail(r->rig.sim, SIM_FAULT_READ, 1, -EIO, true);
	/* As after having read much else. */
	run_cache_fini(&r->view->cache);
	r->view->pieces_end = 0;
}

static bool went_on(void *arg, uint64_t bytes)
{
	struct restore *r = arg;

	r->told_bytes += bytes;
	/* There are no zeroes: some data were copied, so what is where was known once. */
	if (!r->fails)
		fail_reads(r);
	return true;
}

/* A volume full of data, in a run, each piece in a segment of its own; a device full of OLD. */
static void restore_init(struct restore *r)
{
	uint8_t old[PIECE_BYTES];

	memset(r, 0, sizeof(*r));
	rig_init(&r->rig, 1, BYTES / 512, PIECE_BYTES);
	for (uint64_t n = 1; n <= PIECES; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n));
		test_batch_extent(&b, 0, (n - 1) * PIECE_BYTES, PIECE_BYTES, EXTENT_DATA, n, 0, 0);
		b.volumes[b.nr_volumes++].size_bytes = BYTES;
		test_batch_end(&b);
		assert_int_equal(test_append(r->rig.sim, r->rig.tl, &b), 0);
	}
	rig_index(&r->rig);
	assert_true(r->rig.tl->manifest.nr_runs > 0);
	assert_int_equal(view_open(r->rig.tl, seq_pack(1, PIECES), &r->view, why), 0);
	r->output = (struct restore_output){
		.size_bytes = BYTES, .fd = memfd_create("device", 0), .device = true,
	};
	memset(old, OLD, sizeof(old));
	for (uint64_t n = 0; n < PIECES; n++)
		assert_int_equal(pwrite(r->output.fd, old, sizeof(old), n * sizeof(old)), sizeof(old));
	r->part.end_bytes = BYTES;
	r->copy = (struct part_copy){
		.output = &r->output, .part = &r->part, .force = true, .went_on = went_on, .arg = r,
	};
}

static void restore_fini(struct restore *r)
{
	damage_fini(&r->copy.damage);
	close(r->output.fd);
	view_close(r->view);
	sim_env_fail(r->rig.sim, SIM_FAULT_READ, 0, 0, false);
	rig_fini(&r->rig);
}

static void all_is_left_out(struct restore *r)
{
	static const uint8_t zeroes[PIECE_BYTES];
	uint8_t got[PIECE_BYTES];
	uint64_t offset;

	assert_int_equal(part_copy_run(&r->copy, r->view, &offset), 0);
	assert_int_equal(r->copy.damage.nr, 1);
	assert_int_equal(r->copy.damage.ranges[0].offset_bytes, 0);
	assert_int_equal(r->copy.damage.ranges[0].length_bytes, BYTES);
	assert_int_equal(r->copy.damage.ranges[0].error, -EIO);
	assert_false(r->copy.damage.ranges[0].at_source);
	assert_int_equal(r->told_bytes, BYTES);
	for (uint64_t n = 0; n < PIECES; n++) {
		assert_int_equal(pread(r->output.fd, got, sizeof(got), n * sizeof(got)), sizeof(got));
		assert_memory_equal(got, zeroes, sizeof(got));
	}
}

static void what_is_not_known_any_more_is_left_out(void **state)
{
	struct restore r;

	restore_init(&r);
	all_is_left_out(&r);
	assert_true(r.fails);
	restore_fini(&r);
}

static void what_never_was_known_is_told_of_once(void **state)
{
	struct restore r;

	restore_init(&r);
	fail_reads(&r);
	all_is_left_out(&r);
	restore_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_known_any_more_is_left_out),
		cmocka_unit_test(what_never_was_known_is_told_of_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
