// SPDX-License-Identifier: GPL-2.0-only
/* index_runs - the runs of a timeline: which are of use, what gets one next, how one is named. */
#include "index_runs.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "index.h"
#include "pack_aside.h"
#include "run.h"
#include "timeline_internal.h"

#define PATH_BYTES 4096

/* -- which are of use -- */

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

const struct manifest_run *timeline_run_of(const struct timeline *tl, uint64_t segment)
{
	const struct manifest *m = &tl->manifest;

	for (size_t i = 0; i < m->nr_runs; i++)
		if (m->runs[i].first_segment <= segment && segment <= m->runs[i].last_segment &&
		    !timeline_run_is_bad(tl, m->runs[i].number))
			return &m->runs[i];
	return NULL;
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

void timeline_runs_look(struct timeline *tl)
{
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

/* -- making one of a segment -- */

/* The lowest segment that is finished and has no run, and can have one as far as is known. */
bool index_segment_plan(const struct timeline *tl, struct index_segment *job)
{
	const struct manifest *m = &tl->manifest;
	const uint64_t finished = segment_writer_finished(&tl->writer);
	const uint64_t now_ns = tl->env->ops->monotonic_ns(tl->env);
	uint64_t segment = 1, ordinal = 1;	/* 0: its header says it */

	while (segment <= finished) {
		const struct manifest_run *run = timeline_run_of(tl, segment);
		const struct manifest_pack *pack = manifest_pack(m, segment);
		const struct manifest_segment_end *end = manifest_end(m, segment);

		if (!run && !pack_aside_find(&tl->packing.asides,
					     pack ? pack->first_segment : segment,
					     pack ? pack->number : 0, true, now_ns)) {
			*job = (struct index_segment){ .segment = {
				.number = segment, .first_ordinal = ordinal,
				.end_limit = end ? end->end_offset : 0 } };
			if (manifest_pack(m, segment + 1))
				job->segment.next = *manifest_pack(m, segment + 1);
			if (pack)
				job->packed = *pack;
			return true;
		}
		segment = run ? run->last_segment + 1 : pack ? pack->last_segment + 1 : segment + 1;
		ordinal = run ? run->last_ordinal + 1 : pack ? pack->last_ordinal + 1 :
			  end ? end->last_ordinal + 1 : 0;
	}
	return false;
}

int index_segment_run(struct index_segment *job, struct env *env, const char *dir,
		      const uint8_t *timeline, uint64_t number, const struct run_pace *pace)
{
	if (job->packed.number)
		return run_build_pack(env, dir, timeline, number, &job->packed, pace, &job->made,
				      &job->source_bad);
	return run_build_segment(env, dir, timeline, number, &job->segment, pace, &job->made,
				 &job->source_bad);
}

/* What is beside it gets its runs; without one it is read through each time. */
static void set_aside(struct timeline *tl, const struct index_segment *job, int error)
{
	const struct manifest_pack *pack = &job->packed;
	const struct pack_aside add = {
		.segment = pack->number ? pack->first_segment : job->segment.number,
		.pack = pack->number, .error = error, .run = true,
		.until_ns = tl->env->ops->monotonic_ns(tl->env) + PACK_ASIDE_NS };

	pack_aside_add(&tl->packing.asides, &add);
}

int index_segment_take(struct timeline *tl, const struct index_segment *job, int error)
{
	int ret = error ? error : timeline_run_name(tl, &job->made);

	if (ret && job->source_bad)
		set_aside(tl, job, ret);
	return ret;
}

/* -- naming -- */

static bool overlap(const struct manifest_run *a, const struct manifest_run *b)
{
	return a->first_segment <= b->last_segment && b->first_segment <= a->last_segment;
}

int timeline_run_name(struct timeline *tl, const struct manifest_run *run)
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

/* -- for people -- */

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
