/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sim_env - an env in memory whose disk loses, tears and refuses as real ones do.
 *
 * Feeds the unit tests and the order simulator. One seed, one run.
 *
 * What the disk promises, and no more:
 *  - content is durable sector by sector (512 bytes) once a sync that was
 *    submitted after its write had completed has ended with 0;
 *  - a directory entry is durable after sync_dir();
 *  - everything else survives sim_env_crash() or not, by the dice.
 */
#ifndef SIM_ENV_H
#define SIM_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../userspace/lib/env.h"

struct sim_env;

struct sim_env *sim_env_create(uint64_t seed);
void sim_env_destroy(struct sim_env *sim);

/** sim_env_env - what the code under test is given */
struct env *sim_env_env(struct sim_env *sim);

/* What its ops are, for who puts others in front of them. */
extern const struct env_ops sim_ops;

/** sim_env_reset - as if destroyed and created, with the memory kept */
void sim_env_reset(struct sim_env *sim, uint64_t seed);

/** sim_env_random - a number below @bound from the seeded generator */
uint64_t sim_env_random(struct sim_env *sim, uint64_t bound);

/* -- asynchronous operations -- */

/** sim_env_pending - how many submitted operations have not completed */
size_t sim_env_pending(const struct sim_env *sim);

/** sim_env_complete - carry out one of them and call its done() */
void sim_env_complete(struct sim_env *sim, size_t index);

/** sim_env_complete_all - in random order, and what they submit, until none is left */
void sim_env_complete_all(struct sim_env *sim);

/* -- crash -- */

/**
 * sim_env_crash - power off and on
 * Call it before the memory of what was running is freed: buffers of pending
 * operations are looked at. done() of those is never called. Files that were open
 * answer -EIO from now on and may still be closed. Faults and a power limit are
 * lifted; clock and disk limit stay.
 */
void sim_env_crash(struct sim_env *sim, uint64_t seed);

/**
 * sim_env_kill - the process dies, the machine stays up
 * As sim_env_crash(), but what was written stays visible, and may still be lost in a
 * crash later. Pending operations happen or not.
 */
void sim_env_kill(struct sim_env *sim);

/** sim_env_ops - operations so far that change the disk (asynchronous: completed) */
uint64_t sim_env_ops(const struct sim_env *sim);

/**
 * sim_env_power_off_after - let @ops more operations happen, then fail all with -EIO
 * Until sim_env_crash(). The operation at the edge happens in part.
 */
void sim_env_power_off_after(struct sim_env *sim, uint64_t ops);
bool sim_env_is_off(const struct sim_env *sim);

enum sim_op {
	SIM_OP_CREATE, SIM_OP_WRITE, SIM_OP_SYNC, SIM_OP_TRUNCATE, SIM_OP_RENAME, SIM_OP_UNLINK,
	SIM_OP_SYNC_DIR, SIM_NR_OPS
};

/* @path: at which the file was made; @cut: the power goes with this operation */
typedef void (*sim_env_watcher)(void *arg, enum sim_op op, const char *path, bool cut);

/** sim_env_watch - hear of each operation that changes the disk, before it does; also after a reset */
void sim_env_watch(struct sim_env *sim, sim_env_watcher watch, void *arg);

/* -- faults -- */

enum sim_fault { SIM_FAULT_READ, SIM_FAULT_WRITE, SIM_FAULT_SYNC, SIM_NR_FAULTS };

/**
 * sim_env_fail - let the @nth operation of a kind from now fail (1: the next)
 * @error: -errno; @sticky: all after it as well; 0 for @nth takes it back.
 * A failed write may have happened in part. A failed sync loses some of what was
 * not yet durable for good; reads show it still, unless opened with ENV_DIRECT.
 */
void sim_env_fail(struct sim_env *sim, enum sim_fault what, uint64_t nth, int error,
		  bool sticky);

/** sim_env_set_limit - bytes all files together may have; 0: no limit */
void sim_env_set_limit(struct sim_env *sim, uint64_t bytes);
uint64_t sim_env_used(const struct sim_env *sim);

/** sim_env_end_removed - a file that is removed ends for who has it open, as on a cluster */
void sim_env_end_removed(struct sim_env *sim);

/** sim_env_flip - turn one bit of a file, on disk and in the cache; -ENOENT, -ERANGE */
int sim_env_flip(struct sim_env *sim, const char *path, uint64_t offset_bytes,
		 unsigned int bit);

/** sim_env_poke - overwrite a part of a file, durable at once; grows it */
int sim_env_poke(struct sim_env *sim, const char *path, uint64_t offset_bytes,
		 const void *buf, size_t bytes);

/** sim_env_content - what reads would see; valid until the next call */
const uint8_t *sim_env_content(struct sim_env *sim, const char *path, uint64_t *bytes);

/* -- clock; stands still unless moved -- */

void sim_env_set_realtime(struct sim_env *sim, uint64_t ns);
void sim_env_advance(struct sim_env *sim, uint64_t ns);

#endif
