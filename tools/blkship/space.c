// SPDX-License-Identifier: GPL-2.0-only
/* space: what groups take, what comes in a day, what their policies may need. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "../../userspace/lib/home.h"
#include "../../userspace/lib/status_socket.h"
#include "../../userspace/store/retention.h"
#include "../../userspace/store/space.h"
#include "cli.h"
#include "group_names.h"
#include "point.h"

#define WARN_DAYS 30

struct report {
	const char *store;
	struct group_names names;
	bool failed;		/* not all branches are counted */
	struct table *table;	/* NULL: json */
	json_t *groups;
	struct space sum;
	bool endless;		/* one has no policy, or its rate is not known */
	bool has_free;
	uint64_t free_bytes;
	json_t *status;		/* of the daemon; NULL: none answers */
	uint64_t reclaimed_bytes;	/* by all that are shown */
};

/* Which groups and branches there are, and what is free where they are. */
static int look_around(struct report *r, char **names, int nr)
{
	char why[HOME_TEXT_BYTES];
	struct statvfs fs;
	struct home *home;
	int ret = home_open(r->store, NULL, &home, why);

	if (ret)
		return cli_fail(cli_exit_of(ret), "%s", why);
	ret = group_names_get(home, names, nr, &r->names);
	r->has_free = !home_is_remote(home) && statvfs(r->store, &fs) == 0;
	if (r->has_free)
		r->free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	home_close(home);
	r->failed = r->names.incomplete;
	return ret ? cli_fail(cli_exit_of(ret), "store %s: its groups cannot be listed: %s",
			      r->store, strerror(-ret)) : CLI_DONE;
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

	json_array_append_new(r->groups, json_pack("{s:s, s:I, s:I, s:I, s:o, s:I, s:I, s:o, s:o, s:o, s:s?, s:I}",
		"group", group, "data_bytes", (json_int_t)s->data_bytes, "index_bytes",
		(json_int_t)s->index_bytes, "points", (json_int_t)s->nr_points, "oldest",
		cli_json_time(s->oldest_ns), "holds", (json_int_t)s->nr_pins,
		"points_only_held", (json_int_t)s->pinned, "bytes_per_day",
		json_known(s->day_bytes, s->measured_ns), "needs_at_most_bytes",
		json_known(s->most_bytes, s->most_bytes), "reclaimed_bytes",
		json_known(bytes, known), "retention",
		*policy ? policy : NULL, "immutable_s", (json_int_t)(immutable_ns / WHEN_NS)));
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
	if (strchr(group, '/')) {	/* all of it stays, and no source adds to it */
		r->sum.most_bytes += s.data_bytes + s.index_bytes;
		return CLI_DONE;
	}
	r->sum.day_bytes += s.day_bytes;
	r->sum.most_bytes += s.most_bytes;
	r->endless |= !s.most_bytes;
	if (reclaimed(r, group, &bytes))
		r->reclaimed_bytes += bytes;
	return CLI_DONE;
}

/* -- the end of it -- */

static int print_sum(struct report *r)
{
	uint64_t now_bytes = r->sum.data_bytes + r->sum.index_bytes;
	uint64_t most_bytes = r->endless ? 0 : r->sum.most_bytes;
	uint64_t days = !r->has_free ? UINT64_MAX :
			space_days_left(r->free_bytes, now_bytes, most_bytes, r->sum.day_bytes);
	char text[16], day[16], most[16];

	if (!r->table)
		return cli_print_json(json_pack("{s:s, s:o, s:o, s:o}", "store", r->store,
			"free_bytes", json_known(r->free_bytes, r->has_free), "full_in_days",
			json_known(days, days != UINT64_MAX), "groups", r->groups));
	table_print(r->table);
	if (r->reclaimed_bytes) {
		cli_bytes(r->reclaimed_bytes, text, sizeof(text));
		printf("%s of dropped points given back since the daemon began\n", text);
	}
	if (!r->has_free)
		return CLI_DONE;
	cli_bytes(r->free_bytes, text, sizeof(text));
	cli_bytes(r->sum.day_bytes, day, sizeof(day));
	cli_bytes(most_bytes, most, sizeof(most));
	if (days == UINT64_MAX)
		printf("%s free\n", text);
	else
		printf("%s free: enough for %llu days%s if nothing is dropped, at %s a day\n", text,
		       (unsigned long long)days, days < WARN_DAYS ? " ONLY," : ",", day);
	if (days < WARN_DAYS)
		fprintf(stderr, "blkship: store %s: it may be full in %llu days: %s%s; when it is, sources are refused and track only; make room, or keep less with retention in %s/targetd.conf\n",
			r->store, (unsigned long long)days,
			most_bytes ? "the policies may need up to " : "not every group has a policy",
			most_bytes ? most : "", r->store);
	return CLI_DONE;
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
	bool json = false;
	int ret, one;

	while (cli_getopt(cmd, argc, argv, longs, &json) != -1)
		r.store = optarg;
	ret = look_around(&r, argv + optind, argc - optind);
	if (ret != CLI_DONE) {
		group_names_free(&r.names);
		return ret;
	}
	snprintf(path, sizeof(path), "%s/run/status.sock", r.store);
	if (status_socket_ask(path, &r.status))
		r.status = NULL;
	r.groups = json_array();
	if (!json)
		r.table = table_create(headings, ARRAY_SIZE(headings));
	for (size_t i = 0; i < r.names.nr; i++) {
		one = add_group(&r, r.names.items[i]);
		if (one != CLI_DONE)
			ret = one;
	}
	one = print_sum(&r);
	if (!json)
		json_decref(r.groups);
	json_decref(r.status);
	group_names_free(&r.names);
	if (ret == CLI_DONE && r.failed)
		ret = CLI_FAILED;
	return ret == CLI_DONE ? one : ret;
}
