/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * monitors - what is asked of the cluster's monitors while other things go on.
 *
 * librados waits for them without any limit. So a thread of its own does, and nobody else
 * waits for that one for longer than a request may take.
 */
#ifndef BLKSHIP_MONITORS_H
#define BLKSHIP_MONITORS_H

#include <pthread.h>
#include <rados/librados.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct errand;

struct monitors {
	rados_t rados;
	uint64_t patience_ns;
	pthread_t thread;

	pthread_mutex_t lock;		/* of what follows */
	pthread_cond_t changed;
	STAILQ_HEAD(errand_list, errand) errands;
	bool refreshing;		/* a new map was asked for and is not there yet */
	bool stop, ended;
};

/**
 * monitors_start - begin
 * @rados: connected; borrowed until monitors_stop() has returned true
 * @patience_ns: how long monitors_fence() waits
 * @m: not moved from now on
 * Return: 0 or -errno.
 */
int monitors_start(struct monitors *m, rados_t rados, uint64_t patience_ns);

/**
 * monitors_stop - end
 * Return: true; false when the monitors do not answer: then the thread, which uses @m and the
 * connection, is there until the process ends.
 */
bool monitors_stop(struct monitors *m);

/**
 * monitors_fence - carry out no request of this address any more
 * @address: of a client, as librados has it
 * Return: 0, and we have the map that says so; -ETIMEDOUT, then it may still happen; -errno.
 */
int monitors_fence(struct monitors *m, const char *address);

/** monitors_refresh - ask for a new map, and go on */
void monitors_refresh(struct monitors *m);

#endif
