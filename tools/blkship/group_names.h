/* SPDX-License-Identifier: GPL-2.0-only */
/* group_names - which groups a command is for, their branches, and where those lie. */
#ifndef BLKSHIP_GROUP_NAMES_H
#define BLKSHIP_GROUP_NAMES_H

#include <stdbool.h>
#include <stddef.h>

#include "../../userspace/lib/home.h"

#define GROUP_DIR_BYTES	1024	/* as point_list_open() can use */

/**
 * group_dir - directory of GROUP, or of GROUP/BRANCH
 * @dir: out, GROUP_DIR_BYTES
 * Return: 0; -ENOENT no name that a group can have; -ENAMETOOLONG.
 */
int group_dir(const struct home *home, const char *group, char *dir);

struct group_names {
	char **items;		/* GROUP, or GROUP/BRANCH */
	size_t nr, max;
	int error;
	bool incomplete;	/* branches of a group could not be listed; that was said */
};

/**
 * group_names_get - those that were named, or all by name; then the branches of each GROUP
 * @nr: of @named; 0: all
 * @out: zeroed; freed with group_names_free(), also on failure
 *
 * What is in a branch is nowhere else, and one that was promoted is the main line. A name need
 * not be one of a group: who opens it will say so.
 * Return: 0; -ENOMEM; -errno of listing.
 */
int group_names_get(struct home *home, char **named, size_t nr, struct group_names *out);
bool group_names_have(const struct group_names *names, const char *name);
void group_names_free(struct group_names *names);

#endif
