// SPDX-License-Identifier: GPL-2.0-only
/* ls, info, status: what the running kernel has, and what the daemon makes of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/knl.h"
#include "../../userspace/lib/status_socket.h"
#include "../../userspace/lib/sysblock.h"
#include "../../userspace/lib/when.h"
#include "blockdev.h"
#include "cli.h"
#include "insert.h"

#define SOCKET_DEFAULT "/run/blkship/blkshipd.sock"

static const char *volume_state(const struct knl_volume *v)
{
	if (v->flags & BLKSHIP_VOLUME_DIVERGED)
		return "diverged";
	if (v->flags & BLKSHIP_VOLUME_SUSPENDED)
		return "suspended";
	return v->flags & BLKSHIP_VOLUME_DETACHED ? "detached" : "capturing";
}

/* Its metadata device: what is kept there outlives a crash or a restart. */
static const char *meta_state(const struct knl_volume *v)
{
	if (v->flags & BLKSHIP_VOLUME_META_OFF)
		return "failed";
	return v->flags & BLKSHIP_VOLUME_META ? "on" : "none";
}

static json_t *json_u64(uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return json_string(text);
}

static json_t *volume_json(const struct knl_volume *v)
{
	char device[SYSBLOCK_NAME_BYTES];

	blockdev_of_volume(v, device, sizeof(device));
	return json_pack("{s:s, s:s, s:i, s:s, s:I, s:s, s:s, s:s, s:I, s:I, s:I}", "group", v->group, "volume",
			 v->name, "index", v->index, "device", device, "size_bytes",
			 (json_int_t)v->size_bytes, "front", v->front, "state", volume_state(v),
			 "meta", meta_state(v), "dirty_bytes", (json_int_t)(v->dirty_regions * BLKSHIP_REGION_BYTES),
			 "repairing_bytes",
			 (json_int_t)(v->repairing_regions * BLKSHIP_REGION_BYTES), "unseen",
			 (json_int_t)v->unseen);
}

static json_t *group_json(const struct knl_group *g)
{
	return json_pack("{s:s, s:I, s:I, s:I, s:i, s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			 "group", g->name, "ring_bytes", (json_int_t)g->ring_bytes,
			 "ring_used_bytes", (json_int_t)g->ring_used_bytes, "in_flight",
			 (json_int_t)g->in_flight, "incarnation", (int)g->incarnation, "consumer",
			 g->consumer, "newest_seq", json_u64(g->newest_seq), "watermark_seq",
			 json_u64(g->watermark_seq), "captured", (json_int_t)g->captured,
			 "captured_bytes", (json_int_t)g->captured_bytes, "uncaptured",
			 (json_int_t)g->uncaptured, "overflows", (json_int_t)g->overflows, "failed",
			 (json_int_t)g->failed, "overlaps", (json_int_t)g->overlaps, "timeouts",
			 (json_int_t)g->timeouts);
}

/* What was listed, in one form or the other. */
struct listing {
	struct table *table;
	json_t *array;
	const char *only;	/* this group */
	size_t nr;
};

static void volume_row(struct listing *l, const struct knl_volume *v)
{
	char size[16], dirty[16], device[SYSBLOCK_NAME_BYTES];

	if (l->array) {
		json_array_append_new(l->array, volume_json(v));
		return;
	}
	blockdev_of_volume(v, device, sizeof(device));
	cli_bytes(v->size_bytes, size, sizeof(size));
	cli_bytes((v->dirty_regions + v->repairing_regions) * BLKSHIP_REGION_BYTES, dirty,
		  sizeof(dirty));
	table_cell(l->table, "%s", v->group);
	table_cell(l->table, "%s", v->name);
	table_cell(l->table, "%s", device);
	table_cell(l->table, "%s", size);
	table_cell(l->table, "%s", v->front);
	table_cell(l->table, "%s", v->flags & BLKSHIP_VOLUME_DIVERGED ? "DIVERGED" :
		   volume_state(v));
	table_cell(l->table, "%s", dirty);
	table_cell(l->table, "%llu", (unsigned long long)v->unseen);
	table_cell(l->table, "%s", v->flags & BLKSHIP_VOLUME_META_OFF ? "FAILED" : meta_state(v));
}

