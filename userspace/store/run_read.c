// SPDX-License-Identifier: GPL-2.0-only
/* run_read - look into runs: by search, through a bounded cache, or from end to end. */
#include "run_read.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block.h"

#define PATH_BYTES	4096
#define STREAM_BLOCKS	64	/* 256 KiB */

/* -- opening -- */

static bool header_fits(const struct run_header *h, const uint8_t *timeline,
			const struct manifest_run *want, uint64_t file_bytes)
{
	return memcmp(h->timeline, timeline, sizeof(h->timeline)) == 0 &&
	       h->number == want->number && h->first_segment == want->first_segment &&
	       h->last_segment == want->last_segment && h->last_ordinal == want->last_ordinal &&
	       h->nr_entries == want->nr_entries && h->nr_blocks == want->nr_blocks &&
	       h->level == want->level && file_bytes == (uint64_t)h->nr_blocks * RUN_BLOCK_BYTES;
}

int run_open(struct env *env, const char *dir, const uint8_t *timeline,
	     const struct manifest_run *want, struct run *out)
{
	uint8_t block[RUN_BLOCK_BYTES];
	char path[PATH_BYTES];
	uint64_t bytes;
	int ret;

	*out = (struct run){ .env = env };
	run_path(path, sizeof(path), dir, want->number, 0);
	ret = block_open(env, path, &out->file, block, &bytes);
	if (ret)
		return ret;
	if (run_header_decode(block, &out->header) ||
	    !header_fits(&out->header, timeline, want, bytes)) {
		run_close(out);
		return -EBADMSG;
	}
	return 0;
}

void run_close(struct run *run)
{
	if (run->file)
		run->env->ops->close(run->env, run->file);
	run->file = NULL;
}

/* -- blocks by way of the cache -- */

void run_cache_fini(struct run_cache *cache)
{
	for (size_t i = 0; i < RUN_CACHE_SETS; i++)
		for (size_t j = 0; j < RUN_CACHE_WAYS; j++)
			free(cache->blocks[i][j].block);
	memset(cache, 0, sizeof(*cache));
}

/* The one of the set that was not used for longest. */
static struct run_cached *cache_slot(struct run_cached *set)
{
	struct run_cached *oldest = &set[0];

	for (size_t i = 1; i < RUN_CACHE_WAYS; i++)
		if (set[i].used < oldest->used)
			oldest = &set[i];
	return oldest;
}

/* A checked block, good until the next call. */
static int block_get(struct run_cache *cache, const struct run *run, uint32_t at,
		     const struct run_cached **out)
{
	uint64_t hash = (at ^ run->header.number << 32) * 0x9e3779b97f4a7c15u;
	struct run_cached *set = cache->blocks[hash >> 40 & (RUN_CACHE_SETS - 1)], *c;
	int64_t got;

	for (size_t i = 0; i < RUN_CACHE_WAYS; i++) {
		c = &set[i];
		if (c->number == run->header.number && c->at == at) {
			c->used = ++cache->clock;
			*out = c;
			return 0;
		}
	}
	if (at == 0 || at >= run->header.nr_blocks)
		return -EBADMSG;
	c = cache_slot(set);
	if (!c->block)
		c->block = malloc(RUN_BLOCK_BYTES);
	if (!c->block)
		return -ENOMEM;
	c->number = 0;
	got = run->env->ops->read(run->env, run->file, c->block, RUN_BLOCK_BYTES,
				  (uint64_t)at * RUN_BLOCK_BYTES);
	if (got < 0)
		return got;
	if (got < RUN_BLOCK_BYTES || run_block_check(c->block, run->header.number, at, &c->head))
		return -EBADMSG;
	c->number = run->header.number;
	c->at = at;
	c->used = ++cache->clock;
	*out = c;
	return 0;
}

/* -- searching -- */

