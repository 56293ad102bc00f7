/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run_merge - the entries of several runs, in order, as if they were one.
 *
 * Fed with runs that lie side by side; feeds merging and the search for what is dead.
 * 256 KiB of memory for each run.
 */
#ifndef BLKSHIP_RUN_MERGE_H
#define BLKSHIP_RUN_MERGE_H

#include "run_read.h"

struct run_merge_input {
	struct run run;
	struct run_stream stream;
	struct run_entry head;
	bool more;
};

struct run_merge {
	struct run_merge_input *inputs;
	size_t nr;
	size_t current;		/* whose entry was handed out last; nr: none yet */
	uint64_t read_bytes;	/* so far, of all of them */
	size_t failed;		/* on failure: the input whose fault it is; nr: nobody's */
};

/** run_merge_begin - open them; Return: 0; as run_open(). run_merge_end() is due anyway. */
int run_merge_begin(struct run_merge *m, struct env *env, const char *dir,
		    const uint8_t *timeline, const struct manifest_run *inputs, size_t nr);

/** run_merge_next - Return: 0; -ENOENT that was all; -EBADMSG; -errno. */
int run_merge_next(struct run_merge *m, struct run_entry *e);

void run_merge_end(struct run_merge *m);

#endif
