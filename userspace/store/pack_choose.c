// SPDX-License-Identifier: GPL-2.0-only
/* pack_choose - which files, side by side, become one pack each: docs/PACK.md, "Room". */
#include "pack_choose.h"

#include <errno.h>
#include <stdlib.h>

#include "index_merge.h"
#include "pack_aside.h"
#include "pack_kept.h"

#define MAX_FILES	256		/* in one pack */
#define SOURCE_BYTES	(16u << 10)	/* of a pack, for each source: header, padding, a segment */

struct pack_range pack_choice_range(const struct index_pack *job, const struct pack_choice *c)
{
	const struct pack_source *first = &job->sources[c->first], *last = first + c->nr - 1;

	return (struct pack_range){ first->segment,
				    last->pack.number ? last->pack.last_segment : last->segment };
}

static void files_fill(const struct index_pack *job, struct thin_file *files)
{
	for (size_t i = 0; i < job->nr_sources; i++) {
		const struct pack_choice one = { i, 1, 0 };
		const struct pack_range range = pack_choice_range(job, &one);
		const struct pack_source *s = &job->sources[i];

		files[i] = (struct thin_file){
			.first_segment = range.first, .last_segment = range.last,
			.is_pack = s->pack.number, .aside = s->error,
			.data_bytes = s->pack.live_bytes, .file_bytes = s->pack.file_bytes,
			.need_bytes = SOURCE_BYTES + (range.last - range.first) * sizeof(uint64_t) };
	}
}

/* A single file of more pieces than there is memory for stays as it is. */
static void set_large_aside(struct index_pack *job, struct thin_file *files)
{
	for (size_t i = 0; i < job->nr_sources; i++) {
		if (files[i].aside || files[i].nr_live <= PACK_MAX_LIVE)
			continue;
		job->sources[i].error = -E2BIG;
		job->sources[i].failed = true;
		files[i].aside = true;
	}
}

/* Of what is worth it and was not chosen: there is no room for it, or it comes the next time. */
static void see_rest(struct index_pack *job, const struct thin_file *files, uint64_t room,
		     uint64_t kept_bytes)
{
	for (size_t i = 0; i < job->nr_sources; i++) {
		const struct thin_file *f = &files[i];
		const uint64_t need_bytes = f->need_bytes + kept_bytes;

		if (f->aside || !thin_file_is_worth_it(f))
			continue;
		if (need_bytes <= room)
			job->more = true;
		else if (!job->need_bytes || need_bytes < job->need_bytes)
			job->need_bytes = need_bytes;
	}
}

/*
 * What the commit records take of those that were not looked at so far, as only what may become a
 * pack is read for that. One that cannot be read is met again when it is packed.
 * @counted: out, there were some
 */
static int commits_count(struct index_pack *job, const struct pack_index *index,
			 const struct pack_choice *c, struct thin_file *files, bool *counted)
{
	*counted = false;
	for (size_t i = c->first; i < c->first + c->nr; i++) {
		struct pack_source *s = &job->sources[i];
		int ret;

		if (s->counted)
			continue;
		ret = pack_plan_commits(index, s, &files[i].commit_bytes);
		if (ret && !pack_aside_is_due(ret))
			return ret;
		*counted = s->counted = true;
		files[i].need_bytes += files[i].commit_bytes;
	}
	return 0;
}

/* The next that become one pack, and fit with all that is known then. */
static int choose_one(struct index_pack *job, const struct pack_index *index,
		      struct thin_file *files, const struct thin_limits *limits, size_t *from,
		      struct pack_choice *c)
{
	const size_t begin = *from;
	bool counted;
	int ret;

	do {
		*from = begin;
		c->nr = thin_choose(files, job->nr_sources, limits, from, &c->first);
		ret = commits_count(job, index, c, files, &counted);
	} while (!ret && counted);
	return ret;
}

