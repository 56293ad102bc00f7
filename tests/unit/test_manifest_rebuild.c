// SPDX-License-Identifier: GPL-2.0-only
/*
 * A manifest that is damaged or gone is made again when told to: each point that is there
 * afterwards shows what it did, all that were listed are, or it is refused and nothing changes.
 */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/manifest_internal.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"
#include "../host/test_steps.h"

#define SECTORS	64
#define S	UINT64_C(1000000000)
#define MANIFEST RIG_DIR "/manifest"
#define DAMAGED	RIG_DIR "/manifest.damaged"

static char why[TIMELINE_TEXT_BYTES];

struct kept {
	uint8_t *bytes;
	uint64_t nr;
};

static struct kept file_keep(struct rig *r, const char *path)
{
	struct kept k = { 0 };
	const uint8_t *content = sim_env_content(r->sim, path, &k.nr);

	assert_non_null(content);
	k.bytes = malloc(k.nr + 1);
	memcpy(k.bytes, content, k.nr);
	return k;
}

/* The points file that the manifest names. */
static void points_name(const struct rig *r, char *path, size_t bytes)
{
	points_path(path, bytes, RIG_DIR, r->tl->manifest.points.number, 0);
}

/*
 * Points were dropped; with @packing, and again after their space had been given back.
 * @first: the points file before the first of them was; its @path
 */
static void build_keeping(struct rig *r, bool packing, struct kept *first, char path[64])
{
	rig_init(r, 5, SECTORS, 8192);
	rig_retain(r, "all:30s,20s:2h", 0);
	timeline_set_packing(r->tl, packing);
	for (int round = 0; round < 3; round++) {
		rig_append(r, 100, S);
		rig_index(r);
		if (first && !round) {
			points_name(r, path, 64);
			*first = file_keep(r, path);
		}
		rig_pass(r, 1, 3600 * S);
	}
	rig_append(r, 20, S);
	assert_int_equal(r->tl->manifest.nr_packs > 0, packing);
}

static void build(struct rig *r, bool packing)
{
	build_keeping(r, packing, NULL, NULL);
}

static void file_set(struct rig *r, const char *path, const uint8_t *bytes, uint64_t nr)
{
	struct env_file *f;

	r->env->ops->unlink(r->env, path);
	assert_int_equal(r->env->ops->open(r->env, path, ENV_WRITE | ENV_CREATE, &f), 0);
	r->env->ops->close(r->env, f);
	assert_int_equal(sim_env_poke(r->sim, path, 0, bytes, nr), 0);
	assert_int_equal(r->env->ops->sync_dir(r->env, RIG_DIR), 0);
}

static bool file_is(struct rig *r, const char *path, const uint8_t *bytes, uint64_t nr)
{
	uint64_t got;
	const uint8_t *content = sim_env_content(r->sim, path, &got);

	return content && got == nr && !memcmp(content, bytes, nr);
}

static int rebuild(struct rig *r, unsigned int more)
{
	int ret = timeline_open(r->env, RIG_DIR, TIMELINE_REBUILD | more, NULL, &r->tl, why);

	if (!ret)
		timeline_set_limits(r->tl, r->seal_bytes, 4096);
	else
		r->tl = NULL;
	return ret;
}

static uint64_t *cuts_of(const struct rig *r, size_t *nr)
{
	const struct timeline_commit *c;
	uint64_t *cuts;

	*nr = timeline_commits(r->tl, &c);
	cuts = malloc((*nr + 1) * sizeof(*cuts));
	for (size_t i = 0; i < *nr; i++)
		cuts[i] = c[i].ordinal;
	return cuts;
}

static void expect_all(const struct rig *r, const uint64_t *ordinals, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		if (!rig_has(r, ordinals[i]))
			fail_msg("commit %d is gone", (int)ordinals[i]);
}

