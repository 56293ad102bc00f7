// SPDX-License-Identifier: GPL-2.0-only
/* history - random batches for a timeline, and what any point of it must show. */
#include "history.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/array.h"
#include "sim_disk.h"

#define UNIT_SECTORS (UNIT_MAX_DATA_BYTES / SECTOR_BYTES)

/* xorshift64*, by Vigna */
static uint64_t below(struct history *h, uint64_t bound)
{
	h->random ^= h->random >> 12;
	h->random ^= h->random << 25;
	h->random ^= h->random >> 27;
	return h->random * UINT64_C(2685821657736338717) % bound;
}

/* Sector @sector of the volume as the extent with this seed has it. */
static void sector_fill(uint64_t *words, uint64_t seed, uint32_t sector)
{
	for (size_t i = 0; i < SECTOR_BYTES / 8; i++)
		words[i] = seed << 32 | (uint64_t)sector << 8 | i;
}

/* -- making -- */

void history_init(struct history *h, uint32_t sectors)
{
	*h = (struct history){ .sectors = sectors };
	h->seen = sim_alloc(sectors * sizeof(*h->seen));
	h->buf = sim_alloc((size_t)sectors * SECTOR_BYTES);
}

void history_fini(struct history *h)
{
	free(h->extents);
	free(h->batches);
	free(h->seen);
	free(h->order);
	free(h->buf);
}

void history_reset(struct history *h, uint64_t seed)
{
	h->random = (seed + 1) * 0x9e3779b97f4a7c15u;
	h->nr_extents = h->nr_batches = 0;
	h->why[0] = 0;
}

int history_greet(const struct history *h, struct timeline *tl)
{
	static const char *const names[HISTORY_VOLUMES] = { "vda", "vdb" };
	const struct timeline_volume *v;
	struct timeline_state state;
	uint32_t incarnation;
	int ret = 0;

	for (int i = 0; i < HISTORY_VOLUMES && !ret; i++)
		ret = timeline_volume(tl, names[i], h->sectors * (uint64_t)SECTOR_BYTES, "", &v);
	timeline_state(tl, &state);
	if (!ret && !state.incarnation)
		ret = timeline_grant(tl, (const uint8_t *)"0123456789abcdef", &incarnation);
	return ret;
}

/* Where things happen: often the same places, often whole blocks, sometimes all of it. */
static void choose_place(struct history *h, struct history_extent *e, uint32_t most)
{
	e->volume = below(h, 4) == 0;
	if (below(h, 2)) {
		e->first = below(h, h->sectors / 8) * 8;
		e->nr = 8 << below(h, 3);
	} else {
		e->first = below(h, below(h, 2) ? 24 : h->sectors - 1);
		e->nr = 1 + below(h, below(h, 3) ? 12 : most);
	}
	if (e->nr > most)
		e->nr = most;
	if (e->nr > h->sectors - e->first)
		e->nr = h->sectors - e->first;
}

static void add_unit(struct history *h, struct test_batch *b, uint64_t stamp,
		     uint64_t *readback_no)
{
	static const uint8_t kinds[] = { EXTENT_DATA, EXTENT_DATA, EXTENT_DATA, EXTENT_DATA,
					 EXTENT_ZERO, EXTENT_DISCARD, EXTENT_UNREADABLE };
	static uint8_t data[UNIT_MAX_DATA_BYTES];
	uint64_t first_no = stamp ? *readback_no + 1 : 0;
	uint32_t used = 0, nr = 1 + below(h, 4), last = 0;

	test_batch_unit_begin();
	for (uint32_t i = 0; i < nr; i++) {
		struct history_extent e = { .label = stamp ? stamp : b->cut_seq,
					    .seed = h->nr_extents + 1 };

		e.kind = kinds[below(h, stamp ? 7 : 6)];
		choose_place(h, &e, e.kind == EXTENT_DATA ? 32 : h->sectors);
		if (e.kind == EXTENT_DATA && used + e.nr > UNIT_SECTORS)
			break;
		for (uint32_t s = 0; s < e.nr && e.kind == EXTENT_DATA; s++)
			sector_fill((uint64_t *)(data + (size_t)(used + s) * SECTOR_BYTES), e.seed,
				    e.first + s);
		last = test_batch_unit_add(e.volume, e.first * (uint64_t)SECTOR_BYTES,
					   e.nr * (uint64_t)SECTOR_BYTES, e.kind,
					   data + (size_t)used * SECTOR_BYTES);
		if (e.kind == EXTENT_DATA)
			used += e.nr;
		e.readback_no = stamp ? first_no + last : 0;
		if (!array_reserve(&h->extents, &h->max_extents, h->nr_extents + 1))
			abort();
		h->extents[h->nr_extents++] = e;
	}
	test_batch_unit_end(b, stamp, first_no);
	if (stamp)
		*readback_no = first_no + last;
}

