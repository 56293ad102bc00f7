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
#include <sys/wait.h>
#include <unistd.h>

#include <netlink/attr.h>

#include "../../userspace/lib/crc32c.h"
#include "harness.h"
#include "selftest.h"

#define GROUP "tap"
#define RING_MIB 8
#define BURST 64
#define SCHEDULER "/sys/block/vda/queue/scheduler"

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

		if (d && d->state == BLKSHIP_STATE_ABORTED)
			continue;	/* renewed, or there is one too few */
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

static void tap_off(struct __test_metadata *_metadata)
{
	close(fd);
	ring_unbind(&ring);
	tap_remove(GROUP, "v");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

/* Whichever roads were taken: the auditor has nothing to say. */
static void audited_off(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, nr_unseen());
	EXPECT_EQ(0, ring.kernel->failed);
	EXPECT_EQ(0, ring.kernel->uncaptured);
	tap_off(_metadata);
}

/* -- roads that the tap sees -- */

/* One system call for the range, of any size. */
static void road(struct __test_metadata *_metadata, const char *name,
		 uint64_t at, size_t bytes, int flags)
{
	struct iovec iov = { pattern(bytes, bytes + at), bytes };
	uint64_t since = ring_newest(&ring);
	ssize_t done = pwritev2(fd, &iov, 1, at, flags);

	if (done < 0 && errno == EAGAIN && flags & RWF_NOWAIT) {
		const struct blkship_desc *d;

		/* Refused, without a trace. */
		ring_settle(&ring);
		d = ring_find(&ring, since + 1);
		EXPECT_TRUE(!d || d->state == BLKSHIP_STATE_ABORTED)
			TH_LOG("%s", name);
		ring_release_all(&ring);
	} else {
		EXPECT_EQ((ssize_t)bytes, done) TH_LOG("%s", name);
		EXPECT_TRUE(recorded(since, at, iov.iov_base, bytes))
			TH_LOG("%s", name);
	}
	free(iov.iov_base);
}

/* Many neighbours at once, which a scheduler merges. */
static void burst(struct __test_metadata *_metadata, size_t bytes_each)
{
	uint8_t *data = pattern(BURST * bytes_each, 77);
	uint64_t since = ring_newest(&ring), at = 16 << 20;
	struct async *writes[BURST];

	for (size_t i = 0; i < BURST; i++)
		writes[i] = async_write(fd, data + i * bytes_each, bytes_each,
					at + i * bytes_each);
	for (size_t i = 0; i < BURST; i++) {
		EXPECT_EQ((long)bytes_each, async_wait(writes[i]));
	}
	EXPECT_TRUE(recorded(since, at, data, BURST * bytes_each));
	free(data);
}

/* A tapped disk, and a tapped device of two linear targets. */
FIXTURE(tapped) {
};

FIXTURE_VARIANT(tapped) {
	const char *device;
};

FIXTURE_VARIANT_ADD(tapped, disk) {
	.device = DISK,
};

FIXTURE_VARIANT_ADD(tapped, dm) {
	.device = "/dev/mapper/low",
};

FIXTURE_SETUP(tapped)
{
	if (strcmp(variant->device, DISK))
		dm_create("low", "0 65536 linear " DISK " 0\n65536 65536 linear "
			  OTHER_DISK " 0");
	tap_on(variant->device);
	ASSERT_EQ(RING_MIB << 20, ring.kernel->payload_bytes);
}

FIXTURE_TEARDOWN(tapped)
{
	audited_off(_metadata);
	if (strcmp(variant->device, DISK))
		dm_remove("low");
}

TEST_F(tapped, system_calls)
{
	road(_metadata, "one sector", 512, 512, 0);
	road(_metadata, "4 KiB", 4096, 4096, 0);
	road(_metadata, "that may not wait", 8192, 4096, RWF_NOWAIT);
	road(_metadata, "polled", 12288, 4096, RWF_HIPRI);
	road(_metadata, "forced through the cache", 16384, 4096, RWF_DSYNC);
	road(_metadata, "across a region", 65536 - 4096, 8192, 0);
	road(_metadata, "1 MiB, split by the disk", 1 << 20, 1 << 20, 0);
	road(_metadata, "5 MiB, in several records", 8 << 20, 5 << 20, 0);
}

