// SPDX-License-Identifier: GPL-2.0-only
/* Branches: there as a whole or not at all, gone at once, and their point is what it was. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define DOC "docs/BRANCH.md"
#include "doc.h"

#define MIB (1u << 20)

static char why[TIMELINE_TEXT_BYTES];

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
};

/* Two points; volume b was smaller at the first, c is a member of the second only. */
static void append(struct rig *r, uint64_t n)
{
	struct test_batch b;

	test_batch_begin(&b, n, seq_pack(1, n * 10));
	b.time_ns = n * 1000;
	test_batch_extent(&b, 0, 4096 * n, 4096, EXTENT_DATA, n, 0, 0);
	b.volumes[0] = (struct commit_volume){ .volume = 0, .size_bytes = MIB };
	b.volumes[1] = (struct commit_volume){ .volume = 1, .size_bytes = n * MIB };
	b.volumes[2] = (struct commit_volume){ .volume = 2, .size_bytes = MIB };
	b.nr_volumes = n == 1 ? 2 : 3;
	test_batch_end(&b);
	assert_int_equal(test_append(r->sim, r->tl, &b), 0);
}

static void rig_begin(struct rig *r, uint64_t seed)
{
	const struct timeline_volume *v;
	uint32_t incarnation;

	r->sim = sim_env_create(seed);
	r->env = sim_env_env(r->sim);
	assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_CREATE, "web1", &r->tl, why), 0);
	timeline_volume(r->tl, "a", MIB, "serial-a", &v);
	timeline_volume(r->tl, "b", MIB, "", &v);
	timeline_volume(r->tl, "c", MIB, "", &v);
	timeline_grant(r->tl, (const uint8_t *)"0123456789abcdef", &incarnation);
	append(r, 1);
	append(r, 2);
	r->env->ops->sync_dir(r->env, "");
}

static void rig_end(struct rig *r)
{
	timeline_close(r->tl);
	sim_env_destroy(r->sim);
}

static int create(struct rig *r, const char *name, uint64_t number)
{
	return branch_create(r->env, "/tl", name, r->tl, seq_pack(1, number), why);
}

static size_t list(struct rig *r, struct branch_info **out)
{
	size_t nr;

	assert_int_equal(branch_list(r->env, "/tl", out, &nr), 0);
	return nr;
}

static void count_name(void *arg, const char *name)
{
	++*(size_t *)arg;
}

static size_t files(struct rig *r, const char *dir)
{
	size_t nr = 0;

	r->env->ops->list(r->env, dir, count_name, &nr);
	return nr;
}

static void a_branch_knows_its_point_and_its_volumes(void **state)
{
	const struct timeline_volume *volumes;
	struct timeline_parent parent;
	struct timeline_state ts;
	struct branch_info *infos;
	struct timeline *tl;
	struct rig r;

	rig_begin(&r, 1);
	assert_int_equal(create(&r, "test", 10), 0);
	assert_int_equal(list(&r, &infos), 1);
	assert_string_equal(infos[0].name, "test");
	assert_int_equal(infos[0].error, 0);
	assert_int_equal(infos[0].parent.cut_seq, seq_pack(1, 10));
	assert_int_equal(infos[0].parent.time_ns, 1000);
	assert_memory_equal(infos[0].parent.timeline, timeline_id(r.tl), 16);
	free(infos);

	assert_int_equal(timeline_open(r.env, "/tl/branches/test", 0, NULL, &tl, why), 0);
	assert_int_equal(timeline_volumes(tl, &volumes), 3);
	assert_string_equal(volumes[0].name, "a");
	assert_string_equal(volumes[0].identity, "serial-a");
	assert_int_equal(volumes[0].size_bytes, MIB);
	assert_int_equal(volumes[1].size_bytes, MIB);	/* and 2 MiB later */
	assert_int_equal(volumes[2].size_bytes, 0);	/* no member then */
	timeline_state(tl, &ts);
	assert_int_equal(ts.incarnation, 1);
	assert_true(timeline_parent(tl, &parent));
	assert_memory_not_equal(timeline_id(tl), parent.timeline, 16);
	assert_false(timeline_parent(r.tl, &parent));
	timeline_close(tl);
	rig_end(&r);
}

/* Of an encrypted group nothing is written in clear: who has no key cannot write. */
static void a_branch_needs_the_keys_of_its_parent(void **state)
{
	struct timeline *tl;
	struct rig r;

	rig_begin(&r, 1);
	assert_int_equal(manifest_add_key(&r.tl->manifest, (const uint8_t *)"the key's name.."), 0);
	assert_int_equal(create(&r, "test", 10), 0);
	assert_int_equal(timeline_open(r.env, "/tl/branches/test", 0, NULL, &tl, why), 0);
	assert_non_null(timeline_missing_key(tl));
	assert_memory_equal(timeline_missing_key(tl), "the key's name..", 16);
	timeline_close(tl);
	rig_end(&r);
}

