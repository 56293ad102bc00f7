// SPDX-License-Identifier: GPL-2.0-only
#include "waste.h"

#include <stdio.h>
#include <string.h>

#include "../lib/env_host.h"
#include "cluster.h"
#include "dir.h"

/* Readers of a file that was removed have so long to end, as there is no open in RADOS. */
#define GRACE_NS	(900 * 1000000000ull)
/* All waste is listed to find what is due: not with each of thousands of removals. */
#define SWEEP_NS	(60 * 1000000000ull)
/* For how long at once, where data that come in wait, and where nothing but removing does. */
#define OWN_NS		(50 * 1000000ull)
#define OTHER_NS	(5 * 1000000000ull)

struct below {
	struct cluster *cluster;
	const char *dir;
	uint64_t until_ns;
	bool all;
};

static void sweep_below(void *arg, const char *name, const struct rados_entry *e)
{
	struct below *b = arg;
	char dir[RADOS_PATH_BYTES + RADOS_NAME_BYTES];

	if (e->kind != RADOS_KIND_DIRECTORY)
		return;
	snprintf(dir, sizeof(dir), "%s%s%s", b->dir, *b->dir ? "/" : "", name);
	b->all &= dir_sweep(b->cluster, dir, GRACE_NS, b->until_ns);
}

/*
 * In the directory, and in those in it, which others without a lock may remove from: what nobody
 * can be reading any more goes. Return: false when there was no time for all of it.
 */
static bool sweep(struct cluster *c, const char *dir, uint64_t for_ns)
{
	struct below b = { c, dir, env_host_monotonic_ns(NULL) + for_ns, true };

	b.all = dir_sweep(c, dir, GRACE_NS, b.until_ns);
	if (b.all)
		dir_list(c, dir, sweep_below, &b);
	return b.all;
}

/* NULL: it is not ours, or there is nothing to do now; else it is busy from now on. */
static const struct waste_dir *begin(struct cluster *c, const char *dir, const void *env, bool *own)
{
	uint64_t now_ns = env_host_monotonic_ns(NULL);
	struct waste_dir *w;

	pthread_mutex_lock(&c->lock);
	LIST_FOREACH(w, &c->owned, link)
		if (strcmp(w->dir, dir) == 0)
			break;
	if (w && (w->busy || (w->swept_ns && now_ns - w->swept_ns < SWEEP_NS)))
		w = NULL;
	if (w) {
		w->busy = true;
		*own = w->env == env;
	}
	pthread_mutex_unlock(&c->lock);
	return w;
}

/* It may have been given back meanwhile, by another thread. */
static void end(struct cluster *c, const struct waste_dir *what, bool all)
{
	struct waste_dir *w;

	pthread_mutex_lock(&c->lock);
	LIST_FOREACH(w, &c->owned, link)
		if (w == what) {
			w->busy = false;
			w->swept_ns = all ? env_host_monotonic_ns(NULL) : 0;
		}
	pthread_mutex_unlock(&c->lock);
}

void waste_tidy(struct cluster *c, const void *env, const char *dir)
{
	bool own = false;
	const struct waste_dir *w = begin(c, dir, env, &own);

	if (w)
		end(c, w, sweep(c, dir, own ? OWN_NS : OTHER_NS));
}

void waste_own(struct cluster *c, struct waste_dir *w, const void *env, const char *dir)
{
	*w = (struct waste_dir){ .dir = dir, .env = env };
	pthread_mutex_lock(&c->lock);
	LIST_INSERT_HEAD(&c->owned, w, link);
	pthread_mutex_unlock(&c->lock);
	waste_tidy(c, env, dir);
}

void waste_disown(struct cluster *c, struct waste_dir *w)
{
	pthread_mutex_lock(&c->lock);
	LIST_REMOVE(w, link);
	pthread_mutex_unlock(&c->lock);
}
