// SPDX-License-Identifier: GPL-2.0-only
/*
 * drain - read the ring up to the watermark into the open batch.
 *
 * Stage [3 drain]. Fed by the ring; feeds the batch. Invariants: nothing above
 * the watermark is read; every seq up to `drained` is a record, an aborted one, a
 * take-over of our own, or was told as a gap; a record enters a batch only if its
 * payload still has the CRC of capture time.
 */
#include "shipper_private.h"

#include <errno.h>
#include <string.h>

#include "../lib/crc32c.h"

void shipper_gap(struct shipper *s, uint64_t from, uint64_t to)
{
	batch_add_gap(s->open, seq_of(s, from), seq_of(s, to));
	if (seq_of(s, to) > s->last_gap)
		s->last_gap = seq_of(s, to);
}

/* Seqs from..to are missing in the ring: gaps, but for take-overs of our own. */
static void drain_missing(struct shipper *s, uint64_t from, uint64_t to)
{
	uint32_t i = 0;

	while (i < s->nr_takes && s->takes[i] <= to) {
		if (s->takes[i] > from)
			shipper_gap(s, from, s->takes[i] - 1);
		if (s->takes[i] >= from)
			from = s->takes[i] + 1;
		i++;
	}
	memmove(s->takes, s->takes + i, (s->nr_takes - i) * sizeof(*s->takes));
	s->nr_takes -= i;
	if (from <= to)
		shipper_gap(s, from, to);
}

/*
 * The last state before a gap is worth a point: nothing after it will be one for a
 * while. True when the batch is to be cut before from..to are told as missing.
 */
static bool cut_before(struct shipper *s, uint64_t from, uint64_t to)
{
	uint64_t ours = 0;

	if (s->last_cut == s->drained || !s->drained || s->nr_holds ||
	    s->last_gap > s->repaired_t0)
		return false;
	for (uint32_t i = 0; i < s->nr_takes; i++)
		ours += s->takes[i] >= from && s->takes[i] <= to;
	if (ours == to - from + 1)
		return false;
	s->cut_due = s->cut_now = true;
	return true;
}

/*
 * What the ring holds makes no sense, so nothing in it up to the watermark is
 * believed: all volumes are dirty, and the seqs skipped are a gap that lasts until
 * a repair that began after the marking.
 */
static void drain_distrust(struct shipper *s, uint64_t limit)
{
	uint64_t marked = limit;
	/* Before the marking: what is skipped is older than the marks. */
	uint64_t pos = __atomic_load_n(&s->cap->kernel->watermark_pos, __ATOMIC_ACQUIRE);

	s->stat.bad_rings++;
	for (uint32_t i = 0; i < s->nr_volumes; i++) {
		struct volume *v = &s->volumes[i];
		uint64_t seq;

		if (!s->cap->ops->mark(s->cap, v->info.index, 0, v->info.size_bytes, &seq) &&
		    seq > marked)
			marked = seq;
	}
	shipper_gap(s, s->drained + 1, marked);
	s->drained = limit;
	s->pos = pos;
}

/* Payload where the descriptor says, if it can be there. */
static const uint8_t *payload_of(const struct shipper *s, const struct blkship_desc *d)
{
	uint64_t at = d->payload_pos & (s->cap->payload_bytes - 1);

	if (d->length_bytes > s->cap->payload_bytes - at)
		return NULL;
	return s->cap->payload + at;
}

/* CRCs of the block pieces into s->crcs; whether they combine to the record's. */
static bool payload_check(struct shipper *s, const struct blkship_desc *d, const uint8_t *payload)
{
	uint64_t at = d->offset_bytes, end = at + d->length_bytes;
	uint32_t whole = 0, nr = 0;

	while (at < end) {
		uint64_t next = (at / BLOCK_BYTES + 1) * BLOCK_BYTES;

		next = next < end ? next : end;
		s->crcs[nr] = crc32c(payload + (at - d->offset_bytes), next - at);
		whole = nr ? crc32c_combine(whole, s->crcs[nr], next - at) : s->crcs[nr];
		nr++;
		at = next;
	}
	return whole == d->crc32c;
}

static bool desc_sane(const struct shipper *s, const struct blkship_desc *d,
		      const struct volume *v)
{
	if (d->op == BLKSHIP_OP_FLUSH)
		return true;
	return v && d->length_bytes && d->length_bytes % SECTOR_BYTES == 0 &&
	       d->offset_bytes % SECTOR_BYTES == 0 &&
	       d->offset_bytes < (uint64_t)1 << 60 &&
	       (d->op != BLKSHIP_OP_WRITE || d->length_bytes <= BLKSHIP_MAX_RECORD_BYTES);
}

