// SPDX-License-Identifier: GPL-2.0-only
/*
 * A branch against arrays of bytes, through several lives on a disk that tears and loses:
 * content is read back at once; after a crash the branch is what it was at a commit, none
 * older than what was acknowledged; the parent is what it was.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branch.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/view.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define SECTORS		300u
#define VOLUME_BYTES	(SECTORS * 512u)
#define VOLUMES		2
#define MAX_COMMITS	2000
#define MAX_WRITE	120	/* sectors: more than a unit holds */
#define LIVES		6
#define STEPS		120
#define BRANCH		"/tl/branches/test"

static char why[TIMELINE_TEXT_BYTES];

struct content {
	uint8_t bytes[VOLUMES][VOLUME_BYTES];
	uint8_t written[VOLUMES][SECTORS];	/* since the branch began */
};

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *parent;
	struct view *view;
	struct branch *b;
	uint64_t random;
	struct content now;
	struct content at[MAX_COMMITS];	/* [0]: the parent's */
	uint64_t nr_commits;		/* in at, without [0] */
	uint64_t acked;			/* ordinal */
	uint64_t jobs, crashes, failures;
	bool faulty;		/* writes and syncs may fail now */
};

static struct rig r;

static uint64_t below(uint64_t bound)
{
	return unit_random(&r.random) % bound;
}

/* -- the parent -- */

static void parent_make(void)
{
	assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_CREATE, "", &r.parent, why), 0);
	assert_int_equal(test_greet(r.parent, "a", VOLUME_BYTES), 0);
	assert_int_equal(test_greet(r.parent, "b", VOLUME_BYTES), 0);
	for (uint64_t n = 1; n <= 6; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n * 10));
		for (int i = 0; i < 4; i++)
			test_batch_extent(&b, below(VOLUMES), below(SECTORS - 32) * 512,
					  (1 + below(32)) * 512, below(4) ? EXTENT_DATA :
					  EXTENT_DISCARD, n * 10 + i, 0, 0);
		for (uint16_t i = 0; i < VOLUMES; i++)
			b.volumes[i] = (struct commit_volume){ .volume = i,
							       .size_bytes = VOLUME_BYTES };
		b.nr_volumes = VOLUMES;
		test_batch_end(&b);
		assert_int_equal(test_append(r.sim, r.parent, &b), 0);
	}
	/* Not the newest point. */
	assert_int_equal(branch_create(r.env, "/tl", "test", r.parent, seq_pack(1, 40), why), 0);
	r.env->ops->sync_dir(r.env, "");
	timeline_close(r.parent);
}

static void parent_open(void)
{
	assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_READ_ONLY, NULL, &r.parent, why), 0);
	assert_int_equal(view_open(r.parent, seq_pack(1, 40), &r.view, why), 0);
}

static void parent_close(void)
{
	view_close(r.view);
	timeline_close(r.parent);
}

/* -- the branch -- */

static int fill_hole(void *arg, uint64_t offset_bytes, void *buf, size_t bytes)
{
	return view_read(r.view, *(uint16_t *)arg, offset_bytes, buf, bytes);
}

static void expect_content(const struct content *want)
{
	static uint8_t got[VOLUME_BYTES];

	for (uint16_t v = 0; v < VOLUMES; v++) {
		uint64_t first = below(SECTORS), nr = 1 + below(SECTORS - first);

		assert_int_equal(branch_read(r.b, v, 0, got, VOLUME_BYTES, fill_hole, &v), 0);
		assert_memory_equal(got, want->bytes[v], VOLUME_BYTES);
		assert_int_equal(branch_read(r.b, v, first * 512, got, nr * 512, fill_hole, &v), 0);
		assert_memory_equal(got, want->bytes[v] + first * 512, nr * 512);
	}
}

