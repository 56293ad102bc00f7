// SPDX-License-Identifier: GPL-2.0-only
/* index_pack - the job of the index that gives space back: docs/PACK.md. */
#include "index_pack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "manifest_copy.h"
#include "pack_aside.h"
#include "pack_choose.h"
#include "points_file.h"
#include "points_packed.h"
#include "timeline_internal.h"

#define PACK_NAME_BYTES	32

/*
 * To look costs a pass over the index, a hundredth of the history or less. So it is done when
 * this part of it is new or was dropped.
 */
#define LOOK_SEGMENTS	4
#define LOOK_PART	8
#define LOOK_DROPPED	64

#define S_NS		UINT64_C(1000000000)
#define RETRY_NS	(300 * S_NS)		/* what failed, or had no room */

/* What comes in while a pack is made and named: more than a second of it. */
#define RESERVE_BYTES	(UINT64_C(256) << 20)
#define LAST_PART	16		/* of less than that, packs may take this part */

/* -- planning -- */

static uint64_t now_ns(const struct timeline *tl)
{
	return tl->env->ops->monotonic_ns(tl->env);
}

static uint64_t nr_dropped(const struct timeline *tl)
{
	const struct manifest_points *p = &tl->manifest.points;

	return p->last_ordinal - p->nr_commits;
}

/* Of what is settled: a pack that ends beyond counts as far as that goes. */
static size_t nr_files(const struct timeline *tl)
{
	const struct manifest *m = &tl->manifest;
	const uint64_t settled = tl->settled.last_segment;
	size_t nr = settled;

	for (size_t i = 0; i < m->nr_packs && m->packs[i].first_segment <= settled; i++)
		nr -= (m->packs[i].last_segment < settled ? m->packs[i].last_segment : settled) -
		      m->packs[i].first_segment;
	return nr;
}

static bool look_is_due(const struct timeline *tl)
{
	const struct timeline_packing *p = &tl->packing;
	uint64_t segments = tl->settled.last_segment - p->looked.segment;
	uint64_t dropped = nr_dropped(tl) - p->looked.nr_dropped;

	for (size_t i = 0; i < p->asides.nr; i++)
		if (!p->asides.items[i].run && now_ns(tl) >= p->asides.items[i].until_ns)
			return true;
	return p->looked.more || segments >= LOOK_SEGMENTS + nr_files(tl) / LOOK_PART ||
	       dropped >= LOOK_DROPPED + tl->manifest.points.nr_commits / LOOK_PART;
}

static void runs_fill(const struct timeline *tl, struct index_pack *job)
{
	const struct manifest *m = &tl->manifest;

	for (size_t i = 0; i < m->nr_runs; i++)
		if (!timeline_run_is_bad(tl, m->runs[i].number))
			job->runs[job->nr_runs++] = m->runs[i];
}

static bool runs_have(const struct index_pack *job, uint64_t segment)
{
	for (size_t i = 0; i < job->nr_runs; i++)
		if (job->runs[i].first_segment <= segment && segment <= job->runs[i].last_segment)
			return true;
	return false;
}

/*
 * Why a file is left as it is; 0: it need not be. What lives in one of which there is no run is
 * not known. Of the others it is: a version that is not seen makes nothing dead.
 */
static int source_error(const struct timeline *tl, const struct index_pack *job,
			const struct pack_source *s)
{
	const uint64_t last = s->pack.number ? s->pack.last_segment : s->segment;
	const struct pack_aside *a;

	for (uint64_t n = s->segment; n <= last; n++)
		if (!runs_have(job, n))
			return -ENODATA;
	a = pack_aside_find(&tl->packing.asides, s->segment, s->pack.number, false,
			    job->planned_ns);
	return a ? a->error : 0;
}

