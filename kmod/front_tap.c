// SPDX-License-Identifier: GPL-2.0
/*
 * The tap: a front end for disks that are in use and stay as they are.
 *
 * Fed by four tracepoints of the block layer, feeds stage [1 capture] by
 * observe.c:
 *   block_bio_queue	once for every bio, before it is split
 *   block_rq_issue	the auditor: every request, by whatever road it came
 *   block_rq_complete	before its bios advance
 *   block_bio_complete	what ends without a request
 *
 * The probes run with preemption off, in any context, and find a disk's taps in
 * a small hash table under RCU: a disk that is not tapped costs an empty bucket.
 * They are there while anything is tapped.
 */
#include <linux/blk-crypto.h>
#include <linux/blk-mq.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/device-mapper.h>
#include <linux/hash.h>
#include <linux/rculist.h>
#include <linux/reboot.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/tracepoint.h>
#include <trace/events/block.h>

#include "compat.h"
#include "front_tap.h"
#include "meta.h"
#include "netlink.h"
#include "observe.h"
#include "raw_command.h"

#define BUCKET_BITS	5

/* What is longer is not captured: the copy is done with preemption off. */
#define COPY_MAX_BYTES	(16U << 20)

/* The longest that an attach holds a disk's new I/O. */
#define FREEZE_MAX	(5 * HZ)
/* The longest that a detach waits for what is in flight. */
#define LEAVE_MAX_MS	10000

struct blkship_tap {
	struct hlist_node node;		/* of its disk's bucket; RCU */
	struct gendisk *disk;
	u64 first;			/* sectors of the disk, both ends included */
	u64 last;
	bool by_request;		/* blk-mq; else device-mapper */
	bool scsi;
	bool leaving;
	struct blkship_bdev bdev;	/* kept open; empty in the self-test */
	struct blkship_bdev meta_bdev;	/* of the metadata device, if there is one */
	struct blkship_front front;
	struct list_head link;		/* tap_mutex */
	bool unseen_told;		/* by alarm_work */
	struct work_struct alarm_work;
};

static struct hlist_head buckets[1 << BUCKET_BITS];	/* tap_mutex; RCU */

/* Which taps exist; taken before blkship_mutex. */
static DEFINE_MUTEX(tap_mutex);
static LIST_HEAD(taps);					/* tap_mutex */
static void tap_watch(struct work_struct *work);
static struct notifier_block reboot_block;
static DECLARE_DELAYED_WORK(watch_work, tap_watch);

static struct hlist_head *bucket_of(const struct gendisk *disk)
{
	return &buckets[hash_ptr(disk, BUCKET_BITS)];
}

/* -- probes -- */

/* The sectors of this range that belong to the volume, as it counts them. */
static bool tap_span(const struct blkship_tap *tap, u64 sector, u64 sectors,
		     struct blkship_span *span)
{
	u64 last = sector + sectors - 1;

	if (unlikely(last < tap->first || sector > tap->last))
		return false;
	span->first = max(sector, tap->first) - tap->first;
	span->last = min(last, tap->last) - tap->first;
	return true;
}

static bool bio_span(const struct blkship_tap *tap, const struct bio *bio,
		     u32 bytes, struct blkship_span *span)
{
	return tap_span(tap, bio->bi_iter.bi_sector, bytes >> SECTOR_SHIFT,
			span);
}

/* What changes data; of raw commands also those that seem to read. */
static bool op_matters(enum req_op op)
{
	return op_is_write(op) || unlikely(op == REQ_OP_DRV_IN);
}

/* What becomes of a write that is not like most. */
static noinline void tap_submit_odd(struct blkship_tap *tap, struct bio *bio,
				    struct blkship_span span, u8 op)
{
	u64 skipped = tap->first + span.first - bio->bi_iter.bi_sector;
	bool capture = true;

	if (READ_ONCE(tap->leaving)) {
		blkship_observe_pass(tap->front.vol, span);
		return;
	}
	if (bio->bi_opf & REQ_SWAP)
		op = BLKSHIP_OP_DISCARD;	/* nobody's data after a restart */
	else if (!op || (op == BLKSHIP_OP_WRITE &&
			 (bio->bi_iter.bi_size > COPY_MAX_BYTES ||
			  bio_has_crypt_ctx(bio))))	/* ours is plain text */
		capture = false;
	blkship_observe_submit(tap->front.vol, bio, span,
			       skipped << SECTOR_SHIFT, op, capture);
}

