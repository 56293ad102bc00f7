// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../host/sim_env.h"

#define CALL(env, op, ...) ((env)->ops->op((env), ##__VA_ARGS__))

static struct env_file *make(struct env *env, const char *path, unsigned int flags)
{
	struct env_file *file;

	assert_int_equal(CALL(env, open, path, ENV_WRITE | ENV_CREATE | flags, &file), 0);
	return file;
}

static void only_what_was_synced_must_survive(void **state)
{
	struct sim_env *sim = sim_env_create(1);
	int old = 0, new = 0, gone = 0, torn = 0;

	for (int seed = 0; seed < 400; seed++) {
		struct env *env = sim_env_env(sim);
		uint8_t buf[2048], got[2048];
		struct env_file *file;
		uint64_t bytes;

		sim_env_reset(sim, seed);
		assert_int_equal(CALL(env, mkdir, "/d"), 0);
		assert_int_equal(CALL(env, sync_dir, ""), 0);
		file = make(env, "/d/a", 0);
		memset(buf, 'o', sizeof(buf));
		assert_int_equal(CALL(env, write, file, buf, sizeof(buf), 0), 0);
		assert_int_equal(CALL(env, datasync, file), 0);
		if (seed % 2)
			assert_int_equal(CALL(env, sync_dir, "/d"), 0);
		memset(buf, 'n', sizeof(buf));
		assert_int_equal(CALL(env, write, file, buf, sizeof(buf), 0), 0);
		assert_int_equal(CALL(env, read, file, got, sizeof(got), 0), sizeof(got));
		assert_memory_equal(got, buf, sizeof(got));
		sim_env_crash(sim, seed);
		assert_int_equal(CALL(env, read, file, got, sizeof(got), 0), -EIO);
		CALL(env, close, file);
		if (CALL(env, open, "/d/a", ENV_READ, &file)) {
			assert_int_equal(seed % 2, 0);
			gone++;
			continue;
		}
		assert_int_equal(CALL(env, size, file, &bytes), 0);
		assert_int_equal(bytes, sizeof(buf));
		assert_int_equal(CALL(env, read, file, got, sizeof(got), 0), sizeof(got));
		for (int s = 0; s < 4; s++)
			for (int i = 1; i < 512; i++)
				assert_int_equal(got[s * 512], got[s * 512 + i]);
		if (memchr(got, 'o', sizeof(got)) && memchr(got, 'n', sizeof(got)))
			torn++;
		else if (got[0] == 'o')
			old++;
		else
			new++;
		CALL(env, close, file);
	}
	assert_true(old > 20 && new > 20 && gone > 20 && torn > 20);
	sim_env_destroy(sim);
}

struct result {
	int64_t value;
	int calls;
};

static void io_done(struct env_io *io, int64_t result)
{
	struct result *r = io->arg;

	r->value = result;
	r->calls++;
}

static void a_sync_covers_what_completed_before_it_was_asked_for(void **state)
{
	static uint8_t buf[3][4096] __attribute__((aligned(4096)));
	struct sim_env *sim = sim_env_create(1);
	struct env *env = sim_env_env(sim);
	int lost = 0;

	for (int i = 0; i < 3; i++)
		memset(buf[i], 'a' + i, 4096);
	for (int seed = 0; seed < 100; seed++) {
		struct env_io io[3];
		struct result results[3] = { 0 };
		const uint8_t *got;
		uint64_t bytes;

		sim_env_reset(sim, seed);
		struct env_file *file = make(env, "/a", ENV_DIRECT);

		assert_int_equal(CALL(env, sync_dir, ""), 0);
		for (int i = 0; i < 3; i++)
			io[i] = (struct env_io){ ENV_IO_WRITE, file, buf[i], 4096, i * 4096,
						 io_done, &results[i], { 0 } };
		io[1].op = ENV_IO_DATASYNC;
		CALL(env, submit, &io[0]);
		sim_env_complete(sim, 0);
		CALL(env, submit, &io[1]);
		CALL(env, submit, &io[2]);
		assert_int_equal(sim_env_pending(sim), 2);
		sim_env_complete(sim, 1);
		sim_env_complete(sim, 0);
		assert_int_equal(results[0].value, 4096);
		assert_int_equal(results[1].value, 0);
		assert_int_equal(results[2].calls, 1);
		sim_env_crash(sim, seed);
		CALL(env, close, file);
		got = sim_env_content(sim, "/a", &bytes);
		assert_true(bytes >= 4096);
		assert_memory_equal(got, buf[0], 4096);
		lost += bytes < 12288 || memcmp(got + 8192, buf[2], 4096);
	}
	assert_true(lost > 10 && lost < 90);
	sim_env_destroy(sim);
}

