// SPDX-License-Identifier: GPL-2.0-only
/* What a consumer may do, what it may not, and what is left when it dies. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "selftest.h"

#define GROUP "con"
#define PAGE_BYTES 4096UL
#define REGIONS (DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES)

static struct ring ring;

static bool fails(int ret, int err)
{
	return ret < 0 && errno == err;
}

static bool map_fails(int fd, size_t bytes, int rights, int flags, uint64_t at)
{
	void *p = mmap(NULL, bytes, rights, flags, fd, at);

	if (p == MAP_FAILED)
		return true;
	munmap(p, bytes);
	return false;
}

static int take(uint64_t first, uint32_t count, uint32_t max, uint64_t *bits,
		struct blkship_take *out)
{
	struct blkship_take request = {
		.first_region = first,
		.count = count,
		.max_regions = max,
		.bitmap = (uintptr_t)bits,
	};
	int ret = ioctl(ring.fd, BLKSHIP_IOC_TAKE, &request);

	if (out)
		*out = request;
	return ret;
}

static int set_incarnation(uint32_t incarnation)
{
	struct blkship_incarnation inc = { .incarnation = incarnation };

	return ioctl(ring.fd, BLKSHIP_IOC_INCARNATION, &inc);
}

/* Of a volume that nobody has read yet: all of it is dirty. */
FIXTURE(consumer) {
};

FIXTURE_SETUP(consumer)
{
	volume_create("t0", DISK, GROUP, "v0", 4);
	ring_bind(&ring, GROUP);
}

FIXTURE_TEARDOWN(consumer)
{
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

TEST_F(consumer, unbound_file_can_do_nothing)
{
	struct blkship_bind bind = { .group = GROUP };
	struct blkship_volume_info info = { 0 };
	int fd = open("/dev/blkship", O_RDWR);

	ASSERT_LE(0, fd);
	EXPECT_TRUE(fails(ioctl(fd, BLKSHIP_IOC_VOLUME, &info), ENOTCONN));
	EXPECT_TRUE(map_fails(fd, PAGE_BYTES, PROT_READ, MAP_SHARED, 0));
	/* Nor bind with another ABI version, or to nobody. */
	EXPECT_TRUE(fails(ioctl(fd, BLKSHIP_IOC_BIND, &bind), EPROTO));
	bind.abi_version = BLKSHIP_ABI_VERSION;
	strcpy(bind.group, "nobody");
	EXPECT_TRUE(fails(ioctl(fd, BLKSHIP_IOC_BIND, &bind), ENOENT));
	close(fd);
}

TEST_F(consumer, is_the_only_one)
{
	struct ring second;

	EXPECT_EQ(-EBUSY, ring_try(&second, GROUP));
	EXPECT_EQ(-EBUSY, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

TEST_F(consumer, may_only_read_what_is_the_kernels)
{
	static const struct { uint64_t at; const char *what; } areas[] = {
		{ BLKSHIP_MMAP_KERNEL, "kernel page" },
		{ BLKSHIP_MMAP_DESC, "descriptors" },
		{ BLKSHIP_MMAP_PAYLOAD, "payload" },
	};
	int mem = open("/proc/self/mem", O_RDWR);

	ASSERT_LE(0, mem);
	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		void *p = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, ring.fd,
			       areas[i].at);

		ASSERT_NE(MAP_FAILED, p) TH_LOG("%s", areas[i].what);
		EXPECT_TRUE(map_fails(ring.fd, PAGE_BYTES, PROT_READ | PROT_WRITE,
				      MAP_SHARED, areas[i].at))
			TH_LOG("%s: mapped for writing", areas[i].what);
		EXPECT_TRUE(fails(mprotect(p, PAGE_BYTES, PROT_READ | PROT_WRITE),
				  EACCES))
			TH_LOG("%s: made writable", areas[i].what);
		EXPECT_TRUE(fails(mprotect(p, PAGE_BYTES, PROT_READ | PROT_EXEC),
				  EACCES))
			TH_LOG("%s: made executable", areas[i].what);
		EXPECT_GT(0, pwrite(mem, "x", 1, (off_t)(uintptr_t)p))
			TH_LOG("%s: written through /proc", areas[i].what);
		munmap(p, PAGE_BYTES);
	}
	close(mem);
}

TEST_F(consumer, may_map_nothing_else)
{
	EXPECT_TRUE(map_fails(ring.fd, PAGE_BYTES, PROT_READ, MAP_PRIVATE,
			      BLKSHIP_MMAP_KERNEL));
	EXPECT_TRUE(map_fails(ring.fd, 2 * PAGE_BYTES, PROT_READ, MAP_SHARED,
			      BLKSHIP_MMAP_KERNEL));
	EXPECT_TRUE(map_fails(ring.fd, PAGE_BYTES, PROT_READ, MAP_SHARED,
			      BLKSHIP_MMAP_PAYLOAD + ring.kernel->payload_bytes));
	EXPECT_TRUE(map_fails(ring.fd, PAGE_BYTES, PROT_READ, MAP_SHARED,
			      0x400000000ULL));
}

TEST_F(consumer, windows_that_make_no_sense_are_refused)
{
	uint64_t bits[BLKSHIP_TAKE_MAX_REGIONS / 64];
	struct blkship_clear clear = {
		.bitmap = (uintptr_t)bits, .count = REGIONS + 64,
	};

	EXPECT_TRUE(fails(take(1, 64, 64, bits, NULL), EINVAL));
	EXPECT_TRUE(fails(take(0, 0, 64, bits, NULL), EINVAL));
	EXPECT_TRUE(fails(take(0, REGIONS + 1, 64, bits, NULL), EINVAL));
	EXPECT_TRUE(fails(take(REGIONS, 64, 64, bits, NULL), EINVAL));
	EXPECT_TRUE(fails(take(UINT64_MAX & ~63ULL, 64, 64, bits, NULL), EINVAL));
	EXPECT_TRUE(fails(ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear), EINVAL));
	clear.bitmap = 0;
	clear.count = 64;
	EXPECT_TRUE(fails(ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear), EFAULT));
	EXPECT_TRUE(fails(ioctl(ring.fd, _IO('B', 0x7f)), ENOTTY));
}

