// SPDX-License-Identifier: GPL-2.0-only
/*
 * timeline_recover - from the files of a directory to points, and to a place to go on.
 *
 * Segments are read in the order of their numbers. Each but the last is sealed, or the
 * manifest says where it was given up; the last may end in the middle of anything. A
 * history with a hole is not appended to; who only reads gets it up to the hole.
 */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/seq.h"
#include "array.h"
#include "points_file.h"
#include "segment_scan.h"
#include "timeline_internal.h"

#define RELOADS 3	/* beside a writer that makes a new points file */

struct numbers {
	const char *ending;	/* of the names */
	uint64_t *items;
	size_t nr, max;
	bool no_memory;
};

static void number_take(void *arg, const char *name)
{
	struct numbers *n = arg;
	char *end;
	uint64_t number;

	if (strlen(name) < 16 || strcmp(name + 16, n->ending))
		return;
	number = strtoull(name, &end, 16);
	if (end != name + 16)
		return;
	if (!array_reserve(&n->items, &n->max, n->nr + 1))
		n->no_memory = true;
	else
		n->items[n->nr++] = number;
}

static int numbers_list(struct timeline *tl, const char *ending, struct numbers *n)
{
	int ret;

	n->ending = ending;
	ret = tl->env->ops->list(tl->env, tl->dir, number_take, n);

	if (!ret && n->no_memory)
		ret = -ENOMEM;
	array_sort_u64(n->items, n->nr);
	return ret;
}

/* People are told of the first. */
static void say_damaged(struct timeline *tl, uint64_t number, const char *ending,
			const char *format, va_list args)
{
	int used;

	if (tl->damaged)
		return;
	used = snprintf(tl->damage, sizeof(tl->damage), "%.100s/%016llx%s: ", tl->dir,
			(unsigned long long)number, ending);
	vsnprintf(tl->damage + used, sizeof(tl->damage) - used, format, args);
	tl->damaged = true;
}

/* From this segment on there is nothing, unless somebody finds more behind it. */
__attribute__((format(printf, 3, 4)))
static int damage(struct timeline *tl, uint64_t number, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_damaged(tl, number, ".seg", format, args);
	va_end(args);
	tl->ends_early = true;
	return -EUCLEAN;
}

/* A file is not there whose commits are all known. */
__attribute__((format(printf, 4, 5)))
static void note(struct timeline *tl, uint64_t number, const char *ending, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	say_damaged(tl, number, ending, format, args);
	va_end(args);
}

/* A commit that recovery has found: it must fit the manifest and those before it. */
static int take_commit(void *arg, const struct commit_view *commit,
		       const struct footer_extent *extents, size_t nr_extents)
{
	struct timeline *tl = arg;
	const struct points *p = &tl->points;
	const struct commit_header *h = &commit->header;
	bool known = true;

	if (seq_incarnation(h->cut_seq) > tl->manifest.incarnation)
		return damage(tl, tl->recovering, "commit %llu is of an incarnation the manifest does not know",
			      (unsigned long long)h->ordinal);
	if (h->cut_seq < p->last_cut_seq)
		return damage(tl, tl->recovering, "commit %llu has a lower cut than the one before",
			      (unsigned long long)h->ordinal);
	for (size_t i = 0; i < nr_extents; i++)
		known = known && extents[i].extent.volume < tl->manifest.nr_volumes;
	/* Also those without data: they are marked as members by their number. */
	for (uint32_t i = 0; i < h->nr_volumes; i++)
		known = known && le16toh(commit->volumes[i].volume) < tl->manifest.nr_volumes;
	if (!known)
		return damage(tl, tl->recovering, "commit %llu is of a volume the manifest does not know",
			      (unsigned long long)h->ordinal);
	return timeline_take_commit(tl, commit, extents, nr_extents);
}

/* Judge one segment; last: the newest there is. */
static int segment_judge(struct timeline *tl, const struct segment_scan *scan,
			 const struct manifest_segment_end *end, bool last)
{
	if (end && (scan->end_offset != end->end_offset ||
		    scan->last_ordinal != end->last_ordinal))
		return damage(tl, scan->number, "ends at byte %llu, commit %llu; should at %llu, %llu",
			      (unsigned long long)scan->end_offset,
			      (unsigned long long)scan->last_ordinal,
			      (unsigned long long)end->end_offset,
			      (unsigned long long)end->last_ordinal);
	if (scan->damaged)
		return damage(tl, scan->number, "%s", scan->text);
	/*
	 * Not sealed and not the last: its footer is damaged, or its data. Whether all
	 * is there the next one's header tells: its first ordinal must follow.
	 */
	if (!last && !scan->header_valid)
		return damage(tl, scan->number, "header damaged, or commits are missing before it");
	return 0;
}

