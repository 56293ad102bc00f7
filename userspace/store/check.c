// SPDX-License-Identifier: GPL-2.0-only
/* See check.h. */
#include "check.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "check_internal.h"
#include "run_read.h"
#include "points_file.h"
#include "segment_scan.h"
#include "timeline_internal.h"

#define PATH_BYTES	4096
#define RELOADS		3	/* beside a writer that merges and packs */

/* -- the segments -- */

/* Index of one segment, of what is durable; @scan is the caller's to end. */
static int segment_load(struct timeline *tl, uint64_t number, uint64_t first_ordinal,
			struct segment_scan *scan, char *why)
{
	int ret;

	timeline_scan_init(tl, scan, number, first_ordinal);
	/* Opening has read only what lies behind the points file. */
	ret = timeline_scan(tl, scan);
	if (!ret && !scan->header_valid)
		ret = -EBADMSG;
	if (ret)
		snprintf(why, TIMELINE_TEXT_BYTES, "%.120s: %s", scan->path, strerror(-ret));
	return ret;
}

/* Whether a check that begins where @check says reads it. */
static bool pack_is_due(const struct check *check, const struct manifest_pack *pack)
{
	return pack->last_segment >= check->first_segment || pack->number > check->packs_read;
}

int check_bytes(struct timeline *tl, const struct check *check, uint64_t *bytes)
{
	char path[PATH_BYTES];
	struct env_file *file;
	uint64_t size_bytes;
	int ret = 0;

	*bytes = 0;
	for (uint64_t n = 1; n <= tl->nr_segments && !ret; n++) {
		const struct manifest_pack *pack = manifest_pack(&tl->manifest, n);

		if (pack) {
			*bytes += pack_is_due(check, pack) ? pack->file_bytes : 0;
			n = pack->last_segment;
			continue;
		}
		if (n < check->first_segment)
			continue;
		segment_path(path, sizeof(path), tl->dir, n);
		ret = tl->env->ops->open(tl->env, path, ENV_READ, &file);
		if (ret == -ENOENT) {
			ret = 0;
			continue;
		}
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

int64_t check_window_at(struct check_reader *r, uint64_t offset, const uint8_t **at)
{
	const struct env_ops *ops = r->tl->env->ops;
	uint64_t end = r->window_offset + r->window_bytes;
	int64_t got;
	int ret;

	if (offset < r->window_offset || offset + UNIT_MAX_BYTES > end) {
		r->window_bytes = 0;
		r->window_offset = offset / BLOCK_BYTES * BLOCK_BYTES;
		got = ops->read(r->tl->env, r->file, r->window, CHECK_WINDOW_BYTES, r->window_offset);
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

bool check_content(struct check_reader *r, const uint8_t *at, size_t bytes, uint64_t offset,
		   struct unit_view *unit)
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

	if (!check_content(r, at, bytes, first->unit_offset, &unit) ||
	    unit.header.nr_extents != nr_extents || unit.header.label_seq != first->label_seq ||
	    unit.header.batch_ordinal != first->batch_ordinal ||
	    unit.header.readback_no != first->readback_no)
		return false;
	for (size_t i = 0; i < nr_extents; i++)
		if (!extent_is(&unit.extents[i], &extents[i]))
			return false;
	return true;
}

int check_damage_add(struct check_reader *r, const struct check_damage *damage)
{
	struct check *check = r->check;

	if (!array_reserve(&check->damage, &check->max_damage, check->nr_damage + 1))
		return -ENOMEM;
	check->damage[check->nr_damage++] = *damage;
	return 0;
}

/* Zeroes and discards are in the index: only data are lost with a unit. */
int check_lose_extent(struct check_reader *r, const struct pack_extent *e)
{
	struct check *check = r->check;
	uint64_t sector = e->offset_bytes / SECTOR_BYTES;
	uint64_t nr = e->length_bytes / SECTOR_BYTES;

	if (e->kind != EXTENT_DATA)
		return 0;
	if (!array_reserve(&r->lost, &r->max_lost, r->nr_lost + nr))
		return -ENOMEM;
	for (uint64_t i = 0; i < nr; i++)
		r->lost[r->nr_lost++] = (struct lost_sector){
			.sector = sector + i, .label_seq = e->label_seq,
			.readback_no = e->readback_no, .origin = pack_extent_origin(e),
			.replaced_seq = UINT64_MAX, .damage = check->nr_damage - 1,
			.volume = e->volume,
		};
	check->damage[check->nr_damage - 1].lost_bytes += e->length_bytes;
	return 0;
}

static int lose_unit(struct check_reader *r, const struct footer_extent *extents, size_t first,
		     size_t nr)
{
	const struct check_damage damage = {
		.segment = r->segment, .offset_bytes = extents[first].unit_offset,
		.from_seq = extents[first].label_seq,
	};
	int ret = check_damage_add(r, &damage);

	for (size_t i = 0; i < nr && !ret; i++) {
		const struct pack_extent e = pack_extent_of(&extents[first + i], r->segment, i);

		ret = check_lose_extent(r, &e);
	}
	return ret;
}

static int check_unit(struct check_reader *r, const struct footer_extent *extents, size_t first,
		      size_t nr)
{
	const uint8_t *at = NULL;
	int64_t bytes = check_window_at(r, extents[first].unit_offset, &at);

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
static bool is_newer(const struct pack_extent *e, const struct lost_sector *s)
{
	const struct pack_origin origin = pack_extent_origin(e);

	if (e->label_seq != s->label_seq)
		return e->label_seq > s->label_seq;
	if (e->readback_no != s->readback_no)
		return e->readback_no > s->readback_no;
	return pack_origin_compare(&origin, &s->origin) > 0;
}

void check_replace(struct check_reader *r, const struct pack_extent *e)
{
	uint64_t sector = e->offset_bytes / SECTOR_BYTES;
	uint64_t end = sector + e->length_bytes / SECTOR_BYTES;
	size_t at = array_search(r->lost, r->nr_lost, s,
				 s->volume < e->volume ||
				 (s->volume == e->volume && s->sector < sector));

	for (; at < r->nr_lost; at++) {
		struct lost_sector *s = &r->lost[at];

		if (s->volume != e->volume || s->sector >= end)
			break;
		if (is_newer(e, s) && e->label_seq < s->replaced_seq)
			s->replaced_seq = e->label_seq;
	}
}

static int damage_set_ends(struct check_reader *r)
{
	struct check *check = r->check;
	const size_t nr = check->nr_damage;
	int ret = 0;

	for (size_t i = 0; i < nr; i++)
		if (check->damage[i].to_seq != CHECK_ANY_POINT)
			check->damage[i].to_seq = check->damage[i].from_seq;
	for (size_t i = 0; i < r->nr_lost; i++) {
		struct check_damage *d = &check->damage[r->lost[i].damage];
		uint64_t until_seq = r->lost[i].replaced_seq;

		if (d->to_seq == CHECK_ANY_POINT)
			continue;
		if (until_seq == UINT64_MAX)
			d->to_seq = 0;
		else if (d->to_seq && until_seq > d->to_seq)
			d->to_seq = until_seq;
	}
	for (size_t i = 0; i < nr && !ret; i++) {
		if (check->damage[i].to_seq == CHECK_ANY_POINT)
			check->damage[i].to_seq = 0;
		else if (!check->damage[i].offset_bytes)
			ret = check_lost_narrow(r, i);
	}
	return ret;
}

static void segment_replace(struct check_reader *r, const struct segment_scan *scan)
{
	uint16_t extent_no = 0;

	for (size_t i = 0; i < scan->index.nr_committed; i++) {
		const struct footer_extent *f = &scan->index.extents[i];
		struct pack_extent e;

		extent_no = footer_extent_no(scan->index.extents, i, extent_no);
		e = pack_extent_of(f, r->segment, extent_no);
		if (f->batch_ordinal <= r->tl->points.last_ordinal)
			check_replace(r, &e);
	}
}

/* A file of the history. *@ordinal: of the last batch before it, then in it. */
typedef int file_fn(struct check_reader *r, uint64_t *ordinal, char *why);

/*
 * One that is gone a writer has packed meanwhile: what has its place it has named before. If nothing
 * has, it is @lost.
 */
static int file_visit(struct check_reader *r, file_fn *fn, file_fn *lost, uint64_t *ordinal,
		      char *why)
{
	const uint64_t before = *ordinal;
	int ret = fn(r, ordinal, why);

	for (int i = 0; i < RELOADS && (ret == -ENOENT || ret == -EBADMSG); i++) {
		*ordinal = before;
		ret = timeline_runs_reload(r->tl);
		if (!ret)
			ret = fn(r, ordinal, why);
	}
	if (ret != -ENOENT && ret != -EBADMSG)
		return ret;
	*ordinal = before;
	ret = lost(r, ordinal, why);
	if (!ret)
		why[0] = '\0';
	return ret;
}

/* What one file hides, a segment or the pack that has its place. */
static int file_replace(struct check_reader *r, uint64_t *ordinal, char *why)
{
	const struct manifest_pack *pack = manifest_pack(&r->tl->manifest, r->segment);
	struct segment_scan scan;
	int ret;

	if (pack) {
		ret = check_pack_replace(r, pack);
		*ordinal = pack->last_ordinal;
		if (!ret)
			r->segment = pack->last_segment;
		return ret;
	}
	ret = segment_load(r->tl, r->segment, *ordinal + 1, &scan, why);
	if (!ret)
		segment_replace(r, &scan);
	*ordinal = scan.last_ordinal;
	segment_index_fini(&scan.index);
	return ret;
}

static int lost_segment_replace(struct check_reader *r, uint64_t *ordinal)
{
	struct timeline_hole hole;
	int ret = timeline_hole_get(r->tl, r->segment, *ordinal, &hole);

	if (ret)
		return ret;
	*ordinal = hole.last_ordinal;
	r->segment = hole.last_segment;
	return check_lost_replace(r, &(struct check_file){ .first_segment = hole.first_segment,
							   .last_segment = hole.last_segment });
}

/* The same of one that is missing. */
static int lost_replace(struct check_reader *r, uint64_t *ordinal, char *why)
{
	const struct manifest_pack *pack = manifest_pack(&r->tl->manifest, r->segment);
	int ret;

	if (!pack)
		return lost_segment_replace(r, ordinal);
	ret = check_lost_pack_replace(r, pack);
	*ordinal = pack->last_ordinal;
	r->segment = pack->last_segment;
	return ret;
}

/* For each lost sector, from which cut on something newer hides it. */
static int damage_extend(struct check_reader *r, char *why)
{
	uint64_t ordinal = 0;
	int ret = 0, extended;

	if (!r->check->nr_damage)
		return 0;
	if (r->nr_lost)
		qsort(r->lost, r->nr_lost, sizeof(*r->lost), lost_compare);
	for (r->segment = 1; r->segment <= r->tl->nr_segments && !ret; r->segment++)
		ret = file_visit(r, file_replace, lost_replace, &ordinal, why);
	extended = damage_set_ends(r);
	return ret ? ret : extended;
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
		if (bytes >= CHECK_WINDOW_BYTES || ret) {
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

/* One segment, or the pack that has its place. */
static int check_file(struct check_reader *r, uint64_t *ordinal, char *why)
{
	const struct manifest_pack *pack = manifest_pack(&r->tl->manifest, r->segment);
	bool given_up = manifest_end(&r->tl->manifest, r->segment);
	struct check *check = r->check;
	struct segment_scan scan;
	int ret = 0;

	if (pack) {
		uint64_t last = pack->last_segment;

		if (last >= check->first_segment)
			ret = check_pack(r, pack);
		*ordinal = pack->last_ordinal;
		if (!ret)
			r->segment = last;
		return ret;
	}
	ret = segment_load(r->tl, r->segment, *ordinal + 1, &scan, why);
	*ordinal = scan.last_ordinal;
	if (!ret && r->segment >= check->first_segment) {
		check->nr_footers_damaged += !scan.sealed && !given_up &&
					     r->segment < r->tl->nr_segments;
		ret = check_index(r, &scan);
	}
	segment_index_fini(&scan.index);
	return ret;
}

/* Of a segment that does not check, what comes before that is read. */
static int lose_segment(struct check_reader *r, uint64_t *ordinal, char *why)
{
	struct timeline_hole hole;
	struct segment_scan scan;
	int ret = segment_load(r->tl, r->segment, *ordinal + 1, &scan, why);
	bool begins = ret == -EBADMSG && scan.header_valid;
	int got = timeline_hole_get(r->tl, r->segment, begins ? scan.last_ordinal : *ordinal, &hole);

	if (!got && hole.last_segment >= r->check->first_segment) {
		got = begins ? check_index(r, &scan) : 0;
		if (!got)
			got = check_lose_hole(r, &hole, begins ? scan.end_offset : 0);
	}
	segment_index_fini(&scan.index);
	if (got)
		return got;
	*ordinal = hole.last_ordinal;
	r->segment = hole.last_segment;
	return 0;
}

/* The same of one that is missing. */
static int lose_file(struct check_reader *r, uint64_t *ordinal, char *why)
{
	const struct manifest_pack *pack = manifest_pack(&r->tl->manifest, r->segment);
	int ret = 0;

	if (!pack)
		return lose_segment(r, ordinal, why);
	if (pack->last_segment >= r->check->first_segment)
		ret = check_lose_pack(r, pack);
	*ordinal = pack->last_ordinal;
	r->segment = pack->last_segment;
	return ret;
}

/*
 * By number, of those that have the place of what runs before this one have read; and of those that
 * were named while this one was under way. NULL: no more.
 */
static const struct manifest_pack *late_pack(const struct check_reader *r, uint64_t newest)
{
	const struct manifest *m = &r->tl->manifest;
	const struct manifest_pack *found = NULL;

	for (size_t i = 0; i < m->nr_packs; i++) {
		const struct manifest_pack *p = &m->packs[i];
		bool was_read = p->number <= newest && p->last_segment >= r->check->first_segment;

		if (p->number > r->check->packs_read && !was_read &&
		    (!found || p->number < found->number))
			found = p;
	}
	return found;
}

/* @newest: number of the last pack there was when this run began */
static int check_late_packs(struct check_reader *r, uint64_t newest)
{
	const struct manifest_pack *pack;
	int ret = 0;

	while (!ret && (pack = late_pack(r, newest))) {
		const struct manifest_pack named = *pack;

		ret = check_pack(r, &named);
		if (ret == -ENOENT) {
			/* Gone for another one, which has a higher number? */
			ret = timeline_runs_reload(r->tl);
			pack = late_pack(r, newest);
			if (ret || !pack || pack->number != named.number)
				continue;
			ret = check_lose_pack(r, &named);
		}
		if (!ret)
			r->check->packs_read = named.number;
	}
	return ret;
}

static int check_all(struct check_reader *r, char *why)
{
	const uint64_t newest = manifest_next_pack(&r->tl->manifest) - 1;
	uint64_t ordinal = 0;
	int ret = 0;

	for (r->segment = 1; r->segment <= r->tl->nr_segments && !ret; r->segment++) {
		ret = file_visit(r, check_file, lose_file, &ordinal, why);
		if (!ret)
			r->check->next_segment = r->segment + 1;
	}
	if (!ret)
		ret = check_late_packs(r, newest);
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
	r.window = aligned_alloc(BLOCK_BYTES, CHECK_WINDOW_BYTES);
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
