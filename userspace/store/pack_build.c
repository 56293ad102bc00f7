// SPDX-License-Identifier: GPL-2.0-only
/*
 * pack_build - a pack from segments and packs, and from what of them is live.
 *
 * Sources are gone through in the order of their origins, and with them the live set, which
 * is in the same order. Every piece of it must be found: what is missing then would be lost
 * with the sources.
 */
#include "pack_build.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pack_read.h"
#include "segment_scan.h"

#define WINDOW_BYTES	(1u << 20)

struct build {
	const struct pack_job *job;
	struct pack_writer w;
	const struct pack_source *source;	/* in hand */
	uint64_t last_ordinal;			/* so far */
	size_t next_live;
	struct env_file *file;			/* of the source */
	struct unit_cipher *cipher;		/* of it; NULL: in clear */
	uint8_t *window;
	uint64_t window_offset;
	size_t window_bytes;
	uint64_t unit_offset;			/* of the unit in hand; 0: none */
	struct unit_view unit;
	uint8_t *data;				/* of it */
	uint8_t *clear;				/* what it had encrypted */
	uint32_t crcs[UNIT_MAX_CRCS];
};

/* -- the live set -- */

struct pack_live pack_live_of(const struct run_entry *e, bool leased)
{
	return (struct pack_live){ e->segment, e->unit_at, e->extent_no, e->data_sector,
				   e->length_shift, leased };
}

static struct pack_origin live_origin(const struct pack_live *l)
{
	return (struct pack_origin){ l->segment, l->unit_at,
				     (uint32_t)l->data_sector * SECTOR_BYTES, l->extent_no };
}

static int live_compare(const void *a, const void *b)
{
	const struct pack_origin x = live_origin(a), y = live_origin(b);

	return pack_origin_compare(&x, &y);
}

void pack_live_sort(struct pack_live *live, size_t nr)
{
	if (nr)
		qsort(live, nr, sizeof(*live), live_compare);
}

static bool live_is_before(const struct pack_live *l, const struct pack_extent *e)
{
	const struct pack_origin at = live_origin(l), first = pack_extent_origin(e);

	return pack_origin_compare(&at, &first) < 0;
}

/* Past what only leases need and what is not there any more: it would have come before @e. */
static void leased_skip(struct build *b, const struct pack_extent *e)
{
	const struct pack_live *live = b->job->live;

	while (b->next_live < b->job->nr_live && live[b->next_live].leased &&
	       (!e || live_is_before(&live[b->next_live], e)))
		b->next_live++;
}

/* The next live piece, if it is of this extent, or of this part of one. */
static const struct pack_live *live_next(const struct build *b, const struct pack_extent *e)
{
	const struct pack_live *l = &b->job->live[b->next_live];
	uint64_t from;

	if (b->next_live == b->job->nr_live || l->segment != e->segment ||
	    l->unit_at != e->unit_at || l->extent_no != e->extent_no)
		return NULL;
	from = (uint64_t)l->data_sector * SECTOR_BYTES;
	if (e->kind == EXTENT_DATA && from >= e->from_offset + e->length_bytes)
		return NULL;
	return l;
}

/* -- units of the source -- */

/* An error is no fault of the source. */
static int read_pace(void *arg, uint64_t bytes)
{
	struct build *b = arg;

	return new_file_read(&b->w.file, bytes);
}

static int window_at(struct build *b, uint64_t offset, const uint8_t **at, size_t *seen)
{
	const struct env_ops *ops = b->job->env->ops;
	int64_t got;
	int ret;

	if (offset < b->window_offset ||
	    offset + UNIT_MAX_BYTES > b->window_offset + b->window_bytes) {
		b->window_bytes = 0;
		b->window_offset = offset / BLOCK_BYTES * BLOCK_BYTES;
		got = ops->read(b->job->env, b->file, b->window, WINDOW_BYTES, b->window_offset);
		if (got < 0)
			return got;
		b->window_bytes = got;
		ret = read_pace(b, got);
		if (ret)
			return ret;
	}
	if (offset >= b->window_offset + b->window_bytes)
		return -EBADMSG;
	*at = b->window + (offset - b->window_offset);
	*seen = b->window_offset + b->window_bytes - offset;
	return 0;
}

