// SPDX-License-Identifier: GPL-2.0-only
/* space - what a timeline takes on disk, how fast that grows, and what its policy may need. */
#include "space.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timeline_internal.h"

#define PATH_BYTES	4096
#define DAY_NS		(UINT64_C(86400) * 1000000000)
#define MIN_MEASURED_NS	(UINT64_C(600) * 1000000000)	/* less says nothing of a day */

/* -- files -- */

bool space_is_data(const char *name)
{
	const char *suffix = strchr(name, '.');

	return suffix && (!strcmp(suffix, ".seg") || !strcmp(suffix, ".pack"));
}

uint64_t space_of_file(struct env *env, const char *path)
{
	struct env_file *file;
	uint64_t bytes;

	if (env->ops->open(env, path, ENV_READ, &file))
		return 0;
	if (env->ops->size(env, file, &bytes))
		bytes = 0;
	env->ops->close(env, file);
	return bytes;
}

struct sizes {
	struct env *env;
	const char *dir;
	uint64_t data_bytes, index_bytes;
};

static void size_add(void *arg, const char *name)
{
	struct sizes *s = arg;
	const char *suffix = strchr(name, '.');
	char path[PATH_BYTES];

	snprintf(path, sizeof(path), "%s/%s", s->dir, name);
	if (space_is_data(name) || (suffix && !strcmp(suffix, ".pack.new")))
		s->data_bytes += space_of_file(s->env, path);
	else if (suffix || !strcmp(name, "manifest"))
		s->index_bytes += space_of_file(s->env, path);
}

int space_of_dir(struct env *env, const char *dir, uint64_t *data_bytes, uint64_t *index_bytes)
{
	struct sizes s = { .env = env, .dir = dir };
	int ret = env->ops->list(env, dir, size_add, &s);

	if (ret)
		return ret;
	*data_bytes = s.data_bytes;
	*index_bytes = s.index_bytes;
	return 0;
}

/* -- rates -- */

uint64_t space_rate(const struct timeline_commit *commits, size_t nr, uint64_t *measured_ns)
{
	uint64_t bytes = 0, span_ns = 0;

	*measured_ns = 0;
	for (size_t i = nr; i-- > 1;) {
		const struct timeline_commit *c = &commits[i], *before = c - 1;

		if (before->ordinal + 1 != c->ordinal ||
		    before->target_time_ns > commits[nr - 1].target_time_ns)
			break;
		span_ns = commits[nr - 1].target_time_ns - before->target_time_ns;
		if (span_ns > DAY_NS)
			break;
		bytes += c->batch_bytes;
		*measured_ns = span_ns;
	}
	if (*measured_ns < MIN_MEASURED_NS) {
		*measured_ns = 0;
		return 0;
	}
	return (double)bytes * DAY_NS / *measured_ns;
}

uint64_t space_days_left(uint64_t free_bytes, uint64_t now_bytes, uint64_t most_bytes,
			 uint64_t day_bytes)
{
	if (!day_bytes || (most_bytes && most_bytes <= now_bytes + free_bytes))
		return UINT64_MAX;
	return free_bytes / day_bytes;
}

/* What the policy keeps if nothing is ever overwritten: a first copy, and all that comes. */
static uint64_t most_bytes(const struct timeline *tl, const struct space *s)
{
	uint64_t immutable_ns, for_ns, first = 0;
	const struct retention_policy *p = timeline_retention(tl, &immutable_ns);

	if (!p || !s->day_bytes)
		return 0;
	for_ns = p->tiers[p->nr_tiers - 1].for_ns;
	for (size_t i = 0; i < tl->manifest.nr_volumes; i++)
		if (tl->manifest.volumes[i].member)
			first += tl->manifest.volumes[i].size_bytes;
	if (first > s->data_bytes)
		first = s->data_bytes;
	return first + (double)s->day_bytes * for_ns / DAY_NS;
}

/* Less and less, until it has been open for as long as the window is. */
static uint64_t window_bytes(const struct timeline *tl, const struct space *s)
{
	uint64_t immutable_ns, old_ns;

	if (!timeline_retention(tl, &immutable_ns) || !tl->points.nr_commits)
		return 0;
	old_ns = timeline_age_now(tl) - tl->points.commits[0].target_time_ns;
	if ((int64_t)old_ns < 0)
		old_ns = 0;
	return old_ns < immutable_ns ? (double)s->day_bytes * (immutable_ns - old_ns) / DAY_NS : 0;
}

void space_rates(const struct timeline *tl, struct space *s)
{
	s->day_bytes = space_rate(tl->points.commits, tl->points.nr_commits, &s->measured_ns);
	if (s->data_bytes)
		s->day_bytes *= 1.0 + (double)s->index_bytes / s->data_bytes;
	s->most_bytes = most_bytes(tl, s);
	s->window_bytes = window_bytes(tl, s);
}

/* -- */

/* Of the pinned points those that would go: as retention would see it now. */
static int count_pinned(struct timeline *tl, struct space *s)
{
	struct points_retain with, without;
	struct retention_past *past = NULL;
	struct timeline_commit *copy;
	struct points p = tl->points;
	uint64_t *pinned = NULL;
	size_t nr_with = 0, nr_without = 0;
	int ret = timeline_retain_get(tl, &with, &past, &pinned);

	s->nr_pins = with.nr_pinned;
	copy = malloc((p.nr_commits + 1) * sizeof(*copy));
	if (!ret && !copy)
		ret = -ENOMEM;
	without = with;
	without.nr_pinned = 0;
	p.commits = copy;
	p.aged_ns = timeline_age_now(tl);
	for (int i = 0; i < 2 && !ret && with.retention.policy.nr_tiers; i++) {
		p.nr_commits = tl->points.nr_commits;
		if (p.nr_commits)
			memcpy(copy, tl->points.commits, p.nr_commits * sizeof(*copy));
		ret = points_retain(&p, i ? &with : &without, i ? &nr_with : &nr_without);
	}
	if (!ret)
		s->pinned = nr_without - nr_with;
	free(copy);
	free(past);
	free(pinned);
	return ret;
}

int space_measure(struct timeline *tl, struct space *out)
{
	struct space s = { .data_bytes = 0 };
	const struct points *p = &tl->points;
	int ret = space_of_dir(tl->env, tl->dir, &s.data_bytes, &s.index_bytes);

	if (!ret)
		ret = count_pinned(tl, &s);
	if (ret)
		return ret;
	for (size_t i = 0; i < p->nr_commits; i++) {
		if (!p->commits[i].listed)
			continue;
		s.nr_points++;
		if (!s.oldest_ns)
			s.oldest_ns = p->commits[i].time_ns;
	}
	space_rates(tl, &s);
	*out = s;
	return 0;
}
