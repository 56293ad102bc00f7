// SPDX-License-Identifier: GPL-2.0-only
/* A branch becomes the main line: at once or not at all, and the old line stays what it was. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)
#define BRANCH	RIG_DIR "/" BRANCHES_DIR "/dr"
#define LATE	RIG_DIR "/" BRANCHES_DIR "/late"

static char why[TIMELINE_TEXT_BYTES];

static void create(struct rig *r, const char *name, uint64_t number)
{
	if (branch_create(r->env, RIG_DIR, name, r->tl, seq_pack(1, number), why))
		fail_msg("%s", why);
}

static void rig_init_branch(struct rig *r, const char *policy, unsigned int nr, uint64_t number)
{
	rig_init_numbered(r, policy, nr);
	create(r, "dr", number);
}

/* A heartbeat, if commits are taken. */
static int append(struct rig *r)
{
	struct timeline_state state;
	struct test_batch b;

	timeline_state(r->tl, &state);
	test_batch_begin(&b, state.ordinal + 1, state.cut_seq + 1);
	b.volumes[b.nr_volumes++].size_bytes = 1 << 20;
	test_batch_end(&b);
	return test_append(r->sim, r->tl, &b);
}

static void the_main_line_goes_on_in_the_branch(void **state)
{
	const struct timeline_line *line;
	struct timeline *branch, *reader;
	struct timeline_state ts;
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	assert_null(timeline_main_line(r.tl));
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EALREADY);
	assert_int_equal(append(&r), -EROFS);
	for (int life = 0; life < 2; life++) {
		line = timeline_main_line(r.tl);
		assert_non_null(line);
		assert_string_equal(line->name, "dr");
		assert_int_equal(line->cut_seq, seq_pack(1, 10));
		assert_int_equal(line->time_ns,
				 r.tl->points.commits[points_find(&r.tl->points,
								  seq_pack(1, 10))].time_ns);
		timeline_state(r.tl, &ts);
		assert_int_equal(ts.epoch, 1);
		rig_restart(&r);
	}
	assert_int_equal(append(&r), -EROFS);
	/* Readers see it, too, and the branch is served as ever. */
	reader = rig_reader(&r);
	assert_int_equal(timeline_open(r.env, BRANCH, 0, NULL, &branch, why), 0);
	assert_null(timeline_main_line(branch));
	assert_memory_equal(timeline_id(branch), timeline_main_line(reader)->timeline, 16);
	timeline_close(branch);
	timeline_close(reader);
	rig_fini(&r);
}

/* So that what it loses later is not taken for what was never written. */
static void the_record_says_how_far_the_branch_was(void **state)
{
	struct timeline *branch;
	struct test_batch b;
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	create(&r, "empty", 5);
	assert_int_equal(timeline_open(r.env, BRANCH, 0, NULL, &branch, why), 0);
	for (uint64_t n = 1; n <= 3; n++) {
		test_batch_begin(&b, n, seq_pack(1, n * 7));
		b.volumes[b.nr_volumes++].size_bytes = 1 << 20;
		test_batch_end(&b);
		assert_int_equal(test_append(r.sim, branch, &b), 0);
	}
	timeline_close(branch);
	/* As a rule it is not the one that was meant. */
	assert_int_equal(branch_promote(r.tl, "empty", false, why), -EPERM);
	assert_non_null(strstr(why, "branch empty: it has no points"));
	assert_null(timeline_main_line(r.tl));
	assert_int_equal(branch_promote(r.tl, "empty", true, why), 0);
	assert_int_equal(timeline_main_line(r.tl)->branch_cut_seq, 0);
	assert_int_equal(branch_promote(r.tl, "empty", false, why), -EALREADY);
	assert_int_equal(branch_promote(r.tl, "dr", false, why), 0);
	rig_restart(&r);
	assert_int_equal(timeline_main_line(r.tl)->branch_cut_seq, seq_pack(1, 21));
	rig_fini(&r);
}

static void the_main_line_cannot_be_dropped(void **state)
{
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	create(&r, "other", 5);
	create(&r, "third", 5);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "dr", why), -EPERM);
	/* Nor what it was for a time: it is history. */
	assert_int_equal(branch_promote(r.tl, "other", true, why), 0);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "dr", why), -EPERM);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "other", why), -EPERM);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "third", why), 0);
	/* And back again: each time an epoch. */
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	assert_int_equal(timeline_main_line(r.tl)->epoch, 3);
	/* Whether it is one nobody knows. */
	create(&r, "fourth", 5);
	rig_close(&r);
	assert_int_equal(sim_env_flip(r.sim, RIG_DIR "/manifest", 40, 1), 0);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "fourth", why), -EBADMSG);
	assert_int_equal(sim_env_flip(r.sim, RIG_DIR "/manifest", 40, 1), 0);
	rig_open(&r, 0);
	rig_fini(&r);
}

