/* SPDX-License-Identifier: GPL-2.0 */
/*
 * volume - a member of a group, and the front ends that feed it.
 *
 * The volume's state lives apart from its front ends: a table reload, or a
 * front end that comes back, does not reset it. A volume is fed while one of
 * its front ends was started; when the last of these goes without having been
 * told to leave, that is an alarm: writes may pass unseen from then on, so the
 * volume is dirty as a whole, with a seq, and diverged until it is fed again
 * and marked once more; nothing of it can be taken over meanwhile.
 *
 * A front end that is suspended may be replaced by something that is not ours,
 * which is used before we are told. So the suspension itself takes a seq, which
 * is a gap, and no repair pass may cover it before the volume is fed again:
 * until then its dirty map cannot be read. Nothing is written while it lasts;
 * when we are resumed nothing was missed, and an empty pass closes the gap.
 */
#ifndef BLKSHIP_VOLUME_H
#define BLKSHIP_VOLUME_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rbtree.h>

#include "dirty_core.h"
#include "group.h"

struct blkship_meta;

struct blkship_volume {
	struct kref ref;
	struct blkship_group *grp;	/* holds a reference */
	u16 index;
	char name[BLKSHIP_NAME_BYTES];

	struct list_head fronts;	/* blkship_mutex */
	bool seen;			/* blkship_mutex and group lock; was fed once */
	bool leaving;			/* blkship_mutex; detach was asked for */
	u32 flags;			/* blkship_mutex; BLKSHIP_VOLUME_* */
	const char *front_kind;		/* blkship_mutex; of who feeds it */
	dev_t dev;			/* blkship_mutex; where to read back from */
	u64 dev_start_bytes;		/* blkship_mutex */

	u64 size_bytes;			/* changed under blkship_mutex and group lock */
	struct blkship_dirty maps;	/* group lock */
	/* What is in flight, under the group's lock: see flight.h. */
	struct rb_root flights;
	struct list_head apart;
	u32 nr_apart;
	u32 nr_near;			/* see observe.h */
	u64 nr_uncaptured;		/* group lock; of dm, in flight */
	struct blkship_meta *meta;	/* group lock; started, or NULL */
	struct blkship_meta *log;	/* group lock; the same while it logs writes */
	/*
	 * blkship_mutex and group lock: what the maps compare with, as long as
	 * the target was not asked whether it still is that; else 0.
	 */
	u32 kept_incarnation;
	u8 kept_instance[16];
	u64 kept_ordinal;
	u64 kept_log_no;
	u64 captured;			/* group lock */
	u64 uncaptured;			/* group lock */
	u64 failed;			/* group lock */
	u64 unseen;			/* group lock; found by the auditor */
	/*
	 * Group lock: until then a write without an entry has an explanation,
	 * in jiffies.
	 */
	u64 explained_until;
	bool raw_command;		/* group lock; diverged, not yet said so */
	bool outgrown;			/* group lock; written to beyond its end */
};

/* One front end of a volume; embedded in its private data. */
struct blkship_front {
	const char *kind;		/* "dm", "tap" */
	struct list_head link;		/* of volume->fronts */
	struct blkship_volume *vol;
	const void *owner;		/* front ends of one owner replace each other */
	const void *generation;		/* but only one of each generation */
	dev_t dev;
	u64 dev_start_bytes;
	u64 size_bytes;
	bool started;			/* blkship_mutex */
	bool ends_when_told;		/* by who detaches it; else with its table */
	struct blkship_meta *meta;	/* or NULL; the front end's to put */
	bool keep;			/* at the end: nobody writes any more */
	/* For a change of size: made when there is time to allocate. */
	u64 *spare_dirty;
	u64 *spare_repairing;
};

/*
 * Add a front end to a volume; group and volume are made when missing. The
 * fields from owner to size_bytes are the caller's. Does not feed yet.
 */
int blkship_front_add(struct blkship_front *front, const char *group,
		      const char *volume, u64 ring_bytes, const char **why);

/*
 * Read the metadata device, if there is one, before the start; part the volume
 * from another one. Waits for both devices, and for the volume's own. Done by
 * blkship_front_start() when it was not done.
 */
void blkship_front_load(struct blkship_front *front);

/*
 * From now on every write passes this front end. Called with nothing in flight;
 * allocates nothing that may wait for a device.
 */
int blkship_front_start(struct blkship_front *front);

/*
 * Give the volume the size of this front end. Before any write passes it; else
 * blkship_front_start() does it, with nothing in flight.
 */
int blkship_front_fit(struct blkship_front *front);

/*
 * The device of a front end that feeds has grown; what is new is dirty. Returns
 * -ENOMEM when there are no maps for that yet.
 */
int blkship_front_grow(struct blkship_front *front, u64 size_bytes);
/* From now on its front end sees what is behind the old end: say so. */
void blkship_volume_grown(struct blkship_volume *vol, u64 old_bytes);

/* It goes on feeding, but what is on the device is not known any more. */
void blkship_front_restart(struct blkship_front *front);

/* Suspended with nothing in flight: what is resumed after it may not be ours. */
void blkship_front_suspend(struct blkship_front *front);
/* It was: what was started feeds the volume, before anything is written. */
void blkship_front_resume(struct blkship_front *front);

/*
 * Leave the metadata device, if there is one, as front->keep says. Nothing is in
 * flight, and nothing is kept from then on. Part of blkship_front_remove().
 */
void blkship_front_end_meta(struct blkship_front *front);

/* The front end is gone, with nothing in flight. Never fails. */
void blkship_front_remove(struct blkship_front *front);

/* It is detached on purpose, and its front end goes in a moment. */
void blkship_volume_leave(struct blkship_volume *vol);

/*
 * Detach on purpose: now, or when its front end goes. One whose front end is to be
 * ended by who detaches it, and is still there, is refused.
 */
int blkship_volume_delete(const char *group, const char *volume,
			  const char **why);

void blkship_volume_put(struct blkship_volume *vol);

/* The volume at this index if it was ever fed; under blkship_mutex. */
struct blkship_volume *blkship_volume_at(struct blkship_group *grp, u32 index);

/* BLKSHIP_VOLUME_*; under blkship_mutex. */
u32 blkship_volume_flags(const struct blkship_volume *vol);

/* Of the list on its metadata device that is durable; 0: there is none. */
u64 blkship_volume_log_no(const struct blkship_volume *vol);

/*
 * The target has said whether it is what the kept maps compare with; if not, all
 * is dirty. Under blkship_mutex.
 */
void blkship_volume_settle(struct blkship_volume *vol, bool fits);

/* Set a range dirty, in pieces; takes no seq. Under blkship_mutex. */
void blkship_volume_mark(struct blkship_volume *vol, u64 offset_bytes,
			 u64 length_bytes);
/* repairing -> dirty, in pieces; whether there was any. Under blkship_mutex. */
bool blkship_volume_fall_back(struct blkship_volume *vol);
/* Take a seq for an event; not under the group's lock. */
u64 blkship_group_mark(struct blkship_group *grp);

#endif
