// SPDX-License-Identifier: GPL-2.0-only
/*
 * branch - a timeline that is written to in place.
 *
 * Three layers, each hides the next: what was written since the last commit (open), what was
 * committed to segments that the view does not know yet (tail), the view. Content of the
 * first is in memory, of the second until it is durable, after that in its unit.
 */
#include "branch.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "../lib/seq.h"
#include "../lib/unit_builder.h"
#include "extent_map.h"
#include "timeline_internal.h"
#include "view_internal.h"

struct branch {
	struct env *env;
	struct timeline *tl;
	int error;		/* nothing is taken any more */
	bool degraded;		/* what shows through has sectors that nobody could read */

	struct extent_map open;
	uint64_t open_bytes, open_writes;
	uint64_t open_since_ns;	/* monotonic, of the first write in it */

	struct extent_map tail;
	struct extent_source *first, *last; /* not durable, by ordinal; one reference each */
	uint64_t unsynced_bytes;

	struct view *view;
	uint64_t view_segment;	/* up to here the view has all */
	uint64_t view_after_ns;	/* monotonic; one with more could not be opened before */
	uint64_t view_durable;	/* ordinal that was durable when its window was read */

	struct unit_builder builder;
	uint64_t batch_bytes;	/* of units since the last commit */
	uint32_t nr_units, units_crc;
	uint8_t unit[UNIT_MAX_BYTES] __attribute__((aligned(8)));
	uint8_t scratch[UNIT_MAX_DATA_BYTES];
	uint8_t record[COMMIT_MAX_BYTES] __attribute__((aligned(8)));
};

/* -- opening -- */

/* The last segment, and the last commit, that runs answer for without a hole. */
static void runs_cover(const struct timeline *tl, uint64_t *segment, uint64_t *ordinal)
{
	const struct manifest *m = &tl->manifest;

	*segment = *ordinal = 0;
	for (size_t i = 0; i < m->nr_runs && m->runs[i].first_segment == *segment + 1; i++) {
		*segment = m->runs[i].last_segment;
		*ordinal = m->runs[i].last_ordinal;
	}
}

int branch_open(struct env *env, const char *dir, struct branch **out, char *why)
{
	struct branch *b = aligned_alloc(8, (sizeof(*b) + 7) / 8 * 8);
	int ret;

	why[0] = 0;
	if (!b)
		return -ENOMEM;
	memset(b, 0, sizeof(*b));
	b->env = env;
	ret = timeline_open(env, dir, 0, NULL, &b->tl, why);
	if (!ret && !b->tl->manifest.has_parent) {
		snprintf(why, TIMELINE_TEXT_BYTES, "%.200s is no branch", dir);
		ret = -EINVAL;
	}
	if (!ret)
		ret = view_open_until(b->tl, b->tl->points.last_ordinal, &b->view, why);
	if (ret) {
		branch_close(b);
		return ret;
	}
	b->view_segment = segment_writer_finished(&b->tl->writer);
	*out = b;
	return 0;
}

void branch_close(struct branch *b)
{
	if (!b)
		return;
	extent_map_clear(&b->open);
	extent_map_clear(&b->tail);
	while (b->first) {
		struct extent_source *next = b->first->next;

		extent_source_put(b->first);
		b->first = next;
	}
	if (b->view)
		view_close(b->view);
	if (b->tl)
		timeline_close(b->tl);
	free(b);
}

struct timeline *branch_timeline(struct branch *b)
{
	return b->tl;
}

void branch_degrade(struct branch *b)
{
	b->degraded = true;
}

/* -- writing -- */

static int failed(const struct branch *b)
{
	struct timeline_state state;

	if (b->error)
		return b->error;
	timeline_state(b->tl, &state);
	return state.error;
}

static int range_check(const struct branch *b, uint16_t volume, uint64_t offset_bytes,
		       uint64_t bytes)
{
	uint64_t size_bytes = view_size(b->view, volume);

	if (offset_bytes % SECTOR_BYTES || bytes % SECTOR_BYTES)
		return -EINVAL;
	if (offset_bytes > size_bytes || bytes > size_bytes - offset_bytes)
		return -ERANGE;
	return failed(b);
}

/* Into the open batch; closes it when it is large. */
static int take(struct branch *b, struct map_extent *e, uint8_t *data, uint32_t data_bytes)
{
	int ret;

	e->source = extent_source_create(data, data_bytes);
	if (!e->source) {
		free(data);
		return -ENOMEM;
	}
	ret = extent_map_set(&b->open, e);
	extent_source_put(e->source);
	if (ret)
		return ret;
	if (!b->open_writes++)
		b->open_since_ns = b->env->ops->monotonic_ns(b->env);
	b->open_bytes += data_bytes;
	if (b->open_bytes >= BRANCH_CUT_BYTES || b->open_writes >= BRANCH_CUT_WRITES)
		return branch_commit(b);
	return 0;
}

