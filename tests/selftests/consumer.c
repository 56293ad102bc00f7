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

static void test_bind(void)
{
	struct blkship_bind bind = { .group = GROUP };
	struct blkship_volume_info info = { 0 };
	struct ring second;
	int fd = open("/dev/blkship", O_RDWR);

	check(fd >= 0 && fails(ioctl(fd, BLKSHIP_IOC_VOLUME, &info), ENOTCONN),
	      "an unbound file can do nothing");
	check(map_fails(fd, PAGE_BYTES, PROT_READ, MAP_SHARED, 0),
	      "and map nothing");
	check(fails(ioctl(fd, BLKSHIP_IOC_BIND, &bind), EPROTO),
	      "another ABI version is refused");
	bind.abi_version = BLKSHIP_ABI_VERSION;
	strcpy(bind.group, "nobody");
	check(fails(ioctl(fd, BLKSHIP_IOC_BIND, &bind), ENOENT),
	      "an unknown group is refused");
	close(fd);
	ring_bind(&ring, GROUP);
	check(ring_try(&second, GROUP) == -EBUSY,
	      "a second consumer is refused");
	check(netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL) == -EBUSY,
	      "a group with a consumer cannot be deleted");
}

static void test_rights(void)
{
	static const struct { uint64_t at; const char *what; } areas[] = {
		{ BLKSHIP_MMAP_KERNEL, "kernel page" },
		{ BLKSHIP_MMAP_DESC, "descriptors" },
		{ BLKSHIP_MMAP_PAYLOAD, "payload" },
	};
	int mem = open("/proc/self/mem", O_RDWR);

	for (size_t i = 0; i < ARRAY_SIZE(areas); i++) {
		void *p = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, ring.fd,
			       areas[i].at);

		check(map_fails(ring.fd, PAGE_BYTES, PROT_READ | PROT_WRITE,
				MAP_SHARED, areas[i].at),
		      "%s: cannot be mapped for writing", areas[i].what);
		check(p != MAP_FAILED &&
		      fails(mprotect(p, PAGE_BYTES, PROT_READ | PROT_WRITE),
			    EACCES),
		      "%s: cannot be made writable", areas[i].what);
		check(fails(mprotect(p, PAGE_BYTES, PROT_READ | PROT_EXEC),
			    EACCES),
		      "%s: cannot be made executable", areas[i].what);
		check(pwrite(mem, "x", 1, (off_t)(uintptr_t)p) < 0,
		      "%s: cannot be written through /proc", areas[i].what);
		munmap(p, PAGE_BYTES);
	}
	close(mem);
	check(map_fails(ring.fd, PAGE_BYTES, PROT_READ, MAP_PRIVATE,
			BLKSHIP_MMAP_KERNEL), "private mappings are refused");
	check(map_fails(ring.fd, 2 * PAGE_BYTES, PROT_READ, MAP_SHARED,
			BLKSHIP_MMAP_KERNEL) &&
	      map_fails(ring.fd, PAGE_BYTES, PROT_READ, MAP_SHARED,
			BLKSHIP_MMAP_PAYLOAD + ring.kernel->payload_bytes) &&
	      map_fails(ring.fd, PAGE_BYTES, PROT_READ, MAP_SHARED,
			0x400000000ULL), "nothing beyond the areas can be mapped");
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

static void test_take(void)
{
	uint64_t bits[BLKSHIP_TAKE_MAX_REGIONS / 64], newest;
	struct blkship_clear clear = { .bitmap = (uintptr_t)bits };
	struct blkship_take got;

	check(fails(take(1, 64, 64, bits, NULL), EINVAL) &&
	      fails(take(0, 0, 64, bits, NULL), EINVAL) &&
	      fails(take(0, REGIONS + 1, 64, bits, NULL), EINVAL) &&
	      fails(take(REGIONS, 64, 64, bits, NULL), EINVAL) &&
	      fails(take(UINT64_MAX & ~63ULL, 64, 64, bits, NULL), EINVAL),
	      "windows that make no sense are refused");
	newest = ring_newest(&ring);
	check(!take(0, 128, 10, bits, &got) && got.taken == 10 &&
	      bits[0] == 0x3ff && bits[1] == 0, "regions are taken in order");
	check(got.seq == newest + 1 && ring_newest(&ring) == newest + 1 &&
	      ring_watermark(&ring) == newest + 1, "which takes a seq");
	check(ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 128) == 118 &&
	      ring_marked(&ring, 0, BLKSHIP_MAP_REPAIRING, 0, 128) == 10,
	      "they are repairing, not dirty");
	check(!take(0, 64, 64, bits, &got) && got.taken == 54 &&
	      bits[0] == ~0x3ffULL, "and are not taken again");
	clear.count = 64;
	bits[0] = 0xff;
	check(!ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear) &&
	      ring_marked(&ring, 0, BLKSHIP_MAP_REPAIRING, 0, 64) == 56 &&
	      ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 64) == 0,
	      "acknowledged regions are neither");
	clear.count = REGIONS + 64;
	check(fails(ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear), EINVAL),
	      "clearing beyond the volume is refused");
	clear.bitmap = 0;
	clear.count = 64;
	check(fails(ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear), EFAULT),
	      "and from a bad pointer");
	check(fails(ioctl(ring.fd, _IO('B', 0x7f)), ENOTTY),
	      "unknown requests are refused");
}