/* Unpacked, and each block of it checked. Its tables stay in the window until the next. */
static int unit_get(struct build *b, uint64_t offset)
{
	const uint64_t pack = b->source->pack.number;
	const uint8_t *at = NULL;
	size_t seen = 0;
	int ret;

	if (b->unit_offset == offset)
		return 0;
	b->unit_offset = 0;
	ret = window_at(b, offset, &at, &seen);
	if (ret)
		return ret;
	if (unit_decode(at, seen, 0, &b->unit) ||
	    (pack && !pack_unit_belongs(&b->unit, pack, offset)))
		return -EBADMSG;
	ret = unit_decrypt(b->cipher, &b->unit, offset, b->clear);
	if (!ret)
		ret = unit_unpack(&b->unit, b->data);
	if (!ret)
		b->unit_offset = offset;
	return ret;
}

/* The CRCs of capture time of [@from, @end) of an extent of the unit; host order. */
static void crcs_get(struct build *b, const struct unit_extent *x, uint64_t from, uint64_t end)
{
	uint64_t first = from / BLOCK_BYTES - le64toh(x->offset_bytes) / BLOCK_BYTES;
	uint32_t nr = unit_crc_pieces(from, end - from);

	for (uint32_t i = 0; i < nr; i++)
		b->crcs[i] = le32toh(b->unit.crcs[le32toh(x->first_crc) + first + i]);
}

/* -- one extent -- */

/* Keep [@from, @end) of the volume of it: whole blocks, or up to where the extent ends. */
static int part_put(struct build *b, const struct pack_extent *e, uint64_t from, uint64_t end,
		    uint64_t live_bytes)
{
	struct pack_extent part = *e;
	uint64_t skip = from - e->offset_bytes;
	const struct unit_extent *x;
	int ret = unit_get(b, (uint64_t)e->at * PACK_UNIT_ALIGN);

	if (ret)
		return ret;
	x = pack_unit_extent(&b->unit, e->data_offset);
	if (!x || le64toh(x->offset_bytes) != e->offset_bytes ||
	    le64toh(x->length_bytes) != e->length_bytes || le16toh(x->volume) != e->volume)
		return -EBADMSG;
	crcs_get(b, x, from, end);
	part.offset_bytes = from;
	part.length_bytes = end - from;
	part.from_offset = e->from_offset + skip;
	return pack_writer_add(&b->w, &part, live_bytes, b->data + e->data_offset + skip, b->crcs);
}

