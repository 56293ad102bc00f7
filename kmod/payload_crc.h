/* SPDX-License-Identifier: GPL-2.0 */
/* payload_crc - the CRC32C of a record, cheap enough for every write. */
#ifndef BLKSHIP_PAYLOAD_CRC_H
#define BLKSHIP_PAYLOAD_CRC_H

#include <linux/types.h>

void blkship_payload_crc_init(void);

/* From ~0, inverted at the end. Any context; length is a multiple of 512. */
u32 blkship_payload_crc(const u8 *payload, u32 length_bytes);

#endif