/* Whether all has a run that can have one. */
static bool sources_fill(const struct timeline *tl, struct index_pack *job)
{
	const struct manifest *m = &tl->manifest;
	bool wait = false;

	for (uint64_t n = 1; n <= job->settled_segment; n++) {
		const struct manifest_segment_end *end = manifest_end(m, n);
		const struct manifest_pack *pack = manifest_pack(m, n);
		struct pack_source *s = &job->sources[job->nr_sources++];

		*s = (struct pack_source){ .segment = n, .end_limit = end ? end->end_offset : 0 };
		if (pack) {
			s->pack = *pack;
			n = pack->last_segment;
		} else if (manifest_pack(m, n + 1)) {
			s->next = *manifest_pack(m, n + 1);
		}
		s->error = source_error(tl, job, s);
		wait |= s->error == -ENODATA &&
			!pack_aside_find(&tl->packing.asides, s->segment, s->pack.number, true,
					 job->planned_ns);
	}
	return !wait;
}

/*
 * Who found his point there had his lease before the record that dropped it: so whoever plans a
 * pack after that record sees it. One that came later may lack what is gone.
 */
static int leased_fill(struct timeline *tl, struct index_pack *job)
{
	const struct timeline_kept *kept = &job->kept;
	const struct thin_cuts cuts = { kept->cuts, kept->nr, kept->settled_cut };
	uint64_t *leased = NULL;
	size_t nr = 0;
	int ret = timeline_leased_cuts(tl, &leased, &nr);

	if (tl->leases_error)
		tl->packing.retry_ns = now_ns(tl) + RETRY_NS;
	if (!ret)
		ret = thin_cuts_add(&cuts, leased, nr, &job->leased, &nr);
	free(leased);
	if (!ret && nr > kept->nr)
		job->nr_leased = nr;
	return ret;
}

bool index_pack_plan(struct timeline *tl, struct index_pack *job)
{
	struct timeline_packing *p = &tl->packing;
	const struct manifest *m = &tl->manifest;
	const bool due = look_is_due(tl);

	memset(job, 0, sizeof(*job));
	job->planned_ns = now_ns(tl);
	if (!p->on || tl->points_bad || tl->points_mend || !tl->settled.last_segment ||
	    job->planned_ns < p->retry_ns || (!due && !p->need_bytes))
		return false;
	job->settled_segment = tl->settled.last_segment;
	job->wanted_bytes = due ? 0 : p->need_bytes;
	job->nr_dropped = nr_dropped(tl);
	job->points = m->points;
	job->alone = manifest_points_alone(m);
	job->number = manifest_next_pack(m);
	manifest_copy_encode(m, job->number, job->room, sizeof(job->room));
	job->keys = tl->keys;
	job->runs = malloc((m->nr_runs + 1) * sizeof(*job->runs));
	job->sources = malloc(nr_files(tl) * sizeof(*job->sources));
	job->made = malloc(PACK_CHOICES * sizeof(*job->made));
	if (job->runs && job->sources && job->made && !timeline_kept_cuts(tl, &job->kept)) {
		runs_fill(tl, job);
		if (sources_fill(tl, job) && !leased_fill(tl, job)) {
			job->first = job->nr_dropped && !m->nr_packs && !p->began;
			p->began = p->began || job->first;
			return true;
		}
	}
	index_pack_free(job);
	return false;
}

void index_pack_free(struct index_pack *job)
{
	free(job->runs);
	free(job->sources);
	free(job->kept.cuts);
	free(job->leased);
	free(job->made);
	memset(job, 0, sizeof(*job));
}

/* -- room -- */

uint64_t index_pack_room(uint64_t free_bytes)
{
	const uint64_t least = free_bytes / LAST_PART;
	const uint64_t rest = free_bytes > RESERVE_BYTES ? free_bytes - RESERVE_BYTES : 0;

	return rest > least ? rest : least;
}

/* Where nobody can say, a write that finds none says so. */
static uint64_t room_now(struct env *env, const char *dir)
{
	uint64_t free_bytes;

	if (env->ops->free_bytes(env, dir, &free_bytes))
		return UINT64_MAX;
	return index_pack_room(free_bytes);
}

/* -- doing -- */

