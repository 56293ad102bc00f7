// SPDX-License-Identifier: GPL-2.0
/* See dirty_core.h for what the maps promise. */
#include <linux/bitops.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "dirty_core.h"

u64 blkship_dirty_regions(u64 size_bytes)
{
	return size_bytes / BLKSHIP_REGION_BYTES +
	       (size_bytes % BLKSHIP_REGION_BYTES ? 1 : 0);
}

u64 blkship_dirty_words(u64 nr_regions)
{
	return (nr_regions + 63) / 64;
}

void blkship_dirty_init(struct blkship_dirty *d, u64 nr_regions, u64 *dirty,
			u64 *repairing)
{
	d->dirty = dirty;
	d->repairing = repairing;
	d->nr_regions = nr_regions;
	d->nr_dirty = 0;
	d->nr_repairing = 0;
}

/* Bits first..last of a word, both within 0..63. */
static u64 word_mask(u32 first, u32 last)
{
	return (~0ULL >> (63 - last)) & (~0ULL << first);
}

void blkship_dirty_mark(struct blkship_dirty *d, u64 offset_bytes,
			u64 length_bytes)
{
	u64 first = offset_bytes / BLKSHIP_REGION_BYTES;
	u64 last, word;

	if (!length_bytes || first >= d->nr_regions ||
	    d->nr_dirty == d->nr_regions)
		return;
	last = offset_bytes + length_bytes - 1;
	last = last < offset_bytes ? d->nr_regions - 1 :
				     last / BLKSHIP_REGION_BYTES;
	last = min_t(u64, last, d->nr_regions - 1);
	for (word = first / 64; word <= last / 64; word++) {
		u64 mask = word_mask(word == first / 64 ? first % 64 : 0,
				     word == last / 64 ? last % 64 : 63);

		d->nr_dirty += hweight64(mask & ~d->dirty[word]);
		d->dirty[word] |= mask;
	}
}

/* The part of a window's word i that lies in the window and in the map. */
static u64 window_mask(const struct blkship_dirty *d, u64 first, u32 count,
		       u32 i)
{
	u64 begin = first + (u64)i * 64;
	u64 end = min_t(u64, first + count, d->nr_regions);

	if (begin >= end)
		return 0;
	return word_mask(0, min_t(u64, end - begin, 64) - 1);
}

/* Keep the lowest n set bits. */
static u64 lowest_bits(u64 bits, u32 n)
{
	u64 kept = 0;

	for (; n && bits; n--) {
		kept |= bits & -bits;
		bits &= bits - 1;
	}
	return kept;
}

u32 blkship_dirty_take(struct blkship_dirty *d, u64 first, u32 count,
		       u32 max_regions, u64 *bitmap)
{
	u32 taken = 0, i;

	for (i = 0; i < (count + 63) / 64; i++) {
		u64 mask = window_mask(d, first, count, i), got = 0;

		if (mask && taken < max_regions) {
			u64 word = first / 64 + i;

			got = lowest_bits(mask & d->dirty[word] &
					  ~d->repairing[word],
					  max_regions - taken);
			d->dirty[word] &= ~got;
			d->repairing[word] |= got;
			taken += hweight64(got);
		}
		bitmap[i] = got;
	}
	d->nr_dirty -= taken;
	d->nr_repairing += taken;
	return taken;
}

void blkship_dirty_clear(struct blkship_dirty *d, u64 first, u32 count,
			 const u64 *bitmap)
{
	u32 i;

	for (i = 0; i < (count + 63) / 64; i++) {
		u64 mask = window_mask(d, first, count, i) & bitmap[i];
		u64 word = first / 64 + i;

		if (!mask)
			continue;
		d->nr_repairing -= hweight64(d->repairing[word] & mask);
		d->repairing[word] &= ~mask;
	}
}

void blkship_dirty_read(const struct blkship_dirty *d, const u64 *map,
			u64 first, u32 count, u64 *bitmap)
{
	u32 i;

	for (i = 0; i < (count + 63) / 64; i++) {
		u64 mask = window_mask(d, first, count, i);

		bitmap[i] = mask ? map[first / 64 + i] & mask : 0;
	}
}

void blkship_dirty_fall_back(struct blkship_dirty *d, u64 first_word,
			     u64 nr_words)
{
	u64 end = min_t(u64, first_word + nr_words,
			blkship_dirty_words(d->nr_regions));
	u64 word;

	for (word = first_word; word < end; word++) {
		d->nr_dirty += hweight64(d->repairing[word] & ~d->dirty[word]);
		d->nr_repairing -= hweight64(d->repairing[word]);
		d->dirty[word] |= d->repairing[word];
		d->repairing[word] = 0;
	}
}
