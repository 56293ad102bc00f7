// SPDX-License-Identifier: GPL-2.0-only
/* pack_write - from live extents in the order of their origins to a durable pack. */
#include "pack_write.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "array.h"

#define PATH_BYTES 4096

int pack_writer_begin(struct pack_writer *w, struct env *env, const char *dir,
		      const struct pack_header *header, const struct run_pace *pace)
{
	char path[PATH_BYTES];

	memset(w, 0, sizeof(*w));
	w->dir = dir;
	w->header = *header;
	w->header.nr_units = w->header.nr_commits = 0;
	unit_builder_reset(&w->unit);
	w->data = malloc(UNIT_MAX_DATA_BYTES);
	w->out = aligned_alloc(FORMAT_ALIGN_BYTES, UNIT_MAX_BYTES);
	w->scratch = malloc(UNIT_MAX_DATA_BYTES);
	if (!w->data || !w->out || !w->scratch)
		return -ENOMEM;
	pack_path(path, sizeof(path), dir, header->number, 1);
	return new_file_begin(&w->file, env, path, pace);
}

/* -- tables -- */

static int tables_add(struct pack_writer *w, const void *data, size_t bytes)
{
	if (!array_reserve(&w->tables, &w->max_tables_bytes, w->tables_bytes + bytes))
		return -ENOMEM;
	memcpy(w->tables + w->tables_bytes, data, bytes);
	w->tables_bytes += bytes;
	return 0;
}

int pack_writer_segment(struct pack_writer *w, uint64_t last_ordinal)
{
	const uint64_t raw = htole64(last_ordinal);

	return tables_add(w, &raw, sizeof(raw));
}

int pack_writer_commit(struct pack_writer *w, const struct commit_view *commit)
{
	/* The gaps table follows the header as it was read. */
	const uint8_t *record = (const uint8_t *)commit->gaps - sizeof(commit->header);
	int ret = tables_add(w, record, commit->header.record_bytes);

	w->header.nr_commits += !ret;
	return ret;
}

/* -- units -- */

/*
 * Write the unit in hand. Its number and offset stand where a segment's unit has the batch
 * and the label: one that lies elsewhere does not check.
 */
static int unit_flush(struct pack_writer *w)
{
	const uint64_t offset = new_file_offset(&w->file);
	const struct unit_label label = { .batch_ordinal = w->header.number, .label_seq = offset,
					  .codec = UNIT_LZ4 };
	uint32_t header_crc;
	size_t bytes;
	int ret;

	if (w->unit.nr_extents == 0)
		return 0;
	if (offset / PACK_UNIT_ALIGN > UINT32_MAX - UNIT_MAX_BYTES)
		return -EFBIG;
	for (size_t i = w->first_in_unit; i < w->nr_extents; i++)
		if (w->extents[i].kind == EXTENT_DATA)
			w->extents[i].at = offset / PACK_UNIT_ALIGN;
	bytes = unit_builder_finish(&w->unit, &label, w->out, w->scratch, &header_crc);
	ret = new_file_put(&w->file, w->out, bytes);
	unit_builder_reset(&w->unit);
	w->first_in_unit = w->nr_extents;
	w->header.nr_units++;
	return ret;
}

/* All of it into one unit: what was one part is found by one search. */
static int data_add(struct pack_writer *w, struct pack_extent *e, const void *data,
		    const uint32_t *crcs)
{
	struct unit_builder *b = &w->unit;
	uint8_t *at;

	if (e->length_bytes > UNIT_MAX_DATA_BYTES)
		return -EBADMSG;
	for (int tries = 0; tries < 2; tries++) {
		if (e->length_bytes <= UNIT_MAX_DATA_BYTES - b->data_bytes) {
			at = w->data + b->data_bytes;
			e->data_offset = b->data_bytes;
			memcpy(at, data, e->length_bytes);
			b->joinable = false;	/* each part stays an extent of its own */
			if (unit_builder_add_data(b, e->volume, e->offset_bytes, at,
						  e->length_bytes, crcs))
				return 0;
		}
		if (tries == 0) {
			int ret = unit_flush(w);

			if (ret)
				return ret;
		}
	}
	return -EBADMSG;
}