/* -- the writer's end -- */

/* Make what was found durable, cut off the rest, go on behind it. */
static int writer_resume(struct timeline *tl, struct segment_scan *scan)
{
	const struct env_ops *ops = tl->env->ops;
	struct env_file *file;
	uint64_t bytes;
	int ret;

	ret = ops->open(tl->env, scan->path, ENV_WRITE | ENV_DIRECT, &file);
	if (ret)
		return ret;
	ret = ops->size(tl->env, file, &bytes);
	if (!ret && !scan->sealed && bytes != scan->end_offset)
		ret = ops->truncate(tl->env, file, scan->end_offset);
	if (!ret)
		ret = ops->datasync(tl->env, file);
	if (!ret && !scan->sealed) {
		segment_writer_resume(&tl->writer, &scan->header, scan->end_offset,
				      scan->last_ordinal + 1, file, &scan->index);
		return 0;
	}
	ops->close(tl->env, file);
	if (!ret)
		segment_writer_start(&tl->writer, scan->number + 1, scan->last_ordinal + 1);
	return ret;
}

static int writer_place(struct timeline *tl, struct segment_scan *scan,
			const struct manifest_segment_end *end)
{
	int ret = tl->env->ops->sync_dir(tl->env, tl->dir);

	if (ret)
		return ret;
	if (end) {
		segment_writer_start(&tl->writer, scan->number + 1, scan->last_ordinal + 1);
		return 0;
	}
	if (scan->index.nr_commits == 0) {
		tl->env->ops->unlink(tl->env, scan->path);
		segment_writer_start(&tl->writer, scan->number, scan->last_ordinal + 1);
		return 0;
	}
	return writer_resume(tl, scan);
}

/* A reader beside a writer: what it has seen must outlive a crash. */
static void reader_sync(struct timeline *tl, const char *path)
{
	struct env_file *file;

	if (tl->env->ops->open(tl->env, path, ENV_READ, &file))
		return;
	tl->env->ops->datasync(tl->env, file);
	tl->env->ops->close(tl->env, file);
}

static int recover_segment(struct timeline *tl, uint64_t number, bool last)
{
	const struct manifest_segment_end *end = manifest_end(&tl->manifest, number);
	struct segment_scan scan;
	int ret;

	tl->recovering = number;
	timeline_scan_init(tl, &scan, number, tl->points.last_ordinal + 1);
	scan.trust_footer = !last;
	scan.commit = take_commit;
	scan.arg = tl;
	ret = segment_scan(&scan);
	if (!ret)
		ret = segment_judge(tl, &scan, end, last);
	if (!ret && last && !tl->read_only)
		ret = writer_place(tl, &scan, end);
	if (!ret && last && tl->read_only)
		reader_sync(tl, scan.path);
	if (scan.index.nr_commits)
		tl->nr_segments = number;
	segment_index_fini(&scan.index);
	return ret;
}

/*
 * A run has only what was durable, and was named before the segments were read: one
 * that goes further than they do bears witness that durable commits are lost. It must
 * not be asked, as other commits may come to lie where those were.
 */
static int judge_runs(struct timeline *tl)
{
	struct manifest *m = &tl->manifest;
	size_t kept = 0;
	int ret = 0;

	for (size_t i = 0; i < m->nr_runs; i++) {
		const struct manifest_run run = m->runs[i];

		if (run.last_ordinal <= tl->points.last_ordinal)
			m->runs[kept++] = run;
		else if (!tl->ends_early)
			ret = damage(tl, run.last_segment, "commit %llu was durable, and what is there ends with %llu",
				     (unsigned long long)run.last_ordinal,
				     (unsigned long long)tl->points.last_ordinal);
	}
	m->nr_runs = kept;
	return ret;
}

/* The same of a commit that the manifest was told of. */
static int judge_durable(struct timeline *tl)
{
	const struct manifest_durable *told = &tl->manifest.durable;

	if (tl->ends_early || tl->points.last_ordinal >= told->ordinal)
		return 0;
	return damage(tl, told->segment, "missing or cut short: commit %llu was durable in it, and what is there ends with %llu",
		      (unsigned long long)told->ordinal,
		      (unsigned long long)tl->points.last_ordinal);
}

/* -- the points file -- */

