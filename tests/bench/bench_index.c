// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench_index - what it costs to look up any point of a long history.
 *
 *	bench_index DIR [MILLION]
 *
 * DIR is made and must not exist. MILLION (default 5) extents of 4 KiB, at random places of 4
 * GiB, in 10,000 points: on average each block is written five times. They are
 * zeroes: what is measured is finding them. Prints a line for each figure: name, value, unit.
 *
 *	timeline_open		recovery: commits and points; indexed: by the points file
 *	index_build		into runs of all levels, one thread
 *	index_rewrite		bytes of runs written for each byte that stays
 *	index_bytes		of runs on disk
 *	open_...		view_open at an old, a middle, the newest point; plain: without
 *				runs, through all footers
 *	lookup_...		4 KiB read here and there, each
 *	walk_...		view_next over all of the volume
 *	memory_...		of the view after all that
 */
#include <errno.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/run_format.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define POINTS 10000
#define VOLUME_BYTES (4ull << 30)
#define UNIT_EXTENTS 250
#define LOOKUPS 50000
#define SEAL_BYTES (1u << 20)	/* as many segments as of 160 GiB of such writes in full ones */

static char why[TIMELINE_TEXT_BYTES];

static void die(const char *what, int ret)
{
	fprintf(stderr, "bench_index: %s: %s %s\n", what, strerror(-ret), why);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static uint64_t random_block(void)
{
	return ((uint64_t)rand() << 16 ^ rand()) % (VOLUME_BYTES / 4096);
}

static void build(struct env *env, const char *dir, uint64_t nr_extents)
{
	uint64_t per_point = nr_extents / POINTS;
	struct timeline *tl;
	int ret = timeline_open(env, dir, TIMELINE_CREATE, "bench", &tl, why);

	if (!ret)
		ret = test_greet(tl, "v", VOLUME_BYTES);
	if (ret)
		die("open", ret);
	timeline_set_limits(tl, SEAL_BYTES, 0);
	for (uint64_t n = 1; n <= POINTS; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n));
		for (uint64_t done = 0; done < per_point; done += UNIT_EXTENTS) {
			test_batch_unit_begin();
			for (uint64_t i = 0; i < UNIT_EXTENTS; i++)
				test_batch_unit_add(0, random_block() * 4096, 4096, EXTENT_ZERO,
						    NULL);
			test_batch_unit_end(&b, 0, 0);
		}
		b.volumes[b.nr_volumes++].size_bytes = VOLUME_BYTES;
		test_batch_end(&b);
		ret = test_batch_append(&b, tl);
		if (ret)
			die("append", ret);
		test_batch_free(&b);
		if (n % 16 == 0 || n == POINTS)
			test_flush(env, tl);
	}
	timeline_close(tl);
}

struct written {
	uint64_t bytes;
};

static int count_written(void *arg, uint64_t bytes)
{
	((struct written *)arg)->bytes += bytes;
	return 0;
}

static uint64_t runs_bytes(const struct timeline *tl)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < tl->manifest.nr_runs; i++)
		bytes += (uint64_t)tl->manifest.runs[i].nr_blocks * RUN_BLOCK_BYTES;
	return bytes;
}

static void index_all(struct env *env, const char *dir, uint64_t nr_extents)
{
	struct written written = { 0 };
	const struct run_pace pace = { count_written, &written };
	uint64_t nr_runs, nr_waiting;
	struct index_job *job;
	struct timeline *tl;
	double start;
	int ret = timeline_open(env, dir, 0, NULL, &tl, why);

	if (ret)
		die("open", ret);
	start = now();
	while ((job = timeline_index_plan(tl))) {
		index_job_run(job, env, index_job_text(job)[0] == 'p' ? NULL : &pace);
		ret = timeline_index_take(tl, job);
		if (ret)
			die("index", ret);
	}
	printf("index_build %.0f extents/s\n", nr_extents / (now() - start));
	timeline_index_state(tl, &nr_runs, &nr_waiting);
	printf("index_rewrite %.2f ratio\n", written.bytes / (double)runs_bytes(tl));
	printf("index_bytes %.1f B/extent\n", runs_bytes(tl) / (double)nr_extents);
	printf("index_runs %d runs\n", (int)nr_runs);
	timeline_close(tl);
}

static void look(struct timeline *tl, const char *name, uint64_t cut)
{
	static uint8_t buf[4096];
	uint64_t nr_stretches = 0, at = 0, before = mallinfo2().uordblks + mallinfo2().hblkhd;
	struct view_extent x;
	double start = now();
	struct view *v;
	int ret = view_open(tl, cut, &v, why);

	if (ret)
		die("view_open", ret);
	printf("open_%s %.2f ms\n", name, 1e3 * (now() - start));
	for (int pass = 0; pass < 2; pass++) {	/* the first fills the page cache */
		srand(7);
		start = now();
		for (int i = 0; i < LOOKUPS; i++) {
			ret = view_read(v, 0, random_block() * 4096, buf, sizeof(buf));
			if (ret)
				die("view_read", ret);
		}
	}
	printf("lookup_%s %.1f us\n", name, 1e6 * (now() - start) / LOOKUPS);
	start = now();
	while ((ret = view_next(v, 0, at, &x)) == 0) {
		at += x.length_bytes;
		nr_stretches++;
	}
	printf("walk_%s %.0f ms\n", name, 1e3 * (now() - start));
	printf("memory_%s %.1f MB\n", name, (mallinfo2().uordblks + mallinfo2().hblkhd - before) / 1e6);
	view_close(v);
}

static struct timeline *open_reader(struct env *env, const char *dir, const char *name)
{
	double start = now();
	struct timeline *tl;
	int ret = timeline_open(env, dir, TIMELINE_READ_ONLY, NULL, &tl, why);

	if (ret)
		die("open", ret);
	printf("%s %.0f ms\n", name, 1e3 * (now() - start));
	return tl;
}

int main(int argc, char **argv)
{
	uint64_t nr_extents = (argc > 2 ? atof(argv[2]) : 5) * 1e6;
	struct timeline *tl;
	struct env *env;

	if (argc < 2 || nr_extents < POINTS * UNIT_EXTENTS) {
		fprintf(stderr, "usage: bench_index DIR [MILLION], 2.5 at least\n");
		return 2;
	}
	nr_extents -= nr_extents % (POINTS * UNIT_EXTENTS);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (env_posix_create(NULL, &env))
		return 1;
	build(env, argv[1], nr_extents);
	tl = open_reader(env, argv[1], "timeline_open");
	look(tl, "plain_oldest", seq_pack(1, 1));
	look(tl, "plain_newest", seq_pack(1, POINTS));
	timeline_close(tl);
	index_all(env, argv[1], nr_extents);
	tl = open_reader(env, argv[1], "timeline_open_indexed");
	look(tl, "oldest", seq_pack(1, POINTS / 100));
	look(tl, "middle", seq_pack(1, POINTS / 2));
	look(tl, "newest", seq_pack(1, POINTS));
	timeline_close(tl);
	env_posix_destroy(env);
	return 0;
}
