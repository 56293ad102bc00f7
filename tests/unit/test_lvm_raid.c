// SPDX-License-Identifier: GPL-2.0-only
/* Superblocks of a mirror: what device-mapper has written is understood, and each turned bit is a reason. */
#include "unit.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "../../userspace/export/lvm_raid.h"
#include "lvm_disk.h"

static void both(uint8_t (*sb)[LVM_RAID_BYTES])
{
	lvm_disk_superblock(sb[0], 0);
	lvm_disk_superblock(sb[1], 1);
}

static void a_mirror_is_in_sync_and_each_turned_bit(void **state)
{
	/* Nothing hangs on how often it was written (but for the other one), on widths, nor on what is unused. */
	static const struct { size_t from, to; } free[] = { { 52, 60 }, { 76, 84 }, { 148, 512 } };
	uint8_t sb[2][LVM_RAID_BYTES];

	both(sb);
	assert_int_equal(lvm_raid_in_sync(sb, 2, LVM_DISK_MIRROR_BYTES), 0);
	for (size_t i = 0; i < ARRAY_SIZE(sb); i++)
		for (size_t bit = 0; bit < sizeof(sb[0]) * 8; bit++) {
			bool matters = bit != 16 * 8;

			for (size_t k = 0; k < ARRAY_SIZE(free); k++)
				matters = matters && (bit / 8 < free[k].from || bit / 8 >= free[k].to);
			sb[i][bit / 8] ^= 1 << bit % 8;
			if ((lvm_raid_in_sync(sb, 2, LVM_DISK_MIRROR_BYTES) != 0) != matters)
				fail_msg("superblock %zu, bit %zu", i, bit);
			sb[i][bit / 8] ^= 1 << bit % 8;
		}
}

static void what_is_not_the_same_yet_is_told_apart(void **state)
{
	static const struct { size_t at; uint8_t value; int want; } cases[] = {
		{ 0, 'x', -EBADMSG }, { 4, 0, -EBADMSG }, { 4, 3, -EBADMSG }, { 8, 3, -EBADMSG },
		{ 12, 0, -EBADMSG }, { 48, 5, -EBADMSG }, { 144, 1, -EBADMSG }, { 113, 0x20, -EBADMSG },
		{ 16, 0x15, 0 }, { 16, 0x13, 0 }, { 16, 0x16, -EUCLEAN }, { 16, 0x12, -EUCLEAN },
		{ 24, 1, -EUCLEAN }, { 24, 2, -EUCLEAN }, { 136, 1, -EUCLEAN }, { 32, 0, -EUCLEAN },
		{ 40, 0, -EUCLEAN }, { 60, 1, -EUCLEAN }, { 84, 1, -EUCLEAN }, { 96, 8, -EUCLEAN },
	};
	uint8_t sb[2][LVM_RAID_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		both(sb);
		sb[1][cases[i].at] = cases[i].value;
		if (lvm_raid_in_sync(sb, 2, LVM_DISK_MIRROR_BYTES) != cases[i].want)
			fail_msg("case %zu", i);
	}
	both(sb);
	assert_int_equal(lvm_raid_in_sync(sb, 2, LVM_DISK_MIRROR_BYTES / 2), -EBADMSG);
	assert_int_equal(lvm_raid_in_sync(sb, 1, LVM_DISK_MIRROR_BYTES), -EBADMSG);
	assert_int_equal(lvm_raid_in_sync(sb, 0, LVM_DISK_MIRROR_BYTES), -EUCLEAN);
	/* As a metadata volume is before it is used. */
	memset(sb[1], 0, sizeof(sb[1]));
	assert_int_equal(lvm_raid_in_sync(sb, 2, LVM_DISK_MIRROR_BYTES), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mirror_is_in_sync_and_each_turned_bit),
		cmocka_unit_test(what_is_not_the_same_yet_is_told_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
