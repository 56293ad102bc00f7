/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nbddev - exports as /dev/nbdN, by the kernel's own NBD client.
 *
 * Each device has a name, which the kernel shows in sysfs as long as it is attached: by
 * that it is found again. A name is a path, such as DIR/ID/VOLUME of a mapping; nothing has
 * to be there. Attaching is one message to the kernel: whoever sends it may be killed at
 * any moment, the device is there with its name, or is not.
 */
#ifndef BLKSHIP_NBDDEV_H
#define BLKSHIP_NBDDEV_H

#include <stdbool.h>

#include "sysblock.h"

#define NBDDEV_TEXT_BYTES 512

/**
 * nbddev_usable - whether this kernel can do it; the module is loaded if it is not
 * @why: NBDDEV_TEXT_BYTES, filled when it cannot
 * Return: 0; -errno.
 */
int nbddev_usable(char *why);

/**
 * nbddev_attach - have an export as a device; nbddev_usable() has said yes
 * It is read-only if the export is. Its partitions have been looked for.
 * @device: out, SYSBLOCK_BYTES
 * @why: NBDDEV_TEXT_BYTES, filled on failure
 * Return: 0; -errno.
 */
int nbddev_attach(const char *socket, const char *export, const char *name, char *device,
		  char *why);

/** nbddev_each - devices with this name, or one below it; see sysblock_each() */
int nbddev_each(const char *name, int (*each)(void *arg, const char *device), void *arg);

/**
 * nbddev_cut - disconnect those, in use or not
 * What waits for an answer fails now, as does what comes later; they stay as long as
 * somebody has them open.
 * Return: 0; -errno.
 */
int nbddev_cut(const char *name);

/**
 * nbddev_detach_all - take down those that are not in use, and wait until they are
 * @flush: before that what was written to them; one of which that fails stays
 * Return: 0; -EBUSY; -EIO, it cannot be flushed; -errno.
 */
int nbddev_detach_all(const char *name, bool flush);

#endif
