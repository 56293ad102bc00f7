/* SPDX-License-Identifier: GPL-2.0 */
/*
 * batch - some blocks that are read from or written to one device together, and waited
 * for with a limit.
 *
 * Who waits gives up at the limit, whatever the device does. What he leaves behind is
 * late: it goes when the device has answered, if ever. Until then its memory stays, the
 * device stays open and the module loaded, and nothing more is sent to that device
 * from any batch: what is late might overtake it.
 */
#ifndef BLKSHIP_BATCH_H
#define BLKSHIP_BATCH_H

#include <linux/blk_types.h>

#define BLKSHIP_BATCH_BLOCKS	16
#define BLKSHIP_BATCH_BLOCK_BYTES	4096

struct blkship_batch;
struct blkship_bdev;

/*
 * For this device, which is open until blkship_batch_free(). NULL without memory, or
 * when the module is about to go.
 */
struct blkship_batch *blkship_batch_alloc(struct block_device *bdev);

/*
 * Does not wait for what is late; that is freed in its time. *opened, if not NULL, is
 * the device as its owner opened it: closed now, or when nothing is late any more.
 */
void blkship_batch_free(struct blkship_batch *batch,
			struct blkship_bdev *opened);

/* What is run from now on may take so long, all together. */
void blkship_batch_limit(struct blkship_batch *batch, unsigned int seconds);

/*
 * Whether something is late on its device. If so no run is made, and what the blocks
 * hold is not to be touched.
 */
bool blkship_batch_is_late(const struct blkship_batch *batch);

/* Where block n of the batch is on the device. */
void blkship_batch_set(struct blkship_batch *batch, unsigned int n,
		       u64 offset_bytes);
void *blkship_batch_data(struct blkship_batch *batch, unsigned int n);

/*
 * Read or write the first nr blocks, as they were set; sleeps, one caller at a time. 0;
 * -EIO; -ETIMEDOUT when the limit was reached, or something is late there already.
 */
int blkship_batch_run(struct blkship_batch *batch, unsigned int nr,
		      blk_opf_t opf);
/* Flush the device's cache; the same. */
int blkship_batch_flush(struct blkship_batch *batch);

int blkship_batch_init(void);
void blkship_batch_exit(void);

#endif