/* Where there is nothing but zeroes it says so; stretches go on to the end. */
static void expect_kinds(struct view *view, uint16_t volume, const uint8_t *want)
{
	struct view_extent e;
	uint64_t at = 0;

	while (view_next(view, volume, at, &e) == 0) {
		assert_true(e.offset_bytes == at && e.length_bytes > 0);
		assert_int_not_equal(e.kind, VIEW_NOTHING);
		for (uint64_t i = 0; i < e.length_bytes && e.kind != EXTENT_DATA; i++)
			assert_int_equal(want[at + i], 0);
		at += e.length_bytes;
	}
	assert_int_equal(at, VOLUME_BYTES);
}

struct changes {
	uint8_t sectors[SECTORS];
	struct view_extent last;
};

static int take_change(void *arg, const struct view_extent *e)
{
	struct changes *c = arg;
	uint64_t end = c->last.offset_bytes + c->last.length_bytes;

	assert_true(e->length_bytes > 0 && e->offset_bytes >= end);
	assert_true(e->offset_bytes > end || e->kind != c->last.kind);
	memset(c->sectors + e->offset_bytes / 512, 1, e->length_bytes / 512);
	c->last = *e;
	return 0;
}

/* What was written since the branch began, no less and no more. */
static void expect_changes(struct view *view, uint16_t volume, const struct content *want)
{
	struct changes c = { .last = { .kind = 0xff } };

	assert_int_equal(view_changes(view, volume, take_change, &c), 0);
	assert_memory_equal(c.sectors, want->written[volume], SECTORS);
}

struct copied {
	uint8_t bytes[VOLUME_BYTES];
	uint8_t took[SECTORS];
	uint64_t start_bytes, end_bytes;	/* what was asked for */
};

static int take_copy(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct copied *c = arg;

	assert_true(offset_bytes >= c->start_bytes && offset_bytes + bytes <= c->end_bytes);
	for (size_t i = 0; i < bytes; i += 512)
		assert_false(c->took[(offset_bytes + i) / 512]++);	/* once only */
	memcpy(c->bytes + offset_bytes, buf, bytes);
	return 0;
}

/* All data of a range and nothing else: what is not handed out is zero. */
static void expect_copy(struct view *view, uint16_t volume, const uint8_t *want,
			uint64_t start_bytes, uint64_t end_bytes)
{
	static struct copied copied;
	uint64_t offset;

	memset(&copied, 0, sizeof(copied));
	copied.start_bytes = start_bytes;
	copied.end_bytes = end_bytes;
	assert_int_equal(view_copy_range(view, volume, start_bytes, end_bytes, take_copy, &copied,
					 &offset), 0);
	assert_memory_equal(copied.bytes + start_bytes, want + start_bytes,
			    end_bytes - start_bytes);
}

/* Points of the branch are seen as any others, with the parent behind them. */
static void expect_views(void)
{
	static uint8_t got[VOLUME_BYTES];
	const struct timeline_commit *commits;
	struct timeline *tl;
	struct view *view;
	size_t nr;

	assert_int_equal(timeline_open(r.env, BRANCH, TIMELINE_READ_ONLY, NULL, &tl, why), 0);
	nr = timeline_commits(tl, &commits);
	for (size_t i = nr ? below(nr) : 0; i < nr; i += 1 + below(nr)) {
		assert_true(commits[i].listed);
		assert_int_equal(view_open(tl, commits[i].cut_seq, &view, why), 0);
		for (uint16_t v = 0; v < VOLUMES; v++) {
			const uint8_t *want = r.at[commits[i].ordinal].bytes[v];
			uint64_t from = below(SECTORS) * 512;
			uint64_t to = from + (1 + below(SECTORS - from / 512)) * 512;

			assert_int_equal(view_read(view, v, from, got, VOLUME_BYTES - from), 0);
			assert_memory_equal(got, want + from, VOLUME_BYTES - from);
			expect_copy(view, v, want, 0, VOLUME_BYTES);
			expect_copy(view, v, want, from, to);
			expect_kinds(view, v, want);
			expect_changes(view, v, &r.at[commits[i].ordinal]);
		}
		view_close(view);
	}
	timeline_close(tl);
}

