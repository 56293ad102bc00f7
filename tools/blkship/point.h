/* SPDX-License-Identifier: GPL-2.0-only */
/* point - GROUP@WHEN on the command line: found, or complained about. */
#ifndef BLKSHIP_POINT_H
#define BLKSHIP_POINT_H

#include "../../userspace/export/point_list.h"

struct command;

/** point_open - open a group's points; 0, or an exit code after complaining */
int point_open(const char *store, const char *group, struct point_list *list);

/* What GROUP@WHEN named. */
struct point_named {
	struct keyring *keys;
	struct point_name name;
	struct point_list list;
	const struct point *point;
};

/**
 * point_named_open - find the point of GROUP@WHEN, with the group left open
 * @keys: where those of the store come from; NULL: content is not wanted
 * @otherwise: said after the reason, for example "nothing was written"
 * Warns when the group is damaged. Return: 0, or an exit code after complaining;
 * point_named_close() is due in any case.
 */
int point_named_open(const struct command *cmd, const char *store,
		     const struct key_source *keys, const char *text, bool force,
		     const char *otherwise, struct point_named *named);
void point_named_close(struct point_named *named);

#endif
