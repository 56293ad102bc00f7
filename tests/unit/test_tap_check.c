// SPDX-License-Identifier: GPL-2.0-only
/* What may be tapped, over trees that look like sysfs. */
#include "unit.h"

#include <errno.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/tap_check.h"

static char root[64];

static void file(const char *dir, const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/devices/%s/%s", root, dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%s\n", text);
	fclose(f);
}

static void folder(const char *dir, const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/devices/%s/%s", root, dir, name);
	assert_return_code(mkdir(path, 0700), errno);
}

static void device(const char *dir, unsigned int minor, const char *sectors)
{
	char number[16], target[128], link[256];

	folder("", dir);
	folder(dir, "holders");
	snprintf(number, sizeof(number), "8:%u", minor);
	file(dir, "dev", number);
	file(dir, "size", sectors);
	file(dir, "ro", "0");
	snprintf(target, sizeof(target), "%s/devices/%s", root, dir);
	snprintf(link, sizeof(link), "%s/dev/block/%s", root, number);
	assert_return_code(symlink(target, link), errno);
}

static void disk(const char *dir, unsigned int minor, const char *sectors)
{
	device(dir, minor, sectors);
	folder(dir, "slaves");
	folder(dir, "queue");
	file(dir, "queue/zoned", "none");
	file(dir, "queue/dax", "0");
}

static void partition(const char *dir, unsigned int minor, const char *start, const char *sectors)
{
	device(dir, minor, sectors);
	file(dir, "start", start);
	file(dir, "partition", "1");
}

static void dm(const char *dir, unsigned int minor, const char *name, const char *uuid)
{
	disk(dir, minor, "65536");
	folder(dir, "dm");
	file(dir, "dm/name", name);
	file(dir, "dm/uuid", uuid);
}

/* @upper is built on @lower. */
static void stack(const char *upper, const char *lower)
{
	const char *below = strrchr(lower, '/') ? strrchr(lower, '/') + 1 : lower;
	char target[128], link[256];

	snprintf(target, sizeof(target), "%s/devices/%s", root, upper);
	snprintf(link, sizeof(link), "%s/devices/%s/holders/%s", root, lower, upper);
	assert_return_code(symlink(target, link), errno);
	snprintf(target, sizeof(target), "%s/devices/%s", root, lower);
	snprintf(link, sizeof(link), "%s/devices/%s/slaves/%s", root, upper, below);
	assert_return_code(symlink(target, link), errno);
}

enum { SDA = 0, SDA1, SDA2, SDA3, SDB = 16, SDC = 32, SDD = 48, SDD1, SDE = 64, NVME = 80,
	DM0 = 128, DM1, DM2, MD0, MPATHA, BCACHE0 };

/*
 * sda: sda1, sda2 (swap), and sda3 with the LVs dm-0 and dm-1 (swap). sdb: in md0, which has
 * the LV dm-2. sdc: a path of dm-3. sdd: sdd1 behind bcache0. sde: by itself.
 */
static int tree_make(void **state)
{
	static const char *const folders[] = {
		"dev", "dev/block", "devices", "devices/nvme-subsystem",
	};
	char path[128];

	snprintf(root, sizeof(root), "/tmp/blkship-tap-XXXXXX");
	if (!mkdtemp(root))
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(path, sizeof(path), "%s/%s", root, folders[i]);
		assert_return_code(mkdir(path, 0700), errno);
	}
	disk("sda", SDA, "131072");
	partition("sda/sda1", SDA1, "2048", "32768");
	partition("sda/sda2", SDA2, "34816", "8192");
	partition("sda/sda3", SDA3, "43008", "88064");
	dm("dm-0", DM0, "vg0-data", "LVM-1");
	dm("dm-1", DM1, "vg0-swap", "LVM-2");
	stack("dm-0", "sda/sda3");
	stack("dm-1", "sda/sda3");
	disk("sdb", SDB, "65536");
	disk("md0", MD0, "65536");
	dm("dm-2", DM2, "vg1-root", "LVM-3");
	stack("md0", "sdb");
	stack("dm-2", "md0");
	disk("sdc", SDC, "65536");
	dm("dm-3", MPATHA, "mpatha", "mpath-36001");
	stack("dm-3", "sdc");
	disk("sdd", SDD, "65536");
	partition("sdd/sdd1", SDD1, "2048", "63488");
	disk("bcache0", BCACHE0, "63488");
	stack("bcache0", "sdd/sdd1");
	disk("sde", SDE, "65536");
	disk("nvme-subsystem/nvme0n1", NVME, "65536");
	return 0;
}

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

