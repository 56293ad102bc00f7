// SPDX-License-Identifier: GPL-2.0-only
/* view - a point, opened: its volumes, the runs, and what no run answers for. */
#include "view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "points_file.h"
#include "timeline_internal.h"
#include "view_internal.h"

#define LOOK_NS	UINT64_C(1000000000)	/* so often, whether the point is still there */

/* The first commit with the cut says who is a member: it was so from the beginning. */
static int take_members(struct view *v, char *why)
{
	const struct points *p = &v->tl->points;
	const struct points_member *members = NULL;
	size_t index = points_find(p, v->cut_seq), nr;

	if (index == p->nr_commits) {
		snprintf(why, TIMELINE_TEXT_BYTES, "no commit has this cut");
		return -ENOENT;
	}
	nr = points_members(p, index, &members);
	v->volumes = calloc(nr + 1, sizeof(*v->volumes));
	if (!v->volumes)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		v->volumes[v->nr_volumes++] = (struct view_volume){ members[i].volume,
								    members[i].size_bytes };
	return 0;
}

/* With @gone it says when a file is not there; without, that is damage. */
static int rest_add(struct view *v, uint64_t first, uint64_t last, uint64_t *ordinal, bool *gone,
		    char *why)
{
	int ret = view_rest_add(v, first, last, ordinal, !gone, why);

	/* What does not check may have gone while it was read. */
	if ((ret == -ENOENT || ret == -EBADMSG) && gone)
		*gone = true;
	return ret == -ENOENT && !gone ? -EBADMSG : ret;
}

/*
 * Walk over the segments: each belongs to a run that opens, or to the rest. With @gone it
 * ends at a file that is not there, and says so.
 */
static int take_segments(struct view *v, bool *gone, char *why)
{
	const struct manifest *m = &v->tl->manifest;
	uint64_t segment = 1, ordinal = 0;
	int ret = 0;

	v->runs = calloc(m->nr_runs + 1, sizeof(*v->runs));
	if (!v->runs)
		return -ENOMEM;
	for (size_t i = 0; ordinal < v->last_ordinal && !ret;) {
		const struct manifest_run *mr = i < m->nr_runs ? &m->runs[i] : NULL;
		struct view_run *vr = &v->runs[v->nr_runs];

		if (mr && mr->first_segment == segment && mr->last_ordinal > ordinal) {
			i++;
			ret = run_open(v->env, v->tl->dir, m->identity.timeline, mr, &vr->run);
			if (ret == 0) {
				vr->first_ordinal = ordinal + 1;
				v->nr_runs++;
				segment = mr->last_segment + 1;
				ordinal = mr->last_ordinal;
			} else if (ret == -ENOENT && gone) {
				*gone = true;
				return ret;
			} else if (ret != -ENOMEM) {
				timeline_run_bad(v->tl, mr->number);
				ret = rest_add(v, segment, mr->last_segment, &ordinal, gone, why);
				segment = mr->last_segment + 1;
			}
		} else {
			uint64_t last = mr ? mr->first_segment - 1 : UINT64_MAX;

			/* A run that cannot be where it says it is. */
			if (mr && mr->first_segment <= segment) {
				i++;
				continue;
			}
			ret = rest_add(v, segment, last, &ordinal, gone, why);
			segment = last + 1;
		}
	}
	return ret;
}

/* What take_segments() takes. */
struct taken {
	struct view_run *runs;
	size_t nr_runs;
	struct view_versions rest;
};

static struct taken taken_out(struct view *v)
{
	const struct taken taken = { v->runs, v->nr_runs, v->rest };

	v->runs = NULL;
	v->nr_runs = 0;
	v->rest = (struct view_versions){ 0 };
	return taken;
}

static void taken_fini(const struct taken *taken)
{
	for (size_t i = 0; i < taken->nr_runs; i++)
		run_close(&taken->runs[i].run);
	free(taken->runs);
	free(taken->rest.items);
}