static void what_cannot_be_promoted_is_refused(void **state)
{
	struct timeline *tl;
	struct env_file *lock;
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	assert_int_equal(branch_promote(r.tl, "none", true, why), -ENOENT);
	assert_int_equal(branch_promote(r.tl, "../x", true, why), -ENOENT);
	tl = rig_reader(&r);
	assert_int_equal(branch_promote(tl, "dr", true, why), -EROFS);
	timeline_close(tl);
	assert_int_equal(timeline_open(r.env, BRANCH, 0, NULL, &tl, why), 0);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EBUSY);
	timeline_close(tl);
	assert_int_equal(branches_lock(r.env, RIG_DIR, &lock), 0);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EAGAIN);
	r.env->ops->close(r.env, lock);
	assert_int_equal(sim_env_flip(r.sim, BRANCH "/manifest", 40, 1), 0);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EBADMSG);
	assert_int_equal(sim_env_flip(r.sim, BRANCH "/manifest", 40, 1), 0);
	/* Nothing of all that has changed anything. */
	assert_null(timeline_main_line(r.tl));
	rig_commits(&r, 1, S);
	create(&r, "gone", 5);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "gone", why), 0);
	assert_int_equal(branch_promote(r.tl, "gone", true, why), -ENOENT);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	rig_fini(&r);
}

struct copy {
	uint8_t content[4096];
	uint64_t bytes;
};

static void copy_take(struct rig *r, const char *path, struct copy *c)
{
	const uint8_t *content = sim_env_content(r->sim, path, &c->bytes);

	assert_in_range(c->bytes, 1, sizeof(c->content));
	memcpy(c->content, content, c->bytes);
}

/* In the place of what is there, if anything is. */
static void copy_put(struct rig *r, const char *path, const struct copy *c)
{
	struct env_file *file;

	r->env->ops->unlink(r->env, path);
	assert_int_equal(r->env->ops->open(r->env, path, ENV_WRITE | ENV_CREATE, &file), 0);
	r->env->ops->close(r->env, file);
	assert_int_equal(sim_env_poke(r->sim, path, 0, c->content, c->bytes), 0);
}

/* Of another group of the same name, brought here with its directory. */
static void a_branch_of_another_history_is_refused(void **state)
{
	struct copy manifest;
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	copy_take(&r, BRANCH "/manifest", &manifest);
	rig_begin(&r, 2);
	rig_commits(&r, 20, S);
	create(&r, "dr", 10);
	copy_put(&r, BRANCH "/manifest", &manifest);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EUCLEAN);
	assert_null(timeline_main_line(r.tl));
	rig_fini(&r);
}

static void no_name(void *arg, const char *name)
{
	fail_msg("%s", name);
}

/* Its directory may be put back, and is what the manifest means. */
static void the_name_of_a_line_is_not_given_again(void **state)
{
	static const char *const files[] = { "/manifest", "/lock", "" };
	struct copy manifest;
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	create(&r, "late", 15);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	assert_int_equal(branch_promote(r.tl, "late", true, why), 0);
	copy_take(&r, BRANCH "/manifest", &manifest);
	assert_int_equal(branch_create(r.env, RIG_DIR, "dr", r.tl, seq_pack(1, 5), why), -EEXIST);
	assert_non_null(strstr(why, "there is one of this name"));
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		char path[64];

		snprintf(path, sizeof(path), BRANCH "%s", files[i]);
		r.env->ops->unlink(r.env, path);
	}
	assert_int_equal(r.env->ops->list(r.env, BRANCH, no_name, NULL), -ENOENT);
	assert_int_equal(branch_create(r.env, RIG_DIR, "dr", r.tl, seq_pack(1, 5), why), -EEXIST);
	assert_non_null(strstr(why, "put it back from a copy"));
	/* Nothing is in the way of what is put back. */
	assert_int_equal(r.env->ops->list(r.env, BRANCH, no_name, NULL), -ENOENT);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -ENOENT);
	create(&r, "free", 5);
	assert_int_equal(r.env->ops->mkdir(r.env, BRANCH), 0);
	copy_put(&r, BRANCH "/manifest", &manifest);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	rig_fini(&r);
}

