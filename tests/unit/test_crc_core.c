// SPDX-License-Identifier: GPL-2.0-only
/* The CRC of a whole from those of its pieces, against one that reads the whole. */
#include "unit.h"

#include <string.h>

#include "../../kmod/crc_core.h"
#include "../../userspace/lib/crc32c.h"

#define BYTES (64u << 10)

static uint8_t data[BYTES];

static int fill(void **state)
{
	uint32_t x = 1;

	(void)state;
	for (uint32_t i = 0; i < BYTES; i++) {
		x = x * 1664525 + 1013904223;
		data[i] = x >> 24;
	}
	return 0;
}

static uint32_t share(uint32_t from, uint32_t bytes, uint32_t whole)
{
	return blkship_crc_share(crc32c(data + from, bytes), bytes, whole - from - bytes);
}

static void one_piece_is_the_whole(void **state)
{
	(void)state;
	for (uint32_t bytes = 0; bytes < 600; bytes++)
		assert_int_equal(blkship_crc_whole(share(0, bytes, bytes), bytes),
				 crc32c(data, bytes));
}

/* Cut anywhere; the first piece or the last one first. */
static void pieces_come_in_any_order(void **state)
{
	uint32_t random = 7;

	(void)state;
	for (int round = 0; round < 200; round++) {
		uint32_t forth = 0, back = 0, cut[6] = { 0 };

		for (int i = 1; i < 5; i++) {
			random = random * 1664525 + 1013904223;
			cut[i] = cut[i - 1] + (random >> 8) % (BYTES - cut[i - 1] + 1);
		}
		cut[5] = BYTES;
		for (int i = 0; i < 5; i++) {
			forth ^= share(cut[i], cut[i + 1] - cut[i], BYTES);
			back ^= share(cut[4 - i], cut[5 - i] - cut[4 - i], BYTES);
		}
		assert_int_equal(forth, back);
		assert_int_equal(blkship_crc_whole(forth, BYTES), crc32c(data, BYTES));
	}
}

/* Missing, twice, or in another's place: it is not the CRC of the whole. */
static void a_piece_counts_once_and_in_its_place(void **state)
{
	uint32_t a = share(0, 4096, BYTES), b = share(4096, BYTES - 4096, BYTES);
	uint32_t whole = crc32c(data, BYTES);

	(void)state;
	assert_int_equal(blkship_crc_whole(a ^ b, BYTES), whole);
	assert_int_not_equal(blkship_crc_whole(b, BYTES), whole);
	assert_int_not_equal(blkship_crc_whole(a ^ b ^ a, BYTES), whole);
	assert_int_not_equal(blkship_crc_whole(blkship_crc_share(crc32c(data, 4096), 4096, 0) ^ b,
					       BYTES), whole);
}

/* A record of the longest kind: each length has its own powers of x. */
static void long_wholes_are_of_zeroes_too(void **state)
{
	static const uint8_t zeroes[4096];
	uint32_t sum = 0, whole = 0, length = 4u << 20;

	(void)state;
	for (uint32_t at = 0; at < length; at += sizeof(zeroes)) {
		sum ^= blkship_crc_share(crc32c(zeroes, sizeof(zeroes)), sizeof(zeroes),
					 length - at - (uint32_t)sizeof(zeroes));
		whole = crc32c_extend(whole, zeroes, sizeof(zeroes));
	}
	assert_int_equal(blkship_crc_whole(sum, length), whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_piece_is_the_whole),
		cmocka_unit_test(pieces_come_in_any_order),
		cmocka_unit_test(a_piece_counts_once_and_in_its_place),
		cmocka_unit_test(long_wholes_are_of_zeroes_too),
	};

	return cmocka_run_group_tests(tests, fill, NULL);
}
