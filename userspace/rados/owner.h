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

#include "rados_format.h"

struct cluster;

/**
 * owner_lock - take the lock of an object
 * @path: for messages
 * @cookie: of this lock, for owner_unlock()
 * An owner of whom it is proven that it has ended is fenced out and its lock is taken.
 * Return: 0; -EBUSY, after saying who has it; -errno.
 */
int owner_lock(struct cluster *c, const char *object, const char *path, const char *cookie);
void owner_unlock(struct cluster *c, const char *object, const char *cookie);

/**
 * owner_evict - fence out who holds the lock of an object and take it away
 * Return: 1; 0 when nobody has it, or this process; -errno.
 */
int owner_evict(struct cluster *c, const char *object, const char *path);

#endif