static int tree_remove(void **state)
{
	return nftw(root, entry_remove, 8, FTW_DEPTH | FTW_PHYS);
}

static bool is_swap(unsigned int major, unsigned int minor)
{
	return major == 8 && (minor == SDA2 || minor == DM1);
}

/* As TAP_ADD of g/v for a device, with these volumes there. */
static int check(unsigned int minor, const struct knl_volume *volumes, size_t nr,
		 struct tap_answer *a)
{
	const struct tap_request request = {
		.sysfs = root, .group = "g", .volume = "v", .major = 8, .minor = minor,
		.volumes = volumes, .nr_volumes = nr, .is_swap = is_swap,
	};

	return tap_check(&request, a);
}

static void plain_devices_may(void **state)
{
	static const unsigned int good[] = { SDA, SDA1, SDA3, DM0, DM2, SDE };
	struct tap_answer a;

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		if (check(good[i], NULL, 0, &a))
			fail_msg("8:%u: %s", good[i], a.text);
		assert_false(a.again);
	}
	check(SDA3, NULL, 0, &a);
	assert_true(a.dev.partition);
	assert_string_equal(a.dev.disk, "sda");
	assert_int_equal(a.dev.start_bytes, 43008 * 512);
	assert_int_equal(check(200, NULL, 0, &a), -ENODEV);
}

static void swap_is_named_and_left_out(void **state)
{
	struct tap_answer a;

	assert_int_equal(check(SDA, NULL, 0, &a), 0);
	assert_string_equal(a.swaps, "sda2, vg0-swap");
	assert_int_equal(check(SDA1, NULL, 0, &a), 0);
	assert_string_equal(a.swaps, "");
	assert_int_equal(check(SDA2, NULL, 0, &a), -EPERM);
	assert_non_null(strstr(a.text, "used as swap"));
}

static void no_part_of_something_larger(void **state)
{
	static const struct { unsigned int minor; const char *text; } bad[] = {
		{ SDB, "member of the md array md0" },
		{ MD0, "md array" },
		{ SDC, "path of the multipath device mpatha" },
		{ SDD, "bcache device bcache0" },
		{ SDD1, "bcache device bcache0" },
		{ BCACHE0, "bcache device" },
		{ NVME, "NVMe paths" },
	};
	struct tap_answer a;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(check(bad[i].minor, NULL, 0, &a), -EPERM);
		if (!strstr(a.text, bad[i].text) || !strstr(a.text, "nothing was changed; "))
			fail_msg("8:%u: %s", bad[i].minor, a.text);
	}
}

static void not_what_writes_of_its_own_or_not_at_all(void **state)
{
	struct tap_answer a;

	file("sda", "queue/zoned", "host-managed");
	assert_int_equal(check(SDA1, NULL, 0, &a), -EPERM);	/* the disk's word counts */
	assert_non_null(strstr(a.text, "zoned (host-managed)"));
	file("sde", "queue/dax", "1");
	assert_int_equal(check(SDE, NULL, 0, &a), -EPERM);
	assert_non_null(strstr(a.text, "DAX"));
	file("sde", "queue/dax", "0");
	file("sde", "ro", "1");
	assert_int_equal(check(SDE, NULL, 0, &a), -EPERM);
	assert_non_null(strstr(a.text, "read-only"));
	file("sde", "ro", "0");
	file("sde", "size", "2047");
	assert_int_equal(check(SDE, NULL, 0, &a), -EPERM);
	assert_non_null(strstr(a.text, "device too small"));
}

/* A volume of another group on @minor, @start sectors in, @sectors long. */
static struct knl_volume other(unsigned int minor, uint64_t start, uint64_t sectors)
{
	return (struct knl_volume){
		.group = "erp", .name = "data", .dev_major = 8, .dev_minor = minor,
		.dev_start_bytes = start * 512, .size_bytes = sectors * 512,
	};
}

