/* SPDX-License-Identifier: GPL-2.0-only */
/* lvm_bytes - numbers as LVM2 and device-mapper have them on disks: little-endian, at any place; sums. */
#ifndef BLKSHIP_LVM_BYTES_H
#define BLKSHIP_LVM_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

static inline uint64_t lvm_get64(const uint8_t *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return le64toh(v);
}

static inline uint32_t lvm_get32(const uint8_t *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return le32toh(v);
}

/** lvm_crc - CRC-32 of Ethernet, begun with a number of LVM's and not inverted (lvm_area.c) */
uint32_t lvm_crc(const void *data, size_t bytes);

#endif
