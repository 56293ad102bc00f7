/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * index - the jobs of a timeline's index: which is next, doing it, taking what it made.
 *
 * Beside stage [7 timeline store]. Fed by segments that are finished; makes runs, points files and
 * packs of them, which feed views. A job needs nothing of the timeline and may be done in any
 * thread; planning it and taking its result belong to the timeline's. Each kind has a file:
 * index_*.c. docs/STORE.md has the order of what is written and why a crash does no harm.
 *
 * Promise: whatever a job does or fails to do, views show the same.
 */
#ifndef BLKSHIP_INDEX_H
#define BLKSHIP_INDEX_H

#include "lease.h"
#include "run_write.h"
#include "timeline.h"

struct index_job;

#define INDEX_TEXT_BYTES 64

/**
 * timeline_index_plan - what the index of a writer's timeline needs next
 * One job at a time. Return: a job, which timeline_index_take() is due for; NULL: nothing
 * is needed, or a job is under way, or there is no memory.
 */
struct index_job *timeline_index_plan(struct timeline *tl);

/**
 * index_job_run - do it
 * @env: of the calling thread; no submit() is called
 * @pace: called with the bytes written or read, and for what is removed; may be NULL
 * Return: 0; -errno, or what @pace returned: nothing is left of it. The job knows, too.
 */
int index_job_run(struct index_job *job, struct env *env, const struct run_pace *pace);

/** index_job_text - what it makes, for a log line: "segment 7", "merge of
 * segments 1 to 4"; INDEX_TEXT_BYTES */
const char *index_job_text(const struct index_job *job);

/**
 * index_job_first_pack - commits that were dropped, if this job is the first to give back space
 * From then on what they showed is gone. Once, for people; 0: it is not, or has been said since the
 * timeline was opened.
 */
uint64_t index_job_first_pack(const struct index_job *job);

/**
 * index_job_lost - after it was run: a points file that cannot be read any more, and nothing
 * else on disk says which points there are; NULL: none
 * The timeline knows them as long as it is open. It is as long as the job.
 */
const char *index_job_lost(const struct index_job *job);

/**
 * timeline_index_take - name what the job made, remove what that replaces; free the job
 * Return: 0; what index_job_run() returned; -errno of the manifest, or of a branch or of the
 * leases because of which a points file leaves nothing out.
 */
int timeline_index_take(struct timeline *tl, struct index_job *job);

/**
 * timeline_set_packing - whether jobs also give back the space of what no point needs
 * Off at first: they then only add.
 */
void timeline_set_packing(struct timeline *tl, bool packing);

struct timeline_pack_state {
	bool on;		/* timeline_set_packing() */
	size_t nr_aside;	/* files that are left as they are, as they cannot be read */
	char aside[32];		/* name of the last that became one; "": none */
	int error;		/* -errno: why that one is */
	uint64_t need_bytes;	/* a pack waits for so much room; 0: none waits */
	uint64_t reclaimed_bytes; /* given back since the timeline was opened, less what packs took */
	int leases_error;	/* -errno: leases/ cannot be read, no point is dropped */
	char lease[LEASE_NAME_BYTES]; /* one that cannot be read; "": none */
	int lease_error;	/* -errno: why */
	bool lease_counts;	/* its point stays; false: it is no file */
};

/**
 * timeline_pack_state - what was given back, and what keeps jobs from more, for people
 * A file is tried again after hours, or when keys were set; room is waited for; leases are looked
 * at when retention is due. Everything beside them goes on.
 */
void timeline_pack_state(const struct timeline *tl, struct timeline_pack_state *out);

/**
 * timeline_index_forget - remove all runs; what is planned next makes them anew
 * Not while a job is under way. Views go through the history until then.
 */
void timeline_index_forget(struct timeline *tl);

/**
 * timeline_index_state - for people: how far the index is
 * @nr_waiting: out, segments that are finished and have no run: they slow opening down
 */
void timeline_index_state(const struct timeline *tl, uint64_t *nr_runs, uint64_t *nr_waiting);

#endif
