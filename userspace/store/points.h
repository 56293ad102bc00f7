/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * points - which durable commits are recovery points: DESIGN 1.7.
 *
 * Fed with durable commits in order; feeds listing, views and HELLO's answer.
 * A commit is listed when no hold covers its cut and every gap at or below its cut
 * was repaired by a pass that ended at or below it. Facts in later commits list
 * earlier ones (a hold is closed), never take one off the list: what could is refused
 * at ingest (timeline_append_commit).
 *
 * Kept so that adding a commit costs O(log n) and as many old commits as it lists.
 */
#ifndef BLKSHIP_POINTS_H
#define BLKSHIP_POINTS_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/segment_format.h"
#include "timeline.h"

struct points_hold {
	uint64_t id;
	uint64_t from_seq;
	uint64_t end_seq;	/* UINT64_MAX: open */
	uint64_t max_end_seq;	/* of this and all before */
};

struct points_bad {		/* a stretch that could not be read */
	uint16_t volume;
	uint64_t offset_bytes;
	uint64_t end_bytes;
	uint64_t label_seq;
};

struct points_member {
	uint16_t volume;
	uint64_t size_bytes;
};

/* Who is a member from a commit on, until the next of these. */
struct points_members {
	uint64_t ordinal;
	size_t first;		/* of all_members */
	uint32_t nr;
};

struct points {
	struct timeline_commit *commits;
	size_t nr_commits, max_commits;
	struct commit_gap *gaps;	/* by from_seq; to_seq never falls */
	size_t nr_gaps, max_gaps;
	struct points_hold *holds;	/* by from_seq */
	size_t nr_holds, max_holds;
	struct commit_repair *repairs;	/* end and t0 both rising */
	size_t nr_repairs, max_repairs;
	struct commit_hold *open_holds;
	size_t nr_open_holds, max_open_holds;
	struct points_bad *bad;
	size_t nr_bad, max_bad;
	struct points_members *members;	/* by ordinal; only where they change */
	size_t nr_members, max_members;
	struct points_member *all_members;
	size_t nr_all_members, max_all_members;
	struct timeline_gap *people_gaps;
	size_t nr_people_gaps, max_people_gaps;
	bool people_gaps_valid;

	uint64_t readback_no;	/* highest so far */
	uint64_t hold_id;
	uint64_t last_gap_seq;
	uint64_t repaired_t0;
};

void points_fini(struct points *p);

/**
 * points_add - the next durable commit
 * @extents: of its batch, host order
 * Return: 0; -ENOMEM, then the points are not to be used any more.
 */
int points_add(struct points *p, const struct commit_view *commit,
	       const struct footer_extent *extents, size_t nr_extents);

/**
 * points_find - the first commit with this cut
 * Return: its index; nr_commits: none.
 */
size_t points_find(const struct points *p, uint64_t cut_seq);

/** points_members - the volumes of a commit, by its index; *out until the next points_add() */
size_t points_members(const struct points *p, size_t index, const struct points_member **out);

/** points_gaps - stretches without points, see timeline_gaps() */
size_t points_gaps(struct points *p, const struct timeline_gap **out);

#endif
