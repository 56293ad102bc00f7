// SPDX-License-Identifier: GPL-2.0-only
/* points - which durable commits are recovery points: DESIGN 1.7. */
#include "points.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "array.h"

#define OPEN UINT64_MAX

void points_fini(struct points *p)
{
	free(p->commits);
	free(p->gaps);
	free(p->holds);
	free(p->repairs);
	free(p->open_holds);
	free(p->bad);
	free(p->members);
	free(p->all_members);
	free(p->volumes);
	free(p->people_gaps);
	memset(p, 0, sizeof(*p));
}

/* -- the rule -- */

static bool held(const struct points *p, uint64_t cut)
{
	size_t past = array_search(p->holds, p->nr_holds, h, h->from_seq <= cut);

	return past && cut < p->holds[past - 1].max_end_seq;
}

/* The highest t0 of repairs that ended at or below the cut. */
static uint64_t repaired_at(const struct points *p, uint64_t cut)
{
	size_t past = array_search(p->repairs, p->nr_repairs, r, r->end_seq <= cut);

	return past ? p->repairs[past - 1].t0_seq : 0;
}

/* How far a repair must reach for a point at this cut: 0, no gap is below it. */
static uint64_t last_gap_at(const struct points *p, uint64_t cut)
{
	size_t past = array_search(p->gaps, p->nr_gaps, g, g->from_seq <= cut);

	return past ? p->gaps[past - 1].to_seq : 0;
}

static void commit_list(const struct points *p, struct timeline_commit *c)
{
	if (held(p, c->cut_seq))
		c->unlisted_why = "hold";
	else if (last_gap_at(p, c->cut_seq) > repaired_at(p, c->cut_seq))
		c->unlisted_why = "gap";
	else
		c->unlisted_why = NULL;
	c->listed = !c->unlisted_why;
}

static void commit_judge(const struct points *p, struct timeline_commit *c)
{
	bool was = c->listed;

	commit_list(p, c);
	/* Listed later than made: what could not be read meanwhile may be in it. */
	if (c->listed && !was && p->nr_bad)
		c->degraded = true;
}

/* Judge again the commits whose cut is at or past @cut. */
static void rejudge_from(struct points *p, uint64_t cut)
{
	size_t i = p->nr_commits;

	while (i > 0 && p->commits[i - 1].cut_seq >= cut)
		i--;
	for (; i < p->nr_commits; i++)
		if (!p->commits[i].listed)
			commit_judge(p, &p->commits[i]);
}

/* -- facts -- */

/* By from_seq; nearly always at the end. */
static int add_gap(struct points *p, uint64_t from, uint64_t to)
{
	size_t at = p->nr_gaps;

	if (!array_reserve(&p->gaps, &p->max_gaps, p->nr_gaps + 1))
		return -ENOMEM;
	while (at > 0 && p->gaps[at - 1].from_seq > from)
		at--;
	memmove(&p->gaps[at + 1], &p->gaps[at], (p->nr_gaps - at) * sizeof(*p->gaps));
	p->gaps[at] = (struct commit_gap){ from, to };
	p->nr_gaps++;
	/* A gap counts from from_seq on, to the end of all that began before. */
	for (; at < p->nr_gaps; at++)
		if (at && p->gaps[at].to_seq < p->gaps[at - 1].to_seq)
			p->gaps[at].to_seq = p->gaps[at - 1].to_seq;
	if (to > p->last_gap_seq)
		p->last_gap_seq = to;
	return 0;
}

static void holds_renew_max(struct points *p, size_t from)
{
	for (size_t i = from; i < p->nr_holds; i++) {
		uint64_t before = i ? p->holds[i - 1].max_end_seq : 0;

		p->holds[i].max_end_seq = p->holds[i].end_seq > before ?
					  p->holds[i].end_seq : before;
	}
}

static struct points_hold *find_hold(struct points *p, uint64_t id)
{
	if (id > p->hold_id)
		return NULL;
	for (size_t i = p->nr_holds; i-- > 0;)
		if (p->holds[i].id == id)
			return &p->holds[i];
	return NULL;
}

static void open_hold_drop(struct points *p, uint64_t id)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->nr_open_holds; i++)
		if (p->open_holds[i].id != id)
			p->open_holds[kept++] = p->open_holds[i];
	p->nr_open_holds = kept;
}