/* As it was, or nothing has changed: with one bit of it turned it must be as it was. */
static void flip_all(bool packing, uint8_t mask, unsigned int step, unsigned int *nr_made,
		     unsigned int *nr_refused)
{
	struct kept k, made = { NULL, 0 };
	struct timeline_volume volumes[2];
	uint64_t *ordinals;
	struct rig r;
	size_t nr;

	build(&r, packing);
	rig_pass(&r, 1, S);
	ordinals = cuts_of(&r, &nr);
	memcpy(volumes, r.tl->manifest.volumes, sizeof(volumes));
	rig_close(&r);
	k = file_keep(&r, MANIFEST);
	for (uint64_t at = 0; at < k.nr; at += step) {
		uint8_t byte = k.bytes[at];

		k.bytes[at] ^= mask;
		file_set(&r, MANIFEST, k.bytes, k.nr);
		r.env->ops->unlink(r.env, DAMAGED);
		if (mask & (mask - 1) &&
		    !timeline_open(r.env, RIG_DIR, TIMELINE_READ_ONLY, NULL, &r.tl, why)) {
			/* The last record looks as if its append had been torn. */
			rig_check(&r);
		} else if (!rebuild(&r, 0)) {
			(*nr_made)++;
			assert_true(timeline_remade(r.tl)->manifest);
			assert_true(file_is(&r, DAMAGED, k.bytes, k.nr));
			expect_all(&r, ordinals, nr);
			/* By one and the same manifest all show the same. */
			if (mask & (mask - 1) && !file_is(&r, MANIFEST, made.bytes, made.nr)) {
				rig_check(&r);
				free(made.bytes);
				made = file_keep(&r, MANIFEST);
			}
			for (size_t i = 0; i < 2; i++) {
				assert_string_equal(r.tl->manifest.volumes[i].name, volumes[i].name);
				assert_int_equal(r.tl->manifest.volumes[i].size_bytes,
						 volumes[i].size_bytes);
			}
		} else {
			assert_non_null(strstr(why, "not made anew"));
			assert_true(file_is(&r, MANIFEST, k.bytes, k.nr));
			(*nr_refused)++;
		}
		rig_close(&r);
		k.bytes[at] = byte;
		if (mask & (mask - 1))
			continue;
		/* One bit: the very file that it was. */
		assert_true(file_is(&r, MANIFEST, k.bytes, k.nr));
	}
	free(made.bytes);
	free(k.bytes);
	free(ordinals);
	rig_fini(&r);
}

static void a_bit_is_turned_back(void **state)
{
	for (int packing = 0; packing < 2; packing++) {
		unsigned int nr_made = 0, nr_refused = 0;

		flip_all(packing, 0x10, 7, &nr_made, &nr_refused);
		assert_true(nr_made > 20);
		assert_int_equal(nr_refused, 0);
	}
}

static void a_damaged_record_is_made_of_the_segments(void **state)
{
	for (int packing = 0; packing < 2; packing++) {
		unsigned int nr_made = 0, nr_refused = 0;

		flip_all(packing, 0xff, 7, &nr_made, &nr_refused);
		assert_true(nr_made > 20);
		assert_int_equal(nr_refused, 0);
	}
}

/* Gone, empty, or cut in its first record. */
static void without_any_it_is_made_of_the_segments(void **state)
{
	static const int lengths[] = { -1, 0, 100 };

	for (int i = 0; i < 6; i++) {
		const int packing = i % 2, length = lengths[i / 2];
		struct kept k;
		uint8_t id[16];
		uint64_t *ordinals;
		struct rig r;
		size_t nr;

		build(&r, packing);
		ordinals = cuts_of(&r, &nr);
		memcpy(id, timeline_id(r.tl), sizeof(id));
		rig_close(&r);
		k = file_keep(&r, MANIFEST);
		r.env->ops->unlink(r.env, MANIFEST);
		if (length >= 0)
			file_set(&r, MANIFEST, k.bytes, length);
		free(k.bytes);
		assert_int_equal(timeline_open(r.env, RIG_DIR, TIMELINE_CREATE, "", &r.tl, why),
				 length >= 0 ? -EBADMSG : -EUCLEAN);
		assert_non_null(strstr(why, "run `blkship store check --rebuild"));
		r.tl = NULL;
		assert_int_equal(rebuild(&r, 0), 0);
		assert_memory_equal(timeline_id(r.tl), id, sizeof(id));
		assert_true(timeline_remade(r.tl)->from_segments);
		assert_true(timeline_remade(r.tl)->pins_lost);
		assert_true(timeline_remade(r.tl)->policies_lost);
		assert_false(timeline_remade(r.tl)->grant_lost);
		assert_false(timeline_remade(r.tl)->points_made);
		expect_all(&r, ordinals, nr);
		rig_check(&r);
		/* It goes on, and the index is made anew. */
		rig_append(&r, 30, S);
		rig_index(&r);
		rig_restart(&r);
		assert_false(timeline_remade(r.tl)->manifest);
		expect_all(&r, ordinals, nr);
		rig_check(&r);
		free(ordinals);
		rig_fini(&r);
	}
}

