// SPDX-License-Identifier: GPL-2.0-only
/*
 * Units and commit records: docs/SEGMENT.md and the code say the same, and nothing
 * that is cut, turned or made up gets past the decoder or makes it read outside.
 */
#define DOC "docs/SEGMENT.md"
#include "doc.h"
#include "example_unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/unit_builder.h"
#include "../../userspace/store/manifest_format.h"
#include "../host/test_batch.h"

static const struct doc_field fields[] = {
	DOC_FIELD(unit_header, magic),
	DOC_FIELD(unit_header, version),
	DOC_FIELD(unit_header, codec),
	DOC_FIELD(unit_header, flags),
	DOC_FIELD(unit_header, unit_bytes),
	DOC_FIELD(unit_header, stored_bytes),
	DOC_FIELD(unit_header, data_bytes),
	DOC_FIELD(unit_header, nr_extents),
	DOC_FIELD(unit_header, reserved0),
	DOC_FIELD(unit_header, nr_crcs),
	DOC_FIELD(unit_header, header_crc),
	DOC_FIELD(unit_header, batch_ordinal),
	DOC_FIELD(unit_header, label_seq),
	DOC_FIELD(unit_header, readback_no),
	DOC_FIELD(unit_header, stored_crc),
	DOC_FIELD(unit_header, reserved1),
	DOC_FIELD(unit_extent, offset_bytes),
	DOC_FIELD(unit_extent, length_bytes),
	DOC_FIELD(unit_extent, volume),
	DOC_FIELD(unit_extent, kind),
	DOC_FIELD(unit_extent, reserved),
	DOC_FIELD(unit_extent, data_offset),
	DOC_FIELD(unit_extent, first_crc),
	DOC_FIELD(unit_extent, reserved1),
	DOC_FIELD(commit_header, magic),
	DOC_FIELD(commit_header, version),
	DOC_FIELD(commit_header, flags),
	DOC_FIELD(commit_header, record_bytes),
	DOC_FIELD(commit_header, crc),
	DOC_FIELD(commit_header, ordinal),
	DOC_FIELD(commit_header, cut_seq),
	DOC_FIELD(commit_header, time_ns),
	DOC_FIELD(commit_header, current_to_ns),
	DOC_FIELD(commit_header, batch_bytes),
	DOC_FIELD(commit_header, nr_units),
	DOC_FIELD(commit_header, units_crc),
	DOC_FIELD(commit_header, nr_gaps),
	DOC_FIELD(commit_header, nr_holds),
	DOC_FIELD(commit_header, nr_repairs),
	DOC_FIELD(commit_header, nr_volumes),
	DOC_FIELD(commit_header, target_time_ns),
	DOC_FIELD(commit_header, written_bytes),
	DOC_FIELD(commit_header, nr_records),
	DOC_FIELD(commit_header, target_durable),
	DOC_FIELD(commit_header, reserved),
	DOC_FIELD(commit_gap, from_seq),
	DOC_FIELD(commit_gap, to_seq),
	DOC_FIELD(commit_hold, id),
	DOC_FIELD(commit_hold, from_seq),
	DOC_FIELD(commit_hold, end_seq),
	DOC_FIELD(commit_repair, t0_seq),
	DOC_FIELD(commit_repair, end_seq),
	DOC_FIELD(commit_volume, volume),
	DOC_FIELD(commit_volume, flags),
	DOC_FIELD(commit_volume, log_no),
	DOC_FIELD(commit_volume, size_bytes),
	DOC_FIELD(segment_header, magic),
	DOC_FIELD(segment_header, version),
	DOC_FIELD(segment_header, flags),
	DOC_FIELD(segment_header, header_bytes),
	DOC_FIELD(segment_header, crc),
	DOC_FIELD(segment_header, timeline),
	DOC_FIELD(segment_header, number),
	DOC_FIELD(segment_header, first_ordinal),
	DOC_FIELD(segment_header, created_ns),
	DOC_FIELD(segment_header, epoch),
	DOC_FIELD(segment_header, key_id),
	DOC_FIELD(segment_header, key_salt),
	DOC_FIELD(pad_record, magic),
	DOC_FIELD(pad_record, pad_bytes),
	DOC_FIELD(footer_header, magic),
	DOC_FIELD(footer_header, version),
	DOC_FIELD(footer_header, flags),
	DOC_FIELD(footer_header, footer_bytes),
	DOC_FIELD(footer_header, crc),
	DOC_FIELD(footer_header, nr_extents),
	DOC_FIELD(footer_header, nr_commits),
	DOC_FIELD(footer_extent, extent),
	DOC_FIELD(footer_extent, unit_offset),
	DOC_FIELD(footer_extent, label_seq),
	DOC_FIELD(footer_extent, readback_no),
	DOC_FIELD(footer_extent, batch_ordinal),
	DOC_FIELD(segment_trailer, magic),
	DOC_FIELD(segment_trailer, version),
	DOC_FIELD(segment_trailer, flags),
	DOC_FIELD(segment_trailer, footer_offset),
	DOC_FIELD(segment_trailer, footer_bytes),
	DOC_FIELD(segment_trailer, data_end),
	DOC_FIELD(segment_trailer, reserved),
	DOC_FIELD(segment_trailer, crc),
	DOC_FIELD(manifest_header, magic),
	DOC_FIELD(manifest_header, version),
	DOC_FIELD(manifest_header, type),
	DOC_FIELD(manifest_header, record_bytes),
	DOC_FIELD(manifest_header, crc),
	DOC_FIELD(manifest_identity, timeline),
	DOC_FIELD(manifest_identity, created_ns),
	DOC_FIELD(manifest_identity, epoch),
	DOC_FIELD(manifest_identity, reserved),
	DOC_FIELD(manifest_identity, owner),
	DOC_FIELD(manifest_volume, id),
	DOC_FIELD(manifest_volume, reserved),
	DOC_FIELD(manifest_volume, size_bytes),
	DOC_FIELD(manifest_volume, name),
	DOC_FIELD(manifest_volume, identity),
	DOC_FIELD(manifest_grant, incarnation),
	DOC_FIELD(manifest_grant, reserved),
	DOC_FIELD(manifest_grant, instance),
	DOC_FIELD(manifest_grant, time_ns),
	DOC_FIELD(manifest_segment_end, number),
	DOC_FIELD(manifest_segment_end, end_offset),
	DOC_FIELD(manifest_segment_end, last_ordinal),
	DOC_FIELD(manifest_durable, ordinal),
	DOC_FIELD(manifest_durable, segment),
};

