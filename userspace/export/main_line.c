// SPDX-License-Identifier: GPL-2.0-only
#include "main_line.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/seq.h"
#include "../store/branches.h"

#define EPOCH_MARK "/~"

/* -- a branch that was promoted -- */

/* @branch: out, POINT_GROUP_BYTES; @rest: out: it, if it is what it was. */
static int line_open(const char *store, const char *group, const struct timeline *tl,
		     const struct timeline_line *line, char *branch, struct point_list *rest,
		     char *why)
{
	char reason[POINT_TEXT_BYTES];
	int ret;

	if (snprintf(branch, POINT_GROUP_BYTES, "%s/%s", group, line->name) >= POINT_GROUP_BYTES) {
		snprintf(why, POINT_TEXT_BYTES, "group %s: the name of branch %s is too long", group,
			 line->name);
		return -ENAMETOOLONG;
	}
	ret = point_list_open(store, branch, rest, reason);
	if (ret == 0) {
		ret = branch_check_line(tl, line, rest->tl, reason);
		if (ret < 0)
			point_list_close(rest);
	}
	if (ret < 0)
		snprintf(why, POINT_TEXT_BYTES, "group %s: branch %s %s its main line and cannot be read: %.600s; put its directory back from a copy; what the group had before is %s" EPOCH_MARK "%u",
			 group, line->name, line == timeline_main_line(tl) ? "is" : "was", reason,
			 group, line->epoch - 1);
	/* It is missed: who asks for it named a group that is there. */
	return ret == -ENOENT ? -EUCLEAN : ret;
}

/* @branch: out, as of line_open() */
static int line_check(const char *store, const char *group, const struct timeline *tl,
		      const struct timeline_line *line, char *branch, char *why)
{
	struct point_list rest;
	int ret = line_open(store, group, tl, line, branch, &rest, why);

	if (ret == 0)
		point_list_close(&rest);
	return ret;
}

int main_line_check(const char *store, const char *group, const struct timeline *tl,
		    const struct timeline_line *line, char *why)
{
	char branch[POINT_GROUP_BYTES];

	return line_check(store, group, tl, line, branch, why);
}

/* -- GROUP/~EPOCH -- */

/* @name: of the group */
static int epoch_line(const char *store, const struct timeline *tl, const char *name,
		      const char *text, char *group, char *why)
{
	const struct timeline_line *lines;
	size_t nr = timeline_lines(tl, &lines);
	struct timeline_state state;
	unsigned long long epoch;
	bool is_number;
	char *end;

	errno = 0;
	epoch = strtoull(text, &end, 10);
	is_number = isdigit((unsigned char)*text) && !*end && !errno;
	timeline_state(tl, &state);
	if (is_number && epoch + nr == state.epoch) {
		strcpy(group, name);
		return 0;
	}
	for (size_t i = 0; is_number && i < nr; i++)
		if (lines[i].epoch == epoch)
			return line_check(store, name, tl, &lines[i], group, why);
	snprintf(why, POINT_TEXT_BYTES, "group %s never was in epoch '%.20s'; `blkship branch list %s` names the branches that became its main line",
		 name, text, name);
	return -ENOENT;
}

int main_line_name(const char *store, const char *text, char *group, char *why)
{
	const char *mark = strstr(text, EPOCH_MARK);
	char name[POINT_GROUP_BYTES];
	struct point_list list;
	int ret;

	/* Cut short it could be another's. */
	if (strlen(text) >= POINT_GROUP_BYTES) {
		snprintf(why, POINT_TEXT_BYTES, "group '%.64s...': not a name a group can have", text);
		return -ENOENT;
	}
	if (!mark) {
		strcpy(group, text);
		return 0;
	}
	snprintf(name, sizeof(name), "%.*s", (int)(mark - text), text);
	ret = point_list_open(store, name, &list, why);
	if (ret < 0)
		return ret;
	ret = epoch_line(store, list.tl, name, mark + strlen(EPOCH_MARK), group, why);
	point_list_close(&list);
	return ret;
}

