/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment_index - the extents and commits of one segment, in memory and as footer.
 *
 * Built by who writes or scans a segment; read back from the footer of a sealed one.
 * Extents are in host order, in the order of the stream.
 */
#ifndef BLKSHIP_SEGMENT_INDEX_H
#define BLKSHIP_SEGMENT_INDEX_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "../lib/unit_cipher.h"

struct segment_index {
	struct footer_extent *extents;
	size_t nr_extents, max_extents;
	size_t nr_committed;	/* of the extents, those that a commit closed */
	uint64_t *commits;	/* offsets of commit records */
	size_t nr_commits, max_commits;
};

void segment_index_fini(struct segment_index *index);
void segment_index_clear(struct segment_index *index);

/** segment_index_unit - add the extents of a decoded unit; 0 or -ENOMEM */
int segment_index_unit(struct segment_index *index, const struct unit_view *unit,
		       uint64_t unit_offset);

/** segment_index_commit - what was added so far is closed by the commit at @offset */
int segment_index_commit(struct segment_index *index, uint64_t offset);

/** segment_index_void - forget what no commit closed */
void segment_index_void(struct segment_index *index);

/** segment_footer_bytes - of header, entries and offsets, not padded */
uint64_t segment_footer_bytes(const struct segment_index *index);

/**
 * segment_footer_encode - hand out the footer in pieces
 * @put: called with each piece; not 0: stop and return that
 */
int segment_footer_encode(const struct segment_index *index,
			  int (*put)(void *arg, const void *buf, size_t bytes), void *arg);

/** segment_footer_decode - check a footer and fill @index; 0, -EBADMSG, -ENOMEM */
int segment_footer_decode(const void *buf, size_t bytes, uint64_t data_end,
			  struct segment_index *index);

/* -- header and trailer: blocks of 4096 bytes -- */

/** segment_header_encode - what the block has behind the header stays, and the CRC covers it */
void segment_header_encode(const struct segment_header *header, void *block);
/** segment_header_decode - 0 or -EBADMSG */
int segment_header_decode(const void *block, struct segment_header *header);
void segment_trailer_encode(const struct segment_trailer *trailer, void *block);
int segment_trailer_decode(const void *block, struct segment_trailer *trailer);

/**
 * segment_cipher - what decrypts the units of an open segment, by its header
 * @out: NULL when they are in clear
 * Return: 0; -ENOKEY; -EBADMSG its header is damaged; -errno.
 */
int segment_cipher(struct env *env, struct env_file *file, const struct keyring *keys,
		   struct unit_cipher **out);

/**
 * footer_extent_no - which one of its unit an extent is, from 0
 * @extents: of a batch or of the whole segment; a unit never goes over the end of a batch
 * @before: of the one before; any for the first
 */
static inline uint16_t footer_extent_no(const struct footer_extent *extents, size_t i,
					uint16_t before)
{
	return i && extents[i - 1].unit_offset == extents[i].unit_offset ? before + 1 : 0;
}

/** segment_path - into @path, at least strlen(dir) + 22 bytes */
void segment_path(char *path, size_t bytes, const char *dir, uint64_t number);

#endif
