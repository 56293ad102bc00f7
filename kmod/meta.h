/* SPDX-License-Identifier: GPL-2.0 */
/*
 * meta - a volume's metadata device: which regions may differ from the target,
 * kept so that it outlives the machine. docs/META.md says when it is good.
 *
 * A front end makes one with blkship_meta_create(), hangs it on its struct
 * blkship_front and forgets it: blkship_front_start() reads it and decides what
 * is dirty, blkship_front_remove() leaves it as front->keep says.
 *
 *	logs	dm: each write is listed before it is made (meta_log.c); good
 *		after a crash
 *	else	tap: worth nothing while in use; written at the end
 *
 * Locks: the list, what waits for it and the fields marked so are under the
 * group's lock. All I/O is done by one work item, or while that cannot run
 * (start, stop); never under blkship_mutex, and never waited for without a limit. Nothing
 * is allocated after blkship_meta_create().
 */
#ifndef BLKSHIP_META_H
#define BLKSHIP_META_H

#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "batch.h"
#include "meta_core.h"

struct blkship_flight;
struct blkship_front;
struct blkship_group;
struct blkship_volume;

#define META_SLOTS	BLKSHIP_BATCH_BLOCKS	/* blocks that are written at once */

struct blkship_meta {
	struct kref ref;
	struct block_device *bdev;	/* the caller's, open while started */
	struct block_device *disk;	/* what is protected; the same */
	u64 disk_start_bytes;
	bool logs;

	struct blkship_batch *io;	/* with the metadata device */
	/* And the disk; apart: what waits for the list never waits for that. */
	struct blkship_batch *disk_io;
	u32 written[META_SLOTS];	/* blocks of the list, in io */

	struct blkship_super super;	/* as it is on the device */
	u64 *memory;
	struct blkship_list list;	/* group lock once started */
	struct blkship_prints prints;	/* the same */
	struct blkship_prints to_write;	/* with the superblock */
	bool loaded;
	bool partial;			/* what was read is good */

	/* From start to stop. */
	struct blkship_group *grp;
	struct blkship_volume *vol;
	struct list_head waiting;	/* group lock: flights, until they are listed */
	u64 log_no;			/* group lock: of the newest list that is durable */
	/*
	 * Group lock. Each pass writes all that is due when it begins, one pass
	 * after the other: the first by the start, the others by the work.
	 */
	u64 passes_begun;
	u64 passes_ended;
	u64 passes_wanted;		/* up to this one also if nothing is due */
	bool off;			/* group lock: the log has failed */
	bool told;			/* work: that it is off */
	bool prints_ended;		/* period_work: the disk failed to be read */
	bool basis_due;			/* group lock */
	bool leave_due;			/* group lock: the disk was flushed */
	bool stopping;			/* group lock: nothing is queued any more */
	bool stopped;
	u32 basis_incarnation;		/* group lock: to be written */
	u64 ordinal;			/* group lock: to be written before anything leaves */
	wait_queue_head_t idle;
	struct irq_work kick;
	struct delayed_work work;
	struct delayed_work period_work;
	struct work_struct tell_work;
};

/*
 * For a volume of this size. Looks whether the device can be ours; *why when not.
 * May wait and allocate. What was opened for it, *opened and the disk, is the caller's
 * to give to blkship_meta_release() before he puts it; when this fails *opened is gone.
 */
int blkship_meta_create(struct blkship_bdev *opened, struct block_device *disk,
			u64 disk_start_bytes, u64 size_bytes, bool logs,
			struct blkship_meta **out, const char **why);
void blkship_meta_put(struct blkship_meta *meta);
/*
 * Close its metadata device or its disk, as soon as nothing that we sent is under
 * way there; it is stopped, and not used any more. Without @meta, or if it is another
 * device: now.
 */
void blkship_meta_release(struct blkship_meta *meta,
			  struct blkship_bdev *opened);

/* -- for volume.c; nothing is in flight on the volume -- */

/*
 * Read it: meta->partial, list and super. Not under blkship_mutex. 0; -ETIMEDOUT, with
 * *why: a device did not answer, and nothing is known.
 */
int blkship_meta_load(struct blkship_meta *meta,
		      const struct blkship_volume *vol, const char **why);
/* Forget what was read: everything is listed, or will be. */
void blkship_meta_distrust(struct blkship_meta *meta);
/* Mark dirty what is listed. Under blkship_mutex. */
void blkship_meta_mark(struct blkship_meta *meta, struct blkship_volume *vol);
/* It belongs to this volume now. Under blkship_mutex; no I/O. */
void blkship_meta_join(struct blkship_meta *meta, struct blkship_volume *vol);
/* Say on the device that it is in use; from then on a log is kept. */
void blkship_meta_start(struct blkship_meta *meta);

enum blkship_meta_end {
	BLKSHIP_META_KEEP,	/* nobody writes to the disk any more that we know of */
	BLKSHIP_META_VOID,	/* writes may go on unseen */
	BLKSHIP_META_PASS_ON,	/* another front end takes the device over */
};
/* It was loaded, and is not started after all: what it says may be wrong soon. */
void blkship_meta_void(struct blkship_meta *meta);
/* Only the first time counts; nothing to do when it was not started. */
void blkship_meta_stop(struct blkship_meta *meta, enum blkship_meta_end how);

/* -- while it is started -- */

/* The list is for the group's present incarnation from now on. */
void blkship_meta_rebase(struct blkship_volume *vol);
/* Have a range listed that was marked dirty; under the group's lock. */
void blkship_meta_want(struct blkship_volume *vol, u64 offset_bytes,
		       u64 length_bytes);
/*
 * Wait until all of that is on the device, or the log is off: for two passes at
 * most, whatever else is written meanwhile.
 */
void blkship_meta_sync(struct blkship_meta *meta);
/* The same for every volume of the group; not under blkship_mutex. */
void blkship_meta_sync_group(struct blkship_group *grp);

/* -- for capture.c, under the group's lock -- */

/* Something waits, or is wanted: have the work look. */
void blkship_meta_kick(struct blkship_meta *meta);

/* -- between meta_io.c and meta_log.c -- */

/* What is done with that device from now on may take meta_timeout_s, all together. */
void meta_limit(struct blkship_batch *io);
/* Write meta->super; a state that makes the list worthless goes to both places. */
int meta_super_write(struct blkship_meta *meta);
/*
 * The list says less than the truth from now on: have the device say so, within a limit
 * of its own. 0 or -errno: it may still say what it did.
 */
int meta_off_write(struct blkship_meta *meta);
/*
 * Take all prints, where nobody writes any more. A block that cannot be read has
 * none. 0; or -EIO where there are more of those than a few, or the disk does not answer.
 */
int meta_prints_take(struct blkship_meta *meta);
/* The works of meta_log.c, ready to be queued. */
void meta_works_init(struct blkship_meta *meta);

extern struct workqueue_struct *blkship_meta_wq;	/* WQ_MEM_RECLAIM */
extern unsigned int blkship_meta_period_s;
extern unsigned int blkship_meta_timeout_s;

#endif