static void a_failed_sync_loses_data_that_only_a_direct_read_misses(void **state)
{
	static uint8_t buf[65536], got[65536] __attribute__((aligned(4096)));
	struct sim_env *sim = sim_env_create(7);
	struct env *env = sim_env_env(sim);
	struct env_file *file = make(env, "/a", 0), *direct;
	uint64_t bytes;

	memset(buf, 'x', sizeof(buf));
	assert_int_equal(CALL(env, sync_dir, ""), 0);
	assert_int_equal(CALL(env, write, file, buf, sizeof(buf), 0), 0);
	sim_env_fail(sim, SIM_FAULT_SYNC, 1, -EIO, false);
	assert_int_equal(CALL(env, datasync, file), -EIO);
	assert_int_equal(CALL(env, datasync, file), 0);
	assert_int_equal(CALL(env, read, file, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, buf, sizeof(got));
	assert_int_equal(CALL(env, open, "/a", ENV_READ | ENV_DIRECT, &direct), 0);
	assert_int_equal(CALL(env, read, direct, got, sizeof(got), 0), sizeof(got));
	assert_memory_not_equal(got, buf, sizeof(got));
	sim_env_crash(sim, 3);
	assert_memory_not_equal(sim_env_content(sim, "/a", &bytes), buf, sizeof(buf));
	sim_env_destroy(sim);
}

static void limits_faults_and_locks(void **state)
{
	struct sim_env *sim = sim_env_create(7);
	struct env *env = sim_env_env(sim);
	struct env_file *a = make(env, "/a", 0), *b;
	char buf[1000] = "";

	assert_int_equal(CALL(env, open, "/x/y", ENV_WRITE | ENV_CREATE, &b), -ENOENT);
	assert_int_equal(CALL(env, open, "/a", ENV_WRITE | ENV_CREATE, &b), -EEXIST);
	sim_env_set_limit(sim, 1500);
	assert_int_equal(CALL(env, write, a, buf, 1000, 0), 0);
	assert_int_equal(CALL(env, write, a, buf, 1000, 1000), -ENOSPC);
	assert_int_equal(CALL(env, write, a, buf, 1000, 500), 0);
	assert_int_equal(CALL(env, truncate, a, 100), 0);
	assert_int_equal(CALL(env, write, a, buf, 1000, 400), 0);
	assert_int_equal(sim_env_used(sim), 1400);
	sim_env_fail(sim, SIM_FAULT_WRITE, 2, -EIO, false);
	assert_int_equal(CALL(env, write, a, buf, 10, 0), 0);
	assert_int_equal(CALL(env, write, a, buf, 10, 0), -EIO);
	assert_int_equal(CALL(env, write, a, buf, 10, 0), 0);
	assert_int_equal(CALL(env, lock, a), 0);
	assert_int_equal(CALL(env, open, "/a", ENV_WRITE, &b), 0);
	assert_int_equal(CALL(env, lock, b), -EBUSY);
	CALL(env, close, a);
	assert_int_equal(CALL(env, lock, b), 0);
	sim_env_power_off_after(sim, 1);
	assert_int_equal(CALL(env, write, b, buf, 10, 0), 0);
	assert_int_equal(CALL(env, write, b, buf, 10, 0), -EIO);
	assert_true(sim_env_is_off(sim));
	sim_env_crash(sim, 1);
	assert_false(sim_env_is_off(sim));
	sim_env_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_was_synced_must_survive),
		cmocka_unit_test(a_sync_covers_what_completed_before_it_was_asked_for),
		cmocka_unit_test(a_failed_sync_loses_data_that_only_a_direct_read_misses),
		cmocka_unit_test(limits_faults_and_locks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
