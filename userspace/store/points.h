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
 * Commits may cease to exist (retention); what they said of others stays.
 */
#ifndef BLKSHIP_POINTS_H
#define BLKSHIP_POINTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/segment_format.h"
#include "thin.h"
#include "timeline.h"

#define POINTS_MAX_BAD 4096	/* past it everything counts as degraded, for good */

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

/* What the commits so far say of a volume. */
struct points_volume {
	bool has_data;
	bool member;		/* of the newest */
	uint32_t log_no;
};

/* Who is a member from a commit on, until the next of these. */
struct points_members {
	uint64_t ordinal;
	size_t first;		/* of all_members */
	uint32_t nr;
};

struct points {
	struct timeline_commit *commits;	/* that exist, by ordinal */
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
	struct points_volume *volumes;	/* by id; those that a commit named */
	size_t nr_volumes, max_volumes;
	struct points_member *all_members;
	size_t nr_all_members, max_all_members;
	struct timeline_gap *people_gaps;
	size_t nr_people_gaps, max_people_gaps;
	bool people_gaps_valid;

	/* Of the newest commit, also when it does not exist any more; 0: there was none. */
	uint64_t last_ordinal;
	uint64_t last_cut_seq;
	uint64_t last_time_ns;
	uint64_t last_since_ns;
	uint64_t aged_ns;	/* the clock of retention, when it was last applied */

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

/** points_add_batch - of a durable commit nobody asks for any more, its extents; 0 or -ENOMEM */
int points_add_batch(struct points *p, const struct footer_extent *extents, size_t nr_extents);

/**
 * points_renew - after everything but what is derived was filled in: derive it
 * Of holds max_end_seq, the open ones, and which commits are listed.
 * Return: 0; -ENOMEM.
 */
int points_renew(struct points *p);

/**
 * points_adopt - what was settled: which commits exist, and since when their age counts
 * @stored: of the same timeline, up to some ordinal; what is newer stays, and follows it
 */
void points_adopt(struct points *p, const struct points *stored);

/** points_forget - commits up to @ordinal do not exist any more; all else stays known */
void points_forget(struct points *p, uint64_t ordinal);

/**
 * points_skip - commits up to @ordinal are lost, and what they said of others
 * Whether what comes after them can be a point is not known any more. It is judged as if all
 * holds had been closed and all gaps repaired in them, so that none is hidden.
 * Return: 0 or -ENOMEM.
 */
int points_skip(struct points *p, uint64_t ordinal);

/** points_keep - commits with other cuts than these do not exist any more, as points_forget() */
void points_keep(struct points *p, const struct thin_cuts *cuts);

/**
 * points_find - the first commit with this cut
 * Return: its index; nr_commits: none.
 */
size_t points_find(const struct points *p, uint64_t cut_seq);

/** points_cut_at - the cut of the newest commit that exists up to @ordinal; 0: there is none */
uint64_t points_cut_at(const struct points *p, uint64_t ordinal);

/** points_members - the volumes of a commit, by its index; *out until the next points_add() */
size_t points_members(const struct points *p, size_t index, const struct points_member **out);

/** points_gaps - stretches without points, see timeline_gaps() */
size_t points_gaps(struct points *p, const struct timeline_gap **out);

#endif
