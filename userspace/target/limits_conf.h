/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * limits_conf - how much of its machine a target may take, from its configuration.
 *
 *	[target]
 *	reclaim_mib_per_s = 64
 *	max_bytes = 2T
 *	[group erp]
 *	max_bytes = 500G
 *
 * A cap is one of the store, or of a group with its branches; none is for each group. Pure: told line by line, as inih reads them.
 */
#ifndef BLKSHIP_LIMITS_CONF_H
#define BLKSHIP_LIMITS_CONF_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/name.h"

#define LIMITS_TEXT_BYTES	160
#define LIMITS_RECLAIM_DEFAULT	64		/* MiB a second */
#define LIMITS_RECLAIM_MAX	16384

struct limits_conf_cap {
	char group[NAME_BYTES];
	uint64_t max_bytes;
};

struct limits_conf {
	uint64_t reclaim_bytes_per_s;	/* what the index's worker reads, and writes, at most */
	uint64_t max_bytes;		/* of the store; 0: no cap */
	struct limits_conf_cap *caps;
	size_t nr_caps, max_caps;
};

/** limits_conf_init - what holds when nothing is said */
void limits_conf_init(struct limits_conf *conf);
void limits_conf_fini(struct limits_conf *conf);

/**
 * limits_conf_line - take a line
 * @why: out on failure, LIMITS_TEXT_BYTES: what is wrong with the value
 * Return: 0; -ENOENT it is about something else; -EINVAL; -ENOMEM.
 */
int limits_conf_line(struct limits_conf *conf, const char *section, const char *name,
		     const char *value, char *why);

/** limits_conf_max - the cap of a group; 0: it has none */
uint64_t limits_conf_max(const struct limits_conf *conf, const char *group);

#endif
