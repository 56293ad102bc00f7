// SPDX-License-Identifier: GPL-2.0
/*
 * Which devices are tapped: attach, drain, detach, and what happens to a device
 * meanwhile. The probes of front_tap.c see its writes while it is shown to them.
 */
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/device-mapper.h>
#include <linux/fs.h>
#include <linux/reboot.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "compat.h"
#include "front_tap.h"
#include "meta.h"
#include "netlink.h"
#include "observe.h"
#include "tap.h"

/* The longest that an attach holds a disk's new I/O. */
#define FREEZE_MAX	(5 * HZ)
/* The longest that a detach waits for what is in flight. */
#define LEAVE_MAX_MS	10000

/*
 * Which taps exist, and with which of them somebody is at work. Taken before
 * blkship_mutex, and held for a moment: who attaches or detaches waits for
 * devices, some of which do not answer, and has a busy tap to himself instead.
 */
static DEFINE_MUTEX(tap_mutex);
static LIST_HEAD(taps);					/* tap_mutex */
static void tap_watch(struct work_struct *work);
static DECLARE_DELAYED_WORK(watch_work, tap_watch);

/* -- attach -- */

/* Partitions are ranges of their disk. */
static struct blkship_place place_of(struct block_device *bdev)
{
	u64 first = bdev_is_partition(bdev) ? bdev->bd_start_sect : 0;

	return (struct blkship_place) {
		.disk = bdev->bd_disk, .first_sector = first,
		.last_sector = first + bdev_nr_sectors(bdev) - 1,
	};
}

static bool place_meets(const struct blkship_place *place, dev_t disk,
			u64 start_bytes, u64 size_bytes)
{
	u64 first = start_bytes >> SECTOR_SHIFT;
	u64 last = first + (size_bytes >> SECTOR_SHIFT) - 1;

	return disk == disk_devt(place->disk) && first <= place->last_sector &&
	       place->first_sector <= last;
}

static bool volume_is_on(const struct blkship_volume *vol,
			 const struct blkship_place *place)
{
	return !list_empty(&vol->fronts) &&
	       place_meets(place, vol->dev, vol->dev_start_bytes,
			   vol->size_bytes);
}

/* Another volume that sees the same writes would ship them twice. */
static bool place_taken(const struct blkship_place *place)
{
	const struct blkship_group *grp;
	const struct blkship_tap *tap;
	bool taken = false;
	u32 i;

	lockdep_assert_held(&tap_mutex);
	/* One that is being attached has no volume yet that says where it is. */
	list_for_each_entry(tap, &taps, link)
		taken |= place_meets(place, tap->front.dev,
				     tap->front.dev_start_bytes,
				     tap->front.size_bytes);
	mutex_lock(&blkship_mutex);
	list_for_each_entry(grp, &blkship_groups, link)
		for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++)
			taken |= grp->volumes[i] &&
				 volume_is_on(grp->volumes[i], place);
	mutex_unlock(&blkship_mutex);
	return taken;
}

static int place_check(const struct blkship_place *place, const char **why)
{
	struct gendisk *disk = place->disk;
	struct mapped_device *md = dm_get_md(disk_devt(disk));
	bool is_dm = md;

	if (md)
		dm_put(md);
	*why = NULL;
	if (bdev_is_zoned(disk->part0))
		*why = "zoned devices are not supported: protect the volume on top of it";
	else if (blk_queue_dax(disk->queue))
		*why = "it can be written without the block layer (DAX): that cannot be seen";
	else if (is_dm && queue_is_mq(disk->queue))
		*why = "multipath hides what it writes: protect the volumes on top of it";
	else if (!is_dm && !queue_is_mq(disk->queue))
		*why = "md, bcache, multipath and the like work without requests: protect the volumes on top of it, or use the dm front end";
	return *why ? -EOPNOTSUPP : 0;
}

static bool disk_is_scsi(const struct gendisk *disk)
{
	const struct device *parent = disk_to_dev(disk)->parent;

	return parent && parent->bus && !strcmp(parent->bus->name, "scsi");
}

/*
 * Wait for all that was under way before we looked. Nothing here allocates or
 * faults: that might have to wait for the very device.
 *
 * Not on a device-mapper device: to suspend it waits without a limit for what it
 * has in flight, and holds what comes meanwhile. What is in flight there has no
 * entry, and its end is seen: all of the volume is dirty then, with a seq, before
 * its submitter is told. Until then it is a write in flight, which a point may
 * have, lack or have in part.
 */
