// SPDX-License-Identifier: GPL-2.0-only
/* check - what must hold of a store, whatever happened to it. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/array.h"
#include "../../userspace/store/check.h"
#include "../../userspace/store/pack_read.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/run_read.h"
#include "../../userspace/store/timeline_internal.h"

static void check_file_nonces(struct store_sim *s, const char *path)
{
	uint64_t bytes;
	const uint8_t *content = sim_env_content(s->sim, path, &bytes);
	const char *wrong = content ? nonces_watch(s->nonces, content, bytes) : NULL;

	if (wrong)
		violation(s, "%s: %s", path, wrong);
}

/* As whoever has the disk: segments that are written to, or were a moment ago, and packs. */
void check_nonces(struct store_sim *s)
{
	uint64_t last = s->tl->writer.number, first = last > 2 ? last - 2 : 1;
	const struct manifest *m = &s->tl->manifest;
	char path[64];

	for (uint64_t n = first; s->nr_keys && n <= last; n++) {
		segment_path(path, sizeof(path), DIR, n);
		check_file_nonces(s, path);
	}
	for (size_t i = 0; s->nr_keys && i < m->nr_packs; i++) {
		pack_path(path, sizeof(path), DIR, m->packs[i].number, 0);
		check_file_nonces(s, path);
	}
}

static bool exists(const struct timeline *tl, uint64_t ordinal)
{
	const struct points *p = &tl->points;

	for (size_t i = 0; i < p->nr_commits; i++)
		if (p->commits[i].ordinal == ordinal)
			return true;
	return false;
}

/* What is remembered grows with what is durable. */
void check_dropped(struct store_sim *s)
{
	uint64_t settled = s->tl->settled.last_ordinal;

	if (!array_reserve(&s->dropped, &s->max_dropped, settled + 1))
		abort();
	for (uint64_t n = 1; n <= settled; n++) {
		bool dropped = !exists(s->tl, n);

		if (n <= s->gone && s->dropped[n] && !dropped)
			violation(s, "commit %d was dropped and is there again", (int)n);
		s->counts.dropped += dropped && (n > s->gone || !s->dropped[n]);
		s->dropped[n] = dropped;
	}
	if (settled > s->gone)
		s->gone = settled;
	if (s->pin && points_find(&s->tl->points, s->h.batches[s->pinned].cut) ==
		      s->tl->points.nr_commits)
		violation(s, "commit %d is pinned and was dropped", (int)s->pinned + 1);
	if (settled && !exists(s->tl, settled))
		violation(s, "the last commit of the points file was dropped");
	if (!s->retention && s->tl->points.nr_commits != s->tl->points.last_ordinal)
		violation(s, "commits are missing, and nothing asked for that");
}

void check_point(struct store_sim *s, struct timeline *tl, size_t index)
{
	if (points_find(&tl->points, s->h.batches[index].cut) == tl->points.nr_commits) {
		/* Another commit may have the cut: but a cut goes with all of them, or none. */
		if (exists(tl, index + 1) || index + 1 > tl->settled.last_ordinal)
			violation(s, "commit %zu is not there", index + 1);
		return;
	}
	s->counts.points++;
	if (!history_point(&s->h, tl, index) && !sim_env_is_off(s->sim))
		violation(s, "%s", s->h.why);
}

void check_some(struct store_sim *s, struct timeline *tl, unsigned int nr)
{
	for (unsigned int i = 0; i < nr && s->h.nr_batches; i++)
		check_point(s, tl, below(s, s->h.nr_batches));
}

static void check_one_run(struct store_sim *s, const struct manifest_run *mr)
{
	struct run_stream stream;
	struct run_entry e;
	struct run run;
	int ret = run_open(s->env, DIR, s->tl->manifest.identity.timeline, mr, &run);

	if (!ret && !run_stream_begin(&stream, &run)) {
		while ((ret = run_stream_next(&stream, &e)) == 0)
			;
		run_stream_end(&stream);
	}
	run_close(&run);
	if (ret != -ENOENT)
		violation(s, "run %llu is named and does not check: %d",
			  (unsigned long long)mr->number, ret);
}

