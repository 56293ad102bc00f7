// SPDX-License-Identifier: GPL-2.0-only
/* index_merge - the job of the index that makes one run of several: docs/STORE.md. */
#include "index_merge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "index_pack.h"
#include "index_runs.h"
#include "points_packed.h"
#include "timeline_internal.h"

#define GONE_PART	4	/* when this part of all entries is gone, all are written anew */

/* -- planning -- */

/* How many runs, from @first on, lie side by side and are of use. */
static size_t nr_beside(const struct timeline *tl, size_t first)
{
	const struct manifest *m = &tl->manifest;
	size_t i = first;

	while (i < m->nr_runs && !timeline_run_is_bad(tl, m->runs[i].number) &&
	       (i == first || m->runs[i - 1].last_segment + 1 == m->runs[i].first_segment))
		i++;
	return i - first;
}

static uint64_t nr_entries(const struct manifest_run *runs, size_t nr)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < nr; i++)
		sum += runs[i].nr_entries;
	return sum;
}

/* The first of RUN_FAN_IN runs side by side of the lowest level that has so many. */
static const struct manifest_run *choose_level(const struct timeline *tl)
{
	const struct manifest *m = &tl->manifest;
	const struct manifest_run *found = NULL;
	size_t nr = 0;

	for (size_t i = 0; i < m->nr_runs; i++) {
		const struct manifest_run *r = &m->runs[i];
		bool follows = nr && r[-1].last_segment + 1 == r->first_segment &&
			       r[-1].level == r->level;

		nr = timeline_run_is_bad(tl, r->number) ? 0 : follows ? nr + 1 : 1;
		if (nr >= RUN_FAN_IN && (!found || r->level < found->level))
			found = r - (RUN_FAN_IN - 1);
	}
	return found;
}

bool index_merge_pays(const struct manifest_run *runs, size_t nr, uint64_t nr_gone)
{
	return nr_gone && nr_gone >= nr_entries(runs, nr) / GONE_PART;
}

/* Those side by side of which most would go, which mostly are all; NULL: it does not pay. */
static const struct manifest_run *choose_whole(const struct timeline *tl, size_t *nr)
{
	const struct timeline_packing *p = &tl->packing;
	const struct manifest *m = &tl->manifest;

	for (size_t i = 0, beside; i < m->nr_runs; i += beside ? beside : 1) {
		const struct manifest_run *first = &m->runs[i];

		beside = nr_beside(tl, i);
		if (!beside || p->gone_segment < first->first_segment ||
		    p->gone_segment > first[beside - 1].last_segment)
			continue;
		*nr = beside;
		return index_merge_pays(first, beside, p->nr_gone) ? first : NULL;
	}
	return NULL;
}

/* What may go; else all stays. */
static void drop_fill(struct timeline *tl, struct index_merge *job)
{
	const struct manifest *m = &tl->manifest;

	if (!tl->packing.on || tl->points_bad || !m->nr_packs ||
	    timeline_leased_cuts(tl, &job->leased, &job->nr_leased))
		return;
	job->packed = calloc(m->nr_packs, sizeof(*job->packed));
	if (!job->packed)
		return;
	for (size_t i = 0; i < m->nr_packs; i++)
		job->packed[job->nr_packed++] = (struct thin_file){
			.first_segment = m->packs[i].first_segment,
			.last_segment = m->packs[i].last_segment };
	job->newest = *points_packed_newest(m->packs, m->nr_packs);
}

bool index_merge_plan(struct timeline *tl, bool whole, struct index_merge *job)
{
	size_t nr = RUN_FAN_IN;
	const struct manifest_run *inputs = whole ? choose_whole(tl, &nr) : choose_level(tl);

	*job = (struct index_merge){ .whole = whole };
	if (!inputs)
		return false;
	job->inputs = malloc(nr * sizeof(*job->inputs));
	if (!job->inputs)
		return false;
	memcpy(job->inputs, inputs, nr * sizeof(*job->inputs));
	job->nr_inputs = nr;
	job->need_bytes = nr_entries(inputs, nr) * sizeof(struct run_entry);
	drop_fill(tl, job);
	if (!job->whole || job->newest.number)
		return true;
	/* What is leased is not known, say: it is counted again before it is tried again. */
	tl->packing.nr_gone = 0;
	index_merge_free(job);
	return false;
}

void index_merge_free(struct index_merge *job)
{
	free(job->inputs);
	free(job->leased);
	free(job->packed);
	memset(job, 0, sizeof(*job));
}

/* -- doing -- */

/* @cuts: of the newest pack, and of leases; free() them */
static int drop_begin(const struct index_merge *job, struct env *env, const char *dir,
		      const uint8_t *timeline, const struct run_pace *pace,
		      struct run_drop *drop, uint64_t **cuts)
{
	const struct points_packed from = { env, dir, timeline, 0, pace };
	struct thin_cuts kept = { 0 };
	uint64_t *listed = NULL;
	int ret = points_packed_kept(&from, &job->newest, &listed, &kept.nr);

	if (!ret) {
		kept.cuts = listed;
		kept.settled_cut = listed[kept.nr - 1];
		drop->cuts.settled_cut = kept.settled_cut;
		ret = thin_cuts_add(&kept, job->leased, job->nr_leased, cuts, &drop->cuts.nr);
	}
	free(listed);
	drop->cuts.cuts = *cuts;
	drop->packed = job->packed;
	drop->nr_packed = job->nr_packed;
	return ret;
}

static bool has_room(const struct index_merge *job, struct env *env, const char *dir)
{
	uint64_t free_bytes;

	return env->ops->free_bytes(env, dir, &free_bytes) ||
	       job->need_bytes <= index_pack_room(free_bytes);
}

int index_merge_run(struct index_merge *job, struct env *env, const char *dir,
		    const uint8_t *timeline, uint64_t number, const struct run_pace *pace)
{
	struct run_drop drop = { .nr_dropped = 0 };
	uint64_t *cuts = NULL;
	int ret = job->newest.number ?
		  drop_begin(job, env, dir, timeline, pace, &drop, &cuts) : -ENOENT;
	const bool drops = !ret;

	/* A list that cannot be read is no fault of the runs: all stays. */
	if (pack_aside_is_due(ret))
		ret = 0;
	if (!ret && (!job->whole || (drops && has_room(job, env, dir))))
		ret = run_build_merge(env, dir, timeline, number, job->inputs, job->nr_inputs,
				      drops ? &drop : NULL, pace, &job->made, &job->bad_run);
	job->nr_dropped = drop.nr_dropped;
	free(cuts);
	return ret;
}

/* -- taking -- */

/* A whole one is not tried again before it is counted again. */
int index_merge_take(struct timeline *tl, const struct index_merge *job, int error)
{
	struct timeline_packing *p = &tl->packing;
	uint64_t nr_dropped;

	if (job->bad_run)
		timeline_run_bad(tl, job->bad_run);
	if (!error && job->made.number)
		error = timeline_run_name(tl, &job->made);
	nr_dropped = error ? 0 : job->nr_dropped;
	p->nr_dropped += nr_dropped;
	p->nr_gone -= job->whole || p->nr_gone < nr_dropped ? p->nr_gone : nr_dropped;
	return error;
}
