// SPDX-License-Identifier: GPL-2.0-only
/* See unit_builder.h; the layout is docs/SEGMENT.md. */
#include "unit_builder.h"

#include <endian.h>
#include <lz4.h>
#include <string.h>

#include "crc32c.h"

void unit_builder_reset(struct unit_builder *b)
{
	b->nr_extents = 0;
	b->nr_crcs = 0;
	b->nr_parts = 0;
	b->data_bytes = 0;
	b->scattered_bytes = UNIT_SCATTERED_BYTES;
	b->joinable = false;
}

/* How much of [offset, offset + length) fits in room bytes, cut at a block. */
static uint32_t fitting(uint64_t offset_bytes, uint32_t length_bytes, uint32_t room)
{
	uint64_t end;

	if (length_bytes <= room)
		return length_bytes;
	end = (offset_bytes + room) / BLOCK_BYTES * BLOCK_BYTES;
	return end > offset_bytes ? end - offset_bytes : 0;
}

uint32_t unit_builder_add_data(struct unit_builder *b, uint16_t volume, uint64_t offset_bytes,
			       const void *data, uint32_t length_bytes, const uint32_t *crcs)
{
	uint32_t take = fitting(offset_bytes, length_bytes, UNIT_MAX_DATA_BYTES - b->data_bytes);
	struct unit_extent *last = b->nr_extents ? &b->extents[b->nr_extents - 1] : NULL;
	bool join = b->joinable && last->volume == volume && offset_bytes % BLOCK_BYTES == 0 &&
		    last->offset_bytes + last->length_bytes == offset_bytes;
	uint32_t nr_crcs = unit_crc_pieces(offset_bytes, take);

	if (!join && b->data_bytes >= b->scattered_bytes)
		return 0;
	if (!take || b->nr_parts == UNIT_MAX_EXTENTS || b->nr_crcs + nr_crcs > UNIT_MAX_CRCS ||
	    (!join && b->nr_extents == UNIT_MAX_EXTENTS))
		return 0;
	if (join)
		last->length_bytes += take;
	else
		b->extents[b->nr_extents++] = (struct unit_extent){
			.offset_bytes = offset_bytes,
			.length_bytes = take,
			.volume = volume,
			.kind = EXTENT_DATA,
			.data_offset = b->data_bytes,
			.first_crc = b->nr_crcs,
		};
	memcpy(b->crcs + b->nr_crcs, crcs, nr_crcs * sizeof(*crcs));
	b->nr_crcs += nr_crcs;
	b->parts[b->nr_parts].data = data;
	b->parts[b->nr_parts++].bytes = take;
	b->data_bytes += take;
	b->joinable = true;
	return take;
}

bool unit_builder_add(struct unit_builder *b, uint16_t volume, uint64_t offset_bytes,
		      uint64_t length_bytes, enum extent_kind kind)
{
	if (b->nr_extents == UNIT_MAX_EXTENTS)
		return false;
	b->extents[b->nr_extents++] = (struct unit_extent){
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
		.volume = volume,
		.kind = kind,
	};
	b->joinable = false;
	return true;
}

static void gather(const struct unit_builder *b, uint8_t *out)
{
	for (uint32_t i = 0; i < b->nr_parts; i++) {
		memcpy(out, b->parts[i].data, b->parts[i].bytes);
		out += b->parts[i].bytes;
	}
}

static uint8_t *put_tables(const struct unit_builder *b, uint8_t *out)
{
	struct unit_extent *le = (struct unit_extent *)out;
	uint32_t *crcs = (uint32_t *)(le + b->nr_extents);

	for (uint32_t i = 0; i < b->nr_extents; i++) {
		const struct unit_extent *e = &b->extents[i];

		le[i] = (struct unit_extent){
			.offset_bytes = htole64(e->offset_bytes),
			.length_bytes = htole64(e->length_bytes),
			.volume = htole16(e->volume),
			.kind = e->kind,
			.data_offset = htole32(e->data_offset),
			.first_crc = htole32(e->first_crc),
		};
	}
	for (uint32_t i = 0; i < b->nr_crcs; i++)
		crcs[i] = htole32(b->crcs[i]);
	return (uint8_t *)(crcs + b->nr_crcs);
}

/* The data, compressed if asked and worth it; returns the codec used. */
static uint8_t put_data(const struct unit_builder *b, uint8_t codec, uint8_t *out, void *scratch,
			uint32_t *stored_bytes)
{
	if (codec == UNIT_LZ4 && b->data_bytes) {
		int packed;

		gather(b, scratch);
		packed = LZ4_compress_default(scratch, (char *)out, b->data_bytes,
					      b->data_bytes - b->data_bytes / 8);
		if (packed > 0) {
			*stored_bytes = packed;
			return UNIT_LZ4;
		}
		memcpy(out, scratch, b->data_bytes);
	} else {
		gather(b, out);
	}
	*stored_bytes = b->data_bytes;
	return UNIT_STORED;
}

size_t unit_builder_finish(struct unit_builder *b, const struct unit_label *label, void *out,
			   void *scratch, uint32_t *header_crc)
{
	struct unit_header *h = out;
	uint8_t *data = put_tables(b, (uint8_t *)(h + 1));
	uint32_t stored_bytes;
	uint8_t codec = put_data(b, label->codec, data, scratch, &stored_bytes);
	size_t used = data + stored_bytes - (uint8_t *)out;
	size_t bytes = (used + FORMAT_ALIGN_BYTES - 1) / FORMAT_ALIGN_BYTES * FORMAT_ALIGN_BYTES;

	memset((uint8_t *)out + used, 0, bytes - used);
	*h = (struct unit_header){
		.magic = htole32(UNIT_MAGIC),
		.version = htole16(FORMAT_VERSION),
		.codec = codec,
		.flags = label->readback_no ? UNIT_READBACK : 0,
		.unit_bytes = htole32(bytes),
		.stored_bytes = htole32(stored_bytes),
		.data_bytes = htole32(b->data_bytes),
		.nr_extents = htole16(b->nr_extents),
		.nr_crcs = htole32(b->nr_crcs),
		.batch_ordinal = htole64(label->batch_ordinal),
		.label_seq = htole64(label->label_seq),
		.readback_no = htole64(label->readback_no),
		.stored_crc = htole32(crc32c(data, stored_bytes)),
	};
	*header_crc = crc32c(out, data - (uint8_t *)out);
	h->header_crc = htole32(*header_crc);
	return bytes;
}
