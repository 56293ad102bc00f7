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
#include "compat.h"
#include "meta.h"

/* -- blocks -- */

void meta_limit(struct blkship_batch *io)
{
	blkship_batch_limit(io, READ_ONCE(blkship_meta_timeout_s));
}

#define WRITE_OPF	(REQ_OP_WRITE | REQ_SYNC | REQ_META | REQ_FUA)

/* Up to META_SLOTS blocks of the metadata device from this one on. */
static int blocks_read(struct blkship_meta *meta, u64 first, u32 nr)
{
	u32 i;

	for (i = 0; i < nr; i++)
		blkship_batch_set(meta->io, i, (first + i) * META_BLOCK_BYTES);
	return blkship_batch_run(meta->io, nr,
				 REQ_OP_READ | REQ_SYNC | REQ_META);
}

static const char no_answer[] =
	"the metadata device does not answer (meta_timeout_s): try again when it does";

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

	if (blkship_batch_is_late(meta->io))
		return -ETIMEDOUT;
	prints_to_write(meta);
	/* One after the other, so that one of them always is whole. */
	for (i = 0; !ret && i < (worthless ? 2 : 1); i++) {
		u64 at = ++meta->super.write_no % META_SUPERS;

		blkship_super_encode(&meta->super, &meta->to_write,
				     blkship_batch_data(meta->io, 0));
		blkship_batch_set(meta->io, 0, at * META_BLOCK_BYTES);
		ret = blkship_batch_run(meta->io, 1, WRITE_OPF | REQ_PREFLUSH);
	}
	return ret;
}

