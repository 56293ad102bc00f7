// SPDX-License-Identifier: GPL-2.0-only
#include "point.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/name.h"
#include "cli.h"

static bool extends(const struct point *last, const struct timeline_commit *c)
{
	return (c->flags & COMMIT_HEARTBEAT) && last->seq == c->cut_seq &&
	       last->degraded == c->degraded;
}

/* Bytes of a batch that is no point itself belong to the next one that is. */
static int points_collect(struct point_list *list)
{
	const struct timeline_commit *commits;
	size_t nr = timeline_commits(list->tl, &commits);
	uint64_t written_bytes = 0, nr_records = 0;

	list->points = calloc(nr ? nr : 1, sizeof(*list->points));
	if (!list->points)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		const struct timeline_commit *c = &commits[i];
		uint64_t until_ns = c->current_to_ns > c->time_ns ? c->current_to_ns : c->time_ns;

		written_bytes += c->written_bytes;
		nr_records += c->nr_records;
		if (!c->listed)
			continue;
		if (list->nr && extends(&list->points[list->nr - 1], c)) {
			list->points[list->nr - 1].current_to_ns = until_ns;
			continue;
		}
		list->points[list->nr++] = (struct point){
			.seq = c->cut_seq, .time_ns = c->time_ns, .current_to_ns = until_ns,
			.received_ns = c->target_time_ns, .written_bytes = written_bytes,
			.nr_records = nr_records, .degraded = c->degraded,
			.checked = check_state_has_checked(&list->checks, c->cut_seq),
			.damage = check_state_damage(&list->checks, c->cut_seq),
		};
		written_bytes = nr_records = 0;
	}
	return 0;
}

static bool has_segments(const char *dir)
{
	bool found = false;
	struct dirent *de;
	DIR *d = opendir(dir);

	while (d && !found && (de = readdir(d))) {
		size_t length = strlen(de->d_name);

		found = length > 4 && strcmp(de->d_name + length - 4, ".seg") == 0;
	}
	if (d)
		closedir(d);
	return found;
}

/* A directory with nothing in it is a group that is just being made. */
static int open_failed(const char *store, const char *group, const char *dir, int ret,
		       const char *why)
{
	if (access(store, F_OK) < 0)
		return cli_fail(CLI_NOT_FOUND, "store %s: %s; name the target's store with --store", store,
				strerror(errno));
	if (ret == -ENOENT && !has_segments(dir))
		return cli_fail(CLI_NOT_FOUND, "group %s: store %s has none of this name; look into %s/groups",
				group, store, store);
	return cli_fail(CLI_FAILED, "group %s: %s; nothing was read; the other groups are not affected",
			group, *why ? why : strerror(-ret));
}

int point_list_open(const char *store, const char *group, struct point_list *list)
{
	char dir[CLI_PATH_BYTES * 2], *real, why[TIMELINE_TEXT_BYTES] = "";
	int ret;

	memset(list, 0, sizeof(*list));
	if (!name_valid(group))
		return cli_fail(CLI_NOT_FOUND, "group '%s': not a name a group can have", group);
	real = realpath(store, NULL);
	snprintf(dir, sizeof(dir), "%.500s/groups/%s", real ? real : store, group);
	free(real);
	ret = env_posix_create(NULL, &list->env);
	if (ret == 0)
		ret = timeline_open(list->env, dir, TIMELINE_READ_ONLY, NULL, &list->tl, why);
	if (ret < 0) {
		env_posix_destroy(list->env);
		list->env = NULL;
		return open_failed(store, group, dir, ret, why);
	}
	ret = check_state_load(list->tl, &list->checks);
	if (ret == -EBADMSG)
		fprintf(stderr, "blkship: group %s: its check.json is not valid; it is not known what checks have found; `blkship store check %s` makes it anew\n",
			group, group);
	else if (ret < 0)
		fprintf(stderr, "blkship: group %s: its check.json cannot be read: %s; it is not known what checks have found\n",
			group, strerror(-ret));
	ret = points_collect(list);
	if (ret == 0)
		return CLI_DONE;
	point_list_close(list);
	return cli_fail(CLI_FAILED, "group %s: out of memory for its points", group);
}

void point_list_close(struct point_list *list)
{
	free(list->points);
	check_state_fini(&list->checks);
	if (list->tl)
		timeline_close(list->tl);
	env_posix_destroy(list->env);
	memset(list, 0, sizeof(*list));
}

const struct point *point_find(const struct point_list *list, const struct when *when)
{
	const struct point *found = NULL;

	for (size_t i = 0; i < list->nr; i++) {
		const struct point *p = &list->points[i];

		switch (when->kind) {
		case WHEN_LATEST:
			found = p;
			break;
		case WHEN_TIME:
			if (p->time_ns <= when->time_ns)
				found = p;
			break;
		case WHEN_SEQ:
			if (p->seq == when->seq)
				found = p;
			break;
		}
	}
	return found;
}

int point_refuse_damaged(const struct point_list *list, const char *group,
			 const struct point *point)
{
	const struct point *good = NULL;
	char seq[40];

	if (!point->damage)
		return CLI_DONE;
	for (size_t i = 0; i < list->nr && list->points[i].seq < point->seq; i++)
		if (!list->points[i].damage)
			good = &list->points[i];
	if (!good)
		return cli_fail(CLI_REFUSED, "group %s: this point is damaged: segment %016llx at byte %llu does not check; nothing was written; no point before it is without known damage; --force tries all the same",
				group, (unsigned long long)point->damage->segment,
				(unsigned long long)point->damage->offset_bytes);
	cli_seq(good->seq, seq, sizeof(seq));
	return cli_fail(CLI_REFUSED, "group %s: this point is damaged: segment %016llx at byte %llu does not check; nothing was written; the last one before it without known damage is %s@seq:%s; --force tries all the same",
			group, (unsigned long long)point->damage->segment,
			(unsigned long long)point->damage->offset_bytes, group, seq);
}
