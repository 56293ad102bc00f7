// SPDX-License-Identifier: GPL-2.0-only
/*
 * repair - read back what was not captured.
 *
 * Initial replication, repair after an overflow and resync are this one piece of
 * code: all regions are dirty, or some are. Fed by the dirty maps and the device;
 * feeds the open batch.
 *
 * A pass covers every gap up to t0 = the newest seq when it began, once all bits
 * dirty then were taken over and read. It goes chunk by chunk (DESIGN 1.4, 1.5):
 *
 *	TAKEN	 dirty -> repairing at seq t; hold [t, ...) is open
 *	READING	 watermark p >= t, a batch ended exactly at p; reads are in flight
 *	READ	 then e = newest seq; the data, stamped p, the end of the hold and
 *		 the regions to clear go into one batch
 *
 * A volume that the kernel keeps back (diverged, suspended) is left out: the others
 * are read back, but the pass covers no gap. It is tried again every second.
 */
#include "shipper_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"

#define RUN_MAX_BYTES (1u << 20)
#define READ_RETRY_NS UINT64_C(1000000000)
#define PASS_RETRY_NS UINT64_C(1000000000)

static bool bit_at(const uint64_t *map, uint64_t n)
{
	return map[n / 64] >> n % 64 & 1;
}

/* -- passes -- */

static void pass_done(struct shipper *s)
{
	struct batch *b = s->open;

	b->repairs[b->nr_repairs].t0_seq = seq_of(s, s->pass.t0);
	b->repairs[b->nr_repairs++].end_seq = seq_of(s, s->pass.end);
	if (seq_of(s, s->pass.t0) > s->repaired_t0)
		s->repaired_t0 = seq_of(s, s->pass.t0);
	if (seq_of(s, s->pass.end) > s->clean_from)
		s->clean_from = seq_of(s, s->pass.end);
	s->pass.active = false;
	s->cut_due = true;
}

/* All that could be taken over was read. */
static void pass_end(struct shipper *s)
{
	if (!s->pass.incomplete) {
		pass_done(s);
		return;
	}
	s->pass.active = false;
	s->pass_at_ns = s->env->ops->monotonic_ns(s->env) + PASS_RETRY_NS;
}

/* The kernel keeps it back: what of it is dirty is repaired by another pass. */
static void pass_leave_out(struct shipper *s, struct volume *v)
{
	memset(v->need, 0, (v->nr_regions + 63) / 64 * 8);
	v->nr_need = 0;
	s->pass.incomplete = true;
}

static bool pass_needs_more(const struct shipper *s)
{
	for (uint32_t i = 0; i < s->nr_volumes; i++)
		if (s->volumes[i].nr_need)
			return true;
	return false;
}

/* What is dirty now into v->need. */
static int volume_need(struct shipper *s, struct volume *v)
{
	v->nr_need = 0;
	for (uint64_t first = 0; first < v->nr_regions; first += TAKE_WINDOW) {
		uint64_t left = v->nr_regions - first;
		uint32_t count = left < TAKE_WINDOW ? left : TAKE_WINDOW;
		uint64_t *map = v->need + first / 64;
		int ret = s->cap->ops->map_read(s->cap, v->info.index, BLKSHIP_MAP_DIRTY, first,
						count, map);

		if (ret)
			return ret;
		for (uint32_t i = 0; i < (count + 63) / 64; i++)
			v->nr_need += __builtin_popcountll(map[i]);
	}
	return 0;
}

static bool pass_start(struct shipper *s)
{
	struct pass *p = &s->pass;

	if (s->last_gap <= s->repaired_t0 || s->open->nr_repairs == COMMIT_MAX_REPAIRS ||
	    s->env->ops->monotonic_ns(s->env) < s->pass_at_ns)
		return false;
	*p = (struct pass){ 0 };
	p->t0 = p->end = ring_newest(s);	/* before the maps are read */
	for (uint32_t i = 0; i < s->nr_volumes; i++) {
		if (volume_need(s, &s->volumes[i]))
			pass_leave_out(s, &s->volumes[i]);
		p->regions_all += s->volumes[i].nr_need;
	}
	p->active = true;
	if (!p->regions_all)
		pass_end(s);
	return true;
}

/* -- chunks -- */

static void chunk_free(struct chunk *c)
{
	free(c->bitmap);
	free(c->buf);
	free(c->runs);
	memset(c, 0, sizeof(*c));
}

/* Regions of a window that are needed and not repairing already. */
static uint64_t window_wanted(struct shipper *s, const struct volume *v, uint64_t first,
			      uint32_t count)
{
	uint64_t repairing[TAKE_WINDOW / 64], wanted = 0;

	if (s->cap->ops->map_read(s->cap, v->info.index, BLKSHIP_MAP_REPAIRING, first, count,
				  repairing))
		return 0;
	for (uint32_t i = 0; i < (count + 63) / 64; i++)
		wanted += __builtin_popcountll(v->need[first / 64 + i] & ~repairing[i]);
	return wanted;
}

