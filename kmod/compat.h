/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat - the only place that tests for kernel versions.
 *
 * The module is written for the newest kernel; what older ones lack appears
 * here under its newer name.
 */
#ifndef BLKSHIP_COMPAT_H
#define BLKSHIP_COMPAT_H

#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/mm.h>
#include <linux/version.h>
#include <net/genetlink.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
/* The mapping is not visible to anybody else yet: mmap holds mmap_lock. */
static inline void vm_flags_clear(struct vm_area_struct *vma,
				  unsigned long flags)
{
	vma->vm_flags &= ~flags;
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
static inline struct nlattr **blkship_dump_attrs(struct netlink_callback *cb)
{
	return genl_dumpit_info(cb)->attrs;
}
#else
static inline struct nlattr **blkship_dump_attrs(struct netlink_callback *cb)
{
	return genl_info_dump(cb)->attrs;
}
#endif

/*
 * A block device kept open for as long as somebody looks at it: to read, or claimed,
 * to read and write, and for nobody else to use.
 */
struct blkship_bdev {
	struct block_device *bdev;	/* or NULL */
	struct file *file;
	fmode_t mode;
};

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
static inline int blkship_bdev_get(dev_t dev, fmode_t mode, void *holder,
				   struct blkship_bdev *b)
{
	struct block_device *bdev = blkdev_get_by_dev(dev, mode, holder);

	b->file = NULL;
	b->mode = mode;
	b->bdev = IS_ERR(bdev) ? NULL : bdev;
	return PTR_ERR_OR_ZERO(bdev);
}

static inline int blkship_bdev_open(dev_t dev, struct blkship_bdev *b)
{
	return blkship_bdev_get(dev, FMODE_READ, NULL, b);
}

static inline int blkship_bdev_claim(dev_t dev, void *holder,
				     struct blkship_bdev *b)
{
	return blkship_bdev_get(dev, FMODE_READ | FMODE_WRITE | FMODE_EXCL,
				holder, b);
}

static inline void blkship_bdev_close(struct blkship_bdev *b)
{
	if (b->bdev)
		blkdev_put(b->bdev, b->mode);
	b->bdev = NULL;
}
#else
static inline int blkship_bdev_get(dev_t dev, blk_mode_t mode, void *holder,
				   struct blkship_bdev *b)
{
	struct file *file = bdev_file_open_by_dev(dev, mode, holder, NULL);

	b->file = IS_ERR(file) ? NULL : file;
	b->bdev = b->file ? file_bdev(file) : NULL;
	return PTR_ERR_OR_ZERO(file);
}

static inline int blkship_bdev_open(dev_t dev, struct blkship_bdev *b)
{
	return blkship_bdev_get(dev, BLK_OPEN_READ, NULL, b);
}

static inline int blkship_bdev_claim(dev_t dev, void *holder,
				     struct blkship_bdev *b)
{
	return blkship_bdev_get(dev, BLK_OPEN_READ | BLK_OPEN_WRITE, holder, b);
}

static inline void blkship_bdev_close(struct blkship_bdev *b)
{
	if (b->bdev)
		bdev_fput(b->file);
	b->bdev = NULL;
}
#endif

/* A disk that works by requests, not added. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 9, 0)
static inline struct gendisk *
blkship_mq_disk_alloc(struct blk_mq_tag_set *tags, u32 request_sectors,
		      void *data)
{
	struct gendisk *disk = blk_mq_alloc_disk(tags, data);

	if (!IS_ERR(disk))
		blk_queue_max_hw_sectors(disk->queue, request_sectors);
	return disk;
}
#else
static inline struct gendisk *
blkship_mq_disk_alloc(struct blk_mq_tag_set *tags, u32 request_sectors,
		      void *data)
{
	struct queue_limits lim = { .max_hw_sectors = request_sectors };

	return blk_mq_alloc_disk(tags, &lim, data);
}
#endif

#endif
