// SPDX-License-Identifier: GPL-2.0
/* See batch.h. */
#include <linux/bio.h>
#include <linux/completion.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "batch.h"
#include "compat.h"

struct batch_slot {
	struct bio_vec vec;
	struct page *page;
	sector_t sector;	/* of what is sent */
	struct bio bio;		/* last: it is open-ended */
};

struct blkship_batch {
	struct block_device *bdev;
	struct batch_slot *slots[BLKSHIP_BATCH_BLOCKS];
	u64 offset_bytes[BLKSHIP_BATCH_BLOCKS];
	unsigned long until;		/* jiffies */
	/* What is sent. */
	unsigned int nr;		/* of slots */
	blk_opf_t opf;
	bool empty;			/* without blocks */
	atomic_t nr_pending;		/* of them, and the work that sends them */
	blk_status_t status;		/* any error */
	struct completion done;
	struct work_struct send_work;
	/* late_lock */
	struct list_head late;		/* of late_batches */
	bool orphan;			/* its owner is gone: freed by the last end */
	struct blkship_bdev opened;	/* to be closed then */
	struct work_struct free_work;
};

/* Of its own: to send may wait for the device as well. */
static struct workqueue_struct *batch_wq;
static LIST_HEAD(late_batches);
static DEFINE_SPINLOCK(late_lock);

/* -- the end of a run -- */

static void batch_end(struct blkship_batch *batch)
{
	unsigned long flags;

	if (!atomic_dec_and_test(&batch->nr_pending))
		return;
	spin_lock_irqsave(&late_lock, flags);
	if (list_empty(&batch->late)) {
		complete(&batch->done);		/* it may be gone from here on */
	} else {
		list_del_init(&batch->late);
		if (batch->orphan)
			queue_work(batch_wq, &batch->free_work);
	}
	spin_unlock_irqrestore(&late_lock, flags);
}

static void slot_ended(struct bio *bio)
{
	struct blkship_batch *batch = bio->bi_private;

	if (bio->bi_status)
		WRITE_ONCE(batch->status, bio->bi_status);
	bio_uninit(bio);
	batch_end(batch);
}

static void slot_init(struct blkship_batch *batch, unsigned int n)
{
	struct batch_slot *slot = batch->slots[n];

	bio_init(&slot->bio, batch->bdev, &slot->vec, 1, batch->opf);
	slot->bio.bi_end_io = slot_ended;
	slot->bio.bi_private = batch;
	if (batch->empty)
		return;
	slot->bio.bi_iter.bi_sector = slot->sector;
	__bio_add_page(&slot->bio, slot->page, BLKSHIP_BATCH_BLOCK_BYTES, 0);
}

/* What is initialised here is sent, and let go of when it ends. */
static void send_work(struct work_struct *work)
{
	struct blkship_batch *batch = container_of(work, struct blkship_batch,
						   send_work);
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		slot_init(batch, i);
		submit_bio(&batch->slots[i]->bio);
	}
	batch_end(batch);
}

/* -- making and freeing -- */

static struct batch_slot *slot_alloc(void)
{
	struct batch_slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL);

	if (!slot)
		return NULL;
	slot->page = alloc_page(GFP_KERNEL);
	if (slot->page)
		return slot;
	kfree(slot);
	return NULL;
}

static void batch_destroy(struct blkship_batch *batch)
{
	unsigned int i;

	blkship_bdev_close(&batch->opened);
	for (i = 0; i < BLKSHIP_BATCH_BLOCKS && batch->slots[i]; i++) {
		__free_page(batch->slots[i]->page);
		kfree(batch->slots[i]);
	}
	kfree(batch);
	module_put(THIS_MODULE);
}

static void free_work(struct work_struct *work)
{
	batch_destroy(container_of(work, struct blkship_batch, free_work));
}

struct blkship_batch *blkship_batch_alloc(struct block_device *bdev)
{
	struct blkship_batch *batch;
	unsigned int i;