/* The next window of the pass that has something to take, from the cursor on. */
static struct volume *window_find(struct shipper *s, uint64_t *first, uint32_t *count)
{
	struct pass *p = &s->pass;

	for (uint32_t n = 0; n <= s->nr_volumes; n++) {
		struct volume *v = &s->volumes[p->at_volume];

		while (p->at_region < v->nr_regions) {
			uint64_t left = v->nr_regions - p->at_region;

			if (!v->need[p->at_region / 64]) {
				p->at_region += 64;
				continue;
			}
			*first = p->at_region;
			*count = left < TAKE_WINDOW ? left : TAKE_WINDOW;
			if (window_wanted(s, v, *first, *count))
				return v;
			p->at_region += TAKE_WINDOW;
		}
		p->at_volume = (p->at_volume + 1) % s->nr_volumes;
		p->at_region = 0;
	}
	return NULL;
}

static bool chunk_take(struct shipper *s)
{
	struct chunk *c = &s->chunk;
	struct volume *v;

	if (s->nr_takes == MAX_TAKES || s->nr_holds == COMMIT_MAX_HOLDS / 2)
		return false;
	v = window_find(s, &c->first_region, &c->count);
	if (!v)
		return false;
	c->bitmap = calloc((c->count + 63) / 64, sizeof(*c->bitmap));
	if (!c->bitmap)
		return false;
	if (s->cap->ops->take(s->cap, v->info.index, c->first_region, c->count,
			      s->params.chunk_bytes / BLKSHIP_REGION_BYTES, c->bitmap, &c->taken,
			      &c->t)) {
		chunk_free(c);
		pass_leave_out(s, v);
		if (!pass_needs_more(s))
			pass_end(s);
		return true;
	}
	s->takes[s->nr_takes++] = c->t;
	c->volume = v;
	c->hold_id = ++s->hold_id;
	s->holds[s->nr_holds++] = (struct hold){ c->hold_id, c->t };
	for (uint32_t i = 0; i < (c->count + 63) / 64; i++) {
		uint64_t *need = &v->need[c->first_region / 64 + i];
		uint64_t got = *need & c->bitmap[i];

		v->nr_need -= __builtin_popcountll(got);
		s->pass.regions_done += __builtin_popcountll(got);
		*need &= ~got;
	}
	c->state = CHUNK_TAKEN;
	return true;
}

static void chunk_drop_runs(struct chunk *c)
{
	free(c->runs);
	free(c->buf);
	c->runs = NULL;
	c->buf = NULL;
	c->bytes = 0;
	c->nr_runs = c->nr_submitted = c->nr_ended = 0;
}

static void run_add(struct chunk *c, uint64_t offset_bytes, uint32_t bytes)
{
	struct chunk_run *r = &c->runs[c->nr_runs++];

	r->offset_bytes = offset_bytes;
	r->bytes = bytes;
	r->buf_offset = c->bytes;
	c->bytes += bytes;
}

/* Stretches of taken regions, each one read. */
static int chunk_plan(struct shipper *s)
{
	struct chunk *c = &s->chunk;
	uint64_t size = c->volume->info.size_bytes, at = 0;
	uint32_t bytes = 0;

	c->runs = calloc(c->taken + 1, sizeof(*c->runs));
	c->buf = aligned_alloc(BLOCK_BYTES, (size_t)(c->taken + 1) * BLKSHIP_REGION_BYTES);
	if (!c->runs || !c->buf) {
		chunk_drop_runs(c);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i <= c->count; i++) {
		bool taken = i < c->count && bit_at(c->bitmap, i);
		uint64_t from = (c->first_region + i) * BLKSHIP_REGION_BYTES;

		if (bytes && (!taken || bytes == RUN_MAX_BYTES)) {
			run_add(c, at, bytes);
			bytes = 0;
		}
		if (!taken || from >= size)
			continue;
		if (!bytes)
			at = from;
		bytes += size - from < BLKSHIP_REGION_BYTES ? size - from : BLKSHIP_REGION_BYTES;
	}
	return 0;
}

static void run_ended(void *arg, int64_t result)
{
	struct chunk_run *r = arg;
	struct chunk *c = &r->s->chunk;

	r->result = result;
	if (++c->nr_ended < c->nr_runs)
		return;
	c->state = CHUNK_READ;
	if (r->s->params.on_read)
		r->s->params.on_read(r->s->params.on_read_arg);
}