static bool bio_is_odd(const struct blkship_tap *tap, struct bio *bio)
{
	return READ_ONCE(tap->leaving) || bio->bi_opf & REQ_SWAP ||
	       bio->bi_iter.bi_size > COPY_MAX_BYTES ||
	       bio->bi_iter.bi_sector < tap->first || bio_has_crypt_ctx(bio);
}

/*
 * Of a whole disk nothing lies behind the end, nor of a partition for who writes to
 * that: the device has grown, and nobody may call the volume current before it
 * has, too.
 */
static noinline void tap_beyond(struct blkship_tap *tap, const struct bio *bio)
{
	if (tap->bdev.bdev && (bio->bi_bdev == tap->bdev.bdev ||
			       !bdev_is_partition(tap->bdev.bdev)))
		blkship_observe_outgrown(tap->front.vol);
}

static void tap_submit(struct blkship_tap *tap, struct bio *bio)
{
	u8 op = blkship_op_of(bio);
	struct blkship_span span;

	if (unlikely(bio_end_sector(bio) > READ_ONCE(tap->last) + 1))
		tap_beyond(tap, bio);
	if (!bio_span(tap, bio, bio->bi_iter.bi_size, &span))
		return;
	if (unlikely(!op) || unlikely(bio_is_odd(tap, bio)))
		tap_submit_odd(tap, bio, span, op);
	else
		blkship_observe_submit(tap->front.vol, bio, span, 0, op, true);
}

static void tap_alarm(struct blkship_tap *tap)
{
	queue_work(blkship_wq, &tap->alarm_work);
}

static void tap_issue(struct blkship_tap *tap, struct request *rq)
{
	struct blkship_span span;
	const struct bio *bio;

	if (unlikely(blk_rq_is_passthrough(rq))) {
		if (blkship_raw_command_changes(rq, tap->scsi) &&
		    blkship_observe_raw(tap->front.vol))
			tap_alarm(tap);
		return;
	}
	for (bio = rq->bio; bio; bio = bio->bi_next)
		if (bio_span(tap, bio, bio->bi_iter.bi_size, &span) &&
		    unlikely(!blkship_observe_issue(tap->front.vol, bio, span)))
			tap_alarm(tap);
}

static void tap_complete(struct blkship_tap *tap, const struct request *rq,
			 bool failed, u32 bytes)
{
	struct blkship_span span;
	const struct bio *bio;
	u32 part;

	for (bio = rq->bio; bio && bytes; bio = bio->bi_next) {
		part = min(bytes, bio->bi_iter.bi_size);
		bytes -= part;
		if (part && bio_span(tap, bio, part, &span))
			blkship_observe_progress(tap->front.vol, bio, span,
						 failed);
	}
}

/*
 * The probes are short, because every request of every disk passes them, and
 * leave to others what is to be done where a bucket has somebody.
 */
static struct blkship_tap *first_tap(const struct gendisk *disk)
{
	return hlist_entry_safe(rcu_dereference_sched(
				hlist_first_rcu(bucket_of(disk))),
				struct blkship_tap, node);
}

#define for_each_tap_of(tap, disk_)					\
	for (; tap; tap = hlist_entry_safe(rcu_dereference_sched(	\
			hlist_next_rcu(&tap->node)), struct blkship_tap, node)) \
		if (tap->disk == (disk_))

static noinline void taps_submit(struct blkship_tap *tap, struct bio *bio)
{
	const struct gendisk *disk = bio->bi_bdev->bd_disk;

	if (unlikely(!bio->bi_iter.bi_size))
		return;
	for_each_tap_of(tap, disk)
		tap_submit(tap, bio);
}

static noinline void taps_issue(struct blkship_tap *tap, struct request *rq)
{
	for_each_tap_of(tap, rq->q->disk)
		tap_issue(tap, rq);
}

static noinline void taps_complete(struct blkship_tap *tap,
				   const struct request *rq, bool failed,
				   u32 bytes)
{
	if (unlikely(blk_rq_is_passthrough((struct request *)rq)))
		return;
	for_each_tap_of(tap, rq->q->disk)
		tap_complete(tap, rq, failed, bytes);
}

static noinline void taps_end(struct blkship_tap *tap, struct bio *bio)
{
	const struct gendisk *disk = bio->bi_bdev->bd_disk;
	struct blkship_span span;

	if (unlikely(!bio->bi_iter.bi_size))
		return;
	for_each_tap_of(tap, disk)
		if (bio_span(tap, bio, bio->bi_iter.bi_size, &span) &&
		    !blkship_observe_end(tap->front.vol, bio, span,
					 bio->bi_status != BLK_STS_OK,
					 tap->by_request))
			tap_alarm(tap);
}

