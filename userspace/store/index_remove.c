// SPDX-License-Identifier: GPL-2.0-only
/* index_remove - the job of the index that removes files nobody needs any more. */
#include "index_remove.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "pack_read.h"
#include "space.h"
#include "timeline_internal.h"

#define PATH_BYTES 4096

/* A file that is removed counts as so much written: a few go in a second. */
#define REMOVE_BYTES		(4u << 20)
#define REMOVE_FILES		64	/* by one job; then other timelines have their turn */

/* -- what a crash, or a failure, has left behind -- */

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

/* Whether a file of that number is what the manifest means, or all there is of it. */
static bool is_needed(const struct timeline *tl, uint64_t number, const char *suffix)
{
	const struct manifest *m = &tl->manifest;

	if (!strcmp(suffix, ".seg"))
		return !pack_is_whole(tl, number);
	for (size_t i = 0; i < m->nr_runs && !strcmp(suffix, ".run"); i++)
		if (m->runs[i].number == number)
			return true;
	for (size_t i = 0; i < m->nr_packs && !strcmp(suffix, ".pack"); i++)
		if (m->packs[i].number == number)
			return true;
	return !strcmp(suffix, ".points") && m->points.number == number;
}

static void stray_take(void *arg, const char *name)
{
	static const char *const suffixes[] = { ".seg", ".run", ".run.new", ".pack", ".pack.new",
						".points", ".points.new" };
	struct strays *s = arg;
	char *suffix;
	const uint64_t number = strtoull(name, &suffix, 16);
	bool ours = false;

	for (size_t i = 0; i < sizeof(suffixes) / sizeof(*suffixes); i++)
		ours |= suffix - name == 16 && !strcmp(suffix, suffixes[i]);
	if (!ours || is_needed(s->tl, number, suffix))
		return;
	/* Without memory for its name it stays until the next opening. */
	if (array_reserve(&s->names, &s->max, s->nr + 1))
		strcpy(s->names[s->nr++], name);
}

void timeline_strays_remove(struct timeline *tl)
{
	struct strays s = { .tl = tl };
	char path[PATH_BYTES];

	tl->env->ops->list(tl->env, tl->dir, stray_take, &s);
	for (size_t i = 0; i < s.nr; i++) {
		snprintf(path, sizeof(path), "%s/%s", tl->dir, s.names[i]);
		tl->env->ops->unlink(tl->env, path);
	}
	free(s.names);
}

/* -- what something durable stands for -- */

void timeline_remove(struct timeline *tl, const char *name)
{
	struct timeline_unneeded *u = &tl->unneeded;

	/* Without memory for its name it stays until the next opening. */
	if (array_reserve(&u->names, &u->max, u->nr + 1))
		snprintf(u->names[u->nr++], sizeof(u->names[0]), "%s", name);
}

bool index_remove_plan(struct timeline *tl, struct index_remove *job)
{
	struct timeline_unneeded *all = &tl->unneeded, *now = &job->files;
	const size_t nr = all->nr < REMOVE_FILES ? all->nr : REMOVE_FILES;

	memset(job, 0, sizeof(*job));
	if (!nr || !array_reserve(&now->names, &now->max, nr))
		return false;
	memcpy(now->names, all->names, nr * sizeof(*now->names));
	now->nr = nr;
	all->nr -= nr;
	memmove(all->names, all->names + nr, all->nr * sizeof(*all->names));
	return true;
}

/*
 * Here, as freeing what is large takes a while, and what comes in waits for the same journal. What
 * stays goes when the timeline is opened.
 */
int index_remove_run(struct index_remove *job, struct env *env, const char *dir,
		     const struct run_pace *pace)
{
	char path[PATH_BYTES];
	int ret = 0;

	for (size_t i = 0; i < job->files.nr && !ret; i++) {
		uint64_t bytes;

		snprintf(path, sizeof(path), "%s/%s", dir, job->files.names[i]);
		bytes = space_is_data(job->files.names[i]) ? space_of_file(env, path) : 0;
		if (env->ops->unlink(env, path) == 0)
			job->removed_bytes += bytes;
		ret = pace ? pace->fn(pace->arg, REMOVE_BYTES) : 0;
	}
	return ret;
}

void index_remove_take(struct timeline *tl, const struct index_remove *job)
{
	tl->packing.removed_bytes += job->removed_bytes;
}

void index_remove_free(struct index_remove *job)
{
	free(job->files.names);
	memset(job, 0, sizeof(*job));
}
