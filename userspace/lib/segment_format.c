// SPDX-License-Identifier: GPL-2.0-only
/*
 * segment_format - units and commit records, checked and taken apart.
 *
 * Pure: no allocation, no recursion, reads nothing outside the given bytes. Every
 * field of a record is either checked here or cannot do harm; a record that is
 * accepted has exactly one encoding (padding and reserved fields are zero).
 */
#include "segment_format.h"

#include <endian.h>
#include <errno.h>
#include <lz4.h>
#include <stdbool.h>
#include <string.h>

#include "crc32c.h"

#define ROUND_UP(n, to) (((n) + (to) - 1) / (to) * (to))

static bool is_zero(const uint8_t *at, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (at[i])
			return false;
	return true;
}

/* -- units -- */

static void unit_header_load(const void *buf, struct unit_header *h)
{
	memcpy(h, buf, sizeof(*h));
	h->magic = le32toh(h->magic);
	h->version = le16toh(h->version);
	h->unit_bytes = le32toh(h->unit_bytes);
	h->stored_bytes = le32toh(h->stored_bytes);
	h->data_bytes = le32toh(h->data_bytes);
	h->nr_extents = le16toh(h->nr_extents);
	h->reserved0 = le16toh(h->reserved0);
	h->nr_crcs = le32toh(h->nr_crcs);
	h->header_crc = le32toh(h->header_crc);
	h->batch_ordinal = le64toh(h->batch_ordinal);
	h->label_seq = le64toh(h->label_seq);
	h->readback_no = le64toh(h->readback_no);
	h->stored_crc = le32toh(h->stored_crc);
	h->reserved1 = le32toh(h->reserved1);
}

static size_t unit_tables_bytes(const struct unit_header *h)
{
	return sizeof(*h) + h->nr_extents * sizeof(struct unit_extent) +
	       h->nr_crcs * sizeof(uint32_t);
}

static size_t unit_seal_bytes(const struct unit_header *h)
{
	return h->flags & UNIT_ENCRYPTED ? sizeof(struct unit_seal) : 0;
}

static bool unit_header_valid(const struct unit_header *h)
{
	if (h->magic != UNIT_MAGIC || h->version != FORMAT_VERSION)
		return false;
	if (h->codec != UNIT_STORED && h->codec != UNIT_LZ4)
		return false;
	if (h->flags & ~(UNIT_READBACK | UNIT_ENCRYPTED) || h->reserved0 || h->reserved1)
		return false;
	if (h->nr_extents == 0 || h->nr_extents > UNIT_MAX_EXTENTS ||
	    h->nr_crcs > UNIT_MAX_CRCS || h->data_bytes > UNIT_MAX_DATA_BYTES)
		return false;
	if (h->codec == UNIT_STORED ? h->stored_bytes != h->data_bytes :
	    h->stored_bytes == 0 || h->stored_bytes > h->data_bytes)
		return false;
	if (h->unit_bytes != ROUND_UP(unit_tables_bytes(h) + h->stored_bytes + unit_seal_bytes(h),
				      FORMAT_ALIGN_BYTES))
		return false;
	if (h->batch_ordinal == 0)
		return false;
	if (h->flags & UNIT_READBACK)
		return h->readback_no && h->readback_no + h->nr_extents > h->readback_no;
	return h->readback_no == 0;
}

static bool extent_valid(const struct unit_extent *e, bool readback)
{
	uint64_t offset = le64toh(e->offset_bytes), length = le64toh(e->length_bytes);

	if (offset % SECTOR_BYTES || length % SECTOR_BYTES || length == 0 ||
	    length > EXTENT_MAX_END_BYTES || offset > EXTENT_MAX_END_BYTES - length)
		return false;
	if (e->reserved || e->reserved1)
		return false;
	switch (e->kind) {
	case EXTENT_DATA:
		return true;	/* where its data lie: the caller */
	case EXTENT_UNREADABLE:
		if (!readback)
			return false;
		break;
	case EXTENT_ZERO:
	case EXTENT_DISCARD:
		break;
	default:
		return false;
	}
	return e->data_offset == 0 && e->first_crc == 0;
}

