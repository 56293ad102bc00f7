// SPDX-License-Identifier: GPL-2.0-only
/* The export's pool of readers: many threads, one truth; and where a fault is. */
#include "unit.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/export/export.h"
#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/lease.h"
#include "../host/test_group.h"

#define VOLUME_BYTES	(1u << 20)
#define BATCHES		32
#define EXTENT_BYTES	16384u
#define THREADS		8
#define READS		400

struct rig {
	struct test_group group;
	uint8_t disk[VOLUME_BYTES];	/* at the last cut */
	struct export *ex;
	const struct export_volume *volume;
	unsigned int nr_wrong;
};

/* Every batch overwrites some of the one before; one never comes near the end. */
static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	uint64_t random = 1;

	assert_int_equal(test_group_create(&r->group), 0);
	timeline_set_limits(r->group.tl, 256 << 10, 0);
	for (uint64_t n = 1; n <= BATCHES; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n * 10));
		for (uint64_t i = 0; i < 4; i++) {
			uint64_t at = unit_random(&random) % (VOLUME_BYTES / 2 / 512) * 512;

			test_batch_extent(&b, 0, at, EXTENT_BYTES, EXTENT_DATA, n * 4 + i, 0, 0);
			test_fill(r->disk + at, EXTENT_BYTES, n * 4 + i);
		}
		assert_int_equal(test_group_append(&r->group, &b), 0);
	}
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

static void open_export(struct rig *r, const char *text, size_t readers)
{
	char why[POINT_TEXT_BYTES];

	assert_int_equal(export_open(r->group.store, text, NULL, false, readers, &r->ex, why), 0);
	assert_int_equal(export_volumes(r->ex, &r->volume), 1);
	assert_string_equal(r->volume->name, "data");
	assert_int_equal(r->volume->size_bytes, VOLUME_BYTES);
}

static void *read_often(void *arg)
{
	struct rig *r = arg;
	uint8_t *buf = malloc(VOLUME_BYTES);
	uint64_t random = (uintptr_t)buf;
	unsigned int nr_wrong = 0;

	for (int i = 0; i < READS; i++) {
		uint64_t at = unit_random(&random) % (VOLUME_BYTES / 512) * 512;
		uint64_t bytes = unit_random(&random) % 256 * 512;
		struct export_fault fault;

		if (bytes > VOLUME_BYTES - at)
			bytes = VOLUME_BYTES - at;
		if (export_read(r->ex, r->volume, at, buf, bytes, &fault) ||
		    memcmp(buf, r->disk + at, bytes) != 0)
			nr_wrong++;
	}
	free(buf);
	__atomic_fetch_add(&r->nr_wrong, nr_wrong, __ATOMIC_RELAXED);
	return NULL;
}

static void many_threads_read_what_was_written(void **state)
{
	static const size_t readers[] = { 1, 3, EXPORT_MAX_READERS };
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(readers); i++) {
		pthread_t threads[THREADS];

		open_export(r, "erp@latest", readers[i]);
		for (int t = 0; t < THREADS; t++)
			assert_int_equal(pthread_create(&threads[t], NULL, read_often, r), 0);
		for (int t = 0; t < THREADS; t++)
			pthread_join(threads[t], NULL);
		assert_int_equal(r->nr_wrong, 0);
		export_close(r->ex);
	}
}

struct walk {
	uint64_t end_bytes;
	int nr, stop_at;
};

static int walk_extent(void *arg, const struct view_extent *e)
{
	struct walk *w = arg;

	assert_int_equal(e->offset_bytes, w->end_bytes);
	w->end_bytes += e->length_bytes;
	return ++w->nr == w->stop_at;
}

static void extents_cover_the_range(void **state)
{
	struct rig *r = *state;
	struct walk all = { 4096, 0, 0 }, one = { 4096, 0, 1 };

	open_export(r, "erp@latest", 1);
	assert_int_equal(export_extents(r->ex, r->volume, 4096, VOLUME_BYTES - 4096, walk_extent,
					&all), 0);
	assert_int_equal(all.end_bytes, VOLUME_BYTES);
	assert_int_equal(export_extents(r->ex, r->volume, 4096, VOLUME_BYTES - 4096, walk_extent,
					&one), 0);
	assert_int_equal(one.nr, 1);
	export_close(r->ex);
}

