// SPDX-License-Identifier: GPL-2.0-only
/*
 * store_sim [--seeds N] [--first N] [--jobs N] [--seed N [--trace]]
 *
 * Runs seeds and ends with the line `N passed, N failed, 0 skipped`. A seed replays
 * exactly.
 */
#include "store_sim.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define STOP_AFTER 10		/* failures a job */

struct totals {
	uint64_t passed, failed, first_bad;
	struct store_sim_counts counts;
	char text[400];
};

static int one(uint64_t seed, bool trace)
{
	struct store_sim *s = store_sim_create();
	const char *wrong = store_sim_run(s, seed, trace);

	printf("seed %llu: %s%s\n", (unsigned long long)seed, wrong ? "VIOLATION: " :
	       "nothing wrong", wrong ? wrong : "");
	store_sim_destroy(s);
	return wrong != NULL;
}

/* Seeds first + job, first + job + jobs, ... */
static void share(struct totals *t, uint64_t first, uint64_t seeds, unsigned int job,
		  unsigned int jobs)
{
	struct store_sim *s = store_sim_create();

	t->first_bad = UINT64_MAX;
	for (uint64_t i = job; i < seeds && t->failed < STOP_AFTER; i += jobs) {
		const char *wrong = store_sim_run(s, first + i, false);

		t->passed += !wrong;
		if (wrong && !t->failed++) {
			t->first_bad = first + i;
			snprintf(t->text, sizeof(t->text), "%s", wrong);
		}
	}
	t->counts = *store_sim_counts(s);
	store_sim_destroy(s);
}

static void totals_add(struct totals *sum, const struct totals *t)
{
	uint64_t *to = (uint64_t *)&sum->counts;
	const uint64_t *from = (const uint64_t *)&t->counts;

	sum->passed += t->passed;
	sum->failed += t->failed;
	for (size_t i = 0; i < sizeof(t->counts) / sizeof(*to); i++)
		to[i] += from[i];
	if (t->first_bad < sum->first_bad) {
		sum->first_bad = t->first_bad;
		memcpy(sum->text, t->text, sizeof(sum->text));
	}
}

static void totals_print(const struct totals *sum)
{
	const struct store_sim_counts *c = &sum->counts;

	printf("%llu points compared; %llu power cuts, %llu kills, %llu failures, %llu bits of the index turned; %llu jobs, %llu merges, %llu points files, %llu made again; %llu commits dropped; %llu packs, %llu looks at views that stayed open; %llu strays; %llu units encrypted\n",
	       (unsigned long long)c->points, (unsigned long long)c->power_cuts,
	       (unsigned long long)c->kills, (unsigned long long)c->faults,
	       (unsigned long long)c->flips, (unsigned long long)c->jobs,
	       (unsigned long long)c->merges, (unsigned long long)c->points_files,
	       (unsigned long long)c->rebuilt,
	       (unsigned long long)c->dropped, (unsigned long long)c->packs,
	       (unsigned long long)c->views,
	       (unsigned long long)c->strays, (unsigned long long)c->units);
	if (sum->first_bad != UINT64_MAX)
		printf("replay with --seed %llu --trace: %s\n",
		       (unsigned long long)sum->first_bad, sum->text);
	printf("%llu passed, %llu failed, 0 skipped\n", (unsigned long long)sum->passed,
	       (unsigned long long)sum->failed);
}

static int many(uint64_t first, uint64_t seeds, unsigned int jobs)
{
	struct totals *t = mmap(NULL, jobs * sizeof(*t), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct totals sum = { .first_bad = UINT64_MAX };

	if (t == MAP_FAILED)
		return 1;
	for (unsigned int j = 0; j < jobs; j++)
		if (fork() == 0) {
			share(&t[j], first, seeds, j, jobs);
			exit(0);	/* lets the leak checker look */
		}
	for (unsigned int j = 0; j < jobs; j++) {
		int status;

		if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status)) {
			printf("a job died, status %x\n", status);
			sum.failed++;
		}
	}
	for (unsigned int j = 0; j < jobs; j++)
		totals_add(&sum, &t[j]);
	totals_print(&sum);
	return sum.failed != 0;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seeds", required_argument, NULL, 'n' }, { "first", required_argument, NULL, 'f' },
		{ "seed", required_argument, NULL, 's' }, { "trace", no_argument, NULL, 't' },
		{ "jobs", required_argument, NULL, 'j' }, { NULL, 0, NULL, 0 },
	};
	uint64_t seeds = 10000, first = 0;
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
		case 't': trace = true; break;
		default: return 2;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (seed >= 0)
		return one(seed, trace);
	return many(first, seeds, jobs ? jobs : 1);
}
