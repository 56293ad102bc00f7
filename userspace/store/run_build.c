// SPDX-License-Identifier: GPL-2.0-only
/* run_build - runs from a segment, and from other runs. */
#include "run_build.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "pack_aside.h"
#include "pack_read.h"
#include "run_merge.h"
#include "segment_scan.h"

/* -- from a segment -- */

/* An extent of which pieces are still to come; a heap of them, the next piece on top. */
struct rest {
	uint64_t offset_bytes;	/* of its next piece */
	uint64_t end_bytes;
	uint32_t item;		/* of the extents */
	uint8_t shift;		/* of its next piece */
};

struct pieces {
	struct pack_extent *extents;	/* where they were is where a run says they are */
	struct rest *heap;
	size_t nr, max;
};

static struct run_entry piece(const struct pieces *p, const struct rest *r)
{
	const struct pack_extent *e = &p->extents[r->item];
	uint64_t skipped = r->offset_bytes - e->offset_bytes;

	return (struct run_entry){
		.offset_bytes = r->offset_bytes, .label_seq = e->label_seq,
		.readback_no = e->readback_no, .segment = e->segment,
		.unit_at = e->unit_at, .extent_no = e->extent_no,
		.volume = e->volume, .length_shift = r->shift, .kind = e->kind,
		.data_sector = e->kind == EXTENT_DATA ?
			       (e->from_offset + skipped) / SECTOR_BYTES : 0,
	};
}

static int rest_before(const struct pieces *p, const struct rest *a, const struct rest *b)
{
	const struct run_entry x = piece(p, a), y = piece(p, b);

	return run_entry_compare(&x, &y) < 0;
}

/* Put @r where it belongs, from place @i on down. */
static void heap_sink(struct pieces *p, size_t i, const struct rest *r)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= p->nr)
			break;
		if (child + 1 < p->nr && rest_before(p, &p->heap[child + 1], &p->heap[child]))
			child++;
		if (!rest_before(p, &p->heap[child], r))
			break;
		p->heap[i] = p->heap[child];
		i = child;
	}
	p->heap[i] = *r;
}

static int extents_add(struct pieces *p, const struct pack_extent *e)
{
	if (p->nr == UINT32_MAX || !array_reserve(&p->extents, &p->max, p->nr + 1))
		return -ENOMEM;
	p->extents[p->nr++] = *e;
	return 0;
}

static int extents_of_segment(struct pieces *p, const struct segment_index *index,
			      uint32_t segment)
{
	uint16_t extent_no = 0;
	int ret = 0;

	for (size_t i = 0; i < index->nr_committed && !ret; i++) {
		const struct footer_extent *f = &index->extents[i];
		struct pack_extent e;

		if (f->unit_offset / PACK_UNIT_ALIGN > UINT32_MAX)
			return -EFBIG;
		extent_no = footer_extent_no(index->extents, i, extent_no);
		e = pack_extent_of(f, segment, extent_no);
		ret = extents_add(p, &e);
	}
	return ret;
}

static int extents_of_pack(struct pieces *p, const struct pack *pack)
{
	struct pack_stream stream;
	struct pack_extent e;
	int ret = pack_stream_begin(&stream, pack);

	while (!ret) {
		ret = pack_stream_next(&stream, &e);
		if (!ret)
			ret = extents_add(p, &e);
	}
	pack_stream_end(&stream);
	return ret == -ENOENT ? 0 : ret;
}

static int pieces_begin(struct pieces *p)
{
	p->heap = malloc((p->nr + 1) * sizeof(*p->heap));
	if (!p->heap)
		return -ENOMEM;
	for (size_t i = 0; i < p->nr; i++) {
		uint64_t offset = p->extents[i].offset_bytes;
		uint64_t end = offset + p->extents[i].length_bytes;

		p->heap[i] = (struct rest){ offset, end, i, run_piece_shift(offset, end) };
	}
	for (size_t i = p->nr / 2; i-- > 0;) {
		struct rest r = p->heap[i];

		heap_sink(p, i, &r);
	}
	return 0;
}

/* Take the piece on top; what is left of its extent goes back. */
static struct run_entry pieces_take(struct pieces *p)
{
	struct rest r = p->heap[0];
	struct run_entry e = piece(p, &r);

	r.offset_bytes += UINT64_C(1) << r.shift;
	if (r.offset_bytes < r.end_bytes)
		r.shift = run_piece_shift(r.offset_bytes, r.end_bytes);
	else
		r = p->heap[--p->nr];
	if (p->nr)
		heap_sink(p, 0, &r);
	return e;
}

static int pieces_write(struct pieces *p, struct env *env, const char *dir,
			const struct run_header *header, const struct run_pace *pace,
			struct manifest_run *out)
{
	struct run_writer w = { 0 };
	int ret = pieces_begin(p);

	if (ret)
		return ret;
	ret = run_writer_begin(&w, env, dir, header, pace);
	while (!ret && p->nr) {
		struct run_entry e = pieces_take(p);

		ret = run_writer_add(&w, &e);
	}
	if (!ret)
		ret = run_writer_finish(&w, out);
	if (ret)
		run_writer_abort(&w);
	return ret;
}

