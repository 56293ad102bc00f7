// SPDX-License-Identifier: GPL-2.0-only
/* index - keeps runs, points file and packs of a timeline: which to make next, what counts. */
#include "index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "branches.h"
#include "index_merge.h"
#include "index_pack.h"
#include "pack_aside.h"
#include "pack_read.h"
#include "points_build.h"
#include "run_build.h"
#include "space.h"
#include "timeline_internal.h"

#define PATH_BYTES 4096

/*
 * A points file is made anew when so many finished segments are not in it: opening reads
 * those. Proportional to what has to be written, so that this stays a small part of all.
 */
#define POINTS_BEHIND		4
#define POINTS_PER_SEGMENT	16384	/* 160 bytes of points file each, of 32 MiB: 8 % */

/* A file that is removed counts as so much written: a few go in a second. */
#define REMOVE_BYTES		(4u << 20)
#define REMOVE_FILES		64	/* by one job; then other timelines have their turn */

struct index_job {
	enum index_kind kind;
	char *dir;
	uint8_t timeline[16];
	uint64_t number;
	struct run_segment segment;		/* INDEX_SEGMENT: of this */
	struct manifest_pack packed;		/* or of what has its place; number 0: nothing */
	struct index_merge merge;		/* INDEX_MERGE */
	struct points_build points;		/* INDEX_POINTS */
	struct index_pack pack;			/* INDEX_PACK */
	struct timeline_unneeded unneeded;	/* INDEX_REMOVE */
	uint64_t removed_bytes;			/* of them, data: segments and packs */
	struct manifest_segment_end *ends;	/* its own; so the next two */
	struct retention_past *past;
	uint64_t *pinned;
	int leases_error;		/* INDEX_POINTS: what is read is not known */
	bool keeps_all;			/* INDEX_POINTS: retention is for another one */
	bool alone;			/* of some commits only the points file knows */
	char text[INDEX_TEXT_BYTES];
	char lost[24];			/* that points file, if it is of no use */

	bool done;
	int error;
	bool source_bad;		/* INDEX_SEGMENT: what was read is to blame */
	struct manifest_run run;	/* INDEX_SEGMENT: what was made */
};

/* -- runs that are of no use -- */

bool timeline_run_is_bad(const struct timeline *tl, uint64_t number)
{
	for (size_t i = 0; i < tl->nr_bad_runs; i++)
		if (tl->bad_runs[i] == number)
			return true;
	return false;
}

void timeline_run_bad(struct timeline *tl, uint64_t number)
{
	if (timeline_run_is_bad(tl, number) ||
	    !array_reserve(&tl->bad_runs, &tl->max_bad_runs, tl->nr_bad_runs + 1))
		return;		/* who meets it next will say so again */
	tl->bad_runs[tl->nr_bad_runs++] = number;
}

/* Forget those that the manifest does not name any more. */
static void bad_runs_renew(struct timeline *tl)
{
	size_t kept = 0;

	for (size_t i = 0; i < tl->nr_bad_runs; i++)
		for (size_t j = 0; j < tl->manifest.nr_runs; j++)
			if (tl->manifest.runs[j].number == tl->bad_runs[i])
				tl->bad_runs[kept++] = tl->bad_runs[i];
	tl->nr_bad_runs = kept;
}

int timeline_runs_reload(struct timeline *tl)
{
	char why[TIMELINE_TEXT_BYTES];
	struct manifest *m = &tl->manifest, now;
	int ret = manifest_open(&now, tl->env, tl->dir, false, why);

	if (!ret) {
		struct manifest_run *old = m->runs;
		struct manifest_pack *old_packs = m->packs;

		m->runs = now.runs;
		m->nr_runs = now.nr_runs;
		m->max_runs = now.max_runs;
		now.runs = old;
		m->packs = now.packs;
		m->nr_packs = now.nr_packs;
		m->max_packs = now.max_packs;
		now.packs = old_packs;
		m->points = now.points;
		bad_runs_renew(tl);
	}
	manifest_close(&now);
	return ret;
}

/* -- opening -- */

struct strays {
	struct timeline *tl;
	char (*names)[32];
	size_t nr, max;
};

/* Whether there is a pack in the place of a segment. The one is removed for the other only. */
static bool pack_is_whole(const struct timeline *tl, uint64_t segment)
{
	const struct manifest_pack *named = manifest_pack(&tl->manifest, segment);
	struct pack pack;

	if (!named ||
	    pack_open(tl->env, tl->dir, tl->manifest.identity.timeline, named, &pack))
		return false;
	pack_close(&pack);
	return true;
}

