// SPDX-License-Identifier: GPL-2.0
/* See pieces.h. */
#include <linux/bitmap.h>
#include <linux/blkdev.h>
#include <linux/vmalloc.h>

#include "capture.h"
#include "pieces.h"

int blkship_pieces_alloc(struct blkship_pieces_pool *pool,
			 const struct blkship_ring *ring)
{
	u32 record_bytes = blkship_record_max_bytes(ring), i;
	size_t each = struct_size((struct blkship_pieces *)NULL, begun,
				  BITS_TO_LONGS(record_bytes >> SECTOR_SHIFT));
	/*
	 * A write that is longer than a record makes less than two for each
	 * record's length, and its payload is in the ring until all have ended.
	 */
	u32 count = 2 * (ring->payload_bytes / record_bytes);

	INIT_LIST_HEAD(&pool->free);
	pool->memory = vzalloc(array_size(count, each));
	if (!pool->memory)
		return -ENOMEM;
	for (i = 0; i < count; i++) {
		struct blkship_pieces *p = pool->memory + i * each;

		list_add_tail(&p->free, &pool->free);
	}
	return 0;
}

void blkship_pieces_free(struct blkship_pieces_pool *pool)
{
	vfree(pool->memory);
}

struct blkship_pieces *blkship_pieces_get(struct blkship_pieces_pool *pool,
					  u32 sectors)
{
	struct blkship_pieces *p =
		list_first_entry_or_null(&pool->free, struct blkship_pieces,
					 free);

	if (!p)
		return NULL;
	list_del(&p->free);
	p->crc_sum = 0;
	p->left_sectors = sectors;
	p->copying = 0;
	p->ended = false;
	bitmap_zero(p->begun, sectors);
	return p;
}

void blkship_pieces_put(struct blkship_pieces_pool *pool,
			struct blkship_pieces *p)
{
	list_add(&p->free, &pool->free);
}

bool blkship_pieces_begin(struct blkship_pieces *p, u32 first, u32 sectors)
{
	if (find_next_bit(p->begun, first + sectors, first) < first + sectors)
		return false;
	bitmap_set(p->begun, first, sectors);
	p->copying++;
	return true;
}

void blkship_pieces_copied(struct blkship_pieces *p, u32 sectors, u32 crc_share)
{
	p->crc_sum ^= crc_share;
	p->left_sectors -= sectors;
	p->copying--;
}