static void no_write_is_kept_twice(void **state)
{
	const struct knl_volume disk_sda = other(SDA, 0, 131072),
		tapped_sda1 = other(SDA, 2048, 32768), dm_sda1 = other(SDA1, 0, 32768),
		tapped_sda3 = other(SDA, 43008, 88064), lv = other(DM0, 0, 65536),
		raid_member = other(SDB, 0, 65536);
	static const unsigned int on_sda[] = { SDA1, SDA3, DM0 };
	struct tap_answer a;

	for (size_t i = 0; i < ARRAY_SIZE(on_sda); i++) {
		assert_int_equal(check(on_sda[i], &disk_sda, 1, &a), -EPERM);
		assert_non_null(strstr(a.text, "erp/data"));
		assert_non_null(strstr(a.text, "kept twice"));
	}
	assert_int_equal(check(SDA, &tapped_sda1, 1, &a), -EPERM);
	assert_int_equal(check(SDA, &dm_sda1, 1, &a), -EPERM);
	assert_int_equal(check(SDA, &lv, 1, &a), -EPERM);
	assert_non_null(strstr(a.text, "vg0-data on it"));
	assert_int_equal(check(SDA3, &lv, 1, &a), -EPERM);
	assert_int_equal(check(DM0, &tapped_sda3, 1, &a), -EPERM);
	assert_non_null(strstr(a.text, "sda3 below it"));
	assert_int_equal(check(DM2, &raid_member, 1, &a), -EPERM);
	/* Neighbours are nobody's business. */
	assert_int_equal(check(SDA3, &tapped_sda1, 1, &a), 0);
	assert_int_equal(check(SDA3, &dm_sda1, 1, &a), 0);
	assert_int_equal(check(SDA1, &lv, 1, &a), 0);
	assert_int_equal(check(DM0, &tapped_sda1, 1, &a), 0);
	assert_int_equal(check(SDE, &disk_sda, 1, &a), 0);
}

static void it_comes_back_when_it_is_not_captured(void **state)
{
	struct knl_volume v = other(SDE, 0, 65536);
	struct tap_answer a;

	assert_int_equal(check(SDE, &v, 1, &a), -EPERM);
	assert_non_null(strstr(a.text, "captured already, as erp/data"));
	v.flags = BLKSHIP_VOLUME_DIVERGED;	/* and still captured, by another name */
	assert_int_equal(check(SDE, &v, 1, &a), -EPERM);
	memcpy(v.group, "g", 2);
	memcpy(v.name, "v", 2);
	assert_int_equal(check(SDE, &v, 1, &a), 0);
	assert_true(a.again);
	v.flags = BLKSHIP_VOLUME_DIVERGED | BLKSHIP_VOLUME_DETACHED;
	assert_int_equal(check(SDE, &v, 1, &a), 0);
	assert_true(a.again);
	v.flags = 0;
	assert_int_equal(check(SDE, &v, 1, &a), -EPERM);
}

static void a_range_of_a_disk_has_its_partitions_name(void **state)
{
	struct sysblock found;

	assert_int_equal(sysblock_find(root, 8, SDA, 2048 * 512, 32768 * 512, &found), 0);
	assert_string_equal(found.name, "sda1");
	assert_int_equal(sysblock_find(root, 8, SDA, 0, 131072 * 512, &found), 0);
	assert_string_equal(found.name, "sda");
	assert_int_equal(sysblock_find(root, 8, SDA, 2048 * 512, 512, &found), 0);
	assert_string_equal(found.name, "sda");
	assert_int_equal(sysblock_find(root, 8, DM0, 0, 65536 * 512, &found), 0);
	assert_string_equal(found.label, "vg0-data");
	assert_int_equal(sysblock_find(root, 9, 9, 0, 512, &found), -ENODEV);
}

#define test(name) cmocka_unit_test_setup_teardown(name, tree_make, tree_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(plain_devices_may),
		test(swap_is_named_and_left_out),
		test(no_part_of_something_larger),
		test(not_what_writes_of_its_own_or_not_at_all),
		test(no_write_is_kept_twice),
		test(it_comes_back_when_it_is_not_captured),
		test(a_range_of_a_disk_has_its_partitions_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