static void the_document_has_the_offsets_of_the_code(void **state)
{
	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

/* -- the worked example -- */

static size_t example_commit(uint8_t *record, size_t unit_bytes, uint32_t units_crc)
{
	struct commit_gap gap = { seq_pack(1, 5), seq_pack(1, 6) };
	struct commit_hold hold = { 2, seq_pack(1, 8), 0 };
	struct commit_repair repair = { seq_pack(1, 2), seq_pack(1, 4) };
	struct commit_volume volume = { .volume = 1, .size_bytes = 1 << 20 };
	struct commit_view view = {
		.header = {
			.ordinal = 3, .cut_seq = seq_pack(1, 9),
			.time_ns = 1700000000000000000u, .current_to_ns = 1700000001000000000u,
			.batch_bytes = unit_bytes, .nr_units = 1, .units_crc = units_crc,
			.nr_gaps = 1, .nr_holds = 1, .nr_repairs = 1, .nr_volumes = 1,
			.written_bytes = 512, .nr_records = 2,
		},
		.gaps = &gap, .holds = &hold, .repairs = &repair, .volumes = &volume,
	};

	return commit_encode(&view, record);
}

static void the_worked_example_is_what_the_code_makes(void **state)
{
	uint8_t unit[UNIT_MAX_BYTES] __attribute__((aligned(8)));
	uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	uint32_t header_crc;
	size_t bytes = example_unit(unit, &header_crc);
	struct unit_view view;
	uint8_t data[512];

	assert_int_equal(bytes, 648);
	doc_expect_bytes("unit", unit, 136);
	assert_int_equal(unit_decode(unit, bytes, 1, &view), 0);
	assert_int_equal(unit_unpack(&view, data), 0);
	assert_int_equal(data[511], 255);
	bytes = example_commit(record, bytes, crc32c(&header_crc, 4));
	assert_int_equal(bytes, 200);
	doc_expect_bytes("commit", record, bytes);
}

/* -- damage -- */

static void expect_unit_bad(const uint8_t *buf, size_t bytes)
{
	struct unit_view view;

	assert_int_equal(unit_decode(buf, bytes, 1, &view), -EBADMSG);
}

static void a_cut_unit_wants_more_and_a_turned_bit_is_seen(void **state)
{
	for (int codec = UNIT_STORED; codec <= UNIT_LZ4; codec++) {
		struct test_batch b;
		struct unit_view view;
		uint8_t data[UNIT_MAX_DATA_BYTES], want[UNIT_MAX_DATA_BYTES];
		size_t bytes;

		test_batch_begin(&b, 3, 90);
		b.codec = codec;
		test_batch_extent(&b, 1, 1536, 7168, EXTENT_DATA, 5, 0, 0);
		bytes = b.unit_bytes[0];
		for (size_t cut = 0; cut < bytes; cut++) {
			/* The exact size, for the sanitizer to watch its end. */
			uint8_t *exact = malloc(cut ? cut : 1);

			memcpy(exact, b.units[0], cut);
			assert_int_equal(unit_decode(exact, cut, 1, &view), -EAGAIN);
			free(exact);
		}
		for (size_t bit = 0; bit < bytes * 8; bit++) {
			b.units[0][bit / 8] ^= 1 << bit % 8;
			if (bit / 8 >= 8 && bit / 8 < 12) {
				int ret = unit_decode(b.units[0], bytes, 1, &view);

				assert_true(ret == -EBADMSG || ret == -EAGAIN);
			} else {
				expect_unit_bad(b.units[0], bytes);
			}
			b.units[0][bit / 8] ^= 1 << bit % 8;
		}
		assert_int_equal(unit_decode(b.units[0], bytes, 1, &view), 0);
		assert_int_equal(view.header.codec, codec);
		assert_int_equal(unit_unpack(&view, data), 0);
		test_fill(want, 7168, 5);
		assert_memory_equal(data, want, 7168);
		/* Without the outer CRC the blocks' own find it. */
		((uint8_t *)view.stored)[view.header.stored_bytes / 2] ^= 4;
		assert_int_equal(unit_decode(b.units[0], bytes, 0, &view), 0);
		assert_int_equal(unit_unpack(&view, data), -EBADMSG);
		test_batch_free(&b);
	}
}

/* What a hostile source can do: any field, with the CRC made right again. */
static void fields_that_lie_are_refused(void **state)
{
	static const struct { size_t offset; uint64_t value; size_t bytes; } lies[] = {
		{ offsetof(struct unit_header, version), 2, 2 },
		{ offsetof(struct unit_header, codec), UNIT_ZSTD, 1 },
		{ offsetof(struct unit_header, codec), 9, 1 },
		{ offsetof(struct unit_header, flags), 4, 1 },
		{ offsetof(struct unit_header, flags), UNIT_ENCRYPTED, 1 },
		{ offsetof(struct unit_header, flags), UNIT_READBACK, 1 },
		{ offsetof(struct unit_header, unit_bytes), 640, 4 },
		{ offsetof(struct unit_header, stored_bytes), 511, 4 },
		{ offsetof(struct unit_header, data_bytes), 513, 4 },
		{ offsetof(struct unit_header, nr_extents), 0, 2 },
		{ offsetof(struct unit_header, nr_extents), 1, 2 },
		{ offsetof(struct unit_header, nr_crcs), 0, 4 },
		{ offsetof(struct unit_header, nr_crcs), UINT32_MAX, 4 },
		{ offsetof(struct unit_header, batch_ordinal), 0, 8 },
		{ offsetof(struct unit_header, readback_no), 1, 8 },
		{ offsetof(struct unit_header, reserved1), 1, 4 },
		{ 64 + offsetof(struct unit_extent, offset_bytes), 4097, 8 },
		{ 64 + offsetof(struct unit_extent, offset_bytes), UINT64_MAX - 511, 8 },
		{ 64 + offsetof(struct unit_extent, offset_bytes), (1ull << 60), 8 },
		{ 64 + offsetof(struct unit_extent, offset_bytes), 4096 - 512 + 3584 + 256, 8 },
		{ 64 + offsetof(struct unit_extent, length_bytes), 0, 8 },
		{ 64 + offsetof(struct unit_extent, length_bytes), 1024, 8 },
		{ 64 + offsetof(struct unit_extent, length_bytes), 1ull << 40, 8 },
		{ 64 + offsetof(struct unit_extent, kind), 0, 1 },
		{ 64 + offsetof(struct unit_extent, kind), EXTENT_ZERO, 1 },
		{ 64 + offsetof(struct unit_extent, kind), 5, 1 },
		{ 64 + offsetof(struct unit_extent, data_offset), 1, 4 },
		{ 64 + offsetof(struct unit_extent, first_crc), 1, 4 },
		{ 96 + offsetof(struct unit_extent, kind), EXTENT_UNREADABLE, 1 },
		{ 96 + offsetof(struct unit_extent, kind), EXTENT_DATA, 1 },
		{ 96 + offsetof(struct unit_extent, length_bytes), UINT64_MAX - 511, 8 },
		{ 96 + offsetof(struct unit_extent, data_offset), 8, 4 },
	};
	uint8_t unit[UNIT_MAX_BYTES] __attribute__((aligned(8)));
	uint32_t header_crc;
	size_t bytes = example_unit(unit, &header_crc);

	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		uint8_t *lie = aligned_alloc(8, 65536);
		uint32_t crc = 0;
		struct unit_view view;
		int ret;

		memset(lie, 0, 65536);
		memcpy(lie, unit, bytes);
		memcpy(lie + lies[i].offset, &lies[i].value, lies[i].bytes);
		memcpy(lie + offsetof(struct unit_header, header_crc), &crc, 4);
		crc = crc32c(lie, 132);
		memcpy(lie + offsetof(struct unit_header, header_crc), &crc, 4);
		ret = unit_decode(lie, 65536, 1, &view);
		if (ret != -EBADMSG)
			fail_msg("lie %d: %d", (int)i, ret);
		free(lie);
	}
}

