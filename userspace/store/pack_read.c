// SPDX-License-Identifier: GPL-2.0-only
/* pack_read - look into packs: where something lies now, and all there is. */
#include "pack_read.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "block.h"
#include "pack_kept.h"

#define PATH_BYTES	4096

/* -- opening -- */

static bool header_fits(const struct pack_header *h, const uint8_t *timeline,
			const struct manifest_pack *want, uint64_t file_bytes)
{
	return memcmp(h->timeline, timeline, sizeof(h->timeline)) == 0 &&
	       h->number == want->number && h->first_segment == want->first_segment &&
	       h->last_segment == want->last_segment && h->last_ordinal == want->last_ordinal &&
	       h->points_no == want->points_no && h->nr_extents == want->nr_extents &&
	       h->live_bytes == want->live_bytes && file_bytes == want->file_bytes &&
	       pack_header_file_bytes(h) == file_bytes;
}

int pack_open(struct env *env, const char *dir, const uint8_t *timeline,
	      const struct manifest_pack *want, struct pack *out)
{
	uint8_t block[PACK_BLOCK_BYTES];
	char path[PATH_BYTES];
	uint64_t bytes;
	int ret;

	*out = (struct pack){ .env = env };
	pack_path(path, sizeof(path), dir, want->number, 0);
	ret = block_open(env, path, &out->file, block, &bytes);
	if (ret)
		return ret;
	if (pack_header_decode(block, &out->header) ||
	    !header_fits(&out->header, timeline, want, bytes)) {
		pack_close(out);
		return -EBADMSG;
	}
	return 0;
}

void pack_close(struct pack *pack)
{
	if (pack->file)
		pack->env->ops->close(pack->env, pack->file);
	pack->file = NULL;
}

/* Checked blocks of the directory: how many extents, or -errno. */
static int block_read(const struct pack *pack, uint32_t at, uint8_t *block)
{
	int64_t got = pack->env->ops->read(pack->env, pack->file, block, PACK_BLOCK_BYTES,
					   pack->header.data_end +
					   (uint64_t)at * PACK_BLOCK_BYTES);

	if (got < PACK_BLOCK_BYTES)
		return got < 0 ? got : -EBADMSG;
	return pack_block_check(block, pack->header.number, at);
}

/* -- searching -- */

void pack_cache_fini(struct pack_cache *cache)
{
	for (size_t i = 0; i < PACK_CACHE_BLOCKS; i++)
		free(cache->blocks[i].block);
	memset(cache, 0, sizeof(*cache));
}

static int block_get(struct pack_cache *cache, const struct pack *pack, uint32_t at,
		     const struct pack_cached **out)
{
	uint64_t hash = (at ^ pack->header.number << 32) * 0x9e3779b97f4a7c15u;
	struct pack_cached *c = &cache->blocks[hash >> 40 & (PACK_CACHE_BLOCKS - 1)];
	int nr;

	*out = c;
	if (c->number == pack->header.number && c->at == at)
		return 0;
	if (!c->block)
		c->block = malloc(PACK_BLOCK_BYTES);
	if (!c->block)
		return -ENOMEM;
	c->number = 0;
	nr = block_read(pack, at, c->block);
	if (nr < 0)
		return nr;
	c->number = pack->header.number;
	c->at = at;
	c->nr = nr;
	return 0;
}