static int tap_drain(struct blkship_tap *tap, const char **why)
{
	struct request_queue *q = tap->disk->queue;
	unsigned int noio;
	int ret = 0;

	/* Nobody is left between our probe and a table without this tap. */
	synchronize_rcu();
	if (!tap->by_request)
		return 0;
	noio = memalloc_noio_save();
	blk_freeze_queue_start(q);
	if (blk_mq_freeze_queue_wait_timeout(q, FREEZE_MAX) <= 0)
		ret = -EBUSY;
	blk_mq_unfreeze_queue(q);
	memalloc_noio_restore(noio);
	if (ret)
		*why = "the device did not become idle for a moment within 5 seconds";
	return ret;
}

static void tap_alarm_work(struct work_struct *work)
{
	struct blkship_tap *tap = container_of(work, struct blkship_tap,
					       alarm_work);
	struct blkship_volume *vol = tap->front.vol;
	struct blkship_group *grp = vol->grp;
	bool raw, unseen;

	if (!tap->bdev.bdev)
		return;		/* the self-test asks for itself */
	mutex_lock(&blkship_mutex);
	raw_spin_lock_irq(&grp->lock);
	raw = vol->raw_command && !READ_ONCE(tap->leaving);
	unseen = vol->unseen;
	raw_spin_unlock_irq(&grp->lock);
	raw = raw && !(vol->flags & BLKSHIP_VOLUME_DIVERGED);
	if (raw)
		vol->flags |= BLKSHIP_VOLUME_DIVERGED;
	mutex_unlock(&blkship_mutex);
	if (raw) {
		pr_warn("blkship: group %s: volume %s: a raw command may have changed data, or it became shorter; there will be no points until it is attached again and read back\n",
			grp->name, vol->name);
		blkship_event(BLKSHIP_EVENT_DIVERGED, grp->name, vol->name);
	}
	if (unseen && !tap->unseen_told) {
		tap->unseen_told = true;
		pr_warn("blkship: group %s: volume %s: writes reach the disk by a road that the tap does not see; what the auditor finds is read back\n",
			grp->name, vol->name);
		blkship_event(BLKSHIP_EVENT_UNSEEN, grp->name, vol->name);
	}
}

static struct blkship_tap *tap_alloc(const struct blkship_place *place)
{
	struct blkship_tap *tap = kzalloc(sizeof(*tap), GFP_KERNEL);

	if (!tap)
		return NULL;
	tap->disk = place->disk;
	tap->first = place->first_sector;
	tap->last = place->last_sector;
	tap->by_request = queue_is_mq(place->disk->queue);
	tap->scsi = disk_is_scsi(place->disk);
	INIT_WORK(&tap->alarm_work, tap_alarm_work);
	tap->front.kind = "tap";
	tap->front.ends_when_told = true;
	tap->front.owner = tap;
	tap->front.generation = tap;
	tap->front.dev = disk_devt(place->disk);
	tap->front.dev_start_bytes = tap->first << SECTOR_SHIFT;
	tap->front.size_bytes = (tap->last - tap->first + 1) << SECTOR_SHIFT;
	return tap;
}

/* It has its place, and is the caller's alone. */
static int tap_list(struct blkship_tap *tap, const struct blkship_place *place,
		    const char **why)
{
	int ret = 0;

	mutex_lock(&tap_mutex);
	if (place_taken(place)) {
		*why = "it is protected already, as a whole or in part: detach that first";
		ret = -EBUSY;
	} else {
		tap->busy = true;
		list_add_tail(&tap->link, &taps);
	}
	mutex_unlock(&tap_mutex);
	return ret;
}

static void tap_unlist(struct blkship_tap *tap)
{
	mutex_lock(&tap_mutex);
	list_del(&tap->link);
	mutex_unlock(&tap_mutex);
}

/* The tap that feeds this volume, if nobody is at work with it: the caller's. */
static struct blkship_tap *tap_take(const char *group, const char *volume)
{
	struct blkship_tap *tap, *found = NULL;

	mutex_lock(&tap_mutex);
	list_for_each_entry(tap, &taps, link)
		if (!tap->busy && !strcmp(tap->front.vol->grp->name, group) &&
		    !strcmp(tap->front.vol->name, volume))
			found = tap;
	if (found)
		found->busy = true;
	mutex_unlock(&tap_mutex);
	return found;
}

