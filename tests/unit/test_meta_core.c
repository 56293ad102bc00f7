// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../kmod/meta_core.h"

#define MIB (UINT64_C(1) << 20)
#define SIZE (40000 * MIB + 4096)	/* two blocks, and a last region in part */

struct world {
	struct blkship_list list;
	struct blkship_dirty maps;
	uint64_t *memory, *dirty, *repairing;
	struct meta_block block[2];	/* on the device */
};

static int setup(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	uint64_t words = blkship_dirty_words(blkship_dirty_regions(SIZE));

	w->memory = calloc(blkship_list_words(SIZE), 8);
	w->dirty = calloc(words, 8);
	w->repairing = calloc(words, 8);
	blkship_list_init(&w->list, SIZE, w->memory);
	blkship_dirty_init(&w->maps, blkship_dirty_regions(SIZE), w->dirty, w->repairing);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	free(w->memory);
	free(w->dirty);
	free(w->repairing);
	free(w);
	return 0;
}

/* Write every block that is due, to its end. Returns how many. */
static unsigned int write_due(struct world *w)
{
	unsigned int nr = 0;
	uint32_t block;

	for (; blkship_list_due(&w->list, 0, &block); nr++) {
		blkship_list_block_fill(&w->list, &w->maps, block, &w->block[block]);
		blkship_list_block_wrote(&w->list, block, &w->block[block]);
	}
	return nr;
}

static void period(struct world *w, bool retire, uint64_t head)
{
	uint64_t at = 0;

	while (at < blkship_list_map_words(&w->list))
		blkship_list_period(&w->list, retire, head, &at, 100);
	blkship_list_leave(&w->list);
}

static bool on_device(const struct world *w, uint64_t region)
{
	const struct meta_block *b = &w->block[region / META_BLOCK_REGIONS];

	region %= META_BLOCK_REGIONS;
	return le64toh(b->words[region / 64]) >> region % 64 & 1;
}

static void a_write_goes_when_its_listing_is_durable(void **state)
{
	struct world *w = *state;
	uint32_t block;

	assert_int_equal(w->list.nr_blocks, 2);
	assert_false(blkship_list_touch(&w->list, 5 * MIB - 512, 1024));
	assert_false(blkship_list_covers(&w->list, 5 * MIB - 512, 1024));
	assert_true(blkship_list_due(&w->list, 0, &block));
	assert_int_equal(block, 0);
	blkship_list_block_fill(&w->list, &w->maps, 0, &w->block[0]);
	/* Filled is not written: still nothing may go, and it is not due again. */
	assert_false(blkship_list_touch(&w->list, 5 * MIB, 512));
	assert_false(blkship_list_due(&w->list, 0, &block));
	/* Wanted after the fill: not in this block. */
	assert_false(blkship_list_touch(&w->list, 9 * MIB, 512));
	assert_true(blkship_list_due(&w->list, 0, &block));
	blkship_list_block_wrote(&w->list, 0, &w->block[0]);
	assert_true(blkship_list_covers(&w->list, 5 * MIB - 512, 1024));
	assert_true(blkship_list_touch(&w->list, 4 * MIB, 2 * MIB));
	assert_false(blkship_list_covers(&w->list, 9 * MIB, 512));
	assert_false(blkship_list_touch(&w->list, 5 * MIB, 5 * MIB));
	assert_int_equal(write_due(w), 1);
	assert_true(blkship_list_covers(&w->list, 5 * MIB, 5 * MIB));
	assert_int_equal(w->list.nr_listed, 6);
	assert_int_equal(write_due(w), 0);
}

/* So that who writes them all once comes to an end, whatever is wanted meanwhile. */
static void due_blocks_are_found_from_one_on(void **state)
{
	struct world *w = *state;
	uint32_t block;

	blkship_list_want(&w->list, 0, SIZE);
	assert_true(blkship_list_due(&w->list, 0, &block));
	assert_int_equal(block, 0);
	assert_true(blkship_list_due(&w->list, 1, &block));
	assert_int_equal(block, 1);
	assert_false(blkship_list_due(&w->list, 2, &block));
	blkship_list_block_fill(&w->list, &w->maps, 1, &w->block[1]);
	assert_false(blkship_list_due(&w->list, 1, &block));
	assert_true(blkship_list_due(&w->list, 0, &block));
}

