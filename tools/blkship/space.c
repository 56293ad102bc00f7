// SPDX-License-Identifier: GPL-2.0-only
/* space: what groups take, what comes in a day, what their policies may need. */
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/lib/home.h"
#include "../../userspace/lib/status_socket.h"
#include "../../userspace/store/retention.h"
#include "../../userspace/store/space.h"
#include "../../userspace/store/space_warn.h"
#include "../../userspace/target/limits_conf.h"
#include "cli.h"
#include "group_names.h"
#include "point.h"

struct report {
	const char *store;
	struct group_names names;
	bool failed;		/* not all branches are counted */
	bool json;
	struct table *table;	/* NULL: json, or it is printed */
	json_t *groups;
	struct space sum;
	bool endless;		/* one has no policy, or its rate is not known */
	bool all;		/* groups, not only some */
	bool has_free;
	uint64_t free_bytes;
	struct limits_conf limits;
	struct space_place *capped;	/* one for each of the caps there */
	json_t *warnings;
	json_t *status;		/* of the daemon; NULL: none answers */
	uint64_t reclaimed_bytes;	/* by all that are shown */
};

/* Which groups and branches there are, and what is free where they are. */
static int look_around(struct report *r, char **names, int nr)
{
	char why[HOME_TEXT_BYTES];
	struct home *home;
	int ret = home_open(r->store, NULL, &home, why);

	if (ret)
		return cli_fail(cli_exit_of(ret), "%s", why);
	ret = group_names_get(home, names, nr, &r->names);
	r->has_free = home_env(home)->ops->free_bytes(home_env(home), home_groups(home),
						      &r->free_bytes) == 0;
	home_close(home);
	r->failed = r->names.incomplete;
	return ret ? cli_fail(cli_exit_of(ret), "store %s: its groups cannot be listed: %s",
			      r->store, strerror(-ret)) : CLI_DONE;
}

static int conf_line(void *arg, const char *section, const char *name, const char *value)
{
	char why[LIMITS_TEXT_BYTES];
	int ret = limits_conf_line(arg, section, name, value, why);

	return ret == 0 || ret == -ENOENT;	/* the daemon is who complains about others */
}

/* Also without a daemon; a location on a cluster has no configuration. */
static int limits_read(struct report *r)
{
	char path[CLI_PATH_BYTES];
	int line;

	limits_conf_init(&r->limits);
	snprintf(path, sizeof(path), "%s/targetd.conf", r->store);
	line = access(path, F_OK) < 0 ? 0 : ini_parse(path, conf_line, &r->limits);
	if (line)
		return cli_fail(CLI_FAILED, "%s:%d: not understood; start blkship-targetd to see why",
				path, line);
	r->capped = calloc(r->limits.nr_caps + 1, sizeof(*r->capped));
	return r->capped ? CLI_DONE : cli_fail(CLI_FAILED, "out of memory");
}

/* -- warnings -- */

/* @of: "disk", "store" or "group"; of each place the worst is for people, all are for programs. */
static void warn(struct report *r, const struct space_place *p, const char *of, const char *name)
{
	const unsigned int warnings = space_warn(p);
	const bool disk = strcmp(of, "disk") == 0;
	char text[SPACE_TEXT_BYTES];

	for (unsigned int w = 1; w < SPACE_WARN_END; w <<= 1) {
		if (!(warnings & w))
			continue;
		space_warn_text(p, w, text);
		json_array_append_new(r->warnings, json_pack("{s:s, s:s, s:s, s:s}", "of", of, "name",
							     name, "warning", space_warn_name(w), "text",
							     text));
	}
	if (warnings && !r->json)
		fprintf(stderr, "blkship: %s %s%s: %s; when it is full, sources are refused and track only, and nothing is dropped for it; %s, or keep less with retention in %s/targetd.conf\n",
			disk ? "store" : of, name, disk ? "" : ", max_bytes", text,
			disk ? "make room" : "raise it", r->store);
}

static uint64_t left_below(uint64_t max_bytes, uint64_t taken_bytes)
{
	return taken_bytes < max_bytes ? max_bytes - taken_bytes : 0;
}

