/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * main_line - in which timeline a point of a group's main line is: docs/BRANCH.md.
 *
 * Stage [8 recovery point]. Fed by timelines opened for reading; feeds whoever takes a GROUP@WHEN.
 * What is found here is GROUP, or GROUP/BRANCH; nobody behind it needs to know of main lines.
 */
#ifndef BLKSHIP_MAIN_LINE_H
#define BLKSHIP_MAIN_LINE_H

#include "point_list.h"

/**
 * main_line_name - what GROUP/~EPOCH stands for
 * @text: that, or any other name, which stays
 * @group: out, POINT_GROUP_BYTES: GROUP or GROUP/BRANCH
 * @why: out on failure, POINT_TEXT_BYTES
 * Return: 0; -ENOENT there is no such group or epoch; of a branch as main_line_check().
 */
int main_line_name(const char *store, const char *text, char *group, char *why);

/**
 * main_line_check - whether the branch of a line is there, and what it was when it was promoted
 * @group: its name; @tl: it, open for reading
 * @line: one of its timeline_lines()
 * @why: out on failure, POINT_TEXT_BYTES
 * Return: 0, also if the branch knows itself of damage; -EUCLEAN it is away, is another one, or has
 * lost points that it had then; other -errno.
 */
int main_line_check(const char *store, const char *group, const struct timeline *tl,
		    const struct timeline_line *line, char *why);

/**
 * main_line_split - of a group that has a branch as its main line: what belongs to that
 * @group: GROUP, whose timeline @list is; of a branch there is nothing to do
 * @list: points past the branch's beginning are taken out of it, on failure, too
 * @branch: out, POINT_GROUP_BYTES: GROUP/BRANCH; "" if the group itself is its main line
 * @rest: out, only with @branch and without failure: the points that follow; the caller's to close
 * @why: out on failure, POINT_TEXT_BYTES
 * Return: as main_line_check().
 */
int main_line_split(const char *store, const char *group, struct point_list *list, char *branch,
		    struct point_list *rest, char *why);

/**
 * main_line_open - open the timeline in which a name finds its point
 * @name: GROUP@latest and GROUP@TIME are looked up in the main line, GROUP@seq:N in the group's
 *	own timeline, as seqs of a branch begin anew; out: its group is GROUP or GROUP/BRANCH,
 *	and what stands for the branch's beginning is that point's seq
 * @list: out: it has no points that @name does not mean
 * @why: out on failure, POINT_TEXT_BYTES
 *
 * Of the time before the branch it is not needed: it may be lost. If it has points of that time, by
 * its own clock, the list's note says so.
 * Where the branch has no point for it that is where it begins, or is refused: never another one.
 * Return: as point_list_open(); -EUCLEAN the branch, or the point where it begins, is damaged.
 */
int main_line_open(const char *store, struct point_name *name, struct point_list *list, char *why);

#endif
