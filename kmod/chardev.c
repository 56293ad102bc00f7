// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/blkship: an open file becomes the one consumer of a group by BIND, maps
 * its ring and asks for repairs. When the file goes, however its owner died,
 * the group is free for the next consumer and no region stays in repair.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>

#include "chardev.h"
#include "compat.h"
#include "meta.h"
#include "volume.h"

#define WINDOW_REGIONS	BLKSHIP_TAKE_MAX_REGIONS
#define WINDOW_WORDS	(WINDOW_REGIONS / 64)

/* NULL before BIND. Set once, so that mmap, which must not lock, may look. */
static struct blkship_group *file_group(struct file *file)
{
	/* Pairs with the release in file_bind(). */
	return smp_load_acquire(&file->private_data);
}

static int file_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	file->private_data = NULL;	/* the misc layer left its own there */
	return stream_open(inode, file);
}

static int file_release(struct inode *inode, struct file *file)
{
	struct blkship_group *grp = file_group(file);

	if (grp)
		blkship_group_unbind(grp);
	return 0;
}

static long file_bind(struct file *file, const void __user *arg)
{
	struct blkship_group *grp;
	struct blkship_bind bind;
	int ret;

	if (copy_from_user(&bind, arg, sizeof(bind)))
		return -EFAULT;
	if (bind.reserved)
		return -EINVAL;
	if (bind.abi_version != BLKSHIP_ABI_VERSION)
		return -EPROTO;
	bind.group[sizeof(bind.group) - 1] = '\0';
	ret = blkship_group_bind(bind.group, &grp);
	if (ret)
		return ret;
	/* Pairs with the acquire in file_group(); one BIND wins. */
	if (cmpxchg_release(&file->private_data, NULL, grp)) {
		blkship_group_unbind(grp);
		return -EALREADY;
	}
	return 0;
}

/* -- mmap -- */

static void ring_vm_open(struct vm_area_struct *vma)
{
	blkship_group_get(vma->vm_private_data);
}

static void ring_vm_close(struct vm_area_struct *vma)
{
	blkship_group_put(vma->vm_private_data);
}

static const struct vm_operations_struct ring_vm_ops = {
	.open	= ring_vm_open,
	.close	= ring_vm_close,
};

/*
 * Four areas with rights of their own. Where userspace may only read, the right
 * to write is taken from the mapping for good, so mprotect() cannot add it.
 */
static int file_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct blkship_group *grp = file_group(file);
	u64 offset = (u64)vma->vm_pgoff << PAGE_SHIFT;
	u64 area = offset & ~(BLKSHIP_MMAP_CONSUMER - 1);
	const void *memory;
	int ret;

	if (!grp)
		return -ENOTCONN;
	switch (area) {
	case BLKSHIP_MMAP_KERNEL:
		memory = grp->ring.shared;
		break;
	case BLKSHIP_MMAP_CONSUMER:
		memory = grp->ring.consumer;
		break;
	case BLKSHIP_MMAP_DESC:
		memory = grp->ring.descs;
		break;
	case BLKSHIP_MMAP_PAYLOAD:
		memory = grp->ring.payload;
		break;
	default:
		return -ENXIO;
	}
	if (!(vma->vm_flags & VM_SHARED))
		return -EINVAL;
	if (area != BLKSHIP_MMAP_CONSUMER) {
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
	}
	if (vma->vm_flags & VM_EXEC)
		return -EACCES;
	vm_flags_clear(vma, VM_MAYEXEC);
	ret = remap_vmalloc_range(vma, (void *)memory,
				  (offset - area) >> PAGE_SHIFT);
	if (ret)
		return ret;
	blkship_group_get(grp);
	vma->vm_private_data = grp;
	vma->vm_ops = &ring_vm_ops;
	return 0;
}

static __poll_t file_poll(struct file *file, poll_table *wait)
{
	struct blkship_group *grp = file_group(file);
	bool ready;

	if (!grp)
		return EPOLLERR;
	poll_wait(file, &grp->wait, wait);
	/* After joining the queue: see group_wake(). */
	raw_spin_lock_irq(&grp->lock);
	ready = blkship_ring_wants_wake(&grp->ring);
	raw_spin_unlock_irq(&grp->lock);
	return ready ? EPOLLIN | EPOLLRDNORM : 0;
}

/* -- repairs; blkship_mutex keeps volumes and maps where they are -- */

static int window_check(const struct blkship_volume *vol, u64 first, u32 count)
{
	if (!vol)
		return -ENOENT;
	if (first % 64 || !count || first >= vol->maps.nr_regions ||
	    count > vol->maps.nr_regions - first)
		return -EINVAL;
	return 0;
}

static size_t window_bytes(u32 count)
{
	return blkship_dirty_words(count) * sizeof(u64);
}

