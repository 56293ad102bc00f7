// SPDX-License-Identifier: GPL-2.0-only
/*
 * The write-intent log: what is on the metadata device, and when. The device is read
 * behind the module's back, as a crash would leave it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "selftest.h"

/* docs/META.md */
#define BLOCK 4096u
#define FIRST_BLOCK 8u
#define BITS_AT 64u
#define STATE_AT 6u
#define WRITE_NO_AT 16u
#define LOG_NO_AT 16u
#define STATE_CLEAN 1u
#define STATE_LOGGED 2u
#define STATE_OFF 4u
#define MIB ((uint64_t)1 << 20)
#define REGIONS (DISK_SECTORS * 512 / MIB)

#define GROUP "met"
#define PARAMETERS "/sys/module/blkship/parameters/"
#define BAD_SECTOR (DISK_SECTORS / 2)	/* of a block that has a print */
#define BACKING OTHER_DISK	/* of the metadata device */

static struct ring ring;
static int fd;

/* -- the device as it is -- */

static void backing_read(void *buf, size_t bytes, uint64_t at)
{
	int dev = open(BACKING, O_RDONLY | O_DIRECT);

	if (dev < 0 || pread(dev, buf, bytes, at) != (ssize_t)bytes)
		give_up("cannot read " BACKING);
	close(dev);
}

/* Change a byte of a block, which somebody else has open: not through its cache. */
static void backing_spoil(uint64_t at, unsigned int byte)
{
	static _Alignas(4096) uint8_t b[BLOCK];
	int dev = open(BACKING, O_RDWR | O_DIRECT);

	if (dev < 0 || pread(dev, b, BLOCK, at) != BLOCK)
		give_up("cannot read " BACKING);
	b[byte] ^= 0xff;
	if (pwrite(dev, b, BLOCK, at) != BLOCK)
		give_up("cannot write " BACKING);
	close(dev);
}

/* The newer superblock's state. */
static unsigned int state(void)
{
	static _Alignas(4096) uint8_t b[2 * BLOCK];
	uint64_t no[2];
	uint16_t states[2];

	backing_read(b, sizeof(b), 0);
	for (int i = 0; i < 2; i++) {
		memcpy(&no[i], b + i * BLOCK + WRITE_NO_AT, 8);
		memcpy(&states[i], b + i * BLOCK + STATE_AT, 2);
	}
	return states[no[1] > no[0]];
}

static const uint8_t *list_block(void)
{
	static _Alignas(4096) uint8_t b[BLOCK];

	backing_read(b, sizeof(b), FIRST_BLOCK * BLOCK);
	return b;
}

static bool listed(unsigned int region)
{
	return list_block()[BITS_AT + region / 8] >> region % 8 & 1;
}

static unsigned int nr_listed(void)
{
	const uint8_t *b = list_block();
	unsigned int nr = 0;

	for (unsigned int i = 0; i < REGIONS; i++)
		nr += b[BITS_AT + i / 8] >> i % 8 & 1;
	return nr;
}

static uint64_t log_no(void)
{
	uint64_t no;

	memcpy(&no, list_block() + LOG_NO_AT, 8);
	return no;
}

/* -- volumes -- */

static void set_parameter(const char *name, unsigned int value)
{
	sh("echo %u > " PARAMETERS "%s", value, name);
}

static void wipe(void)
{
	sh("dd if=/dev/zero of=" BACKING " bs=1M count=2 oflag=direct 2>/dev/null");
}

/* The metadata device: the backing disk behind a target that a test can change. */
static void meta_linear(void)
{
	dm_create("meta", "0 %llu linear " BACKING " 0", DISK_SECTORS);
}

static void meta_table(const char *verb, const char *table)
{
	sh("dmsetup suspend --noflush --nolockfs meta; dmsetup %s meta --table '%s'; dmsetup resume meta",
	   verb, table);
}

static void volume_on(const char *disk)
{
	dm_create("t0", "0 %llu blkship %s 0 " GROUP " v0 meta /dev/mapper/meta ring_mib 4",
		  DISK_SECTORS, disk);
	ring_bind(&ring, GROUP);
	fd = dm_open("t0");
}

static void volume_begin(void)
{
	volume_on(DISK);
}

static void volume_end(void)
{
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
}

static void volume_info(struct blkship_volume_info *info)
{
	memset(info, 0, sizeof(*info));
	if (ioctl(ring.fd, BLKSHIP_IOC_VOLUME, info))
		give_up("cannot ask for the volume: %s", strerror(errno));
}