int branch_write(struct branch *b, uint16_t volume, uint64_t offset_bytes, const void *buf,
		 uint32_t bytes)
{
	struct map_extent e = { offset_bytes, bytes, volume, EXTENT_DATA, 0, NULL };
	int ret = range_check(b, volume, offset_bytes, bytes);
	uint8_t *data;

	if (ret || !bytes)
		return ret;
	if (bytes > BRANCH_MAX_WRITE_BYTES)
		return -EINVAL;
	data = malloc(bytes);
	if (!data)
		return -ENOMEM;
	memcpy(data, buf, bytes);
	return take(b, &e, data, bytes);
}

int branch_zero(struct branch *b, uint16_t volume, uint64_t offset_bytes, uint64_t bytes,
		bool discard)
{
	struct map_extent e = { offset_bytes, bytes, volume,
				discard ? EXTENT_DISCARD : EXTENT_ZERO, 0, NULL };
	int ret = range_check(b, volume, offset_bytes, bytes);

	return ret || !bytes ? ret : take(b, &e, NULL, 0);
}

/* -- committing -- */

static uint64_t next_cut(const struct branch *b)
{
	const struct timeline_received *r = &b->tl->received;

	return seq_pack(1, seq_number(r->cut_seq) + b->open_writes);
}

/* The unit's data once more, for reads until it is durable. */
static struct extent_source *source_of_unit(const struct unit_builder *ub)
{
	uint8_t *data = NULL, *at;
	struct extent_source *source;

	if (ub->data_bytes) {
		at = data = malloc(ub->data_bytes);
		if (!data)
			return NULL;
		for (uint32_t i = 0; i < ub->nr_parts; i++) {
			memcpy(at, ub->parts[i].data, ub->parts[i].bytes);
			at += ub->parts[i].bytes;
		}
	}
	source = extent_source_create(data, ub->data_bytes);
	if (!source)
		free(data);
	return source;
}

static void source_queue(struct branch *b, struct extent_source *source)
{
	if (b->last)
		b->last->next = source;
	else
		b->first = source;
	b->last = source;
	b->unsynced_bytes += source->data_bytes;
}

/* What is in the builder goes to the timeline and to the tail. */
static int unit_end(struct branch *b)
{
	struct unit_builder *ub = &b->builder;
	const struct unit_label label = { b->tl->received.ordinal + 1, next_cut(b), 0, UNIT_LZ4 };
	const struct segment_index *index;
	struct extent_source *source;
	uint32_t header_crc, le;
	size_t bytes;
	int ret;

	if (!ub->nr_extents)
		return 0;
	source = source_of_unit(ub);
	if (!source)
		return -ENOMEM;
	bytes = unit_builder_finish(ub, &label, b->unit, b->scratch, &header_crc);
	ret = timeline_append_unit(b->tl, b->unit, bytes);
	if (ret) {
		extent_source_put(source);
		return ret;
	}
	le = htole32(header_crc);
	b->units_crc = crc32c_extend(b->units_crc, &le, sizeof(le));
	b->nr_units++;
	b->batch_bytes += bytes;
	index = b->tl->writer.index;
	source->segment = b->tl->writer.number;
	source->unit_offset = index->extents[index->nr_extents - 1].unit_offset;
	source->ordinal = label.batch_ordinal;
	source_queue(b, source);
	for (uint32_t i = 0; i < ub->nr_extents && !ret; i++) {
		const struct unit_extent *u = &ub->extents[i];
		const struct map_extent e = { u->offset_bytes, u->length_bytes, u->volume, u->kind,
					      u->data_offset, source };

		ret = extent_map_set(&b->tail, &e);
	}
	unit_builder_reset(ub);
	return ret;
}

static int add_data(struct branch *b, const struct map_extent *e)
{
	const uint8_t *at = e->source->data + e->data_offset;
	uint64_t offset = e->offset_bytes, end = offset + e->length_bytes;
	int ret = 0;

	while (offset < end && !ret) {
		uint32_t crcs[UNIT_MAX_DATA_BYTES / BLOCK_BYTES + 2], nr = 0, took;
		uint32_t part = end - offset < UNIT_MAX_DATA_BYTES ? end - offset :
				UNIT_MAX_DATA_BYTES;

		for (uint32_t done = 0, n; done < part; done += n) {
			n = BLOCK_BYTES - (offset + done) % BLOCK_BYTES;
			n = n < part - done ? n : part - done;
			crcs[nr++] = crc32c(at + done, n);
		}
		took = unit_builder_add_data(&b->builder, e->volume, offset, at, part, crcs);
		if (!took)
			ret = unit_end(b);
		offset += took;
		at += took;
	}
	return ret;
}

