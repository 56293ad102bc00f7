// SPDX-License-Identifier: GPL-2.0-only
/*
 * Packs: docs/PACK.md and the code say the same; every byte that was put in is found where it
 * was; and nothing that is cut, turned or made up is used.
 */
#define DOC "docs/PACK.md"
#include "doc.h"

#include <endian.h>
#include <errno.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/pack_read.h"
#include "../../userspace/store/pack_write.h"
#include "../host/sim_env.h"

static const struct doc_field fields[] = {
	DOC_FIELD(pack_header, magic),
	DOC_FIELD(pack_header, version),
	DOC_FIELD(pack_header, flags),
	DOC_FIELD(pack_header, header_bytes),
	DOC_FIELD(pack_header, crc),
	DOC_FIELD(pack_header, timeline),
	DOC_FIELD(pack_header, number),
	DOC_FIELD(pack_header, first_segment),
	DOC_FIELD(pack_header, last_segment),
	DOC_FIELD(pack_header, first_ordinal),
	DOC_FIELD(pack_header, last_ordinal),
	DOC_FIELD(pack_header, points_no),
	DOC_FIELD(pack_header, nr_extents),
	DOC_FIELD(pack_header, live_bytes),
	DOC_FIELD(pack_header, data_end),
	DOC_FIELD(pack_header, tables_bytes),
	DOC_FIELD(pack_header, nr_blocks),
	DOC_FIELD(pack_header, nr_units),
	DOC_FIELD(pack_header, nr_commits),
	DOC_FIELD(pack_header, tables_crc),
	DOC_FIELD(pack_header, key_id),
	DOC_FIELD(pack_header, key_salt),
	DOC_FIELD(pack_header, kept_bytes),
	DOC_FIELD(pack_header, reserved),
	DOC_FIELD(pack_block, crc),
	DOC_FIELD(pack_block, number),
	DOC_FIELD(pack_block, block),
	DOC_FIELD(pack_block, nr),
	DOC_FIELD(pack_block, reserved),
	DOC_FIELD(pack_extent, offset_bytes),
	DOC_FIELD(pack_extent, length_bytes),
	DOC_FIELD(pack_extent, label_seq),
	DOC_FIELD(pack_extent, readback_no),
	DOC_FIELD(pack_extent, batch_ordinal),
	DOC_FIELD(pack_extent, segment),
	DOC_FIELD(pack_extent, unit_at),
	DOC_FIELD(pack_extent, from_offset),
	DOC_FIELD(pack_extent, at),
	DOC_FIELD(pack_extent, data_offset),
	DOC_FIELD(pack_extent, extent_no),
	DOC_FIELD(pack_extent, volume),
	DOC_FIELD(pack_extent, kind),
	DOC_FIELD(pack_extent, reserved),
	DOC_FIELD(manifest_pack, number),
	DOC_FIELD(manifest_pack, first_segment),
	DOC_FIELD(manifest_pack, last_segment),
	DOC_FIELD(manifest_pack, last_ordinal),
	DOC_FIELD(manifest_pack, points_no),
	DOC_FIELD(manifest_pack, nr_extents),
	DOC_FIELD(manifest_pack, live_bytes),
	DOC_FIELD(manifest_pack, file_bytes),
};

static void the_document_has_the_offsets_of_the_code(void **state)
{
	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

/* -- a pack on a simulated disk -- */

#define MAX_PARTS 2000

struct part {
	struct pack_extent e;
	uint8_t *data;
};

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct pack_header header;
	struct manifest_pack named;
	uint64_t random;
	struct part parts[MAX_PARTS];
	size_t nr_parts;
};

static uint64_t below(struct rig *r, uint64_t bound)
{
	return unit_random(&r->random) % bound;
}

static void *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	r->header = (struct pack_header){
		.timeline = "the timeline's.", .number = 9, .first_segment = 3, .last_segment = 4,
		.first_ordinal = 40, .last_ordinal = 44, .points_no = 5 };
	r->random = 88172645463325252u;
	r->env->ops->mkdir(r->env, "/t");
	r->env->ops->sync_dir(r->env, "");
	return r;
}