/*
 * What had been dropped, and given back, must not be there again with what is left of it; also not
 * by an older points file that lies about.
 */
static void without_its_points_file_packs_tell(void **state)
{
	for (int older = 0; older < 2; older++) {
		char path[64], first_path[64];
		struct kept first;
		uint64_t *ordinals;
		struct rig r;
		size_t nr;

		build_keeping(&r, true, &first, first_path);
		ordinals = cuts_of(&r, &nr);
		points_name(&r, path, sizeof(path));
		assert_string_not_equal(path, first_path);
		rig_close(&r);
		r.env->ops->unlink(r.env, path);
		r.env->ops->unlink(r.env, MANIFEST);
		if (older)
			file_set(&r, first_path, first.bytes, first.nr);
		assert_int_equal(rebuild(&r, 0), 0);
		assert_true(timeline_remade(r.tl)->points_made);
		expect_all(&r, ordinals, nr);
		assert_true(r.tl->points.nr_commits < r.tl->points.last_ordinal);
		rig_check(&r);
		free(first.bytes);
		free(ordinals);
		rig_fini(&r);
	}
}

/* One that lies about beside it does not count where a record says which does; else that is told. */
static void the_points_file_that_is_named_counts(void **state)
{
	for (int named = 0; named < 2; named++) {
		char first_path[64];
		struct kept first, manifest;
		uint64_t *ordinals, *now;
		struct rig r;
		size_t nr, nr_now;

		build_keeping(&r, false, &first, first_path);
		ordinals = cuts_of(&r, &nr);
		rig_close(&r);
		manifest = file_keep(&r, MANIFEST);
		manifest.bytes[20] ^= 0xff;
		r.env->ops->unlink(r.env, MANIFEST);
		if (named)
			file_set(&r, MANIFEST, manifest.bytes, manifest.nr);
		file_set(&r, first_path, first.bytes, first.nr);
		assert_int_equal(rebuild(&r, 0), 0);
		assert_true(timeline_remade(r.tl)->from_segments);
		assert_int_equal(timeline_remade(r.tl)->points_older, !named);
		now = cuts_of(&r, &nr_now);
		assert_true(named ? nr_now == nr : nr_now > nr);
		expect_all(&r, ordinals, nr);
		rig_check(&r);
		free(manifest.bytes);
		free(first.bytes);
		free(ordinals);
		free(now);
		rig_fini(&r);
	}
}

static void a_crash_on_the_way_does_no_harm(void **state)
{
	unsigned int nr_cut = 0;
	bool done = false;

	for (unsigned int steps = 0; !done; steps++) {
		uint64_t *ordinals;
		struct kept k;
		struct rig r;
		size_t nr;
		int ret;

		build(&r, true);
		ordinals = cuts_of(&r, &nr);
		rig_close(&r);
		k = file_keep(&r, MANIFEST);
		k.bytes[3] ^= 0xff;
		file_set(&r, MANIFEST, k.bytes, k.nr);
		sim_env_power_off_after(r.sim, steps);
		ret = rebuild(&r, 0);
		done = !ret && !sim_env_is_off(r.sim);
		nr_cut += !done;
		rig_close(&r);
		sim_env_crash(r.sim, steps);
		if (!file_is(&r, MANIFEST, k.bytes, k.nr)) {
			/* The new one, whole. */
			if (timeline_open(r.env, RIG_DIR, TIMELINE_READ_ONLY, NULL, &r.tl, why))
				fail_msg("after %u: %s", steps, why);
			rig_close(&r);
			assert_true(file_is(&r, DAMAGED, k.bytes, k.nr));
		}
		assert_int_equal(rebuild(&r, 0), 0);
		expect_all(&r, ordinals, nr);
		rig_check(&r);
		free(k.bytes);
		free(ordinals);
		rig_fini(&r);
	}
	assert_true(nr_cut > 5);
}

