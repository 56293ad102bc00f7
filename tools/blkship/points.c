// SPDX-License-Identifier: GPL-2.0-only
/* points: list the recovery points of a group. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "point.h"

#define MANY_POINTS 50		/* more are summed up */

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

static int print_gaps(const struct point_list *list)
{
	static const char *const headings[] = { "NO POINTS FROM", "TO", "FOR" };
	const struct timeline_gap *gaps;
	size_t nr = timeline_gaps(list->tl, &gaps);
	struct table *t = table_create(headings, ARRAY_SIZE(headings));
	char from[64], to[64], length[32];

	for (size_t i = 0; i < nr; i++) {
		gap_times(&gaps[i], from, to, sizeof(from));
		duration(gap_seconds(&gaps[i]), length, sizeof(length));
		table_cell(t, "%s", from);
		table_cell(t, "%s", to);
		table_cell(t, "%s", gap_seconds(&gaps[i]) ? length : "-");
	}
	table_print(t);
	return CLI_DONE;
}

static int print_all(const struct point_list *list)
{
	static const char *const headings[] = { "POINT", "SEQ", "WRITTEN", "PROOF" };
	struct table *t = table_create(headings, ARRAY_SIZE(headings));
	char text[64];

	for (size_t i = 0; i < list->nr; i++) {
		const struct point *p = &list->points[i];
		/* Rounded up: what is shown, typed in again, finds the point. */
		uint64_t shown_ns = p->time_ns + 999999;

		when_local(shown_ns, text, sizeof(text));
		table_cell(t, "%.19s.%03u%s", text, (unsigned int)(shown_ns % WHEN_NS / 1000000),
			   text + 19);
		cli_seq(p->seq, text, sizeof(text));
		table_cell(t, "%s", text);
		cli_bytes(p->written_bytes, text, sizeof(text));
		table_cell(t, "%s", text);
		table_cell(t, "%s%s", proof_of(p), p->degraded ? ", degraded" : "");
	}
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

static int print_summary(const struct point_list *list)
{
	const struct point *first = &list->points[0], *last = &list->points[list->nr - 1];
	const struct timeline_gap *gaps;
	size_t nr_gaps = timeline_gaps(list->tl, &gaps);
	uint64_t gap_s = 0, step_s = spacing_seconds(list);
	char from[64], to[64], length[32], every[48];

	for (size_t i = 0; i < nr_gaps; i++)
		gap_s += gap_seconds(&gaps[i]);
	when_local(first->time_ns, from, sizeof(from));
	when_local(last->time_ns, to, sizeof(to));
	duration(gap_s, length, sizeof(length));
	snprintf(every, sizeof(every), step_s <= 1 ? "every second" : "every %llu seconds",
		 (unsigned long long)step_s);
	printf("%s   %s - %s   %zu points, %zu gap%s", every, from, to, list->nr, nr_gaps,
	       nr_gaps == 1 ? "" : "s");
	if (nr_gaps)
		printf(", %s (list: --gaps)", length);
	when_local(last->current_to_ns, from, sizeof(from));
	printf("\nlatest %s %s, current to %s\n", to, proof_of(last), from);
	return CLI_DONE;
}

static json_t *points_json(const struct point_list *list, const char *group)
{
	const struct timeline_volume *volumes;
	const struct timeline_gap *gaps;
	size_t nr_volumes = timeline_volumes(list->tl, &volumes);
	size_t nr_gaps = timeline_gaps(list->tl, &gaps);
	json_t *points = json_array(), *gaps_json = json_array(), *volumes_json = json_array();

	for (size_t i = 0; i < list->nr; i++) {
		const struct point *p = &list->points[i];

		json_array_append_new(points, json_pack("{s:o, s:o, s:o, s:o, s:I, s:I, s:s, s:b}",
			"seq", cli_json_seq(p->seq), "time", cli_json_time(p->time_ns),
			"current_to", cli_json_time(p->current_to_ns),
			"received", cli_json_time(p->received_ns),
			"written_bytes", (json_int_t)p->written_bytes,
			"records", (json_int_t)p->nr_records, "proof", proof_of(p),
			"degraded", p->degraded));
	}
	for (size_t i = 0; i < nr_gaps; i++)
		json_array_append_new(gaps_json, json_pack("{s:o, s:o}",
			"from", cli_json_time(gaps[i].from_time_ns),
			"to", cli_json_time(gaps[i].to_time_ns)));
	for (size_t i = 0; i < nr_volumes; i++)
		json_array_append_new(volumes_json, json_pack("{s:s, s:I}", "volume",
			volumes[i].name, "size_bytes", (json_int_t)volumes[i].size_bytes));
	return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o}", "group", group, "owner",
			 timeline_owner(list->tl), "damage", timeline_damage(list->tl), "volumes",
			 volumes_json, "points", points, "gaps", gaps_json);
}

int cmd_points(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "gaps", no_argument, NULL, 'g' },
		{ "all", no_argument, NULL, 'a' },
		CLI_COMMON_OPTIONS
	};
	const char *store = CLI_STORE_DEFAULT, *group;
	bool json = false, gaps = false, all = false;
	struct point_list list;
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
	group = argv[optind];
	ret = point_open(store, group, &list);
	if (ret != CLI_DONE)
		return ret;
	print_damage(&list, group);
	if (json)
		ret = cli_print_json(points_json(&list, group));
	else if (gaps)
		ret = print_gaps(&list);
	else if (!list.nr)
		ret = cli_fail(CLI_DONE, "group %s has no recovery points yet: the first comes when the initial replication has ended",
			       group);
	else if (all || list.nr <= MANY_POINTS)
		ret = print_all(&list);
	else
		ret = print_summary(&list);
	point_list_close(&list);
	return ret;
}
