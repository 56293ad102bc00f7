// SPDX-License-Identifier: GPL-2.0-only
/* branch create, list, changes, drop: writable timelines that begin at a point (docs/BRANCH.md). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/branches.h"
#include "../../userspace/store/view.h"
#include "branch.h"
#include "point.h"

int branch_place_open(const struct command *cmd, const char *store, const char *text,
		      struct branch_place *place)
{
	const char *slash = strchr(text, '/');
	char why[HOME_TEXT_BYTES];
	int ret;

	if (!slash || slash == text || slash - text >= NAME_BYTES || strlen(slash + 1) >= NAME_BYTES)
		return cli_usage(cmd, "'%.100s' is not GROUP/BRANCH", text);
	snprintf(place->group, sizeof(place->group), "%.*s", (int)(slash - text), text);
	snprintf(place->name, sizeof(place->name), "%s", slash + 1);
	if (!name_valid(place->group))
		return cli_usage(cmd, "'%.100s' is not GROUP/BRANCH", text);
	ret = home_open(store, NULL, &place->home, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "%s; nothing was changed", why);
	group_dir(place->home, place->group, place->dir);
	return CLI_DONE;
}

const char *branch_options(const struct command *cmd, int argc, char **argv, int nr_args,
			   bool *json, bool *force)
{
	static const struct option longs[] = {
		{ "force", no_argument, NULL, 'f' },	/* the first, as not all have it */
		{ "store", required_argument, NULL, 's' },
		CLI_COMMON_OPTIONS
	};
	const char *store = CLI_STORE_DEFAULT;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, force ? longs : longs + 1, json)) != -1) {
		if (c == 's')
			store = optarg;
		else
			*force = true;
	}
	cli_check_args(cmd, argc, nr_args, nr_args);
	return store;
}

/* What was dropped before, and could not be removed then. */
static void sweep(struct env *env, const char *dir, const char *group)
{
	int ret = branch_sweep(env, dir);

	if (ret < 0)
		fprintf(stderr, "blkship: group %s: files of dropped branches cannot be removed: %s; they take space until the next `blkship branch list %s`\n",
			group, strerror(-ret), group);
}

/* -- create -- */

int cmd_branch_create(const struct command *cmd, int argc, char **argv)
{
	char dir[GROUP_DIR_BYTES], why[TIMELINE_TEXT_BYTES], when[64];
	bool json = false, force = false;
	const char *store, *name;
	struct point_named named;
	int ret;

	store = branch_options(cmd, argc, argv, 2, &json, &force);
	name = argv[optind + 1];
	ret = point_named_open(cmd, store, NULL, argv[optind], force, "no branch was made", &named);
	if (ret != CLI_DONE)
		goto out;
	group_dir(named.list.home, named.name.group, dir);
	ret = branch_create(named.list.env, dir, name, named.list.tl, named.point->seq, why);
	if (ret < 0) {
		ret = cli_fail(ret == -ENODATA ? CLI_NOT_FOUND : cli_exit_of(ret),
			       "group %s: %s; no branch was made; `blkship branch list %s --store %s` names those there are",
			       named.name.group, why, named.name.group, store);
		goto out;
	}
	if (json) {
		ret = cli_print_json(json_pack("{s:s, s:s, s:o, s:o}", "group", named.name.group,
					       "branch", name, "point", cli_json_seq(named.point->seq),
					       "point_time", cli_json_time(named.point->time_ns)));
	} else {
		when_local(named.point->time_ns, when, sizeof(when));
		printf("branch %s/%s begins at %s\n", named.name.group, name, when);
	}
out:
	point_named_close(&named);
	return ret;
}

/* -- list -- */

/*
 * As what it was promoted; the last of them is the main line. NULL: it never was, though another
 * one of its name may have been. A damaged one is known by name alone.
 */
static const struct timeline_line *line_of(const struct timeline *group,
					   const struct branch_info *info)
{
	const struct timeline_line *lines, *found = NULL;
	size_t nr = timeline_lines(group, &lines);

	for (size_t i = 0; i < nr; i++)
		if (strcmp(lines[i].name, info->name) == 0 &&
		    (info->error || memcmp(lines[i].timeline, info->timeline,
					   sizeof(info->timeline)) == 0))
			found = &lines[i];
	return found;
}

static json_t *info_json(const struct timeline *group, const struct branch_info *info)
{
	const struct timeline_line *line = line_of(group, info);
	json_t *epoch = line ? json_integer(line->epoch) : json_null();
	bool is_main = line && line == timeline_main_line(group);

	if (info->error)
		return json_pack("{s:s, s:s, s:b, s:o}", "branch", info->name, "damage", info->why,
				 "main_line", is_main, "epoch", epoch);
	return json_pack("{s:s, s:o, s:o, s:o, s:n, s:b, s:o}", "branch", info->name, "point",
			 cli_json_seq(info->parent.cut_seq), "point_time",
			 cli_json_time(info->parent.time_ns), "created",
			 cli_json_time(info->created_ns), "damage", "main_line", is_main, "epoch",
			 epoch);
}

