/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_read - look into packs: where something lies now, and all there is.
 *
 * Fed with pack files; feeds views (pack_find), the rest of a view, runs made anew, checks
 * and later packs (pack_stream). Every block is checked before anything in it is used. An
 * inconsistent pack ends in -EBADMSG, never in a loop.
 */
#ifndef BLKSHIP_PACK_READ_H
#define BLKSHIP_PACK_READ_H

#include "../lib/env.h"
#include "manifest_format.h"
#include "pack.h"

struct pack {
	struct env *env;
	struct env_file *file;	/* NULL: not open */
	struct pack_header header;
};

/**
 * pack_open - open a pack and check its header
 * @want: what the manifest says of it
 * Return: 0; -ENOENT; -EBADMSG it is not what the manifest names; -errno.
 */
int pack_open(struct env *env, const char *dir, const uint8_t *timeline,
	      const struct manifest_pack *want, struct pack *out);
void pack_close(struct pack *pack);

/* -- searching -- */

#define PACK_CACHE_BLOCKS	512	/* 2 MiB, as far as used */

struct pack_cached {
	uint64_t number;	/* of the pack; 0: empty */
	uint32_t at;
	unsigned int nr;
	uint8_t *block;
};

struct pack_cache {
	struct pack_cached blocks[PACK_CACHE_BLOCKS];
};

void pack_cache_fini(struct pack_cache *cache);

/**
 * pack_find - the part that holds a byte of the data of an extent
 * @origin: where the byte was; a run has it so
 * Return: 0; -ENOENT nothing there was live; -EBADMSG; -errno.
 */
int pack_find(const struct pack *pack, struct pack_cache *cache, const struct pack_origin *origin,
	      struct pack_extent *out);

/* -- all of it, by origin -- */

struct pack_stream {
	const struct pack *pack;
	uint8_t *block;
	uint32_t at;		/* of the next block */
	unsigned int nr, index;	/* in the one in hand */
	uint64_t nr_extents;	/* so far */
	struct pack_origin last;
};

/** pack_stream_begin - Return: 0 or -ENOMEM; pack_stream_end() is due. */
int pack_stream_begin(struct pack_stream *s, const struct pack *pack);
/** pack_stream_next - Return: 0; -ENOENT that was all; -EBADMSG; -errno. */
int pack_stream_next(struct pack_stream *s, struct pack_extent *e);
void pack_stream_end(struct pack_stream *s);

/* -- tables -- */

struct pack_tables {
	uint8_t *bytes;		/* the ordinals of the segments, little-endian; commits; kept cuts */
	size_t nr_bytes, kept_bytes;
	uint64_t nr_segments;
	uint64_t first_segment;
};

/** pack_tables_load - Return: 0, and free(bytes) is due; -EBADMSG; -errno. */
int pack_tables_load(const struct pack *pack, struct pack_tables *out);

/** pack_tables_ordinal - of the last batch of a segment of the pack */
uint64_t pack_tables_ordinal(const struct pack_tables *t, uint64_t segment);

/**
 * pack_tables_commits - hand out the commit records it has, by ordinal
 * Return: 0; -EBADMSG; what @each returned.
 */
int pack_tables_commits(const struct pack_tables *t, const struct pack_header *pack,
			int (*each)(void *arg, const struct commit_view *commit), void *arg);

/** pack_tables_kept - the cuts that were kept when it was made, as pack_kept_decode() */
int pack_tables_kept(const struct pack_tables *t, uint64_t **cuts, size_t *nr);

#endif