/* Open a hold, or go on in the open one: read-backs with its stamp, and its end. */
static void go_on_holding(struct history *h, struct history_batch *n, struct test_batch *b)
{
	if (n->stamp) {
		for (uint64_t i = below(h, 4); i > 0; i--)
			add_unit(h, b, n->stamp, &n->readback_no);
		b->holds[0] = (struct commit_hold){ n->hold, n->hold_from, 0 };
		b->nr_holds = 1;
		if (below(h, 2)) {
			b->holds[0].end_seq = b->cut_seq;
			n->stamp = 0;
		}
	} else if (below(h, 3) == 0) {
		n->hold_from = b->cut_seq;
		n->stamp = b->cut_seq;
		b->holds[0] = (struct commit_hold){ ++n->hold, n->hold_from, 0 };
		b->nr_holds = 1;
	}
}

void history_batch(struct history *h, struct test_batch *b)
{
	struct history_batch n = { 0 };
	uint64_t ordinal = h->nr_batches + 1;

	if (!array_reserve(&h->batches, &h->max_batches, ordinal))
		abort();
	if (h->nr_batches)
		n = h->batches[h->nr_batches - 1];
	n.cut = seq_pack(1, ordinal * 10);
	n.size_bytes[0] = h->sectors * (uint64_t)SECTOR_BYTES;
	n.size_bytes[1] = (h->sectors - below(h, 3) * 5) * (uint64_t)SECTOR_BYTES;
	test_batch_begin(b, ordinal, n.cut);
	b->codec = below(h, 8) ? UNIT_STORED : UNIT_LZ4;
	for (uint64_t i = below(h, 4); i > 0; i--)
		add_unit(h, b, 0, &n.readback_no);
	go_on_holding(h, &n, b);
	for (int i = 0; i < HISTORY_VOLUMES; i++)
		b->volumes[b->nr_volumes++] = (struct commit_volume){
			.volume = i, .size_bytes = n.size_bytes[i] };
	test_batch_end(b);
	n.nr_extents = h->nr_extents;
	h->batches[h->nr_batches++] = n;
}

void history_truncate(struct history *h, size_t nr)
{
	if (nr >= h->nr_batches)
		return;
	h->nr_batches = nr;
	h->nr_extents = nr ? h->batches[nr - 1].nr_extents : 0;
}

/* -- checking -- */

static int order_compare(const void *a, const void *b, void *arg)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct history_extent *x = (const struct history_extent *)arg + i;
	const struct history_extent *y = (const struct history_extent *)arg + j;

	if (x->label != y->label)
		return x->label < y->label ? -1 : 1;
	if (!x->readback_no != !y->readback_no)
		return x->readback_no ? 1 : -1;
	if (x->readback_no != y->readback_no)
		return x->readback_no < y->readback_no ? -1 : 1;
	return i < j ? -1 : i > j;	/* as they came */
}

