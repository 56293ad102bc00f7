// SPDX-License-Identifier: GPL-2.0-only
/* restore: write volumes as they were at a point. */
#include "restore.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/export/lease_keeper.h"

#define DEFAULT_JOBS	4
#define MAX_PART_MIB	(1u << 20)

static bool is_damaged(const struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++)
		if (damage_is_of_store(r->outputs[i].damage))
			return true;
	return false;
}

static int report_json(const struct restore *r, uint64_t data_bytes, double seconds)
{
	json_t *volumes = json_array();

	for (size_t i = 0; i < r->nr_outputs; i++) {
		const struct output *o = &r->outputs[i];

		json_array_append_new(volumes, json_pack("{s:s, s:s, s:I, s:I, s:o}", "volume",
			o->name, "path", o->device ? o->device : o->path, "size_bytes",
			(json_int_t)o->size_bytes, "data_bytes", (json_int_t)o->data_bytes, "damage",
			o->damage ? json_incref(o->damage) : json_array()));
	}
	return cli_print_json(json_pack("{s:s, s:o, s:o, s:o, s:I, s:f}", "group", r->named.name.group,
		"seq", cli_json_seq(r->named.point->seq), "time", cli_json_time(r->named.point->time_ns),
		"volumes", volumes, "data_bytes", (json_int_t)data_bytes, "seconds", seconds));
}

static void report_text(const struct restore *r, uint64_t data_bytes, double seconds)
{
	char when[64], seq[40], size[16], data[16];

	when_local(r->named.point->time_ns, when, sizeof(when));
	cli_seq(r->named.point->seq, seq, sizeof(seq));
	printf("%s@%s (seq:%s)\n", r->named.name.group, when, seq);
	for (size_t i = 0; i < r->nr_outputs; i++) {
		const struct output *o = &r->outputs[i];

		cli_bytes(o->size_bytes, size, sizeof(size));
		cli_bytes(o->data_bytes, data, sizeof(data));
		printf("%s: %s, %s of it data\n", o->device ? o->device : o->path, size, data);
	}
	cli_bytes(data_bytes, data, sizeof(data));
	printf("%s in %.1f s (%.0f MB/s), every block %schecked\n", data, seconds,
	       seconds > 0 ? data_bytes / seconds / 1e6 : 0.0, is_damaged(r) ? "of that " : "");
}

static int report(const struct restore *r)
{
	double seconds = progress_seconds(&r->progress);
	uint64_t data_bytes = 0;
	int ret = CLI_DONE;

	for (size_t i = 0; i < r->nr_outputs; i++)
		data_bytes += r->outputs[i].data_bytes;
	if (r->json)
		ret = report_json(r, data_bytes, seconds);
	else
		report_text(r, data_bytes, seconds);
	if (ret != CLI_DONE || !is_damaged(r))
		return ret;
	return cli_fail(CLI_FAILED, "group %s: what was written is not the point: the store is damaged, and zeroes are in place of what could not be read; FILE.damage.json beside each such image, and --json, say where; restore the store from a copy, or take another point",
			r->named.name.group);
}