static int add_extent(struct branch *b, const struct map_extent *e)
{
	int ret = 0;

	if (e->kind == EXTENT_DATA)
		return add_data(b, e);
	while (!ret && !unit_builder_add(&b->builder, e->volume, e->offset_bytes, e->length_bytes,
					 e->kind))
		ret = unit_end(b);
	return ret;
}

static int append_record(struct branch *b)
{
	const struct timeline_received *r = &b->tl->received;
	struct commit_volume members[COMMIT_MAX_VOLUMES];
	uint64_t now_ns = b->env->ops->realtime_ns(b->env);
	struct commit_view view = {
		.header = {
			.ordinal = r->ordinal + 1, .cut_seq = next_cut(b),
			.time_ns = now_ns > r->time_ns ? now_ns : r->time_ns,
			.batch_bytes = b->batch_bytes, .nr_units = b->nr_units,
			.units_crc = b->units_crc, .written_bytes = b->open_bytes,
			.nr_records = b->open_writes,
			.flags = b->degraded ? COMMIT_DEGRADED : 0,
		},
		.volumes = members,
	};
	int bytes;

	for (size_t i = 0; i < b->view->nr_volumes; i++) {
		const struct view_volume *v = &b->view->volumes[i];

		if (i == COMMIT_MAX_VOLUMES)
			return -E2BIG;
		members[i] = (struct commit_volume){ .volume = v->id, .size_bytes = v->size_bytes };
		view.header.nr_volumes++;
	}
	bytes = commit_encode(&view, b->record);
	return bytes < 0 ? bytes : timeline_append_commit(b->tl, b->record, bytes);
}

int branch_commit(struct branch *b)
{
	const struct map_extent *e = NULL;
	int ret = failed(b);

	if (ret || !b->open_writes)
		return ret;
	unit_builder_reset(&b->builder);
	b->batch_bytes = b->nr_units = b->units_crc = 0;
	while (!ret && (e = extent_map_next(&b->open, e)))
		ret = add_extent(b, e);
	if (!ret)
		ret = unit_end(b);
	if (!ret)
		ret = append_record(b);
	if (ret) {
		/* Half a batch is in the stream: only opening it again cuts that off. */
		b->error = failed(b) ? failed(b) : ret;
		return b->error;
	}
	extent_map_clear(&b->open);
	b->open_bytes = b->open_writes = 0;
	return 0;
}

int branch_flush(struct branch *b, uint64_t *ordinal)
{
	int ret = branch_commit(b);

	if (ret)
		return ret;
	*ordinal = b->tl->received.ordinal;
	timeline_flush(b->tl);
	return 0;
}

int branch_durable(const struct branch *b, uint64_t ordinal)
{
	int ret;

	if (b->tl->points.last_ordinal >= ordinal)
		return 0;
	ret = failed(b);
	return ret ? ret : -EAGAIN;
}

uint64_t branch_due_ns(const struct branch *b)
{
	return b->open_writes ? b->open_since_ns + BRANCH_CUT_NS : 0;
}

uint64_t branch_unsynced_bytes(const struct branch *b)
{
	return b->unsynced_bytes + b->open_bytes;
}

/* -- what is durable, what is in runs -- */

static void release(struct branch *b)
{
	uint64_t durable = b->tl->points.last_ordinal;

	while (b->first && b->first->ordinal <= durable) {
		struct extent_source *source = b->first;

		b->first = source->next;
		b->unsynced_bytes -= source->data_bytes;
		free(source->data);
		source->data = NULL;
		extent_source_put(source);
	}
	if (!b->first)
		b->last = NULL;
}

int branch_settle(struct branch *b)
{
	char why[TIMELINE_TEXT_BYTES];
	uint64_t segment, ordinal;
	struct view *view;
	int ret;

	release(b);
	runs_cover(b->tl, &segment, &ordinal);
	/* It reads all runs anew: not after every I/O while one of them cannot be read. */
	if (segment <= b->view_segment || b->env->ops->monotonic_ns(b->env) < b->view_after_ns)
		return 0;
	ret = view_open_until(b->tl, ordinal, &view, why);
	if (ret) {
		b->view_after_ns = b->env->ops->monotonic_ns(b->env) + BRANCH_RETRY_NS;
		return ret;
	}
	view_close(b->view);
	b->view = view;
	b->view_segment = segment;
	extent_map_drop(&b->tail, segment);
	return 0;
}

