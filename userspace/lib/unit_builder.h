/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * unit_builder - lay extents out as a unit (docs/SEGMENT.md).
 *
 * Pure. Data are borrowed where they lie until the unit is finished: they are
 * copied once, into their place.
 */
#ifndef BLKSHIP_UNIT_BUILDER_H
#define BLKSHIP_UNIT_BUILDER_H

#include <stdbool.h>

#include "segment_format.h"

/*
 * A unit of scattered extents takes no more of them past this, so that who reads one block
 * of it need not unpack 64 KiB. What goes on where the last extent ended is still taken.
 */
#define UNIT_SCATTERED_BYTES	16384

struct unit_builder {
	struct unit_extent extents[UNIT_MAX_EXTENTS];	/* host order until finish */
	uint32_t crcs[UNIT_MAX_CRCS];
	struct { const void *data; uint32_t bytes; } parts[UNIT_MAX_EXTENTS];
	uint32_t nr_extents, nr_crcs, nr_parts, data_bytes;
	uint32_t scattered_bytes; /* after a reset UNIT_SCATTERED_BYTES */
	bool joinable;		/* the last extent may be prolonged */
};

/** unit_builder_reset - begin a unit */
void unit_builder_reset(struct unit_builder *b);

/**
 * unit_builder_add_data - add data, or as much of it as fits
 * @crcs: one for each 4096-byte block of the volume that the data touch
 *
 * What does not fit is cut at a block boundary. Data that begin on a block
 * boundary where the last ones ended prolong their extent.
 *
 * Return: bytes taken; 0 when the unit is full.
 */
uint32_t unit_builder_add_data(struct unit_builder *b, uint16_t volume, uint64_t offset_bytes,
			       const void *data, uint32_t length_bytes, const uint32_t *crcs);

/** unit_builder_add - add an extent without data; false when the unit is full */
bool unit_builder_add(struct unit_builder *b, uint16_t volume, uint64_t offset_bytes,
		      uint64_t length_bytes, enum extent_kind kind);

/* What the header says beyond the extents. */
struct unit_label {
	uint64_t batch_ordinal;
	uint64_t label_seq;
	uint64_t readback_no;	/* 0: records */
	uint8_t codec;		/* UNIT_STORED, or UNIT_LZ4 where it saves an eighth */
};

/**
 * unit_builder_finish - write the unit
 * @out: UNIT_MAX_BYTES
 * @scratch: UNIT_MAX_DATA_BYTES, used when compressing; may be NULL for UNIT_STORED
 * @header_crc: out, for the chain in the commit record
 * Return: bytes of the unit.
 */
size_t unit_builder_finish(struct unit_builder *b, const struct unit_label *label, void *out,
			   void *scratch, uint32_t *header_crc);

#endif
