// SPDX-License-Identifier: GPL-2.0-only
/* Views against a map of sectors that knows nothing of segments, sweeps or units. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/view.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define SECTORS 256
#define VOLUMES 2
#define BATCHES 24
#define MAX_EXTENTS (BATCHES * 8)

static char why[TIMELINE_TEXT_BYTES];

struct extent {
	uint64_t label, readback_no, seed;
	uint32_t first, nr;	/* sectors */
	uint16_t volume;
	uint8_t kind;
};

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	uint64_t random;
	struct extent extents[MAX_EXTENTS];
	size_t nr_extents;
	uint64_t cuts[BATCHES];
	uint64_t sizes[BATCHES];	/* of volume 1; volume 0 keeps its size */
};

static uint64_t below(struct rig *r, uint64_t bound)
{
	return unit_random(&r->random) % bound;
}

static void add_extent(struct rig *r, struct test_batch *b, uint64_t stamp, uint64_t readback_no)
{
	static const uint8_t kinds[] = { EXTENT_DATA, EXTENT_DATA, EXTENT_DATA, EXTENT_ZERO,
					 EXTENT_DISCARD, EXTENT_UNREADABLE };
	struct extent *e = &r->extents[r->nr_extents++];

	e->volume = below(r, VOLUMES);
	e->first = below(r, SECTORS - 1);
	e->nr = 1 + below(r, below(r, 3) ? 16 : 100);
	if (e->nr > SECTORS - e->first)
		e->nr = SECTORS - e->first;
	e->kind = kinds[below(r, stamp ? 6 : 5)];
	e->seed = r->nr_extents;
	e->label = stamp ? stamp : b->cut_seq;
	e->readback_no = readback_no;
	test_batch_extent(b, e->volume, e->first * 512, e->nr * 512, e->kind, e->seed, stamp,
			  readback_no);
}

/*
 * Random history: records in every batch; a hold is opened, read-backs stamped in
 * it come one or more batches later, then it is closed.
 */
static void build(struct rig *r, uint64_t seed)
{
	uint64_t readback_no = 0, stamp = 0, hold = 0, from = 0;

	r->random = seed * 2654435761u + 1;
	r->nr_extents = 0;
	sim_env_reset(r->sim, seed);
	assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_CREATE, "", &r->tl, why), 0);
	timeline_set_limits(r->tl, 16384 << below(r, 4), 4096 << below(r, 4));
	assert_int_equal(test_greet(r->tl, "a", SECTORS * 512), 0);
	assert_int_equal(test_greet(r->tl, "b", SECTORS * 512), 0);
	for (uint64_t n = 0; n < BATCHES; n++) {
		struct test_batch b;

		r->cuts[n] = seq_pack(1, n * 10 + 10);
		r->sizes[n] = (SECTORS - below(r, 3)) * 512;
		test_batch_begin(&b, n + 1, r->cuts[n]);
		b.codec = below(r, 2) ? UNIT_LZ4 : UNIT_STORED;
		for (uint64_t i = below(r, 5); i > 0; i--)
			add_extent(r, &b, 0, 0);
		if (stamp) {
			for (uint64_t i = below(r, 4); i > 0; i--)
				add_extent(r, &b, stamp, ++readback_no);
			b.holds[0] = (struct commit_hold){ hold, from, 0 };
			b.nr_holds = 1;
			if (below(r, 2)) {
				b.holds[0].end_seq = r->cuts[n];
				stamp = 0;
			}
		} else if (below(r, 3) == 0) {
			from = r->cuts[n];
			stamp = from;	/* t <= p = this cut */
			b.holds[0] = (struct commit_hold){ ++hold, from, 0 };
			b.nr_holds = 1;
		}
		b.volumes[0] = (struct commit_volume){ .volume = 0, .size_bytes = SECTORS * 512 };
		b.volumes[1] = (struct commit_volume){ .volume = 1, .size_bytes = r->sizes[n] };
		b.nr_volumes = 2;
		test_batch_end(&b);
		assert_int_equal(test_append(r->sim, r->tl, &b), 0);
	}
}