static void stray_take(void *arg, const char *name)
{
	struct strays *s = arg;
	size_t length = strlen(name);
	uint64_t number;
	char *end;

	if ((length != 20 || strcmp(name + 16, ".run") != 0) &&
	    (length != 24 || strcmp(name + 16, ".run.new") != 0) &&
	    (length != 20 || strcmp(name + 16, ".seg") != 0) &&
	    (length != 21 || strcmp(name + 16, ".pack") != 0) &&
	    (length != 25 || strcmp(name + 16, ".pack.new") != 0) &&
	    (length != 23 || strcmp(name + 16, ".points") != 0) &&
	    (length != 27 || strcmp(name + 16, ".points.new") != 0))
		return;
	number = strtoull(name, &end, 16);
	if (end != name + 16)
		return;
	if (!strcmp(name + 16, ".seg") && !pack_is_whole(s->tl, number))
		return;
	for (size_t i = 0; i < s->tl->manifest.nr_runs && !strcmp(name + 16, ".run"); i++)
		if (s->tl->manifest.runs[i].number == number)
			return;
	for (size_t i = 0; i < s->tl->manifest.nr_packs && length == 21; i++)
		if (s->tl->manifest.packs[i].number == number)
			return;
	if (length == 23 && s->tl->manifest.points.number == number)
		return;
	/* Without memory for its name it stays until the next opening. */
	if (array_reserve(&s->names, &s->max, s->nr + 1))
		memcpy(s->names[s->nr++], name, length + 1);
}

void timeline_runs_tidy(struct timeline *tl)
{
	struct strays s = { .tl = tl };
	char path[PATH_BYTES];

	tl->env->ops->list(tl->env, tl->dir, stray_take, &s);
	for (size_t i = 0; i < s.nr; i++) {
		snprintf(path, sizeof(path), "%s/%s", tl->dir, s.names[i]);
		tl->env->ops->unlink(tl->env, path);
	}
	free(s.names);
	for (size_t i = 0; i < tl->manifest.nr_runs; i++) {
		const struct manifest_run *mr = &tl->manifest.runs[i];
		struct run run;

		int ret = run_open(tl->env, tl->dir, tl->manifest.identity.timeline, mr, &run);

		if (!ret)
			run_close(&run);
		else if (ret == -ENOENT || ret == -EBADMSG || ret == -EIO)
			timeline_run_bad(tl, mr->number);
	}
}

void timeline_index_forget(struct timeline *tl)
{
	char path[PATH_BYTES];

	for (size_t i = 0; i < tl->manifest.nr_runs; i++) {
		uint64_t number = tl->manifest.runs[i].number;

		run_path(path, sizeof(path), tl->dir, number, 0);
		tl->env->ops->unlink(tl->env, path);
		timeline_run_bad(tl, number);
	}
}

/* -- planning -- */

/* A run that is of use and has a segment, or NULL. */
static const struct manifest_run *run_of(const struct timeline *tl, uint64_t segment)
{
	const struct manifest *m = &tl->manifest;

	for (size_t i = 0; i < m->nr_runs; i++)
		if (m->runs[i].first_segment <= segment && segment <= m->runs[i].last_segment &&
		    !timeline_run_is_bad(tl, m->runs[i].number))
			return &m->runs[i];
	return NULL;
}

/* The lowest segment that is finished and has no run, and can have one as far as is known. */
static bool plan_segment(const struct timeline *tl, struct run_segment *out,
			 struct manifest_pack *packed)
{
	const struct manifest *m = &tl->manifest;
	const uint64_t finished = segment_writer_finished(&tl->writer);
	const uint64_t now_ns = tl->env->ops->monotonic_ns(tl->env);
	uint64_t segment = 1, ordinal = 1;	/* 0: its header says it */

	while (segment <= finished) {
		const struct manifest_run *run = run_of(tl, segment);
		const struct manifest_pack *pack = manifest_pack(m, segment);
		const struct manifest_segment_end *end = manifest_end(m, segment);

		if (!run && !pack_aside_find(&tl->packing.asides,
					     pack ? pack->first_segment : segment,
					     pack ? pack->number : 0, true, now_ns)) {
			*out = (struct run_segment){
				.number = segment, .first_ordinal = ordinal,
				.end_limit = end ? end->end_offset : 0 };
			if (manifest_pack(m, segment + 1))
				out->next = *manifest_pack(m, segment + 1);
			*packed = pack ? *pack : (struct manifest_pack){ .number = 0 };
			return true;
		}
		segment = run ? run->last_segment + 1 : pack ? pack->last_segment + 1 : segment + 1;
		ordinal = run ? run->last_ordinal + 1 : pack ? pack->last_ordinal + 1 :
			  end ? end->last_ordinal + 1 : 0;
	}
	return false;
}

