/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * knl - the module's generic netlink family, from outside (uapi/linux/blkship.h).
 *
 * Functions return 0 or -errno; on failure @why (KNL_TEXT_BYTES) has a sentence, the
 * kernel's own where it gave one. -ENOENT also when the module is not loaded.
 */
#ifndef BLKSHIP_KNL_H
#define BLKSHIP_KNL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../uapi/linux/blkship.h"

#define KNL_TEXT_BYTES 256

struct knl;

/** knl_open - connect; -ENOENT the module is not loaded; -EPERM */
int knl_open(struct knl **out, char *why);
void knl_close(struct knl *nl);

struct knl_group {
	char name[BLKSHIP_NAME_BYTES];
	uint64_t ring_bytes, ring_used_bytes, in_flight;
	uint32_t incarnation;
	bool consumer;
	uint64_t newest_seq, watermark_seq;
	uint64_t captured, captured_bytes, uncaptured, overflows, failed, overlaps, timeouts;
};

struct knl_volume {
	char group[BLKSHIP_NAME_BYTES];
	char name[BLKSHIP_NAME_BYTES];
	char front[8];
	uint16_t index;
	uint32_t dev_major, dev_minor;
	uint64_t dev_start_bytes;	/* where it begins there */
	uint32_t flags;			/* BLKSHIP_VOLUME_* */
	uint64_t size_bytes, dirty_regions, repairing_regions;
	uint64_t unseen;		/* writes that passed the tap by, and were read back */
};

/** knl_groups - all groups; each() returns not 0 to stop, which is returned then */
int knl_groups(struct knl *nl, int (*each)(void *arg, const struct knl_group *g), void *arg,
	      char *why);

/** knl_volumes - all volumes, or those of a group (@group not NULL) */
int knl_volumes(struct knl *nl, const char *group,
	       int (*each)(void *arg, const struct knl_volume *v), void *arg, char *why);

/** knl_volume_list - the same as an array, to be freed; empty when there are none */
int knl_volume_list(struct knl *nl, const char *group, struct knl_volume **out, size_t *nr,
		    char *why);

/** knl_group_new - @ring_bytes 0: the default; -EEXIST */
int knl_group_new(struct knl *nl, const char *group, uint64_t ring_bytes, char *why);
int knl_group_del(struct knl *nl, const char *group, char *why);
int knl_volume_del(struct knl *nl, const char *group, const char *volume, char *why);

/**
 * knl_tap_add - tap a disk, a partition or a device-mapper device, in use or not
 * @ring_bytes: of the group, which is made when missing; 0: the default
 * @meta: major and minor of its metadata device, or NULL
 * Again for a volume that diverged: all of it is read back. -EOPNOTSUPP also when the
 * module that runs has no tap.
 */
int knl_tap_add(struct knl *nl, const char *group, const char *volume, uint32_t dev_major,
		uint32_t dev_minor, uint64_t ring_bytes, const uint32_t *meta, char *why);

/**
 * knl_events_open - listen to the module's events
 * @each: from knl_events_read(); @volume is NULL where none is meant
 */
int knl_events_open(struct knl **out,
		   void (*each)(void *arg, enum blkship_event event, const char *group,
				const char *volume),
		   void *arg, char *why);
int knl_events_fd(const struct knl *nl);		/* non-blocking, readable when there are some */

/**
 * knl_events_read - take what there is
 * Return: 0; -ENOBUFS when some were lost on the way: look at everything again.
 */
int knl_events_read(struct knl *nl);

#endif
