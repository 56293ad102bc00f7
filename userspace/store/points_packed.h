/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * points_packed - what packs say of points, where the points file that knew it is lost.
 *
 * A pack has the commits of its segments that were kept when it was made, all facts of the
 * others, and what could not be read as far as a kept point shows it: enough for the points
 * that were kept then. docs/STORE.md, "A points file that is lost", has the rule.
 */
#ifndef BLKSHIP_POINTS_PACKED_H
#define BLKSHIP_POINTS_PACKED_H

#include "../lib/env.h"
#include "manifest_format.h"
#include "new_file.h"
#include "points.h"

struct points_packed {
	struct env *env;
	const char *dir;
	const uint8_t *timeline;	/* 16 bytes */
	size_t nr_volumes;		/* that the manifest knows */
	const struct run_pace *pace;	/* of what points_packed_kept() reads; may be NULL */
};

/**
 * points_packed_add - all that the segments of a pack say, as points_add() of each batch
 * @p: as after the segment before
 * Return: 0; -EBADMSG the pack is damaged, or does not follow; -ENOMEM; -errno.
 */
int points_packed_add(const struct points_packed *from, const struct manifest_pack *named,
		      struct points *p);

/**
 * points_packed_newest - of some packs the one that was made by the newest points file
 * What that kept all before it kept too. @nr_packs: at least one
 */
const struct manifest_pack *points_packed_newest(const struct manifest_pack *packs,
						 size_t nr_packs);

/**
 * points_packed_kept - the cuts that come back, of those up to the last of them, when the points
 * file is lost and made again; and, past that, all
 * @newest: points_packed_newest() of all packs there are
 * @cuts: out, allocated, rising, at least one; free() them
 * Return: 0; -ENOENT; -EBADMSG; -ENOMEM; -errno; what the pace returned.
 */
int points_packed_kept(const struct points_packed *from, const struct manifest_pack *newest,
		       uint64_t **cuts, size_t *nr);

/**
 * points_packed_keep - leave out the commits whose data some pack may not have
 * Return: 0; -EBADMSG; -ENOMEM; -errno.
 */
int points_packed_keep(const struct points_packed *from, const struct manifest_pack *packs,
		       size_t nr_packs, struct points *p);

#endif
