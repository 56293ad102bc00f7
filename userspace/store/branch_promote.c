// SPDX-License-Identifier: GPL-2.0-only
/*
 * branch_promote - a branch becomes the main line of its group: docs/BRANCH.md.
 *
 * One record in the group's manifest is all there is to it. The branch is held meanwhile by the
 * lock of who writes to it: nobody serves it, nobody drops it, and what it has is durable.
 */
#include "branches.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/seq.h"
#include "branches_internal.h"
#include "timeline_internal.h"

static_assert(NAME_BYTES == TIMELINE_NAME_BYTES, "a branch's name fits its line");

/* Of its newest point; 0: it has none. */
static uint64_t newest_cut(const struct timeline *tl)
{
	const struct points *p = &tl->points;

	for (size_t i = p->nr_commits; i-- > 0;)
		if (p->commits[i].listed)
			return p->commits[i].cut_seq;
	return 0;
}

/* Whether it ends before where it was when it was promoted, and nothing else says so. */
static int check_points(const struct timeline_line *line, const struct timeline *branch, char *why)
{
	uint64_t newest = newest_cut(branch);
	char now[64] = "has none now";

	if (timeline_damage(branch) || newest >= line->branch_cut_seq)
		return 0;
	if (newest)
		snprintf(now, sizeof(now), "none after seq:%u:%llu now", seq_incarnation(newest),
			 (unsigned long long)seq_number(newest));
	snprintf(why, TIMELINE_TEXT_BYTES, "it had points up to seq:%u:%llu when it was promoted, and %s",
		 seq_incarnation(line->branch_cut_seq),
		 (unsigned long long)seq_number(line->branch_cut_seq), now);
	return -EUCLEAN;
}

int branch_check_line(const struct timeline *group, const struct timeline_line *line,
		      const struct timeline *branch, char *why)
{
	struct timeline_parent parent;

	if (memcmp(timeline_id(branch), line->timeline, sizeof(line->timeline)) != 0 ||
	    !timeline_parent(branch, &parent) || parent.cut_seq != line->cut_seq ||
	    memcmp(parent.timeline, timeline_id(group), sizeof(parent.timeline)) != 0) {
		snprintf(why, TIMELINE_TEXT_BYTES, "the branch of this name is another one");
		return -EUCLEAN;
	}
	return check_points(line, branch, why);
}

/* Read only, as who opens it for writing cuts off what is torn. */
static int check_lines(struct env *env, const char *dir, const struct manifest *group, char *why)
{
	char lost[TIMELINE_TEXT_BYTES];
	struct timeline *branch;
	int ret;

	if (!group->nr_lines)
		return 0;
	ret = timeline_open(env, dir, TIMELINE_READ_ONLY, NULL, &branch, why);
	if (ret)
		return ret;
	for (size_t i = 0; i < group->nr_lines && !ret; i++)
		if (memcmp(group->lines[i].timeline, timeline_id(branch),
			   sizeof(group->lines[i].timeline)) == 0)
			ret = check_points(&group->lines[i], branch, lost);
	if (ret)
		snprintf(why, TIMELINE_TEXT_BYTES, "%.200s; put its directory back from a copy", lost);
	timeline_close(branch);
	return ret;
}

int branch_check_writable(struct env *env, const char *group_dir, const char *name, char *why)
{
	char dir[PATH_BYTES];
	struct manifest m;
	int ret = branch_path(dir, sizeof(dir), group_dir, name);

	why[0] = 0;
	if (ret)
		return ret;
	ret = manifest_open(&m, env, group_dir, false, why);
	if (!ret)
		ret = check_lines(env, dir, &m, why);
	manifest_close(&m);
	return ret;
}