TEST_F(consumer, takes_regions_over_and_acknowledges_them)
{
	uint64_t bits[BLKSHIP_TAKE_MAX_REGIONS / 64];
	uint64_t newest = ring_newest(&ring);
	struct blkship_clear clear = {
		.bitmap = (uintptr_t)bits, .count = 64,
	};
	struct blkship_take got;

	/* In order, so many as it wants, which takes a seq. */
	ASSERT_EQ(0, take(0, 128, 10, bits, &got));
	EXPECT_EQ(10, got.taken);
	EXPECT_EQ(0x3ff, bits[0]);
	EXPECT_EQ(0, bits[1]);
	EXPECT_EQ(newest + 1, got.seq);
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(newest + 1, ring_watermark(&ring));
	EXPECT_EQ(118, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 128));
	EXPECT_EQ(10, ring_marked(&ring, 0, BLKSHIP_MAP_REPAIRING, 0, 128));
	/* They are not taken again. */
	ASSERT_EQ(0, take(0, 64, 64, bits, &got));
	EXPECT_EQ(54, got.taken);
	EXPECT_EQ(~0x3ffULL, bits[0]);
	/* Acknowledged, a region is neither dirty nor repairing. */
	bits[0] = 0xff;
	ASSERT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear));
	EXPECT_EQ(56, ring_marked(&ring, 0, BLKSHIP_MAP_REPAIRING, 0, 64));
	EXPECT_EQ(0, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 64));
}

TEST_F(consumer, marks_a_range_dirty)
{
	struct blkship_mark mark = {
		.offset_bytes = 3 * BLKSHIP_REGION_BYTES + 512,
		.length_bytes = BLKSHIP_REGION_BYTES,
	};
	uint64_t newest;

	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	ASSERT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark));
	EXPECT_EQ(newest + 1, mark.seq);
	EXPECT_EQ(2, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, REGIONS));
	EXPECT_EQ(2, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 3, 2));
	/* Which is a gap. */
	EXPECT_EQ(NULL, ring_find(&ring, mark.seq));
	mark.length_bytes = DISK_SECTORS * 512;
	EXPECT_TRUE(fails(ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark), EINVAL));
}

