// SPDX-License-Identifier: GPL-2.0-only
/* branches - which branches a timeline has: docs/BRANCH.md. */
#include "branches.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "branches_internal.h"
#include "timeline_internal.h"

#define CREATE_TRIES	3	/* a sweeper may remove an empty directory below us */

int branch_complain(char *why, int error, const char *name, const char *text)
{
	snprintf(why, TIMELINE_TEXT_BYTES, "branch %.64s: %.160s", name, text);
	return error;
}

static int path_in(char *path, const char *dir, const char *name)
{
	return snprintf(path, PATH_BYTES, "%s/%s", dir, name) < PATH_BYTES ? 0 : -ENAMETOOLONG;
}

int branch_path(char *path, size_t bytes, const char *group_dir, const char *name)
{
	size_t used = snprintf(path, bytes, "%s/" BRANCHES_DIR "/%s", group_dir, name);

	return used < bytes ? 0 : -ENAMETOOLONG;
}

/* -- names in a directory -- */

struct names {
	char **items;
	size_t nr, max;
	bool no_memory;
};

static void name_take(void *arg, const char *name)
{
	struct names *n = arg;

	if (array_reserve(&n->items, &n->max, n->nr + 1) && (n->items[n->nr] = strdup(name)))
		n->nr++;
	else
		n->no_memory = true;
}

static void names_fini(struct names *n)
{
	for (size_t i = 0; i < n->nr; i++)
		free(n->items[i]);
	free(n->items);
}

static int name_compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_read(struct env *env, const char *dir, struct names *n)
{
	int ret = env->ops->list(env, dir, name_take, n);

	if (!ret && n->no_memory)
		ret = -ENOMEM;
	if (n->nr)
		qsort(n->items, n->nr, sizeof(*n->items), name_compare);
	return ret;
}

/* -- what a directory is -- */

enum place { PLACE_EMPTY, PLACE_BRANCH, PLACE_DROPPED, PLACE_DAMAGED };

static enum place place_of(const struct names *n)
{
	bool dropped = false, segments = false;

	for (size_t i = 0; i < n->nr; i++) {
		const char *dot = strrchr(n->items[i], '.');

		if (strcmp(n->items[i], "manifest") == 0)
			return PLACE_BRANCH;
		dropped |= strcmp(n->items[i], "manifest.dropped") == 0;
		segments |= dot && strcmp(dot, ".seg") == 0;
	}
	return dropped ? PLACE_DROPPED : segments ? PLACE_DAMAGED : PLACE_EMPTY;
}

static int place_look(struct env *env, const char *dir, enum place *place)
{
	struct names n = { 0 };
	int ret = names_read(env, dir, &n);

	*place = place_of(&n);
	names_fini(&n);
	return ret;
}

static int lock_take(struct env *env, const char *dir, const char *name, struct env_file **lock)
{
	char path[PATH_BYTES];
	int ret = path_in(path, dir, name);

	if (!ret)
		ret = env->ops->open(env, path, ENV_WRITE, lock);
	if (ret == -ENOENT) {
		ret = env->ops->open(env, path, ENV_WRITE | ENV_CREATE, lock);
		if (ret == -EEXIST)	/* another was faster */
			ret = env->ops->open(env, path, ENV_WRITE, lock);
	}
	if (ret)
		return ret;
	ret = env->ops->lock(env, *lock);
	if (ret)
		env->ops->close(env, *lock);
	return ret;
}

/* The lock that a writer of the branch has. */
static int place_lock(struct env *env, const char *dir, struct env_file **lock)
{
	return lock_take(env, dir, "lock", lock);
}

int branches_lock(struct env *env, const char *group_dir, struct env_file **lock)
{
	return lock_take(env, group_dir, "branches.lock", lock);
}

static int unlink_in(struct env *env, const char *dir, const char *name)
{
	char path[PATH_BYTES];
	int ret = path_in(path, dir, name);

	if (!ret)
		ret = env->ops->unlink(env, path);
	return ret == -ENOENT ? 0 : ret;
}

/*
 * Remove all but the lock, which we hold. What says that it was dropped goes last: without
 * it segments would be damage.
 */
static int place_clear(struct env *env, const char *dir)
{
	struct names n = { 0 };
	int ret = names_read(env, dir, &n);

	for (size_t i = 0; i < n.nr && !ret; i++)
		if (strcmp(n.items[i], "lock") != 0 && strcmp(n.items[i], "manifest.dropped") != 0)
			ret = unlink_in(env, dir, n.items[i]);
	names_fini(&n);
	if (!ret)
		ret = env->ops->sync_dir(env, dir);
	return ret ? ret : unlink_in(env, dir, "manifest.dropped");
}

