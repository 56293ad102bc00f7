// SPDX-License-Identifier: GPL-2.0-only
/*
 * timeline_ingest - units and commits on their way in.
 *
 * Stage [6 ingest] to [7 timeline store]. Fed by the session; feeds the writer. What
 * is accepted here is what recovery and views rely on, so everything is checked:
 * that a record is whole, that it is what comes next, and that it cannot take a listed
 * point off the list or change it (docs/SEGMENT.md, "What is refused").
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "../lib/seq.h"
#include "array.h"
#include "timeline_internal.h"

#define DURABLE_TELL_NS UINT64_C(1000000000)	/* between two records, while more is to come */

/* -- units -- */

static int unit_check(const struct timeline *tl, const struct unit_view *unit)
{
	const struct unit_header *h = &unit->header;
	const struct timeline_batch *b = &tl->batch;

	/* The wire's encryption is TLS; what lies here is encrypted by us. */
	if (h->batch_ordinal != tl->received.ordinal + 1 || unit->seal)
		return -EPROTO;
	if (b->bytes + h->unit_bytes > BATCH_MAX_BYTES ||
	    b->nr_extents + h->nr_extents > BATCH_MAX_EXTENTS)
		return -E2BIG;
	for (unsigned int i = 0; i < h->nr_extents; i++)
		if (le16toh(unit->extents[i].volume) >= tl->manifest.nr_volumes)
			return -EPROTO;
	if (h->flags & UNIT_READBACK)
		return h->readback_no > tl->received.readback_no ? 0 : -EPROTO;
	/* Records of a batch are newer than the last cut and carry one label. */
	if (h->label_seq <= tl->received.cut_seq ||
	    (b->has_record && h->label_seq != b->record_label))
		return -EPROTO;
	return 0;
}

static void batch_add(struct timeline_batch *b, const struct unit_view *unit)
{
	const struct unit_header *h = &unit->header;
	uint32_t crc = htole32(h->header_crc);
	uint64_t last = h->readback_no + h->nr_extents - 1;

	b->nr_units++;
	b->bytes += h->unit_bytes;
	b->nr_extents += h->nr_extents;
	b->units_crc = crc32c_extend(b->units_crc, &crc, sizeof(crc));
	if (!(h->flags & UNIT_READBACK)) {
		b->has_record = true;
		b->record_label = h->label_seq;
		return;
	}
	if (!b->has_readback || h->label_seq < b->min_stamp)
		b->min_stamp = h->label_seq;
	if (h->label_seq > b->max_stamp)
		b->max_stamp = h->label_seq;
	if (last > b->readback_no)
		b->readback_no = last;
	b->has_readback = true;
}

/* No memory half-way: the stream is not what it should be. As a failed write. */
static int writer_broke(struct timeline *tl, int error)
{
	if (!tl->writer.error)
		tl->writer.error = error;
	return -EIO;
}

/* Whether anything can be appended, and then that the writer has a place for it. */
static int append_begin(struct timeline *tl)
{
	int ret;

	/* The main line goes on in a branch, or perhaps does. */
	if (tl->manifest.nr_lines || tl->manifest.line_unknown)
		return -EROFS;
	if (tl->manifest.nr_keys && !tl->keys)
		return -ENOKEY;
	ret = segment_writer_ready(&tl->writer);
	return ret ? writer_broke(tl, ret) : 0;
}

static_assert(BATCH_MAX_BYTES / (sizeof(struct unit_header) + sizeof(struct unit_extent)) *
	      UNIT_SEAL_MAX_BYTES <= BATCH_MAX_DISK_BYTES - BATCH_MAX_BYTES,
	      "a batch of the smallest units, encrypted");