/* Its live pieces, widened to blocks; those that touch are one part. */
static int data_put(struct build *b, const struct pack_extent *e)
{
	const uint64_t extent_end = e->offset_bytes + e->length_bytes;
	uint64_t from = 0, end = 0, live_bytes = 0;
	const struct pack_live *l;
	int ret = 0;

	while (!ret && (l = live_next(b, e))) {
		uint64_t at = (uint64_t)l->data_sector * SECTOR_BYTES;
		uint64_t bytes = UINT64_C(1) << l->length_shift, first, last;

		if (at < e->from_offset || at + bytes > e->from_offset + e->length_bytes)
			return -EBADMSG;
		first = e->offset_bytes + (at - e->from_offset);
		last = (first + bytes + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
		first = first / BLOCK_BYTES * BLOCK_BYTES;
		if (first < e->offset_bytes)
			first = e->offset_bytes;
		if (last > extent_end)
			last = extent_end;
		if (live_bytes && first > end) {
			ret = part_put(b, e, from, end, live_bytes);
			live_bytes = 0;
		}
		if (!live_bytes)
			from = first;
		end = last;
		live_bytes += bytes;
		b->next_live++;
	}
	return !ret && live_bytes ? part_put(b, e, from, end, live_bytes) : ret;
}

/* Without data it is kept whole as long as any piece of it lives. */
static int extent_put(struct build *b, const struct pack_extent *e)
{
	leased_skip(b, e);
	if (e->kind == EXTENT_DATA)
		return data_put(b, e);
	if (!live_next(b, e))
		return 0;
	while (live_next(b, e))
		b->next_live++;
	return pack_writer_add(&b->w, e, 0, NULL, NULL);
}

/* -- sources -- */

bool pack_commit_stays(const struct thin_cuts *cuts, const struct commit_header *h)
{
	return thin_cut_is_kept(cuts, h->cut_seq) || h->nr_gaps || h->nr_holds || h->nr_repairs;
}

static int commit_put(void *arg, const struct commit_view *commit)
{
	struct build *b = arg;

	return pack_commit_stays(b->job->cuts, &commit->header) ?
	       pack_writer_commit(&b->w, commit) : 0;
}

static int batch_put(void *arg, const struct commit_view *commit,
		     const struct footer_extent *extents, size_t nr_extents)
{
	struct build *b = arg;
	uint16_t extent_no = 0;
	int ret = commit_put(b, commit);

	for (size_t i = 0; i < nr_extents && !ret; i++) {
		const struct footer_extent *f = &extents[i];
		struct pack_extent e;

		if (f->unit_offset / PACK_UNIT_ALIGN > UINT32_MAX)
			return -EFBIG;
		extent_no = footer_extent_no(extents, i, extent_no);
		e = pack_extent_of(f, b->source->segment, extent_no);
		ret = extent_put(b, &e);
	}
	return ret;
}

static int segment_put(struct build *b)
{
	const struct pack_job *job = b->job;
	const struct pack_source *s = b->source;
	const struct run_pace pace = { read_pace, b };
	struct segment_scan scan;
	int ret;

	segment_scan_init(&scan, job->env, job->dir, job->timeline, s->segment,
			  b->last_ordinal + 1);
	scan.end_limit = s->end_limit;
	scan.next = s->next.number ? &s->next : NULL;
	scan.pace = &pace;
	scan.commit = batch_put;
	scan.arg = b;
	ret = job->env->ops->open(job->env, scan.path, ENV_READ, &b->file);
	if (ret) {
		b->file = NULL;
		return ret;
	}
	ret = segment_cipher(job->env, b->file, job->keys, &b->cipher);
	if (!ret)
		ret = segment_scan_finished(&scan);
	segment_index_fini(&scan.index);
	if (!ret)
		ret = pack_writer_segment(&b->w, scan.last_ordinal);
	b->last_ordinal = scan.last_ordinal;
	job->env->ops->close(job->env, b->file);
	return ret;
}

static int pack_tables_put(struct build *b, const struct pack *pack)
{
	struct pack_tables t;
	int ret = pack_tables_load(pack, &t);

	if (ret)
		return ret;
	for (uint64_t n = pack->header.first_segment; n <= pack->header.last_segment && !ret; n++)
		ret = pack_writer_segment(&b->w, pack_tables_ordinal(&t, n));
	if (!ret)
		ret = pack_tables_commits(&t, &pack->header, commit_put, b);
	free(t.bytes);
	return ret;
}

static int pack_put(struct build *b)
{
	const struct pack_job *job = b->job;
	struct pack_stream stream;
	struct pack_extent e;
	struct pack pack;
	int ret = pack_open(job->env, job->dir, job->timeline, &b->source->pack, &pack);

	if (ret)
		return ret;
	b->file = pack.file;
	ret = pack_cipher(&pack.header, job->keys, &b->cipher);
	if (!ret)
		ret = pack.header.first_ordinal == b->last_ordinal + 1 ?
		      pack_tables_put(b, &pack) : -EBADMSG;
	if (!ret) {
		ret = pack_stream_begin(&stream, &pack);
		while (!ret) {
			ret = pack_stream_next(&stream, &e);
			if (!ret)
				ret = extent_put(b, &e);
		}
		pack_stream_end(&stream);
		if (ret == -ENOENT)
			ret = 0;
	}
	b->last_ordinal = pack.header.last_ordinal;
	pack_close(&pack);
	return ret;
}

static const struct pack_source *source_of(const struct pack_job *job, uint64_t segment)
{
	size_t i = job->nr_sources - 1;

	while (i > 0 && job->sources[i].segment > segment)
		i--;
	return &job->sources[i];
}

static int sources_put(struct build *b)
{
	int ret = 0;

	for (size_t i = 0; i < b->job->nr_sources && !ret; i++) {
		b->source = &b->job->sources[i];
		b->unit_offset = 0;
		b->window_bytes = 0;
		ret = b->source->pack.number ? pack_put(b) : segment_put(b);
		unit_cipher_destroy(b->cipher);
		b->cipher = NULL;
	}
	b->w.header.last_ordinal = b->last_ordinal;
	if (ret)
		return ret;
	b->source = NULL;
	leased_skip(b, NULL);
	if (b->next_live == b->job->nr_live)
		return 0;
	/* What lives and was not found would be lost with them. */
	b->source = source_of(b->job, b->job->live[b->next_live].segment);
	return -EBADMSG;
}

/* Of the first source: what came before it is none of ours. */
static int first_ordinal_read(const struct pack_job *job, uint64_t *out)
{
	const struct pack_source *first = &job->sources[0];
	struct pack pack;
	int ret;

	if (first->pack.number) {
		ret = pack_open(job->env, job->dir, job->timeline, &first->pack, &pack);
		if (!ret)
			*out = pack.header.first_ordinal;
		pack_close(&pack);
		return ret;
	}
	return segment_first_ordinal(job->env, job->dir, job->timeline, first->segment, out);
}

static struct pack_header header_of(const struct pack_job *job, uint64_t first_ordinal)
{
	const struct pack_source *first = &job->sources[0];
	const struct pack_source *last = &job->sources[job->nr_sources - 1];
	struct pack_header h = {
		.number = job->number, .points_no = job->points_no, .first_ordinal = first_ordinal,
		.first_segment = first->pack.number ? first->pack.first_segment :
				 first->segment,
		.last_segment = last->pack.number ? last->pack.last_segment :
				last->segment,
	};

	memcpy(h.timeline, job->timeline, sizeof(h.timeline));
	return h;
}

/* No fault of a source: memory, and whatever ends the writing. */
static size_t bad_source(const struct build *b, int error)
{
	if (!b->source || b->w.file.error || error == -ENOMEM)
		return b->job->nr_sources;
	return b->source - b->job->sources;
}

int pack_build(const struct pack_job *job, struct manifest_pack *out, size_t *bad)
{
	struct build *b = calloc(1, sizeof(*b));
	struct pack_header header;
	uint64_t first_ordinal;
	int ret;

	*bad = job->nr_sources;
	if (!b)
		return -ENOMEM;
	b->job = job;
	ret = first_ordinal_read(job, &first_ordinal);
	if (ret) {
		*bad = 0;
		free(b);
		return ret;
	}
	b->last_ordinal = first_ordinal - 1;
	b->window = aligned_alloc(BLOCK_BYTES, WINDOW_BYTES);
	b->data = malloc(UNIT_MAX_DATA_BYTES);
	b->clear = aligned_alloc(FORMAT_ALIGN_BYTES, UNIT_MAX_BYTES);
	header = header_of(job, first_ordinal);
	ret = pack_writer_begin(&b->w, job->env, job->dir, &header, job->keys, job->pace);
	b->w.room = job->room;
	if (!ret && (!b->window || !b->data || !b->clear))
		ret = -ENOMEM;
	if (!ret)
		ret = pack_writer_kept(&b->w, job->cuts);
	if (!ret)
		ret = sources_put(b);
	if (!ret)
		ret = pack_writer_finish(&b->w, out);
	if (ret) {
		*bad = bad_source(b, ret);
		pack_writer_abort(&b->w);
	}
	free(b->window);
	free(b->data);
	free(b->clear);
	free(b);
	return ret;
}