int view_segments_renew(struct view *v)
{
	struct taken old = taken_out(v), made;
	char why[TIMELINE_TEXT_BYTES];
	bool gone = false;
	int ret = take_segments(v, &gone, why);

	if (ret) {
		made = taken_out(v);
		v->runs = old.runs;
		v->nr_runs = old.nr_runs;
		v->rest = old.rest;
		old = made;
	}
	taken_fini(&old);
	return ret;
}

int view_open_until(struct timeline *tl, uint64_t ordinal, struct view **out, char *why)
{
	const struct manifest *m = &tl->manifest;
	struct view *v = calloc(1, sizeof(*v));
	int ret = -ENOMEM;

	why[0] = 0;
	if (v)
		v->volumes = calloc(m->nr_volumes + 1, sizeof(*v->volumes));
	if (v && v->volumes) {
		v->env = tl->env;
		v->tl = tl;
		v->cut_seq = points_cut_at(&tl->points, ordinal);
		v->last_ordinal = ordinal;
		for (size_t i = 0; i < m->nr_volumes; i++)
			if (m->volumes[i].size_bytes)
				v->volumes[v->nr_volumes++] = (struct view_volume){
					m->volumes[i].id, m->volumes[i].size_bytes };
		ret = take_segments(v, NULL, why);
	}
	if (!ret)
		*out = v;
	else
		view_close(v);
	if (ret && !why[0])
		snprintf(why, TIMELINE_TEXT_BYTES, "%s", strerror(-ret));
	return ret;
}

int view_cut_check(struct view *v)
{
	const struct timeline *tl = v->tl;
	const struct manifest *m = &tl->manifest;
	struct points_file file;
	bool exists;
	int ret;

	if (!tl->read_only)
		return points_find(&tl->points, v->cut_seq) < tl->points.nr_commits ? 0 : -ESTALE;
	if (m->points.number == tl->points_no || m->points.number == v->points_seen)
		return 0;
	ret = points_file_read(v->env, tl->dir, m->identity.timeline, &m->points, &file, NULL);
	if (ret)
		return ret;
	exists = v->cut_seq > file.points.last_cut_seq ||
		 points_find(&file.points, v->cut_seq) < file.points.nr_commits;
	points_fini(&file.points);
	if (exists)
		v->points_seen = m->points.number;
	return exists ? 0 : -ESTALE;
}

int view_check(struct view *v)
{
	int ret = v->tl->read_only ? -ENOENT : view_cut_check(v);

	/* A points file that the manifest has named may be gone when it is opened. */
	for (int i = 0; i < VIEW_RELOADS && ret == -ENOENT; i++) {
		ret = timeline_runs_reload(v->tl);
		if (!ret)
			ret = view_cut_check(v);
	}
	return ret;
}

/* Who reads a damaged disk from end to end is not to look again with each sector. */
bool view_has_looked(const struct view *v)
{
	return v->looked_ns && v->env->ops->monotonic_ns(v->env) - v->looked_ns < LOOK_NS;
}

int view_error(struct view *v, int error)
{
	if (error != -ENOENT && error != -EBADMSG)
		return error;
	if (view_has_looked(v))
		return -EBADMSG;
	if (view_check(v) == -ESTALE)
		return -ESTALE;
	v->looked_ns = v->env->ops->monotonic_ns(v->env);
	return -EBADMSG;
}

const char *view_error_text(int error)
{
	if (error == -ESTALE)
		return "the point has been dropped meanwhile, and its space given back";
	if (error == -EBADMSG)
		return "the store is damaged, a checksum is wrong";
	return strerror(-error);
}

static int open_once(struct timeline *tl, uint64_t cut_seq, struct view **out, bool *gone,
		     char *why)
{
	struct view *v = calloc(1, sizeof(*v));
	int ret;

	if (!v)
		return -ENOMEM;
	v->env = tl->env;
	v->tl = tl;
	v->cut_seq = cut_seq;
	v->last_ordinal = tl->points.last_ordinal;
	ret = take_members(v, why);
	if (!ret)
		ret = take_segments(v, gone, why);
	/* Packs and runs that were made after the cut was dropped do not have what only it shows. */
	if (!ret) {
		ret = view_cut_check(v);
		if (ret == -ENOENT)
			ret = view_check(v);
	}
	if (!ret)
		ret = view_parent_open(v, why);
	if (ret)
		view_close(v);
	else
		*out = v;
	return ret;
}