/* The target has everything, in this incarnation. */
static void all_durable(uint32_t incarnation, uint64_t ordinal)
{
	struct blkship_incarnation inc = { .incarnation = incarnation };

	ring.consumer->durable_ordinal = ordinal;
	ring_clean(&ring, 0);
	ring_settle(&ring);
	ring_release_all(&ring);
	if (incarnation && ioctl(ring.fd, BLKSHIP_IOC_INCARNATION, &inc))
		give_up("cannot set the incarnation");
}

static bool is_empty(void *arg)
{
	(void)arg;
	return nr_listed() == 0;
}

static void write_at(const void *data, unsigned int region)
{
	if (pwrite(fd, data, 4096, region * MIB) != 4096)
		give_up("a write failed: %s", strerror(errno));
}

/* Wait until everything that may has left the list. */
static bool list_empties(void)
{
	return wait_until(is_empty, NULL);
}

static bool is_off(void *arg)
{
	(void)arg;
	return state() == STATE_OFF;
}

/* Whether a table of t0 with such a metadata device is refused. */
static bool refused(const char *meta)
{
	if (sh("dmsetup create t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta %s' 2>/dev/null",
	       DISK_SECTORS, meta))
		return true;
	volume_remove("t0", GROUP, "v0");
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
	return false;
}

/* An empty metadata device. */
FIXTURE(meta) {
};

FIXTURE_SETUP(meta)
{
	set_parameter("meta_period_s", 1);
	wipe();
	meta_linear();
}

FIXTURE_TEARDOWN(meta)
{
	dm_remove("meta");
	wipe();
	set_parameter("meta_timeout_s", 10);
	set_parameter("meta_period_s", 30);
}

/* And a volume that has it, in use: all of it is at the target, nothing is listed. */
FIXTURE(volume) {
};

FIXTURE_SETUP(volume)
{
	meta_setup(_metadata, NULL, NULL);
	volume_begin();
	all_durable(1, 1);
	ASSERT_TRUE(list_empties());
}

FIXTURE_TEARDOWN(volume)
{
	volume_end();
	meta_teardown(_metadata, NULL, NULL);
}

TEST_F(meta, device_that_holds_something_else_is_refused_and_left_alone)
{
	sh("printf something | dd of=" BACKING " bs=512 seek=9 conv=notrunc,fsync 2>/dev/null");
	EXPECT_TRUE(refused("/dev/mapper/meta"));
	EXPECT_STREQ("something",
		     sh_line("dd if=" BACKING " bs=512 skip=9 count=1 2>/dev/null | head -c 9"));
}

TEST_F(meta, disk_itself_is_refused)
{
	EXPECT_TRUE(refused(DISK));
}

TEST_F(meta, device_that_is_too_small_is_refused)
{
	dm_remove("meta");
	dm_create("meta", "0 64 linear " BACKING " 0");
	EXPECT_TRUE(refused("/dev/mapper/meta"));
}

TEST_F(meta, with_nothing_known_everything_is_listed)
{
	volume_begin();
	EXPECT_EQ(REGIONS, nr_listed());
	EXPECT_EQ(STATE_LOGGED, state());
	volume_end();
	/* Detached, the list is closed. */
	EXPECT_EQ(STATE_CLEAN, state());
}

TEST_F(volume, list_serves_one_volume)
{
	dm_create("linear", "0 8192 linear " DISK " 0");
	EXPECT_NE(0, sh("dmsetup create t1 --table '0 8192 blkship /dev/mapper/linear 0 " GROUP " v1 meta /dev/mapper/meta' 2>/dev/null"));
	dm_remove("linear");
}

TEST_F(volume, what_is_durable_leaves_the_list)
{
	void *data = pattern(4096, 1);

	write_at(data, 0);
	EXPECT_TRUE(listed(0));
	all_durable(1, 1);
	EXPECT_TRUE(list_empties());
	free(data);
}