TEST_F(tapped, burst_of_neighbours)
{
	burst(_metadata, 4096);
}

/* Written when the kernel likes, merged as it likes. */
TEST_F(tapped, page_cache)
{
	size_t bytes = 2 << 20;
	uint8_t *data = pattern(bytes, 31);
	uint64_t since = ring_newest(&ring), at = 24 << 20;
	int cached = open(variant->device, O_RDWR);

	EXPECT_EQ((ssize_t)bytes, pwrite(cached, data, bytes, at));
	EXPECT_EQ(0, fdatasync(cached));
	EXPECT_TRUE(recorded(since, at, data, bytes));
	close(cached);
	free(data);
}

/* An ioctl on a range: descriptors of one kind, without payload. */
static void range_op(struct __test_metadata *_metadata, unsigned long request,
		     unsigned int op)
{
	uint64_t range[2] = { 32 << 20, 8 << 20 }, total = 0;
	uint64_t since = ring_newest(&ring);

	if (ioctl(fd, request, range)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		SKIP(return, "not supported by the disk");
	}
	EXPECT_TRUE(ring_settle(&ring));
	for (uint64_t seq = since + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		ASSERT_NE(NULL, d);
		EXPECT_EQ(op, d->op);
		EXPECT_EQ(BLKSHIP_STATE_DONE, d->state);
		total += d->length_bytes;
	}
	EXPECT_EQ(range[1], total);
}

TEST_F(tapped, write_zeroes)
{
	range_op(_metadata, BLKZEROOUT, BLKSHIP_OP_ZERO);
}

TEST_F(tapped, discard)
{
	range_op(_metadata, BLKDISCARD, BLKSHIP_OP_DISCARD);
}

/* Switched while the disk is tapped; each merges. */
FIXTURE(scheduler) {
};

FIXTURE_VARIANT(scheduler) {
	const char *name;
};

FIXTURE_VARIANT_ADD(scheduler, mq_deadline) {
	.name = "mq-deadline",
};

FIXTURE_VARIANT_ADD(scheduler, kyber) {
	.name = "kyber",
};

FIXTURE_VARIANT_ADD(scheduler, bfq) {
	.name = "bfq",
};

FIXTURE_SETUP(scheduler)
{
	tap_on(DISK);
}

FIXTURE_TEARDOWN(scheduler)
{
	audited_off(_metadata);
}

TEST_F(scheduler, burst_of_neighbours)
{
	sh("modprobe -q %s-iosched; modprobe -q %s", variant->name, variant->name);
	if (sh("echo %s > " SCHEDULER " 2>/dev/null", variant->name))
		SKIP(return, "not in this kernel");
	burst(_metadata, 4096);
	EXPECT_EQ(0, sh("echo none > " SCHEDULER));
	burst(_metadata, 4096);
}

/* Delayed before the tracepoint, and split there. */
TEST(throttled_by_a_cgroup)
{
	const char *group = "/sys/fs/cgroup/slow";

	sh("mkdir -p /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup 2>/dev/null");
	if (sh("echo +io > /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null && mkdir -p %s && echo \"$(cat /sys/block/vda/dev) wbps=4194304\" > %s/io.max 2>/dev/null && echo %d > %s/cgroup.procs",
	       group, group, (int)getpid(), group))
		SKIP(return, "no io controller in this kernel");
	tap_on(DISK);
	road(_metadata, "2 MiB", 40 << 20, 2 << 20, 0);
	burst(_metadata, 8192);
	sh("echo %d > /sys/fs/cgroup/cgroup.procs; rmdir %s", (int)getpid(),
	   group);
	audited_off(_metadata);
}

/* -- refused -- */

TEST(what_is_attached_already_is_refused)
{
	tap_on(DISK);
	EXPECT_EQ(-EEXIST, netlink_tap(DISK, GROUP, "v", RING_MIB));
	EXPECT_STRNE("", netlink_message);
	/* A disk twice, and a volume twice. */
	EXPECT_EQ(-EBUSY, netlink_tap(DISK, GROUP, "w", RING_MIB));
	EXPECT_STRNE("", netlink_message);
	EXPECT_EQ(-EBUSY, netlink_tap(OTHER_DISK, GROUP, "v", RING_MIB));
	EXPECT_STRNE("", netlink_message);
	tap_off(_metadata);
}

