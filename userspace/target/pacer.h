/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pacer - a limit for what the worker of the index reads and writes.
 *
 * After so many bytes it waits for as long as they may take, whatever they took: so the disk is
 * idle in between, also one that is not faster than the limit. Time is the env's, and how to wait
 * is for who has a thread.
 */
#ifndef BLKSHIP_PACER_H
#define BLKSHIP_PACER_H

#include "../lib/env.h"

struct pacer {
	struct env *env;
	uint64_t bytes_per_s;	/* 1 to PACER_MAX_BYTES_PER_S */
	/* Wait until env's monotonic clock is there: 0; not 0: stop, with this error. */
	int (*wait_until)(void *arg, uint64_t monotonic_ns);
	void *arg;
};

#define PACER_MAX_BYTES_PER_S (UINT64_C(1) << 34)

/** pacer_take - so many bytes were moved; @arg: the pacer. As wait_until(). For struct run_pace. */
int pacer_take(void *arg, uint64_t bytes);

#endif
