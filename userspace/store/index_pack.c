// SPDX-License-Identifier: GPL-2.0-only
/* index_pack - the job of the index that gives space back: docs/PACK.md. */
#include "index_pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "pack_plan.h"
#include "points_file.h"
#include "timeline_internal.h"

#define PATH_BYTES	4096
#define MAX_PACKS	16		/* of one job */
#define MAX_LIVE	(4u << 20)	/* pieces in memory: 48 MiB, twice while they are found */

/*
 * To look costs a pass over the index, a hundredth of the history or less. So it is done when
 * this part of it is new or was dropped.
 */
#define LOOK_SEGMENTS	4
#define LOOK_PART	8
#define LOOK_DROPPED	64

/* -- planning -- */

/* Runs for all that is settled, none of which is of no use. */
static bool runs_cover(const struct timeline *tl, uint64_t last_segment)
{
	const struct manifest *m = &tl->manifest;
	uint64_t covered = 0;

	for (size_t i = 0; i < m->nr_runs; i++) {
		if (m->runs[i].first_segment != covered + 1 ||
		    timeline_run_is_bad(tl, m->runs[i].number))
			return false;
		covered = m->runs[i].last_segment;
	}
	return covered >= last_segment;
}

static uint64_t nr_dropped(const struct timeline *tl)
{
	const struct manifest_points *p = &tl->manifest.points;

	return p->last_ordinal - p->nr_commits;
}

static size_t nr_files(const struct timeline *tl)
{
	const struct manifest *m = &tl->manifest;
	size_t nr = tl->settled.last_segment + m->nr_packs;

	for (size_t i = 0; i < m->nr_packs; i++)
		nr -= m->packs[i].last_segment - m->packs[i].first_segment + 1;
	return nr;
}

static bool look_is_due(const struct timeline *tl)
{
	uint64_t segments = tl->settled.last_segment - tl->looked.segment;
	uint64_t dropped = nr_dropped(tl) - tl->looked.nr_dropped;

	return tl->looked.more || segments >= LOOK_SEGMENTS + nr_files(tl) / LOOK_PART ||
	       dropped >= LOOK_DROPPED + tl->manifest.points.nr_commits / LOOK_PART;
}

static void sources_fill(const struct timeline *tl, struct index_pack *job)
{
	const struct manifest *m = &tl->manifest;

	for (uint64_t n = 1; n <= job->settled_segment; n++) {
		const struct manifest_segment_end *end = manifest_end(m, n);
		const struct manifest_pack *pack = manifest_pack(m, n);
		struct pack_source *s = &job->sources[job->nr_sources++];

		*s = (struct pack_source){ .segment = n, .end_limit = end ? end->end_offset : 0 };
		if (pack) {
			s->pack = *pack;
			n = pack->last_segment;
		}
	}
}

bool index_pack_plan(const struct timeline *tl, struct index_pack *job)
{
	const struct manifest *m = &tl->manifest;

	memset(job, 0, sizeof(*job));
	if (!tl->packing || tl->points_bad || !tl->settled.last_segment || !look_is_due(tl) ||
	    !runs_cover(tl, tl->settled.last_segment))
		return false;
	job->settled_segment = tl->settled.last_segment;
	job->nr_dropped = nr_dropped(tl);
	job->points = m->points;
	job->alone = m->points.flags & MANIFEST_POINTS_LEFT_OUT || m->nr_packs;
	job->number = manifest_next_pack(m);
	job->keys = tl->keys;
	job->nr_runs = m->nr_runs;
	job->runs = malloc(m->nr_runs * sizeof(*job->runs));
	job->sources = malloc(nr_files(tl) * sizeof(*job->sources));
	job->made = malloc(MAX_PACKS * sizeof(*job->made));
	if (!job->runs || !job->sources || !job->made || timeline_kept_cuts(tl, &job->kept)) {
		index_pack_free(job);
		return false;
	}
	memcpy(job->runs, m->runs, m->nr_runs * sizeof(*job->runs));
	sources_fill(tl, job);
	return true;
}

void index_pack_free(struct index_pack *job)
{
	free(job->runs);
	free(job->sources);
	free(job->kept.cuts);
	free(job->made);
	memset(job, 0, sizeof(*job));
}

/* -- doing -- */

struct choice {
	size_t first, nr;	/* sources */
};

static struct pack_range choice_range(const struct index_pack *job, const struct choice *c)
{
	const struct pack_source *first = &job->sources[c->first], *last = first + c->nr - 1;

	return (struct pack_range){ first->segment,
				    last->pack.number ? last->pack.last_segment : last->segment };
}

/* Which sources, side by side, become one pack each. */
static int choose(struct index_pack *job, const struct pack_index *index, struct choice *choices,
		  size_t *nr)
{
	struct thin_file *files = calloc(job->nr_sources + 1, sizeof(*files));
	size_t from = 0;
	int ret;

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < job->nr_sources; i++) {
		const struct choice one = { i, 1 };
		const struct pack_range range = choice_range(job, &one);

		files[i] = (struct thin_file){
			.first_segment = range.first, .last_segment = range.last,
			.is_pack = job->sources[i].pack.number,
			.data_bytes = job->sources[i].pack.live_bytes };
	}
	ret = pack_plan_count(index, files, job->nr_sources);
	*nr = 0;
	while (!ret && *nr < MAX_PACKS &&
	       (choices[*nr].nr = thin_choose(files, job->nr_sources, &from,
					      &choices[*nr].first)))
		++*nr;
	job->more = *nr == MAX_PACKS;
	free(files);
	return ret;
}

