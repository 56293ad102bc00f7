/* SPDX-License-Identifier: GPL-2.0 */
/*
 * front_tap - the front end that looks on: probes on the block layer's
 * tracepoints. No bio is altered, redirected or delayed.
 */
#ifndef BLKSHIP_FRONT_TAP_H
#define BLKSHIP_FRONT_TAP_H

#include <linux/types.h>

struct gendisk;

/* Where a volume lies; what is needed to tap it. */
struct blkship_place {
	struct gendisk *disk;
	u64 first_sector;
	u64 last_sector;
};

/* Find the tracepoints. */
int blkship_tap_init(void);
void blkship_tap_exit(void);

/*
 * Tap a device that may be in use; group and volume are made when missing. Again
 * for a volume that diverged: all of it will be read back. Waits for what a disk
 * has in flight, and holds its new I/O for that long, 5 s at most. With a metadata device
 * (or 0) its state is kept when the machine goes down in order. On error *why says in
 * words what is wrong, and nothing has changed.
 */
int blkship_tap_add(const char *group, const char *volume, dev_t dev,
		    dev_t meta_dev, u64 ring_bytes, const char **why);

/* The same for a disk that nobody else has; without a check of what it is. */
int blkship_tap_add_place(const char *group, const char *volume,
			  const struct blkship_place *place, u64 ring_bytes,
			  const char **why);

/*
 * Detach on purpose; -ENOENT when no tap feeds this volume, or somebody is at
 * work with it: then blkship_volume_delete() refuses.
 */
int blkship_tap_remove(const char *group, const char *volume);

#endif
