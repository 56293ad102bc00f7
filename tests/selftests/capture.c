// SPDX-License-Identifier: GPL-2.0-only
/* Every kind of write appears in the ring: where, what, in which order. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/crc32c.h"
#include "harness.h"
#include "selftest.h"

#define GROUP "cap"

static struct ring ring;
static int fd;

static uint64_t wall_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static bool payload_is(const struct blkship_desc *d, const void *data)
{
	return d->crc32c == crc32c(data, d->length_bytes) &&
	       !memcmp(ring_payload(&ring, d), data, d->length_bytes);
}

/* The writes since a seq cover the range exactly and hold this data. */
static bool covers(uint64_t since, uint64_t at, const uint8_t *data,
		   size_t bytes)
{
	size_t seen = 0;

	for (uint64_t seq = since + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		if (!d || d->op != BLKSHIP_OP_WRITE ||
		    d->state != BLKSHIP_STATE_DONE || d->offset_bytes < at ||
		    d->offset_bytes + d->length_bytes > at + bytes ||
		    !payload_is(d, data + (d->offset_bytes - at)))
			return false;
		seen += d->length_bytes;
	}
	return seen == bytes;
}

/* Seqs since this one, up to the newest, that have this operation and ended well. */
static unsigned int nr_done(uint64_t since, unsigned int op)
{
	unsigned int nr = 0;

	for (uint64_t seq = since + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		nr += d && d->op == op && d->state == BLKSHIP_STATE_DONE;
	}
	return nr;
}

FIXTURE(volume) {
};

FIXTURE_SETUP(volume)
{
	volume_create("t0", DISK, GROUP, "v0", 8);
	ring_bind(&ring, GROUP);
	fd = dm_open("t0");
}

/* Whatever a test wrote: nothing was missed, failed or met another. */
FIXTURE_TEARDOWN(volume)
{
	EXPECT_EQ(0, ring.kernel->uncaptured);
	EXPECT_EQ(0, ring.kernel->failed);
	EXPECT_EQ(0, ring.kernel->overlaps);
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

TEST_F(volume, new_one_is_dirty_as_a_whole)
{
	struct blkship_volume_info info = { .volume = 0 };

	EXPECT_EQ(BLKSHIP_RING_MAGIC, ring.kernel->magic);
	EXPECT_EQ(BLKSHIP_ABI_VERSION, ring.kernel->abi_version);
	EXPECT_EQ(8 << 20, ring.kernel->payload_bytes);
	ASSERT_EQ(0, ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info));
	EXPECT_STREQ("v0", info.name);
	EXPECT_EQ(DISK_SECTORS * 512, info.size_bytes);
	EXPECT_EQ(0, info.flags);
	EXPECT_EQ(DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES, info.dirty_regions);
	/* Which took a seq, seen as a gap. */
	EXPECT_EQ(1, ring_newest(&ring));
	EXPECT_EQ(1, ring.kernel->marks);
	EXPECT_EQ(0, ring_head(&ring));
	info.volume = 1;
	EXPECT_EQ(-1, ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info));
	EXPECT_EQ(ENOENT, errno);
}

TEST_F(volume, write_is_described_and_copied)
{
	uint64_t base = ring_newest(&ring), before = wall_ns();
	uint8_t *data = pattern(4096, 1);
	const struct blkship_desc *d;

	ASSERT_EQ(4096, pwrite(fd, data, 4096, 8192));
	EXPECT_EQ(base + 1, ring_newest(&ring));
	EXPECT_TRUE(ring_settle(&ring));
	d = ring_find(&ring, base + 1);
	ASSERT_NE(NULL, d);
	EXPECT_EQ(BLKSHIP_OP_WRITE, d->op);
	EXPECT_EQ(8192, d->offset_bytes);
	EXPECT_EQ(4096, d->length_bytes);
	EXPECT_EQ(0, d->volume);
	EXPECT_EQ(BLKSHIP_STATE_DONE, d->state);
	EXPECT_TRUE(payload_is(d, data));
	EXPECT_GE(d->time_ns, before);
	EXPECT_LE(d->time_ns, wall_ns());
	free(data);
}

