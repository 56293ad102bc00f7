// SPDX-License-Identifier: GPL-2.0-only
/* See check.h. */
#include "check.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "run_read.h"
#include "points_file.h"
#include "segment_scan.h"
#include "timeline_internal.h"

#define PATH_BYTES	4096
#define WINDOW_BYTES	(2u << 20)

/* A sector whose newest version up to some cut is in a damaged unit. */
struct lost_sector {
	uint64_t sector;
	uint64_t label_seq;
	uint64_t readback_no;
	uint64_t position;	/* in the stream, among versions that are equal otherwise */
	uint64_t replaced_seq;	/* the lowest label of a newer version; UINT64_MAX: none */
	uint32_t segment;
	uint32_t damage;	/* index */
	uint16_t volume;
};

struct check_reader {
	struct timeline *tl;
	struct check *check;
	struct lost_sector *lost;
	size_t nr_lost, max_lost;
	uint8_t *window;	/* the file's bytes from window_offset on */
	uint64_t window_offset;
	size_t window_bytes;
	uint8_t *data;		/* of a unit, unpacked */
	uint8_t *clear;		/* what it has encrypted */
	struct unit_cipher *cipher; /* of the file; NULL: in clear, or there is no key */
	bool encrypted;		/* its units are */
	struct env_file *file;
	uint64_t segment;
};

/* -- the segments -- */

/* Index of one segment, of what is durable; @scan is the caller's to end. */
static int segment_load(struct timeline *tl, uint64_t number, uint64_t first_ordinal,
			struct segment_scan *scan, char *path, char *why)
{
	const struct manifest_segment_end *end = manifest_end(&tl->manifest, number);
	int ret;

	*scan = (struct segment_scan){
		.env = tl->env, .path = path, .timeline = tl->manifest.identity.timeline,
		.number = number, .first_ordinal = first_ordinal,
		.end_limit = end ? end->end_offset : 0, .trust_footer = true,
	};
	segment_path(path, PATH_BYTES, tl->dir, number);
	/* Opening has read only what lies behind the points file. */
	ret = number < tl->nr_segments ? segment_scan_finished(scan, tl->dir) :
					 segment_scan(scan);
	if (!ret && !scan->header_valid)
		ret = -EBADMSG;
	if (ret)
		snprintf(why, TIMELINE_TEXT_BYTES, "%.120s: %s", path, strerror(-ret));
	return ret;
}

int check_segments(struct timeline *tl, uint64_t *nr_segments, uint64_t *bytes)
{
	char path[PATH_BYTES];
	struct env_file *file;
	uint64_t size_bytes;
	int ret = 0;

	*nr_segments = tl->nr_segments;
	*bytes = 0;
	for (uint64_t n = 1; n <= tl->nr_segments && !ret; n++) {
		segment_path(path, sizeof(path), tl->dir, n);
		ret = tl->env->ops->open(tl->env, path, ENV_READ, &file);
		if (ret)
			break;
		ret = tl->env->ops->size(tl->env, file, &size_bytes);
		tl->env->ops->close(tl->env, file);
		*bytes += ret ? 0 : size_bytes;
	}
	for (size_t i = 0; i < tl->manifest.nr_runs; i++)
		*bytes += (uint64_t)tl->manifest.runs[i].nr_blocks * RUN_BLOCK_BYTES;
	return ret;
}

/* -- one unit -- */

static int tell_progress(struct check_reader *r, uint64_t bytes)
{
	struct check *check = r->check;

	check->read_bytes += bytes;
	return check->progress ? check->progress(check->arg, r->segment, bytes) : 0;
}

/* What there is from @offset on, at least a unit if the file has one; -errno. */
static int64_t window_at(struct check_reader *r, uint64_t offset, const uint8_t **at)
{
	const struct env_ops *ops = r->tl->env->ops;
	uint64_t end = r->window_offset + r->window_bytes;
	int64_t got;
	int ret;

	if (offset < r->window_offset || offset + UNIT_MAX_BYTES > end) {
		r->window_bytes = 0;
		r->window_offset = offset / BLOCK_BYTES * BLOCK_BYTES;
		got = ops->read(r->tl->env, r->file, r->window, WINDOW_BYTES, r->window_offset);
		if (got < 0)
			return got;
		r->window_bytes = got;
		ret = tell_progress(r, got);
		if (ret)
			return ret;
		end = r->window_offset + got;
	}
	*at = r->window + (offset - r->window_offset);
	return offset < end ? (int64_t)(end - offset) : 0;
}

