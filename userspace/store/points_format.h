/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * points_format - the points file as on disk; docs/STORE.md has the byte offsets and the rules.
 *
 * All integers are little-endian. Gaps and repairs are those of commit records.
 */
#ifndef BLKSHIP_POINTS_FORMAT_H
#define BLKSHIP_POINTS_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define POINTS_MAGIC	0x314c5342u	/* "BSL1" */
#define POINTS_VERSION	1
#define POINTS_BLOCK_BYTES 4096

struct points_header {		/* begins either copy, the rest of its block zero */
	uint32_t magic;
	uint16_t version;
	uint16_t flags;
	uint32_t header_bytes;
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
	uint8_t  timeline[16];
	uint64_t number;	/* of the points file */
	uint64_t last_segment;
	uint64_t last_ordinal;	/* of the last commit in last_segment; so the next three */
	uint64_t last_cut_seq;
	uint64_t last_time_ns;
	uint64_t last_since_ns;
	uint64_t aged_ns;	/* by which retention was applied */
	uint64_t readback_no;	/* highest so far; so the next three */
	uint64_t hold_id;
	uint64_t last_gap_seq;
	uint64_t repaired_t0;
	uint64_t nr_commits;
	uint32_t nr_gaps;
	uint32_t nr_holds;
	uint32_t nr_repairs;
	uint32_t nr_bad;
	uint32_t nr_members;
	uint32_t nr_all_members;
	uint32_t nr_volumes;
	uint32_t body_crc;	/* of all that follows the header's block in this copy */
};
static_assert(sizeof(struct points_header) == 160, "on disk");

#define POINTS_COMMIT_DEGRADED (1u << 0)

struct points_commit {
	uint64_t ordinal;
	uint64_t cut_seq;
	uint64_t time_ns;
	uint64_t current_to_ns;
	uint64_t target_time_ns;
	uint64_t since_ns;
	uint64_t batch_bytes;
	uint64_t written_bytes;
	uint64_t nr_records;
	uint16_t flags;		/* as in the commit record */
	uint16_t state;
	uint32_t reserved;
};
static_assert(sizeof(struct points_commit) == 80, "on disk");

struct points_stored_hold {
	uint64_t id;
	uint64_t from_seq;
	uint64_t end_seq;	/* UINT64_MAX: open */
};
static_assert(sizeof(struct points_stored_hold) == 24, "on disk");

struct points_stored_bad {
	uint16_t volume;
	uint16_t reserved[3];
	uint64_t offset_bytes;
	uint64_t end_bytes;
	uint64_t label_seq;
};
static_assert(sizeof(struct points_stored_bad) == 32, "on disk");

struct points_stored_members {
	uint64_t ordinal;	/* from here on */
	uint32_t first;		/* of the members that follow */
	uint32_t nr;
};
static_assert(sizeof(struct points_stored_members) == 16, "on disk");

struct points_stored_member {
	uint16_t volume;
	uint16_t reserved[3];
	uint64_t size_bytes;
};
static_assert(sizeof(struct points_stored_member) == 16, "on disk");

#define POINTS_VOLUME_HAS_DATA	(1u << 0)
#define POINTS_VOLUME_MEMBER	(1u << 1)

struct points_stored_volume {
	uint16_t id;		/* dense from 0 */
	uint16_t flags;
	uint32_t log_no;
};
static_assert(sizeof(struct points_stored_volume) == 8, "on disk");

#endif
