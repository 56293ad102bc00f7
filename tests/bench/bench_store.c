// SPDX-License-Identifier: GPL-2.0-only
/*
 * bench_store - what the timeline store takes in and gives out.
 *
 *	bench_store DIR [MIB [EXTENT_BYTES [KEY_FILE]]]
 *
 * DIR is made and must not exist; MIB (default 2048) of data go through it, in
 * order as 64 KiB extents, or at random places as smaller ones; encrypted, if there is a key
 * file. Prints a line for each figure: name, value, unit.
 *
 *	ingest_cpu	units through a session into a timeline on a disk that costs
 *			nothing: processor time of this side
 *	ingest_disk	the same onto the disk, until all is durable
 *	open		a second opener: recovery and points
 *	view_open	the index of the newest point
 *	restore		view_read of everything, in order, 1 MiB at a time
 *	restore_cpu	the same by processor time
 *	copy		view_copy of everything, in the order of the store
 *	commits_open	a timeline of 100,000 heartbeats
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/key_source.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/unit_builder.h"
#include "../../userspace/store/view.h"
#include "../../userspace/target/session.h"

#define UNITS_PER_BATCH 512	/* 32 MiB */
#define NR_UNITS 64		/* different ones */
#define VOLUME_BYTES (64ull << 30)

static char why[TIMELINE_TEXT_BYTES];
static uint32_t extent_bytes = 65536;
static uint64_t volume_blocks;
static struct keyring *keys;

static void die(const char *what, int ret)
{
	fprintf(stderr, "bench_store: %s: %s %s\n", what, strerror(-ret), why);
	exit(1);
}