/* -- making -- */

static int make_dir(struct env *env, const char *parent, const char *dir)
{
	int ret = env->ops->mkdir(env, dir);

	if (ret && ret != -EEXIST)
		return ret;
	return env->ops->sync_dir(env, parent);
}

static int make_manifest(struct env *env, const char *dir, struct timeline *parent,
			 const struct timeline_commit *point,
			 const struct timeline_volume *volumes, char *why)
{
	struct manifest_parent record = { .cut_seq = point->cut_seq, .time_ns = point->time_ns };
	struct manifest m;
	uint8_t id[16];
	int ret;

	memcpy(record.timeline, timeline_id(parent), sizeof(record.timeline));
	env->ops->random(env, id, sizeof(id));
	ret = manifest_create_branch(&m, env, dir, id, &parent->manifest, &record, volumes, why);
	manifest_close(&m);
	return ret;
}

/* In the directory, with its lock held. */
static int make_locked(struct env *env, const char *dir, const char *name,
		       struct timeline *parent, const struct timeline_commit *point,
		       const struct timeline_volume *volumes, char *why)
{
	enum place place;
	int ret = place_look(env, dir, &place);

	if (ret)
		return ret;
	if (place == PLACE_BRANCH)
		return branch_complain(why, -EEXIST, name, "there is one of this name");
	if (place == PLACE_DAMAGED)
		return branch_complain(why, -EUCLEAN, name, "its directory has segments but no manifest; put it back from a copy, or remove the directory");
	ret = place_clear(env, dir);
	return ret ? ret : make_manifest(env, dir, parent, point, volumes, why);
}

static int make(struct env *env, const char *group_dir, const char *name,
		struct timeline *parent, const struct timeline_commit *point,
		const struct timeline_volume *volumes, char *why)
{
	char all[PATH_BYTES], dir[PATH_BYTES];
	struct env_file *lock;
	int ret = path_in(all, group_dir, BRANCHES_DIR);

	if (!ret)
		ret = path_in(dir, all, name);
	if (!ret)
		ret = make_dir(env, group_dir, all);
	if (!ret)
		ret = make_dir(env, all, dir);
	if (!ret)
		ret = place_lock(env, dir, &lock);
	if (ret)
		return ret;
	ret = make_locked(env, dir, name, parent, point, volumes, why);
	env->ops->close(env, lock);
	return ret;
}

/* All volumes of the parent, as large as they were at the point. */
static struct timeline_volume *volumes_at(const struct timeline *parent, size_t index)
{
	const struct manifest *m = &parent->manifest;
	struct timeline_volume *volumes = calloc(m->nr_volumes + 1, sizeof(*volumes));
	const struct points_member *members;
	size_t nr = points_members(&parent->points, index, &members);

	if (!volumes)
		return NULL;
	memcpy(volumes, m->volumes, m->nr_volumes * sizeof(*volumes));
	for (size_t i = 0; i < m->nr_volumes; i++)
		volumes[i].size_bytes = 0;
	for (size_t i = 0; i < nr; i++)
		volumes[members[i].volume].size_bytes = members[i].size_bytes;
	return volumes;
}

/*
 * The name of a line stays its own while the directory is away: it may come back. Asked before
 * any directory is made, which would be in the way of one put back.
 */
static int name_is_free(struct env *env, const char *group_dir, const char *name,
			const struct manifest *group, char *why)
{
	enum place place = PLACE_EMPTY;
	char dir[PATH_BYTES];
	int ret;

	for (size_t i = 0; i < group->nr_lines; i++) {
		if (strcmp(group->lines[i].name, name) != 0)
			continue;
		ret = branch_path(dir, sizeof(dir), group_dir, name);
		if (!ret)
			ret = place_look(env, dir, &place);
		if (ret && ret != -ENOENT)
			return ret;
		/* What lies there, make_locked() says. */
		return place == PLACE_BRANCH || place == PLACE_DAMAGED ? 0 :
		       branch_complain(why, -EEXIST, name, "it was promoted and its directory is missing; put it back from a copy");
	}
	return 0;
}

