// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_window - what is seen in a range of a volume: docs/STORE.md, "Looking up".
 *
 * From each run: what holds the first byte and begins before it, one search for each
 * length there is; then, place by place, the newest version at or below the cut. From
 * the rest the same. The newest of what overlaps is kept as pieces, until another range
 * is asked for. A bound on the versions looked at may end the range sooner.
 */
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "timeline_internal.h"
#include "view_internal.h"

#define FIRST_AHEAD	128	/* versions, when reading in order begins */
#define STEPS		4	/* entries passed over before it is worth a search */

struct range {
	struct view *view;
	uint16_t volume;
	uint64_t start, end;	/* the end comes nearer when there is too much */
	size_t share;		/* versions from each source */
};

/* What lies outside the range is cut off when the range is known. */
static int found_entry(struct range *r, const struct run_entry *e)
{
	const struct view_version version = {
		.offset_bytes = e->offset_bytes,
		.length_bytes = UINT64_C(1) << e->length_shift,
		.label_seq = e->label_seq, .readback_no = e->readback_no,
		.unit_offset = (uint64_t)e->unit_at * RUN_UNIT_ALIGN, .segment = e->segment,
		.data_offset = (uint32_t)e->data_sector * SECTOR_BYTES,
		.extent_no = e->extent_no, .volume = e->volume, .kind = e->kind,
	};

	return view_version_add(&r->view->found, &version);
}

/* -- a run -- */

static bool same_place(const struct run_entry *e, const struct run_key *key)
{
	return e->volume == key->volume && e->offset_bytes == key->offset_bytes &&
	       e->length_shift == key->length_shift;
}

/* What begins before the range and reaches into it; places rise as lengths fall. */
static int run_holders(struct range *r, const struct run *run, struct run_cursor *c)
{
	for (unsigned int shift = RUN_MAX_SHIFT; shift >= RUN_MIN_SHIFT; shift--) {
		const struct run_key key = { r->start >> shift << shift, r->view->cut_seq,
					     r->volume, shift };
		int ret;

		if (!(run->header.lengths >> shift & 1) || key.offset_bytes == r->start)
			continue;
		ret = run_advance(c, &key);
		if (!ret && same_place(&c->entry, &key))
			ret = found_entry(r, &c->entry);
		if (ret)
			return ret;
	}
	return 0;
}

/* From one place to the next, past older versions of the same. */
static int next_place(struct run_cursor *c)
{
	const struct run_entry at = c->entry;
	const struct run_key key = { at.offset_bytes, UINT64_MAX, at.volume, at.length_shift - 1 };
	const struct run_key here = run_entry_key(&at);
	int ret;

	for (int i = 0; i < STEPS; i++) {
		ret = run_next(c);
		if (ret || !same_place(&c->entry, &here))
			return ret;
	}
	return run_skip(c, &key);
}

static int run_places(struct range *r, struct run_cursor *c)
{
	const struct run_key first = { r->start, UINT64_MAX, r->volume, RUN_MAX_SHIFT };
	size_t nr = 0;
	int ret = run_advance(c, &first);

	while (!ret && c->entry.volume == r->volume && c->entry.offset_bytes < r->end) {
		if (nr >= r->share && c->entry.offset_bytes > r->start) {
			r->end = c->entry.offset_bytes;
			break;
		}
		if (c->entry.label_seq > r->view->cut_seq) {
			const struct run_key key = { c->entry.offset_bytes, r->view->cut_seq,
						     r->volume, c->entry.length_shift };

			/* It may lead to another place: then there is no version here. */
			nr++;
			ret = run_skip(c, &key);
			continue;
		}
		ret = found_entry(r, &c->entry);
		nr++;
		if (!ret)
			ret = next_place(c);
	}
	return ret;
}

static int run_look(struct range *r, const struct run *run)
{
	struct run_cursor c = { .run = run, .cache = &r->view->cache };
	int ret = run_holders(r, run, &c);

	if (!ret)
		ret = run_places(r, &c);
	return ret == -ENOENT ? 0 : ret;
}

static bool is_named(const struct manifest *m, uint64_t run)
{
	for (size_t i = 0; i < m->nr_runs; i++)
		if (m->runs[i].number == run)
			return true;
	return false;
}

/*
 * On a cluster a file that was open ends some time after a writer removed it. What was merged has
 * another in its place then. Return: 0 it is taken; -ENODATA there is none; -ESTALE; -errno.
 */
static int runs_renew(struct view *v, uint64_t run)
{
	int ret = -ENOENT;

	for (int i = 0; i < VIEW_RELOADS && ret == -ENOENT; i++) {
		if (timeline_runs_reload(v->tl) || is_named(&v->tl->manifest, run))
			return -ENODATA;
		ret = view_cut_check(v);
		if (!ret)
			ret = view_segments_renew(v);
	}
	return ret;
}