/* Data and CRCs of the extents follow one another without holes. */
static bool extents_valid(const struct unit_view *view)
{
	uint32_t data = 0, crcs = 0;

	for (unsigned int i = 0; i < view->header.nr_extents; i++) {
		const struct unit_extent *e = &view->extents[i];
		uint64_t length = le64toh(e->length_bytes);

		if (!extent_valid(e, view->header.flags & UNIT_READBACK))
			return false;
		if (e->kind != EXTENT_DATA)
			continue;
		if (le32toh(e->data_offset) != data || le32toh(e->first_crc) != crcs ||
		    length > view->header.data_bytes - data)
			return false;
		data += length;
		crcs += unit_crc_pieces(le64toh(e->offset_bytes), length);
	}
	return data == view->header.data_bytes && crcs == view->header.nr_crcs;
}

static uint32_t unit_header_crc(const void *buf, size_t tables_bytes)
{
	struct unit_header h;

	memcpy(&h, buf, sizeof(h));
	h.header_crc = 0;
	return crc32c_extend(crc32c(&h, sizeof(h)), (const uint8_t *)buf + sizeof(h),
			     tables_bytes - sizeof(h));
}

/* Header and tables; -EAGAIN when less than @whole says is there. */
static int decode_tables(const void *buf, size_t bytes, bool whole, struct unit_view *view)
{
	struct unit_header *h = &view->header;
	const uint8_t *at = buf;
	size_t tables_bytes;

	if (bytes < sizeof(*h))
		return -EAGAIN;
	unit_header_load(buf, h);
	if (!unit_header_valid(h))
		return -EBADMSG;
	tables_bytes = unit_tables_bytes(h);
	if (bytes < (whole ? h->unit_bytes : tables_bytes))
		return -EAGAIN;
	if (unit_header_crc(buf, tables_bytes) != h->header_crc)
		return -EBADMSG;
	view->extents = (const void *)(at + sizeof(*h));
	view->crcs = (const void *)(at + sizeof(*h) +
				    h->nr_extents * sizeof(struct unit_extent));
	view->stored = at + tables_bytes;
	view->seal = h->flags & UNIT_ENCRYPTED ? (const void *)(view->stored + h->stored_bytes) :
		     NULL;
	return extents_valid(view) ? 0 : -EBADMSG;
}

int unit_decode_tables(const void *buf, size_t bytes, struct unit_view *view)
{
	return decode_tables(buf, bytes, false, view);
}

int unit_decode(const void *buf, size_t bytes, int check_data, struct unit_view *view)
{
	const struct unit_header *h = &view->header;
	int ret = decode_tables(buf, bytes, true, view);
	size_t sealed_bytes;

	if (ret)
		return ret;
	sealed_bytes = h->stored_bytes + unit_seal_bytes(h);
	if (!is_zero(view->stored + sealed_bytes,
		     h->unit_bytes - unit_tables_bytes(h) - sealed_bytes))
		return -EBADMSG;
	if (check_data && crc32c(view->stored, sealed_bytes) != h->stored_crc)
		return -EBADMSG;
	return 0;
}

void unit_part_widen(const struct unit_extent *e, uint64_t *from, uint64_t *to)
{
	uint64_t offset = le64toh(e->offset_bytes), length = le64toh(e->length_bytes);
	uint64_t start = (offset + *from) / BLOCK_BYTES * BLOCK_BYTES;
	uint64_t end = ROUND_UP(offset + *to, BLOCK_BYTES) - offset;

	*from = start > offset ? start - offset : 0;
	*to = end < length ? end : length;
}

int unit_check_part(const struct unit_view *view, const struct unit_extent *e, uint64_t from,
		    uint64_t to, const uint8_t *data)
{
	uint64_t offset = le64toh(e->offset_bytes);
	const uint32_t *crc = view->crcs + le32toh(e->first_crc) +
			      ((offset + from) / BLOCK_BYTES - offset / BLOCK_BYTES);

	while (from < to) {
		uint64_t bytes = BLOCK_BYTES - (offset + from) % BLOCK_BYTES;

		if (bytes > to - from)
			bytes = to - from;
		if (crc32c(data, bytes) != le32toh(*crc++))
			return -EBADMSG;
		data += bytes;
		from += bytes;
	}
	return 0;
}

