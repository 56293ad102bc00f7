// SPDX-License-Identifier: GPL-2.0
/*
 * Reading and writing a metadata device: what is done while no write of the
 * volume is in flight, and the pieces that meta_log.c uses meanwhile.
 */
#include <linux/blkdev.h>
#include <linux/crc32c.h>
#include <linux/random.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#include "capture.h"
#include "meta.h"

/* -- blocks -- */

static void slot_ended(struct bio *bio)
{
	struct meta_slot *slot = container_of(bio, struct meta_slot, bio);
	struct blkship_meta *meta = slot->meta;

	if (bio->bi_status)
		WRITE_ONCE(meta->status, bio->bi_status);
	if (atomic_dec_and_test(&meta->nr_pending))
		complete(&meta->all_done);
}

void meta_slot_set(struct blkship_meta *meta, u32 n, struct block_device *bdev,
		   u64 offset_bytes)
{
	struct meta_slot *slot = meta->slots[n];

	bio_init(&slot->bio, bdev, &slot->vec, 1, 0);
	slot->bio.bi_iter.bi_sector = offset_bytes >> SECTOR_SHIFT;
	slot->bio.bi_end_io = slot_ended;
	__bio_add_page(&slot->bio, slot->page, META_BLOCK_BYTES, 0);
}

int meta_rw(struct blkship_meta *meta, u32 nr, blk_opf_t opf)
{
	u32 i;

	meta->status = BLK_STS_OK;
	atomic_set(&meta->nr_pending, nr);
	reinit_completion(&meta->all_done);
	for (i = 0; i < nr; i++) {
		meta->slots[i]->bio.bi_opf = opf;
		submit_bio(&meta->slots[i]->bio);
	}
	/* In turns: a device that hangs is not a hung task of ours. */
	while (!wait_for_completion_timeout(&meta->all_done, 30 * HZ))
		;
	return meta->status ? -EIO : 0;
}

#define WRITE_OPF	(REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_FUA)

/* Up to META_SLOTS blocks of the metadata device from this one on. */
static int blocks_read(struct blkship_meta *meta, u64 first, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		meta_slot_set(meta, i, meta->bdev,
			      (first + i) * META_BLOCK_BYTES);
	return meta_rw(meta, nr, REQ_OP_READ | REQ_SYNC | REQ_META);
}

/* A disk of which more prints cannot be read is not asked for the rest. */
#define UNREADABLE_MAX	8

/* -- superblocks -- */

/* What is told of the disk: all when nobody writes, else of what rests. */
static void prints_to_write(struct blkship_meta *meta)
{
	switch (meta->super.state) {
	case META_LOGGED:
		raw_spin_lock_irq(&meta->grp->lock);
		blkship_prints_settle(&meta->prints, &meta->list,
				      meta->super.size_bytes);
		meta->to_write = meta->prints;
		raw_spin_unlock_irq(&meta->grp->lock);
		break;
	case META_CLEAN:
		meta->to_write = meta->prints;
		break;
	default:
		memset(&meta->to_write, 0, sizeof(meta->to_write));
		break;
	}
}

int meta_super_write(struct blkship_meta *meta)
{
	bool worthless = meta->super.state == META_IN_USE ||
			 meta->super.state == META_OFF;
	int ret = 0, i;

	prints_to_write(meta);
	/* One after the other, so that one of them always is whole. */
	for (i = 0; !ret && i < (worthless ? 2 : 1); i++) {
		u64 at = ++meta->super.write_no % META_SUPERS;

		blkship_super_encode(&meta->super, &meta->to_write,
				     meta_slot_data(meta, 0));
		meta_slot_set(meta, 0, meta->bdev, at * META_BLOCK_BYTES);
		ret = meta_rw(meta, 1, WRITE_OPF | REQ_PREFLUSH);
	}
	return ret;
}