/* As when somebody had made it anew. */
static void another_one_of_its_name_is_not_the_main_line(void **state)
{
	struct branch_info *infos;
	struct copy first, other;
	struct rig r;
	size_t nr;

	rig_init_branch(&r, NULL, 20, 10);
	create(&r, "late", 10);
	copy_take(&r, BRANCH "/manifest", &first);
	copy_take(&r, LATE "/manifest", &other);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	copy_put(&r, BRANCH "/manifest", &other);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EUCLEAN);
	assert_int_equal(branch_list(r.env, RIG_DIR, &infos, &nr), 0);
	assert_int_equal(nr, 2);
	assert_string_equal(infos[0].name, "dr");
	assert_memory_equal(infos[0].timeline, infos[1].timeline, 16);
	assert_memory_not_equal(infos[0].timeline, timeline_main_line(r.tl)->timeline, 16);
	free(infos);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "dr", why), 0);
	copy_put(&r, BRANCH "/manifest", &first);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -EALREADY);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "dr", why), -EPERM);
	rig_fini(&r);
}

/* Its directory was renamed, and another one is, or is not, in its place. */
static void the_main_line_is_not_dropped_by_another_name(void **state)
{
	struct copy line;
	struct rig r;

	rig_init_branch(&r, NULL, 20, 10);
	create(&r, "late", 10);
	create(&r, "third", 10);
	copy_take(&r, BRANCH "/manifest", &line);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	copy_put(&r, LATE "/manifest", &line);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "late", why), -EPERM);
	assert_non_null(strstr(why, "it is the group's main line"));
	assert_int_equal(r.env->ops->unlink(r.env, BRANCH "/manifest"), 0);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "late", why), -EPERM);
	assert_int_equal(branch_promote(r.tl, "third", true, why), 0);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "late", why), -EPERM);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "dr", why), -ENOENT);
	/* What cannot be read may be it. */
	assert_int_equal(sim_env_flip(r.sim, LATE "/manifest", 40, 1), 0);
	assert_int_equal(branch_drop(r.env, RIG_DIR, "late", why), -EBADMSG);
	rig_fini(&r);
}

/* Power goes at every operation of promoting: the old main line or the new one. */
static void a_crash_leaves_one_of_the_two(void **state)
{
	struct rig r;
	bool done = false, was_new = false, was_old = false;

	rig_init_numbered(&r, NULL, 0);
	for (uint64_t seed = 1; seed <= 40; seed++, done = false)
		for (uint64_t after = 0; !done; after++) {
			const struct timeline_line *line;

			rig_begin(&r, seed);
			rig_commits(&r, 12, S);
			create(&r, "dr", 10);
			sim_env_power_off_after(r.sim, after);
			done = branch_promote(r.tl, "dr", true, why) == 0;
			rig_close(&r);
			sim_env_crash(r.sim, seed * 1000 + after);
			rig_open(&r, 0);
			line = timeline_main_line(r.tl);
			assert_true(line || !done);
			was_new |= line && !done;
			was_old |= !line;
			assert_int_equal(branch_promote(r.tl, "dr", true, why), line ? -EALREADY : 0);
			assert_int_equal(branch_drop(r.env, RIG_DIR, "dr", why), -EPERM);
			assert_true(rig_has(&r, 12));
		}
	assert_true(was_new && was_old);
	rig_fini(&r);
}

/* Writing or syncing fails, and nobody crashes: what was said is so. */
static void a_disk_that_fails_leaves_the_old_main_line(void **state)
{
	unsigned int nr_failed = 0;
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	for (int what = SIM_FAULT_WRITE; what <= SIM_FAULT_SYNC; what++)
		for (uint64_t nth = 1; nth < 8; nth++) {
			struct timeline *reader;
			int ret;

			rig_begin(&r, nth);
			rig_commits(&r, 12, S);
			create(&r, "dr", 10);
			sim_env_fail(r.sim, what, nth, -EIO, false);
			ret = branch_promote(r.tl, "dr", true, why);
			sim_env_fail(r.sim, what, 0, 0, false);
			reader = rig_reader(&r);
			assert_int_equal(timeline_main_line(reader) != NULL, ret == 0);
			timeline_close(reader);
			if (ret)
				rig_commits(&r, 1, S);
			nr_failed += ret != 0;
		}
	assert_in_range(nr_failed, 3, 10);
	rig_fini(&r);
}

