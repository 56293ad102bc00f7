/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * index_runs - the runs of a timeline: which are of use, what gets one next, how one is named.
 *
 * index_segment is the job of the index that makes one of a segment, or of the pack in its place.
 * Planned and taken in the timeline's thread, done in any: it has copies of all it needs.
 */
#ifndef BLKSHIP_INDEX_RUNS_H
#define BLKSHIP_INDEX_RUNS_H

#include "run_build.h"
#include "timeline.h"

struct index_segment {
	struct run_segment segment;
	struct manifest_pack packed;	/* has the place of it; number 0: none */

	struct manifest_run made;
	bool source_bad;		/* what was read is to blame */
};

/** index_segment_plan - whether a segment needs a run; then @job is set */
bool index_segment_plan(const struct timeline *tl, struct index_segment *job);

/**
 * index_segment_run - make it
 * @number: of the run
 * Return: 0; -errno, or what the pace returned: nothing is left of it.
 */
int index_segment_run(struct index_segment *job, struct env *env, const char *dir,
		      const uint8_t *timeline, uint64_t number, const struct run_pace *pace);

/**
 * index_segment_take - name it; what cannot be read is set aside for a while
 * @error: of index_segment_run()
 * Return: 0; -errno of the manifest, or @error.
 */
int index_segment_take(struct timeline *tl, const struct index_segment *job, int error);

/**
 * timeline_run_name - name a run; then, and only then, those it stands for can go
 * Return: 0; -errno of the manifest, -ENOMEM: it is not named.
 */
int timeline_run_name(struct timeline *tl, const struct manifest_run *run);

#endif
