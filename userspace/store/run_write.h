/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run_write - from entries in order to a durable run.
 *
 * Fed by run_build.c; what it leaves behind is named in the manifest by index_runs.c. Until
 * run_writer_finish() has returned 0 there is only a temporary file; afterwards the run is
 * whole and durable, its name included (docs/STORE.md, "Crash").
 *
 * One node is kept of each depth of the tree: the one being filled. Memory is bounded.
 */
#ifndef BLKSHIP_RUN_WRITE_H
#define BLKSHIP_RUN_WRITE_H

#include "manifest_format.h"
#include "new_file.h"
#include "run.h"

struct run_node {
	uint8_t block[RUN_BLOCK_BYTES];
	struct run_key first;
	uint16_t nr;
	uint32_t nr_written;	/* nodes of this depth before it */
};

struct run_writer {
	const char *dir;
	struct run_header header;
	struct new_file file;
	struct run_node *nodes;	/* RUN_MAX_DEPTH + 1, by depth */
	struct run_entry last;
};

/**
 * run_writer_begin - begin a run in a temporary file
 * @header: timeline, number, segments, last ordinal and level; the rest is counted
 * @dir, @pace: borrowed until the end; @pace may be NULL
 * Return: 0; -errno. Then run_writer_abort() is still due.
 */
int run_writer_begin(struct run_writer *w, struct env *env, const char *dir,
		     const struct run_header *header, const struct run_pace *pace);

/** run_writer_add - the next entry; -EBADMSG when it is not behind the one before */
int run_writer_add(struct run_writer *w, const struct run_entry *e);

/**
 * run_writer_finish - write the rest, sync, rename, sync the directory
 * @out: what the manifest has to say, host order
 * Return: 0, and nothing is due; -errno, then run_writer_abort() is.
 */
int run_writer_finish(struct run_writer *w, struct manifest_run *out);

/** run_writer_abort - remove what there is */
void run_writer_abort(struct run_writer *w);

#endif