/* It might have a generic netlink family, and wait for the lock that we have. */
TEST(no_module_is_loaded_for_a_device_that_is_missing)
{
	sh("rmmod brd 2>/dev/null; mknod /run/missing b 1 7");
	if (!sh("test -d /sys/module/brd"))
		SKIP(return, "brd is in use");
	EXPECT_EQ(-ENXIO, netlink_tap("/run/missing", GROUP, "v", RING_MIB));
	EXPECT_STRNE("", netlink_message);
	EXPECT_NE(0, sh("test -d /sys/module/brd"));
}

TEST(disk_that_works_without_requests_is_refused)
{
	if (sh("modprobe brd rd_nr=1 rd_size=4096 2>/dev/null"))
		SKIP(return, "no brd here");
	EXPECT_EQ(-EOPNOTSUPP, netlink_tap("/dev/ram0", GROUP, "v", RING_MIB));
	EXPECT_STRNE("", netlink_message);
}

/* -- attached and detached under load -- */

TEST(attached_and_detached_while_it_is_written_to)
{
	struct async *writes[8];
	uint8_t *data = pattern(1 << 20, 5);
	int disk = open(DISK, O_RDWR | O_DIRECT);

	for (unsigned int round = 0; round < 50; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			writes[i] = async_write(disk, data, 128 << 10,
						(uint64_t)i << 20);
		tap_create(DISK, GROUP, "v", 1);
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
			EXPECT_EQ(128 << 10, async_wait(writes[i]));
		}
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			writes[i] = async_write(disk, data, 128 << 10,
						(uint64_t)i << 20);
		tap_remove(GROUP, "v");
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
			EXPECT_EQ(128 << 10, async_wait(writes[i]));
		}
	}
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	close(disk);
	free(data);
}

/* -- a disk that grows -- */

#define GROWN_BYTES (96ULL << 20)

TEST(volume_grows_with_its_disk)
{
	const unsigned int region = (80 << 20) / BLKSHIP_REGION_BYTES;
	struct blkship_volume_info info = { .volume = 0 };
	uint8_t *data = pattern(4096, 13);
	int events = netlink_listen();

	if (sh("modprobe -q loop; truncate -s 64M /run/grow && losetup /dev/loop0 /run/grow"))
		SKIP(return, "no loop device here");
	tap_on("/dev/loop0");
	/* Written to behind its old end at once. */
	EXPECT_EQ(0, sh("truncate -s 96M /run/grow"));
	EXPECT_EQ(0, ioctl(fd, LOOP_SET_CAPACITY));
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 80 << 20));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_RESIZE, "v"));
	EXPECT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info));
	EXPECT_EQ(GROWN_BYTES, info.size_bytes);
	/* What was written meanwhile is dirty. */
	ring_settle(&ring);
	EXPECT_EQ(1, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, region, 1));
	EXPECT_EQ(ring_newest(&ring), ring_watermark(&ring));
	ring_clean(&ring, 0);
	ring_release_all(&ring);
	road(_metadata, "behind the old end", 88 << 20, 4096, 0);
	EXPECT_EQ(0, nr_unseen());
	tap_off(_metadata);
	close(events);
	sh("losetup -d /dev/loop0; rm /run/grow");
	free(data);
}

/* -- a write that ends by halves -- */

#define BACK_AT ((uint64_t)32 << 20)	/* what is written behind waits */
#define REQUEST_BYTES (128 << 10)
#define RECORD_BYTES (256 << 10)	/* a quarter of the ring */

/*
 * A disk whose back can be stopped, tapped: a write across the middle becomes
 * requests of which the first end at once and the others when it goes on.
 */
FIXTURE(halves) {
	int events;
};

FIXTURE_SETUP(halves)
{
	if (sh("modprobe -q loop"))
		SKIP(return, "no loop device here");
	self->events = netlink_listen();
	dm_create("back", "0 65536 linear " DISK " 65536");
	dm_create("low", "0 65536 linear " DISK " 0\n65536 65536 linear /dev/mapper/back 0");
	ASSERT_EQ(0, sh("losetup /dev/loop0 /dev/mapper/low && echo %u > /sys/block/loop0/queue/max_sectors_kb",
			REQUEST_BYTES >> 10));
	tap_create("/dev/loop0", GROUP, "v", 1);
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	fd = open("/dev/loop0", O_RDWR | O_DIRECT);
	ASSERT_LE(0, fd);
	/* Not through a cache, where all of it would end at once. */
	ASSERT_EQ(0, ioctl(fd, LOOP_SET_DIRECT_IO, 1));
	EXPECT_EQ(0, sh("echo 1 > /sys/module/blkship/parameters/io_timeout_s"));
}

