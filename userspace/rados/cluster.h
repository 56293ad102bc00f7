/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * cluster - the connection to a location, shared by the envs of the process.
 *
 * It knows whether we were fenced out, and has a thread that speaks up when the cluster
 * does not answer, and one that asks the monitors.
 */
#ifndef BLKSHIP_CLUSTER_H
#define BLKSHIP_CLUSTER_H

#include <pthread.h>
#include <rados/librados.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/queue.h>

#include "env_rados.h"
#include "monitors.h"
#include "owner.h"
#include "waste.h"

/* A request that is under way. */
struct cluster_request {
	uint64_t begun_ns;
	TAILQ_ENTRY(cluster_request) link;
};

struct cluster {
	char location[sizeof(struct rados_location) + sizeof(RADOS_PREFIX)];
	rados_t rados;
	rados_ioctx_t io;
	env_rados_say *say;
	struct rados_owner self;
	atomic_bool fenced;
	atomic_bool pool_gone;
	struct monitors monitors;

	pthread_mutex_t lock;		/* of what follows */
	pthread_cond_t wake;
	TAILQ_HEAD(, cluster_request) requests;	/* the oldest first */
	LIST_HEAD(, owner_lock) held;	/* or asked for; owner.c */
	LIST_HEAD(, waste_dir) owned;	/* directories, by whatever env; waste.c */
	uint64_t answered_ns;		/* when a request was last answered, not given up */
	bool stop;
	pthread_t watchdog;

	/* the list's, under its lock */
	unsigned int nr_users;
	LIST_ENTRY(cluster) link;
};

/** cluster_get - connect, or share; see env_rados_plugin.create */
int cluster_get(const char *location, env_rados_say *say, struct cluster **out, char *why);
void cluster_put(struct cluster *c);

/** cluster_begin, cluster_end - around each request */
void cluster_begin(struct cluster *c, struct cluster_request *r);

/**
 * cluster_end - it has answered
 * Return: @ret, what librados returned; after an alarm -ENOLINK where we are fenced out, -ENODEV
 * where the pool was removed: librados then says of all objects that they are not there.
 */
int cluster_end(struct cluster *c, struct cluster_request *r, int ret);

/** cluster_say - one line */
__attribute__((format(printf, 3, 4)))
void cluster_say(struct cluster *c, enum env_rados_level level, const char *format, ...);

/* ret = CLUSTER_CALL(c, rados_read(c->io, ...)) */
#define CLUSTER_CALL(c, call) ({					\
	struct cluster_request request_;				\
	cluster_begin(c, &request_);					\
	cluster_end(c, &request_, call);				\
})

#endif
