// SPDX-License-Identifier: GPL-2.0-only
/* points: list the recovery points of a group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/export/main_line.h"
#include "../../userspace/lib/seq.h"
#include "cli.h"
#include "point.h"

#define MANY_POINTS 50		/* more are summed up */

/* What was asked for: one timeline, or a group and the branch that took over from it. */
struct parts {
	struct point_list lists[2];
	char names[2][POINT_GROUP_BYTES];
	size_t nr;
	uint64_t end_ns[2];	/* of what is the main line's; 0: all is */
	int error;		/* -errno: the branch cannot be used ... */
	char why[POINT_TEXT_BYTES]; /* ... and why; names[1] is set */
};

/* What is known of a point; mounted and booted come with the prover. */
static const char *proof_of(const struct point *p)
{
	return p->damage ? "DAMAGED" : p->checked ? "checksummed" : "sealed";
}

static void print_damage(const struct point_list *list, const char *group)
{
	const char *damage = timeline_damage(list->tl);

	if (damage)
		fprintf(stderr, "blkship: group %s is damaged: %s; points that need it cannot be restored\n",
			group, damage);
}

static void gap_times(const struct timeline_gap *gap, char *from, char *to, size_t bytes)
{
	if (gap->from_time_ns)
		when_local(gap->from_time_ns, from, bytes);
	else
		snprintf(from, bytes, "the beginning");
	if (gap->to_time_ns)
		when_local(gap->to_time_ns, to, bytes);
	else
		snprintf(to, bytes, "still open");
}

static uint64_t gap_seconds(const struct timeline_gap *gap)
{
	if (!gap->from_time_ns || gap->to_time_ns <= gap->from_time_ns)
		return 0;
	return (gap->to_time_ns - gap->from_time_ns) / WHEN_NS;
}

static void duration(uint64_t seconds, char *text, size_t bytes)
{
	if (seconds >= 86400)
		snprintf(text, bytes, "%llud%lluh", (unsigned long long)(seconds / 86400),
			 (unsigned long long)(seconds % 86400 / 3600));
	else if (seconds >= 3600)
		snprintf(text, bytes, "%lluh%llum", (unsigned long long)(seconds / 3600),
			 (unsigned long long)(seconds % 3600 / 60));
	else if (seconds >= 60)
		snprintf(text, bytes, "%llum%llus", (unsigned long long)(seconds / 60),
			 (unsigned long long)(seconds % 60));
	else
		snprintf(text, bytes, "%llus", (unsigned long long)seconds);
}

/* Its gaps, but for those past the end of what is asked for. */
static size_t gaps_of(const struct parts *parts, size_t part, const struct timeline_gap **gaps)
{
	size_t nr = timeline_gaps(parts->lists[part].tl, gaps);

	while (parts->end_ns[part] && nr && (*gaps)[nr - 1].from_time_ns >= parts->end_ns[part])
		nr--;
	return nr;
}

/* One of them, as far as what is asked for goes. */
static struct timeline_gap gap_in(const struct parts *parts, size_t part,
				  const struct timeline_gap *gap)
{
	uint64_t end_ns = parts->end_ns[part];
	struct timeline_gap in = *gap;

	if (end_ns && (!in.to_time_ns || in.to_time_ns > end_ns))
		in.to_time_ns = end_ns;
	return in;
}

static int print_gaps(const struct parts *parts)
{
	static const char *const headings[] = { "NO POINTS FROM", "TO", "FOR" };
	struct table *t = table_create(headings, ARRAY_SIZE(headings));
	char from[64], to[64], length[32];
	const struct timeline_gap *gaps;

	for (size_t part = 0; part < parts->nr; part++) {
		size_t nr = gaps_of(parts, part, &gaps);

		for (size_t i = 0; i < nr; i++) {
			const struct timeline_gap gap = gap_in(parts, part, &gaps[i]);

			gap_times(&gap, from, to, sizeof(from));
			duration(gap_seconds(&gap), length, sizeof(length));
			table_cell(t, "%s", from);
			table_cell(t, "%s", to);
			table_cell(t, "%s", gap_seconds(&gap) ? length : "-");
		}
	}
	table_print(t);
	return CLI_DONE;
}