/* 0 or -errno as blkship_super_choose(). */
static int super_read(struct blkship_meta *meta, struct blkship_super *out,
		      bool *foreign)
{
	u8 *blocks = kmalloc(META_SUPERS * META_BLOCK_BYTES, GFP_NOIO);
	int ret = blocks ? blocks_read(meta, 0, META_SUPERS) : -ENOMEM;
	u32 i;

	*foreign = false;
	for (i = 0; !ret && i < META_SUPERS; i++)
		memcpy(blocks + i * META_BLOCK_BYTES, meta_slot_data(meta, i),
		       META_BLOCK_BYTES);
	if (!ret)
		ret = blkship_super_choose(blocks, out, foreign);
	if (!ret)
		blkship_prints_decode(blocks + out->place * META_BLOCK_BYTES,
				      &meta->prints);
	kfree(blocks);
	return ret;
}

/* Whether all before the list is zero: else somebody may miss it. */
static int head_is_zero(struct blkship_meta *meta, bool *zero)
{
	int ret = blocks_read(meta, 0, META_FIRST_BLOCK);
	u32 i;

	*zero = true;
	for (i = 0; !ret && i < META_FIRST_BLOCK; i++)
		*zero &= !memchr_inv(meta_slot_data(meta, i), 0,
				     META_BLOCK_BYTES);
	return ret;
}

/* -- what the kernel knows of a disk -- */

static void disk_identity(struct block_device *bdev, char *out)
{
	struct gendisk *disk = bdev->bd_disk;
	enum blk_unique_id type;
	u8 id[16];
	int len;

	memset(out, 0, META_DISK_BYTES);
	if (bdev_is_partition(bdev)) {
		if (bdev->bd_meta_info)
			snprintf(out, META_DISK_BYTES, "part.%s",
				 bdev->bd_meta_info->uuid);
		return;
	}
	for (type = BLK_UID_NAA; disk->fops->get_unique_id && type >= BLK_UID_T10;
	     type--) {
		len = disk->fops->get_unique_id(disk, id, type);
		if (len <= 0 || len > sizeof(id))
			continue;
		snprintf(out, META_DISK_BYTES, "id%d.%*phN", type, len, id);
		return;
	}
}

/* These blocks of the disk, into the first nr slots. */
static int print_blocks_read(struct blkship_meta *meta, const u32 *which,
			     u32 nr)
{
	u32 k;

	for (k = 0; k < nr; k++)
		meta_slot_set(meta, k, meta->disk, meta->disk_start_bytes +
			      blkship_print_offset(meta->super.size_bytes,
						   which[k]));
	return meta_rw(meta, nr, REQ_OP_READ | REQ_SYNC);
}

/* One by one, as some of these blocks cannot be read: how many. */
static u32 prints_take_each(struct blkship_meta *meta, const u32 *which, u32 nr)
{
	u32 k, unreadable = 0;

	for (k = 0; k < nr; k++) {
		if (!print_blocks_read(meta, &which[k], 1)) {
			blkship_print_set(&meta->prints, which[k],
					  meta_slot_data(meta, 0));
			continue;
		}
		blkship_print_forget(&meta->prints, which[k]);
		unreadable++;
	}
	return unreadable;
}

int meta_prints_take(struct blkship_meta *meta)
{
	u32 count = blkship_prints_count(meta->super.size_bytes), n, k, nr;
	u32 which[META_SLOTS], unreadable = 0;

	for (n = 0; n < count && unreadable <= UNREADABLE_MAX; n += nr) {
		nr = min(count - n, META_SLOTS);
		for (k = 0; k < nr; k++)
			which[k] = n + k;
		if (print_blocks_read(meta, which, nr)) {
			unreadable += prints_take_each(meta, which, nr);
			continue;
		}
		for (k = 0; k < nr; k++)
			blkship_print_set(&meta->prints, n + k,
					  meta_slot_data(meta, k));
	}
	return unreadable <= UNREADABLE_MAX ? 0 : -EIO;
}

/*
 * Whether the disk still holds what is known of it. Who writes there unseen
 * hardly ever leaves all of that alone: file systems note that they were
 * mounted. 0; -ESTALE: it does not; or -EIO.
 */
