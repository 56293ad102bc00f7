/* SPDX-License-Identifier: GPL-2.0-only */
/* block - 4096 bytes with a CRC-32C of all of them in them; files of a store begin with one. */
#ifndef BLKSHIP_BLOCK_H
#define BLKSHIP_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "../lib/segment_format.h"

/** block_crc - of BLOCK_BYTES, with the u32 at @crc_at as 0 */
uint32_t block_crc(const void *block, size_t crc_at);

/** block_seal - put it there, little endian */
void block_seal(void *block, size_t crc_at);

/**
 * block_open - open a file to read, and read the block it begins with
 * @file: out, the caller's to close
 * @block: out, BLOCK_BYTES; not checked
 * @file_bytes: out, how long the file is
 * Return: 0; -ENOENT; -EBADMSG it is shorter than a block; -errno.
 */
int block_open(struct env *env, const char *path, struct env_file **file, void *block,
	       uint64_t *file_bytes);

#endif
