// SPDX-License-Identifier: GPL-2.0-only
/* segment_index - the extents and commits of one segment, in memory and as footer. */
#include "segment_index.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "array.h"
#include "block.h"

#define FOOTER_CHUNK 64		/* entries encoded at a time */

void segment_index_fini(struct segment_index *index)
{
	free(index->extents);
	free(index->commits);
	memset(index, 0, sizeof(*index));
}

void segment_index_clear(struct segment_index *index)
{
	index->nr_extents = index->nr_committed = index->nr_commits = 0;
}

int segment_index_unit(struct segment_index *index, const struct unit_view *unit,
		       uint64_t unit_offset)
{
	const struct unit_header *h = &unit->header;

	if (!array_reserve(&index->extents, &index->max_extents,
			   index->nr_extents + h->nr_extents))
		return -ENOMEM;
	for (unsigned int i = 0; i < h->nr_extents; i++) {
		const struct unit_extent *e = &unit->extents[i];

		index->extents[index->nr_extents++] = (struct footer_extent){
			.extent = {
				.offset_bytes = le64toh(e->offset_bytes),
				.length_bytes = le64toh(e->length_bytes),
				.volume = le16toh(e->volume),
				.kind = e->kind,
				.data_offset = le32toh(e->data_offset),
				.first_crc = le32toh(e->first_crc),
			},
			.unit_offset = unit_offset,
			.label_seq = h->label_seq,
			.readback_no = h->readback_no ? h->readback_no + i : 0,
			.batch_ordinal = h->batch_ordinal,
		};
	}
	return 0;
}

int segment_index_commit(struct segment_index *index, uint64_t offset)
{
	if (!array_reserve(&index->commits, &index->max_commits, index->nr_commits + 1))
		return -ENOMEM;
	index->commits[index->nr_commits++] = offset;
	index->nr_committed = index->nr_extents;
	return 0;
}

void segment_index_void(struct segment_index *index)
{
	index->nr_extents = index->nr_committed;
}

/* -- footer -- */

/* Both ways. */
static void footer_extent_swap(struct footer_extent *e)
{
	e->extent.offset_bytes = le64toh(e->extent.offset_bytes);
	e->extent.length_bytes = le64toh(e->extent.length_bytes);
	e->extent.volume = le16toh(e->extent.volume);
	e->extent.data_offset = le32toh(e->extent.data_offset);
	e->extent.first_crc = le32toh(e->extent.first_crc);
	e->unit_offset = le64toh(e->unit_offset);
	e->label_seq = le64toh(e->label_seq);
	e->readback_no = le64toh(e->readback_no);
	e->batch_ordinal = le64toh(e->batch_ordinal);
}

uint64_t segment_footer_bytes(const struct segment_index *index)
{
	return sizeof(struct footer_header) +
	       index->nr_committed * sizeof(struct footer_extent) +
	       index->nr_commits * sizeof(uint64_t);
}

static int footer_encode_body(const struct segment_index *index,
			      int (*put)(void *arg, const void *buf, size_t bytes), void *arg)
{
	struct footer_extent chunk[FOOTER_CHUNK];
	size_t nr = 0;
	int ret = 0;

	for (size_t i = 0; i < index->nr_committed && !ret; i++) {
		chunk[nr] = index->extents[i];
		footer_extent_swap(&chunk[nr++]);
		if (nr < FOOTER_CHUNK && i + 1 < index->nr_committed)
			continue;
		ret = put(arg, chunk, nr * sizeof(*chunk));
		nr = 0;
	}
	for (size_t i = 0; i < index->nr_commits && !ret; i++) {
		uint64_t offset = htole64(index->commits[i]);

		ret = put(arg, &offset, sizeof(offset));
	}
	return ret;
}

static int put_crc(void *arg, const void *buf, size_t bytes)
{
	uint32_t *crc = arg;

	*crc = crc32c_extend(*crc, buf, bytes);
	return 0;
}

