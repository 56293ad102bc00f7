/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_format - packs as on disk; docs/PACK.md has the byte offsets and the rules.
 *
 * All integers are little-endian. In memory the same records are in host order.
 */
#ifndef BLKSHIP_PACK_FORMAT_H
#define BLKSHIP_PACK_FORMAT_H

#include <assert.h>
#include <stdint.h>

#include "../lib/segment_format.h"

#define PACK_MAGIC	0x314b5342u	/* "BSK1" */
#define PACK_VERSION	1
#define PACK_BLOCK_BYTES 4096
#define PACK_ENCRYPTED	(1u << 0)	/* every unit in it is: docs/ENCRYPTION.md */
#define PACK_UNIT_ALIGN	8		/* pack_extent.unit_at and .at count these */

struct pack_header {		/* block 0, the rest zero */
	uint32_t magic;
	uint16_t version;
	uint16_t flags;		/* PACK_ENCRYPTED */
	uint32_t header_bytes;
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
	uint8_t  timeline[16];
	uint64_t number;
	uint64_t first_segment;
	uint64_t last_segment;
	uint64_t first_ordinal;	/* of the batches that were in them */
	uint64_t last_ordinal;
	uint64_t points_no;	/* of the points file by which it was made */
	uint64_t nr_extents;
	uint64_t live_bytes;	/* of data pieces that were live when it was made */
	uint64_t data_end;	/* units lie below, the directory begins here */
	uint64_t tables_bytes;	/* behind the directory */
	uint32_t nr_blocks;	/* of the directory */
	uint32_t nr_units;
	uint32_t nr_commits;
	uint32_t tables_crc;
	uint8_t  key_id[FILE_KEY_ID_BYTES];	/* encrypted: which key, else 0 */
	uint8_t  key_salt[FILE_KEY_SALT_BYTES];	/* encrypted: random, else 0 */
	uint32_t kept_bytes;	/* of the tables, the last of them */
	uint32_t reserved;
};
static_assert(sizeof(struct pack_header) == 184, "on disk");

struct pack_block {		/* begins every block of the directory */
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
	uint32_t number;	/* of the pack, low bits */
	uint32_t block;		/* its own, from 0 */
	uint16_t nr;
	uint16_t reserved;
};
static_assert(sizeof(struct pack_block) == 16, "on disk");

/* A part of an extent: what it is, where it was, and where its data are now. */
struct pack_extent {
	uint64_t offset_bytes;	/* of the part in the volume */
	uint64_t length_bytes;
	uint64_t label_seq;
	uint64_t readback_no;
	uint64_t batch_ordinal;
	uint32_t segment;	/* where it was: segment, unit, extent, and in the unit's data */
	uint32_t unit_at;	/* in units of PACK_UNIT_ALIGN */
	uint32_t from_offset;	/* EXTENT_DATA; else 0 */
	uint32_t at;		/* EXTENT_DATA: its unit in the pack, in PACK_UNIT_ALIGN; else 0 */
	uint32_t data_offset;	/* EXTENT_DATA: in the data of that; else 0 */
	uint16_t extent_no;
	uint16_t volume;
	uint8_t  kind;		/* enum extent_kind */
	uint8_t  reserved[7];
};
static_assert(sizeof(struct pack_extent) == 72, "on disk");

/* Behind the header, in its block: what manifest_copy.h has to say. */
#define PACK_ROOM_BYTES	(PACK_BLOCK_BYTES - sizeof(struct pack_header))

#define PACK_BLOCK_EXTENTS \
	((PACK_BLOCK_BYTES - sizeof(struct pack_block)) / sizeof(struct pack_extent))
static_assert(PACK_BLOCK_EXTENTS == 56, "on disk");

/*
 * Tables: for each segment a u64, the ordinal of its last batch; then commit records; then the
 * cuts that were kept (pack_kept.h).
 */

#endif
