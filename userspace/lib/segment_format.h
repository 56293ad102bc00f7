/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment_format - units, commit records and segments, as on disk and on the wire.
 *
 * All integers are little-endian. docs/SEGMENT.md has the byte offsets and the
 * reading rules; tests/unit/test_segment_format.c keeps both equal.
 */
#ifndef BLKSHIP_SEGMENT_FORMAT_H
#define BLKSHIP_SEGMENT_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define SEGMENT_MAGIC	0x31475342u	/* "BSG1" */
#define UNIT_MAGIC	0x31555342u	/* "BSU1" */
#define COMMIT_MAGIC	0x31435342u	/* "BSC1" */
#define PAD_MAGIC	0x31505342u	/* "BSP1" */
#define FOOTER_MAGIC	0x31465342u	/* "BSF1" */
#define TRAILER_MAGIC	0x31545342u	/* "BST1" */
#define FORMAT_VERSION	1

#define FORMAT_ALIGN_BYTES	8	/* every record is padded to this */
#define COMMIT_ALIGN_BYTES	4096	/* a committed batch ends on this */
#define BLOCK_BYTES		4096	/* what one CRC covers at most */
#define SECTOR_BYTES		512

#define UNIT_MAX_DATA_BYTES	65536
#define UNIT_MAX_EXTENTS	512
/* Every extent's ends may cut a block in two. */
#define UNIT_MAX_CRCS (UNIT_MAX_DATA_BYTES / BLOCK_BYTES + 2 * UNIT_MAX_EXTENTS)
#define UNIT_MAX_BYTES	(64 + UNIT_MAX_EXTENTS * 32 + UNIT_MAX_CRCS * 4 + UNIT_MAX_DATA_BYTES + 64)

enum unit_codec { UNIT_STORED = 0, UNIT_LZ4 = 1, UNIT_ZSTD = 2 };

#define UNIT_READBACK	(1u << 0)	/* extents were read back; label is the stamp p */
#define UNIT_ENCRYPTED	(1u << 1)	/* only on disk: docs/ENCRYPTION.md */

struct unit_header {
	uint32_t magic;
	uint16_t version;
	uint8_t  codec;		/* enum unit_codec */
	uint8_t  flags;		/* UNIT_* */
	uint32_t unit_bytes;	/* all of it, padded to FORMAT_ALIGN_BYTES */
	uint32_t stored_bytes;	/* data as it lies here */
	uint32_t data_bytes;	/* data as it was captured */
	uint16_t nr_extents;
	uint16_t reserved0;
	uint32_t nr_crcs;
	uint32_t header_crc;	/* of header (this as 0), extents and CRC table */
	uint64_t batch_ordinal;	/* of the commit record that will close the batch */
	uint64_t label_seq;	/* cut, or p of a read-back */
	uint64_t readback_no;	/* of the first extent, the next ones follow; else 0 */
	uint32_t stored_crc;	/* of the stored data, and the seal if there is one */
	uint32_t reserved1;
};
static_assert(sizeof(struct unit_header) == 64, "on disk");

enum extent_kind {
	EXTENT_DATA = 1,
	EXTENT_ZERO = 2,
	EXTENT_DISCARD = 3,	/* content is don't-care */
	EXTENT_UNREADABLE = 4,	/* the device could not be read here */
};

/* Extents lie in the unit right after its header. */
struct unit_extent {
	uint64_t offset_bytes;	/* in the volume */
	uint64_t length_bytes;
	uint16_t volume;	/* id in the timeline */
	uint8_t  kind;		/* enum extent_kind */
	uint8_t  reserved;
	uint32_t data_offset;	/* EXTENT_DATA: in the unit's (unpacked) data */
	uint32_t first_crc;	/* EXTENT_DATA: index in the unit's CRC table */
	uint32_t reserved1;
};
static_assert(sizeof(struct unit_extent) == 32, "on disk");

/*
 * The CRC table follows the extents: one CRC32C for each piece of an
 * EXTENT_DATA that lies in one 4096-byte block of the volume, in order. The
 * stored data follow the table, then the seal of an encrypted unit, then zeroes up to
 * unit_bytes.
 */

/* Of an encrypted unit, in which the table and the stored data are encrypted. */
struct unit_seal {
	uint8_t nonce[12];
	uint8_t tag[16];
};
static_assert(sizeof(struct unit_seal) == 28, "on disk");

#define COMMIT_HEARTBEAT	(1u << 0)	/* the batch is empty */
#define COMMIT_DEGRADED		(1u << 1)	/* some sectors were unreadable */

