// SPDX-License-Identifier: GPL-2.0-only
/*
 * timeline_holes - what segments that are lost may have had: docs/SEGMENT.md, "Holes".
 *
 * Nothing here says what was in them; only which labels it had at least, so that a point below
 * those needs none of it, and which at most, so that what is newer hides it. Where it is not known
 * for sure, the bounds are further apart.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "pack_read.h"
#include "segment_scan.h"
#include "timeline_internal.h"

/* -- where it begins and ends -- */

/* Ordinal of the last batch of a segment, as the manifest says it; 0: it does not. */
static uint64_t named_ordinal(const struct manifest *m, uint64_t segment)
{
	const struct manifest_segment_end *end = manifest_end(m, segment);
	const struct manifest_pack *pack = manifest_pack(m, segment);

	if (end)
		return end->last_ordinal;
	if (pack && pack->last_segment == segment)
		return pack->last_ordinal;
	for (size_t i = 0; i < m->nr_runs; i++)
		if (m->runs[i].last_segment == segment)
			return m->runs[i].last_ordinal;
	return 0;
}

/* Of the first batch of a segment, as the file says that has it now; 0: it cannot be read. */
static uint64_t first_ordinal_of(const struct timeline *tl, uint64_t segment)
{
	const uint8_t *timeline = tl->manifest.identity.timeline;
	const struct manifest_pack *named = manifest_pack(&tl->manifest, segment);
	uint64_t ordinal = 0;
	struct pack pack;

	if (!named)
		return segment_first_ordinal(tl->env, tl->dir, timeline, segment, &ordinal) ?
		       0 : ordinal;
	if (pack_open(tl->env, tl->dir, timeline, named, &pack))
		return 0;
	if (named->first_segment == segment)
		ordinal = pack.header.first_ordinal;
	pack_close(&pack);
	return ordinal;
}

/* The last segment of a hole, and its last batch. */
static void hole_end(const struct timeline *tl, struct timeline_hole *hole)
{
	uint64_t segment = hole->first_segment, ordinal = 0;

	for (;; segment++) {
		const struct manifest_pack *pack = manifest_pack(&tl->manifest, segment);

		if (pack)
			segment = pack->last_segment;
		ordinal = segment >= tl->nr_segments ? tl->points.last_ordinal :
			  named_ordinal(&tl->manifest, segment);
		if (!ordinal) {
			ordinal = first_ordinal_of(tl, segment + 1);
			ordinal -= ordinal > 0;
		}
		if (ordinal)
			break;
	}
	hole->last_segment = segment;
	hole->last_ordinal = ordinal;
}

/* Of the last batch before a segment. Not *@sure: it is past that, or is that. */
static uint64_t ordinal_before(const struct timeline *tl, uint64_t segment, bool *sure)
{
	uint64_t ordinal = segment > 1 ? named_ordinal(&tl->manifest, segment - 1) : 0, first;
	struct segment_scan scan;

	*sure = ordinal || segment == 1;
	if (*sure)
		return ordinal;
	first = first_ordinal_of(tl, segment - 1);
	if (!first || manifest_pack(&tl->manifest, segment - 1))
		return 0;
	timeline_scan_init(tl, &scan, segment - 1, first);
	*sure = !segment_scan(&scan) && scan.sealed;
	ordinal = *sure ? scan.last_ordinal : first - 1;
	segment_index_fini(&scan.index);
	return ordinal;
}

/* -- holds that were open when it began: read-backs in it may have stamps from there on -- */

struct closed {
	const struct points *points;
	uint64_t before_seq;	/* only those that began before it are asked for */
	bool *seen;		/* of each: some commit has closed it */
	size_t nr_unseen;
};

static bool is_asked_for(const struct closed *c, size_t i)
{
	return c->points->holds[i].from_seq < c->before_seq &&
	       c->points->holds[i].end_seq != UINT64_MAX;
}

static int take_closed(struct closed *c, const struct commit_view *commit)
{
	for (uint32_t k = 0; k < commit->header.nr_holds; k++)
		for (size_t i = 0; i < c->points->nr_holds && commit->holds[k].end_seq; i++)
			if (c->points->holds[i].id == le64toh(commit->holds[k].id) &&
			    is_asked_for(c, i) && !c->seen[i]) {
				c->seen[i] = true;
				c->nr_unseen--;
			}
	return c->nr_unseen ? 0 : 1;	/* that was all */
}

static int take_commit(void *arg, const struct commit_view *commit,
		       const struct footer_extent *extents, size_t nr_extents)
{
	return take_closed(arg, commit);
}

static int take_packed(void *arg, const struct commit_view *commit)
{
	return take_closed(arg, commit);
}

static int pack_closed(const struct timeline *tl, const struct manifest_pack *named,
		       struct closed *c)
{
	struct pack_tables tables = { 0 };
	struct pack pack;
	int ret = pack_open(tl->env, tl->dir, tl->manifest.identity.timeline, named, &pack);

	if (!ret)
		ret = pack_tables_load(&pack, &tables);
	if (!ret)
		ret = pack_tables_commits(&tables, &pack.header, take_packed, c);
	free(tables.bytes);
	pack_close(&pack);
	return ret;
}

/* All segments below @segment, until all is seen. What cannot be read has closed nothing. */
static void closed_look(const struct timeline *tl, uint64_t segment, struct closed *c)
{
	int ret = c->nr_unseen ? 0 : 1;

	for (uint64_t n = 1; n < segment && ret != 1; n++) {
		const struct manifest_pack *pack = manifest_pack(&tl->manifest, n);
		uint64_t first = pack ? 0 : first_ordinal_of(tl, n);
		struct segment_scan scan;

		if (pack) {
			ret = pack_closed(tl, pack, c);
			n = pack->last_segment;
		} else if (first) {
			timeline_scan_init(tl, &scan, n, first);
			scan.commit = take_commit;
			scan.arg = c;
			ret = segment_scan(&scan);
			segment_index_fini(&scan.index);
		}
	}
}