/* The run is of no use: if no other is in its place its segments speak for themselves. */
static int run_give_up(struct view *v, size_t i)
{
	struct view_run vr = v->runs[i];
	char why[TIMELINE_TEXT_BYTES];
	int ret = v->tl->read_only ? runs_renew(v, vr.run.header.number) : -ENODATA;

	if (!ret || ret == -ESTALE || ret == -ENOMEM)
		return ret;
	ret = -ENOENT;
	/* What does not check may be a pack that went, too: view_read.c, place_reload(). */
	for (int tries = 0; tries <= VIEW_RELOADS && (ret == -ENOENT || ret == -EBADMSG); tries++) {
		uint64_t ordinal = vr.first_ordinal - 1;

		if (tries && (!v->tl->read_only || timeline_runs_reload(v->tl)))
			break;
		ret = view_rest_add(v, vr.run.header.first_segment, vr.run.header.last_segment,
				    &ordinal, tries == VIEW_RELOADS || !v->tl->read_only, why);
		if (!ret)
			ret = view_cut_check(v);
	}
	if (ret)
		return ret == -ENOENT ? -EBADMSG : ret;
	timeline_run_bad(v->tl, vr.run.header.number);
	run_close(&vr.run);
	v->runs[i] = v->runs[--v->nr_runs];
	return 0;
}

/* -- the rest -- */

static size_t rest_find(const struct view *v, uint16_t volume, uint64_t offset_bytes)
{
	return array_search(v->rest.items, v->rest.nr, x,
			    x->volume < volume ||
			    (x->volume == volume &&
			     x->offset_bytes + x->length_bytes <= offset_bytes));
}

static int rest_places(struct range *r)
{
	struct view *v = r->view;
	size_t nr = 0;
	int ret = 0;

	for (size_t i = rest_find(v, r->volume, r->start); i < v->rest.nr && !ret; i++) {
		const struct view_version *x = &v->rest.items[i];

		if (x->volume != r->volume || x->offset_bytes >= r->end)
			break;
		if (nr++ >= r->share && x->offset_bytes > r->start) {
			r->end = x->offset_bytes;
			break;
		}
		ret = view_version_add(&v->found, x);
	}
	return ret;
}

/* -- together -- */

/* Cut to the range; what lies behind it was looked at in vain. */
static void found_clip(struct range *r)
{
	struct view_versions *found = &r->view->found;
	size_t kept = 0;

	for (size_t i = 0; i < found->nr; i++) {
		struct view_version x = found->items[i];
		uint64_t skip = x.offset_bytes < r->start ? r->start - x.offset_bytes : 0;

		if (x.offset_bytes >= r->end)
			continue;
		x.offset_bytes += skip;
		x.length_bytes -= skip;
		if (x.kind == EXTENT_DATA)
			x.data_offset += skip;
		if (x.length_bytes > r->end - x.offset_bytes)
			x.length_bytes = r->end - x.offset_bytes;
		found->items[kept++] = x;
	}
	found->nr = kept;
}

static int take_piece(void *arg, const struct view_version *seen)
{
	struct view *v = arg;

	if (!array_reserve(&v->pieces, &v->max_pieces, v->nr_pieces + 1))
		return -ENOMEM;
	v->pieces[v->nr_pieces++] = (struct view_piece){
		seen->offset_bytes, seen->length_bytes, seen->unit_offset, seen->segment,
		seen->data_offset, seen->extent_no, seen->kind };
	return 0;
}

static int range_collect(struct range *r)
{
	struct view *v = r->view;
	int ret = 0;

	v->found.nr = 0;
	for (size_t i = 0; i < v->nr_runs; i++) {
		ret = run_look(r, &v->runs[i].run);
		if (ret == -ENOMEM)
			return ret;
		if (ret) {
			ret = run_give_up(v, i);
			return ret ? ret : -EAGAIN;
		}
	}
	return rest_places(r);
}

/* Read in order, ever more is looked up at once; read here and there, what is asked for. */
static void range_choose(struct range *r, const struct view_volume *volume, uint64_t end_bytes)
{
	struct view *v = r->view;

	if (v->pieces_volume == r->volume && v->pieces_end == r->start && v->pieces_end) {
		v->ahead = v->ahead ? v->ahead * 4 : FIRST_AHEAD;
		if (v->ahead > VIEW_WINDOW_VERSIONS)
			v->ahead = VIEW_WINDOW_VERSIONS;
		r->end = volume->size_bytes;
	} else {
		v->ahead = 0;
		r->end = end_bytes < volume->size_bytes ? end_bytes : volume->size_bytes;
	}
	r->share = (v->ahead ? v->ahead : VIEW_WINDOW_VERSIONS) / (v->nr_runs + 1);
}

int view_window(struct view *v, const struct view_volume *volume, uint64_t offset_bytes,
		uint64_t end_bytes)
{
	struct range r = { .view = v, .volume = volume->id, .start = offset_bytes };
	int ret;

	if (v->pieces_end && v->pieces_volume == volume->id && offset_bytes >= v->pieces_start &&
	    offset_bytes < v->pieces_end)
		return 0;
	do {
		range_choose(&r, volume, end_bytes);
		ret = range_collect(&r);
	} while (ret == -EAGAIN);	/* with one run less, or others */
	v->nr_pieces = 0;
	v->pieces_end = 0;
	if (!ret) {
		found_clip(&r);
		ret = view_versions_sweep(&v->found, take_piece, v);
	}
	if (ret)
		return view_error(v, ret);
	v->pieces_volume = volume->id;
	v->pieces_start = r.start;
	v->pieces_end = r.end;
	return 0;
}

size_t view_find(const struct view *v, uint64_t offset_bytes)
{
	return array_search(v->pieces, v->nr_pieces, p,
			    p->offset_bytes + p->length_bytes <= offset_bytes);
}