static bool extent_is(const struct unit_extent *e, const struct footer_extent *f)
{
	return le64toh(e->offset_bytes) == f->extent.offset_bytes &&
	       le64toh(e->length_bytes) == f->extent.length_bytes &&
	       le16toh(e->volume) == f->extent.volume && e->kind == f->extent.kind &&
	       le32toh(e->data_offset) == f->extent.data_offset;
}

/* Gives its data, as far as we have its key. */
static bool content_checks(struct check_reader *r, const uint8_t *at, size_t bytes,
			   uint64_t offset, struct unit_view *unit)
{
	bool no_key = r->encrypted && !r->cipher;

	if (unit_decode(at, bytes, no_key, unit) || !unit->seal != !r->encrypted)
		return false;
	r->check->nr_unread += no_key;
	return no_key || (!unit_decrypt(r->cipher, unit, offset, r->clear) &&
			  !unit_unpack(unit, r->data));
}

/*
 * Whether the unit is what the index says it is, and gives all its data. As for who
 * reads it, the CRCs of capture time decide, not that of the stored form.
 */
static bool unit_checks(struct check_reader *r, const uint8_t *at, size_t bytes,
			const struct footer_extent *extents, size_t nr_extents)
{
	const struct footer_extent *first = extents;
	struct unit_view unit;

	if (!content_checks(r, at, bytes, first->unit_offset, &unit) ||
	    unit.header.nr_extents != nr_extents || unit.header.label_seq != first->label_seq ||
	    unit.header.batch_ordinal != first->batch_ordinal ||
	    unit.header.readback_no != first->readback_no)
		return false;
	for (size_t i = 0; i < nr_extents; i++)
		if (!extent_is(&unit.extents[i], &extents[i]))
			return false;
	return true;
}

/* Zeroes and discards are in the index: only data are lost with a unit. */
static int lose_extent(struct check_reader *r, const struct footer_extent *e, size_t index)
{
	struct check *check = r->check;
	uint64_t sector = e->extent.offset_bytes / SECTOR_BYTES;
	uint64_t nr = e->extent.length_bytes / SECTOR_BYTES;

	if (e->extent.kind != EXTENT_DATA)
		return 0;
	if (!array_reserve(&r->lost, &r->max_lost, r->nr_lost + nr))
		return -ENOMEM;
	for (uint64_t i = 0; i < nr; i++)
		r->lost[r->nr_lost++] = (struct lost_sector){
			.sector = sector + i, .label_seq = e->label_seq,
			.readback_no = e->readback_no, .position = index,
			.replaced_seq = UINT64_MAX, .segment = r->segment,
			.damage = check->nr_damage - 1, .volume = e->extent.volume,
		};
	check->damage[check->nr_damage - 1].lost_bytes += e->extent.length_bytes;
	return 0;
}

static int lose_unit(struct check_reader *r, const struct footer_extent *extents, size_t first,
		     size_t nr)
{
	struct check *check = r->check;
	int ret = 0;

	if (!array_reserve(&check->damage, &check->max_damage, check->nr_damage + 1))
		return -ENOMEM;
	check->damage[check->nr_damage++] = (struct check_damage){
		.segment = r->segment, .offset_bytes = extents[first].unit_offset,
		.from_seq = extents[first].label_seq,
	};
	for (size_t i = first; i < first + nr && !ret; i++)
		ret = lose_extent(r, &extents[i], i);
	return ret;
}

static int check_unit(struct check_reader *r, const struct footer_extent *extents, size_t first,
		      size_t nr)
{
	const uint8_t *at = NULL;
	int64_t bytes = window_at(r, extents[first].unit_offset, &at);

	/* A disk that cannot read it has lost it as well. */
	if (bytes < 0 && bytes != -EIO)
		return bytes;
	r->check->nr_units++;
	if (bytes > 0 && unit_checks(r, at, bytes, &extents[first], nr))
		return 0;
	return lose_unit(r, extents, first, nr);
}

