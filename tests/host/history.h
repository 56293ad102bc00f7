/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * history - random batches for a timeline, and what any point of it must show.
 *
 * Feeds the tests of the store. The model is a list of extents and the rule of DESIGN 1.5;
 * it knows nothing of segments, runs, sweeps or pieces. Batches are made in
 * order; after a crash the last ones are taken back and others made in their place.
 * In them: records and read-backs that overlap, several in a unit, equal stamps, read-backs
 * that come after newer records, zeroes and discards longer than any data, unreadable
 * stretches, sizes that change.
 */
#ifndef TEST_HISTORY_H
#define TEST_HISTORY_H

#include "../../userspace/store/view.h"
#include "test_batch.h"

#define HISTORY_VOLUMES 2

struct history_extent {
	uint64_t label, readback_no, seed;
	uint32_t first, nr;	/* sectors */
	uint16_t volume;
	uint8_t kind;
};

struct history_batch {
	uint64_t cut;
	uint64_t size_bytes[HISTORY_VOLUMES];
	size_t nr_extents;	/* of this batch and all before */
	/* What goes on in the next one. */
	uint64_t hold, hold_from, stamp, readback_no;
};

struct history {
	uint64_t random;
	uint32_t sectors;	/* of each volume */
	struct history_extent *extents;
	size_t nr_extents, max_extents;
	struct history_batch *batches;
	size_t nr_batches, max_batches;
	/* Memory of the check. */
	const struct history_extent **seen;
	uint32_t *order;
	size_t max_order;
	uint8_t *buf;
	char why[256];
};

void history_init(struct history *h, uint32_t sectors);
void history_fini(struct history *h);

/** history_reset - nothing has happened yet */
void history_reset(struct history *h, uint64_t seed);

/** history_greet - make its volumes known to a new timeline, and be granted incarnation 1 */
int history_greet(const struct history *h, struct timeline *tl);

/** history_batch - make the next batch; test_batch_free() is due */
void history_batch(struct history *h, struct test_batch *b);

/** history_truncate - only the first @nr batches have happened */
void history_truncate(struct history *h, size_t nr);

/**
 * history_check - a view of batch @index against the model
 * Return: true; false, and h->why says what is wrong. An error of the view is wrong, too.
 */
bool history_check(struct history *h, struct view *v, size_t index);

/**
 * history_sample - read single sectors of a view of which not all may be there
 * @refusal: -errno
 * Return: whether each was right, or refused with that (or -EIO, if unreadable).
 */
bool history_sample(struct history *h, struct view *v, size_t index, unsigned int nr,
		    int refusal);

/** history_point - open a view of batch @index, check it, close it */
bool history_point(struct history *h, struct timeline *tl, size_t index);

#endif
