// SPDX-License-Identifier: GPL-2.0-only
/* The map against an array of sectors that knows nothing of trees. */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/segment_format.h"
#include "../../userspace/store/extent_map.h"

#define VOLUMES 3
#define SECTORS 200
#define SETS 3000

struct cell {
	uint32_t segment;	/* 0: nothing */
	uint32_t data_offset;
	uint8_t kind;
};

static struct cell model[VOLUMES][SECTORS];

static void expect_same(const struct extent_map *map)
{
	const struct map_extent *e = NULL, *before;
	size_t nr = 0, cells = 0, seen = 0;

	for (before = NULL; (e = extent_map_next(map, before)); before = e, nr++) {
		assert_true(e->length_bytes > 0 && e->length_bytes % 512 == 0);
		if (before && before->volume == e->volume)
			assert_true(before->offset_bytes + before->length_bytes <= e->offset_bytes);
		seen += e->length_bytes / 512;
	}
	assert_int_equal(nr, map->nr);
	for (uint16_t v = 0; v < VOLUMES; v++)
		for (uint64_t s = 0; s < SECTORS; s++) {
			const struct cell *c = &model[v][s];

			e = extent_map_find(map, v, s * 512);
			if (!c->segment) {
				assert_true(!e || e->offset_bytes > s * 512);
				continue;
			}
			cells++;
			assert_non_null(e);
			assert_true(e->offset_bytes <= s * 512);
			assert_int_equal(e->source->segment, c->segment);
			assert_int_equal(e->kind, c->kind);
			if (e->kind == EXTENT_DATA)
				assert_int_equal(e->data_offset + s * 512 - e->offset_bytes,
						 c->data_offset);
		}
	assert_int_equal(cells, seen);
}

static void what_comes_later_hides_what_was_there(void **state)
{
	uint64_t random = 4711;
	struct extent_map map = { 0 };

	for (uint32_t n = 1; n <= SETS; n++) {
		uint32_t first = unit_random(&random) % SECTORS;
		uint32_t nr = 1 + unit_random(&random) % (n % 7 ? 12 : 150);
		struct map_extent e = {
			.volume = unit_random(&random) % VOLUMES, .offset_bytes = first * 512,
			.kind = n % 3 ? EXTENT_DATA : EXTENT_ZERO, .data_offset = 1024,
		};

		nr = nr < SECTORS - first ? nr : SECTORS - first;
		e.length_bytes = nr * 512;
		e.source = extent_source_create(malloc(64), 64);
		e.source->segment = n;
		assert_int_equal(extent_map_set(&map, &e), 0);
		extent_source_put(e.source);
		for (uint32_t s = first; s < first + nr; s++)
			model[e.volume][s] = (struct cell){ n, 1024 + (s - first) * 512, e.kind };
		if (n % 10 == 0)
			expect_same(&map);
		if (n % 1000 == 0) {
			extent_map_drop(&map, n - 20);
			for (size_t v = 0; v < VOLUMES; v++)
				for (size_t i = 0; i < SECTORS; i++)
					if (model[v][i].segment <= n - 20)
						model[v][i].segment = 0;
			expect_same(&map);
		}
	}
	extent_map_clear(&map);
	assert_int_equal(map.nr, 0);
	assert_null(extent_map_next(&map, NULL));
}

/* A source lives as long as something refers to it, and its user may keep it longer. */
static void sources_are_counted(void **state)
{
	struct extent_source *first = extent_source_create(malloc(8192), 8192);
	struct extent_source *second = extent_source_create(NULL, 0);
	struct map_extent e = { 0, 8192, 0, EXTENT_DATA, 0, first };
	struct map_extent middle = { 2048, 1024, 0, EXTENT_DISCARD, 0, second };
	struct extent_map map = { 0 };

	assert_int_equal(extent_map_set(&map, &e), 0);
	assert_int_equal(first->refs, 2);
	assert_int_equal(extent_map_set(&map, &middle), 0);
	assert_int_equal(first->refs, 3);
	assert_int_equal(second->refs, 2);
	middle.offset_bytes = 0;
	middle.length_bytes = 16384;
	assert_int_equal(extent_map_set(&map, &middle), 0);
	assert_int_equal(first->refs, 1);
	assert_int_equal(second->refs, 2);
	extent_source_put(first);
	extent_map_clear(&map);
	assert_int_equal(second->refs, 1);
	extent_source_put(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_comes_later_hides_what_was_there),
		cmocka_unit_test(sources_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
