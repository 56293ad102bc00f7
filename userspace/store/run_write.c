// SPDX-License-Identifier: GPL-2.0-only
/* run_write - from entries in order to a durable run. */
#include "run_write.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PATH_BYTES	4096

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
	ret = new_file_put(&w->file, node->block, RUN_BLOCK_BYTES);
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
	char path[PATH_BYTES];

	*w = (struct run_writer){ .dir = dir, .header = *header };
	w->header.nr_entries = w->header.lengths = 0;
	w->header.nr_blocks = 1;
	w->header.root = 0;
	w->nodes = calloc(RUN_MAX_DEPTH + 1, sizeof(*w->nodes));
	if (!w->nodes)
		return -ENOMEM;
	run_path(path, sizeof(path), dir, header->number, 1);
	return new_file_begin(&w->file, env, path, pace);
}

int run_writer_finish(struct run_writer *w, struct manifest_run *out)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	uint8_t block[RUN_BLOCK_BYTES];
	int ret = tree_finish(w);

	run_header_encode(&w->header, block);
	run_path(from, sizeof(from), w->dir, w->header.number, 1);
	run_path(to, sizeof(to), w->dir, w->header.number, 0);
	if (!ret)
		ret = new_file_finish(&w->file, w->dir, from, to, block);
	if (ret)
		return ret;
	*out = (struct manifest_run){
		.number = w->header.number, .first_segment = w->header.first_segment,
		.last_segment = w->header.last_segment, .last_ordinal = w->header.last_ordinal,
		.nr_entries = w->header.nr_entries, .nr_blocks = w->header.nr_blocks,
		.level = w->header.level,
	};
	free(w->nodes);
	w->nodes = NULL;
	return 0;
}

void run_writer_abort(struct run_writer *w)
{
	char path[PATH_BYTES];

	run_path(path, sizeof(path), w->dir, w->header.number, 1);
	new_file_abort(&w->file, path);
	free(w->nodes);
	w->nodes = NULL;
}
