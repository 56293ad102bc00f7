// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench_pack - what reclaiming space costs, and how much is left, over 30 days of a made-up clock.
 *
 *	bench_pack DIR [DAYS]
 *
 * DIR is made and must not exist. A point every two minutes, 16 blocks of 4 KiB that do not
 * compress in each, nine of ten among a 200th of the blocks of 64 MiB; the policy is the
 * default one. Prints a line for each
 * figure: name, value, unit.
 *
 *	space_factor		segments and packs for each byte that a point needs
 *	run_bytes		of runs for each that came in
 *	rewrite_factor		bytes of packs written for each that came in
 *	pack_seconds		processor time for that, with its passes over the index
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/pack_plan.h"
#include "../../userspace/store/retention.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define VOLUME_BLOCKS 16384
#define STEP_S 120
#define BLOCKS 16

static char why[TIMELINE_TEXT_BYTES];
static uint64_t clock_ns = 1700000000ull * 1000000000;

static void die(const char *what, int ret)
{
	fprintf(stderr, "bench_pack: %s: %s %s\n", what, strerror(-ret), why);
	exit(1);
}

static uint64_t made_up_ns(struct env *env)
{
	return clock_ns;
}

static double cpu_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static uint64_t random_block(void)
{
	uint64_t r = (uint64_t)rand() << 16 ^ rand();

	return rand() % 10 ? r % (VOLUME_BLOCKS / 200) : r % VOLUME_BLOCKS;
}

struct figures {
	uint64_t in_bytes, packed_bytes;
	double pack_seconds;
};

/* All that is due. */
static void index_all(struct env *env, struct timeline *tl, struct figures *f)
{
	struct index_job *job;

	while ((job = timeline_index_plan(tl))) {
		bool packs = index_job_text(job)[0] == 'p' && index_job_text(job)[1] == 'a';
		uint64_t number = tl->manifest.pack_number;
		double start = cpu_now();
		int ret = index_job_run(job, env, NULL);

		ret = timeline_index_take(tl, job) ? : ret;
		if (ret)
			die("index", ret);
		f->pack_seconds += packs ? cpu_now() - start : 0;
		for (size_t i = 0; i < tl->manifest.nr_packs; i++)
			if (tl->manifest.packs[i].number > number)
				f->packed_bytes += tl->manifest.packs[i].file_bytes;
	}
}

static void append(struct env *env, struct timeline *tl, uint64_t n, struct figures *f)
{
	static uint32_t data[BLOCKS][1024];
	struct test_batch b;
	int ret;

	test_batch_begin(&b, n, seq_pack(1, n));
	b.time_ns = clock_ns;
	test_batch_unit_begin();
	for (int i = 0; i < BLOCKS; i++) {
		for (int k = 0; k < 1024; k++)
			data[i][k] = rand();
		test_batch_unit_add(0, random_block() * 4096, 4096, EXTENT_DATA, data[i]);
	}
	test_batch_unit_end(&b, 0, 0);
	b.volumes[b.nr_volumes++].size_bytes = VOLUME_BLOCKS * 4096ull;
	test_batch_end(&b);
	f->in_bytes += b.batch_bytes;
	ret = test_batch_append(&b, tl);
	if (ret)
		die("append", ret);
	test_batch_free(&b);
}

static void settle(struct env *env, struct timeline *tl, struct figures *f)
{
	timeline_flush(tl);
	while (env_posix_pump(env) || !timeline_idle(tl))
		;
	index_all(env, tl, f);
}

/* Of what is settled: what points need, and what files take. */
static double space_factor(struct env *env, struct timeline *tl, const char *dir)
{
	const struct manifest *m = &tl->manifest;
	struct thin_file all = { .first_segment = 1, .last_segment = tl->settled.last_segment };
	struct timeline_kept kept;
	uint64_t bytes = 0, bad;
	char path[4096];
	int ret = timeline_kept_cuts(tl, &kept);

	if (!ret) {
		const struct thin_cuts cuts = { kept.cuts, kept.nr, kept.settled_cut };
		const struct pack_index index = { env, dir, timeline_id(tl), m->runs, m->nr_runs,
						  &cuts, NULL, NULL };

		ret = pack_plan_count(&index, &all, 1, &bad);
		free(kept.cuts);
	}
	if (ret)
		die("count", ret);
	for (uint64_t n = 1; n <= all.last_segment; n++) {
		const struct manifest_pack *pack = manifest_pack(m, n);
		struct env_file *file;
		uint64_t size = 0;

		if (pack) {
			bytes += pack->file_bytes;
			n = pack->last_segment;
			continue;
		}
		segment_path(path, sizeof(path), dir, n);
		if (env->ops->open(env, path, ENV_READ, &file))
			die(path, -ENOENT);
		env->ops->size(env, file, &size);
		env->ops->close(env, file);
		bytes += size;
	}
	return (double)bytes / all.live_bytes;
}

static uint64_t run_bytes(const struct timeline *tl)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < tl->manifest.nr_runs; i++)
		bytes += (uint64_t)tl->manifest.runs[i].nr_blocks * RUN_BLOCK_BYTES;
	return bytes;
}

int main(int argc, char **argv)
{
	uint64_t nr = (argc > 2 ? atoi(argv[2]) : 30) * 86400ull / STEP_S;
	struct retention_policy policy;
	struct figures f = { 0 };
	struct env_ops ops;
	struct timeline *tl;
	struct env *env;
	int ret = argc > 1 ? env_posix_create(NULL, &env) : -EINVAL;

	if (ret)
		die("usage: bench_pack DIR [DAYS]", ret);
	ops = *env->ops;
	ops.realtime_ns = ops.monotonic_ns = made_up_ns;
	env->ops = &ops;
	ret = timeline_open(env, argv[1], TIMELINE_CREATE, "bench", &tl, why);
	if (!ret)
		ret = test_greet(tl, "v", VOLUME_BLOCKS * 4096ull);
	if (!ret)
		ret = retention_parse(RETENTION_DEFAULT, &policy, why);
	if (!ret)
		ret = timeline_set_retention(tl, &policy, 0);
	if (ret)
		die("open", ret);
	timeline_set_packing(tl, true);
	for (uint64_t n = 1; n <= nr; n++) {
		append(env, tl, n, &f);
		clock_ns += STEP_S * 1000000000ull;
		if (n % 128 == 0 || n == nr)
			settle(env, tl, &f);
	}
	printf("space_factor %.2f x\n", space_factor(env, tl, argv[1]));
	printf("run_bytes %.4f x\n", (double)run_bytes(tl) / f.in_bytes);
	printf("rewrite_factor %.2f x\n", (double)f.packed_bytes / f.in_bytes);
	printf("pack_seconds %.1f s\n", f.pack_seconds);
	timeline_close(tl);
	env_posix_destroy(env);
	return 0;
}
