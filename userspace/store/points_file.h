/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * points_file - what is known of all points up to the end of a segment, in one file.
 *
 * Fed by points_build.c, named in the manifest by index_points.c, read by timeline_recover.c, so
 * that opening need not go through all segments. Encoding and decoding are pure. What is
 * decoded has been checked: it is what points_add() could have made.
 *
 * The file holds the same twice: once points have been left out it alone knows which there are.
 */
#ifndef BLKSHIP_POINTS_FILE_H
#define BLKSHIP_POINTS_FILE_H

#include "../lib/env.h"
#include "manifest_format.h"
#include "new_file.h"
#include "points.h"

struct points_file {
	uint8_t timeline[16];
	uint64_t number;
	uint64_t last_segment;
	struct points points;	/* as after last_segment; the caller's to points_fini() */
};

/**
 * points_encode - one copy
 * @out: out, allocated; a multiple of POINTS_BLOCK_BYTES long
 * Return: 0; -ENOMEM; -EFBIG more than the format can count.
 */
int points_encode(const struct points_file *file, void **out, size_t *bytes);

/**
 * points_decode - check and take apart one copy
 * @file: out; only on success, then points_fini() of its points is due
 * Return: 0; -EBADMSG; -ENOMEM.
 */
int points_decode(const void *copy, size_t bytes, struct points_file *file);

/**
 * points_file_write - write, sync, rename, sync the directory; a failure leaves nothing
 * @pace: called with the bytes written, as they are; may be NULL
 * @out: what the manifest has to say, host order
 * Return: 0; -errno, or what @pace returned.
 */
int points_file_write(struct env *env, const char *dir, const struct points_file *file,
		      const struct run_pace *pace, struct manifest_points *out);

/**
 * points_file_read - read the one that the manifest names
 * @timeline: whose it must be
 * @named: with a last_segment of 0 nothing is known but its number and length
 * @file: out; only on success, as points_decode()
 * @nr_bad: out, also on failure: how many of its two copies do not check; may be NULL,
 *	then the second is not looked at when the first is good
 * Return: 0; -ENOENT; -EBADMSG; -ENOMEM; -errno.
 */
int points_file_read(struct env *env, const char *dir, const uint8_t timeline[16],
		     const struct manifest_points *named, struct points_file *file,
		     unsigned int *nr_bad);

/**
 * points_file_find - what the manifest would have to say of one, should it not be known
 * @number: its name says
 * @last_cut: out, of the last commit that it answers for
 * Return: 0; -ENOENT; -EBADMSG; -ENOMEM; -errno.
 */
int points_file_find(struct env *env, const char *dir, const uint8_t timeline[16],
		     uint64_t number, struct manifest_points *out, uint64_t *last_cut);

/** points_path - into @path, at least strlen(dir) + 29 bytes; @unfinished: of the new file */
void points_path(char *path, size_t bytes, const char *dir, uint64_t number, int unfinished);

#endif