/* What it says it has not is as in the parent; stretches follow one another to the end. */
static void expect_stretches(void)
{
	for (uint16_t v = 0; v < VOLUMES; v++) {
		struct view_extent e;
		uint64_t at = 0;

		while (branch_next(r.b, v, at, &e) == 0) {
			assert_int_equal(e.offset_bytes, at);
			assert_true(e.length_bytes > 0);
			if (e.kind == VIEW_NOTHING)
				assert_memory_equal(r.now.bytes[v] + at, r.at[0].bytes[v] + at,
						    e.length_bytes);
			if (e.kind == EXTENT_ZERO || e.kind == EXTENT_DISCARD)
				for (uint64_t i = 0; i < e.length_bytes; i++)
					assert_int_equal(r.now.bytes[v][at + i], 0);
			at += e.length_bytes;
		}
		assert_int_equal(at, VOLUME_BYTES);
	}
}

static void open_branch(void)
{
	assert_int_equal(branch_open(r.env, BRANCH, &r.b, why), 0);
	timeline_set_limits(branch_timeline(r.b), 16384 << below(4), 4096 << below(4));
}

/* A call may have closed a batch: then the content of now is that of the commit. */
static void note_commit(void)
{
	struct timeline_state s;

	timeline_state(branch_timeline(r.b), &s);
	if (s.ordinal == r.nr_commits)
		return;
	assert_int_equal(s.ordinal, r.nr_commits + 1);
	assert_true(s.ordinal < MAX_COMMITS);
	r.at[++r.nr_commits] = r.now;
}

static int do_write(void)
{
	static uint8_t buf[MAX_WRITE * 512];
	uint64_t first = below(SECTORS), nr = 1 + below(below(4) ? 9 : MAX_WRITE);
	uint16_t v = below(VOLUMES);
	bool data = below(3);
	int ret;

	nr = nr < SECTORS - first ? nr : SECTORS - first;
	if (data) {
		test_fill(buf, nr * 512, r.random);
		ret = branch_write(r.b, v, first * 512, buf, nr * 512);
	} else {
		memset(buf, 0, nr * 512);
		ret = branch_zero(r.b, v, first * 512, nr * 512, below(2));
	}
	if (!ret) {
		memcpy(r.now.bytes[v] + first * 512, buf, nr * 512);
		memset(r.now.written[v] + first, 1, nr);
	}
	return ret;
}

/* Some of what is under way ends; what is durable is acknowledged. */
static void do_io(bool all)
{
	struct timeline_state s;

	if (all)
		sim_env_complete_all(r.sim);
	else if (sim_env_pending(r.sim))
		sim_env_complete(r.sim, below(sim_env_pending(r.sim)));
	timeline_state(branch_timeline(r.b), &s);
	if (branch_durable(r.b, s.durable_ordinal) == 0)
		r.acked = s.durable_ordinal;
	assert_int_equal(branch_settle(r.b), 0);
}

static void do_job(void)
{
	struct index_job *job = timeline_index_plan(branch_timeline(r.b));
	int ret;

	if (!job)
		return;
	index_job_run(job, r.env, NULL);
	ret = timeline_index_take(branch_timeline(r.b), job);
	assert_true(!ret || r.faulty);
	assert_int_equal(branch_settle(r.b), 0);
	r.jobs += !ret;
}

static int step(void)
{
	uint64_t ordinal;
	int ret = 0;

	switch (below(12)) {
	case 0:
		ret = branch_flush(r.b, &ordinal);
		note_commit();
		if (!ret && below(2)) {
			do_io(true);
			ret = branch_durable(r.b, ordinal);
			assert_int_not_equal(ret, -EAGAIN);
		}
		break;
	case 1:
		ret = branch_commit(r.b);
		break;
	case 2:
	case 3:
		do_io(false);
		break;
	case 4:
		do_job();
		break;
	case 5:
		expect_content(&r.now);
		break;
	case 6:
		expect_stretches();
		break;
	default:
		ret = do_write();
	}
	note_commit();
	return ret;
}