	if (!try_module_get(THIS_MODULE))
		return NULL;
	batch = kzalloc(sizeof(*batch), GFP_KERNEL);
	if (!batch) {
		module_put(THIS_MODULE);
		return NULL;
	}
	batch->bdev = bdev;
	init_completion(&batch->done);
	INIT_LIST_HEAD(&batch->late);
	INIT_WORK(&batch->send_work, send_work);
	INIT_WORK(&batch->free_work, free_work);
	for (i = 0; i < BLKSHIP_BATCH_BLOCKS; i++) {
		batch->slots[i] = slot_alloc();
		if (!batch->slots[i]) {
			batch_destroy(batch);
			return NULL;
		}
	}
	return batch;
}

void blkship_batch_free(struct blkship_batch *batch,
			struct blkship_bdev *opened)
{
	bool late;

	if (opened) {
		batch->opened = *opened;
		opened->bdev = NULL;
	}
	spin_lock_irq(&late_lock);
	late = !list_empty(&batch->late);
	batch->orphan = true;
	spin_unlock_irq(&late_lock);
	if (!late)
		batch_destroy(batch);
}

/* -- running -- */

void blkship_batch_limit(struct blkship_batch *batch, unsigned int seconds)
{
	batch->until = jiffies + max(seconds, 1U) * HZ;
}

void blkship_batch_set(struct blkship_batch *batch, unsigned int n,
		       u64 offset_bytes)
{
	batch->offset_bytes[n] = offset_bytes;
}

void *blkship_batch_data(struct blkship_batch *batch, unsigned int n)
{
	return page_address(batch->slots[n]->page);
}

bool blkship_batch_is_late(const struct blkship_batch *batch)
{
	const struct blkship_batch *other;
	bool late = false;

	spin_lock_irq(&late_lock);
	list_for_each_entry(other, &late_batches, late)
		late |= other == batch ||
			(other->bdev == batch->bdev && !other->empty &&
			 op_is_write(other->opf));
	spin_unlock_irq(&late_lock);
	return late;
}

/* Wait no longer; false when it has ended, and is about to say so. */
static bool batch_give_up(struct blkship_batch *batch)
{
	bool late;

	spin_lock_irq(&late_lock);
	late = atomic_read(&batch->nr_pending);
	if (late)
		list_add(&batch->late, &late_batches);
	spin_unlock_irq(&late_lock);
	return late;
}

static int batch_run(struct blkship_batch *batch, unsigned int nr,
		     blk_opf_t opf, bool empty)
{
	long left = batch->until - jiffies;
	unsigned int i;

	if (left <= 0 || blkship_batch_is_late(batch))
		return -ETIMEDOUT;
	batch->nr = nr;
	batch->opf = opf;
	batch->empty = empty;
	/* One that was given up may still be sent while the next is set. */
	for (i = 0; i < nr; i++)
		batch->slots[i]->sector = batch->offset_bytes[i] >> SECTOR_SHIFT;
	batch->status = BLK_STS_OK;
	/* And who sends, as that may take its time as well. */
	atomic_set(&batch->nr_pending, nr + 1);
	reinit_completion(&batch->done);
	queue_work(batch_wq, &batch->send_work);
	if (!wait_for_completion_timeout(&batch->done, left)) {
		if (cancel_work(&batch->send_work))
			return -ETIMEDOUT;	/* nothing of it was sent */
		if (batch_give_up(batch))
			return -ETIMEDOUT;
		wait_for_completion(&batch->done);
	}
	return batch->status ? -EIO : 0;
}

int blkship_batch_run(struct blkship_batch *batch, unsigned int nr,
		      blk_opf_t opf)
{
	return batch_run(batch, nr, opf, false);
}

int blkship_batch_flush(struct blkship_batch *batch)
{
	return batch_run(batch, 1, REQ_OP_WRITE | REQ_PREFLUSH, true);
}

/* -- the module -- */

int blkship_batch_init(void)
{
	batch_wq = alloc_workqueue("blkship_batch", WQ_MEM_RECLAIM | WQ_UNBOUND,
				   0);
	return batch_wq ? 0 : -ENOMEM;
}

/* What is late holds the module: nothing is. */
void blkship_batch_exit(void)
{
	destroy_workqueue(batch_wq);
}