static void rig_destroy(struct rig *r)
{
	for (size_t i = 0; i < r->nr_parts; i++)
		free(r->parts[i].data);
	sim_env_destroy(r->sim);
	free(r);
}

static void part_crcs(const struct part *p, uint32_t *crcs)
{
	uint64_t at = p->e.offset_bytes, end = at + p->e.length_bytes;

	while (at < end) {
		uint64_t piece_end = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;

		if (piece_end > end)
			piece_end = end;
		*crcs++ = crc32c(p->data + (at - p->e.offset_bytes), piece_end - at);
		at = piece_end;
	}
}

static int part_add(struct pack_writer *w, const struct part *p)
{
	uint32_t crcs[UNIT_MAX_CRCS];

	if (p->e.kind == EXTENT_DATA)
		part_crcs(p, crcs);
	return pack_writer_add(w, &p->e, p->e.length_bytes, p->data, crcs);
}

/* Of origins that rise, as a packer finds them: some extents in parts, some gone. */
static void make_parts(struct rig *r, size_t nr)
{
	uint32_t segment = 3, unit_at = 512, from = 0;
	uint16_t extent_no = 0;

	while (r->nr_parts < nr) {
		struct part *p = &r->parts[r->nr_parts++];
		uint64_t sectors = 1 + below(r, below(r, 4) ? 8 : 100);
		bool data = below(r, 5);

		if (from / 512 + sectors > 128 || below(r, 30) == 0) {
			unit_at += 1000;
			extent_no = from = 0;
			if (segment == 3 && below(r, 40) == 0) {
				segment = 4;
				unit_at = 512;
			}
		}
		if (!data && r->nr_parts > 1)
			extent_no += p[-1].e.extent_no == extent_no;
		p->e = (struct pack_extent){
			.offset_bytes = below(r, 1000) * 512, .length_bytes = sectors * 512,
			.label_seq = seq_pack(1, below(r, 9)), .readback_no = below(r, 3),
			.batch_ordinal = 40 + below(r, 5), .segment = segment, .unit_at = unit_at,
			.extent_no = extent_no, .volume = below(r, 3),
			.kind = data ? EXTENT_DATA : EXTENT_ZERO + below(r, 3),
		};
		if (data) {
			p->e.from_offset = from;
			from += p->e.length_bytes + 512 * below(r, 3);
			p->data = malloc(p->e.length_bytes);
			for (size_t i = 0; i < p->e.length_bytes; i++)
				p->data[i] = below(r, 2) ? r->nr_parts : below(r, 256);
		} else {
			p->e.length_bytes <<= below(r, 20);
		}
		/* Sometimes the next is another part of the same extent. */
		if (!data || below(r, 3))
			extent_no++;
	}
}

static int write_pack(struct rig *r)
{
	const uint64_t cuts[] = { seq_pack(1, 2), seq_pack(1, 9) };
	const struct thin_cuts kept = { cuts, ARRAY_SIZE(cuts), seq_pack(1, 300) };
	struct pack_writer w;
	int ret = pack_writer_begin(&w, r->env, "/t", &r->header, NULL, NULL);

	if (!ret)
		ret = pack_writer_kept(&w, &kept);
	if (!ret)
		ret = pack_writer_segment(&w, 41);
	if (!ret)
		ret = pack_writer_segment(&w, 44);
	for (size_t i = 0; i < r->nr_parts && !ret; i++)
		ret = part_add(&w, &r->parts[i]);
	if (!ret)
		ret = pack_writer_finish(&w, &r->named);
	if (ret)
		pack_writer_abort(&w);
	return ret;
}

static int open_pack(struct rig *r, struct pack *pack)
{
	return pack_open(r->env, "/t", (const uint8_t *)"the timeline's.", &r->named, pack);
}

