// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <string.h>

#include "../../userspace/lib/crc32c.h"

/* RFC 3720, B.4. */
static void crc32c_known_answers(void **state)
{
	uint8_t buf[32];

	memset(buf, 0, sizeof(buf));
	assert_int_equal(crc32c(buf, 32), 0x8a9136aau);
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(crc32c(buf, 32), 0x62a8ab43u);
	for (int i = 0; i < 32; i++)
		buf[i] = i;
	assert_int_equal(crc32c(buf, 32), 0x46dd794eu);
	assert_int_equal(crc32c("123456789", 9), 0xe3069283u);
	assert_int_equal(crc32c(NULL, 0), 0);
}

static void crc32c_combine_equals_one_pass(void **state)
{
	static uint8_t buf[20000];
	uint64_t seed = 1;

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = unit_random(&seed) >> 56;
	for (int i = 0; i < 200; i++) {
		size_t a = unit_random(&seed) % 9000;
		size_t b = i % 3 ? unit_random(&seed) % 9000 : 4096;
		uint32_t whole = crc32c(buf, a + b);

		assert_int_equal(crc32c_combine(crc32c(buf, a), crc32c(buf + a, b), b), whole);
		assert_int_equal(crc32c_extend(crc32c(buf, a), buf + a, b), whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc32c_known_answers),
		cmocka_unit_test(crc32c_combine_equals_one_pass),
	};

	return cmocka_run_group_tests_name("crc32c", tests, NULL, NULL);
}