static void volume_tell_diverged(const struct knl_volume *v)
{
	char device[SYSBLOCK_NAME_BYTES + DM_NAME_BYTES + 32] = "DEVICE", name[DM_NAME_BYTES];
	struct sysblock dev;

	if (insert_above(v->dev_major, v->dev_minor, name))
		snprintf(device, sizeof(device), "/dev/mapper/%s --front dm", name);
	else if (sysblock_find("/sys", v->dev_major, v->dev_minor, v->dev_start_bytes, v->size_bytes,
			  &dev) == 0)
		snprintf(device, sizeof(device), "/dev/%s", dev.name);
	fprintf(stderr, "blkship: %s/%s is DIVERGED: it may have been written unseen; its group gets no new points, earlier ones stay good; attach it again as before, and all of it is read back: blkship attach %s %s %s\n",
		v->group, v->name, v->group, v->name, device);
}

/* What is wrong with it and what to do. Not in the table, which programs may read. */
static void volume_alarm(const struct knl_volume *v)
{
	fflush(stdout);
	if (v->flags & BLKSHIP_VOLUME_DIVERGED)
		volume_tell_diverged(v);
	if (v->flags & BLKSHIP_VOLUME_META_OFF)
		fprintf(stderr, "blkship: %s/%s: its metadata device failed; its writes are captured and points go on, but after a crash all of it will be read back; check that device, then detach and attach the volume\n",
			v->group, v->name);
}

/* The table ends here, and what is to be said of its rows follows. */
static void volume_table_print(struct listing *l, const struct knl_volume *volumes, size_t nr)
{
	table_print(l->table);
	for (size_t i = 0; i < nr; i++)
		volume_alarm(&volumes[i]);
}

static int group_row(void *arg, const struct knl_group *g)
{
	struct listing *l = arg;
	char used[16], ring[16], captured[16];

	if (l->only && strcmp(l->only, g->name) != 0)
		return 0;
	l->nr++;
	if (l->array)
		return json_array_append_new(l->array, group_json(g));
	cli_bytes(g->ring_used_bytes, used, sizeof(used));
	cli_bytes(g->ring_bytes, ring, sizeof(ring));
	cli_bytes(g->captured_bytes, captured, sizeof(captured));
	table_cell(l->table, "%s", g->name);
	table_cell(l->table, "%s/%s", used, ring);
	table_cell(l->table, "%s", g->consumer ? "yes" : "no");
	table_cell(l->table, "%u:%llu", g->incarnation, (unsigned long long)g->newest_seq);
	table_cell(l->table, "%llu", (unsigned long long)(g->newest_seq - g->watermark_seq));
	table_cell(l->table, "%llu (%s)", (unsigned long long)g->captured, captured);
	table_cell(l->table, "%llu", (unsigned long long)g->uncaptured);
	table_cell(l->table, "%llu", (unsigned long long)g->overflows);
	table_cell(l->table, "%llu", (unsigned long long)g->failed);
	table_cell(l->table, "%llu", (unsigned long long)g->timeouts);
	return 0;
}

static const char *const volume_headings[] = {
	"GROUP", "VOLUME", "DEVICE", "SIZE", "FRONT", "STATE", "DIRTY", "UNSEEN", "META",
};
static const char *const group_headings[] = {
	"GROUP", "RING", "DAEMON", "NEWEST", "OPEN", "CAPTURED", "MISSED", "OVERFLOWS", "FAILED",
	"TIMEOUTS",
};

static void volume_listing(struct listing *l, bool json, const struct knl_volume *volumes, size_t nr)
{
	if (json)
		l->array = json_array();
	else
		l->table = table_create(volume_headings, ARRAY_SIZE(volume_headings));
	for (size_t i = 0; i < nr; i++)
		volume_row(l, &volumes[i]);
}

