// SPDX-License-Identifier: GPL-2.0-only
/*
 * order_sim [--seeds N] [--first N] [--seed N [--trace]] [--jobs N] [--stop-after N]
 *
 * Runs the named sequences, then seeded schedules, and ends with the line `N passed, N failed, 0 skipped`. A
 * seed replays exactly.
 */
#include "sim.h"

#include <stdio.h>
#include <sys/mman.h>

#include "../host/seeds.h"

/* Of each job, in memory that all see. */
struct totals {
	struct seeds_result result;
	uint64_t points;
};

struct many {
	const struct seeds *seeds;
	struct totals *totals;
};

static int one(uint64_t seed, bool trace)
{
	struct sim *s = sim_create();
	int ret;

	s->trace = trace;
	ret = seeds_one_end(seed, sim_run(s, seed) < 0 ? s->violation : NULL);
	sim_destroy(s);
	return ret;
}

/* Seeds first + job, first + job + jobs, ... */
static void share(void *arg, unsigned int job)
{
	const struct many *m = arg;
	const struct seeds *seeds = m->seeds;
	struct totals *t = &m->totals[job];
	struct sim *s = sim_create();

	t->result.first_bad = UINT64_MAX;
	for (uint64_t i = job; i < seeds->nr && t->result.failed < seeds->stop_after;
	     i += seeds->jobs) {
		int points = sim_run(s, seeds->first + i);

		seeds_count(&t->result, seeds->first + i, points < 0 ? s->violation : NULL);
		if (points > 0)
			t->points += points;
	}
	sim_destroy(s);
}

static int many(const struct seeds *seeds)
{
	struct many m = { seeds, mmap(NULL, seeds->jobs * sizeof(*m.totals), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0) };
	struct totals sum = { { .first_bad = UINT64_MAX }, 0 };
	int named_passed, named_failed = named_run(&named_passed);

	if (m.totals == MAP_FAILED)
		return 1;
	sum.result.failed = named_failed + seeds_fork(seeds, share, &m);
	sum.result.passed = named_passed;
	for (unsigned int j = 0; j < seeds->jobs; j++) {
		seeds_add(&sum.result, &m.totals[j].result);
		sum.points += m.totals[j].points;
	}
	printf("%llu points checked\n", (unsigned long long)sum.points);
	return seeds_end(&sum.result);
}

int main(int argc, char **argv)
{
	struct seeds seeds = { .nr = 10000, .stop_after = 10, .jobs = 2, .seed = -1 };

	if (!seeds_parse(&seeds, argc, argv))
		return 2;
	return seeds.seed >= 0 ? one(seeds.seed, seeds.trace) : many(&seeds);
}