/* Whether the points file is so far behind that a new one is due, or has lost a copy. */
static bool plan_points(const struct timeline *tl)
{
	uint64_t finished = segment_writer_finished(&tl->writer);
	uint64_t behind = finished - (tl->points_bad ? 0 : tl->manifest.points.last_segment);

	if (finished && (timeline_retain_due(tl) || tl->points_mend))
		return true;
	return finished && behind >= POINTS_BEHIND + tl->points.nr_commits / POINTS_PER_SEGMENT;
}

static int job_points(const struct timeline *tl, struct index_job *job)
{
	const struct manifest *m = &tl->manifest;

	job->points = (struct points_build){
		.number = manifest_next_points(m), .nr_volumes = m->nr_volumes,
		.last_segment = segment_writer_finished(&tl->writer), .nr_ends = m->nr_ends,
		.created_ns = m->identity.created_ns, .now_ns = timeline_age_now(tl),
		.real_ns = tl->env->ops->realtime_ns(tl->env),
	};
	job->alone = manifest_points_alone(m);
	if (!tl->points_bad)
		job->points.before = m->points;
	job->ends = malloc((m->nr_ends + 1) * sizeof(*job->ends));
	if (!job->ends ||
	    timeline_retain_get(tl, &job->points.retain, &job->past, &job->pinned))
		return -ENOMEM;
	if (m->nr_ends)
		memcpy(job->ends, m->ends, m->nr_ends * sizeof(*job->ends));
	job->leases_error = m->nr_policies ? tl->leases_error : 0;
	job->keeps_all = job->leases_error || tl->retain_waits;
	if (job->keeps_all)
		job->points.retain.retention.policy.nr_tiers = 0;
	snprintf(job->text, sizeof(job->text), "points up to segment %llu",
		 (unsigned long long)job->points.last_segment);
	return 0;
}

static bool plan_remove(struct timeline *tl, struct index_job *job)
{
	struct timeline_unneeded *all = &tl->unneeded, *now = &job->unneeded;
	const size_t nr = all->nr < REMOVE_FILES ? all->nr : REMOVE_FILES;

	if (!nr || !array_reserve(&now->names, &now->max, nr))
		return false;
	memcpy(now->names, all->names, nr * sizeof(*now->names));
	now->nr = nr;
	all->nr -= nr;
	memmove(all->names, all->names + nr, all->nr * sizeof(*all->names));
	snprintf(job->text, sizeof(job->text), "removing %zu files", nr);
	return true;
}

/* Whether there is something of this kind to do; then the job says what. */
static bool plan_kind(struct timeline *tl, enum index_kind kind, struct index_job *job)
{
	const struct index_merge *merge = &job->merge;

	job->kind = kind;
	switch (kind) {
	case INDEX_REMOVE:
		return plan_remove(tl, job);
	case INDEX_MERGE:
		if (!index_merge_plan(tl, &job->merge))
			return false;
		snprintf(job->text, sizeof(job->text), "merge of segments %llu to %llu",
			 (unsigned long long)merge->inputs[0].first_segment,
			 (unsigned long long)merge->inputs[merge->nr_inputs - 1].last_segment);
		return true;
	case INDEX_SEGMENT:
		if (!plan_segment(tl, &job->segment, &job->packed))
			return false;
		snprintf(job->text, sizeof(job->text), "segment %llu",
			 (unsigned long long)job->segment.number);
		return true;
	case INDEX_POINTS:
		if (!plan_points(tl))
			return false;
		/* Without a policy as well, as readers that were killed leave theirs. */
		timeline_leases_look(tl);
		return job_points(tl, job) == 0;
	default:
		snprintf(job->text, sizeof(job->text), "packing what no point needs any more");
		return index_pack_plan(tl, &job->pack);
	}
}

/* What failed, for want of space perhaps, must not keep the others waiting. */
static bool plan_any(struct timeline *tl, struct index_job *job)
{
	for (int failed = 0; failed < 2; failed++)
		for (int kind = 0; kind < INDEX_NR_KINDS; kind++)
			if (tl->job_failed[kind] == failed && plan_kind(tl, kind, job))
				return true;
	return false;
}

