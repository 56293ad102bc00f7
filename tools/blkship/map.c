// SPDX-License-Identifier: GPL-2.0-only
/* map, unmap: a recovery point as NBD exports and block devices; plumbing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/env_host.h"
#include "../../userspace/lib/home.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/view.h"
#include "cli.h"
#include "loopdev.h"
#include "mapping.h"

struct map {
	const char *store, *run_dir, *socket, *only;
	struct key_source keys;
	const char *branch;		/* NULL: read-only */
	char temporary[NAME_BYTES];	/* a branch for this mapping alone */
	enum mapping_via via;		/* of devices */
	bool force, json;
	struct point_named named;
	struct mapping m;
};

/* -- showing -- */

static void add_rows(struct table *t, const json_t *state)
{
	const char *via = json_string_value(json_object_get(state, "via"));
	const json_t *volume;
	size_t i;

	json_array_foreach(json_object_get(state, "volumes"), i, volume) {
		const char *device = json_string_value(json_object_get(volume, "device"));
		const char *uri = json_string_value(json_object_get(volume, "uri"));
		char size[16];

		cli_bytes(json_integer_value(json_object_get(volume, "size_bytes")), size, sizeof(size));
		table_cell(t, "%s", json_string_value(json_object_get(state, "name")));
		table_cell(t, "%s@seq:%s", json_string_value(json_object_get(state, "group")),
			   json_string_value(json_object_get(state, "seq")));
		table_cell(t, "%s", json_string_value(json_object_get(volume, "volume")));
		table_cell(t, "%s", size);
		table_cell(t, "%s", device ? device : "-");
		table_cell(t, "%s", uri ? uri : json_string_value(json_object_get(state, "mounted_at")));
		table_cell(t, "%s", via ? via : "-");
	}
}

static void print_table(const json_t *states)
{
	static const char *const headings[] = { "NAME", "POINT", "VOLUME", "SIZE", "DEVICE", "URI OR MOUNT", "VIA" };
	struct table *t = table_create(headings, ARRAY_SIZE(headings));
	const json_t *state;
	size_t i;

	json_array_foreach(states, i, state)
		add_rows(t, state);
	table_print(t);
}

static int show(struct map *map)
{
	json_t *one;

	if (map->json)
		return cli_print_json(json_incref(map->m.state));
	one = json_pack("[O]", map->m.state);
	print_table(one);
	json_decref(one);
	if (isatty(STDOUT_FILENO))
		printf("next: use it, then `blkship unmap %s`\n", map->m.name);
	return CLI_DONE;
}

/* What is there now; one that is just being made or taken down is left out. */
static int list(const struct map *map)
{
	json_t *states = json_array();
	char **names;
	size_t nr;
	int ret = mapping_names(map->run_dir, &names, &nr);

	for (size_t i = 0; i < nr; i++) {
		struct mapping m;

		if (mapping_open(map->run_dir, names[i], &m) == 0) {
			if (m.state)
				json_array_append(states, m.state);
			mapping_close(&m);
		}
		free(names[i]);
	}
	free(names);
	if (ret < 0) {
		json_decref(states);
		return cli_fail(CLI_FAILED, "%s: %s", map->run_dir, strerror(-ret));
	}
	if (map->json)
		return cli_print_json(json_pack("{s:o}", "mappings", states));
	print_table(states);
	json_decref(states);
	return CLI_DONE;
}

/* -- map -- */

static int add_loop(struct map *map, const char *volume, const char *path, char *device)
{
	static const struct loopdev_range whole;
	int ret = loopdev_attach(path, &whole, (map->branch ? 0 : LOOPDEV_READ_ONLY) | LOOPDEV_PARTITIONS,
			     device);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "volume %s: no loop device: %s; nothing stays mapped; is the module loop loaded?",
				volume, strerror(-ret));
	close(ret);
	return CLI_DONE;
}

static int add_device(struct map *map, const char *volume, json_t *entry)
{
	char why[MAPPING_TEXT_BYTES], path[MAPPING_PATH_BYTES], device[SYSBLOCK_BYTES];
	bool nbd = mapping_is_nbd(&map->m);
	int ret;

	if (mapping_file(&map->m, volume, path, why) < 0)
		return cli_fail(CLI_FAILED, "volume %s: it cannot be had as a %s: %s; nothing stays mapped",
				volume, nbd ? "device" : "file", why);
	ret = nbd ? CLI_DONE : add_loop(map, volume, path, device);
	if (ret != CLI_DONE)
		return ret;
	json_object_set_new(entry, "device", json_string(nbd ? path : device));
	return CLI_DONE;
}

