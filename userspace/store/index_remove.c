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
