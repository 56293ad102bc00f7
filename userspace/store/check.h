/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * check - read all that a timeline holds, and say which points what is damaged belongs to.
 *
 * Fed by the segments, around the page cache; feeds check_state, which marks points.
 * Every unit that a durable commit closed is read, its checksum verified, it is decrypted,
 * unpacked, and the CRC of capture time of each of its blocks verified; of one whose key is not
 * there, the CRCs of what lies on disk; its extents are compared
 * with what the segment's footer says of them. Then the runs are read. Damage to the
 * chain of commits is found by timeline_open() already.
 *
 * Memory: the index of one segment, and 64 bytes for each damaged sector of 512.
 */
#ifndef BLKSHIP_CHECK_H
#define BLKSHIP_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "timeline.h"

/* A unit that does not check, or a whole file: cuts in [from_seq, to_seq) need it. */
struct check_damage {
	uint64_t segment;
	uint64_t last_segment;	/* of a whole file, or of some that are lost together; else 0 */
	uint64_t pack;		/* the file is that pack, which has the segment's place; 0: none has */
	uint64_t offset_bytes;	/* in the file; 0: it is missing, or nothing of it can be read */
	uint64_t lost_bytes;	/* of data */
	uint64_t from_seq;
	uint64_t to_seq;	/* 0: all up to the newest; from_seq: none does */
};

struct check {
	/* asked */
	uint64_t first_segment;	/* those before it are passed over; 0 is 1 */
	/*
	 * Packs that lie before it are read if their number is higher: they were made since, and
	 * what was read there before is gone. Rises as they are read, which is done at the end.
	 */
	uint64_t packs_read;
	/*
	 * Called when so many bytes of a segment were read, at most a few MiB. May
	 * wait, which limits the rate. Not 0: end, store_check() returns that.
	 */
	int (*progress)(void *arg, uint64_t segment, uint64_t bytes);
	void *arg;

	/* answered; also when progress() ended it */
	struct check_damage *damage; /* found now, as it was read; free() it */
	size_t nr_damage, max_damage;
	uint64_t next_segment;	/* the first that was not read to its end */
	uint64_t nr_units;
	uint64_t nr_unread;	/* of them: their key is not there, only their CRCs are right */
	/* Nothing is lost with these: segments that are read from the start, runs made anew. */
	uint64_t nr_footers_damaged;
	uint64_t nr_runs_damaged;
	bool points_damaged;	/* one of the two copies in the points file, or both */
	uint64_t read_bytes;
};

/**
 * check_bytes - how many a check reads, from where @check says on
 * Return: 0 or -errno.
 */
int check_bytes(struct timeline *tl, const struct check *check, uint64_t *bytes);

/**
 * check_run - see above
 * @tl: open for reading; only what was durable when it was opened is read
 * @why: TIMELINE_TEXT_BYTES, filled on failure
 * Return: 0 also with damage; -ENOMEM; -errno of a read other than -EIO, which is damage;
 * or what progress() returned.
 */
int check_run(struct timeline *tl, struct check *check, char *why);

#endif
