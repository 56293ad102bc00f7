/* SPDX-License-Identifier: GPL-2.0-only */
/* capture_dev - a capture behind /dev/blkship. */
#ifndef BLKSHIP_CAPTURE_DEV_H
#define BLKSHIP_CAPTURE_DEV_H

#include "source.h"

#define CAPTURE_DEV_PATH	"/dev/blkship"

/**
 * capture_dev_opener - bind to groups as their one consumer and map their rings
 * open returns 0; -ENOENT no such group or no module; -EBUSY it has a consumer;
 * -EPROTO the module speaks another version; -errno. When close is called no read
 * may be in flight; regions that are repairing become dirty again.
 */
extern const struct capture_opener capture_dev_opener;

#endif