/* The latest word on a hold. *@rejudge: lowest cut that it may list. */
static int add_hold(struct points *p, uint64_t id, uint64_t from, uint64_t end,
		    uint64_t *rejudge)
{
	struct points_hold *hold = find_hold(p, id);
	size_t at = p->nr_holds;

	if (!array_reserve(&p->open_holds, &p->max_open_holds, p->nr_open_holds + 1))
		return -ENOMEM;
	open_hold_drop(p, id);
	if (!end)
		p->open_holds[p->nr_open_holds++] = (struct commit_hold){ id, from, 0 };
	if (hold) {
		/* Its place in the order must not change: it did not, or was refused. */
		hold->end_seq = end ? end : OPEN;
		holds_renew_max(p, hold - p->holds);
		if (hold->from_seq < *rejudge)
			*rejudge = hold->from_seq;
		return 0;
	}
	if (!array_reserve(&p->holds, &p->max_holds, p->nr_holds + 1))
		return -ENOMEM;
	while (at > 0 && p->holds[at - 1].from_seq > from)
		at--;
	memmove(&p->holds[at + 1], &p->holds[at], (p->nr_holds - at) * sizeof(*p->holds));
	p->holds[at] = (struct points_hold){ id, from, end ? end : OPEN, 0 };
	p->nr_holds++;
	holds_renew_max(p, at);
	if (id > p->hold_id)
		p->hold_id = id;
	return 0;
}

/* Keep the ones that matter: a later end with a higher t0. */
static int add_repair(struct points *p, uint64_t t0, uint64_t end, uint64_t *rejudge)
{
	size_t at = p->nr_repairs, drop;

	if (t0 > p->repaired_t0)
		p->repaired_t0 = t0;
	while (at > 0 && p->repairs[at - 1].end_seq > end)
		at--;
	if (at > 0 && p->repairs[at - 1].t0_seq >= t0)
		return 0;
	if (!array_reserve(&p->repairs, &p->max_repairs, p->nr_repairs + 1))
		return -ENOMEM;
	/* An equal end before it, and later ones with no higher t0, say less. */
	if (at > 0 && p->repairs[at - 1].end_seq == end)
		at--;
	for (drop = at; drop < p->nr_repairs && p->repairs[drop].t0_seq <= t0; drop++)
		;
	memmove(&p->repairs[at + 1], &p->repairs[drop],
		(p->nr_repairs - drop) * sizeof(*p->repairs));
	p->repairs[at] = (struct commit_repair){ t0, end };
	p->nr_repairs += 1 + at - drop;
	if (end < *rejudge)
		*rejudge = end;
	return 0;
}

static int add_facts(struct points *p, const struct commit_view *commit, uint64_t *rejudge)
{
	const struct commit_header *h = &commit->header;
	int ret = 0;

	for (uint32_t i = 0; i < h->nr_gaps && !ret; i++)
		ret = add_gap(p, le64toh(commit->gaps[i].from_seq),
			      le64toh(commit->gaps[i].to_seq));
	for (uint32_t i = 0; i < h->nr_holds && !ret; i++)
		ret = add_hold(p, le64toh(commit->holds[i].id),
			       le64toh(commit->holds[i].from_seq),
			       le64toh(commit->holds[i].end_seq), rejudge);
	for (uint32_t i = 0; i < h->nr_repairs && !ret; i++)
		ret = add_repair(p, le64toh(commit->repairs[i].t0_seq),
				 le64toh(commit->repairs[i].end_seq), rejudge);
	return ret;
}

/* -- what could not be read -- */

static int bad_add(struct points *p, const struct footer_extent *e)
{
	if (p->nr_bad == POINTS_MAX_BAD)
		return 0;
	if (!array_reserve(&p->bad, &p->max_bad, p->nr_bad + 1))
		return -ENOMEM;
	p->bad[p->nr_bad++] = (struct points_bad){
		e->extent.volume, e->extent.offset_bytes,
		e->extent.offset_bytes + e->extent.length_bytes, e->label_seq };
	return 0;
}

