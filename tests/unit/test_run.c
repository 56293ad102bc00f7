// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs: docs/STORE.md and the code say the same; a search finds what going through all
 * of it finds; and nothing that is cut, turned or made up is used.
 */
#define DOC "docs/STORE.md"
#include "doc.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/segment_format.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/run_read.h"
#include "../../userspace/store/run_write.h"
#include "../host/sim_env.h"

static const struct doc_field fields[] = {
	DOC_FIELD(run_header, magic),
	DOC_FIELD(run_header, version),
	DOC_FIELD(run_header, flags),
	DOC_FIELD(run_header, header_bytes),
	DOC_FIELD(run_header, crc),
	DOC_FIELD(run_header, timeline),
	DOC_FIELD(run_header, number),
	DOC_FIELD(run_header, first_segment),
	DOC_FIELD(run_header, last_segment),
	DOC_FIELD(run_header, last_ordinal),
	DOC_FIELD(run_header, nr_entries),
	DOC_FIELD(run_header, lengths),
	DOC_FIELD(run_header, nr_blocks),
	DOC_FIELD(run_header, root),
	DOC_FIELD(run_header, level),
	DOC_FIELD(run_header, reserved),
	DOC_FIELD(run_block, crc),
	DOC_FIELD(run_block, number),
	DOC_FIELD(run_block, block),
	DOC_FIELD(run_block, nr),
	DOC_FIELD(run_block, depth),
	DOC_FIELD(run_block, reserved),
	DOC_FIELD(run_entry, offset_bytes),
	DOC_FIELD(run_entry, label_seq),
	DOC_FIELD(run_entry, readback_no),
	DOC_FIELD(run_entry, segment),
	DOC_FIELD(run_entry, unit_at),
	DOC_FIELD(run_entry, extent_no),
	DOC_FIELD(run_entry, volume),
	DOC_FIELD(run_entry, data_sector),
	DOC_FIELD(run_entry, length_shift),
	DOC_FIELD(run_entry, kind),
	DOC_FIELD(run_entry, reserved),
	DOC_FIELD(run_fence, offset_bytes),
	DOC_FIELD(run_fence, label_seq),
	DOC_FIELD(run_fence, child),
	DOC_FIELD(run_fence, volume),
	DOC_FIELD(run_fence, length_shift),
	DOC_FIELD(run_fence, reserved),
	DOC_FIELD(manifest_run, number),
	DOC_FIELD(manifest_run, first_segment),
	DOC_FIELD(manifest_run, last_segment),
	DOC_FIELD(manifest_run, last_ordinal),
	DOC_FIELD(manifest_run, nr_entries),
	DOC_FIELD(manifest_run, nr_blocks),
	DOC_FIELD(manifest_run, level),
};

static void the_document_has_the_offsets_of_the_code(void **state)
{
	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

/* -- a run on a simulated disk -- */

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct run_header header;
	struct manifest_run named;
};

static void rig_init(struct rig *r)
{
	*r = (struct rig){ .sim = sim_env_create(1), .header = {
		.timeline = "the timeline's.", .number = 7, .first_segment = 3,
		.last_segment = 5, .last_ordinal = 40 } };
	r->env = sim_env_env(r->sim);
	r->env->ops->mkdir(r->env, "/t");
	r->env->ops->sync_dir(r->env, "");
}

static void write_run(struct rig *r, const struct run_entry *entries, size_t nr)
{
	struct run_writer w;

	assert_int_equal(run_writer_begin(&w, r->env, "/t", &r->header, NULL), 0);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(run_writer_add(&w, &entries[i]), 0);
	assert_int_equal(run_writer_finish(&w, &r->named), 0);
}

static int open_run(struct rig *r, struct run *run)
{
	return run_open(r->env, "/t", r->header.timeline, &r->named, run);
}