static void probe_bio_queue(void *data, struct bio *bio)
{
	struct blkship_tap *tap;

	if (!op_is_write(bio_op(bio)))
		return;
	tap = first_tap(bio->bi_bdev->bd_disk);
	if (tap)
		taps_submit(tap, bio);
}

static void probe_rq_issue(void *data, struct request *rq)
{
	struct blkship_tap *tap;

	if (!op_matters(req_op(rq)))
		return;
	tap = first_tap(rq->q->disk);
	if (tap)
		taps_issue(tap, rq);
}

static void probe_rq_complete(void *data, struct request *rq,
			      blk_status_t error, unsigned int bytes)
{
	struct blkship_tap *tap;

	if (!op_is_write(req_op(rq)))
		return;
	tap = first_tap(rq->q->disk);
	if (tap)
		taps_complete(tap, rq, error != BLK_STS_OK, bytes);
}

static void probe_bio_complete(void *data, struct request_queue *q,
			       struct bio *bio)
{
	struct blkship_tap *tap;

	if (!op_is_write(bio_op(bio)))
		return;
	tap = first_tap(bio->bi_bdev->bd_disk);
	if (tap)
		taps_end(tap, bio);
}

/* -- tracepoints -- */

static struct {
	const char *name;
	void *probe;
	struct tracepoint *point;
} probes[] = {
	/* Ends first: nothing may be followed whose end would be missed. */
	{ "block_bio_complete", probe_bio_complete },
	{ "block_rq_complete", probe_rq_complete },
	{ "block_rq_issue", probe_rq_issue },
	{ "block_bio_queue", probe_bio_queue },
};

static void tracepoint_note(struct tracepoint *point, void *data)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!strcmp(point->name, probes[i].name))
			probes[i].point = point;
}

static void probes_remove(size_t count)
{
	while (count--)
		tracepoint_probe_unregister(probes[count].point,
					    probes[count].probe, NULL);
	tracepoint_synchronize_unregister();
}

static int probes_add(void)
{
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		ret = tracepoint_probe_register(probes[i].point,
						probes[i].probe, NULL);
		if (ret) {
			probes_remove(i);
			return ret;
		}
	}
	return 0;
}

int blkship_tap_init(void)
{
	size_t i;

	/* A changed prototype breaks the build, not the kernel. */
	check_trace_callback_type_block_bio_queue(probe_bio_queue);
	check_trace_callback_type_block_rq_issue(probe_rq_issue);
	check_trace_callback_type_block_rq_complete(probe_rq_complete);
	check_trace_callback_type_block_bio_complete(probe_bio_complete);
	for_each_kernel_tracepoint(tracepoint_note, NULL);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		if (!probes[i].point) {
			pr_err("blkship: this kernel has no tracepoint %s\n",
			       probes[i].name);
			return -EOPNOTSUPP;
		}
	return register_reboot_notifier(&reboot_block);
}

void blkship_tap_exit(void)
{
	unregister_reboot_notifier(&reboot_block);
	cancel_delayed_work_sync(&watch_work);
}

/* -- attach -- */

static bool volume_is_on(const struct blkship_volume *vol,
			 const struct blkship_place *place)
{
	u64 first = vol->dev_start_bytes >> SECTOR_SHIFT;
	u64 last = first + (vol->size_bytes >> SECTOR_SHIFT) - 1;

	return !list_empty(&vol->fronts) && vol->dev == disk_devt(place->disk) &&
	       first <= place->last_sector && place->first_sector <= last;
}

