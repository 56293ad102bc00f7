// SPDX-License-Identifier: GPL-2.0-only
/*
 * limits_make - a group as large as groups get, and whether each point of it is right.
 *
 *	limits_make STORE [POINTS]
 *
 * STORE/groups/large: one volume of 16 TiB, discarded as a whole, then POINTS (100,000)
 * recovery points. Point n writes one sector, at one of 1,000 places that lie all over the
 * volume, its first and last sector among them; what is in it is n. So what any place has at any
 * point is known without a model. Makes the index as the daemon does, opens it anew, and
 * reads places at points of all ages. Prints what it took; ends with 1 if anything is wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/view.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define VOLUME_BYTES (16ull << 40)
#define NR_PLACES 1000u
#define FLUSH_EVERY 256
#define VIEWS 40

static char why[TIMELINE_TEXT_BYTES];

static void die(const char *what, int ret)
{
	fprintf(stderr, "limits_make: %s: %s %s\n", what, strerror(-ret), why);
	exit(1);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

/* Where point @n writes. */
static uint64_t place(uint64_t n)
{
	uint64_t i = n % NR_PLACES, step = VOLUME_BYTES / NR_PLACES / SECTOR_BYTES * SECTOR_BYTES;

	return i == NR_PLACES - 1 ? VOLUME_BYTES - SECTOR_BYTES : i * step;
}

static void fill(uint64_t *words, uint64_t n)
{
	for (size_t i = 0; i < SECTOR_BYTES / 8; i++)
		words[i] = n << 16 | i;
}

static void build(struct env *env, struct timeline *tl, uint64_t nr)
{
	uint64_t words[SECTOR_BYTES / 8];
	int ret = test_greet(tl, "huge", VOLUME_BYTES);

	if (ret)
		die("volume", ret);
	for (uint64_t n = 1; n <= nr; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n));
		fill(words, n);
		test_batch_unit_begin();
		if (n == 1)
			test_batch_unit_add(0, 0, VOLUME_BYTES, EXTENT_DISCARD, NULL);
		test_batch_unit_add(0, place(n), SECTOR_BYTES, EXTENT_DATA, words);
		test_batch_unit_end(&b, 0, 0);
		b.volumes[b.nr_volumes++] = (struct commit_volume){ .size_bytes = VOLUME_BYTES };
		test_batch_end(&b);
		ret = test_batch_append(&b, tl);
		if (ret)
			die("append", ret);
		test_batch_free(&b);
		if (n % FLUSH_EVERY == 0 || n == nr)
			test_flush(env, tl);
	}
}

/* Every place at this point, and what lies between them. */
static void check_point(struct timeline *tl, uint64_t point)
{
	uint64_t got[SECTOR_BYTES / 8], want[SECTOR_BYTES / 8];
	struct view_extent x;
	struct view *v;
	int ret = view_open(tl, seq_pack(1, point), &v, why);

	if (ret)
		die("view", ret);
	for (uint64_t i = 0; i < NR_PLACES; i++) {
		uint64_t newest = point - (point + NR_PLACES - i) % NR_PLACES;

		if (point < i || newest == 0)
			newest = 0;
		memset(want, 0, sizeof(want));
		if (newest)
			fill(want, newest);
		ret = view_read(v, 0, place(i), got, sizeof(got));
		if (ret)
			die("read", ret);
		if (memcmp(got, want, sizeof(got)) != 0) {
			snprintf(why, sizeof(why), "point %" PRIu64 ", place %" PRIu64, point, i);
			die("wrong content", -EBADMSG);
		}
	}
	ret = view_next(v, 0, place(500) + SECTOR_BYTES, &x);
	if (ret || x.kind != EXTENT_DISCARD)
		die("what was discarded", ret);
	view_close(v);
}

static struct timeline *open_timed(struct env *env, const char *dir)
{
	struct timeline *tl;
	double start = now();
	int ret = timeline_open(env, dir, TIMELINE_READ_ONLY, NULL, &tl, why);

	if (ret)
		die("open", ret);
	printf("opened in %.0f ms\n", 1e3 * (now() - start));
	return tl;
}

int main(int argc, char **argv)
{
	uint64_t nr = argc > 2 ? strtoull(argv[2], NULL, 10) : 100000;
	const struct timeline_commit *commits;
	struct timeline *tl;
	struct env *env;
	char dir[4096];
	double start;
	int ret;

	if (argc < 2 || nr < 2 * NR_PLACES) {
		fprintf(stderr, "usage: limits_make STORE [POINTS]\n");
		return 2;
	}
	ret = env_posix_create(NULL, &env);
	if (ret)
		die("environment", ret);
	snprintf(dir, sizeof(dir), "%s/groups", argv[1]);
	mkdir(argv[1], 0700);
	mkdir(dir, 0700);
	snprintf(dir, sizeof(dir), "%s/groups/large", argv[1]);
	ret = timeline_open(env, dir, TIMELINE_CREATE, "web1", &tl, why);
	if (ret)
		die("create", ret);
	build(env, tl, nr);
	start = now();
	ret = test_index(env, tl);
	if (ret)
		die("index", ret);
	printf("index made in %.0f ms\n", 1e3 * (now() - start));
	timeline_close(tl);
	tl = open_timed(env, dir);
	if (timeline_commits(tl, &commits) != nr)
		die("commits", -ENOENT);
	start = now();
	for (uint64_t i = 0; i < VIEWS; i++)
		check_point(tl, 1 + i * (nr - 1) / (VIEWS - 1));
	printf("%d points right, %.0f ms each for %u reads\n", VIEWS, 1e3 * (now() - start) / VIEWS,
	       NR_PLACES);
	timeline_close(tl);
	env_posix_destroy(env);
	return 0;
}
