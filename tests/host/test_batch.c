// SPDX-License-Identifier: GPL-2.0-only
/* test_batch - batches for tests of the store: units and the commit record. */
#include "test_batch.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/unit_builder.h"

void test_fill(void *buf, size_t bytes, uint64_t seed)
{
	uint64_t x = seed * 0x9e3779b97f4a7c15u + 1;
	uint8_t *at = buf;

	for (size_t i = 0; i < bytes; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		at[i] = i / 64 % 2 ? (uint8_t)seed : x >> 56;
	}
}

void test_batch_begin(struct test_batch *b, uint64_t ordinal, uint64_t cut_seq)
{
	memset(b, 0, sizeof(*b));
	b->ordinal = ordinal;
	b->cut_seq = cut_seq;
	b->time_ns = ordinal * 1000000000u;
}

static struct unit_builder builder;

void test_batch_unit_begin(void)
{
	unit_builder_reset(&builder);
	builder.scattered_bytes = UNIT_MAX_DATA_BYTES;	/* as tests lay it out */
}

uint32_t test_batch_unit_add(uint16_t volume, uint64_t offset_bytes, uint64_t length_bytes,
			     enum extent_kind kind, const void *data)
{
	uint32_t crcs[UNIT_MAX_DATA_BYTES / BLOCK_BYTES + 2], nr = 0, done = 0;

	if (kind != EXTENT_DATA) {
		unit_builder_add(&builder, volume, offset_bytes, length_bytes, kind);
		return builder.nr_extents - 1;
	}
	assert(length_bytes <= UNIT_MAX_DATA_BYTES);
	while (done < length_bytes) {
		uint32_t piece = BLOCK_BYTES - (offset_bytes + done) % BLOCK_BYTES;

		if (piece > length_bytes - done)
			piece = length_bytes - done;
		crcs[nr++] = crc32c((const uint8_t *)data + done, piece);
		done += piece;
	}
	done = unit_builder_add_data(&builder, volume, offset_bytes, data, length_bytes, crcs);
	assert(done == length_bytes);
	return builder.nr_extents - 1;
}

void test_batch_unit_end(struct test_batch *b, uint64_t stamp, uint64_t readback_no)
{
	static uint8_t scratch[UNIT_MAX_DATA_BYTES];
	struct unit_label label = { b->ordinal, stamp ? stamp : b->cut_seq, readback_no,
				    b->codec };
	uint8_t *unit = calloc(1, UNIT_MAX_BYTES);
	uint32_t header_crc, le;

	assert(b->nr_units < TEST_BATCH_UNITS);
	b->unit_bytes[b->nr_units] = unit_builder_finish(&builder, &label, unit, scratch,
							 &header_crc);
	le = htole32(header_crc);
	b->units_crc = crc32c_extend(b->units_crc, &le, sizeof(le));
	b->batch_bytes += b->unit_bytes[b->nr_units];
	b->units[b->nr_units++] = unit;
}

void test_batch_extent(struct test_batch *b, uint16_t volume, uint64_t offset_bytes,
		       uint32_t length_bytes, enum extent_kind kind, uint64_t seed,
		       uint64_t stamp, uint64_t readback_no)
{
	uint8_t data[UNIT_MAX_DATA_BYTES];

	if (kind == EXTENT_DATA)
		test_fill(data, length_bytes, seed);
	test_batch_unit_begin();
	test_batch_unit_add(volume, offset_bytes, length_bytes, kind, data);
	test_batch_unit_end(b, stamp, readback_no);
}

void test_batch_end(struct test_batch *b)
{
	struct commit_view view = {
		.header = {
			.flags = b->flags, .ordinal = b->ordinal, .cut_seq = b->cut_seq,
			.time_ns = b->time_ns, .batch_bytes = b->batch_bytes,
			.nr_units = b->nr_units, .units_crc = b->units_crc,
			.nr_gaps = b->nr_gaps, .nr_holds = b->nr_holds,
			.nr_repairs = b->nr_repairs, .nr_volumes = b->nr_volumes,
		},
		.gaps = b->gaps, .holds = b->holds, .repairs = b->repairs,
		.volumes = b->volumes,
	};

	b->record_bytes = commit_encode(&view, b->record);
}

int test_batch_append(const struct test_batch *b, struct timeline *tl)
{
	int ret = 0;

	for (uint32_t i = 0; i < b->nr_units && !ret; i++)
		ret = timeline_append_unit(tl, b->units[i], b->unit_bytes[i]);
	return ret ? ret : timeline_append_commit(tl, b->record, b->record_bytes);
}

void test_batch_free(struct test_batch *b)
{
	for (uint32_t i = 0; i < b->nr_units; i++)
		free(b->units[i]);
	b->nr_units = 0;
}