TEST_F(consumer, another_incarnation_makes_all_dirty)
{
	uint64_t newest;

	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	EXPECT_TRUE(fails(set_incarnation(0), EINVAL));
	/* The first is only noted, and the same again changes nothing. */
	EXPECT_EQ(0, set_incarnation(7));
	EXPECT_EQ(7, ring.kernel->incarnation);
	EXPECT_EQ(newest, ring_newest(&ring));
	EXPECT_EQ(0, set_incarnation(7));
	EXPECT_EQ(newest, ring_newest(&ring));
	EXPECT_EQ(0, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, REGIONS));
	EXPECT_EQ(0, set_incarnation(9));
	EXPECT_EQ(9, ring.kernel->incarnation);
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(REGIONS, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, REGIONS));
}

TEST_F(consumer, is_woken_when_it_asked)
{
	struct pollfd p = { .fd = ring.fd, .events = POLLIN };
	void *data = pattern(4096, 1);
	int fd = dm_open("t0");
	struct async *a;

	ring.consumer->wake_pos = ring_head(&ring) + 2;
	EXPECT_EQ(0, poll(&p, 1, 0));
	/* Less than asked for. */
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 0));
	EXPECT_EQ(0, poll(&p, 1, 100));
	a = async_write(fd, data, 4096, 0);
	EXPECT_EQ(1, poll(&p, 1, 5000));
	EXPECT_EQ(POLLIN, p.revents);
	EXPECT_EQ(4096, async_wait(a));
	ring.consumer->wake_pos = 0;
	EXPECT_EQ(0, poll(&p, 1, 0));
	close(fd);
	free(data);
}

/* It takes regions over and is killed before they are repaired. */
TEST_F(consumer, killed_leaves_dirty_what_it_took)
{
	uint64_t bits[2], newest;
	int to_parent[2];
	pid_t child;
	char byte;

	ring_unbind(&ring);
	ASSERT_EQ(0, pipe(to_parent));
	child = fork();
	if (!child) {
		struct blkship_take got;

		ring_bind(&ring, GROUP);
		if (take(0, 128, 100, bits, &got) || got.taken != 100 ||
		    write(to_parent[1], "x", 1) != 1)
			_exit(1);
		pause();
	}
	close(to_parent[1]);
	EXPECT_EQ(1, read(to_parent[0], &byte, 1));
	kill(child, SIGKILL);
	EXPECT_EQ(child, waitpid(child, NULL, 0));
	ring_bind(&ring, GROUP);
	newest = ring_newest(&ring);
	EXPECT_EQ(0, ring_marked(&ring, 0, BLKSHIP_MAP_REPAIRING, 0, REGIONS));
	EXPECT_EQ(128, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 128));
	/* With a seq, seen as a gap. */
	EXPECT_EQ(newest, ring_watermark(&ring));
	EXPECT_EQ(NULL, ring_find(&ring, newest));
	close(to_parent[0]);
}

/* Positions, records and released space are where the last one left them. */
TEST_F(consumer, successor_finds_the_positions)
{
	void *data = pattern(4096, 2);
	int fd = dm_open("t0");
	uint64_t head, drained;

	EXPECT_EQ(4096, pwrite(fd, data, 4096, 0));
	EXPECT_TRUE(ring_settle(&ring));
	ring_release_all(&ring);
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 0));
	EXPECT_TRUE(ring_settle(&ring));
	drained = ring.consumer->drained_pos;
	head = ring_head(&ring);
	EXPECT_EQ(head, drained + 1);
	ring_unbind(&ring);
	ring_bind(&ring, GROUP);
	EXPECT_EQ(drained, ring.consumer->drained_pos);
	EXPECT_EQ(head, ring_head(&ring));
	close(fd);
	free(data);
}

TEST(without_capability_the_device_cannot_be_opened)
{
	pid_t child;
	int status;

	ASSERT_EQ(0, chmod("/dev/blkship", 0666));
	child = fork();
	if (!child) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		_exit(open("/dev/blkship", O_RDWR) < 0 && errno == EPERM ?
		      0 : 1);
	}
	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, chmod("/dev/blkship", 0600));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