/* With the lock held: what the parent has now, whatever it had when it was opened. */
static int create_locked(struct env *env, const char *group_dir, const char *name,
			 uint64_t cut_seq, char *why)
{
	struct timeline_volume *volumes;
	struct timeline *now;
	size_t index;
	int ret = timeline_open(env, group_dir, TIMELINE_READ_ONLY, NULL, &now, why);

	if (ret)
		return ret;
	ret = name_is_free(env, group_dir, name, &now->manifest, why);
	if (ret) {
		timeline_close(now);
		return ret;
	}
	index = points_find(&now->points, cut_seq);
	if (index == now->points.nr_commits || !now->points.commits[index].listed) {
		timeline_close(now);
		return branch_complain(why, -ENODATA, name, "the group has no such point");
	}
	volumes = volumes_at(now, index);
	ret = volumes ? -ENOENT : -ENOMEM;
	for (int i = 0; i < CREATE_TRIES && ret == -ENOENT; i++)
		ret = make(env, group_dir, name, now, &now->points.commits[index], volumes, why);
	free(volumes);
	timeline_close(now);
	return ret;
}

int branch_create(struct env *env, const char *group_dir, const char *name,
		  struct timeline *parent, uint64_t cut_seq, char *why)
{
	struct env_file *lock;
	int ret;

	why[0] = 0;
	if (!name_valid(name))
		return branch_complain(why, -EINVAL, name, "not a name that a branch can have");
	if (parent->manifest.has_parent)
		return branch_complain(why, -EOPNOTSUPP, name, "a branch cannot have branches; take a point of its group");
	ret = branches_lock(env, group_dir, &lock);
	if (ret == -EBUSY)
		return branch_complain(why, ret, name, "another branch of the group is being made, or its history thinned; try again");
	if (!ret) {
		ret = create_locked(env, group_dir, name, cut_seq, why);
		env->ops->close(env, lock);
	}
	if (ret && !why[0])
		branch_complain(why, ret, name, ret == -EBUSY ? "somebody makes or uses one of this name" :
			 strerror(-ret));
	return ret;
}

/* -- dropping -- */

int branch_id(struct env *env, const char *dir, uint8_t id[16], char *why)
{
	struct manifest m;
	int ret = manifest_open(&m, env, dir, false, why);

	if (!ret)
		memcpy(id, m.identity.timeline, sizeof(m.identity.timeline));
	manifest_close(&m);
	return ret;
}

/* By its id, whatever its directory is called now. */
static int is_no_line(struct env *env, const char *dir, const char *name,
		      const struct manifest *group, char *why)
{
	uint8_t id[16];
	int ret = branch_id(env, dir, id, why);

	for (size_t i = group->nr_lines; i-- > 0 && !ret;)
		if (memcmp(id, group->lines[i].timeline, sizeof(id)) == 0)
			ret = branch_complain(why, -EPERM, name, i + 1 < group->nr_lines ?
					      "it was the group's main line for a time" :
					      "it is the group's main line");
	return ret;
}

/* With the branch's lock, which who promotes it has as well: it does not become one meanwhile. */
static int drop_allowed(struct env *env, const char *group_dir, const char *dir, const char *name,
			char *why)
{
	struct manifest group;
	int ret = manifest_open(&group, env, group_dir, false, why);

	if (!ret && group.nr_lines)
		ret = is_no_line(env, dir, name, &group, why);
	manifest_close(&group);
	return ret;
}

int branch_drop(struct env *env, const char *group_dir, const char *name, char *why)
{
	char dir[PATH_BYTES], from[PATH_BYTES], to[PATH_BYTES];
	struct env_file *lock;
	int ret = name_valid(name) ? branch_path(dir, sizeof(dir), group_dir, name) : -ENOENT;

	if (!ret)
		ret = path_in(from, dir, "manifest");
	if (!ret)
		ret = path_in(to, dir, "manifest.dropped");
	why[0] = 0;
	if (!ret)
		ret = place_lock(env, dir, &lock);
	if (!ret) {
		ret = drop_allowed(env, group_dir, dir, name, why);
		if (!ret)
			ret = env->ops->rename(env, from, to);
		if (!ret)
			ret = env->ops->sync_dir(env, dir);
		env->ops->close(env, lock);
	}
	if (ret && !why[0])
		branch_complain(why, ret, name, ret == -ENOENT ? "there is none of this name" :
			 ret == -EBUSY ? "it is in use" : strerror(-ret));
	return ret;
}

/*
 * An empty directory and the lock of it that we hold. Without that it is nobody's until it
 * is gone: nobody may make a branch in it meanwhile, however long we are stopped just there.
 */
static int place_remove(struct env *env, const char *group_dir, const char *dir)
{
	struct env_file *lock;
	int ret = branches_lock(env, group_dir, &lock);

	if (ret)
		return ret == -EBUSY ? 0 : ret;
	ret = unlink_in(env, dir, "lock");
	if (!ret)
		ret = env->ops->unlink(env, dir);
	env->ops->close(env, lock);
	return ret;
}

