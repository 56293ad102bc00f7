/* SPDX-License-Identifier: GPL-2.0-only */
/* As in the kernel: the remainder, neither begun with nor inverted for the caller. */
#ifndef HOSTKERNEL_CRC32C_H
#define HOSTKERNEL_CRC32C_H

#include <linux/types.h>

static inline u32 crc32c(u32 crc, const void *data, unsigned int length)
{
	const u8 *p = data;

	while (length--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return crc;
}

#endif
