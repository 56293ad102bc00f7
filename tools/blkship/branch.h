/* SPDX-License-Identifier: GPL-2.0-only */
/* branch - GROUP/NAME on the command line: opened, or complained about. */
#ifndef BLKSHIP_BRANCH_COMMANDS_H
#define BLKSHIP_BRANCH_COMMANDS_H

#include "../../userspace/lib/home.h"
#include "../../userspace/lib/name.h"
#include "cli.h"
#include "group_names.h"

struct branch_place {
	char group[NAME_BYTES], name[NAME_BYTES];
	char dir[GROUP_DIR_BYTES];	/* the group's */
	struct home *home;
};

/**
 * branch_place_open - @text: GROUP/NAME; whether there is such a branch is not looked at
 * Return: 0, home_close() is due; or an exit code after complaining.
 */
int branch_place_open(const struct command *cmd, const char *store, const char *text,
		      struct branch_place *place);

#endif