/* What is there now is a commit that was made, and nothing acknowledged is lost. */
static void expect_a_commit(void)
{
	struct timeline_state s;

	timeline_state(branch_timeline(r.b), &s);
	assert_true(s.durable_ordinal >= r.acked);
	assert_true(s.durable_ordinal <= r.nr_commits);
	r.nr_commits = r.acked = s.durable_ordinal;
	r.now = r.at[r.nr_commits];
	expect_content(&r.now);
	expect_stretches();
	expect_views();
}

/* One life; with a fault writing ends early, and reading goes on. */
static void live(bool faulty)
{
	int ret = 0;

	r.faulty = faulty;
	if (faulty)
		sim_env_fail(r.sim, below(2) ? SIM_FAULT_WRITE : SIM_FAULT_SYNC, 1 + below(20),
			     below(2) ? -EIO : -ENOSPC, below(2));
	for (int i = 0; i < STEPS && !ret; i++)
		ret = faulty ? below(3) ? do_write() : step() : step();
	if (!faulty) {
		assert_int_equal(ret, 0);
		return;
	}
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 0, 0, false);
	sim_env_fail(r.sim, SIM_FAULT_SYNC, 0, 0, false);
	r.faulty = false;
	if (!ret)
		return;
	r.failures++;
	expect_content(&r.now);
	assert_int_not_equal(do_write(), 0);
}

static void end_life(uint64_t seed)
{
	uint64_t ordinal;
	struct timeline *tl;

	switch (seed % 3) {
	case 0:		/* orderly */
		if (branch_flush(r.b, &ordinal) == 0) {
			note_commit();
			do_io(true);
			assert_int_equal(branch_durable(r.b, ordinal), 0);
			r.acked = ordinal;
			expect_content(&r.now);
		}
		sim_env_complete_all(r.sim);
		branch_close(r.b);
		break;
	case 1:
		sim_env_kill(r.sim);
		branch_close(r.b);
		break;
	default:
		sim_env_crash(r.sim, seed);
		branch_close(r.b);
		r.crashes++;
	}
	/* The parent's files are as they were, whatever happened to the branch. */
	parent_close();
	assert_int_equal(timeline_open(r.env, "/tl", 0, NULL, &tl, why), 0);
	timeline_close(tl);
	parent_open();
}

static void lives(uint64_t seed, bool faulty)
{
	r.random = seed * 2654435761u + 1;
	r.nr_commits = r.acked = 0;
	sim_env_reset(r.sim, seed);
	parent_make();
	parent_open();
	memset(&r.at[0], 0, sizeof(r.at[0]));
	for (uint16_t v = 0; v < VOLUMES; v++)
		assert_int_equal(view_read(r.view, v, 0, r.at[0].bytes[v], VOLUME_BYTES), 0);
	r.now = r.at[0];
	for (int i = 0; i < LIVES; i++) {
		open_branch();
		expect_a_commit();
		live(faulty && i % 2);
		end_life(seed + i);
	}
	open_branch();
	expect_a_commit();
	branch_close(r.b);
	for (uint16_t v = 0; v < VOLUMES; v++) {
		static uint8_t got[VOLUME_BYTES];

		assert_int_equal(view_read(r.view, v, 0, got, VOLUME_BYTES), 0);
		assert_memory_equal(got, r.at[0].bytes[v], VOLUME_BYTES);
	}
	parent_close();
}

static void every_life_begins_with_a_commit(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++)
		lives(seed, false);
	assert_true(r.jobs > 100 && r.crashes > 50);
}

