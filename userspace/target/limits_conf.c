// SPDX-License-Identifier: GPL-2.0-only
/* limits_conf - how much of its machine a target may take, from its configuration. */
#include "limits_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/array.h"

#define GROUP_PREFIX "group "

void limits_conf_init(struct limits_conf *conf)
{
	*conf = (struct limits_conf){
		.reclaim_bytes_per_s = (uint64_t)LIMITS_RECLAIM_DEFAULT << 20,
	};
}

void limits_conf_fini(struct limits_conf *conf)
{
	free(conf->caps);
	memset(conf, 0, sizeof(*conf));
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

/* "500G": a number of bytes, with a unit of 1024 of the one before. */
static int size_parse(const char *value, uint64_t *bytes, char *why)
{
	static const char units[] = "KMGTP";
	size_t digits = strspn(value, "0123456789");
	uint64_t n = digits && digits < 19 ? strtoull(value, NULL, 10) : 0;
	const char *unit = value[digits] ? strchr(units, value[digits]) : NULL;
	unsigned int shift = unit ? 10 * (unit - units + 1) : 0;

	if (n == 0 || (value[digits] && (!unit || value[digits + 1])) ||
	    n > (UINT64_C(1) << 62) >> shift) {
		snprintf(why, LIMITS_TEXT_BYTES, "'%.60s' is not a size like 500G", value);
		return -EINVAL;
	}
	*bytes = n << shift;
	return 0;
}

/* Said again, the last word counts. */
static int cap_add(struct limits_conf *conf, const char *group, uint64_t max_bytes, char *why)
{
	struct limits_conf_cap *cap = conf->caps;
	size_t i = 0;

	if (!name_valid(group)) {
		snprintf(why, LIMITS_TEXT_BYTES, "'%.60s' is not a name a group can have", group);
		return -EINVAL;
	}
	while (i < conf->nr_caps && strcmp(cap[i].group, group) != 0)
		i++;
	if (i == conf->nr_caps) {
		if (!array_reserve(&conf->caps, &conf->max_caps, i + 1))
			return -ENOMEM;
		strcpy(conf->caps[conf->nr_caps++].group, group);
	}
	conf->caps[i].max_bytes = max_bytes;
	return 0;
}

int limits_conf_line(struct limits_conf *conf, const char *section, const char *name,
		     const char *value, char *why)
{
	const size_t prefix = strlen(GROUP_PREFIX);
	bool all = strcmp(section, "target") == 0;
	uint64_t max_bytes;
	int ret;

	if (all && strcmp(name, "reclaim_mib_per_s") == 0)
		return reclaim_parse(value, &conf->reclaim_bytes_per_s, why);
	if (strcmp(name, "max_bytes") != 0 || (!all && strncmp(section, GROUP_PREFIX, prefix) != 0))
		return -ENOENT;
	ret = size_parse(value, &max_bytes, why);
	if (ret)
		return ret;
	if (!all)
		return cap_add(conf, section + prefix, max_bytes, why);
	conf->max_bytes = max_bytes;
	return 0;
}

uint64_t limits_conf_max(const struct limits_conf *conf, const char *group)
{
	for (size_t i = 0; i < conf->nr_caps; i++)
		if (strcmp(conf->caps[i].group, group) == 0)
			return conf->caps[i].max_bytes;
	return 0;
}