static void job_free(struct index_job *job)
{
	points_fini(&job->points.points);
	index_merge_free(&job->merge);
	index_pack_free(&job->pack);
	free(job->unneeded.names);
	free(job->ends);
	free(job->past);
	free(job->pinned);
	free(job->dir);
	free(job);
}

struct index_job *timeline_index_plan(struct timeline *tl)
{
	struct index_job *job;

	if (tl->read_only || tl->indexing)
		return NULL;
	job = calloc(1, sizeof(*job));
	if (!job)
		return NULL;
	job->dir = strdup(tl->dir);
	if (!job->dir || !plan_any(tl, job)) {
		job_free(job);
		return NULL;
	}
	memcpy(job->timeline, tl->manifest.identity.timeline, sizeof(job->timeline));
	job->number = manifest_next_run(&tl->manifest);
	tl->indexing = true;
	return job;
}

/* -- doing and taking -- */

static int points_make(struct index_job *job, struct env *env, const struct run_pace *pace)
{
	struct points_build *b = &job->points;
	int ret;

	b->env = env;
	b->dir = job->dir;
	memcpy(b->timeline, job->timeline, sizeof(b->timeline));
	b->ends = job->ends;
	b->pace = pace;
	ret = points_build_run(b);
	if (b->branches_error)
		snprintf(job->text, sizeof(job->text),
			 "points; a branch cannot be read, so none is dropped");
	else if (job->leases_error)
		snprintf(job->text, sizeof(job->text), "points; %s, so none is dropped",
			 job->leases_error == -E2BIG ? leases_error_text(job->leases_error) :
						       LEASES_DIR "/ cannot be read");
	if (b->before_bad && job->alone)
		snprintf(job->lost, sizeof(job->lost), "%016llx.points",
			 (unsigned long long)b->before.number);
	return ret;
}

static int segment_make(struct index_job *job, struct env *env, const struct run_pace *pace)
{
	if (job->packed.number)
		return run_build_pack(env, job->dir, job->timeline, job->number, &job->packed, pace,
				      &job->run, &job->source_bad);
	return run_build_segment(env, job->dir, job->timeline, job->number, &job->segment, pace,
				 &job->run, &job->source_bad);
}

/*
 * Here, as freeing what is large takes a while, and what comes in waits for the same journal. What
 * stays goes when the timeline is opened.
 */
static int files_remove(struct index_job *job, struct env *env, const struct run_pace *pace)
{
	char path[PATH_BYTES];
	int ret = 0;

	for (size_t i = 0; i < job->unneeded.nr && !ret; i++) {
		uint64_t bytes;

		snprintf(path, sizeof(path), "%s/%s", job->dir, job->unneeded.names[i]);
		bytes = space_is_data(job->unneeded.names[i]) ? space_of_file(env, path) : 0;
		if (env->ops->unlink(env, path) == 0)
			job->removed_bytes += bytes;
		ret = pace ? pace->fn(pace->arg, REMOVE_BYTES) : 0;
	}
	return ret;
}

static int pack_make(struct index_job *job, struct env *env, const struct run_pace *pace)
{
	int ret = index_pack_run(&job->pack, env, job->dir, job->timeline, pace);

	if (job->pack.points_bad == 2 && job->pack.alone)
		snprintf(job->lost, sizeof(job->lost), "%016llx.points",
			 (unsigned long long)job->pack.points.number);
	return ret;
}

int index_job_run(struct index_job *job, struct env *env, const struct run_pace *pace)
{
	switch (job->kind) {
	case INDEX_REMOVE:
		job->error = files_remove(job, env, pace);
		break;
	case INDEX_MERGE:
		job->error = index_merge_run(&job->merge, env, job->dir, job->timeline,
					     job->number, pace);
		break;
	case INDEX_SEGMENT:
		job->error = segment_make(job, env, pace);
		break;
	case INDEX_POINTS:
		job->error = points_make(job, env, pace);
		break;
	default:
		job->error = pack_make(job, env, pace);
	}
	job->done = true;
	return job->error;
}

const char *index_job_text(const struct index_job *job)
{
	return job->text;
}

uint64_t index_job_first_pack(const struct index_job *job)
{
	return job->pack.first ? job->pack.nr_dropped : 0;
}

const char *index_job_lost(const struct index_job *job)
{
	return job->lost[0] ? job->lost : NULL;
}

/* -- files that are not needed any more -- */

