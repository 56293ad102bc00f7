// SPDX-License-Identifier: GPL-2.0-only
/*
 * A store with runs, changed where the fuzzer says, read by a view and by a merge. Input:
 * changes of 4 bytes each: which run and how (1), offset (2), value (1); or, in the second
 * half, raw bytes over a run from some block on. Where asked for, the CRC of the block
 * is made right again: then the content may be anything, but nothing is read outside of what
 * there is, and all comes to an end. The store is made once; what was changed is put back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/run_build.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/history.h"
#include "../host/sim_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

#define SECTORS 128
#define BATCHES 24

static struct history h;
static struct sim_env *sim;
static struct env *env;
static struct timeline *reader;
static char why[TIMELINE_TEXT_BYTES];
static struct {
	char path[64];
	uint8_t *bytes;
	uint64_t nr_bytes;
	int changed;
} runs[RUN_FAN_IN];

static void make_history(struct timeline *tl)
{
	timeline_set_limits(tl, 12288, 4096);
	if (history_greet(&h, tl))
		abort();
	for (int i = 0; i < BATCHES; i++) {
		struct test_batch b;

		history_batch(&h, &b);
		if (test_batch_append(&b, tl))
			abort();
		test_batch_free(&b);
		timeline_flush(tl);
		sim_env_complete_all(sim);
	}
}

/* Four runs that can be merged, and segments without one; kept, with a reader open. */
static void build(void)
{
	struct index_job *job;
	struct timeline *tl;

	sim = sim_env_create(1);
	env = sim_env_env(sim);
	history_init(&h, SECTORS);
	history_reset(&h, 1);
	if (timeline_open(env, "/tl", TIMELINE_CREATE, "", &tl, why))
		abort();
	make_history(tl);
	for (int i = 0; i < RUN_FAN_IN; i++) {
		const struct manifest_run *run;

		job = timeline_index_plan(tl);
		if (!job || index_job_run(job, env, NULL) || timeline_index_take(tl, job))
			abort();
		run = &tl->manifest.runs[i];
		run_path(runs[i].path, sizeof(runs[i].path), "/tl", run->number, 0);
		sim_env_content(sim, runs[i].path, &runs[i].nr_bytes);
		runs[i].bytes = malloc(runs[i].nr_bytes);
		memcpy(runs[i].bytes, sim_env_content(sim, runs[i].path, &runs[i].nr_bytes),
		       runs[i].nr_bytes);
	}
	timeline_close(tl);
	if (timeline_open(env, "/tl", TIMELINE_READ_ONLY, NULL, &reader, why))
		abort();
}

static void put_back(void)
{
	struct env_file *file;

	for (int i = 0; i < RUN_FAN_IN; i++) {
		if (!runs[i].changed)
			continue;
		if (env->ops->open(env, runs[i].path, ENV_WRITE, &file) ||
		    env->ops->truncate(env, file, runs[i].nr_bytes))
			abort();
		env->ops->close(env, file);
		sim_env_poke(sim, runs[i].path, 0, runs[i].bytes, runs[i].nr_bytes);
		runs[i].changed = 0;
	}
}

/* Make the CRC right of the block that begins here. */
static void mend(const char *path, uint64_t at)
{
	size_t crc_at = at ? offsetof(struct run_block, crc) : offsetof(struct run_header, crc);
	uint8_t block[RUN_BLOCK_BYTES];
	uint64_t bytes;
	const uint8_t *content = sim_env_content(sim, path, &bytes);
	uint32_t crc = 0;

	if (at + sizeof(block) > bytes)
		return;
	memcpy(block, content + at, sizeof(block));
	memcpy(block + crc_at, &crc, sizeof(crc));
	crc = crc32c(block, sizeof(block));
	memcpy(block + crc_at, &crc, sizeof(crc));
	sim_env_poke(sim, path, at, block, sizeof(block));
}

static void change(const uint8_t *input, size_t bytes)
{
	for (; bytes >= 4; input += 4, bytes -= 4) {
		uint64_t offset = input[1] | input[2] << 8;
		int i = input[0] >> 2 & 3;

		if (input[0] & 1)	/* where something is */
			offset = offset % 128 + offset / 128 * RUN_BLOCK_BYTES;
		offset %= runs[i].nr_bytes;
		sim_env_poke(sim, runs[i].path, offset, &input[3], 1);
		if (input[0] & 2)
			mend(runs[i].path, offset / RUN_BLOCK_BYTES * RUN_BLOCK_BYTES);
		runs[i].changed = 1;
	}
}

static void overwrite(const uint8_t *input, size_t bytes)
{
	uint64_t at = (input[0] & 3) * RUN_BLOCK_BYTES, end = at + bytes - 1;
	int i = input[0] >> 2 & 3;

	sim_env_poke(sim, runs[i].path, at, input + 1, bytes - 1);
	for (; input[0] & 0x20 && at < end; at += RUN_BLOCK_BYTES)
		mend(runs[i].path, at);
	runs[i].changed = 1;
}

/* Whether the content is right nobody can say. */
static void look(size_t index)
{
	struct view_extent x;
	uint64_t at = 0;
	struct view *v;

	if (view_open(reader, h.batches[index].cut, &v, why))
		return;
	history_sample(&h, v, index, 6, -EBADMSG);
	while (view_next(v, 0, at, &x) == 0) {
		if (x.length_bytes == 0)
			abort();
		at += x.length_bytes;
	}
	view_close(v);
}

static void merge(void)
{
	struct manifest_run out;
	uint64_t bad;
	char path[64];

	if (run_build_merge(env, "/tl", reader->manifest.identity.timeline, 99,
			    reader->manifest.runs, RUN_FAN_IN, NULL, NULL, &out, &bad))
		return;
	run_path(path, sizeof(path), "/tl", 99, 0);
	env->ops->unlink(env, path);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	if (!sim)
		build();
	if (bytes > 1 && input[0] & 0x80)
		overwrite(input, bytes);
	else
		change(input, bytes);
	look(bytes ? input[0] % BATCHES : 0);
	merge();
	put_back();
	return 0;
}