/* The last extent of a block that is not behind @origin, or -ENOENT. */
static int block_find(const struct pack_cached *c, const struct pack *pack,
		      const struct pack_origin *origin, struct pack_extent *out)
{
	unsigned int low = 0, high = c->nr;
	int found = -ENOENT;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		struct pack_origin at;
		struct pack_extent e;
		int ret = pack_extent_get(c->block, mid, &pack->header, &e);

		if (ret)
			return ret;
		at = pack_extent_origin(&e);
		if (pack_origin_compare(&at, origin) <= 0) {
			*out = e;
			found = 0;
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return found;
}

int pack_find(const struct pack *pack, struct pack_cache *cache, const struct pack_origin *origin,
	      struct pack_extent *out)
{
	uint32_t low = 0, high = pack->header.nr_blocks;
	const struct pack_cached *c;
	struct pack_extent e, best;
	bool found = false;

	/* The last block whose first extent is not behind it holds the last such extent. */
	while (low < high) {
		uint32_t mid = low + (high - low) / 2;
		struct pack_extent in;
		int ret = block_get(cache, pack, mid, &c);

		if (!ret)
			ret = block_find(c, pack, origin, &in);
		if (ret && ret != -ENOENT)
			return ret;
		if (ret) {
			high = mid;
		} else {
			best = in;
			found = true;
			low = mid + 1;
		}
	}
	if (!found)
		return -ENOENT;
	e = best;
	if (e.segment != origin->segment || e.unit_at != origin->unit_at ||
	    e.extent_no != origin->extent_no || e.kind != EXTENT_DATA ||
	    origin->from_offset - e.from_offset >= e.length_bytes)
		return -ENOENT;
	*out = e;
	return 0;
}

/* -- all of it -- */

int pack_stream_begin(struct pack_stream *s, const struct pack *pack)
{
	*s = (struct pack_stream){ .pack = pack };
	s->block = malloc(PACK_BLOCK_BYTES);
	return s->block ? 0 : -ENOMEM;
}

void pack_stream_end(struct pack_stream *s)
{
	free(s->block);
	s->block = NULL;
}

int pack_stream_next(struct pack_stream *s, struct pack_extent *e)
{
	struct pack_origin origin;
	int ret;

	if (s->index == s->nr) {
		if (s->at == s->pack->header.nr_blocks)
			return s->nr_extents == s->pack->header.nr_extents ? -ENOENT : -EBADMSG;
		ret = block_read(s->pack, s->at, s->block);
		if (ret < 0)
			return ret;
		s->at++;
		s->nr = ret;
		s->index = 0;
	}
	ret = pack_extent_get(s->block, s->index, &s->pack->header, e);
	if (ret)
		return ret;
	origin = pack_extent_origin(e);
	if (s->nr_extents && pack_origin_compare(&s->last, &origin) >= 0)
		return -EBADMSG;
	s->last = origin;
	s->index++;
	s->nr_extents++;
	return 0;
}

/* -- tables -- */

int pack_tables_load(const struct pack *pack, struct pack_tables *out)
{
	const struct pack_header *h = &pack->header;
	uint64_t offset = h->data_end + (uint64_t)h->nr_blocks * PACK_BLOCK_BYTES;
	int64_t got;

	*out = (struct pack_tables){ .nr_bytes = h->tables_bytes, .kept_bytes = h->kept_bytes,
				     .first_segment = h->first_segment,
				     .nr_segments = h->last_segment - h->first_segment + 1 };
	out->bytes = aligned_alloc(FORMAT_ALIGN_BYTES, (h->tables_bytes / 8 + 1) * 8);
	if (!out->bytes)
		return -ENOMEM;
	got = pack->env->ops->read(pack->env, pack->file, out->bytes, h->tables_bytes, offset);
	if (got == (int64_t)h->tables_bytes && crc32c(out->bytes, got) == h->tables_crc)
		return 0;
	free(out->bytes);
	out->bytes = NULL;
	return got < 0 ? got : -EBADMSG;
}

uint64_t pack_tables_ordinal(const struct pack_tables *t, uint64_t segment)
{
	uint64_t raw;

	memcpy(&raw, t->bytes + (segment - t->first_segment) * sizeof(raw), sizeof(raw));
	return le64toh(raw);
}

int pack_tables_commits(const struct pack_tables *t, const struct pack_header *pack,
			int (*each)(void *arg, const struct commit_view *commit), void *arg)
{
	size_t at = t->nr_segments * sizeof(uint64_t), end = t->nr_bytes - t->kept_bytes;
	uint64_t ordinal = pack->first_ordinal - 1;
	uint32_t nr = 0;

	while (at < end) {
		struct commit_view commit;
		int ret = commit_decode(t->bytes + at, end - at, &commit);

		if (ret || commit.header.ordinal <= ordinal ||
		    commit.header.ordinal > pack->last_ordinal)
			return -EBADMSG;
		ret = each(arg, &commit);
		if (ret)
			return ret;
		ordinal = commit.header.ordinal;
		at += commit.header.record_bytes;
		nr++;
	}
	return nr == pack->nr_commits ? 0 : -EBADMSG;
}

int pack_tables_kept(const struct pack_tables *t, uint64_t **cuts, size_t *nr)
{
	return pack_kept_decode(t->bytes + t->nr_bytes - t->kept_bytes, t->kept_bytes, cuts, nr);
}
