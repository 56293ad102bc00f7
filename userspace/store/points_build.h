/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * points_build - the next points file, from the one before and the segments since.
 *
 * Needs nothing of the timeline: index_points.c plans it, a thread may do it. Fed by finished
 * segments only, which do not change.
 */
#ifndef BLKSHIP_POINTS_BUILD_H
#define BLKSHIP_POINTS_BUILD_H

#include "points_file.h"
#include "points_retain.h"

struct points_build {
	/* asked */
	struct env *env;
	const char *dir;
	uint8_t timeline[16];
	struct manifest_points before;	/* number 0: begin with the first segment */
	uint64_t number;		/* of the new one */
	uint64_t last_segment;
	const struct manifest_segment_end *ends; /* of segments given up; borrowed */
	size_t nr_ends;
	const struct manifest_pack *packs;	/* only where all begins anew; borrowed */
	size_t nr_packs;
	size_t nr_volumes;		/* that the manifest knows */
	uint64_t created_ns;		/* the timeline; nothing came before */
	uint64_t now_ns;		/* the clock of retention ... */
	uint64_t real_ns;		/* ... and the target's, at the same moment */
	struct points_retain retain;	/* what stays; its memory is borrowed */
	const struct run_pace *pace;	/* may be NULL */

	/* answered */
	struct manifest_points named;	/* for the manifest */
	struct points points;		/* what is in it; the caller's to points_fini() */
	uint64_t at_segment;		/* the last that it looked into */
	size_t nr_left_out;		/* that were in the one before, or came since */
	int branches_error;		/* what branches need is not known: none was left out */
	bool before_bad;		/* the file before is missing or does not check */
	bool same;			/* nothing has changed: no file was made */
};

/**
 * points_build_run - make it; it is whole and durable then, and not yet named
 * Return: 0; -EBADMSG the file before, or a segment, does not check; -errno, or what the pace
 * returned. A failure leaves nothing behind.
 */
int points_build_run(struct points_build *b);

#endif