static int prints_check(struct blkship_meta *meta)
{
	u64 size = meta->super.size_bytes;
	u32 count = blkship_prints_count(size), n, k, nr = 0;
	u32 which[META_SLOTS];
	int ret = 0;

	for (n = 0; !ret && n < count; n++) {
		if (blkship_print_known(&meta->prints, n))
			which[nr++] = n;
		if (!nr || (nr < META_SLOTS && n + 1 < count))
			continue;
		ret = print_blocks_read(meta, which, nr);
		for (k = 0; !ret && k < nr; k++)
			if (!blkship_print_fits(&meta->prints, which[k],
						meta_slot_data(meta, k)))
				ret = -ESTALE;
		nr = 0;
	}
	return ret;
}

/* -- making one -- */

static struct meta_slot *slot_alloc(struct blkship_meta *meta)
{
	struct meta_slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL);

	if (!slot)
		return NULL;
	slot->meta = meta;
	slot->page = alloc_page(GFP_KERNEL);
	if (slot->page)
		return slot;
	kfree(slot);
	return NULL;
}

static void slot_free(struct meta_slot *slot)
{
	if (slot && slot->page)
		__free_page(slot->page);
	kfree(slot);
}

static void meta_free(struct kref *ref)
{
	struct blkship_meta *meta = container_of(ref, struct blkship_meta, ref);
	u32 i;

	for (i = 0; i < META_SLOTS; i++)
		slot_free(meta->slots[i]);
	slot_free(meta->disk_slot);
	vfree(meta->memory);
	kfree(meta);
}

void blkship_meta_put(struct blkship_meta *meta)
{
	kref_put(&meta->ref, meta_free);
}

static struct blkship_meta *meta_alloc(u64 size_bytes)
{
	struct blkship_meta *meta = kzalloc(sizeof(*meta), GFP_KERNEL);
	u32 i;

	if (!meta)
		return NULL;
	kref_init(&meta->ref);
	init_completion(&meta->all_done);
	init_waitqueue_head(&meta->idle);
	meta_works_init(meta);
	INIT_LIST_HEAD(&meta->waiting);
	meta->memory = vzalloc(array_size(blkship_list_words(size_bytes),
					  sizeof(u64)));
	meta->disk_slot = slot_alloc(meta);
	for (i = 0; i < META_SLOTS; i++) {
		meta->slots[i] = slot_alloc(meta);
		if (!meta->slots[i])
			break;
	}
	if (meta->memory && meta->disk_slot && i == META_SLOTS)
		return meta;
	blkship_meta_put(meta);
	return NULL;
}

int blkship_meta_create(struct block_device *bdev, struct block_device *disk,
			u64 disk_start_bytes, u64 size_bytes, bool logs,
			struct blkship_meta **out, const char **why)
{
	u64 blocks = META_FIRST_BLOCK + blkship_list_blocks(size_bytes);
	struct blkship_meta *meta;
	struct blkship_super super;
	bool foreign, zero;
	int ret;

	if (bdev == disk || bdev_nr_bytes(bdev) < blocks * META_BLOCK_BYTES) {
		*why = bdev == disk ? "the metadata device is the volume's own" :
			"the metadata device is too small";
		return -EINVAL;
	}
	meta = meta_alloc(size_bytes);
	if (!meta) {
		*why = "no memory for the list of the metadata device";
		return -ENOMEM;
	}
	meta->bdev = bdev;
	meta->disk = disk;
	meta->disk_start_bytes = disk_start_bytes;
	meta->logs = logs;
	meta->super.size_bytes = size_bytes;
	disk_identity(disk, meta->super.disk);
	ret = super_read(meta, &super, &foreign);
	if (ret == -EIO || ret == -ENOMEM) {
		*why = "the metadata device cannot be read";
		goto err;
	}
	if (ret == -ENODATA) {
		ret = head_is_zero(meta, &zero);
		foreign = ret || !zero;
	}
	if (foreign) {
		*why = "the metadata device holds something else: zero its first 32 KiB if that is not needed";
		ret = -EINVAL;
		goto err;
	}
	*out = meta;
	return 0;

err:
	blkship_meta_put(meta);
	return ret;
}

/* -- loading -- */

