/* SPDX-License-Identifier: GPL-2.0-only */
/* restore_part - write one part of a volume as it was at a point; by one thread. */
#ifndef BLKSHIP_RESTORE_PART_H
#define BLKSHIP_RESTORE_PART_H

#include "../../userspace/store/view.h"
#include "damage.h"
#include "restore_copy.h"

struct part_copy {
	const struct restore_output *output;
	struct restore_part *part;
	unsigned int connection;	/* to an image */
	bool force;			/* zeroes where it cannot be read */
	bool (*went_on)(void *arg, uint64_t bytes);	/* so much more is done; whether to go on */
	void *arg;

	struct damage damage;		/* out: what was not read; the caller's */
	int write_error;		/* out: it is this that failed */
	uint64_t unknown_bytes;		/* zeroes, as it could not be known what there is */
	uint64_t known_bytes;		/* done again: was told of before */
};

/**
 * part_copy_run - write it
 * A device is told of zeroes as well; a file and an image have them already.
 * @offset: out, on failure: where in the volume
 * Return: 0; -ECANCELED it was not to go on; -EIO without @force, not readable at the source;
 * c->write_error; as view_read().
 */
int part_copy_run(struct part_copy *c, struct view *view, uint64_t *offset);

/** part_copy_sync - have it on the disk; 0 or -errno */
int part_copy_sync(const struct part_copy *c);

#endif