int unit_unpack(const struct unit_view *view, void *data)
{
	const struct unit_header *h = &view->header;

	if (view->seal)
		return -ENOKEY;
	if (h->codec == UNIT_STORED)
		memcpy(data, view->stored, h->data_bytes);
	else if (LZ4_decompress_safe((const char *)view->stored, data, h->stored_bytes,
				     h->data_bytes) != (int)h->data_bytes)
		return -EBADMSG;
	for (unsigned int i = 0; i < h->nr_extents; i++)
		if (view->extents[i].kind == EXTENT_DATA &&
		    unit_check_part(view, &view->extents[i], 0,
				    le64toh(view->extents[i].length_bytes),
				    (uint8_t *)data + le32toh(view->extents[i].data_offset)))
			return -EBADMSG;
	return 0;
}

/* -- commit records -- */

/* Both ways: on a little-endian machine this is nothing. */
static void commit_header_swap(struct commit_header *h)
{
	h->magic = le32toh(h->magic);
	h->version = le16toh(h->version);
	h->flags = le16toh(h->flags);
	h->record_bytes = le32toh(h->record_bytes);
	h->crc = le32toh(h->crc);
	h->ordinal = le64toh(h->ordinal);
	h->cut_seq = le64toh(h->cut_seq);
	h->time_ns = le64toh(h->time_ns);
	h->current_to_ns = le64toh(h->current_to_ns);
	h->batch_bytes = le64toh(h->batch_bytes);
	h->nr_units = le32toh(h->nr_units);
	h->units_crc = le32toh(h->units_crc);
	h->nr_gaps = le32toh(h->nr_gaps);
	h->nr_holds = le32toh(h->nr_holds);
	h->nr_repairs = le32toh(h->nr_repairs);
	h->nr_volumes = le32toh(h->nr_volumes);
	h->target_time_ns = le64toh(h->target_time_ns);
	h->written_bytes = le64toh(h->written_bytes);
	h->nr_records = le64toh(h->nr_records);
	h->target_durable = le64toh(h->target_durable);
	for (int i = 0; i < 2; i++)
		h->reserved[i] = le64toh(h->reserved[i]);
}

static bool commit_counts_valid(const struct commit_header *h)
{
	return h->nr_gaps <= COMMIT_MAX_GAPS && h->nr_holds <= COMMIT_MAX_HOLDS &&
	       h->nr_repairs <= COMMIT_MAX_REPAIRS && h->nr_volumes <= COMMIT_MAX_VOLUMES;
}

static uint32_t commit_record_bytes(const struct commit_header *h)
{
	return sizeof(*h) + h->nr_gaps * sizeof(struct commit_gap) +
	       h->nr_holds * sizeof(struct commit_hold) +
	       h->nr_repairs * sizeof(struct commit_repair) +
	       h->nr_volumes * sizeof(struct commit_volume);
}

static bool commit_header_valid(const struct commit_header *h)
{
	if (h->magic != COMMIT_MAGIC || h->version != FORMAT_VERSION)
		return false;
	if (h->flags & ~(COMMIT_HEARTBEAT | COMMIT_DEGRADED) || h->reserved[0] || h->reserved[1])
		return false;
	if (!commit_counts_valid(h) || h->record_bytes != commit_record_bytes(h))
		return false;
	if (h->ordinal == 0 || (h->nr_units == 0) != (h->batch_bytes == 0) ||
	    h->batch_bytes > BATCH_MAX_DISK_BYTES)
		return false;
	return !(h->flags & COMMIT_HEARTBEAT) || h->nr_units == 0;
}

/* Gaps in order, volumes once, nothing upside down. */
static bool commit_tables_valid(const struct commit_view *view)
{
	const struct commit_header *h = &view->header;
	uint64_t last = 0;

	for (uint32_t i = 0; i < h->nr_gaps; i++) {
		uint64_t from = le64toh(view->gaps[i].from_seq);
		uint64_t to = le64toh(view->gaps[i].to_seq);

		if (from > to || from <= last)
			return false;
		last = to;
	}
	for (uint32_t i = 0; i < h->nr_holds; i++) {
		uint64_t end = le64toh(view->holds[i].end_seq);

		if (view->holds[i].id == 0 || (end && end < le64toh(view->holds[i].from_seq)))
			return false;
	}
	for (uint32_t i = 0; i < h->nr_repairs; i++)
		if (le64toh(view->repairs[i].end_seq) < le64toh(view->repairs[i].t0_seq))
			return false;
	for (uint32_t i = 0; i < h->nr_volumes; i++) {
		const struct commit_volume *v = &view->volumes[i];

		if (le64toh(v->size_bytes) % SECTOR_BYTES ||
		    le64toh(v->size_bytes) > EXTENT_MAX_END_BYTES)
			return false;
		for (uint32_t j = 0; j < i; j++)
			if (view->volumes[j].volume == v->volume)
				return false;
	}
	return true;
}

