// SPDX-License-Identifier: GPL-2.0-only
/*
 * diff: which bytes of which volumes differ between two points of a group.
 *
 * By content: a block that was written with what it had does not differ. Where neither
 * point has data nothing is read.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/export/lease_keeper.h"
#include "../../userspace/store/view.h"
#include "cli.h"
#include "point.h"
#include "progress.h"

#define CHUNK_BYTES	(1u << 20)
#define BLOCK_BYTES	4096	/* differences are told in multiples of it */

struct side {
	struct point_named named;
	struct view *view;
	struct lease_keeper *lease;	/* NULL: none */
	uint8_t *buf;
};

struct diff {
	const char *store, *only;
	struct key_source keys;
	bool force, json;
	struct side from, to;
	struct progress progress;

	struct table *table;
	json_t *volumes, *ranges;	/* all; of the one in hand */
	const char *volume;
	uint64_t begin_bytes, end_bytes; /* of the stretch in hand */
	uint64_t volume_bytes, all_bytes; /* that differ */
};

/* -- stretches -- */

static void stretch_end(struct diff *d)
{
	uint64_t bytes = d->end_bytes - d->begin_bytes;
	char size[16];

	if (!bytes)
		return;
	d->volume_bytes += bytes;
	if (d->json) {
		json_array_append_new(d->ranges, json_pack("{s:I, s:I}", "offset_bytes",
			(json_int_t)d->begin_bytes, "length_bytes", (json_int_t)bytes));
	} else {
		cli_bytes(bytes, size, sizeof(size));
		table_cell(d->table, "%s", d->volume);
		table_cell(d->table, "%llu", (unsigned long long)d->begin_bytes);
		table_cell(d->table, "%llu", (unsigned long long)bytes);
		table_cell(d->table, "%s", size);
	}
	d->begin_bytes = d->end_bytes;
}

static void differs(struct diff *d, uint64_t offset_bytes, uint64_t bytes)
{
	if (offset_bytes != d->end_bytes) {
		stretch_end(d);
		d->begin_bytes = offset_bytes;
	}
	d->end_bytes = offset_bytes + bytes;
}

/* -- comparing -- */

/* How far from here on there is nothing but zeroes, at most @bytes. */
static int zeroes(const struct side *s, uint16_t volume, uint64_t offset_bytes, uint64_t bytes,
		  uint64_t *zero_bytes)
{
	*zero_bytes = 0;
	while (*zero_bytes < bytes) {
		struct view_extent e;
		int ret = view_next(s->view, volume, offset_bytes + *zero_bytes, &e);

		if (ret < 0)
			return ret;
		if (e.kind != EXTENT_ZERO && e.kind != EXTENT_DISCARD)
			return 0;
		*zero_bytes += e.length_bytes;
	}
	*zero_bytes = bytes;
	return 0;
}

static int side_failed(const struct diff *d, const struct side *s, uint64_t offset_bytes, int ret)
{
	return cli_fail(CLI_FAILED, "volume %s of %s@%s, the MiB at byte %llu: %s; the comparison is not whole; try another point",
			d->volume, s->named.name.group, s->named.name.when_text,
			(unsigned long long)offset_bytes, view_error_text(ret));
}

/* What could not be read at the source is not known to be the same: it differs. */
static int compare_chunk(struct diff *d, uint16_t volume, uint64_t offset_bytes, size_t bytes)
{
	int from = view_read(d->from.view, volume, offset_bytes, d->from.buf, bytes);
	int to = view_read(d->to.view, volume, offset_bytes, d->to.buf, bytes);

	if (from < 0 && from != -EIO)
		return side_failed(d, &d->from, offset_bytes, from);
	if (to < 0 && to != -EIO)
		return side_failed(d, &d->to, offset_bytes, to);
	for (size_t at = 0; at < bytes; at += BLOCK_BYTES) {
		size_t n = bytes - at < BLOCK_BYTES ? bytes - at : BLOCK_BYTES;

		if (from || to || memcmp(d->from.buf + at, d->to.buf + at, n) != 0)
			differs(d, offset_bytes + at, n);
	}
	return CLI_DONE;
}

/* So much that both have; what only one has differs. */
static int compare_volume(struct diff *d, uint16_t volume, uint64_t from_bytes, uint64_t to_bytes)
{
	uint64_t both_bytes = from_bytes < to_bytes ? from_bytes : to_bytes;
	uint64_t longest = from_bytes + to_bytes - both_bytes;
	uint64_t offset = 0, zero_from, zero_to;
	int ret = CLI_DONE;

	while (offset < both_bytes && ret == CLI_DONE) {
		uint64_t left = both_bytes - offset;
		size_t n = CHUNK_BYTES - offset % CHUNK_BYTES;
		int one, two;

		if (n > left)
			n = left;
		one = zeroes(&d->from, volume, offset, left, &zero_from);
		two = zeroes(&d->to, volume, offset, left, &zero_to);
		if (one < 0 || two < 0)
			return side_failed(d, one < 0 ? &d->from : &d->to, offset, one < 0 ? one : two);
		if (zero_to < zero_from)
			zero_from = zero_to;
		zero_from -= offset + zero_from < both_bytes ? zero_from % BLOCK_BYTES : 0;
		if (zero_from)
			n = zero_from;
		else
			ret = compare_chunk(d, volume, offset, n);
		offset += n;
		progress_add(&d->progress, n);
	}
	if (ret == CLI_DONE && longest > both_bytes)
		differs(d, both_bytes, longest - both_bytes);
	stretch_end(d);
	return ret;
}

