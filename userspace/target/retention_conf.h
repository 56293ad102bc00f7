/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * retention_conf - which points a target keeps, from its configuration.
 *
 *	[target]
 *	retention = all:24h,5m:7d,1h:30d
 *	immutable = 7d
 *	packing = yes
 *	[group erp]
 *	retention = all:48h,1h:365d
 *
 * What a group does not say is as for all. Pure: told line by line, as inih reads them.
 */
#ifndef BLKSHIP_RETENTION_CONF_H
#define BLKSHIP_RETENTION_CONF_H

#include "../store/timeline.h"
#include "groups.h"

#define RETENTION_CONF_IMMUTABLE "7d"
#define RETENTION_CONF_PACKING "yes"

struct retention_conf_group {
	char name[TIMELINE_NAME_BYTES];
	bool has_policy, has_immutable, has_packing;
	struct groups_retention retention;
};

struct retention_conf {
	struct groups_retention all;
	struct retention_conf_group *groups;
	size_t nr_groups, max_groups;
};

/** retention_conf_init - what is kept when nothing is said */
void retention_conf_init(struct retention_conf *conf);
void retention_conf_fini(struct retention_conf *conf);

/**
 * retention_conf_line - take a line
 * @why: out on failure, RETENTION_TEXT_BYTES: what is wrong with the value
 * Return: 0; -ENOENT it is about something else; -EINVAL; -ENOMEM.
 */
int retention_conf_line(struct retention_conf *conf, const char *section, const char *name,
			const char *value, char *why);

/** retention_conf_get - what is kept of a group */
void retention_conf_get(const struct retention_conf *conf, const char *group,
			struct groups_retention *out);

#endif