TEST_F(volume, writes_of_all_sizes_are_captured_whole)
{
	static const struct { uint64_t at; size_t bytes; } cases[] = {
		{ 512, 512 }, { 1536, 12800 }, { 1 << 20, 1 << 20 },
		{ (2 << 20) - 4096, 8192 }, { 3 << 20, 3 << 20 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t base = ring_newest(&ring);
		uint8_t *data = pattern(cases[i].bytes, 100 + i);

		EXPECT_EQ((ssize_t)cases[i].bytes,
			  pwrite(fd, data, cases[i].bytes, cases[i].at));
		EXPECT_TRUE(ring_settle(&ring));
		EXPECT_TRUE(covers(base, cases[i].at, data, cases[i].bytes))
			TH_LOG("%zu bytes at %llu", cases[i].bytes,
			       (unsigned long long)cases[i].at);
		ring_release_all(&ring);
		free(data);
	}
}

/* An ioctl on a range, which has to give descriptors of one kind. */
FIXTURE(range) {
};

FIXTURE_VARIANT(range) {
	unsigned long request;
	unsigned int op;
};

FIXTURE_VARIANT_ADD(range, write_zeroes) {
	.request = BLKZEROOUT, .op = BLKSHIP_OP_ZERO,
};

FIXTURE_VARIANT_ADD(range, discard) {
	.request = BLKDISCARD, .op = BLKSHIP_OP_DISCARD,
};

FIXTURE_VARIANT_ADD(range, secure_erase) {
	.request = BLKSECDISCARD, .op = BLKSHIP_OP_DISCARD,
};

FIXTURE_SETUP(range)
{
	volume_setup(_metadata, NULL, NULL);
}

FIXTURE_TEARDOWN(range)
{
	volume_teardown(_metadata, NULL, NULL);
}

TEST_F(range, is_captured)
{
	uint64_t range[2] = { 8 << 20, 6 << 20 }, seen = 0;
	uint64_t base = ring_newest(&ring);

	if (ioctl(fd, variant->request, range)) {
		ASSERT_EQ(EOPNOTSUPP, errno);
		SKIP(return, "not supported by the disk");
	}
	EXPECT_TRUE(ring_settle(&ring));
	for (uint64_t seq = base + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		ASSERT_NE(NULL, d);
		EXPECT_EQ(variant->op, d->op);
		EXPECT_EQ(0, d->crc32c);
		EXPECT_EQ(BLKSHIP_STATE_DONE, d->state);
		EXPECT_EQ(range[0] + seen, d->offset_bytes);
		seen += d->length_bytes;
	}
	EXPECT_EQ(range[1], seen);
}

TEST_F(volume, flush_is_noted)
{
	uint64_t base = ring_newest(&ring);
	const struct blkship_desc *d;

	ASSERT_EQ(0, fsync(fd));
	EXPECT_TRUE(ring_settle(&ring));
	d = ring_find(&ring, base + 1);
	ASSERT_NE(NULL, d);
	EXPECT_EQ(BLKSHIP_OP_FLUSH, d->op);
	EXPECT_EQ(0, d->length_bytes);
	EXPECT_EQ(BLKSHIP_STATE_DONE, d->state);
}

/* By FUA or a flush behind it. */
TEST_F(volume, synchronous_write_is_noted)
{
	uint64_t base = ring_newest(&ring);
	struct iovec iov = { pattern(4096, 5), 4096 };
	bool flushed = false;

	ASSERT_EQ(4096, pwritev2(fd, &iov, 1, 0, RWF_DSYNC));
	EXPECT_TRUE(ring_settle(&ring));
	for (uint64_t seq = base + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		flushed |= d && (d->op == BLKSHIP_OP_FLUSH ||
				 d->flags & BLKSHIP_DESC_FUA);
	}
	EXPECT_TRUE(flushed);
	EXPECT_EQ(1, nr_done(base, BLKSHIP_OP_WRITE));
	free(iov.iov_base);
}

TEST_F(volume, read_takes_no_seq)
{
	uint64_t base = ring_newest(&ring);
	void *data = pattern(4096, 0);

	EXPECT_EQ(4096, pread(fd, data, 4096, 8192));
	EXPECT_EQ(base, ring_newest(&ring));
	free(data);
}

/* It passes, or is refused and leaves nothing. */
TEST_F(volume, write_that_may_not_wait)
{
	uint64_t base = ring_newest(&ring);
	struct iovec iov = { pattern(4096, 6), 4096 };
	ssize_t done = pwritev2(fd, &iov, 1, 4096, RWF_NOWAIT);
	int error = errno;
	const struct blkship_desc *d;

	EXPECT_TRUE(ring_settle(&ring));
	d = ring_find(&ring, base + 1);
	if (done == 4096) {
		ASSERT_NE(NULL, d);
		EXPECT_EQ(BLKSHIP_STATE_DONE, d->state);
	} else {
		EXPECT_EQ(EAGAIN, error);
		EXPECT_TRUE(!d || d->state == BLKSHIP_STATE_ABORTED);
	}
	free(iov.iov_base);
}

/* Of many writers to two volumes, without a hole. */
TEST_F(volume, group_has_one_order)
{
	struct async *writes[16];
	uint64_t base, last_pos, nr, nr_done = 0;
	uint8_t *data = pattern(ARRAY_SIZE(writes) * 4096, 7);
	int fds[2] = { fd };

	volume_create("t1", OTHER_DISK, GROUP, "v1", 8);
	fds[1] = dm_open("t1");
	base = ring_newest(&ring);
	last_pos = ring_head(&ring);
	for (unsigned int round = 0; round < 20; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			writes[i] = async_write(fds[i % 2], data + i * 4096,
						4096,
						(round * 16 + i) * 4096ULL);
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++) {
			EXPECT_EQ(4096, async_wait(writes[i]));
		}
	}
	/* Each took one seq, or two if a later one ended before it was copied. */
	EXPECT_TRUE(ring_settle(&ring));
	nr = 320 + ring.kernel->renewed;
	EXPECT_EQ(base + nr, ring_newest(&ring));
	ASSERT_EQ(last_pos + nr, ring_head(&ring));
	for (uint64_t i = 0; i < nr; i++) {
		const struct blkship_desc *d = ring_desc(&ring, last_pos + i);
		uint64_t slot = d->offset_bytes / 4096 % 16;

		ASSERT_EQ(base + 1 + i, d->seq);
		ASSERT_EQ(slot % 2, d->volume);
		if (d->state == BLKSHIP_STATE_ABORTED)
			continue;
		nr_done++;
		ASSERT_TRUE(payload_is(d, data + slot * 4096));
	}
	EXPECT_EQ(320, nr_done);
	free(data);
	close(fds[1]);
	volume_remove("t1", GROUP, "v1");
}

TEST_HARNESS_MAIN