/* Which sources, side by side, become one pack each; and what lives in them. */
static int find_work(struct index_pack *job, const struct pack_index *index,
		     struct pack_choice *choices, size_t *nr, struct pack_live **live,
		     size_t *nr_live)
{
	struct pack_range ranges[PACK_CHOICES];
	int ret = pack_choose(job, index, room_now(index->env, index->dir), choices, nr);

	job->looked = !ret;
	if (ret || !*nr)
		return ret;
	for (size_t i = 0; i < *nr; i++)
		ranges[i] = pack_choice_range(job, &choices[i]);
	return pack_plan_live(index, ranges, *nr, PACK_MAX_LIVE, live, nr_live, &job->bad_run);
}

static bool is_want_of_room(int error)
{
	return error == -ENOSPC || error == -EDQUOT;
}

/*
 * What cannot be read stays as it is, and what is beside it comes the next time. That ends: one
 * more is set aside each time.
 */
static int build_one(struct index_pack *job, struct pack_job *pack, const struct pack_choice *choice)
{
	struct pack_source *sources = &job->sources[choice->first];
	size_t bad;
	int ret;

	pack->number = job->number + job->nr_made;
	pack->sources = sources;
	pack->nr_sources = choice->nr;
	ret = pack_build(pack, &job->made[job->nr_made], &bad);
	if (!ret) {
		job->nr_made++;
	} else if (bad < choice->nr && pack_aside_is_due(ret)) {
		sources[bad].error = ret;
		sources[bad].failed = true;
		job->more = true;
		ret = 0;
	}
	return ret;
}

static int build(struct index_pack *job, struct pack_job *pack, const struct pack_choice *choices,
		 size_t nr, const struct pack_live *live, size_t nr_live)
{
	int ret = 0;

	for (size_t i = 0; i < nr && !ret; i++) {
		const struct pack_range range = pack_choice_range(job, &choices[i]);

		while (nr_live && live->segment < range.first)
			live++, nr_live--;
		pack->live = live;
		pack->nr_live = 0;
		while (pack->nr_live < nr_live && live[pack->nr_live].segment <= range.last)
			pack->nr_live++;
		/* Those before it are on disk, and have given nothing back yet. */
		ret = choices[i].need_bytes <= room_now(pack->env, pack->dir) ?
		      build_one(job, pack, &choices[i]) : -ENOSPC;
		if (is_want_of_room(ret))
			job->need_bytes = choices[i].need_bytes;
	}
	return ret;
}

/*
 * Of what is packed only the points file knows the commits: both its copies must be good before
 * that begins, and before more depends on it.
 */
static int points_check(struct index_pack *job, struct env *env, const char *dir,
			const uint8_t *timeline)
{
	struct points_file file;
	unsigned int nr_bad = 0;
	int ret = points_file_read(env, dir, timeline, &job->points, &file, &nr_bad);

	if (!ret)
		points_fini(&file.points);
	if (!ret && nr_bad)
		ret = -EBADMSG;
	if (ret == -ENOENT || ret == -EBADMSG)
		job->points_bad = nr_bad;
	return ret;
}

int index_pack_run(struct index_pack *job, struct env *env, const char *dir,
		   const uint8_t *timeline, const struct run_pace *pace)
{
	const struct thin_cuts cuts = { job->kept.cuts, job->kept.nr, job->kept.settled_cut };
	const struct thin_cuts leased = { job->leased, job->nr_leased, job->kept.settled_cut };
	const struct pack_index index = { env, dir, timeline, job->runs, job->nr_runs, &cuts,
					  job->nr_leased ? &leased : NULL, pace };
	struct pack_job pack = { .env = env, .dir = dir, .timeline = timeline,
				 .points_no = job->points.number, .cuts = &cuts, .room = job->room,
				 .keys = job->keys, .pace = pace };
	struct pack_choice choices[PACK_CHOICES];
	struct pack_live *live = NULL;
	size_t nr = 0, nr_live = 0;
	int ret;

	job->need_bytes = job->wanted_bytes;
	if (job->wanted_bytes > room_now(env, dir))
		return 0;
	job->need_bytes = 0;
	ret = points_check(job, env, dir, timeline);
	if (!ret)
		ret = find_work(job, &index, choices, &nr, &live, &nr_live);
	if (!ret)
		ret = build(job, &pack, choices, nr, live, nr_live);
	free(live);
	return ret;
}

