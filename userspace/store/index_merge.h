/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * index_merge - the job of the index that makes one run of several.
 *
 * Used by index.c only. Planned and taken in the timeline's thread, done in any: it has copies of
 * all it needs. docs/STORE.md, "What merging leaves out", has what may go and why.
 */
#ifndef BLKSHIP_INDEX_MERGE_H
#define BLKSHIP_INDEX_MERGE_H

#include "run_build.h"
#include "timeline.h"

struct index_merge {
	struct manifest_run *inputs;	/* side by side */
	size_t nr_inputs;
	bool whole;			/* only for what it leaves out */
	struct manifest_pack newest;	/* has the cuts for which all stays; number 0: nothing goes */
	uint64_t *leased;		/* and those of leases */
	size_t nr_leased;
	struct thin_file *packed;	/* segments of which something may go */
	size_t nr_packed;
	uint64_t need_bytes;		/* of a whole one, about */

	struct manifest_run made;	/* number 0: nothing */
	uint64_t nr_dropped;		/* entries that went */
	uint64_t bad_run;		/* number of the one that does not check; 0: none */
};

/** index_merge_pays - whether to write these runs anew to be rid of so many of their entries */
bool index_merge_pays(const struct manifest_run *runs, size_t nr, uint64_t nr_gone);

/**
 * index_merge_plan - whether runs are to be merged; then @job is set
 * @whole: all that lie side by side, for what is left out then; else some of a level
 */
bool index_merge_plan(struct timeline *tl, bool whole, struct index_merge *job);

/**
 * index_merge_run - do it
 * @number: of the run
 * Return: 0, also when nothing was made, as there is no room for one that need not be; -errno, or
 * what the pace returned: nothing is left of it.
 */
int index_merge_run(struct index_merge *job, struct env *env, const char *dir,
		    const uint8_t *timeline, uint64_t number, const struct run_pace *pace);

/**
 * index_merge_take - name what was made, remember what went
 * @error: of index_merge_run()
 * Return: 0; -errno of the manifest, or @error.
 */
int index_merge_take(struct timeline *tl, const struct index_merge *job, int error);

void index_merge_free(struct index_merge *job);

#endif