/* The data of a part by way of its unit; 0 or -errno. */
static int part_read(const struct pack *pack, const struct pack_extent *e, uint8_t *out)
{
	static uint8_t buf[UNIT_MAX_BYTES] __attribute__((aligned(8)));
	static uint8_t data[UNIT_MAX_DATA_BYTES];
	uint64_t offset = (uint64_t)e->at * PACK_UNIT_ALIGN;
	int64_t got = pack->env->ops->read(pack->env, pack->file, buf, sizeof(buf), offset);
	const struct unit_extent *x;
	struct unit_view unit;

	if (got < 0 || unit_decode(buf, got, 0, &unit) ||
	    !pack_unit_belongs(&unit, pack->header.number, offset) || unit_unpack(&unit, data))
		return -EBADMSG;
	x = pack_unit_extent(&unit, e->data_offset);
	if (!x || le64toh(x->offset_bytes) != e->offset_bytes ||
	    le64toh(x->length_bytes) != e->length_bytes || le16toh(x->volume) != e->volume)
		return -EBADMSG;
	memcpy(out, data + e->data_offset, e->length_bytes);
	return 0;
}

static bool same_extent(const struct pack_extent *a, const struct pack_extent *b)
{
	struct pack_extent x = *a;

	x.at = b->at;
	x.data_offset = b->data_offset;
	return memcmp(&x, b, sizeof(x)) == 0;
}

static void what_goes_in_comes_out(void **state)
{
	static const size_t numbers[] = { 0, 1, 55, 56, 57, 600, MAX_PARTS };

	for (size_t n = 0; n < ARRAY_SIZE(numbers); n++) {
		struct rig *r = rig_create();
		struct pack_stream s;
		struct pack_extent e;
		struct pack_tables t;
		struct pack pack;
		uint8_t data[UNIT_MAX_DATA_BYTES];
		uint64_t *cuts;
		size_t nr_cuts;

		make_parts(r, numbers[n]);
		assert_int_equal(write_pack(r), 0);
		assert_int_equal(open_pack(r, &pack), 0);
		assert_int_equal(pack_stream_begin(&s, &pack), 0);
		for (size_t i = 0; i < r->nr_parts; i++) {
			const struct part *p = &r->parts[i];

			assert_int_equal(pack_stream_next(&s, &e), 0);
			assert_true(same_extent(&p->e, &e));
			if (e.kind == EXTENT_DATA) {
				assert_int_equal(part_read(&pack, &e, data), 0);
				assert_memory_equal(data, p->data, e.length_bytes);
			}
		}
		assert_int_equal(pack_stream_next(&s, &e), -ENOENT);
		pack_stream_end(&s);
		assert_int_equal(pack_tables_load(&pack, &t), 0);
		assert_int_equal(pack_tables_ordinal(&t, 3), 41);
		assert_int_equal(pack_tables_ordinal(&t, 4), 44);
		assert_int_equal(pack_tables_kept(&t, &cuts, &nr_cuts), 0);
		assert_int_equal(nr_cuts, 3);
		assert_int_equal(cuts[1], seq_pack(1, 9));
		assert_int_equal(cuts[2], seq_pack(1, 300));
		free(cuts);
		free(t.bytes);
		pack_close(&pack);
		rig_destroy(r);
	}
}

/* The part that holds a place, by going through all of them. */
static const struct part *holder(const struct rig *r, const struct pack_origin *o)
{
	for (size_t i = 0; i < r->nr_parts; i++) {
		const struct pack_extent *e = &r->parts[i].e;

		if (e->kind == EXTENT_DATA && e->segment == o->segment &&
		    e->unit_at == o->unit_at && e->extent_no == o->extent_no &&
		    o->from_offset >= e->from_offset &&
		    o->from_offset < e->from_offset + e->length_bytes)
			return &r->parts[i];
	}
	return NULL;
}