/* A newer version of a stretch: what lies under it is no longer seen. */
static int bad_hide(struct points *p, const struct footer_extent *e)
{
	uint64_t start = e->extent.offset_bytes, end = start + e->extent.length_bytes;
	size_t kept = 0, nr = p->nr_bad;

	if (nr == POINTS_MAX_BAD)
		return 0;
	for (size_t i = 0; i < nr; i++) {
		struct points_bad b = p->bad[i];

		if (b.volume != e->extent.volume || b.label_seq > e->label_seq ||
		    b.end_bytes <= start || b.offset_bytes >= end) {
			p->bad[kept++] = b;
			continue;
		}
		if (b.end_bytes > end) {
			/* Appended behind, so that nothing unseen is overwritten. */
			if (!array_reserve(&p->bad, &p->max_bad, p->nr_bad + 1))
				return -ENOMEM;
			p->bad[p->nr_bad] = b;
			p->bad[p->nr_bad++].offset_bytes = end;
		}
		if (b.offset_bytes < start) {
			p->bad[kept] = b;
			p->bad[kept++].end_bytes = start;
		}
	}
	memmove(&p->bad[kept], &p->bad[nr], (p->nr_bad - nr) * sizeof(*p->bad));
	p->nr_bad -= nr - kept;
	if (p->nr_bad > POINTS_MAX_BAD)
		p->nr_bad = POINTS_MAX_BAD;
	return 0;
}

/*
 * Read-backs first, then the batch's own records: they win over it. Records of earlier
 * batches newer than the stamp are not looked up, so this may call a point degraded
 * that is not; never the reverse.
 */
static int add_bad(struct points *p, const struct footer_extent *extents, size_t nr)
{
	int ret = 0;

	for (int records = 0; records < 2; records++) {
		for (size_t i = 0; i < nr && !ret; i++) {
			const struct footer_extent *e = &extents[i];

			if ((e->readback_no == 0) != records)
				continue;
			if (e->readback_no > p->readback_no)
				p->readback_no = e->readback_no;
			if (p->nr_bad)
				ret = bad_hide(p, e);
			if (!ret && e->extent.kind == EXTENT_UNREADABLE)
				ret = bad_add(p, e);
		}
	}
	return ret;
}

/* -- members -- */

static bool members_same(const struct points *p, const struct commit_view *commit)
{
	const struct points_members *last = p->nr_members ? &p->members[p->nr_members - 1] : NULL;

	if (!last || last->nr != commit->header.nr_volumes)
		return false;
	for (uint32_t i = 0; i < last->nr; i++) {
		const struct points_member *m = &p->all_members[last->first + i];

		if (m->volume != le16toh(commit->volumes[i].volume) ||
		    m->size_bytes != le64toh(commit->volumes[i].size_bytes))
			return false;
	}
	return true;
}

/* They hardly ever change: kept once for all commits that have the same. */
static int add_members(struct points *p, const struct commit_view *commit)
{
	uint32_t nr = commit->header.nr_volumes;

	if (members_same(p, commit))
		return 0;
	if (!array_reserve(&p->members, &p->max_members, p->nr_members + 1) ||
	    !array_reserve(&p->all_members, &p->max_all_members, p->nr_all_members + nr))
		return -ENOMEM;
	p->members[p->nr_members++] = (struct points_members){
		commit->header.ordinal, p->nr_all_members, nr };
	for (uint32_t i = 0; i < nr; i++)
		p->all_members[p->nr_all_members++] = (struct points_member){
			le16toh(commit->volumes[i].volume), le64toh(commit->volumes[i].size_bytes) };
	return 0;
}

static bool volumes_reserve(struct points *p, size_t nr)
{
	if (!array_reserve(&p->volumes, &p->max_volumes, nr))
		return false;
	while (p->nr_volumes < nr)
		p->volumes[p->nr_volumes++] = (struct points_volume){ .log_no = 0 };
	return true;
}

static int add_data(struct points *p, const struct footer_extent *extents, size_t nr_extents)
{
	size_t nr = p->nr_volumes;

	for (size_t i = 0; i < nr_extents; i++)
		if (extents[i].extent.volume >= nr)
			nr = extents[i].extent.volume + 1;
	if (!volumes_reserve(p, nr))
		return -ENOMEM;
	for (size_t i = 0; i < nr_extents; i++)
		p->volumes[extents[i].extent.volume].has_data = true;
	return 0;
}

