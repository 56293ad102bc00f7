/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * extent_sweep - which of many overlapping extents is seen where.
 *
 * Pure. Used twice: the shipper coalesces a batch with it (newest record wins),
 * the view finds the newest version of each block with it.
 */
#ifndef BLKSHIP_EXTENT_SWEEP_H
#define BLKSHIP_EXTENT_SWEEP_H

#include <stddef.h>
#include <stdint.h>

/* An input: [offset, offset + length) of a volume; a higher rank hides a lower. */
struct sweep_extent {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint64_t rank;		/* unique within one sweep */
	uint32_t item;		/* the caller's index */
	uint16_t volume;
};

/* An output: the part of input @item that is seen. In order of volume, offset. */
struct sweep_piece {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint32_t item;
	uint16_t volume;
};

/**
 * extent_sweep - sort and sweep
 * @in: sorted in place by (volume, offset, rank descending)
 * @nr: how many
 * @emit: called for each seen piece, in order; two pieces of one item that touch
 *	come as one
 * Time O(n log n), memory O(overlap depth).
 * Return: 0; -ENOMEM; or what @emit returned when not 0.
 */
int extent_sweep(struct sweep_extent *in, size_t nr,
		 int (*emit)(void *arg, const struct sweep_piece *piece), void *arg);

#endif