static void lz4_that_unpacks_to_too_much_is_refused(void **state)
{
	/* Literals, then a match that runs far past data_bytes. */
	uint8_t unit[256] __attribute__((aligned(8))) = { 0 }, data[512];
	struct unit_header h = {
		.magic = UNIT_MAGIC, .version = 1, .codec = UNIT_LZ4, .stored_bytes = 16,
		.data_bytes = 512, .nr_extents = 1, .nr_crcs = 1, .unit_bytes = 64 + 32 + 4 + 16 + 4,
		.batch_ordinal = 1, .label_seq = 1,
	};
	struct unit_extent e = { .length_bytes = 512, .kind = EXTENT_DATA };
	static const uint8_t packed[16] = { 0x1f, 'x', 1, 0, 255, 255, 255, 255, 255, 255, 255,
					    0, 0x50, 'a', 'b', 'c' };
	struct unit_view view;

	memcpy(unit + 64, &e, sizeof(e));
	memcpy(unit + 100, packed, 16);
	h.stored_crc = crc32c(packed, 16);
	memcpy(unit, &h, sizeof(h));
	h.header_crc = crc32c(unit, 100);
	memcpy(unit, &h, sizeof(h));
	assert_int_equal(unit_decode(unit, h.unit_bytes, 1, &view), 0);
	assert_int_equal(unit_unpack(&view, data), -EBADMSG);
}

