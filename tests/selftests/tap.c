// SPDX-License-Identifier: GPL-2.0-only
/*
 * Every road that a write can take to a tapped disk: each is in the ring once and
 * the auditor has nothing to say. Then roads around the tap, which it finds.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <netlink/attr.h>

#include "../../userspace/lib/crc32c.h"
#include "selftest.h"

#define GROUP "tap"
#define RING_MIB 8
#define BURST 64

static struct ring ring;
static int fd;

/* -- what the module says of the volume -- */

static uint64_t unseen;

static void note_unseen(struct nlattr **attrs, void *arg)
{
	(void)arg;
	unseen += nla_get_u64(attrs[BLKSHIP_A_UNSEEN]);
}

static uint64_t nr_unseen(void)
{
	unseen = 0;
	netlink_dump(BLKSHIP_CMD_VOLUME_GET, GROUP, note_unseen, NULL);
	return unseen;
}

/*
 * Since this seq: so many bytes were recorded with the right data, no block twice,
 * everything ended, and nothing became a gap.
 */
static bool recorded(uint64_t since, uint64_t at, const uint8_t *data,
		     size_t bytes)
{
	uint8_t *seen = calloc(1, bytes / 512);
	size_t total = 0;
	bool good = ring_settle(&ring);

	for (uint64_t seq = since + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);
		uint64_t to = d ? d->offset_bytes - at : 0;

		if (!d || d->op != BLKSHIP_OP_WRITE ||
		    d->state != BLKSHIP_STATE_DONE || d->offset_bytes < at ||
		    to + d->length_bytes > bytes ||
		    d->crc32c != crc32c(data + to, d->length_bytes) ||
		    memcmp(ring_payload(&ring, d), data + to,
			   d->length_bytes)) {
			good = false;
			break;
		}
		for (size_t i = 0; i < d->length_bytes / 512; i++)
			good &= !seen[to / 512 + i]++;
		total += d->length_bytes;
	}
	free(seen);
	ring_release_all(&ring);
	return good && total == bytes;
}

static void tap_on(const char *device)
{
	tap_create(device, GROUP, "v", RING_MIB);
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	fd = open(device, O_RDWR | O_DIRECT);
	if (fd < 0)
		give_up("%s: %s", device, strerror(errno));
}

static void tap_off(void)
{
	close(fd);
	ring_unbind(&ring);
	tap_remove(GROUP, "v");
	check(!netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL),
	      "the empty group can be deleted");
}

/* -- roads that the tap sees -- */

/* One system call for the range, of any size. */
static void road(const char *name, uint64_t at, size_t bytes, int flags)
{
	struct iovec iov = { pattern(bytes, bytes + at), bytes };
	uint64_t since = ring_newest(&ring);
	ssize_t done = pwritev2(fd, &iov, 1, at, flags);

	if (done < 0 && errno == EAGAIN && flags & RWF_NOWAIT) {
		const struct blkship_desc *d;

		ring_settle(&ring);
		d = ring_find(&ring, since + 1);
		check(!d || d->state == BLKSHIP_STATE_ABORTED,
		      "%s: refused, without a trace", name);
		ring_release_all(&ring);
	} else {
		check(done == (ssize_t)bytes &&
		      recorded(since, at, iov.iov_base, bytes), "%s", name);
	}
	free(iov.iov_base);
}

/* Many neighbours at once, which a scheduler merges. */
static void burst(const char *name, size_t bytes_each)
{
	uint8_t *data = pattern(BURST * bytes_each, 77);
	uint64_t since = ring_newest(&ring), at = 16 << 20;
	struct async *writes[BURST];
	bool good = true;

	for (size_t i = 0; i < BURST; i++)
		writes[i] = async_write(fd, data + i * bytes_each, bytes_each,
					at + i * bytes_each);
	for (size_t i = 0; i < BURST; i++)
		good &= async_wait(writes[i]) == (long)bytes_each;
	check(good && recorded(since, at, data, BURST * bytes_each), "%s",
	      name);
	free(data);
}

/* Through the page cache: written when the kernel likes, merged as it likes. */
static void buffered(const char *device)
{
	size_t bytes = 2 << 20;
	uint8_t *data = pattern(bytes, 31);
	uint64_t since = ring_newest(&ring), at = 24 << 20;
	int cached = open(device, O_RDWR);

	check(pwrite(cached, data, bytes, at) == (ssize_t)bytes &&
	      !fdatasync(cached) && recorded(since, at, data, bytes),
	      "written back from the page cache");
	close(cached);
	free(data);
}

