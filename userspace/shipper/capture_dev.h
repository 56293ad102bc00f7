/* SPDX-License-Identifier: GPL-2.0-only */
/* capture_dev - a capture behind /dev/blkship. */
#ifndef BLKSHIP_CAPTURE_DEV_H
#define BLKSHIP_CAPTURE_DEV_H

#include "../lib/loop.h"
#include "capture.h"

#define CAPTURE_DEV_PATH	"/dev/blkship"
#define CAPTURE_TEXT_BYTES	256

/**
 * capture_dev_open - bind to a group as its one consumer and map its ring
 * @loop: for reading devices
 * @why: out on failure, CAPTURE_TEXT_BYTES
 * Return: 0; -ENOENT no such group or no module; -EBUSY it has a consumer; -EPROTO
 * the module speaks another version; -errno.
 */
int capture_dev_open(struct loop *loop, const char *group, struct capture **out, char *why);

/** capture_dev_close - no read may be in flight; repairing regions become dirty again */
void capture_dev_close(struct capture *c);

/** capture_dev_fd - readable when the ring wants to be drained */
int capture_dev_fd(const struct capture *c);

#endif
