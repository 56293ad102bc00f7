/* SPDX-License-Identifier: GPL-2.0-only */
/* dm - the dm front end's devices, through libdevmapper, with udev and without. */
#ifndef BLKSHIP_TOOL_DM_H
#define BLKSHIP_TOOL_DM_H

#include <stdbool.h>
#include <stdint.h>

#include "../../uapi/linux/blkship.h"

#define DM_NAME_BYTES	128
#define DM_TEXT_BYTES	256

/**
 * dmdev_create - make and resume a device of one blkship target
 * @params: of the target
 * @why: out on failure, DM_TEXT_BYTES: the kernel's own sentence where it gave one
 * Return: 0; -EEXIST the name is taken; -errno.
 */
int dmdev_create(const char *name, uint64_t sectors, const char *params, char *why);

/** dmdev_remove - 0; -EBUSY somebody has it open; -ENOENT; -errno */
int dmdev_remove(const char *name, char *why);

/** dmdev_open_count - how many have it open; -ENOENT; -errno */
int dmdev_open_count(const char *name, char *why);

/**
 * dmdev_find - the device that feeds a volume
 * @name: out, DM_NAME_BYTES
 * @alone: out: it has no other target
 * Return: 0; -ENOENT there is none; -errno.
 */
int dmdev_find(const char *group, const char *volume, char *name, bool *alone, char *why);

#endif