/* A checked unit into the stream, as it is to lie on disk. */
static int unit_put(struct timeline *tl, const void *unit, const struct unit_view *view)
{
	struct segment_writer *w = &tl->writer;
	struct timeline_batch *b = &tl->batch;
	uint32_t crc = htole32(view->header.header_crc);
	size_t bytes = view->header.unit_bytes;
	uint8_t nonce[sizeof(((struct unit_seal *)0)->nonce)];
	int ret;

	if (w->cipher) {
		/* Never an offset or a counter: what is cut off comes again in its place. */
		tl->env->ops->random(tl->env, nonce, sizeof(nonce));
		ret = unit_encrypt(w->cipher, view, w->file_offset, nonce, tl->unit);
		if (ret < 0)
			return ret;
		bytes = ret;
		unit = tl->unit;
		memcpy(&crc, tl->unit + offsetof(struct unit_header, header_crc), sizeof(crc));
	}
	ret = segment_writer_append(w, unit, bytes);
	if (!ret)
		ret = segment_index_unit(w->index, view, w->file_offset - bytes);
	b->disk_bytes += bytes;
	b->disk_units_crc = crc32c_extend(b->disk_units_crc, &crc, sizeof(crc));
	return ret;
}

int timeline_append_unit(struct timeline *tl, const void *unit, size_t bytes)
{
	struct unit_view view;
	int ret;

	if (tl->read_only)
		return -EROFS;
	if (tl->writer.error || tl->broken)
		return -EIO;
	if (unit_decode(unit, bytes, 1, &view) || view.header.unit_bytes != bytes)
		return -EBADMSG;
	ret = unit_check(tl, &view);
	if (!ret)
		ret = append_begin(tl);
	if (ret)
		return ret;
	ret = unit_put(tl, unit, &view);
	if (ret)
		return writer_broke(tl, ret);
	batch_add(&tl->batch, &view);
	segment_writer_pump(&tl->writer);
	return 0;
}

/* -- commits -- */

static const struct commit_hold *find_open(const struct timeline_received *r, uint64_t id)
{
	for (size_t i = 0; i < r->nr_open_holds; i++)
		if (r->open_holds[i].id == id)
			return &r->open_holds[i];
	return NULL;
}

/*
 * A hold is new, and then begins past every cut so far, or it is open, and then its
 * beginning stays. So no listed point is ever covered by one.
 */
static int holds_check(const struct timeline_received *r, const struct commit_view *commit)
{
	size_t nr_open = r->nr_open_holds;

	for (uint32_t i = 0; i < commit->header.nr_holds; i++) {
		const struct commit_hold *hold = &commit->holds[i];
		uint64_t id = le64toh(hold->id), from = le64toh(hold->from_seq);
		const struct commit_hold *open = find_open(r, id);

		for (uint32_t j = 0; j < i; j++)
			if (commit->holds[j].id == hold->id)
				return -EPROTO;
		if (open ? open->from_seq != from : id <= r->hold_id || from <= r->cut_seq)
			return -EPROTO;
		nr_open += !open && !hold->end_seq;
	}
	return nr_open <= COMMIT_MAX_OPEN_HOLDS ? 0 : -EPROTO;
}

/*
 * A stamp lies in a hold that was open before or is named here: the cuts it could
 * change are not listed, and none after it is until the data are complete.
 */
static bool stamp_held(const struct timeline_received *r, const struct commit_view *commit,
		       uint64_t stamp)
{
	for (size_t i = 0; i < r->nr_open_holds; i++)
		if (r->open_holds[i].from_seq <= stamp)
			return true;
	for (uint32_t i = 0; i < commit->header.nr_holds; i++)
		if (le64toh(commit->holds[i].from_seq) <= stamp)
			return true;
	return false;
}

/*
 * A gap begins in this batch. It may end past the cut: what was captured and turned
 * out damaged is marked dirty only then, and a repair must have begun after that.
 */
static int gaps_check(const struct timeline_received *r, const struct commit_view *commit)
{
	for (uint32_t i = 0; i < commit->header.nr_gaps; i++) {
		uint64_t from = le64toh(commit->gaps[i].from_seq);

		if (from <= r->cut_seq || from > commit->header.cut_seq ||
		    seq_incarnation(le64toh(commit->gaps[i].to_seq)) != seq_incarnation(from))
			return -EPROTO;
	}
	return 0;
}