int segment_footer_encode(const struct segment_index *index,
			  int (*put)(void *arg, const void *buf, size_t bytes), void *arg)
{
	struct footer_header h = {
		.magic = htole32(FOOTER_MAGIC), .version = htole16(FORMAT_VERSION),
		.footer_bytes = htole32(segment_footer_bytes(index)),
		.nr_extents = htole64(index->nr_committed),
		.nr_commits = htole64(index->nr_commits),
	};
	uint32_t crc = crc32c(&h, sizeof(h));
	int ret;

	footer_encode_body(index, put_crc, &crc);
	h.crc = htole32(crc);
	ret = put(arg, &h, sizeof(h));
	return ret ? ret : footer_encode_body(index, put, arg);
}

static int footer_entry_check(const struct footer_extent *e, uint64_t data_end)
{
	const struct unit_extent *x = &e->extent;

	if (x->offset_bytes % SECTOR_BYTES || x->length_bytes % SECTOR_BYTES ||
	    x->kind < EXTENT_DATA || x->kind > EXTENT_UNREADABLE)
		return -EBADMSG;
	if (x->kind == EXTENT_DATA &&
	    (x->data_offset % SECTOR_BYTES || x->data_offset > UNIT_MAX_DATA_BYTES ||
	     x->length_bytes > UNIT_MAX_DATA_BYTES - x->data_offset))
		return -EBADMSG;
	if (e->unit_offset < SEGMENT_HEADER_BYTES || e->unit_offset % FORMAT_ALIGN_BYTES ||
	    e->unit_offset >= data_end)
		return -EBADMSG;
	if (e->extent.length_bytes == 0 || e->extent.length_bytes > EXTENT_MAX_END_BYTES ||
	    e->extent.offset_bytes > EXTENT_MAX_END_BYTES - e->extent.length_bytes)
		return -EBADMSG;
	return 0;
}

static int footer_load(const uint8_t *at, const struct footer_header *h, uint64_t data_end,
		       struct segment_index *index)
{
	uint64_t last = 0;

	if (!array_reserve(&index->extents, &index->max_extents, h->nr_extents) ||
	    !array_reserve(&index->commits, &index->max_commits, h->nr_commits))
		return -ENOMEM;
	for (uint64_t i = 0; i < h->nr_extents; i++, at += sizeof(struct footer_extent)) {
		memcpy(&index->extents[i], at, sizeof(struct footer_extent));
		footer_extent_swap(&index->extents[i]);
		if (footer_entry_check(&index->extents[i], data_end))
			return -EBADMSG;
	}
	for (uint64_t i = 0; i < h->nr_commits; i++, at += sizeof(uint64_t)) {
		memcpy(&index->commits[i], at, sizeof(uint64_t));
		index->commits[i] = le64toh(index->commits[i]);
		if (index->commits[i] <= last || index->commits[i] >= data_end ||
		    index->commits[i] % FORMAT_ALIGN_BYTES)
			return -EBADMSG;
		last = index->commits[i];
	}
	index->nr_extents = index->nr_committed = h->nr_extents;
	index->nr_commits = h->nr_commits;
	return 0;
}

int segment_footer_decode(const void *buf, size_t bytes, uint64_t data_end,
			  struct segment_index *index)
{
	struct footer_header h;
	uint32_t crc;

	segment_index_clear(index);
	if (bytes < sizeof(h))
		return -EBADMSG;
	memcpy(&h, buf, sizeof(h));
	crc = le32toh(h.crc);
	h.crc = 0;
	if (le32toh(h.magic) != FOOTER_MAGIC || le16toh(h.version) != FORMAT_VERSION ||
	    le32toh(h.footer_bytes) != bytes)
		return -EBADMSG;
	if (crc32c_extend(crc32c(&h, sizeof(h)), (const uint8_t *)buf + sizeof(h),
			  bytes - sizeof(h)) != crc)
		return -EBADMSG;
	h.nr_extents = le64toh(h.nr_extents);
	h.nr_commits = le64toh(h.nr_commits);
	if (h.nr_extents > bytes / sizeof(struct footer_extent) ||
	    h.nr_commits > bytes / sizeof(uint64_t) ||
	    sizeof(h) + h.nr_extents * sizeof(struct footer_extent) +
	    h.nr_commits * sizeof(uint64_t) != bytes)
		return -EBADMSG;
	return footer_load((const uint8_t *)buf + sizeof(h), &h, data_end, index);
}

