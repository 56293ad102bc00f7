// SPDX-License-Identifier: GPL-2.0-only
/* run - the blocks of a run, and how its entries are ordered. */
#include "run.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/segment_format.h"
#include "block.h"

/* -- order -- */

unsigned int run_piece_shift(uint64_t offset_bytes, uint64_t end_bytes)
{
	unsigned int fits = 63 - __builtin_clzll(end_bytes - offset_bytes);
	unsigned int aligned = offset_bytes ? __builtin_ctzll(offset_bytes) : RUN_MAX_SHIFT;

	return aligned < fits ? aligned : fits;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int run_key_compare(const struct run_key *a, const struct run_key *b)
{
	if (a->volume != b->volume)
		return compare(a->volume, b->volume);
	if (a->offset_bytes != b->offset_bytes)
		return compare(a->offset_bytes, b->offset_bytes);
	if (a->length_shift != b->length_shift)
		return compare(b->length_shift, a->length_shift);
	return compare(b->label_seq, a->label_seq);
}

int run_entry_compare(const struct run_entry *a, const struct run_entry *b)
{
	const struct run_key x = run_entry_key(a), y = run_entry_key(b);
	int ret = run_key_compare(&x, &y);

	if (ret)
		return ret;
	if (a->readback_no != b->readback_no)
		return compare(b->readback_no, a->readback_no);
	if (a->segment != b->segment)
		return compare(b->segment, a->segment);
	if (a->unit_at != b->unit_at)
		return compare(b->unit_at, a->unit_at);
	return compare(b->extent_no, a->extent_no);
}

/* -- header -- */

void run_header_encode(const struct run_header *header, void *block)
{
	struct run_header h = {
		.magic = htole32(RUN_MAGIC), .version = htole16(RUN_VERSION),
		.header_bytes = htole32(RUN_BLOCK_BYTES), .number = htole64(header->number),
		.first_segment = htole64(header->first_segment),
		.last_segment = htole64(header->last_segment),
		.last_ordinal = htole64(header->last_ordinal),
		.nr_entries = htole64(header->nr_entries), .lengths = htole64(header->lengths),
		.nr_blocks = htole32(header->nr_blocks), .root = htole32(header->root),
		.level = htole32(header->level),
	};

	memcpy(h.timeline, header->timeline, sizeof(h.timeline));
	memset(block, 0, RUN_BLOCK_BYTES);
	memcpy(block, &h, sizeof(h));
	block_seal(block, offsetof(struct run_header, crc));
}

int run_header_decode(const void *block, struct run_header *header)
{
	struct run_header h;

	memcpy(&h, block, sizeof(h));
	if (le32toh(h.magic) != RUN_MAGIC || le16toh(h.version) != RUN_VERSION ||
	    le32toh(h.header_bytes) != RUN_BLOCK_BYTES ||
	    le32toh(h.crc) != block_crc(block, offsetof(struct run_header, crc)))
		return -EBADMSG;
	h.number = le64toh(h.number);
	h.first_segment = le64toh(h.first_segment);
	h.last_segment = le64toh(h.last_segment);
	h.last_ordinal = le64toh(h.last_ordinal);
	h.nr_entries = le64toh(h.nr_entries);
	h.lengths = le64toh(h.lengths);
	h.nr_blocks = le32toh(h.nr_blocks);
	h.root = le32toh(h.root);
	h.level = le32toh(h.level);
	if (h.nr_blocks == 0 || h.root >= h.nr_blocks || !h.root != !h.nr_entries)
		return -EBADMSG;
	*header = h;
	return 0;
}

/* -- blocks -- */

void run_block_seal(void *block, uint64_t number, uint32_t at, uint16_t nr, uint8_t depth)
{
	struct run_block head = {
		.number = htole32((uint32_t)number), .block = htole32(at), .nr = htole16(nr),
		.depth = depth,
	};

	memcpy(block, &head, sizeof(head));
	block_seal(block, offsetof(struct run_block, crc));
}

int run_block_check(const void *block, uint64_t number, uint32_t at, struct run_block *head)
{
	struct run_block b;

	memcpy(&b, block, sizeof(b));
	if (le32toh(b.crc) != block_crc(block, offsetof(struct run_block, crc)))
		return -EBADMSG;
	b.number = le32toh(b.number);
	b.block = le32toh(b.block);
	b.nr = le16toh(b.nr);
	if (b.number != (uint32_t)number || b.block != at || b.depth > RUN_MAX_DEPTH || b.nr == 0 ||
	    b.nr > (b.depth ? RUN_NODE_FENCES : RUN_LEAF_ENTRIES))
		return -EBADMSG;
	*head = b;
	return 0;
}

/* Both ways. */
static void entry_swap(struct run_entry *e)
{
	e->offset_bytes = le64toh(e->offset_bytes);
	e->label_seq = le64toh(e->label_seq);
	e->readback_no = le64toh(e->readback_no);
	e->segment = le32toh(e->segment);
	e->unit_at = le32toh(e->unit_at);
	e->extent_no = le16toh(e->extent_no);
	e->volume = le16toh(e->volume);
}

static uint8_t *entry_at(const void *block, unsigned int index)
{
	return (uint8_t *)block + sizeof(struct run_block) + index * sizeof(struct run_entry);
}

static uint8_t *fence_at(const void *block, unsigned int index)
{
	return (uint8_t *)block + sizeof(struct run_block) + index * sizeof(struct run_fence);
}

void run_entry_put(void *block, unsigned int index, const struct run_entry *e)
{
	struct run_entry raw = *e;

	entry_swap(&raw);
	memcpy(entry_at(block, index), &raw, sizeof(raw));
}

int run_entry_get(const void *block, unsigned int index, const struct run_header *run,
		  struct run_entry *e)
{
	struct run_entry got;
	uint64_t bytes;

	memcpy(&got, entry_at(block, index), sizeof(got));
	entry_swap(&got);
	if (got.length_shift < RUN_MIN_SHIFT || got.length_shift > RUN_MAX_SHIFT)
		return -EBADMSG;
	bytes = UINT64_C(1) << got.length_shift;
	if (got.offset_bytes % bytes || got.offset_bytes > EXTENT_MAX_END_BYTES - bytes ||
	    !(run->lengths & bytes) || got.segment < run->first_segment ||
	    got.segment > run->last_segment || got.kind < EXTENT_DATA ||
	    got.kind > EXTENT_UNREADABLE)
		return -EBADMSG;
	if (got.kind == EXTENT_DATA ?
	    got.data_sector * SECTOR_BYTES + bytes > UNIT_MAX_DATA_BYTES : got.data_sector)
		return -EBADMSG;
	*e = got;
	return 0;
}

void run_key_get(const void *block, unsigned int index, struct run_key *key)
{
	struct run_entry raw;

	memcpy(&raw, entry_at(block, index), sizeof(raw));
	*key = (struct run_key){
		.offset_bytes = le64toh(raw.offset_bytes), .label_seq = le64toh(raw.label_seq),
		.volume = le16toh(raw.volume), .length_shift = raw.length_shift,
	};
}

void run_fence_put(void *block, unsigned int index, const struct run_key *key, uint32_t child)
{
	struct run_fence raw = {
		.offset_bytes = htole64(key->offset_bytes), .label_seq = htole64(key->label_seq),
		.child = htole32(child), .volume = htole16(key->volume),
		.length_shift = key->length_shift,
	};

	memcpy(fence_at(block, index), &raw, sizeof(raw));
}

void run_fence_get(const void *block, unsigned int index, struct run_key *key, uint32_t *child)
{
	struct run_fence raw;

	memcpy(&raw, fence_at(block, index), sizeof(raw));
	*key = (struct run_key){
		.offset_bytes = le64toh(raw.offset_bytes), .label_seq = le64toh(raw.label_seq),
		.volume = le16toh(raw.volume), .length_shift = raw.length_shift,
	};
	*child = le32toh(raw.child);
}

void run_path(char *path, size_t bytes, const char *dir, uint64_t number, int unfinished)
{
	snprintf(path, bytes, "%s/%016llx.run%s", dir, (unsigned long long)number,
		 unfinished ? ".new" : "");
}