static int compare_volumes(struct diff *d)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(d->to.named.list.tl, &volumes), found = 0;
	int ret = CLI_DONE;

	for (size_t i = 0; i < nr && ret == CLI_DONE; i++) {
		uint64_t from_bytes = view_size(d->from.view, volumes[i].id);
		uint64_t to_bytes = view_size(d->to.view, volumes[i].id);

		if ((!from_bytes && !to_bytes) || (d->only && strcmp(d->only, volumes[i].name) != 0))
			continue;
		found++;
		d->volume = volumes[i].name;
		d->begin_bytes = d->end_bytes = d->volume_bytes = 0;
		d->ranges = json_array();
		ret = compare_volume(d, volumes[i].id, from_bytes, to_bytes);
		d->all_bytes += d->volume_bytes;
		json_array_append_new(d->volumes, json_pack("{s:s, s:I, s:I, s:I, s:o}", "volume",
			d->volume, "from_size_bytes", (json_int_t)from_bytes, "to_size_bytes",
			(json_int_t)to_bytes, "differing_bytes", (json_int_t)d->volume_bytes,
			"ranges", d->ranges));
	}
	if (ret == CLI_DONE && !found)
		return cli_fail(CLI_NOT_FOUND, "group %s has no volume %s at these points",
				d->to.named.name.group, d->only ? d->only : "");
	return ret;
}

/* -- the command -- */

static int side_open(const struct command *cmd, struct diff *d, struct side *s, const char *text)
{
	char why[POINT_TEXT_BYTES] = "";
	int ret = point_named_open(cmd, d->store, &d->keys, text, d->force, "nothing was compared", &s->named);

	if (ret != CLI_DONE)
		return ret;
	s->buf = malloc(CHUNK_BYTES);
	ret = s->buf ? view_open(s->named.list.tl, s->named.point->seq, &s->view, why) : -ENOMEM;
	if (ret)
		return cli_fail(CLI_FAILED, "group %s: %s; nothing was compared; try another point",
				s->named.name.group, *why ? why : strerror(-ret));
	ret = lease_keeper_start(d->store, s->named.name.group, s->named.list.tl, s->view,
				 s->named.point->seq, "diff", &s->lease, why);
	if (ret)
		return cli_fail(CLI_NOT_FOUND, "%s; nothing was compared; try another point", why);
	if (*why)
		fprintf(stderr, "blkship: %s\n", why);
	return CLI_DONE;
}

static void side_close(struct side *s)
{
	lease_keeper_stop(s->lease);
	if (s->view)
		view_close(s->view);
	free(s->buf);
	point_named_close(&s->named);
}

static uint64_t total_bytes(const struct diff *d)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(d->to.named.list.tl, &volumes);
	uint64_t total = 0;

	for (size_t i = 0; i < nr; i++)
		if (!d->only || strcmp(d->only, volumes[i].name) == 0)
			total += view_size(d->to.view, volumes[i].id);
	return total;
}

static json_t *side_json(const struct side *s)
{
	return json_pack("{s:o, s:o}", "seq", cli_json_seq(s->named.point->seq), "time",
			 cli_json_time(s->named.point->time_ns));
}

/* Also one that is a branch of the other, or both of a third: they have the same volumes. */
static bool same_group(const char *a, const char *b)
{
	size_t length = strcspn(a, "/");

	return length == strcspn(b, "/") && strncmp(a, b, length) == 0;
}

static int diff_run(struct diff *d)
{
	static const char *const headings[] = { "VOLUME", "OFFSET", "LENGTH", "" };
	int ret;

	if (!same_group(d->from.named.name.group, d->to.named.name.group))
		return cli_fail(CLI_USAGE, "groups %s and %s: two points of one group, or of branches of it, are compared",
				d->from.named.name.group, d->to.named.name.group);
	if (!d->json)
		d->table = table_create(headings, ARRAY_SIZE(headings));
	d->volumes = json_array();
	progress_begin(&d->progress, total_bytes(d));
	ret = compare_volumes(d);
	progress_end(&d->progress);
	/* The table is freed by being printed; what was found before a failure is true. */
	if (!d->json)
		table_print(d->table);
	if (ret != CLI_DONE || !d->json)
		return ret;
	return cli_print_json(json_pack("{s:s, s:o, s:o, s:I, s:O}", "group",
		d->to.named.name.group, "from", side_json(&d->from), "to", side_json(&d->to),
		"differing_bytes", (json_int_t)d->all_bytes, "volumes", d->volumes));
}

int cmd_diff(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "volume", required_argument, NULL, 'v' },
		{ "force", no_argument, NULL, 'f' },
		CLI_KEY_OPTIONS,
		CLI_COMMON_OPTIONS
	};
	struct diff d = { .store = CLI_STORE_DEFAULT };
	int c, ret;

	while ((c = cli_getopt(cmd, argc, argv, longs, &d.json)) != -1) {
		if (c == 's')
			d.store = optarg;
		else if (c == 'v')
			d.only = optarg;
		else if (!cli_key_option(c, optarg, &d.keys))
			d.force = true;
	}
	cli_check_args(cmd, argc, 2, 2);
	ret = side_open(cmd, &d, &d.from, argv[optind]);
	if (ret == CLI_DONE)
		ret = side_open(cmd, &d, &d.to, argv[optind + 1]);
	if (ret == CLI_DONE)
		ret = diff_run(&d);
	json_decref(d.volumes);
	side_close(&d.from);
	side_close(&d.to);
	return ret;
}
