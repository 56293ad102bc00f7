// SPDX-License-Identifier: GPL-2.0-only
/* thin - which versions no kept point shows, and which files to write anew for it. */
#include "thin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/segment_format.h"
#include "array.h"

#define PIECE_BYTES 256	/* in a pack, beside its data, at most */

/* -- intervals -- */

/* The lowest kept cut at or above a label; nr: none of @cuts is. */
static size_t cut_at(const struct thin_cuts *cuts, uint64_t label_seq)
{
	return array_search(cuts->cuts, cuts->nr, cut, *cut < label_seq);
}

uint64_t thin_interval(const struct thin_cuts *cuts, uint64_t label_seq)
{
	size_t at;

	/* Each cut from settled_cut on may be one, and with it each label an interval. */
	if (label_seq >= cuts->settled_cut)
		return label_seq;
	at = cut_at(cuts, label_seq);
	if (at < cuts->nr && cuts->cuts[at] < cuts->settled_cut)
		return cuts->cuts[at];
	return cuts->settled_cut;
}

bool thin_cut_is_kept(const struct thin_cuts *cuts, uint64_t cut_seq)
{
	size_t at = cut_at(cuts, cut_seq);

	return cut_seq >= cuts->settled_cut || (at < cuts->nr && cuts->cuts[at] == cut_seq);
}

int thin_cuts_add(const struct thin_cuts *cuts, const uint64_t *more, size_t nr_more,
		  uint64_t **out, size_t *nr)
{
	uint64_t *all = malloc((cuts->nr + nr_more + 1) * sizeof(*all));

	if (!all)
		return -ENOMEM;
	if (cuts->nr)
		memcpy(all, cuts->cuts, cuts->nr * sizeof(*all));
	*nr = cuts->nr;
	for (size_t i = 0; i < nr_more; i++)
		if (!thin_cut_is_kept(cuts, more[i]))
			all[(*nr)++] = more[i];
	array_sort_u64(all, *nr);
	*out = all;
	return 0;
}

/* -- from entries to what is dead -- */

void thin_begin(struct thin *t, const struct thin_cuts *cuts)
{
	memset(t, 0, sizeof(*t));
	t->cuts = cuts;
}

void thin_end(struct thin *t)
{
	free(t->versions);
	memset(t, 0, sizeof(*t));
}

/* >0: @a is newer. The order of versions: docs/SEGMENT.md, Views. */
static int version_compare(const struct run_entry *a, const struct run_entry *b)
{
	struct run_entry x = *a;

	x.volume = b->volume;
	x.offset_bytes = b->offset_bytes;
	x.length_shift = b->length_shift;
	/* Entries of one place are in falling order of their versions. */
	return -run_entry_compare(&x, b);
}

static bool place_holds(const struct thin_place *p, const struct run_entry *e)
{
	return p->volume == e->volume && p->length_shift >= e->length_shift &&
	       e->offset_bytes >> p->length_shift << p->length_shift == p->offset_bytes;
}

/* Of a place: its newest version in an interval, or NULL. */
static const struct thin_version *place_newest(const struct thin *t, size_t place,
					       uint64_t interval)
{
	size_t end = place + 1 < t->nr_places ? t->places[place + 1].first : t->nr_versions;
	const struct thin_version *all = &t->versions[t->places[place].first];
	size_t nr = end - t->places[place].first;
	size_t at = array_search(all, nr, v, v->interval > interval);

	return at < nr && all[at].interval == interval ? &all[at] : NULL;
}

/*
 * Only what is live is remembered: what makes a dead version dead lies in its interval, too,
 * is newer, and holds all that it holds.
 */