/* A record that ended well, into the batch. 0; -EUCLEAN; -ENOMEM. */
static int drain_record(struct shipper *s, const struct blkship_desc *d, struct volume *v)
{
	struct batch_record r = {
		.offset_bytes = d->offset_bytes,
		.length_bytes = d->length_bytes,
		.volume = v->id,
		.kind = d->op == BLKSHIP_OP_WRITE ? EXTENT_DATA :
			d->op == BLKSHIP_OP_ZERO ? EXTENT_ZERO : EXTENT_DISCARD,
	};
	uint64_t marked;
	int ret;

	if (d->op == BLKSHIP_OP_WRITE) {
		r.payload = payload_of(s, d);
		if (!r.payload)
			return -EUCLEAN;
		if (!payload_check(s, d, r.payload)) {
			s->stat.bad_crcs++;
			ret = s->cap->ops->mark(s->cap, d->volume, d->offset_bytes,
						d->length_bytes, &marked);
			if (ret)
				return -EUCLEAN;
			shipper_gap(s, d->seq, marked);
			return 0;
		}
	}
	ret = batch_add_record(s->open, &r, r.payload ? s->crcs : NULL);
	if (ret)
		return ret;
	volume_known(v, d->offset_bytes, d->length_bytes);
	s->record_time_ns = d->time_ns;
	s->stat.records++;
	s->stat.record_bytes += r.payload ? r.length_bytes : 0;
	return 0;
}

/* One descriptor, whose seq is the next. 0; -EUCLEAN the ring makes no sense. */
static int drain_desc(struct shipper *s, const struct blkship_desc *d)
{
	struct volume *v = volume_by_index(s, d->volume);

	if (d->op < BLKSHIP_OP_WRITE || d->op > BLKSHIP_OP_FLUSH)
		return -EUCLEAN;
	switch (d->state) {
	case BLKSHIP_STATE_ABORTED:
		return 0;
	case BLKSHIP_STATE_FAILED:
	case BLKSHIP_STATE_GAP:
		if (d->op != BLKSHIP_OP_FLUSH)
			shipper_gap(s, d->seq, d->seq);
		return 0;
	case BLKSHIP_STATE_DONE:
		break;
	default:
		return -EUCLEAN;
	}
	if (d->op == BLKSHIP_OP_FLUSH)
		return 0;
	if (!v && d->volume < BLKSHIP_MAX_VOLUMES) {
		/* It joined after HELLO and is told at the next one, whole; or it left. */
		shipper_gap(s, d->seq, d->seq);
		s->stranger_met = true;
		return 0;
	}
	if (!desc_sane(s, d, v))
		return -EUCLEAN;
	return drain_record(s, d, v);
}

static bool batch_is_full(const struct shipper *s)
{
	return s->open->record_bytes >= s->params.cut_bytes ||
	       s->open->nr_records >= MAX_BATCH_RECORDS;
}

bool shipper_drain(struct shipper *s, uint64_t limit)
{
	const struct capture *c = s->cap;
	uint64_t head, before = s->drained;
	int ret = 0;

	if (!s->started || limit <= s->drained)
		return false;
	/* The watermark that gave limit was read before: its descriptors are below. */
	head = __atomic_load_n(&c->kernel->desc_head, __ATOMIC_ACQUIRE);
	if (head < s->pos || head - s->pos > c->desc_count)
		ret = -EUCLEAN;
	while (!ret && s->drained < limit && !batch_is_full(s)) {
		struct blkship_desc d;

		if (s->pos < head)
			d = c->descs[s->pos & (c->desc_count - 1)];
		if (s->pos >= head || d.seq > limit) {
			if (cut_before(s, s->drained + 1, limit))
				break;
			drain_missing(s, s->drained + 1, limit);
			s->drained = limit;
			break;
		}
		if (d.seq <= s->drained) {
			/* Below where we began: it was durable already. */
			if (s->drained != before || !d.seq)
				ret = -EUCLEAN;
			s->pos++;
			continue;
		}
		if (d.seq > s->drained + 1) {
			if (cut_before(s, s->drained + 1, d.seq - 1))
				break;
			drain_missing(s, s->drained + 1, d.seq - 1);
		}
		s->drained = d.seq - 1;
		ret = drain_desc(s, &d);
		if (!ret) {
			s->drained = d.seq;
			s->pos++;
		}
	}
	if (ret == -EUCLEAN)
		drain_distrust(s, limit);
	if (s->stranger_met) {
		s->stranger_met = false;
		s->volumes_stale = shipper_volumes_changed(s);
	}
	__atomic_store_n(&s->cap->consumer->drained_pos, s->pos, __ATOMIC_RELAXED);
	return s->drained != before;
}
