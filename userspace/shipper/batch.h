/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * batch - the coalesced change between two cuts.
 *
 * Stage [4 coalesce + cut]. Fed by drain (records that lie in the ring) and repair
 * (data read back, owned by the batch); feeds [5 ship] with units and a commit
 * record.
 *
 * Promises (DESIGN 1.7): inside a batch the last write of a block wins; nothing
 * moves across a cut; what is encoded again after a reconnect is the same bytes.
 */
#ifndef BLKSHIP_BATCH_H
#define BLKSHIP_BATCH_H

#include <stdbool.h>

#include "../lib/extent_sweep.h"
#include "../lib/segment_format.h"
#include "../lib/unit_builder.h"

/* A write as it lies in the ring. */
struct batch_record {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	const uint8_t *payload;		/* in the ring; NULL without */
	uint32_t first_crc;		/* of its block pieces, in batch->crcs */
	uint16_t volume;		/* timeline's id */
	uint8_t kind;			/* enum extent_kind */
};

/* Data read back, of one chunk. */
struct readback_extent {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	const uint8_t *data;		/* in readback->buf; NULL without */
	uint32_t first_crc;		/* in readback->crcs */
	uint16_t volume;
	uint8_t kind;
};

struct readback {
	uint64_t stamp_seq;		/* packed p */
	uint64_t first_no;
	void *buf;			/* owned */
	struct readback_extent *extents;
	uint32_t *crcs;
	size_t nr_extents, nr_crcs;
};

/* Regions whose repairing bits clear when this batch is durable. */
struct batch_clear {
	uint16_t index;			/* volume in the source's group */
	uint32_t count;
	uint64_t first_region;
	uint64_t *bitmap;		/* owned */
};

struct batch {
	struct batch *next;
	uint64_t ordinal;
	uint64_t cut_seq;		/* packed */
	uint64_t time_ns;
	uint64_t current_to_ns;
	uint64_t end_pos;		/* ring descriptors below are in it or before */
	uint64_t record_bytes;		/* payload of its records */
	bool degraded;
	bool clean;			/* no hold and no unrepaired gap was known at the cut */

	struct batch_record *records;
	size_t nr_records, room_records;
	uint32_t *crcs;
	size_t nr_crcs, room_crcs;
	struct sweep_piece *pieces;	/* once sealed */
	size_t nr_pieces, room_pieces;

	struct commit_gap gaps[COMMIT_MAX_GAPS];
	uint32_t nr_gaps;
	struct commit_hold holds[COMMIT_MAX_HOLDS];
	uint32_t nr_holds;
	struct commit_repair repairs[COMMIT_MAX_REPAIRS];
	uint32_t nr_repairs;
	struct readback readback;	/* at most one chunk; buf NULL: none */
	struct batch_clear clear;	/* of that chunk; bitmap NULL: none */

	/* How far it has been encoded. */
	size_t at_piece;
	uint64_t at_piece_bytes;	/* of that piece already sent */
	size_t at_extent;
	uint64_t at_extent_bytes;
	uint64_t at_readback_no;
	uint32_t nr_units;
	uint32_t units_crc;
	uint64_t unit_bytes;

	struct sweep_extent *sweep;	/* scratch */
	size_t room_sweep;
};

struct batch *batch_create(void);
void batch_destroy(struct batch *b);

/** batch_reset - empty it for reuse; keeps its arrays */
void batch_reset(struct batch *b);

/** batch_is_empty - nothing but holds would be told by it */
bool batch_is_empty(const struct batch *b);

/**
 * batch_add_record - a write, in seq order
 * @crcs: of the block pieces; NULL without payload
 * Return: 0; -ENOMEM.
 */
int batch_add_record(struct batch *b, const struct batch_record *r, const uint32_t *crcs);

/**
 * batch_add_gap - seqs from..to (packed) were not captured
 * Touching ranges join; past the table's bound the last one is widened, which
 * can only keep more points from being listed.
 */
void batch_add_gap(struct batch *b, uint64_t from_seq, uint64_t to_seq);

/** batch_seal - the batch is complete: coalesce; 0 or -ENOMEM */
int batch_seal(struct batch *b);

/** batch_rewind - encode again from the start */
void batch_rewind(struct batch *b);

/**
 * batch_next_unit - encode the next unit
 * @out: UNIT_MAX_BYTES, 8-aligned; @builder, @scratch (UNIT_MAX_DATA_BYTES): the caller's
 * Return: its bytes; 0 when all units were encoded.
 */
size_t batch_next_unit(struct batch *b, uint8_t codec, struct unit_builder *builder,
		       void *scratch, void *out);

/**
 * batch_commit_record - encode the commit record, after all units
 * @out: COMMIT_MAX_BYTES, 8-aligned
 */
int batch_commit_record(struct batch *b, const struct commit_volume *volumes,
			uint32_t nr_volumes, void *out);

#endif