static void ranges_end_where_the_volume_ends(void **state)
{
	struct world *w = *state;

	assert_true(blkship_list_touch(&w->list, 0, 0));
	assert_true(blkship_list_touch(&w->list, SIZE + MIB, 512));
	assert_false(blkship_list_touch(&w->list, SIZE - 512, UINT64_MAX));
	assert_int_equal(write_due(w), 1);
	assert_int_equal(w->list.nr_listed, 1);
	assert_true(on_device(w, 40000));
	blkship_list_want(&w->list, 0, SIZE);
	assert_int_equal(write_due(w), 2);
	assert_int_equal(w->list.nr_listed, 40001);
}

static void hot_regions_stay_and_idle_ones_leave(void **state)
{
	struct world *w = *state;

	blkship_list_touch(&w->list, 1 * MIB, 512);
	blkship_list_touch(&w->list, 2 * MIB, 512);
	write_due(w);
	period(w, true, 10);
	assert_int_equal(w->list.closed_pos, 10);
	assert_int_equal(write_due(w), 0);	/* both were touched in it */
	blkship_list_touch(&w->list, 1 * MIB, 512);
	period(w, true, 20);
	assert_int_equal(write_due(w), 1);
	assert_true(on_device(w, 1));
	assert_false(on_device(w, 2));
	assert_int_equal(w->list.nr_listed, 1);
	period(w, false, 30);			/* not all is durable: nothing leaves */
	period(w, false, 40);
	assert_int_equal(write_due(w), 0);
}

static void what_is_not_at_the_target_stays(void **state)
{
	struct world *w = *state;
	uint64_t bitmap[1];

	for (unsigned int i = 0; i < 4; i++)
		blkship_list_touch(&w->list, i * MIB, 512);
	write_due(w);
	blkship_dirty_mark(&w->maps, 0 * MIB + 15 * 65536, 512);
	blkship_dirty_mark(&w->maps, 1 * MIB, 512);
	blkship_dirty_take(&w->maps, 0, 64, 64, bitmap);
	blkship_dirty_mark(&w->maps, 0 * MIB + 15 * 65536, 512);
	blkship_dirty_mark(&w->maps, 2 * MIB + 7 * 65536, 512);
	period(w, true, 1);
	period(w, true, 2);
	assert_int_equal(write_due(w), 1);
	assert_true(on_device(w, 0));	/* dirty, and repairing */
	assert_true(on_device(w, 1));	/* repairing */
	assert_true(on_device(w, 2));	/* dirty */
	assert_false(on_device(w, 3));
}

static void it_is_unlisted_once_the_block_is_filled(void **state)
{
	struct world *w = *state;

	blkship_list_touch(&w->list, 3 * MIB, 512);
	write_due(w);
	period(w, true, 1);
	period(w, true, 2);
	blkship_list_block_fill(&w->list, &w->maps, 0, &w->block[0]);
	assert_false(on_device(w, 3));
	/* The block without it is on its way: a write has to wait for the next. */
	assert_false(blkship_list_touch(&w->list, 3 * MIB, 512));
	blkship_list_block_wrote(&w->list, 0, &w->block[0]);
	assert_false(blkship_list_covers(&w->list, 3 * MIB, 512));
	assert_int_equal(write_due(w), 1);
	assert_true(on_device(w, 3));
	assert_true(blkship_list_covers(&w->list, 3 * MIB, 512));
}

static void a_write_that_comes_before_that_keeps_it(void **state)
{
	struct world *w = *state;

	blkship_list_touch(&w->list, 3 * MIB, 512);
	blkship_list_touch(&w->list, 4 * MIB, 512);
	write_due(w);
	period(w, true, 1);
	period(w, true, 2);
	assert_true(blkship_list_touch(&w->list, 3 * MIB, 512));
	blkship_dirty_mark(&w->maps, 4 * MIB, 512);
	assert_int_equal(write_due(w), 1);
	assert_true(on_device(w, 3) && on_device(w, 4));
}

static void nothing_leaves_before_the_disk_has_it(void **state)
{
	struct world *w = *state;
	uint64_t at = 0;

	blkship_list_touch(&w->list, 3 * MIB, 512);
	write_due(w);
	period(w, true, 1);
	blkship_list_period(&w->list, true, 2, &at, UINT32_MAX);
	/* Its block is written for another one, before the disk was flushed. */
	blkship_list_touch(&w->list, 9 * MIB, 512);
	assert_int_equal(write_due(w), 1);
	assert_true(on_device(w, 3));
	blkship_list_leave(&w->list);
	assert_int_equal(write_due(w), 1);
	assert_false(on_device(w, 3));
}

