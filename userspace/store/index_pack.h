/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * index_pack - the job of the index that gives space back: docs/PACK.md.
 *
 * Used by index.c only. Planned and taken in the timeline's thread, done in any: it has
 * copies of all it needs.
 */
#ifndef BLKSHIP_INDEX_PACK_H
#define BLKSHIP_INDEX_PACK_H

#include "pack_build.h"
#include "timeline.h"

struct index_pack {
	struct manifest_run *runs;	/* all there are */
	size_t nr_runs;
	struct pack_source *sources;	/* all that is settled */
	size_t nr_sources;
	struct timeline_kept kept;
	struct manifest_points points;	/* the points file that says so */
	bool alone;			/* nothing else says so any more */
	uint64_t number;		/* of the first pack */
	uint64_t settled_segment, nr_dropped;
	const struct keyring *keys;

	struct manifest_pack *made;
	size_t nr_made;
	bool more;			/* than could be done at once */
	bool points_bad;		/* it cannot be read: nothing was packed */
};

/** index_pack_plan - whether enough may have died since it was last looked at; then @job is set */
bool index_pack_plan(const struct timeline *tl, struct index_pack *job);

/**
 * index_pack_run - look through the whole index, and write packs of what is worth it
 * Return: 0, also when nothing was; -errno, or what the pace returned. What is in @made is
 * whole and durable in either case.
 */
int index_pack_run(struct index_pack *job, struct env *env, const char *dir,
		   const uint8_t *timeline, const struct run_pace *pace);

/** index_pack_take - name what was made, then remove what that replaces; 0 or -errno */
int index_pack_take(struct timeline *tl, const struct index_pack *job);

void index_pack_free(struct index_pack *job);

#endif
