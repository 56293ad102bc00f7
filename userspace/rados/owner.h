/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * owner - who may write: locks, who holds them, and fencing one out.
 *
 * A lock has no end by itself: that a process did not speak for a while does not prove
 * that it will not write. Before one is taken away the address of its owner is blocked in
 * the cluster and we have the map that says so; from then on no object that we have
 * touched can be changed by the old owner.
 */
#ifndef BLKSHIP_OWNER_H
#define BLKSHIP_OWNER_H

#include <sys/queue.h>

#include "rados_format.h"

struct cluster;

/* A lock, as who wants it keeps it. */
struct owner_lock {
	char object[RADOS_PIECE_NAME_BYTES];
	char cookie[RADOS_OWNER_BYTES];	/* "": not held */
	LIST_ENTRY(owner_lock) link;	/* of the cluster */
};

/**
 * owner_lock - take the lock of an object
 * @path: for messages
 * @l: with the object; in use until owner_unlock() if this succeeds
 * An owner of whom it is proven that it has ended is fenced out and its lock is taken. One
 * that this process has by an unlock, or a lock, that was never answered is taken back.
 * Return: 0; -EBUSY, after saying who has it; -errno.
 */
int owner_lock(struct cluster *c, const char *path, struct owner_lock *l);

/** owner_unlock - give it back; where that fails it is told */
void owner_unlock(struct cluster *c, const char *path, struct owner_lock *l);

/**
 * owner_evict - fence out who holds the lock of an object and take it away
 * Return: 1; 0 when nobody has it, or this process; -errno.
 */
int owner_evict(struct cluster *c, const char *object, const char *path);

#endif
