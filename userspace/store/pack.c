// SPDX-License-Identifier: GPL-2.0-only
/* pack - the blocks of a pack, and the order of its directory. */
#include "pack.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "block.h"

/* -- order -- */

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

int pack_origin_compare(const struct pack_origin *a, const struct pack_origin *b)
{
	if (a->segment != b->segment)
		return compare(a->segment, b->segment);
	if (a->unit_at != b->unit_at)
		return compare(a->unit_at, b->unit_at);
	if (a->extent_no != b->extent_no)
		return compare(a->extent_no, b->extent_no);
	return compare(a->from_offset, b->from_offset);
}

/* -- blocks -- */

static uint64_t block_round(uint64_t bytes)
{
	return (bytes + PACK_BLOCK_BYTES - 1) / PACK_BLOCK_BYTES * PACK_BLOCK_BYTES;
}

/* Both ways. */
static void header_swap(struct pack_header *h)
{
	h->magic = le32toh(h->magic);
	h->version = le16toh(h->version);
	h->flags = le16toh(h->flags);
	h->header_bytes = le32toh(h->header_bytes);
	h->crc = le32toh(h->crc);
	h->number = le64toh(h->number);
	h->first_segment = le64toh(h->first_segment);
	h->last_segment = le64toh(h->last_segment);
	h->first_ordinal = le64toh(h->first_ordinal);
	h->last_ordinal = le64toh(h->last_ordinal);
	h->points_no = le64toh(h->points_no);
	h->nr_extents = le64toh(h->nr_extents);
	h->live_bytes = le64toh(h->live_bytes);
	h->data_end = le64toh(h->data_end);
	h->tables_bytes = le64toh(h->tables_bytes);
	h->nr_blocks = le32toh(h->nr_blocks);
	h->nr_units = le32toh(h->nr_units);
	h->nr_commits = le32toh(h->nr_commits);
	h->tables_crc = le32toh(h->tables_crc);
	h->kept_bytes = le32toh(h->kept_bytes);
}

void pack_header_encode(const struct pack_header *header, void *block)
{
	struct pack_header h = *header;

	h.magic = PACK_MAGIC;
	h.version = PACK_VERSION;
	h.header_bytes = PACK_BLOCK_BYTES;
	h.crc = 0;
	header_swap(&h);
	memcpy(block, &h, sizeof(h));
	block_seal(block, offsetof(struct pack_header, crc));
}

/* What could make a reader leave the file, or count without end. */
static bool header_valid(const struct pack_header *h)
{
	uint64_t nr_segments = h->last_segment - h->first_segment + 1;

	if (h->magic != PACK_MAGIC || h->version != PACK_VERSION ||
	    h->flags & ~PACK_ENCRYPTED || h->header_bytes != PACK_BLOCK_BYTES)
		return false;
	if (h->number == 0 || h->first_segment == 0 || h->last_segment < h->first_segment ||
	    h->last_segment > UINT32_MAX || h->first_ordinal == 0 ||
	    h->last_ordinal < h->first_ordinal)
		return false;
	if (h->data_end < PACK_BLOCK_BYTES || h->data_end % PACK_BLOCK_BYTES ||
	    h->data_end / PACK_UNIT_ALIGN > UINT32_MAX)
		return false;
	return h->tables_bytes <= UINT32_MAX &&
	       h->tables_bytes >= nr_segments * sizeof(uint64_t) + h->kept_bytes &&
	       h->nr_extents <= (uint64_t)h->nr_blocks * PACK_BLOCK_EXTENTS &&
	       h->nr_blocks == (h->nr_extents + PACK_BLOCK_EXTENTS - 1) / PACK_BLOCK_EXTENTS;
}

int pack_header_decode(const void *block, struct pack_header *header)
{
	struct pack_header h;

	memcpy(&h, block, sizeof(h));
	header_swap(&h);
	if (!header_valid(&h) || h.crc != block_crc(block, offsetof(struct pack_header, crc)))
		return -EBADMSG;
	*header = h;
	return 0;
}

uint64_t pack_header_file_bytes(const struct pack_header *h)
{
	return h->data_end + (uint64_t)h->nr_blocks * PACK_BLOCK_BYTES +
	       block_round(h->tables_bytes);
}

void pack_block_seal(void *block, uint64_t number, uint32_t at, uint16_t nr)
{
	struct pack_block head = {
		.number = htole32((uint32_t)number), .block = htole32(at), .nr = htole16(nr),
	};

	memcpy(block, &head, sizeof(head));
	block_seal(block, offsetof(struct pack_block, crc));
}

int pack_block_check(const void *block, uint64_t number, uint32_t at)
{
	struct pack_block b;
	unsigned int nr;

	memcpy(&b, block, sizeof(b));
	nr = le16toh(b.nr);
	if (le32toh(b.crc) != block_crc(block, offsetof(struct pack_block, crc)) ||
	    le32toh(b.number) != (uint32_t)number || le32toh(b.block) != at || nr == 0 ||
	    nr > PACK_BLOCK_EXTENTS)
		return -EBADMSG;
	return nr;
}

