// SPDX-License-Identifier: GPL-2.0-only
/*
 * golden_make - a small store with a known content, and what each of its points must show.
 *
 *	golden_make history STORE SEED NR	NR random batches (tests/host/history.h)
 *	golden_make history STORE SEED NR KEYS...  the same: the first ones in clear, then as many
 *						with each file of keys; the last has them all
 *	golden_make thinned STORE SEED NR	the same, a minute apart; then most points are dropped,
 *						and what they needed is packed away
 *	golden_make images STORE IMAGE...	each image a state of one volume, and a point
 *
 * Makes STORE/groups/golden, with small segments and with runs, and prints a line for each
 * volume at each recovery point: cut, volume, bytes, SHA-256 of the content with zeroes
 * where it could not be read at the source, and how many sectors those are. Every
 * point of a history was held against its model before it is printed.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/key_source.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/retention.h"
#include "../../userspace/store/view.h"
#include "../host/history.h"
#include "../host/test_steps.h"

#define SEAL_BYTES (96u << 10)
#define SECTORS 128	/* of each volume of a history */
#define UNIT_BYTES UNIT_MAX_DATA_BYTES

static char why[KEY_SOURCE_TEXT_BYTES];	/* TIMELINE_TEXT_BYTES at least */

static void die(const char *what, int ret)
{
	fprintf(stderr, "golden_make: %s: %s %s\n", what, strerror(-ret), why);
	exit(1);
}

/* -- a clock that is put forward -- */

static const struct env_ops *real_ops;
static uint64_t ahead_ns;

static uint64_t ahead_realtime_ns(struct env *env)
{
	return real_ops->realtime_ns(env) + ahead_ns;
}

static uint64_t ahead_monotonic_ns(struct env *env)
{
	return real_ops->monotonic_ns(env) + ahead_ns;
}

static void clock_take(struct env *env)
{
	static struct env_ops ops;

	real_ops = env->ops;
	ops = *real_ops;
	ops.realtime_ns = ahead_realtime_ns;
	ops.monotonic_ns = ahead_monotonic_ns;
	env->ops = &ops;
}

static struct timeline *create(struct env *env, const char *store)
{
	static const char *const below[] = { "", "/groups", "/groups/golden" };
	struct timeline *tl;
	char dir[4096];
	int ret;

	for (size_t i = 0; i < sizeof(below) / sizeof(*below); i++) {
		snprintf(dir, sizeof(dir), "%s%s", store, below[i]);
		if (mkdir(dir, 0700) && errno != EEXIST)
			die(dir, -errno);
	}
	ret = timeline_open(env, dir, TIMELINE_CREATE, "web1", &tl, why);
	if (ret)
		die(dir, ret);
	timeline_set_limits(tl, SEAL_BYTES, 0);
	return tl;
}

static void append(struct env *env, struct timeline *tl, struct test_batch *b)
{
	int ret = test_batch_append(b, tl);

	if (ret)
		die("append", ret);
	test_batch_free(b);
	test_flush(env, tl);
}

/* -- random batches -- */

/* In place of those there were. */
static void use_keys(struct timeline *tl, const char *path, struct keyring **keys)
{
	const struct key_source source = { .file = path };
	struct keyring *old = *keys;
	int ret = key_source_load(&source, keys, why);

	if (!ret)
		ret = timeline_set_keys(tl, *keys, why);
	if (ret)
		die(path, ret);
	keyring_free(old);
}

static void check_points(struct history *h, struct timeline *tl)
{
	const struct timeline_commit *commits;
	size_t nr = timeline_commits(tl, &commits);

	for (size_t i = 0; i < nr; i++) {
		if (history_point(h, tl, commits[i].ordinal - 1))
			continue;
		snprintf(why, sizeof(why), "%.200s", h->why);
		die("the model", -EINVAL);
	}
}

/* One point in ten minutes stays. Runs come first: they were made before anything is dropped. */
static void thin(struct env *env, struct timeline *tl)
{
	struct retention_policy policy;
	int ret = test_index(env, tl);

	if (!ret)
		ret = retention_parse("all:10m,10m:30d", &policy, why);
	if (!ret)
		ret = timeline_set_retention(tl, &policy, 0);
	ahead_ns += 7200 * 1000000000ull;
	timeline_set_packing(tl, true);
	if (!ret)
		ret = test_index(env, tl);
	if (ret)
		die("thinning", ret);
}

static void make_history(struct env *env, struct timeline *tl, uint64_t seed, unsigned long nr,
			 char *const *key_files, unsigned long nr_files, struct keyring **keys,
			 bool thinned)
{
	unsigned long each = nr / (nr_files + 1);
	struct test_batch b;
	struct history h;
	int ret;

	history_init(&h, SECTORS);
	history_reset(&h, seed);
	ret = history_greet(&h, tl);
	if (ret)
		die("volumes", ret);
	for (unsigned long i = 0; i < nr; i++) {
		if (nr_files && i && i % each == 0 && i / each <= nr_files)
			use_keys(tl, key_files[i / each - 1], keys);
		if (thinned)
			ahead_ns += 60 * 1000000000ull;
		history_batch(&h, &b);
		append(env, tl, &b);
	}
	if (thinned)
		thin(env, tl);
	check_points(&h, tl);
	history_fini(&h);
}

/* -- states of a disk -- */

