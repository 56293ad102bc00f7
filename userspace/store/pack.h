/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack - the blocks of a pack, and the order of its directory.
 *
 * Pure: from bytes to checked values in host order and back. docs/PACK.md is the
 * specification. pack_write.h makes packs, pack_read.h looks into them.
 */
#ifndef BLKSHIP_PACK_H
#define BLKSHIP_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/unit_cipher.h"
#include "pack_format.h"

#define PACK_CIPHER "blkship pack 1"	/* the kind of file, where its key is derived */

/* Where something was: what a run says of it. */
struct pack_origin {
	uint32_t segment;
	uint32_t unit_at;
	uint32_t from_offset;
	uint16_t extent_no;
};

/** pack_origin_compare - the order of the directory; <0, 0, >0 */
int pack_origin_compare(const struct pack_origin *a, const struct pack_origin *b);

static inline struct pack_origin pack_extent_origin(const struct pack_extent *e)
{
	return (struct pack_origin){ e->segment, e->unit_at, e->from_offset, e->extent_no };
}

/**
 * pack_extent_of - an extent of a segment, as it is before it has been packed
 * Its data are where they were. The caller has checked that unit_offset is not too far out.
 */
struct pack_extent pack_extent_of(const struct footer_extent *f, uint32_t segment,
				  uint16_t extent_no);

/**
 * pack_header_encode - into a block; magic, version, sizes and CRC are filled in
 * What the block has behind it stays, and the CRC covers it.
 */
void pack_header_encode(const struct pack_header *header, void *block);
/** pack_header_decode - 0 or -EBADMSG; host order */
int pack_header_decode(const void *block, struct pack_header *header);

/** pack_header_file_bytes - how long the file is */
uint64_t pack_header_file_bytes(const struct pack_header *header);

/** pack_block_seal - renew the head of a block of the directory that has its extents */
void pack_block_seal(void *block, uint64_t number, uint32_t at, uint16_t nr);

/**
 * pack_block_check - a block as a whole: CRC, pack, place, count
 * Return: how many extents it has; -EBADMSG.
 */
int pack_block_check(const void *block, uint64_t number, uint32_t at);

void pack_extent_put(void *block, unsigned int index, const struct pack_extent *e);
/** pack_extent_get - of a checked block; 0 or -EBADMSG: a field that cannot be */
int pack_extent_get(const void *block, unsigned int index, const struct pack_header *pack,
		    struct pack_extent *e);

/** pack_unit_belongs - whether a decoded unit is the one at @offset of pack @number */
static inline bool pack_unit_belongs(const struct unit_view *unit, uint64_t number,
				     uint64_t offset)
{
	return unit->header.batch_ordinal == number && unit->header.label_seq == offset;
}

/** pack_cipher - the key of its units; 0 and *out NULL when they are in clear; -ENOKEY; -errno */
int pack_cipher(const struct pack_header *header, const struct keyring *keys,
		struct unit_cipher **out);

/** pack_unit_extent - the extent of a unit whose data begin at @data_offset; NULL: none do */
const struct unit_extent *pack_unit_extent(const struct unit_view *unit, uint32_t data_offset);

/** pack_path - into @path, at least strlen(dir) + 27 bytes; @unfinished: of the new file */
void pack_path(char *path, size_t bytes, const char *dir, uint64_t number, int unfinished);

#endif