/* Where it is not known which one it is nothing is taken that might be lost. */
static void while_it_is_not_known_nothing_is_taken(void **state)
{
	struct rig r;

	rig_init_branch(&r, NULL, 12, 10);
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 1, -EIO, true);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), -ENOTRECOVERABLE);
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 0, 0, false);
	assert_int_equal(append(&r), -EROFS);
	rig_fini(&r);
}

/* Points before it go, but for those that are held. */
static void the_policy_goes_up_to_the_cut_and_no_further(void **state)
{
	uint64_t id = 0;
	struct rig r;

	rig_init_branch(&r, "all:1m", 60, 30);
	rig_commits(&r, 60, S);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 7), TIMELINE_PIN_HOLD, "", 0, &id), 0);
	for (uint64_t n = 1; n <= 120; n++)
		assert_true(rig_has(&r, n));
	rig_pass(&r, 3, HOUR);
	for (uint64_t n = 1; n <= 120; n++)
		assert_int_equal(rig_has(&r, n), n >= 30 || n == 7);
	rig_fini(&r);
}

/* In whichever order they came, and while the branches' directories are not there. */
static void what_was_an_old_line_once_stays(void **state)
{
	static const char *const orders[][2] = { { "dr", "late" }, { "late", "dr" } };
	struct retention_past *past;
	struct points_retain retain;
	uint64_t *pinned;
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(orders); i++) {
		rig_begin(&r, i + 1);
		rig_retain(&r, "all:1m", 0);
		rig_commits(&r, 120, S);
		create(&r, "dr", 30);
		create(&r, "late", 60);
		for (int n = 0; n < 2; n++)
			assert_int_equal(branch_promote(r.tl, orders[i][n], true, why), 0);
		assert_int_equal(r.env->ops->unlink(r.env, BRANCH "/manifest"), 0);
		assert_int_equal(r.env->ops->unlink(r.env, LATE "/manifest"), 0);
		assert_int_equal(timeline_retain_get(r.tl, &retain, &past, &pinned), 0);
		assert_int_equal(retain.nr_pinned, 2);
		assert_int_equal(pinned[0], seq_pack(1, 30));
		assert_int_equal(pinned[1], seq_pack(1, 60));
		free(pinned);
		free(past);
		rig_pass(&r, 3, HOUR);
		for (uint64_t n = 1; n <= 120; n++)
			assert_int_equal(rig_has(&r, n), n >= 30);
	}
	rig_fini(&r);
}

/* It was planned before, and goes too far. */
static void a_points_file_that_was_under_way_is_not_named(void **state)
{
	struct index_job *job;
	uint64_t number;
	struct rig r;

	rig_init_branch(&r, "all:1m", 100, 60);
	rig_index(&r);
	number = r.tl->manifest.points.number;
	sim_env_advance(r.sim, HOUR);
	job = rig_points_job(&r);
	assert_int_equal(branch_promote(r.tl, "dr", true, why), 0);
	assert_int_equal(timeline_index_take(r.tl, job), -EAGAIN);
	assert_int_equal(r.tl->manifest.points.number, number);
	rig_pass(&r, 3, HOUR);
	assert_true(rig_has(&r, 60));
	assert_true(rig_has(&r, 61));
	assert_false(rig_has(&r, 59));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_main_line_goes_on_in_the_branch),
		cmocka_unit_test(the_record_says_how_far_the_branch_was),
		cmocka_unit_test(the_main_line_cannot_be_dropped),
		cmocka_unit_test(what_cannot_be_promoted_is_refused),
		cmocka_unit_test(a_branch_of_another_history_is_refused),
		cmocka_unit_test(the_name_of_a_line_is_not_given_again),
		cmocka_unit_test(another_one_of_its_name_is_not_the_main_line),
		cmocka_unit_test(the_main_line_is_not_dropped_by_another_name),
		cmocka_unit_test(a_crash_leaves_one_of_the_two),
		cmocka_unit_test(a_disk_that_fails_leaves_the_old_main_line),
		cmocka_unit_test(while_it_is_not_known_nothing_is_taken),
		cmocka_unit_test(the_policy_goes_up_to_the_cut_and_no_further),
		cmocka_unit_test(what_was_an_old_line_once_stays),
		cmocka_unit_test(a_points_file_that_was_under_way_is_not_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
