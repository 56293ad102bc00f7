/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * space - what a timeline takes on disk, how fast that grows, and what its policy may need.
 *
 * Fed by a timeline that is open for reading; feeds people who want to know before it is full.
 */
#ifndef BLKSHIP_SPACE_H
#define BLKSHIP_SPACE_H

#include <stdbool.h>
#include <stdint.h>

#include "timeline.h"

struct space {
	uint64_t data_bytes;	/* segments and packs */
	uint64_t index_bytes;	/* all other files of the timeline; branches are not counted */
	uint64_t nr_points;	/* listed commits */
	uint64_t oldest_ns;	/* of those, by the source's clock; 0: there is none */
	uint64_t nr_pins;
	uint64_t pinned;	/* listed commits that only a pin keeps; 0 without a policy */
	uint64_t measured_ns;	/* how long the rate was measured; 0: it is not known */
	uint64_t day_bytes;	/* what comes in a day, with its index */
	uint64_t most_bytes;	/* the policy needs this, if nothing is overwritten; 0: not known,
				 * or there is no policy and it grows for ever */
	uint64_t window_bytes;	/* of that, comes before the immutable window lets anything go */
};

/** space_is_data - whether a file of a timeline is a segment or pack, by its name. Pure. */
bool space_is_data(const char *name);

/** space_of_file - its size; 0 also if it cannot be told: it may be gone, or a directory */
uint64_t space_of_file(struct env *env, const char *path);

/**
 * space_of_dir - what the files of a timeline's directory take, without its branches
 * @data_bytes, @index_bytes: out, as in struct space
 * Return: 0; -errno of listing.
 */
int space_of_dir(struct env *env, const char *dir, uint64_t *data_bytes, uint64_t *index_bytes);

/** space_rates - fill in the last four of @s; its data_bytes and index_bytes are known */
void space_rates(const struct timeline *tl, struct space *s);

/** space_measure - Return: 0; -ENOMEM; -errno of listing the directory. */
int space_measure(struct timeline *tl, struct space *out);

/**
 * space_rate - bytes that came a day, by the newest commits. Pure.
 * @commits: by ordinal; only those at the end without one missing are used, for a day
 * @measured_ns: out, over which time; 0: too short, then 0 is returned
 */
uint64_t space_rate(const struct timeline_commit *commits, size_t nr, uint64_t *measured_ns);

/**
 * space_days_left - for how many days the free space lasts at least. Pure.
 * @now_bytes, @most_bytes, @day_bytes: sums over what shares it; @most_bytes 0: no end
 * Return: days; UINT64_MAX: what the policies need fits, or nothing comes.
 */
uint64_t space_days_left(uint64_t free_bytes, uint64_t now_bytes, uint64_t most_bytes,
			 uint64_t day_bytes);

#endif