static double seconds(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* -- a disk that costs nothing: all writes are done at once, and forgotten -- */

struct null_env {
	struct env env;
	const struct env_ops *real;
	struct env_ops ops;
	struct env *posix;
	struct env_io *queue[64];
	size_t nr;
};

static void null_submit(struct env *env, struct env_io *io)
{
	struct null_env *n = (struct null_env *)env;

	n->queue[n->nr++] = io;
}

static void null_pump(struct null_env *n)
{
	while (n->nr) {
		struct env_io *io = n->queue[0];

		memmove(n->queue, n->queue + 1, --n->nr * sizeof(*n->queue));
		io->done(io, io->op == ENV_IO_DATASYNC ? 0 : io->bytes);
	}
}

#define FORWARD(n) (((struct null_env *)(n))->posix)
static uint64_t null_realtime(struct env *e) { return FORWARD(e)->ops->realtime_ns(FORWARD(e)); }
static uint64_t null_monotonic(struct env *e) { return FORWARD(e)->ops->monotonic_ns(FORWARD(e)); }
static void null_random(struct env *e, void *b, size_t n) { FORWARD(e)->ops->random(FORWARD(e), b, n); }
static int null_open(struct env *e, const char *p, unsigned int f, struct env_file **o)
{
	return FORWARD(e)->ops->open(FORWARD(e), p, f, o);
}
static void null_close(struct env *e, struct env_file *f) { FORWARD(e)->ops->close(FORWARD(e), f); }
static int64_t null_read(struct env *e, struct env_file *f, void *b, size_t n, uint64_t o)
{
	return FORWARD(e)->ops->read(FORWARD(e), f, b, n, o);
}
static int null_write(struct env *e, struct env_file *f, const void *b, size_t n, uint64_t o)
{
	return FORWARD(e)->ops->write(FORWARD(e), f, b, n, o);
}
static int null_datasync(struct env *e, struct env_file *f) { return 0; }
static int null_size(struct env *e, struct env_file *f, uint64_t *b)
{
	return FORWARD(e)->ops->size(FORWARD(e), f, b);
}
static int null_path(struct env *e, const char *p) { return FORWARD(e)->ops->mkdir(FORWARD(e), p); }
static int null_unlink(struct env *e, const char *p) { return FORWARD(e)->ops->unlink(FORWARD(e), p); }
static int null_rename(struct env *e, const char *a, const char *b)
{
	return FORWARD(e)->ops->rename(FORWARD(e), a, b);
}
static int null_sync_dir(struct env *e, const char *p) { return 0; }
static int null_lock(struct env *e, struct env_file *f) { return 0; }
static int null_list(struct env *e, const char *p, void (*each)(void *, const char *), void *arg)
{
	return FORWARD(e)->ops->list(FORWARD(e), p, each, arg);
}

static const struct env_ops null_ops = {
	.realtime_ns = null_realtime, .monotonic_ns = null_monotonic, .random = null_random,
	.open = null_open,
	.close = null_close, .read = null_read, .write = null_write, .datasync = null_datasync,
	.size = null_size, .mkdir = null_path, .unlink = null_unlink, .rename = null_rename,
	.sync_dir = null_sync_dir, .lock = null_lock, .list = null_list, .submit = null_submit,
};

/* -- a source that is as fast as can be -- */

struct source {
	uint8_t *units[NR_UNITS];	/* with room for a frame header before */
	size_t unit_bytes[NR_UNITS];
	uint32_t header_crcs[NR_UNITS];
	uint8_t *frame;
	size_t frame_bytes;
	uint64_t seq, ordinal, at_bytes;
};

static void source_init(struct source *s)
{
	memset(s, 0, sizeof(*s));
	s->frame = aligned_alloc(4096, 2 << 20);
	for (int i = 0; i < NR_UNITS; i++)
		s->units[i] = aligned_alloc(4096, UNIT_MAX_BYTES + 4096);
}

/* Unit @i of batch @ordinal, 64 KiB of data at the next place. */
static void source_unit(struct source *s, int i)
{
	static struct unit_builder b;
	static uint8_t data[65536];
	static uint32_t crcs[16];
	struct unit_label label = { s->ordinal + 1, seq_pack(1, s->ordinal + 1), 0, UNIT_STORED };

	if (!crcs[0]) {
		for (size_t n = 0; n < sizeof(data); n++)
			data[n] = rand();
		for (int n = 0; n < 16; n++)
			crcs[n] = crc32c(data + n * 4096, 4096);
	}
	unit_builder_reset(&b);
	for (uint32_t at = 0; at < sizeof(data); at += extent_bytes) {
		uint64_t place = extent_bytes == sizeof(data) ? s->at_bytes :
				 (rand() % volume_blocks) * extent_bytes;

		unit_builder_add_data(&b, 0, place, data + at, extent_bytes, crcs + at / 4096);
	}
	s->unit_bytes[i] = unit_builder_finish(&b, &label, s->units[i], NULL, &s->header_crcs[i]);
	s->at_bytes += sizeof(data);
}

static void feed(struct session *session, struct source *s, uint8_t type, const void *payload,
		 size_t bytes)
{
	size_t used;
	int ret;

	memcpy(s->frame + 32, payload, bytes);
	s->frame_bytes = wire_encode(s->frame, type, bytes, ++s->seq);
	ret = session_input(session, s->frame, s->frame_bytes, &used);
	if (ret || used != s->frame_bytes)
		die("session_input", ret);
}

static struct timeline *bench_tl;

static int get(void *arg, const char *group, const char *identity, struct timeline **tl, char *w)
{
	*tl = bench_tl;
	return 0;
}

static int claim(void *arg, struct session *s, struct timeline *tl, const uint8_t instance[16])
{
	return 0;
}

static const struct session_ops session_ops = { get, claim, NULL };

static void progress(void *arg)
{
	session_progress(arg);
}

static struct session *connect_to(struct env *env, struct source *s)
{
	struct session_params params = { &session_ops, NULL, env, "bench", 64 << 20 };
	struct { struct wire_hello h; struct wire_hello_volume v; } m = {
		.h = { .version_min = 1, .version_max = 1, .group = "g", .nr_volumes = 1 },
		.v = { .size_bytes = VOLUME_BYTES, .name = "v" },
	};
	struct session *session = session_create(&params);
	const void *out;

	timeline_on_progress(bench_tl, progress, session);
	feed(session, s, WIRE_HELLO, &m, sizeof(m));
	session_sent(session, session_output(session, &out));
	return session;
}

/* One batch, in slices small enough to wait for the disk between them. */
static double batch(struct session *session, struct source *s, void (*wait)(void *), void *arg)
{
	static uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	struct commit_volume volume = { .size_bytes = VOLUME_BYTES };
	struct commit_view view = { .header = { .nr_units = UNITS_PER_BATCH, .nr_volumes = 1 },
				    .volumes = &volume };
	double cpu = 0, start;
	uint32_t units_crc = 0;
	const void *out;
	size_t used;
	int ret;

	for (int n = 0; n < UNITS_PER_BATCH; n += NR_UNITS) {
		size_t sizes[NR_UNITS];
		uint8_t *frames = s->frame;

		for (int i = 0; i < NR_UNITS; i++) {
			source_unit(s, i);
			view.header.batch_bytes += s->unit_bytes[i];
			units_crc = crc32c_extend(units_crc, &s->header_crcs[i], 4);
			memmove(s->units[i] + 32, s->units[i], s->unit_bytes[i]);
			sizes[i] = wire_encode(s->units[i], WIRE_UNIT, s->unit_bytes[i], ++s->seq);
		}
		start = seconds(CLOCK_PROCESS_CPUTIME_ID);
		for (int i = 0; i < NR_UNITS; i++) {
			ret = session_input(session, s->units[i], sizes[i], &used);
			if (ret || used != sizes[i])
				die("session_input", ret);
		}
		cpu += seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
		s->frame = frames;
		wait(arg);
		session_sent(session, session_output(session, &out));
	}
	view.header.ordinal = ++s->ordinal;
	view.header.cut_seq = seq_pack(1, s->ordinal);
	view.header.time_ns = s->ordinal;
	view.header.units_crc = units_crc;
	feed(session, s, WIRE_COMMIT, record, commit_encode(&view, record));
	wait(arg);
	session_sent(session, session_output(session, &out));
	return cpu;
}

static void wait_null(void *arg)
{
	null_pump(arg);
}

/* Not more than 32 MiB ahead of the disk. */
static void wait_loop(void *arg)
{
	do
		loop_turn(arg, timeline_unflushed_bytes(bench_tl) > 32 << 20 ? UINT64_MAX : 0);
	while (timeline_unflushed_bytes(bench_tl) > 32 << 20);
}

static void bench_cpu(struct env *posix, const char *dir, unsigned int mib)
{
	struct null_env n = { .env.ops = &null_ops, .posix = posix };
	struct session *session;
	struct source s;
	double cpu = 0;
	int ret = timeline_open(&n.env, dir, TIMELINE_CREATE, "bench", &bench_tl, why);

	if (!ret)
		ret = timeline_set_keys(bench_tl, keys, why);
	if (ret)
		die("open", ret);
	source_init(&s);
	session = connect_to(&n.env, &s);
	for (unsigned int i = 0; i < mib / 32; i++)
		cpu += batch(session, &s, wait_null, &n);
	printf("ingest_cpu %.0f MB/s\n", mib / 32 * 32 * 1.048576 / cpu);
	session_destroy(session);
	timeline_close(bench_tl);
}

static void bench_disk(struct env *env, struct loop *loop, const char *dir, unsigned int mib)
{
	struct timeline_state state;
	struct session *session;
	struct source s;
	double start;
	int ret = timeline_open(env, dir, TIMELINE_CREATE, "bench", &bench_tl, why);

	if (!ret)
		ret = timeline_set_keys(bench_tl, keys, why);
	if (ret)
		die("open", ret);
	source_init(&s);
	session = connect_to(env, &s);
	start = seconds(CLOCK_MONOTONIC);
	for (unsigned int i = 0; i < mib / 32; i++)
		batch(session, &s, wait_loop, loop);
	do {
		loop_turn(loop, UINT64_MAX);
		timeline_state(bench_tl, &state);
	} while (state.durable_ordinal < s.ordinal && !state.failed);
	printf("ingest_disk %.0f MB/s\n", mib / 32 * 32 * 1.048576 /
	       (seconds(CLOCK_MONOTONIC) - start));
	while (!timeline_idle(bench_tl))
		loop_turn(loop, UINT64_MAX);
	session_destroy(session);
	timeline_close(bench_tl);
}

static int count_bytes(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	*(uint64_t *)arg += bytes;
	return 0;
}

static void bench_restore(struct env *env, const char *dir, unsigned int mib)
{
	const struct timeline_commit *commits;
	static uint8_t buf[1 << 20];
	double start = seconds(CLOCK_MONOTONIC), cpu;
	uint64_t copied = 0, at;
	struct timeline *tl;
	struct view *v;
	size_t nr;
	int ret = timeline_open(env, dir, TIMELINE_READ_ONLY, NULL, &tl, why);

	if (!ret)
		ret = timeline_set_keys(tl, keys, why);
	if (ret)
		die("open", ret);
	printf("open %.0f ms\n", 1e3 * (seconds(CLOCK_MONOTONIC) - start));
	nr = timeline_commits(tl, &commits);
	start = seconds(CLOCK_MONOTONIC);
	ret = view_open(tl, commits[nr - 1].cut_seq, &v, why);
	if (ret)
		die("view_open", ret);
	printf("view_open %.0f ms\n", 1e3 * (seconds(CLOCK_MONOTONIC) - start));
	start = seconds(CLOCK_MONOTONIC);
	cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
	for (uint64_t i = 0; i < mib / 32 * 32; i++) {
		ret = view_read(v, 0, i << 20, buf, sizeof(buf));
		if (ret)
			die("view_read", ret);
	}
	printf("restore %.0f MB/s\n", mib / 32 * 32 * 1.048576 /
	       (seconds(CLOCK_MONOTONIC) - start));
	printf("restore_cpu %.0f MB/s\n", mib / 32 * 32 * 1.048576 /
	       (seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu));
	start = seconds(CLOCK_MONOTONIC);
	ret = view_copy(v, 0, count_bytes, &copied, &at);
	if (ret)
		die("view_copy", ret);
	printf("copy %.0f MB/s\n", copied / 1e6 / (seconds(CLOCK_MONOTONIC) - start));
	view_close(v);
	timeline_close(tl);
}

static void bench_commits(struct env *env, struct loop *loop, const char *dir)
{
	static uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	struct timeline *tl;
	uint32_t incarnation;
	double start;
	int ret = timeline_open(env, dir, TIMELINE_CREATE, "bench", &tl, why);

	if (!ret)
		ret = timeline_grant(tl, record, &incarnation);
	if (ret)
		die("open", ret);
	for (uint64_t i = 1; i <= 100000; i++) {
		struct commit_view view = { .header = { .flags = COMMIT_HEARTBEAT, .ordinal = i,
					    .cut_seq = seq_pack(1, i), .time_ns = i } };

		ret = timeline_append_commit(tl, record, commit_encode(&view, record));
		if (ret)
			die("append", ret);
		while (timeline_unflushed_bytes(tl) > 32 << 20) {
			timeline_flush(tl);
			loop_turn(loop, UINT64_MAX);
		}
	}
	timeline_flush(tl);
	while (!timeline_idle(tl))
		loop_turn(loop, UINT64_MAX);
	timeline_close(tl);
	start = seconds(CLOCK_MONOTONIC);
	ret = timeline_open(env, dir, TIMELINE_READ_ONLY, NULL, &tl, why);
	if (ret)
		die("open", ret);
	printf("commits_open %.0f ms\n", 1e3 * (seconds(CLOCK_MONOTONIC) - start));
	timeline_close(tl);
}

int main(int argc, char **argv)
{
	unsigned int mib = argc > 2 ? atoi(argv[2]) : 2048;
	char dir[4096];
	struct loop *loop;
	struct env *env;
	int ret;

	if (argc > 3)
		extent_bytes = atoi(argv[3]);
	volume_blocks = ((uint64_t)mib << 20) / (extent_bytes ? extent_bytes : 1);
	if (argc > 4) {
		struct key_source source = { .file = argv[4] };
		char reason[KEY_SOURCE_TEXT_BYTES];

		ret = key_source_load(&source, &keys, reason);
		if (ret)
			die(reason, ret);
	}
	if (argc < 2 || mib < 64 || !extent_bytes || extent_bytes % 4096 ||
	    65536 % extent_bytes) {
		fprintf(stderr, "usage: bench_store DIR [MIB [EXTENT_BYTES [KEY_FILE]]]\n");
		return 2;
	}
	ret = loop_create(64, &loop);
	if (!ret)
		ret = env_posix_create(loop, &env);
	if (!ret)
		ret = env->ops->mkdir(env, argv[1]);
	if (ret)
		die(argv[1], ret);
	setvbuf(stdout, NULL, _IOLBF, 0);
	snprintf(dir, sizeof(dir), "%s/null", argv[1]);
	bench_cpu(env, dir, mib);
	snprintf(dir, sizeof(dir), "%s/disk", argv[1]);
	bench_disk(env, loop, dir, mib);
	bench_restore(env, dir, mib);
	snprintf(dir, sizeof(dir), "%s/commits", argv[1]);
	bench_commits(env, loop, dir);
	loop_destroy(loop);
	env_posix_destroy(env);
	keyring_free(keys);
	return 0;
}
