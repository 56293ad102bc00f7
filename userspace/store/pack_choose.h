/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_choose - which files, side by side, become one pack each: docs/PACK.md, "Room".
 *
 * Fed with what is dead in each (pack_plan.c), by the rules of thin_choose() and with what room
 * there is. Nothing of the timeline is needed: any thread may do it.
 */
#ifndef BLKSHIP_PACK_CHOOSE_H
#define BLKSHIP_PACK_CHOOSE_H

#include "index_pack.h"
#include "pack_plan.h"

#define PACK_CHOICES	16		/* of one job */
#define PACK_MAX_LIVE	(4u << 20)	/* pieces in memory: 48 MiB, twice while they are found */

/* What becomes one pack. */
struct pack_choice {
	size_t first, nr;	/* sources of the job */
	uint64_t need_bytes;
};

struct pack_range pack_choice_range(const struct index_pack *job, const struct pack_choice *c);

/**
 * pack_choose - look through the whole index, and choose of the sources of @job
 * @room: that all of them may take together
 * @choices: PACK_CHOICES; by segment
 * What is left to do, or waits for room, is put into @job; sources with too much in them are set
 * aside there.
 * Return: 0; -ENOMEM; as pack_plan_count().
 */
int pack_choose(struct index_pack *job, const struct pack_index *index, uint64_t room,
		struct pack_choice *choices, size_t *nr);

#endif