/* An ioctl on a range: descriptors of one kind, without payload. */
static void range_op(const char *name, unsigned long request, unsigned int op)
{
	uint64_t range[2] = { 32 << 20, 8 << 20 }, total = 0;
	uint64_t since = ring_newest(&ring);
	bool good = true;

	if (ioctl(fd, request, range)) {
		if (errno == EOPNOTSUPP)
			skip(name, "not supported by the disk");
		else
			check(false, "%s: %s", name, strerror(errno));
		return;
	}
	ring_settle(&ring);
	for (uint64_t seq = since + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		good &= d && d->op == op && d->state == BLKSHIP_STATE_DONE;
		total += d ? d->length_bytes : 0;
	}
	check(good && total == range[1], "%s", name);
	ring_release_all(&ring);
}

static void switch_scheduler(const char *disk, const char *scheduler)
{
	char name[64];

	sh("modprobe -q %s-iosched; modprobe -q %s", scheduler, scheduler);
	if (sh("echo %s > /sys/block/%s/queue/scheduler 2>/dev/null", scheduler,
	       disk)) {
		snprintf(name, sizeof(name), "scheduler %s", scheduler);
		skip(name, "not in this kernel");
		return;
	}
	snprintf(name, sizeof(name), "scheduler %s: a burst of neighbours",
		 scheduler);
	burst(name, 4096);
}

/* Delayed by a cgroup before the tracepoint, and split there. */
static void throttled(void)
{
	const char *group = "/sys/fs/cgroup/slow";

	sh("mkdir -p /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null");
	if (sh("echo +io > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null && mkdir -p %s && echo \"$(cat /sys/block/vda/dev) wbps=4194304\" > %s/io.max 2>/dev/null && echo %d > %s/cgroup.procs",
	       group, group, (int)getpid(), group)) {
		skip("throttled writes", "no io controller in this kernel");
		return;
	}
	road("throttled by a cgroup", 40 << 20, 2 << 20, 0);
	burst("a throttled burst", 8192);
	sh("echo %d > /sys/fs/cgroup/cgroup.procs; rmdir %s", (int)getpid(),
	   group);
}

static void test_roads(const char *device, const char *disk)
{
	tap_on(device);
	check(ring.kernel->payload_bytes == RING_MIB << 20,
	      "%s: a ring of the size that was asked for", device);
	road("one sector", 512, 512, 0);
	road("4 KiB", 4096, 4096, 0);
	road("that may not wait", 8192, 4096, RWF_NOWAIT);
	road("polled", 12288, 4096, RWF_HIPRI);
	road("forced through the cache", 16384, 4096, RWF_DSYNC);
	road("across a region", 65536 - 4096, 8192, 0);
	road("1 MiB, split by the disk", 1 << 20, 1 << 20, 0);
	road("5 MiB, in several records", 8 << 20, 5 << 20, 0);
	burst("a burst of neighbours", 4096);
	buffered(device);
	range_op("write zeroes", BLKZEROOUT, BLKSHIP_OP_ZERO);
	range_op("discard", BLKDISCARD, BLKSHIP_OP_DISCARD);
	if (disk) {
		switch_scheduler(disk, "mq-deadline");
		switch_scheduler(disk, "kyber");
		switch_scheduler(disk, "bfq");
		switch_scheduler(disk, "none");
		throttled();
	}
	check(nr_unseen() == 0 && ring.kernel->failed == 0 &&
	      ring.kernel->uncaptured == 0,
	      "%s: the auditor has nothing to say", device);
	tap_off();
}

/* -- refused -- */

static void test_refused(void)
{
	tap_on(DISK);
	check(netlink_tap(DISK, GROUP, "v", RING_MIB) == -EEXIST &&
	      netlink_message[0], "attached twice: %s", netlink_message);
	check(netlink_tap(DISK, GROUP, "w", RING_MIB) == -EBUSY &&
	      netlink_message[0], "a disk twice: %s", netlink_message);
	check(netlink_tap(OTHER_DISK, GROUP, "v", RING_MIB) == -EBUSY &&
	      netlink_message[0], "a volume twice: %s", netlink_message);
	tap_off();
	if (sh("modprobe brd rd_nr=1 rd_size=4096 2>/dev/null"))
		skip("a disk that works without requests", "no brd here");
	else
		check(netlink_tap("/dev/ram0", GROUP, "v", RING_MIB) ==
		      -EOPNOTSUPP && netlink_message[0],
		      "a disk that works without requests: %s",
		      netlink_message);
}