static int commit_check(const struct timeline *tl, const struct commit_view *commit)
{
	const struct timeline_received *r = &tl->received;
	const struct timeline_batch *b = &tl->batch;
	const struct commit_header *h = &commit->header;
	bool same_incarnation = seq_incarnation(h->cut_seq) == seq_incarnation(r->cut_seq);
	int ret;

	if (h->ordinal != r->ordinal + 1 || h->cut_seq < r->cut_seq ||
	    seq_incarnation(h->cut_seq) != tl->manifest.incarnation ||
	    (same_incarnation && h->time_ns < r->time_ns))
		return -EPROTO;
	if (h->nr_units != b->nr_units || h->batch_bytes != b->bytes ||
	    h->units_crc != b->units_crc)
		return -EPROTO;
	if (b->has_record && b->record_label != h->cut_seq)
		return -EPROTO;
	if (b->has_readback && (b->max_stamp > h->cut_seq || !stamp_held(r, commit, b->min_stamp)))
		return -EPROTO;
	for (uint32_t i = 0; i < h->nr_volumes; i++)
		if (le16toh(commit->volumes[i].volume) >= tl->manifest.nr_volumes)
			return -EPROTO;
	ret = gaps_check(r, commit);
	return ret ? ret : holds_check(r, commit);
}

static void received_hold(struct timeline_received *r, const struct commit_hold *hold)
{
	struct commit_hold *open = (struct commit_hold *)find_open(r, le64toh(hold->id));

	if (open && hold->end_seq)
		*open = r->open_holds[--r->nr_open_holds];
	else if (!open && !hold->end_seq)
		r->open_holds[r->nr_open_holds++] = (struct commit_hold){
			le64toh(hold->id), le64toh(hold->from_seq), 0 };
}

static void received_add(struct timeline *tl, const struct commit_view *commit)
{
	struct timeline_received *r = &tl->received;
	const struct commit_header *h = &commit->header;

	r->cut_seq = h->cut_seq;
	r->ordinal = h->ordinal;
	r->time_ns = h->time_ns;
	if (tl->batch.readback_no > r->readback_no)
		r->readback_no = tl->batch.readback_no;
	for (uint32_t i = 0; i < h->nr_gaps; i++)
		if (le64toh(commit->gaps[i].to_seq) > r->last_gap_seq)
			r->last_gap_seq = le64toh(commit->gaps[i].to_seq);
	for (uint32_t i = 0; i < h->nr_holds; i++) {
		received_hold(r, &commit->holds[i]);
		if (le64toh(commit->holds[i].id) > r->hold_id)
			r->hold_id = le64toh(commit->holds[i].id);
	}
	for (uint32_t i = 0; i < h->nr_repairs; i++)
		if (le64toh(commit->repairs[i].t0_seq) > r->repaired_t0)
			r->repaired_t0 = le64toh(commit->repairs[i].t0_seq);
	memset(&tl->batch, 0, sizeof(tl->batch));
}

/* Remember it until it is durable. */
static int pending_add(struct timeline *tl, size_t record_bytes)
{
	struct segment_index *index = tl->writer.index;
	struct timeline_pending *p;

	if (!array_reserve(&tl->pending, &tl->max_pending, tl->nr_pending + 1))
		return -ENOMEM;
	p = &tl->pending[tl->nr_pending];
	p->record = malloc(record_bytes);
	if (!p->record)
		return -ENOMEM;
	memcpy(p->record, tl->record, record_bytes);
	p->index = index;
	p->first_extent = index->nr_committed;
	p->nr_extents = index->nr_extents - index->nr_committed;
	tl->nr_pending++;
	return 0;
}

