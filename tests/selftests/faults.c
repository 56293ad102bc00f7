// SPDX-License-Identifier: GPL-2.0-only
/* Disks that fail, are slow or do not answer, and writes that overlap. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "selftest.h"

#define GROUP "flt"
#define HELD_MAX 256u	/* as in kmod/capture.c */
#define REGION ((uint64_t)BLKSHIP_REGION_BYTES)

static struct ring ring;
static int fd;

static void begin(const char *lower)
{
	volume_create("t0", lower, GROUP, "v0", 4);
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	fd = dm_open("t0");
}

/* Of a disk whose writes take so long. */
static void begin_slow(unsigned int write_ms)
{
	dm_create("low", "0 %llu delay " DISK " 0 0 " DISK " 0 %u",
		  DISK_SECTORS, write_ms);
	begin("/dev/mapper/low");
}

static unsigned int dirty(uint64_t region, unsigned int nr)
{
	return ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, region, nr);
}

struct head_wish {
	uint64_t head;
};

static bool head_reached(void *arg)
{
	return ring_head(&ring) >= ((struct head_wish *)arg)->head;
}

/* Submit in this order: each is in the ring before the next begins. */
static struct async *submit(const void *data, size_t bytes, uint64_t at)
{
	struct head_wish wish = { ring_head(&ring) + 1 };
	struct async *a = async_write(fd, data, bytes, at);

	if (!wait_until(head_reached, &wish))
		give_up("a write is not captured");
	return a;
}

static bool one_uncaptured(void *arg)
{
	(void)arg;
	return __atomic_load_n(&ring.kernel->uncaptured, __ATOMIC_ACQUIRE) == 1;
}

static bool all_held(void *arg)
{
	(void)arg;
	return __atomic_load_n(&ring.kernel->overlaps, __ATOMIC_ACQUIRE) ==
	       HELD_MAX;
}

/* A volume on a disk "low", which each test makes as bad as it needs it. */
FIXTURE(volume) {
};

FIXTURE_SETUP(volume)
{
}

FIXTURE_TEARDOWN(volume)
{
	sh("dmsetup resume low; echo 120 > /sys/module/blkship/parameters/io_timeout_s");
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	dm_remove("low");
}

TEST_F(volume, failed_write_is_a_gap_and_dirty)
{
	uint64_t base, region = DISK_SECTORS / 2 * 512 / REGION;
	void *data = pattern(8192, 1);
	const struct blkship_desc *d;

	ASSERT_EQ(0, sh("printf '0 %llu linear " DISK " 0\\n%llu %llu error\\n' | dmsetup create low && dmsetup mknodes",
			DISK_SECTORS / 2, DISK_SECTORS / 2, DISK_SECTORS / 2));
	begin("/dev/mapper/low");
	base = ring_newest(&ring);
	EXPECT_EQ(-1, pwrite(fd, data, 8192, region * REGION));
	EXPECT_EQ(EIO, errno);
	/* It took a seq, and its failure another, which is seen as a gap. */
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_EQ(base + 2, ring_newest(&ring));
	d = ring_find(&ring, base + 1);
	ASSERT_NE(NULL, d);
	EXPECT_EQ(BLKSHIP_STATE_FAILED, d->state);
	EXPECT_EQ(1, ring.kernel->failed);
	EXPECT_EQ(NULL, ring_find(&ring, base + 2));
	EXPECT_EQ(1, dirty(region, 1));
	EXPECT_EQ(0, dirty(0, region));
	/* A good write beside it is not. */
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 0));
	EXPECT_EQ(0, dirty(0, 1));
	free(data);
}

