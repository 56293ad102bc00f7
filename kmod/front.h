/* SPDX-License-Identifier: GPL-2.0 */
/*
 * front - a front end of a volume, and what its coming and going means to that.
 *
 * A volume is fed while one of its front ends was started; when the last of
 * these goes without having been told to leave, that is an alarm: writes may
 * pass unseen from then on, so the volume is dirty as a whole, with a seq, and
 * diverged until it is fed again and marked once more; nothing of it can be
 * taken over meanwhile.
 *
 * A front end that is suspended may be replaced by something that is not ours,
 * which is used before we are told. So the suspension itself takes a seq, which
 * is a gap, and no repair pass may cover it before the volume is fed again:
 * until then its dirty map cannot be read. Nothing is written while it lasts;
 * when we are resumed nothing was missed, and an empty pass closes the gap.
 */
#ifndef BLKSHIP_FRONT_H
#define BLKSHIP_FRONT_H

#include "volume.h"

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
	struct blkship_maps spare;
};

/*
 * Add a front end to a volume; group and volume are made when missing. The
 * fields from owner to size_bytes are the caller's. Does not feed yet.
 */
int blkship_front_add(struct blkship_front *front, const char *group,
		      const char *volume, u64 ring_bytes, const char **why);

/*
 * Read the metadata device, if there is one, before the start; part the volume
 * from another one. Waits for both devices, and for the volume's own, each for
 * meta_timeout_s. Done by blkship_front_start() when it was not done. 0; -ETIMEDOUT, with
 * *why: one did not answer; if it is started all the same, all of it is read back.
 */
int blkship_front_load(struct blkship_front *front, const char **why);

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

#endif