static void after_a_failure_reading_goes_on_and_opening_mends(void **state)
{
	r.failures = 0;
	for (uint64_t seed = 1; seed <= 60; seed++)
		lives(seed, true);
	assert_true(r.failures > 30);
}

/* -- single promises -- */

static void begin(void)
{
	r.random = 1;
	sim_env_reset(r.sim, 1);
	parent_make();
	parent_open();
	assert_int_equal(branch_open(r.env, BRANCH, &r.b, why), 0);
}

static void end(void)
{
	sim_env_complete_all(r.sim);
	branch_close(r.b);
	parent_close();
}

static void a_range_outside_is_refused(void **state)
{
	static uint8_t buf[1024];
	uint16_t v = 0;

	begin();
	assert_int_equal(branch_write(r.b, 0, VOLUME_BYTES - 512, buf, 1024), -ERANGE);
	assert_int_equal(branch_write(r.b, 2, 0, buf, 512), -ERANGE);
	assert_int_equal(branch_write(r.b, 0, 1, buf, 512), -EINVAL);
	assert_int_equal(branch_zero(r.b, 0, 512, UINT64_MAX - 511, false), -ERANGE);
	assert_int_equal(branch_read(r.b, 0, VOLUME_BYTES, buf, 512, fill_hole, &v), -ERANGE);
	assert_int_equal(branch_write(r.b, 0, VOLUME_BYTES - 512, buf, 512), 0);
	end();
}

static void a_parent_is_not_written_to(void **state)
{
	struct branch *b;

	begin();
	assert_int_equal(branch_open(r.env, "/tl", &b, why), -EINVAL);
	assert_int_equal(branch_open(r.env, BRANCH, &b, why), -EBUSY);
	end();
}

static void a_batch_is_closed_by_size_and_by_time(void **state)
{
	static uint8_t buf[VOLUME_BYTES];
	uint64_t written = 0, ordinal;
	struct timeline_state s;

	begin();
	assert_int_equal(branch_due_ns(r.b), 0);
	while (written < BRANCH_CUT_BYTES) {
		timeline_state(branch_timeline(r.b), &s);
		assert_int_equal(s.ordinal, 0);
		assert_int_equal(branch_write(r.b, 0, 0, buf, VOLUME_BYTES), 0);
		written += VOLUME_BYTES;
	}
	timeline_state(branch_timeline(r.b), &s);
	assert_int_equal(s.ordinal, 1);
	assert_int_equal(seq_number(s.cut_seq), written / VOLUME_BYTES);
	assert_int_equal(branch_write(r.b, 0, 0, buf, 512), 0);
	assert_int_equal(branch_due_ns(r.b), r.env->ops->monotonic_ns(r.env) + BRANCH_CUT_NS);
	sim_env_advance(r.sim, BRANCH_CUT_NS);
	assert_int_equal(branch_write(r.b, 0, 0, buf, 512), 0);
	assert_int_equal(branch_due_ns(r.b), r.env->ops->monotonic_ns(r.env));
	/* What is overwritten in one batch is stored once, and memory is given back. */
	assert_true(branch_unsynced_bytes(r.b) < 2 * VOLUME_BYTES);
	assert_int_equal(branch_flush(r.b, &ordinal), 0);
	assert_int_equal(ordinal, 2);
	assert_int_equal(branch_durable(r.b, ordinal), -EAGAIN);
	sim_env_complete_all(r.sim);
	assert_int_equal(branch_durable(r.b, ordinal), 0);
	assert_int_equal(branch_settle(r.b), 0);
	assert_int_equal(branch_unsynced_bytes(r.b), 0);
	/* Nothing written, nothing to commit. */
	assert_int_equal(branch_flush(r.b, &ordinal), 0);
	assert_int_equal(ordinal, 2);
	end();
}