FIXTURE_TEARDOWN(halves)
{
	sh("dmsetup resume back; echo 120 > /sys/module/blkship/parameters/io_timeout_s");
	EXPECT_EQ(0, nr_unseen());
	tap_off(_metadata);
	sh("losetup -d /dev/loop0");
	dm_remove("low");
	dm_remove("back");
	close(self->events);
}

/* Two whole records at the front, one in the middle, and one at the back. */
TEST_F(halves, what_timed_out_ends_with_its_rest)
{
	const uint64_t at = BACK_AT - 5 * REQUEST_BYTES;
	const unsigned int per_record = RECORD_BYTES / BLKSHIP_REGION_BYTES;
	const uint64_t late = (at + 2 * RECORD_BYTES) / BLKSHIP_REGION_BYTES;
	uint8_t *data = pattern(4 * RECORD_BYTES, 21);
	uint64_t base = ring_newest(&ring), newest;
	struct async *write;

	sh("dmsetup suspend back");
	write = async_write(fd, data, 4 * RECORD_BYTES, at);
	EXPECT_TRUE(netlink_expect(self->events, BLKSHIP_EVENT_TIMEOUT, "v"));
	/* The watermark goes on while half of the write is still under way. */
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_FALSE(async_ended(write));
	for (unsigned int i = 0; i < 4; i++) {
		const struct blkship_desc *d = ring_find(&ring, base + 1 + i);

		ASSERT_NE(NULL, d);
		EXPECT_EQ(at + i * RECORD_BYTES, d->offset_bytes);
		EXPECT_EQ(RECORD_BYTES, d->length_bytes);
		EXPECT_EQ(i < 2 ? BLKSHIP_STATE_DONE : BLKSHIP_STATE_GAP, d->state);
	}
	EXPECT_EQ(2 * per_record, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, late,
					      2 * per_record));
	EXPECT_EQ(2 * per_record, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024));

	/* Repaired before the rest ends, it is dirty once more, with a seq. */
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	EXPECT_FALSE(async_ended(write));
	sh("dmsetup resume back");
	EXPECT_EQ(4 * RECORD_BYTES, async_wait(write));
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_GT(ring_newest(&ring), newest);
	EXPECT_EQ(2 * per_record, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, late,
					      2 * per_record));
	EXPECT_EQ(2 * per_record, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024));

	/* Nothing of it is in flight any more that the next write could meet. */
	ring_clean(&ring, 0);
	ring_release_all(&ring);
	sh("echo 120 > /sys/module/blkship/parameters/io_timeout_s");
	road(_metadata, "the same blocks again", at + 2 * RECORD_BYTES, 4096, 0);
	EXPECT_EQ(0, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024));
	EXPECT_EQ(5, ring.kernel->captured);
	EXPECT_EQ(2, ring.kernel->timeouts);
	EXPECT_EQ(0, ring.kernel->uncaptured);
	EXPECT_EQ(0, ring.kernel->failed);
	EXPECT_EQ(0, ring.kernel->overlaps);
	free(data);
}

/* -- attached to a device that does not answer -- */

#define SLOW_MS 4000

FIXTURE(slow) {
};

FIXTURE_SETUP(slow)
{
	if (sh("modprobe -q dm_delay; dmsetup targets | grep -q ^delay"))
		SKIP(return, "no dm-delay here");
	/* Reads, writes, flushes. */
	dm_create("slow", "0 %llu delay %s 0 0 %s 0 %u %s 0 0", DISK_SECTORS,
		  OTHER_DISK, OTHER_DISK, SLOW_MS, OTHER_DISK);
}

FIXTURE_TEARDOWN(slow)
{
	dm_remove("slow");
}

