// SPDX-License-Identifier: GPL-2.0-only
/*
 * A points file of which both copies are lost is made again: all points that it listed, and
 * of those that had been dropped the ones whose data are there for sure; each shows what it did.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/index.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/pack_kept.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define SECTORS	64
#define S	UINT64_C(1000000000)
#define SEEDS	8

static char why[TIMELINE_TEXT_BYTES];

/* Points were dropped; with @packing, and again after their space had been given back. */
static void build(struct rig *r, uint64_t seed, bool packing)
{
	rig_init(r, seed, SECTORS, 8192);
	rig_retain(r, "all:30s,20s:2h", 0);
	timeline_set_packing(r->tl, packing);
	for (int round = 0; round < 3; round++) {
		rig_append(r, 100, S);
		rig_index(r);
		rig_pass(r, 1, 3600 * S);
	}
	rig_append(r, 20, S);
	assert_true(r->tl->manifest.points.flags & MANIFEST_POINTS_LEFT_OUT);
	assert_int_equal(r->tl->manifest.nr_packs > 0, packing);
}

static void points_lose(struct rig *r)
{
	char path[64];

	points_path(path, sizeof(path), "/tl", r->tl->manifest.points.number, 0);
	rig_close(r);
	assert_int_equal(r->env->ops->unlink(r->env, path), 0);
}

static struct timeline_commit *commits_copy(const struct rig *r, size_t *nr)
{
	const struct timeline_commit *c;
	struct timeline_commit *out;

	*nr = timeline_commits(r->tl, &c);
	out = malloc(*nr * sizeof(*out));
	memcpy(out, c, *nr * sizeof(*out));
	return out;
}

/* Each is there again and is what it was. */
static void expect_all_back(const struct rig *r, const struct timeline_commit *old, size_t nr_old)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(r->tl, &c), i = 0;

	for (size_t k = 0; k < nr_old; k++) {
		while (i < nr && c[i].ordinal < old[k].ordinal)
			i++;
		if (i == nr || c[i].ordinal != old[k].ordinal)
			fail_msg("commit %llu is not back", (unsigned long long)old[k].ordinal);
		assert_int_equal(c[i].cut_seq, old[k].cut_seq);
		assert_int_equal(c[i].time_ns, old[k].time_ns);
		assert_int_equal(c[i].listed, old[k].listed);
		assert_ptr_equal(c[i].unlisted_why, old[k].unlisted_why);
		/* What was unreadable and no point shows may be known no more. */
		assert_true(old[k].degraded || !c[i].degraded);
	}
}

static bool shows_unreadable(struct rig *r, uint64_t cut_seq)
{
	struct view_extent e;
	struct view *v;
	bool shows = false;

	assert_int_equal(view_open(r->tl, cut_seq, &v, why), 0);
	for (uint16_t volume = 0; volume < HISTORY_VOLUMES; volume++)
		for (uint64_t at = 0; at < view_size(v, volume); at = e.offset_bytes + e.length_bytes) {
			assert_int_equal(view_next(v, volume, at, &e), 0);
			shows |= e.kind == EXTENT_UNREADABLE;
		}
	view_close(v);
	return shows;
}

/* As the model has them; and what could not be read does not go without saying. */
static void expect_right_views(struct rig *r)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(r->tl, &c);

	for (size_t i = 0; i < nr; i++)
		if (!history_point(&r->h, r->tl, c[i].ordinal - 1))
			fail_msg("commit %llu: %s", (unsigned long long)c[i].ordinal, r->h.why);
		else if (!c[i].degraded && c[i].listed && shows_unreadable(r, c[i].cut_seq))
			fail_msg("commit %llu is degraded", (unsigned long long)c[i].ordinal);
}

