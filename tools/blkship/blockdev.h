/* SPDX-License-Identifier: GPL-2.0-only */
/* blockdev - what is to be known of a block device before something is done to it. */
#ifndef BLKSHIP_BLOCKDEV_H
#define BLKSHIP_BLOCKDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCKDEV_TEXT_BYTES 256

struct knl_volume;

struct blockdev {
	int fd;			/* open, exclusively */
	uint64_t size_bytes;
	unsigned int major, minor;
};

/**
 * blockdev_open - open a block device that nobody uses
 * @write: to write to it
 * @why: out on failure, BLOCKDEV_TEXT_BYTES
 * Return: 0; -ENOENT; -ENOTBLK it is none; -EBUSY in use, @why says by what as far
 * as that can be found; -errno.
 */
int blockdev_open(const char *path, bool write, struct blockdev *dev, char *why);
void blockdev_close(struct blockdev *dev);

/**
 * blockdev_signature - does it hold something that is known?
 * @what: out: "ext4 filesystem labelled root", "dos partition table"
 * Return: 1 it does; 0 nothing known; -errno it could not be read.
 */
int blockdev_signature(const struct blockdev *dev, char *what, size_t bytes);

/** blockdev_is_swap - the kernel swaps to it */
bool blockdev_is_swap(unsigned int major, unsigned int minor);

/** blockdev_of_volume - "vda2", "vg0-data", or "252:16" when it is gone */
void blockdev_of_volume(const struct knl_volume *v, char *name, size_t bytes);

#endif
