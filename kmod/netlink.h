/* SPDX-License-Identifier: GPL-2.0 */
/* netlink - the generic netlink family: groups, volumes, counters, events. */
#ifndef BLKSHIP_NETLINK_H
#define BLKSHIP_NETLINK_H

#include "../uapi/linux/blkship.h"

int blkship_netlink_init(void);
void blkship_netlink_exit(void);

/* Tell whoever listens; volume may be NULL. Process context; never waits. */
void blkship_event(enum blkship_event event, const char *group,
		   const char *volume);

#endif
