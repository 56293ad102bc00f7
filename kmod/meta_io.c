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

/* What the fingerprint looks at; boot sector, labels, the first file system. */
#define PRINT_FIRST_BYTES	(1152ULL << 10)
#define PRINT_LAST_BYTES	(64ULL << 10)
#define PRINT_SPREAD		64

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

/* -- superblocks -- */

int meta_super_write(struct blkship_meta *meta)
{
	bool worthless = meta->super.state == META_IN_USE ||
			 meta->super.state == META_OFF;
	int ret = 0, i;

	/* One after the other, so that one of them always is whole. */
	for (i = 0; !ret && i < (worthless ? 2 : 1); i++) {
		u64 at = ++meta->super.write_no % META_SUPERS;

		blkship_super_encode(&meta->super, meta_slot_data(meta, 0));
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

/*
 * The CRC of some of its content. Who writes to the disk unseen hardly ever
 * leaves all of that alone: file systems note that they were mounted.
 */
u64 meta_fingerprint(struct blkship_meta *meta, int *error)
{
	u64 size = meta->super.size_bytes & ~(u64)(META_BLOCK_BYTES - 1);
	u64 first = min(PRINT_FIRST_BYTES, size), at[META_SLOTS];
	u64 last = min(PRINT_LAST_BYTES, size);
	u64 nr = (first + last) / META_BLOCK_BYTES + PRINT_SPREAD, i;
	u32 crc = ~0, n = 0, k;

	*error = 0;
	for (i = 0; size && i < nr && !*error; i++) {
		u64 offset = i * META_BLOCK_BYTES;

		if (offset >= first + last)
			offset = div_u64(size, PRINT_SPREAD) *
				 (i - (first + last) / META_BLOCK_BYTES);
		else if (offset >= first)
			offset = size - last + (offset - first);
		at[n++] = offset & ~(u64)(META_BLOCK_BYTES - 1);
		if (n < META_SLOTS && i + 1 < nr)
			continue;
		for (k = 0; k < n; k++)
			meta_slot_set(meta, k, meta->disk,
				      meta->disk_start_bytes + at[k]);
		*error = meta_rw(meta, n, REQ_OP_READ | REQ_SYNC);
		for (k = 0; k < n; k++)
			crc = crc32c(crc, meta_slot_data(meta, k),
				     META_BLOCK_BYTES);
		n = 0;
	}
	return crc;
}

/* -- making one -- */

static struct meta_slot *slot_alloc(struct blkship_meta *meta, bool page)
{
	struct meta_slot *slot = kzalloc(sizeof(*slot), GFP_KERNEL);

	if (!slot)
		return NULL;
	slot->meta = meta;
	slot->page = page ? alloc_page(GFP_KERNEL) : NULL;
	if (!page || slot->page)
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
	slot_free(meta->flush_slot);
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
	meta->flush_slot = slot_alloc(meta, false);
	for (i = 0; i < META_SLOTS; i++) {
		meta->slots[i] = slot_alloc(meta, true);
		if (!meta->slots[i])
			break;
	}
	if (meta->memory && meta->flush_slot && i == META_SLOTS)
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
static bool super_fits(struct blkship_meta *meta, const struct blkship_super *s,
		       const char *group, const char *volume)
{
	int error;

	if (s->size_bytes != meta->super.size_bytes ||
	    strcmp(s->group, group) || strcmp(s->volume, volume) ||
	    strcmp(s->disk, meta->super.disk))
		return false;
	if (s->state == META_LOGGED)
		return true;
	return s->state == META_CLEAN &&
	       s->fingerprint == meta_fingerprint(meta, &error) && !error;
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

void blkship_meta_load(struct blkship_meta *meta, const char *group,
		       const char *volume)
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
		meta->partial = super_fits(meta, &super, group, volume);
	}
	if (!ret && meta->partial) {
		meta->super = super;
		meta->partial = !list_read(meta);
	}
	if (ret || !meta->partial) {
		blkship_meta_distrust(meta);
		meta->super.write_no = write_no;
		memset(meta->super.group, 0, sizeof(meta->super.group));
		memset(meta->super.volume, 0, sizeof(meta->super.volume));
		strscpy(meta->super.group, group, sizeof(meta->super.group));
		strscpy(meta->super.volume, volume, sizeof(meta->super.volume));
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
