/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * manifest_format - the records of a timeline's manifest, as on disk.
 *
 * A file of records one after the other, little-endian, each a header, a payload of
 * its type, and zeroes up to 8. docs/SEGMENT.md has the byte offsets.
 */
#ifndef BLKSHIP_MANIFEST_FORMAT_H
#define BLKSHIP_MANIFEST_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define MANIFEST_MAGIC		0x314d5342u	/* "BSM1" */
#define MANIFEST_VERSION	1
#define MANIFEST_MAX_RECORD_BYTES 4096

enum manifest_type {
	MANIFEST_IDENTITY = 1,	/* the first record, and only there */
	MANIFEST_VOLUME = 2,	/* a new volume, or a new size of one */
	MANIFEST_GRANT = 3,	/* an incarnation */
	MANIFEST_SEGMENT_END = 4, /* a segment given up after a failure ends there */
	MANIFEST_RUN = 5,	/* in the place of runs that cover any of its segments */
	MANIFEST_POINTS = 6,	/* in the place of the points file before */
	MANIFEST_POLICY = 7,	/* of retention, from now on */
	MANIFEST_PACK = 8,	/* in the place of segments, and of packs it covers whole */
	MANIFEST_PARENT = 9,	/* of a branch: docs/BRANCH.md */
	MANIFEST_KEY = 10,	/* segments may be encrypted with it: docs/ENCRYPTION.md */
	MANIFEST_PIN = 11,	/* a point that stays, or, with the same id, no longer does */
	MANIFEST_LINE = 12,	/* a branch becomes the main line: docs/BRANCH.md */
	MANIFEST_DURABLE = 13,	/* a commit is durable, and all before it */
};

struct manifest_header {
	uint32_t magic;
	uint16_t version;
	uint16_t type;		/* enum manifest_type */
	uint32_t record_bytes;	/* with this header, multiple of 8 */
	uint32_t crc;		/* CRC32C of the record, this as 0 */
};
static_assert(sizeof(struct manifest_header) == 16, "on disk");

struct manifest_identity {
	uint8_t  timeline[16];
	uint64_t created_ns;
	uint32_t epoch;
	uint32_t reserved;
	char     owner[64];
};
static_assert(sizeof(struct manifest_identity) == 96, "on disk");

struct manifest_volume {
	uint16_t id;
	uint16_t reserved[3];
	uint64_t size_bytes;
	char     name[32];
	char     identity[64];
};
static_assert(sizeof(struct manifest_volume) == 112, "on disk");

struct manifest_grant {
	uint32_t incarnation;
	uint32_t reserved;
	uint8_t  instance[16];
	uint64_t time_ns;	/* target's clock */
};
static_assert(sizeof(struct manifest_grant) == 32, "on disk");

struct manifest_segment_end {
	uint64_t number;
	uint64_t end_offset;	/* nothing at or past it counts */
	uint64_t last_ordinal;
};
static_assert(sizeof(struct manifest_segment_end) == 24, "on disk");

struct manifest_run {
	uint64_t number;	/* rising */
	uint64_t first_segment;
	uint64_t last_segment;
	uint64_t last_ordinal;	/* in last_segment */
	uint64_t nr_entries;
	uint32_t nr_blocks;
	uint32_t level;
};
static_assert(sizeof(struct manifest_run) == 48, "on disk");

#define MANIFEST_POINTS_LEFT_OUT (1u << 0)	/* some commits do not exist any more */

struct manifest_points {
	uint64_t number;	/* rising */
	uint64_t last_segment;
	uint64_t last_ordinal;	/* in last_segment */
	uint64_t nr_commits;	/* that exist, up to there */
	uint64_t file_bytes;
	uint32_t flags;
	uint32_t reserved;
};
static_assert(sizeof(struct manifest_points) == 48, "on disk");

struct manifest_policy {
	uint64_t since_ns;	/* by the clock of retention */
	uint64_t immutable_ns;
	char     text[256];	/* as retention_parse() reads it */
};
static_assert(sizeof(struct manifest_policy) == 272, "on disk");

#define MANIFEST_PIN_RELEASED (1u << 0)

struct manifest_pin {
	uint64_t id;		/* rising from 1 */
	uint64_t cut_seq;
	uint64_t made_ns;	/* by the target's clock */
	uint64_t until_ns;	/* by the clock of retention; 0: until it is released */
	uint16_t kind;		/* enum timeline_pin_kind */
	uint16_t flags;
	uint32_t reserved;
	char     label[64];
};
static_assert(sizeof(struct manifest_pin) == 104, "on disk");

struct manifest_pack {
	uint64_t number;	/* rising */
	uint64_t first_segment;
	uint64_t last_segment;
	uint64_t last_ordinal;	/* in last_segment */
	uint64_t points_no;	/* of the points file by which it was made */
	uint64_t nr_extents;
	uint64_t live_bytes;	/* of data pieces that were live when it was made */
	uint64_t file_bytes;
};
static_assert(sizeof(struct manifest_pack) == 64, "on disk");

struct manifest_key {
	uint8_t  id[16];	/* as in headers of segments */
	uint64_t time_ns;	/* target's clock */
};
static_assert(sizeof(struct manifest_key) == 24, "on disk");

struct manifest_parent {
	uint8_t  timeline[16];
	uint64_t cut_seq;	/* of the point */
	uint64_t time_ns;	/* of the point */
};
static_assert(sizeof(struct manifest_parent) == 32, "on disk");

struct manifest_line {
	uint32_t epoch;		/* rising by one */
	uint32_t reserved;
	uint8_t  timeline[16];	/* of the branch */
	uint64_t cut_seq;	/* of its parent's point */
	uint64_t time_ns;	/* of that point */
	uint64_t made_ns;	/* target's clock */
	uint64_t branch_cut_seq; /* of the branch's newest point when this was made; 0: it had none */
	char     name[32];	/* of the branch */
};
static_assert(sizeof(struct manifest_line) == 88, "on disk");

struct manifest_durable {
	uint64_t ordinal;	/* rising */
	uint64_t segment;	/* it lies there, or in what has its place since */
};
static_assert(sizeof(struct manifest_durable) == 16, "on disk");

#endif