/* What lives in as many of them as there is memory for. */
static int find_live(struct index_pack *job, const struct pack_index *index,
		     const struct choice *choices, size_t *nr, struct pack_live **live,
		     size_t *nr_live)
{
	struct pack_range ranges[MAX_PACKS];
	int ret;

	for (size_t i = 0; i < *nr; i++)
		ranges[i] = choice_range(job, &choices[i]);
	while ((ret = pack_plan_live(index, ranges, *nr, MAX_LIVE, live, nr_live)) == -E2BIG &&
	       *nr > 1) {
		*nr /= 2;
		job->more = true;
	}
	return ret;
}

static int build(struct index_pack *job, struct pack_job *pack, const struct choice *choices,
		 size_t nr, const struct pack_live *live, size_t nr_live)
{
	int ret = 0;

	for (size_t i = 0; i < nr && !ret; i++) {
		const struct pack_range range = choice_range(job, &choices[i]);

		pack->number = job->number + job->nr_made;
		pack->sources = &job->sources[choices[i].first];
		pack->nr_sources = choices[i].nr;
		while (nr_live && live->segment < range.first)
			live++, nr_live--;
		pack->live = live;
		pack->nr_live = 0;
		while (pack->nr_live < nr_live && live[pack->nr_live].segment <= range.last)
			pack->nr_live++;
		ret = pack_build(pack, &job->made[job->nr_made]);
		if (!ret)
			job->nr_made++;
		/* What is damaged stays as it is; a check tells of it. */
		if (ret == -EBADMSG || ret == -EIO)
			ret = 0;
	}
	return ret;
}

/*
 * Of what is packed only the points file knows the commits: as long as it can be made anew
 * both its copies must be good before that begins.
 */
static int points_check(struct index_pack *job, struct env *env, const char *dir,
			const uint8_t *timeline)
{
	struct points_file file;
	unsigned int nr_bad = 0;
	int ret = points_file_read(env, dir, timeline, &job->points, &file, &nr_bad);

	if (!ret)
		points_fini(&file.points);
	if (!ret && nr_bad && !job->alone)
		ret = -EBADMSG;
	job->points_bad = ret == -ENOENT || ret == -EBADMSG;
	return ret;
}

int index_pack_run(struct index_pack *job, struct env *env, const char *dir,
		   const uint8_t *timeline, const struct run_pace *pace)
{
	const struct thin_cuts cuts = { job->kept.cuts, job->kept.nr, job->kept.settled_cut };
	const struct pack_index index = { env, dir, timeline, job->runs, job->nr_runs, &cuts, pace };
	struct pack_job pack = { .env = env, .dir = dir, .timeline = timeline,
				 .points_no = job->points.number, .cuts = &cuts, .keys = job->keys,
				 .pace = pace };
	struct choice choices[MAX_PACKS];
	struct pack_live *live = NULL;
	size_t nr = 0, nr_live = 0;
	int ret = points_check(job, env, dir, timeline);

	if (!ret)
		ret = choose(job, &index, choices, &nr);
	if (!ret && nr)
		ret = find_live(job, &index, choices, &nr, &live, &nr_live);
	if (!ret && nr)
		ret = build(job, &pack, choices, nr, live, nr_live);
	free(live);
	return ret;
}

/* -- taking -- */

static void source_remove(struct timeline *tl, const struct pack_source *s)
{
	char path[PATH_BYTES];

	/* What stays behind is removed when the timeline is opened. */
	if (s->pack.number)
		pack_path(path, sizeof(path), tl->dir, s->pack.number, 0);
	else
		segment_path(path, sizeof(path), tl->dir, s->segment);
	tl->env->ops->unlink(tl->env, path);
}

int index_pack_take(struct timeline *tl, const struct index_pack *job)
{
	char path[PATH_BYTES];
	int ret = 0;

	/* Unless it alone knows, it can be made again from the segments. */
	if (job->points_bad && !job->alone)
		tl->points_bad = true;
	tl->looked = (struct pack_looked){ job->settled_segment, job->nr_dropped, job->more };
	for (size_t i = 0; i < job->nr_made; i++) {
		const struct manifest_pack *made = &job->made[i];

		/* Not named, and none with this number will be: the next has a higher one. */
		if (ret) {
			pack_path(path, sizeof(path), tl->dir, made->number, 0);
			tl->env->ops->unlink(tl->env, path);
			continue;
		}
		ret = manifest_add_pack(&tl->manifest, made);
		for (size_t k = 0; k < job->nr_sources && !ret; k++)
			if (job->sources[k].segment >= made->first_segment &&
			    job->sources[k].segment <= made->last_segment)
				source_remove(tl, &job->sources[k]);
	}
	return ret;
}
