/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * env_host - clocks and randomness of this machine, for the op tables of envs.
 *
 * By itself, because the RADOS backend is linked with nothing else of this directory. The
 * env is not looked at: who has none gives NULL.
 */
#ifndef BLKSHIP_ENV_HOST_H
#define BLKSHIP_ENV_HOST_H

#include "env.h"

/** env_host_realtime_ns - since 1970; goes where the administrator sets it */
uint64_t env_host_realtime_ns(struct env *env);

/** env_host_monotonic_ns - since some time in the past; never goes back */
uint64_t env_host_monotonic_ns(struct env *env);

/** env_host_random - from the kernel; waits, early in a boot, until that can give it */
void env_host_random(struct env *env, void *buf, size_t bytes);

#endif
