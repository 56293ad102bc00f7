/* SPDX-License-Identifier: GPL-2.0-only */
/* sysblock - block devices of this machine, found by what sysfs says of them. */
#ifndef BLKSHIP_SYSBLOCK_H
#define BLKSHIP_SYSBLOCK_H

#define SYSBLOCK_BYTES 32	/* "/dev/loop123" */

struct sysblock_kind {
	const char *name;	/* what their names begin with */
	const char *attribute;	/* a path of theirs, below /sys/block/NAME */
};

/**
 * sysblock_is - whether the attribute of a device is a path, or one below it
 * @device: "/dev/loop3"
 * Return: 1; 0, also when it has no such attribute; -errno, it cannot be told.
 */
int sysblock_is(const struct sysblock_kind *kind, const char *device, const char *path);

/**
 * sysblock_each - all devices of a kind of which that is so
 * @each: called with "/dev/loop3"; not 0: stop and return that
 * Return: 0; as @each; -errno, it cannot be told which they are.
 */
int sysblock_each(const struct sysblock_kind *kind, const char *path,
		  int (*each)(void *arg, const char *device), void *arg);

/**
 * sysblock_each_partition - that a device has now
 * @device: "/dev/nbd3"; without partitions if it has gone
 * @each: called with "/dev/nbd3p1"; not 0: stop and return that
 * Return: 0; as @each; -errno.
 */
int sysblock_each_partition(const char *device, int (*each)(void *arg, const char *partition),
			    void *arg);

/**
 * sysblock_wait_gone - until there are none
 * The kernel takes devices down behind our back, and tells nobody when it has.
 * Return: 0; -EBUSY, some are still there after 5 s; -errno.
 */
int sysblock_wait_gone(const struct sysblock_kind *kind, const char *path);

#endif
