/* SPDX-License-Identifier: GPL-2.0 */
/*
 * crc_core - the CRC32C of a whole from those of its pieces, which come in any
 * order. Arithmetic only; also built for the host.
 *
 * A CRC is linear: that of a whole is the sum (exclusive or) of what each piece
 * contributes by its place, and of what the initial value does. So pieces are
 * added up as they come, each byte once, and nobody has to read the whole again.
 */
#ifndef BLKSHIP_CRC_CORE_H
#define BLKSHIP_CRC_CORE_H

#include <linux/types.h>

/* What a piece with this CRC32C contributes when so many bytes lie behind it. */
u32 blkship_crc_share(u32 crc, u32 length_bytes, u32 behind_bytes);

/* The CRC32C of a whole from the sum of what all its pieces contribute. */
u32 blkship_crc_whole(u32 sum, u32 length_bytes);

#endif
