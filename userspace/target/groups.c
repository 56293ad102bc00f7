// SPDX-License-Identifier: GPL-2.0-only
#include "groups.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "../lib/keyring.h"
#include "../lib/log.h"
#include "../lib/name.h"
#include "../store/index.h"

struct group {
	struct groups *gs;
	char name[TIMELINE_NAME_BYTES];
	struct timeline *tl;
	void *live;
	uint8_t live_instance[16];
	uint64_t index_retry_ns;
	TAILQ_ENTRY(group) link;
};

struct groups {
	struct env *env;
	void (*retention)(void *arg, const char *group, struct groups_retention *out);
	void *retention_arg;
	char *dir;
	const struct keyring *keys;
	void (*progress)(void *arg, struct group *g, void *live);
	void *arg;
	TAILQ_HEAD(, group) list;
};

int groups_create(const struct groups_params *params, struct groups **out)
{
	struct groups *gs = calloc(1, sizeof(*gs));

	if (!gs)
		return -ENOMEM;
	gs->dir = strdup(params->dir);
	if (!gs->dir) {
		free(gs);
		return -ENOMEM;
	}
	gs->env = params->env;
	gs->keys = params->keys;
	gs->retention = params->retention;
	gs->retention_arg = params->retention_arg;
	gs->progress = params->progress;
	gs->arg = params->arg;
	TAILQ_INIT(&gs->list);
	*out = gs;
	return 0;
}

void groups_destroy(struct groups *gs)
{
	struct group *g;

	if (!gs)
		return;
	while ((g = TAILQ_FIRST(&gs->list))) {
		TAILQ_REMOVE(&gs->list, g, link);
		timeline_close(g->tl);
		free(g);
	}
	free(gs->dir);
	free(gs);
}

static bool group_flushed(const struct group *g)
{
	struct timeline_state state;

	timeline_state(g->tl, &state);
	return state.failed || state.durable_ordinal >= state.ordinal;
}

bool groups_idle(const struct groups *gs)
{
	const struct group *g;

	TAILQ_FOREACH(g, &gs->list, link)
		if (!timeline_idle(g->tl) || !group_flushed(g))
			return false;
	return true;
}

static void group_progress(void *arg)
{
	struct group *g = arg;

	g->gs->progress(g->gs->arg, g, g->live);
}

/* A policy that cannot be written now is, when the group is opened the next time. */
static void group_set_retention(struct groups *gs, struct group *g)
{
	struct groups_retention r;
	int ret;

	if (!gs->retention)
		return;
	gs->retention(gs->retention_arg, g->name, &r);
	timeline_set_packing(g->tl, r.packing);
	ret = timeline_set_retention(g->tl, &r.policy, r.immutable_ns);
	if (ret)
		log_warning("group %s: its retention policy was not written: %s; the one before stays in force until the group is opened again; check the disk and its free space",
			    g->name, strerror(-ret));
}

/* New segments are no matter of it; index, packs and whoever restores here are. */
static int group_set_keys(struct groups *gs, struct group *g, const char *name, char *why)
{
	int ret = timeline_set_keys(g->tl, gs->keys, why);
	const uint8_t *missing = ret ? NULL : timeline_missing_key(g->tl);
	char id[KEY_ID_TEXT_BYTES];

	if (missing) {
		keyring_id_text(missing, id);
		log_warning("group %s: some of it was encrypted with key %s, which is not among those of targetd.conf; it goes on with the newest there is; put the key back: what it encrypted can be neither read nor thinned out without it",
			    name, id);
	}
	return ret;
}

/* @identity: whose it is if it has to be made; NULL: it must be there. */
static int group_open(struct groups *gs, const char *name, const char *identity,
		      struct group **out, char *why)
{
	struct group *g = calloc(1, sizeof(*g));
	char *dir = NULL;
	int ret = -ENOMEM;

	if (!g || asprintf(&dir, "%s/%s", gs->dir, name) < 0)
		goto err;
	ret = timeline_open(gs->env, dir, identity ? TIMELINE_CREATE : 0, identity, &g->tl, why);
	free(dir);
	if (ret < 0)
		goto err;
	ret = group_set_keys(gs, g, name, why);
	if (ret < 0)
		goto err_close;
	g->gs = gs;
	strcpy(g->name, name);
	group_set_retention(gs, g);
	timeline_on_progress(g->tl, group_progress, g);
	TAILQ_INSERT_TAIL(&gs->list, g, link);
	*out = g;
	return 0;
err_close:
	timeline_close(g->tl);
err:
	if (ret == -ENOMEM)
		snprintf(why, GROUP_TEXT_BYTES, "out of memory");
	free(g);
	return ret;
}

/* The one that is open, or opened now. */
static int group_get(struct groups *gs, const char *name, const char *identity,
		     struct group **out, char *why)
{
	struct group *g;

	if (!name_valid(name)) {
		snprintf(why, GROUP_TEXT_BYTES, "'%.32s' is not a name a group can have", name);
		return -EINVAL;
	}
	TAILQ_FOREACH(g, &gs->list, link)
		if (strcmp(g->name, name) == 0)
			break;
	if (!g)
		return group_open(gs, name, identity, out, why);
	*out = g;
	return 0;
}

int groups_get(struct groups *gs, const char *name, const char *identity, struct group **out,
	       char *why)
{
	struct group *g;
	int ret = group_get(gs, name, identity, &g, why);

	if (ret < 0)
		return ret;
	if (strcmp(timeline_owner(g->tl), identity) != 0) {
		snprintf(why, GROUP_TEXT_BYTES, "group %s belongs to %.64s, not to %.64s", name,
			 timeline_owner(g->tl), identity);
		return -EACCES;
	}
	*out = g;
	return 0;
}

int groups_open(struct groups *gs, const char *name, struct group **out, char *why)
{
	return group_get(gs, name, NULL, out, why);
}

int groups_names(struct groups *gs, void (*each)(void *arg, const char *name), void *arg)
{
	int ret = gs->env->ops->list(gs->env, gs->dir, each, arg);

	return ret == -ENOENT ? 0 : ret;
}

struct group *groups_find(struct groups *gs, const struct timeline *tl)
{
	struct group *g;

	TAILQ_FOREACH(g, &gs->list, link)
		if (g->tl == tl)
			return g;
	return NULL;
}

struct group *groups_next(struct groups *gs, struct group *g)
{
	return g ? TAILQ_NEXT(g, link) : TAILQ_FIRST(&gs->list);
}

struct timeline *group_timeline(struct group *g)
{
	return g->tl;
}

const char *group_name(const struct group *g)
{
	return g->name;
}

void *group_live(struct group *g)
{
	return g->live;
}

int group_claim(struct group *g, void *live, const uint8_t instance[16], void **evicted)
{
	*evicted = NULL;
	if (g->live && g->live != live) {
		if (memcmp(g->live_instance, instance, 16) != 0)
			return -EBUSY;
		*evicted = g->live;
	}
	g->live = live;
	memcpy(g->live_instance, instance, 16);
	return 0;
}

void group_release(struct group *g, void *live)
{
	if (g->live == live)
		g->live = NULL;
}

void group_flush(struct group *g)
{
	struct timeline_state state;

	timeline_state(g->tl, &state);
	if (!state.failed && state.ordinal > state.durable_ordinal)
		timeline_flush(g->tl);
}

uint64_t group_index_retry(const struct group *g)
{
	return g->index_retry_ns;
}

void group_set_index_retry(struct group *g, uint64_t retry_ns)
{
	g->index_retry_ns = retry_ns;
}