int pack_writer_add(struct pack_writer *w, const struct pack_extent *e, const void *data,
		    const uint32_t *crcs)
{
	const struct pack_origin origin = pack_extent_origin(e);
	struct pack_extent add = *e;
	int ret;

	if (w->nr_extents) {
		const struct pack_origin last = pack_extent_origin(&w->extents[w->nr_extents - 1]);

		if (pack_origin_compare(&last, &origin) >= 0)
			return -EBADMSG;
	}
	if (!array_reserve(&w->extents, &w->max_extents, w->nr_extents + 1))
		return -ENOMEM;
	add.at = add.data_offset = 0;
	memset(add.reserved, 0, sizeof(add.reserved));
	if (add.kind == EXTENT_DATA) {
		ret = data_add(w, &add, data, crcs);
		if (ret)
			return ret;
	}
	w->extents[w->nr_extents++] = add;
	return 0;
}

/* -- the end -- */

static int put_zeroes(struct pack_writer *w)
{
	static const uint8_t zeroes[PACK_BLOCK_BYTES];
	uint64_t over = new_file_offset(&w->file) % PACK_BLOCK_BYTES;

	return over ? new_file_put(&w->file, zeroes, PACK_BLOCK_BYTES - over) : 0;
}

static int put_directory(struct pack_writer *w)
{
	uint8_t block[PACK_BLOCK_BYTES];
	size_t done = 0;
	int ret = 0;

	w->header.nr_extents = w->nr_extents;
	w->header.nr_blocks = 0;
	while (done < w->nr_extents && !ret) {
		unsigned int nr = 0;

		memset(block, 0, sizeof(block));
		while (nr < PACK_BLOCK_EXTENTS && done < w->nr_extents)
			pack_extent_put(block, nr++, &w->extents[done++]);
		pack_block_seal(block, w->header.number, w->header.nr_blocks++, nr);
		ret = new_file_put(&w->file, block, sizeof(block));
	}
	return ret;
}

static void writer_free(struct pack_writer *w)
{
	free(w->extents);
	free(w->tables);
	free(w->data);
	free(w->out);
	free(w->scratch);
	w->extents = NULL;
	w->tables = w->data = w->out = w->scratch = NULL;
}

int pack_writer_finish(struct pack_writer *w, struct manifest_pack *out)
{
	struct pack_header *h = &w->header;
	char from[PATH_BYTES], to[PATH_BYTES];
	uint8_t block[PACK_BLOCK_BYTES];
	int ret = unit_flush(w);

	if (!ret)
		ret = put_zeroes(w);
	h->data_end = new_file_offset(&w->file);
	if (!ret)
		ret = put_directory(w);
	h->tables_bytes = w->tables_bytes;
	h->tables_crc = crc32c(w->tables, w->tables_bytes);
	if (!ret)
		ret = new_file_put(&w->file, w->tables, w->tables_bytes);
	if (!ret)
		ret = put_zeroes(w);
	pack_header_encode(h, block);
	pack_path(from, sizeof(from), w->dir, h->number, 1);
	pack_path(to, sizeof(to), w->dir, h->number, 0);
	if (!ret)
		ret = new_file_finish(&w->file, w->dir, from, to, block);
	if (ret)
		return ret;
	*out = (struct manifest_pack){
		.number = h->number, .first_segment = h->first_segment,
		.last_segment = h->last_segment, .last_ordinal = h->last_ordinal,
		.points_no = h->points_no, .nr_extents = h->nr_extents,
		.file_bytes = pack_header_file_bytes(h),
	};
	writer_free(w);
	return 0;
}

void pack_writer_abort(struct pack_writer *w)
{
	char path[PATH_BYTES];

	pack_path(path, sizeof(path), w->dir, w->header.number, 1);
	new_file_abort(&w->file, path);
	writer_free(w);
}