/* Where the first hold began that may have been open, if it was before @before_seq; else that. */
static uint64_t holds_begin(const struct timeline *tl, uint64_t segment, uint64_t before_seq)
{
	const struct points *p = &tl->points;
	struct closed c = { .points = p, .before_seq = before_seq,
			    .seen = calloc(p->nr_holds + 1, sizeof(*c.seen)) };

	for (size_t i = 0; i < p->nr_holds; i++)
		c.nr_unseen += is_asked_for(&c, i);
	if (c.seen)
		closed_look(tl, segment, &c);
	for (size_t i = 0; i < p->nr_holds; i++)
		if (p->holds[i].from_seq < before_seq && (!c.seen || !c.seen[i]))
			before_seq = p->holds[i].from_seq;
	free(c.seen);
	return before_seq;
}

/* -- */

/*
 * Let X be the cut of the first commit behind the hole. What has a label of X or more there is newer
 * than all that was in it: a record, as its label is past all cuts before it; a read-back, as
 * the label is not lower and its number is higher. What lies before the hole has a label of X or less:
 * it is not to show, so X - 1 is enough only if it surely has none of X.
 */
static void hole_label(const struct timeline *tl, struct timeline_hole *hole, bool sure)
{
	const struct points *p = &tl->points;
	size_t past = array_search(p->commits, p->nr_commits, c, c->ordinal <= hole->last_ordinal);
	size_t first = array_search(p->commits, p->nr_commits, c, c->ordinal < hole->first_ordinal);
	uint64_t before_seq = first ? p->commits[first - 1].cut_seq : 0;

	sure = sure && (hole->first_ordinal == 1 ||
			(first && p->commits[first - 1].ordinal + 1 == hole->first_ordinal));
	hole->label_seq = UINT64_MAX;
	if (past == p->nr_commits)
		return;
	hole->label_seq = p->commits[past].cut_seq;
	if (sure && before_seq < hole->label_seq)
		hole->label_seq--;
}

static const struct timeline_hole *hole_of(const struct timeline *tl, uint64_t segment)
{
	for (size_t i = 0; i < tl->nr_holes; i++)
		if (tl->holes[i].first_segment <= segment && segment <= tl->holes[i].last_segment)
			return &tl->holes[i];
	return NULL;
}

bool timeline_is_lost(const struct timeline *tl, uint64_t segment)
{
	return hole_of(tl, segment) != NULL;
}

bool timeline_is_lost_behind(const struct timeline *tl, uint64_t segment, uint64_t last_ordinal)
{
	const struct timeline_hole *hole = hole_of(tl, segment + 1);

	return hole && hole->first_segment == segment + 1 &&
	       hole->first_ordinal == last_ordinal + 1;
}

static int hole_add(struct timeline *tl, const struct timeline_hole *hole)
{
	if (!array_reserve(&tl->holes, &tl->max_holes, tl->nr_holes + 1))
		return -ENOMEM;
	tl->holes[tl->nr_holes++] = *hole;
	return 0;
}

int timeline_hole_get(struct timeline *tl, uint64_t segment, uint64_t before,
		      struct timeline_hole *out)
{
	const struct timeline_hole *known = hole_of(tl, segment);
	struct timeline_hole hole = { .first_segment = segment };
	bool sure = true;
	int ret;

	if (known) {
		*out = *known;
		return 0;
	}
	/* Of what came later nothing but the segments themselves knows which commits there are. */
	if (segment > tl->settled.last_segment)
		return -EBADMSG;
	hole.known = true;
	hole.pack = manifest_pack(&tl->manifest, segment) ?
		    manifest_pack(&tl->manifest, segment)->number : 0;
	if (before == UINT64_MAX)
		before = ordinal_before(tl, segment, &sure);
	hole.first_ordinal = before + 1;
	hole_end(tl, &hole);
	hole_label(tl, &hole, sure);
	hole.from_seq = hole.first_ordinal > 1 ?
			points_cut_at(&tl->points, hole.first_ordinal - 1) + 1 : 1;
	hole.from_seq = holds_begin(tl, segment, hole.from_seq);
	ret = hole_add(tl, &hole);
	*out = hole;
	return ret;
}

int timeline_hole_unknown(struct timeline *tl, uint64_t first_segment, uint64_t last_segment,
			  uint64_t last_ordinal)
{
	const struct points *p = &tl->points;
	struct timeline_hole hole = {
		.first_segment = first_segment, .last_segment = last_segment,
		.first_ordinal = p->last_ordinal + 1, .last_ordinal = last_ordinal,
		.from_seq = p->last_cut_seq + 1,
	};
	int ret;

	for (size_t i = 0; i < p->nr_open_holds; i++)
		if (p->open_holds[i].from_seq < hole.from_seq)
			hole.from_seq = p->open_holds[i].from_seq;
	ret = hole_add(tl, &hole);
	return ret ? ret : points_skip(&tl->points, last_ordinal);
}

void timeline_holes_end(struct timeline *tl)
{
	for (size_t i = 0; i < tl->nr_holes; i++)
		hole_label(tl, &tl->holes[i], true);
}

size_t timeline_holes(const struct timeline *tl, const struct timeline_hole **out)
{
	*out = tl->holes;
	return tl->nr_holes;
}
