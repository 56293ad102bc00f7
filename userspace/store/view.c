// SPDX-License-Identifier: GPL-2.0-only
/*
 * view - the index of one point: which version of each block is the newest.
 *
 * All durable extents with a label at or below the cut take part, whichever batch
 * brought them: a read-back may come in a batch after the point. Their order is
 * (label, record before read-back, read-back number, position in the stream).
 */
#include "view.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/extent_sweep.h"
#include "array.h"
#include "segment_scan.h"
#include "timeline_internal.h"
#include "view_internal.h"

#define PATH_BYTES 4096
#define JOIN_MAX 4096	/* pieces in one view_extent */

/* An extent that takes part; the array of them is in stream order. */
struct version {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint64_t label_seq;
	uint64_t readback_no;
	uint64_t unit_offset;
	uint32_t segment;
	uint32_t data_offset;
	uint16_t volume;
	uint8_t kind;
};

struct build {
	struct view *view;
	uint64_t cut_seq;
	uint64_t nr_commits;	/* that are durable */
	uint32_t segment;
	bool found;		/* the commit of the cut */
	struct version *versions;
	size_t nr, max;
	bool readbacks_unsorted;
	size_t nr_readbacks;
	uint64_t last_stamp, last_readback_no;
	struct sweep_extent *sweep;
};

/* -- collecting -- */

static int take_members(struct build *b, const struct commit_view *commit)
{
	struct view *v = b->view;

	if (!array_reserve(&v->volumes, &v->max_volumes, commit->header.nr_volumes))
		return -ENOMEM;
	for (uint32_t i = 0; i < commit->header.nr_volumes; i++)
		v->volumes[v->nr_volumes++] = (struct view_volume){
			.id = le16toh(commit->volumes[i].volume),
			.size_bytes = le64toh(commit->volumes[i].size_bytes),
		};
	b->found = true;
	return 0;
}

static int take_extent(struct build *b, const struct footer_extent *e)
{
	if (!array_reserve(&b->versions, &b->max, b->nr + 1))
		return -ENOMEM;
	b->versions[b->nr++] = (struct version){
		.offset_bytes = e->extent.offset_bytes,
		.length_bytes = e->extent.length_bytes,
		.label_seq = e->label_seq,
		.readback_no = e->readback_no,
		.unit_offset = e->unit_offset,
		.segment = b->segment,
		.data_offset = e->extent.data_offset,
		.volume = e->extent.volume,
		.kind = e->extent.kind,
	};
	if (!e->readback_no)
		return 0;
	b->nr_readbacks++;
	if (e->label_seq < b->last_stamp ||
	    (e->label_seq == b->last_stamp && e->readback_no < b->last_readback_no))
		b->readbacks_unsorted = true;
	b->last_stamp = e->label_seq;
	b->last_readback_no = e->readback_no;
	return 0;
}

static int take_commit(void *arg, const struct commit_view *commit,
		       const struct footer_extent *extents, size_t nr_extents)
{
	struct build *b = arg;
	int ret = 0;

	if (commit->header.ordinal > b->nr_commits)
		return 0;
	/* The first with this cut says who is a member: it was so from the beginning. */
	if (commit->header.cut_seq == b->cut_seq && !b->found)
		ret = take_members(b, commit);
	for (size_t i = 0; i < nr_extents && !ret; i++)
		if (extents[i].label_seq <= b->cut_seq)
			ret = take_extent(b, &extents[i]);
	return ret;
}

static int collect(struct build *b, struct timeline *tl, char *why)
{
	char path[PATH_BYTES];
	uint64_t ordinal = 0;
	int ret = 0;

	for (b->segment = 1; ordinal < b->nr_commits && !ret; b->segment++) {
		const struct manifest_segment_end *end = manifest_end(&tl->manifest, b->segment);
		struct segment_scan scan = {
			.env = tl->env, .path = path,
			.timeline = tl->manifest.identity.timeline,
			.number = b->segment, .first_ordinal = ordinal + 1,
			.end_limit = end ? end->end_offset : 0, .trust_footer = true,
			.commit = take_commit, .arg = b,
		};

		segment_path(path, sizeof(path), tl->dir, b->segment);
		ret = segment_scan(&scan);
		segment_index_fini(&scan.index);
		if (!ret && (!scan.header_valid || (scan.damaged && scan.last_ordinal < b->nr_commits)))
			ret = -EBADMSG;
		if (ret)
			snprintf(why, TIMELINE_TEXT_BYTES, "%.120s: %s", path,
				 scan.text[0] ? scan.text : strerror(-ret));
		ordinal = scan.last_ordinal;
	}
	if (!ret && !b->found) {
		snprintf(why, TIMELINE_TEXT_BYTES, "no commit has this cut");
		ret = -ENOENT;
	}
	return ret;
}

/* -- order -- */

static const struct version *sort_versions;	/* of readback_compare; one thread */

static int readback_compare(const void *a, const void *b)
{
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct version *x = &sort_versions[i], *y = &sort_versions[j];

	if (x->label_seq != y->label_seq)
		return x->label_seq < y->label_seq ? -1 : 1;
	if (x->readback_no != y->readback_no)
		return x->readback_no < y->readback_no ? -1 : 1;
	return i < j ? -1 : i > j;
}

/*
 * Records come in the order of their labels, read-backs nearly always in theirs: one
 * merge gives every version its rank.
 */
