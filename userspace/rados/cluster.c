// SPDX-License-Identifier: GPL-2.0-only
#include "cluster.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../lib/env_host.h"
#include "../lib/thread.h"
#include "process.h"

#define SECOND_NS	1000000000ull
#define ALARM_S		10	/* a request that takes longer is told */
#define CONNECT_S	"20"
#define REQUEST_S	"60"	/* then it fails; an OSD that starts again takes less */

static pthread_mutex_t clusters_lock = PTHREAD_MUTEX_INITIALIZER;
static LIST_HEAD(, cluster) clusters = LIST_HEAD_INITIALIZER(clusters);

void cluster_say(struct cluster *c, enum env_rados_level level, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (c->say)
		c->say(level, text);
}

/* -- requests -- */

void cluster_begin(struct cluster *c, struct cluster_request *r)
{
	r->begun_ns = env_host_monotonic_ns(NULL);
	pthread_mutex_lock(&c->lock);
	TAILQ_INSERT_TAIL(&c->requests, r, link);
	pthread_mutex_unlock(&c->lock);
}

/* As the map that we have says: nobody is asked. */
static bool pool_is_gone(struct cluster *c)
{
	int aligned;

	if (rados_ioctx_pool_requires_alignment2(c->io, &aligned) != -ENOENT)
		return false;
	if (!atomic_exchange(&c->pool_gone, true))
		cluster_say(c, ENV_RADOS_ERROR, "ALARM: store %s: its pool was removed from the cluster, with all that was in it; nothing is acknowledged any more, sources keep or track what is new; make a pool and start this again",
			    c->location);
	return true;
}

int cluster_end(struct cluster *c, struct cluster_request *r, int ret)
{
	pthread_mutex_lock(&c->lock);
	TAILQ_REMOVE(&c->requests, r, link);
	if (ret != -ETIMEDOUT)
		c->answered_ns = env_host_monotonic_ns(NULL);
	pthread_mutex_unlock(&c->lock);
	/*
	 * librados asks for a new map only for requests that are older than ten seconds. Where
	 * they may not grow so old it would look for an OSD that has moved at its old address
	 * for ever.
	 */
	if (ret == -ETIMEDOUT)
		monitors_refresh(&c->monitors);
	if (ret == -ENOENT && pool_is_gone(c))
		return -ENODEV;
	/* EBLOCKLISTED has the number of ESHUTDOWN. */
	if (ret != -ESHUTDOWN)
		return ret;
	if (!atomic_exchange(&c->fenced, true))
		cluster_say(c, ENV_RADOS_ERROR, "ALARM: store %s: another owner has taken it over and fenced this process out; nothing is written or acknowledged from here any more, what was acknowledged is safe; send the sources to the new owner and stop this one",
			    c->location);
	return -ENOLINK;
}

static uint64_t oldest_begun_ns(struct cluster *c)
{
	struct cluster_request *r = TAILQ_FIRST(&c->requests);

	return r ? r->begun_ns : 0;
}

/* Who waits says nothing: this does, once when it begins and once when it ends. */
static void *watch(void *arg)
{
	struct cluster *c = arg;
	uint64_t told_ns = 0;

	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		uint64_t begun_ns = oldest_begun_ns(c), now_ns = env_host_monotonic_ns(NULL);
		bool late = begun_ns && now_ns > begun_ns + ALARM_S * SECOND_NS;
		struct timespec until;

		if (late && !told_ns) {
			told_ns = begun_ns;
			pthread_mutex_unlock(&c->lock);
			cluster_say(c, ENV_RADOS_ERROR, "ALARM: store %s: the cluster has not answered for %d s; what waits for it goes on waiting, sources keep what is not acknowledged; after " REQUEST_S " s a request fails and is tried again with the next connection; see `ceph -s`",
				    c->location, ALARM_S);
			pthread_mutex_lock(&c->lock);
			continue;
		}
		if (told_ns && !late && c->answered_ns > told_ns) {
			unsigned int seconds = (now_ns - told_ns) / SECOND_NS;

			told_ns = 0;
			pthread_mutex_unlock(&c->lock);
			cluster_say(c, ENV_RADOS_INFO, "store %s: the cluster answers again, after %u s",
				    c->location, seconds);
			pthread_mutex_lock(&c->lock);
			continue;
		}
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&c->wake, &c->lock, &until);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

static int watchdog_start(struct cluster *c)
{
	return -pthread_create(&c->watchdog, NULL, watch, c);
}

static void watchdog_stop(struct cluster *c)
{
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->watchdog, NULL);
}

static void locks_init(struct cluster *c)
{
	thread_cond_init(&c->wake);
	pthread_mutex_init(&c->lock, NULL);
}

/* -- connecting -- */

/* A limit that the administrator has set is kept; librados has none by itself. */
static void set_unless(rados_t rados, const char *option, const char *unset, const char *value)
{
	char now[64];

	if (rados_conf_get(rados, option, now, sizeof(now)) == 0 &&
	    (strcmp(now, unset) == 0 || strcmp(now, "0.000000") == 0))
		rados_conf_set(rados, option, value);
}