struct commit_header {
	uint32_t magic;
	uint16_t version;
	uint16_t flags;		/* COMMIT_* */
	uint32_t record_bytes;	/* header and tables, multiple of 8 */
	uint32_t crc;		/* of the record, this as 0 */
	uint64_t ordinal;	/* dense over the timeline, from 1 */
	uint64_t cut_seq;
	uint64_t time_ns;	/* all writes acknowledged before are at or below the cut */
	uint64_t current_to_ns;	/* nothing was written between the cut and this; or 0 */
	uint64_t batch_bytes;	/* of the batch's units in the stream */
	uint32_t nr_units;
	uint32_t units_crc;	/* CRC32C over the header_crcs (LE) of its units in order */
	uint32_t nr_gaps;
	uint32_t nr_holds;
	uint32_t nr_repairs;
	uint32_t nr_volumes;
	uint64_t target_time_ns; /* 0 on the wire; the target's clock at ingest */
	uint64_t written_bytes;	/* captured payload that went into this batch */
	uint64_t nr_records;	/* captured operations that went into it */
	uint64_t target_durable; /* 0 on the wire; newest ordinal durable at ingest: what
				  * recovery tells damage from a torn tail by */
	uint64_t reserved[2];
};
static_assert(sizeof(struct commit_header) == 128, "on disk");

/*
 * Seqs from..to were not captured. A point at or after from is listed only once
 * a repair with t0 >= to has ended at or below it.
 */
struct commit_gap {
	uint64_t from_seq;
	uint64_t to_seq;
};

/* No cut in [from, end) is a recovery point; end 0: still open. Latest word counts. */
struct commit_hold {
	uint64_t id;
	uint64_t from_seq;
	uint64_t end_seq;
};

/* Gaps up to t0 are repaired in every point at or after end. */
struct commit_repair {
	uint64_t t0_seq;
	uint64_t end_seq;
};

/* Member volumes of the point. */
struct commit_volume {
	uint16_t volume;
	uint16_t flags;
	uint32_t log_no;	/* of its list at the source: docs/META.md; 0: none */
	uint64_t size_bytes;
};
static_assert(sizeof(struct commit_gap) == 16 && sizeof(struct commit_hold) == 24 &&
	      sizeof(struct commit_repair) == 16 && sizeof(struct commit_volume) == 16,
	      "on disk");

#define COMMIT_MAX_GAPS		1024
#define COMMIT_MAX_HOLDS	256
#define COMMIT_MAX_OPEN_HOLDS	128	/* at any time: one commit can close them all */
#define COMMIT_MAX_REPAIRS	64
#define COMMIT_MAX_VOLUMES	256
#define COMMIT_MAX_BYTES (128 + COMMIT_MAX_GAPS * 16 + COMMIT_MAX_HOLDS * 24 + \
			  COMMIT_MAX_REPAIRS * 16 + COMMIT_MAX_VOLUMES * 16)

/* Units of one batch: data of a cut, plus one read-back chunk. */
#define BATCH_MAX_BYTES		(96u << 20)
/* The same on disk: what encryption adds to the smallest unit, a third, to all of them. */
#define BATCH_MAX_DISK_BYTES	(128u << 20)
#define BATCH_MAX_EXTENTS	(1u << 20)	/* bounds what a target must remember */
#define EXTENT_MAX_END_BYTES	(UINT64_C(1) << 60)

/* -- the pieces of a segment file that are not units or commits -- */

#define FILE_KEY_ID_BYTES	16
#define FILE_KEY_SALT_BYTES	32

#define SEGMENT_ENCRYPTED	(1u << 0)	/* every unit in it is */

struct segment_header {		/* one 4096-byte block, the rest zero */
	uint32_t magic;
	uint16_t version;
	uint16_t flags;		/* SEGMENT_ENCRYPTED */
	uint32_t header_bytes;	/* 4096 */
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
	uint8_t  timeline[16];	/* its id */
	uint64_t number;	/* of the segment, dense from 1 */
	uint64_t first_ordinal;	/* of the first batch in it */
	uint64_t created_ns;	/* target's clock */
	uint64_t epoch;
	uint8_t  key_id[FILE_KEY_ID_BYTES];	/* encrypted: which key, else 0 */
	uint8_t  key_salt[FILE_KEY_SALT_BYTES];	/* encrypted: random, else 0 */
};
static_assert(sizeof(struct segment_header) == 112, "on disk");

/* After each commit record up to the next 4096: a pad record, then zeroes. */
struct pad_record {
	uint32_t magic;
	uint32_t pad_bytes;	/* this record and the zeroes after it */
};
static_assert(sizeof(struct pad_record) == 8, "on disk");

/* A sealed segment ends with: footer entries, copies of its commits, trailer. */
struct footer_header {
	uint32_t magic;
	uint16_t version;
	uint16_t flags;
	uint32_t footer_bytes;	/* header, entries, commit offsets */
	uint32_t crc;		/* of those, this as 0 */
	uint64_t nr_extents;
	uint64_t nr_commits;
};
static_assert(sizeof(struct footer_header) == 32, "on disk");

