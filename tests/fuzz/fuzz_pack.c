// SPDX-License-Identifier: GPL-2.0-only
/*
 * A pack, changed where the fuzzer says, and looked into. Input: changes of 4 bytes each: how
 * (1), offset (2), value (1); or, in the second half, raw bytes over it from some block on.
 * Where asked for, every CRC is made right again: then it may say anything, but nothing is read
 * outside of what there is, all comes to an end, and what is found lies in the order it claims.
 */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/store/pack_read.h"
#include "../../userspace/store/pack_write.h"
#include "../host/sim_env.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

#define PATH		"/t/0000000000000009.pack"
#define TIMELINE	((const uint8_t *)"the timeline's.")
#define NR_PARTS	150		/* three blocks of the directory */
#define MAX_BYTES	(1u << 20)

static struct env *env;
static struct sim_env *sim;
static uint8_t *whole, *changed;
static uint64_t nr_bytes;
static struct pack_header header = {
	.timeline = "the timeline's.", .number = 9, .first_segment = 3, .last_segment = 4,
	.first_ordinal = 40, .last_ordinal = 44, .points_no = 5 };

static int parts_add(struct pack_writer *w)
{
	uint8_t data[BLOCK_BYTES];
	uint32_t crc;
	int ret = 0;

	for (uint32_t i = 0; i < NR_PARTS && !ret; i++) {
		struct pack_extent e = {
			.offset_bytes = i * BLOCK_BYTES, .length_bytes = BLOCK_BYTES,
			.label_seq = i, .batch_ordinal = 40 + i / 30, .segment = 3 + i / 100,
			.unit_at = 512 + i / 8 * 1000, .extent_no = i % 8,
			.kind = i % 5 ? EXTENT_DATA : EXTENT_ZERO };

		e.from_offset = e.kind == EXTENT_DATA ? i % 8 * BLOCK_BYTES : 0;
		memset(data, i, sizeof(data));
		crc = crc32c(data, sizeof(data));
		ret = pack_writer_add(w, &e, BLOCK_BYTES, data, &crc);
	}
	return ret;
}

static void build(void)
{
	const uint64_t cuts[] = { 3, 9 };
	const struct thin_cuts kept = { cuts, 2, 300 };
	struct manifest_pack named;
	struct pack_writer w;

	sim = sim_env_create(1);
	env = sim_env_env(sim);
	env->ops->mkdir(env, "/t");
	env->ops->sync_dir(env, "");
	if (pack_writer_begin(&w, env, "/t", &header, NULL, NULL) ||
	    pack_writer_kept(&w, &kept) || pack_writer_segment(&w, 41) ||
	    pack_writer_segment(&w, 44) || parts_add(&w) || pack_writer_finish(&w, &named))
		abort();
	whole = malloc(named.file_bytes);
	changed = calloc(1, MAX_BYTES);
	memcpy(whole, sim_env_content(sim, PATH, &nr_bytes), named.file_bytes);
}

static void change(const uint8_t *input, size_t bytes)
{
	const uint64_t units = ((struct pack_header *)whole)->data_end;

	for (; bytes >= 4; input += 4, bytes -= 4) {
		uint64_t offset = input[1] | input[2] << 8;

		if (input[0] & 1)
			offset %= sizeof(struct pack_header);
		else if (input[0] & 2)	/* where something is */
			offset += units;
		changed[offset % nr_bytes] = input[3];
	}
}

/* Each CRC that the header leads to. */
static void mend(void)
{
	struct pack_header h;
	uint64_t at;

	memcpy(&h, changed, sizeof(h));
	at = h.data_end;
	for (uint32_t i = 0; i < h.nr_blocks && at < nr_bytes && nr_bytes - at >= BLOCK_BYTES; i++) {
		struct pack_block b;

		memcpy(&b, changed + at, sizeof(b));
		pack_block_seal(changed + at, h.number, i, b.nr);
		at += BLOCK_BYTES;
	}
	if (at <= nr_bytes && h.tables_bytes <= nr_bytes - at)
		h.tables_crc = crc32c(changed + at, h.tables_bytes);
	h.crc = 0;
	memcpy(changed, &h, sizeof(h));
	h.crc = crc32c(changed, BLOCK_BYTES);
	memcpy(changed, &h, sizeof(h));
}