static int rank_versions(struct build *b)
{
	uint32_t *readbacks = malloc((b->nr_readbacks + 1) * sizeof(*readbacks));
	size_t nr = 0, next = 0;
	uint64_t rank = 0;

	b->sweep = malloc((b->nr + 1) * sizeof(*b->sweep));
	if (!readbacks || !b->sweep) {
		free(readbacks);
		return -ENOMEM;
	}
	for (size_t i = 0; i < b->nr; i++)
		if (b->versions[i].readback_no)
			readbacks[nr++] = i;
	if (b->readbacks_unsorted) {
		sort_versions = b->versions;
		qsort(readbacks, nr, sizeof(*readbacks), readback_compare);
	}
	for (size_t i = 0; i < b->nr; i++) {
		const struct version *v = &b->versions[i];

		if (v->readback_no)
			continue;
		/* A record comes after the read-backs with lower stamps, before equal ones. */
		while (next < nr && b->versions[readbacks[next]].label_seq < v->label_seq)
			b->sweep[readbacks[next++]].rank = rank++;
		b->sweep[i].rank = rank++;
	}
	while (next < nr)
		b->sweep[readbacks[next++]].rank = rank++;
	free(readbacks);
	for (size_t i = 0; i < b->nr; i++) {
		const struct version *v = &b->versions[i];

		b->sweep[i].offset_bytes = v->offset_bytes;
		b->sweep[i].length_bytes = v->length_bytes;
		b->sweep[i].item = i;
		b->sweep[i].volume = v->volume;
	}
	return 0;
}

static int take_piece(void *arg, const struct sweep_piece *piece)
{
	struct build *b = arg;
	struct view *view = b->view;
	const struct version *v = &b->versions[piece->item];
	struct view_volume *volume = (struct view_volume *)view_volume(view, piece->volume);

	if (!volume)
		return 0;	/* not a member at this point */
	if (!array_reserve(&view->pieces, &view->max_pieces, view->nr_pieces + 1))
		return -ENOMEM;
	if (volume->nr++ == 0)
		volume->first = view->nr_pieces;
	view->pieces[view->nr_pieces++] = (struct view_piece){
		.offset_bytes = piece->offset_bytes,
		.length_bytes = piece->length_bytes,
		.unit_offset = v->unit_offset,
		.segment = v->segment,
		.data_offset = v->kind == EXTENT_DATA ?
			v->data_offset + (piece->offset_bytes - v->offset_bytes) : 0,
		.kind = v->kind,
	};
	return 0;
}

/* -- */

int view_open(struct timeline *tl, uint64_t cut_seq, struct view **out, char *why)
{
	struct view *v = calloc(1, sizeof(*v));
	struct build b = { .view = v, .cut_seq = cut_seq, .nr_commits = tl->points.nr_commits };
	int ret = v ? 0 : -ENOMEM;

	why[0] = 0;
	if (!ret) {
		v->env = tl->env;
		v->dir = strdup(tl->dir);
		ret = v->dir ? 0 : -ENOMEM;
	}
	if (!ret)
		ret = collect(&b, tl, why);
	if (!ret && b.nr > UINT32_MAX)
		ret = -EFBIG;
	if (!ret)
		ret = rank_versions(&b);
	if (!ret)
		ret = extent_sweep(b.sweep, b.nr, take_piece, &b);
	free(b.sweep);
	free(b.versions);
	if (ret) {
		if (!why[0])
			snprintf(why, TIMELINE_TEXT_BYTES, "%s", strerror(-ret));
		view_close(v);
		return ret;
	}
	*out = v;
	return 0;
}

void view_close(struct view *v)
{
	if (!v)
		return;
	view_read_fini(v);
	free(v->pieces);
	free(v->volumes);
	free(v->dir);
	free(v);
}

const struct view_volume *view_volume(const struct view *v, uint16_t id)
{
	for (size_t i = 0; i < v->nr_volumes; i++)
		if (v->volumes[i].id == id)
			return &v->volumes[i];
	return NULL;
}

uint64_t view_size(const struct view *v, uint16_t volume)
{
	const struct view_volume *vol = view_volume(v, volume);

	return vol ? vol->size_bytes : 0;
}

size_t view_find(const struct view *v, const struct view_volume *volume, uint64_t offset_bytes)
{
	size_t low = 0, high = volume->nr;

	while (low < high) {
		size_t mid = (low + high) / 2;
		const struct view_piece *p = &v->pieces[volume->first + mid];

		if (p->offset_bytes + p->length_bytes <= offset_bytes)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

int view_next(struct view *v, uint16_t volume, uint64_t offset_bytes, struct view_extent *out)
{
	const struct view_volume *vol = view_volume(v, volume);
	uint64_t end = offset_bytes;
	uint8_t kind = 0;

	if (!vol || offset_bytes >= vol->size_bytes)
		return -ENOENT;
	/* Join what touches and is of one kind, up to a bound; nothing there is zero. */
	for (size_t i = view_find(v, vol, offset_bytes), nr = 0;
	     end < vol->size_bytes && nr < JOIN_MAX; i++, nr++) {
		const struct view_piece *p = i < vol->nr ? &v->pieces[vol->first + i] : NULL;

		if (!p || p->offset_bytes > end) {
			if (kind && kind != EXTENT_ZERO)
				break;
			kind = EXTENT_ZERO;
			end = p ? p->offset_bytes : vol->size_bytes;
			if (!p)
				break;
		}
		if (kind && kind != p->kind)
			break;
		kind = p->kind;
		end = p->offset_bytes + p->length_bytes;
	}
	if (end > vol->size_bytes)
		end = vol->size_bytes;
	*out = (struct view_extent){ offset_bytes, end - offset_bytes, kind };
	return 0;
}
