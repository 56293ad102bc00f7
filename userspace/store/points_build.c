// SPDX-License-Identifier: GPL-2.0-only
/* points_build - the next points file, from the one before and the segments since. */
#include "points_build.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "segment_scan.h"
#include "segment_write.h"

#define PATH_BYTES 4096

static int before_read(struct points_build *b)
{
	struct points_file file;
	int ret;

	if (!b->before.number)
		return 0;
	ret = points_file_read(b->env, b->dir, b->timeline, &b->before, &file, NULL);
	b->before_bad = ret == -ENOENT || ret == -EBADMSG || ret == -EIO;
	if (!ret)
		b->points = file.points;
	return ret;
}

static int take_commit(void *arg, const struct commit_view *commit,
		       const struct footer_extent *extents, size_t nr_extents)
{
	struct points_build *b = arg;

	if (commit->header.cut_seq < b->points.last_cut_seq)
		return -EBADMSG;
	for (size_t i = 0; i < nr_extents; i++)
		if (extents[i].extent.volume >= b->nr_volumes)
			return -EBADMSG;
	for (uint32_t i = 0; i < commit->header.nr_volumes; i++)
		if (le16toh(commit->volumes[i].volume) >= b->nr_volumes)
			return -EBADMSG;
	return points_add(&b->points, commit, extents, nr_extents);
}

static int take_segment(struct points_build *b, uint64_t number)
{
	char path[PATH_BYTES];
	struct segment_scan scan = {
		.env = b->env, .path = path, .timeline = b->timeline, .number = number,
		.first_ordinal = b->points.last_ordinal + 1, .trust_footer = true,
		.commit = take_commit, .arg = b,
	};
	int ret;

	for (size_t i = 0; i < b->nr_ends; i++)
		if (b->ends[i].number == number)
			scan.end_limit = b->ends[i].end_offset;
	segment_path(path, sizeof(path), b->dir, number);
	ret = segment_scan_finished(&scan, b->dir);
	/* As much as was read, about: commits lie between the data. */
	if (!ret && b->pace)
		ret = b->pace->fn(b->pace->arg, segment_footer_bytes(&scan.index));
	segment_index_fini(&scan.index);
	return ret;
}

/* The clock never goes back, nor is anything from after it: docs/STORE.md, "Age". */
static void points_settle(struct points *p, uint64_t from_ordinal, uint64_t now_ns)
{
	if (now_ns > p->aged_ns)
		p->aged_ns = now_ns;
	for (size_t i = p->nr_commits; i-- > 0 && p->commits[i].ordinal >= from_ordinal;)
		if (p->commits[i].since_ns > p->aged_ns)
			p->commits[i].since_ns = p->aged_ns;
	if (p->last_since_ns > p->aged_ns)
		p->last_since_ns = p->aged_ns;
}

int points_build_run(struct points_build *b)
{
	struct points_file file = { .number = b->number, .last_segment = b->last_segment };
	uint64_t from_ordinal;
	int ret = before_read(b);

	from_ordinal = b->points.last_ordinal + 1;
	for (uint64_t n = b->before.last_segment + 1; n <= b->last_segment && !ret; n++)
		ret = take_segment(b, n);
	if (ret)
		return ret;
	points_settle(&b->points, from_ordinal, b->now_ns);
	memcpy(file.timeline, b->timeline, sizeof(file.timeline));
	file.points = b->points;
	return points_file_write(b->env, b->dir, &file, b->pace, &b->named);
}