/* @branch: NULL, or what a seq is to be typed in with, as the group's own count alike */
static void add_points(struct table *t, const struct point_list *list, const char *branch)
{
	char text[64];

	for (size_t i = 0; i < list->nr; i++) {
		const struct point *p = &list->points[i];
		/* Rounded up: what is shown, typed in again, finds the point. */
		uint64_t shown_ns = p->time_ns + 999999;

		when_local(shown_ns, text, sizeof(text));
		table_cell(t, "%.19s.%03u%s", text, (unsigned int)(shown_ns % WHEN_NS / 1000000),
			   text + 19);
		cli_seq(p->seq, text, sizeof(text));
		table_cell(t, "%s%s%s", branch ? branch : "", branch ? "@seq:" : "", text);
		cli_bytes(p->written_bytes, text, sizeof(text));
		table_cell(t, "%s", text);
		table_cell(t, "%s%s", proof_of(p), p->degraded ? ", degraded" : "");
	}
}

static int print_all(const struct parts *parts)
{
	static const char *const headings[] = { "POINT", "SEQ", "WRITTEN", "PROOF" };
	struct table *t = table_create(headings, ARRAY_SIZE(headings));

	for (size_t part = 0; part < parts->nr; part++)
		add_points(t, &parts->lists[part], part ? parts->names[part] : NULL);
	table_print(t);
	return CLI_DONE;
}

static int compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* How far points are apart as a rule: the median. */
static uint64_t spacing_seconds(const struct point_list *list)
{
	uint64_t *steps = calloc(list->nr, sizeof(*steps)), median = 0;

	if (steps && list->nr > 1) {
		for (size_t i = 1; i < list->nr; i++)
			steps[i - 1] = list->points[i].time_ns - list->points[i - 1].time_ns;
		qsort(steps, list->nr - 1, sizeof(*steps), compare_u64);
		median = (steps[(list->nr - 1) / 2] + WHEN_NS / 2) / WHEN_NS;
	}
	free(steps);
	return median;
}

static void print_summary(const struct parts *parts, size_t part)
{
	const struct point_list *list = &parts->lists[part];
	const struct point *first = &list->points[0], *last = &list->points[list->nr - 1];
	const struct timeline_gap *gaps;
	size_t nr_gaps = gaps_of(parts, part, &gaps);
	uint64_t gap_s = 0, step_s = spacing_seconds(list);
	char from[64], to[64], length[32], every[48];

	for (size_t i = 0; i < nr_gaps; i++) {
		const struct timeline_gap gap = gap_in(parts, part, &gaps[i]);

		gap_s += gap_seconds(&gap);
	}
	when_local(first->time_ns, from, sizeof(from));
	when_local(last->time_ns, to, sizeof(to));
	duration(gap_s, length, sizeof(length));
	snprintf(every, sizeof(every), step_s <= 1 ? "every second" : "every %llu seconds",
		 (unsigned long long)step_s);
	if (parts->nr > 1)
		printf("%s:\n", parts->names[part]);
	printf("%s   %s - %s   %zu points, %zu gap%s", every, from, to, list->nr, nr_gaps,
	       nr_gaps == 1 ? "" : "s");
	if (nr_gaps)
		printf(", %s (list: --gaps)", length);
	when_local(last->current_to_ns, from, sizeof(from));
	printf("\nlatest %s %s, current to %s\n", to, proof_of(last), from);
}

/*
 * Of a branch that took over: its seqs mean another point, or none, with the group's name; so
 * who takes the seq alone is to have nothing.
 */
static void add_points_json(json_t *points, const struct point_list *list, const char *name,
			    bool has_seq)
{
	char full[POINT_GROUP_BYTES + 64];

	for (size_t i = 0; i < list->nr; i++) {
		const struct point *p = &list->points[i];

		snprintf(full, sizeof(full), "%s@seq:%u:%llu", name, seq_incarnation(p->seq),
			 (unsigned long long)seq_number(p->seq));
		json_array_append_new(points, json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:b}",
			"name", full, "seq", has_seq ? cli_json_seq(p->seq) : json_null(), "time", cli_json_time(p->time_ns),
			"current_to", cli_json_time(p->current_to_ns),
			"received", cli_json_time(p->received_ns),
			"written_bytes", (json_int_t)p->written_bytes,
			"records", (json_int_t)p->nr_records, "proof", proof_of(p),
			"degraded", p->degraded));
	}
}

static json_t *line_json(const struct parts *parts)
{
	const struct timeline_line *line = timeline_main_line(parts->lists[0].tl);

	if (!*parts->names[1])
		return json_null();
	return json_pack("{s:s, s:i, s:o, s:o, s:o}", "branch", line->name, "epoch",
			 (int)line->epoch, "since", cli_json_time(line->made_ns), "point",
			 cli_json_seq(line->cut_seq), "point_time", cli_json_time(line->time_ns));
}