TEST_F(volume, overlapping_writes_go_one_after_the_other)
{
	void *data[4], *got = pattern(4096, 0);
	struct async *first, *held[3], *other;

	for (unsigned int i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = pattern(4096, 10 + i);
	begin_slow(400);
	first = submit(data[0], 4096, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = submit(data[1 + i], 4096, 0);
	other = submit(data[0], 4096, 1 << 20);
	EXPECT_EQ(3, ring.kernel->overlaps);
	/* One on other blocks is not held up. */
	EXPECT_EQ(4096, async_wait(other));
	EXPECT_FALSE(async_ended(held[0]));
	EXPECT_EQ(4096, async_wait(first));
	EXPECT_FALSE(async_ended(held[0]));
	EXPECT_EQ(4096, async_wait(held[0]));
	EXPECT_FALSE(async_ended(held[1]));
	EXPECT_EQ(4096, async_wait(held[1]));
	EXPECT_FALSE(async_ended(held[2]));
	EXPECT_EQ(4096, async_wait(held[2]));
	/* The disk has the last of them, and nothing is dirty. */
	EXPECT_EQ(4096, pread(fd, got, 4096, 0));
	EXPECT_EQ(0, memcmp(got, data[3], 4096));
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_EQ(0, dirty(0, 1));
	free(got);
	for (unsigned int i = 0; i < ARRAY_SIZE(data); i++)
		free(data[i]);
}

TEST_F(volume, partial_overlaps_form_a_chain)
{
	void *data = pattern(8192, 1), *last = pattern(8192, 2);
	struct async *low, *middle, *high, *high_too;

	begin_slow(400);
	low = submit(data, 8192, 0);
	middle = submit(last, 8192, 4096);	/* shares one block with low */
	high = submit(data, 8192, 12288);	/* shares none with them */
	high_too = submit(data, 4096, 8192);	/* waits for middle only */
	EXPECT_EQ(2, ring.kernel->overlaps);
	/* Neighbours that only touch are not held. */
	EXPECT_EQ(8192, async_wait(high));
	EXPECT_FALSE(async_ended(middle));
	/* The chain is let go one by one. */
	EXPECT_EQ(8192, async_wait(low));
	EXPECT_EQ(8192, async_wait(middle));
	EXPECT_FALSE(async_ended(high_too));
	EXPECT_EQ(4096, async_wait(high_too));
	free(data);
	free(last);
}

/* No more than so many are held; what comes then is not captured, nor lost. */
TEST_F(volume, too_many_to_hold)
{
	void *data = pattern(4096, 7);
	struct async *writes[1 + HELD_MAX], *extra[2], *other;
	uint64_t head, newest;

	dm_create("low", "0 %llu linear " DISK " 0", DISK_SECTORS);
	begin("/dev/mapper/low");
	/* Suspended, the disk keeps what comes and ends nothing. */
	sh("dmsetup suspend low");
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		writes[i] = async_write(fd, data, 4096, 0);
	ASSERT_TRUE(wait_until(all_held, NULL));
	head = ring_head(&ring);
	newest = ring_newest(&ring);
	/* One more is not captured: a gap, and dirty. */
	extra[0] = async_write(fd, data, 4096, 0);
	EXPECT_TRUE(wait_until(one_uncaptured, NULL));
	EXPECT_EQ(head, ring_head(&ring));
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(1, dirty(0, 1));
	EXPECT_EQ(HELD_MAX, ring.kernel->overlaps);
	EXPECT_EQ(0, ring.kernel->overflows);
	/* One on other blocks is captured still. */
	other = submit(data, 4096, 4 * REGION);
	EXPECT_EQ(1, ring.kernel->uncaptured);
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	sh("dmsetup resume low");
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++) {
		EXPECT_EQ(4096, async_wait(writes[i]));
	}
	EXPECT_EQ(4096, async_wait(extra[0]));
	EXPECT_EQ(4096, async_wait(other));
	EXPECT_TRUE(ring_settle(&ring));
	/* What was not captured is dirty again at its end. */
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(1, dirty(0, 1));
	EXPECT_EQ(0, dirty(4, 1));

	/* And writes can be held again. */
	sh("dmsetup suspend low");
	for (unsigned int i = 0; i < ARRAY_SIZE(extra); i++)
		extra[i] = submit(data, 4096, 0);
	EXPECT_EQ(HELD_MAX + 1, ring.kernel->overlaps);
	EXPECT_EQ(1, ring.kernel->uncaptured);
	sh("dmsetup resume low");
	for (unsigned int i = 0; i < ARRAY_SIZE(extra); i++) {
		EXPECT_EQ(4096, async_wait(extra[i]));
	}
	free(data);
}

TEST_F(volume, write_that_does_not_end_becomes_a_gap)
{
	void *data = pattern(4096, 3), *later = pattern(4096, 4);
	int events = netlink_listen();
	struct async *stuck, *behind;
	const struct blkship_desc *d;
	uint64_t base, newest;

	dm_create("low", "0 %llu linear " DISK " 0", DISK_SECTORS);
	begin("/dev/mapper/low");
	sh("dmsetup suspend low && echo 1 > /sys/module/blkship/parameters/io_timeout_s");
	base = ring_newest(&ring);
	stuck = submit(data, 4096, 0);
	behind = submit(later, 4096, 0);
	/* It holds the watermark, until an event tells of it. */
	EXPECT_EQ(base, ring_watermark(&ring));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_TIMEOUT, "v0"));
	d = ring_find(&ring, base + 1);
	ASSERT_NE(NULL, d);
	EXPECT_EQ(BLKSHIP_STATE_GAP, d->state);
	EXPECT_FALSE(async_ended(stuck));
	EXPECT_GT(ring_watermark(&ring), base);
	EXPECT_FALSE(async_ended(behind));
	EXPECT_GE(ring.kernel->timeouts, 1);
	EXPECT_EQ(1, dirty(0, 1));
	/* So is what waited for it, in its turn. */
	EXPECT_TRUE(ring_settle(&ring));
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	EXPECT_FALSE(async_ended(stuck));
	/* It ends well after all: dirty again, with a seq, before that is told. */
	sh("dmsetup resume low");
	EXPECT_EQ(4096, async_wait(stuck));
	EXPECT_GT(ring_newest(&ring), newest);
	EXPECT_EQ(1, dirty(0, 1));
	EXPECT_EQ(4096, async_wait(behind));
	close(events);
	free(data);
	free(later);
}