/* -- extents -- */

/* Both ways. */
static void extent_swap(struct pack_extent *e)
{
	e->offset_bytes = le64toh(e->offset_bytes);
	e->length_bytes = le64toh(e->length_bytes);
	e->label_seq = le64toh(e->label_seq);
	e->readback_no = le64toh(e->readback_no);
	e->batch_ordinal = le64toh(e->batch_ordinal);
	e->segment = le32toh(e->segment);
	e->unit_at = le32toh(e->unit_at);
	e->from_offset = le32toh(e->from_offset);
	e->at = le32toh(e->at);
	e->data_offset = le32toh(e->data_offset);
	e->extent_no = le16toh(e->extent_no);
	e->volume = le16toh(e->volume);
}

static uint8_t *extent_at(const void *block, unsigned int index)
{
	return (uint8_t *)block + sizeof(struct pack_block) + index * sizeof(struct pack_extent);
}

void pack_extent_put(void *block, unsigned int index, const struct pack_extent *e)
{
	struct pack_extent raw = *e;

	extent_swap(&raw);
	memcpy(extent_at(block, index), &raw, sizeof(raw));
}

static bool data_valid(const struct pack_extent *e, const struct pack_header *pack)
{
	uint64_t at = (uint64_t)e->at * PACK_UNIT_ALIGN;

	if (e->kind != EXTENT_DATA)
		return e->kind >= EXTENT_ZERO && e->kind <= EXTENT_UNREADABLE &&
		       !e->from_offset && !e->at && !e->data_offset;
	return e->from_offset % SECTOR_BYTES == 0 && e->data_offset % SECTOR_BYTES == 0 &&
	       e->length_bytes <= UNIT_MAX_DATA_BYTES &&
	       e->from_offset <= UNIT_MAX_DATA_BYTES - e->length_bytes &&
	       e->data_offset <= UNIT_MAX_DATA_BYTES - e->length_bytes &&
	       at >= PACK_BLOCK_BYTES && at < pack->data_end;
}

int pack_extent_get(const void *block, unsigned int index, const struct pack_header *pack,
		    struct pack_extent *e)
{
	struct pack_extent got;

	memcpy(&got, extent_at(block, index), sizeof(got));
	extent_swap(&got);
	if (got.length_bytes == 0 || got.offset_bytes % SECTOR_BYTES ||
	    got.length_bytes % SECTOR_BYTES || got.length_bytes > EXTENT_MAX_END_BYTES ||
	    got.offset_bytes > EXTENT_MAX_END_BYTES - got.length_bytes ||
	    got.segment < pack->first_segment || got.segment > pack->last_segment ||
	    got.batch_ordinal < pack->first_ordinal || got.batch_ordinal > pack->last_ordinal ||
	    got.extent_no >= UNIT_MAX_EXTENTS || !data_valid(&got, pack))
		return -EBADMSG;
	for (size_t i = 0; i < sizeof(got.reserved); i++)
		if (got.reserved[i])
			return -EBADMSG;
	*e = got;
	return 0;
}

struct pack_extent pack_extent_of(const struct footer_extent *f, uint32_t segment,
				  uint16_t extent_no)
{
	struct pack_extent e = {
		.offset_bytes = f->extent.offset_bytes, .length_bytes = f->extent.length_bytes,
		.label_seq = f->label_seq, .readback_no = f->readback_no,
		.batch_ordinal = f->batch_ordinal, .segment = segment,
		.unit_at = f->unit_offset / PACK_UNIT_ALIGN, .extent_no = extent_no,
		.volume = f->extent.volume, .kind = f->extent.kind,
	};

	if (e.kind == EXTENT_DATA) {
		e.at = e.unit_at;
		e.from_offset = e.data_offset = f->extent.data_offset;
	}
	return e;
}

/* -- units -- */

int pack_cipher(const struct pack_header *header, const struct keyring *keys,
		struct unit_cipher **out)
{
	const struct unit_cipher_file file = {
		.kind = PACK_CIPHER, .timeline = header->timeline, .number = header->number,
		.key_id = header->key_id, .key_salt = header->key_salt,
	};

	*out = NULL;
	return header->flags & PACK_ENCRYPTED ? unit_cipher_create(keys, &file, out) : 0;
}

const struct unit_extent *pack_unit_extent(const struct unit_view *unit, uint32_t data_offset)
{
	for (unsigned int i = 0; i < unit->header.nr_extents; i++)
		if (unit->extents[i].kind == EXTENT_DATA &&
		    le32toh(unit->extents[i].data_offset) == data_offset)
			return &unit->extents[i];
	return NULL;
}

void pack_path(char *path, size_t bytes, const char *dir, uint64_t number, int unfinished)
{
	snprintf(path, bytes, "%s/%016llx.pack%s", dir, (unsigned long long)number,
		 unfinished ? ".new" : "");
}
