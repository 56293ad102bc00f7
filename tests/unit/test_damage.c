// SPDX-License-Identifier: GPL-2.0-only
/* Ranges that could not be read: told apart, bounded, kept beside an image. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/blkship/damage.h"

static void add(struct damage *d, size_t output, uint64_t offset, uint64_t length, const char *file,
		size_t max)
{
	struct damage_range range = {
		.output = output, .offset_bytes = offset, .length_bytes = length, .error = -EBADMSG,
	};

	strcpy(range.file, file);
	assert_int_equal(damage_add(d, &range, max), 0);
}

static void what_touches_is_one_range(void **state)
{
	struct damage d = { 0 };

	add(&d, 0, 4096, 4096, "a", 100);
	add(&d, 0, 8192, 4096, "a", 100);
	assert_int_equal(d.nr, 1);
	assert_int_equal(d.ranges[0].length_bytes, 8192);
	add(&d, 0, 12288, 4096, "b", 100);	/* another file */
	add(&d, 0, 20480, 4096, "b", 100);	/* a block between */
	add(&d, 1, 24576, 4096, "b", 100);	/* another output */
	assert_int_equal(d.nr, 4);
	damage_fini(&d);
}

static void too_many_are_told_too_widely(void **state)
{
	struct damage d = { 0 };

	for (uint64_t i = 0; i < 10; i++)
		add(&d, 0, i * 8192, 4096, "a", 3);
	assert_int_equal(d.nr, 3);
	assert_int_equal(d.ranges[2].offset_bytes, 2 * 8192);
	assert_int_equal(d.ranges[2].length_bytes, 7 * 8192 + 4096);
	damage_fini(&d);
}

/* A part is gone over twice. */
static void too_many_are_told_too_widely_also_backwards(void **state)
{
	struct damage d = { 0 };

	add(&d, 0, 8192, 4096, "a", 2);
	add(&d, 0, 65536, 4096, "a", 2);
	add(&d, 0, 16384, 4096, "b", 2);
	add(&d, 0, 32768, 4096, "b", 2);
	assert_int_equal(d.nr, 2);
	assert_int_equal(d.ranges[0].length_bytes, 4096);
	assert_int_equal(d.ranges[1].offset_bytes, 16384);
	assert_int_equal(d.ranges[1].length_bytes, 65536 + 4096 - 16384);
	damage_fini(&d);
}

static void of_each_output_by_place(void **state)
{
	struct damage d = { 0 }, other = { 0 };
	json_t *ranges;

	add(&d, 1, 0, 512, "", 100);
	add(&d, 0, 8192, 512, "", 100);
	add(&other, 0, 512, 512, "x", 100);
	assert_int_equal(damage_join(&d, &other), 0);
	damage_sort(&d);
	ranges = damage_json(&d, 0);
	assert_int_equal(json_array_size(ranges), 2);
	assert_int_equal(json_integer_value(json_object_get(json_array_get(ranges, 0), "offset_bytes")), 512);
	assert_string_equal(json_string_value(json_object_get(json_array_get(ranges, 0), "file")), "x");
	assert_true(json_is_null(json_object_get(json_array_get(ranges, 1), "file")));
	json_decref(ranges);
	damage_fini(&d);
	damage_fini(&other);
}

static void the_source_is_not_the_store(void **state)
{
	struct damage_range range = { .length_bytes = 512, .at_source = true };
	struct damage d = { 0 };
	json_t *ranges;

	assert_int_equal(damage_add(&d, &range, 100), 0);
	ranges = damage_json(&d, 0);
	assert_false(damage_is_of_store(ranges));
	json_decref(ranges);
	add(&d, 0, 512, 512, "", 100);
	assert_int_equal(d.nr, 2);
	ranges = damage_json(&d, 0);
	assert_true(damage_is_of_store(ranges));
	json_decref(ranges);
	damage_fini(&d);
}

static void kept_and_found_again(void **state)
{
	char path[] = "/tmp/test_damage-XXXXXX";
	struct damage d = { 0 };
	json_t *ranges, *found;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	add(&d, 0, 512, 512, "a", 100);
	ranges = damage_json(&d, 0);
	assert_int_equal(damage_save(path, "erp", "1:2", "data", ranges), 0);
	found = damage_load(path);
	assert_true(json_equal(found, ranges));
	json_decref(found);
	json_decref(ranges);
	unlink(path);
	assert_null(damage_load(path));
	damage_fini(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_touches_is_one_range),
		cmocka_unit_test(too_many_are_told_too_widely),
		cmocka_unit_test(too_many_are_told_too_widely_also_backwards),
		cmocka_unit_test(of_each_output_by_place),
		cmocka_unit_test(the_source_is_not_the_store),
		cmocka_unit_test(kept_and_found_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
