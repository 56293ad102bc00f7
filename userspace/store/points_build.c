// SPDX-License-Identifier: GPL-2.0-only
/* points_build - the next points file, from the one before and the segments since. */
#include "points_build.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "branches.h"
#include "points_packed.h"
#include "segment_scan.h"
#include "segment_write.h"

/* @nr_bad: out, how many of its copies do not check */
static int before_read(struct points_build *b, unsigned int *nr_bad)
{
	struct points_file file;
	int ret;

	*nr_bad = 0;
	if (!b->before.number)
		return 0;
	ret = points_file_read(b->env, b->dir, b->timeline, &b->before, &file, nr_bad);
	b->before_bad = ret == -ENOENT || ret == -EBADMSG || ret == -EIO;
	if (!ret)
		b->points = file.points;
	if (!ret && b->pace)
		ret = b->pace->fn(b->pace->arg, b->before.file_bytes / 2);	/* one copy */
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
	struct segment_scan scan;
	int ret;

	b->at_segment = number;
	segment_scan_init(&scan, b->env, b->dir, b->timeline, number, b->points.last_ordinal + 1);
	scan.pace = b->pace;
	scan.commit = take_commit;
	scan.arg = b;
	for (size_t i = 0; i < b->nr_ends; i++)
		if (b->ends[i].number == number)
			scan.end_limit = b->ends[i].end_offset;
	for (size_t i = 0; i < b->nr_packs; i++)
		if (b->packs[i].first_segment == number + 1)
			scan.next = &b->packs[i];
	ret = segment_scan_finished(&scan);
	segment_index_fini(&scan.index);
	return ret;
}

static struct points_packed packed_of(const struct points_build *b)
{
	return (struct points_packed){ b->env, b->dir, b->timeline, b->nr_volumes, b->pace };
}

/* *@number: of the segment; out, the last one that was taken */
static int take_next(struct points_build *b, uint64_t *number)
{
	const struct points_packed from = packed_of(b);

	for (size_t i = 0; i < b->nr_packs; i++) {
		if (b->packs[i].first_segment != *number)
			continue;
		b->at_segment = *number;
		*number = b->packs[i].last_segment;
		return points_packed_add(&from, &b->packs[i], &b->points);
	}
	return take_segment(b, *number);
}

static int take_all(struct points_build *b)
{
	const struct points_packed from = packed_of(b);
	int ret = 0;

	for (uint64_t n = b->before.last_segment + 1; n <= b->last_segment && !ret; n++)
		ret = take_next(b, &n);
	if (!ret && b->nr_packs)
		ret = points_packed_keep(&from, b->packs, b->nr_packs, &b->points);
	return ret;
}

/* docs/STORE.md, "Age". @before_ns: of the commit before */
static uint64_t since_of(const struct points_build *b, uint64_t target_ns, uint64_t before_ns)
{
	uint64_t moved_ns = target_ns + (b->now_ns - b->real_ns);

	if (moved_ns >= before_ns && moved_ns <= b->now_ns)
		return moved_ns;
	if (target_ns >= before_ns && target_ns <= b->now_ns)
		return target_ns;
	return target_ns < before_ns ? before_ns : b->now_ns;
}

static void points_settle(struct points_build *b, uint64_t from_ordinal, uint64_t before_ns)
{
	struct points *p = &b->points;
	size_t i = p->nr_commits;

	while (i > 0 && p->commits[i - 1].ordinal >= from_ordinal)
		i--;
	for (; i < p->nr_commits; i++) {
		struct timeline_commit *c = &p->commits[i];

		c->since_ns = before_ns = since_of(b, c->target_time_ns, before_ns);
	}
	p->last_since_ns = before_ns;
	p->aged_ns = b->now_ns;
}

/*
 * Where branches begin is pinned by their being there: docs/BRANCH.md. If that is not known
 * nothing is left out, but the file is made.
 */
static int retain(struct points_build *b)
{
	struct points_retain r = b->retain;
	uint64_t *pinned, *cuts = NULL;
	size_t nr = 0;
	int ret = branches_cuts(b->env, b->dir, &cuts, &nr);

	if (ret && ret != -ENOMEM) {
		b->branches_error = ret;
		return 0;
	}
	if (ret)
		return ret;
	pinned = malloc((r.nr_pinned + nr + 1) * sizeof(*pinned));
	ret = pinned ? 0 : -ENOMEM;
	if (!ret && r.nr_pinned)
		memcpy(pinned, r.pinned, r.nr_pinned * sizeof(*pinned));
	if (!ret && nr)
		memcpy(pinned + r.nr_pinned, cuts, nr * sizeof(*pinned));
	r.nr_pinned += nr;
	r.pinned = pinned;
	if (!ret) {
		array_sort_u64(pinned, r.nr_pinned);
		ret = points_retain(&b->points, &r, &b->nr_left_out);
	}
	free(pinned);
	free(cuts);
	return ret;
}

int points_build_run(struct points_build *b)
{
	struct points_file file = { .number = b->number, .last_segment = b->last_segment };
	uint64_t from_ordinal, before_ns;
	unsigned int nr_bad;
	int ret = before_read(b, &nr_bad);

	from_ordinal = b->points.last_ordinal + 1;
	before_ns = from_ordinal > 1 ? b->points.last_since_ns : b->created_ns;
	/* As it was told, that clock does not go back; here a file may say anything. */
	if (b->now_ns < b->points.aged_ns)
		b->now_ns = b->points.aged_ns;
	if (b->now_ns < before_ns)
		b->now_ns = before_ns;
	if (!ret)
		ret = take_all(b);
	if (ret)
		return ret;
	points_settle(b, from_ordinal, before_ns);
	if (b->retain.retention.policy.nr_tiers)
		ret = retain(b);
	/* With one copy left it is made anew, so that there are two. */
	b->same = b->last_segment == b->before.last_segment && !b->nr_left_out && !nr_bad;
	if (ret || b->same)
		return ret;
	memcpy(file.timeline, b->timeline, sizeof(file.timeline));
	file.points = b->points;
	return points_file_write(b->env, b->dir, &file, b->pace, &b->named);
}
