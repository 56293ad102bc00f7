// SPDX-License-Identifier: GPL-2.0-only
/* Names of groups and volumes: one rule, by each character, place and length. */
#include "unit.h"

#include <string.h>

#include "../../userspace/lib/name.h"

static bool good_inside(int c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '_' || c == '.' || c == '-';
}

static void each_character_has_its_place(void **state)
{
	for (int c = 1; c < 256; c++) {
		const char first[] = { c, 'x', 0 }, later[] = { 'x', c, 0 };

		assert_int_equal(name_valid(first), good_inside(c) && c != '.' && c != '-');
		assert_int_equal(name_valid(later), good_inside(c));
	}
}

static void it_ends_inside_its_field(void **state)
{
	char field[NAME_BYTES];

	memset(field, 'x', sizeof(field));
	assert_false(name_valid(field));
	field[NAME_BYTES - 1] = 0;
	assert_true(name_valid(field));
	field[0] = 0;
	assert_false(name_valid(field));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_character_has_its_place),
		cmocka_unit_test(it_ends_inside_its_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