/* Submit the runs that were not yet; a failed submission counts as a failed read. */
static void chunk_submit(struct shipper *s)
{
	struct chunk *c = &s->chunk;

	c->state = CHUNK_READING;
	while (c->nr_submitted < c->nr_runs) {
		struct chunk_run *r = &c->runs[c->nr_submitted++];
		int ret;

		r->s = s;
		ret = s->cap->ops->read(s->cap, c->volume->info.index, r->offset_bytes,
					c->buf + r->buf_offset, r->bytes, run_ended, r);
		if (ret)
			run_ended(r, ret);
	}
	if (!c->nr_runs)
		c->state = CHUNK_READ;
}

static bool chunk_begin(struct shipper *s)
{
	struct chunk *c = &s->chunk;
	uint64_t p = ring_watermark(s);

	if (s->read_at_ns && s->env->ops->monotonic_ns(s->env) < s->read_at_ns)
		return false;
	if (p < c->t || s->nr_outbox == s->params.outbox_batches)
		return false;
	if (!shipper_drain_to(s, p))
		return false;
	/* The batch ends exactly at p: labels and stamps compare exactly. */
	if ((s->last_cut != p || !batch_is_empty(s->open)) && !shipper_cut(s))
		return false;
	if (!c->runs && chunk_plan(s))
		return false;
	c->p = p;
	chunk_submit(s);
	return true;
}

/* The medium itself says that these sectors are lost. */
static bool is_medium_error(int64_t result)
{
	return result == -EIO || result == -ENODATA || result == -EILSEQ || result == -EREMOTEIO;
}

/*
 * Anything else is our trouble, not the disk's: no device node, no memory, a short
 * read. Nothing is told about the sectors; the chunk is read again later, from a
 * new p. Its hold stays open: rather no points than wrong ones.
 */
static bool chunk_postpone(struct shipper *s)
{
	struct chunk *c = &s->chunk;
	int error = 0;

	for (uint32_t i = 0; i < c->nr_runs && !error; i++)
		if (c->runs[i].result != c->runs[i].bytes && !is_medium_error(c->runs[i].result))
			error = c->runs[i].result < 0 ? c->runs[i].result : -EIO;
	s->stat.read_error = error;
	s->read_at_ns = error ? s->env->ops->monotonic_ns(s->env) + READ_RETRY_NS : 0;
	if (!error)
		return false;
	chunk_drop_runs(c);
	c->state = CHUNK_TAKEN;
	return true;
}

/*
 * A large read that failed is tried again block by block, so that only what
 * really cannot be read is unreadable. Returns 1 when reads were submitted; 0 when
 * there was nothing to try again; -ENOMEM.
 */
static int chunk_retry(struct shipper *s)
{
	struct chunk *c = &s->chunk;
	uint32_t nr = 0, small = 0;
	struct chunk_run *runs;

	for (uint32_t i = 0; i < c->nr_runs; i++)
		if (c->runs[i].result != c->runs[i].bytes && c->runs[i].bytes > BLOCK_BYTES)
			small += (c->runs[i].bytes + BLOCK_BYTES - 1) / BLOCK_BYTES;
	if (!small)
		return 0;
	runs = calloc(c->nr_runs + small, sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->nr_runs; i++)
		if (c->runs[i].result == c->runs[i].bytes || c->runs[i].bytes <= BLOCK_BYTES)
			runs[nr++] = c->runs[i];
	c->nr_ended = c->nr_submitted = nr;
	for (uint32_t i = 0; i < c->nr_runs; i++) {
		const struct chunk_run *r = &c->runs[i];

		if (r->result == r->bytes || r->bytes <= BLOCK_BYTES)
			continue;
		for (uint32_t at = 0; at < r->bytes; at += BLOCK_BYTES) {
			runs[nr].offset_bytes = r->offset_bytes + at;
			runs[nr].buf_offset = r->buf_offset + at;
			runs[nr++].bytes = r->bytes - at < BLOCK_BYTES ? r->bytes - at : BLOCK_BYTES;
		}
	}
	free(c->runs);
	c->runs = runs;
	c->nr_runs = nr;
	chunk_submit(s);
	return 1;
}

static bool is_zero(const uint8_t *data, uint32_t bytes)
{
	return data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0;
}

/* One block of what was read, into the read-back: joined with the last if it can be. */
static void readback_block(struct readback *rb, const struct volume *v, uint64_t offset_bytes,
			   uint32_t bytes, const uint8_t *data, uint8_t kind)
{
	struct readback_extent *last = rb->nr_extents ? &rb->extents[rb->nr_extents - 1] : NULL;

	if (!last || last->kind != kind ||
	    last->offset_bytes + last->length_bytes != offset_bytes ||
	    (kind == EXTENT_DATA && last->data + last->length_bytes != data)) {
		last = &rb->extents[rb->nr_extents++];
		*last = (struct readback_extent){
			.offset_bytes = offset_bytes,
			.data = kind == EXTENT_DATA ? data : NULL,
			.first_crc = rb->nr_crcs,
			.volume = v->id,
			.kind = kind,
		};
	}
	last->length_bytes += bytes;
	if (kind == EXTENT_DATA)
		rb->crcs[rb->nr_crcs++] = crc32c(data, bytes);
}

