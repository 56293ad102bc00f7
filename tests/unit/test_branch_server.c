// SPDX-License-Identifier: GPL-2.0-only
/* A branch under many threads: nobody's bytes are lost, not even of a sector that two share. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/export/branch_server.h"
#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/lease.h"
#include "../host/test_group.h"

#define VOLUME_BYTES	(1u << 20)
#define THREADS		6
#define AREA_BYTES	150001u		/* of one thread; ends inside of a sector */
#define WRITES		6000
#define MAX_WRITE	9000u

struct rig {
	struct test_group group;
	uint8_t disk[VOLUME_BYTES];
	struct branch_server *server;
	const struct export_volume *volume;
	pthread_barrier_t begin;
	unsigned int nr_wrong;
};

struct writer {
	struct rig *rig;
	pthread_t thread;
	uint64_t random;
	uint8_t *area;		/* of the disk */
	uint64_t offset_bytes;
};

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct test_batch b;

	assert_int_equal(test_group_create(&r->group), 0);
	test_batch_begin(&b, 1, seq_pack(1, 10));
	for (uint64_t i = 0; i < 8; i++) {
		test_batch_extent(&b, 0, i * 100 * 512, 65536, EXTENT_DATA, i, 0, 0);
		test_fill(r->disk + i * 100 * 512, 65536, i);
	}
	assert_int_equal(test_group_append(&r->group, &b), 0);
	test_group_close(&r->group);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	int ret = test_group_remove(&r->group);

	free(r);
	return ret;
}

static void open_branch_server(struct rig *r, const char *name)
{
	char why[POINT_TEXT_BYTES];

	assert_int_equal(branch_server_open(r->group.store, "erp", name, "latest", NULL, false, 2,
					    &r->server, why), 0);
	assert_int_equal(branch_server_volumes(r->server, &r->volume), 1);
	assert_int_equal(branch_server_start(r->server), 0);
}

static void open_server(struct rig *r)
{
	open_branch_server(r, "test");
}

static unsigned int change(struct writer *w, uint64_t at, uint32_t bytes)
{
	struct rig *r = w->rig;

	if (unit_random(&w->random) % 4 == 0) {
		memset(w->area + at, 0, bytes);
		return branch_server_zero(r->server, r->volume, w->offset_bytes + at, bytes,
					  false) != 0;
	}
	for (uint32_t i = 0; i < bytes; i++)
		w->area[at + i] = unit_random(&w->random);
	return branch_server_write(r->server, r->volume, w->offset_bytes + at, w->area + at,
				   bytes) != 0;
}

static void *write_often(void *arg)
{
	static const struct export_fault none;
	struct writer *w = arg;
	struct rig *r = w->rig;
	uint8_t *buf = malloc(AREA_BYTES);
	struct export_fault fault = none;
	unsigned int nr_wrong = 0;

	pthread_barrier_wait(&r->begin);
	for (int i = 0; i < WRITES; i++) {
		/* Often at the ends, which the neighbours' sectors reach into. */
		uint32_t bytes = 1 + unit_random(&w->random) % (i % 30 ? 40 : MAX_WRITE);
		uint64_t at = i % 30 == 0 ? unit_random(&w->random) % (AREA_BYTES - bytes) :
			      i % 2 ? 0 : AREA_BYTES - bytes;

		nr_wrong += change(w, at, bytes);
		if (i % 500 == 0)
			nr_wrong += branch_server_flush(r->server) != 0;
		if (i % 200 == 0)
			nr_wrong += branch_server_read(r->server, r->volume, w->offset_bytes, buf,
						       AREA_BYTES, &fault) ||
				    memcmp(buf, w->area, AREA_BYTES);
	}
	free(buf);
	__atomic_fetch_add(&r->nr_wrong, nr_wrong, __ATOMIC_RELAXED);
	return NULL;
}

static void expect_disk(struct rig *r)
{
	uint8_t *buf = malloc(VOLUME_BYTES);
	struct export_fault fault;

	assert_int_equal(branch_server_read(r->server, r->volume, 0, buf, VOLUME_BYTES, &fault), 0);
	assert_memory_equal(buf, r->disk, VOLUME_BYTES);
	free(buf);
}

