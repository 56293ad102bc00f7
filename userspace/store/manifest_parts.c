// SPDX-License-Identifier: GPL-2.0-only
/* manifest_parts - what the files of a timeline prove of it, without its manifest. */
#include "manifest_parts.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "block.h"
#include "manifest_internal.h"
#include "pack_read.h"
#include "points_file.h"
#include "run.h"
#include "segment_scan.h"

#define PATH_BYTES	4096

int manifest_parts_refuse(struct manifest_parts *p, const char *format, ...)
{
	va_list args;
	int used = snprintf(p->why, TIMELINE_TEXT_BYTES, "its manifest is lost, and not made anew: ");

	va_start(args, format);
	vsnprintf(p->why + used, TIMELINE_TEXT_BYTES - used, format, args);
	va_end(args);
	return -EUCLEAN;
}

/* -- which files there are -- */

struct listing {
	struct manifest_parts *parts;
	int error;
};

static void name_take(void *arg, const char *name)
{
	struct listing *l = arg;
	struct manifest_parts *p = l->parts;
	const struct { const char *suffix; struct manifest_numbers *numbers; } kinds[] = {
		{ ".seg", &p->segments }, { ".pack", &p->packs }, { ".points", &p->points },
		{ ".run", &p->runs },
	};
	uint64_t number;
	char *end;

	if (strlen(name) < 16)
		return;
	number = strtoull(name, &end, 16);
	if (end != name + 16 || !number)
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct manifest_numbers *n = kinds[i].numbers;

		if (strcmp(end, kinds[i].suffix))
			continue;
		if (array_reserve(&n->items, &n->max, n->nr + 1))
			n->items[n->nr++] = number;
		else
			l->error = -ENOMEM;
	}
}

static bool numbers_have(const struct manifest_numbers *n, uint64_t number)
{
	size_t at = array_search(n->items, n->nr, item, *item < number);

	return at < n->nr && n->items[at] == number;
}

int manifest_parts_list(struct manifest_parts *p)
{
	struct listing l = { .parts = p };
	int ret = p->env->ops->list(p->env, p->dir, name_take, &l);

	array_sort_u64(p->segments.items, p->segments.nr);
	array_sort_u64(p->packs.items, p->packs.nr);
	array_sort_u64(p->points.items, p->points.nr);
	array_sort_u64(p->runs.items, p->runs.nr);
	return ret ? ret : l.error;
}

void manifest_parts_fini(struct manifest_parts *p)
{
	free(p->segments.items);
	free(p->packs.items);
	free(p->points.items);
	free(p->runs.items);
	free(p->parts);
	free(p->sizes);
}

/* -- headers -- */

/* All that is there must be of one timeline. */
static int timeline_is(struct manifest_parts *p, const uint8_t *timeline, uint64_t number,
		       const char *suffix)
{
	if (!p->has_timeline)
		memcpy(p->timeline, timeline, sizeof(p->timeline));
	p->has_timeline = true;
	if (!memcmp(p->timeline, timeline, sizeof(p->timeline)))
		return 0;
	return manifest_parts_refuse(p, "%016llx%s is of another timeline than what is beside it",
				     (unsigned long long)number, suffix);
}

/* Its first block; -EBADMSG there is none. */
static int block_read(struct manifest_parts *p, const char *path, uint8_t *block, uint64_t *bytes)
{
	struct env_file *file;
	int ret = block_open(p->env, path, &file, block, bytes);

	if (!ret)
		p->env->ops->close(p->env, file);
	return ret;
}

int manifest_parts_headers(struct manifest_parts *p,
			   int (*each)(void *arg, const struct segment_header *header,
				       const uint8_t *room, size_t bytes),
			   void *arg)
{
	uint8_t block[SEGMENT_HEADER_BYTES] __attribute__((aligned(BLOCK_BYTES)));
	struct segment_header h;
	char path[PATH_BYTES];
	uint64_t bytes;
	int ret = 0;

	for (size_t i = 0; i < p->segments.nr && !ret; i++) {
		uint64_t number = p->segments.items[i];

		segment_path(path, sizeof(path), p->dir, number);
		ret = block_read(p, path, block, &bytes);
		if (ret == -EBADMSG ||
		    (!ret && (segment_header_decode(block, &h) || h.number != number))) {
			ret = 0;
			continue;
		}
		if (!ret)
			ret = timeline_is(p, h.timeline, number, ".seg");
		if (!ret)
			ret = each(arg, &h, block + sizeof(h), sizeof(block) - sizeof(h));
	}
	return ret;
}

