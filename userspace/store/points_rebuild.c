// SPDX-License-Identifier: GPL-2.0-only
/*
 * points_rebuild - a points file in the place of one that is lost: docs/STORE.md, "A points
 * file that is lost".
 *
 * Fed by the packs and segments that the lost one answered for; timeline_recover.c then reads
 * what was made, as if it had been there all the time.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "points_build.h"
#include "timeline_internal.h"

__attribute__((format(printf, 2, 3)))
static int refuse(struct timeline *tl, const char *format, ...)
{
	va_list args;
	int used = snprintf(tl->damage, sizeof(tl->damage), "%.100s/%016llx.points: lost, and not made again: ",
			    tl->dir, (unsigned long long)tl->manifest.points.number);

	va_start(args, format);
	vsnprintf(tl->damage + used, sizeof(tl->damage) - used, format, args);
	va_end(args);
	tl->damaged = true;
	return -EUCLEAN;
}

/* All that the lost one listed was kept by all packs: with less the manifest is not right. */
static int built_check(struct timeline *tl, const struct points_build *b)
{
	const struct manifest_points *lost = &tl->manifest.points;

	if (b->points.last_ordinal != lost->last_ordinal)
		return refuse(tl, "commits end with %llu; should with %llu",
			      (unsigned long long)b->points.last_ordinal,
			      (unsigned long long)lost->last_ordinal);
	if (b->points.nr_commits < lost->nr_commits)
		return refuse(tl, "of %llu commits %zu were found",
			      (unsigned long long)lost->nr_commits, b->points.nr_commits);
	return 0;
}

int timeline_points_rebuild(struct timeline *tl, uint64_t now_ns)
{
	struct manifest *m = &tl->manifest;
	struct points_build b = {
		.env = tl->env, .dir = tl->dir, .number = manifest_next_points(m),
		.last_segment = m->points.last_segment, .ends = m->ends, .nr_ends = m->nr_ends,
		.packs = m->packs, .nr_packs = m->nr_packs, .nr_volumes = m->nr_volumes,
		/* How old each is is not known either: all are new, so none goes early. */
		.created_ns = now_ns, .now_ns = now_ns,
	};
	int ret;

	memcpy(b.timeline, m->identity.timeline, sizeof(b.timeline));
	ret = points_build_run(&b);
	if (!ret)
		ret = built_check(tl, &b);
	else if (ret == -EBADMSG || ret == -ENOENT)
		ret = refuse(tl, "segment %016llx, or the pack in its place, is missing or damaged; put it back from a copy",
			     (unsigned long long)b.at_segment);
	if (!ret) {
		tl->nr_back = b.points.nr_commits - m->points.nr_commits;
		ret = manifest_add_points(m, &b.named);
	}
	tl->rebuilt = !ret;
	points_fini(&b.points);
	return ret;
}