static int add_members_now(struct points *p, const struct commit_view *commit)
{
	size_t nr = p->nr_volumes;

	for (uint32_t i = 0; i < commit->header.nr_volumes; i++)
		if (le16toh(commit->volumes[i].volume) >= nr)
			nr = le16toh(commit->volumes[i].volume) + 1;
	if (!volumes_reserve(p, nr))
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		p->volumes[i].member = false;
		p->volumes[i].log_no = 0;
	}
	for (uint32_t i = 0; i < commit->header.nr_volumes; i++) {
		struct points_volume *v = &p->volumes[le16toh(commit->volumes[i].volume)];

		v->member = true;
		v->log_no = le32toh(commit->volumes[i].log_no);
	}
	return 0;
}

size_t points_members(const struct points *p, size_t index, const struct points_member **out)
{
	uint64_t ordinal = p->commits[index].ordinal;
	size_t past = array_search(p->members, p->nr_members, m, m->ordinal <= ordinal);

	if (past == 0)
		return 0;
	*out = p->all_members + p->members[past - 1].first;
	return p->members[past - 1].nr;
}

size_t points_find(const struct points *p, uint64_t cut_seq)
{
	size_t at = array_search(p->commits, p->nr_commits, c, c->cut_seq < cut_seq);

	return at < p->nr_commits && p->commits[at].cut_seq == cut_seq ? at : p->nr_commits;
}

uint64_t points_cut_at(const struct points *p, uint64_t ordinal)
{
	size_t i = p->nr_commits;

	if (ordinal >= p->last_ordinal)
		return p->last_cut_seq;
	while (i > 0 && p->commits[i - 1].ordinal > ordinal)
		i--;
	return i ? p->commits[i - 1].cut_seq : 0;
}

/* -- */

int points_add_batch(struct points *p, const struct footer_extent *extents, size_t nr_extents)
{
	int ret = add_bad(p, extents, nr_extents);

	return ret ? ret : add_data(p, extents, nr_extents);
}

int points_add(struct points *p, const struct commit_view *commit,
	       const struct footer_extent *extents, size_t nr_extents)
{
	const struct commit_header *h = &commit->header;
	uint64_t rejudge = OPEN;
	bool was_bad = p->nr_bad;
	struct timeline_commit *c;
	int ret;

	if (!array_reserve(&p->commits, &p->max_commits, p->nr_commits + 1))
		return -ENOMEM;
	ret = points_add_batch(p, extents, nr_extents);
	if (!ret)
		ret = add_members(p, commit);
	if (!ret)
		ret = add_members_now(p, commit);
	if (!ret)
		ret = add_facts(p, commit, &rejudge);
	if (ret)
		return ret;
	if (was_bad && !p->nr_bad && rejudge != OPEN) {
		/* Those it lists are older than the repair of what was unreadable. */
		for (size_t i = p->nr_commits; i-- > 0 && p->commits[i].cut_seq >= rejudge;)
			if (!p->commits[i].listed)
				p->commits[i].degraded = true;
	}
	rejudge_from(p, rejudge);
	c = &p->commits[p->nr_commits++];
	*c = (struct timeline_commit){
		.ordinal = h->ordinal, .cut_seq = h->cut_seq, .time_ns = h->time_ns,
		.current_to_ns = h->current_to_ns, .target_time_ns = h->target_time_ns,
		/* A clock that went back makes nothing older than what came before it. */
		.since_ns = h->target_time_ns > p->last_since_ns ? h->target_time_ns :
			    p->last_since_ns,
		.batch_bytes = h->batch_bytes, .written_bytes = h->written_bytes,
		.nr_records = h->nr_records, .flags = h->flags,
		.degraded = h->flags & COMMIT_DEGRADED,
	};
	commit_judge(p, c);
	c->degraded |= p->nr_bad > 0;
	p->last_ordinal = c->ordinal;
	p->last_cut_seq = c->cut_seq;
	p->last_time_ns = c->time_ns;
	p->last_since_ns = c->since_ns;
	p->people_gaps_valid = false;
	return 0;
}