/* The last child that begins before @key; the first if none does. */
static uint32_t node_child(const struct run_cached *node, const struct run_key *key)
{
	unsigned int low = 0, high = node->head.nr;
	struct run_key fence;
	uint32_t child;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		run_fence_get(node->block, mid, &fence, &child);
		if (run_key_compare(&fence, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	run_fence_get(node->block, low ? low - 1 : 0, &fence, &child);
	return child;
}

/* The first entry of a leaf, from @from on, that is not before @key: its index, or nr. */
static unsigned int leaf_find(const struct run_cached *leaf, unsigned int from,
			      const struct run_key *key)
{
	unsigned int low = from, high = leaf->head.nr;
	struct run_key at;

	while (low < high) {
		unsigned int mid = (low + high) / 2;

		run_key_get(leaf->block, mid, &at);
		if (run_key_compare(&at, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* Stand on entry @index of leaf @at; behind its last one: on the first of the next leaf. */
static int cursor_stand(struct run_cursor *c, uint32_t at, unsigned int index)
{
	const struct run_cached *leaf;

	for (;; at++, index = 0) {
		int ret;

		if (at >= c->run->header.nr_blocks)
			return -ENOENT;
		ret = block_get(c->cache, c->run, at, &leaf);
		if (ret)
			return ret;
		if (leaf->head.depth || index == leaf->head.nr)
			continue;
		c->at = at;
		c->index = index;
		return run_entry_get(leaf->block, index, &c->run->header, &c->entry);
	}
}

int run_seek(const struct run *run, struct run_cache *cache, const struct run_key *key,
	     struct run_cursor *out)
{
	const struct run_cached *node;
	uint32_t at = run->header.root;
	int ret;

	*out = (struct run_cursor){ .run = run, .cache = cache };
	if (at == 0)
		return -ENOENT;
	ret = block_get(cache, run, at, &node);
	while (!ret && node->head.depth) {
		unsigned int depth = node->head.depth;
		uint32_t child = node_child(node, key);

		if (child >= at)
			return -EBADMSG;
		at = child;
		ret = block_get(cache, run, at, &node);
		if (!ret && node->head.depth != depth - 1)
			ret = -EBADMSG;
	}
	return ret ? ret : cursor_stand(out, at, leaf_find(node, 0, key));
}

int run_next(struct run_cursor *c)
{
	return cursor_stand(c, c->at, c->index + 1);
}

int run_skip(struct run_cursor *c, const struct run_key *key)
{
	const struct run_cached *leaf;
	struct run_cursor to;
	unsigned int index;
	int ret = block_get(c->cache, c->run, c->at, &leaf);

	if (ret)
		return ret;
	index = leaf_find(leaf, c->index + 1, key);
	if (index < leaf->head.nr)
		return cursor_stand(c, c->at, index);
	ret = run_seek(c->run, c->cache, key, &to);
	/* In a run that is in order that is ahead; in one that is not it could go on for ever. */
	if (!ret && to.at <= c->at)
		ret = -EBADMSG;
	if (!ret)
		*c = to;
	return ret;
}

int run_advance(struct run_cursor *c, const struct run_key *key)
{
	const struct run_key at = run_entry_key(&c->entry);

	if (c->at == 0)
		return run_seek(c->run, c->cache, key, c);
	return run_key_compare(&at, key) < 0 ? run_skip(c, key) : 0;
}

/* -- all of it -- */

int run_stream_begin(struct run_stream *s, const struct run *run)
{
	*s = (struct run_stream){ .run = run };
	s->window = malloc(STREAM_BLOCKS * RUN_BLOCK_BYTES);
	return s->window ? 0 : -ENOMEM;
}

void run_stream_end(struct run_stream *s)
{
	free(s->window);
	s->window = NULL;
}

/* The next leaf. */
static int stream_leaf(struct run_stream *s)
{
	const struct run *run = s->run;
	int64_t got;

	do {
		if (++s->at >= run->header.nr_blocks)
			return s->nr_entries == run->header.nr_entries ? -ENOENT : -EBADMSG;
		if (s->at >= s->first + s->nr) {
			got = run->env->ops->read(run->env, run->file, s->window,
						  STREAM_BLOCKS * RUN_BLOCK_BYTES,
						  (uint64_t)s->at * RUN_BLOCK_BYTES);
			if (got < RUN_BLOCK_BYTES)
				return got < 0 ? got : -EBADMSG;
			s->read_bytes += got;
			s->first = s->at;
			s->nr = got / RUN_BLOCK_BYTES;
		}
		if (run_block_check(s->window + (size_t)(s->at - s->first) * RUN_BLOCK_BYTES,
				    run->header.number, s->at, &s->head))
			return -EBADMSG;
	} while (s->head.depth);
	s->index = 0;
	return 0;
}

int run_stream_next(struct run_stream *s, struct run_entry *e)
{
	int ret = 0;

	if (s->at == 0 || s->index == s->head.nr)
		ret = stream_leaf(s);
	if (ret)
		return ret;
	s->nr_entries++;
	return run_entry_get(s->window + (size_t)(s->at - s->first) * RUN_BLOCK_BYTES, s->index++,
			     &s->run->header, e);
}