static bool points_fit(const struct timeline *tl, const struct points *p)
{
	return seq_incarnation(p->last_cut_seq) <= tl->manifest.incarnation &&
	       p->nr_volumes <= tl->manifest.nr_volumes;
}

/*
 * The one that the manifest names; a writer removes it when it has named another.
 * @unread: out, the manifest could not be read again: there is nothing to go by
 */
static int points_read(struct timeline *tl, struct points_file *file, bool *unread, char *why)
{
	const struct manifest *m = &tl->manifest;
	int ret = -ENOENT;

	for (int i = 0; i < RELOADS && ret == -ENOENT; i++) {
		uint64_t number = m->points.number;

		ret = points_file_read(tl->env, tl->dir, m->identity.timeline, &m->points, file,
				       NULL);
		if (ret != -ENOENT || !tl->read_only)
			break;
		manifest_close(&tl->manifest);
		ret = manifest_open(&tl->manifest, tl->env, tl->dir, false, why);
		*unread = ret;
		if (ret)
			return ret;
		ret = -ENOENT;
		if (m->points.number == number)
			break;
	}
	if (!ret && !points_fit(tl, &file->points)) {
		points_fini(&file->points);
		ret = -EBADMSG;
	}
	return ret;
}

static bool numbers_have(const struct numbers *n, uint64_t number)
{
	size_t at = array_search(n->items, n->nr, item, *item < number);

	return at < n->nr && n->items[at] == number;
}

/*
 * Where the clock of retention begins when no points file says where it stood. Commits have
 * stamps of a clock that may have jumped; the first policy was set by the clock of retention.
 */
static uint64_t age_begin(const struct timeline *tl)
{
	const struct manifest *m = &tl->manifest;
	uint64_t ns = m->nr_policies ? m->policies[0].since_ns : tl->points.last_since_ns;

	return ns > m->identity.created_ns ? ns : m->identity.created_ns;
}

static int points_again(struct timeline *tl, struct points_file *file)
{
	const struct manifest *m = &tl->manifest;
	int ret = timeline_points_rebuild(tl, age_begin(tl));

	return ret ? ret : points_file_read(tl->env, tl->dir, m->identity.timeline, &m->points,
					    file, NULL);
}

/* Which commits there still are nothing else says. */
static int points_lost(struct timeline *tl)
{
	const struct manifest_points *named = &tl->manifest.points;

	snprintf(tl->damage, sizeof(tl->damage), "%.80s/%016llx.points: missing or damaged: which points up to commit %llu were not dropped is not known; put it back from a copy, or run `blkship store check --rebuild GROUP`",
		 tl->dir, (unsigned long long)named->number,
		 (unsigned long long)named->last_ordinal);
	tl->damaged = tl->ends_early = true;
	return tl->read_only ? 0 : -EUCLEAN;
}

/*
 * List the segments, and begin behind those that the points file knows. If it is of no use all of
 * them are read.
 */
static int recover_points(struct timeline *tl, struct numbers *n, char *why)
{
	const struct manifest_points *named = &tl->manifest.points;
	struct points_file file;
	bool unread = false;
	int ret = named->number ? points_read(tl, &file, &unread, why) : 0;
	int listed = numbers_list(tl, ".seg", n);
	bool left_out = manifest_points_alone(&tl->manifest);

	if (unread)
		return ret;
	if (!named->number)
		return listed;
	if (!ret && listed)
		points_fini(&file.points);
	if (listed)
		return listed;
	if (tl->rebuild && left_out && (ret == -ENOENT || ret == -EBADMSG || ret == -EIO))
		ret = points_again(tl, &file);
	if (!ret) {
		tl->points = file.points;
		tl->nr_segments = file.last_segment;
		timeline_volumes_renew(tl);
		timeline_points_settled(tl, &tl->points, file.last_segment);
		return 0;
	}
	/* A disk that could not be read may be read the next time. */
	if (ret == -EIO && left_out && !why[0])
		snprintf(why, TIMELINE_TEXT_BYTES, "%.80s/%016llx.points: neither copy can be read: %s; look at the disk; if it stays so, run `blkship store check --rebuild GROUP`",
			 tl->dir, (unsigned long long)named->number, strerror(-ret));
	if (ret != -ENOENT && ret != -EBADMSG && (ret != -EIO || left_out))
		return ret;
	tl->points_bad = true;
	return left_out ? points_lost(tl) : 0;
}

