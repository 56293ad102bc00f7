// SPDX-License-Identifier: GPL-2.0-only
/* index_points - the job of the index that makes the next points file. */
#include "index_points.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "branches.h"
#include "timeline_internal.h"

#define PATH_BYTES 4096

/*
 * A points file is made anew when so many finished segments are not in it: opening reads
 * those. Proportional to what has to be written, so that this stays a small part of all.
 */
#define POINTS_BEHIND		4
#define POINTS_PER_SEGMENT	16384	/* 160 bytes of points file each, of 32 MiB: 8 % */

/* -- planning -- */

/* Whether the points file is so far behind that a new one is due, or has lost a copy. */
static bool is_due(const struct timeline *tl)
{
	uint64_t finished = segment_writer_finished(&tl->writer);
	uint64_t behind = finished - (tl->points_bad ? 0 : tl->manifest.points.last_segment);

	if (finished && (timeline_retain_due(tl) || tl->points_mend))
		return true;
	return finished && behind >= POINTS_BEHIND + tl->points.nr_commits / POINTS_PER_SEGMENT;
}

static int job_fill(const struct timeline *tl, struct index_points *job)
{
	const struct manifest *m = &tl->manifest;

	job->build = (struct points_build){
		.number = manifest_next_points(m), .nr_volumes = m->nr_volumes,
		.last_segment = segment_writer_finished(&tl->writer), .nr_ends = m->nr_ends,
		.created_ns = m->identity.created_ns, .now_ns = timeline_age_now(tl),
		.real_ns = tl->env->ops->realtime_ns(tl->env),
	};
	job->alone = manifest_points_alone(m);
	if (!tl->points_bad)
		job->build.before = m->points;
	job->ends = malloc((m->nr_ends + 1) * sizeof(*job->ends));
	if (!job->ends ||
	    timeline_retain_get(tl, &job->build.retain, &job->past, &job->pinned))
		return -ENOMEM;
	if (m->nr_ends)
		memcpy(job->ends, m->ends, m->nr_ends * sizeof(*job->ends));
	job->leases_error = m->nr_policies ? tl->leases_error : 0;
	job->keeps_all = job->leases_error || tl->retain_waits;
	if (job->keeps_all)
		job->build.retain.retention.policy.nr_tiers = 0;
	return 0;
}

bool index_points_plan(struct timeline *tl, struct index_points *job)
{
	memset(job, 0, sizeof(*job));
	if (!is_due(tl))
		return false;
	/* Without a policy as well, as readers that were killed leave theirs. */
	timeline_leases_look(tl);
	if (job_fill(tl, job) == 0)
		return true;
	index_points_free(job);
	return false;
}

void index_points_free(struct index_points *job)
{
	points_fini(&job->build.points);
	free(job->ends);
	free(job->past);
	free(job->pinned);
	memset(job, 0, sizeof(*job));
}

/* -- doing -- */

int index_points_run(struct index_points *job, struct env *env, const char *dir,
		     const uint8_t *timeline, const struct run_pace *pace)
{
	struct points_build *b = &job->build;

	b->env = env;
	b->dir = dir;
	memcpy(b->timeline, timeline, sizeof(b->timeline));
	b->ends = job->ends;
	b->pace = pace;
	return points_build_run(b);
}

const char *index_points_keep_all(const struct index_points *job)
{
	if (job->build.branches_error)
		return "a branch cannot be read";
	if (job->leases_error == -E2BIG)
		return leases_error_text(job->leases_error);
	return job->leases_error ? LEASES_DIR "/ cannot be read" : NULL;
}

/* -- taking -- */

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
static void points_taken(struct timeline *tl, const struct index_points *job)
{
	timeline_points_settled(tl, &job->build.points, job->build.last_segment);
	tl->retain_waits = false;
	if (!job->keeps_all)
		tl->nr_put_off = 0;
	if (job->leases_error || tl->nr_put_off != 1)
		timeline_retained(tl);
}

/* Name it; then, and only then, the one before can go. */
static int points_name(struct timeline *tl, const struct index_points *job)
{
	const struct points_build *b = &job->build;
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
int index_points_take(struct timeline *tl, const struct index_points *job, int error)
{
	const struct points_build *b = &job->build;

	/* Unless some do not exist any more all can be read again from the segments. */
	if (b->before_bad && !job->alone)
		tl->points_bad = true;
	if (!error && b->same) {
		points_taken(tl, job);
		tl->points_mend = false;
	} else if (!error) {
		error = points_name(tl, job);
	}
	if (!error)
		error = b->branches_error ? b->branches_error : job->leases_error;
	return error;
}
