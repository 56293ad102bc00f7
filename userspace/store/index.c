// SPDX-License-Identifier: GPL-2.0-only
/* index - the jobs of a timeline's index: which is next, doing it, taking what it made. */
#include "index.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "index_merge.h"
#include "index_pack.h"
#include "index_points.h"
#include "index_remove.h"
#include "index_runs.h"
#include "pack_read.h"
#include "timeline_internal.h"

struct index_job {
	enum index_kind kind;
	char *dir;
	uint8_t timeline[16];
	uint64_t number;		/* of a run that it makes */
	/* One of them, as the kind says; the others are zero. */
	struct index_remove remove;
	struct index_merge merge;
	struct index_segment segment;
	struct index_points points;
	struct index_pack pack;
	char text[INDEX_TEXT_BYTES];
	char lost[24];			/* a points file that is of no use; "": none */

	bool done;
	int error;
};

/* -- planning -- */

/* Whether there is something of this kind to do; then the job says what. */
static bool plan_kind(struct timeline *tl, enum index_kind kind, struct index_job *job)
{
	const struct index_merge *merge = &job->merge;

	job->kind = kind;
	switch (kind) {
	case INDEX_REMOVE:
		if (!index_remove_plan(tl, &job->remove))
			return false;
		snprintf(job->text, sizeof(job->text), "removing %zu files",
			 job->remove.files.nr);
		return true;
	case INDEX_MERGE:
	case INDEX_MERGE_ALL:
		if (!index_merge_plan(tl, kind == INDEX_MERGE_ALL, &job->merge))
			return false;
		snprintf(job->text, sizeof(job->text), "merge of segments %llu to %llu",
			 (unsigned long long)merge->inputs[0].first_segment,
			 (unsigned long long)merge->inputs[merge->nr_inputs - 1].last_segment);
		return true;
	case INDEX_SEGMENT:
		if (!index_segment_plan(tl, &job->segment))
			return false;
		snprintf(job->text, sizeof(job->text), "segment %llu",
			 (unsigned long long)job->segment.segment.number);
		return true;
	case INDEX_POINTS:
		if (!index_points_plan(tl, &job->points))
			return false;
		snprintf(job->text, sizeof(job->text), "points up to segment %llu",
			 (unsigned long long)job->points.build.last_segment);
		return true;
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
	index_remove_free(&job->remove);
	index_merge_free(&job->merge);
	index_points_free(&job->points);
	index_pack_free(&job->pack);
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

/* -- doing -- */

/* What is to be said of it was not known before. */
static void points_tell(struct index_job *job)
{
	const char *why = index_points_keep_all(&job->points);

	if (why)
		snprintf(job->text, sizeof(job->text), "points; %s, so none is dropped", why);
}

static void lost_tell(struct index_job *job)
{
	const struct index_points *points = &job->points;
	const struct index_pack *pack = &job->pack;
	uint64_t number = 0;

	if (points->build.before_bad && points->alone)
		number = points->build.before.number;
	if (pack->points_bad == 2 && pack->alone)
		number = pack->points.number;
	if (number)
		snprintf(job->lost, sizeof(job->lost), "%016llx.points",
			 (unsigned long long)number);
}

int index_job_run(struct index_job *job, struct env *env, const struct run_pace *pace)
{
	switch (job->kind) {
	case INDEX_REMOVE:
		job->error = index_remove_run(&job->remove, env, job->dir, pace);
		break;
	case INDEX_MERGE:
	case INDEX_MERGE_ALL:
		job->error = index_merge_run(&job->merge, env, job->dir, job->timeline,
					     job->number, pace);
		break;
	case INDEX_SEGMENT:
		job->error = index_segment_run(&job->segment, env, job->dir, job->timeline,
					       job->number, pace);
		break;
	case INDEX_POINTS:
		job->error = index_points_run(&job->points, env, job->dir, job->timeline, pace);
		points_tell(job);
		break;
	default:
		job->error = index_pack_run(&job->pack, env, job->dir, job->timeline, pace);
	}
	lost_tell(job);
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

/* -- taking -- */

static int job_take(struct timeline *tl, const struct index_job *job, int error)
{
	switch (job->kind) {
	case INDEX_REMOVE:
		index_remove_take(tl, &job->remove);
		return 0;
	case INDEX_MERGE:
	case INDEX_MERGE_ALL:
		return index_merge_take(tl, &job->merge, error);
	case INDEX_SEGMENT:
		return index_segment_take(tl, &job->segment, error);
	case INDEX_POINTS:
		return index_points_take(tl, &job->points, error);
	default:
		/* What it has made before it failed is as good as any. */
		return job->done ? index_pack_take(tl, &job->pack, error) : error;
	}
}

int timeline_index_take(struct timeline *tl, struct index_job *job)
{
	int ret = job_take(tl, job, job->done ? job->error : -ECANCELED);

	tl->indexing = false;
	tl->job_failed[job->kind] = ret;
	job_free(job);
	return ret;
}

/* -- for people -- */

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
