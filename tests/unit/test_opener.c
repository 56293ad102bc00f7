// SPDX-License-Identifier: GPL-2.0-only
/* Groups of a store that nobody ships to: opened one after the other, whatever one of them has. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/lib/loop.h"
#include "../../userspace/target/opener.h"
#include "../host/sim_env.h"

struct rig {
	struct sim_env *sim;
	struct loop *loop;
	struct groups *groups;
	struct opener *opener;
};

static void ignore(void *arg, struct group *g, void *live)
{
}

static void groups_anew(struct rig *r)
{
	const struct groups_params params = { .env = sim_env_env(r->sim), .dir = "/g",
					      .progress = ignore };

	groups_destroy(r->groups);
	assert_int_equal(groups_create(&params, &r->groups), 0);
}

/* Groups a, b and c of web1, and none of them open. */
static void rig_init(struct rig *r)
{
	char why[GROUP_TEXT_BYTES];
	struct group *g;

	*r = (struct rig){ .sim = sim_env_create(1) };
	assert_int_equal(loop_create(16, &r->loop), 0);
	sim_env_env(r->sim)->ops->mkdir(sim_env_env(r->sim), "/g");
	groups_anew(r);
	for (const char *name = "a\0b\0c\0"; *name; name += 2)
		assert_int_equal(groups_get(r->groups, name, "web1", &g, why), 0);
	groups_anew(r);
}

static void rig_fini(struct rig *r)
{
	opener_destroy(r->opener);
	groups_destroy(r->groups);
	loop_destroy(r->loop);
	sim_env_destroy(r->sim);
}

/* Until all were tried; returns after how many turns of the loop. */
static int open_all(struct rig *r, bool shared)
{
	int turns = 0;

	assert_int_equal(opener_create(r->loop, r->groups, shared, &r->opener), 0);
	for (; opener_waiting(r->opener); turns++)
		loop_turn(r->loop, UINT64_MAX);
	return turns;
}

static size_t nr_open(struct rig *r)
{
	struct group *g = NULL;
	size_t nr = 0;

	while ((g = groups_next(r->groups, g)))
		nr++;
	return nr;
}

static void write_file(struct rig *r, const char *path, const char *text)
{
	struct env *env = sim_env_env(r->sim);
	struct env_file *file;

	env->ops->unlink(env, path);
	assert_int_equal(env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &file), 0);
	assert_int_equal(env->ops->write(env, file, text, strlen(text), 0), 0);
	env->ops->close(env, file);
}

static void all_are_opened_without_a_source(void **state)
{
	char why[GROUP_TEXT_BYTES];
	struct group *g;
	struct rig r;

	rig_init(&r);
	/* Not in one turn: who connects meanwhile is not to wait for all of them. */
	assert_true(open_all(&r, false) >= 3);
	assert_int_equal(nr_open(&r), 3);
	/* They are what they were: their source gets its own, nobody else. */
	assert_int_equal(groups_get(r.groups, "b", "web1", &g, why), 0);
	assert_int_equal(groups_get(r.groups, "b", "web2", &g, why), -EACCES);
	assert_int_equal(nr_open(&r), 3);
	rig_fini(&r);
}

static void what_is_no_group_is_left_alone(void **state)
{
	struct env *env;
	json_t *failed;
	struct rig r;

	rig_init(&r);
	env = sim_env_env(r.sim);
	write_file(&r, "/g/notes", "of somebody");
	/* A crash when it was made; its source will make it. */
	assert_int_equal(env->ops->mkdir(env, "/g/begun"), 0);
	assert_int_equal(env->ops->mkdir(env, "/g/.odd"), 0);
	open_all(&r, false);
	assert_int_equal(nr_open(&r), 3);
	failed = opener_failed(r.opener);
	assert_int_equal(json_array_size(failed), 0);
	json_decref(failed);
	rig_fini(&r);
}

static void one_that_is_damaged_stops_no_other(void **state)
{
	json_t *failed;
	struct rig r;

	rig_init(&r);
	write_file(&r, "/g/b/manifest", "not one");
	sim_env_env(r.sim)->ops->unlink(sim_env_env(r.sim), "/g/c/manifest");
	write_file(&r, "/g/c/0000000000000001.seg", "what there was");
	open_all(&r, false);
	assert_int_equal(nr_open(&r), 1);
	failed = opener_failed(r.opener);
	assert_int_equal(json_array_size(failed), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(failed, 0), "group")),
			    "b");
	assert_non_null(strstr(json_string_value(json_object_get(json_array_get(failed, 1), "error")),
			       "no manifest"));
	json_decref(failed);
	rig_fini(&r);
}

/* On a cluster: a group is not taken from who has it, also when he ends. */
static void what_another_has_is_his(void **state)
{
	struct timeline *his;
	char why[TIMELINE_TEXT_BYTES];
	json_t *failed;
	struct rig r;

	rig_init(&r);
	assert_int_equal(timeline_open(sim_env_env(r.sim), "/g/b", 0, NULL, &his, why), 0);
	open_all(&r, true);
	assert_int_equal(nr_open(&r), 2);
	failed = opener_failed(r.opener);
	assert_int_equal(json_array_size(failed), 0);
	json_decref(failed);
	opener_destroy(r.opener);
	r.opener = NULL;
	groups_anew(&r);
	/* In a directory that is a command, and will be over. */
	open_all(&r, false);
	failed = opener_failed(r.opener);
	assert_int_equal(json_array_size(failed), 1);
	json_decref(failed);
	timeline_close(his);
	rig_fini(&r);
}

/* Damage is found by reading everything: the sources of other groups are not to wait for that often. */
static void who_takes_long_is_tried_seldom(void **state)
{
	const uint64_t s = 1000000000;

	assert_int_equal(opener_retry_ns(0), 60 * s);
	assert_int_equal(opener_retry_ns(s / 2), 60 * s);
	assert_int_equal(opener_retry_ns(30 * s), 3000 * s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_are_opened_without_a_source),
		cmocka_unit_test(what_is_no_group_is_left_alone),
		cmocka_unit_test(one_that_is_damaged_stops_no_other),
		cmocka_unit_test(what_another_has_is_his),
		cmocka_unit_test(who_takes_long_is_tried_seldom),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