static void without_packs_all_that_ever_was_is_back(void **state)
{
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct timeline_commit *old;
		uint64_t nr_back, number;
		size_t nr_old;
		struct rig r;

		build(&r, seed, false);
		old = commits_copy(&r, &nr_old);
		assert_true(nr_old < r.tl->points.last_ordinal);
		number = r.tl->manifest.points.number;
		points_lose(&r);
		assert_int_equal(timeline_open(r.env, "/tl", 0, NULL, &r.tl, why), -EUCLEAN);
		assert_non_null(strstr(why, "run `blkship store check --rebuild"));
		rig_open(&r, TIMELINE_REBUILD);
		assert_true(timeline_rebuilt(r.tl, &nr_back));
		assert_int_equal(nr_back, r.tl->points.last_ordinal - nr_old);
		assert_int_equal(r.tl->manifest.points.number, number + 1);
		expect_all_back(&r, old, nr_old);
		expect_right_views(&r);
		/* It goes on as if nothing had been lost. */
		rig_close(&r);
		rig_open(&r, 0);
		rig_append(&r, 1, S);
		rig_index(&r);
		expect_all_back(&r, old, nr_old);
		free(old);
		rig_fini(&r);
	}
}

static void with_packs_what_is_whole_is_back_and_nothing_else(void **state)
{
	uint64_t nr_gone = 0;

	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct timeline_commit *old;
		uint64_t nr_back;
		size_t nr_old;
		struct rig r;

		build(&r, seed, true);
		old = commits_copy(&r, &nr_old);
		points_lose(&r);
		rig_open(&r, TIMELINE_REBUILD);
		assert_true(timeline_rebuilt(r.tl, &nr_back));
		assert_int_equal(r.tl->points.nr_commits, nr_old + nr_back);
		nr_gone += r.tl->points.last_ordinal - r.tl->points.nr_commits;
		expect_all_back(&r, old, nr_old);
		expect_right_views(&r);
		/* Also after more was dropped and packed. */
		timeline_set_packing(r.tl, true);
		rig_append(&r, 100, S);
		rig_index(&r);
		rig_pass(&r, 1, 7200 * S);
		expect_right_views(&r);
		free(old);
		rig_fini(&r);
	}
	assert_true(nr_gone > 20 * SEEDS);
}

static void a_file_that_is_good_stays(void **state)
{
	uint64_t nr_back, number;
	struct rig r;

	build(&r, 1, true);
	number = r.tl->manifest.points.number;
	rig_close(&r);
	rig_open(&r, TIMELINE_REBUILD);
	assert_false(timeline_rebuilt(r.tl, &nr_back));
	assert_int_equal(r.tl->manifest.points.number, number);
	rig_fini(&r);
}

/* One copy is damaged and the other cannot be read: refused, with what to do; and that helps. */
static void what_cannot_be_read_is_lost_when_told(void **state)
{
	uint64_t nr_back, nth;
	struct rig r;
	char path[64];
	int ret = 0;

	build(&r, 4, true);
	points_path(path, sizeof(path), "/tl", r.tl->manifest.points.number, 0);
	sim_env_flip(r.sim, path, 20, 3);
	rig_close(&r);
	for (nth = 1; nth < 100 && !(ret == -EIO && strstr(why, "neither copy")); nth++) {
		sim_env_fail(r.sim, SIM_FAULT_READ, nth, -EIO, false);
		ret = timeline_open(r.env, "/tl", 0, NULL, &r.tl, why);
		if (!ret)
			rig_close(&r);
		sim_env_fail(r.sim, SIM_FAULT_READ, 0, 0, false);
	}
	assert_int_equal(ret, -EIO);
	assert_non_null(strstr(why, "run `blkship store check --rebuild"));
	/* It reads the manifest once more, before it opens that. */
	sim_env_fail(r.sim, SIM_FAULT_READ, nth, -EIO, false);
	rig_open(&r, TIMELINE_REBUILD);
	assert_true(timeline_rebuilt(r.tl, &nr_back));
	expect_right_views(&r);
	rig_fini(&r);
}

