// SPDX-License-Identifier: GPL-2.0-only
/* A full ring makes gaps and dirty regions, never a failed or delayed write. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "selftest.h"

#define GROUP "ovf"
#define WRITE_BYTES 65536U	/* one region */
#define RING_WRITES 16U		/* fit a ring of 1 MiB */

static struct ring ring;
static int fd;

static double now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

/* Write regions [first, first + nr). */
static bool write_regions(unsigned int first, unsigned int nr,
			  unsigned int seed)
{
	void *data = pattern(WRITE_BYTES, seed);
	bool good = true;

	for (unsigned int i = first; i < first + nr; i++)
		good &= pwrite(fd, data, WRITE_BYTES,
			       (uint64_t)i * WRITE_BYTES) == WRITE_BYTES;
	ring_settle(&ring);
	free(data);
	return good;
}

static unsigned int dirty(unsigned int first, unsigned int nr)
{
	return ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, first, nr);
}

static void release(uint64_t pos)
{
	__atomic_store_n(&ring.consumer->released_pos, pos, __ATOMIC_RELEASE);
}

FIXTURE(volume) {
};

FIXTURE_SETUP(volume)
{
	volume_create("t0", DISK, GROUP, "v0", 1);
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	fd = dm_open("t0");
}

FIXTURE_TEARDOWN(volume)
{
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

TEST_F(volume, full_ring_makes_gaps)
{
	uint64_t base = ring_newest(&ring);
	double start = now_s();
	void *data = pattern(WRITE_BYTES, 0), *want = pattern(WRITE_BYTES, 1);
	int events = netlink_listen();

	/* No write fails, and none waits. */
	EXPECT_TRUE(write_regions(0, RING_WRITES + 8, 1));
	EXPECT_LT(now_s() - start, 5);
	EXPECT_EQ(RING_WRITES, ring.kernel->captured);
	EXPECT_EQ(8, ring.kernel->uncaptured);
	EXPECT_EQ(1, ring.kernel->overflows);
	/* What is not captured takes one seq at submission and one at completion. */
	EXPECT_EQ(base + RING_WRITES + 16, ring_newest(&ring));
	for (uint64_t seq = base + RING_WRITES + 1; seq <= ring_newest(&ring);
	     seq++) {
		EXPECT_EQ(NULL, ring_find(&ring, seq));
	}
	EXPECT_EQ(0, dirty(0, RING_WRITES));
	EXPECT_EQ(8, dirty(RING_WRITES, 8));
	EXPECT_EQ(0, dirty(RING_WRITES + 8, 8));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_OVERFLOW, NULL));
	/* And is on the disk. */
	EXPECT_EQ(WRITE_BYTES, pread(fd, data, WRITE_BYTES,
				     (RING_WRITES + 3) * WRITE_BYTES));
	EXPECT_EQ(0, memcmp(data, want, WRITE_BYTES));
	close(events);
	free(data);
	free(want);
}

/* One whose ring is full. */
FIXTURE(full) {
};

FIXTURE_SETUP(full)
{
	volume_setup(_metadata, NULL, NULL);
	ASSERT_TRUE(write_regions(0, RING_WRITES + 1, 1));
	ASSERT_EQ(1, ring.kernel->overflows);
}

FIXTURE_TEARDOWN(full)
{
	volume_teardown(_metadata, NULL, NULL);
}

TEST_F(full, capture_resumes_at_half_empty)
{
	release(RING_WRITES / 4);
	EXPECT_TRUE(write_regions(32, 1, 2));
	EXPECT_EQ(RING_WRITES, ring.kernel->captured);
	EXPECT_EQ(1, dirty(32, 1));

	release(RING_WRITES / 2);
	EXPECT_TRUE(write_regions(33, 1, 3));
	EXPECT_EQ(RING_WRITES + 1, ring.kernel->captured);
	EXPECT_EQ(0, dirty(33, 1));
	EXPECT_EQ(1, ring.kernel->overflows);
}

TEST_F(full, released_positions_that_are_nonsense_are_rejected)
{
	static const struct { int64_t from_head; const char *what; } cases[] = {
		{ 1, "beyond the head" }, { 1 << 20, "far beyond the head" },
		{ INT64_MIN, "enormous" }, { -1000000, "wrapped below zero" },
	};
	uint64_t tail;

	release(RING_WRITES / 2);
	EXPECT_TRUE(write_regions(33, 1, 3));
	tail = ring.kernel->desc_tail;
	EXPECT_EQ(RING_WRITES / 2, tail);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t rejected = ring.kernel->rejected_positions;

		release(ring_head(&ring) + (uint64_t)cases[i].from_head);
		write_regions(40 + i, 1, i);
		EXPECT_EQ(tail, ring.kernel->desc_tail)
			TH_LOG("%s", cases[i].what);
		EXPECT_GT(ring.kernel->rejected_positions, rejected)
			TH_LOG("%s", cases[i].what);
	}
	/* And one that goes backwards; a sensible one is followed afterwards. */
	release(tail - 1);
	write_regions(50, 1, 1);
	EXPECT_EQ(tail, ring.kernel->desc_tail);
	release(tail + 1);
	write_regions(51, 1, 1);
	EXPECT_EQ(tail + 1, ring.kernel->desc_tail);
}

/* Small writes: the descriptors, and with them the entries in flight, end first. */
TEST_F(volume, descriptors_used_up)
{
	unsigned int writes = ring.kernel->desc_count + 8, good = 0;
	void *data = pattern(512, 5);

	for (unsigned int i = 0; i < writes; i++)
		good += pwrite(fd, data, 512, 8 << 20) == 512;
	EXPECT_EQ(writes, good);
	EXPECT_TRUE(ring_settle(&ring));
	/* What finds none is not captured, with payload left, and is dirty. */
	EXPECT_LT(ring.kernel->captured, writes);
	EXPECT_GE(ring.kernel->captured, ring.kernel->desc_count * 3 / 4);
	EXPECT_EQ(writes, ring.kernel->captured + ring.kernel->uncaptured);
	EXPECT_LT(ring.kernel->payload_head - ring.kernel->payload_tail,
		  ring.kernel->payload_bytes);
	EXPECT_EQ(1, dirty(128, 1));
	EXPECT_EQ(0, dirty(129, 8));
	free(data);
}

TEST_HARNESS_MAIN