int timeline_append_commit(struct timeline *tl, const void *record, size_t bytes)
{
	struct segment_writer *w = &tl->writer;
	struct commit_stamp stamp = {
		.target_time_ns = tl->env->ops->realtime_ns(tl->env),
		.target_durable = w->durable_ordinal,
		.batch_bytes = tl->batch.disk_bytes, .units_crc = tl->batch.disk_units_crc,
	};
	struct commit_view commit;
	int ret;

	if (tl->read_only)
		return -EROFS;
	if (w->error || tl->broken)
		return -EIO;
	if (commit_decode(record, bytes, &commit) || commit.header.record_bytes != bytes)
		return -EBADMSG;
	ret = commit_check(tl, &commit);
	if (!ret)
		ret = append_begin(tl);
	if (ret)
		return ret;
	memcpy(tl->record, record, bytes);
	commit_stamp(tl->record, &stamp);
	ret = pending_add(tl, bytes);
	if (!ret)
		ret = segment_writer_append(w, tl->record, bytes);
	if (!ret)
		ret = segment_writer_commit(w, commit.header.ordinal, w->file_offset - bytes);
	if (ret)
		return writer_broke(tl, ret);
	received_add(tl, &commit);
	segment_writer_pump(w);
	return 0;
}

/* -- what has become durable, what is gone -- */

/*
 * With its first durable commit a segment is told to the manifest: if it is lost that can be
 * noticed. Where ever more comes in, that must not wait for the manifest with each segment.
 */
static void durable_tell(struct timeline *tl, uint64_t ordinal)
{
	const struct manifest_durable *told = &tl->manifest.durable;
	const uint64_t segment = tl->writer.file_number;
	uint64_t now_ns;

	if (segment <= told->segment || ordinal <= told->ordinal)
		return;
	now_ns = tl->env->ops->monotonic_ns(tl->env);
	if (tl->nr_pending && tl->told_durable && now_ns - tl->told_durable_ns < DURABLE_TELL_NS)
		return;
	/* Where that fails it is tried again; what is durable is so all the same. */
	manifest_add_durable(&tl->manifest, ordinal, segment);
	tl->told_durable = true;
	tl->told_durable_ns = now_ns;
}

void timeline_durable(void *arg, uint64_t ordinal)
{
	struct timeline *tl = arg;
	size_t nr = 0;

	for (; nr < tl->nr_pending && tl->points.last_ordinal < ordinal; nr++) {
		struct timeline_pending *p = &tl->pending[nr];
		struct commit_view commit;
		int ret = commit_decode(p->record, COMMIT_MAX_BYTES, &commit);

		if (!ret)
			ret = timeline_take_commit(tl, &commit, p->nr_extents ?
						   &p->index->extents[p->first_extent] : NULL,
						   p->nr_extents);
		free(p->record);
		if (ret) {
			tl->broken = ret;
			nr++;
			break;
		}
	}
	if (nr == 0)
		return;
	tl->nr_pending -= nr;
	memmove(tl->pending, tl->pending + nr, tl->nr_pending * sizeof(*tl->pending));
	durable_tell(tl, tl->points.last_ordinal);
}

/* Back to what is durable. */
void timeline_received_reset(struct timeline *tl)
{
	const struct points *p = &tl->points;
	struct timeline_received *r = &tl->received;

	for (size_t i = 0; i < tl->nr_pending; i++)
		free(tl->pending[i].record);
	tl->nr_pending = 0;
	memset(&tl->batch, 0, sizeof(tl->batch));
	*r = (struct timeline_received){
		.cut_seq = p->last_cut_seq,
		.ordinal = p->last_ordinal,
		.time_ns = p->last_time_ns,
		.readback_no = p->readback_no,
		.hold_id = p->hold_id,
		.last_gap_seq = p->last_gap_seq,
		.repaired_t0 = p->repaired_t0,
	};
	for (size_t i = 0; i < p->nr_open_holds && i < COMMIT_MAX_OPEN_HOLDS; i++)
		r->open_holds[r->nr_open_holds++] = p->open_holds[i];
}