static long group_take(struct blkship_group *grp, void __user *arg)
{
	u64 bitmap[WINDOW_WORDS];
	struct blkship_take take;
	struct blkship_volume *vol;
	int ret;

	if (copy_from_user(&take, arg, sizeof(take)))
		return -EFAULT;
	if (take.reserved || take.count > WINDOW_REGIONS)
		return -EINVAL;
	mutex_lock(&blkship_mutex);
	vol = blkship_volume_at(grp, take.volume);
	ret = window_check(vol, take.first_region, take.count);
	/* It changes unseen: reading it back would repair nothing. */
	if (!ret && vol->flags & BLKSHIP_VOLUME_DIVERGED)
		ret = -EREMCHG;
	if (!ret) {
		raw_spin_lock_irq(&grp->lock);
		if (vol->raw_command || vol->outgrown) {
			ret = -EREMCHG;
		} else {
			take.taken = blkship_dirty_take(&vol->maps,
							take.first_region,
							take.count,
							take.max_regions,
							bitmap);
			take.seq = blkship_ring_mark(&grp->ring);
		}
		raw_spin_unlock_irq(&grp->lock);
	}
	mutex_unlock(&blkship_mutex);
	if (ret)
		return ret;
	/* What a bad pointer hides from its owner is repairing until he goes. */
	if (copy_to_user(u64_to_user_ptr(take.bitmap), bitmap,
			 window_bytes(take.count)) ||
	    copy_to_user(arg, &take, sizeof(take)))
		return -EFAULT;
	return 0;
}

/* One window at a time, each with its own look at the volume. */
static int clear_window(struct blkship_group *grp, u32 volume, u64 first,
			u32 count, const u64 *bitmap)
{
	struct blkship_volume *vol;
	int ret;

	mutex_lock(&blkship_mutex);
	vol = blkship_volume_at(grp, volume);
	ret = window_check(vol, first, count);
	if (!ret) {
		raw_spin_lock_irq(&grp->lock);
		blkship_dirty_clear(&vol->maps, first, count, bitmap);
		raw_spin_unlock_irq(&grp->lock);
	}
	mutex_unlock(&blkship_mutex);
	return ret;
}

static int read_window(struct blkship_group *grp, u32 volume, u32 which,
		       u64 first, u32 count, u64 *bitmap)
{
	struct blkship_volume *vol;
	int ret;

	mutex_lock(&blkship_mutex);
	vol = blkship_volume_at(grp, volume);
	ret = window_check(vol, first, count);
	/* Clean now, perhaps not when it is fed again: see volume.h. */
	if (!ret && which == BLKSHIP_MAP_DIRTY &&
	    vol->flags & BLKSHIP_VOLUME_SUSPENDED)
		ret = -EBUSY;
	if (!ret) {
		const u64 *map = which == BLKSHIP_MAP_DIRTY ?
			vol->maps.dirty : vol->maps.repairing;

		raw_spin_lock_irq(&grp->lock);
		blkship_dirty_read(&vol->maps, map, first, count, bitmap);
		raw_spin_unlock_irq(&grp->lock);
	}
	mutex_unlock(&blkship_mutex);
	return ret;
}

static long group_clear(struct blkship_group *grp, const void __user *arg)
{
	struct blkship_clear clear;
	u64 bitmap[WINDOW_WORDS];
	u32 done, count;
	int ret = 0;

	if (copy_from_user(&clear, arg, sizeof(clear)))
		return -EFAULT;
	if (clear.reserved || !clear.count)
		return -EINVAL;
	for (done = 0; !ret && done < clear.count; done += count) {
		count = min(clear.count - done, WINDOW_REGIONS);
		if (copy_from_user(bitmap,
				   u64_to_user_ptr(clear.bitmap + done / 8),
				   window_bytes(count)))
			return -EFAULT;
		ret = clear_window(grp, clear.volume, clear.first_region + done,
				   count, bitmap);
	}
	return ret;
}

static long group_map_read(struct blkship_group *grp, const void __user *arg)
{
	struct blkship_map_read read;
	u64 bitmap[WINDOW_WORDS];
	u32 done, count;
	int ret = 0;

	if (copy_from_user(&read, arg, sizeof(read)))
		return -EFAULT;
	if (read.which > BLKSHIP_MAP_REPAIRING || !read.count)
		return -EINVAL;
	for (done = 0; !ret && done < read.count; done += count) {
		count = min(read.count - done, WINDOW_REGIONS);
		ret = read_window(grp, read.volume, read.which,
				  read.first_region + done, count, bitmap);
		if (!ret &&
		    copy_to_user(u64_to_user_ptr(read.bitmap + done / 8),
				 bitmap, window_bytes(count)))
			ret = -EFAULT;
	}
	return ret;
}