TEST_F(volume, cold_write_waits_until_it_is_listed)
{
	void *data = pattern(8192, 1), *got = pattern(4096, 0);
	struct async *a;
	uint64_t no;
	int raw;

	meta_table("load", "0 131072 delay " BACKING " 0 0 " BACKING " 0 500");
	raw = open(DISK, O_RDONLY | O_DIRECT);
	a = async_write(fd, data, 4096, 5 * MIB);
	sleep_ms(200);
	EXPECT_FALSE(async_ended(a));
	EXPECT_EQ(4096, pread(raw, got, 4096, 5 * MIB));
	EXPECT_NE(0, memcmp(got, data, 4096));
	/* It has its seq already, and goes alone once it is listed. */
	EXPECT_GT(ring_newest(&ring), ring_watermark(&ring));
	EXPECT_EQ(4096, async_wait(a));
	EXPECT_TRUE(listed(5));
	EXPECT_EQ(1, nr_listed());
	/* A hot one does not wait, and writes nothing there. */
	no = log_no();
	a = async_write(fd, data, 4096, 5 * MIB + 65536);
	sleep_ms(150);
	EXPECT_TRUE(async_ended(a));
	EXPECT_EQ(4096, async_wait(a));
	EXPECT_EQ(no, log_no());
	/* One on a border lists both sides. */
	a = async_write(fd, data, 8192, 8 * MIB - 4096);
	EXPECT_EQ(8192, async_wait(a));
	EXPECT_TRUE(listed(7));
	EXPECT_TRUE(listed(8));
	meta_table("load", "0 131072 linear " BACKING " 0");
	close(raw);
	free(data);
	free(got);
}

/* Released is not enough, nor is clean. */
TEST_F(volume, delisted_when_released_and_clean)
{
	struct blkship_mark mark = { .offset_bytes = 9 * MIB, .length_bytes = 512 };
	void *data = pattern(4096, 2);

	write_at(data, 3);
	sleep_ms(2500);
	EXPECT_TRUE(listed(3));
	/* A mark is listed when it returns. */
	EXPECT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark));
	EXPECT_TRUE(listed(9));
	EXPECT_TRUE(ring_settle(&ring));
	ring_release_all(&ring);
	sleep_ms(2500);
	EXPECT_FALSE(listed(3));
	EXPECT_TRUE(listed(9));
	ring_clean(&ring, 0);
	EXPECT_TRUE(list_empties());
	/* It comes back with the next write. */
	write_at(data, 3);
	EXPECT_TRUE(listed(3));
	free(data);
}

TEST_F(volume, what_is_not_captured_is_listed_all_the_same)
{
	size_t bytes = 1 << 20;
	void *data = pattern(bytes, 3);

	for (unsigned int i = 0; i < 12; i++) {		/* of 4 MiB */
		EXPECT_EQ((ssize_t)bytes, pwrite(fd, data, bytes, i * MIB));
	}
	EXPECT_GT(ring.kernel->uncaptured, 0);
	EXPECT_EQ(12, nr_listed());
	/* It leaves when it was repaired. */
	all_durable(1, 2);
	EXPECT_TRUE(list_empties());
	free(data);
}

TEST_F(volume, failing_device_turns_the_log_off)
{
	int events = netlink_listen();
	void *data = pattern(4096, 4);
	struct blkship_volume_info info;

	volume_info(&info);
	EXPECT_NE(0, info.log_no);
	EXPECT_EQ(BLKSHIP_VOLUME_META,
		  info.flags & (BLKSHIP_VOLUME_META | BLKSHIP_VOLUME_META_OFF));
	/* The write does not fail, an event, a flag and the status say it. */
	meta_table("load", "0 131072 error");
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 2 * MIB));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_META_OFF, "v0"));
	volume_info(&info);
	EXPECT_EQ(0, info.log_no);
	EXPECT_TRUE(info.flags & BLKSHIP_VOLUME_META_OFF);
	EXPECT_NE(NULL, strstr(sh_line("dmsetup status t0"), "listed off"));
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 4 * MIB));
	/* The device says so as soon as it can. */
	meta_table("load", "0 131072 linear " BACKING " 0");
	EXPECT_TRUE(wait_until(is_off, NULL));
	volume_end();

	/* Then everything is read back, with a new list. */
	volume_begin();
	volume_info(&info);
	EXPECT_EQ(DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES, info.dirty_regions);
	EXPECT_EQ(0, info.kept_incarnation);
	EXPECT_EQ(STATE_LOGGED, state());
	close(events);
	free(data);
}

/* The second volume of the group, seen by the consumer. */
static bool other_is_seen(void *arg)
{
	struct blkship_volume_info info = { .volume = 1 };

	(void)arg;
	return ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info) == 0;
}