int run_build_segment(struct env *env, const char *dir, const uint8_t *timeline, uint64_t number,
		      const struct run_segment *segment, const struct run_pace *pace,
		      struct manifest_run *out, bool *bad)
{
	struct segment_scan scan;
	struct run_header header = { .number = number, .first_segment = segment->number,
				     .last_segment = segment->number };
	struct pieces p = { 0 };
	int ret;

	memcpy(header.timeline, timeline, sizeof(header.timeline));
	segment_scan_init(&scan, env, dir, timeline, segment->number, segment->first_ordinal);
	scan.end_limit = segment->end_limit;
	scan.next = segment->next.number ? &segment->next : NULL;
	scan.pace = pace;
	ret = scan.first_ordinal ? 0 : segment_first_ordinal(env, dir, timeline, segment->number,
							     &scan.first_ordinal);
	if (!ret)
		ret = segment_scan_finished(&scan);
	header.last_ordinal = scan.last_ordinal;
	if (!ret)
		ret = extents_of_segment(&p, &scan.index, segment->number);
	*bad = pack_aside_is_due(ret);
	segment_index_fini(&scan.index);
	if (!ret)
		ret = pieces_write(&p, env, dir, &header, pace, out);
	free(p.heap);
	free(p.extents);
	return ret;
}

int run_build_pack(struct env *env, const char *dir, const uint8_t *timeline, uint64_t number,
		   const struct manifest_pack *named, const struct run_pace *pace,
		   struct manifest_run *out, bool *bad)
{
	struct run_header header = { .number = number, .first_segment = named->first_segment,
				     .last_segment = named->last_segment,
				     .last_ordinal = named->last_ordinal };
	struct pieces p = { 0 };
	struct pack pack;
	int ret = pack_open(env, dir, timeline, named, &pack);

	memcpy(header.timeline, timeline, sizeof(header.timeline));
	*bad = pack_aside_is_due(ret);
	if (ret)
		return ret == -ENOENT ? -EBADMSG : ret;
	ret = extents_of_pack(&p, &pack);
	*bad = pack_aside_is_due(ret);
	pack_close(&pack);
	if (!ret)
		ret = pieces_write(&p, env, dir, &header, pace, out);
	free(p.heap);
	free(p.extents);
	return ret;
}

/* -- from runs -- */

/* What makes it dead is in this run, and stays: thin_take() has called it live. */
static int entry_put(struct run_writer *w, struct thin *thin, struct run_drop *drop,
		     const struct run_entry *e)
{
	bool dead = false;
	int ret = drop && e->label_seq < drop->cuts.settled_cut ? thin_take(thin, e, &dead) : 0;

	if (ret)
		return ret;
	if (!dead || !thin_file_find(drop->packed, drop->nr_packed, e->segment))
		return run_writer_add(w, e);
	drop->nr_dropped++;
	return 0;
}

static int merge_write(struct run_merge *m, struct run_writer *w, struct run_drop *drop)
{
	uint64_t read_bytes = 0;
	struct run_entry e;
	struct thin thin;
	int ret;

	thin_begin(&thin, drop ? &drop->cuts : NULL);
	while ((ret = run_merge_next(m, &e)) == 0) {
		ret = entry_put(w, &thin, drop, &e);
		if (ret == -EBADMSG)	/* out of order: its fault */
			m->failed = m->current;
		if (!ret && m->read_bytes > read_bytes)
			ret = new_file_read(&w->file, m->read_bytes - read_bytes);
		read_bytes = m->read_bytes;
		if (ret)
			break;
	}
	thin_end(&thin);
	return ret == -ENOENT ? 0 : ret;
}

/* The highest of theirs; of several that have the same, the next. */
static uint32_t merged_level(const struct manifest_run *inputs, size_t nr)
{
	uint32_t level = inputs[0].level;
	bool same = nr > 1;

	for (size_t i = 1; i < nr; i++) {
		same = same && inputs[i].level == inputs[0].level;
		if (inputs[i].level > level)
			level = inputs[i].level;
	}
	return level + same;
}

int run_build_merge(struct env *env, const char *dir, const uint8_t *timeline, uint64_t number,
		    const struct manifest_run *inputs, size_t nr, struct run_drop *drop,
		    const struct run_pace *pace, struct manifest_run *out, uint64_t *bad)
{
	const struct manifest_run *last = &inputs[nr - 1];
	struct run_header header = {
		.number = number, .first_segment = inputs[0].first_segment,
		.last_segment = last->last_segment, .last_ordinal = last->last_ordinal,
		.level = merged_level(inputs, nr),
	};
	struct run_writer w = { 0 };
	struct run_merge m;
	int ret;

	memcpy(header.timeline, timeline, sizeof(header.timeline));
	ret = run_merge_begin(&m, env, dir, timeline, inputs, nr);
	if (!ret) {
		ret = run_writer_begin(&w, env, dir, &header, pace);
		if (!ret)
			ret = merge_write(&m, &w, drop);
		if (!ret)
			ret = run_writer_finish(&w, out);
		if (ret)
			run_writer_abort(&w);
	}
	*bad = m.failed < nr && (ret == -EBADMSG || ret == -ENOENT || ret == -EIO) ?
	       inputs[m.failed].number : 0;
	run_merge_end(&m);
	return ret;
}
