// SPDX-License-Identifier: GPL-2.0-only
/*
 * late - a reader that opened the store a while ago.
 *
 * It still lists what was dropped since, and has open what was merged, packed and removed. Of what is
 * still there it reads all; of the rest what is right, or it hears that the point was dropped.
 */
#include "world.h"

#include <errno.h>

#include "../../userspace/store/timeline_internal.h"

#define SECTORS_LOOKED_AT 24

void late_end(struct store_sim *s)
{
	view_close(s->late_view);
	timeline_close(s->late);
	s->late_view = NULL;
	s->late = NULL;
}

static bool is_dropped(const struct store_sim *s, size_t index)
{
	return points_find(&s->tl->points, s->h.batches[index].cut) == s->tl->points.nr_commits;
}

/* A point that it lists; false: there is none. */
static bool choose(struct store_sim *s, size_t *index)
{
	const struct timeline_commit *commits;
	size_t nr = timeline_commits(s->late, &commits), i = nr ? below(s, nr) : 0;

	if (!nr || !commits[i].listed)
		return false;
	*index = commits[i].ordinal - 1;
	return true;
}

/* Where a bit of the points file turned it may not be known whether the point was dropped. */
static bool may_refuse(const struct store_sim *s, size_t index, int ret)
{
	return sim_env_is_off(s->sim) || (ret == -ESTALE && is_dropped(s, index)) ||
	       (ret == -EBADMSG && s->turned);
}

static void point_look(struct store_sim *s)
{
	char why[TIMELINE_TEXT_BYTES];
	struct view *v;
	size_t index;
	bool right;
	int ret;

	if (!choose(s, &index))
		return;
	ret = view_open(s->late, s->h.batches[index].cut, &v, why);
	s->counts.refused += ret == -ESTALE;
	if (ret && !may_refuse(s, index, ret))
		violation(s, "a reader that came late opens commit %d: %d %s", (int)index + 1, ret,
			  why);
	if (ret)
		return;
	right = is_dropped(s, index) ?
		history_sample(&s->h, v, index, SECTORS_LOOKED_AT, -ESTALE) :
		history_check(&s->h, v, index);
	if (!right && !sim_env_is_off(s->sim))
		violation(s, "a reader that came late: %s", s->h.why);
	s->counts.late++;
	view_close(v);
}

static void late_begin(struct store_sim *s)
{
	char why[TIMELINE_TEXT_BYTES];

	if (reader_open(s, &s->late, why)) {
		s->late = NULL;
		return;
	}
	if (!choose(s, &s->late_index) ||
	    view_open(s->late, s->h.batches[s->late_index].cut, &s->late_view, why))
		s->late_view = NULL;
}

void late_look(struct store_sim *s)
{
	if (s->armed || sim_env_is_off(s->sim))
		return;
	if (!s->late) {
		late_begin(s);
		return;
	}
	point_look(s);
	if (s->late_view && !history_sample(&s->h, s->late_view, s->late_index, SECTORS_LOOKED_AT,
					    is_dropped(s, s->late_index) ? -ESTALE : -EIO) &&
	    !sim_env_is_off(s->sim))
		violation(s, "a view that stayed open: %s", s->h.why);
	if (below(s, 8) == 0)
		late_end(s);
}