/* What was named was durable: less than that has been lost. */
static int judge_points(struct timeline *tl)
{
	const struct manifest_points *named = &tl->manifest.points;

	if (tl->points_bad && named->flags & MANIFEST_POINTS_LEFT_OUT)
		points_forget(&tl->points, named->last_ordinal);
	if (tl->ends_early || tl->points.last_ordinal >= named->last_ordinal)
		return 0;
	return damage(tl, named->last_segment, "commit %llu was durable, and what is there ends with %llu",
		      (unsigned long long)named->last_ordinal,
		      (unsigned long long)tl->points.last_ordinal);
}

/* -- segments that are lost, for who only reads -- */

/*
 * Behind @number, which is lost or begins with a later batch than follows: the next segment that
 * can be read. *@number: out, that one.
 */
static int pass_hole(struct timeline *tl, uint64_t *number, uint64_t last, uint64_t known)
{
	const uint8_t *timeline = tl->manifest.identity.timeline;
	uint64_t first = *number, behind = first, ordinal;

	/* Without a points file, what was dropped of packs is not known either. */
	if (!tl->read_only || (tl->points_bad && manifest_points_alone(&tl->manifest)))
		return -EUCLEAN;
	while (behind <= last && (segment_first_ordinal(tl->env, tl->dir, timeline, behind, &ordinal) ||
				  ordinal <= tl->points.last_ordinal + 1))
		behind++;
	if (behind == first)
		first--;	/* the end of that one is lost */
	if (behind > last || first <= known)
		return -EUCLEAN;
	*number = behind;
	tl->ends_early = false;
	return timeline_hole_unknown(tl, first, *number - 1 > first ? *number - 1 : first, ordinal - 1);
}

/* Of what the points file answers for, and what it may have had; when all is read. */
static int holes_look(struct timeline *tl, const struct numbers *n, uint64_t known)
{
	struct numbers packs = { 0 };
	struct timeline_hole hole;
	int ret = numbers_list(tl, ".pack", &packs);

	timeline_holes_end(tl);
	for (uint64_t number = 1; number <= known && !ret; number++) {
		const struct manifest_pack *pack = manifest_pack(&tl->manifest, number);
		bool there = pack ? numbers_have(&packs, pack->number) : numbers_have(n, number);

		if (!there) {
			note(tl, pack ? pack->number : number, pack ? ".pack" : ".seg", "missing");
			ret = timeline_hole_get(tl, number, UINT64_MAX, &hole);
			number = hole.last_segment;
		} else if (pack) {
			number = pack->last_segment;
		}
	}
	free(packs.items);
	return ret;
}

static int recover_segments(struct timeline *tl, const struct numbers *n)
{
	const uint64_t known = tl->nr_segments;
	uint64_t last = n->nr ? n->items[n->nr - 1] : 0;
	int ret = 0;

	if (last < known)
		last = known;
	for (uint64_t number = 1; number <= known && !ret && !tl->read_only; number++)
		if (!manifest_pack(&tl->manifest, number) && !numbers_have(n, number))
			ret = damage(tl, number, "missing");
	for (uint64_t number = known + 1; number <= last && !ret; number++) {
		ret = numbers_have(n, number) ? recover_segment(tl, number, number == last) :
						damage(tl, number, "missing");
		if (ret == -EUCLEAN) {
			ret = pass_hole(tl, &number, last, known);
			number--;
		}
	}
	if (tl->read_only && (!ret || ret == -EUCLEAN)) {
		int looked = holes_look(tl, n, known);

		return looked ? looked : ret;
	}
	if (ret || last > known)
		return ret;
	/* All there is was finished, and is known; or there is nothing. */
	if (known)
		ret = tl->env->ops->sync_dir(tl->env, tl->dir);
	segment_writer_start(&tl->writer, known + 1, tl->points.last_ordinal + 1);
	return ret;
}

int timeline_recover(struct timeline *tl, char *why)
{
	struct numbers n = { 0 };
	int ret = recover_points(tl, &n, why);

	if (!ret)
		ret = recover_segments(tl, &n);
	free(n.items);
	tl->points_no = tl->manifest.points.number;
	if (!ret || ret == -EUCLEAN) {
		int durable = judge_durable(tl), points = judge_points(tl), runs = judge_runs(tl);

		ret = ret ? ret : durable ? durable : points ? points : runs;
	}
	if (!tl->points.aged_ns)
		timeline_age_set(tl, age_begin(tl));
	if (tl->damaged)
		memcpy(why, tl->damage, sizeof(tl->damage));
	return ret == -EUCLEAN && tl->read_only ? 0 : ret;
}
