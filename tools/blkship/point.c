// SPDX-License-Identifier: GPL-2.0-only
#include "point.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "../../userspace/export/main_line.h"
#include "cli.h"

static int opened(int ret, const struct point_list *list, const char *why)
{
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "%s", why);
	if (list->note[0])
		fprintf(stderr, "blkship: %s\n", list->note);
	return CLI_DONE;
}

int point_open(const char *store, const char *group, struct point_list *list)
{
	char why[POINT_TEXT_BYTES];

	return opened(point_list_open(store, group, list, why), list, why);
}

/* Before anything is written: whether all of it can be read. */
static int take_keys(const char *store, const struct key_source *keys, bool force,
		     const char *otherwise, struct point_named *named)
{
	char note[KEY_SOURCE_TEXT_BYTES], why[POINT_TEXT_BYTES];
	int ret = key_source_for_reader(keys, store, &named->keys, note, why);

	if (ret < 0)
		return cli_fail(CLI_FAILED, "%s; %s", why, otherwise);
	ret = point_list_set_keys(&named->list, named->name.group, named->keys, note, force, why);
	return ret < 0 ? cli_fail(CLI_REFUSED, "%s; %s", why, otherwise) : CLI_DONE;
}

int point_named_open(const struct command *cmd, const char *store,
		     const struct key_source *keys, const char *text, bool force,
		     const char *otherwise, struct point_named *named)
{
	char why[POINT_TEXT_BYTES];
	struct timespec now;
	int ret;

	memset(named, 0, sizeof(*named));
	clock_gettime(CLOCK_REALTIME, &now);
	if (point_name_parse(text, (uint64_t)now.tv_sec * WHEN_NS + now.tv_nsec, &named->name,
			     why) < 0)
		return cli_usage(cmd, "%s", why);
	ret = opened(main_line_open(store, &named->name, &named->list, why), &named->list, why);
	if (ret != CLI_DONE)
		return ret;
	ret = point_choose(&named->list, &named->name, force, &named->point, why);
	if (ret < 0)
		return cli_fail(ret == -EKEYREJECTED ? CLI_REFUSED : cli_exit_of(ret), "%s; %s", why,
				otherwise);
	ret = keys ? take_keys(store, keys, force, otherwise, named) : CLI_DONE;
	if (ret != CLI_DONE)
		return ret;
	if (timeline_damage(named->list.tl))
		fprintf(stderr, "blkship: group %s is damaged: %s; points that need it are lost\n",
			named->name.group, timeline_damage(named->list.tl));
	return CLI_DONE;
}

void point_named_close(struct point_named *named)
{
	if (named->list.tl)
		point_list_close(&named->list);
	keyring_free(named->keys);
	named->keys = NULL;
}
