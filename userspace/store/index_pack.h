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
	struct manifest_run *runs;	/* all that are of use */
	size_t nr_runs;
	struct pack_source *sources;	/* all that is settled */
	size_t nr_sources;
	struct timeline_kept kept;
	uint64_t *leased;		/* those and the cuts of leases, rising ... */
	size_t nr_leased;		/* ... 0: these are kept all */
	struct manifest_points points;	/* the points file that says so */
	bool alone;			/* nothing else says so any more */
	uint64_t number;		/* of the first pack */
	uint8_t room[PACK_ROOM_BYTES];	/* what each tells of the manifest */
	uint64_t settled_segment, nr_dropped;
	bool first;			/* nothing of what was dropped was packed so far */
	uint64_t planned_ns;
	uint64_t wanted_bytes;		/* only if there is room for so much; 0: look anyway */
	const struct keyring *keys;

	struct manifest_pack *made;
	size_t nr_made;
	bool looked;			/* through the whole index */
	uint64_t gone_segment;		/* the first of runs side by side, for which it pays ... */
	uint64_t nr_gone;		/* ... to leave out so many entries, of what is packed then */
	bool more;			/* than could be done at once */
	uint64_t need_bytes;		/* there was no room for so much; 0: there was enough */
	unsigned int points_bad;	/* copies of it that do not check: nothing was packed */
	uint64_t bad_run;		/* number of the one that does not check; 0: none */
};

/** index_pack_plan - whether enough may have died since it was last looked at; then @job is set */
bool index_pack_plan(struct timeline *tl, struct index_pack *job);

/**
 * index_pack_run - look through the whole index, and write packs of what is worth it
 * A source that cannot be read is marked in @sources, and left as it is.
 * Return: 0, also when nothing was; -errno, or what the pace returned. What is in @made is
 * whole and durable in either case.
 */
int index_pack_run(struct index_pack *job, struct env *env, const char *dir,
		   const uint8_t *timeline, const struct run_pace *pace);

/**
 * index_pack_take - name what was made, then see to it that what that replaces is removed
 * @error: of index_pack_run()
 * Return: 0; -errno of the manifest, or @error unless it is only space that is missing.
 */
int index_pack_take(struct timeline *tl, const struct index_pack *job, int error);

void index_pack_free(struct index_pack *job);

/**
 * index_pack_room - of the free space, what packs may take before they give any back
 * Ingest goes on meanwhile. Of the last that is left only a little: else nothing that is dead
 * could ever make room.
 */
uint64_t index_pack_room(uint64_t free_bytes);

#endif