int view_open(struct timeline *tl, uint64_t cut_seq, struct view **out, char *why)
{
	bool gone = tl->read_only;
	int ret = 0;

	/* A writer removes what it merged or packed: what is in its place it has named before. */
	for (int i = 0; i < VIEW_RELOADS && gone; i++) {
		gone = false;
		why[0] = 0;
		ret = open_once(tl, cut_seq, out, &gone, why);
		if (!gone)
			break;
		if (timeline_runs_reload(tl))
			break;
	}
	if (!tl->read_only || gone) {
		why[0] = 0;
		ret = open_once(tl, cut_seq, out, NULL, why);
	}
	if (ret && !why[0])
		snprintf(why, TIMELINE_TEXT_BYTES, "%s", view_error_text(ret));
	return ret;
}

void view_close(struct view *v)
{
	struct taken taken;

	if (!v)
		return;
	if (v->parent_tl)
		view_parent_close(v);
	view_read_fini(v);
	view_pack_fini(v);
	run_cache_fini(&v->cache);
	taken = taken_out(v);
	taken_fini(&taken);
	free(v->found.items);
	free(v->pieces);
	free(v->volumes);
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

/* As view_next(), where nothing was ever written as @nothing. */
static int stretch(struct view *v, uint16_t volume, uint64_t offset_bytes, uint8_t nothing,
		   struct view_extent *out)
{
	const struct view_volume *vol = view_volume(v, volume);
	uint64_t end = offset_bytes;
	bool any = false;
	uint8_t kind = 0;
	int ret;

	if (!vol || offset_bytes >= vol->size_bytes)
		return -ENOENT;
	ret = view_window(v, vol, offset_bytes, vol->size_bytes);
	if (ret)
		return ret;
	/* Join what touches and is of one kind. */
	for (size_t i = view_find(v, offset_bytes); end < v->pieces_end; i++) {
		const struct view_piece *p = i < v->nr_pieces ? &v->pieces[i] : NULL;

		if (!p || p->offset_bytes > end) {
			if (any && kind != nothing)
				break;
			any = true;
			kind = nothing;
			end = p ? p->offset_bytes : v->pieces_end;
			if (!p)
				break;
		}
		if (any && kind != p->kind)
			break;
		any = true;
		kind = p->kind;
		end = p->offset_bytes + p->length_bytes;
	}
	*out = (struct view_extent){ offset_bytes, end - offset_bytes, kind };
	return 0;
}

int view_next(struct view *v, uint16_t volume, uint64_t offset_bytes, struct view_extent *out)
{
	int ret = stretch(v, volume, offset_bytes, v->parent ? VIEW_NOTHING : EXTENT_ZERO, out);

	return ret || out->kind != VIEW_NOTHING ? ret : view_parent_next(v, volume, out);
}

int view_next_written(struct view *v, uint16_t volume, uint64_t offset_bytes,
		      struct view_extent *out)
{
	return stretch(v, volume, offset_bytes, VIEW_NOTHING, out);
}

int view_changes(struct view *v, uint16_t volume,
		 int (*each)(void *arg, const struct view_extent *extent), void *arg)
{
	uint64_t size_bytes = view_size(v, volume), offset_bytes = 0;
	struct view_extent all = { 0 }, e;
	int ret = size_bytes ? 0 : -ENOENT;

	while (!ret && offset_bytes < size_bytes) {
		ret = view_next_written(v, volume, offset_bytes, &e);
		if (ret)
			break;
		offset_bytes += e.length_bytes;
		if (all.length_bytes && all.kind == e.kind) {
			all.length_bytes += e.length_bytes;
			continue;
		}
		if (all.kind != VIEW_NOTHING)
			ret = each(arg, &all);
		all = e;
	}
	return ret || all.kind == VIEW_NOTHING ? ret : each(arg, &all);
}