static void tap_give_back(struct blkship_tap *tap)
{
	mutex_lock(&tap_mutex);
	tap->busy = false;
	mutex_unlock(&tap_mutex);
}

static int tap_show(struct blkship_tap *tap)
{
	int ret;

	mutex_lock(&tap_mutex);
	ret = blkship_tap_show(tap);
	mutex_unlock(&tap_mutex);
	return ret;
}

/* Nothing of it is followed any more. */
static void tap_hide(struct blkship_tap *tap)
{
	mutex_lock(&tap_mutex);
	blkship_tap_hide(tap);
	mutex_unlock(&tap_mutex);
	cancel_work_sync(&tap->alarm_work);
	blkship_observe_give_up(tap->front.vol);
}

/* What was kept is not good any more if nothing comes of it: writes go on. */
static int tap_load(struct blkship_tap *tap, const char **why)
{
	int ret = blkship_front_load(&tap->front, why);

	if (ret)
		blkship_meta_void(tap->front.meta);
	return ret;
}

static int tap_start(struct blkship_tap *tap, const char **why)
{
	struct blkship_volume *vol = tap->front.vol;
	int ret = blkship_observer_alloc(vol->grp);

	if (ret) {
		*why = "no memory for what is in flight";
		return ret;
	}
	ret = blkship_front_fit(&tap->front);
	if (ret)
		return ret;
	/* What was queued before, and ends from here on, is no news. */
	blkship_observe_explain(vol);
	ret = tap_show(tap);
	if (ret) {
		*why = "no place for the probes";
		return ret;
	}
	queue_delayed_work(blkship_wq, &watch_work, HZ);
	ret = tap_drain(tap, why);
	/* Who was caught between our probe and the queue has no entry. */
	blkship_observe_explain(vol);
	if (!ret)
		ret = tap_load(tap, why);
	/* What it has changed is read back, if all is: what was kept lacks it. */
	if (!ret && blkship_observe_raw_forget(vol) && tap->front.meta)
		blkship_meta_distrust(tap->front.meta);
	if (!ret)
		ret = blkship_front_start(&tap->front);
	if (ret)
		tap_hide(tap);
	return ret;
}

/*
 * To open a number that nobody has loads a module for it, and a module with a
 * generic netlink family (drbd) would wait for the lock that our caller has.
 */
static bool device_exists(dev_t dev)
{
	struct inode *inode = ilookup(blockdev_superblock, dev);

	if (inode)
		iput(inode);
	return inode;
}

static int tap_open_meta(struct blkship_tap *tap, dev_t meta_dev,
			 const char **why)
{
	struct blkship_place place;
	int ret;

	if (!meta_dev)
		return 0;
	ret = device_exists(meta_dev) ?
	      blkship_bdev_claim(meta_dev, tap, &tap->meta_bdev) : -ENXIO;
	if (ret) {
		*why = "cannot open the metadata device for ourselves alone";
		return ret;
	}
	place = place_of(tap->meta_bdev.bdev);
	if (place_meets(&place, tap->front.dev, tap->front.dev_start_bytes,
			tap->front.size_bytes)) {
		*why = "the metadata device is a part of the volume";
		return -EINVAL;
	}
	return blkship_meta_create(&tap->meta_bdev, tap->bdev.bdev,
				   tap->front.dev_start_bytes,
				   tap->front.size_bytes, false,
				   &tap->front.meta, why);
}

/* And what it has opened is closed. */
static void tap_free(struct blkship_tap *tap)
{
	blkship_meta_release(tap->front.meta, &tap->meta_bdev);
	blkship_meta_release(tap->front.meta, &tap->bdev);
	if (tap->front.meta)
		blkship_meta_put(tap->front.meta);
	kfree(tap);
}

/* *bdev, if given, is the tap's from here on, whatever comes of it. */
static int tap_attach(const char *group, const char *volume,
		      const struct blkship_place *place, u64 ring_bytes,
		      struct blkship_bdev *bdev, dev_t meta_dev,
		      const char **why)
{
	struct blkship_tap *tap = tap_alloc(place);
	int ret;

	if (!tap) {
		*why = "no memory";
		return -ENOMEM;
	}
	if (bdev) {
		tap->bdev = *bdev;
		bdev->bdev = NULL;
	}
	ret = tap_list(tap, place, why);
	if (ret)
		goto err_free;
	ret = tap_open_meta(tap, meta_dev, why);
	if (ret)
		goto err_list;
	ret = blkship_front_add(&tap->front, group, volume, ring_bytes, why);
	if (ret)
		goto err_list;
	ret = tap_start(tap, why);
	if (ret)
		goto err_front;
	tap_give_back(tap);
	return 0;

err_front:
	blkship_front_remove(&tap->front);
err_list:
	tap_unlist(tap);
err_free:
	tap_free(tap);
	return ret;
}

