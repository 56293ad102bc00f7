/* SPDX-License-Identifier: GPL-2.0-only */
/* branch - what commands on branches share: their options; GROUP/NAME opened, or complained about. */
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

/**
 * branch_options - of a command on branches; what is wrong with them ends it
 * @nr_args: how many arguments it has, from optind on
 * @json, @force: set if it was said; @force: NULL: the command has no --force
 * Return: the store.
 */
const char *branch_options(const struct command *cmd, int argc, char **argv, int nr_args,
			   bool *json, bool *force);

#endif
