// SPDX-License-Identifier: GPL-2.0
/*
 * The device-mapper front end:
 *
 *   <start> <len> blkship <dev> <offset_sectors> <group> <volume>
 *	[meta <dev>] [ring_mib N]
 *
 * Fed by device-mapper, feeds stage [1 capture]; for stacks that own their
 * tables. Linear in what it does to a bio. Being in the path it can hold a
 * write until an earlier one on the same blocks has ended; it never waits.
 */
#include <linux/bio.h>
#include <linux/blkdev.h>
#include <linux/device-mapper.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "capture.h"
#include "compat.h"
#include "front.h"
#include "front_dm.h"
#include "meta.h"

#define DM_MSG_PREFIX "blkship"

struct dm_blkship {
	struct dm_dev *dev;
	struct dm_dev *meta_dev;	/* or NULL */
	/* Once more, as device-mapper closes its own whatever is under way there. */
	struct blkship_bdev disk_opened, meta_opened;
	sector_t start;
	u32 ring_mib;			/* as asked for; 0: default */
	bool pass_through;
	char group[BLKSHIP_NAME_BYTES];
	char volume[BLKSHIP_NAME_BYTES];
	struct blkship_front front;
};

/* What belongs to one bio, in the space that device-mapper gives with it. */
struct dm_blkship_io {
	struct blkship_flight flight;
};

static bool off_switch;

static struct dm_blkship_io *io_of(struct bio *bio)
{
	return dm_per_bio_data(bio, sizeof(struct dm_blkship_io));
}

/* Pairs of a name and a value; each at most once. */
static int dm_blkship_parse_options(struct dm_target *ti, unsigned int argc,
				    char **argv, struct dm_blkship *dm)
{
	for (; argc; argc -= 2, argv += 2) {
		if (!strcmp(argv[0], "ring_mib") && !dm->ring_mib &&
		    !kstrtou32(argv[1], 10, &dm->ring_mib) &&
		    dm->ring_mib >= 1 && dm->ring_mib <= 4096)
			continue;
		if (strcmp(argv[0], "meta") || dm->meta_dev) {
			ti->error = "options are meta with a device and ring_mib with 1 to 4096";
			return -EINVAL;
		}
		if (dm_get_device(ti, argv[1], dm_table_get_mode(ti->table),
				  &dm->meta_dev)) {
			ti->error = "cannot open the metadata device";
			return -EINVAL;
		}
	}
	return 0;
}

static int dm_blkship_parse(struct dm_target *ti, unsigned int argc,
			    char **argv, struct dm_blkship *dm)
{
	unsigned long long start;
	char dummy;

	if (argc < 4 || argc % 2) {
		ti->error = "arguments are: <dev> <offset_sectors> <group> <volume> [meta <dev>] [ring_mib N]";
		return -EINVAL;
	}
	if (sscanf(argv[1], "%llu%c", &start, &dummy) != 1 ||
	    start != (sector_t)start) {
		ti->error = "not a number of sectors: offset_sectors";
		return -EINVAL;
	}
	dm->start = start;
	if (strscpy(dm->group, argv[2], sizeof(dm->group)) < 0 ||
	    strscpy(dm->volume, argv[3], sizeof(dm->volume)) < 0) {
		ti->error = "names have at most 31 characters";
		return -EINVAL;
	}
	return dm_blkship_parse_options(ti, argc - 4, argv + 4, dm);
}

/* With the off switch, writes that are not listed: the list is to say so. */
static int dm_blkship_meta(struct dm_target *ti, struct dm_blkship *dm)
{
	const char *why = "cannot open the devices";
	int ret;

	if (!dm->meta_dev)
		return 0;
	ret = blkship_bdev_open(dm->dev->bdev->bd_dev, &dm->disk_opened);
	if (!ret)
		ret = blkship_bdev_open(dm->meta_dev->bdev->bd_dev,
					&dm->meta_opened);
	if (!ret)
		ret = blkship_meta_create(&dm->meta_opened, dm->dev->bdev,
					  (u64)dm->start << SECTOR_SHIFT,
					  (u64)ti->len << SECTOR_SHIFT, true,
					  &dm->front.meta, &why);
	if (ret && !dm->pass_through)
		ti->error = (char *)why;
	return dm->pass_through ? 0 : ret;
}