static int commit_take(void *arg, const struct commit_view *commit)
{
	*(uint64_t *)arg += commit->header.record_bytes;
	return 0;
}

/* The unit where its data are said to be. */
static void unit_look(const struct pack *pack, const struct pack_extent *e)
{
	static uint8_t buf[UNIT_MAX_BYTES] __attribute__((aligned(8))), data[UNIT_MAX_DATA_BYTES];
	const uint64_t offset = (uint64_t)e->at * PACK_UNIT_ALIGN;
	int64_t got = env->ops->read(env, pack->file, buf, sizeof(buf), offset);
	struct unit_view unit;

	if (got > 0 && !unit_decode(buf, got, 0, &unit) &&
	    pack_unit_belongs(&unit, pack->header.number, offset) && !unit_unpack(&unit, data))
		pack_unit_extent(&unit, e->data_offset);
}

static void parts_look(const struct pack *pack)
{
	struct pack_origin last = { 0 }, origin;
	struct pack_cache cache = { 0 };
	struct pack_extent e, found;
	struct pack_stream s;
	uint64_t nr = 0;

	if (pack_stream_begin(&s, pack))
		abort();
	while (pack_stream_next(&s, &e) == 0) {
		origin = pack_extent_origin(&e);
		if (nr++ && pack_origin_compare(&last, &origin) >= 0)
			abort();
		last = origin;
		if (e.kind == EXTENT_DATA)
			unit_look(pack, &e);
		if (nr % 7 == 0 && pack_find(pack, &cache, &origin, &found) == 0) {
			struct pack_origin at = pack_extent_origin(&found);

			if (pack_origin_compare(&at, &origin) > 0)
				abort();
		}
	}
	if (nr > pack->header.nr_extents)
		abort();
	pack_stream_end(&s);
	pack_cache_fini(&cache);
}

static void tables_look(const struct pack *pack)
{
	struct pack_tables tables;
	uint64_t *cuts, commits_bytes = 0;
	size_t nr_cuts;

	if (pack_tables_load(pack, &tables))
		return;
	for (uint64_t n = 0; n < tables.nr_segments; n++)
		pack_tables_ordinal(&tables, tables.first_segment + n);
	pack_tables_commits(&tables, &pack->header, commit_take, &commits_bytes);
	if (commits_bytes > tables.nr_bytes)
		abort();
	if (!pack_tables_kept(&tables, &cuts, &nr_cuts)) {
		for (size_t i = 1; i < nr_cuts; i++)
			if (cuts[i] <= cuts[i - 1])
				abort();
		free(cuts);
	}
	free(tables.bytes);
}

static void look(void)
{
	struct manifest_pack named;
	struct pack_header h;
	struct pack pack;

	memcpy(&h, changed, sizeof(h));
	named = (struct manifest_pack){
		.number = 9, .first_segment = h.first_segment, .last_segment = h.last_segment,
		.last_ordinal = h.last_ordinal, .points_no = h.points_no,
		.nr_extents = h.nr_extents, .live_bytes = h.live_bytes, .file_bytes = nr_bytes };
	if (pack_open(env, "/t", TIMELINE, &named, &pack))
		return;
	parts_look(&pack);
	tables_look(&pack);
	pack_close(&pack);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	if (!sim)
		build();
	memcpy(changed, whole, nr_bytes);
	if (bytes > 1 && input[0] & 0x80) {
		uint64_t at = (input[0] & 15) * BLOCK_BYTES % nr_bytes;

		memcpy(changed + at, input + 1, bytes - 1 < nr_bytes - at ? bytes - 1 : nr_bytes - at);
	} else {
		change(input, bytes);
	}
	if (bytes && input[0] & 0x40)
		mend();
	sim_env_poke(sim, PATH, 0, changed, nr_bytes);
	look();
	return 0;
}
