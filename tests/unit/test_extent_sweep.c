// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/extent_sweep.h"

#define SPACE 64
#define VOLUMES 2

struct result {
	uint32_t item[VOLUMES][SPACE];	/* item + 1 that is seen, 0: none */
	uint64_t last_end;
	int last_volume;
	int pieces;
};

static int collect(void *arg, const struct sweep_piece *p)
{
	struct result *r = arg;

	assert_true(p->length_bytes > 0);
	if (p->volume == r->last_volume)
		assert_true(p->offset_bytes >= r->last_end);
	else
		assert_true(p->volume > r->last_volume);
	r->last_volume = p->volume;
	r->last_end = p->offset_bytes + p->length_bytes;
	r->pieces++;
	for (uint64_t i = p->offset_bytes; i < r->last_end; i++)
		r->item[p->volume][i] = p->item + 1;
	return 0;
}

static void sweep_equals_painting_in_rank_order(void **state)
{
	uint64_t seed = 42;

	for (int round = 0; round < 3000; round++) {
		struct sweep_extent in[24];
		struct result want = { 0 }, got = { .last_volume = -1 };
		int nr = unit_random(&seed) % 24;

		for (int i = 0; i < nr; i++) {
			struct sweep_extent *e = &in[i];

			e->volume = unit_random(&seed) % VOLUMES;
			e->offset_bytes = unit_random(&seed) % SPACE;
			e->length_bytes = 1 + unit_random(&seed) % (SPACE - e->offset_bytes);
			e->rank = i;
			e->item = i;
			for (uint64_t b = 0; b < e->length_bytes; b++)
				want.item[e->volume][e->offset_bytes + b] = i + 1;
		}
		assert_int_equal(extent_sweep(in, nr, collect, &got), 0);
		assert_memory_equal(want.item, got.item, sizeof(want.item));
	}
}

static void sweep_joins_what_touches(void **state)
{
	struct sweep_extent in[] = {
		{ 0, 32, 1, 0, 0 },	/* seen left and right of the next */
		{ 8, 8, 2, 1, 0 },
		{ 10, 2, 0, 2, 0 },	/* hidden: does not cut item 1 in two */
	};
	struct result got = { .last_volume = -1 };

	assert_int_equal(extent_sweep(in, 3, collect, &got), 0);
	assert_int_equal(got.pieces, 3);
}

static int stop(void *arg, const struct sweep_piece *p)
{
	return -7;
}

static void sweep_stops_when_told(void **state)
{
	struct sweep_extent in[] = { { 0, 1, 0, 0, 0 } };

	assert_int_equal(extent_sweep(in, 1, stop, NULL), -7);
	assert_int_equal(extent_sweep(in, 0, stop, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sweep_equals_painting_in_rank_order),
		cmocka_unit_test(sweep_joins_what_touches),
		cmocka_unit_test(sweep_stops_when_told),
	};

	return cmocka_run_group_tests_name("extent_sweep", tests, NULL, NULL);
}