int manifest_parts_packs(struct manifest_parts *p,
			 int (*each)(void *arg, const struct pack_header *header,
				     const uint8_t *room, size_t bytes),
			 void *arg)
{
	uint8_t block[PACK_BLOCK_BYTES] __attribute__((aligned(BLOCK_BYTES)));
	struct pack_header h;
	char path[PATH_BYTES];
	uint64_t bytes;
	int ret = 0;

	for (size_t i = 0; i < p->packs.nr && !ret; i++) {
		uint64_t number = p->packs.items[i];

		pack_path(path, sizeof(path), p->dir, number, 0);
		ret = block_read(p, path, block, &bytes);
		/* If it is needed its segments are missing, which is seen. */
		if (ret == -EBADMSG ||
		    (!ret && (pack_header_decode(block, &h) || h.number != number ||
			      pack_header_file_bytes(&h) != bytes))) {
			ret = 0;
			continue;
		}
		if (!ret)
			ret = timeline_is(p, h.timeline, number, ".pack");
		if (!ret)
			ret = each(arg, &h, block + sizeof(h), PACK_ROOM_BYTES);
	}
	return ret;
}

/* -- from the first segment to the last -- */

/* What is known of one segment that no pack stands for. */
struct walked {
	struct manifest_parts *parts;
	uint64_t next_first;	/* first ordinal of what follows; 0: not known */
	uint64_t record_bytes;	/* of the last commit before that */
};

/* First ordinal of the segment, or of the pack in its place; 0: not known. */
static int first_ordinal(struct manifest_parts *p, const struct manifest *m, uint64_t segment,
			 uint64_t *out)
{
	const struct manifest_pack *named = manifest_pack(m, segment);
	struct pack pack;
	int ret;

	*out = 0;
	if (named) {
		ret = pack_open(p->env, p->dir, p->timeline, named, &pack);
		if (!ret)
			*out = pack.header.first_ordinal;
		pack_close(&pack);
		return ret;
	}
	ret = segment_first_ordinal(p->env, p->dir, p->timeline, segment, out);
	return ret == -EBADMSG || ret == -ENOENT ? 0 : ret;
}

static int commit_see(void *arg, const struct commit_view *commit,
		      const struct footer_extent *extents, size_t nr_extents)
{
	struct walked *w = arg;
	struct manifest_parts *p = w->parts;
	const struct commit_header *h = &commit->header;

	if (w->next_first && h->ordinal >= w->next_first)
		return 0;
	w->record_bytes = h->record_bytes;
	if (h->cut_seq > p->cut_seq)
		p->cut_seq = h->cut_seq;
	for (uint32_t i = 0; i < h->nr_volumes; i++) {
		size_t volume = le16toh(commit->volumes[i].volume);

		if (!array_reserve(&p->sizes, &p->max_sizes, volume + 1))
			return -ENOMEM;
		while (p->nr_sizes <= volume)
			p->sizes[p->nr_sizes++] = 0;
		p->sizes[volume] = le64toh(commit->volumes[i].size_bytes);
	}
	return 0;
}

/*
 * One that was given up may have more than what was durable: what follows it says where it ended.
 * *@before: last ordinal before it; out, in it; 0: not known
 */
