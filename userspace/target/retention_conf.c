// SPDX-License-Identifier: GPL-2.0-only
/* retention_conf - which points a target keeps, from its configuration. */
#include "retention_conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/name.h"
#include "../lib/when.h"
#include "../store/array.h"

#define GROUP_PREFIX "group "

static int packing_parse(const char *value, bool *packing, char *why)
{
	if (strcmp(value, "yes") && strcmp(value, "no")) {
		snprintf(why, RETENTION_TEXT_BYTES, "'%.60s' is not yes or no", value);
		return -EINVAL;
	}
	*packing = *value == 'y';
	return 0;
}

void retention_conf_init(struct retention_conf *conf)
{
	char why[RETENTION_TEXT_BYTES];

	memset(conf, 0, sizeof(*conf));
	retention_parse(RETENTION_DEFAULT, &conf->all.policy, why);
	when_duration(RETENTION_CONF_IMMUTABLE, &conf->all.immutable_ns);
	conf->all.immutable_ns *= WHEN_NS;
	packing_parse(RETENTION_CONF_PACKING, &conf->all.packing, why);
}

void retention_conf_fini(struct retention_conf *conf)
{
	free(conf->groups);
	memset(conf, 0, sizeof(*conf));
}

static const struct retention_conf_group *group_find(const struct retention_conf *conf,
						     const char *name)
{
	for (size_t i = 0; i < conf->nr_groups; i++)
		if (strcmp(conf->groups[i].name, name) == 0)
			return &conf->groups[i];
	return NULL;
}

static int group_get(struct retention_conf *conf, const char *name,
		     struct retention_conf_group **out, char *why)
{
	struct retention_conf_group *g = (struct retention_conf_group *)group_find(conf, name);

	if (!g) {
		if (!name_valid(name)) {
			snprintf(why, RETENTION_TEXT_BYTES, "'%.60s' is not a name a group can have",
				 name);
			return -EINVAL;
		}
		if (!array_reserve(&conf->groups, &conf->max_groups, conf->nr_groups + 1))
			return -ENOMEM;
		g = &conf->groups[conf->nr_groups++];
		memset(g, 0, sizeof(*g));
		strcpy(g->name, name);
	}
	*out = g;
	return 0;
}

static int immutable_parse(const char *value, uint64_t *ns, char *why)
{
	uint64_t seconds = 0;

	if (strcmp(value, "0") && (when_duration(value, &seconds) ||
				   seconds > UINT64_MAX / 4 / WHEN_NS)) {
		snprintf(why, RETENTION_TEXT_BYTES, "'%.60s': not a time like 7d, nor 0", value);
		return -EINVAL;
	}
	*ns = seconds * WHEN_NS;
	return 0;
}

int retention_conf_line(struct retention_conf *conf, const char *section, const char *name,
			const char *value, char *why)
{
	bool policy = strcmp(name, "retention") == 0, immutable = strcmp(name, "immutable") == 0;
	bool packing = strcmp(name, "packing") == 0;
	struct groups_retention *to = &conf->all;
	struct retention_conf_group *g = NULL;
	int ret;

	if (!policy && !immutable && !packing)
		return -ENOENT;
	if (strncmp(section, GROUP_PREFIX, strlen(GROUP_PREFIX)) == 0) {
		ret = group_get(conf, section + strlen(GROUP_PREFIX), &g, why);
		if (ret)
			return ret;
		to = &g->retention;
	} else if (strcmp(section, "target")) {
		return -ENOENT;
	}
	if (policy)
		ret = retention_parse(value, &to->policy, why);
	else
		ret = immutable ? immutable_parse(value, &to->immutable_ns, why) :
				  packing_parse(value, &to->packing, why);
	if (!ret && g) {
		g->has_policy |= policy;
		g->has_immutable |= immutable;
		g->has_packing |= packing;
	}
	return ret;
}

void retention_conf_get(const struct retention_conf *conf, const char *group,
			struct groups_retention *out)
{
	const struct retention_conf_group *g = group_find(conf, group);

	*out = conf->all;
	if (g && g->has_policy)
		out->policy = g->retention.policy;
	if (g && g->has_immutable)
		out->immutable_ns = g->retention.immutable_ns;
	if (g && g->has_packing)
		out->packing = g->retention.packing;
}