static int check_index(struct check_reader *r, const struct segment_scan *scan)
{
	const struct footer_extent *e = scan->index.extents;
	uint64_t last_ordinal = r->tl->points.last_ordinal;
	size_t first = 0, next;
	int ret;

	ret = r->tl->env->ops->open(r->tl->env, scan->path, ENV_READ | ENV_DIRECT, &r->file);
	r->window_bytes = 0;
	r->encrypted = scan->header.flags & SEGMENT_ENCRYPTED;
	if (!ret)
		ret = unit_cipher_create_segment(r->tl->keys, &scan->header, &r->cipher);
	if (ret == -ENOKEY)
		ret = 0;
	for (; !ret && first < scan->index.nr_committed; first = next) {
		next = first + 1;
		while (next < scan->index.nr_committed &&
		       e[next].unit_offset == e[first].unit_offset)
			next++;
		/* Became durable after the timeline was opened. */
		if (e[first].batch_ordinal > last_ordinal)
			break;
		ret = check_unit(r, e, first, next - first);
	}
	if (r->file)
		r->tl->env->ops->close(r->tl->env, r->file);
	r->file = NULL;
	unit_cipher_destroy(r->cipher);
	r->cipher = NULL;
	return ret;
}

/* -- which points need what is lost -- */

static int lost_compare(const void *a, const void *b)
{
	const struct lost_sector *x = a, *y = b;

	if (x->volume != y->volume)
		return x->volume < y->volume ? -1 : 1;
	return x->sector < y->sector ? -1 : x->sector > y->sector;
}

/* The order of versions: docs/SEGMENT.md, Views. */
static bool is_newer(const struct footer_extent *e, uint32_t segment, uint64_t position,
		     const struct lost_sector *s)
{
	if (e->label_seq != s->label_seq)
		return e->label_seq > s->label_seq;
	if (e->readback_no != s->readback_no)
		return e->readback_no > s->readback_no;
	return segment != s->segment ? segment > s->segment : position > s->position;
}

static void replace(struct check_reader *r, const struct footer_extent *e, uint64_t position)
{
	uint64_t sector = e->extent.offset_bytes / SECTOR_BYTES;
	uint64_t end = sector + e->extent.length_bytes / SECTOR_BYTES;
	size_t low = 0, high = r->nr_lost;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct lost_sector *s = &r->lost[mid];

		if (s->volume < e->extent.volume ||
		    (s->volume == e->extent.volume && s->sector < sector))
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < r->nr_lost; low++) {
		struct lost_sector *s = &r->lost[low];

		if (s->volume != e->extent.volume || s->sector >= end)
			break;
		if (is_newer(e, r->segment, position, s) && e->label_seq < s->replaced_seq)
			s->replaced_seq = e->label_seq;
	}
}

static void damage_set_ends(struct check_reader *r)
{
	struct check *check = r->check;

	for (size_t i = 0; i < check->nr_damage; i++)
		check->damage[i].to_seq = check->damage[i].from_seq;
	for (size_t i = 0; i < r->nr_lost; i++) {
		struct check_damage *d = &check->damage[r->lost[i].damage];
		uint64_t until_seq = r->lost[i].replaced_seq;

		if (until_seq == UINT64_MAX)
			d->to_seq = 0;
		else if (d->to_seq && until_seq > d->to_seq)
			d->to_seq = until_seq;
	}
}

/* For each lost sector, from which cut on something newer hides it. */
static int damage_extend(struct check_reader *r, char *why)
{
	char path[PATH_BYTES];
	uint64_t ordinal = 0;
	int ret = 0;

	if (!r->check->nr_damage)
		return 0;
	if (r->nr_lost)
		qsort(r->lost, r->nr_lost, sizeof(*r->lost), lost_compare);
	for (r->segment = 1; r->segment <= r->tl->nr_segments && !ret; r->segment++) {
		struct segment_scan scan;

		ret = segment_load(r->tl, r->segment, ordinal + 1, &scan, path, why);
		for (size_t i = 0; i < scan.index.nr_committed && !ret; i++)
			if (scan.index.extents[i].batch_ordinal <= r->tl->points.last_ordinal)
				replace(r, &scan.index.extents[i], i);
		ordinal = scan.last_ordinal;
		segment_index_fini(&scan.index);
	}
	damage_set_ends(r);
	return ret;
}

/* -- the index -- */

