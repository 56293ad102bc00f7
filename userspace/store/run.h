/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * run - the blocks of a run, and how its entries are ordered.
 *
 * Pure: from bytes to checked values in host order and back. docs/STORE.md is the
 * specification. run_write.h makes runs, run_read.h looks into them.
 */
#ifndef BLKSHIP_RUN_H
#define BLKSHIP_RUN_H

#include <stddef.h>
#include <stdint.h>

#include "run_format.h"

/* Where to look: the first entry that is not before this. */
struct run_key {
	uint64_t offset_bytes;
	uint64_t label_seq;
	uint16_t volume;
	uint8_t length_shift;
};

/** run_piece_shift - the length, as a shift, of the next piece of [@offset, @end) */
unsigned int run_piece_shift(uint64_t offset_bytes, uint64_t end_bytes);

/** run_key_compare - volume and offset rising, length and label falling; <0, 0, >0 */
int run_key_compare(const struct run_key *a, const struct run_key *b);

/** run_entry_compare - the same, then the rest of the version, falling */
int run_entry_compare(const struct run_entry *a, const struct run_entry *b);

static inline struct run_key run_entry_key(const struct run_entry *e)
{
	return (struct run_key){ e->offset_bytes, e->label_seq, e->volume, e->length_shift };
}

/** run_header_encode - into a block; magic, version, sizes and CRC are filled in */
void run_header_encode(const struct run_header *header, void *block);
/** run_header_decode - 0 or -EBADMSG; host order */
int run_header_decode(const void *block, struct run_header *header);

/** run_block_seal - renew the head of a block that has its entries or fences */
void run_block_seal(void *block, uint64_t number, uint32_t at, uint16_t nr, uint8_t depth);

/**
 * run_block_check - a block as a whole: CRC, run, place, count
 * Return: 0, and its head in host order; -EBADMSG.
 */
int run_block_check(const void *block, uint64_t number, uint32_t at, struct run_block *head);

void run_entry_put(void *block, unsigned int index, const struct run_entry *e);
/** run_entry_get - of a checked leaf; 0 or -EBADMSG: a field that cannot be */
int run_entry_get(const void *block, unsigned int index, const struct run_header *run,
		  struct run_entry *e);

/** run_key_get - its key alone, of which nothing was checked: to search by */
void run_key_get(const void *block, unsigned int index, struct run_key *key);

void run_fence_put(void *block, unsigned int index, const struct run_key *key, uint32_t child);
void run_fence_get(const void *block, unsigned int index, struct run_key *key, uint32_t *child);

/** run_path - into @path, at least strlen(dir) + 26 bytes; @unfinished: of the new file */
void run_path(char *path, size_t bytes, const char *dir, uint64_t number, int unfinished);

#endif
