// SPDX-License-Identifier: GPL-2.0-only
/* segment_scan - read a segment and say what of it holds. */
#include "segment_scan.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "array.h"
#include "pack_read.h"

#define WINDOW_BYTES	(1u << 20)
#define SPARSE_BYTES	(64u << 10)	/* when only commits are read: they lie far apart */
#define FOOTER_MAX_BYTES (1u << 30)

/* The file, through a window that moves forward. */
struct reader {
	struct env *env;
	const struct run_pace *pace;
	struct env_file *file;
	uint64_t file_bytes;	/* as far as it counts */
	uint8_t *window;
	uint64_t window_offset;
	size_t window_bytes;	/* valid ones */
	size_t fill_bytes;	/* read at once, when that is enough */
	size_t max_window_bytes;
};

/* One batch as it goes by. */
struct batch {
	uint32_t nr_units;
	uint32_t units_crc;
	uint64_t bytes;
};

static uint64_t round_up(uint64_t n)
{
	return (n + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
}

/* As env's: how many there were, -errno; or what the pace returned. */
static int64_t reader_read(struct reader *r, void *to, size_t bytes, uint64_t offset)
{
	int64_t got = r->env->ops->read(r->env, r->file, to, bytes, offset);
	int ret = got > 0 && r->pace ? r->pace->fn(r->pace->arg, got) : 0;

	return ret ? ret : got;
}

/* Bytes that can be seen at @offset: at least @want, or all up to the end. */
static int64_t reader_at(struct reader *r, uint64_t offset, size_t want, const uint8_t **at)
{
	uint64_t start = offset / BLOCK_BYTES * BLOCK_BYTES;
	int64_t got;

	if (offset >= r->file_bytes)
		return 0;
	if (want > r->file_bytes - offset)
		want = r->file_bytes - offset;
	if (offset < r->window_offset || offset + want > r->window_offset + r->window_bytes) {
		r->window_bytes = 0;
		got = round_up(offset + want) - start;
		if (got < (int64_t)r->fill_bytes)
			got = r->fill_bytes;
		if (got > (int64_t)r->max_window_bytes)
			got = r->max_window_bytes;
		got = reader_read(r, r->window, got, start);
		if (got < 0)
			return got;
		r->window_offset = start;
		r->window_bytes = got;
		if (start + got > r->file_bytes)
			r->window_bytes = r->file_bytes - start;
		if (offset >= start + r->window_bytes)
			return 0;
	}
	*at = r->window + (offset - r->window_offset);
	return r->window_bytes - (offset - r->window_offset);
}

static int reader_open(struct reader *r, const struct segment_scan *scan)
{
	const struct env_ops *ops = scan->env->ops;
	int ret;

	*r = (struct reader){ .env = scan->env, .pace = scan->pace, .fill_bytes = WINDOW_BYTES };
	ret = ops->open(scan->env, scan->path, ENV_READ | ENV_DIRECT, &r->file);
	if (ret)
		return ret;
	ret = ops->size(scan->env, r->file, &r->file_bytes);
	if (!ret) {
		/* Small files are many in a simulation. */
		r->max_window_bytes = r->file_bytes < WINDOW_BYTES ?
				      round_up(r->file_bytes + 1) : WINDOW_BYTES;
		r->window = aligned_alloc(BLOCK_BYTES, r->max_window_bytes);
		ret = r->window ? 0 : -ENOMEM;
	}
	if (ret)
		ops->close(scan->env, r->file);
	return ret;
}

static void reader_close(struct reader *r)
{
	free(r->window);
	r->env->ops->close(r->env, r->file);
}

/* -- one record -- */

/* A unit that is next in the batch: its size, 0 when there is none, or -errno. */
static int64_t read_unit(struct reader *r, uint64_t offset, uint64_t ordinal,
			 struct unit_view *unit)
{
	const uint8_t *at;
	int64_t seen = reader_at(r, offset, UNIT_MAX_BYTES, &at);

	if (seen <= 0)
		return seen;
	if (unit_decode(at, seen, 1, unit) || unit->header.batch_ordinal != ordinal)
		return 0;
	return unit->header.unit_bytes;
}

static int64_t read_commit(struct reader *r, uint64_t offset, struct commit_view *commit)
{
	const uint8_t *at;
	int64_t seen = reader_at(r, offset, BLOCK_BYTES, &at);
	int ret = seen > 0 ? commit_decode(at, seen, commit) : 0;

	if (ret == -EAGAIN) {
		seen = reader_at(r, offset, COMMIT_MAX_BYTES, &at);
		ret = seen > 0 ? commit_decode(at, seen, commit) : 0;
	}
	if (seen <= 0)
		return seen;
	return ret ? 0 : commit->header.record_bytes;
}

static void batch_add(struct batch *b, const struct unit_view *unit)
{
	uint32_t crc = htole32(unit->header.header_crc);

	b->nr_units++;
	b->bytes += unit->header.unit_bytes;
	b->units_crc = crc32c_extend(b->units_crc, &crc, sizeof(crc));
}

static bool batch_matches(const struct batch *b, const struct commit_header *h)
{
	return b->nr_units == h->nr_units && b->bytes == h->batch_bytes &&
	       b->units_crc == h->units_crc;
}

/* -- a segment from its start -- */

static int tell_commit(struct segment_scan *scan, const struct commit_view *commit,
		       size_t first_extent)
{
	size_t nr = scan->index.nr_committed - first_extent;

	scan->last_ordinal = commit->header.ordinal;
	if (!scan->commit)
		return 0;
	return scan->commit(scan->arg, commit, nr ? &scan->index.extents[first_extent] : NULL,
			    nr);
}

/* The batch at @offset: its end, 0 when it does not hold, or -errno. */
static int64_t scan_batch(struct segment_scan *scan, struct reader *r, uint64_t offset)
{
	size_t first_extent = scan->index.nr_committed;
	struct commit_view commit;
	struct unit_view unit;
	struct batch batch = { 0 };
	int64_t bytes;
	int ret;

	while ((bytes = read_unit(r, offset, scan->last_ordinal + 1, &unit)) > 0) {
		if (segment_index_unit(&scan->index, &unit, offset))
			return -ENOMEM;
		batch_add(&batch, &unit);
		offset += bytes;
	}
	if (bytes == 0)
		bytes = read_commit(r, offset, &commit);
	if (bytes < 0)
		return bytes;
	if (bytes == 0 || commit.header.ordinal != scan->last_ordinal + 1 ||
	    !batch_matches(&batch, &commit.header))
		return 0;
	/* Torn padding is of no consequence, a batch cut off inside its block is. */
	if (round_up(offset + bytes) > r->file_bytes)
		return 0;
	if (segment_index_commit(&scan->index, offset))
		return -ENOMEM;
	ret = tell_commit(scan, &commit, first_extent);
	return ret ? ret : (int64_t)round_up(offset + bytes);
}

/*
 * Behind the end: a whole commit record that was written when more was durable
 * than we could read proves damage. Batches begin at blocks; units lead from there
 * to the commit. Stored data are not checked: this is about what was known.
 */
static int find_later(struct segment_scan *scan, struct reader *r)
{
	uint64_t block = scan->end_offset / BLOCK_BYTES * BLOCK_BYTES, next;

	for (; block < r->file_bytes; block = next) {
		uint64_t offset = block;
		struct commit_view commit;
		struct unit_view unit;
		const uint8_t *at;
		int64_t bytes;

		while ((bytes = reader_at(r, offset, UNIT_MAX_BYTES, &at)) > 0 &&
		       unit_decode(at, bytes, 0, &unit) == 0)
			offset += unit.header.unit_bytes;
		if (bytes >= 0)
			bytes = read_commit(r, offset, &commit);
		if (bytes < 0)
			return bytes;
		/*
		 * What units cover is not searched again: each of them leads to the same
		 * place, and the time would be the square of their number. Their lengths
		 * can be believed: a tail is cut off before another is written there.
		 */
		next = offset > block ? round_up(offset) : block + BLOCK_BYTES;
		if (bytes == 0 || commit.header.target_durable <= scan->last_ordinal)
			continue;
		scan->damaged = true;
		snprintf(scan->text, sizeof(scan->text),
			 "damaged at byte %llu: commit %llu was durable and does not check",
			 (unsigned long long)scan->end_offset,
			 (unsigned long long)scan->last_ordinal + 1);
		return 0;
	}
	return 0;
}

/* @data_end: out, where it says that the batches end */
static int read_footer(struct reader *r, struct segment_index *index, uint64_t *data_end)
{
	struct segment_trailer t;
	uint8_t *footer;
	const uint8_t *at;
	int64_t got;
	int ret;

	if (r->file_bytes < SEGMENT_HEADER_BYTES + SEGMENT_TRAILER_BYTES ||
	    r->file_bytes % BLOCK_BYTES)
		return -EBADMSG;
	got = reader_at(r, r->file_bytes - SEGMENT_TRAILER_BYTES, SEGMENT_TRAILER_BYTES, &at);
	if (got < SEGMENT_TRAILER_BYTES)
		return got < 0 ? got : -EBADMSG;
	if (segment_trailer_decode(at, &t) || t.footer_offset != t.data_end ||
	    t.footer_offset % BLOCK_BYTES || t.footer_bytes > FOOTER_MAX_BYTES ||
	    t.footer_offset > r->file_bytes ||
	    t.footer_offset + round_up(t.footer_bytes) + SEGMENT_TRAILER_BYTES != r->file_bytes)
		return -EBADMSG;
	footer = aligned_alloc(BLOCK_BYTES, round_up(t.footer_bytes + 1));
	if (!footer)
		return -ENOMEM;
	got = reader_read(r, footer, round_up(t.footer_bytes), t.footer_offset);
	ret = got < 0 ? got : got < (int64_t)t.footer_bytes ? -EBADMSG :
	      segment_footer_decode(footer, t.footer_bytes, t.data_end, index);
	free(footer);
	*data_end = t.data_end;
	return ret;
}

/* Are there a whole trailer and footer, for the data that were found? */
static int find_trailer(struct segment_scan *scan, struct reader *r)
{
	struct segment_index footer = { 0 };
	uint64_t data_end;
	int ret;

	if (scan->end_limit)
		return 0;
	ret = read_footer(r, &footer, &data_end);
	scan->sealed = ret == 0 && data_end == scan->end_offset &&
		       footer.nr_commits == scan->index.nr_commits &&
		       footer.nr_extents == scan->index.nr_extents;
	segment_index_fini(&footer);
	return ret == -EBADMSG ? 0 : ret;
}

static int scan_from_start(struct segment_scan *scan, struct reader *r)
{
	int64_t end;
	int ret;

	if (scan->header_valid) {
		scan->end_offset = SEGMENT_HEADER_BYTES;
		while ((end = scan_batch(scan, r, scan->end_offset)) > 0)
			scan->end_offset = end;
		segment_index_void(&scan->index);
		if (end < 0)
			return end;
		ret = find_trailer(scan, r);
		if (ret || scan->sealed)
			return ret;
	}
	return scan->end_limit ? 0 : find_later(scan, r);
}

/* -- a sealed segment, by its footer -- */

/* Commit records kept until it is known that all of them check. */
struct records {
	uint8_t *bytes;
	size_t nr_bytes, max_bytes;
};

static int keep_record(struct records *kept, const struct commit_view *commit)
{
	size_t bytes = commit->header.record_bytes;

	if (!array_reserve(&kept->bytes, &kept->max_bytes, kept->nr_bytes + bytes))
		return -ENOMEM;
	/* The gaps table follows the header as it was read. */
	memcpy(kept->bytes + kept->nr_bytes,
	       (const uint8_t *)commit->gaps - sizeof(commit->header), bytes);
	kept->nr_bytes += bytes;
	return 0;
}

/* All commit records that the footer names, and that its extents are theirs. */
static int read_commits(struct segment_scan *scan, struct reader *r, struct records *kept)
{
	size_t extent = 0;

	for (size_t i = 0; i < scan->index.nr_commits; i++) {
		struct commit_view commit;
		int64_t bytes = read_commit(r, scan->index.commits[i], &commit);

		if (bytes < 0)
			return bytes;
		if (bytes == 0 || commit.header.ordinal != scan->last_ordinal + 1)
			return -EBADMSG;
		if (scan->commit && keep_record(kept, &commit))
			return -ENOMEM;
		while (extent < scan->index.nr_extents &&
		       scan->index.extents[extent].batch_ordinal == commit.header.ordinal)
			extent++;
		scan->last_ordinal = commit.header.ordinal;
	}
	return extent == scan->index.nr_extents ? 0 : -EBADMSG;
}

static int tell_commits(struct segment_scan *scan, const struct records *kept)
{
	size_t extent = 0, first, offset = 0;
	int ret = 0;

	while (offset < kept->nr_bytes && !ret) {
		struct commit_view commit;

		ret = commit_decode(kept->bytes + offset, kept->nr_bytes - offset, &commit);
		if (ret)
			break;
		offset += commit.header.record_bytes;
		first = extent;
		while (extent < scan->index.nr_extents &&
		       scan->index.extents[extent].batch_ordinal == commit.header.ordinal)
			extent++;
		ret = scan->commit(scan->arg, &commit,
				   extent > first ? &scan->index.extents[first] : NULL,
				   extent - first);
	}
	return ret;
}

static int scan_by_footer(struct segment_scan *scan, struct reader *r)
{
	struct records kept = { 0 };
	int ret;

	r->fill_bytes = SPARSE_BYTES;
	ret = read_footer(r, &scan->index, &scan->end_offset);
	if (!ret && scan->index.nr_commits == 0)
		ret = -EBADMSG;
	if (!ret)
		ret = read_commits(scan, r, &kept);
	if (!ret) {
		scan->sealed = true;
		ret = tell_commits(scan, &kept);
	}
	free(kept.bytes);
	return ret;
}

void segment_scan_init(struct segment_scan *scan, struct env *env, const char *dir,
		       const uint8_t *timeline, uint64_t number, uint64_t first_ordinal)
{
	*scan = (struct segment_scan){
		.env = env, .dir = dir, .timeline = timeline, .number = number,
		.first_ordinal = first_ordinal, .trust_footer = true,
	};
	segment_path(scan->path, sizeof(scan->path), dir, number);
}

int segment_scan(struct segment_scan *scan)
{
	struct reader r;
	const uint8_t *at;
	int64_t seen;
	int ret;

	ret = reader_open(&r, scan);
	if (ret)
		return ret;
	if (scan->end_limit && scan->end_limit < r.file_bytes)
		r.file_bytes = scan->end_limit;
	scan->header_valid = scan->sealed = scan->damaged = false;
	scan->end_offset = 0;
	scan->last_ordinal = scan->first_ordinal - 1;
	seen = reader_at(&r, 0, SEGMENT_HEADER_BYTES, &at);
	scan->header_valid = seen >= SEGMENT_HEADER_BYTES &&
		segment_header_decode(at, &scan->header) == 0 &&
		memcmp(scan->header.timeline, scan->timeline, 16) == 0 &&
		scan->header.number == scan->number &&
		scan->header.first_ordinal == scan->first_ordinal;
	ret = seen < 0 ? seen : -EBADMSG;
	if (scan->header_valid && scan->trust_footer && !scan->end_limit)
		ret = scan_by_footer(scan, &r);
	if (ret == -EBADMSG && !scan->sealed) {
		segment_index_clear(&scan->index);
		scan->last_ordinal = scan->first_ordinal - 1;
		r.fill_bytes = WINDOW_BYTES;
		ret = scan_from_start(scan, &r);
	}
	reader_close(&r);
	return ret;
}

static bool pack_follows(const struct segment_scan *scan)
{
	struct pack pack;
	bool follows;

	if (pack_open(scan->env, scan->dir, scan->timeline, scan->next, &pack))
		return false;
	follows = pack.header.first_segment == scan->number + 1 &&
		  pack.header.first_ordinal == scan->last_ordinal + 1;
	pack_close(&pack);
	return follows;
}

/* Without a good footer the next segment says whether all was found, or what has its place. */
static bool next_follows(const struct segment_scan *scan)
{
	struct segment_scan next;
	int ret;

	if (scan->next)
		return pack_follows(scan);
	segment_scan_init(&next, scan->env, scan->dir, scan->timeline, scan->number + 1,
			  scan->last_ordinal + 1);
	ret = segment_scan(&next);
	segment_index_fini(&next.index);
	return !ret && next.header_valid;
}

int segment_scan_finished(struct segment_scan *scan)
{
	int ret = segment_scan(scan);

	if (!ret && (!scan->header_valid || scan->damaged || scan->index.nr_commits == 0))
		ret = -EBADMSG;
	if (!ret && !scan->sealed && (!scan->end_limit || scan->end_offset != scan->end_limit) &&
	    !next_follows(scan))
		ret = -EBADMSG;
	return ret;
}

int segment_first_ordinal(struct env *env, const char *dir, const uint8_t *timeline,
			  uint64_t number, uint64_t *out)
{
	uint8_t block[SEGMENT_HEADER_BYTES] __attribute__((aligned(8)));
	struct segment_header header;
	char path[SEGMENT_PATH_BYTES];
	struct env_file *file;
	int64_t got;
	int ret;

	segment_path(path, sizeof(path), dir, number);
	ret = env->ops->open(env, path, ENV_READ, &file);
	if (ret)
		return ret;
	got = env->ops->read(env, file, block, sizeof(block), 0);
	env->ops->close(env, file);
	if (got < 0)
		return got;
	if (got < (int64_t)sizeof(block) || segment_header_decode(block, &header) ||
	    header.number != number ||
	    memcmp(header.timeline, timeline, sizeof(header.timeline)) != 0)
		return -EBADMSG;
	*out = header.first_ordinal;
	return 0;
}
