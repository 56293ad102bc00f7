// SPDX-License-Identifier: GPL-2.0-only
/* See batch.h. */
#include "batch.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"

struct batch *batch_create(void)
{
	return calloc(1, sizeof(struct batch));
}

static void batch_drop_owned(struct batch *b)
{
	free(b->readback.buf);
	free(b->readback.extents);
	free(b->readback.crcs);
	free(b->clear.bitmap);
	memset(&b->readback, 0, sizeof(b->readback));
	memset(&b->clear, 0, sizeof(b->clear));
}

void batch_destroy(struct batch *b)
{
	if (!b)
		return;
	batch_drop_owned(b);
	free(b->records);
	free(b->crcs);
	free(b->pieces);
	free(b->sweep);
	free(b);
}

void batch_reset(struct batch *b)
{
	batch_drop_owned(b);
	b->next = NULL;
	b->ordinal = b->cut_seq = b->time_ns = b->current_to_ns = 0;
	b->end_pos = b->record_bytes = 0;
	b->degraded = b->clean = false;
	b->nr_records = b->nr_crcs = b->nr_pieces = 0;
	b->nr_gaps = b->nr_holds = b->nr_repairs = 0;
	batch_rewind(b);
}

bool batch_is_empty(const struct batch *b)
{
	return !b->nr_records && !b->nr_gaps && !b->nr_holds && !b->nr_repairs &&
	       !b->readback.buf && !b->clear.bitmap;
}

/* Make room for one more (need in all); 0 or -ENOMEM. */
static int grow(void *array, size_t *room, size_t need, size_t item_bytes)
{
	void **at = array, *bigger;
	size_t want = *room ? *room * 2 : 256;

	if (need <= *room)
		return 0;
	while (want < need)
		want *= 2;
	bigger = realloc(*at, want * item_bytes);
	if (!bigger)
		return -ENOMEM;
	*at = bigger;
	*room = want;
	return 0;
}

int batch_add_record(struct batch *b, const struct batch_record *r, const uint32_t *crcs)
{
	uint32_t nr_crcs = crcs ? unit_crc_pieces(r->offset_bytes, r->length_bytes) : 0;

	if (grow(&b->records, &b->room_records, b->nr_records + 1, sizeof(*b->records)) ||
	    grow(&b->crcs, &b->room_crcs, b->nr_crcs + nr_crcs, sizeof(*b->crcs)))
		return -ENOMEM;
	b->records[b->nr_records] = *r;
	b->records[b->nr_records++].first_crc = b->nr_crcs;
	if (nr_crcs)
		memcpy(b->crcs + b->nr_crcs, crcs, nr_crcs * sizeof(*crcs));
	b->nr_crcs += nr_crcs;
	if (r->payload)
		b->record_bytes += r->length_bytes;
	return 0;
}

void batch_add_gap(struct batch *b, uint64_t from_seq, uint64_t to_seq)
{
	struct commit_gap *last = b->nr_gaps ? &b->gaps[b->nr_gaps - 1] : NULL;

	if (last && (from_seq <= last->to_seq + 1 || b->nr_gaps == COMMIT_MAX_GAPS)) {
		if (to_seq > last->to_seq)
			last->to_seq = to_seq;
		return;
	}
	b->gaps[b->nr_gaps].from_seq = from_seq;
	b->gaps[b->nr_gaps++].to_seq = to_seq;
}

static int piece_keep(void *arg, const struct sweep_piece *piece)
{
	struct batch *b = arg;

	if (grow(&b->pieces, &b->room_pieces, b->nr_pieces + 1, sizeof(*b->pieces)))
		return -ENOMEM;
	b->pieces[b->nr_pieces++] = *piece;
	return 0;
}

int batch_seal(struct batch *b)
{
	if (grow(&b->sweep, &b->room_sweep, b->nr_records, sizeof(*b->sweep)))
		return -ENOMEM;
	for (size_t i = 0; i < b->nr_records; i++)
		b->sweep[i] = (struct sweep_extent){
			.offset_bytes = b->records[i].offset_bytes,
			.length_bytes = b->records[i].length_bytes,
			.rank = i,		/* seq order: the last write wins */
			.item = i,
			.volume = b->records[i].volume,
		};
	b->nr_pieces = 0;
	return extent_sweep(b->sweep, b->nr_records, piece_keep, b);
}

void batch_rewind(struct batch *b)
{
	b->at_piece = b->at_extent = 0;
	b->at_piece_bytes = b->at_extent_bytes = b->at_readback_no = 0;
	b->nr_units = b->units_crc = 0;
	b->unit_bytes = 0;
}

/*
 * The CRC of each block of [offset, offset + length), a part of a record: as the
 * record has it where the part holds the whole of the record's piece, else anew.
 * The record's own CRC was checked when it was drained.
 */
