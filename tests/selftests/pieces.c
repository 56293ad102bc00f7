// SPDX-License-Identifier: GPL-2.0-only
/*
 * Writes that are longer than a record, to a tapped disk: their payload is copied
 * when their requests are issued. What is in the ring has to be what the disk has.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../../userspace/lib/crc32c.h"
#include "harness.h"
#include "selftest.h"

#define GROUP "pcs"
#define MIB ((size_t)1 << 20)
#define HUGE (2 * MIB)
#define RECORD_MAX (4 * MIB)

static struct ring ring;
static int fd;

static void tap_on(const char *device, unsigned int ring_mib)
{
	tap_create(device, GROUP, "v", ring_mib);
	ring_bind(&ring, GROUP);
	fd = open(device, O_RDWR | O_DIRECT);
	if (fd < 0)
		give_up("%s: %s", device, strerror(errno));
}

static void tap_off(struct __test_metadata *_metadata)
{
	EXPECT_EQ(0, ring.kernel->uncaptured);
	close(fd);
	ring_unbind(&ring);
	tap_remove(GROUP, "v");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

static size_t record_max(void)
{
	size_t quarter = ring.kernel->payload_bytes / 4;

	return quarter < RECORD_MAX ? quarter : RECORD_MAX;
}

/* So that a write of it is one bio: of few pieces, if it has more than 256 pages. */
static uint8_t *buffer(size_t bytes, unsigned int seed)
{
	uint8_t *from = pattern(bytes, seed);
	uint8_t *to = mmap(NULL, bytes + 2 * HUGE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (to == MAP_FAILED)
		give_up("no memory");
	to += HUGE - (uintptr_t)to % HUGE;
	madvise(to, bytes + HUGE, MADV_HUGEPAGE);
	memcpy(to, from, bytes);
	free(from);
	return to;
}

static bool huge_pages(void)
{
	return access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

/*
 * Since this seq: the range is in the ring once, in so many records (0: however
 * many), all done, and they have what the disk has there.
 */
static bool recorded(uint64_t since, uint64_t at, size_t bytes, size_t records)
{
	uint8_t *disk = pattern(bytes, 0), *seen = calloc(1, bytes / 512);
	size_t total = 0, nr = 0;
	bool good = ring_settle(&ring) &&
		    pread(fd, disk, bytes, at) == (ssize_t)bytes;

	for (uint64_t seq = since + 1; good && seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);
		uint64_t to = d ? d->offset_bytes - at : 0;

		if (!d || d->op != BLKSHIP_OP_WRITE ||
		    d->state != BLKSHIP_STATE_DONE || to + d->length_bytes > bytes ||
		    d->crc32c != crc32c(ring_payload(&ring, d), d->length_bytes) ||
		    memcmp(ring_payload(&ring, d), disk + to, d->length_bytes)) {
			good = false;
			break;
		}
		for (size_t i = 0; i < d->length_bytes / 512; i++)
			good &= !seen[to / 512 + i]++;
		total += d->length_bytes;
		nr++;
	}
	free(seen);
	free(disk);
	ring_release_all(&ring);
	return good && total == bytes && (!records || nr == records);
}

/* -- roads of a long write -- */

/* With a small ring records are short, and what fits 256 pages is long. */
FIXTURE(disk) {
};

FIXTURE_VARIANT(disk) {
	unsigned int ring_mib;
	size_t mib[3];
};

FIXTURE_VARIANT_ADD(disk, small_ring) {
	.ring_mib = 2,
	.mib = { 1 },
};

FIXTURE_VARIANT_ADD(disk, large_ring) {
	.ring_mib = 32,
	.mib = { 5, 8, 15 },
};

FIXTURE_SETUP(disk)
{
	if (variant->mib[0] > 1 && !huge_pages())
		SKIP(return, "no huge pages in this kernel: no bio of such a size");
	tap_on(DISK, variant->ring_mib);
}

FIXTURE_TEARDOWN(disk)
{
	EXPECT_EQ(0, ring.kernel->failed);
	tap_off(_metadata);
}

static void road(struct __test_metadata *_metadata, size_t bytes, int flags)
{
	uint64_t since = ring_newest(&ring), at = MIB + 4096;
	struct iovec iov = { buffer(bytes, bytes + flags), bytes };
	ssize_t done = pwritev2(fd, &iov, 1, at, flags);

	if (done < 0 && errno == EAGAIN && flags & RWF_NOWAIT) {
		const struct blkship_desc *d;

		/* Refused, without a trace. */
		ring_settle(&ring);
		d = ring_find(&ring, since + 1);
		EXPECT_TRUE(!d || d->state == BLKSHIP_STATE_ABORTED);
		ring_release_all(&ring);
		return;
	}
	EXPECT_EQ((ssize_t)bytes, done);
	EXPECT_TRUE(recorded(since, at, bytes, (bytes + record_max() - 1) / record_max()))
		TH_LOG("%zu MiB, flags %x", bytes / MIB, flags);
}

TEST_F(disk, system_calls)
{
	static const int flags[] = { 0, RWF_NOWAIT, RWF_DSYNC, RWF_HIPRI };

	for (size_t i = 0; i < ARRAY_SIZE(variant->mib) && variant->mib[i]; i++)
		for (size_t j = 0; j < ARRAY_SIZE(flags); j++)
			road(_metadata, variant->mib[i] * MIB, flags[j]);
}

/* Neighbours at once, long and short: their rests are merged. */
TEST_F(disk, merged)
{
	size_t bytes = variant->mib[0] * MIB - 65536, at = 0;
	uint64_t since = ring_newest(&ring);
	struct async *writes[4];
	uint8_t *data = buffer(2 * variant->mib[0] * MIB, 3);

	sh("modprobe -q mq-deadline; echo mq-deadline > /sys/block/vda/queue/scheduler");
	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		size_t part = i % 2 ? 65536 : bytes;

		writes[i] = async_write(fd, data + at, part, at);
		at += part;
	}
	for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
		EXPECT_EQ((long)(i % 2 ? 65536 : bytes), async_wait(writes[i]));
	}
	EXPECT_TRUE(recorded(since, 0, at, 0));
	sh("echo none > /sys/block/vda/queue/scheduler");
}