/* While its list is being begun, the daemon goes on with the group. */
TEST_F(volume, list_is_begun_while_the_group_is_used)
{
	struct blkship_incarnation inc = { .incarnation = 1 };
	struct blkship_mark mark = { .volume = 1, .length_bytes = 512 };
	int status;
	pid_t child;

	if (sh("modprobe -q dm_delay && modprobe brd rd_nr=1 rd_size=4096"))
		SKIP(return, "no dm-delay or brd here");
	/* Reads, writes, flushes. */
	dm_create("late", "0 2048 delay %s 65536 0 %s 65536 1000 %s 65536 0", BACKING, BACKING,
		  BACKING);
	child = fork();
	if (!child)
		_exit(sh("dmsetup create t1 --table '0 8192 blkship /dev/ram0 0 " GROUP
			 " v1 meta /dev/mapper/late'"));
	ASSERT_TRUE(wait_until(other_is_seen, NULL));
	EXPECT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_INCARNATION, &inc));
	EXPECT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark));
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_NE(NULL, strstr(sh_line("dmsetup status t1"), "listed"));
	EXPECT_EQ(NULL, strstr(sh_line("dmsetup status t1"), "listed off"));
	volume_remove("t1", GROUP, "v1");
	dm_remove("late");
	sh("rmmod brd");
}

/* It holds a write, but not for long. */
TEST_F(volume, hanging_device_is_given_up)
{
	int events = netlink_listen();
	void *data = pattern(4096, 4);
	struct async *a;

	set_parameter("meta_timeout_s", 4);
	sh("dmsetup suspend --noflush --nolockfs meta");
	a = async_write(fd, data, 4096, 6 * MIB);
	sleep_ms(300);
	EXPECT_FALSE(async_ended(a));
	EXPECT_EQ(4096, async_wait(a));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_META_OFF, "v0"));
	sh("dmsetup resume meta");
	EXPECT_TRUE(wait_until(is_off, NULL));
	close(events);
	free(data);
}

TEST_F(volume, table_loaded_anew_keeps_the_list)
{
	void *data = pattern(4096, 5);
	struct blkship_volume_info info;

	write_at(data, 11);
	sh("dmsetup suspend t0");
	EXPECT_TRUE(listed(11));
	EXPECT_EQ(1, nr_listed());
	sh("dmsetup load t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta /dev/mapper/meta' && dmsetup resume t0",
	   DISK_SECTORS);
	EXPECT_TRUE(listed(11));
	EXPECT_EQ(1, nr_listed());
	EXPECT_EQ(STATE_LOGGED, state());
	volume_info(&info);
	EXPECT_EQ(0, info.dirty_regions);
	EXPECT_NE(0, info.log_no);
	write_at(data, 13);
	EXPECT_TRUE(listed(13));
	/* Without one, nobody lists any more. */
	sh("dmsetup load t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0' && dmsetup resume t0",
	   DISK_SECTORS);
	EXPECT_EQ(STATE_OFF, state());
	volume_info(&info);
	EXPECT_EQ(0, info.log_no);
	EXPECT_FALSE(info.flags & BLKSHIP_VOLUME_META);
	free(data);
}

/* -- what is kept while a volume is detached -- */

#define REGIONS_PER_MIB (MIB / BLKSHIP_REGION_BYTES)
#define ALL_REGIONS (DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES)
#define LISTED 20u

/* Detached, with one listed region, in incarnation 7 at 70. */
FIXTURE(kept) {
	uint8_t instance[16];
};

FIXTURE_SETUP(kept)
{
	void *data = pattern(4096, 6);

	meta_setup(_metadata, NULL, NULL);
	volume_begin();
	memcpy(self->instance, ring.kernel->instance, 16);
	all_durable(7, 70);
	ASSERT_TRUE(list_empties());
	write_at(data, LISTED);
	volume_end();
	free(data);
}

FIXTURE_TEARDOWN(kept)
{
	meta_teardown(_metadata, NULL, NULL);
}

/* Attach again. */
static void again(struct blkship_volume_info *info)
{
	volume_begin();
	volume_info(info);
}

static int settle(const struct blkship_volume_info *info, bool fits)
{
	struct blkship_settle settle = {
		.fits = fits, .kept_log_no = info->kept_log_no,
	};

	return ioctl(ring.fd, BLKSHIP_IOC_SETTLE, &settle);
}