/* The extent that is seen in a sector, by the rule and nothing else. */
static const struct extent *seen(const struct rig *r, uint64_t cut, uint16_t volume,
				 uint32_t sector)
{
	const struct extent *best = NULL;

	for (size_t i = 0; i < r->nr_extents; i++) {
		const struct extent *e = &r->extents[i];
		int newer;

		if (e->volume != volume || e->label > cut || sector < e->first ||
		    sector >= e->first + e->nr)
			continue;
		if (!best)
			newer = 1;
		else if (e->label != best->label)
			newer = e->label > best->label;
		else if (!e->readback_no != !best->readback_no)
			newer = e->readback_no != 0;
		else
			newer = e->readback_no >= best->readback_no;
		if (newer)
			best = e;
	}
	return best;
}

static void check_sector(const struct rig *r, uint64_t cut, uint16_t volume, uint32_t sector,
			 const uint8_t *got)
{
	const struct extent *e = seen(r, cut, volume, sector);
	static uint8_t zeroes[512], want[100 * 512];
	static uint64_t filled, filled_nr;

	if (!e || e->kind != EXTENT_DATA) {
		assert_memory_equal(got, zeroes, 512);
		return;
	}
	if (filled != e->seed || filled_nr != e->nr)
		test_fill(want, e->nr * 512, e->seed);
	filled = e->seed;
	filled_nr = e->nr;
	assert_memory_equal(got, want + (sector - e->first) * 512, 512);
}

struct copy {
	uint8_t buf[SECTORS * 512];
	bool got[SECTORS];
};

static int copy_put(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct copy *c = arg;

	assert_true(offset_bytes + bytes <= sizeof(c->buf));
	memcpy(c->buf + offset_bytes, buf, bytes);
	for (size_t s = 0; s < bytes / 512; s++) {
		assert_false(c->got[offset_bytes / 512 + s]);
		c->got[offset_bytes / 512 + s] = true;
	}
	return 0;
}

/* In the order of the store: all data, once, and nothing else. */
static void check_copy(struct rig *r, struct view *v, uint64_t n)
{
	struct copy *c = malloc(sizeof(*c));
	uint64_t at;

	for (uint16_t volume = 0; volume < VOLUMES; volume++) {
		memset(c, 0, sizeof(*c));
		assert_int_equal(view_copy(v, volume, copy_put, c, &at), 0);
		for (uint32_t s = 0; s < view_size(v, volume) / 512; s++) {
			const struct extent *e = seen(r, r->cuts[n], volume, s);

			assert_int_equal(c->got[s], e && e->kind == EXTENT_DATA);
			if (c->got[s])
				check_sector(r, r->cuts[n], volume, s, c->buf + s * 512);
		}
	}
	free(c);
}

static void check_view(struct rig *r, struct view *v, uint64_t n)
{
	uint8_t buf[SECTORS * 512];

	assert_int_equal(view_size(v, 0), SECTORS * 512);
	assert_int_equal(view_size(v, 1), r->sizes[n]);
	assert_int_equal(view_size(v, 2), 0);
	assert_int_equal(view_read(v, 1, r->sizes[n] - 512, buf, 1024), -ERANGE);
	for (uint16_t volume = 0; volume < VOLUMES; volume++) {
		uint64_t at = 0, size = view_size(v, volume);
		struct view_extent x;

		while (view_next(v, volume, at, &x) == 0) {
			assert_int_equal(x.offset_bytes, at);
			assert_in_range(x.length_bytes, 512, size - at);
			for (uint64_t s = at; s < at + x.length_bytes; s += 512) {
				const struct extent *e = seen(r, r->cuts[n], volume, s / 512);

				assert_int_equal(x.kind, e ? e->kind : EXTENT_ZERO);
			}
			if (x.kind == EXTENT_UNREADABLE) {
				assert_int_equal(view_read(v, volume, at, buf, 512), -EIO);
			} else {
				/* In pieces that do not end where extents end. */
				uint64_t done = 0, part;

				for (; done < x.length_bytes; done += part) {
					part = 512 * (1 + below(r, 40));
					if (part > x.length_bytes - done)
						part = x.length_bytes - done;
					assert_int_equal(view_read(v, volume, at + done,
								   buf + at + done, part), 0);
				}
				for (uint64_t s = at; s < at + x.length_bytes; s += 512)
					check_sector(r, r->cuts[n], volume, s / 512, buf + s);
			}
			at += x.length_bytes;
		}
		assert_int_equal(at, size);
	}
}