static void dm_blkship_put_meta(struct dm_blkship *dm)
{
	blkship_meta_release(dm->front.meta, &dm->meta_opened);
	blkship_meta_release(dm->front.meta, &dm->disk_opened);
	if (dm->front.meta)
		blkship_meta_put(dm->front.meta);
	dm->front.meta = NULL;
}

static int dm_blkship_attach(struct dm_target *ti, struct dm_blkship *dm)
{
	struct block_device *bdev = dm->dev->bdev;
	const char *why = "";
	int ret;

	if (bdev_is_zoned(bdev)) {
		ti->error = "zoned devices are not supported";
		return -EOPNOTSUPP;
	}
	ret = dm_blkship_meta(ti, dm);
	if (ret)
		goto err_meta;
	if (dm->pass_through)
		return 0;
	dm->front.kind = "dm";
	dm->front.owner = dm_table_get_md(ti->table);
	dm->front.generation = ti->table;
	dm->front.dev = bdev->bd_dev;
	dm->front.dev_start_bytes = (u64)dm->start << SECTOR_SHIFT;
	dm->front.size_bytes = (u64)ti->len << SECTOR_SHIFT;
	ret = blkship_front_add(&dm->front, dm->group, dm->volume,
				(u64)dm->ring_mib << 20, &why);
	if (ret) {
		ti->error = (char *)why;
		goto err_meta;
	}
	ret = dm_set_target_max_io_len(ti,
			blkship_record_max_bytes(&dm->front.vol->grp->ring) >>
			SECTOR_SHIFT);
	if (ret)
		goto err_front;
	return 0;

err_front:
	blkship_front_remove(&dm->front);
err_meta:
	dm_blkship_put_meta(dm);
	return ret;
}

static void dm_blkship_put_devices(struct dm_target *ti, struct dm_blkship *dm)
{
	if (dm->meta_dev)
		dm_put_device(ti, dm->meta_dev);
	if (dm->dev)
		dm_put_device(ti, dm->dev);
}

static int dm_blkship_ctr(struct dm_target *ti, unsigned int argc, char **argv)
{
	struct dm_blkship *dm;
	int ret;

	dm = kzalloc(sizeof(*dm), GFP_KERNEL);
	if (!dm) {
		ti->error = "no memory";
		return -ENOMEM;
	}
	dm->pass_through = off_switch;
	ret = dm_blkship_parse(ti, argc, argv, dm);
	if (ret)
		goto err;
	ret = dm_get_device(ti, argv[0], dm_table_get_mode(ti->table),
			    &dm->dev);
	if (ret) {
		ti->error = "cannot open the device";
		goto err;
	}
	ret = dm_blkship_attach(ti, dm);
	if (ret)
		goto err;
	ti->num_flush_bios = 1;
	ti->num_discard_bios = 1;
	ti->num_secure_erase_bios = 1;
	ti->num_write_zeroes_bios = 1;
	ti->per_io_data_size = sizeof(struct dm_blkship_io);
	ti->accounts_remapped_io = true;	/* a held bio may end before map does */
	ti->private = dm;
	return 0;

err:
	dm_blkship_put_devices(ti, dm);
	kfree(dm);
	return ret;
}

static void dm_blkship_dtr(struct dm_target *ti)
{
	struct dm_blkship *dm = ti->private;

	/* When only the table goes, others may write to the disk unseen. */
	dm->front.keep = test_bit(GD_DEAD,
				  &dm_disk(dm_table_get_md(ti->table))->state);
	if (!dm->pass_through)
		blkship_front_remove(&dm->front);
	dm_blkship_put_meta(dm);
	dm_blkship_put_devices(ti, dm);
	kfree(dm);
}

static int dm_blkship_preresume(struct dm_target *ti)
{
	struct dm_blkship *dm = ti->private;

	if (!dm->pass_through)
		return blkship_front_start(&dm->front);
	if (dm->front.meta)
		blkship_meta_void(dm->front.meta);
	return 0;
}

/* Every write that this table took has ended; the next table may not be ours. */
static void dm_blkship_postsuspend(struct dm_target *ti)
{
	struct dm_blkship *dm = ti->private;

	if (dm->pass_through)
		return;
	blkship_front_suspend(&dm->front);
	if (dm->front.started && dm->front.meta)
		blkship_meta_sync(dm->front.meta);
}