static json_t *points_json(const struct parts *parts)
{
	const struct timeline *tl = parts->lists[0].tl;
	json_t *points = json_array(), *gaps_json = json_array(), *volumes_json = json_array();
	const char *damage = timeline_damage(tl);
	const struct timeline_volume *volumes;
	size_t nr_volumes = timeline_volumes(tl, &volumes);
	const struct timeline_gap *gaps;

	for (size_t part = 0; part < parts->nr; part++) {
		size_t nr_gaps = gaps_of(parts, part, &gaps);

		add_points_json(points, &parts->lists[part], parts->names[part], part == 0);
		for (size_t i = 0; i < nr_gaps; i++) {
			const struct timeline_gap gap = gap_in(parts, part, &gaps[i]);

			json_array_append_new(gaps_json, json_pack("{s:o, s:o}",
				"from", cli_json_time(gap.from_time_ns),
				"to", cli_json_time(gap.to_time_ns)));
		}
		if (!damage)
			damage = timeline_damage(parts->lists[part].tl);
	}
	if (!damage && parts->error)
		damage = parts->why;
	for (size_t i = 0; i < nr_volumes; i++)
		json_array_append_new(volumes_json, json_pack("{s:s, s:I}", "volume",
			volumes[i].name, "size_bytes", (json_int_t)volumes[i].size_bytes));
	return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o, s:o}", "group", parts->names[0], "owner",
			 timeline_owner(tl), "damage", damage, "main_line", line_json(parts),
			 "volumes", volumes_json, "points", points, "gaps", gaps_json);
}

/* GROUP with all of its main line; GROUP/BRANCH or GROUP/~EPOCH: that timeline. */
static int parts_open(const char *store, const char *text, struct parts *parts)
{
	char why[POINT_TEXT_BYTES];
	int ret = main_line_name(store, text, parts->names[0], why);

	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "%s", why);
	ret = point_open(store, parts->names[0], &parts->lists[0]);
	if (ret != CLI_DONE)
		return ret;
	parts->nr = 1;
	if (strchr(text, '/'))
		return CLI_DONE;
	parts->error = main_line_split(store, text, &parts->lists[0], parts->names[1],
				       &parts->lists[1], parts->why);
	if (*parts->names[1]) {
		parts->end_ns[0] = timeline_main_line(parts->lists[0].tl)->time_ns;
		parts->nr = parts->error ? 1 : 2;
	}
	return CLI_DONE;
}

static void parts_close(struct parts *parts)
{
	while (parts->nr)
		point_list_close(&parts->lists[--parts->nr]);
}

static int print_points(const struct parts *parts, bool all)
{
	size_t nr = 0;

	for (size_t part = 0; part < parts->nr; part++)
		nr += parts->lists[part].nr;
	if (!nr)
		return cli_fail(CLI_DONE, "group %s has no recovery points yet: the first comes when the initial replication has ended",
				parts->names[0]);
	if (all || nr <= MANY_POINTS)
		return print_all(parts);
	for (size_t part = 0; part < parts->nr; part++)
		if (parts->lists[part].nr)
			print_summary(parts, part);
	return CLI_DONE;
}

int cmd_points(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "gaps", no_argument, NULL, 'g' },
		{ "all", no_argument, NULL, 'a' },
		CLI_COMMON_OPTIONS
	};
	const char *store = CLI_STORE_DEFAULT;
	bool json = false, gaps = false, all = false;
	struct parts parts = { .nr = 0 };
	int c, ret;

	while ((c = cli_getopt(cmd, argc, argv, longs, &json)) != -1) {
		if (c == 's')
			store = optarg;
		else if (c == 'g')
			gaps = true;
		else
			all = true;
	}
	cli_check_args(cmd, argc, 1, 1);
	ret = parts_open(store, argv[optind], &parts);
	if (ret == CLI_DONE) {
		for (size_t part = 0; part < parts.nr; part++)
			print_damage(&parts.lists[part], parts.names[part]);
		if (json)
			ret = cli_print_json(points_json(&parts));
		else
			ret = gaps ? print_gaps(&parts) : print_points(&parts, all);
		if (ret == CLI_DONE && parts.error)
			ret = cli_fail(cli_exit_of(parts.error), "%s; listed is the main line up to the branch",
				       parts.why);
	}
	parts_close(&parts);
	return ret;
}
