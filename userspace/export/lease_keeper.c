// SPDX-License-Identifier: GPL-2.0-only
/*
 * lease_keeper - a reader's lease, renewed by a thread.
 *
 * Lock: k->lock guards stop; the lease is the thread's from its start to its end.
 */
#include "lease_keeper.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lib/log.h"
#include "../lib/thread.h"
#include "../store/lease.h"

struct lease_keeper {
	struct home *home;
	struct lease lease;
	char group[POINT_GROUP_BYTES];
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

/* Whether it is to end; after the time of one renewal it is not. */
static bool wait_for_stop(struct lease_keeper *k)
{
	struct timespec until;
	bool stop;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += LEASE_RENEW_NS / WHEN_NS;
	pthread_mutex_lock(&k->lock);
	while (!k->stop && pthread_cond_timedwait(&k->wake, &k->lock, &until) == 0)
		;
	stop = k->stop;
	pthread_mutex_unlock(&k->lock);
	return stop;
}

static void *work(void *arg)
{
	struct lease_keeper *k = arg;
	bool told = false;

	while (!wait_for_stop(k)) {
		int ret = lease_renew(&k->lease);

		if (ret && !told)
			log_warning("group %s: lease of the point that is read: %s; if that lasts and retention drops the point, reading ends with an error",
				    k->group, strerror(-ret));
		told = ret;
	}
	return NULL;
}

static void keeper_free(struct lease_keeper *k)
{
	home_close(k->home);
	pthread_cond_destroy(&k->wake);
	pthread_mutex_destroy(&k->lock);
	free(k);
}

static int take(struct lease_keeper *k, uint64_t cut_seq, const char *what)
{
	char dir[POINT_TEXT_BYTES], host[65] = "", label[LEASE_LABEL_BYTES];

	gethostname(host, sizeof(host) - 1);
	snprintf(label, sizeof(label), "%s on %s, process %d", what, host, (int)getpid());
	snprintf(dir, sizeof(dir), "%.900s/%s", home_groups(k->home), k->group);
	return lease_take(&k->lease, home_env(k->home), dir, cut_seq, label);
}

static int keeper_create(const char *store, const char *group, uint64_t cut_seq,
			 const char *what, struct lease_keeper **out, char *reason)
{
	struct lease_keeper *k = calloc(1, sizeof(*k));
	int ret;

	if (!k)
		return -ENOMEM;
	pthread_mutex_init(&k->lock, NULL);
	thread_cond_init(&k->wake);
	snprintf(k->group, sizeof(k->group), "%s", group);
	ret = home_open(store, NULL, &k->home, reason);
	if (ret)
		goto err;
	reason[0] = 0;
	ret = take(k, cut_seq, what);
	if (ret)
		goto err;
	ret = thread_start(&k->thread, NULL, work, k);
	if (ret)
		goto err_lease;
	*out = k;
	return 0;

err_lease:
	lease_drop(&k->lease);
err:
	keeper_free(k);
	return ret;
}

int lease_keeper_start(const char *store, const char *group, struct timeline *tl,
		       struct view *view, uint64_t cut_seq, const char *what,
		       struct lease_keeper **out, char *why)
{
	char reason[HOME_TEXT_BYTES] = "";
	struct timeline_parent parent;
	uint64_t immutable_ns;
	int ret;

	*out = NULL;
	why[0] = 0;
	/* No policy applies to a branch, and where it begins stays for as long as there is one. */
	if (timeline_parent(tl, &parent))
		return 0;
	/* Without a policy as well, as one may be set meanwhile; then there is nothing to tell. */
	ret = keeper_create(store, group, cut_seq, what, out, reason);
	if (ret && timeline_retention(tl, &immutable_ns))
		snprintf(why, POINT_TEXT_BYTES, "group %s: no lease of the point can be had: %.400s; if retention drops it meanwhile, reading ends with an error",
			 group, *reason ? reason : strerror(-ret));
	/* It may have gone before there was a lease. */
	if (view_check(view) != -ESTALE)
		return 0;
	lease_keeper_stop(*out);
	*out = NULL;
	snprintf(why, POINT_TEXT_BYTES, "group %s: the point has just been dropped", group);
	return -ESTALE;
}

void lease_keeper_stop(struct lease_keeper *k)
{
	if (!k)
		return;
	pthread_mutex_lock(&k->lock);
	k->stop = true;
	pthread_cond_signal(&k->wake);
	pthread_mutex_unlock(&k->lock);
	pthread_join(k->thread, NULL);
	lease_drop(&k->lease);
	keeper_free(k);
}