void timeline_remove(struct timeline *tl, const char *name)
{
	struct timeline_unneeded *u = &tl->unneeded;

	/* Without memory for its name it stays until the next opening. */
	if (array_reserve(&u->names, &u->max, u->nr + 1))
		snprintf(u->names[u->nr++], sizeof(u->names[0]), "%s", name);
}

static bool overlap(const struct manifest_run *a, const struct manifest_run *b)
{
	return a->first_segment <= b->last_segment && b->first_segment <= a->last_segment;
}

/* Name it; then, and only then, those it stands for can go. */
static int run_name(struct timeline *tl, const struct manifest_run *run)
{
	struct manifest *m = &tl->manifest;
	uint64_t *old = malloc((m->nr_runs + 1) * sizeof(*old));
	char path[PATH_BYTES];
	size_t nr = 0;
	int ret;

	if (!old)
		return -ENOMEM;
	for (size_t i = 0; i < m->nr_runs; i++)
		if (overlap(&m->runs[i], run))
			old[nr++] = m->runs[i].number;
	ret = manifest_add_run(m, run);
	for (size_t i = 0; i < nr && !ret; i++) {
		run_path(path, sizeof(path), "", old[i], 0);
		timeline_remove(tl, path + 1);
	}
	/* Now it is known what lives there. */
	if (!ret && pack_aside_drop(&tl->packing.asides, run->first_segment, run->last_segment,
				    true))
		tl->packing.looked.more = true;
	bad_runs_renew(tl);
	free(old);
	return ret;
}

static int merge_take(struct timeline *tl, const struct index_merge *job, int error)
{
	if (job->bad_run)
		timeline_run_bad(tl, job->bad_run);
	if (!error && job->made.number)
		error = run_name(tl, &job->made);
	index_merge_take(tl, job, error);
	return error;
}

static bool cut_stays(const struct timeline *tl, const struct points *stored, uint64_t cut)
{
	return points_find(&tl->points, cut) == tl->points.nr_commits ||
	       cut > stored->last_cut_seq || points_find(stored, cut) != stored->nr_commits;
}

/*
 * What was pinned while the job was under way, or is read since, must not go, nor what became
 * the beginning of a branch or of a line; @lock is held until the points are gone.
 */
static int all_pinned_stay(struct timeline *tl, const struct points_build *b,
			   struct env_file **lock)
{
	const struct points *stored = &b->points;
	struct timeline_pin *pins = NULL;
	uint64_t *cuts = NULL;
	size_t nr_pins = 0, nr = 0;
	bool stay;
	int ret = branches_lock(tl->env, tl->dir, lock);

	if (ret) {
		*lock = NULL;
		return ret;
	}
	ret = branches_cuts(tl->env, tl->dir, &cuts, &nr);
	if (!ret)
		ret = timeline_pins(tl, &pins, &nr_pins);
	if (!ret)
		ret = timeline_leases_look(tl);
	/* A branch became the main line: what was planned before goes too far. */
	stay = b->retain.old_line_from == timeline_old_line(tl);
	for (size_t i = 0; i < nr; i++)
		stay = stay && cut_stays(tl, stored, cuts[i]);
	for (size_t i = 0; i < tl->manifest.nr_lines; i++)
		stay = stay && cut_stays(tl, stored, tl->manifest.lines[i].cut_seq);
	for (size_t i = 0; i < nr_pins; i++)
		stay = stay && cut_stays(tl, stored, pins[i].cut_seq);
	for (size_t i = 0; i < tl->leases.nr && !ret; i++)
		stay = stay && cut_stays(tl, stored, tl->leases.items[i].cut_seq);
	free(pins);
	free(cuts);
	return ret ? ret : stay ? 0 : -EAGAIN;
}

static void points_unlink(struct timeline *tl, uint64_t number)
{
	char path[PATH_BYTES];

	points_path(path, sizeof(path), tl->dir, number, 0);
	tl->env->ops->unlink(tl->env, path);
}

/*
 * Retention that was only put off is due at once; put off again, when it is due the next time.
 * What was tried then cost a points file.
 */
static void points_taken(struct timeline *tl, const struct index_job *job)
{
	timeline_points_settled(tl, &job->points.points, job->points.last_segment);
	tl->retain_waits = false;
	if (!job->keeps_all)
		tl->nr_put_off = 0;
	if (job->leases_error || tl->nr_put_off != 1)
		timeline_retained(tl);
}