/*
 * Random writes, marks, acknowledgements and crashes: what was written and is not
 * durable at the target is always on the device, whatever block was being written.
 */
static void the_device_always_lists_what_may_differ(void **state)
{
	struct world *w = *state;
	uint64_t seed = 42, words = blkship_list_map_words(&w->list);
	static uint8_t differs[64];	/* regions: 1 at the disk, 2 released since */
	uint64_t head = 0, tail = 0;
	bool filled = false;
	struct meta_block next;

	for (int step = 0; step < 200000; step++) {
		uint64_t dice = unit_random(&seed), region = dice >> 32 & 63;

		switch (dice % 16) {
		case 0: case 1: case 2: case 3: case 4: case 5:
			if (blkship_list_touch(&w->list, region * MIB, 4096)) {
				differs[region] = 1;
				head++;
			}
			break;
		case 6: case 7: case 8:
			if (!filled && (w->list.due[0] & 1)) {
				blkship_list_block_fill(&w->list, &w->maps, 0, &next);
				filled = true;
			}
			break;
		case 9: case 10: case 11:
			if (filled) {
				w->block[0] = next;
				blkship_list_block_wrote(&w->list, 0, &next);
				filled = false;
			}
			break;
		case 12:	/* all so far is durable at the target */
			tail = head;
			memset(differs, 0, sizeof(differs));
			break;
		case 13: {
			uint64_t at = 0;

			if (dice >> 16 & 7)
				break;
			blkship_list_period(&w->list, tail >= w->list.closed_pos, head, &at,
					    words);
			blkship_list_leave(&w->list);
			break;
		}
		case 14:
			/* The consumer finds something damaged that was not released. */
			if (differs[region])
				blkship_dirty_mark(&w->maps, region * MIB, 512);
			break;
		case 15:
			memset(w->dirty, 0, blkship_dirty_words(w->maps.nr_regions) * 8);
			break;
		}
		for (unsigned int i = 0; i < 64; i++)
			if (differs[i] && (!on_device(w, i) ||
					   (filled && !(le64toh(next.words[0]) >> i & 1))))
				fail_msg("step %d: region %u is not listed", step, i);
	}
}

static void loading_believes_only_what_checks(void **state)
{
	struct world *w = *state;
	uint64_t words = blkship_dirty_words(w->maps.nr_regions), at = 0;
	uint8_t id[16] = "0123456789abcde", other[16] = "x";
	struct meta_block torn;

	blkship_list_touch(&w->list, 7 * MIB, 512);
	write_due(w);
	blkship_block_seal(&w->block[0], id, 0, 5);
	assert_true(blkship_block_valid(&w->block[0], id, 0));
	assert_false(blkship_block_valid(&w->block[0], id, 1));
	assert_false(blkship_block_valid(&w->block[0], other, 0));
	for (unsigned int bit = 0; bit < META_BLOCK_BYTES * 8; bit += 97) {
		torn = w->block[0];
		((uint8_t *)&torn)[bit / 8] ^= 1 << bit % 8;
		assert_false(blkship_block_valid(&torn, id, 0));
	}

	memset(w->memory, 0, blkship_list_words(SIZE) * 8);
	blkship_list_init(&w->list, SIZE, w->memory);
	blkship_list_block_load(&w->list, 0, &w->block[0]);
	assert_int_equal(w->list.nr_listed, 1);
	blkship_list_block_load(&w->list, 1, NULL);
	assert_int_equal(w->list.nr_listed, 1 + 40001 - META_BLOCK_REGIONS);
	while (at < blkship_list_map_words(&w->list))
		blkship_list_mark(&w->list, &w->maps, &at, 10);
	assert_int_equal(w->dirty[words - 1] >> (w->maps.nr_regions - 1) % 64, 1);
	assert_int_equal(w->maps.nr_dirty,
			 16 + w->maps.nr_regions - META_BLOCK_REGIONS * 16);
	assert_int_equal(w->dirty[7 * 16 / 64], UINT64_C(0xffff000000000000));
	blkship_list_fill_all(&w->list);
	assert_int_equal(w->list.nr_listed, 40001);
}

/* -- superblocks -- */

static const struct blkship_super example = {
	.state = META_LOGGED, .write_no = 7, .size_bytes = SIZE, .log_no = 9,
	.ordinal = 77, .id = "iiiiiiiiiiiiiii",
	.instance = "nnnnnnnnnnnnnnn", .basis_instance = "bbbbbbbbbbbbbbb",
	.basis_incarnation = 3, .group = "erp", .volume = "data", .disk = "naa.5",
};

