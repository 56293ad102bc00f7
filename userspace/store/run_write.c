// SPDX-License-Identifier: GPL-2.0-only
/* run_write - from entries in order to a durable run. */
#include "run_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES	(256u << 10)
#define SYNC_BYTES	(8u << 20)	/* so that no sync has much to do, nor others wait for it */
#define PATH_BYTES	4096

/* -- bytes -- */

static int buffer_write(struct run_writer *w)
{
	size_t bytes = w->buffered_bytes;
	int ret;

	ret = w->env->ops->write(w->env, w->file, w->buffer, bytes, w->file_offset);
	if (ret)
		return ret;
	w->file_offset += bytes;
	w->buffered_bytes = 0;
	if (w->file_offset - w->synced_offset >= SYNC_BYTES) {
		ret = w->env->ops->datasync(w->env, w->file);
		w->synced_offset = w->file_offset;
	}
	if (!ret && w->pace)
		ret = w->pace->fn(w->pace->arg, bytes);
	return ret;
}

static int block_put(struct run_writer *w, const uint8_t *block)
{
	memcpy(w->buffer + w->buffered_bytes, block, RUN_BLOCK_BYTES);
	w->buffered_bytes += RUN_BLOCK_BYTES;
	return w->buffered_bytes == BUFFER_BYTES ? buffer_write(w) : 0;
}

/* -- nodes -- */

static int node_flush(struct run_writer *w, unsigned int depth);

/* Room for one more in the node of this depth; the one that was full has its place now. */
static int node_room(struct run_writer *w, unsigned int depth, const struct run_key *first)
{
	struct run_node *node = &w->nodes[depth];
	int ret = 0;

	if (node->nr == (depth ? RUN_NODE_FENCES : RUN_LEAF_ENTRIES))
		ret = node_flush(w, depth);
	if (node->nr == 0)
		node->first = *first;
	return ret;
}

static int node_flush(struct run_writer *w, unsigned int depth)
{
	struct run_node *node = &w->nodes[depth], *parent = &w->nodes[depth + 1];
	uint32_t at = w->header.nr_blocks;
	int ret;

	if (depth == RUN_MAX_DEPTH || at == UINT32_MAX)
		return -EFBIG;
	w->header.nr_blocks++;
	run_block_seal(node->block, w->header.number, at, node->nr, depth);
	ret = block_put(w, node->block);
	if (!ret)
		ret = node_room(w, depth + 1, &node->first);
	if (ret)
		return ret;
	run_fence_put(parent->block, parent->nr++, &node->first, at);
	memset(node->block, 0, sizeof(node->block));
	node->nr = 0;
	node->nr_written++;
	return 0;
}

int run_writer_add(struct run_writer *w, const struct run_entry *e)
{
	struct run_key key = run_entry_key(e);
	int ret;

	if (w->header.nr_entries && run_entry_compare(&w->last, e) >= 0)
		return -EBADMSG;
	ret = node_room(w, 0, &key);
	if (ret)
		return ret;
	run_entry_put(w->nodes[0].block, w->nodes[0].nr++, e);
	w->last = *e;
	w->header.nr_entries++;
	w->header.lengths |= UINT64_C(1) << e->length_shift;
	return 0;
}

/* From the leaves up, until there is one node that all hang on. */
static int tree_finish(struct run_writer *w)
{
	unsigned int depth = 0;
	int ret;

	if (w->header.nr_entries == 0)
		return 0;
	do {
		ret = node_flush(w, depth);
	} while (!ret && w->nodes[depth++].nr_written > 1);
	w->header.root = w->header.nr_blocks - 1;
	return ret;
}

/* -- the file -- */

int run_writer_begin(struct run_writer *w, struct env *env, const char *dir,
		     const struct run_header *header, const struct run_pace *pace)
{
	const unsigned int flags = ENV_WRITE | ENV_CREATE;
	char path[PATH_BYTES];
	int ret;

	*w = (struct run_writer){ .env = env, .dir = dir, .pace = pace, .header = *header };
	w->header.nr_entries = w->header.lengths = 0;
	w->header.nr_blocks = 1;
	w->header.root = 0;
	w->file_offset = w->synced_offset = RUN_BLOCK_BYTES;
	w->nodes = calloc(RUN_MAX_DEPTH + 1, sizeof(*w->nodes));
	w->buffer = malloc(BUFFER_BYTES);
	if (!w->nodes || !w->buffer)
		return -ENOMEM;
	ret = pace ? pace->fn(pace->arg, 0) : 0;
	if (ret)
		return ret;
	run_path(path, sizeof(path), dir, header->number, 1);
	ret = env->ops->open(env, path, flags, &w->file);
	if (ret == -EEXIST) {
		/* Of an attempt that could not even be cleared away. */
		ret = env->ops->unlink(env, path);
		if (!ret)
			ret = env->ops->open(env, path, flags, &w->file);
	}
	if (ret)
		w->file = NULL;
	return ret;
}

static void writer_free(struct run_writer *w)
{
	if (w->file)
		w->env->ops->close(w->env, w->file);
	free(w->nodes);
	free(w->buffer);
	w->file = NULL;
	w->nodes = NULL;
	w->buffer = NULL;
}

int run_writer_finish(struct run_writer *w, struct manifest_run *out)
{
	const struct env_ops *ops = w->env->ops;
	char from[PATH_BYTES], to[PATH_BYTES];
	uint8_t block[RUN_BLOCK_BYTES];
	int ret = tree_finish(w);

	if (!ret && w->buffered_bytes)
		ret = buffer_write(w);
	run_header_encode(&w->header, block);
	if (!ret)
		ret = ops->write(w->env, w->file, block, sizeof(block), 0);
	if (!ret)
		ret = ops->datasync(w->env, w->file);
	run_path(from, sizeof(from), w->dir, w->header.number, 1);
	run_path(to, sizeof(to), w->dir, w->header.number, 0);
	if (!ret)
		ret = ops->rename(w->env, from, to);
	if (!ret)
		ret = ops->sync_dir(w->env, w->dir);
	if (ret)
		return ret;
	*out = (struct manifest_run){
		.number = w->header.number, .first_segment = w->header.first_segment,
		.last_segment = w->header.last_segment, .last_ordinal = w->header.last_ordinal,
		.nr_entries = w->header.nr_entries, .nr_blocks = w->header.nr_blocks,
		.level = w->header.level,
	};
	writer_free(w);
	return 0;
}

void run_writer_abort(struct run_writer *w)
{
	char path[PATH_BYTES];

	if (w->file) {
		/* If that does not work, the next one with this number or the next opening will. */
		run_path(path, sizeof(path), w->dir, w->header.number, 1);
		w->env->ops->unlink(w->env, path);
	}
	writer_free(w);
}