int points_renew(struct points *p)
{
	holds_renew_max(p, 0);
	p->nr_open_holds = 0;
	for (size_t i = 0; i < p->nr_holds; i++) {
		const struct points_hold *h = &p->holds[i];

		if (h->end_seq != OPEN)
			continue;
		if (!array_reserve(&p->open_holds, &p->max_open_holds, p->nr_open_holds + 1))
			return -ENOMEM;
		p->open_holds[p->nr_open_holds++] = (struct commit_hold){ h->id, h->from_seq, 0 };
	}
	for (size_t i = 0; i < p->nr_commits; i++)
		commit_list(p, &p->commits[i]);
	p->people_gaps_valid = false;
	return 0;
}

void points_adopt(struct points *p, const struct points *stored)
{
	uint64_t since_ns = stored->last_since_ns;
	size_t kept = 0, i = 0, j = 0;

	if (p == stored)
		return;
	for (; i < p->nr_commits && p->commits[i].ordinal <= stored->last_ordinal; i++) {
		while (j < stored->nr_commits &&
		       stored->commits[j].ordinal < p->commits[i].ordinal)
			j++;
		if (j == stored->nr_commits || stored->commits[j].ordinal != p->commits[i].ordinal)
			continue;
		p->commits[kept] = p->commits[i];
		p->commits[kept++].since_ns = stored->commits[j].since_ns;
	}
	for (; i < p->nr_commits; i++) {
		p->commits[kept] = p->commits[i];
		if (p->commits[kept].target_time_ns > since_ns)
			since_ns = p->commits[kept].target_time_ns;
		p->commits[kept++].since_ns = since_ns;
	}
	p->nr_commits = kept;
	p->last_since_ns = since_ns;
	p->aged_ns = stored->aged_ns;
	p->people_gaps_valid = false;
}

void points_forget(struct points *p, uint64_t ordinal)
{
	size_t nr = 0;

	while (nr < p->nr_commits && p->commits[nr].ordinal <= ordinal)
		nr++;
	if (nr == 0)
		return;
	p->nr_commits -= nr;
	memmove(p->commits, p->commits + nr, p->nr_commits * sizeof(*p->commits));
	p->people_gaps_valid = false;
}

int points_skip(struct points *p, uint64_t ordinal)
{
	uint64_t end_seq = p->last_cut_seq + 1, rejudge = OPEN;
	int ret = 0;

	/* Past all cuts there are so far: of those nothing changes. */
	for (size_t i = 0; i < p->nr_holds; i++)
		if (p->holds[i].end_seq == OPEN)
			p->holds[i].end_seq = end_seq;
	if (p->last_gap_seq > p->repaired_t0)
		ret = add_repair(p, p->last_gap_seq, end_seq, &rejudge);
	p->last_ordinal = ordinal;
	return ret ? ret : points_renew(p);
}

void points_keep(struct points *p, const struct thin_cuts *cuts)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->nr_commits; i++)
		if (thin_cut_is_kept(cuts, p->commits[i].cut_seq))
			p->commits[kept++] = p->commits[i];
	p->nr_commits = kept;
	p->people_gaps_valid = false;
}

static bool people_gap_add(struct points *p, uint64_t from_ns, uint64_t to_ns)
{
	if (!array_reserve(&p->people_gaps, &p->max_people_gaps, p->nr_people_gaps + 1))
		return false;
	p->people_gaps[p->nr_people_gaps++] = (struct timeline_gap){ from_ns, to_ns };
	return true;
}

size_t points_gaps(struct points *p, const struct timeline_gap **out)
{
	uint64_t last_listed_ns = 0;
	bool in_gap = false;

	*out = p->people_gaps;
	if (p->people_gaps_valid)
		return p->nr_people_gaps;
	p->nr_people_gaps = 0;
	for (size_t i = 0; i < p->nr_commits; i++) {
		const struct timeline_commit *c = &p->commits[i];

		if (c->listed && in_gap && !people_gap_add(p, last_listed_ns, c->time_ns))
			break;
		in_gap = !c->listed;
		if (c->listed)
			last_listed_ns = c->time_ns;
	}
	if (in_gap)
		people_gap_add(p, last_listed_ns, 0);
	p->people_gaps_valid = true;
	*out = p->people_gaps;
	return p->nr_people_gaps;
}