/* Name it; then, and only then, the one before can go. */
static int points_name(struct timeline *tl, const struct index_job *job)
{
	const struct points_build *b = &job->points;
	uint64_t old = tl->manifest.points.number;
	struct env_file *lock = NULL;
	int ret = 0;

	if (b->nr_left_out)
		ret = all_pinned_stay(tl, b, &lock);
	if (ret) {
		points_unlink(tl, b->number);
		tl->retain_waits = true;
		tl->nr_put_off++;
	} else {
		ret = manifest_add_points(&tl->manifest, &b->named);
		if (!ret) {
			points_taken(tl, job);
			tl->points_bad = tl->points_mend = false;
			if (old)
				points_unlink(tl, old);
		}
	}
	if (lock)
		tl->env->ops->close(tl->env, lock);
	return ret;
}

/* It counts also if what stays was not known; retention is tried when it is due again. */
static int points_take(struct timeline *tl, const struct index_job *job)
{
	const struct points_build *b = &job->points;
	int ret = 0;

	if (!b->same)
		ret = points_name(tl, job);
	else
		points_taken(tl, job);
	if (b->same)
		tl->points_mend = false;
	return ret ? ret : b->branches_error ? b->branches_error : job->leases_error;
}

/* What is beside it gets its runs; without one it is read through each time. */
static void segment_set_aside(struct timeline *tl, const struct index_job *job)
{
	const struct manifest_pack *pack = &job->packed;
	const struct pack_aside add = {
		.segment = pack->number ? pack->first_segment : job->segment.number,
		.pack = pack->number, .error = job->error, .run = true,
		.until_ns = tl->env->ops->monotonic_ns(tl->env) + PACK_ASIDE_NS };

	pack_aside_add(&tl->packing.asides, &add);
}

int timeline_index_take(struct timeline *tl, struct index_job *job)
{
	int ret = job->done ? job->error : -ECANCELED;

	tl->indexing = false;
	/* Unless some do not exist any more all can be read again from the segments. */
	if (job->points.before_bad && !job->alone)
		tl->points_bad = true;
	/* What it has made before it failed is as good as any. */
	if (job->kind == INDEX_PACK && job->done) {
		ret = index_pack_take(tl, &job->pack, ret);
	} else if (job->kind == INDEX_REMOVE) {
		tl->packing.removed_bytes += job->removed_bytes;
		ret = 0;
	} else if (job->kind == INDEX_MERGE) {
		ret = merge_take(tl, &job->merge, ret);
	} else if (!ret) {
		ret = job->kind == INDEX_POINTS ? points_take(tl, job) :
						  run_name(tl, &job->run);
	}
	if (ret && job->kind == INDEX_SEGMENT && job->source_bad)
		segment_set_aside(tl, job);
	tl->job_failed[job->kind] = ret;
	job_free(job);
	return ret;
}

void timeline_set_packing(struct timeline *tl, bool packing)
{
	tl->packing.on = packing;
}

void timeline_pack_state(const struct timeline *tl, struct timeline_pack_state *out)
{
	const struct timeline_packing *p = &tl->packing;
	const struct pack_aside *last;
	char path[sizeof(out->aside)];

	*out = (struct timeline_pack_state){ .on = p->on, .need_bytes = p->need_bytes,
					     .nr_aside = p->asides.nr,
					     .leases_error = tl->leases_error,
					     .lease_error = tl->leases.odd_error,
					     .lease_counts = tl->leases.odd_counts };
	/* Less: a pack is there, and what it stands for is not removed yet. */
	if (p->removed_bytes > p->packed_bytes)
		out->reclaimed_bytes = p->removed_bytes - p->packed_bytes;
	memcpy(out->lease, tl->leases.odd, sizeof(out->lease));
	if (!p->asides.nr)
		return;
	last = &p->asides.items[p->asides.nr - 1];
	if (last->pack)
		pack_path(path, sizeof(path), "", last->pack, 0);
	else
		segment_path(path, sizeof(path), "", last->segment);
	snprintf(out->aside, sizeof(out->aside), "%s", path + 1);
	out->error = last->error;
}

void timeline_index_state(const struct timeline *tl, uint64_t *nr_runs, uint64_t *nr_waiting)
{
	const struct manifest *m = &tl->manifest;
	uint64_t covered = 0;

	for (size_t i = 0; i < m->nr_runs; i++)
		if (!timeline_run_is_bad(tl, m->runs[i].number))
			covered += m->runs[i].last_segment - m->runs[i].first_segment + 1;
	*nr_runs = m->nr_runs;
	*nr_waiting = segment_writer_finished(&tl->writer);
	*nr_waiting -= covered < *nr_waiting ? covered : *nr_waiting;
}