static int segment_walk(struct manifest_parts *p, struct manifest *m, uint64_t number,
			uint64_t first, uint64_t *last)
{
	const struct manifest_segment_end *end = manifest_end(m, number);
	struct walked w = { .parts = p };
	struct segment_scan scan;
	int ret = first_ordinal(p, m, number + 1, &w.next_first);

	if (ret)
		return ret;
	segment_scan_init(&scan, p->env, p->dir, p->timeline, number, first);
	scan.end_limit = end ? end->end_offset : 0;
	scan.commit = commit_see;
	scan.arg = &w;
	ret = segment_scan(&scan);
	*last = w.next_first ? w.next_first - 1 : scan.last_ordinal;
	if (!ret && !end && w.next_first > first && scan.last_ordinal >= w.next_first) {
		uint64_t record_end = scan.index.commits[w.next_first - 1 - first] + w.record_bytes;
		struct manifest_segment_end raw = {
			htole64(number),
			htole64((record_end + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES),
			htole64(*last) };

		ret = manifest_record_take(m, MANIFEST_SEGMENT_END, &raw);
		if (!ret)
			ret = manifest_image_add(m, MANIFEST_SEGMENT_END, &raw);
	}
	segment_index_fini(&scan.index);
	return ret;
}

/* A segment, or the pack in its place; *@last: ordinal before it, then in it; 0: not known. */
static int part_walk(struct manifest_parts *p, struct manifest *m, uint64_t number,
		     uint64_t *last)
{
	const struct manifest_pack *pack = manifest_pack(m, number);
	struct manifest_part part = { .last_segment = pack ? pack->last_segment : number };
	uint64_t first;
	int ret;

	if (!pack && !numbers_have(&p->segments, number))
		return manifest_parts_refuse(p, "%016llx.seg is missing, and no pack has its place",
					     (unsigned long long)number);
	ret = first_ordinal(p, m, number, &first);
	if (ret)
		return ret;
	if (first && ((number == 1 && first != 1) || (*last && first != *last + 1)))
		return manifest_parts_refuse(p, "%016llx.%s begins with commit %llu, and before it is %llu",
					     (unsigned long long)number, pack ? "pack" : "seg",
					     (unsigned long long)first, (unsigned long long)*last);
	*last = 0;
	if (pack)
		*last = pack->last_ordinal;
	else if (first)
		ret = segment_walk(p, m, number, first, last);
	part.last_ordinal = *last;
	part.known = *last;
	if (!ret && !array_reserve(&p->parts, &p->max_parts, p->nr_parts + 1))
		ret = -ENOMEM;
	if (!ret)
		p->parts[p->nr_parts++] = part;
	return ret;
}

int manifest_parts_walk(struct manifest_parts *p, struct manifest *m)
{
	uint64_t end = p->segments.nr ? p->segments.items[p->segments.nr - 1] : 0, last = 0;
	int ret = 0;

	if (m->nr_packs && m->packs[m->nr_packs - 1].last_segment > end)
		end = m->packs[m->nr_packs - 1].last_segment;
	for (uint64_t number = 1; number <= end && !ret;) {
		ret = part_walk(p, m, number, &last);
		if (!ret)
			number = p->parts[p->nr_parts - 1].last_segment + 1;
	}
	return ret;
}

/* -- points and runs -- */

static bool points_fit(const struct manifest_parts *p, const struct manifest *m,
		       const struct manifest_points *points)
{
	for (size_t i = 0; i < m->nr_packs; i++)
		if (m->packs[i].points_no > points->number ||
		    m->packs[i].last_segment > points->last_segment)
			return false;
	for (size_t i = 0; i < p->nr_parts; i++)
		if (p->parts[i].last_segment == points->last_segment)
			return !p->parts[i].known ||
			       p->parts[i].last_ordinal == points->last_ordinal;
	return false;
}

int manifest_parts_points(struct manifest_parts *p, const struct manifest *m, uint64_t named,
			  struct manifest_points *out, bool *older)
{
	*out = (struct manifest_points){ .number = 0 };
	*older = false;
	for (size_t i = 0; i < p->points.nr; i++) {
		struct manifest_points points;
		uint64_t cut_seq;
		int ret = points_file_find(p->env, p->dir, p->timeline, p->points.items[i],
					   &points, &cut_seq);

		if (ret == -EBADMSG || ret == -EIO)
			continue;
		if (ret)
			return ret;
		if (points.last_ordinal > p->last_ordinal)
			p->last_ordinal = points.last_ordinal;
		if (cut_seq > p->cut_seq)
			p->cut_seq = cut_seq;
		if (!points_fit(p, m, &points))
			continue;
		*older = out->number && points.number != named;
		if (!*older)
			*out = points;
	}
	return 0;
}

int manifest_parts_witness(struct manifest_parts *p)
{
	uint8_t block[RUN_BLOCK_BYTES] __attribute__((aligned(BLOCK_BYTES)));
	struct run_header h;
	char path[PATH_BYTES];
	uint64_t bytes;

	for (size_t i = 0; i < p->runs.nr; i++) {
		int ret;

		run_path(path, sizeof(path), p->dir, p->runs.items[i], 0);
		ret = block_read(p, path, block, &bytes);
		if (ret && ret != -EBADMSG && ret != -EIO)
			return ret;
		if (!ret && !run_header_decode(block, &h) &&
		    !memcmp(h.timeline, p->timeline, sizeof(h.timeline)) &&
		    h.last_ordinal > p->last_ordinal)
			p->last_ordinal = h.last_ordinal;
	}
	return 0;
}