/* Every extent of its directory. Its units: whoever looks at points reads them. */
static void check_pack(struct store_sim *s, const struct manifest_pack *named)
{
	struct pack_stream stream;
	struct pack_extent e;
	struct pack pack;
	int ret = pack_open(s->env, DIR, s->tl->manifest.identity.timeline, named, &pack);

	if (!ret && !pack_stream_begin(&stream, &pack)) {
		while ((ret = pack_stream_next(&stream, &e)) == 0)
			;
		pack_stream_end(&stream);
	}
	pack_close(&pack);
	if (ret != -ENOENT)
		violation(s, "pack %llu is named and does not check: %d",
			  (unsigned long long)named->number, ret);
}

static void check_points_file(struct store_sim *s)
{
	const struct manifest *m = &s->tl->manifest;
	struct points_file file;
	unsigned int nr_bad;
	int ret = points_file_read(s->env, DIR, m->identity.timeline, &m->points, &file, &nr_bad);

	if (!ret)
		points_fini(&file.points);
	if (ret || nr_bad)
		violation(s, "points file %llu is named and does not check: %d",
			  (unsigned long long)m->points.number, ret);
}

static void count_files(void *arg, const char *name)
{
	*(size_t *)arg += strstr(name, ".run") || strstr(name, ".points") || strstr(name, ".pack");
}

size_t nr_index_files(struct store_sim *s)
{
	size_t nr = 0;

	s->env->ops->list(s->env, DIR, count_files, &nr);
	return nr;
}

size_t nr_named_files(const struct store_sim *s)
{
	const struct manifest *m = &s->tl->manifest;

	return m->nr_runs + m->nr_packs + (m->points.number != 0);
}

/* What the manifest names, and nothing else, is there; they follow one another. */
void check_index(struct store_sim *s, bool whole)
{
	const struct manifest *m = &s->tl->manifest;

	for (size_t i = 1; i < m->nr_runs; i++)
		if (m->runs[i].first_segment <= m->runs[i - 1].last_segment)
			violation(s, "runs overlap");
	if (!whole)
		return;
	if (nr_index_files(s) != nr_named_files(s))
		violation(s, "%zu files of the index, %zu are named", nr_index_files(s),
			  nr_named_files(s));
	for (size_t i = 0; i < m->nr_runs && !s->turned; i++)
		check_one_run(s, &m->runs[i]);
	if (m->points.number && !s->turned)
		check_points_file(s);
	for (size_t i = 0; i < m->nr_packs; i++)
		check_pack(s, &m->packs[i]);
}

static bool commit_same(const struct timeline_commit *a, const struct timeline_commit *b)
{
	return a->ordinal == b->ordinal && a->cut_seq == b->cut_seq && a->time_ns == b->time_ns &&
	       a->target_time_ns == b->target_time_ns &&
	       a->listed == b->listed && a->degraded == b->degraded && a->flags == b->flags &&
	       a->unlisted_why == b->unlisted_why && a->batch_bytes == b->batch_bytes;
}

/*
 * How time was counted is in the points file: not known without it, and otherwise in one of which
 * the writer does not know whether it was named.
 */
static bool since_same(const struct store_sim *s, const struct timeline *reader,
		       const struct timeline_commit *a, const struct timeline_commit *b)
{
	return reader->points_bad ||
	       reader->manifest.points.number != s->tl->manifest.points.number ||
	       a->since_ns == b->since_ns;
}

/* Each that the reader knows is one of the writer's. */
static void check_reader_commits(struct store_sim *s, const struct timeline *reader)
{
	const struct points *a = &s->tl->points, *b = &reader->points;

	for (size_t i = 0, at = 0; i < b->nr_commits && !s->wrong[0]; i++) {
		const struct timeline_commit *known = &b->commits[i];

		while (at + 1 < a->nr_commits && a->commits[at].ordinal < known->ordinal)
			at++;
		if (!commit_same(&a->commits[at], known) ||
		    !since_same(s, reader, &a->commits[at], known))
			violation(s, "a reader knows commit %d differently: since %llu; listed %d; degraded %d; the writer's %d: %llu, %d, %d",
				  (int)known->ordinal, (unsigned long long)known->since_ns,
				  known->listed, known->degraded, (int)a->commits[at].ordinal,
				  (unsigned long long)a->commits[at].since_ns,
				  a->commits[at].listed, a->commits[at].degraded);
	}
}