int blkship_tap_add_place(const char *group, const char *volume,
			  const struct blkship_place *place, u64 ring_bytes,
			  const char **why)
{
	return tap_attach(group, volume, place, ring_bytes, NULL, 0, why);
}

/* It is tapped here already: once more from the beginning, if it has to be. */
static int tap_again(struct blkship_tap *tap, const struct blkship_place *place,
		     const char **why)
{
	bool diverged;
	int ret;

	mutex_lock(&blkship_mutex);
	diverged = tap->front.vol->flags & BLKSHIP_VOLUME_DIVERGED;
	mutex_unlock(&blkship_mutex);
	if (tap->disk != place->disk || tap->first != place->first_sector) {
		*why = "another device feeds this volume";
		return -EBUSY;
	}
	if (!diverged) {
		*why = "it is attached already";
		return -EEXIST;
	}
	if (tap->last != place->last_sector) {
		*why = "its size has changed: detach it first";
		return -EBUSY;
	}
	ret = tap_drain(tap, why);
	if (ret)
		return ret;
	/* What ended before is read back. */
	blkship_observe_raw_forget(tap->front.vol);
	blkship_front_restart(&tap->front);
	return 0;
}

/* A partition that is kept open can neither be deleted nor moved; only grow. */
static int place_open(dev_t dev, struct blkship_place *place,
		      struct blkship_bdev *opened, const char **why)
{
	int ret = device_exists(dev) ? blkship_bdev_open(dev, opened) : -ENXIO;
	struct block_device *bdev;

	if (ret) {
		*why = ret == -ENXIO ? "there is no such device" :
		       "cannot open the device";
		return ret;
	}
	bdev = opened->bdev;
	if (!bdev_nr_sectors(bdev)) {
		blkship_bdev_close(opened);
		*why = "it has no medium";
		return -ENOMEDIUM;
	}
	*place = place_of(bdev);
	return 0;
}

int blkship_tap_add(const char *group, const char *volume, dev_t dev,
		    dev_t meta_dev, u64 ring_bytes, const char **why)
{
	struct blkship_place place;
	struct blkship_bdev opened;
	struct blkship_tap *tap;
	int ret = place_open(dev, &place, &opened, why);

	if (ret)
		return ret;
	tap = tap_take(group, volume);
	if (tap) {
		ret = tap_again(tap, &place, why);
		tap_give_back(tap);
	} else {
		ret = place_check(&place, why);
		if (!ret)
			ret = tap_attach(group, volume, &place, ring_bytes,
					 &opened, meta_dev, why);
	}
	blkship_bdev_close(&opened);	/* unless there is a tap that has it */
	return ret;
}

/* -- detach -- */

/*
 * What comes from now on is a gap and is not followed. When what is followed
 * has ended, the volume is kept from being repaired until it has left the group:
 * nobody must take a state for current that is written unseen.
 */
static void tap_detach(struct blkship_tap *tap)
{
	unsigned int waited_ms;

	WRITE_ONCE(tap->leaving, true);
	synchronize_rcu();
	for (waited_ms = 0; waited_ms < LEAVE_MAX_MS &&
	     !blkship_observe_idle(tap->front.vol); waited_ms += 10)
		msleep(10);
	blkship_observe_raw(tap->front.vol);
	tap_hide(tap);
	tap_unlist(tap);
	/* Free for the next, before anybody is told that it is. */
	blkship_front_end_meta(&tap->front);
	blkship_meta_release(tap->front.meta, &tap->meta_bdev);
	blkship_front_remove(&tap->front);
	tap_free(tap);
}

/*
 * Whether nobody has it open but us. Of a disk that is looked at all its partitions
 * count, some kernels count each of them once however often it is open, and each tap
 * and each metadata device on it is one of us.
 */
static bool tap_alone(const struct blkship_tap *tap)
{
	const struct blkship_tap *other;
	unsigned int ours = 0;

	lockdep_assert_held(&tap_mutex);
	list_for_each_entry(other, &taps, link)
		ours += (other->disk == tap->disk) +
			(other->meta_bdev.bdev &&
			 other->meta_bdev.bdev->bd_disk == tap->disk);
	return disk_openers(tap->disk) == ours && tap->bdev.bdev &&
	       atomic_read(&tap->bdev.bdev->bd_openers) == 1;
}

