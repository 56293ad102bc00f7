// SPDX-License-Identifier: GPL-2.0
/*
 * The kernel's crc32c() goes through the crypto layer and, for anything longer
 * than a sector, saves and restores the FPU to multiply without carries. On x86
 * the CRC instruction alone does: it takes three cycles and starts every cycle,
 * so four lanes of a page are worked on at once and put together by tables.
 */
#include <linux/cache.h>
#include <linux/crc32c.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sizes.h>

#include "payload_crc.h"

/* crc32c() may hold off preemption: in pieces. */
#define PIECE_BYTES SZ_64K

static u32 crc_any(u32 crc, const u8 *p, u32 length_bytes)
{
	while (length_bytes) {
		u32 piece = min_t(u32, length_bytes, PIECE_BYTES);

		crc = crc32c(crc, p, piece);
		p += piece;
		length_bytes -= piece;
	}
	return crc;
}

#ifdef CONFIG_X86_64
#include <asm/cpufeature.h>

#define LANE_BYTES	1024
#define LANE_WORDS	(LANE_BYTES / 8)
#define BLOCK_BYTES	(4 * LANE_BYTES)

/* What a CRC becomes when a lane of zeroes follows, for each byte of it. */
static u32 lane_shift[4][256] __ro_after_init;
static bool fast __ro_after_init;

static __always_inline u64 crc_word(u64 crc, const u64 *word)
{
	asm("crc32q %1, %0" : "+r" (crc) : "rm" (*word));
	return crc;
}

static u32 shift_lane(u32 crc)
{
	return lane_shift[0][crc & 0xff] ^ lane_shift[1][crc >> 8 & 0xff] ^
	       lane_shift[2][crc >> 16 & 0xff] ^ lane_shift[3][crc >> 24];
}

static __always_inline u32 crc_block(u32 crc, const u64 *p)
{
	u64 a = crc, b = 0, c = 0, d = 0;
	const u64 *end = p + LANE_WORDS;

	do {
#pragma GCC unroll 32
		for (int i = 0; i < 32; i++) {
			a = crc_word(a, p + i);
			b = crc_word(b, p + LANE_WORDS + i);
			c = crc_word(c, p + 2 * LANE_WORDS + i);
			d = crc_word(d, p + 3 * LANE_WORDS + i);
		}
		p += 32;
	} while (p < end);
	return shift_lane(shift_lane(shift_lane(a) ^ b) ^ c) ^ d;
}

static __always_inline u32 crc_fast(u32 crc, const u8 *p, u32 length_bytes)
{
	const u64 *word = (const u64 *)p;
	u64 state;

	for (; length_bytes >= BLOCK_BYTES; length_bytes -= BLOCK_BYTES) {
		crc = crc_block(crc, word);
		word += BLOCK_BYTES / 8;
	}
	state = crc;
	for (; length_bytes >= 8; length_bytes -= 8)
		state = crc_word(state, word++);
	return state;
}

/* crc32c() tells what the tables have to be, and checks the result. */
void __init blkship_payload_crc_init(void)
{
	const u8 *zeroes = page_address(ZERO_PAGE(0)), *sample;
	int byte, value, bit;

	if (!boot_cpu_has(X86_FEATURE_XMM4_2))
		return;
	for (byte = 0; byte < 4; byte++) {
		for (bit = 0; bit < 8; bit++)
			lane_shift[byte][1 << bit] =
				crc32c(1U << (8 * byte + bit), zeroes,
				       LANE_BYTES);
		for (value = 3; value < 256; value++)
			lane_shift[byte][value] =
				lane_shift[byte][value & (value - 1)] ^
				lane_shift[byte][value & -value];
	}
	/* The tables themselves are as good data as any. */
	sample = (const u8 *)lane_shift;
	fast = crc_fast(~0U, sample, sizeof(lane_shift)) ==
	       crc_any(~0U, sample, sizeof(lane_shift));
	WARN_ON_ONCE(!fast);
}

u32 blkship_payload_crc(const u8 *payload, u32 length_bytes)
{
	return ~(likely(fast) ? crc_fast(~0U, payload, length_bytes) :
		 crc_any(~0U, payload, length_bytes));
}

#else

void __init blkship_payload_crc_init(void)
{
}

u32 blkship_payload_crc(const u8 *payload, u32 length_bytes)
{
	return ~crc_any(~0U, payload, length_bytes);
}

#endif