/* All blocks, and that their entries can be; -ENOENT: it is good. */
static int run_read_all(struct check_reader *r, const struct run *run)
{
	uint64_t told_bytes = 0, bytes;
	struct run_stream stream;
	struct run_entry entry;
	int ret = run_stream_begin(&stream, run), stop = 0;

	while (!ret && !stop) {
		ret = run_stream_next(&stream, &entry);
		bytes = (uint64_t)stream.at * RUN_BLOCK_BYTES - told_bytes;
		if (bytes >= WINDOW_BYTES || ret) {
			stop = tell_progress(r, bytes);
			told_bytes += bytes;
		}
	}
	run_stream_end(&stream);
	return stop ? stop : ret;
}

static int check_index_run(struct check_reader *r, const struct manifest_run *named)
{
	struct timeline *tl = r->tl;
	struct run run;
	int ret;

	ret = run_open(tl->env, tl->dir, tl->manifest.identity.timeline, named, &run);
	if (ret)
		return ret;
	ret = run_read_all(r, &run);
	run_close(&run);
	return ret == -ENOENT ? 0 : ret;
}

/* The one that was made first, of those made after @number; numbers rise. */
static const struct manifest_run *run_after(const struct manifest *m, uint64_t number)
{
	const struct manifest_run *found = NULL;

	for (size_t i = 0; i < m->nr_runs; i++)
		if (m->runs[i].number > number && (!found || m->runs[i].number < found->number))
			found = &m->runs[i];
	return found;
}

/* One that is gone was merged by a writer meanwhile, if the manifest has others now. */
static int check_runs(struct check_reader *r)
{
	const struct manifest *m = &r->tl->manifest;
	const struct manifest_run *run;
	uint64_t number = 0;
	int ret = 0;

	while (!ret && (run = run_after(m, number))) {
		number = run->number;
		ret = check_index_run(r, run);
		if (ret == -ENOENT) {
			ret = timeline_runs_reload(r->tl);
			run = run_after(m, number - 1);
			r->check->nr_runs_damaged += run && run->number == number;
		} else if (ret == -EBADMSG || ret == -EIO) {
			r->check->nr_runs_damaged++;
			ret = 0;
		}
	}
	return ret;
}

/* One that is gone was replaced by a writer meanwhile, or opening would have said so. */
static int check_points_file(struct check_reader *r)
{
	struct timeline *tl = r->tl;
	struct points_file file;
	unsigned int nr_bad;
	int ret;

	if (!tl->manifest.points.number)
		return 0;
	ret = points_file_read(tl->env, tl->dir, tl->manifest.identity.timeline,
			       &tl->manifest.points, &file, &nr_bad);
	if (!ret)
		points_fini(&file.points);
	if (ret == -ENOMEM)
		return ret;
	r->check->points_damaged = nr_bad && (ret != -ENOENT || tl->points_bad);
	return 0;
}

/* -- */

static int check_all(struct check_reader *r, char *why)
{
	struct check *check = r->check;
	char path[PATH_BYTES];
	uint64_t ordinal = 0;
	int ret = 0;

	for (r->segment = 1; r->segment <= r->tl->nr_segments && !ret; r->segment++) {
		bool given_up = manifest_end(&r->tl->manifest, r->segment);
		struct segment_scan scan;

		ret = segment_load(r->tl, r->segment, ordinal + 1, &scan, path, why);
		ordinal = scan.last_ordinal;
		if (!ret && r->segment >= check->first_segment) {
			check->nr_footers_damaged += !scan.sealed && !given_up &&
						     r->segment < r->tl->nr_segments;
			ret = check_index(r, &scan);
		}
		segment_index_fini(&scan.index);
		if (!ret)
			check->next_segment = r->segment + 1;
	}
	if (!ret)
		ret = check_runs(r);
	return ret ? ret : check_points_file(r);
}

int check_run(struct timeline *tl, struct check *check, char *why)
{
	struct check_reader r = { .tl = tl, .check = check };
	int ret = -ENOMEM, extended;

	why[0] = '\0';
	check->next_segment = check->first_segment ? check->first_segment : 1;
	r.window = aligned_alloc(BLOCK_BYTES, WINDOW_BYTES);
	r.data = malloc(UNIT_MAX_DATA_BYTES);
	r.clear = malloc(UNIT_MAX_BYTES);
	if (r.window && r.data && r.clear) {
		ret = check_all(&r, why);
		extended = damage_extend(&r, why);
		if (!ret)
			ret = extended;
	}
	if (ret && !why[0])
		snprintf(why, TIMELINE_TEXT_BYTES, "%s", strerror(-ret));
	free(r.lost);
	free(r.clear);
	free(r.data);
	free(r.window);
	return ret;
}