int meta_off_write(struct blkship_meta *meta)
{
	meta->super.state = META_OFF;
	meta_limit(meta->io);
	return meta_super_write(meta);
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
		memcpy(blocks + i * META_BLOCK_BYTES,
		       blkship_batch_data(meta->io, i), META_BLOCK_BYTES);
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
		*zero &= !memchr_inv(blkship_batch_data(meta->io, i), 0,
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

/* These blocks of the disk. */
static int print_blocks_read(struct blkship_meta *meta, const u32 *which,
			     u32 nr)
{
	u32 k;

	for (k = 0; k < nr; k++)
		blkship_batch_set(meta->disk_io, k, meta->disk_start_bytes +
				  blkship_print_offset(meta->super.size_bytes,
						       which[k]));
	return blkship_batch_run(meta->disk_io, nr, REQ_OP_READ | REQ_SYNC);
}

/* One by one, as some of these blocks cannot be read: how many. */
static u32 prints_take_each(struct blkship_meta *meta, const u32 *which, u32 nr)
{
	u32 k, unreadable = 0;

	for (k = 0; k < nr; k++) {
		if (!print_blocks_read(meta, &which[k], 1)) {
			blkship_print_set(&meta->prints, which[k],
					  blkship_batch_data(meta->disk_io, 0));
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
					  blkship_batch_data(meta->disk_io, k));
	}
	return unreadable <= UNREADABLE_MAX ? 0 : -EIO;
}

/*
 * Whether the disk still holds what is known of it. Who writes there unseen
 * hardly ever leaves all of that alone: file systems note that they were
 * mounted. 0; -ESTALE: it does not; -EIO; or -ETIMEDOUT.
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
						blkship_batch_data(meta->disk_io,
								   k)))
				ret = -ESTALE;
		nr = 0;
	}
	return ret;
}

/* -- making one -- */

static void meta_free(struct kref *ref)
{
	struct blkship_meta *meta = container_of(ref, struct blkship_meta, ref);

	if (meta->io)
		blkship_batch_free(meta->io, NULL);
	if (meta->disk_io)
		blkship_batch_free(meta->disk_io, NULL);
	vfree(meta->memory);
	kfree(meta);
}

void blkship_meta_put(struct blkship_meta *meta)
{
	kref_put(&meta->ref, meta_free);
}

void blkship_meta_release(struct blkship_meta *meta,
			  struct blkship_bdev *opened)
{
	struct blkship_batch **io = NULL;

	if (meta && meta->io && opened->bdev == meta->bdev)
		io = &meta->io;
	else if (meta && meta->disk_io && opened->bdev == meta->disk)
		io = &meta->disk_io;
	if (!io) {
		blkship_bdev_close(opened);
		return;
	}
	blkship_batch_free(*io, opened);
	*io = NULL;
}

static struct blkship_meta *meta_alloc(struct block_device *bdev,
				       struct block_device *disk,
				       u64 size_bytes)
{
	struct blkship_meta *meta = kzalloc(sizeof(*meta), GFP_KERNEL);

	if (!meta)
		return NULL;
	kref_init(&meta->ref);
	init_waitqueue_head(&meta->idle);
	meta_works_init(meta);
	INIT_LIST_HEAD(&meta->waiting);
	meta->bdev = bdev;
	meta->disk = disk;
	meta->memory = vzalloc(array_size(blkship_list_words(size_bytes),
					  sizeof(u64)));
	meta->io = blkship_batch_alloc(bdev);
	meta->disk_io = blkship_batch_alloc(disk);
	if (meta->memory && meta->io && meta->disk_io)
		return meta;
	blkship_meta_put(meta);
	return NULL;
}

/* Whether the device is one of ours, or may become one. */
static int meta_look(struct blkship_meta *meta, const char **why)
{
	struct blkship_super super;
	bool foreign, zero;
	int ret;

	meta_limit(meta->io);
	ret = super_read(meta, &super, &foreign);
	if (ret == -ENODATA) {
		ret = head_is_zero(meta, &zero);
		foreign = !ret && !zero;
	}
	if (ret == -ETIMEDOUT) {
		*why = no_answer;
		return ret;
	}
	if (ret == -EIO || ret == -ENOMEM) {
		*why = "the metadata device cannot be read";
		return ret;
	}
	if (foreign) {
		*why = "the metadata device holds something else: zero its first 32 KiB if that is not needed";
		return -EINVAL;
	}
	return 0;
}

int blkship_meta_create(struct blkship_bdev *opened, struct block_device *disk,
			u64 disk_start_bytes, u64 size_bytes, bool logs,
			struct blkship_meta **out, const char **why)
{
	u64 blocks = META_FIRST_BLOCK + blkship_list_blocks(size_bytes);
	struct block_device *bdev = opened->bdev;
	struct blkship_meta *meta = NULL;
	int ret;

	if (bdev == disk || bdev_nr_bytes(bdev) < blocks * META_BLOCK_BYTES) {
		*why = bdev == disk ? "the metadata device is the volume's own" :
			"the metadata device is too small";
		ret = -EINVAL;
		goto err;
	}
	meta = meta_alloc(bdev, disk, size_bytes);
	if (!meta) {
		*why = "no memory for the list of the metadata device";
		ret = -ENOMEM;
		goto err;
	}
	meta->disk_start_bytes = disk_start_bytes;
	meta->logs = logs;
	meta->super.size_bytes = size_bytes;
	disk_identity(disk, meta->super.disk);
	ret = meta_look(meta, why);
	if (ret)
		goto err;
	*out = meta;
	return 0;

err:
	blkship_meta_release(meta, opened);
	if (meta)
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
			const struct meta_block *b =
				blkship_batch_data(meta->io, i);
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
 * Whether the list is good, now that it is read: 0, or why not. A table that is reloaded
 * was attached up to now, and its volume is still there. Where it is listed, the disk
 * may differ for a good reason.
 */
static int list_check(struct blkship_meta *meta,
		      const struct blkship_volume *vol)
{
	int ret;

	if (meta->super.state == META_LOGGED) {
		if (vol->seen &&
		    !memcmp(meta->super.instance, vol->grp->ring.shared->instance,
			    sizeof(meta->super.instance)))
			return 0;
		blkship_prints_settle(&meta->prints, &meta->list,
				      meta->super.size_bytes);
	}
	meta_limit(meta->disk_io);
	ret = prints_check(meta);
	if (ret == -ESTALE)
		pr_warn("blkship: group %s: volume %s: its disk was written to while it was not attached: all of it is read back\n",
			vol->grp->name, vol->name);
	return ret;
}

int blkship_meta_load(struct blkship_meta *meta,
		      const struct blkship_volume *vol, const char **why)
{
	char disk[META_DISK_BYTES];
	struct blkship_super super;
	u64 write_no = 0;
	bool foreign;
	int ret;

	meta->loaded = true;
	meta->partial = false;
	memcpy(disk, meta->super.disk, sizeof(disk));
	blkship_list_init(&meta->list, meta->super.size_bytes, meta->memory);
	memset(meta->memory, 0, blkship_list_words(meta->super.size_bytes) *
	       sizeof(u64));
	meta->log_no = 0;
	meta_limit(meta->io);
	*why = no_answer;
	ret = super_read(meta, &super, &foreign);
	if (!ret) {
		write_no = super.write_no;
		meta->log_no = super.log_no;
		meta->partial = super_fits(meta, &super, vol);
	}
	if (!ret && meta->partial) {
		meta->super = super;
		ret = list_read(meta);
		if (!ret) {
			*why = "the disk does not answer (meta_timeout_s): try again when it does";
			ret = list_check(meta, vol);
		}
		meta->partial = !ret;
	}
	if (!meta->partial) {
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
	return ret == -ETIMEDOUT ? ret : 0;
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
	meta_off_write(meta);
}