static struct blkship_prints prints = {
	.known = { 1, [META_PRINT_WORDS - 1] = 1 },
	.crc = { 0x11223344, [META_PRINTS - 1] = 0x55667788 },
};

static void superblocks_survive_a_round_trip(void **state)
{
	static _Alignas(8) uint8_t blocks[META_SUPERS * META_BLOCK_BYTES];
	struct blkship_super got, newer = example;
	struct blkship_prints held;
	bool foreign;

	memset(blocks, 0, sizeof(blocks));
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -ENODATA);
	assert_false(foreign);
	blkship_super_encode(&example, &prints, blocks + META_BLOCK_BYTES);
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), 0);
	assert_memory_equal(&got.write_no, &example.write_no,
			    sizeof(got) - offsetof(struct blkship_super, write_no));
	assert_int_equal(got.state, META_LOGGED);
	assert_int_equal(got.place, 1);
	blkship_prints_decode(blocks + got.place * META_BLOCK_BYTES, &held);
	assert_memory_equal(&held, &prints, sizeof(held));

	newer.write_no++;
	newer.state = META_OFF;
	blkship_super_encode(&newer, &prints, blocks);
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), 0);
	assert_int_equal(got.state, META_OFF);
	assert_int_equal(got.place, 0);
	blocks[2000] ^= 1;		/* torn: the older one counts */
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), 0);
	assert_int_equal(got.write_no, 7);
	blocks[META_BLOCK_BYTES + 60] ^= 1;
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -EBADMSG);
	assert_false(foreign);
	memset(blocks, 'x', sizeof(blocks));
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -EBADMSG);
	assert_true(foreign);
}

static void reseal(uint8_t *block)
{
	struct meta_super *raw = (void *)block;
	uint32_t crc = ~0u;

	raw->crc = 0;
	for (unsigned int i = 0; i < META_BLOCK_BYTES; i++) {
		crc ^= block[i];
		for (int k = 0; k < 8; k++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	raw->crc = htole32(~crc);
}

static void a_superblock_that_checks_may_still_be_wrong(void **state)
{
	static _Alignas(8) uint8_t blocks[META_SUPERS * META_BLOCK_BYTES];
	struct meta_super *raw = (void *)blocks;
	struct blkship_super got;
	bool foreign;

	blkship_super_encode(&example, &prints, blocks);
	raw->state = 0;
	reseal(blocks);
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -EBADMSG);
	blkship_super_encode(&example, &prints, blocks);
	memset(raw->volume, 'v', sizeof(raw->volume));
	reseal(blocks);
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -EBADMSG);
	blkship_super_encode(&example, &prints, blocks);
	raw->version = htole16(1);
	reseal(blocks);
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -EPROTO);
	/* Also beside one that we know: it is the older. */
	blkship_super_encode(&example, &prints, blocks + META_BLOCK_BYTES);
	assert_int_equal(blkship_super_choose(blocks, &got, &foreign), -EPROTO);
}

/* -- prints -- */

static void prints_are_of_blocks_of_the_volume(void **state)
{
	static const uint64_t sizes[] = {
		4096, 65536 + 512, 1152 << 10, MIB + 1024, 64 * MIB, SIZE, UINT64_C(1) << 45,
	};

	assert_int_equal(blkship_prints_count(4095), 0);
	assert_int_equal(blkship_prints_count(SIZE), META_PRINTS);
	assert_int_equal(blkship_print_offset(SIZE, 287), (1152 << 10) - 4096);
	assert_int_equal(blkship_print_offset(SIZE, 288), SIZE - (64 << 10));
	assert_int_equal(blkship_print_offset(SIZE, 303), SIZE - 4096);
	assert_int_equal(blkship_print_offset(SIZE, 304), 0);
	assert_int_equal(blkship_print_offset(SIZE, 305), 625 * MIB);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint32_t count = blkship_prints_count(sizes[i]);

		assert_in_range(count, 1, META_PRINTS);
		for (uint32_t n = 0; n < count; n++) {
			uint64_t at = blkship_print_offset(sizes[i], n);

			assert_int_equal(at % META_BLOCK_BYTES, 0);
			assert_true(at + META_BLOCK_BYTES <= sizes[i]);
		}
	}
}

