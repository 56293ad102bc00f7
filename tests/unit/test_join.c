// SPDX-License-Identifier: GPL-2.0-only
/* Ranges end to end and in stripes: each byte is where it should be, and nonsense is refused. */
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

static void stripes_are_in_turn(void **state)
{
	/* a and b in stripes of 1024; c alone; c, a and b in stripes of 512, which are one row. */
	static const struct {
		uint64_t at, want_at, want_bytes;
		const char *want;
	} cases[] = {
		{ 0, 8192, 1024, "a" }, { 1023, 9215, 1, "a" }, { 1024, 512, 1024, "b" },
		{ 2048, 9216, 1024, "a" }, { 3072 + 100, 1536 + 100, 924, "b" },
		{ 4096, 10240, 1024, "a" }, { 6143, 3583, 1, "b" },
		{ 6144, 0, 1536, "c" }, { 7679, 1535, 1, "c" },
		{ 7680, 2048, 512, "c" }, { 8192, 0, 512, "a" }, { 8704 + 511, 511, 1, "b" },
	};
	struct join join = { .nr = 0 };

	assert_int_equal(join_stripe(&join, "2:1024"), 0);
	assert_int_equal(join_add(&join, "a:8192:3072"), 0);
	assert_int_equal(join.nr_wanted, 1);
	assert_int_equal(join_add(&join, "b:512:3072"), 0);
	assert_int_equal(join_add(&join, "c:0:1536"), 0);
	assert_int_equal(join_stripe(&join, "3:512"), 0);
	assert_int_equal(join_add(&join, "c:2048:512"), 0);
	assert_int_equal(join_add(&join, "a:0:512"), 0);
	assert_int_equal(join_add(&join, "b:0:512"), 0);
	assert_int_equal(join.nr_wanted, 0);
	assert_int_equal(join.whole.size_bytes, 9216);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t at = cases[i].at, bytes = UINT64_MAX;

		if (strcmp(join_at(&join, &at, &bytes)->name, cases[i].want) != 0 ||
		    at != cases[i].want_at || bytes != cases[i].want_bytes)
			fail_msg("byte %llu: %llu, and %llu", (unsigned long long)cases[i].at,
				 (unsigned long long)at, (unsigned long long)bytes);
	}
}

/* The last byte of as much as there can be: nothing overflows on the way to it. */
static void the_largest_is_no_matter(void **state)
{
	struct join join = { .nr = 0 };
	uint64_t at = INT64_MAX - 1023 - 1, bytes = 512;

	assert_int_equal(join_stripe(&join, "2:512"), 0);
	assert_int_equal(join_add(&join, "a:0:4611686018427387392"), 0);
	assert_int_equal(join_add(&join, "b:0:4611686018427387904"), -EINVAL);
	assert_int_equal(join_add(&join, "b:0:4611686018427387392"), 0);
	assert_int_equal(join.whole.size_bytes, INT64_MAX - 1023);
	assert_string_equal(join_at(&join, &at, &bytes)->name, "b");
	assert_int_equal(at, UINT64_C(4611686018427387391));
	assert_int_equal(bytes, 1);
}

static void stripes_that_cannot_be_are_refused(void **state)
{
	static const char *const bad[] = {
		"", "2", "2:", ":512", "0:512", "1:512", "2:0", "2:511", "2:-512", "-2:512", "2:512:0",
		"2:512x", " 2:512", "2:99999999999999999999", "99999999999999999999:512",
	};
	static const struct { const char *stripe, *first, *second; } pieces[] = {
		{ "2:1024", "a:0:512", NULL }, { "2:1024", "a:0:1536", NULL },
		{ "2:1024", "a:0:2048", "b:0:1024" }, { "2:1024", "a:0:1024", "b:0:2048" },
		{ "2:9223372036854775296", "a:0:512", NULL },
	};
	struct join join = { .nr = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (join_stripe(&join, bad[i]) != -EINVAL)
			fail_msg("case %zu: %s", i, bad[i]);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++) {
		join = (struct join){ .nr = 0 };
		assert_int_equal(join_stripe(&join, pieces[i].stripe), 0);
		assert_int_equal(join_add(&join, pieces[i].first), pieces[i].second ? 0 : -EINVAL);
		if (pieces[i].second)
			assert_int_equal(join_add(&join, pieces[i].second), -EINVAL);
	}
	join = (struct join){ .nr = 0 };
	assert_int_equal(join_stripe(&join, "257:512"), -E2BIG);
	assert_int_equal(join_stripe(&join, "4294967298:512"), -E2BIG);
	assert_int_equal(join_add(&join, "a:0:512"), 0);
	assert_int_equal(join_stripe(&join, "256:512"), -E2BIG);
	assert_int_equal(join_stripe(&join, "255:512"), 0);
	/* One within another. */
	assert_int_equal(join_stripe(&join, "2:512"), -EINVAL);
	for (int i = 0; i < 255; i++)
		assert_int_equal(join_add(&join, "a:0:512"), 0);
	assert_int_equal(join.nr_wanted, 0);
	assert_int_equal(join_add(&join, "a:0:512"), -E2BIG);
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
		cmocka_unit_test(stripes_are_in_turn),
		cmocka_unit_test(the_largest_is_no_matter),
		cmocka_unit_test(stripes_that_cannot_be_are_refused),
		cmocka_unit_test(nonsense_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
