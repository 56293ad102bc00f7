/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * index_points - the job of the index that makes the next points file.
 *
 * Used by index.c only. Planned and taken in the timeline's thread, done in any: it has copies of
 * all it needs. docs/STORE.md, "When, and from what" and "What goes".
 */
#ifndef BLKSHIP_INDEX_POINTS_H
#define BLKSHIP_INDEX_POINTS_H

#include "points_build.h"
#include "timeline.h"

struct index_points {
	struct points_build build;
	struct manifest_segment_end *ends;	/* its own; so the next two */
	struct retention_past *past;
	uint64_t *pinned;
	int leases_error;		/* what is read is not known */
	bool keeps_all;			/* retention is for another one */
	bool alone;			/* of some commits only the file before knows */
};

/** index_points_plan - whether a new one is due; then @job is set */
bool index_points_plan(struct timeline *tl, struct index_points *job);

/** index_points_run - make it; as points_build_run() */
int index_points_run(struct index_points *job, struct env *env, const char *dir,
		     const uint8_t *timeline, const struct run_pace *pace);

/** index_points_keep_all - after it was run: why nothing could be left out; NULL: nothing to say */
const char *index_points_keep_all(const struct index_points *job);

/**
 * index_points_take - name it, unless what it leaves out is needed by now
 * @error: of index_points_run()
 * Return: 0; -EAGAIN it is needed; -errno of the manifest, or of branches or leases because of
 * which nothing was left out; or @error.
 */
int index_points_take(struct timeline *tl, const struct index_points *job, int error);

void index_points_free(struct index_points *job);

#endif
