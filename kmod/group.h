/* SPDX-License-Identifier: GPL-2.0 */
/*
 * group - a consistency group: one ring, one seq counter, one lock.
 *
 * Three locks, in this order:
 *  - blkship_mutex: which groups, volumes, front ends and consumers exist. It
 *    is taken while a dm device is suspended, so nothing that may wait for a
 *    device is done under it: no allocation but GFP_NOIO, no user memory.
 *  - group->lock: ring, in-flight operations and dirty maps. Raw and taken with
 *    interrupts off, because completions come from any context.
 *  - none is held while a bio is submitted.
 *
 * A group lives while somebody refers to it: the list of groups, its volumes,
 * its consumer, mappings of its ring. Each group holds the module.
 */
#ifndef BLKSHIP_GROUP_H
#define BLKSHIP_GROUP_H

#include <linux/irq_work.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "ring_core.h"

struct blkship_flight;
struct blkship_observer;
struct blkship_volume;

struct blkship_group {
	struct kref ref;
	struct list_head link;		/* blkship_mutex; by rising id */
	u64 id;				/* never used twice: dumps continue by it */
	char name[BLKSHIP_NAME_BYTES];
	bool consumer;			/* blkship_mutex; one is bound */
	u16 next_index;			/* blkship_mutex; where to look for a free one */
	u16 nr_volumes;			/* blkship_mutex */
	bool implied;			/* blkship_mutex; made by an attach, not fed yet */

	raw_spinlock_t lock ____cacheline_aligned;
	struct blkship_ring ring;	/* lock */
	struct blkship_flight **flights; /* lock; beside ring.entries */
	struct list_head to_issue;	/* lock; held writes that may go now */
	u64 nr_flights;			/* lock; captured, not ended */
	struct blkship_observer *observer; /* set once, when a volume is tapped */
	u64 stamp_tick_ns;		/* lock; when was asked for the next */
	u64 stamp_time_ns;		/* lock */
	u64 overflows_told;		/* lock */
	u64 log_no;			/* lock; newest of any list: see meta.h */
	u64 woken_pos;			/* lock; the wish that was last fulfilled */
	u64 woken_payload;		/* lock */
	/* Changed under both locks, read under either. */
	struct blkship_volume *volumes[BLKSHIP_MAX_VOLUMES];
	u64 index_free_at[BLKSHIP_MAX_VOLUMES]; /* blkship_mutex; ring position */

	wait_queue_head_t wait;		/* the consumer in poll */
	struct irq_work wake_work;
	struct work_struct issue_work;
	struct work_struct overflow_work;
	struct delayed_work scan_work;
};

extern struct mutex blkship_mutex;
extern struct list_head blkship_groups;		/* blkship_mutex */
extern struct workqueue_struct *blkship_wq;	/* WQ_MEM_RECLAIM */

/*
 * Whether this can be the name of a group or a volume: an ASCII letter, digit or
 * '_', then any of these, '.' or '-'; at most 31.
 */
bool blkship_name_valid(const char *name);

/*
 * Make a group; ring_bytes 0 asks for the default size, anything else is
 * rounded down to a power of two. Sets a reference for the caller. On error
 * *why says in words what is wrong.
 */
int blkship_group_create(const char *name, u64 ring_bytes,
			 struct blkship_group **grp, const char **why);

/* Take a group off the list; EBUSY while it has volumes or a consumer. */
int blkship_group_delete(const char *name, const char **why);

/* Look a group up, under blkship_mutex; no reference is taken. */
struct blkship_group *blkship_group_find(const char *name);

void blkship_group_get(struct blkship_group *grp);
void blkship_group_put(struct blkship_group *grp);

/* Become its consumer: EBUSY when it has one. Takes a reference. */
int blkship_group_bind(const char *name, struct blkship_group **grp);
/* The consumer is gone: repairing falls back to dirty. Drops the reference. */
void blkship_group_unbind(struct blkship_group *grp);

/*
 * Set the incarnation; replacing one that was granted dirties every volume,
 * before the new one can be seen.
 */
int blkship_group_set_incarnation(struct blkship_group *grp, u32 incarnation);

#endif