static uint8_t *image_read(const char *path, size_t *bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint8_t *image;

	if (fd < 0 || fstat(fd, &st))
		die(path, -errno);
	if (*bytes && (size_t)st.st_size != *bytes)
		die("an image of another size", -EINVAL);
	*bytes = st.st_size;
	image = malloc(*bytes);
	if (!image || read(fd, image, *bytes) != (ssize_t)*bytes)
		die(path, -EIO);
	close(fd);
	return image;
}

static bool is_zero(const uint8_t *block)
{
	static const uint8_t zeroes[BLOCK_BYTES];

	return memcmp(block, zeroes, BLOCK_BYTES) == 0;
}

/* What of @now is not in @before, a unit at a time. */
static void add_changes(struct test_batch *b, const uint8_t *before, const uint8_t *now,
			size_t bytes)
{
	uint32_t used = 0;

	test_batch_unit_begin();
	for (size_t at = 0; at < bytes; at += BLOCK_BYTES) {
		if (!memcmp(before + at, now + at, BLOCK_BYTES))
			continue;
		if (used == UNIT_BYTES) {
			test_batch_unit_end(b, 0, 0);
			test_batch_unit_begin();
			used = 0;
		}
		test_batch_unit_add(0, at, BLOCK_BYTES, is_zero(now + at) ? EXTENT_ZERO : EXTENT_DATA,
				    now + at);
		used += BLOCK_BYTES;
	}
	if (used)
		test_batch_unit_end(b, 0, 0);
}

static void make_images(struct env *env, struct timeline *tl, char *const *paths, int nr)
{
	const struct timeline_volume *v;
	uint32_t incarnation;
	size_t bytes = 0;
	uint8_t *before, *now = NULL;
	int ret;

	for (int i = 0; i < nr; i++) {
		struct test_batch b;

		before = now;
		now = image_read(paths[i], &bytes);
		if (!before) {
			before = calloc(1, bytes);
			ret = before ? timeline_volume(tl, "data", bytes, "", &v) : -ENOMEM;
			if (!ret)
				ret = timeline_grant(tl, (const uint8_t *)"0123456789abcdef",
						     &incarnation);
			if (ret)
				die("volume", ret);
		}
		test_batch_begin(&b, i + 1, seq_pack(1, i + 1));
		b.codec = UNIT_LZ4;
		add_changes(&b, before, now, bytes);
		b.volumes[b.nr_volumes++] = (struct commit_volume){ .size_bytes = bytes };
		test_batch_end(&b);
		append(env, tl, &b);
		free(before);
	}
	free(now);
}

/* -- what there must be -- */

static void print_volume(struct view *v, uint64_t cut, const struct timeline_volume *volume)
{
	uint64_t size = view_size(v, volume->id), at = 0, nr_bad = 0;
	uint8_t sum[EVP_MAX_MD_SIZE], *content = calloc(1, size ? size : 1);
	struct view_extent x;
	unsigned int sum_bytes;
	int ret = content ? 0 : -ENOMEM;

	for (; at < size && !ret; at += x.length_bytes) {
		ret = view_next(v, volume->id, at, &x);
		if (!ret && x.kind == EXTENT_UNREADABLE)
			nr_bad += x.length_bytes / SECTOR_BYTES;
		else if (!ret)
			ret = view_read(v, volume->id, at, content + at, x.length_bytes);
	}
	if (!ret && !EVP_Digest(content, size, sum, &sum_bytes, EVP_sha256(), NULL))
		ret = -EIO;
	if (ret)
		die(volume->name, ret);
	printf("%" PRIu64 " %s %" PRIu64 " ", cut, volume->name, size);
	for (unsigned int i = 0; i < sum_bytes; i++)
		printf("%02x", sum[i]);
	printf(" %" PRIu64 "\n", nr_bad);
	free(content);
}

static void print_points(struct timeline *tl)
{
	const struct timeline_commit *commits;
	const struct timeline_volume *volumes;
	size_t nr = timeline_commits(tl, &commits), nr_volumes = timeline_volumes(tl, &volumes);

	for (size_t i = 0; i < nr; i++) {
		struct view *v;
		int ret;

		if (!commits[i].listed)
			continue;
		ret = view_open(tl, commits[i].cut_seq, &v, why);
		if (ret)
			die("view", ret);
		for (size_t j = 0; j < nr_volumes; j++)
			print_volume(v, commits[i].cut_seq, &volumes[j]);
		view_close(v);
	}
}

int main(int argc, char **argv)
{
	struct keyring *keys = NULL;
	bool images = argc >= 4 && !strcmp(argv[1], "images");
	bool thinned = argc == 5 && !strcmp(argv[1], "thinned");
	struct timeline *tl;
	struct env *env;
	int ret;

	if (!images && !thinned && (argc < 5 || strcmp(argv[1], "history") != 0)) {
		fprintf(stderr, "usage: golden_make history STORE SEED NR [KEYS...] | thinned STORE SEED NR | images STORE IMAGE...\n");
		return 2;
	}
	ret = env_posix_create(NULL, &env);
	if (ret)
		die("environment", ret);
	clock_take(env);
	tl = create(env, argv[2]);
	if (images)
		make_images(env, tl, argv + 3, argc - 3);
	else
		make_history(env, tl, strtoull(argv[3], NULL, 10), strtoul(argv[4], NULL, 10),
			     argv + 5, argc - 5, &keys, thinned);
	ret = test_index(env, tl);
	if (ret)
		die("runs", ret);
	print_points(tl);
	timeline_close(tl);
	keyring_free(keys);
	env_posix_destroy(env);
	return 0;
}
