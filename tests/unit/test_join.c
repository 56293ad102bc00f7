// SPDX-License-Identifier: GPL-2.0-only
/* Ranges end to end: each byte is where it should be, and nonsense is refused. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/export/join.h"

static void a_byte_is_found(void **state)
{
	static const struct {
		uint64_t at, bytes, want_at, want_bytes;
		const char *want;
	} cases[] = {
		{ 0, 4096, 1024, 512, "a" },
		{ 511, 1, 1535, 1, "a" },
		{ 512, 4096, 0, 2048, "b.1" },
		{ 2559, 4096, 2047, 1, "b.1" },
		{ 2560, 100, 4096, 100, "a" },
		{ 3071, 1, 4607, 1, "a" },
	};
	struct join join = { .nr = 0 };

	assert_int_equal(join_add(&join, "a:1024:512"), 0);
	assert_int_equal(join_add(&join, "b.1:0:2048"), 0);
	assert_int_equal(join_add(&join, "a:4096:512"), 0);
	assert_int_equal(join.whole.size_bytes, 3072);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = cases[i].at, bytes = cases[i].bytes;

		assert_string_equal(join_at(&join, &at, &bytes)->name, cases[i].want);
		assert_int_equal(at, cases[i].want_at);
		assert_int_equal(bytes, cases[i].want_bytes);
	}
}

static void nonsense_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "a", "a:", "a:0", "a:0:", ":0:512", "a:0:0", "a:1:512", "a:0:511", "a:-512:512",
		"a:0:512x", "a:0:512:0", "a: 0:512", "../a:0:512", "+a:0:512",
		"a:0:99999999999999999999", "a23456789012345678901234567890123:0:512",
	};
	struct join join = { .nr = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (join_add(&join, bad[i]) != -EINVAL)
			fail_msg("case %zu: %s", i, bad[i]);
	assert_int_equal(join_add(&join, "a:9223372036854775296:512"), -E2BIG);
	assert_int_equal(join_add(&join, "a:0:9223372036854774784"), 0);
	assert_int_equal(join_add(&join, "a:0:1024"), -E2BIG);
	join = (struct join){ .nr = 0 };
	for (int i = 0; i < JOIN_MAX_PIECES; i++)
		assert_int_equal(join_add(&join, "a:0:512"), 0);
	assert_int_equal(join_add(&join, "a:0:512"), -E2BIG);
	assert_int_equal(join.whole.size_bytes, JOIN_MAX_PIECES * 512);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_byte_is_found),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