static int parse(const struct command *cmd, int argc, char **argv, struct restore *r)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "output", required_argument, NULL, 'o' },
		{ "to-device", required_argument, NULL, 'd' },
		{ "volume", required_argument, NULL, 'v' },
		{ "format", required_argument, NULL, 'F' },
		{ "force", no_argument, NULL, 'f' },
		{ "dry-run", no_argument, NULL, 'n' },
		CLI_KEY_OPTIONS,
		{ "resume", no_argument, NULL, 'r' },
		{ "state", required_argument, NULL, 'S' },
		{ "jobs", required_argument, NULL, 'j' },
		{ "part-mib", required_argument, NULL, 'p' },
		CLI_COMMON_OPTIONS
	};
	unsigned long long part_mib = 0;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &r->json)) != -1) {
		if (c == 's') {
			r->store = optarg;
		} else if (c == 'o') {
			r->dir = optarg;
		} else if (c == 'v') {
			r->only = optarg;
		} else if (c == 'F') {
			r->qcow2 = strcmp(optarg, "qcow2") == 0;
			if (!r->qcow2 && strcmp(optarg, "raw") != 0)
				return cli_usage(cmd, "--format: '%s' is not raw or qcow2", optarg);
		} else if (c == 'f') {
			r->force = true;
		} else if (c == 'n') {
			r->dry_run = true;
		} else if (cli_key_option(c, optarg, &r->keys)) {
			continue;
		} else if (c == 'r') {
			r->resume = true;
		} else if (c == 'S') {
			r->state = optarg;
		} else if (c == 'j') {
			r->nr_jobs = strtoul(optarg, NULL, 10);
			if (r->nr_jobs == 0 || r->nr_jobs > RESTORE_MAX_JOBS)
				return cli_usage(cmd, "--jobs: '%s' is not 1 to %d", optarg,
						 RESTORE_MAX_JOBS);
		} else if (c == 'p') {
			part_mib = strtoull(optarg, NULL, 10);
			if (part_mib == 0 || part_mib > MAX_PART_MIB)
				return cli_usage(cmd, "--part-mib: '%s' is not 1 to %u", optarg,
						 MAX_PART_MIB);
		} else if (!strchr(optarg, '=') || *optarg == '=' || r->nr_devices == MAX_OUTPUTS) {
			return cli_usage(cmd, "--to-device: '%s' is not VOLUME=DEVICE", optarg);
		} else {
			r->devices[r->nr_devices++] = optarg;
		}
	}
	cli_check_args(cmd, argc, 1, 1);
	r->point_text = argv[optind];
	if (!r->dir && !r->nr_devices)
		return cli_usage(cmd, "where to? --output DIR or --to-device VOLUME=DEVICE");
	if (r->resume && !r->dir && !r->state)
		return cli_usage(cmd, "--resume: which one? --state FILE as then");
	restore_parts_init(&r->parts, part_mib ? part_mib << 20 : r->qcow2 ?
			   RESTORE_IMAGE_PART_BYTES : RESTORE_PART_BYTES);
	return CLI_DONE;
}

/* Until all is written. */
static int hold_point(struct restore *r)
{
	const struct point_named *named = &r->named;
	char why[POINT_TEXT_BYTES];

	if (lease_keeper_start(r->store, named->name.group, named->list.tl, r->view,
			       named->point->seq, "restore", &r->lease, why) < 0)
		return cli_fail(CLI_NOT_FOUND, "%s; nothing was written; choose another point", why);
	if (*why)
		fprintf(stderr, "blkship: %s\n", why);
	return CLI_DONE;
}

static int restore_run(struct restore *r)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	int ret = r->dry_run ? CLI_DONE : state_check(r);

	if (ret != CLI_DONE)
		return ret;
	if (r->named.point->degraded && !r->force && !r->dry_run)
		return cli_fail(CLI_REFUSED, "group %s: this point is degraded: some sectors could not be read at the source; nothing was written; --force leaves zeroes there, or choose another point",
				r->named.name.group);
	ret = view_open(r->named.list.tl, r->named.point->seq, &r->view, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "group %s: %s; nothing was written; try another point", r->named.name.group,
				*why ? why : strerror(-ret));
	ret = r->dry_run ? CLI_DONE : hold_point(r);
	if (ret == CLI_DONE)
		ret = choose_outputs(r);
	if (ret == CLI_DONE)
		ret = cut_parts(r);
	if (ret == CLI_DONE && r->resume)
		ret = state_begin(r);
	if (ret == CLI_DONE)
		ret = check_outputs(r);
	if (ret == CLI_DONE && r->dry_run)
		return print_plan(r);
	if (ret == CLI_DONE)
		ret = write_outputs(r);
	return ret == CLI_DONE ? report(r) : ret;
}

int cmd_restore(const struct command *cmd, int argc, char **argv)
{
	struct restore *r = calloc(1, sizeof(*r));
	int ret;

	if (!r)
		return cli_fail(CLI_FAILED, "out of memory; nothing was written");
	r->store = CLI_STORE_DEFAULT;
	r->nr_jobs = sysconf(_SC_NPROCESSORS_ONLN);
	if (r->nr_jobs > DEFAULT_JOBS)
		r->nr_jobs = DEFAULT_JOBS;
	restore_parts_init(&r->parts, RESTORE_PART_BYTES);
	ret = parse(cmd, argc, argv, r);
	if (ret == CLI_DONE)
		ret = point_named_open(cmd, r->store, &r->keys, r->point_text, r->force,
				       "nothing was written", &r->named);
	if (ret == CLI_DONE)
		ret = restore_run(r);
	lease_keeper_stop(r->lease);
	for (size_t i = 0; i < r->nr_outputs; i++) {
		json_decref(r->outputs[i].damage);
		if (r->outputs[i].fd >= 0)
			close(r->outputs[i].fd);
	}
	if (r->view)
		view_close(r->view);
	point_named_close(&r->named);
	restore_parts_fini(&r->parts);
	free(r);
	return ret;
}
