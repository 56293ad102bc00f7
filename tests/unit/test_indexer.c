// SPDX-License-Identifier: GPL-2.0-only
/* The worker beside a real loop and real files: it makes the index, and it can be ended. */
#include "unit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/store/index.h"
#include "../../userspace/target/indexer.h"
#include "../host/history.h"

#define PATIENCE_NS 20000000000ull

struct rig {
	char dir[64];
	struct loop *loop;
	struct env *env;
	struct groups *groups;
	struct group *group;
	struct history h;
};

static void ignore(void *arg, struct group *g, void *live)
{
}

static void remove_all(const char *dir)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	char path[400];

	while (d && (e = readdir(d))) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && unlink(path))
			remove_all(path);
	}
	if (d)
		closedir(d);
	rmdir(dir);
}

static int setup(void **state)
{
	struct groups_params params = { .progress = ignore };
	struct rig *r = calloc(1, sizeof(*r));
	char why[GROUP_TEXT_BYTES];

	strcpy(r->dir, "/tmp/test_indexer.XXXXXX");
	if (!mkdtemp(r->dir) || loop_create(16, &r->loop) || env_posix_create(r->loop, &r->env))
		return -1;
	params.env = r->env;
	params.dir = r->dir;
	if (groups_create(&params, &r->groups) ||
	    groups_get(r->groups, "erp", "web1", &r->group, why))
		return -1;
	timeline_set_limits(group_timeline(r->group), 8192, 4096);
	history_init(&r->h, 128);
	history_reset(&r->h, 1);
	*state = r;
	return history_greet(&r->h, group_timeline(r->group));
}

static int teardown(void **state)
{
	struct rig *r = *state;

	while (!groups_idle(r->groups))
		loop_turn(r->loop, UINT64_MAX);
	groups_destroy(r->groups);
	loop_destroy(r->loop);
	env_posix_destroy(r->env);
	history_fini(&r->h);
	remove_all(r->dir);
	free(r);
	return 0;
}

static void append(struct rig *r, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		struct test_batch b;

		history_batch(&r->h, &b);
		assert_int_equal(test_batch_append(&b, group_timeline(r->group)), 0);
		test_batch_free(&b);
		group_flush(r->group);
		while (!groups_idle(r->groups))
			loop_turn(r->loop, UINT64_MAX);
	}
}

static uint64_t waiting(struct rig *r, uint64_t *nr_runs)
{
	uint64_t nr;

	timeline_index_state(group_timeline(r->group), nr_runs, &nr);
	return nr;
}

static void it_keeps_up_and_points_stay_what_they_are(void **state)
{
	struct rig *r = *state;
	struct indexer *ix;
	uint64_t nr_runs, until;

	append(r, 40);
	assert_true(waiting(r, &nr_runs) > 8);
	assert_int_equal(nr_runs, 0);
	assert_int_equal(indexer_create(r->loop, r->groups, r->dir, 64 << 20, &ix), 0);
	append(r, 20);
	for (until = loop_now_ns() + PATIENCE_NS;
	     (waiting(r, &nr_runs) || nr_runs > 9) && loop_now_ns() < until;)
		loop_turn(r->loop, 100000000);
	assert_int_equal(waiting(r, &nr_runs), 0);
	assert_in_range(nr_runs, 1, 9);
	for (size_t i = 0; i < r->h.nr_batches; i += 7)
		if (!history_point(&r->h, group_timeline(r->group), i))
			fail_msg("%s", r->h.why);
	indexer_destroy(ix);
}

static void it_ends_in_the_middle_of_anything(void **state)
{
	struct rig *r = *state;
	uint64_t nr_runs, before = 0;

	append(r, 60);
	for (int i = 0; i < 12; i++) {
		uint64_t until = loop_now_ns() + i * 2000000;
		struct indexer *ix;

		assert_int_equal(indexer_create(r->loop, r->groups, r->dir, 64 << 20, &ix), 0);
		while (loop_now_ns() < until)
			loop_turn(r->loop, 100000);
		indexer_destroy(ix);
		waiting(r, &nr_runs);
		before = nr_runs > before ? nr_runs : before;
		if (!history_point(&r->h, group_timeline(r->group), i * 4))
			fail_msg("%s", r->h.why);
	}
	assert_true(before > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_keeps_up_and_points_stay_what_they_are, setup,
						teardown),
		cmocka_unit_test_setup_teardown(it_ends_in_the_middle_of_anything, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