/* What was sent, failed to become durable, and is in the file all the same, does not come back. */
static void a_segment_that_was_given_up_ends_where_it_did(void **state)
{
	const char *path = RIG_DIR "/0000000000000001.seg";
	struct timeline_commit last;
	struct test_batch b;
	struct kept k;
	uint64_t bytes;
	struct rig r;

	rig_init(&r, 1, 2048, 32 << 20);
	rig_commits(&r, 3, S);
	sim_env_fail(r.sim, SIM_FAULT_SYNC, 1, -EIO, false);
	test_batch_begin(&b, 4, seq_pack(1, 4));
	test_batch_extent(&b, 0, 0, 4096, EXTENT_DATA, 99, 0, 0);
	b.volumes[b.nr_volumes++].size_bytes = 2048 * 512;
	test_batch_end(&b);
	test_append(r.sim, r.tl, &b);
	k = file_keep(&r, path);
	assert_int_equal(timeline_void_tail(r.tl), 0);
	sim_env_content(r.sim, path, &bytes);
	assert_true(bytes < k.nr);
	rig_commits(&r, 3, S);
	last = r.tl->points.commits[r.tl->points.nr_commits - 1];
	rig_close(&r);
	sim_env_poke(r.sim, path, bytes, k.bytes + bytes, k.nr - bytes);
	r.env->ops->unlink(r.env, MANIFEST);
	assert_int_equal(rebuild(&r, 0), 0);
	assert_int_equal(r.tl->manifest.nr_ends, 1);
	assert_int_equal(r.tl->manifest.ends[0].end_offset, bytes);
	assert_int_equal(r.tl->manifest.ends[0].last_ordinal, 3);
	assert_int_equal(r.tl->points.nr_commits, 6);
	assert_memory_equal(&r.tl->points.commits[5].cut_seq, &last.cut_seq, 8);
	free(k.bytes);
	rig_fini(&r);
}

/* An incarnation that was granted after the last segment had begun: nobody goes on with it. */
static void of_a_lost_grant_nobody_goes_on(void **state)
{
	struct test_batch b;
	uint32_t incarnation;
	struct rig r;

	rig_init(&r, 1, 2048, 32 << 20);
	rig_commits(&r, 3, S);
	assert_int_equal(timeline_grant(r.tl, (const uint8_t *)"another instance", &incarnation), 0);
	test_batch_begin(&b, 4, seq_pack(incarnation, 1));
	test_batch_extent(&b, 0, 0, 4096, EXTENT_ZERO, 0, 0, 0);
	b.volumes[b.nr_volumes++].size_bytes = 2048 * 512 * 2;
	test_batch_end(&b);
	assert_int_equal(test_append(r.sim, r.tl, &b), 0);
	rig_close(&r);
	r.env->ops->unlink(r.env, MANIFEST);
	assert_int_equal(rebuild(&r, 0), 0);
	assert_true(timeline_remade(r.tl)->grant_lost);
	assert_int_equal(r.tl->manifest.incarnation, incarnation);
	assert_false(timeline_was_granted(r.tl, incarnation, (const uint8_t *)"another instance"));
	/* What the volume has become since is in the commit. */
	assert_int_equal(r.tl->manifest.volumes[0].size_bytes, 2048 * 512 * 2);
	rig_fini(&r);
}

enum wrong { HOLE, NO_COPY, FOREIGN, NEWER, LOST_END, NR_WRONG };

static void break_it(struct rig *r, enum wrong wrong, const struct kept *k)
{
	static const char *const paths[] = { RIG_DIR "/0000000000000001.seg",
					     RIG_DIR "/0000000000000002.seg",
					     RIG_DIR "/0000000000000003.seg" };
	uint8_t block[4096];
	struct manifest_header h;
	struct segment_header header;
	uint64_t bytes;

	switch (wrong) {
	case HOLE:
		r->env->ops->unlink(r->env, paths[1]);
		break;
	case NO_COPY:
		for (uint64_t n = 1;; n++) {
			char path[64];
			const uint8_t *content;

			segment_path(path, sizeof(path), RIG_DIR, n);
			content = sim_env_content(r->sim, path, &bytes);
			if (!content)
				break;
			assert_int_equal(segment_header_decode(content, &header), 0);
			memset(block, 0, sizeof(block));
			segment_header_encode(&header, block);
			sim_env_poke(r->sim, path, 0, block, sizeof(block));
		}
		break;
	case FOREIGN:
		memcpy(block, sim_env_content(r->sim, paths[2], &bytes), sizeof(block));
		assert_int_equal(segment_header_decode(block, &header), 0);
		header.timeline[0] ^= 1;
		segment_header_encode(&header, block);
		sim_env_poke(r->sim, paths[2], 0, block, sizeof(block));
		break;
	case NEWER:
		memcpy(block, k->bytes, 112);
		memcpy(&h, block, sizeof(h));
		h.type = htole16(99);
		memcpy(block, &h, sizeof(h));
		h.crc = htole32(manifest_record_crc(block, 112));
		memcpy(block, &h, sizeof(h));
		memset(block + 112, 0xff, 8);
		file_set(r, MANIFEST, block, 120);
		break;
	case LOST_END:
		/* All that is newer than what runs know. */
		for (uint64_t n = r->tl ? 0 : 6; n < 200; n++) {
			char path[64];

			segment_path(path, sizeof(path), RIG_DIR, n);
			r->env->ops->unlink(r->env, path);
		}
		break;
	default:
		break;
	}
}