static uint32_t part_crcs(const struct batch *b, const struct batch_record *r,
			  uint64_t offset_bytes, uint32_t length_bytes, uint32_t *out)
{
	uint64_t end = offset_bytes + length_bytes, record_end = r->offset_bytes + r->length_bytes;
	uint32_t nr = 0;

	for (uint64_t at = offset_bytes; at < end; nr++) {
		uint64_t block = at / BLOCK_BYTES;
		uint64_t next = (block + 1) * BLOCK_BYTES;
		uint64_t record_from = block * BLOCK_BYTES, record_to = next;

		if (record_from < r->offset_bytes)
			record_from = r->offset_bytes;
		if (record_to > record_end)
			record_to = record_end;
		if (next > end)
			next = end;
		if (at == record_from && next == record_to)
			out[nr] = b->crcs[r->first_crc + block - r->offset_bytes / BLOCK_BYTES];
		else
			out[nr] = crc32c(r->payload + (at - r->offset_bytes), next - at);
		at = next;
	}
	return nr;
}

/* Fill a unit with record pieces. */
static void fill_from_pieces(struct batch *b, struct unit_builder *u)
{
	uint32_t crcs[UNIT_MAX_DATA_BYTES / BLOCK_BYTES + 2];

	while (b->at_piece < b->nr_pieces) {
		const struct sweep_piece *p = &b->pieces[b->at_piece];
		const struct batch_record *r = &b->records[p->item];
		uint64_t offset = p->offset_bytes + b->at_piece_bytes;
		uint64_t left = p->length_bytes - b->at_piece_bytes;
		uint32_t taken;

		if (!r->payload) {
			if (!unit_builder_add(u, p->volume, offset, left, r->kind))
				return;
		} else {
			uint32_t want = left < UNIT_MAX_DATA_BYTES ? left : UNIT_MAX_DATA_BYTES;

			part_crcs(b, r, offset, want, crcs);
			taken = unit_builder_add_data(u, p->volume, offset,
						      r->payload + (offset - r->offset_bytes),
						      want, crcs);
			if (!taken)
				return;
			if (taken < left) {
				b->at_piece_bytes += taken;
				continue;
			}
		}
		b->at_piece++;
		b->at_piece_bytes = 0;
	}
}

/* Fill a unit with read-back extents. */
static void fill_from_readback(struct batch *b, struct unit_builder *u)
{
	const struct readback *rb = &b->readback;

	while (b->at_extent < rb->nr_extents) {
		const struct readback_extent *e = &rb->extents[b->at_extent];
		uint64_t done = b->at_extent_bytes;

		if (!e->data) {
			if (!unit_builder_add(u, e->volume, e->offset_bytes, e->length_bytes,
					      e->kind))
				return;
		} else {
			uint32_t left = e->length_bytes - done, taken;

			taken = unit_builder_add_data(u, e->volume, e->offset_bytes + done,
						      e->data + done, left,
						      rb->crcs + e->first_crc + done / BLOCK_BYTES);
			if (!taken)
				return;
			if (taken < left) {
				b->at_extent_bytes += taken;
				continue;
			}
		}
		b->at_extent++;
		b->at_extent_bytes = 0;
	}
}

size_t batch_next_unit(struct batch *b, uint8_t codec, struct unit_builder *builder,
		       void *scratch, void *out)
{
	struct unit_label label = { .batch_ordinal = b->ordinal, .codec = codec };
	uint32_t header_crc, le;
	size_t bytes;

	unit_builder_reset(builder);
	fill_from_pieces(b, builder);
	if (builder->nr_extents) {
		label.label_seq = b->cut_seq;
	} else {
		fill_from_readback(b, builder);
		if (!builder->nr_extents)
			return 0;
		label.label_seq = b->readback.stamp_seq;
		label.readback_no = b->readback.first_no + b->at_readback_no;
		b->at_readback_no += builder->nr_extents;
	}
	bytes = unit_builder_finish(builder, &label, out, scratch, &header_crc);
	le = htole32(header_crc);
	b->units_crc = crc32c_extend(b->units_crc, &le, sizeof(le));
	b->nr_units++;
	b->unit_bytes += bytes;
	return bytes;
}

int batch_commit_record(struct batch *b, const struct commit_volume *volumes,
			uint32_t nr_volumes, void *out)
{
	struct commit_view view = {
		.header = {
			.flags = (b->nr_units ? 0 : COMMIT_HEARTBEAT) |
				 (b->degraded ? COMMIT_DEGRADED : 0),
			.ordinal = b->ordinal,
			.cut_seq = b->cut_seq,
			.time_ns = b->time_ns,
			.current_to_ns = b->current_to_ns,
			.batch_bytes = b->unit_bytes,
			.nr_units = b->nr_units,
			.units_crc = b->units_crc,
			.nr_gaps = b->nr_gaps,
			.nr_holds = b->nr_holds,
			.nr_repairs = b->nr_repairs,
			.nr_volumes = nr_volumes,
			.written_bytes = b->record_bytes,
			.nr_records = b->nr_records,
		},
		.gaps = b->gaps,
		.holds = b->holds,
		.repairs = b->repairs,
		.volumes = volumes,
	};

	return commit_encode(&view, out);
}