/* Paint them from old to new. */
static void model_paint(struct history *h, uint64_t cut, uint16_t volume)
{
	size_t nr = 0;

	if (!array_reserve(&h->order, &h->max_order, h->nr_extents + 1))
		abort();
	for (size_t i = 0; i < h->nr_extents; i++)
		if (h->extents[i].label <= cut && h->extents[i].volume == volume)
			h->order[nr++] = i;
	qsort_r(h->order, nr, sizeof(*h->order), order_compare, h->extents);
	memset(h->seen, 0, h->sectors * sizeof(*h->seen));
	for (size_t i = 0; i < nr; i++) {
		const struct history_extent *e = &h->extents[h->order[i]];

		for (uint32_t s = 0; s < e->nr; s++)
			h->seen[e->first + s] = e;
	}
}

static bool wrong(struct history *h, size_t index, uint16_t volume, uint64_t offset,
		  const char *what, int ret)
{
	snprintf(h->why, sizeof(h->why), "batch %zu, volume %u, byte %llu: %s (%d)", index + 1,
		 volume, (unsigned long long)offset, what, ret);
	return false;
}

static bool sector_right(const struct history_extent *e, uint32_t sector, const uint8_t *got)
{
	uint64_t want[SECTOR_BYTES / 8] = { 0 };

	if (e && e->kind == EXTENT_DATA)
		sector_fill(want, e->seed, sector);
	return memcmp(got, want, sizeof(want)) == 0;
}

/* One stretch: its kind in every sector, its content read in pieces of any size. */
static bool stretch_right(struct history *h, struct view *v, size_t index, uint16_t volume,
			  const struct view_extent *x)
{
	uint64_t at = x->offset_bytes, end = at + x->length_bytes, part;
	int ret;

	for (uint64_t s = at; s < end; s += SECTOR_BYTES) {
		const struct history_extent *e = h->seen[s / SECTOR_BYTES];

		if (x->kind != (e ? e->kind : EXTENT_ZERO))
			return wrong(h, index, volume, s, "kind", x->kind);
	}
	if (x->kind == EXTENT_UNREADABLE) {
		ret = view_read(v, volume, at, h->buf, SECTOR_BYTES);
		return ret == -EIO || wrong(h, index, volume, at, "unreadable sector read", ret);
	}
	for (; at < end; at += part) {
		part = SECTOR_BYTES * (1 + below(h, 40));
		if (part > end - at)
			part = end - at;
		ret = view_read(v, volume, at, h->buf + at, part);
		if (ret)
			return wrong(h, index, volume, at, "view_read", ret);
		for (uint64_t s = at; s < at + part; s += SECTOR_BYTES)
			if (!sector_right(h->seen[s / SECTOR_BYTES], s / SECTOR_BYTES, h->buf + s))
				return wrong(h, index, volume, s, "content", 0);
	}
	return true;
}

static bool volume_right(struct history *h, struct view *v, size_t index, uint16_t volume)
{
	uint64_t size = h->batches[index].size_bytes[volume], at = 0;
	struct view_extent x;
	int ret;

	while ((ret = view_next(v, volume, at, &x)) == 0) {
		if (x.offset_bytes != at || x.length_bytes == 0 || x.length_bytes > size - at)
			return wrong(h, index, volume, at, "stretch", 0);
		if (!stretch_right(h, v, index, volume, &x))
			return false;
		at += x.length_bytes;
	}
	if (ret != -ENOENT || at != size)
		return wrong(h, index, volume, at, "view_next", ret);
	return true;
}

/* Here and there, so that no range that is in hand helps. */
static bool reads_right(struct history *h, struct view *v, size_t index, uint16_t volume)
{
	for (int i = 0; i < 8; i++) {
		uint64_t s = below(h, h->batches[index].size_bytes[volume] / SECTOR_BYTES);
		const struct history_extent *e = h->seen[s];
		int ret = view_read(v, volume, s * SECTOR_BYTES, h->buf, SECTOR_BYTES);

		if (ret != (e && e->kind == EXTENT_UNREADABLE ? -EIO : 0) ||
		    (!ret && !sector_right(e, s, h->buf)))
			return wrong(h, index, volume, s * SECTOR_BYTES, "read by itself", ret);
	}
	return true;
}

