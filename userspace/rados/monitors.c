// SPDX-License-Identifier: GPL-2.0-only
#include "monitors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "../lib/thread.h"

#define ADDRESS_BYTES	256
/* Longer than anybody keeps a machine suspended; a lock is not taken away every day. */
#define FENCED_S	(365u * 86400u)
#define STOP_NS		2000000000ull	/* they answer within that, or not at all */

/* Asked for; of who waits for it, or, where nobody does, of the thread. */
struct errand {
	char address[ADDRESS_BYTES];	/* to be fenced out; "": only a new map */
	bool awaited, begun, done;
	int ret;
	STAILQ_ENTRY(errand) link;
};

static int errand_run(struct monitors *m, struct errand *e)
{
	int ret = *e->address ? rados_blocklist_add(m->rados, e->address, FENCED_S) : 0;

	return ret < 0 ? ret : rados_wait_for_latest_osdmap(m->rados);
}

static void *work(void *arg)
{
	struct monitors *m = arg;
	struct errand *e;

	pthread_mutex_lock(&m->lock);
	while (!m->stop) {
		e = STAILQ_FIRST(&m->errands);
		if (!e) {
			pthread_cond_wait(&m->changed, &m->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&m->errands, link);
		e->begun = true;
		pthread_mutex_unlock(&m->lock);
		e->ret = errand_run(m, e);
		pthread_mutex_lock(&m->lock);
		m->refreshing = m->refreshing && *e->address;
		e->done = true;
		if (!e->awaited)
			free(e);
		pthread_cond_broadcast(&m->changed);
	}
	m->ended = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static struct timespec deadline(uint64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	ns += until.tv_nsec;
	until.tv_sec += ns / 1000000000u;
	until.tv_nsec = ns % 1000000000u;
	return until;
}

/* With the lock held, until *flag. Return: whether it came to that in time. */
static bool await(struct monitors *m, const bool *flag, uint64_t ns)
{
	const struct timespec until = deadline(ns);
	int ret = 0;

	while (!*flag && ret == 0)
		ret = pthread_cond_timedwait(&m->changed, &m->lock, &until);
	return *flag;
}

int monitors_start(struct monitors *m, rados_t rados, uint64_t patience_ns)
{
	int ret;

	*m = (struct monitors){ .rados = rados, .patience_ns = patience_ns };
	STAILQ_INIT(&m->errands);
	pthread_mutex_init(&m->lock, NULL);
	thread_cond_init(&m->changed);
	ret = pthread_create(&m->thread, NULL, work, m);
	if (ret) {
		pthread_cond_destroy(&m->changed);
		pthread_mutex_destroy(&m->lock);
	}
	return -ret;
}

bool monitors_stop(struct monitors *m)
{
	struct errand *e;
	bool ended;

	pthread_mutex_lock(&m->lock);
	m->stop = true;
	pthread_cond_broadcast(&m->changed);
	ended = await(m, &m->ended, STOP_NS);
	pthread_mutex_unlock(&m->lock);
	if (!ended) {
		pthread_detach(m->thread);
		return false;
	}
	pthread_join(m->thread, NULL);
	while ((e = STAILQ_FIRST(&m->errands))) {
		STAILQ_REMOVE_HEAD(&m->errands, link);
		free(e);
	}
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	return true;
}

static void errand_add(struct monitors *m, struct errand *e)
{
	STAILQ_INSERT_TAIL(&m->errands, e, link);
	pthread_cond_broadcast(&m->changed);
}

/* With the lock held: nobody waits for it any more. */
static void errand_leave(struct monitors *m, struct errand *e)
{
	if (!e->done && e->begun) {
		e->awaited = false;
		return;
	}
	if (!e->begun)
		STAILQ_REMOVE(&m->errands, e, errand, link);
	free(e);
}

int monitors_fence(struct monitors *m, const char *address)
{
	struct errand *e = calloc(1, sizeof(*e));
	int ret;

	if (!e)
		return -ENOMEM;
	snprintf(e->address, sizeof(e->address), "%s", address);
	e->awaited = true;
	pthread_mutex_lock(&m->lock);
	errand_add(m, e);
	ret = await(m, &e->done, m->patience_ns) ? e->ret : -ETIMEDOUT;
	errand_leave(m, e);
	pthread_mutex_unlock(&m->lock);
	return ret;
}

void monitors_refresh(struct monitors *m)
{
	struct errand *e;

	pthread_mutex_lock(&m->lock);
	e = m->refreshing ? NULL : calloc(1, sizeof(*e));
	if (e) {
		m->refreshing = true;
		errand_add(m, e);
	}
	pthread_mutex_unlock(&m->lock);
}