static void a_search_finds_what_is_there_and_nothing_else(void **state)
{
	struct rig *r = rig_create();
	struct pack_cache *cache = calloc(1, sizeof(*cache));
	size_t nr_found = 0, nr_not = 0;
	struct pack pack;

	make_parts(r, MAX_PARTS);
	assert_int_equal(write_pack(r), 0);
	assert_int_equal(open_pack(r, &pack), 0);
	for (int i = 0; i < 20000; i++) {
		struct pack_origin o = pack_extent_origin(&r->parts[below(r, r->nr_parts)].e);
		const struct part *want;
		struct pack_extent got;

		o.from_offset = below(r, 3) ? o.from_offset + 512 * below(r, 12) :
				512 * below(r, 128);
		o.extent_no += below(r, 8) == 0;
		o.unit_at += below(r, 8) == 0;
		want = holder(r, &o);
		if (want) {
			assert_int_equal(pack_find(&pack, cache, &o, &got), 0);
			assert_true(same_extent(&want->e, &got));
			nr_found++;
		} else {
			assert_int_equal(pack_find(&pack, cache, &o, &got), -ENOENT);
			nr_not++;
		}
	}
	assert_true(nr_found > 4000 && nr_not > 4000);
	pack_cache_fini(cache);
	free(cache);
	pack_close(&pack);
	rig_destroy(r);
}

/* Whatever bit is turned: what comes out is what went in, or an error. */
static void a_turned_bit_is_an_error(void **state)
{
	struct rig *r = rig_create();
	size_t refused = 0;
	uint64_t bytes;
	char path[64];

	make_parts(r, 300);
	assert_int_equal(write_pack(r), 0);
	pack_path(path, sizeof(path), "/t", 9, 0);
	assert_non_null(sim_env_content(r->sim, path, &bytes));
	assert_int_equal(bytes, r->named.file_bytes);
	for (int i = 0; i < 3000; i++) {
		uint64_t offset = below(r, i % 2 ? bytes : 4300);
		bool bad = false;
		struct pack_tables t = { 0 };
		struct pack_stream s;
		struct pack_extent e;
		struct pack pack;
		uint8_t data[UNIT_MAX_DATA_BYTES];

		sim_env_flip(r->sim, path, offset, i % 8);
		if (open_pack(r, &pack)) {
			sim_env_flip(r->sim, path, offset, i % 8);
			assert_true(offset < PACK_BLOCK_BYTES);
			continue;
		}
		assert_true(offset >= PACK_BLOCK_BYTES);
		assert_int_equal(pack_stream_begin(&s, &pack), 0);
		for (size_t k = 0; k < r->nr_parts && !bad; k++) {
			const struct part *p = &r->parts[k];

			bad = pack_stream_next(&s, &e) != 0;
			if (!bad)
				assert_true(same_extent(&p->e, &e));
			if (bad || e.kind != EXTENT_DATA)
				continue;
			bad = part_read(&pack, &e, data) != 0;
			if (!bad)
				assert_memory_equal(data, p->data, e.length_bytes);
		}
		pack_stream_end(&s);
		bad |= pack_tables_load(&pack, &t) != 0;
		free(t.bytes);
		refused += bad;
		/* Only zeroes between the parts may change unseen. */
		if (!bad)
			assert_true(offset < pack.header.data_end || offset >= bytes - PACK_BLOCK_BYTES);
		pack_close(&pack);
		sim_env_flip(r->sim, path, offset, i % 8);
	}
	assert_true(refused > 1000);
	rig_destroy(r);
}

static void a_pack_that_is_not_what_the_manifest_names_is_refused(void **state)
{
	struct rig *r = rig_create();
	struct manifest_pack named;
	struct pack pack;
	uint64_t *values = (uint64_t *)&r->named;

	make_parts(r, 100);
	assert_int_equal(write_pack(r), 0);
	named = r->named;
	for (size_t i = 1; i < sizeof(named) / sizeof(*values); i++) {
		values[i]++;
		assert_int_equal(open_pack(r, &pack), -EBADMSG);
		r->named = named;
	}
	r->named.number++;
	assert_int_equal(open_pack(r, &pack), -ENOENT);
	r->named = named;
	assert_int_equal(pack_open(r->env, "/t", (const uint8_t *)"another's timel", &named, &pack),
			 -EBADMSG);
	rig_destroy(r);
}

