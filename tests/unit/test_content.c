// SPDX-License-Identifier: GPL-2.0-only
/* What is on a disk: one thing that makes no sense does not hide the others. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../tools/blkship/content.h"
#include "lvm_disk.h"

#define MIB (1u << 20)

/* Partitions of LVM, 2 MiB at 1, and of swap, 1 MiB at 3. */
static const uint8_t table[66] = {
	0, 0, 2, 0, 0x8e, 0, 2, 0, 0x00, 0x08, 0, 0, 0x00, 0x10, 0, 0,
	0, 0, 2, 0, 0x82, 0, 2, 0, 0x00, 0x18, 0, 0, 0x00, 0x08, 0, 0,
	[64] = 0x55, 0xaa,
};
static const uint8_t swap[12] = { 1, 0, 0, 0, 0xff };

static void a_physical_volume_that_makes_no_sense_hides_nothing(void **state)
{
	char path[] = "/tmp/content.XXXXXX";
	uint8_t label[LVM_DISK_SECTOR_BYTES];
	int fd = mkstemp(path);
	struct content *found;
	size_t nr;

	assert_true(fd >= 0);
	/* Its metadata area ends at the last byte that can be. */
	lvm_disk_label(label, 32 << 20, INT64_MAX - MIB, MIB);
	assert_int_equal(ftruncate(fd, 4 * MIB), 0);
	assert_int_equal(pwrite(fd, table, sizeof(table), 446), sizeof(table));
	assert_int_equal(pwrite(fd, label, sizeof(label), MIB + 512), sizeof(label));
	assert_int_equal(pwrite(fd, swap, sizeof(swap), 3 * MIB + 1024), sizeof(swap));
	assert_int_equal(pwrite(fd, "SWAPSPACE2", 10, 3 * MIB + 4086), 10);
	close(fd);
	assert_int_equal(content_find(path, &found, &nr), 0);
	assert_int_equal(nr, 2);
	assert_string_equal(found[0].type, "LVM2_member");
	assert_string_equal(found[0].why_not, "a physical volume whose metadata cannot be read");
	assert_string_equal(found[1].type, "swap");
	content_free(found, nr);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_physical_volume_that_makes_no_sense_hides_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
