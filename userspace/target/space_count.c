// SPDX-License-Identifier: GPL-2.0-only
/* space_count - what all groups of a store take on disk, with their branches. */
#include "space_count.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../store/array.h"
#include "../store/branches.h"

#define PATH_BYTES 4096

struct counting {
	struct env *env;
	bool (*stopped)(void *arg);
	void *arg;
	struct space_count *out;
	const char *dir;	/* that is listed: of the groups, or of a group's branches */
	size_t group;		/* whose; index */
	int error;
};

/* One that is gone just now takes nothing, nor does what is no directory. */
static void dir_count(struct counting *c, const char *dir, uint64_t *data, uint64_t *index)
{
	int ret = c->stopped(c->arg) ? -ECANCELED : space_of_dir(c->env, dir, data, index);

	if (ret != -ENOENT && ret != -ENOTDIR)
		c->error = ret;
}

static void branch_count(void *arg, const char *name)
{
	struct counting *c = arg;
	uint64_t data = 0, index = 0;
	char dir[PATH_BYTES];

	if (c->error || !name_valid(name))
		return;
	snprintf(dir, sizeof(dir), "%s/%s", c->dir, name);
	dir_count(c, dir, &data, &index);
	c->out->items[c->group].branch_bytes += data + index;
}

static void group_count(void *arg, const char *name)
{
	struct counting *c = arg, below = *c;
	struct space_counted *counted;
	char dir[PATH_BYTES], branches[PATH_BYTES + sizeof(BRANCHES_DIR)];
	int ret;

	if (c->error || !name_valid(name))
		return;
	counted = space_count_get(c->out, name);
	if (!counted) {
		c->error = -ENOMEM;
		return;
	}
	snprintf(dir, sizeof(dir), "%s/%s", c->dir, name);
	dir_count(c, dir, &counted->space.data_bytes, &counted->space.index_bytes);
	snprintf(branches, sizeof(branches), "%s/" BRANCHES_DIR, dir);
	below.dir = branches;
	below.group = counted - c->out->items;
	below.error = c->error;
	ret = c->error ? c->error : c->env->ops->list(c->env, branches, branch_count, &below);
	/* Most have none. */
	c->error = ret && ret != -ENOENT && ret != -ENOTDIR ? ret : below.error;
}

int space_count_all(struct env *env, const char *dir, bool (*stopped)(void *arg), void *arg,
		    struct space_count *out)
{
	struct counting c = { .env = env, .stopped = stopped, .arg = arg, .out = out, .dir = dir };
	int ret;

	*out = (struct space_count){ .nr = 0 };
	ret = env->ops->list(env, dir, group_count, &c);
	out->has_free = env->ops->free_bytes(env, dir, &out->free_bytes) == 0;
	return ret && ret != -ENOENT ? ret : c.error;
}

struct space_counted *space_count_find(const struct space_count *c, const char *group)
{
	for (size_t i = 0; i < c->nr; i++)
		if (strcmp(c->items[i].group, group) == 0)
			return &c->items[i];
	return NULL;
}

struct space_counted *space_count_get(struct space_count *c, const char *group)
{
	struct space_counted *counted = space_count_find(c, group);

	if (counted || !array_reserve(&c->items, &c->max, c->nr + 1))
		return counted;
	counted = &c->items[c->nr++];
	*counted = (struct space_counted){ .came_bytes = 0 };
	snprintf(counted->group, sizeof(counted->group), "%s", group);
	return counted;
}

uint64_t space_counted_bytes(const struct space_counted *counted)
{
	return counted->space.data_bytes + counted->space.index_bytes + counted->branch_bytes +
	       counted->came_bytes;
}
