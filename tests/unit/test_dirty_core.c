// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <string.h>

#include "../../kmod/dirty_core.h"

#define REGIONS 200
#define WORDS 4

static uint64_t dirty[WORDS], repairing[WORDS];

static void make(struct blkship_dirty *d)
{
	memset(dirty, 0, sizeof(dirty));
	memset(repairing, 0, sizeof(repairing));
	blkship_dirty_init(d, REGIONS, dirty, repairing);
}

static int bit(const uint64_t *map, uint64_t n)
{
	return map[n / 64] >> n % 64 & 1;
}

static void check_counts(const struct blkship_dirty *d)
{
	uint64_t nd = 0, nr = 0;

	for (int i = 0; i < WORDS * 64; i++) {
		nd += bit(dirty, i);
		nr += bit(repairing, i);
	}
	assert_int_equal(d->nr_dirty, nd);
	assert_int_equal(d->nr_repairing, nr);
}

static void mark_sets_every_region_it_touches(void **state)
{
	struct blkship_dirty d;
	uint64_t seed = 3;

	assert_int_equal(blkship_dirty_regions(0), 0);
	assert_int_equal(blkship_dirty_regions(65536), 1);
	assert_int_equal(blkship_dirty_regions(65537), 2);
	for (int round = 0; round < 500; round++) {
		uint64_t at = unit_random(&seed) % (REGIONS * 65536 + 99);
		uint64_t len = unit_random(&seed) % (70 * 65536);

		make(&d);
		blkship_dirty_mark(&d, at, len);
		for (uint64_t i = 0; i < WORDS * 64; i++)
			assert_int_equal(bit(dirty, i), i < REGIONS && len &&
					 at < (i + 1) * 65536 && at + len > i * 65536);
		check_counts(&d);
	}
	make(&d);
	blkship_dirty_mark(&d, 65536, UINT64_MAX);	/* wraps: to the end */
	assert_int_equal(d.nr_dirty, REGIONS - 1);
}

static void take_leaves_alone_what_is_repairing(void **state)
{
	struct blkship_dirty d;
	uint64_t map[WORDS];

	make(&d);
	blkship_dirty_mark(&d, 0, REGIONS * 65536);
	assert_int_equal(blkship_dirty_take(&d, 0, 200, 10, map), 10);
	assert_int_equal(map[0], 0x3ff);
	blkship_dirty_mark(&d, 5 * 65536, 1);		/* written again meanwhile */
	assert_int_equal(blkship_dirty_take(&d, 0, 200, 1000, map), 190);
	assert_false(bit(map, 5));
	assert_true(bit(dirty, 5));
	check_counts(&d);

	memset(map, 0xff, sizeof(map));
	blkship_dirty_clear(&d, 0, 200, map);
	assert_int_equal(d.nr_repairing, 0);
	assert_int_equal(d.nr_dirty, 1);		/* clearing never touches dirty */
	check_counts(&d);
}

static void windows_keep_to_themselves(void **state)
{
	struct blkship_dirty d;
	uint64_t map[WORDS];

	make(&d);
	blkship_dirty_mark(&d, 0, REGIONS * 65536);
	assert_int_equal(blkship_dirty_take(&d, 64, 3, 1000, map), 3);
	assert_int_equal(map[0], 7);
	assert_int_equal(blkship_dirty_take(&d, 192, 64, 1000, map), 8);
	memset(map, 0xff, sizeof(map));
	blkship_dirty_read(&d, repairing, 192, 64, map);
	assert_int_equal(map[0], 0xff);
	map[0] = 1;
	blkship_dirty_clear(&d, 192, 64, map);
	assert_int_equal(d.nr_repairing, 10);
	check_counts(&d);
}

static void fall_back_makes_all_dirty_again(void **state)
{
	struct blkship_dirty d;
	uint64_t map[WORDS];

	make(&d);
	blkship_dirty_mark(&d, 0, REGIONS * 65536);
	blkship_dirty_take(&d, 0, 200, 150, map);
	blkship_dirty_mark(&d, 0, 65536);
	blkship_dirty_fall_back(&d, 0, 2);
	check_counts(&d);
	blkship_dirty_fall_back(&d, 2, 99);
	assert_int_equal(d.nr_dirty, REGIONS);
	assert_int_equal(d.nr_repairing, 0);
	check_counts(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mark_sets_every_region_it_touches),
		cmocka_unit_test(take_leaves_alone_what_is_repairing),
		cmocka_unit_test(windows_keep_to_themselves),
		cmocka_unit_test(fall_back_makes_all_dirty_again),
	};

	return cmocka_run_group_tests_name("dirty_core", tests, NULL, NULL);
}