/* Reading a unit reads on: into what is on its way to the disk, and not there yet. */
static void what_was_read_ahead_does_not_get_old(void **state)
{
	static uint8_t first[512], buf[VOLUME_BYTES], got[VOLUME_BYTES];
	uint64_t ordinal;
	uint16_t v = 0;

	begin();
	timeline_set_limits(branch_timeline(r.b), 0, 65536);
	memset(first, 1, sizeof(first));
	assert_int_equal(branch_write(r.b, 0, 0, first, sizeof(first)), 0);
	assert_int_equal(branch_flush(r.b, &ordinal), 0);
	do_io(true);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = below(256);
	assert_int_equal(branch_write(r.b, 1, 0, buf, sizeof(buf)), 0);
	assert_int_equal(branch_flush(r.b, &ordinal), 0);
	sim_env_complete(r.sim, sim_env_pending(r.sim) - 1);
	assert_int_equal(branch_read(r.b, 0, 0, got, sizeof(first), fill_hole, &v), 0);
	assert_memory_equal(got, first, sizeof(first));
	do_io(true);
	assert_int_equal(branch_durable(r.b, ordinal), 0);
	assert_int_equal(branch_unsynced_bytes(r.b), 0);
	assert_int_equal(branch_read(r.b, 1, 0, got, sizeof(buf), fill_hole, &v), 0);
	assert_memory_equal(got, buf, sizeof(buf));
	end();
}

/* A run that cannot be opened is not tried again after every I/O. */
static void runs_that_cannot_be_read_are_tried_later(void **state)
{
	static uint8_t buf[VOLUME_BYTES];
	struct index_job *job = NULL;
	uint64_t ordinal;

	begin();
	timeline_set_limits(branch_timeline(r.b), 16384, 4096);
	for (uint16_t v = 0; v < VOLUMES; v++)
		assert_int_equal(view_read(r.view, v, 0, r.now.bytes[v], VOLUME_BYTES), 0);
	while (!job) {
		for (size_t i = 0; i < sizeof(buf); i++)
			buf[i] = below(256);
		assert_int_equal(branch_write(r.b, 0, 0, buf, sizeof(buf)), 0);
		assert_int_equal(branch_flush(r.b, &ordinal), 0);
		do_io(true);
		job = timeline_index_plan(branch_timeline(r.b));
	}
	memcpy(r.now.bytes[0], buf, sizeof(buf));
	index_job_run(job, r.env, NULL);
	assert_int_equal(timeline_index_take(branch_timeline(r.b), job), 0);
	for (int i = 0; i < 2; i++) {
		sim_env_fail(r.sim, SIM_FAULT_READ, 1, -EIO, true);
		assert_int_equal(branch_settle(r.b), -EIO);
		assert_int_equal(branch_settle(r.b), 0);
		sim_env_fail(r.sim, SIM_FAULT_READ, 0, 0, false);
		expect_content(&r.now);
		sim_env_advance(r.sim, BRANCH_RETRY_NS);
	}
	assert_int_equal(branch_settle(r.b), 0);
	/* Now it is open: there is nothing more to read. */
	sim_env_fail(r.sim, SIM_FAULT_READ, 1, -EIO, true);
	sim_env_advance(r.sim, BRANCH_RETRY_NS);
	assert_int_equal(branch_settle(r.b), 0);
	sim_env_fail(r.sim, SIM_FAULT_READ, 0, 0, false);
	expect_content(&r.now);
	end();
}

static int setup(void **state)
{
	r.sim = sim_env_create(1);
	r.env = sim_env_env(r.sim);
	return 0;
}

static int teardown(void **state)
{
	sim_env_destroy(r.sim);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_outside_is_refused),
		cmocka_unit_test(a_parent_is_not_written_to),
		cmocka_unit_test(a_batch_is_closed_by_size_and_by_time),
		cmocka_unit_test(what_was_read_ahead_does_not_get_old),
		cmocka_unit_test(runs_that_cannot_be_read_are_tried_later),
		cmocka_unit_test(every_life_begins_with_a_commit),
		cmocka_unit_test(after_a_failure_reading_goes_on_and_opening_mends),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