/* 6144 bytes at 1024 of volume 1, the second extent of a unit of segment 3. */
static void the_worked_example_is_what_the_code_makes(void **state)
{
	struct run_entry e[4];
	const uint8_t *content;
	uint64_t at = 1024, bytes;
	struct rig r;
	size_t nr = 0;

	rig_init(&r);
	r.header.last_segment = 3;
	while (at < 1024 + 6144) {
		e[nr] = (struct run_entry){
			.offset_bytes = at, .label_seq = seq_pack(1, 9), .segment = 3,
			.unit_at = 4096 / 8, .extent_no = 1, .volume = 1, .kind = EXTENT_DATA,
			.length_shift = run_piece_shift(at, 1024 + 6144),
			.data_sector = (512 + at - 1024) / 512,
		};
		at += 1u << e[nr++].length_shift;
	}
	assert_int_equal(nr, 4);
	assert_int_equal(e[1].length_shift, 11);
	write_run(&r, e, nr);
	content = sim_env_content(r.sim, "/t/0000000000000007.run", &bytes);
	assert_int_equal(bytes, 8192);
	doc_expect_bytes("header", content, 96);
	doc_expect_bytes("leaf", content + 4096, 16 + 2 * 40);
	sim_env_destroy(r.sim);
}

static void an_extent_is_cut_where_it_is_aligned(void **state)
{
	uint64_t random = 1;

	assert_int_equal(run_piece_shift(0, UINT64_C(1) << 60), 60);
	assert_int_equal(run_piece_shift(0, 512), 9);
	assert_int_equal(run_piece_shift(4096, 8192), 12);
	for (int i = 0; i < 20000; i++) {
		uint64_t at = (unit_random(&random) >> unit_random(&random) % 55) % (1ull << 51) * 512;
		uint64_t nr = 1 + (unit_random(&random) >> unit_random(&random) % 55) % (1ull << 50);
		uint64_t end = at + nr * 512;
		int pieces = 0;

		for (; at < end; pieces++) {
			uint64_t bytes = 1ull << run_piece_shift(at, end);

			assert_true(bytes >= 512 && at % bytes == 0 && bytes <= end - at);
			/* Nothing longer would do. */
			assert_true(at % (bytes * 2) != 0 || bytes * 2 > end - at);
			at += bytes;
		}
		assert_int_equal(at, end);
		assert_true(pieces <= 102);
	}
}

static int entry_compare(const void *a, const void *b)
{
	return run_entry_compare(a, b);
}

/* Many versions of few places: some fill more than a node; three levels of the tree. */
static size_t make_entries(struct run_entry *e, size_t nr, uint64_t random)
{
	size_t kept = 1;

	for (size_t i = 0; i < nr; i++) {
		uint8_t shift = 9 + unit_random(&random) % 4;
		uint64_t places = unit_random(&random) % 4 ? 5000 : 2;

		e[i] = (struct run_entry){
			.offset_bytes = unit_random(&random) % places << shift,
			.label_seq = 1 + unit_random(&random) % 2000,
			.readback_no = unit_random(&random) % 3 ? 0 : 1 + unit_random(&random) % 9,
			.segment = 3 + unit_random(&random) % 3,
			.unit_at = 512 + unit_random(&random) % 4000,
			.extent_no = unit_random(&random) % 512,
			.volume = unit_random(&random) % 3,
			.length_shift = shift, .kind = EXTENT_ZERO,
		};
	}
	qsort(e, nr, sizeof(*e), entry_compare);
	for (size_t i = 1; i < nr; i++)
		if (run_entry_compare(&e[kept - 1], &e[i]) < 0)
			e[kept++] = e[i];
	return kept;
}

static size_t first_not_before(const struct run_entry *e, size_t nr, const struct run_key *key)
{
	size_t i = 0;

	for (; i < nr; i++) {
		struct run_key k = run_entry_key(&e[i]);

		if (run_key_compare(&k, key) >= 0)
			break;
	}
	return i;
}

