/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_plan - how much of each file is dead, and what lives: passes over the whole index.
 *
 * Fed with all runs of what is settled; feeds the choice of files (thin_choose()) and
 * pack_build.c. Two passes, so that only the live set of what was chosen is ever in memory. The
 * index does not know of commits: those of what was chosen are read where they are.
 * Nothing of the timeline is needed: any thread may do it.
 */
#ifndef BLKSHIP_PACK_PLAN_H
#define BLKSHIP_PACK_PLAN_H

#include "pack_build.h"

struct pack_index {
	struct env *env;
	const char *dir;
	const uint8_t *timeline;
	const struct manifest_run *runs;	/* by segment; of what has none, nothing is found */
	size_t nr_runs;
	const struct thin_cuts *cuts;		/* that are kept */
	const struct thin_cuts *leased;		/* and those with leases; NULL: there are none */
	const struct run_pace *pace;		/* of bytes read; may be NULL */
};

/**
 * pack_plan_count - for each file, the bytes it has and those that live
 * @files: by segment; live_bytes, and data_bytes of segments, begin at 0
 * @bad: out, on failure: the number of the run that is damaged or gone; 0: none is
 * Return: 0; -EBADMSG a run is damaged; -errno; what the pace returned.
 */
int pack_plan_count(const struct pack_index *index, struct thin_file *files, size_t nr,
		    uint64_t *bad);

struct pack_range {
	uint64_t first, last;	/* segments */
};

/**
 * pack_plan_live - what lives in some segments, by origin
 * @ranges: by segment
 * @max: more pieces are refused
 * @live: out, allocated; free() it
 * Return: 0; -E2BIG; as pack_plan_count().
 */
int pack_plan_live(const struct pack_index *index, const struct pack_range *ranges,
		   size_t nr_ranges, size_t max, struct pack_live **live, size_t *nr,
		   uint64_t *bad);

/**
 * pack_plan_commits - how much the commit records of a source take in a pack
 * @source: it is read for that: where the commits are, and those
 * Return: 0; -ENOENT; -EBADMSG; -errno; what the pace returned.
 */
int pack_plan_commits(const struct pack_index *index, const struct pack_source *source,
		      uint64_t *bytes);

#endif
