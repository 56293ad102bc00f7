/* SPDX-License-Identifier: GPL-2.0-only */
/* thread - threads beside the one that began: no signal is for them, and they wait by a clock that
 * nobody sets. */
#ifndef BLKSHIP_THREAD_H
#define BLKSHIP_THREAD_H

#include <pthread.h>

/**
 * thread_start - as pthread_create(); signals stay with who began
 * @attr: may be NULL
 * Return: 0; -errno.
 */
int thread_start(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

/** thread_cond_init - pthread_cond_timedwait() on it goes by CLOCK_MONOTONIC */
void thread_cond_init(pthread_cond_t *cond);

#endif