/* In order and in small steps: what is looked up ahead begins and ends anywhere. */
static bool steps_right(struct history *h, struct view *v, size_t index, uint16_t volume)
{
	uint64_t nr = h->batches[index].size_bytes[volume] / SECTOR_BYTES;

	for (uint64_t s = 0; s < nr; s++) {
		const struct history_extent *e = h->seen[s];
		int ret = view_read(v, volume, s * SECTOR_BYTES, h->buf, SECTOR_BYTES);

		if (ret != (e && e->kind == EXTENT_UNREADABLE ? -EIO : 0) ||
		    (!ret && !sector_right(e, s, h->buf)))
			return wrong(h, index, volume, s * SECTOR_BYTES, "read in order", ret);
	}
	return true;
}

struct copy {
	struct history *h;
	uint64_t nr;
	bool right;
};

static int copy_put(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct copy *c = arg;

	for (uint64_t s = 0; s < bytes / SECTOR_BYTES; s++, c->nr++) {
		uint64_t sector = offset_bytes / SECTOR_BYTES + s;
		const struct history_extent *e = sector < c->h->sectors ? c->h->seen[sector] : NULL;

		c->right = c->right && e && e->kind == EXTENT_DATA &&
			   sector_right(e, sector, (const uint8_t *)buf + s * SECTOR_BYTES);
	}
	return 0;
}

static bool copy_right(struct history *h, struct view *v, size_t index, uint16_t volume)
{
	struct copy c = { .h = h, .right = true };
	uint64_t at, want = 0, size = view_size(v, volume);
	uint64_t middle = below(h, size / SECTOR_BYTES + 1) * SECTOR_BYTES;
	int ret = view_copy_range(v, volume, middle, size, copy_put, &c, &at);

	if (!ret)
		ret = view_copy_range(v, volume, 0, middle, copy_put, &c, &at);

	for (uint32_t s = 0; s < size / SECTOR_BYTES; s++)
		want += h->seen[s] && h->seen[s]->kind == EXTENT_DATA;
	return (!ret && c.right && c.nr == want) ||
	       wrong(h, index, volume, at, "view_copy", ret);
}

bool history_check(struct history *h, struct view *v, size_t index)
{
	bool right = true;

	for (uint16_t volume = 0; volume < HISTORY_VOLUMES && right; volume++) {
		if (view_size(v, volume) != h->batches[index].size_bytes[volume])
			return wrong(h, index, volume, view_size(v, volume), "size", 0);
		model_paint(h, h->batches[index].cut, volume);
		/* In this order: the later ones have a large range in hand. */
		right = reads_right(h, v, index, volume) &&
			steps_right(h, v, index, volume) &&
			volume_right(h, v, index, volume) &&
			copy_right(h, v, index, volume);
	}
	return right;
}

bool history_sample(struct history *h, struct view *v, size_t index, unsigned int nr,
		    int refusal)
{
	for (unsigned int i = 0; i < nr; i++) {
		uint16_t volume = i * HISTORY_VOLUMES / nr;
		uint64_t s = below(h, h->batches[index].size_bytes[volume] / SECTOR_BYTES);
		const struct history_extent *e;
		int ret;

		if (i * HISTORY_VOLUMES % nr < HISTORY_VOLUMES)
			model_paint(h, h->batches[index].cut, volume);
		e = h->seen[s];
		ret = view_read(v, volume, s * SECTOR_BYTES, h->buf, SECTOR_BYTES);
		if (ret == refusal || (ret == -EIO && e && e->kind == EXTENT_UNREADABLE))
			continue;
		if (ret || !sector_right(e, s, h->buf))
			return wrong(h, index, volume, s * SECTOR_BYTES, "sample", ret);
	}
	return true;
}

bool history_point(struct history *h, struct timeline *tl, size_t index)
{
	char why[TIMELINE_TEXT_BYTES];
	struct view *v;
	bool right;
	int ret = view_open(tl, h->batches[index].cut, &v, why);

	if (ret) {
		snprintf(h->why, sizeof(h->why), "batch %zu: view_open: %d %.180s", index + 1, ret,
			 why);
		return false;
	}
	right = history_check(h, v, index);
	view_close(v);
	return right;
}
