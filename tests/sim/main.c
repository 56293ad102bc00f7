// SPDX-License-Identifier: GPL-2.0-only
/*
 * order_sim [--seeds N] [--first N] [--seed N [--trace]] [--jobs N]
 *
 * Runs the named sequences, then seeded schedules, and ends with the line `N passed, N failed, 0 skipped`. A
 * seed replays exactly.
 */
#include "sim.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

struct totals {
	uint64_t passed, failed, points;
	uint64_t first_bad;
	char text[512];
};

static int one(uint64_t seed, bool trace)
{
	struct sim *s = sim_create();
	int points;

	s->trace = trace;
	points = sim_run(s, seed);
	printf("seed %llu: %s%s\n", (unsigned long long)seed,
	       points < 0 ? "VIOLATION: " : "nothing wrong", points < 0 ? s->violation : "");
	sim_destroy(s);
	return points < 0;
}

/* Seeds first + job, first + job + jobs, ... */
static void share(struct totals *t, uint64_t first, uint64_t seeds, unsigned int job,
		  unsigned int jobs, uint64_t stop_after)
{
	struct sim *s = sim_create();

	t->first_bad = UINT64_MAX;
	for (uint64_t i = job; i < seeds && t->failed < stop_after; i += jobs) {
		int points = sim_run(s, first + i);

		if (points >= 0) {
			t->passed++;
			t->points += points;
			continue;
		}
		if (!t->failed++) {
			t->first_bad = first + i;
			memcpy(t->text, s->violation, sizeof(t->text));
		}
	}
	sim_destroy(s);
}

static int many(uint64_t first, uint64_t seeds, unsigned int jobs, uint64_t stop_after)
{
	struct totals *t = mmap(NULL, jobs * sizeof(*t), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct totals sum = { .first_bad = UINT64_MAX };
	int named_passed, named_failed = named_run(&named_passed);

	if (t == MAP_FAILED)
		return 1;
	for (unsigned int j = 0; j < jobs; j++)
		if (fork() == 0) {
			share(&t[j], first, seeds, j, jobs, stop_after);
			exit(0);	/* lets the leak checker look */
		}
	for (unsigned int j = 0; j < jobs; j++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
			printf("a job died, status %x\n", status);
			sum.failed++;
		}
	}
	sum.passed = named_passed;
	sum.failed += named_failed;
	for (unsigned int j = 0; j < jobs; j++) {
		sum.passed += t[j].passed;
		sum.failed += t[j].failed;
		sum.points += t[j].points;
		if (t[j].first_bad < sum.first_bad) {
			sum.first_bad = t[j].first_bad;
			memcpy(sum.text, t[j].text, sizeof(sum.text));
		}
	}
	printf("%llu points checked\n", (unsigned long long)sum.points);
	if (sum.first_bad != UINT64_MAX)
		printf("replay with --seed %llu --trace: %s\n", (unsigned long long)sum.first_bad,
		       sum.text);
	printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)sum.passed,
	       (unsigned long long)sum.failed);
	return sum.failed != 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' }, { "first", required_argument, NULL, 'f' },
		{ "seed", required_argument, NULL, 's' }, { "trace", no_argument, NULL, 't' },
		{ "jobs", required_argument, NULL, 'j' }, { "stop-after", required_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t seeds = 10000, first = 0, stop_after = 10;
	unsigned int jobs = 2;
	long long seed = -1;
	bool trace = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'n': seeds = strtoull(optarg, NULL, 10); break;
		case 'f': first = strtoull(optarg, NULL, 10); break;
		case 's': seed = strtoll(optarg, NULL, 10); break;
		case 'j': jobs = strtoul(optarg, NULL, 10); break;
		case 'x': stop_after = strtoull(optarg, NULL, 10); break;
		case 't': trace = true; break;
		default: return 2;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (seed >= 0)
		return one(seed, trace);
	return many(first, seeds, jobs ? jobs : 1, stop_after);
}
