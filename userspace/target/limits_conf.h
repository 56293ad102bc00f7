/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * limits_conf - how much of its machine a target may take, from its configuration.
 *
 *	[target]
 *	reclaim_mib_per_s = 64
 *
 * Pure: told line by line, as inih reads them.
 */
#ifndef BLKSHIP_LIMITS_CONF_H
#define BLKSHIP_LIMITS_CONF_H

#include <stdint.h>

#define LIMITS_TEXT_BYTES	160
#define LIMITS_RECLAIM_DEFAULT	64		/* MiB a second */
#define LIMITS_RECLAIM_MAX	16384

struct limits_conf {
	uint64_t reclaim_bytes_per_s;	/* what the index's worker reads, and writes, at most */
};

/** limits_conf_init - what holds when nothing is said */
void limits_conf_init(struct limits_conf *conf);

/**
 * limits_conf_line - take a line
 * @why: out on failure, LIMITS_TEXT_BYTES: what is wrong with the value
 * Return: 0; -ENOENT it is about something else; -EINVAL.
 */
int limits_conf_line(struct limits_conf *conf, const char *section, const char *name,
		     const char *value, char *why);

#endif