static void a_view_is_the_newest_version_of_each_sector(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct timeline *reader;
	struct view *v;

	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	for (uint64_t seed = 1; seed <= 24; seed++) {
		build(r, seed);
		assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_READ_ONLY, NULL, &reader,
					       why), 0);
		for (uint64_t n = 0; n < BATCHES; n++) {
			/* Live, and from a second opener. */
			assert_int_equal(view_open(n % 2 ? r->tl : reader, r->cuts[n], &v, why),
					 0);
			check_view(r, v, n);
			check_copy(r, v, n);
			view_close(v);
		}
		assert_int_equal(view_open(r->tl, r->cuts[0] + 1, &v, why), -ENOENT);
		timeline_close(reader);
		timeline_close(r->tl);
	}
	sim_env_destroy(r->sim);
	free(r);
}

/* Put right again it is read again, and was the file that was named. */
static void check_mended(struct rig *r, struct view *v, const char *path, uint64_t offset, int bit,
			 uint16_t volume, uint32_t sector)
{
	uint8_t buf[512];
	char named[64];

	view_fault(v, named, sizeof(named));
	assert_string_equal(named, path);
	sim_env_flip(r->sim, path, offset, bit);
	assert_int_equal(view_read(v, volume, sector * 512, buf, 512), 0);
	check_sector(r, r->cuts[BATCHES - 1], volume, sector, buf);
	view_fault(v, named, sizeof(named));
	assert_string_equal(named, "");
	sim_env_flip(r->sim, path, offset, bit);
}

/* Whatever bit is turned: right content or an error, never wrong content. */
static void a_damaged_segment_is_an_error_not_wrong_content(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	unsigned int refused = 0;

	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	build(r, 3);
	timeline_close(r->tl);
	for (int i = 0; i < 160; i++) {
		struct timeline *tl;
		uint64_t bytes, offset;
		struct view *v;
		char path[64];
		int ret;

		snprintf(path, sizeof(path), "/tl/%016x.seg", 1 + i % 2);
		if (!sim_env_content(r->sim, path, &bytes))
			continue;
		offset = below(r, bytes);
		sim_env_flip(r->sim, path, offset, i % 8);
		ret = timeline_open(r->env, "/tl", TIMELINE_READ_ONLY, NULL, &tl, why);
		assert_int_equal(ret, 0);
		ret = view_open(tl, r->cuts[BATCHES - 1], &v, why);
		if (ret == 0) {
			for (uint16_t volume = 0; volume < VOLUMES; volume++)
				for (uint32_t s = 0; s < view_size(v, volume) / 512; s++) {
					uint8_t buf[512];

					ret = view_read(v, volume, s * 512, buf, 512);
					refused += ret == -EBADMSG;
					if (ret != 0 && ret != -EIO)
						assert_int_equal(ret, -EBADMSG);
					if (ret == 0)
						check_sector(r, r->cuts[BATCHES - 1], volume, s, buf);
					/* What opening has met it does not look for again. */
					if (ret == -EBADMSG && !timeline_damage(tl))
						check_mended(r, v, path, offset, i % 8, volume, s);
				}
			view_close(v);
		} else {
			assert_true(ret == -ENOENT || ret == -EBADMSG);
		}
		timeline_close(tl);
		sim_env_flip(r->sim, path, offset, i % 8);
	}
	/* One each, at most: what was put right is in hand. */
	assert_true(refused > 5);
	sim_env_destroy(r->sim);
	free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_view_is_the_newest_version_of_each_sector),
		cmocka_unit_test(a_damaged_segment_is_an_error_not_wrong_content),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