/* Repaired while it is still under way, the range has to be dirty once more. */
TEST_F(volume, uncaptured_write_is_dirty_twice)
{
	void *data = pattern(REGION, 6);
	struct async *fill[64], *extra;
	uint64_t newest;

	begin_slow(1500);
	for (unsigned int i = 0; i < ARRAY_SIZE(fill); i++)
		fill[i] = submit(data, REGION, i * REGION);
	extra = async_write(fd, data, REGION, ARRAY_SIZE(fill) * REGION);
	EXPECT_TRUE(wait_until(one_uncaptured, NULL));
	EXPECT_EQ(1, dirty(ARRAY_SIZE(fill), 1));
	EXPECT_FALSE(async_ended(extra));
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	for (unsigned int i = 0; i < ARRAY_SIZE(fill); i++) {
		EXPECT_EQ((long)REGION, async_wait(fill[i]));
	}
	EXPECT_EQ((long)REGION, async_wait(extra));
	EXPECT_EQ(1, dirty(ARRAY_SIZE(fill), 1));
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(0, dirty(0, ARRAY_SIZE(fill)));
	free(data);
}

/* While its disk is slow: nothing is lost or left behind. */
TEST_F(volume, removed_while_writes_are_held)
{
	void *data = pattern(4096, 5);
	struct async *writes[8];

	begin_slow(200);
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		writes[i] = submit(data, 4096, 0);
	/* Suspending waits for them. */
	EXPECT_EQ(0, sh("dmsetup suspend t0"));
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++) {
		EXPECT_EQ(4096, async_wait(writes[i]));
	}
	EXPECT_TRUE(ring_settle(&ring));
	sh("dmsetup resume t0");
	free(data);
}

TEST_HARNESS_MAIN