static void commit_records_likewise(void **state)
{
	uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	const struct commit_stamp stamp = { 12345, 2, 680, 8 };
	struct commit_view view;
	size_t bytes = example_commit(record, 648, 7);

	for (size_t cut = 0; cut < bytes; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);

		memcpy(exact, record, cut);
		assert_int_equal(commit_decode(exact, cut, &view), -EAGAIN);
		free(exact);
	}
	for (size_t bit = 0; bit < bytes * 8; bit++) {
		record[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(commit_decode(record, bytes, &view), -EBADMSG);
		record[bit / 8] ^= 1 << bit % 8;
	}
	commit_stamp(record, &stamp);
	assert_int_equal(commit_decode(record, bytes, &view), 0);
	assert_int_equal(view.header.target_time_ns, 12345);
	assert_int_equal(view.header.target_durable, 2);
	assert_int_equal(view.header.batch_bytes, 680);
	assert_int_equal(view.header.units_crc, 8);
	assert_int_equal(view.gaps[0].to_seq, seq_pack(1, 6));
	assert_int_equal(view.holds[0].id, 2);
	assert_int_equal(view.repairs[0].end_seq, seq_pack(1, 4));
	assert_int_equal(view.volumes[0].size_bytes, 1 << 20);
}

static void commit_tables_that_lie_are_refused(void **state)
{
	static uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
	struct commit_gap gaps[2] = { { 5, 6 }, { 8, 9 } };
	struct commit_hold hold = { 1, 4, 5 };
	struct commit_repair repair = { 3, 4 };
	struct commit_volume volumes[2] = { { .volume = 1 }, { .volume = 0 } };
	struct commit_view view = {
		.header = { .ordinal = 1, .cut_seq = 9, .nr_gaps = 2, .nr_holds = 1,
			    .nr_repairs = 1, .nr_volumes = 2 },
		.gaps = gaps, .holds = &hold, .repairs = &repair, .volumes = volumes,
	}, got;

#define WITH(change, undo) do {							\
	change;									\
	assert_int_equal(commit_decode(record, commit_encode(&view, record), &got), -EBADMSG); \
	undo;									\
	assert_int_equal(commit_decode(record, commit_encode(&view, record), &got), 0); \
} while (0)
	WITH(gaps[1].from_seq = 6, gaps[1].from_seq = 8);
	WITH(gaps[0].from_seq = 0, gaps[0].from_seq = 5);
	WITH(gaps[1].to_seq = 7, gaps[1].to_seq = 9);
	WITH(hold.id = 0, hold.id = 1);
	WITH(hold.end_seq = 3, hold.end_seq = 5);
	WITH(repair.end_seq = 2, repair.end_seq = 4);
	WITH(volumes[1].volume = 1, volumes[1].volume = 0);
	WITH(volumes[0].size_bytes = 100, volumes[0].size_bytes = 1024);
	WITH(view.header.ordinal = 0, view.header.ordinal = 1);
	WITH(view.header.nr_units = 1, view.header.nr_units = 0);
	WITH(view.header.flags = 4, view.header.flags = 0);
	view.header.nr_holds = COMMIT_MAX_HOLDS + 1;
	assert_int_equal(commit_encode(&view, record), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_the_offsets_of_the_code),
		cmocka_unit_test(the_worked_example_is_what_the_code_makes),
		cmocka_unit_test(a_cut_unit_wants_more_and_a_turned_bit_is_seen),
		cmocka_unit_test(fields_that_lie_are_refused),
		cmocka_unit_test(lz4_that_unpacks_to_too_much_is_refused),
		cmocka_unit_test(commit_records_likewise),
		cmocka_unit_test(commit_tables_that_lie_are_refused),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