static void what_would_be_a_guess_is_refused(void **state)
{
	static const char *const reasons[] = {
		[HOLE] = "0000000000000002.seg is missing", [NO_COPY] = "no segment or pack tells",
		[FOREIGN] = "another timeline", [NEWER] = "newer version",
		[LOST_END] = "was durable, and what is there ends with" };

	for (enum wrong wrong = 0; wrong < NR_WRONG; wrong++) {
		struct kept k;
		struct rig r;

		rig_init(&r, 1, SECTORS, 8192);
		rig_append(&r, 60, S);
		rig_index(&r);
		rig_close(&r);
		k = file_keep(&r, MANIFEST);
		r.env->ops->unlink(r.env, MANIFEST);
		break_it(&r, wrong, &k);
		assert_int_equal(rebuild(&r, 0), -EUCLEAN);
		if (!strstr(why, reasons[wrong]))
			fail_msg("%d: %s", wrong, why);
		if (wrong != NEWER)
			assert_null(sim_env_content(r.sim, MANIFEST, &k.nr));
		assert_null(sim_env_content(r.sim, DAMAGED, &k.nr));
		free(k.bytes);
		rig_fini(&r);
	}
}

/* Whether a branch had been promoted only the manifest said. */
static void branches_want_a_word(void **state)
{
	const struct timeline_line *lines;
	struct timeline *branch;
	struct kept k;
	struct rig r;

	rig_init(&r, 1, SECTORS, 8192);
	rig_append(&r, 60, S);
	assert_int_equal(branch_create(r.env, RIG_DIR, "test", r.tl,
				       r.tl->points.commits[20].cut_seq, why), 0);
	assert_int_equal(branch_promote(r.tl, "test", true, why), 0);
	rig_close(&r);
	k = file_keep(&r, MANIFEST);
	r.env->ops->unlink(r.env, MANIFEST);
	assert_int_equal(rebuild(&r, 0), -EUCLEAN);
	assert_non_null(strstr(why, "branch test, or another, had become the main line is not known"));
	assert_int_equal(rebuild(&r, TIMELINE_UNPROMOTED), 0);
	assert_true(timeline_remade(r.tl)->lines_lost);
	assert_int_equal(timeline_lines(r.tl, &lines), 0);
	assert_int_equal(branch_promote(r.tl, "test", true, why), 0);
	rig_check(&r);
	rig_close(&r);
	/* One whose bytes are known, but for what cannot hide it, is taken over. */
	memset(k.bytes + 16, 0xee, 8);
	file_set(&r, MANIFEST, k.bytes, k.nr);
	assert_int_equal(rebuild(&r, 0), 0);
	assert_false(timeline_remade(r.tl)->lines_lost);
	assert_int_equal(timeline_lines(r.tl, &lines), 1);
	assert_string_equal(lines[0].name, "test");
	free(k.bytes);
	/* A branch to which nothing was written has nothing to go by; nor does one that was dropped. */
	r.env->ops->unlink(r.env, RIG_DIR "/branches/test/manifest");
	assert_int_equal(timeline_open(r.env, RIG_DIR "/branches/test", TIMELINE_REBUILD, NULL,
				       &branch, why), -ENOENT);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_points_file_that_is_named_counts),
		cmocka_unit_test(a_bit_is_turned_back),
		cmocka_unit_test(a_damaged_record_is_made_of_the_segments),
		cmocka_unit_test(without_any_it_is_made_of_the_segments),
		cmocka_unit_test(without_its_points_file_packs_tell),
		cmocka_unit_test(a_crash_on_the_way_does_no_harm),
		cmocka_unit_test(a_segment_that_was_given_up_ends_where_it_did),
		cmocka_unit_test(of_a_lost_grant_nobody_goes_on),
		cmocka_unit_test(what_would_be_a_guess_is_refused),
		cmocka_unit_test(branches_want_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