int thin_take(struct thin *t, const struct run_entry *e, bool *dead)
{
	const uint64_t interval = thin_interval(t->cuts, e->label_seq);

	while (t->nr_places && !place_holds(&t->places[t->nr_places - 1], e))
		t->nr_versions = t->places[--t->nr_places].first;
	*dead = false;
	for (size_t i = 0; i < t->nr_places && !*dead; i++) {
		const struct thin_version *v = place_newest(t, i, interval);

		*dead = v && version_compare(&v->entry, e) > 0;
	}
	if (*dead)
		return 0;
	if (!array_reserve(&t->versions, &t->max_versions, t->nr_versions + 1))
		return -ENOMEM;
	if (t->nr_places == 0 || t->places[t->nr_places - 1].length_shift != e->length_shift)
		t->places[t->nr_places++] = (struct thin_place){
			e->offset_bytes, e->volume, e->length_shift, t->nr_versions };
	t->versions[t->nr_versions++] = (struct thin_version){ interval, *e };
	return 0;
}

/* -- which files -- */

struct thin_file *thin_file_find(struct thin_file *files, size_t nr, uint64_t segment)
{
	size_t at = array_search(files, nr, f, f->last_segment < segment);

	return at < nr && files[at].first_segment <= segment ? &files[at] : NULL;
}

/*
 * A piece is widened to blocks; it takes an entry of the directory, and at worst a unit of its own
 * with a CRC for each block.
 */
static uint64_t piece_need(const struct run_entry *e, uint64_t bytes)
{
	if (e->kind != EXTENT_DATA)
		return PIECE_BYTES;
	if (bytes < BLOCK_BYTES)
		bytes = BLOCK_BYTES;
	return bytes + bytes / 256 + PIECE_BYTES;
}

void thin_file_count(struct thin_file *file, const struct run_entry *e, bool dead)
{
	uint64_t bytes = UINT64_C(1) << e->length_shift;

	if (dead) {
		file->nr_dead++;
	} else {
		file->nr_live++;
		file->need_bytes += piece_need(e, bytes);
	}
	if (e->kind != EXTENT_DATA)
		return;
	if (!file->is_pack)
		file->data_bytes += bytes;
	if (!dead)
		file->live_bytes += bytes;
}

bool thin_file_is_worth_it(const struct thin_file *f)
{
	return f->live_bytes < f->data_bytes &&
	       (f->data_bytes - f->live_bytes) * 100 >= f->data_bytes * THIN_DEAD_PERCENT;
}

static bool file_is_small(const struct thin_file *f)
{
	return f->data_bytes <= THIN_PACK_BYTES / THIN_SMALL_FILES &&
	       f->file_bytes <= THIN_PACK_BYTES / THIN_SMALL_FILES;
}

/* Whether @f goes to those that @sum counts. */
static bool file_fits(const struct thin_file *f, const struct thin_file *sum, size_t nr,
		      const struct thin_limits *limits)
{
	return !f->aside && (thin_file_is_worth_it(f) || file_is_small(f)) &&
	       nr < limits->nr_files && sum->nr_live + f->nr_live <= limits->nr_live &&
	       sum->need_bytes + f->need_bytes <= limits->need_bytes &&
	       (nr == 0 || sum->live_bytes + f->live_bytes + sum->commit_bytes +
			   f->commit_bytes <= THIN_PACK_BYTES);
}

size_t thin_choose(const struct thin_file *files, size_t nr, const struct thin_limits *limits,
		   size_t *from, size_t *first)
{
	while (*from < nr) {
		size_t i = *from, nr_worth = 0, nr_small = 0;
		struct thin_file sum = { .need_bytes = limits->pack_bytes };

		*first = i;
		for (; i < nr; i++) {
			const struct thin_file *f = &files[i];

			if (i > *first && f->first_segment != f[-1].last_segment + 1)
				break;
			if (!file_fits(f, &sum, i - *first, limits))
				break;
			nr_worth += thin_file_is_worth_it(f);
			nr_small += file_is_small(f);
			sum.live_bytes += f->live_bytes;
			sum.commit_bytes += f->commit_bytes;
			sum.need_bytes += f->need_bytes;
			sum.nr_live += f->nr_live;
		}
		*from = i > *first ? i : i + 1;
		if (nr_worth || nr_small >= THIN_SMALL_FILES)
			return i - *first;
	}
	return 0;
}