/* Whether a superblock speaks of this volume and of a list that is good. */
static bool super_fits(const struct blkship_meta *meta,
		       const struct blkship_super *s,
		       const struct blkship_volume *vol)
{
	return s->size_bytes == meta->super.size_bytes &&
	       !strcmp(s->group, vol->grp->name) &&
	       !strcmp(s->volume, vol->name) &&
	       !strcmp(s->disk, meta->super.disk) &&
	       (s->state == META_LOGGED || s->state == META_CLEAN);
}

static int list_read(struct blkship_meta *meta)
{
	u32 at, nr, i;
	int ret = 0;

	for (at = 0; !ret && at < meta->list.nr_blocks; at += nr) {
		nr = min_t(u32, META_SLOTS, meta->list.nr_blocks - at);
		ret = blocks_read(meta, META_FIRST_BLOCK + at, nr);
		for (i = 0; !ret && i < nr; i++) {
			const struct meta_block *b = meta_slot_data(meta, i);
			bool valid = blkship_block_valid(b, meta->super.id,
							 at + i);

			blkship_list_block_load(&meta->list, at + i,
						valid ? b : NULL);
			if (valid)
				meta->log_no = max(meta->log_no,
						   le64_to_cpu(b->log_no));
		}
	}
	return ret;
}

/*
 * Whether the list is good, now that it is read. A table that is reloaded was
 * attached up to now, and its volume is still there. Where it is listed, the disk may
 * differ for a good reason.
 */
static bool list_is_good(struct blkship_meta *meta,
			 const struct blkship_volume *vol)
{
	int ret;

	if (meta->super.state == META_LOGGED) {
		if (vol->seen &&
		    !memcmp(meta->super.instance, vol->grp->ring.shared->instance,
			    sizeof(meta->super.instance)))
			return true;
		blkship_prints_settle(&meta->prints, &meta->list,
				      meta->super.size_bytes);
	}
	ret = prints_check(meta);
	if (ret == -ESTALE)
		pr_warn("blkship: group %s: volume %s: its disk was written to while it was not attached: all of it is read back\n",
			vol->grp->name, vol->name);
	return !ret;
}

void blkship_meta_load(struct blkship_meta *meta,
		       const struct blkship_volume *vol)
{
	char disk[META_DISK_BYTES];
	struct blkship_super super;
	u64 write_no = 0;
	bool foreign;
	int ret;

	meta->loaded = true;
	memcpy(disk, meta->super.disk, sizeof(disk));
	blkship_list_init(&meta->list, meta->super.size_bytes, meta->memory);
	memset(meta->memory, 0, blkship_list_words(meta->super.size_bytes) *
	       sizeof(u64));
	meta->log_no = 0;
	ret = super_read(meta, &super, &foreign);
	if (!ret) {
		write_no = super.write_no;
		meta->log_no = super.log_no;
		meta->partial = super_fits(meta, &super, vol);
	}
	if (!ret && meta->partial) {
		meta->super = super;
		meta->partial = !list_read(meta) && list_is_good(meta, vol);
	}
	if (ret || !meta->partial) {
		blkship_meta_distrust(meta);
		meta->super.write_no = write_no;
		memset(meta->super.group, 0, sizeof(meta->super.group));
		memset(meta->super.volume, 0, sizeof(meta->super.volume));
		strscpy(meta->super.group, vol->grp->name,
			sizeof(meta->super.group));
		strscpy(meta->super.volume, vol->name,
			sizeof(meta->super.volume));
		memcpy(meta->super.disk, disk, sizeof(disk));
	}
}

void blkship_meta_distrust(struct blkship_meta *meta)
{
	struct blkship_list *l = &meta->list;
	u32 i;

	meta->partial = false;
	get_random_bytes(meta->super.id, sizeof(meta->super.id));
	memset(meta->super.basis_instance, 0,
	       sizeof(meta->super.basis_instance));
	meta->super.basis_incarnation = 0;
	meta->super.ordinal = 0;
	memset(&meta->prints, 0, sizeof(meta->prints));
	blkship_list_fill_all(l);
	/* All of it is to be written, with its new id. */
	for (i = 0; i < l->nr_blocks; i++)
		l->due[i / 64] |= 1ULL << i % 64;
}

void blkship_meta_void(struct blkship_meta *meta)
{
	meta->loaded = false;
	meta->super.state = META_OFF;
	meta_super_write(meta);
}