/* "main line since 14:03, epoch 2", or "was it in epoch 1". */
static void line_text(const struct timeline *group, const struct branch_info *info, char *text,
		      size_t bytes)
{
	const struct timeline_line *line = line_of(group, info);
	char since[64];

	if (!line) {
		snprintf(text, bytes, "-");
		return;
	}
	when_local(line->made_ns, since, sizeof(since));
	if (line == timeline_main_line(group))
		snprintf(text, bytes, "main line since %s, epoch %u", since, line->epoch);
	else
		snprintf(text, bytes, "was it in epoch %u", line->epoch);
}

static int print_infos(const char *group, const struct timeline *tl,
		       const struct branch_info *infos, size_t nr, bool json)
{
	static const char *const headings[] = { "BRANCH", "POINT", "OF", "MADE", "MAIN LINE" };
	const struct timeline_line *line = timeline_main_line(tl);
	json_t *rows = json_array();
	struct table *t;

	if (json) {
		for (size_t i = 0; i < nr; i++)
			json_array_append_new(rows, info_json(tl, &infos[i]));
		return cli_print_json(json_pack("{s:s, s:s?, s:o}", "group", group, "main_line",
						line ? line->name : NULL, "branches", rows));
	}
	json_decref(rows);
	t = table_create(headings, ARRAY_SIZE(headings));
	for (size_t i = 0; i < nr; i++) {
		char seq[48] = "-", of[64] = "damaged", made[64] = "-", main_line[128];

		if (!infos[i].error) {
			cli_seq(infos[i].parent.cut_seq, seq, sizeof(seq));
			when_local(infos[i].parent.time_ns, of, sizeof(of));
			when_local(infos[i].created_ns, made, sizeof(made));
		}
		table_cell(t, "%s", infos[i].name);
		table_cell(t, "%s", seq);
		table_cell(t, "%s", of);
		table_cell(t, "%s", made);
		line_text(tl, &infos[i], main_line, sizeof(main_line));
		table_cell(t, "%s", main_line);
	}
	table_print(t);
	return CLI_DONE;
}

int cmd_branch_list(const struct command *cmd, int argc, char **argv)
{
	const char *store, *group;
	struct branch_info *infos = NULL;
	struct point_list list;
	char dir[GROUP_DIR_BYTES];
	bool json = false;
	size_t nr = 0;
	int ret;

	store = branch_options(cmd, argc, argv, 1, &json, NULL);
	group = argv[optind];
	ret = point_open(store, group, &list);
	if (ret != CLI_DONE)
		return ret;
	group_dir(list.home, group, dir);
	sweep(list.env, dir, group);
	ret = branch_list(list.env, dir, &infos, &nr);
	if (ret < 0)
		ret = cli_fail(CLI_FAILED, "group %s: its branches cannot be listed: %s", group,
			       strerror(-ret));
	else
		ret = print_infos(group, list.tl, infos, nr, json);
	for (size_t i = 0; i < nr; i++)
		if (infos[i].error)
			ret = cli_fail(CLI_FAILED, "group %s: branch %s: %s; it cannot be used; put its manifest back from a copy, or remove its directory %s/" BRANCHES_DIR "/%s",
				       group, infos[i].name, infos[i].why, dir, infos[i].name);
	free(infos);
	point_list_close(&list);
	return ret;
}

/* -- changes -- */

struct changes {
	struct table *table;
	json_t *ranges;
	const char *volume;
	uint64_t volume_bytes, all_bytes;
};

static const char *kind_name(uint8_t kind)
{
	return kind == EXTENT_DATA ? "data" : kind == EXTENT_ZERO ? "zero" : "discard";
}

static int add_change(void *arg, const struct view_extent *e)
{
	struct changes *c = arg;
	char size[16];

	c->volume_bytes += e->length_bytes;
	if (!c->table) {
		json_array_append_new(c->ranges, json_pack("{s:I, s:I, s:s}", "offset_bytes",
			(json_int_t)e->offset_bytes, "length_bytes", (json_int_t)e->length_bytes,
			"kind", kind_name(e->kind)));
		return 0;
	}
	cli_bytes(e->length_bytes, size, sizeof(size));
	table_cell(c->table, "%s", c->volume);
	table_cell(c->table, "%llu", (unsigned long long)e->offset_bytes);
	table_cell(c->table, "%llu", (unsigned long long)e->length_bytes);
	table_cell(c->table, "%s", kind_name(e->kind));
	table_cell(c->table, "%s", size);
	return 0;
}