/* -- taking -- */

static void source_remove(struct timeline *tl, const struct pack_source *s)
{
	char path[PACK_NAME_BYTES];

	if (s->pack.number)
		pack_path(path, sizeof(path), "", s->pack.number, 0);
	else
		segment_path(path, sizeof(path), "", s->segment);
	timeline_remove(tl, path + 1);
}

/* Name it; then, and only then, those it stands for can go. */
static int pack_name(struct timeline *tl, const struct index_pack *job,
		     const struct manifest_pack *made)
{
	int ret = manifest_add_pack(&tl->manifest, made);

	if (ret)
		return ret;
	for (size_t i = 0; i < job->nr_sources; i++)
		if (job->sources[i].segment >= made->first_segment &&
		    job->sources[i].segment <= made->last_segment)
			source_remove(tl, &job->sources[i]);
	pack_aside_drop(&tl->packing.asides, made->first_segment, made->last_segment, false);
	tl->packing.packed_bytes += made->file_bytes;
	return 0;
}

/* One that could have been tried again and is not worth it stays there: it is still bad. */
static void asides_take(struct timeline *tl, const struct index_pack *job)
{
	struct pack_asides *list = &tl->packing.asides;
	const uint64_t until_ns = now_ns(tl) + PACK_ASIDE_NS;

	if (job->looked)
		pack_aside_renew(list, job->planned_ns, until_ns);
	for (size_t i = 0; i < job->nr_sources; i++) {
		const struct pack_source *s = &job->sources[i];
		const struct pack_aside add = { s->segment, s->pack.number, s->error, false,
						until_ns };

		/* Without memory for it, it fails again. */
		if (s->failed)
			pack_aside_add(list, &add);
	}
}

/* Merging leaves out what it was told by the newest pack: perhaps that knows of less. */
static bool newest_agrees(const struct timeline *tl, const struct index_pack *job)
{
	const struct manifest *m = &tl->manifest;

	return m->nr_packs &&
	       points_packed_newest(m->packs, m->nr_packs)->points_no == job->points.number;
}

int index_pack_take(struct timeline *tl, const struct index_pack *job, int error)
{
	struct timeline_packing *p = &tl->packing;
	char path[PACK_NAME_BYTES];
	int ret = 0;

	/* Unless it alone knows, it can be made again from the segments. */
	if (job->points_bad && !job->alone)
		tl->points_bad = true;
	else if (job->points_bad == 1)
		tl->points_mend = true;
	if (job->bad_run)
		timeline_run_bad(tl, job->bad_run);
	asides_take(tl, job);
	for (size_t i = 0; i < job->nr_made; i++) {
		/* Not named; as its file is yet to be removed, the next has a higher number. */
		if (ret) {
			tl->manifest.pack_number = job->made[i].number;
			pack_path(path, sizeof(path), "", job->made[i].number, 0);
			timeline_remove(tl, path + 1);
			continue;
		}
		ret = pack_name(tl, job, &job->made[i]);
	}
	if (job->looked) {
		p->looked = (struct pack_looked){ job->settled_segment, job->nr_dropped,
						  job->more || error || ret };
		p->gone_segment = job->gone_segment;
		p->nr_gone = !error && !ret && !job->more && newest_agrees(tl, job) ? job->nr_gone : 0;
	}
	p->need_bytes = job->need_bytes;
	/* Nothing was done; it is tried again when there are two. */
	if (tl->points_mend)
		error = 0;
	p->retry_ns = ret || error || (p->need_bytes && !job->nr_made) ? now_ns(tl) + RETRY_NS : 0;
	return ret ? ret : is_want_of_room(error) ? 0 : error;
}
