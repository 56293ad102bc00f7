/* SPDX-License-Identifier: GPL-2.0-only */
/* loopdev - loop devices over files and devices of ours: made, found, taken down. */
#ifndef BLKSHIP_LOOPDEV_H
#define BLKSHIP_LOOPDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sysblock.h"

struct loopdev_range {
	uint64_t offset_bytes;
	uint64_t length_bytes;	/* 0: to the end */
};

#define LOOPDEV_READ_ONLY	(1u << 0)
#define LOOPDEV_PARTITIONS	(1u << 1)	/* /dev/loopNpM, where the system makes nodes */
#define LOOPDEV_UNTIL_CLOSED	(1u << 2)	/* goes away when nobody has it open any more */

/**
 * loopdev_attach - a loop device over a file
 * @device: out, SYSBLOCK_BYTES
 * Return: an open descriptor of it; -errno.
 */
int loopdev_attach(const char *path, const struct loopdev_range *range, unsigned int flags,
		   char *device);

/**
 * loopdev_each - the loop devices over a file or device, or over files below a directory
 * @each: called with "/dev/loopN"; not 0: stop and return that
 */
int loopdev_each(const char *path, int (*each)(void *arg, const char *device), void *arg);

/** loopdev_detach_all - take those down, and wait until they are; 0; -EBUSY; -errno */
int loopdev_detach_all(const char *path);

#endif