/* A policy may be set while somebody reads. */
static void it_has_a_lease_also_without_a_policy(void **state)
{
	struct rig *r = *state;
	char why[POINT_TEXT_BYTES];
	struct lease_info *infos;
	struct env *env;
	size_t nr;

	assert_int_equal(env_posix_create(NULL, &env), 0);
	open_export(r, "erp@seq:1:20", 1);
	assert_int_equal(export_hold(r->ex, why), 0);
	assert_string_equal(why, "");
	assert_int_equal(leases_list(env, r->group.dir, &infos, &nr), 0);
	assert_int_equal(nr, 1);
	assert_int_equal(infos[0].cut_seq, seq_pack(1, 20));
	free(infos);
	export_close(r->ex);
	assert_int_equal(leases_list(env, r->group.dir, &infos, &nr), 0);
	assert_int_equal(nr, 0);
	free(infos);
	env_posix_destroy(env);
}

static void a_point_is_named_by_its_cut(void **state)
{
	struct rig *r = *state;
	const char *group;

	open_export(r, "erp@seq:1:20", 2);
	assert_int_equal(export_point(r->ex, &group)->seq, seq_pack(1, 20));
	assert_string_equal(group, "erp");
	export_close(r->ex);
}

/* The file is cut short under an open export: nothing wrong is handed out. */
static void a_fault_is_located(void **state)
{
	struct rig *r = *state;
	char path[128], real[PATH_MAX];
	uint8_t *buf = malloc(VOLUME_BYTES);
	struct export_fault fault;
	struct stat st;

	open_export(r, "erp@latest", 2);
	snprintf(path, sizeof(path), "%s/0000000000000005.seg", r->group.dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, 4096), 0);
	assert_int_equal(export_read(r->ex, r->volume, 0, buf, VOLUME_BYTES, &fault), -EBADMSG);
	assert_non_null(realpath(path, real));
	assert_string_equal(fault.segment, real);
	assert_true(fault.offset_bytes < VOLUME_BYTES / 2 + EXTENT_BYTES);
	if (fault.offset_bytes) {
		assert_int_equal(export_read(r->ex, r->volume, 0, buf, fault.offset_bytes, &fault), 0);
		assert_memory_equal(buf, r->disk, fault.offset_bytes);
	}
	assert_int_equal(unlink(path), 0);
	assert_int_equal(export_read(r->ex, r->volume, 0, buf, VOLUME_BYTES, &fault), -EBADMSG);
	assert_int_equal(export_read(r->ex, r->volume, VOLUME_BYTES - 4096, buf, 4096, &fault), 0);
	export_close(r->ex);
	free(buf);
}

static void what_is_not_there_is_refused(void **state)
{
	static const struct { const char *store, *text; int ret; const char *why; } cases[] = {
		{ NULL, "erp", -EINVAL, "not GROUP@WHEN" },
		{ NULL, "@latest", -EINVAL, "not GROUP@WHEN" },
		{ NULL, "erp@then", -EINVAL, "is not latest" },
		{ NULL, "web@latest", -ENOENT, "has none of this name" },
		{ NULL, "../groups/erp@latest", -ENOENT, "not a name" },
		{ NULL, "erp@seq:1:21", -ENOENT, "no point with" },
		{ "/nonexistent", "erp@latest", -ENOENT, "No such file" },
	};
	struct rig *r = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char why[POINT_TEXT_BYTES] = "";
		const char *store = cases[i].store ? cases[i].store : r->group.store;

		assert_int_equal(export_open(store, cases[i].text, NULL, false, 1, &r->ex, why), cases[i].ret);
		assert_non_null(strstr(why, cases[i].why));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_threads_read_what_was_written),
		cmocka_unit_test(extents_cover_the_range),
		cmocka_unit_test(it_has_a_lease_also_without_a_policy),
		cmocka_unit_test(a_point_is_named_by_its_cut),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(a_fault_is_located),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