static void a_search_finds_what_going_through_finds(void **state)
{
	const size_t counts[] = { 0, 1, 101, 102, 103, 102 * 170, 102 * 170 + 1, 40000 };
	struct run_entry *e = malloc(40000 * sizeof(*e)), got;
	uint64_t random = 3;
	struct rig r;

	rig_init(&r);
	for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
		size_t nr = counts[c] ? make_entries(e, counts[c], c + 1) : 0;
		struct run_cache *cache = calloc(1, sizeof(*cache));
		struct run_stream stream;
		struct run run;

		r.header.number++;
		write_run(&r, e, nr);
		assert_int_equal(r.named.nr_entries, nr);
		assert_int_equal(open_run(&r, &run), 0);
		assert_int_equal(run_stream_begin(&stream, &run), 0);
		for (size_t i = 0; i < nr; i++) {
			assert_int_equal(run_stream_next(&stream, &got), 0);
			assert_memory_equal(&got, &e[i], sizeof(got));
		}
		assert_int_equal(run_stream_next(&stream, &got), -ENOENT);
		run_stream_end(&stream);
		for (int i = 0; i < 300; i++) {
			const struct run_entry *some = &e[nr ? unit_random(&random) % nr : 0];
			struct run_key key = { unit_random(&random) % 6000 * 512,
					       unit_random(&random) % 2100,
					       unit_random(&random) % 4,
					       9 + unit_random(&random) % 4 };
			struct run_cursor cursor;
			size_t want;
			int ret;

			if (nr && i % 3) {	/* something that is there, or nearly */
				key = run_entry_key(some);
				key.label_seq += i % 2;
			}
			want = first_not_before(e, nr, &key);
			ret = run_seek(&run, cache, &key, &cursor);
			assert_int_equal(ret, want < nr ? 0 : -ENOENT);
			for (int steps = 0; !ret && steps < 4; steps++) {
				assert_memory_equal(&cursor.entry, &e[want], sizeof(got));
				if (steps % 2) {
					/* From here to the next place. */
					key = run_entry_key(&e[want]);
					key.length_shift--;
					key.label_seq = UINT64_MAX;
					want = first_not_before(e, nr, &key);
					ret = run_skip(&cursor, &key);
				} else {
					want++;
					ret = run_next(&cursor);
				}
				assert_int_equal(ret, want < nr ? 0 : -ENOENT);
			}
		}
		run_cache_fini(cache);
		free(cache);
		run_close(&run);
	}
	free(e);
	sim_env_destroy(r.sim);
}

static void what_is_not_in_order_is_not_written(void **state)
{
	struct run_entry a = { .offset_bytes = 512, .label_seq = 5, .segment = 3, .unit_at = 512,
			       .length_shift = 9, .kind = EXTENT_ZERO }, b = a;
	struct run_writer w;
	uint64_t bytes;
	struct rig r;

	rig_init(&r);
	assert_int_equal(run_writer_begin(&w, r.env, "/t", &r.header, NULL), 0);
	assert_int_equal(run_writer_add(&w, &a), 0);
	assert_int_equal(run_writer_add(&w, &b), -EBADMSG);
	b.label_seq++;
	assert_int_equal(run_writer_add(&w, &b), -EBADMSG);
	run_writer_abort(&w);
	assert_null(sim_env_content(r.sim, "/t/0000000000000007.run.new", &bytes));
	sim_env_destroy(r.sim);
}

