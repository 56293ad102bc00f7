// SPDX-License-Identifier: GPL-2.0-only
/* Searches of sorted arrays, of any length and for any place. */
#include "unit.h"

#include "../../userspace/store/array.h"

static void a_search_ends_at_the_first_that_is_not_before(void **state)
{
	int items[33];

	for (size_t nr = 0; nr < ARRAY_SIZE(items); nr++) {
		for (size_t i = 0; i < nr; i++)
			items[i] = 2 * i;
		for (size_t at = 0; at <= nr; at++) {
			assert_int_equal(array_search(items, nr, x, *x < 2 * (int)at), at);
			assert_int_equal(array_search(items, nr, x, *x < 2 * (int)at - 1), at);
		}
	}
}

static void of_equal_ones_it_is_the_first_or_the_one_behind(void **state)
{
	static const struct {
		char key;
	} items[] = { { 'a' }, { 'b' }, { 'b' }, { 'b' }, { 'c' } };

	assert_int_equal(array_search(items, ARRAY_SIZE(items), x, x->key < 'b'), 1);
	assert_int_equal(array_search(items, ARRAY_SIZE(items), x, x->key <= 'b'), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_search_ends_at_the_first_that_is_not_before),
		cmocka_unit_test(of_equal_ones_it_is_the_first_or_the_one_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
