/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * test_batch - batches for tests of the store: units and the commit record.
 *
 * Content is a function of a seed: test_fill().
 */
#ifndef TEST_BATCH_H
#define TEST_BATCH_H

#include "../../userspace/lib/segment_format.h"
#include "../../userspace/store/timeline.h"

#define TEST_BATCH_UNITS 64

struct test_batch {
	uint64_t ordinal, cut_seq, time_ns;
	uint8_t codec;
	uint16_t flags;
	uint8_t *units[TEST_BATCH_UNITS];
	size_t unit_bytes[TEST_BATCH_UNITS];
	uint32_t nr_units;
	uint32_t units_crc;
	uint64_t batch_bytes;
	struct commit_gap gaps[8];
	struct commit_hold holds[8];
	struct commit_repair repairs[8];
	struct commit_volume volumes[8];
	uint32_t nr_gaps, nr_holds, nr_repairs, nr_volumes;
	uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	size_t record_bytes;
};

/** test_fill - content that a seed stands for; half of it compresses */
void test_fill(void *buf, size_t bytes, uint64_t seed);

void test_batch_begin(struct test_batch *b, uint64_t ordinal, uint64_t cut_seq);

/** test_batch_extent - one unit with one extent; @stamp 0: a record, else a read-back */
void test_batch_extent(struct test_batch *b, uint16_t volume, uint64_t offset_bytes,
		       uint32_t length_bytes, enum extent_kind kind, uint64_t seed,
		       uint64_t stamp, uint64_t readback_no);

/* -- units of several extents: begin, add, end -- */

void test_batch_unit_begin(void);

/**
 * test_batch_unit_add - @data is borrowed until the end; 64 KiB a unit at most
 * Return: number of the extent in the unit; data that prolong the one before have its number.
 */
uint32_t test_batch_unit_add(uint16_t volume, uint64_t offset_bytes, uint64_t length_bytes,
			     enum extent_kind kind, const void *data);

/** test_batch_unit_end - @stamp 0: records; else read-backs, the first has @readback_no */
void test_batch_unit_end(struct test_batch *b, uint64_t stamp, uint64_t readback_no);

/** test_batch_end - lay out the commit record */
void test_batch_end(struct test_batch *b);

/** test_batch_append - all of it to a timeline; the first error */
int test_batch_append(const struct test_batch *b, struct timeline *tl);

void test_batch_free(struct test_batch *b);

#endif
