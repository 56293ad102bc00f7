/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run_format - runs as on disk; docs/STORE.md has the byte offsets and the rules.
 *
 * All integers are little-endian. In memory the same entries are in host order.
 */
#ifndef BLKSHIP_RUN_FORMAT_H
#define BLKSHIP_RUN_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define RUN_MAGIC	0x31525342u	/* "BSR1" */
#define RUN_VERSION	1
#define RUN_BLOCK_BYTES	4096
#define RUN_MIN_SHIFT	9		/* lengths of pieces: 2^9 ... */
#define RUN_MAX_SHIFT	60
#define RUN_UNIT_ALIGN	8		/* run_entry.unit_at counts these */

struct run_header {		/* block 0, the rest zero */
	uint32_t magic;
	uint16_t version;
	uint16_t flags;
	uint32_t header_bytes;
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
	uint8_t  timeline[16];
	uint64_t number;
	uint64_t first_segment;
	uint64_t last_segment;
	uint64_t last_ordinal;
	uint64_t nr_entries;
	uint64_t lengths;	/* bit k: some piece has 2^k bytes */
	uint32_t nr_blocks;	/* with this one */
	uint32_t root;		/* 0: no entries */
	uint32_t level;
	uint32_t reserved;
};
static_assert(sizeof(struct run_header) == 96, "on disk");

struct run_block {		/* begins every other block */
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
	uint32_t number;	/* of the run, low bits */
	uint32_t block;		/* its own */
	uint16_t nr;
	uint8_t  depth;		/* 0: entries; else fences */
	uint8_t  reserved;
};
static_assert(sizeof(struct run_block) == 16, "on disk");

/* A piece of an extent: 2^length_shift bytes at a multiple of that. */
struct run_entry {
	uint64_t offset_bytes;
	uint64_t label_seq;
	uint64_t readback_no;
	uint32_t segment;
	uint32_t unit_at;	/* in the segment file, in units of RUN_UNIT_ALIGN */
	uint16_t extent_no;	/* in its unit */
	uint16_t volume;
	uint8_t  data_sector;	/* EXTENT_DATA: in the unit's data */
	uint8_t  length_shift;
	uint8_t  kind;		/* enum extent_kind */
	uint8_t  reserved;
};
static_assert(sizeof(struct run_entry) == 40, "on disk");

/* The first entry below a child. */
struct run_fence {
	uint64_t offset_bytes;
	uint64_t label_seq;
	uint32_t child;		/* block */
	uint16_t volume;
	uint8_t  length_shift;
	uint8_t  reserved;
};
static_assert(sizeof(struct run_fence) == 24, "on disk");

#define RUN_LEAF_ENTRIES ((RUN_BLOCK_BYTES - sizeof(struct run_block)) / sizeof(struct run_entry))
#define RUN_NODE_FENCES ((RUN_BLOCK_BYTES - sizeof(struct run_block)) / sizeof(struct run_fence))
#define RUN_MAX_DEPTH	5		/* 170^5 leaves are more than a u32 has blocks */
static_assert(RUN_LEAF_ENTRIES == 102 && RUN_NODE_FENCES == 170, "on disk");

#endif