static int add_volume(struct map *map, const char *volume, uint64_t size_bytes)
{
	char uri[MAPPING_URI_BYTES];
	json_t *entry;

	mapping_uri(&map->m, volume, uri);
	entry = json_pack("{s:s, s:I, s:s, s:n}", "volume", volume, "size_bytes",
			  (json_int_t)size_bytes, "uri", uri, "device");
	if (json_array_append_new(json_object_get(map->m.state, "volumes"), entry) < 0)
		return cli_fail(CLI_FAILED, "out of memory; nothing stays mapped");
	return map->via ? add_device(map, volume, entry) : CLI_DONE;
}

static int add_volumes(struct map *map, struct view *view)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(map->named.list.tl, &volumes), found = 0;
	int ret = CLI_DONE;

	for (size_t i = 0; i < nr && ret == CLI_DONE; i++) {
		uint64_t size_bytes = view_size(view, volumes[i].id);

		if (!size_bytes || (map->only && strcmp(map->only, volumes[i].name) != 0))
			continue;
		found++;
		ret = add_volume(map, volumes[i].name, size_bytes);
	}
	if (ret == CLI_DONE && !found)
		return cli_fail(CLI_NOT_FOUND, "group %s has no volume %s at this point; nothing stays mapped; `blkship points %s --store %s --json` names them",
				map->named.name.group, map->only ? map->only : "", map->named.name.group,
				map->store);
	return ret;
}

static int map_point(struct map *map, struct view *view)
{
	struct mapping_request request = {
		.run_dir = map->run_dir, .store = map->store, .keys = map->keys, .named = &map->named,
		.socket = map->socket, .via = map->via, .force = map->force, .branch = map->branch,
		.drop_branch = map->branch == map->temporary,
	};
	char why[MAPPING_TEXT_BYTES];
	int ret = mapping_create(&request, &map->m, why);

	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: its point cannot be served: %s; nothing stays mapped; the packages nbdkit, nbdkit-blkship and libnbd-bin are needed",
				map->named.name.group, why);
	ret = add_volumes(map, view);
	if (ret == CLI_DONE && mapping_save(&map->m) < 0)
		ret = cli_fail(CLI_FAILED, "%s: its state cannot be written; nothing stays mapped", map->m.dir);
	if (ret == CLI_DONE)
		ret = show(map);
	if (ret == CLI_DONE)
		mapping_close(&map->m);
	else if (mapping_destroy(&map->m, why) < 0)
		cli_fail(CLI_FAILED, "%s; `blkship unmap %s` tries again", why, map->m.name);
	return ret;
}

/* A branch that is there keeps its point: another one must not be shown for it. */
static int check_branch(struct map *map)
{
	struct point_list *list = &map->named.list;
	char dir[CLI_PATH_BYTES * 2];
	struct branch_info *infos;
	struct timeline_parent of;
	size_t nr;
	int ret;

	if (!name_valid(map->branch))
		return cli_fail(CLI_USAGE, "branch '%.64s': not a name that a branch can have; nothing was mapped",
				map->branch);
	if (timeline_parent(list->tl, &of))
		return cli_fail(CLI_REFUSED, "%s is a branch, and a branch cannot have branches; nothing was mapped; serve it itself: `blkship map GROUP@WHEN --branch NAME` with its group and point",
				map->named.name.group);
	snprintf(dir, sizeof(dir), "%.500s/%.60s", home_groups(list->home), map->named.name.group);
	ret = branch_list(list->env, dir, &infos, &nr);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: its branches cannot be listed: %s; nothing was mapped",
				map->named.name.group, strerror(-ret));
	for (size_t i = 0; i < nr && ret == 0; i++)
		if (strcmp(infos[i].name, map->branch) == 0 &&
		    infos[i].parent.cut_seq != map->named.point->seq)
			ret = cli_fail(CLI_REFUSED, "group %s: branch %s begins at another point; nothing was mapped; `blkship branch list %s --store %s` says at which",
				       map->named.name.group, map->branch, map->named.name.group,
				       map->store);
	free(infos);
	return ret;
}

/* No other mapping, of whichever machine, has a branch of this name. */
static void name_temporary(struct map *map)
{
	uint64_t random;

	env_host_random(NULL, &random, sizeof(random));
	snprintf(map->temporary, sizeof(map->temporary), "map-%016llx", (unsigned long long)random);
	map->branch = map->temporary;
}

