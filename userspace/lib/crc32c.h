/* SPDX-License-Identifier: GPL-2.0-only */
/* crc32c - CRC-32C (Castagnoli), as the kernel, iSCSI and ext4 have it. */
#ifndef BLKSHIP_CRC32C_H
#define BLKSHIP_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/** crc32c - CRC of a buffer: initial value ~0, inverted at the end */
uint32_t crc32c(const void *buf, size_t bytes);

/** crc32c_extend - CRC of what @crc covers followed by @buf; @crc 0 to begin */
uint32_t crc32c_extend(uint32_t crc, const void *buf, size_t bytes);

/**
 * crc32c_combine - CRC of A followed by B from their CRCs
 * @b_bytes: length of B
 * Multiplication by x^(8 * b_bytes) modulo the polynomial, as zlib's
 * crc32_combine() has it; tables for lengths up to 4096 are made on first use.
 */
uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, size_t b_bytes);

#endif