/* All targets of the table were made ready: from now on it is used. */
static void dm_blkship_resume(struct dm_target *ti)
{
	struct dm_blkship *dm = ti->private;

	if (!dm->pass_through)
		blkship_front_resume(&dm->front);
}

/*
 * The turn of a held write has come. It is sent by a worker, which may wait and
 * does not poll.
 */
static void dm_blkship_issue(struct blkship_flight *flight)
{
	struct dm_blkship_io *io = container_of(flight, struct dm_blkship_io,
						flight);
	struct bio *bio = dm_bio_from_per_bio_data(io, sizeof(*io));

	bio->bi_opf &= ~(REQ_NOWAIT | REQ_POLLED);
	dm_submit_bio_remap(bio, NULL);
}

/* Every bio of the volume passes here; device-mapper has split what is long. */
static int dm_blkship_map(struct dm_target *ti, struct bio *bio)
{
	struct dm_blkship *dm = ti->private;
	struct blkship_flight *f = &io_of(bio)->flight;
	sector_t sector = dm_target_offset(ti, bio->bi_iter.bi_sector);
	struct blkship_write w = { .flags = blkship_flags_of(bio) };

	bio_set_dev(bio, dm->dev->bdev);
	f->kind = BLKSHIP_FLIGHT_NONE;
	f->vol = dm->front.vol;
	if (unlikely(dm->pass_through)) {
		bio->bi_iter.bi_sector = dm->start + sector;
		return DM_MAPIO_REMAPPED;
	}
	w.op = blkship_op_of(bio);
	if (w.op && likely(bio->bi_iter.bi_size)) {
		bool go;

		w.offset_bytes = (u64)sector << SECTOR_SHIFT;
		w.length_bytes = bio->bi_iter.bi_size;
		f->issue = dm_blkship_issue;
		bio->bi_iter.bi_sector = dm->start + sector;
		go = blkship_capture_write(f, bio, &w);
		/* A held one may be gone by now: do not touch it. */
		return likely(go) ? DM_MAPIO_REMAPPED : DM_MAPIO_SUBMITTED;
	}
	if (bio->bi_opf & REQ_PREFLUSH)
		blkship_capture_flush(f, &w);
	else
		bio->bi_iter.bi_sector = dm->start + sector;
	return DM_MAPIO_REMAPPED;
}

/*
 * How a write that did not succeed ended. Only where the queue refuses a NOWAIT
 * bio before it splits it is it certain that nothing was issued.
 */
static u8 failure_state(const struct dm_blkship *dm, const struct bio *bio,
			blk_status_t error)
{
	if (error == BLK_STS_AGAIN && (bio->bi_opf & REQ_NOWAIT) &&
	    bio_op(bio) == REQ_OP_WRITE &&
	    queue_is_mq(bdev_get_queue(dm->dev->bdev)))
		return BLKSHIP_STATE_ABORTED;
	return BLKSHIP_STATE_FAILED;
}

static int dm_blkship_end_io(struct dm_target *ti, struct bio *bio,
			     blk_status_t *error)
{
	struct blkship_flight *f = &io_of(bio)->flight;
	u8 state = BLKSHIP_STATE_DONE;

	if (unlikely(*error))
		state = failure_state(ti->private, bio, *error);
	if (f->kind != BLKSHIP_FLIGHT_NONE)
		blkship_capture_end(f, state);
	return DM_ENDIO_DONE;
}

