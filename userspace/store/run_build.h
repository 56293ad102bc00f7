/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run_build - runs from a segment, and from other runs.
 *
 * Fed with what is finished and never changes: segments that are sealed and synced or
 * given up, and named runs. So it needs nothing of the timeline and may work in any
 * thread, with an env of its own.
 */
#ifndef BLKSHIP_RUN_BUILD_H
#define BLKSHIP_RUN_BUILD_H

#include "run_read.h"
#include "run_write.h"
#include "thin.h"

#define RUN_FAN_IN 4		/* so many runs of a level become one of the next */

/* A segment as the timeline knows it. */
struct run_segment {
	uint64_t number;
	uint64_t first_ordinal;	/* 0: as its header says */
	uint64_t end_limit;	/* given up there; 0: sealed */
	struct manifest_pack next; /* has the place of the next one; number 0: none has */
};

/**
 * run_build_segment - a run of level 0, of all extents of a segment
 * @number: of the run
 * @bad: out: whether a failure is one of the segment
 * Return: 0, and it is durable; -EBADMSG the segment is damaged; -EFBIG a unit lies too
 * far out to be named; -errno; what @pace returned. Then nothing is left.
 */
int run_build_segment(struct env *env, const char *dir, const uint8_t *timeline, uint64_t number,
		      const struct run_segment *segment, const struct run_pace *pace,
		      struct manifest_run *out, bool *bad);

/** run_build_pack - the same, of what a pack has, for the segments it stands for */
int run_build_pack(struct env *env, const char *dir, const uint8_t *timeline, uint64_t number,
		   const struct manifest_pack *named, const struct run_pace *pace,
		   struct manifest_run *out, bool *bad);

/* What a merge leaves out: docs/STORE.md, "What merging leaves out". */
struct run_drop {
	struct thin_cuts cuts;		/* that exist, or may come to again: for each all stays */
	struct thin_file *packed;	/* only of these segments, by number, anything goes */
	size_t nr_packed;
	uint64_t nr_dropped;		/* out, entries */
};

/**
 * run_build_merge - one run of several that lie side by side
 * @inputs: by first_segment, at least one
 * @drop: NULL: all entries stay
 * @bad: out: on failure, the number of the input that is damaged or gone; 0: none is
 * Return: as run_build_segment().
 */
int run_build_merge(struct env *env, const char *dir, const uint8_t *timeline, uint64_t number,
		    const struct manifest_run *inputs, size_t nr, struct run_drop *drop,
		    const struct run_pace *pace, struct manifest_run *out, uint64_t *bad);

#endif
