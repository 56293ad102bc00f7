// SPDX-License-Identifier: GPL-2.0-only
/*
 * store_sim [--seeds N] [--first N] [--seed N [--trace]] [--jobs N] [--stop-after N]
 *
 * Runs seeds and ends with the line `N passed, N failed, 0 skipped`. A seed replays
 * exactly.
 */
#include "store_sim.h"

#include <stdio.h>
#include <sys/mman.h>

#include "../host/seeds.h"

/* So often an operation must come for the power to have gone with it. */
#define EDGES_MIN 5000

/* Of each job, in memory that all see. */
struct totals {
	struct seeds_result result;
	struct store_sim_counts counts;
};

struct many {
	const struct seeds *seeds;
	struct totals *totals;
};

static int one(uint64_t seed, bool trace)
{
	struct store_sim *s = store_sim_create();
	int ret = seeds_one_end(seed, store_sim_run(s, seed, trace));

	store_sim_destroy(s);
	return ret;
}

/* Seeds first + job, first + job + jobs, ... */
static void share(void *arg, unsigned int job)
{
	const struct many *m = arg;
	const struct seeds *seeds = m->seeds;
	struct totals *t = &m->totals[job];
	struct store_sim *s = store_sim_create();

	t->result.first_bad = UINT64_MAX;
	for (uint64_t i = job; i < seeds->nr && t->result.failed < seeds->stop_after;
	     i += seeds->jobs)
		seeds_count(&t->result, seeds->first + i,
			    store_sim_run(s, seeds->first + i, false));
	t->counts = *store_sim_counts(s);
	store_sim_destroy(s);
}

static void counts_add(struct store_sim_counts *sum, const struct store_sim_counts *counts)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *from = (const uint64_t *)counts;

	for (size_t i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += from[i];
}

static void counts_print(const struct store_sim_counts *c)
{
	printf("%llu points compared; %llu power cuts, %llu kills, %llu failures, %llu bits of the index turned; %llu jobs, %llu merges, %llu points files, %llu made again; %llu manifests made again, %llu not; %llu commits dropped; %llu packs, %llu entries of runs left out; %llu looks at views that stayed open, %llu at points by readers that came before, %llu of them dropped; %llu strays; %llu points good with files lost; %llu units encrypted\n",
	       (unsigned long long)c->points, (unsigned long long)c->power_cuts,
	       (unsigned long long)c->kills, (unsigned long long)c->faults,
	       (unsigned long long)c->flips, (unsigned long long)c->jobs,
	       (unsigned long long)c->merges, (unsigned long long)c->points_files,
	       (unsigned long long)c->rebuilt, (unsigned long long)c->remade,
	       (unsigned long long)c->not_remade,
	       (unsigned long long)c->dropped, (unsigned long long)c->packs,
	       (unsigned long long)c->left_out, (unsigned long long)c->views,
	       (unsigned long long)(c->late + c->refused), (unsigned long long)c->refused,
	       (unsigned long long)c->strays, (unsigned long long)c->unhurt, (unsigned long long)c->units);
}

/* Whether the power went with some of each; of many seeds. */
static bool edges_all(const struct store_sim_counts *c)
{
	const char *before = "power cuts with: ";
	bool all = true;

	for (unsigned int op = 0; op < SIM_NR_OPS; op++)
		for (unsigned int kind = 0; kind < STORE_SIM_KINDS; kind++) {
			const struct store_sim_edge *e = &c->edges[op][kind];

			if (e->nr) {
				printf("%s%s %llu of %llu", before, store_sim_edge_name(op, kind),
				       (unsigned long long)e->cuts, (unsigned long long)e->nr);
				before = ", ";
			}
			all = all && (e->nr < EDGES_MIN || e->cuts);
		}
	printf("\n");
	return all;
}

static int many(const struct seeds *seeds)
{
	struct many m = { seeds, mmap(NULL, seeds->jobs * sizeof(*m.totals), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0) };
	struct totals sum = { .result.first_bad = UINT64_MAX };

	if (m.totals == MAP_FAILED)
		return 1;
	sum.result.failed = seeds_fork(seeds, share, &m);
	for (unsigned int j = 0; j < seeds->jobs; j++) {
		seeds_add(&sum.result, &m.totals[j].result);
		counts_add(&sum.counts, &m.totals[j].counts);
	}
	counts_print(&sum.counts);
	if (!edges_all(&sum.counts))
		seeds_count(&sum.result, seeds->first, "the power never went with one of these operations");
	return seeds_end(&sum.result);
}

int main(int argc, char **argv)
{
	struct seeds seeds = { .nr = 10000, .stop_after = 10, .jobs = 2, .seed = -1 };

	if (!seeds_parse(&seeds, argc, argv))
		return 2;
	return seeds.seed >= 0 ? one(seeds.seed, seeds.trace) : many(&seeds);
}
