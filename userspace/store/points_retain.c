// SPDX-License-Identifier: GPL-2.0-only
/* points_retain - leave out the commits that a policy does not keep. */
#include "points_retain.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"

static bool is_pinned(const struct points_retain *r, uint64_t cut)
{
	size_t at = array_search(r->pinned, r->nr_pinned, pin, *pin < cut);

	return at < r->nr_pinned && r->pinned[at] == cut;
}

static bool is_old_line(const struct points_retain *r, const struct timeline_commit *c)
{
	return r->old_line_from && c->cut_seq >= r->old_line_from;
}

/* The listed ones of the main line, as retention.h wants them. */
static void judge_listed(const struct points *p, const struct points_retain *r,
			 struct retention_point *items, bool *keep)
{
	size_t nr = 0;

	for (size_t i = 0; i < p->nr_commits; i++)
		if (p->commits[i].listed && !is_old_line(r, &p->commits[i]))
			items[nr++] = (struct retention_point){
				.time_ns = p->commits[i].since_ns };
	retention_apply(&r->retention, p->aged_ns, items, nr);
	nr = 0;
	for (size_t i = 0; i < p->nr_commits; i++)
		if (p->commits[i].listed && !is_old_line(r, &p->commits[i]))
			keep[i] = items[nr++].keep;
}

/* A hold that is closed later may list what lies at or past its beginning. */
static uint64_t may_be_listed_from(const struct points *p)
{
	uint64_t from = UINT64_MAX;

	for (size_t i = 0; i < p->nr_open_holds; i++)
		if (p->open_holds[i].from_seq < from)
			from = p->open_holds[i].from_seq;
	return from;
}

static void judge_others(const struct points *p, const struct points_retain *r, bool *keep)
{
	uint64_t young_ns = r->retention.policy.tiers[0].for_ns, from = may_be_listed_from(p);
	size_t first = 0;

	for (size_t i = 0; i < p->nr_commits; i++) {
		const struct timeline_commit *c = &p->commits[i];

		if (!c->listed)
			keep[i] = c->cut_seq >= from || p->aged_ns - c->since_ns < young_ns;
		if (p->commits[first].cut_seq != c->cut_seq)
			first = i;
		if (is_old_line(r, c))
			keep[i] = true;
		if (keep[i] || is_pinned(r, c->cut_seq))
			keep[first] = true;
	}
	keep[p->nr_commits - 1] = true;
}

int points_retain(struct points *p, const struct points_retain *r, size_t *nr_left_out)
{
	struct retention_point *items;
	size_t kept = 0;
	bool *keep;

	*nr_left_out = 0;
	if (!r->retention.policy.nr_tiers || !p->nr_commits)
		return 0;
	items = malloc(p->nr_commits * sizeof(*items));
	keep = calloc(p->nr_commits, sizeof(*keep));
	if (!items || !keep) {
		free(items);
		free(keep);
		return -ENOMEM;
	}
	judge_listed(p, r, items, keep);
	judge_others(p, r, keep);
	for (size_t i = 0; i < p->nr_commits; i++)
		if (keep[i])
			p->commits[kept++] = p->commits[i];
	*nr_left_out = p->nr_commits - kept;
	p->nr_commits = kept;
	p->people_gaps_valid = false;
	free(items);
	free(keep);
	return 0;
}
