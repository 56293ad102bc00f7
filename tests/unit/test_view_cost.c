// SPDX-License-Identifier: GPL-2.0-only
/*
 * What reading a point costs, in reads of files and bytes of them: a whole copy, and then twice as
 * much again in pieces at random places.
 */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view.h"
#include "../host/rig.h"
#include "../host/test_steps.h"

#define PIECE_BYTES	16384
#define PIECES		512	/* of the volume */
#define BYTES		(PIECES * PIECE_BYTES)
#define COPY_BYTES	65536	/* a unit of the whole copy */
#define COPY_BATCHES	4	/* the copy */
#define BATCHES		36
#define PER_BATCH	32
#define LOOKS		2000
#define LOOK_BYTES	4096

static char why[TIMELINE_TEXT_BYTES];

static struct {
	uint64_t reads, bytes, manifests;
} cost;

static int64_t counted_read(struct env *env, struct env_file *file, void *buf, size_t bytes,
			    uint64_t offset_bytes)
{
	int64_t got = sim_ops.read(env, file, buf, bytes, offset_bytes);

	cost.reads++;
	cost.bytes += got > 0 ? got : 0;
	return got;
}

static uint64_t cut_of(uint64_t batch)
{
	return seq_pack(1, batch);
}

static void build(struct rig *r, uint8_t codec)
{
	uint64_t random = 7;

	rig_init(r, 1, BYTES / 512, 1 << 20);
	timeline_set_limits(r->tl, 1 << 20, 65536);
	for (uint64_t n = 1; n <= BATCHES; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, cut_of(n));
		b.codec = codec;
		for (uint64_t i = 0; i < PER_BATCH; i++) {
			bool copied = n <= COPY_BATCHES;
			uint64_t at = copied ? ((n - 1) * PER_BATCH + i) * COPY_BYTES :
				      unit_random(&random) % PIECES * PIECE_BYTES;

			test_batch_extent(&b, 0, at, copied ? COPY_BYTES : PIECE_BYTES, EXTENT_DATA,
					  n * PER_BATCH + i, 0, 0);
		}
		b.volumes[b.nr_volumes++].size_bytes = BYTES;
		test_batch_end(&b);
		assert_int_equal(test_append(r->sim, r->tl, &b), 0);
	}
	assert_int_equal(test_index(r->env, r->tl), 0);
}

/* What it costs to read that point, @bytes at a time, in the last of so many passes. */
static void read_all(struct rig *r, uint64_t batch, size_t bytes, bool in_order, int passes)
{
	size_t nr = in_order ? BYTES / bytes : LOOKS;
	struct env_ops counting = sim_ops;
	uint8_t *buf = malloc(bytes);
	uint64_t random = 1;
	struct view *v;

	assert_int_equal(view_open(r->tl, cut_of(batch), &v, why), 0);
	counting.read = counted_read;
	for (int pass = 0; pass < passes; pass++) {
		r->env->ops = &counting;
		memset(&cost, 0, sizeof(cost));
		for (size_t i = 0; i < nr; i++) {
			uint64_t at = in_order ? i : unit_random(&random) % (BYTES / bytes);

			assert_int_equal(view_read(v, 0, at * bytes, buf, bytes), 0);
		}
		r->env->ops = &sim_ops;
	}
	view_close(v);
	free(buf);
}

static void in_order_hardly_more_is_read_than_is_wanted(void **state)
{
	struct rig r;

	build(&r, UNIT_STORED);
	read_all(&r, COPY_BATCHES, 4 * COPY_BYTES, true, 2);
	assert_in_range(cost.bytes, BYTES, BYTES * 11 / 10);
	assert_in_range(cost.reads, 1, BYTES >> 18);
	/* A seventh of it is what is left of the copy; each of the others is where it was put. */
	read_all(&r, BATCHES, 4 * COPY_BYTES, true, 2);
	assert_in_range(cost.bytes, BYTES, BYTES * 11 / 10);
	assert_in_range(cost.reads, 1, PIECES * 6 / 5);
	rig_fini(&r);
}

static void a_look_costs_the_same_at_any_age(void **state)
{
	static const uint64_t batches[] = { COPY_BATCHES, BATCHES / 2, BATCHES };
	struct rig r;

	build(&r, UNIT_STORED);
	for (size_t i = 0; i < sizeof(batches) / sizeof(batches[0]); i++) {
		read_all(&r, batches[i], LOOK_BYTES, false, 2);
		assert_in_range(cost.bytes, LOOKS * LOOK_BYTES, LOOKS * 2 * LOOK_BYTES);
		assert_in_range(cost.reads, LOOKS, LOOKS * 2);
	}
	rig_fini(&r);
}

static void of_a_compressed_unit_little_more_than_it_is_read(void **state)
{
	struct rig r;

	/* They are 9 and 35 KiB long. */
	build(&r, UNIT_LZ4);
	read_all(&r, BATCHES, LOOK_BYTES, false, 1);
	assert_in_range(cost.bytes / cost.reads, 0, 16384);
	rig_fini(&r);
}

static int counted_open(struct env *env, const char *path, unsigned int flags,
			struct env_file **file)
{
	cost.manifests += strstr(path, "/manifest") != NULL;
	return sim_ops.open(env, path, flags, file);
}

/* Nothing can be read; whether that is so as the point was dropped is not asked each time. */
static void damage_costs_no_look_at_the_manifest_with_each_sector(void **state)
{
	struct env_ops counting = sim_ops;
	struct timeline *reader;
	uint64_t random = 1;
	uint8_t buf[512];
	struct view *v;
	char path[40];
	struct rig r;

	build(&r, UNIT_STORED);
	reader = rig_reader(&r);
	assert_int_equal(view_open(reader, cut_of(COPY_BATCHES), &v, why), 0);
	for (uint64_t n = 1; n <= reader->nr_segments; n++) {
		segment_path(path, sizeof(path), RIG_DIR, n);
		assert_int_equal(sim_env_flip(r.sim, path, 20, 1), 0);
	}
	memset(&cost, 0, sizeof(cost));
	counting.open = counted_open;
	r.env->ops = &counting;
	for (int i = 0; i < 1000; i++) {
		uint64_t at = unit_random(&random) % (BYTES / sizeof(buf));

		assert_int_equal(view_read(v, 0, at * sizeof(buf), buf, sizeof(buf)), -EBADMSG);
	}
	r.env->ops = &sim_ops;
	assert_in_range(cost.manifests, 1, 4);
	view_close(v);
	timeline_close(reader);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_hardly_more_is_read_than_is_wanted),
		cmocka_unit_test(a_look_costs_the_same_at_any_age),
		cmocka_unit_test(of_a_compressed_unit_little_more_than_it_is_read),
		cmocka_unit_test(damage_costs_no_look_at_the_manifest_with_each_sector),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
