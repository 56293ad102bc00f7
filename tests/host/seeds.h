/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * seeds - what the simulations have in common: many seeds in several processes, or one by itself.
 *
 * The last line is "N passed, N failed, 0 skipped", as tests/check wants it.
 */
#ifndef TEST_SEEDS_H
#define TEST_SEEDS_H

#include <stdbool.h>
#include <stdint.h>

struct seeds {
	uint64_t first, nr;
	uint64_t stop_after;	/* failures of a job */
	unsigned int jobs;
	long long seed;		/* only this one; -1: many */
	bool trace;
};

struct seeds_result {
	uint64_t passed, failed;
	uint64_t first_bad;	/* UINT64_MAX: none */
	char text[512];		/* what is wrong with that one */
};

/**
 * seeds_parse - options of a simulation, over what *@s has before
 * --seeds N, --first N, --jobs N, --stop-after N; --seed N, --trace.
 * Return: false when there is another one; getopt has said which.
 */
bool seeds_parse(struct seeds *s, int argc, char **argv);

/** seeds_fork - @run each job in a process of its own, until all end; how many died */
unsigned int seeds_fork(const struct seeds *s, void (*run)(void *arg, unsigned int job),
			void *arg);

/** seeds_count - one seed more; @wrong: what is, or NULL */
void seeds_count(struct seeds_result *r, uint64_t seed, const char *wrong);

/** seeds_add - what a job found to what all did */
void seeds_add(struct seeds_result *sum, const struct seeds_result *r);

/** seeds_end - say how to replay, and the last line; the exit status */
int seeds_end(const struct seeds_result *sum);

/** seeds_one_end - the same of a seed by itself */
int seeds_one_end(uint64_t seed, const char *wrong);

#endif
