/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run_read - look into runs: by search, through a bounded cache, or from end to end.
 *
 * Fed with run files; feeds views (run_seek) and merging (run_stream). Every block is
 * checked before anything in it is used. An inconsistent run ends in -EBADMSG, never in a
 * loop: a cursor only moves forward, a descent only to lower blocks.
 */
#ifndef BLKSHIP_RUN_READ_H
#define BLKSHIP_RUN_READ_H

#include <stdbool.h>

#include "../lib/env.h"
#include "manifest_format.h"
#include "run.h"

struct run {
	struct env *env;
	struct env_file *file;	/* NULL: not open */
	struct run_header header;
};

/**
 * run_open - open a run and check its header
 * @want: what the manifest says of it
 * Return: 0; -ENOENT; -EBADMSG it is not what the manifest names; -errno.
 */
int run_open(struct env *env, const char *dir, const uint8_t *timeline,
	     const struct manifest_run *want, struct run *out);
void run_close(struct run *run);

/* -- searching -- */

#define RUN_CACHE_SETS	512
#define RUN_CACHE_WAYS	4	/* 2048 blocks: 8 MiB, as far as used */

struct run_cached {
	uint64_t number;	/* of the run; 0: empty */
	uint64_t used;		/* when, for the oldest to go */
	uint32_t at;
	struct run_block head;
	uint8_t *block;
};

struct run_cache {
	struct run_cached blocks[RUN_CACHE_SETS][RUN_CACHE_WAYS];
	uint64_t clock;
};

void run_cache_fini(struct run_cache *cache);

struct run_cursor {
	const struct run *run;
	struct run_cache *cache;
	uint32_t at;		/* leaf */
	unsigned int index;
	struct run_entry entry;	/* where it stands */
};

/**
 * run_seek - the first entry that is not before @key
 * Return: 0; -ENOENT there is none; -EBADMSG; -errno.
 */
int run_seek(const struct run *run, struct run_cache *cache, const struct run_key *key,
	     struct run_cursor *out);

/** run_next - the next entry; as run_seek() */
int run_next(struct run_cursor *c);

/** run_skip - on to the first entry that is not before @key, which is ahead; as run_seek() */
int run_skip(struct run_cursor *c, const struct run_key *key);

/**
 * run_advance - to the first entry that is not before @key, which may be where it stands
 * @c: only run and cache set: then as run_seek(); else @key is not before the last one sought
 */
int run_advance(struct run_cursor *c, const struct run_key *key);

/* -- all of it, in order -- */

struct run_stream {
	const struct run *run;
	uint8_t *window;
	uint32_t first, nr;	/* blocks in the window */
	uint32_t at;		/* block in hand, 0: none */
	struct run_block head;
	unsigned int index;	/* of the next entry in it */
	uint64_t nr_entries;	/* so far */
	uint64_t read_bytes;	/* so far, from the file */
};

/** run_stream_begin - Return: 0 or -ENOMEM; run_stream_end() is due. */
int run_stream_begin(struct run_stream *s, const struct run *run);
/** run_stream_next - Return: 0; -ENOENT that was all; -EBADMSG; -errno. */
int run_stream_next(struct run_stream *s, struct run_entry *e);
void run_stream_end(struct run_stream *s);

#endif
