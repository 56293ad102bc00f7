/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * index_remove - the job of the index that removes files nobody needs any more.
 *
 * Used by index.c only. timeline_remove() says which. Planned and taken in the timeline's thread,
 * done in any.
 */
#ifndef BLKSHIP_INDEX_REMOVE_H
#define BLKSHIP_INDEX_REMOVE_H

#include "run_write.h"
#include "timeline_internal.h"

struct index_remove {
	struct timeline_unneeded files;

	uint64_t removed_bytes;		/* of them, data: segments and packs */
};

/** index_remove_plan - whether there are any; then @job has some of them */
bool index_remove_plan(struct timeline *tl, struct index_remove *job);

/** index_remove_run - remove them; 0, or what the pace returned: the rest stays */
int index_remove_run(struct index_remove *job, struct env *env, const char *dir,
		     const struct run_pace *pace);

/** index_remove_take - remember how much it was */
void index_remove_take(struct timeline *tl, const struct index_remove *job);

void index_remove_free(struct index_remove *job);

#endif
