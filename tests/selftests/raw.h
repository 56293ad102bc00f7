/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * raw - requests to the kernel without a library in between, so that of those that are
 * made to fail only the kernel's part can: generic netlink, and device-mapper's ioctls.
 * All return 0 or -errno unless they say otherwise.
 */
#ifndef BLKSHIP_RAW_H
#define BLKSHIP_RAW_H

#include <stdbool.h>
#include <stdint.h>

/* First and last, where nothing fails on purpose; gives up. */
void raw_init(void);
void raw_fini(void);

/* -- netlink -- */

/* A socket for one operation: what is left of its answer goes with it. */
void raw_open(void);
void raw_close(void);
/* Ask there, and take all of the answer; flags as in a message's header. */
int raw_request(int command, int flags, const char *group, const char *volume);
/* By another socket, where nothing fails on purpose. */
int raw_ask(int command, const char *group, const char *volume);
/* What BLKSHIP_CMD_TAP_ADD is for, as netlink_dev(); no metadata device: 0. */
void raw_tap_devices(uint32_t dev, uint32_t meta);

/* -- device-mapper -- */

/* A command of <linux/dm-ioctl.h>; with a table of one blkship target, or NULL. */
int raw_dm(unsigned int command, const char *name, const char *table,
	   uint64_t sectors);
/* Whether it has this target; gives up when it does not tell. */
bool raw_dm_target_exists(const char *name);

#endif
