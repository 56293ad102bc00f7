/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * points_retain - leave out the commits that a policy does not keep. Pure.
 *
 * Fed by points_build.c, before a points file is written; being named in the manifest is
 * what makes it so. docs/STORE.md, "What goes".
 */
#ifndef BLKSHIP_POINTS_RETAIN_H
#define BLKSHIP_POINTS_RETAIN_H

#include "points.h"
#include "retention.h"

struct points_retain {
	struct retention retention;	/* without tiers everything stays */
	const uint64_t *pinned;		/* cuts, rising */
	size_t nr_pinned;
	uint64_t old_line_from;		/* all from this cut on stays, and counts for nothing; 0: none */
};

/**
 * points_retain - by the clock that the points have, aged_ns
 * What stays: the old line; what retention_apply() keeps of the other listed commits; of a cut
 * that stays its first commit, which says who its members are; what is pinned; unlisted commits
 * within the first tier, and those that could still be listed; the last commit.
 * @nr_left_out: out
 * Return: 0; -ENOMEM.
 */
int points_retain(struct points *p, const struct points_retain *r, size_t *nr_left_out);

#endif