static long group_mark(struct blkship_group *grp, void __user *arg)
{
	struct blkship_mark mark;
	struct blkship_volume *vol;
	int ret = 0;

	if (copy_from_user(&mark, arg, sizeof(mark)))
		return -EFAULT;
	if (mark.reserved[0] || mark.reserved[1] || mark.reserved[2])
		return -EINVAL;
	mutex_lock(&blkship_mutex);
	vol = blkship_volume_at(grp, mark.volume);
	if (!vol) {
		ret = -ENOENT;
	} else if (!mark.length_bytes || mark.offset_bytes >= vol->size_bytes ||
		   mark.length_bytes > vol->size_bytes - mark.offset_bytes) {
		ret = -EINVAL;
	} else {
		blkship_volume_mark(vol, mark.offset_bytes, mark.length_bytes);
		mark.seq = blkship_group_mark(grp);
	}
	mutex_unlock(&blkship_mutex);
	if (!ret)
		blkship_meta_sync_group(grp);
	if (!ret && copy_to_user(arg, &mark, sizeof(mark)))
		ret = -EFAULT;
	return ret;
}

static long group_incarnation(struct blkship_group *grp, const void __user *arg)
{
	struct blkship_incarnation inc;

	if (copy_from_user(&inc, arg, sizeof(inc)))
		return -EFAULT;
	if (inc.reserved)
		return -EINVAL;
	return blkship_group_set_incarnation(grp, inc.incarnation);
}

static long group_settle(struct blkship_group *grp, const void __user *arg)
{
	struct blkship_settle settle;
	struct blkship_volume *vol;
	int ret = 0;

	if (copy_from_user(&settle, arg, sizeof(settle)))
		return -EFAULT;
	if (settle.reserved || settle.fits > 1)
		return -EINVAL;
	mutex_lock(&blkship_mutex);
	vol = blkship_volume_at(grp, settle.volume);
	if (!vol)
		ret = -ENOENT;
	else if (!vol->kept_incarnation ||
		 vol->kept_log_no != settle.kept_log_no)
		ret = -ESTALE;
	else
		blkship_volume_settle(vol, settle.fits);
	mutex_unlock(&blkship_mutex);
	if (!ret)
		blkship_meta_sync_group(grp);
	return ret;
}

static long group_volume(struct blkship_group *grp, void __user *arg)
{
	struct blkship_volume_info info, in;
	const struct blkship_volume *vol;

	if (copy_from_user(&in, arg, sizeof(in)))
		return -EFAULT;
	memset(&info, 0, sizeof(info));
	info.volume = in.volume;
	mutex_lock(&blkship_mutex);
	vol = blkship_volume_at(grp, in.volume);
	if (vol) {
		info.flags = blkship_volume_flags(vol);
		info.size_bytes = vol->size_bytes;
		info.dirty_regions = READ_ONCE(vol->maps.nr_dirty);
		info.repairing_regions = READ_ONCE(vol->maps.nr_repairing);
		info.dev_major = MAJOR(vol->dev);
		info.dev_minor = MINOR(vol->dev);
		info.dev_start_bytes = vol->dev_start_bytes;
		strscpy(info.name, vol->name, sizeof(info.name));
		info.kept_incarnation = vol->kept_incarnation;
		memcpy(info.kept_instance, vol->kept_instance,
		       sizeof(info.kept_instance));
		info.kept_ordinal = vol->kept_ordinal;
		info.kept_log_no = vol->kept_log_no;
		info.log_no = blkship_volume_log_no(vol);
	}
	mutex_unlock(&blkship_mutex);
	if (!vol)
		return -ENOENT;
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static long file_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct blkship_group *grp = file_group(file);
	void __user *user = (void __user *)arg;

	if (cmd == BLKSHIP_IOC_BIND)
		return file_bind(file, user);
	if (!grp)
		return -ENOTCONN;
	switch (cmd) {
	case BLKSHIP_IOC_TAKE:
		return group_take(grp, user);
	case BLKSHIP_IOC_CLEAR:
		return group_clear(grp, user);
	case BLKSHIP_IOC_MAP_READ:
		return group_map_read(grp, user);
	case BLKSHIP_IOC_MARK:
		return group_mark(grp, user);
	case BLKSHIP_IOC_INCARNATION:
		return group_incarnation(grp, user);
	case BLKSHIP_IOC_VOLUME:
		return group_volume(grp, user);
	case BLKSHIP_IOC_SETTLE:
		return group_settle(grp, user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations chardev_fops = {
	.owner		= THIS_MODULE,
	.open		= file_open,
	.release	= file_release,
	.mmap		= file_mmap,
	.poll		= file_poll,
	.unlocked_ioctl	= file_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};

static struct miscdevice chardev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "blkship",
	.fops	= &chardev_fops,
	.mode	= 0600,
};

int blkship_chardev_init(void)
{
	return misc_register(&chardev);
}

void blkship_chardev_exit(void)
{
	misc_deregister(&chardev);
}