/* A group, or then one of its branches: all of that stays, and no source adds to it. */
static void add_capped(struct report *r, const char *group, const struct space *s)
{
	const uint64_t bytes = s->data_bytes + s->index_bytes;
	const size_t length = strcspn(group, "/");

	for (size_t i = 0; i < r->limits.nr_caps; i++) {
		const char *capped = r->limits.caps[i].group;
		struct space_place *p = &r->capped[i];

		if (strlen(capped) != length || memcmp(capped, group, length) != 0)
			continue;
		p->taken_bytes += bytes;
		if (group[length]) {
			p->most_bytes += p->most_bytes ? bytes : 0;
			continue;
		}
		p->most_bytes = s->most_bytes;
		p->day_bytes = s->day_bytes;
		p->window_bytes = s->window_bytes;
	}
}

static void warn_all(struct report *r)
{
	struct space_place place = {
		.left_bytes = r->free_bytes,
		.taken_bytes = r->sum.data_bytes + r->sum.index_bytes,
		.most_bytes = r->endless ? 0 : r->sum.most_bytes,
		.day_bytes = r->sum.day_bytes, .window_bytes = r->sum.window_bytes,
	};

	if (r->has_free)
		warn(r, &place, "disk", r->store);
	place.left_bytes = left_below(r->limits.max_bytes, place.taken_bytes);
	if (r->limits.max_bytes && r->all)
		warn(r, &place, "store", r->store);
	for (size_t i = 0; i < r->limits.nr_caps; i++) {
		struct space_place *p = &r->capped[i];

		p->left_bytes = left_below(r->limits.caps[i].max_bytes, p->taken_bytes);
		if (p->taken_bytes)
			warn(r, p, "group", r->limits.caps[i].group);
	}
}

/* What was given back since the daemon has the group; only the daemon knows. */
static bool reclaimed(const struct report *r, const char *group, uint64_t *bytes)
{
	const json_t *g;
	size_t i;

	json_array_foreach(json_object_get(r->status, "groups"), i, g) {
		const char *name = json_string_value(json_object_get(g, "group"));

		if (!name || strcmp(name, group) != 0)
			continue;
		*bytes = json_integer_value(json_object_get(g, "reclaimed_bytes"));
		return true;
	}
	return false;
}

static void size_cell(struct table *t, uint64_t bytes, bool known)
{
	char text[16];

	cli_bytes(bytes, text, sizeof(text));
	table_cell(t, "%s", known ? text : "-");
}

static void add_row(struct report *r, const char *group, const char *policy,
		    const struct space *s)
{
	char oldest[64] = "-";

	if (s->oldest_ns)
		when_local(s->oldest_ns, oldest, sizeof(oldest));
	table_cell(r->table, "%s", group);
	size_cell(r->table, s->data_bytes, true);
	size_cell(r->table, s->index_bytes, true);
	table_cell(r->table, "%llu", (unsigned long long)s->nr_points);
	table_cell(r->table, "%s", oldest);
	table_cell(r->table, "%llu", (unsigned long long)s->pinned);
	size_cell(r->table, s->day_bytes, s->measured_ns);
	size_cell(r->table, s->most_bytes, s->most_bytes);
	table_cell(r->table, "%s", *policy ? policy : "everything");
}

static json_t *json_known(uint64_t bytes, bool known)
{
	return known ? json_integer(bytes) : json_null();
}

static void add_json(struct report *r, const char *group, const char *policy,
		     uint64_t immutable_ns, const struct space *s)
{
	uint64_t bytes = 0;
	bool known = reclaimed(r, group, &bytes);

	uint64_t max_bytes = limits_conf_max(&r->limits, group);

	json_array_append_new(r->groups, json_pack("{s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:s?, s:I, s:o}",
		"group", group, "data_bytes", (json_int_t)s->data_bytes, "index_bytes",
		(json_int_t)s->index_bytes, "points", (json_int_t)s->nr_points, "oldest",
		cli_json_time(s->oldest_ns), "holds", (json_int_t)s->nr_pins,
		"points_only_held", (json_int_t)s->pinned, "bytes_per_day",
		json_known(s->day_bytes, s->measured_ns), "needs_at_most_bytes",
		json_known(s->most_bytes, s->most_bytes), "reclaimed_bytes",
		json_known(bytes, known), "retention",
		*policy ? policy : NULL, "immutable_s", (json_int_t)(immutable_ns / WHEN_NS),
		"max_bytes", json_known(max_bytes, max_bytes)));
}

