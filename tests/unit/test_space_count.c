// SPDX-License-Identifier: GPL-2.0-only
/* What the groups of a store take, with their branches. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>

#include "../../userspace/target/space_count.h"
#include "../host/sim_env.h"

static bool never(void *arg)
{
	return false;
}

static bool third_time(void *arg)
{
	return ++*(unsigned int *)arg == 3;
}

static void make_dirs(struct env *env, const char *const *paths)
{
	for (; *paths; paths++)
		assert_int_equal(env->ops->mkdir(env, *paths), 0);
}

static void make_file(struct env *env, const char *path, uint64_t bytes)
{
	struct env_file *file;

	assert_int_equal(env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &file), 0);
	assert_int_equal(env->ops->truncate(env, file, bytes), 0);
	env->ops->close(env, file);
}

static void groups_are_counted_with_their_branches(void **state)
{
	static const char *const dirs[] = {
		"/g", "/g/erp", "/g/erp/leases", "/g/erp/branches", "/g/erp/branches/dev", "/g/web", NULL
	};
	struct sim_env *sim = sim_env_create(1);
	struct env *env = sim_env_env(sim);
	const struct space_counted *c;
	struct space_count count;

	sim_env_set_limit(sim, 64 << 20);
	make_dirs(env, dirs);
	make_file(env, "/g/erp/0000000000000001.seg", 5000);
	make_file(env, "/g/erp/0000000000000002.pack.new", 300);
	make_file(env, "/g/erp/0000000000000001.run", 70);
	make_file(env, "/g/erp/manifest", 8);
	make_file(env, "/g/erp/lock", 1000000);
	make_file(env, "/g/erp/leases/0000000000000001.0000000000000002", 1000000);
	make_file(env, "/g/erp/branches/lock", 1000000);
	make_file(env, "/g/erp/branches/dev/0000000000000001.seg", 20000);
	make_file(env, "/g/erp/branches/dev/manifest", 90);
	make_file(env, "/g/web/0000000000000001.pack", 6);
	make_file(env, "/g/notes", 1000000);
	assert_int_equal(space_count_all(env, "/g", never, NULL, &count), 0);
	c = space_count_find(&count, "erp");
	assert_int_equal(c->space.data_bytes, 5300);
	assert_int_equal(c->space.index_bytes, 78);
	assert_int_equal(c->branch_bytes, 20090);
	assert_int_equal(space_counted_bytes(c), 25468);
	assert_int_equal(space_counted_bytes(space_count_find(&count, "web")), 6);
	assert_null(space_count_find(&count, "dev"));
	assert_true(count.has_free);
	assert_int_equal(count.free_bytes, (64 << 20) - sim_env_used(sim));
	/* What comes in is added, also of one that was not there. */
	space_count_get(&count, "erp")->came_bytes = 2;
	assert_int_equal(space_counted_bytes(space_count_find(&count, "erp")), 25470);
	assert_int_equal(space_counted_bytes(space_count_get(&count, "new")), 0);
	free(count.items);
	sim_env_destroy(sim);
}

static void it_ends_when_told(void **state)
{
	static const char *const dirs[] = { "/g", "/g/a", "/g/b", "/g/c", "/g/d", NULL };
	struct sim_env *sim = sim_env_create(1);
	struct env *env = sim_env_env(sim);
	struct space_count count;
	unsigned int asked = 0;

	make_dirs(env, dirs);
	assert_int_equal(space_count_all(env, "/g", third_time, &asked, &count), -ECANCELED);
	assert_int_equal(asked, 3);
	free(count.items);
	/* A store without groups has none. */
	assert_int_equal(space_count_all(env, "/none", never, NULL, &count), 0);
	assert_int_equal(count.nr, 0);
	free(count.items);
	sim_env_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_are_counted_with_their_branches),
		cmocka_unit_test(it_ends_when_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