/* @kept_bytes: of the kept cuts, which each pack has */
static int choose(struct index_pack *job, const struct pack_index *index, struct thin_file *files,
		  uint64_t room, uint64_t kept_bytes, struct pack_choice *choices, size_t *nr)
{
	struct thin_limits limits = { MAX_FILES, PACK_MAX_LIVE, room, kept_bytes };
	size_t from = 0;

	set_large_aside(job, files);
	for (*nr = 0; *nr < PACK_CHOICES; ++*nr) {
		struct pack_choice *c = &choices[*nr];
		int ret = choose_one(job, index, files, &limits, &from, c);

		if (ret)
			return ret;
		if (!c->nr)
			break;
		c->need_bytes = kept_bytes;
		for (size_t i = c->first; i < c->first + c->nr; i++) {
			c->need_bytes += files[i].need_bytes;
			limits.nr_live -= files[i].nr_live;
			files[i].aside = true;
		}
		limits.need_bytes -= c->need_bytes;
	}
	see_rest(job, files, room, kept_bytes);
	return 0;
}

static int kept_bytes_of(const struct thin_cuts *cuts, uint64_t *out)
{
	struct pack_kept kept;
	int ret = pack_kept_encode(cuts, &kept);

	if (ret)
		return ret;
	*out = kept.nr_bytes;
	free(kept.bytes);
	return 0;
}

/* Runs have entries of them all; those of what is packed, and will be, need not stay. */
static uint64_t sum_gone(const struct index_pack *job, const struct thin_file *files,
			 const struct pack_choice *choices, size_t nr)
{
	uint64_t nr_gone = 0;

	for (size_t i = 0; i < job->nr_sources; i++)
		if (files[i].is_pack)
			nr_gone += files[i].nr_dead;
	for (size_t n = 0; n < nr; n++)
		for (size_t i = choices[n].first; i < choices[n].first + choices[n].nr; i++)
			if (!files[i].is_pack)
				nr_gone += files[i].nr_dead;
	return nr_gone;
}

static size_t nr_beside(const struct manifest_run *runs, size_t nr)
{
	size_t i = 1;

	while (i < nr && runs[i - 1].last_segment + 1 == runs[i].first_segment)
		i++;
	return i;
}

/* Of all files, by these runs only. */
static int count_dead(struct index_pack *job, const struct pack_index *row, struct thin_file *files)
{
	for (size_t i = 0; i < job->nr_sources; i++)
		files[i].nr_dead = 0;
	return pack_plan_count(row, files, job->nr_sources, &job->bad_run);
}

/*
 * Only runs side by side are merged: with a gap between them, as a segment was lost, it counts what
 * is hidden by their own entries.
 */
static int count_gone(struct index_pack *job, const struct pack_index *index,
		      struct thin_file *files, const struct pack_choice *choices, size_t nr)
{
	struct pack_index row = *index;
	int ret = 0;

	for (size_t i = 0; i < index->nr_runs && !ret; i += row.nr_runs) {
		uint64_t nr_gone;

		row.runs = &index->runs[i];
		row.nr_runs = nr_beside(row.runs, index->nr_runs - i);
		if (row.nr_runs < index->nr_runs)
			ret = count_dead(job, &row, files);
		nr_gone = sum_gone(job, files, choices, nr);
		if (nr_gone > job->nr_gone && index_merge_pays(row.runs, row.nr_runs, nr_gone)) {
			job->gone_segment = row.runs->first_segment;
			job->nr_gone = nr_gone;
		}
	}
	return ret;
}

int pack_choose(struct index_pack *job, const struct pack_index *index, uint64_t room,
		struct pack_choice *choices, size_t *nr)
{
	struct thin_file *files = calloc(job->nr_sources + 1, sizeof(*files));
	uint64_t kept_bytes;
	int ret = files ? kept_bytes_of(index->cuts, &kept_bytes) : -ENOMEM;

	if (!ret) {
		files_fill(job, files);
		ret = pack_plan_count(index, files, job->nr_sources, &job->bad_run);
	}
	if (!ret)
		ret = choose(job, index, files, room, kept_bytes, choices, nr);
	if (!ret)
		ret = count_gone(job, index, files, choices, *nr);
	free(files);
	return ret;
}
