// SPDX-License-Identifier: GPL-2.0-only
/* What is known of a restore that was interrupted: no more than was done. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/export/restore_parts.h"

#define HEAD "blkship restore 1\ngroup erp\n.\n"

static void parts_make(struct restore_parts *p)
{
	restore_parts_init(p, 1000);
	assert_int_equal(restore_parts_cut(p, 0, 2500), 0);
	assert_int_equal(restore_parts_cut(p, 1, 0), 0);
	assert_int_equal(restore_parts_cut(p, 2, 1000), 0);
}

static void parts_cover_each_output_once(void **state)
{
	struct restore_parts p;

	parts_make(&p);
	assert_int_equal(p.nr, 4);
	assert_int_equal(p.items[2].start_bytes, 2000);
	assert_int_equal(p.items[2].end_bytes, 2500);
	assert_int_equal(p.items[3].output, 2);
	assert_int_equal(p.items[3].end_bytes, 1000);
	assert_false(restore_parts_any(&p));
	restore_parts_fini(&p);
}

static void whole_lines_count(void **state)
{
	struct restore_parts p;

	parts_make(&p);
	assert_int_equal(restore_parts_parse(&p, HEAD, HEAD "done 0 2 500\ndone 2 0 0\n"), 0);
	assert_true(p.items[2].done && p.items[2].taken && p.items[3].done);
	assert_int_equal(p.items[2].data_bytes, 500);
	assert_false(p.items[0].done || p.items[1].done);
	assert_true(restore_parts_any(&p));
	restore_parts_fini(&p);
}

static void nothing_else_does(void **state)
{
	static const char *const lines[] = {
		"done 0 0", "done 0 0 7", "done 0 \n", "done 0 3 0\n", "done 1 0 0\n", "done 3 0 0\n",
		"done 0 2 501\n", "done 0 0 0 0\n", "done 0 0 x\n", "undone 0 0 0\n", "\n",
		"done 99999999999999999999 0 0\n",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct restore_parts p;
		char text[200];

		parts_make(&p);
		snprintf(text, sizeof(text), HEAD "%s", lines[i]);
		assert_int_equal(restore_parts_parse(&p, HEAD, text), 0);
		if (restore_parts_any(&p))
			fail_msg("%s", lines[i]);
		restore_parts_fini(&p);
	}
}

static void files_are_known_by_device_and_inode(void **state)
{
	struct restore_parts p;

	parts_make(&p);
	assert_int_equal(restore_parts_parse(&p, HEAD, HEAD "file 2 7 1048603\ncomplete\n"), 0);
	assert_true(restore_parts_is_file(&p, 2, 7, 1048603));
	assert_false(restore_parts_is_file(&p, 2, 7, 1048604));
	assert_false(restore_parts_is_file(&p, 2, 8, 1048603));
	assert_false(restore_parts_is_file(&p, 0, 7, 1048603));
	assert_true(p.complete);
	restore_parts_fini(&p);
	parts_make(&p);
	assert_int_equal(restore_parts_parse(&p, HEAD, HEAD "file 0 7\ncomplet\ncomplete"), 0);
	assert_false(restore_parts_is_file(&p, 0, 7, 0));
	assert_false(p.complete);
	restore_parts_fini(&p);
}

static void another_restore_is_none_of_ours(void **state)
{
	static const char *const texts[] = {
		"", "blkship restore 1\ngroup er", "blkship restore 1\ngroup web\n.\ndone 0 0 0\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct restore_parts p;

		parts_make(&p);
		assert_int_equal(restore_parts_parse(&p, HEAD, texts[i]), -ESTALE);
		assert_false(restore_parts_any(&p));
		restore_parts_fini(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parts_cover_each_output_once),
		cmocka_unit_test(whole_lines_count),
		cmocka_unit_test(nothing_else_does),
		cmocka_unit_test(files_are_known_by_device_and_inode),
		cmocka_unit_test(another_restore_is_none_of_ours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
