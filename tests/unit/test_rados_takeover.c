// SPDX-License-Identifier: GPL-2.0-only
/* Whose locks --takeover ends: over a stand-in for the directories of a cluster. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/rados/cluster.h"
#include "../../userspace/rados/dir.h"
#include "../../userspace/rados/takeover.h"

struct entry {
	const char *dir, *name;
	uint8_t kind, id;
};

static const struct entry entries[] = {
	{ "", "erp", RADOS_KIND_DIRECTORY, 0 },
	{ "erp", "lock", RADOS_KIND_FILE, 1 },
	{ "erp", "branches.lock", RADOS_KIND_FILE, 2 },
	{ "erp", "manifest", RADOS_KIND_FILE, 3 },
	{ "erp", "clock", RADOS_KIND_FILE, 4 },
	{ "erp", "0000000000000001.seg", RADOS_KIND_FILE, 5 },
	{ "erp", "branches", RADOS_KIND_DIRECTORY, 0 },
	{ "erp/branches", "trial", RADOS_KIND_DIRECTORY, 0 },
	{ "erp/branches/trial", "lock", RADOS_KIND_FILE, 6 },
	{ "", "web", RADOS_KIND_DIRECTORY, 0 },
	{ "web", "lock", RADOS_KIND_FILE, 7 },
};

static char evicted[64];	/* ids, in order */
static uint8_t refused;		/* this one cannot be evicted */
static const char *gone;	/* this directory was removed after it was listed */

int dir_list(struct cluster *c, const char *dir,
	     void (*each)(void *arg, const char *name, const struct rados_entry *e), void *arg)
{
	if (gone && strcmp(dir, gone) == 0)
		return -ENOENT;
	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		struct rados_entry e = { .kind = entries[i].kind, .id = { entries[i].id } };

		if (strcmp(entries[i].dir, dir) == 0)
			each(arg, entries[i].name, &e);
	}
	return 0;
}

int owner_evict(struct cluster *c, const char *object, const char *path)
{
	unsigned int id;

	assert_int_equal(sscanf(object, "f.%2x", &id), 1);
	assert_non_null(strstr(object, ".00000000"));
	if (id == refused)
		return -EPERM;
	evicted[strlen(evicted)] = '0' + id;
	return id != 7;		/* that one is not held */
}

static int take_over(void)
{
	static struct cluster c = { .location = "rados:pool/space" };

	memset(evicted, 0, sizeof(evicted));
	return takeover_below(&c);
}

static void every_lock_is_ended(void **state)
{
	assert_int_equal(take_over(), 3);
	assert_string_equal(evicted, "1267");
}

static void an_error_ends_it(void **state)
{
	refused = 6;
	assert_int_equal(take_over(), -EPERM);
	assert_string_equal(evicted, "12");
	refused = 0;
}

static void a_directory_that_went_has_none(void **state)
{
	gone = "erp/branches/trial";
	assert_int_equal(take_over(), 2);
	assert_string_equal(evicted, "127");
	gone = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_lock_is_ended),
		cmocka_unit_test(an_error_ends_it),
		cmocka_unit_test(a_directory_that_went_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
