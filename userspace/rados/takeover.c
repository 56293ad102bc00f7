// SPDX-License-Identifier: GPL-2.0-only
#include "takeover.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "dir.h"

struct takeover {
	struct cluster *cluster;
	char dir[RADOS_PATH_BYTES];
	int nr;			/* or -errno */
};

static int takeover_dir(struct cluster *c, const char *dir);

/* "lock" of a timeline, "branches.lock" of a group: files that are locked have such names. */
static bool name_is_lock(const char *name)
{
	const char *dot = strrchr(name, '.');

	return strcmp(dot ? dot + 1 : name, "lock") == 0;
}

/* A lock, or a directory that may have some: branches are below their groups. */
static void takeover_one(void *arg, const char *name, const struct rados_entry *e)
{
	struct takeover *t = arg;
	struct cluster *c = t->cluster;
	char path[sizeof(c->location) + RADOS_PATH_BYTES + RADOS_NAME_BYTES];
	char object[RADOS_PIECE_NAME_BYTES];
	int ret = 0;

	if (t->nr < 0)
		return;
	if (e->kind == RADOS_KIND_DIRECTORY) {
		snprintf(path, sizeof(path), "%s%s%s", t->dir, *t->dir ? "/" : "", name);
		ret = strlen(path) < RADOS_PATH_BYTES ? takeover_dir(c, path) : -ENAMETOOLONG;
	} else if (name_is_lock(name)) {
		rados_piece_object(e->id, 0, object);
		snprintf(path, sizeof(path), "%s/%s", c->location, t->dir);
		ret = owner_evict(c, object, path);
	}
	t->nr = ret < 0 ? ret : t->nr + ret;
}

static int takeover_dir(struct cluster *c, const char *dir)
{
	struct takeover t = { .cluster = c };
	int ret;

	snprintf(t.dir, sizeof(t.dir), "%s", dir);
	ret = dir_list(c, dir, takeover_one, &t);
	return ret < 0 && ret != -ENOENT ? ret : t.nr;
}

int takeover_below(struct cluster *c)
{
	return takeover_dir(c, "");
}
