// SPDX-License-Identifier: GPL-2.0-only
#include "group_names.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/name.h"
#include "../../userspace/store/array.h"
#include "../../userspace/store/branches.h"
#include "cli.h"
#include "point.h"

bool group_names_have(const struct group_names *names, const char *name)
{
	for (size_t i = 0; i < names->nr; i++)
		if (strcmp(names->items[i], name) == 0)
			return true;
	return false;
}

int group_dir(const struct home *home, const char *group, char *dir)
{
	char below[POINT_PATH_BYTES];
	int ret = point_group_path(below, sizeof(below), group);

	if (ret == 0 && snprintf(dir, GROUP_DIR_BYTES, "%s/%s", home_groups(home), below) >= GROUP_DIR_BYTES)
		ret = -ENAMETOOLONG;
	return ret;
}

/* Takes @name, which is freed here unless it is new. */
static int add(struct group_names *names, char *name)
{
	if (name && group_names_have(names, name)) {
		free(name);
		return 0;
	}
	if (!name || !array_reserve(&names->items, &names->max, names->nr + 1)) {
		free(name);
		return -ENOMEM;
	}
	names->items[names->nr++] = name;
	return 0;
}

static void take_name(void *arg, const char *text)
{
	struct group_names *names = arg;

	if (name_valid(text) && !names->error)
		names->error = add(names, strdup(text));
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_branches(struct group_names *names, struct home *home, const char *group)
{
	char dir[GROUP_DIR_BYTES], *name;
	struct branch_info *branches = NULL;
	size_t nr = 0;
	int ret = group_dir(home, group, dir);

	if (ret == 0)
		ret = branch_list(home_env(home), dir, &branches, &nr);
	if (ret == -ENOENT || ret == -ENOTDIR)	/* no group: that is said when it is opened */
		return 0;
	if (ret < 0 && ret != -ENOMEM) {
		names->incomplete = true;
		cli_fail(CLI_FAILED, "group %s: its branches cannot be listed: %s; they are left out", group,
			 strerror(-ret));
		return 0;
	}
	for (size_t i = 0; i < nr && !ret; i++)
		ret = add(names, asprintf(&name, "%s/%s", group, branches[i].name) < 0 ? NULL : name);
	free(branches);
	return ret;
}

int group_names_get(struct home *home, char **named, size_t nr, struct group_names *out)
{
	size_t nr_groups;
	int ret = 0;

	for (size_t i = 0; i < nr && !ret; i++)
		ret = add(out, strdup(named[i]));
	if (nr == 0) {
		ret = home_env(home)->ops->list(home_env(home), home_groups(home), take_name, out);
		if (ret == 0)
			ret = out->error;
		if (out->nr)
			qsort(out->items, out->nr, sizeof(*out->items), compare);
	}
	nr_groups = out->nr;
	for (size_t i = 0; i < nr_groups && !ret; i++)
		if (!strchr(out->items[i], '/'))
			ret = add_branches(out, home, out->items[i]);
	return ret;
}

void group_names_free(struct group_names *names)
{
	for (size_t i = 0; i < names->nr; i++)
		free(names->items[i]);
	free(names->items);
}