static uint32_t commit_crc(const void *buf, uint32_t record_bytes)
{
	struct commit_header h;

	memcpy(&h, buf, sizeof(h));
	h.crc = 0;
	return crc32c_extend(crc32c(&h, sizeof(h)), (const uint8_t *)buf + sizeof(h),
			     record_bytes - sizeof(h));
}

static void commit_view_tables(struct commit_view *view, const void *buf)
{
	const struct commit_header *h = &view->header;
	const uint8_t *at = (const uint8_t *)buf + sizeof(*h);

	view->gaps = (const void *)at;
	at += h->nr_gaps * sizeof(struct commit_gap);
	view->holds = (const void *)at;
	at += h->nr_holds * sizeof(struct commit_hold);
	view->repairs = (const void *)at;
	at += h->nr_repairs * sizeof(struct commit_repair);
	view->volumes = (const void *)at;
}

int commit_decode(const void *buf, size_t bytes, struct commit_view *view)
{
	if (bytes < sizeof(view->header))
		return -EAGAIN;
	memcpy(&view->header, buf, sizeof(view->header));
	commit_header_swap(&view->header);
	if (!commit_header_valid(&view->header))
		return -EBADMSG;
	if (bytes < view->header.record_bytes)
		return -EAGAIN;
	if (commit_crc(buf, view->header.record_bytes) != view->header.crc)
		return -EBADMSG;
	commit_view_tables(view, buf);
	return commit_tables_valid(view) ? 0 : -EBADMSG;
}

static void *put_u64(void *at, uint64_t value)
{
	value = htole64(value);
	return (uint8_t *)memcpy(at, &value, sizeof(value)) + sizeof(value);
}

static void commit_put_tables(const struct commit_view *view, void *at)
{
	const struct commit_header *h = &view->header;

	for (uint32_t i = 0; i < h->nr_gaps; i++) {
		at = put_u64(at, view->gaps[i].from_seq);
		at = put_u64(at, view->gaps[i].to_seq);
	}
	for (uint32_t i = 0; i < h->nr_holds; i++) {
		at = put_u64(at, view->holds[i].id);
		at = put_u64(at, view->holds[i].from_seq);
		at = put_u64(at, view->holds[i].end_seq);
	}
	for (uint32_t i = 0; i < h->nr_repairs; i++) {
		at = put_u64(at, view->repairs[i].t0_seq);
		at = put_u64(at, view->repairs[i].end_seq);
	}
	for (uint32_t i = 0; i < h->nr_volumes; i++) {
		struct commit_volume v = {
			.volume = htole16(view->volumes[i].volume),
			.flags = htole16(view->volumes[i].flags),
			.log_no = htole32(view->volumes[i].log_no),
		};

		memcpy(at, &v, sizeof(v) - sizeof(v.size_bytes));
		at = put_u64((uint8_t *)at + sizeof(v) - sizeof(v.size_bytes),
			     view->volumes[i].size_bytes);
	}
}

int commit_encode(struct commit_view *view, void *buf)
{
	struct commit_header *h = &view->header, raw;

	if (!commit_counts_valid(h))
		return -E2BIG;
	h->magic = COMMIT_MAGIC;
	h->version = FORMAT_VERSION;
	h->record_bytes = commit_record_bytes(h);
	h->crc = 0;
	h->reserved[0] = h->reserved[1] = 0;
	commit_put_tables(view, (uint8_t *)buf + sizeof(*h));
	raw = *h;
	commit_header_swap(&raw);
	memcpy(buf, &raw, sizeof(raw));
	h->crc = commit_crc(buf, h->record_bytes);
	raw.crc = htole32(h->crc);
	memcpy(buf, &raw, sizeof(raw));
	return h->record_bytes;
}

void commit_stamp(void *buf, const struct commit_stamp *stamp)
{
	struct commit_header *h = buf;

	h->target_time_ns = htole64(stamp->target_time_ns);
	h->target_durable = htole64(stamp->target_durable);
	h->batch_bytes = htole64(stamp->batch_bytes);
	h->units_crc = htole32(stamp->units_crc);
	h->crc = htole32(commit_crc(buf, le32toh(h->record_bytes)));
}