/* With its lock held, as it is open for writing. */
static int promote_locked(struct timeline *group, struct timeline *branch, const char *name,
			  bool force, char *why)
{
	struct timeline_line line = { .epoch = manifest_epoch(&group->manifest) + 1,
				      .made_ns = group->env->ops->realtime_ns(group->env) };
	struct timeline_parent parent;
	size_t index;
	int ret;

	if (!timeline_parent(branch, &parent) ||
	    memcmp(parent.timeline, timeline_id(group), sizeof(parent.timeline)) != 0)
		return branch_complain(why, -EUCLEAN, name, "it is of another history than the group's");
	index = points_find(&group->points, parent.cut_seq);
	if (index == group->points.nr_commits || !group->points.commits[index].listed)
		return branch_complain(why, -EUCLEAN, name, "the point at which it begins is not there any more");
	memcpy(line.timeline, timeline_id(branch), sizeof(line.timeline));
	line.cut_seq = parent.cut_seq;
	line.time_ns = parent.time_ns;
	line.branch_cut_seq = newest_cut(branch);
	/* As a rule it is not the one that was meant. */
	if (!line.branch_cut_seq && !force)
		return branch_complain(why, -EPERM, name, "it has no points, the group's newest would be the one where it begins; if that is wanted, say --force");
	snprintf(line.name, sizeof(line.name), "%s", name);
	ret = manifest_add_line(&group->manifest, &line);
	if (ret && group->manifest.line_unknown)
		return branch_complain(why, -ENOTRECOVERABLE, name, "the manifest could neither be added to nor be written anew: whether this is the main line is known when the group is opened again");
	return ret;
}

static int promote(struct timeline *group, const char *dir, const char *name, bool force, char *why)
{
	struct timeline *branch;
	char reason[TIMELINE_TEXT_BYTES] = "";
	int ret = check_lines(group->env, dir, &group->manifest, reason);

	if (!ret)
		ret = timeline_open(group->env, dir, 0, NULL, &branch, reason);
	if (ret)
		return branch_complain(why, ret, name, ret == -ENOENT ? "there is none of this name" :
				       ret == -EBUSY ? "it is in use" :
				       *reason ? reason : strerror(-ret));
	ret = promote_locked(group, branch, name, force, why);
	timeline_close(branch);
	return ret;
}

/* Looked at without its lock, as the main line may be served; -EALREADY: it is what @name is. */
static int name_taken(struct timeline *group, const char *dir, const char *name, char *why)
{
	char reason[TIMELINE_TEXT_BYTES] = "";
	const struct timeline_line *lines;
	size_t nr = timeline_lines(group, &lines);
	uint8_t id[16];
	int ret;

	for (size_t i = nr; i-- > 0;) {
		if (strcmp(lines[i].name, name) != 0)
			continue;
		ret = branch_id(group->env, dir, id, reason);
		if (ret)
			return branch_complain(why, ret, name, ret == -ENOENT ?
					       "it was promoted and its directory is missing; put it back from a copy" :
					       *reason ? reason : strerror(-ret));
		if (memcmp(id, lines[i].timeline, sizeof(id)) != 0)
			return branch_complain(why, -EUCLEAN, name, "another one was promoted under this name; drop this one and put that back from a copy");
		return i + 1 == nr ? -EALREADY : 0;
	}
	return 0;
}

int branch_promote(struct timeline *group, const char *name, bool force, char *why)
{
	char dir[PATH_BYTES];
	struct env_file *lock;
	int ret = name_valid(name) ? branch_path(dir, sizeof(dir), group->dir, name) : -ENOENT;

	why[0] = 0;
	if (ret)
		return branch_complain(why, ret, name, ret == -ENOENT ? "there is none of this name" :
				       strerror(-ret));
	ret = name_taken(group, dir, name, why);
	if (ret)
		return ret;
	ret = group->read_only ? -EROFS : branches_lock(group->env, group->dir, &lock);
	if (ret == -EBUSY)
		return branch_complain(why, -EAGAIN, name, "another branch of the group is being made, or its history thinned; try again");
	if (!ret) {
		ret = promote(group, dir, name, force, why);
		group->env->ops->close(group->env, lock);
	}
	if (ret && !why[0])
		branch_complain(why, ret, name, strerror(-ret));
	return ret;
}