/* All of a run that can be reached: by stream and by search. Return: the first error. */
static int look(struct rig *r, size_t *nr)
{
	struct run_cache *cache = calloc(1, sizeof(*cache));
	struct run_key key = { 0 };
	struct run_stream stream;
	struct run_cursor cursor;
	struct run_entry e;
	struct run run;
	int ret = open_run(r, &run), search;

	*nr = 0;
	if (!ret) {
		assert_int_equal(run_stream_begin(&stream, &run), 0);
		while ((ret = run_stream_next(&stream, &e)) == 0)
			++*nr;
		run_stream_end(&stream);
		for (search = run_seek(&run, cache, &key, &cursor); search == 0;)
			search = run_next(&cursor);
		for (key.offset_bytes = 0; key.offset_bytes < 40 << 20; key.offset_bytes += 77824)
			if (run_seek(&run, cache, &key, &cursor) == -EBADMSG)
				search = -EBADMSG;
		ret = ret == -ENOENT ? search : ret;
		run_close(&run);
	}
	run_cache_fini(cache);
	free(cache);
	return ret;
}

static void any_turned_bit_is_seen(void **state)
{
	struct run_entry *e = malloc(30000 * sizeof(*e));
	size_t nr = make_entries(e, 30000, 9), got;
	uint64_t bytes, random = 5;
	struct rig r;

	rig_init(&r);
	write_run(&r, e, nr);
	free(e);
	assert_int_equal(look(&r, &got), -ENOENT);
	assert_int_equal(got, nr);
	sim_env_content(r.sim, "/t/0000000000000007.run", &bytes);
	for (int i = 0; i < 150; i++) {
		uint64_t at = unit_random(&random) % bytes;

		if (i < 20)
			at = i * 8;		/* the header */
		else if (i < 40)
			at = bytes - 4096 + i * 8;	/* the root */
		sim_env_flip(r.sim, "/t/0000000000000007.run", at, i % 8);
		assert_int_equal(look(&r, &got), -EBADMSG);
		sim_env_flip(r.sim, "/t/0000000000000007.run", at, i % 8);
	}
	sim_env_destroy(r.sim);
}

