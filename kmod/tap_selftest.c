// SPDX-License-Identifier: GPL-2.0
/*
 * The tap relies on what the block layer's tracepoints say and when. That is no
 * stable interface, so it is tried at load, on a private disk that keeps nothing:
 * a write that is not seen, seen twice, or whose bytes do not add up refuses
 * the module.
 */
#include <linux/bio.h>
#include <linux/blk-mq.h>
#include <linux/slab.h>

#include "compat.h"
#include "front_tap.h"
#include "observe.h"
#include "tap_selftest.h"

#define TEST_GROUP	"selftest"
#define DISK_SECTORS	2048
#define REQUEST_SECTORS	16	/* so that a long write is split */
#define LONG_BYTES	SZ_64K

struct test_disk {
	struct blk_mq_tag_set tags;
	struct gendisk *disk;
	bool fail;			/* what comes now */
	bool take;			/* its bios end without their request */
};

static blk_status_t test_queue_rq(struct blk_mq_hw_ctx *hctx,
				  const struct blk_mq_queue_data *bd)
{
	const struct test_disk *t = hctx->queue->queuedata;
	bool fail = t->fail;
	struct bio *bio = bd->rq->bio;

	blk_mq_start_request(bd->rq);
	bd->rq->rq_flags |= RQF_QUIET;	/* an error here is no news */
	if (t->take) {
		bd->rq->bio = bd->rq->biotail = NULL;
		blk_mq_end_request(bd->rq, BLK_STS_OK);
		bio_io_error(bio);
		return BLK_STS_OK;
	}
	blk_mq_end_request(bd->rq, fail ? BLK_STS_IOERR : BLK_STS_OK);
	return BLK_STS_OK;
}

static const struct blk_mq_ops test_mq_ops = {
	.queue_rq = test_queue_rq,
};

static const struct block_device_operations test_fops = {
	.owner = THIS_MODULE,
};

/* Never added, so nobody else can see or open it. */
static int test_disk_init(struct test_disk *t)
{
	int ret;

	t->tags.ops = &test_mq_ops;
	t->tags.nr_hw_queues = 1;
	t->tags.queue_depth = 16;
	t->tags.numa_node = NUMA_NO_NODE;
	ret = blk_mq_alloc_tag_set(&t->tags);
	if (ret)
		return ret;
	t->disk = blkship_mq_disk_alloc(&t->tags, REQUEST_SECTORS, t);
	if (IS_ERR(t->disk)) {
		blk_mq_free_tag_set(&t->tags);
		return PTR_ERR(t->disk);
	}
	t->disk->fops = &test_fops;
	strscpy(t->disk->disk_name, "blkship-test",
		sizeof(t->disk->disk_name));
	set_capacity(t->disk, DISK_SECTORS);
	return 0;
}

static void test_disk_fini(struct test_disk *t)
{
	put_disk(t->disk);
	blk_mq_free_tag_set(&t->tags);
}

static int test_write(struct test_disk *t, void *data, u32 bytes, u64 sector,
		      blk_opf_t flags)
{
	struct bio_vec vec;
	struct bio bio;
	int ret;

	bio_init(&bio, t->disk->part0, &vec, 1, REQ_OP_WRITE | flags);
	bio.bi_iter.bi_sector = sector;
	__bio_add_page(&bio, virt_to_page(data), bytes, offset_in_page(data));
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return ret;
}

/* By a road that the first tracepoint does not see. */
static int test_write_unseen(struct test_disk *t, void *data, u64 sector)
{
	struct bio_vec vec;
	struct bio bio;
	int ret;

	bio_init(&bio, t->disk->part0, &vec, 1, REQ_OP_WRITE);
	bio.bi_iter.bi_sector = sector;
	bio_set_flag(&bio, BIO_TRACE_COMPLETION);
	__bio_add_page(&bio, virt_to_page(data), SECTOR_SIZE,
		       offset_in_page(data));
	ret = submit_bio_wait(&bio);
	bio_uninit(&bio);
	return ret;
}

/* The newest descriptor tells of this write, and it is the only new one. */
static const char *expect_record(struct blkship_group *grp, u64 head,
				 const void *data, u32 bytes, u64 sector,
				 u8 state)
{
	const struct blkship_ring *ring = &grp->ring;
	const struct blkship_desc *d;

	if (ring->desc_head == head)
		return "a write was not seen";
	if (ring->desc_head != head + 1)
		return "a write was seen twice";
	d = &ring->descs[head & (ring->desc_count - 1)];
	if (d->state == BLKSHIP_STATE_OPEN)
		return "the end of a write was not seen, or its bytes did not add up";
	if (d->state != state)
		return "a write did not end as the disk said";
	if (d->offset_bytes != sector << SECTOR_SHIFT ||
	    d->length_bytes != bytes || d->op != BLKSHIP_OP_WRITE)
		return "a write was seen in another place";
	if (memcmp(blkship_ring_payload(&grp->ring, head), data, bytes))
		return "the data of a write were not what was written";
	if (ring->watermark_pos != head + 1 ||
	    grp->observer == NULL || grp->nr_flights)
		return "a write is still in flight after its end";
	return NULL;
}