/* Parts that are not in order, or longer than a unit: a bug, or damage that got through. */
static void what_cannot_be_is_not_written(void **state)
{
	struct rig *r = rig_create();
	struct pack_writer w;
	struct part p;

	make_parts(r, 10);
	assert_int_equal(pack_writer_begin(&w, r->env, "/t", &r->header, NULL, NULL), 0);
	assert_int_equal(part_add(&w, &r->parts[5]), 0);
	assert_int_equal(part_add(&w, &r->parts[5]), -EBADMSG);
	assert_int_equal(part_add(&w, &r->parts[4]), -EBADMSG);
	p = r->parts[6];
	p.e.kind = EXTENT_DATA;
	p.e.length_bytes = UNIT_MAX_DATA_BYTES + 512;
	assert_int_equal(pack_writer_add(&w, &p.e, 0, NULL, NULL), -EBADMSG);
	pack_writer_abort(&w);
	rig_destroy(r);
}

/* Of a pack that could not be written nothing is left, and the next attempt works. */
static void a_failed_pack_leaves_nothing(void **state)
{
	struct rig *r = rig_create();
	unsigned int failed = 0;

	make_parts(r, 200);
	for (int i = 0; i < 12; i++) {
		uint64_t bytes;

		sim_env_fail(r->sim, i % 2 ? SIM_FAULT_SYNC : SIM_FAULT_WRITE, 1 + i / 2, -ENOSPC,
			     false);
		if (write_pack(r)) {
			failed++;
			assert_null(sim_env_content(r->sim, "/t/0000000000000009.pack", &bytes));
			assert_null(sim_env_content(r->sim, "/t/0000000000000009.pack.new", &bytes));
		} else {
			r->env->ops->unlink(r->env, "/t/0000000000000009.pack");
		}
		sim_env_fail(r->sim, i % 2 ? SIM_FAULT_SYNC : SIM_FAULT_WRITE, 0, 0, false);
	}
	assert_true(failed > 1);
	assert_int_equal(write_pack(r), 0);
	rig_destroy(r);
}

/* -- the worked example -- */

static void the_worked_example_is_what_the_code_writes(void **state)
{
	struct rig *r = rig_create();
	const uint8_t *content;
	uint64_t bytes;

	r->parts[0].e = (struct pack_extent){
		.offset_bytes = 8192, .length_bytes = 4096, .label_seq = seq_pack(1, 9),
		.batch_ordinal = 40, .segment = 3, .unit_at = 512, .from_offset = 4096,
		.volume = 1, .kind = EXTENT_DATA };
	r->parts[0].data = malloc(4096);
	for (size_t i = 0; i < 4096; i++)
		r->parts[0].data[i] = i;
	r->nr_parts = 1;
	assert_int_equal(write_pack(r), 0);
	content = sim_env_content(r->sim, "/t/0000000000000009.pack", &bytes);
	assert_int_equal(bytes, 16384);
	doc_expect_bytes("header", content, 192);
	doc_expect_bytes("directory", content + 8192, 88);
	doc_expect_bytes("tables", content + 12288, 32);
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_the_offsets_of_the_code),
		cmocka_unit_test(the_worked_example_is_what_the_code_writes),
		cmocka_unit_test(what_goes_in_comes_out),
		cmocka_unit_test(a_search_finds_what_is_there_and_nothing_else),
		cmocka_unit_test(a_turned_bit_is_an_error),
		cmocka_unit_test(a_pack_that_is_not_what_the_manifest_names_is_refused),
		cmocka_unit_test(what_cannot_be_is_not_written),
		cmocka_unit_test(a_failed_pack_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
