// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_rest - what of a view lies in segments that no run answers for.
 *
 * The newest ones, that have no run yet, and those whose run is damaged. All durable
 * extents with a label at or below the cut take part, whichever batch brought them: a
 * read-back may come in a batch after the point.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment_scan.h"
#include "timeline_internal.h"
#include "view_internal.h"

#define REDUCE_VERSIONS (1u << 20)	/* so many more than are seen */

struct collect {
	struct view *view;
	uint32_t segment;
	struct view_versions versions;
};

static int take_extent(struct collect *c, const struct footer_extent *e, uint16_t extent_no)
{
	const struct view_version version = {
		.offset_bytes = e->extent.offset_bytes, .length_bytes = e->extent.length_bytes,
		.label_seq = e->label_seq, .readback_no = e->readback_no,
		.unit_offset = e->unit_offset, .segment = c->segment,
		.data_offset = e->extent.data_offset, .extent_no = extent_no,
		.volume = e->extent.volume, .kind = e->extent.kind,
	};

	return view_version_add(&c->versions, &version);
}

static int take_part(struct collect *c, const struct pack_extent *e)
{
	const struct view_version version = {
		.offset_bytes = e->offset_bytes, .length_bytes = e->length_bytes,
		.label_seq = e->label_seq, .readback_no = e->readback_no,
		.unit_offset = (uint64_t)e->unit_at * PACK_UNIT_ALIGN, .segment = e->segment,
		.data_offset = e->from_offset, .extent_no = e->extent_no,
		.volume = e->volume, .kind = e->kind,
	};

	return view_version_add(&c->versions, &version);
}

static int take_commit(void *arg, const struct commit_view *commit,
		       const struct footer_extent *extents, size_t nr_extents)
{
	struct collect *c = arg;
	uint16_t extent_no = 0;
	int ret = 0;

	if (commit->header.ordinal > c->view->last_ordinal)
		return 0;
	for (size_t i = 0; i < nr_extents && !ret; i++) {
		const struct footer_extent *e = &extents[i];

		extent_no = footer_extent_no(extents, i, extent_no);
		if (e->label_seq <= c->view->cut_seq && view_volume(c->view, e->extent.volume))
			ret = take_extent(c, e, extent_no);
	}
	return ret;
}

/*
 * Of segment *@number, or of the pack that has its place, nothing is to be had but what comes before
 * @before. It may have had a newer version of anything, so older ones do not show.
 */
static int take_lost(struct collect *c, uint64_t *number, uint64_t before, uint64_t *ordinal)
{
	struct view *v = c->view;
	struct timeline_hole hole;
	int ret = timeline_hole_get(v->tl, *number, before, &hole);

	for (size_t i = 0; i < v->nr_volumes && !ret && hole.from_seq <= v->cut_seq; i++) {
		const struct view_version all = {
			.length_bytes = v->volumes[i].size_bytes, .volume = v->volumes[i].id,
			.label_seq = hole.label_seq < v->cut_seq ? hole.label_seq : v->cut_seq,
			.readback_no = UINT64_MAX, .unit_offset = VIEW_LOST_UNIT,
			.segment = *number, .kind = EXTENT_DATA,
		};

		ret = view_version_add(&c->versions, &all);
	}
	if (ret)
		return ret;
	*number = hole.last_segment;
	*ordinal = hole.last_ordinal;
	return 0;
}

static int scan(struct collect *c, uint64_t number, uint64_t *ordinal, char *why)
{
	struct timeline *tl = c->view->tl;
	struct segment_scan scan;
	int ret;

	c->segment = number;
	timeline_scan_init(tl, &scan, number, *ordinal + 1);
	scan.commit = take_commit;
	scan.arg = c;
	/* What comes after it may have a run: nothing else would say that this ends early. */
	ret = timeline_scan(tl, &scan);
	segment_index_fini(&scan.index);
	if (!ret && (!scan.header_valid ||
		     (scan.damaged && scan.last_ordinal < c->view->last_ordinal)))
		ret = -EBADMSG;
	if (ret)
		snprintf(why, TIMELINE_TEXT_BYTES, "%.120s: %s", scan.path,
			 scan.text[0] ? scan.text : strerror(-ret));
	if (!ret || (ret == -EBADMSG && scan.header_valid))
		*ordinal = scan.last_ordinal;
	return ret;
}

/* Segments [@first, @last] of a pack. */
static int scan_pack(struct collect *c, const struct manifest_pack *named, uint64_t first,
		     uint64_t last, uint64_t *ordinal, char *why)
{
	const struct view *v = c->view;
	struct pack_tables tables = { 0 };
	struct pack_stream stream;
	const struct pack *pack;
	struct pack_extent e;
	int ret = view_pack_get(c->view, named, &pack);

	if (!ret)
		ret = pack_tables_load(pack, &tables);
	if (!ret) {
		*ordinal = pack_tables_ordinal(&tables, last);
		free(tables.bytes);
		ret = pack_stream_begin(&stream, pack);
		while (!ret && !(ret = pack_stream_next(&stream, &e)))
			if (e.segment >= first && e.segment <= last &&
			    e.label_seq <= v->cut_seq && view_volume(v, e.volume))
				ret = take_part(c, &e);
		pack_stream_end(&stream);
		if (ret == -ENOENT)
			return 0;
	}
	if (ret)
		snprintf(why, TIMELINE_TEXT_BYTES, "%.120s: pack %llu: %s", v->tl->dir,
			 (unsigned long long)named->number, strerror(-ret));
	return ret;
}

static int keep_seen(void *arg, const struct view_version *seen)
{
	return view_version_add(arg, seen);
}

/* Keep what is seen of them. */
static int versions_reduce(struct view_versions *versions)
{
	struct view_versions seen = { 0 };
	int ret = view_versions_sweep(versions, keep_seen, &seen);

	if (ret) {
		free(seen.items);
		return ret;
	}
	free(versions->items);
	*versions = seen;
	return 0;
}

int view_rest_add(struct view *v, uint64_t first, uint64_t last, uint64_t *ordinal, bool final,
		  char *why)
{
	struct collect c = { .view = v };
	size_t limit = REDUCE_VERSIONS;
	int ret = 0;

	/* With what was there: the order of versions does not ask where they come from. */
	for (size_t i = 0; i < v->rest.nr && !ret; i++)
		ret = view_version_add(&c.versions, &v->rest.items[i]);
	for (uint64_t n = first; n <= last && *ordinal < v->last_ordinal && !ret; n++) {
		const struct manifest_pack *named = manifest_pack(&v->tl->manifest, n);

		if (named) {
			uint64_t end = last < named->last_segment ? last : named->last_segment;

			ret = scan_pack(&c, named, n, end, ordinal, why);
			n = ret ? n : end;
		} else {
			ret = scan(&c, n, ordinal, why);
		}
		if ((ret == -ENOENT || ret == -EBADMSG) && final)
			ret = take_lost(&c, &n, *ordinal, ordinal);
		/* Memory goes by what is seen, not by how often it was written. */
		if (!ret && c.versions.nr > limit) {
			ret = versions_reduce(&c.versions);
			limit = 2 * c.versions.nr + REDUCE_VERSIONS;
		}
	}
	if (!ret)
		ret = versions_reduce(&c.versions);
	if (ret) {
		free(c.versions.items);
		return ret;
	}
	free(v->rest.items);
	v->rest = c.versions;
	return 0;
}