/* Listed or about to be: it may be written to, and what is known of it is old. */
static void a_print_is_known_while_its_region_rests(void **state)
{
	static uint8_t before[META_BLOCK_BYTES], after[META_BLOCK_BYTES] = { 1 };
	static struct blkship_prints p;
	struct world *w = *state;

	memset(&p, 0, sizeof(p));
	assert_true(blkship_print_fits(&p, 5, after));
	for (uint32_t n = 0; n < META_PRINTS; n++)
		blkship_print_set(&p, n, before);
	assert_true(blkship_print_fits(&p, 5, before));
	assert_false(blkship_print_fits(&p, 5, after));
	blkship_prints_settle(&p, &w->list, SIZE);
	assert_true(blkship_print_known(&p, 5));

	assert_true(blkship_list_rests(&w->list, MIB - 1));
	assert_false(blkship_list_touch(&w->list, 0, 512));
	assert_false(blkship_list_rests(&w->list, MIB - 1));
	assert_true(blkship_list_rests(&w->list, MIB));
	blkship_prints_settle(&p, &w->list, SIZE);
	assert_false(blkship_print_known(&p, 5));
	assert_true(blkship_print_known(&p, 256));	/* in the second region */
	assert_false(blkship_print_known(&p, 304));	/* the first block again */
	blkship_print_set(&p, 5, after);
	blkship_print_forget(&p, 256);
	assert_false(blkship_print_known(&p, 256));
	assert_true(blkship_print_known(&p, 257));
	assert_true(blkship_print_fits(&p, 256, after));
	blkship_list_fill_all(&w->list);
	blkship_prints_settle(&p, &w->list, SIZE);
	for (uint32_t n = 0; n < META_PRINTS; n++)
		assert_false(blkship_print_known(&p, n));
}

/* docs/META.md has a table for each struct: | at | type | `field` | ... */
#define F(s, f) { #s, #f, offsetof(struct s, f), sizeof(((struct s *)0)->f) }
static void the_page_has_every_field_at_its_offset(void **state)
{
	static const struct { const char *type, *name; size_t at, bytes; } fields[] = {
		F(meta_super, magic), F(meta_super, version), F(meta_super, state),
		F(meta_super, crc), F(meta_super, region_bytes), F(meta_super, write_no),
		F(meta_super, size_bytes), F(meta_super, log_no), F(meta_super, unused),
		F(meta_super, ordinal), F(meta_super, id), F(meta_super, instance),
		F(meta_super, basis_instance), F(meta_super, basis_incarnation),
		F(meta_super, reserved), F(meta_super, group), F(meta_super, volume),
		F(meta_super, disk), F(meta_super, printed), F(meta_super, prints),
		F(meta_block, magic), F(meta_block, crc), F(meta_block, index),
		F(meta_block, log_no), F(meta_block, id), F(meta_block, reserved),
		F(meta_block, words),
	};
	FILE *f = fopen("docs/META.md", "r");
	char line[512], type[64] = "";
	size_t next = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char name[64];
		size_t at, bytes;

		if (sscanf(line, "### `struct %63[a-z_]`", type) == 1 ||
		    sscanf(line, "| %zu | %zu | `%63[a-z_]`", &at, &bytes, name) != 3)
			continue;
		assert_true(next < ARRAY_SIZE(fields));
		assert_string_equal(type, fields[next].type);
		assert_string_equal(name, fields[next].name);
		assert_int_equal(at, fields[next].at);
		assert_int_equal(bytes, fields[next].bytes);
		next++;
	}
	fclose(f);
	assert_int_equal(next, ARRAY_SIZE(fields));
}

#define LIST_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LIST_TEST(a_write_goes_when_its_listing_is_durable),
		LIST_TEST(due_blocks_are_found_from_one_on),
		LIST_TEST(ranges_end_where_the_volume_ends),
		LIST_TEST(hot_regions_stay_and_idle_ones_leave),
		LIST_TEST(what_is_not_at_the_target_stays),
		LIST_TEST(a_print_is_known_while_its_region_rests),
		cmocka_unit_test(prints_are_of_blocks_of_the_volume),
		LIST_TEST(it_is_unlisted_once_the_block_is_filled),
		LIST_TEST(a_write_that_comes_before_that_keeps_it),
		LIST_TEST(nothing_leaves_before_the_disk_has_it),
		LIST_TEST(the_device_always_lists_what_may_differ),
		LIST_TEST(loading_believes_only_what_checks),
		cmocka_unit_test(superblocks_survive_a_round_trip),
		cmocka_unit_test(a_superblock_that_checks_may_still_be_wrong),
		cmocka_unit_test(the_page_has_every_field_at_its_offset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