/* -- reading -- */

/* Where a stretch was found; NULL: in the view. */
struct place {
	const struct map_extent *e;
	uint64_t skip;		/* into it */
};

/* The stretch of one map at a place: true if it is there, else it ends the gap sooner. */
static bool look(const struct extent_map *map, uint16_t volume, uint64_t offset_bytes,
		 struct view_extent *out, struct place *place)
{
	const struct map_extent *e = extent_map_find(map, volume, offset_bytes);
	uint64_t end = out->offset_bytes + out->length_bytes;

	if (!e || e->offset_bytes >= end)
		return false;
	if (e->offset_bytes > offset_bytes) {
		out->length_bytes = e->offset_bytes - offset_bytes;
		return false;
	}
	*place = (struct place){ e, offset_bytes - e->offset_bytes };
	if (e->offset_bytes + e->length_bytes < end)
		out->length_bytes = e->offset_bytes + e->length_bytes - offset_bytes;
	out->kind = e->kind;
	return true;
}

static int find(struct branch *b, uint16_t volume, uint64_t offset_bytes, struct view_extent *out,
		struct place *place)
{
	uint64_t size_bytes = view_size(b->view, volume), length_bytes;
	int ret;

	*place = (struct place){ 0 };
	if (offset_bytes >= size_bytes)
		return -ENOENT;
	*out = (struct view_extent){ offset_bytes, size_bytes - offset_bytes, VIEW_NOTHING };
	if (look(&b->open, volume, offset_bytes, out, place) ||
	    look(&b->tail, volume, offset_bytes, out, place))
		return 0;
	length_bytes = out->length_bytes;
	ret = view_next_written(b->view, volume, offset_bytes, out);
	if (!ret && out->length_bytes > length_bytes)
		out->length_bytes = length_bytes;
	return ret;
}

int branch_next(struct branch *b, uint16_t volume, uint64_t offset_bytes,
		struct view_extent *out)
{
	struct place place;

	return find(b, volume, offset_bytes, out, &place);
}

static int read_unit(struct branch *b, const struct place *place, void *buf, size_t bytes)
{
	const struct extent_source *source = place->e->source;
	/* Of a segment that is younger than the view: nothing is packed that young. */
	const struct view_piece piece = {
		.length_bytes = place->skip + bytes, .unit_offset = source->unit_offset,
		.segment = source->segment, .data_offset = place->e->data_offset,
		.kind = EXTENT_DATA,
	};
	const uint8_t *data = NULL;
	int ret;

	/* What it has read ahead may be older than what has become durable since. */
	if (b->view_durable != b->tl->points.last_ordinal)
		b->view->window_bytes = 0;
	b->view_durable = b->tl->points.last_ordinal;
	ret = view_piece_data(b->view, &piece, place->skip, bytes, &data);
	if (!ret)
		memcpy(buf, data, bytes);
	return ret;
}

static int read_stretch(struct branch *b, uint16_t volume, const struct view_extent *e,
			const struct place *place, void *buf)
{
	const struct map_extent *m = place->e;

	if (!m)
		return view_read(b->view, volume, e->offset_bytes, buf, e->length_bytes);
	if (m->kind != EXTENT_DATA)
		memset(buf, 0, e->length_bytes);
	else if (m->source->data)
		memcpy(buf, m->source->data + m->data_offset + place->skip, e->length_bytes);
	else
		return read_unit(b, place, buf, e->length_bytes);
	return 0;
}

int branch_read(struct branch *b, uint16_t volume, uint64_t offset_bytes, void *buf,
		size_t bytes,
		int (*hole)(void *arg, uint64_t offset_bytes, void *buf, size_t bytes), void *arg)
{
	uint64_t size_bytes = view_size(b->view, volume);
	uint8_t *at = buf;

	if (offset_bytes % SECTOR_BYTES || bytes % SECTOR_BYTES)
		return -EINVAL;
	if (offset_bytes > size_bytes || bytes > size_bytes - offset_bytes)
		return -ERANGE;
	while (bytes) {
		struct view_extent e;
		struct place place;
		int ret = find(b, volume, offset_bytes, &e, &place);

		if (ret)
			return ret;
		if (e.length_bytes > bytes)
			e.length_bytes = bytes;
		if (e.kind == VIEW_NOTHING)
			ret = hole(arg, offset_bytes, at, e.length_bytes);
		else
			ret = read_stretch(b, volume, &e, &place, at);
		if (ret)
			return ret;
		offset_bytes += e.length_bytes;
		at += e.length_bytes;
		bytes -= e.length_bytes;
	}
	return 0;
}