/* -- a part of the disk -- */

static void partition(int op, long long start, long long length)
{
	int dev = open(DISK, O_RDONLY);
	struct blkpg_partition part = { .start = start, .length = length, .pno = 1 };
	struct blkpg_ioctl_arg arg = { .op = op, .datalen = sizeof(part), .data = &part };

	if (dev < 0 || ioctl(dev, BLKPG, &arg))
		give_up("partition: %s", strerror(errno));
	close(dev);
}

/* By way of the disk, from before the partition on: its own part of it counts. */
TEST(begun_before_the_volume)
{
	const size_t start = 2 * MIB, before = 65536, bytes = MIB;
	uint8_t *data = buffer(bytes, 5);
	uint64_t since;
	int disk;

	partition(BLKPG_ADD_PARTITION, start, 16 * MIB);
	tap_on(DISK "1", 2);
	disk = open(DISK, O_RDWR | O_DIRECT);
	since = ring_newest(&ring);
	EXPECT_EQ((ssize_t)bytes, pwrite(disk, data, bytes, start - before));
	EXPECT_TRUE(recorded(since, 0, bytes - before, 2));
	close(disk);
	tap_off(_metadata);
	partition(BLKPG_DEL_PARTITION, 0, 0);
}

/* -- requests that the disk is too busy for -- */

#define SCSI "/sys/bus/pseudo/drivers/scsi_debug"
#define HOST_BUSY "0x8000"

/* They are issued again, some of them more than once. */
TEST(issued_again)
{
	size_t bytes = MIB;
	char disk[64];

	if (sh("modprobe -q sd_mod; modprobe -q scsi_debug dev_size_mb=16 delay=0"))
		SKIP(return, "no scsi_debug here");
	ASSERT_EQ(0, sh("until ls " SCSI "/adapter0/host*/target*/*/block >/dev/null 2>&1; do sleep 0.1; done"));
	snprintf(disk, sizeof(disk), "/dev/%s",
		 sh_line("basename " SCSI "/adapter0/host*/target*/*/block/sd*"));
	ASSERT_EQ(0, sh("until [ -b %s ]; do sleep 0.1; done; echo 64 > /sys/block/%s/queue/max_sectors_kb",
			disk, disk + 5));
	tap_on(disk, 2);
	sh("echo " HOST_BUSY " > " SCSI "/opts; echo 3 > " SCSI "/every_nth");
	for (unsigned int i = 0; i < 8; i++) {
		uint64_t since = ring_newest(&ring);

		EXPECT_EQ((ssize_t)bytes, pwrite(fd, buffer(bytes, i), bytes, i * MIB));
		sh("echo 0 > " SCSI "/every_nth");
		EXPECT_TRUE(recorded(since, i * MIB, bytes, 2));
		sh("echo 3 > " SCSI "/every_nth");
	}
	sh("echo 0 > " SCSI "/every_nth");
	EXPECT_EQ(0, ring.kernel->failed);
	tap_off(_metadata);
	EXPECT_EQ(0, sh("rmmod scsi_debug"));
}

