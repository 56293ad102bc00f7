/* SPDX-License-Identifier: GPL-2.0 */
/*
 * volume - a member of a group: what of it is dirty, and where it is read back.
 *
 * Its state lives apart from the front ends that feed it (front.h): a table
 * reload, or a front end that comes back, does not reset it.
 */
#ifndef BLKSHIP_VOLUME_H
#define BLKSHIP_VOLUME_H

#include <linux/kref.h>
#include <linux/list.h>
#include <linux/rbtree.h>

#include "dirty_core.h"
#include "group.h"

struct blkship_meta;

/* The memory of a volume's maps, made before it is needed. */
struct blkship_maps {
	u64 *dirty;
	u64 *repairing;
};

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
	u32 nr_near;			/* see observe_table.h */
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
	bool bios_taken;		/* group lock; out of requests, by their driver */
};

/* Empty maps for a volume of this size; 0 or -ENOMEM, and then there are none. */
int blkship_maps_alloc(struct blkship_maps *maps, u64 size_bytes);
void blkship_maps_free(struct blkship_maps *maps);

/*
 * Find or make a volume of the group; the reference is the caller's. Allocates
 * without blkship_mutex, so somebody else may make the same one meanwhile. An
 * ERR_PTR() with *why.
 */
struct blkship_volume *blkship_volume_get(struct blkship_group *grp,
					  const char *name, u64 size_bytes,
					  const char **why);
void blkship_volume_put(struct blkship_volume *vol);

/*
 * Take it out of the group if nobody refers to it any more, and it was told to
 * leave or nothing was ever captured of it: then the group's reference is the
 * caller's to put, without the mutex. Under blkship_mutex.
 */
bool blkship_volume_drop_unused(struct blkship_volume *vol);

/*
 * Change to maps that were made for this size; *spare has the old ones then.
 * What is new is dirty. Writes of a tapped volume go on meanwhile, so it is one
 * step under the lock: some 0.6 ms for a TiB, once. Under blkship_mutex.
 */
void blkship_volume_resize(struct blkship_volume *vol, u64 size_bytes,
			   struct blkship_maps *spare);
/* From now on its front end sees what is behind the old end: say so. */
void blkship_volume_grown(struct blkship_volume *vol, u64 old_bytes);

/* It is detached on purpose, and its front end goes in a moment. */
void blkship_volume_leave(struct blkship_volume *vol);

/*
 * Detach on purpose: now, or when its front end goes. One whose front end is to be
 * ended by who detaches it, and is still there, is refused.
 */
int blkship_volume_delete(const char *group, const char *volume,
			  const char **why);

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
