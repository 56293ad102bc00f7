/* SPDX-License-Identifier: GPL-2.0-only */
/* test_steps - what tests of the store do again and again. */
#ifndef TEST_STEPS_H
#define TEST_STEPS_H

#include "sim_env.h"
#include "test_batch.h"

/** test_greet - make a volume known to a timeline, and have an incarnation granted if none is */
int test_greet(struct timeline *tl, const char *volume, uint64_t size_bytes);

/**
 * test_append - append a batch, and have it durable unless the disk refuses
 * @b: freed, also when it fails
 * Return: what test_batch_append() does.
 */
int test_append(struct sim_env *sim, struct timeline *tl, struct test_batch *b);

/** test_flush - have all that was appended durable; @env: of env_posix_create() */
void test_flush(struct env *env, struct timeline *tl);

/** test_index - do all there is to do for the index, as the worker does; 0 or the first error */
int test_index(struct env *env, struct timeline *tl);

#endif