static void what_cannot_be_a_branch_is_refused(void **state)
{
	struct timeline *tl;
	struct rig r;

	rig_begin(&r, 1);
	assert_int_equal(create(&r, "../x", 10), -EINVAL);
	assert_int_equal(create(&r, "test", 11), -ENODATA);
	assert_int_equal(create(&r, "test", 10), 0);
	assert_int_equal(create(&r, "test", 20), -EEXIST);
	assert_int_equal(branch_drop(r.env, "/tl", "other", why), -ENOENT);
	assert_int_equal(branch_drop(r.env, "/tl", "../tl", why), -ENOENT);
	assert_int_equal(timeline_open(r.env, "/tl/branches/test", 0, NULL, &tl, why), 0);
	assert_int_equal(branch_create(r.env, "/tl/branches/test", "sub", tl, seq_pack(1, 1), why),
			 -EOPNOTSUPP);
	assert_int_equal(branch_drop(r.env, "/tl", "test", why), -EBUSY);
	assert_int_equal(branch_sweep(r.env, "/tl"), 0);
	timeline_close(tl);
	assert_int_equal(timeline_open(r.env, "/tl/branches/test", 0, NULL, &tl, why), 0);
	timeline_close(tl);
	rig_end(&r);
}

static void dropping_costs_the_same_however_large_and_leaves_nothing(void **state)
{
	struct branch_info *infos;
	struct env_file *file;
	char path[64];
	uint64_t ops[2];
	struct rig r;

	rig_begin(&r, 1);
	for (int many = 0; many < 2; many++) {
		assert_int_equal(create(&r, "test", 20), 0);
		for (int i = 1; i <= many * 100; i++) {
			snprintf(path, sizeof(path), "/tl/branches/test/%016x.seg", i);
			assert_int_equal(r.env->ops->open(r.env, path, ENV_WRITE | ENV_CREATE,
							  &file), 0);
			r.env->ops->close(r.env, file);
		}
		ops[many] = sim_env_ops(r.sim);
		assert_int_equal(branch_drop(r.env, "/tl", "test", why), 0);
		ops[many] = sim_env_ops(r.sim) - ops[many];
		assert_int_equal(list(&r, &infos), 0);
		free(infos);
		assert_int_equal(branch_drop(r.env, "/tl", "test", why), -ENOENT);
	}
	assert_int_equal(ops[0], ops[1]);
	/* The name is free, though files are still there. */
	assert_true(files(&r, "/tl/branches/test") > 100);
	assert_int_equal(create(&r, "test", 10), 0);
	assert_true(files(&r, "/tl/branches/test") <= 2);
	assert_int_equal(branch_drop(r.env, "/tl", "test", why), 0);
	assert_int_equal(branch_sweep(r.env, "/tl"), 0);
	assert_int_equal(files(&r, "/tl/branches"), 0);
	rig_end(&r);
}

/* A directory without its lock is only there while nobody can make a branch. */
static void a_directory_goes_when_no_branch_is_made(void **state)
{
	struct env_file *lock;
	struct rig r;

	rig_begin(&r, 1);
	assert_int_equal(create(&r, "test", 20), 0);
	assert_int_equal(branch_drop(r.env, "/tl", "test", why), 0);
	assert_int_equal(branches_lock(r.env, "/tl", &lock), 0);
	assert_int_equal(branch_sweep(r.env, "/tl"), 0);
	assert_int_equal(files(&r, "/tl/branches/test"), 1);
	r.env->ops->close(r.env, lock);
	assert_int_equal(branch_sweep(r.env, "/tl"), 0);
	assert_int_equal(files(&r, "/tl/branches"), 0);
	rig_end(&r);
}

/* Whoever removes points asks which ones are needed, and none comes in between. */
static void points_of_branches_are_known(void **state)
{
	struct env_file *lock;
	uint64_t *cuts;
	struct rig r;
	size_t nr;

	rig_begin(&r, 1);
	assert_int_equal(branches_cuts(r.env, "/tl", &cuts, &nr), 0);
	assert_int_equal(nr, 0);
	free(cuts);
	assert_int_equal(create(&r, "a", 20), 0);
	assert_int_equal(branches_lock(r.env, "/tl", &lock), 0);
	assert_int_equal(create(&r, "b", 10), -EBUSY);
	r.env->ops->close(r.env, lock);
	assert_int_equal(create(&r, "b", 10), 0);
	assert_int_equal(branches_cuts(r.env, "/tl", &cuts, &nr), 0);
	assert_int_equal(nr, 2);
	assert_int_equal(cuts[0], seq_pack(1, 10));
	assert_int_equal(cuts[1], seq_pack(1, 20));
	free(cuts);
	/* What a damaged one needs nobody knows. */
	sim_env_flip(r.sim, "/tl/branches/a/manifest", 40, 1);
	assert_int_equal(branches_cuts(r.env, "/tl", &cuts, &nr), -EBADMSG);
	assert_int_equal(branch_drop(r.env, "/tl", "a", why), 0);
	assert_int_equal(branches_cuts(r.env, "/tl", &cuts, &nr), 0);
	assert_int_equal(nr, 1);
	free(cuts);
	rig_end(&r);
}