/* @view: NULL: nothing was written yet. */
static int changes_of(struct timeline *tl, struct view *view, struct changes *c, json_t *rows)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(tl, &volumes);
	int ret = 0;

	for (size_t i = 0; i < nr && !ret; i++) {
		if (!volumes[i].size_bytes)
			continue;
		c->volume = volumes[i].name;
		c->volume_bytes = 0;
		c->ranges = json_array();
		if (view)
			ret = view_changes(view, volumes[i].id, add_change, c);
		c->all_bytes += c->volume_bytes;
		json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:o}", "volume", c->volume,
			"size_bytes", (json_int_t)volumes[i].size_bytes, "changed_bytes",
			(json_int_t)c->volume_bytes, "ranges", c->ranges));
	}
	return ret;
}

static int print_changes(const struct branch_place *place, struct timeline *tl, bool json,
			 char *why)
{
	static const char *const headings[] = { "VOLUME", "OFFSET", "LENGTH", "KIND", "" };
	struct changes c = { .table = json ? NULL : table_create(headings, ARRAY_SIZE(headings)) };
	const struct timeline_commit *commits;
	size_t nr = timeline_commits(tl, &commits);
	json_t *rows = json_array();
	struct timeline_parent parent;
	struct view *view = NULL;
	int ret = nr ? view_open(tl, commits[nr - 1].cut_seq, &view, why) : 0;

	if (!ret)
		ret = changes_of(tl, view, &c, rows);
	view_close(view);
	/* The table is freed by being printed. */
	if (!json)
		table_print(c.table);
	if (ret || !json) {
		json_decref(rows);
		return ret;
	}
	timeline_parent(tl, &parent);
	cli_print_json(json_pack("{s:s, s:s, s:o, s:I, s:o}", "group", place->group, "branch",
				 place->name, "point", cli_json_seq(parent.cut_seq),
				 "changed_bytes", (json_int_t)c.all_bytes, "volumes", rows));
	return 0;
}

int cmd_branch_changes(const struct command *cmd, int argc, char **argv)
{
	char dir[CLI_PATH_BYTES * 3], why[TIMELINE_TEXT_BYTES] = "";
	const char *store;
	struct timeline *tl = NULL;
	struct branch_place place;
	bool json = false;
	int ret;

	store = branch_options(cmd, argc, argv, 1, &json, NULL);
	ret = branch_place_open(cmd, store, argv[optind], &place);
	if (ret != CLI_DONE)
		return ret;
	ret = name_valid(place.name) ? branch_path(dir, sizeof(dir), place.dir, place.name) : -ENOENT;
	if (ret == 0)
		ret = timeline_open(home_env(place.home), dir, TIMELINE_READ_ONLY, NULL, &tl, why);
	if (ret == -ENOENT)
		snprintf(why, sizeof(why), "there is none of this name");
	if (ret == 0)
		ret = print_changes(&place, tl, json, why);
	timeline_close(tl);
	home_close(place.home);
	if (ret == 0)
		return CLI_DONE;
	return cli_fail(cli_exit_of(ret), "group %s: branch %s: %s; `blkship branch list %s --store %s` names those there are",
			place.group, place.name, *why ? why : strerror(-ret), place.group, store);
}

/* -- drop -- */

int cmd_branch_drop(const struct command *cmd, int argc, char **argv)
{
	char why[TIMELINE_TEXT_BYTES];
	const char *store;
	struct branch_place place;
	bool json = false;
	int ret;

	store = branch_options(cmd, argc, argv, 1, &json, NULL);
	ret = branch_place_open(cmd, store, argv[optind], &place);
	if (ret != CLI_DONE)
		return ret;
	ret = branch_drop(home_env(place.home), place.dir, place.name, why);
	if (ret == -EBUSY)
		ret = cli_fail(CLI_REFUSED, "group %s: %s; nothing was dropped; end what serves it first (nbdkit, or `blkship unmap`)",
			       place.group, why);
	else if (ret == -EPERM)
		ret = cli_fail(CLI_REFUSED, "group %s: %s; nothing was dropped; what it has is the group's history, and stays",
			       place.group, why);
	else if (ret < 0)
		ret = cli_fail(cli_exit_of(ret), "group %s: %s; nothing was dropped; `blkship branch list %s --store %s` names those there are",
			       place.group, why, place.group, store);
	else
		sweep(home_env(place.home), place.dir, place.group);
	if (ret == CLI_DONE && json)
		ret = cli_print_json(json_pack("{s:s, s:s}", "group", place.group, "branch",
					       place.name));
	home_close(place.home);
	return ret;
}