TEST_F(kept, only_what_was_listed_is_dirty)
{
	struct blkship_volume_info info;

	again(&info);
	EXPECT_EQ(REGIONS_PER_MIB, info.dirty_regions);
	EXPECT_EQ(REGIONS_PER_MIB,
		  ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, LISTED * REGIONS_PER_MIB,
			      REGIONS_PER_MIB));
	/* And what it compares with is told. */
	EXPECT_EQ(7, info.kept_incarnation);
	EXPECT_EQ(70, info.kept_ordinal);
	EXPECT_NE(0, info.kept_log_no);
	EXPECT_EQ(0, memcmp(info.kept_instance, self->instance, 16));
	EXPECT_EQ(1, ring_newest(&ring));
	volume_end();
}

/* There is no print of it, and all others are worth as much as ever. */
TEST_F(meta, disk_with_a_block_that_cannot_be_read_keeps_its_state)
{
	struct blkship_volume_info info;

	dm_create("low", "0 %llu linear " DISK " 0\n%llu 8 error\n%llu %llu linear " DISK " %llu",
		  BAD_SECTOR, BAD_SECTOR, BAD_SECTOR + 8, DISK_SECTORS - BAD_SECTOR - 8,
		  BAD_SECTOR + 8);
	volume_on("/dev/mapper/low");
	all_durable(7, 70);
	ASSERT_TRUE(list_empties());
	volume_end();
	EXPECT_EQ(STATE_CLEAN, state());
	volume_on("/dev/mapper/low");
	volume_info(&info);
	EXPECT_EQ(0, info.dirty_regions);
	EXPECT_EQ(7, info.kept_incarnation);
	volume_end();

	/* Written to elsewhere where there is a print. */
	sh("printf x | dd of=" DISK " bs=512 seek=1 conv=notrunc,fsync 2>/dev/null");
	volume_on("/dev/mapper/low");
	volume_info(&info);
	EXPECT_NE(0, info.dirty_regions);
	EXPECT_EQ(0, info.kept_incarnation);
	volume_end();
	dm_remove("low");
}

TEST_F(kept, target_says_that_it_fits)
{
	struct blkship_volume_info info;

	again(&info);
	/* Not about another list. */
	info.kept_log_no++;
	EXPECT_EQ(-1, settle(&info, true));
	EXPECT_EQ(ESTALE, errno);
	info.kept_log_no--;
	EXPECT_EQ(0, settle(&info, true));
	volume_info(&info);
	EXPECT_EQ(0, info.kept_incarnation);
	EXPECT_EQ(REGIONS_PER_MIB, info.dirty_regions);
	volume_end();
	/* Detached before an incarnation was granted: the old basis stays. */
	again(&info);
	EXPECT_EQ(7, info.kept_incarnation);
	EXPECT_EQ(REGIONS_PER_MIB, info.dirty_regions);
	volume_end();
}

TEST_F(kept, target_says_that_it_does_not_fit)
{
	struct blkship_volume_info info;
	uint8_t instance[16];

	again(&info);
	/* All is listed when the call returns, and dirty. */
	EXPECT_EQ(0, settle(&info, false));
	EXPECT_EQ(REGIONS, nr_listed());
	volume_info(&info);
	EXPECT_EQ(ALL_REGIONS, info.dirty_regions);
	all_durable(8, 80);
	EXPECT_TRUE(list_empties());
	memcpy(instance, ring.kernel->instance, 16);
	volume_end();
	/* A new basis, and nothing to read back. */
	again(&info);
	EXPECT_EQ(0, info.dirty_regions);
	EXPECT_EQ(8, info.kept_incarnation);
	EXPECT_EQ(0, memcmp(info.kept_instance, instance, 16));
	volume_end();
}

TEST_F(kept, disk_that_changed_meanwhile_is_read_back_as_a_whole)
{
	struct blkship_volume_info info;

	sh("echo x | dd of=" DISK " bs=512 seek=2 conv=notrunc 2>/dev/null");
	again(&info);
	EXPECT_EQ(ALL_REGIONS, info.dirty_regions);
	EXPECT_EQ(0, info.kept_incarnation);
	volume_end();
}

TEST_F(kept, damaged_block_of_the_list_lists_all_its_regions)
{
	struct blkship_volume_info info;

	backing_spoil(FIRST_BLOCK * BLOCK, 100);
	again(&info);
	EXPECT_EQ(ALL_REGIONS, info.dirty_regions);
	EXPECT_EQ(7, info.kept_incarnation);
	volume_end();
}

TEST_F(kept, without_a_superblock_it_is_nobodys)
{
	backing_spoil(0, 0);
	backing_spoil(BLOCK, 0);
	EXPECT_TRUE(refused("/dev/mapper/meta"));
}

TEST_HARNESS_MAIN