int cmd_ls(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	struct listing l = { .table = NULL };
	struct knl_volume *volumes;
	char why[KNL_TEXT_BYTES];
	size_t nr;
	bool json = false;
	struct knl *nl;
	int ret;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		;
	cli_check_args(cmd, argc, 0, 0);
	ret = knl_open(&nl, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "ls: %s", why);
	ret = knl_volume_list(nl, NULL, &volumes, &nr, why);
	knl_close(nl);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "ls: %s", why);
	volume_listing(&l, json, volumes, nr);
	if (json)
		ret = cli_print_json(json_pack("{s:o}", "volumes", l.array));
	else
		volume_table_print(&l, volumes, nr);
	free(volumes);
	return ret;
}

static int info_print(struct knl *nl, const char *group, bool json)
{
	struct listing groups = { .only = group }, rows = { .table = NULL };
	struct knl_volume *volumes;
	char why[KNL_TEXT_BYTES];
	size_t nr;
	int ret;

	if (json)
		groups.array = json_array();
	else
		groups.table = table_create(group_headings, ARRAY_SIZE(group_headings));
	ret = knl_groups(nl, group_row, &groups, why);
	if (ret == 0)
		ret = knl_volume_list(nl, group, &volumes, &nr, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "info: %s", why);
	if (group && !groups.nr) {
		free(volumes);
		return cli_fail(CLI_NOT_FOUND, "group %s: the running kernel has none of this name; `blkship ls` shows what there is",
				group);
	}
	volume_listing(&rows, json, volumes, nr);
	if (json) {
		ret = cli_print_json(json_pack("{s:o, s:o}", "groups", groups.array, "volumes",
					       rows.array));
	} else {
		table_print(groups.table);
		if (nr)
			putchar('\n');
		volume_table_print(&rows, volumes, nr);
	}
	free(volumes);
	return ret;
}

int cmd_info(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };
	char why[KNL_TEXT_BYTES];
	bool json = false;
	struct knl *nl;
	int ret;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		;
	cli_check_args(cmd, argc, 0, 1);
	ret = knl_open(&nl, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "info: %s", why);
	ret = info_print(nl, argv[optind], json);
	knl_close(nl);
	return ret;
}

/* -- status -- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static json_int_t int_of(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

/* Times as the rest of our documents have them, besides the daemon's nanoseconds. */
static void add_times(json_t *group)
{
	static const char *const keys[] = { "durable_time", "point_time" };
	char ns_key[32];

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		snprintf(ns_key, sizeof(ns_key), "%s_ns", keys[i]);
		if (json_object_get(group, ns_key))
			json_object_set_new(group, keys[i], cli_json_time(int_of(group, ns_key)));
	}
}

/* A volume is worth a line when something passed its front end by. */
static void print_volume(const char *group, const json_t *v)
{
	const char *name = text_of(v, "volume"), *device = text_of(v, "device");

	if (strcmp(text_of(v, "state"), "diverged") == 0)
		printf("     %s (%s, %s) is DIVERGED: it may have been written unseen; no new points before all of it is read back\n"
		       "     next: attach it again as before: blkship attach %s %s /dev/%s\n",
		       name, device, text_of(v, "front"), group, name, device);
	else if (int_of(v, "unseen"))
		printf("     %s (%s, %s): %lld writes passed the tap by; each range was read back; tell us how they were made\n",
		       name, device, text_of(v, "front"), (long long)int_of(v, "unseen"));
}

static void print_source_group(const json_t *g)
{
	const json_t *rpo = json_object_get(g, "rpo");
	uint64_t point_ns = int_of(g, "point_time_ns");
	const json_t *volume;
	char when[64];
	size_t i;

	printf("%s  %s", text_of(g, "group"), text_of(g, "state"));
	if (point_ns) {
		when_local(point_ns, when, sizeof(when));
		printf("  newest point %s", when);
	} else {
		printf("  no recovery point yet");
	}
	if (int_of(rpo, "samples"))
		printf("  RPO: p50 %.1f p99 %.1f max %.1f s", int_of(rpo, "p50_ms") / 1e3,
		       int_of(rpo, "p99_ms") / 1e3, int_of(rpo, "max_ms") / 1e3);
	putchar('\n');
	if (*text_of(g, "trouble"))
		printf("     %s\n", text_of(g, "trouble"));
	json_array_foreach(json_object_get(g, "volumes"), i, volume)
		print_volume(text_of(g, "group"), volume);
	if (int_of(g, "repair_regions"))
		printf("     read back %lld%% (%lld of %lld regions)\n",
		       (long long)(int_of(g, "repair_regions_done") * 100 / int_of(g, "repair_regions")),
		       (long long)int_of(g, "repair_regions_done"),
		       (long long)int_of(g, "repair_regions"));
}

