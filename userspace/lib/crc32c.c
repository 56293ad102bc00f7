// SPDX-License-Identifier: GPL-2.0-only
/* ISA-L does the bytes; this is the interface the rest uses, and combining. */
#include "crc32c.h"

#include <isa-l/crc.h>
#include <pthread.h>

#define POLYNOMIAL 0x82f63b78u	/* reflected */
#define TABLE_BYTES 4096	/* the length that is combined all the time */

static uint32_t shift_table[4][256];	/* CRC bytes times x^(8 * TABLE_BYTES) */
static pthread_once_t shift_once = PTHREAD_ONCE_INIT;

uint32_t crc32c_extend(uint32_t crc, const void *buf, size_t bytes)
{
	const unsigned char *at = buf;

	/* ISA-L takes an int. */
	while (bytes > 1u << 30) {
		crc = ~crc32_iscsi((unsigned char *)at, 1 << 30, ~crc);
		at += 1u << 30;
		bytes -= 1u << 30;
	}
	return ~crc32_iscsi((unsigned char *)at, (int)bytes, ~crc);
}

uint32_t crc32c(const void *buf, size_t bytes)
{
	return crc32c_extend(0, buf, bytes);
}

/* a * b modulo the polynomial; bit 31 is x^0. */
static uint32_t multiply(uint32_t a, uint32_t b)
{
	uint32_t product = 0;

	for (uint32_t bit = 1u << 31; bit && a; bit >>= 1) {
		if (a & bit) {
			product ^= b;
			a ^= bit;
		}
		b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
	}
	return product;
}

/* x^(8 * bytes) modulo the polynomial, by squaring. */
static uint32_t power_of_bytes(size_t bytes)
{
	uint32_t square = 1u << 23;	/* x^8 */
	uint32_t result = 1u << 31;	/* x^0 */

	for (; bytes; bytes >>= 1) {
		if (bytes & 1)
			result = multiply(result, square);
		square = multiply(square, square);
	}
	return result;
}

static void shift_init(void)
{
	uint32_t shift = power_of_bytes(TABLE_BYTES);

	for (int byte = 0; byte < 4; byte++)
		for (uint32_t v = 0; v < 256; v++)
			shift_table[byte][v] = multiply(shift, v << (8 * byte));
}

uint32_t crc32c_combine(uint32_t crc_a, uint32_t crc_b, size_t b_bytes)
{
	if (b_bytes != TABLE_BYTES)
		return multiply(power_of_bytes(b_bytes), crc_a) ^ crc_b;
	pthread_once(&shift_once, shift_init);
	return shift_table[0][crc_a & 255] ^ shift_table[1][crc_a >> 8 & 255] ^
	       shift_table[2][crc_a >> 16 & 255] ^ shift_table[3][crc_a >> 24] ^ crc_b;
}