/* Its segments are all there is of somebody's work. */
static void segments_without_a_manifest_are_kept(void **state)
{
	struct branch_info *infos;
	struct env_file *file;
	struct rig r;

	rig_begin(&r, 1);
	assert_int_equal(create(&r, "test", 10), 0);
	assert_int_equal(r.env->ops->open(r.env, "/tl/branches/test/0000000000000001.seg",
					  ENV_WRITE | ENV_CREATE, &file), 0);
	r.env->ops->close(r.env, file);
	assert_int_equal(r.env->ops->unlink(r.env, "/tl/branches/test/manifest"), 0);
	assert_int_equal(branch_sweep(r.env, "/tl"), 0);
	assert_int_equal(create(&r, "test", 10), -EUCLEAN);
	assert_int_equal(list(&r, &infos), 1);
	assert_int_equal(infos[0].error, -ENOENT);
	free(infos);
	assert_true(files(&r, "/tl/branches/test") >= 1);
	rig_end(&r);
}

/* Power goes at every operation of making and of dropping. */
static void a_crash_leaves_a_whole_branch_or_none(void **state)
{
	for (uint64_t seed = 1; seed <= 40; seed++)
		for (uint64_t after = 0;; after++) {
			struct branch_info *infos;
			struct timeline *tl;
			bool made, done;
			struct rig r;
			size_t nr;

			rig_begin(&r, seed);
			sim_env_power_off_after(r.sim, after);
			made = create(&r, "test", 10) == 0;
			done = made && branch_drop(r.env, "/tl", "test", why) == 0 &&
			       branch_sweep(r.env, "/tl") == 0;
			timeline_close(r.tl);
			sim_env_crash(r.sim, seed * 1000 + after);
			nr = list(&r, &infos);
			assert_true(nr == 0 || infos[0].error == 0);
			assert_true(!done || nr == 0);
			free(infos);
			if (nr) {
				assert_int_equal(timeline_open(r.env, "/tl/branches/test", 0, NULL,
							       &tl, why), 0);
				timeline_close(tl);
				assert_int_equal(branch_drop(r.env, "/tl", "test", why), 0);
			}
			assert_int_equal(branch_sweep(r.env, "/tl"), 0);
			assert_int_equal(files(&r, "/tl/branches"), 0);
			/* And it can be had again. */
			assert_int_equal(timeline_open(r.env, "/tl", 0, NULL, &r.tl, why), 0);
			assert_int_equal(create(&r, "test", 20), 0);
			rig_end(&r);
			if (done)
				break;
		}
}

/* A branch that was made is there after a crash, unless it was dropped. */
static void what_was_made_stays(void **state)
{
	for (uint64_t seed = 1; seed <= 100; seed++) {
		struct branch_info *infos;
		struct rig r;

		rig_begin(&r, seed);
		assert_int_equal(create(&r, "test", 10), 0);
		timeline_close(r.tl);
		sim_env_crash(r.sim, seed);
		assert_int_equal(list(&r, &infos), 1);
		assert_int_equal(infos[0].error, 0);
		free(infos);
		assert_int_equal(branch_drop(r.env, "/tl", "test", why), 0);
		sim_env_crash(r.sim, seed);
		assert_int_equal(list(&r, &infos), 0);
		free(infos);
		sim_env_destroy(r.sim);
	}
}

static void the_document_says_what_the_code_has(void **state)
{
	static const struct doc_field fields[] = {
		DOC_FIELD(manifest_parent, timeline), DOC_FIELD(manifest_parent, cut_seq),
		DOC_FIELD(manifest_parent, time_ns),
		DOC_FIELD(manifest_line, epoch), DOC_FIELD(manifest_line, reserved),
		DOC_FIELD(manifest_line, timeline), DOC_FIELD(manifest_line, cut_seq),
		DOC_FIELD(manifest_line, time_ns), DOC_FIELD(manifest_line, made_ns),
		DOC_FIELD(manifest_line, branch_cut_seq), DOC_FIELD(manifest_line, name),
	};

	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_branch_knows_its_point_and_its_volumes),
		cmocka_unit_test(a_branch_needs_the_keys_of_its_parent),
		cmocka_unit_test(what_cannot_be_a_branch_is_refused),
		cmocka_unit_test(dropping_costs_the_same_however_large_and_leaves_nothing),
		cmocka_unit_test(a_directory_goes_when_no_branch_is_made),
		cmocka_unit_test(points_of_branches_are_known),
		cmocka_unit_test(segments_without_a_manifest_are_kept),
		cmocka_unit_test(a_crash_leaves_a_whole_branch_or_none),
		cmocka_unit_test(what_was_made_stays),
		cmocka_unit_test(the_document_says_what_the_code_has),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