/* -- attached and detached under load -- */

static void test_loops(void)
{
	struct async *writes[8];
	uint8_t *data = pattern(1 << 20, 5);
	bool good = true;
	int disk = open(DISK, O_RDWR | O_DIRECT);

	for (unsigned int round = 0; round < 50; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			writes[i] = async_write(disk, data, 128 << 10,
						(uint64_t)i << 20);
		tap_create(DISK, GROUP, "v", 1);
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			good &= async_wait(writes[i]) == 128 << 10;
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			writes[i] = async_write(disk, data, 128 << 10,
						(uint64_t)i << 20);
		tap_remove(GROUP, "v");
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			good &= async_wait(writes[i]) == 128 << 10;
	}
	check(good, "attached and detached 50 times while it is written to");
	check(!netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL),
	      "nothing is left of it");
	close(disk);
	free(data);
}

/* -- a disk that grows -- */

#define GROWN_BYTES (96ULL << 20)

static void test_grow(void)
{
	const unsigned int region = (80 << 20) / BLKSHIP_REGION_BYTES;
	struct blkship_volume_info info = { .volume = 0 };
	uint8_t *data = pattern(4096, 13);
	int events = netlink_listen();

	if (sh("modprobe -q loop; truncate -s 64M /run/grow && losetup /dev/loop0 /run/grow")) {
		skip("a disk that grows", "no loop device here");
		return;
	}
	tap_on("/dev/loop0");
	check(!sh("truncate -s 96M /run/grow") && !ioctl(fd, LOOP_SET_CAPACITY) &&
	      pwrite(fd, data, 4096, 80 << 20) == 4096,
	      "a disk grows, and is written to behind its old end at once");
	check(netlink_expect(events, BLKSHIP_EVENT_RESIZE, "v") &&
	      !ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info) &&
	      info.size_bytes == GROWN_BYTES, "the volume grows with it");
	ring_settle(&ring);
	check(ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, region, 1) == 1 &&
	      ring_watermark(&ring) == ring_newest(&ring),
	      "what was written meanwhile is dirty");
	ring_clean(&ring, 0);
	ring_release_all(&ring);
	road("behind the old end", 88 << 20, 4096, 0);
	check(nr_unseen() == 0, "the auditor has nothing to say about that");
	tap_off();
	close(events);
	sh("losetup -d /dev/loop0; rm /run/grow");
	free(data);
}

/* -- a road around -- */

static bool unseen_found(void *arg)
{
	(void)arg;
	return nr_unseen() > 0;
}

/*
 * md hands its caller's bios on to the disk without telling anybody when it does
 * not account for them. Only old kernels do.
 */
static void test_md(void)
{
	static const char name[] = "a write that passes by";
	uint8_t *data = pattern(4096, 9);
	unsigned int before;
	int md;

	if (sh("modprobe raid0 2>/dev/null && mdadm --build /dev/md0 --force --level=0 --raid-devices=1 %s >/dev/null",
	       OTHER_DISK)) {
		skip(name, "no md raid0 here");
		return;
	}
	sh("echo 0 > /sys/block/md0/queue/iostats");
	/* What passes by right after an attach is explained by that, so long. */
	sh("echo 0 > /sys/module/blkship/parameters/io_timeout_s");
	tap_on(OTHER_DISK);
	sh("echo 120 > /sys/module/blkship/parameters/io_timeout_s");
	sleep_ms(20);	/* a tick */
	before = ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024);
	md = open("/dev/md0", O_RDWR | O_DIRECT);
	check(pwrite(md, data, 4096, 1 << 20) == 4096, "a write to md");
	ring_settle(&ring);
	if (!ring.kernel->captured) {
		check(wait_until(unseen_found, NULL),
		      "%s is found by the auditor", name);
		check(ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024) >
		      before, "and is dirty");
	} else {
		check(nr_unseen() == 0, "md tells of its writes on this kernel");
	}
	close(md);
	tap_off();
	sh("mdadm --stop /dev/md0 >/dev/null 2>&1");
	free(data);
}

int main(void)
{
	test_roads(DISK, "vda");
	dm_create("low", "0 65536 linear " DISK " 0\n65536 65536 linear "
		  OTHER_DISK " 0");
	test_roads("/dev/mapper/low", NULL);
	dm_remove("low");
	test_refused();
	test_loops();
	test_grow();
	test_md();
	return finish();
}
