// SPDX-License-Identifier: GPL-2.0-only
/*
 * check_lost - a whole file that is missing, or of which nothing can be read.
 *
 * What was in it the runs say: they have every version of the segments they cover. Where they
 * cannot say it, any point may need it.
 */
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "check_internal.h"
#include "run_read.h"
#include "timeline_internal.h"

#define RANGES 64	/* of points that need a file; more become one */

typedef int entry_fn(struct check_reader *r, const struct pack_extent *e);

static struct pack_extent extent_of(const struct run_entry *e)
{
	return (struct pack_extent){
		.offset_bytes = e->offset_bytes, .length_bytes = UINT64_C(1) << e->length_shift,
		.label_seq = e->label_seq, .readback_no = e->readback_no,
		.segment = e->segment, .unit_at = e->unit_at,
		.from_offset = (uint32_t)e->data_sector * SECTOR_BYTES,
		.extent_no = e->extent_no, .volume = e->volume, .kind = e->kind,
	};
}

static int run_each(struct check_reader *r, const struct manifest_run *named,
		    const struct check_file *f, entry_fn *fn)
{
	struct run_stream stream;
	struct pack_extent e;
	struct run_entry entry;
	struct run run;
	int ret = run_open(r->tl->env, r->tl->dir, r->tl->manifest.identity.timeline, named, &run);

	if (ret)
		return ret;
	ret = run_stream_begin(&stream, &run);
	while (!ret && !(ret = run_stream_next(&stream, &entry))) {
		e = extent_of(&entry);
		if (e.segment < f->first_segment || e.segment > f->last_segment ||
		    (e.segment == f->first_segment &&
		     (uint64_t)e.unit_at * PACK_UNIT_ALIGN < f->from_offset))
			continue;
		ret = fn(r, &e);
	}
	run_stream_end(&stream);
	run_close(&run);
	/* Its end is no news; that it is gone would be told by run_open(). */
	return ret == -ENOENT ? 0 : ret;
}

/* Whatever the file had: 0; -ENOENT the runs do not say all of it; -ENOMEM. */
static int file_each(struct check_reader *r, const struct check_file *f, entry_fn *fn)
{
	uint64_t segment = f->first_segment;
	int ret = 0;

	while (segment <= f->last_segment && !ret) {
		const struct manifest_run *named = timeline_run_of(r->tl, segment);

		if (!named)
			return -ENOENT;
		ret = run_each(r, named, f, fn);
		segment = named->last_segment + 1;
	}
	return ret && ret != -ENOMEM ? -ENOENT : ret;
}

int check_lose_file(struct check_reader *r, const struct check_file *f)
{
	const struct check_damage damage = { .segment = f->first_segment,
					     .last_segment = f->last_segment, .pack = f->pack,
					     .from_seq = f->from_seq };
	const size_t index = r->check->nr_damage;
	int ret = check_damage_add(r, &damage);

	if (!ret)
		ret = file_each(r, f, check_lose_extent);
	if (ret == -ENOENT) {
		r->check->damage[index].to_seq = CHECK_ANY_POINT;
		ret = 0;
	}
	return ret;
}

int check_lose_hole(struct check_reader *r, const struct timeline_hole *hole, uint64_t from_offset)
{
	const struct check_file f = { .first_segment = hole->first_segment,
				      .last_segment = hole->last_segment,
				      .from_offset = from_offset, .from_seq = hole->from_seq };
	const struct check_damage damage = { .segment = hole->first_segment,
					     .last_segment = hole->last_segment,
					     .from_seq = hole->from_seq, .to_seq = CHECK_ANY_POINT };

	/* Of gaps and holds the runs say nothing. */
	return hole->known ? check_lose_file(r, &f) : check_damage_add(r, &damage);
}

static int hide(struct check_reader *r, const struct pack_extent *e)
{
	check_replace(r, e);
	return 0;
}

int check_lost_replace(struct check_reader *r, const struct check_file *f)
{
	int ret = file_each(r, f, hide);

	/* Less is hidden than could be: points are marked that need not be. */
	return ret == -ENOENT ? 0 : ret;
}

static struct check_file pack_file(const struct manifest_pack *named)
{
	return (struct check_file){ .first_segment = named->first_segment,
				    .last_segment = named->last_segment,
				    .pack = named->number };
}

int check_lose_pack(struct check_reader *r, const struct manifest_pack *named)
{
	const struct check_file f = pack_file(named);

	return check_lose_file(r, &f);
}

int check_lost_pack_replace(struct check_reader *r, const struct manifest_pack *named)
{
	const struct check_file f = pack_file(named);

	return check_lost_replace(r, &f);
}

/* -- exactly the points that need it -- */

/* For each commit, by how many more sectors than for the one before are needed. */
static int *steps_of(const struct check_reader *r, size_t index)
{
	const struct points *p = &r->tl->points;
	int *steps = calloc(p->nr_commits + 1, sizeof(*steps));

	for (size_t i = 0; i < r->nr_lost && steps; i++) {
		const struct lost_sector *s = &r->lost[i];

		if (s->damage != index)
			continue;
		steps[array_search(p->commits, p->nr_commits, c, c->cut_seq < s->label_seq)]++;
		steps[array_search(p->commits, p->nr_commits, c, c->cut_seq < s->replaced_seq)]--;
	}
	return steps;
}

int check_lost_narrow(struct check_reader *r, size_t index)
{
	const struct points *p = &r->tl->points;
	struct check *check = r->check;
	const struct check_damage lost = check->damage[index];
	int *steps = steps_of(r, index), ret = 0;
	size_t nr_ranges = 0;
	int64_t needs = 0;

	if (!steps)
		return -ENOMEM;
	/* None needs it, until one is found. */
	check->damage[index].from_seq = p->nr_commits ? p->commits[0].cut_seq : 1;
	check->damage[index].to_seq = check->damage[index].from_seq;
	for (size_t i = 0; i < p->nr_commits && !ret; i++) {
		const bool before = needs;

		needs += steps[i];
		if (!before == !needs)
			continue;
		if (needs && nr_ranges && nr_ranges < RANGES) {
			ret = check_damage_add(r, &lost);
			index = ret ? index : check->nr_damage - 1;
		}
		if (needs && nr_ranges < RANGES)
			check->damage[index].from_seq = p->commits[i].cut_seq;
		nr_ranges += needs != 0;
		check->damage[index].to_seq = needs ? 0 : p->commits[i].cut_seq;
	}
	free(steps);
	return ret;
}