static int sweep_one(struct env *env, const char *group_dir, const char *all, const char *name)
{
	struct env_file *lock;
	char dir[PATH_BYTES];
	enum place place;
	int ret = path_in(dir, all, name);

	/* Looked at before the lock is made, which would leave a trace: and again after. */
	if (!ret)
		ret = place_look(env, dir, &place);
	if (ret || place == PLACE_BRANCH || place == PLACE_DAMAGED)
		return ret;
	ret = place_lock(env, dir, &lock);
	if (ret)
		return ret == -EBUSY || ret == -ENOENT ? 0 : ret;
	ret = place_look(env, dir, &place);
	if (!ret && (place == PLACE_EMPTY || place == PLACE_DROPPED)) {
		ret = place_clear(env, dir);
		if (!ret)
			ret = place_remove(env, group_dir, dir);
	}
	env->ops->close(env, lock);
	return ret;
}

int branch_sweep(struct env *env, const char *group_dir)
{
	char all[PATH_BYTES];
	struct names n = { 0 };
	int ret = path_in(all, group_dir, BRANCHES_DIR), failed = 0;

	if (!ret)
		ret = names_read(env, all, &n);
	for (size_t i = 0; i < n.nr; i++) {
		int one = name_valid(n.items[i]) ? sweep_one(env, group_dir, all, n.items[i]) : 0;

		failed = failed ? failed : one;
	}
	names_fini(&n);
	return ret == -ENOENT ? 0 : ret ? ret : failed;
}

/* -- listing -- */

static void info_read(struct env *env, const char *dir, struct branch_info *info)
{
	struct manifest m;

	info->error = manifest_open(&m, env, dir, false, info->why);
	if (!info->error && !m.has_parent) {
		info->error = -EBADMSG;
		snprintf(info->why, sizeof(info->why), "its manifest names no parent");
	}
	if (!info->error) {
		memcpy(info->timeline, m.identity.timeline, sizeof(info->timeline));
		info->created_ns = m.identity.created_ns;
		info->parent.cut_seq = m.parent.cut_seq;
		info->parent.time_ns = m.parent.time_ns;
		memcpy(info->parent.timeline, m.parent.timeline, sizeof(info->parent.timeline));
	} else if (!info->why[0]) {
		snprintf(info->why, sizeof(info->why), "%s", strerror(-info->error));
	}
	manifest_close(&m);
}

int branch_list(struct env *env, const char *group_dir, struct branch_info **out, size_t *nr)
{
	char all[PATH_BYTES], dir[PATH_BYTES];
	struct branch_info *infos = NULL;
	struct names n = { 0 };
	size_t max = 0, found = 0;
	int ret = path_in(all, group_dir, BRANCHES_DIR);

	if (!ret)
		ret = names_read(env, all, &n);
	if (ret == -ENOENT)
		ret = 0;
	for (size_t i = 0; i < n.nr && !ret; i++) {
		enum place place;

		if (!name_valid(n.items[i]))
			continue;
		ret = path_in(dir, all, n.items[i]);
		if (!ret)
			ret = place_look(env, dir, &place);
		/* No directory. One that could not be looked at may be a branch. */
		if (ret == -ENOENT || ret == -ENOTDIR) {
			ret = 0;
			continue;
		}
		if (ret)
			break;
		if (place != PLACE_BRANCH && place != PLACE_DAMAGED)
			continue;
		if (!array_reserve(&infos, &max, found + 1)) {
			ret = -ENOMEM;
			break;
		}
		infos[found] = (struct branch_info){ 0 };
		snprintf(infos[found].name, NAME_BYTES, "%s", n.items[i]);
		info_read(env, dir, &infos[found]);
		/* It was dropped meanwhile. */
		found += infos[found].error != -ENOENT || place == PLACE_DAMAGED;
	}
	names_fini(&n);
	if (ret) {
		free(infos);
		return ret;
	}
	*out = infos;
	*nr = found;
	return 0;
}

/* -- what they need -- */

int branches_cuts(struct env *env, const char *group_dir, uint64_t **out, size_t *nr)
{
	struct branch_info *infos = NULL;
	size_t found = 0;
	uint64_t *cuts;
	int ret = branch_list(env, group_dir, &infos, &found);

	if (ret)
		return ret;
	cuts = malloc((found + 1) * sizeof(*cuts));
	if (!cuts)
		ret = -ENOMEM;
	for (size_t i = 0; i < found && !ret; i++) {
		ret = infos[i].error ? -EBADMSG : 0;
		cuts[i] = infos[i].parent.cut_seq;
	}
	free(infos);
	if (ret) {
		free(cuts);
		return ret;
	}
	array_sort_u64(cuts, found);
	*out = cuts;
	*nr = found;
	return 0;
}