/* What was under way is not waited for; its end makes all of the volume dirty. */
static void attached_meanwhile(struct __test_metadata *_metadata,
			       bool suspended)
{
	uint8_t *data = pattern(4096, 41), *got = pattern(4096, 0);
	int slow = dm_open("slow");
	struct async *write;
	uint64_t newest;

	if (suspended)
		sh("dmsetup suspend slow");
	write = async_write(slow, data, 4096, 1 << 20);
	sleep_ms(100);
	tap_on("/dev/mapper/slow");
	EXPECT_FALSE(async_ended(write));
	if (suspended)
		sh("dmsetup resume slow");
	/* Nor is anything held that comes meanwhile. */
	EXPECT_EQ(4096, pread(fd, got, 4096, 2 << 20));
	EXPECT_FALSE(async_ended(write));
	newest = ring_newest(&ring);
	EXPECT_EQ(4096, async_wait(write));
	EXPECT_GT(ring_newest(&ring), newest);
	EXPECT_EQ(1024, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024));
	EXPECT_EQ(0, nr_unseen());
	tap_off(_metadata);
	close(slow);
	free(got);
	free(data);
}

TEST_F(slow, attached_without_a_wait)
{
	attached_meanwhile(_metadata, false);
}

TEST_F(slow, attached_while_it_is_suspended)
{
	attached_meanwhile(_metadata, true);
}

static uint32_t flags;

static void note_flags(struct nlattr **attrs, void *arg)
{
	(void)arg;
	flags |= nla_get_u32(attrs[BLKSHIP_A_FLAGS]);
}

/* A disk whose write waits for the slow device is frozen for as long. */
TEST_F(slow, others_go_on_while_a_disk_is_attached)
{
	uint8_t *data = pattern(4096, 43);
	struct async *write;
	int status, loop;
	pid_t child;

	if (sh("modprobe -q loop; losetup /dev/loop0 /dev/mapper/slow"))
		SKIP(return, "no loop device here");
	tap_create(DISK, "other", "w", 1);
	loop = open("/dev/loop0", O_RDWR | O_DIRECT | O_DSYNC);
	write = async_write(loop, data, 4096, 0);
	sleep_ms(200);
	child = fork();
	if (!child)
		_exit(-netlink_tap("/dev/loop0", GROUP, "v", RING_MIB));
	sleep_ms(500);
	/* The one that is being attached can neither go nor come again. */
	EXPECT_EQ(-EBUSY, netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "v"));
	EXPECT_STRNE("", netlink_message);
	EXPECT_EQ(-EBUSY, netlink_tap("/dev/loop0", "other", "x", 1));
	EXPECT_STRNE("", netlink_message);
	tap_remove("other", "w");
	tap_create(DISK, "other", "w", 1);
	tap_remove("other", "w");
	EXPECT_FALSE(async_ended(write));

	EXPECT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(4096, async_wait(write));
	netlink_dump(BLKSHIP_CMD_VOLUME_GET, GROUP, note_flags, NULL);
	EXPECT_EQ(0, flags);
	tap_remove(GROUP, "v");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, "other", NULL));
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	close(loop);
	sh("losetup -d /dev/loop0");
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
TEST(write_that_passes_by_is_found)
{
	uint8_t *data = pattern(4096, 9);
	unsigned int before;
	int md;

	if (sh("modprobe raid0 2>/dev/null && mdadm --build /dev/md0 --force --level=0 --raid-devices=1 %s >/dev/null",
	       OTHER_DISK))
		SKIP(return, "no md raid0 here");
	sh("echo 0 > /sys/block/md0/queue/iostats");
	/* What passes by right after an attach is explained by that, so long. */
	sh("echo 0 > /sys/module/blkship/parameters/io_timeout_s");
	tap_on(OTHER_DISK);
	sh("echo 120 > /sys/module/blkship/parameters/io_timeout_s");
	sleep_ms(20);	/* a tick */
	before = ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024);
	md = open("/dev/md0", O_RDWR | O_DIRECT);
	EXPECT_EQ(4096, pwrite(md, data, 4096, 1 << 20));
	ring_settle(&ring);
	if (!ring.kernel->captured) {
		EXPECT_TRUE(wait_until(unseen_found, NULL));
		EXPECT_GT(ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024), before);
	} else {	/* this kernel's md tells of its writes */
		EXPECT_EQ(0, nr_unseen());
	}
	close(md);
	tap_off(_metadata);
	sh("mdadm --stop /dev/md0 >/dev/null 2>&1");
	free(data);
}

TEST_HARNESS_MAIN
