/* SPDX-License-Identifier: GPL-2.0 */
/* tap - a tapped device, as probes and attach share it. */
#ifndef BLKSHIP_TAP_H
#define BLKSHIP_TAP_H

#include <linux/workqueue.h>

#include "compat.h"
#include "front.h"

struct blkship_tap {
	struct hlist_node node;		/* of its disk's bucket; RCU */
	struct gendisk *disk;
	u64 first;			/* sectors of the disk, both ends included */
	u64 last;
	u32 record_max_bytes;		/* what is no longer fits one record */
	bool by_request;		/* blk-mq; else device-mapper */
	bool scsi;
	bool leaving;
	struct blkship_bdev bdev;	/* kept open; empty in the self-test */
	struct blkship_bdev meta_bdev;	/* of the metadata device, if there is one */
	struct blkship_front front;
	/* Of tap_attach.c, under its lock. */
	struct list_head link;
	bool busy;			/* somebody attaches it, or works on it */
	u64 watch_round;
	bool unseen_told;		/* by alarm_work */
	struct work_struct alarm_work;
};

/* There is something to tell about it; from any context. */
static inline void blkship_tap_alarm(struct blkship_tap *tap)
{
	queue_work(blkship_wq, &tap->alarm_work);
}

/* Find the tracepoints, once; -EOPNOTSUPP when this kernel lacks one. */
int blkship_tap_find_probes(void);

/* From here on the probes find it; the first one brings them. One caller at a time. */
int blkship_tap_show(struct blkship_tap *tap);

/* No probe finds it any more, and none is still at work with it. As above. */
void blkship_tap_hide(struct blkship_tap *tap);

#endif