static void print_target_group(const json_t *g)
{
	bool failed = json_is_true(json_object_get(g, "failed"));
	char size[16];

	printf("%s  %s  owner %s  %s %s\n", text_of(g, "group"),
	       failed ? "STORE FAILED" : json_is_true(json_object_get(g, "connected")) ?
	       "CONNECTED" : "NOT CONNECTED", text_of(g, "owner"), "received up to",
	       text_of(g, "received_time"));
	if (failed)
		printf("     %s\n", text_of(g, "error"));
	if (int_of(g, "reclaimed_bytes")) {
		cli_bytes(int_of(g, "reclaimed_bytes"), size, sizeof(size));
		printf("     %s of dropped points given back since the daemon began\n", size);
	}
	if (int_of(g, "reclaim_needs_bytes")) {
		cli_bytes(int_of(g, "reclaim_needs_bytes"), size, sizeof(size));
		printf("     NO ROOM to give back space of dropped points: it waits until %s are free beside what is left for new data\n",
		       size);
	}
}

/* Of a target: groups that nothing is done for, now or yet. */
static void print_shut_groups(const json_t *document)
{
	const json_t *failed = json_object_get(document, "groups_failed"), *g;
	size_t i;

	json_array_foreach(failed, i, g)
		printf("%s  CANNOT BE OPENED  %s\n", text_of(g, "group"), text_of(g, "error"));
	if (int_of(document, "groups_waiting"))
		printf("%lld more groups are being opened\n",
		       (long long)int_of(document, "groups_waiting"));
}

static void print_space(const json_t *document)
{
	const json_t *w;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(document, "space"), "warnings"), i, w)
		printf("SPACE  %s %s%s: %s\n", text_of(w, "of"), text_of(w, "name"),
		       strcmp(text_of(w, "of"), "disk") ? ", max_bytes" : "", text_of(w, "text"));
}

static int status_print(json_t *document, const char *group, bool json)
{
	bool target = strcmp(text_of(document, "role"), "target") == 0;
	json_t *groups = json_object_get(document, "groups"), *g;
	size_t i, nr = 0;

	for (i = json_array_size(groups); i-- > 0;) {
		g = json_array_get(groups, i);
		if (group && strcmp(text_of(g, "group"), group) != 0)
			json_array_remove(groups, i);
		else
			add_times(g);
	}
	if (group && !json_array_size(groups)) {
		json_decref(document);
		return cli_fail(CLI_NOT_FOUND, "group %s: the daemon does not serve it; `blkship ls` shows what the kernel has",
				group);
	}
	if (json)
		return cli_print_json(document);
	if (target)
		printf("(target) store %s, port %lld\n", text_of(document, "store"),
		       (long long)int_of(document, "port"));
	else
		printf("(source) -> %s\n", text_of(document, "target"));
	json_array_foreach(groups, i, g) {
		nr++;
		if (target)
			print_target_group(g);
		else
			print_source_group(g);
	}
	if (!nr)
		printf("no groups\n");
	if (target && !group)
		print_shut_groups(document);
	if (target)
		print_space(document);
	json_decref(document);
	return CLI_DONE;
}

int cmd_status(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "socket", required_argument, NULL, 's' },
		CLI_COMMON_OPTIONS
	};
	const char *path = SOCKET_DEFAULT;
	json_t *document;
	bool json = false;
	int ret;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		path = optarg;
	cli_check_args(cmd, argc, 0, 1);
	ret = status_socket_ask(path, &document);
	if (ret < 0)
		return cli_fail(ret == -ENOENT || ret == -ECONNREFUSED ? CLI_NOT_FOUND : CLI_FAILED,
				"daemon at %s: %s; start blkshipd (or blkship-targetd, with --socket STORE/run/status.sock)",
				path, strerror(-ret));
	return status_print(document, argv[optind], json);
}
