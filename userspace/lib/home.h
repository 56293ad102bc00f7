/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * home - where a store keeps the histories of its groups, and the env to reach them.
 *
 * A store is a directory: certificates, tokens, configuration, and the groups in groups/.
 * With "groups = rados:POOL/NAMESPACE" in [target] of its targetd.conf they are on a Ceph
 * cluster instead. Who only reads may name such a location itself as the store.
 */
#ifndef BLKSHIP_HOME_H
#define BLKSHIP_HOME_H

#include <stdbool.h>
#include <stddef.h>

#include "env.h"
#include "loop.h"

#define HOME_TEXT_BYTES	512
#define HOME_LOCATION_BYTES	160	/* of what may follow groups= */

struct home;

/**
 * home_open - reach the groups of a store
 * @store: a directory or a location; neither it nor its groups need be there
 * @loop: the env's operations end in it; NULL: home_pump() ends them
 * Return: 0; -errno with a sentence in @why, HOME_TEXT_BYTES.
 */
int home_open(const char *store, struct loop *loop, struct home **out, char *why);

/** home_detach - before the loop is destroyed; with none under way, idempotent */
void home_detach(struct home *p);

/** home_close - files are closed, the loop is destroyed or there was none; NULL is fine */
void home_close(struct home *p);

struct env *home_env(struct home *p);

/** home_groups - path, for the env, of the directory that has a directory for each group */
const char *home_groups(const struct home *p);

/** home_is_remote - groups are not in the store's directory */
bool home_is_remote(const struct home *p);

/** home_prepare - make the directory of groups of a new store; 0, -EEXIST or -errno */
int home_prepare(struct home *p);

/**
 * home_takeover - fence out whoever else writes there, on whatever machine it is
 * Return: how many locks were somebody else's; -EOPNOTSUPP in a directory, where nobody
 * can be fenced out; -errno.
 */
int home_takeover(struct home *p);

/** home_pump - without a loop: call done for what has ended; how many were called */
size_t home_pump(struct home *p);

/** home_is_forkable - what home_open() gives for this store outlives a fork: no threads */
bool home_is_forkable(const char *store);

/** home_valid - a location that groups= may have */
bool home_valid(const char *location);

#endif