static int configure(struct cluster *c, char *why)
{
	int ret = rados_create(&c->rados, NULL);

	if (ret < 0) {
		c->rados = NULL;
		return ret;
	}
	/* Without a file there may still be CEPH_ARGS. */
	ret = rados_conf_read_file(c->rados, NULL);
	if (ret < 0 && ret != -ENOENT) {
		snprintf(why, ENV_RADOS_TEXT_BYTES, "store %s: ceph.conf: %s", c->location,
			 strerror(-ret));
		return ret;
	}
	rados_conf_parse_env(c->rados, NULL);
	set_unless(c->rados, "rados_osd_op_timeout", "0", REQUEST_S);
	set_unless(c->rados, "rados_mon_op_timeout", "0", REQUEST_S);
	set_unless(c->rados, "client_mount_timeout", "300", CONNECT_S);
	/* Its own lines would be mixed into ours. */
	rados_conf_set(c->rados, "log_to_stderr", "false");
	rados_conf_set(c->rados, "err_to_stderr", "false");
	return 0;
}

static int connect_pool(struct cluster *c, const struct rados_location *where, char *why)
{
	int ret = configure(c, why);

	if (ret == 0)
		ret = rados_connect(c->rados);
	if (ret < 0) {
		if (!*why)
			snprintf(why, ENV_RADOS_TEXT_BYTES, "store %s: connect to the Ceph cluster: %s; see `ceph -s`, ceph.conf (or CEPH_CONF) and the keyring",
				 c->location, strerror(-ret));
		return ret;
	}
	ret = rados_ioctx_create(c->rados, where->pool, &c->io);
	if (ret < 0) {
		snprintf(why, ENV_RADOS_TEXT_BYTES, "store %s: pool %s: %s; `ceph osd pool create %s` makes one",
			 c->location, where->pool, strerror(-ret), where->pool);
		return ret;
	}
	rados_ioctx_set_namespace(c->io, where->space);
	/* A pool that is full says so rather than to let us wait. */
	rados_set_pool_full_try(c->io);
	return 0;
}

/* How long the monitors may take, which librados itself does not heed everywhere. */
static uint64_t monitors_patience_ns(rados_t rados)
{
	char seconds[64] = "";

	rados_conf_get(rados, "rados_mon_op_timeout", seconds, sizeof(seconds));
	return (strtod(seconds, NULL) ?: strtod(REQUEST_S, NULL)) * SECOND_NS;
}

static int threads_start(struct cluster *c)
{
	int ret = monitors_start(&c->monitors, c->rados, monitors_patience_ns(c->rados));

	if (ret)
		return ret;
	ret = watchdog_start(c);
	if (ret)
		monitors_stop(&c->monitors);
	return ret;
}

static void cluster_free(struct cluster *c)
{
	if (c->io)
		rados_ioctx_destroy(c->io);
	if (c->rados)
		rados_shutdown(c->rados);
	pthread_cond_destroy(&c->wake);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static int cluster_create(const char *location, env_rados_say *say, struct cluster **out,
			  char *why)
{
	struct rados_location where;
	sigset_t all, before;
	struct cluster *c;
	int ret = rados_location_parse(location, &where);

	if (ret) {
		snprintf(why, ENV_RADOS_TEXT_BYTES, "store %.200s: is not rados:POOL or rados:POOL/NAMESPACE",
			 location);
		return ret;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	snprintf(c->location, sizeof(c->location), "%s", location);
	c->say = say;
	c->nr_users = 1;
	TAILQ_INIT(&c->requests);
	LIST_INIT(&c->held);
	LIST_INIT(&c->owned);
	locks_init(c);
	process_self(&c->self);
	/* No signal is for librados's threads or ours: a daemon reads its own from a descriptor. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = connect_pool(c, &where, why);
	if (ret == 0)
		ret = threads_start(c);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret < 0) {
		cluster_free(c);
		return ret;
	}
	*out = c;
	return 0;
}

int cluster_get(const char *location, env_rados_say *say, struct cluster **out, char *why)
{
	struct cluster *c;
	int ret = 0;

	why[0] = 0;
	pthread_mutex_lock(&clusters_lock);
	LIST_FOREACH(c, &clusters, link)
		if (strcmp(c->location, location) == 0)
			break;
	if (c) {
		c->nr_users++;
	} else {
		ret = cluster_create(location, say, &c, why);
		if (ret == 0)
			LIST_INSERT_HEAD(&clusters, c, link);
	}
	pthread_mutex_unlock(&clusters_lock);
	if (ret == 0)
		*out = c;
	else if (!*why)
		snprintf(why, ENV_RADOS_TEXT_BYTES, "store %.200s: %s", location, strerror(-ret));
	return ret;
}

void cluster_put(struct cluster *c)
{
	bool last;

	pthread_mutex_lock(&clusters_lock);
	last = --c->nr_users == 0;
	if (last)
		LIST_REMOVE(c, link);
	pthread_mutex_unlock(&clusters_lock);
	if (!last)
		return;
	watchdog_stop(c);
	/* A thread that hangs in librados has the connection until the process ends. */
	if (monitors_stop(&c->monitors))
		cluster_free(c);
}