static int add_group(struct report *r, const char *group)
{
	const struct retention_policy *policy;
	char text[RETENTION_TEXT_BYTES] = "";
	uint64_t immutable_ns = 0, bytes;
	struct point_list list;
	struct space s;
	int ret = point_open(r->store, group, &list);

	if (ret != CLI_DONE)
		return ret;
	ret = space_measure(list.tl, &s);
	policy = timeline_retention(list.tl, &immutable_ns);
	if (policy)
		retention_format(policy, text, sizeof(text));
	point_list_close(&list);
	if (ret)
		return cli_fail(cli_exit_of(ret), "group %s: %s; it is not counted", group,
				strerror(-ret));
	if (r->table)
		add_row(r, group, text, &s);
	else
		add_json(r, group, text, immutable_ns, &s);
	r->sum.data_bytes += s.data_bytes;
	r->sum.index_bytes += s.index_bytes;
	add_capped(r, group, &s);
	if (strchr(group, '/')) {	/* all of it stays, and no source adds to it */
		r->sum.most_bytes += s.data_bytes + s.index_bytes;
		return CLI_DONE;
	}
	r->sum.day_bytes += s.day_bytes;
	r->sum.most_bytes += s.most_bytes;
	r->sum.window_bytes += s.window_bytes;
	r->endless |= !s.most_bytes;
	if (reclaimed(r, group, &bytes))
		r->reclaimed_bytes += bytes;
	return CLI_DONE;
}

/* -- the end of it -- */

/* UINT64_MAX: it fits, or nothing is known. */
static uint64_t days_left(const struct report *r)
{
	if (!r->has_free)
		return UINT64_MAX;
	return space_days_left(r->free_bytes, r->sum.data_bytes + r->sum.index_bytes,
			       r->endless ? 0 : r->sum.most_bytes, r->sum.day_bytes);
}

static void print_sum(const struct report *r)
{
	uint64_t days = days_left(r);
	char text[16], day[16];

	if (r->reclaimed_bytes) {
		cli_bytes(r->reclaimed_bytes, text, sizeof(text));
		printf("%s of dropped points given back since the daemon began\n", text);
	}
	if (!r->has_free)
		return;
	cli_bytes(r->free_bytes, text, sizeof(text));
	cli_bytes(r->sum.day_bytes, day, sizeof(day));
	if (days == UINT64_MAX)
		printf("%s free\n", text);
	else
		printf("%s free: enough for %llu days%s if nothing is dropped, at %s a day\n", text,
		       (unsigned long long)days, days < SPACE_WARN_DAYS ? " ONLY," : ",", day);
}

static int print_json(const struct report *r)
{
	uint64_t days = days_left(r);

	return cli_print_json(json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "store", r->store,
		"free_bytes", json_known(r->free_bytes, r->has_free), "max_bytes",
		json_known(r->limits.max_bytes, r->limits.max_bytes), "full_in_days",
		json_known(days, days != UINT64_MAX), "warnings", r->warnings, "groups",
		r->groups));
}

int cmd_space(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' }, CLI_COMMON_OPTIONS
	};
	static const char *const headings[] = { "GROUP", "DATA", "INDEX", "POINTS", "OLDEST",
						"HELD", "A DAY", "AT MOST", "KEEPS" };
	struct report r = { .store = CLI_STORE_DEFAULT };
	char path[CLI_PATH_BYTES];
	int ret, one;

	while (cli_getopt(cmd, argc, argv, longs, &r.json) != -1)
		r.store = optarg;
	r.all = optind == argc;
	ret = look_around(&r, argv + optind, argc - optind);
	if (ret == CLI_DONE)
		ret = limits_read(&r);
	if (ret != CLI_DONE)
		goto out;
	snprintf(path, sizeof(path), "%s/run/status.sock", r.store);
	if (status_socket_ask(path, &r.status))
		r.status = NULL;
	r.groups = json_array();
	r.warnings = json_array();
	if (!r.json)
		r.table = table_create(headings, ARRAY_SIZE(headings));
	for (size_t i = 0; i < r.names.nr; i++) {
		one = add_group(&r, r.names.items[i]);
		if (one != CLI_DONE)
			ret = one;
	}
	one = CLI_DONE;
	if (r.table) {
		table_print(r.table);
		r.table = NULL;
		print_sum(&r);
	}
	warn_all(&r);
	if (r.json) {
		one = print_json(&r);
	} else {
		json_decref(r.groups);
		json_decref(r.warnings);
	}
	json_decref(r.status);
	if (ret == CLI_DONE && r.failed)
		ret = CLI_FAILED;
	if (ret == CLI_DONE)
		ret = one;
out:
	limits_conf_fini(&r.limits);
	free(r.capped);
	group_names_free(&r.names);
	return ret;
}