/* -- the main line -- */

int main_line_split(const char *store, const char *group, struct point_list *list, char *branch,
		    struct point_list *rest, char *why)
{
	const struct timeline_line *line = timeline_main_line(list->tl);

	*branch = 0;
	if (!line)
		return 0;
	while (list->nr && list->points[list->nr - 1].seq > line->cut_seq)
		list->nr--;
	return line_open(store, group, list->tl, line, branch, rest, why);
}

/*
 * Whether what the branch has no point for is where it begins: it has none as nothing was written
 * by then, and the point is there. What is older is never shown for it.
 */
static int is_at_beginning(const char *group, const struct point_list *list,
			   const struct point_list *rest, char *why)
{
	const struct timeline_line *line = timeline_main_line(list->tl);
	const char *damage = timeline_damage(rest->tl);

	if (damage) {
		snprintf(why, POINT_TEXT_BYTES, "group %s: branch %s is its main line and is damaged: %.500s; it may have had a point for this; %s@seq:%u:%llu (its beginning) and what the group had before, %s" EPOCH_MARK "%u, are not affected",
			 group, line->name, damage, group, seq_incarnation(line->cut_seq),
			 (unsigned long long)seq_number(line->cut_seq), group, line->epoch - 1);
		return -EUCLEAN;
	}
	if (!list->nr || list->points[list->nr - 1].seq != line->cut_seq) {
		damage = timeline_damage(list->tl);
		snprintf(why, POINT_TEXT_BYTES, "group %s: branch %s is its main line, and the point at which it begins (seq:%u:%llu) is not there any more%s%.500s; `blkship points %s` lists what is",
			 group, line->name, seq_incarnation(line->cut_seq),
			 (unsigned long long)seq_number(line->cut_seq), damage ? ": " : "",
			 damage ? damage : "", group);
		return -EUCLEAN;
	}
	return 0;
}

/* Its clock may be behind: who knows it may have meant one of these. */
static void note_other_clock(const char *group, const char *branch,
			     const struct point_list *rest, const struct when *when,
			     struct point_list *list)
{
	if (!*list->note && point_find(rest, when))
		snprintf(list->note, sizeof(list->note), "group %s: by its own clock its main line, branch %s, has points of this time, too; they are found by %s@TIME",
			 group, strchr(branch, '/') + 1, branch);
}

int main_line_open(const char *store, struct point_name *name, struct point_list *list, char *why)
{
	char group[POINT_GROUP_BYTES], branch[POINT_GROUP_BYTES];
	bool is_main = !strchr(name->group, '/') && name->when.kind != WHEN_SEQ;
	const struct timeline_line *line;
	struct point_list rest;
	int ret = main_line_name(store, name->group, group, why);

	memset(list, 0, sizeof(*list));
	if (ret == 0)
		ret = point_list_open(store, group, list, why);
	if (ret < 0)
		return ret;
	strcpy(name->group, group);
	line = timeline_main_line(list->tl);
	if (!line || !is_main)
		return 0;
	ret = main_line_split(store, group, list, branch, &rest, why);
	/* Before it begins nothing is looked for in the branch: it may as well be lost. */
	if (name->when.kind == WHEN_TIME && name->when.time_ns < line->time_ns) {
		if (ret < 0)
			return 0;
		note_other_clock(group, branch, &rest, &name->when, list);
		point_list_close(&rest);
		return 0;
	}
	if (ret < 0) {
		point_list_close(list);
		return ret;
	}
	if (!point_find(&rest, &name->when)) {
		ret = is_at_beginning(group, list, &rest, why);
		point_list_close(&rest);
		/* That very point: damage of the old line, behind it, is not in question. */
		name->when = (struct when){ .kind = WHEN_SEQ, .seq = line->cut_seq };
		if (ret < 0)
			point_list_close(list);
		return ret;
	}
	point_list_close(list);
	*list = rest;
	strcpy(name->group, branch);
	return 0;
}