static void emit_info(struct dm_blkship *dm, char *result, unsigned int maxlen)
{
	const struct blkship_volume *vol = dm->front.vol;
	struct blkship_group *grp;
	struct blkship_ring ring;
	struct blkship_dirty maps;
	u64 captured, uncaptured, failed, in_flight, nr_listed;
	bool meta_off;
	unsigned int sz = 0;
	const char *state;

	if (dm->pass_through) {
		DMEMIT("%s %s disabled", dm->group, dm->volume);
		return;
	}
	grp = vol->grp;
	mutex_lock(&blkship_mutex);
	state = vol->leaving ? "leaving" :
		vol->flags & BLKSHIP_VOLUME_DIVERGED ? "diverged" :
		vol->flags & BLKSHIP_VOLUME_SUSPENDED ? "suspended" :
		"attached";
	mutex_unlock(&blkship_mutex);
	raw_spin_lock_irq(&grp->lock);
	blkship_ring_collect(&grp->ring);
	ring = grp->ring;
	maps = vol->maps;
	captured = vol->captured;
	uncaptured = vol->uncaptured;
	failed = vol->failed;
	in_flight = grp->nr_flights;
	meta_off = dm->front.meta && dm->front.meta->off;
	nr_listed = dm->front.meta ? dm->front.meta->list.nr_listed : 0;
	raw_spin_unlock_irq(&grp->lock);
	DMEMIT("%s %s %u %s captured %llu uncaptured %llu failed %llu dirty %llu/%llu repairing %llu in_flight %llu ring %llu/%llu",
	       dm->group, dm->volume, vol->index, state, captured, uncaptured,
	       failed, maps.nr_dirty, maps.nr_regions, maps.nr_repairing,
	       in_flight, ring.payload_head - ring.payload_tail,
	       ring.payload_bytes);
	if (dm->front.meta && (!dm->front.started || meta_off))
		DMEMIT(" listed off");
	else if (dm->front.meta)
		DMEMIT(" listed %llu/%llu", nr_listed,
		       dm->front.meta->list.nr_regions);
}

static void dm_blkship_status(struct dm_target *ti, status_type_t type,
			      unsigned int status_flags, char *result,
			      unsigned int maxlen)
{
	struct dm_blkship *dm = ti->private;
	unsigned int sz = 0;

	switch (type) {
	case STATUSTYPE_INFO:
		emit_info(dm, result, maxlen);
		break;
	case STATUSTYPE_TABLE:
		DMEMIT("%s %llu %s %s", dm->dev->name,
		       (unsigned long long)dm->start, dm->group, dm->volume);
		if (dm->meta_dev)
			DMEMIT(" meta %s", dm->meta_dev->name);
		if (dm->ring_mib)
			DMEMIT(" ring_mib %u", dm->ring_mib);
		break;
	case STATUSTYPE_IMA:
		DMEMIT_TARGET_NAME_VERSION(ti->type);
		DMEMIT(",device_name=%s,start=%llu,group=%s,volume=%s;",
		       dm->dev->name, (unsigned long long)dm->start, dm->group,
		       dm->volume);
		break;
	}
}

/*
 * Raw commands (SG_IO and the like) could change data without a bio, unseen:
 * they are not passed on. Who needs them has the device below.
 */
static int dm_blkship_prepare_ioctl(struct dm_target *ti,
				    struct block_device **bdev)
{
	struct dm_blkship *dm = ti->private;

	*bdev = dm->dev->bdev;
	if (!dm->pass_through)
		return -ENOTTY;
	return dm->start || ti->len != bdev_nr_sectors(*bdev);
}

static int dm_blkship_iterate_devices(struct dm_target *ti,
				      iterate_devices_callout_fn fn, void *data)
{
	struct dm_blkship *dm = ti->private;

	return fn(ti, dm->dev, dm->start, ti->len, data);
}

/*
 * NOWAIT, because nothing here waits. No inline encryption: it would hand us
 * plaintext where the disk gets ciphertext. No io_hints: the limits are those of
 * the device below and max_io_len.
 */
static struct target_type blkship_target = {
	.name		 = "blkship",
	.version	 = { 1, 0, 0 },
	.features	 = DM_TARGET_NOWAIT | DM_TARGET_PASSES_INTEGRITY,
	.module		 = THIS_MODULE,
	.ctr		 = dm_blkship_ctr,
	.dtr		 = dm_blkship_dtr,
	.postsuspend	 = dm_blkship_postsuspend,
	.preresume	 = dm_blkship_preresume,
	.resume		 = dm_blkship_resume,
	.map		 = dm_blkship_map,
	.end_io		 = dm_blkship_end_io,
	.status		 = dm_blkship_status,
	.prepare_ioctl	 = dm_blkship_prepare_ioctl,
	.iterate_devices = dm_blkship_iterate_devices,
};

int blkship_dm_init(bool pass_through)
{
	off_switch = pass_through;
	return dm_register_target(&blkship_target);
}

void blkship_dm_exit(void)
{
	dm_unregister_target(&blkship_target);
}
