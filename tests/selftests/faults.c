// SPDX-License-Identifier: GPL-2.0-only
/* Disks that fail, are slow or do not answer, and writes that overlap. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

static void end(void)
{
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
	dm_remove("low");
}

/* A disk whose writes take so long. */
static void slow_disk(unsigned int write_ms)
{
	dm_create("low", "0 %llu delay " DISK " 0 0 " DISK " 0 %u",
		  DISK_SECTORS, write_ms);
}

static unsigned int dirty(uint64_t region, unsigned int nr)
{
	return ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, region, nr);
}

static void test_failure(void)
{
	uint64_t base, region = DISK_SECTORS / 2 * 512 / REGION;
	void *data = pattern(8192, 1);
	const struct blkship_desc *d;

	if (sh("printf '0 %llu linear " DISK " 0\\n%llu %llu error\\n' | dmsetup create low && dmsetup mknodes",
	       DISK_SECTORS / 2, DISK_SECTORS / 2, DISK_SECTORS / 2))
		give_up("cannot create a failing disk");
	begin("/dev/mapper/low");
	base = ring_newest(&ring);
	check(pwrite(fd, data, 8192, region * REGION) == -1 && errno == EIO,
	      "a write to a bad sector fails as it should");
	check(ring_settle(&ring) && ring_newest(&ring) == base + 2,
	      "it took a seq, and its failure another");
	d = ring_find(&ring, base + 1);
	check(d && d->state == BLKSHIP_STATE_FAILED &&
	      ring.kernel->failed == 1, "its record says failed");
	check(!ring_find(&ring, base + 2), "the failure is seen as a gap");
	check(dirty(region, 1) == 1 && dirty(0, region) == 0,
	      "its range is dirty, and no other");
	check(pwrite(fd, data, 4096, 0) == 4096 && dirty(0, 1) == 0,
	      "a good write beside it is not");
	end();
	free(data);
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

static void test_overlap(void)
{
	void *data[4], *got = pattern(4096, 0);
	struct async *first, *held[3], *other;

	for (unsigned int i = 0; i < ARRAY_SIZE(data); i++)
		data[i] = pattern(4096, 10 + i);
	slow_disk(400);
	begin("/dev/mapper/low");
	first = submit(data[0], 4096, 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		held[i] = submit(data[1 + i], 4096, 0);
	other = submit(data[0], 4096, 1 << 20);
	check(ring.kernel->overlaps == 3,
	      "writes on blocks of one in flight are counted");
	check(async_wait(other) == 4096 && !async_ended(held[0]),
	      "one on other blocks is not held up");
	check(async_wait(first) == 4096 && !async_ended(held[0]),
	      "the first ends before the second is at the disk");
	check(async_wait(held[0]) == 4096 && !async_ended(held[1]),
	      "the second before the third");
	check(async_wait(held[1]) == 4096 && !async_ended(held[2]),
	      "the third before the fourth");
	check(async_wait(held[2]) == 4096, "and all succeed");
	check(pread(fd, got, 4096, 0) == 4096 &&
	      !memcmp(got, data[3], 4096), "the disk has the last of them");
	check(ring_settle(&ring) && dirty(0, 1) == 0, "nothing is dirty");
	free(got);
	for (unsigned int i = 0; i < ARRAY_SIZE(data); i++)
		free(data[i]);
	end();
}

static void test_partial_overlap(void)
{
	void *data = pattern(8192, 1), *last = pattern(8192, 2);
	struct async *low, *middle, *high, *high_too;

	slow_disk(400);
	begin("/dev/mapper/low");
	low = submit(data, 8192, 0);
	middle = submit(last, 8192, 4096);	/* shares one block with low */
	high = submit(data, 8192, 12288);	/* shares none with them */
	high_too = submit(data, 4096, 8192);	/* waits for middle only */
	check(ring.kernel->overlaps == 2, "partial overlaps are seen");
	check(async_wait(high) == 8192 && !async_ended(middle),
	      "neighbours that only touch are not held");
	check(async_wait(low) == 8192 && async_wait(middle) == 8192 &&
	      !async_ended(high_too), "a chain is let go one by one");
	check(async_wait(high_too) == 4096, "to its end");
	free(data);
	free(last);
	end();
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

/* No more than so many are held; what comes then is not captured, nor lost. */
static void test_held_too_many(void)
{
	void *data = pattern(4096, 7);
	struct async *writes[1 + HELD_MAX], *extra[2], *other;
	uint64_t head, newest;
	bool good = true;

	dm_create("low", "0 %llu linear " DISK " 0", DISK_SECTORS);
	begin("/dev/mapper/low");
	/* Suspended, the disk keeps what comes and ends nothing. */
	sh("dmsetup suspend low");
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		writes[i] = async_write(fd, data, 4096, 0);
	check(wait_until(all_held, NULL), "%u writes are held", HELD_MAX);
	head = ring_head(&ring);
	newest = ring_newest(&ring);
	extra[0] = async_write(fd, data, 4096, 0);
	check(wait_until(one_uncaptured, NULL) && ring_head(&ring) == head &&
	      ring_newest(&ring) == newest + 1 && dirty(0, 1) == 1 &&
	      ring.kernel->overlaps == HELD_MAX && !ring.kernel->overflows,
	      "one more is not captured: a gap, and dirty");
	other = submit(data, 4096, 4 * REGION);
	check(ring.kernel->uncaptured == 1,
	      "one on other blocks is captured still");
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	sh("dmsetup resume low");
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		good &= async_wait(writes[i]) == 4096;
	check(good && async_wait(extra[0]) == 4096 &&
	      async_wait(other) == 4096 && ring_settle(&ring),
	      "all end well");
	check(ring_newest(&ring) == newest + 1 && dirty(0, 1) == 1 &&
	      dirty(4, 1) == 0, "what was not captured is dirty again");

	sh("dmsetup suspend low");
	for (unsigned int i = 0; i < ARRAY_SIZE(extra); i++)
		extra[i] = submit(data, 4096, 0);
	check(ring.kernel->overlaps == HELD_MAX + 1 &&
	      ring.kernel->uncaptured == 1, "and writes can be held again");
	sh("dmsetup resume low");
	for (unsigned int i = 0; i < ARRAY_SIZE(extra); i++)
		async_wait(extra[i]);
	free(data);
	end();
}

static void test_timeout(void)
{
	void *data = pattern(4096, 3), *later = pattern(4096, 4);
	int events = netlink_listen();
	struct async *stuck, *behind;
	const struct blkship_desc *d;
	uint64_t base, newest;

	slow_disk(4000);
	begin("/dev/mapper/low");
	sh("echo 1 > /sys/module/blkship/parameters/io_timeout_s");
	base = ring_newest(&ring);
	stuck = submit(data, 4096, 0);
	behind = submit(later, 4096, 0);
	check(ring_watermark(&ring) == base, "it holds the watermark");
	check(netlink_expect(events, BLKSHIP_EVENT_TIMEOUT, "v0"),
	      "an event tells of a write that does not end");
	d = ring_find(&ring, base + 1);
	check(d && d->state == BLKSHIP_STATE_GAP && !async_ended(stuck),
	      "it becomes a gap while it is still under way");
	check(ring_watermark(&ring) > base && !async_ended(behind),
	      "and holds the watermark no more");
	check(ring.kernel->timeouts >= 1 && dirty(0, 1) == 1,
	      "its range is dirty");
	check(ring_settle(&ring), "so is what waited for it, in its turn");
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	check(async_wait(stuck) == 4096, "it ends well after all");
	check(ring_newest(&ring) > newest && dirty(0, 1) == 1,
	      "its range is dirty again, with a seq, before it is told");
	check(async_wait(behind) == 4096, "what was behind it ends as well");
	sh("echo 120 > /sys/module/blkship/parameters/io_timeout_s");
	close(events);
	free(data);
	free(later);
	end();
}

/* Repaired while it is still under way, the range has to be dirty once more. */
static void test_uncaptured(void)
{
	void *data = pattern(REGION, 6);
	struct async *fill[64], *extra;
	uint64_t newest;

	slow_disk(1500);
	begin("/dev/mapper/low");
	for (unsigned int i = 0; i < ARRAY_SIZE(fill); i++)
		fill[i] = submit(data, REGION, i * REGION);
	extra = async_write(fd, data, REGION, ARRAY_SIZE(fill) * REGION);
	check(wait_until(one_uncaptured, NULL) &&
	      dirty(ARRAY_SIZE(fill), 1) == 1 && !async_ended(extra),
	      "a write that is not captured is dirty at once");
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	for (unsigned int i = 0; i < ARRAY_SIZE(fill); i++)
		async_wait(fill[i]);
	check(async_wait(extra) == (long)REGION &&
	      dirty(ARRAY_SIZE(fill), 1) == 1 &&
	      ring_newest(&ring) == newest + 1,
	      "and again, with a seq, when it has ended");
	check(dirty(0, ARRAY_SIZE(fill)) == 0, "the captured ones are not");
	free(data);
	end();
}

/* A volume is removed while its disk is slow: nothing is lost or left behind. */
static void test_remove_busy(void)
{
	void *data = pattern(4096, 5);
	struct async *writes[8];
	bool good = true;

	slow_disk(200);
	begin("/dev/mapper/low");
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		writes[i] = submit(data, 4096, 0);
	check(!sh("dmsetup suspend t0"), "suspending waits for held writes");
	for (unsigned int i = 0; i < ARRAY_SIZE(writes); i++)
		good &= async_wait(writes[i]) == 4096;
	check(good && ring_settle(&ring), "which all ended");
	sh("dmsetup resume t0");
	free(data);
	end();
}

int main(void)
{
	test_failure();
	test_overlap();
	test_partial_overlap();
	test_held_too_many();
	test_timeout();
	test_uncaptured();
	test_remove_busy();
	return finish();
}
