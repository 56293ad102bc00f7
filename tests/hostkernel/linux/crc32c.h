/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_CRC32C_H
#define HOSTKERNEL_CRC32C_H

#include <isa-l/crc.h>
#include <linux/types.h>

static inline u32 crc32c(u32 crc, const void *p, u32 length_bytes)
{
	return crc32_iscsi((unsigned char *)p, length_bytes, crc);
}

#endif
