// SPDX-License-Identifier: GPL-2.0-only
/* limits_conf - how much of its machine a target may take, from its configuration. */
#include "limits_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void limits_conf_init(struct limits_conf *conf)
{
	*conf = (struct limits_conf){
		.reclaim_bytes_per_s = (uint64_t)LIMITS_RECLAIM_DEFAULT << 20,
	};
}

static int reclaim_parse(const char *value, uint64_t *bytes_per_s, char *why)
{
	size_t digits = strspn(value, "0123456789");
	unsigned long mib = digits && digits < 9 && !value[digits] ? strtoul(value, NULL, 10) : 0;

	if (mib == 0 || mib > LIMITS_RECLAIM_MAX) {
		snprintf(why, LIMITS_TEXT_BYTES, "'%.60s' is not a number of MiB from 1 to %d", value,
			 LIMITS_RECLAIM_MAX);
		return -EINVAL;
	}
	*bytes_per_s = (uint64_t)mib << 20;
	return 0;
}

int limits_conf_line(struct limits_conf *conf, const char *section, const char *name,
		     const char *value, char *why)
{
	if (strcmp(section, "target") == 0 && strcmp(name, "reclaim_mib_per_s") == 0)
		return reclaim_parse(value, &conf->reclaim_bytes_per_s, why);
	return -ENOENT;
}
