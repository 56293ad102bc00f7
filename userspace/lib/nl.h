/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * nl - the module's generic netlink family, from outside (uapi/linux/blkship.h).
 *
 * Functions return 0 or -errno; on failure @why (NL_TEXT_BYTES) has a sentence, the
 * kernel's own where it gave one. -ENOENT also when the module is not loaded.
 */
#ifndef BLKSHIP_NL_H
#define BLKSHIP_NL_H

#include <stdbool.h>
#include <stdint.h>

#include "../../uapi/linux/blkship.h"

#define NL_TEXT_BYTES 256

struct nl;

/** nl_open - connect; -ENOENT the module is not loaded; -EPERM */
int nl_open(struct nl **out, char *why);
void nl_close(struct nl *nl);

struct nl_group {
	char name[BLKSHIP_NAME_BYTES];
	uint64_t ring_bytes, ring_used_bytes, in_flight;
	uint32_t incarnation;
	bool consumer;
	uint64_t newest_seq, watermark_seq;
	uint64_t captured, captured_bytes, uncaptured, overflows, failed, overlaps, timeouts;
};

struct nl_volume {
	char group[BLKSHIP_NAME_BYTES];
	char name[BLKSHIP_NAME_BYTES];
	char front[8];
	uint16_t index;
	uint32_t dev_major, dev_minor;
	uint32_t flags;			/* BLKSHIP_VOLUME_* */
	uint64_t size_bytes, dirty_regions, repairing_regions;
};

/** nl_groups - all groups; each() returns not 0 to stop, which is returned then */
int nl_groups(struct nl *nl, int (*each)(void *arg, const struct nl_group *g), void *arg,
	      char *why);

/** nl_volumes - all volumes, or those of a group (@group not NULL) */
int nl_volumes(struct nl *nl, const char *group,
	       int (*each)(void *arg, const struct nl_volume *v), void *arg, char *why);

/** nl_group_new - @ring_bytes 0: the default; -EEXIST */
int nl_group_new(struct nl *nl, const char *group, uint64_t ring_bytes, char *why);
int nl_group_del(struct nl *nl, const char *group, char *why);
int nl_volume_del(struct nl *nl, const char *group, const char *volume, char *why);

/**
 * nl_events_open - listen to the module's events
 * @each: from nl_events_read(); @volume is NULL where none is meant
 */
int nl_events_open(struct nl **out,
		   void (*each)(void *arg, enum blkship_event event, const char *group,
				const char *volume),
		   void *arg, char *why);
int nl_events_fd(const struct nl *nl);		/* non-blocking, readable when there are some */
void nl_events_read(struct nl *nl);

#endif