/* Another volume that sees the same writes would ship them twice. */
static bool place_taken(const struct blkship_place *place)
{
	const struct blkship_group *grp;
	const struct blkship_tap *tap;
	bool taken = false;
	u32 i;

	lockdep_assert_held(&tap_mutex);
	list_for_each_entry(tap, &taps, link)
		if (tap->disk == place->disk &&
		    tap->first <= place->last_sector &&
		    place->first_sector <= tap->last)
			return true;
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
 */
static int tap_drain(struct blkship_tap *tap, const char **why)
{
	struct request_queue *q = tap->disk->queue;
	struct mapped_device *md;
	unsigned int noio;
	int ret = 0;

	/* Nobody is left between our probe and a table without this tap. */
	synchronize_rcu();
	noio = memalloc_noio_save();
	if (tap->by_request) {
		blk_freeze_queue_start(q);
		if (blk_mq_freeze_queue_wait_timeout(q, FREEZE_MAX) <= 0)
			ret = -EBUSY;
		blk_mq_unfreeze_queue(q);
	} else {
		md = dm_get_md(disk_devt(tap->disk));
		if (md) {
			dm_internal_suspend_fast(md);
			dm_internal_resume_fast(md);
			dm_put(md);
		} else {
			ret = -ENODEV;
		}
	}
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
	tap->front.owner = tap;
	tap->front.generation = tap;
	tap->front.dev = disk_devt(place->disk);
	tap->front.dev_start_bytes = tap->first << SECTOR_SHIFT;
	tap->front.size_bytes = (tap->last - tap->first + 1) << SECTOR_SHIFT;
	return tap;
}

/* From here on the probes find it; the first one brings them. */
static int tap_show(struct blkship_tap *tap, const char **why)
{
	lockdep_assert_held(&tap_mutex);
	if (list_empty(&taps)) {
		int ret = probes_add();

		if (ret) {
			*why = "no place for the probes";
			return ret;
		}
		queue_delayed_work(blkship_wq, &watch_work, HZ);
	}
	list_add_tail(&tap->link, &taps);
	hlist_add_head_rcu(&tap->node, bucket_of(tap->disk));
	return 0;
}

/* No probe finds it any more, and none is still at work with it. */
static void tap_hide(struct blkship_tap *tap)
{
	lockdep_assert_held(&tap_mutex);
	hlist_del_rcu(&tap->node);
	list_del(&tap->link);
	if (list_empty(&taps))
		probes_remove(ARRAY_SIZE(probes));
	else
		synchronize_rcu();
	cancel_work_sync(&tap->alarm_work);
	blkship_observe_give_up(tap->front.vol);
}

static int tap_start(struct blkship_tap *tap, const char **why)
{
	struct blkship_volume *vol = tap->front.vol;
	int ret = blkship_observe_alloc(vol->grp);

	if (ret) {
		*why = "no memory for what is in flight";
		return ret;
	}
	ret = blkship_front_fit(&tap->front);
	if (!ret)
		ret = tap_show(tap, why);
	if (ret)
		return ret;
	blkship_observe_raw_forget(vol);
	ret = tap_drain(tap, why);
	/* Who was caught between our probe and the queue has no entry. */
	blkship_observe_explain(vol);
	if (!ret)
		ret = blkship_front_start(&tap->front);
	if (ret)
		tap_hide(tap);
	return ret;
}

/* Whether a device on the same disk shares a sector with the volume. */
static bool tap_covers(const struct blkship_tap *tap, struct block_device *bdev)
{
	u64 first = bdev_is_partition(bdev) ? bdev->bd_start_sect : 0;
	u64 last = first + bdev_nr_sectors(bdev) - 1;

	return bdev->bd_disk == tap->disk && first <= tap->last &&
	       last >= tap->first;
}

static int tap_open_meta(struct blkship_tap *tap, struct block_device *disk,
			 dev_t meta_dev, const char **why)
{
	int ret;

	if (!meta_dev)
		return 0;
	ret = blkship_bdev_claim(meta_dev, tap, &tap->meta_bdev);
	if (ret) {
		*why = "cannot open the metadata device for ourselves alone";
		return ret;
	}
	if (tap_covers(tap, tap->meta_bdev.bdev)) {
		*why = "the metadata device is a part of the volume";
		return -EINVAL;
	}
	return blkship_meta_create(tap->meta_bdev.bdev, disk,
				   tap->front.dev_start_bytes,
				   tap->front.size_bytes, false,
				   &tap->front.meta, why);
}

static void tap_free(struct blkship_tap *tap)
{
	if (tap->front.meta)
		blkship_meta_put(tap->front.meta);
	blkship_bdev_unclaim(&tap->meta_bdev);
	kfree(tap);
}

static int tap_attach(const char *group, const char *volume,
		      const struct blkship_place *place, u64 ring_bytes,
		      struct blkship_bdev *bdev, dev_t meta_dev,
		      const char **why)
{
	struct blkship_tap *tap;
	int ret;

	if (place_taken(place)) {
		*why = "it is protected already, as a whole or in part: detach that first";
		return -EBUSY;
	}
	tap = tap_alloc(place);
	if (!tap) {
		*why = "no memory";
		return -ENOMEM;
	}
	if (bdev)
		tap->bdev = *bdev;	/* the caller's again if this fails */
	ret = bdev ? tap_open_meta(tap, bdev->bdev, meta_dev, why) : 0;
	if (ret)
		goto err_free;
	ret = blkship_front_add(&tap->front, group, volume, ring_bytes, why);
	if (ret)
		goto err_free;
	ret = tap_start(tap, why);
	if (ret)
		goto err_front;
	return 0;

err_front:
	blkship_front_remove(&tap->front);
err_free:
	tap_free(tap);
	return ret;
}

int blkship_tap_add_place(const char *group, const char *volume,
			  const struct blkship_place *place, u64 ring_bytes,
			  const char **why)
{
	int ret;

	mutex_lock(&tap_mutex);
	ret = tap_attach(group, volume, place, ring_bytes, NULL, 0, why);
	mutex_unlock(&tap_mutex);
	return ret;
}

static struct blkship_tap *tap_find(const char *group, const char *volume)
{
	struct blkship_tap *tap;

	lockdep_assert_held(&tap_mutex);
	list_for_each_entry(tap, &taps, link)
		if (!strcmp(tap->front.vol->grp->name, group) &&
		    !strcmp(tap->front.vol->name, volume))
			return tap;
	return NULL;
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
	blkship_observe_raw_forget(tap->front.vol);
	ret = tap_drain(tap, why);
	if (ret)
		return ret;
	blkship_front_restart(&tap->front);
	return 0;
}

/*
 * A partition is a range of its disk. It is kept open, so that it can neither be
 * deleted nor moved; only grow.
 */
static int place_open(dev_t dev, struct blkship_place *place,
		      struct blkship_bdev *opened, const char **why)
{
	int ret = blkship_bdev_open(dev, opened);
	struct block_device *bdev = opened->bdev;

	if (ret) {
		*why = "cannot open the device";
		return ret;
	}
	if (!bdev_nr_sectors(bdev)) {
		blkship_bdev_close(opened);
		*why = "it has no medium";
		return -ENOMEDIUM;
	}
	place->disk = bdev->bd_disk;
	place->first_sector = bdev_is_partition(bdev) ? bdev->bd_start_sect : 0;
	place->last_sector = place->first_sector + bdev_nr_sectors(bdev) - 1;
	return 0;
}

int blkship_tap_add(const char *group, const char *volume, dev_t dev,
		    dev_t meta_dev, u64 ring_bytes, const char **why)
{
	struct blkship_place place;
	struct blkship_bdev opened;
	struct blkship_tap *tap;
	bool kept = false;
	int ret = place_open(dev, &place, &opened, why);

	if (ret)
		return ret;
	mutex_lock(&tap_mutex);
	tap = tap_find(group, volume);
	if (tap) {
		ret = tap_again(tap, &place, why);
	} else {
		ret = place_check(&place, why);
		if (!ret)
			ret = tap_attach(group, volume, &place, ring_bytes,
					 &opened, meta_dev, why);
		kept = !ret;
	}
	mutex_unlock(&tap_mutex);
	if (!kept)
		blkship_bdev_close(&opened);
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

	lockdep_assert_held(&tap_mutex);
	WRITE_ONCE(tap->leaving, true);
	synchronize_rcu();
	for (waited_ms = 0; waited_ms < LEAVE_MAX_MS &&
	     !blkship_observe_idle(tap->front.vol); waited_ms += 10)
		msleep(10);
	blkship_observe_raw(tap->front.vol);
	tap_hide(tap);
	blkship_front_remove(&tap->front);
	blkship_bdev_close(&tap->bdev);
	tap_free(tap);
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
		tap->front.keep = disk_openers(tap->disk) == 1 &&
				  blkship_observe_idle(tap->front.vol);
		blkship_front_end_meta(&tap->front);
	}
	mutex_unlock(&tap_mutex);
	return NOTIFY_DONE;
}

static struct notifier_block reboot_block = { .notifier_call = tap_reboot };

int blkship_tap_remove(const char *group, const char *volume)
{
	struct blkship_tap *tap;

	mutex_lock(&tap_mutex);
	tap = tap_find(group, volume);
	if (tap)
		tap_detach(tap);
	mutex_unlock(&tap_mutex);
	return tap ? 0 : -ENOENT;
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

	lockdep_assert_held(&tap_mutex);
	sectors = bdev_nr_sectors(tap->bdev.bdev);
	if (sectors == old)
		return;
	if (sectors < old) {
		if (blkship_observe_raw(vol))
			tap_alarm(tap);
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

/* A disk was pulled out, or has grown: nobody tells a front end that looks on. */
static void tap_watch(struct work_struct *work)
{
	struct blkship_tap *tap, *next;
	bool any;

	mutex_lock(&tap_mutex);
	list_for_each_entry_safe(tap, next, &taps, link)
		if (test_bit(GD_DEAD, &tap->disk->state))
			tap_detach(tap);
		else
			tap_check_size(tap);
	any = !list_empty(&taps);
	mutex_unlock(&tap_mutex);
	if (any)
		queue_delayed_work(blkship_wq, &watch_work, HZ);
}
