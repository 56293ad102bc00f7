/* SPDX-License-Identifier: GPL-2.0-only */
/* unmount - find what was mounted of a mapping, and take it down. */
#ifndef BLKSHIP_UNMOUNT_H
#define BLKSHIP_UNMOUNT_H

#include <stdbool.h>
#include <stddef.h>

/* The tree of mounts is on a tmpfs with this and the mapping's name as its source. */
#define UNMOUNT_SOURCE_PREFIX "blkship:"

/**
 * unmount_all - filesystems on a mapping's devices, its tree, the devices
 * @name: of the mapping
 * @dir: loop devices lie over files, NBD devices have names below it
 * @flush: NBD devices, before they are taken down
 * @why: MAPPING_TEXT_BYTES, filled on failure: what is in use
 * Return: 0; -EBUSY; -errno.
 */
int unmount_all(const char *name, const char *dir, bool flush, char *why);

/** unmount_dir - what is mounted on a directory; 0 also when nothing is; -errno */
int unmount_dir(const char *dir);

/** unmount_find - the name of the mapping whose tree is mounted on a directory; -ENOENT */
int unmount_find(const char *dir, char *name, size_t bytes);

#endif