static const struct {
	u32 bytes;
	u64 sector;
	blk_opf_t flags;
	bool fail;
	u8 state;
	bool take;
} writes[] = {
	{ SECTOR_SIZE, 1, 0, false, BLKSHIP_STATE_DONE },
	{ SZ_4K, 128, REQ_SYNC, false, BLKSHIP_STATE_DONE },
	{ SZ_4K, 8, REQ_NOWAIT, false, BLKSHIP_STATE_DONE },
	{ SZ_4K, 8, REQ_FUA | REQ_PREFLUSH, false, BLKSHIP_STATE_DONE },
	{ LONG_BYTES, 120, 0, false, BLKSHIP_STATE_DONE },	/* split */
	{ SZ_4K, 1024, 0, true, BLKSHIP_STATE_FAILED },
	{ LONG_BYTES, 1024, 0, true, BLKSHIP_STATE_FAILED },
	/* The last, as nothing is taken for never issued after that. */
	{ SZ_4K, 512, 0, true, BLKSHIP_STATE_FAILED, true },
};

static const char *test_writes(struct test_disk *t, struct blkship_group *grp,
			       u8 *data)
{
	const char *wrong = NULL;
	size_t i;

	for (i = 0; !wrong && i < ARRAY_SIZE(writes); i++) {
		u64 head = grp->ring.desc_head;
		int ret;

		memset(data, 0x51 + i, writes[i].bytes);
		t->fail = writes[i].fail;
		t->take = writes[i].take;
		ret = test_write(t, data, writes[i].bytes, writes[i].sector,
				 writes[i].flags);
		if (!ret == writes[i].fail)
			wrong = "a write on the private disk went wrong";
		else
			wrong = expect_record(grp, head, data, writes[i].bytes,
					      writes[i].sector,
					      writes[i].state);
	}
	t->fail = false;
	t->take = false;
	return wrong;
}

/* The auditor finds what passed the tap by, and nothing else. */
static const char *test_auditor(struct test_disk *t, struct blkship_volume *vol,
				u8 *data)
{
	if (vol->unseen)
		return "the auditor found a write that was seen";
	if (test_write_unseen(t, data, 256))
		return "a write on the private disk went wrong";
	if (vol->unseen != 1)
		return "the auditor did not find a write that was not seen";
	return NULL;
}

static const char *test_run(struct test_disk *t, u8 *data)
{
	struct blkship_group *grp;
	struct blkship_volume *vol;
	const char *wrong;

	/* Nobody else can reach the module yet: it stays what it is. */
	mutex_lock(&blkship_mutex);
	grp = blkship_group_find(TEST_GROUP);
	vol = grp->volumes[0];
	mutex_unlock(&blkship_mutex);
	raw_spin_lock_irq(&grp->lock);
	vol->explained_until = 0;	/* from now on there is no excuse */
	raw_spin_unlock_irq(&grp->lock);
	wrong = test_writes(t, grp, data);
	if (!wrong)
		wrong = test_auditor(t, vol, data);
	if (wrong)
		blkship_observe_give_up(vol);	/* what did not end never will */
	return wrong;
}

int blkship_tap_selftest(void)
{
	struct test_disk *t = kzalloc(sizeof(*t), GFP_KERNEL);
	u8 *data = kmalloc(LONG_BYTES, GFP_KERNEL);
	struct blkship_place place = { .last_sector = DISK_SECTORS - 1 };
	const char *why = "no memory";
	int ret = t && data ? test_disk_init(t) : -ENOMEM;

	if (ret)
		goto out;
	place.disk = t->disk;
	ret = blkship_tap_add_place(TEST_GROUP, "v", &place, SZ_1M, &why);
	if (!ret) {
		const char *ignored, *wrong = test_run(t, data);

		if (wrong) {
			why = wrong;
			ret = -EOPNOTSUPP;
		}
		blkship_volume_delete(TEST_GROUP, "v", &ignored);
		blkship_tap_remove(TEST_GROUP, "v");
		blkship_group_delete(TEST_GROUP, &ignored);
	}
	test_disk_fini(t);
out:
	if (ret)
		pr_err("blkship: self-test of the tap: %s; not loaded, nothing was changed; %s\n",
		       why, ret == -EOPNOTSUPP ?
		       "this kernel needs a newer blkship" :
		       "load it again when there is memory for it");
	kfree(data);
	kfree(t);
	return ret;
}