/* Nothing is under way there, raw commands included, which nobody has opened it for. */
static bool tap_rests(struct blkship_tap *tap)
{
	const char *ignored;

	return !tap_drain(tap, &ignored) &&
	       blkship_observe_idle(tap->front.vol);
}

/*
 * The machine goes down. What nobody has open any more but us is not written to
 * again: its state can be kept. Else, as after a crash, all is read back.
 */
static int tap_reboot(struct notifier_block *block, unsigned long event,
		      void *data)
{
	struct blkship_tap *tap;

	mutex_lock(&tap_mutex);
	list_for_each_entry(tap, &taps, link) {
		if (tap->busy)
			continue;	/* comes or goes: nothing is kept */
		tap->front.keep = tap->front.meta && tap_alone(tap) &&
				  tap_rests(tap);
		blkship_front_end_meta(&tap->front);
	}
	mutex_unlock(&tap_mutex);
	return NOTIFY_DONE;
}

static struct notifier_block reboot_block = { .notifier_call = tap_reboot };

int blkship_tap_remove(const char *group, const char *volume)
{
	struct blkship_tap *tap = tap_take(group, volume);

	if (!tap)
		return -ENOENT;
	blkship_volume_leave(tap->front.vol);
	tap_detach(tap);
	return 0;
}

/*
 * What lies behind the old end belongs to the volume from now on. Until the
 * probes look there no repair can begin, so what was written there meanwhile is
 * dirty before anybody reads it. One that became shorter is not what it was.
 */
static void tap_check_size(struct blkship_tap *tap)
{
	struct blkship_volume *vol = tap->front.vol;
	u64 old = tap->last - tap->first + 1, sectors;

	sectors = bdev_nr_sectors(tap->bdev.bdev);
	if (sectors < old) {
		if (blkship_observe_raw(vol))
			blkship_tap_alarm(tap);
		return;
	}
	blkship_observe_explain(vol);
	blkship_observe_outgrown(vol);
	if (blkship_front_grow(&tap->front, sectors << SECTOR_SHIFT)) {
		pr_warn_ratelimited("blkship: group %s: volume %s: it has grown, and there is no memory for its maps: no points until there is\n",
				    vol->grp->name, vol->name);
		return;
	}
	WRITE_ONCE(tap->last, tap->first + sectors - 1);
	synchronize_rcu();
	blkship_volume_grown(vol, old << SECTOR_SHIFT);
}

/* What nobody has opened is the self-test's, which ends by itself. */
static bool tap_has_changed(const struct blkship_tap *tap)
{
	return test_bit(GD_DEAD, &tap->disk->state) ||
	       (tap->bdev.bdev && bdev_nr_sectors(tap->bdev.bdev) !=
				  tap->last - tap->first + 1);
}

/* One that has changed, and was not looked at in this round: the caller's. */
static struct blkship_tap *tap_take_changed(u64 round)
{
	struct blkship_tap *tap, *found = NULL;

	mutex_lock(&tap_mutex);
	list_for_each_entry(tap, &taps, link) {
		if (tap->busy || tap->watch_round == round ||
		    !tap_has_changed(tap))
			continue;
		tap->watch_round = round;
		tap->busy = true;
		found = tap;
		break;
	}
	mutex_unlock(&tap_mutex);
	return found;
}

/* A disk was pulled out, or has grown: nobody tells a front end that looks on. */
static void tap_watch(struct work_struct *work)
{
	static u64 round;	/* this work's */
	struct blkship_tap *tap;
	bool any;

	for (round++; (tap = tap_take_changed(round));)
		if (test_bit(GD_DEAD, &tap->disk->state)) {
			tap_detach(tap);
		} else {
			tap_check_size(tap);
			tap_give_back(tap);
		}
	mutex_lock(&tap_mutex);
	any = !list_empty(&taps);
	mutex_unlock(&tap_mutex);
	if (any)
		queue_delayed_work(blkship_wq, &watch_work, HZ);
}

int blkship_tap_init(void)
{
	int ret = blkship_tap_find_probes();

	return ret ? ret : register_reboot_notifier(&reboot_block);
}

void blkship_tap_exit(void)
{
	unregister_reboot_notifier(&reboot_block);
	cancel_delayed_work_sync(&watch_work);
}
