// SPDX-License-Identifier: GPL-2.0
/* See crc_core.h. */
#include "crc_core.h"

/*
 * Polynomials over GF(2) modulo that of CRC32C, reflected as the CRC is: bit 31 is
 * x^0, bit 0 is x^31.
 */
#define POLYNOMIAL	0x82f63b78U
#define X_TO_THE_8	(1U << 23)

static u32 times_x(u32 a)
{
	return a >> 1 ^ (a & 1 ? POLYNOMIAL : 0);
}

/* By Horner's rule, from the highest power of a on. */
static u32 times(u32 a, u32 b)
{
	u32 product = 0, power;

	for (power = 0; power < 32; power++)
		product = times_x(product) ^ (a >> power & 1 ? b : 0);
	return product;
}

/* What a CRC becomes when so many bytes of zeroes follow: times x^(8 * bytes). */
static u32 shift(u32 crc, u32 bytes)
{
	u32 factor = X_TO_THE_8;

	for (; bytes; bytes >>= 1) {
		if (bytes & 1)
			crc = times(crc, factor);
		factor = times(factor, factor);
	}
	return crc;
}

u32 blkship_crc_share(u32 crc, u32 length_bytes, u32 behind_bytes)
{
	/* Without the inversion at the end, and the initial value of all ones. */
	return shift(~crc ^ shift(~0U, length_bytes), behind_bytes);
}

u32 blkship_crc_whole(u32 sum, u32 length_bytes)
{
	return ~(sum ^ shift(~0U, length_bytes));
}
