// SPDX-License-Identifier: GPL-2.0-only
/* pack_write - from live extents in the order of their origins to a durable pack. */
#include "pack_write.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "../lib/keyring.h"
#include "array.h"

#define PATH_BYTES 4096

/* A key of its own, made with a salt that is drawn for it. */
static int cipher_begin(struct pack_writer *w, struct env *env, const struct keyring *keys)
{
	struct pack_header *h = &w->header;

	if (!keys)
		return 0;
	h->flags = PACK_ENCRYPTED;
	memcpy(h->key_id, keyring_newest_id(keys), sizeof(h->key_id));
	env->ops->random(env, h->key_salt, sizeof(h->key_salt));
	return pack_cipher(h, keys, &w->cipher);
}

int pack_writer_begin(struct pack_writer *w, struct env *env, const char *dir,
		      const struct pack_header *header, const struct keyring *keys,
		      const struct run_pace *pace)
{
	char path[PATH_BYTES];
	int ret;

	memset(w, 0, sizeof(*w));
	w->dir = dir;
	w->header = *header;
	w->header.nr_units = w->header.nr_commits = 0;
	w->header.live_bytes = 0;
	unit_builder_reset(&w->unit);
	w->data = malloc(UNIT_MAX_DATA_BYTES);
	w->out = aligned_alloc(FORMAT_ALIGN_BYTES, UNIT_MAX_BYTES);
	w->scratch = aligned_alloc(FORMAT_ALIGN_BYTES, UNIT_MAX_BYTES);
	if (!w->data || !w->out || !w->scratch)
		return -ENOMEM;
	ret = cipher_begin(w, env, keys);
	if (ret)
		return ret;
	pack_path(path, sizeof(path), dir, header->number, 1);
	return new_file_begin(&w->file, env, path, pace);
}

/* -- tables -- */

int pack_writer_segment(struct pack_writer *w, uint64_t last_ordinal)
{
	if (!array_reserve(&w->ordinals, &w->max_ordinals, w->nr_ordinals + 1))
		return -ENOMEM;
	w->ordinals[w->nr_ordinals++] = htole64(last_ordinal);
	return 0;
}

int pack_writer_commit(struct pack_writer *w, const struct commit_view *commit)
{
	const size_t bytes = commit->header.record_bytes;

	if (!array_reserve(&w->commits, &w->max_commits_bytes, w->commits_bytes + bytes))
		return -ENOMEM;
	/* The gaps table follows the header as it was read. */
	memcpy(w->commits + w->commits_bytes,
	       (const uint8_t *)commit->gaps - sizeof(commit->header), bytes);
	w->commits_bytes += bytes;
	w->header.nr_commits++;
	return 0;
}

int pack_writer_kept(struct pack_writer *w, const struct thin_cuts *cuts)
{
	return pack_kept_encode(cuts, &w->kept);
}

/* -- units -- */

/* The unit in w->out as it is to lie at @offset, and how long it is; -errno. */
static int64_t unit_seal(struct pack_writer *w, size_t bytes, uint64_t offset,
			 const uint8_t **out)
{
	struct unit_view unit;
	uint8_t nonce[12];

	*out = w->out;
	if (!w->cipher)
		return bytes;
	if (unit_decode(w->out, bytes, 0, &unit))
		return -EBADMSG;
	w->file.env->ops->random(w->file.env, nonce, sizeof(nonce));
	*out = w->scratch;
	return unit_encrypt(w->cipher, &unit, offset, nonce, w->scratch);
}

/*
 * Write the unit in hand. Its number and offset stand where a segment's unit has the batch
 * and the label: one that lies elsewhere does not check.
 */
static int unit_flush(struct pack_writer *w)
{
	const uint64_t offset = new_file_offset(&w->file);
	const struct unit_label label = { .batch_ordinal = w->header.number, .label_seq = offset,
					  .codec = UNIT_LZ4 };
	const uint8_t *unit;
	uint32_t header_crc;
	int64_t bytes;
	int ret;

	if (w->unit.nr_extents == 0)
		return 0;
	if (offset / PACK_UNIT_ALIGN > UINT32_MAX - UNIT_MAX_BYTES)
		return -EFBIG;
	for (size_t i = w->first_in_unit; i < w->nr_extents; i++)
		if (w->extents[i].kind == EXTENT_DATA)
			w->extents[i].at = offset / PACK_UNIT_ALIGN;
	bytes = unit_builder_finish(&w->unit, &label, w->out, w->scratch, &header_crc);
	bytes = unit_seal(w, bytes, offset, &unit);
	ret = bytes < 0 ? bytes : new_file_put(&w->file, unit, bytes);
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
						  e->length_bytes, crcs) == e->length_bytes)
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

int pack_writer_add(struct pack_writer *w, const struct pack_extent *e, uint64_t live_bytes,
		    const void *data, const uint32_t *crcs)
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
		w->header.live_bytes += live_bytes;
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

static int put_tables(struct pack_writer *w)
{
	const size_t ordinals_bytes = w->nr_ordinals * sizeof(*w->ordinals);
	uint32_t crc = crc32c(w->ordinals, ordinals_bytes);
	int ret = new_file_put(&w->file, w->ordinals, ordinals_bytes);

	if (w->nr_ordinals != w->header.last_segment - w->header.first_segment + 1)
		return -EBADMSG;
	if (!ret)
		ret = new_file_put(&w->file, w->commits, w->commits_bytes);
	if (!ret)
		ret = new_file_put(&w->file, w->kept.bytes, w->kept.nr_bytes);
	crc = crc32c_extend(crc, w->commits, w->commits_bytes);
	w->header.tables_crc = crc32c_extend(crc, w->kept.bytes, w->kept.nr_bytes);
	w->header.kept_bytes = w->kept.nr_bytes;
	w->header.tables_bytes = ordinals_bytes + w->commits_bytes + w->kept.nr_bytes;
	return ret;
}

static void writer_free(struct pack_writer *w)
{
	free(w->extents);
	free(w->ordinals);
	free(w->commits);
	free(w->kept.bytes);
	free(w->data);
	free(w->out);
	free(w->scratch);
	unit_cipher_destroy(w->cipher);
	w->cipher = NULL;
	w->extents = NULL;
	w->ordinals = NULL;
	w->kept.bytes = NULL;
	w->commits = w->data = w->out = w->scratch = NULL;
}

int pack_writer_finish(struct pack_writer *w, struct manifest_pack *out)
{
	struct pack_header *h = &w->header;
	char from[PATH_BYTES], to[PATH_BYTES];
	uint8_t block[PACK_BLOCK_BYTES] = { 0 };
	int ret = unit_flush(w);

	if (!ret)
		ret = put_zeroes(w);
	h->data_end = new_file_offset(&w->file);
	if (!ret)
		ret = put_directory(w);
	if (!ret)
		ret = put_tables(w);
	if (!ret)
		ret = put_zeroes(w);
	if (w->room)
		memcpy(block + sizeof(*h), w->room, PACK_ROOM_BYTES);
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
		.live_bytes = h->live_bytes, .file_bytes = pack_header_file_bytes(h),
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
