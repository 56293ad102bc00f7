// SPDX-License-Identifier: GPL-2.0-only
/* pack_plan - how much of each file is dead, and what lives: passes over the whole index. */
#include "pack_plan.h"

#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "pack_read.h"
#include "run_merge.h"
#include "segment_scan.h"

#define PACE_ENTRIES 8192	/* between two calls of the pace */

/* ENTRY_LEASED: only at a cut that was dropped, and that somebody still reads. */
enum entry_life { ENTRY_DEAD, ENTRY_LEASED, ENTRY_LIVE };

typedef int entry_fn(void *arg, const struct run_entry *e, enum entry_life life);

/* What lives by the kept cuts lives by more cuts, too. */
static int entry_look(struct thin *thin, struct thin *leased, const struct run_entry *e,
		      enum entry_life *out)
{
	bool dead, unread = true;
	int ret = thin_take(thin, e, &dead);

	if (!ret && leased->cuts)
		ret = thin_take(leased, e, &unread);
	*out = !dead ? ENTRY_LIVE : !unread ? ENTRY_LEASED : ENTRY_DEAD;
	return ret;
}

static int pass_entries(const struct pack_index *index, struct run_merge *m, entry_fn *fn,
			void *arg)
{
	const struct run_pace *pace = index->pace;
	struct run_entry e;
	struct thin thin, leased;
	enum entry_life life;
	uint64_t nr = 0;
	int ret;

	thin_begin(&thin, index->cuts);
	thin_begin(&leased, index->leased);
	while ((ret = run_merge_next(m, &e)) == 0) {
		ret = entry_look(&thin, &leased, &e, &life);
		if (!ret)
			ret = fn(arg, &e, life);
		if (!ret && pace && ++nr % PACE_ENTRIES == 0)
			ret = pace->fn(pace->arg, PACE_ENTRIES * sizeof(e));
		if (ret)
			break;
	}
	thin_end(&leased);
	thin_end(&thin);
	return ret == -ENOENT ? 0 : ret;
}

static int pass(const struct pack_index *index, entry_fn *fn, void *arg, uint64_t *bad)
{
	struct run_merge m;
	int ret = run_merge_begin(&m, index->env, index->dir, index->timeline, index->runs,
				  index->nr_runs);

	if (!ret)
		ret = pass_entries(index, &m, fn, arg);
	else if (ret == -ENOENT)	/* nobody else removes runs: it is lost */
		ret = -EBADMSG;
	*bad = m.failed < index->nr_runs && (ret == -EBADMSG || ret == -EIO) ?
	       index->runs[m.failed].number : 0;
	run_merge_end(&m);
	return ret;
}

struct count {
	struct thin_file *files;
	size_t nr;
};

static int count_entry(void *arg, const struct run_entry *e, enum entry_life life)
{
	struct count *c = arg;
	struct thin_file *file = thin_file_find(c->files, c->nr, e->segment);

	if (file)
		thin_file_count(file, e, life == ENTRY_DEAD);
	return 0;
}

int pack_plan_count(const struct pack_index *index, struct thin_file *files, size_t nr,
		    uint64_t *bad)
{
	struct count c = { files, nr };

	return pass(index, count_entry, &c, bad);
}

struct collect {
	const struct pack_range *ranges;
	size_t nr_ranges;
	struct pack_live *live;
	size_t nr, max, limit;
};

static bool is_wanted(const struct collect *c, uint64_t segment)
{
	for (size_t i = 0; i < c->nr_ranges; i++)
		if (segment >= c->ranges[i].first && segment <= c->ranges[i].last)
			return true;
	return false;
}

static int collect_entry(void *arg, const struct run_entry *e, enum entry_life life)
{
	struct collect *c = arg;

	if (life == ENTRY_DEAD || !is_wanted(c, e->segment))
		return 0;
	if (c->nr == c->limit)
		return -E2BIG;
	if (!array_reserve(&c->live, &c->max, c->nr + 1))
		return -ENOMEM;
	c->live[c->nr++] = pack_live_of(e, life == ENTRY_LEASED);
	return 0;
}

int pack_plan_live(const struct pack_index *index, const struct pack_range *ranges,
		   size_t nr_ranges, size_t max, struct pack_live **live, size_t *nr,
		   uint64_t *bad)
{
	struct collect c = { .ranges = ranges, .nr_ranges = nr_ranges, .limit = max };
	int ret = pass(index, collect_entry, &c, bad);

	if (ret) {
		free(c.live);
		return ret;
	}
	pack_live_sort(c.live, c.nr);
	*live = c.live;
	*nr = c.nr;
	return 0;
}

struct commits {
	const struct thin_cuts *cuts;
	uint64_t bytes;
};

static int commit_count(void *arg, const struct commit_view *commit)
{
	struct commits *c = arg;

	if (pack_commit_stays(c->cuts, &commit->header))
		c->bytes += commit->header.record_bytes;
	return 0;
}

static int batch_count(void *arg, const struct commit_view *commit,
		       const struct footer_extent *extents, size_t nr_extents)
{
	return commit_count(arg, commit);
}

static int segment_commits(const struct pack_index *index, const struct pack_source *source,
			   struct commits *c)
{
	struct segment_scan scan;
	uint64_t first_ordinal;
	int ret = segment_first_ordinal(index->env, index->dir, index->timeline, source->segment,
					&first_ordinal);

	if (ret)
		return ret;
	segment_scan_init(&scan, index->env, index->dir, index->timeline, source->segment,
			  first_ordinal);
	scan.end_limit = source->end_limit;
	scan.pace = index->pace;
	scan.commit = batch_count;
	scan.arg = c;
	ret = segment_scan(&scan);
	segment_index_fini(&scan.index);
	return ret;
}

static int pack_commits(const struct pack_index *index, const struct pack_source *source,
			struct commits *c)
{
	struct pack_tables tables = { 0 };
	struct pack pack;
	int ret = pack_open(index->env, index->dir, index->timeline, &source->pack, &pack);

	if (!ret)
		ret = pack_tables_load(&pack, &tables);
	if (!ret)
		ret = pack_tables_commits(&tables, &pack.header, commit_count, c);
	if (!ret && index->pace)
		ret = index->pace->fn(index->pace->arg, tables.nr_bytes);
	free(tables.bytes);
	pack_close(&pack);
	return ret;
}

int pack_plan_commits(const struct pack_index *index, const struct pack_source *source,
		      uint64_t *bytes)
{
	struct commits c = { .cuts = index->cuts };
	int ret = source->pack.number ? pack_commits(index, source, &c) :
					segment_commits(index, source, &c);

	if (!ret)
		*bytes = c.bytes;
	return ret;
}