static void many_threads_write_and_lose_nothing(void **state)
{
	struct writer writers[THREADS];
	struct rig *r = *state;

	open_server(r);
	expect_disk(r);
	pthread_barrier_init(&r->begin, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		writers[i] = (struct writer){ r, 0, i + 1, r->disk + i * AREA_BYTES,
					      i * AREA_BYTES };
		assert_int_equal(pthread_create(&writers[i].thread, NULL, write_often,
						&writers[i]), 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_barrier_destroy(&r->begin);
	assert_int_equal(r->nr_wrong, 0);
	expect_disk(r);
	/* What nobody flushed is durable when it ends in order. */
	assert_int_equal(branch_server_close(r->server), 0);
	open_server(r);
	expect_disk(r);
	assert_int_equal(branch_server_close(r->server), 0);
}

/* Without any flush a batch is closed and made durable in time. */
static void what_is_written_becomes_a_point_by_itself(void **state)
{
	struct rig *r = *state;
	char path[128], why[TIMELINE_TEXT_BYTES];
	const struct timeline_commit *commits;
	struct timeline *tl;
	struct env *env;
	size_t before = 0, nr = 0;

	snprintf(path, sizeof(path), "%s/groups/erp/branches/test", r->group.store);
	assert_int_equal(env_posix_create(NULL, &env), 0);
	open_server(r);
	for (int tries = 0; tries < 100 && nr <= before; tries++) {
		if (tries)
			usleep(100000);
		assert_int_equal(timeline_open(env, path, TIMELINE_READ_ONLY, NULL, &tl, why), 0);
		nr = timeline_commits(tl, &commits);
		timeline_close(tl);
		if (tries)
			continue;
		before = nr;
		assert_int_equal(branch_server_write(r->server, r->volume, 0, "x", 1), 0);
	}
	assert_int_equal(nr, before + 1);
	assert_int_equal(branch_server_close(r->server), 0);
	env_posix_destroy(env);
}

/* A newer point, with sectors that the source could not read back. */
static void spoil_group(struct rig *r)
{
	struct test_batch b;

	assert_int_equal(test_group_open(&r->group), 0);
	test_batch_begin(&b, 2, seq_pack(1, 20));
	b.flags = COMMIT_DEGRADED;
	test_batch_extent(&b, 0, 0, 4096, EXTENT_UNREADABLE, 0, seq_pack(1, 15), 1);
	b.holds[0] = (struct commit_hold){ 1, seq_pack(1, 15), seq_pack(1, 20) };
	b.nr_holds = 1;
	assert_int_equal(test_group_append(&r->group, &b), 0);
	test_group_close(&r->group);
}

static bool newest_degraded(struct rig *r, const char *group)
{
	struct point_list list;
	char why[POINT_TEXT_BYTES];
	bool degraded;

	assert_int_equal(point_list_open(r->group.store, group, &list, why), 0);
	assert_true(list.nr > 0);
	degraded = list.points[list.nr - 1].degraded;
	point_list_close(&list);
	return degraded;
}

/* What is written beside the sectors does not make them readable. */
static void points_are_degraded_if_the_parents_is(void **state)
{
	struct rig *r = *state;

	open_server(r);
	assert_int_equal(branch_server_write(r->server, r->volume, 65536, "x", 1), 0);
	assert_int_equal(branch_server_close(r->server), 0);
	assert_false(newest_degraded(r, "erp/test"));
	spoil_group(r);
	assert_true(newest_degraded(r, "erp"));
	open_branch_server(r, "bad");
	assert_int_equal(branch_server_write(r->server, r->volume, 65536, "x", 1), 0);
	assert_int_equal(branch_server_close(r->server), 0);
	assert_true(newest_degraded(r, "erp/bad"));
	/* The other one began before that. */
	open_server(r);
	assert_int_equal(branch_server_write(r->server, r->volume, 65536, "y", 1), 0);
	assert_int_equal(branch_server_close(r->server), 0);
	assert_false(newest_degraded(r, "erp/test"));
}

/* All its points stay. erp/test below the groups is not where it lies. */
static void who_reads_a_branch_makes_no_lease(void **state)
{
	struct rig *r = *state;
	char why[POINT_TEXT_BYTES], wrong[96], right[96];
	struct lease_info *infos;
	struct export *ex;
	struct env *env;
	size_t nr;

	open_server(r);
	assert_int_equal(branch_server_write(r->server, r->volume, 0, "x", 1), 0);
	assert_int_equal(branch_server_close(r->server), 0);
	snprintf(wrong, sizeof(wrong), "%s/test", r->group.dir);
	assert_int_equal(mkdir(wrong, 0700), 0);
	assert_int_equal(export_open(r->group.store, "erp/test@latest", NULL, false, 1, &ex, why), 0);
	assert_int_equal(export_hold(ex, why), 0);
	assert_string_equal(why, "");
	assert_int_equal(rmdir(wrong), 0);
	assert_int_equal(env_posix_create(NULL, &env), 0);
	assert_int_equal(branch_path(right, sizeof(right), r->group.dir, "test"), 0);
	assert_int_equal(leases_list(env, right, &infos, &nr), 0);
	assert_int_equal(nr, 0);
	free(infos);
	env_posix_destroy(env);
	export_close(ex);
}

/* Of a group in clear, when its target is to encrypt from now on. */
static void nothing_is_written_in_clear_for_want_of_a_key(void **state)
{
	struct rig *r = *state;
	char path[96], why[POINT_TEXT_BYTES];
	FILE *f;

	snprintf(path, sizeof(path), "%s/targetd.conf", r->group.store);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "[target]\nkey_file = %s/none\n", r->group.store);
	fclose(f);
	assert_int_equal(branch_server_open(r->group.store, "erp", "test", "latest", NULL, false, 2,
					    &r->server, why), -ENOKEY);
	assert_non_null(strstr(why, "it would be written in clear: key file"));
	assert_int_equal(unlink(path), 0);
	open_server(r);
	assert_int_equal(branch_server_close(r->server), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(many_threads_write_and_lose_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_written_becomes_a_point_by_itself, setup,
						teardown),
		cmocka_unit_test_setup_teardown(points_are_degraded_if_the_parents_is, setup,
						teardown),
		cmocka_unit_test_setup_teardown(who_reads_a_branch_makes_no_lease, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_written_in_clear_for_want_of_a_key, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
