/* SPDX-License-Identifier: GPL-2.0-only */
/* reader - one view of a point with all it stands on; for one thread at a time. */
#ifndef BLKSHIP_READER_H
#define BLKSHIP_READER_H

#include <stdbool.h>

#include "../store/view.h"
#include "point_list.h"

struct reader {
	struct point_list list;
	struct view *view;
	char group[POINT_GROUP_BYTES];	/* as of main_line_open(): what opens it again, with the seq */

	/* The pool's. */
	bool busy;
	uint16_t volume;		/* of the last read */
	uint64_t end_bytes;		/* where it ended */
	uint64_t used;			/* when, in reads */
};

/**
 * reader_open - open a point
 * @name: which; if @seq is not 0 it is the one with that cut, whatever the name says now
 * @keys: borrowed as long as the reader is there; @note: as of point_list_set_keys()
 * @force: also one that is known to be damaged, or not all of whose keys are there
 * @point: out, valid as long as the reader
 * @why: out on failure, POINT_TEXT_BYTES
 * Not for several threads at a time. Return: 0 or -errno.
 */
int reader_open(const char *store, const struct point_name *name, uint64_t seq,
		const struct keyring *keys, const char *note, bool force, struct reader **out, const struct point **point, char *why);
void reader_close(struct reader *r);

#endif