/* What opening finds, in the points file and behind it, is what those who were there know. */
void check_reader(struct store_sim *s, const struct timeline *reader)
{
	const struct points *a = &s->tl->points, *b = &reader->points;
	/* A points file whose naming failed for the writer, and took place: by policy it may have fewer. */
	const bool fewer = reader->manifest.points.number > s->tl->manifest.points.number &&
			   b->nr_commits < a->nr_commits;

	if (a->last_ordinal != b->last_ordinal || a->last_cut_seq != b->last_cut_seq ||
	    a->last_time_ns != b->last_time_ns || a->readback_no != b->readback_no ||
	    a->hold_id != b->hold_id || a->last_gap_seq != b->last_gap_seq ||
	    a->repaired_t0 != b->repaired_t0 || a->nr_open_holds != b->nr_open_holds ||
	    a->nr_bad != b->nr_bad ||
	    (!fewer && (a->nr_commits != b->nr_commits || a->nr_gaps != b->nr_gaps ||
			a->nr_holds != b->nr_holds || a->nr_repairs != b->nr_repairs ||
			a->nr_members != b->nr_members)))
		violation(s, "a reader knows %zu commits up to %d, other than the %zu up to %d",
			  b->nr_commits, (int)b->last_ordinal, a->nr_commits,
			  (int)a->last_ordinal);
	check_reader_commits(s, reader);
	for (size_t i = 0; i < s->tl->manifest.nr_volumes && !s->wrong[0]; i++)
		if (s->tl->manifest.volumes[i].has_data != reader->manifest.volumes[i].has_data ||
		    s->tl->manifest.volumes[i].member != reader->manifest.volumes[i].member)
			violation(s, "a reader knows volume %zu differently", i);
}

static int nobody(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	return 0;
}

static bool view_is_bad(struct view *v)
{
	uint64_t at;

	for (uint16_t volume = 0; volume < HISTORY_VOLUMES; volume++)
		if (view_size(v, volume) && view_copy(v, volume, nobody, NULL, &at) == -EBADMSG)
			return true;
	return false;
}

/* A check marks every point that cannot be read. @check: of this reader. */
static void compare_check(struct store_sim *s, const struct check *check, struct view *v,
			  uint64_t cut)
{
	bool marked = false;

	for (size_t i = 0; i < check->nr_damage; i++)
		marked |= check->damage[i].from_seq <= cut &&
			  (!check->damage[i].to_seq || cut < check->damage[i].to_seq);
	if (!marked && view_is_bad(v))
		violation(s, "a check did not find what keeps a point from being read");
}

void check_damaged(struct store_sim *s)
{
	const struct timeline_commit *commits;
	const struct manifest_pack *pack;
	uint64_t bytes, number;
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	char path[64], why[TIMELINE_TEXT_BYTES];
	size_t nr;
	int checked;

	number = 1 + below(s, segment_writer_finished(&s->tl->writer) + 1);
	pack = manifest_pack(&s->tl->manifest, number);
	if (pack)
		pack_path(path, sizeof(path), DIR, pack->number, 0);
	else
		segment_path(path, sizeof(path), DIR, number);
	if (!sim_env_content(s->sim, path, &bytes) || bytes == 0)
		return;
	sim_env_flip(s->sim, path, below(s, bytes), below(s, 8));
	if (reader_open(s, &reader, why))
		return;
	checked = check_run(reader, &check, why);
	nr = timeline_commits(reader, &commits);
	for (int i = 0; i < 3 && nr; i++) {
		size_t index = below(s, nr);
		struct view *v;

		if (!commits[index].listed || view_open(reader, commits[index].cut_seq, &v, why))
			continue;
		s->counts.points++;
		if (!history_sample(&s->h, v, commits[index].ordinal - 1, 40, -EBADMSG))
			violation(s, "with a damaged segment: %s", s->h.why);
		if (!checked)
			compare_check(s, &check, v, commits[index].cut_seq);
		view_close(v);
	}
	free(check.damage);
	timeline_close(reader);
}

void check_undamaged(struct store_sim *s)
{
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	char why[TIMELINE_TEXT_BYTES];

	if (reader_open(s, &reader, why))
		return;
	if (check_run(reader, &check, why))
		violation(s, "a check fails: %s", why);
	else if (check.nr_damage || check.nr_unread)
		violation(s, "a check finds damage in %s %d", check.nr_damage &&
			  check.damage[0].pack ? "pack" : "segment",
			  check.nr_damage ? (int)check.damage[0].segment : 0);
	free(check.damage);
	timeline_close(reader);
}