/* Nothing is guessed, and it is said what is in the way. */
static void from_a_damaged_pack_nothing_is_made(void **state)
{
	struct pack_header header;
	const uint8_t *content;
	uint64_t bytes;
	struct rig r;
	char path[64];

	build(&r, 2, true);
	pack_path(path, sizeof(path), "/tl", r.tl->manifest.packs[0].number, 0);
	content = sim_env_content(r.sim, path, &bytes);
	assert_int_equal(pack_header_decode(content, &header), 0);
	sim_env_flip(r.sim, path, header.data_end + header.nr_blocks * PACK_BLOCK_BYTES, 0);
	points_lose(&r);
	assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_REBUILD, NULL, &r.tl, why),
			 -EUCLEAN);
	assert_non_null(strstr(why, "segment 0000000000000001, or the pack in its place"));
	sim_env_flip(r.sim, path, header.data_end + header.nr_blocks * PACK_BLOCK_BYTES, 0);
	rig_open(&r, TIMELINE_REBUILD);
	expect_right_views(&r);
	rig_fini(&r);
}

/* Cut off by a crash at any step: there is the old state, or the new one. */
static void a_crash_on_the_way_does_no_harm(void **state)
{
	unsigned int steps = 0, nr_cut = 0;
	bool done = false;

	for (; !done; steps++) {
		struct timeline_commit *old;
		uint64_t nr_back;
		size_t nr_old;
		struct rig r;
		int ret;

		build(&r, 3, true);
		old = commits_copy(&r, &nr_old);
		points_lose(&r);
		sim_env_power_off_after(r.sim, steps);
		ret = timeline_open(r.env, "/tl", TIMELINE_REBUILD, NULL, &r.tl, why);
		done = !ret && !sim_env_is_off(r.sim);
		nr_cut += !done;
		if (!ret)
			rig_close(&r);
		sim_env_crash(r.sim, steps);
		rig_open(&r, TIMELINE_REBUILD);
		if (done)
			assert_false(timeline_rebuilt(r.tl, &nr_back));
		expect_all_back(&r, old, nr_old);
		expect_right_views(&r);
		free(old);
		rig_fini(&r);
	}
	assert_true(nr_cut > 5);
}

static void kept_cuts_come_back_and_nonsense_is_refused(void **state)
{
	uint64_t cuts[] = { 1, 127, 128, 16384, UINT64_C(1) << 48, UINT64_MAX - 1 };
	const struct thin_cuts kept = { cuts, ARRAY_SIZE(cuts), UINT64_MAX };
	const uint8_t bad[][11] = {
		{ 0 }, { 0x81 }, { 5, 0 },
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2 },
		{ 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1 },
		{ 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1 },
	};
	const size_t nr_bytes[] = { 1, 1, 2, 10, 11, 11 };
	struct pack_kept k;
	uint64_t *got;
	size_t nr;

	assert_int_equal(pack_kept_encode(&kept, &k), 0);
	assert_int_equal(pack_kept_decode(k.bytes, k.nr_bytes, &got, &nr), 0);
	assert_int_equal(nr, ARRAY_SIZE(cuts) + 1);
	assert_memory_equal(got, cuts, sizeof(cuts));
	assert_true(got[nr - 1] == UINT64_MAX);
	free(got);
	free(k.bytes);
	assert_int_equal(pack_kept_decode(NULL, 0, &got, &nr), -EBADMSG);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (pack_kept_decode(bad[i], nr_bytes[i], &got, &nr) != -EBADMSG)
			fail_msg("case %zu", i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_packs_all_that_ever_was_is_back),
		cmocka_unit_test(with_packs_what_is_whole_is_back_and_nothing_else),
		cmocka_unit_test(a_file_that_is_good_stays),
		cmocka_unit_test(what_cannot_be_read_is_lost_when_told),
		cmocka_unit_test(from_a_damaged_pack_nothing_is_made),
		cmocka_unit_test(a_crash_on_the_way_does_no_harm),
		cmocka_unit_test(kept_cuts_come_back_and_nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
