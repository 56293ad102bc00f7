/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment_scan - read a segment and say what of it holds.
 *
 * Fed by timeline recovery and by views. A sealed segment is trusted by the CRCs
 * of its trailer and footer; any other is read from its start: a batch counts when
 * each of its units checks (header, tables, stored data), they follow one another,
 * and the commit record's counts and units_crc agree with them.
 *
 * What follows the last batch that counts is void, unless a commit record behind
 * it proves that more was durable: then it is damage.
 */
#ifndef BLKSHIP_SEGMENT_SCAN_H
#define BLKSHIP_SEGMENT_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "manifest_format.h"
#include "new_file.h"
#include "segment_index.h"

#define SEGMENT_PATH_BYTES	4096

struct segment_scan {
	/* asked, segment_scan_init() sets it */
	struct env *env;
	const char *dir;		/* of the segments */
	const uint8_t *timeline;	/* 16 bytes */
	uint64_t number;
	uint64_t first_ordinal;
	char path[SEGMENT_PATH_BYTES];
	bool trust_footer;

	/* asked, nothing of it at first */
	uint64_t end_limit;	/* given up there; 0: no limit */
	const struct manifest_pack *next; /* has the place of the next one; NULL: none has */
	const struct run_pace *pace;	/* of bytes read; may be NULL */
	/* Called for each commit, in order; not 0: stop and return that. May be NULL. */
	int (*commit)(void *arg, const struct commit_view *commit,
		      const struct footer_extent *extents, size_t nr_extents);
	void *arg;

	/* answered */
	struct segment_index index; /* the caller's to _fini */
	struct segment_header header;
	bool header_valid;
	bool sealed;
	uint64_t end_offset;	/* behind the last batch that counts; 0: no header */
	uint64_t last_ordinal;	/* first_ordinal - 1: none */
	bool damaged;		/* more was durable than holds */
	char text[128];		/* what, and where */
};

/**
 * segment_scan_init - that segment is to be read, by its footer if that holds
 * @dir, @timeline: borrowed for as long as @scan is used
 * What else can be asked is the caller's to set.
 */
void segment_scan_init(struct segment_scan *scan, struct env *env, const char *dir,
		       const uint8_t *timeline, uint64_t number, uint64_t first_ordinal);

/**
 * segment_scan - see above
 * Return: 0 with the answers, also when damaged; -ENOENT; -EIO; -ENOMEM; or what
 * commit(), or the pace, returned.
 */
int segment_scan(struct segment_scan *scan);

/**
 * segment_scan_finished - the same for one that a writer has finished: all of it must be there
 * Without a good footer the next one, or the pack in its place, says where this ended.
 * Return: as segment_scan(); -EBADMSG when something is missing.
 */
int segment_scan_finished(struct segment_scan *scan);

/**
 * segment_first_ordinal - of the batch that its header says is the first
 * Return: 0; -ENOENT; -EBADMSG it is no such segment of this timeline; -errno.
 */
int segment_first_ordinal(struct env *env, const char *dir, const uint8_t *timeline,
			  uint64_t number, uint64_t *out);

#endif
