/* SPDX-License-Identifier: GPL-2.0-only */
/* A physical volume as pvcreate of LVM2 2.03.16 writes it, and a mirror of dm-raid, for tests. */
#ifndef BLKSHIP_UNIT_LVM_DISK_H
#define BLKSHIP_UNIT_LVM_DISK_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define LVM_DISK_ID		"d2Nx7g1tRi9GsPTAVNadeqzf8P4fj0gE"
#define LVM_DISK_SECTOR_BYTES	512

/* Written anew, so that the code is not held against itself. */
static inline uint32_t lvm_disk_crc(const void *data, size_t bytes)
{
	static const uint32_t nibbles[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
		0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c };
	const uint8_t *at = data;
	uint32_t c = 0xf597a6cf;

	for (size_t i = 0; i < bytes; i++) {
		c ^= at[i];
		c = c >> 4 ^ nibbles[c & 15];
		c = c >> 4 ^ nibbles[c & 15];
	}
	return c;
}

static inline void lvm_disk_put(uint8_t *at, uint64_t value)
{
	value = htole64(value);
	memcpy(at, &value, sizeof(value));
}

/*
 * Of sector 1. Its data lie from 1 MiB on; lists of data and of metadata areas are ended by zeroes,
 * and version and flags of an extension follow.
 */
static inline void lvm_disk_label(uint8_t *sector, uint64_t size_bytes, uint64_t area_offset,
				  uint64_t area_bytes)
{
	uint32_t crc;

	memset(sector, 0, LVM_DISK_SECTOR_BYTES);
	memcpy(sector, "LABELONE\1", 9);
	sector[20] = 32;
	memcpy(sector + 24, "LVM2 001" LVM_DISK_ID, 40);
	lvm_disk_put(sector + 64, size_bytes);
	lvm_disk_put(sector + 72, 1 << 20);
	lvm_disk_put(sector + 104, area_offset);
	lvm_disk_put(sector + 112, area_bytes);
	sector[136] = 2;
	sector[140] = 1;
	crc = htole32(lvm_disk_crc(sector + 20, LVM_DISK_SECTOR_BYTES - 20));
	memcpy(sector + 16, &crc, sizeof(crc));
}

#define LVM_DISK_MIRROR_BYTES	(8u << 20)

/* Of image @number of two, 8 MiB each, as Linux 6.12 has written it when they were the same. */
static inline void lvm_disk_superblock(uint8_t *sector, uint8_t number)
{
	static const uint8_t written[] = {
		'D', 'm', 'R', 'd', 1, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,
		0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0, 0, 0, 0,
		0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0,
		[113] = 0x40,
	};

	memset(sector, 0, LVM_DISK_SECTOR_BYTES);
	memcpy(sector, written, sizeof(written));
	sector[12] = number;
}

#endif