static int readback_make(struct shipper *s, struct readback *rb)
{
	struct chunk *c = &s->chunk;
	struct volume *v = c->volume;
	size_t blocks = c->bytes / BLOCK_BYTES + 1 + c->nr_runs;

	rb->extents = malloc(blocks * sizeof(*rb->extents));
	rb->crcs = malloc(blocks * sizeof(*rb->crcs));
	if (!rb->extents || !rb->crcs)
		return -ENOMEM;
	for (uint32_t i = 0; i < c->nr_runs; i++) {
		const struct chunk_run *r = &c->runs[i];

		for (uint32_t at = 0; at < r->bytes; at += BLOCK_BYTES) {
			uint32_t bytes = r->bytes - at < BLOCK_BYTES ? r->bytes - at : BLOCK_BYTES;
			const uint8_t *data = c->buf + r->buf_offset + at;
			uint64_t offset = r->offset_bytes + at;
			uint8_t kind = EXTENT_DATA;

			if (r->result != r->bytes) {
				kind = EXTENT_UNREADABLE;
				s->open->degraded = true;
				s->stat.unreadable_bytes += bytes;
			} else if (is_zero(data, bytes)) {
				/* Never shipped, and zero: nothing need be told. */
				if (!bit_at(v->known, offset / BLKSHIP_REGION_BYTES))
					continue;
				kind = EXTENT_ZERO;
			}
			readback_block(rb, v, offset, bytes, data, kind);
		}
	}
	for (size_t i = 0; i < rb->nr_extents; i++)
		volume_known(v, rb->extents[i].offset_bytes, rb->extents[i].length_bytes);
	return 0;
}

static void hold_close(struct shipper *s, uint64_t id, uint64_t end)
{
	struct batch *b = s->open;

	for (uint32_t i = 0; i < s->nr_holds; i++) {
		if (s->holds[i].id != id)
			continue;
		b->holds[b->nr_holds++] = (struct commit_hold){
			.id = id,
			.from_seq = seq_of(s, s->holds[i].from_seq),
			.end_seq = seq_of(s, end),
		};
		s->holds[i] = s->holds[--s->nr_holds];
		return;
	}
}

static bool chunk_close(struct shipper *s)
{
	struct chunk *c = &s->chunk;
	struct batch *b = s->open;
	uint64_t e;
	int ret;

	if (chunk_postpone(s))
		return false;
	ret = chunk_retry(s);
	if (ret)
		return ret > 0;
	/* Room was made by the cut at p; other cuts since then only emptied it. */
	if (b->readback.buf || b->nr_holds >= COMMIT_MAX_HOLDS / 2 ||
	    b->nr_repairs == COMMIT_MAX_REPAIRS)
		return false;
	if (readback_make(s, &b->readback)) {
		free(b->readback.extents);
		free(b->readback.crcs);
		memset(&b->readback, 0, sizeof(b->readback));
		return false;
	}
	b->readback.stamp_seq = seq_of(s, c->p);
	b->readback.first_no = s->readback_no + 1;
	s->readback_no += b->readback.nr_extents + c->bytes / UNIT_MAX_DATA_BYTES + 1;
	b->readback.buf = c->buf;
	c->buf = NULL;
	b->clear = (struct batch_clear){
		.index = c->volume->info.index,
		.count = c->count,
		.first_region = c->first_region,
		.bitmap = c->bitmap,
	};
	c->bitmap = NULL;
	e = ring_newest(s);	/* after the last read has ended */
	hold_close(s, c->hold_id, e);
	if (e > s->pass.end)
		s->pass.end = e;
	if (seq_of(s, e) > s->clean_from)
		s->clean_from = seq_of(s, e);
	chunk_free(c);
	s->cut_due = true;
	if (!pass_needs_more(s))
		pass_end(s);
	return true;
}

bool shipper_repair_step(struct shipper *s)
{
	if (!s->started || !s->nr_volumes)
		return false;
	switch (s->chunk.state) {
	case CHUNK_NONE:
		return s->pass.active ? chunk_take(s) : pass_start(s);
	case CHUNK_TAKEN:
		return chunk_begin(s);
	case CHUNK_READING:
		return false;
	case CHUNK_READ:
		return chunk_close(s);
	}
	return false;
}

bool shipper_reading(const struct shipper *s)
{
	return s->chunk.state == CHUNK_READING;
}