int cmd_map(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "socket", required_argument, NULL, 'u' },
		{ "device", no_argument, NULL, 'd' },
		{ "via", required_argument, NULL, 'v' },
		{ "run-dir", required_argument, NULL, 'r' },
		{ "force", no_argument, NULL, 'f' },
		{ "writable", no_argument, NULL, 'w' },
		{ "branch", required_argument, NULL, 'b' },
		CLI_KEY_OPTIONS,
		CLI_COMMON_OPTIONS
	};
	struct map map = { .store = CLI_STORE_DEFAULT, .run_dir = MAPPING_RUN_DIR };
	char why[TIMELINE_TEXT_BYTES] = "";
	struct view *view = NULL;
	bool writable = false, device = false;
	const char *via = NULL;
	int c, ret;

	while ((c = cli_getopt(cmd, argc, argv, longs, &map.json)) != -1) {
		if (c == 's')
			map.store = optarg;
		else if (c == 'u')
			map.socket = optarg;
		else if (c == 'd')
			device = true;
		else if (c == 'v')
			via = optarg;
		else if (c == 'r')
			map.run_dir = optarg;
		else if (c == 'b')
			map.branch = optarg;
		else if (c == 'w')
			writable = true;
		else if (!cli_key_option(c, optarg, &map.keys))
			map.force = true;
	}
	cli_check_args(cmd, argc, 0, 2);
	if (optind == argc)
		return list(&map);
	map.only = argv[optind + 1];
	if (writable && map.branch)
		return cli_usage(cmd, "--branch %s is writable, and stays; --writable makes one that is dropped; one of them is wanted",
				 map.branch);
	if (via && !device)
		return cli_usage(cmd, "--via %s: it says how --device makes devices, and goes with it", via);
	if (device && !mapping_via_parse(via ? via : "auto", &map.via))
		return cli_usage(cmd, "--via %s: nbd, fuse or auto is wanted", via);
	if (writable)
		name_temporary(&map);
	if (map.socket && *map.socket != '/')
		return cli_usage(cmd, "--socket %s: an absolute path is wanted", map.socket);
	/* It would not be ours, and unmapping removes ours. */
	if (map.socket && access(map.socket, F_OK) == 0)
		return cli_fail(CLI_REFUSED, "socket %s exists; nothing was mapped; name another, or remove it",
				map.socket);
	ret = point_named_open(cmd, map.store, &map.keys, argv[optind], map.force, "nothing was mapped", &map.named);
	if (ret == CLI_DONE && map.branch)
		ret = check_branch(&map);
	if (ret == CLI_DONE && view_open(map.named.list.tl, map.named.point->seq, &view, why) < 0)
		ret = cli_fail(CLI_FAILED, "group %s: %s; nothing was mapped; try another point",
			       map.named.name.group, why);
	if (ret == CLI_DONE)
		ret = map_point(&map, view);
	if (view)
		view_close(view);
	point_named_close(&map.named);
	return ret;
}

/* -- unmap -- */

static int unmap_one(const char *run_dir, const char *name)
{
	char why[MAPPING_TEXT_BYTES];
	struct mapping m;
	int ret = mapping_open(run_dir, name, &m);

	if (ret == -ENOENT)
		return cli_fail(CLI_NOT_FOUND, "mapping %s: there is none of this name; `blkship map` lists them",
				name);
	if (ret == -EBUSY)
		return cli_fail(CLI_FAILED, "mapping %s: another command is making or unmapping it; try again when that has ended",
				name);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "mapping %s: %s", name, strerror(-ret));
	if (mapping_destroy(&m, why) < 0)
		return cli_fail(CLI_FAILED, "mapping %s: %s", name, why);
	return CLI_DONE;
}

static int unmap_all(const char *run_dir)
{
	int worst = CLI_DONE, ret;
	char **names;
	size_t nr;

	ret = mapping_names(run_dir, &names, &nr);
	for (size_t i = 0; i < nr; i++) {
		int one = unmap_one(run_dir, names[i]);

		/* Gone by itself meanwhile is as good. */
		if (one != CLI_DONE && one != CLI_NOT_FOUND)
			worst = one;
		free(names[i]);
	}
	free(names);
	return ret < 0 ? cli_fail(CLI_FAILED, "%s: %s", run_dir, strerror(-ret)) : worst;
}

int cmd_unmap(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "run-dir", required_argument, NULL, 'r' },
		CLI_COMMON_OPTIONS
	};
	const char *run_dir = MAPPING_RUN_DIR;
	bool json = false, all = false;
	int c, ret = CLI_DONE;

	while ((c = cli_getopt(cmd, argc, argv, longs, &json)) != -1) {
		if (c == 'a')
			all = true;
		else
			run_dir = optarg;
	}
	cli_check_args(cmd, argc, all ? 0 : 1, all ? 0 : argc);
	if (all)
		ret = unmap_all(run_dir);
	for (int i = optind; i < argc; i++) {
		int one = unmap_one(run_dir, argv[i]);

		if (one != CLI_DONE)
			ret = one;
	}
	return json && ret == CLI_DONE ? cli_print_json(json_object()) : ret;
}