/* -- header and trailer -- */

void segment_header_encode(const struct segment_header *header, void *block)
{
	struct segment_header h = {
		.magic = htole32(SEGMENT_MAGIC), .version = htole16(FORMAT_VERSION),
		.header_bytes = htole32(SEGMENT_HEADER_BYTES),
		.number = htole64(header->number),
		.first_ordinal = htole64(header->first_ordinal),
		.created_ns = htole64(header->created_ns),
		.epoch = htole64(header->epoch),
		.flags = htole16(header->flags),
	};

	memcpy(h.timeline, header->timeline, sizeof(h.timeline));
	memcpy(h.key_id, header->key_id, sizeof(h.key_id));
	memcpy(h.key_salt, header->key_salt, sizeof(h.key_salt));
	memcpy(block, &h, sizeof(h));
	block_seal(block, offsetof(struct segment_header, crc));
}

int segment_header_decode(const void *block, struct segment_header *header)
{
	struct segment_header h;

	memcpy(&h, block, sizeof(h));
	if (le32toh(h.magic) != SEGMENT_MAGIC || le16toh(h.version) != FORMAT_VERSION ||
	    le32toh(h.header_bytes) != SEGMENT_HEADER_BYTES ||
	    le32toh(h.crc) != block_crc(block, offsetof(struct segment_header, crc)))
		return -EBADMSG;
	h.flags = le16toh(h.flags);
	if (h.flags & ~SEGMENT_ENCRYPTED)
		return -EBADMSG;
	h.number = le64toh(h.number);
	h.first_ordinal = le64toh(h.first_ordinal);
	h.created_ns = le64toh(h.created_ns);
	h.epoch = le64toh(h.epoch);
	*header = h;
	return 0;
}

void segment_trailer_encode(const struct segment_trailer *trailer, void *block)
{
	struct segment_trailer t = {
		.magic = htole32(TRAILER_MAGIC), .version = htole16(FORMAT_VERSION),
		.footer_offset = htole64(trailer->footer_offset),
		.footer_bytes = htole64(trailer->footer_bytes),
		.data_end = htole64(trailer->data_end),
	};

	memset(block, 0, BLOCK_BYTES);
	memcpy(block, &t, sizeof(t));
	block_seal(block, offsetof(struct segment_trailer, crc));
}

int segment_trailer_decode(const void *block, struct segment_trailer *trailer)
{
	struct segment_trailer t;

	memcpy(&t, block, sizeof(t));
	if (le32toh(t.magic) != TRAILER_MAGIC || le16toh(t.version) != FORMAT_VERSION ||
	    le32toh(t.crc) != block_crc(block, offsetof(struct segment_trailer, crc)))
		return -EBADMSG;
	t.footer_offset = le64toh(t.footer_offset);
	t.footer_bytes = le64toh(t.footer_bytes);
	t.data_end = le64toh(t.data_end);
	*trailer = t;
	return 0;
}

int segment_cipher(struct env *env, struct env_file *file, const struct keyring *keys,
		   struct unit_cipher **out)
{
	uint8_t block[SEGMENT_HEADER_BYTES] __attribute__((aligned(BLOCK_BYTES)));
	struct segment_header header;
	int64_t got = env->ops->read(env, file, block, sizeof(block), 0);

	*out = NULL;
	if (got < 0)
		return got;
	if (got < (int64_t)sizeof(block) || segment_header_decode(block, &header))
		return -EBADMSG;
	return unit_cipher_create_segment(keys, &header, out);
}

void segment_path(char *path, size_t bytes, const char *dir, uint64_t number)
{
	snprintf(path, bytes, "%s/%016llx.seg", dir, (unsigned long long)number);
}