/* -- a buffer that changes on the way -- */

#define NULLB "/sys/kernel/config/nullb/nullb0"

static bool two_are_reserved(void *arg)
{
	return ring_newest(&ring) >= *(uint64_t *)arg + 2;
}

/*
 * A disk that takes one request at a time, a second each. When the second one is
 * under way the buffer's last quarter is written to: that is the fourth's, or the
 * first's where a kernel begins at the back. Whatever the disk got, the ring has.
 */
TEST(changed_before_it_is_issued)
{
	size_t bytes = MIB;
	uint8_t *data = buffer(bytes, 1), *other = buffer(bytes, 2);
	struct async *write;
	uint64_t since;

	if (sh("modprobe -q null_blk nr_devices=0 && { mount -t configfs none /sys/kernel/config 2>/dev/null; mkdir " NULLB "; } && cd " NULLB
	       " && echo 16 > size && echo 2 > queue_mode && echo 2 > irqmode && echo 1000000000 > completion_nsec && echo 512 > max_sectors && echo 1 > hw_queue_depth && echo 1 > submit_queues && echo 1 > memory_backed && echo 1 > power"))
		SKIP(return, "no null_blk here");
	tap_on("/dev/nullb0", 2);
	since = ring_newest(&ring);
	write = async_write(fd, data, bytes, 0);
	EXPECT_TRUE(wait_until(two_are_reserved, &since));
	sleep_ms(1500);
	EXPECT_FALSE(async_ended(write));
	memcpy(data + bytes / 4 * 3, other, bytes / 4);
	EXPECT_EQ((long)bytes, async_wait(write));
	EXPECT_TRUE(recorded(since, 0, bytes, 2));
	tap_off(_metadata);
	sh("rmdir " NULLB "; rmmod null_blk");
}

/* -- a write of which a part fails -- */

/* Records of which something failed are not done, and dirty; the others are. */
TEST(failing_at_the_back)
{
	const size_t bytes = MIB, record = 256 << 10;
	const uint64_t at = 32 * MIB - bytes / 2;
	const unsigned int per_record = record / BLKSHIP_REGION_BYTES;
	uint8_t *data = buffer(bytes, 4);
	uint64_t since;

	if (sh("modprobe -q loop"))
		SKIP(return, "no loop device here");
	dm_create("low", "0 65536 linear " DISK " 0\n65536 65536 error");
	ASSERT_EQ(0, sh("losetup /dev/loop0 /dev/mapper/low && echo 128 > /sys/block/loop0/queue/max_sectors_kb"));
	tap_on("/dev/loop0", 1);
	ring_clean(&ring, 0);
	/* Not through a cache, where all of it would end well. */
	ASSERT_EQ(0, ioctl(fd, LOOP_SET_DIRECT_IO, 1));
	since = ring_newest(&ring);
	EXPECT_EQ(-1, pwrite(fd, data, bytes, at));
	EXPECT_TRUE(ring_settle(&ring));
	for (unsigned int i = 0; i < 4; i++) {
		const struct blkship_desc *d = ring_find(&ring, since + 1 + i);

		ASSERT_NE(NULL, d);
		EXPECT_EQ(record, d->length_bytes);
		EXPECT_EQ(i < 2 ? BLKSHIP_STATE_DONE : BLKSHIP_STATE_FAILED, d->state);
		if (i < 2) {
			EXPECT_EQ(crc32c(data + i * record, record), d->crc32c);
			EXPECT_EQ(0, memcmp(ring_payload(&ring, d), data + i * record,
					    record));
		}
	}
	EXPECT_EQ(2 * per_record, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY,
					      32 * MIB / BLKSHIP_REGION_BYTES,
					      2 * per_record));
	EXPECT_EQ(2 * per_record, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, 1024));
	ring_release_all(&ring);
	tap_off(_metadata);
	sh("losetup -d /dev/loop0");
	dm_remove("low");
}

TEST_HARNESS_MAIN