struct footer_extent {
	struct unit_extent extent;
	uint64_t unit_offset;	/* of its unit in the segment file */
	uint64_t label_seq;
	uint64_t readback_no;	/* 0: a record */
	uint64_t batch_ordinal;
};
static_assert(sizeof(struct footer_extent) == 64, "on disk");

/* nr_commits of these u64 follow: offsets of the commit records in the file. */

struct segment_trailer {	/* the last 4096 bytes of a sealed segment */
	uint32_t magic;
	uint16_t version;
	uint16_t flags;
	uint64_t footer_offset;
	uint64_t footer_bytes;
	uint64_t data_end;	/* units and commits lie below */
	uint32_t reserved;
	uint32_t crc;		/* of the 4096 bytes, this as 0 */
};
static_assert(sizeof(struct segment_trailer) == 40, "on disk");

#define SEGMENT_HEADER_BYTES	4096
#define SEGMENT_TRAILER_BYTES	4096
#define SEGMENT_SEAL_BYTES	(32u << 20)	/* sealed at the first commit past this */

/**
 * unit_crc_pieces - how many CRCs an extent needs
 * One for each 4096-byte block of the volume that it touches.
 */
static inline uint32_t unit_crc_pieces(uint64_t offset_bytes, uint64_t length_bytes)
{
	if (length_bytes == 0)
		return 0;
	return (offset_bytes + length_bytes - 1) / BLOCK_BYTES - offset_bytes / BLOCK_BYTES + 1;
}

/* A decoded view of a unit; pointers into the caller's buffer. */
struct unit_view {
	struct unit_header header;
	const struct unit_extent *extents;	/* little-endian, 8-aligned */
	const uint32_t *crcs;			/* little-endian */
	const uint8_t *stored;
	const struct unit_seal *seal;		/* NULL: not encrypted */
};

/**
 * unit_decode - check and take apart a unit
 * @buf: 8-byte aligned; borrowed by @view
 * @bytes: how much there is; the unit may be shorter
 * @check_data: also check stored_crc
 *
 * Every length, count and offset has been checked when this returns 0: extents
 * lie in the data, CRC indexes in the table, sectors are aligned, nothing wraps.
 *
 * Return: 0; -EAGAIN when @bytes is less than the unit says it has; -EBADMSG when
 * it is no valid unit.
 */
int unit_decode(const void *buf, size_t bytes, int check_data, struct unit_view *view);

/**
 * unit_decode_tables - the same, of a unit whose stored data are not all there
 * @bytes: of header, extents and CRC table at least
 * Of what lies behind the tables nothing is looked at.
 */
int unit_decode_tables(const void *buf, size_t bytes, struct unit_view *view);

/**
 * unit_part_widen - a part of an extent's data, to whole blocks of the volume
 * @e: EXTENT_DATA; as far as the blocks are in it
 * @from, @to: in its data, from < to <= its length; in and out
 */
void unit_part_widen(const struct unit_extent *e, uint64_t *from, uint64_t *to);

/**
 * unit_check_part - whether a part of an extent's data is what was captured
 * @view: from unit_decode or unit_decode_tables
 * @e: one of its extents
 * @from, @to: from unit_part_widen()
 * @data: what is said to be captured, from @from on
 * Return: 0; -EBADMSG.
 */
int unit_check_part(const struct unit_view *view, const struct unit_extent *e, uint64_t from,
		    uint64_t to, const uint8_t *data);

/**
 * unit_unpack - the data of a unit as captured, each block checked
 * @view: from unit_decode; of an encrypted unit, from unit_decrypt() after that
 * @data: header.data_bytes bytes; the caller's
 * Return: 0; -EBADMSG when it does not unpack or a block's CRC is wrong; -ENOKEY when it
 * is still encrypted.
 */
int unit_unpack(const struct unit_view *view, void *data);

/* A decoded view of a commit record; pointers into the caller's buffer. */
struct commit_view {
	struct commit_header header;
	const struct commit_gap *gaps;
	const struct commit_hold *holds;
	const struct commit_repair *repairs;
	const struct commit_volume *volumes;
};

/**
 * commit_decode - check and take apart a commit record
 * Like unit_decode(): 0, -EAGAIN or -EBADMSG.
 */
int commit_decode(const void *buf, size_t bytes, struct commit_view *view);

/**
 * commit_encode - lay out a commit record
 * @view: header (counts, magic, sizes and CRC are filled in from the arguments
 *	and returned in it) and tables, in host order
 * @buf: at least COMMIT_MAX_BYTES
 * Return: bytes of the record; -E2BIG when a table is past its bound.
 */
int commit_encode(struct commit_view *view, void *buf);

/* What the target puts into a commit record that came over the wire. */
struct commit_stamp {
	uint64_t target_time_ns;
	uint64_t target_durable;
	uint64_t batch_bytes;	/* of the units as they lie on disk */
	uint32_t units_crc;	/* likewise */
};

/** commit_stamp - put that in, and renew the CRC */
void commit_stamp(void *buf, const struct commit_stamp *stamp);

#endif