static void test_mark(void)
{
	struct blkship_mark mark = {
		.offset_bytes = 3 * BLKSHIP_REGION_BYTES + 512,
		.length_bytes = BLKSHIP_REGION_BYTES,
	};
	uint64_t newest = ring_newest(&ring);

	check(!ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark) &&
	      mark.seq == newest + 1 &&
	      ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 64) == 2,
	      "a range can be marked dirty");
	check(!ring_find(&ring, mark.seq), "which is a gap");
	mark.length_bytes = DISK_SECTORS * 512;
	check(fails(ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark), EINVAL),
	      "a range beyond the volume is refused");
}

static int set_incarnation(uint32_t incarnation)
{
	struct blkship_incarnation inc = { .incarnation = incarnation };

	return ioctl(ring.fd, BLKSHIP_IOC_INCARNATION, &inc);
}

static void test_incarnation(void)
{
	uint64_t newest;

	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	check(fails(set_incarnation(0), EINVAL), "incarnation 0 is refused");
	check(!set_incarnation(7) && ring.kernel->incarnation == 7 &&
	      ring_newest(&ring) == newest, "the first is only noted");
	check(!set_incarnation(7) && ring_newest(&ring) == newest,
	      "the same again changes nothing");
	check(!set_incarnation(9) && ring.kernel->incarnation == 9 &&
	      ring_newest(&ring) == newest + 1, "another one takes a seq");
	check(ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, REGIONS) == REGIONS,
	      "and everything is dirty");
}

static void test_wake(void)
{
	struct pollfd p = { .fd = ring.fd, .events = POLLIN };
	void *data = pattern(4096, 1);
	int fd = dm_open("t0");
	struct async *a;

	ring.consumer->wake_pos = ring_head(&ring) + 2;
	check(poll(&p, 1, 0) == 0, "nothing to read, no wake-up");
	check(pwrite(fd, data, 4096, 0) == 4096 && poll(&p, 1, 100) == 0,
	      "less than asked for, no wake-up");
	a = async_write(fd, data, 4096, 0);
	check(poll(&p, 1, 5000) == 1 && p.revents == POLLIN,
	      "poll ends when the watermark is there");
	async_wait(a);
	ring.consumer->wake_pos = 0;
	check(poll(&p, 1, 0) == 0, "and never when not asked for");
	close(fd);
	free(data);
}

/* A consumer that takes regions over and is killed before they are repaired. */
static void test_kill(void)
{
	uint64_t bits[2], newest;
	int to_parent[2];
	pid_t child;
	char byte;

	ring_unbind(&ring);
	if (pipe(to_parent))
		give_up("no pipe");
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
	check(read(to_parent[0], &byte, 1) == 1, "a consumer takes regions");
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	ring_bind(&ring, GROUP);
	newest = ring_newest(&ring);
	check(ring_marked(&ring, 0, BLKSHIP_MAP_REPAIRING, 0, REGIONS) == 0 &&
	      ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 128) == 128,
	      "killed, they are dirty again for its successor");
	check(ring_watermark(&ring) == newest && !ring_find(&ring, newest),
	      "with a seq, seen as a gap");
	close(to_parent[0]);
}

/* Positions, records and released space are where the dead one left them. */
static void test_successor(void)
{
	uint64_t head, drained;

	ring_release_all(&ring);
	drained = ring.consumer->drained_pos;
	head = ring_head(&ring);
	ring_unbind(&ring);
	ring_bind(&ring, GROUP);
	check(ring.consumer->drained_pos == drained && ring_head(&ring) == head,
	      "a successor finds the positions");
}

static void test_unprivileged(void)
{
	pid_t child;
	int status;

	chmod("/dev/blkship", 0666);
	child = fork();
	if (!child) {
		if (setgid(65534) || setuid(65534))
			_exit(1);
		_exit(open("/dev/blkship", O_RDWR) < 0 && errno == EPERM ?
		      0 : 1);
	}
	waitpid(child, &status, 0);
	chmod("/dev/blkship", 0600);
	check(status == 0, "without CAP_SYS_ADMIN the device cannot be opened");
}

int main(void)
{
	volume_create("t0", DISK, GROUP, "v0", 4);
	test_bind();
	test_rights();
	test_take();
	test_mark();
	test_incarnation();
	test_wake();
	test_kill();
	test_successor();
	test_unprivileged();
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
	return finish();
}