/* Fields that cannot be, under a CRC that agrees. */
static void fields_that_lie_are_refused(void **state)
{
	static const struct { uint32_t block; size_t offset; uint64_t value; size_t bytes; } lies[] = {
		{ 0, offsetof(struct run_header, version), 2, 2 },
		{ 0, offsetof(struct run_header, header_bytes), 8192, 4 },
		{ 0, offsetof(struct run_header, timeline), 1, 1 },
		{ 0, offsetof(struct run_header, number), 8, 8 },
		{ 0, offsetof(struct run_header, last_segment), 9, 8 },
		{ 0, offsetof(struct run_header, last_ordinal), 41, 8 },
		{ 0, offsetof(struct run_header, nr_entries), 1, 8 },
		{ 0, offsetof(struct run_header, lengths), 0, 8 },
		{ 0, offsetof(struct run_header, nr_blocks), 2, 4 },
		{ 0, offsetof(struct run_header, root), 0, 4 },
		{ 0, offsetof(struct run_header, root), UINT32_MAX, 4 },
		{ 0, offsetof(struct run_header, level), 1, 4 },
		{ 1, offsetof(struct run_block, number), 8, 4 },
		{ 1, offsetof(struct run_block, block), 2, 4 },
		{ 1, offsetof(struct run_block, nr), 0, 2 },
		{ 1, offsetof(struct run_block, nr), 103, 2 },
		{ 1, offsetof(struct run_block, nr), 101, 2 },
		{ 1, offsetof(struct run_block, depth), 1, 1 },
		{ 1, offsetof(struct run_block, depth), 9, 1 },
		{ 1, 16 + offsetof(struct run_entry, offset_bytes), 100, 8 },
		{ 1, 16 + offsetof(struct run_entry, offset_bytes), 1ull << 60, 8 },
		{ 1, 16 + offsetof(struct run_entry, segment), 2, 4 },
		{ 1, 16 + offsetof(struct run_entry, segment), 6, 4 },
		{ 1, 16 + offsetof(struct run_entry, length_shift), 8, 1 },
		{ 1, 16 + offsetof(struct run_entry, length_shift), 61, 1 },
		{ 1, 16 + offsetof(struct run_entry, length_shift), 30, 1 },
		{ 1, 16 + offsetof(struct run_entry, kind), 0, 1 },
		{ 1, 16 + offsetof(struct run_entry, kind), 5, 1 },
		{ 1, 16 + offsetof(struct run_entry, data_sector), 1, 1 },
		{ 3, 16 + offsetof(struct run_fence, child), 0, 4 },
		{ 3, 16 + offsetof(struct run_fence, child), 3, 4 },
		{ 3, 16 + offsetof(struct run_fence, child), 900, 4 },
		{ 3, offsetof(struct run_block, depth), 2, 1 },
		{ 3, offsetof(struct run_block, depth), 0, 1 },
	};
	struct run_entry e[204];
	struct rig r;
	size_t got;

	rig_init(&r);
	for (int i = 0; i < 204; i++)
		e[i] = (struct run_entry){ .offset_bytes = i * 4096, .label_seq = 5, .segment = 3,
					   .unit_at = 512, .length_shift = 9, .kind = EXTENT_ZERO };
	write_run(&r, e, 204);
	assert_int_equal(r.named.nr_blocks, 4);
	assert_int_equal(look(&r, &got), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
		const char *path = "/t/0000000000000007.run";
		size_t crc_at = lies[i].block ? offsetof(struct run_block, crc) :
				offsetof(struct run_header, crc);
		uint8_t old[4096], lie[4096];
		uint64_t bytes;
		uint32_t crc = 0;
		int ret;

		memcpy(old, sim_env_content(r.sim, path, &bytes) + lies[i].block * 4096, 4096);
		memcpy(lie, old, 4096);
		memcpy(lie + lies[i].offset, &lies[i].value, lies[i].bytes);
		memcpy(lie + crc_at, &crc, 4);
		crc = crc32c(lie, 4096);
		memcpy(lie + crc_at, &crc, 4);
		sim_env_poke(r.sim, path, lies[i].block * 4096, lie, 4096);
		ret = look(&r, &got);
		if (ret != -EBADMSG)
			fail_msg("lie %d: %d", (int)i, ret);
		sim_env_poke(r.sim, path, lies[i].block * 4096, old, 4096);
	}
	sim_env_destroy(r.sim);
}

static void a_run_is_durable_when_it_is_finished(void **state)
{
	struct run_entry *e = malloc(2000 * sizeof(*e));
	size_t nr = make_entries(e, 2000, 4), got;
	unsigned int there = 0;
	struct rig r;

	rig_init(&r);
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct run_writer w;
		int ret;

		sim_env_reset(r.sim, seed);
		r.env->ops->mkdir(r.env, "/t");
		r.env->ops->sync_dir(r.env, "");
		sim_env_power_off_after(r.sim, seed % 9);
		ret = run_writer_begin(&w, r.env, "/t", &r.header, NULL);
		for (size_t i = 0; i < nr && !ret; i++)
			ret = run_writer_add(&w, &e[i]);
		if (!ret)
			ret = run_writer_finish(&w, &r.named);
		if (ret)
			run_writer_abort(&w);
		sim_env_crash(r.sim, seed);
		if (ret)
			continue;
		there++;
		assert_int_equal(look(&r, &got), -ENOENT);
		assert_int_equal(got, nr);
	}
	assert_true(there > 10);
	free(e);
	sim_env_destroy(r.sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_the_offsets_of_the_code),
		cmocka_unit_test(the_worked_example_is_what_the_code_makes),
		cmocka_unit_test(an_extent_is_cut_where_it_is_aligned),
		cmocka_unit_test(a_search_finds_what_going_through_finds),
		cmocka_unit_test(what_is_not_in_order_is_not_written),
		cmocka_unit_test(any_turned_bit_is_seen),
		cmocka_unit_test(fields_that_lie_are_refused),
		cmocka_unit_test(a_run_is_durable_when_it_is_finished),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
