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

static void test_attach(void)
{
	struct blkship_volume_info info = { .volume = 0 };

	check(ring.kernel->magic == BLKSHIP_RING_MAGIC &&
	      ring.kernel->abi_version == BLKSHIP_ABI_VERSION &&
	      ring.kernel->payload_bytes == 8 << 20, "the ring says what it is");
	check(!ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info) &&
	      !strcmp(info.name, "v0") &&
	      info.size_bytes == DISK_SECTORS * 512 && !info.flags,
	      "the volume is known by its index");
	check(info.dirty_regions == DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES,
	      "a new volume is dirty as a whole");
	check(ring_newest(&ring) == 1 && ring.kernel->marks == 1 &&
	      ring_head(&ring) == 0, "which took a seq, seen as a gap");
	info.volume = 1;
	check(ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info) && errno == ENOENT,
	      "no volume at another index");
}

static void test_one_write(void)
{
	uint64_t base = ring_newest(&ring), before = wall_ns();
	void *data = pattern(4096, 1);
	const struct blkship_desc *d;

	check(pwrite(fd, data, 4096, 8192) == 4096, "a write succeeds");
	check(ring_newest(&ring) == base + 1 && ring_settle(&ring),
	      "it took one seq and ended");
	d = ring_find(&ring, base + 1);
	check(d && d->op == BLKSHIP_OP_WRITE && d->offset_bytes == 8192 &&
	      d->length_bytes == 4096 && d->volume == 0 &&
	      d->state == BLKSHIP_STATE_DONE, "its descriptor is right");
	check(d && payload_is(d, data), "payload and CRC are right");
	check(d && d->time_ns >= before && d->time_ns <= wall_ns(),
	      "its time is that of the write");
	free(data);
}

static void test_sizes(void)
{
	static const struct { uint64_t at; size_t bytes; } cases[] = {
		{ 512, 512 }, { 1536, 12800 }, { 1 << 20, 1 << 20 },
		{ (2 << 20) - 4096, 8192 }, { 3 << 20, 3 << 20 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t base = ring_newest(&ring);
		uint8_t *data = pattern(cases[i].bytes, 100 + i);
		ssize_t done = pwrite(fd, data, cases[i].bytes, cases[i].at);

		ring_settle(&ring);
		check(done == (ssize_t)cases[i].bytes &&
		      covers(base, cases[i].at, data, cases[i].bytes),
		      "%zu bytes at %llu are captured whole", cases[i].bytes,
		      (unsigned long long)cases[i].at);
		ring_release_all(&ring);
		free(data);
	}
}

/* An ioctl on a range, which has to give descriptors of one kind. */
static void test_range_op(unsigned long request, unsigned int op,
			  const char *what)
{
	uint64_t range[2] = { 8 << 20, 6 << 20 }, seen = 0;
	uint64_t base = ring_newest(&ring);
	bool good = true;

	if (ioctl(fd, request, range)) {
		if (errno == EOPNOTSUPP)
			skip(what, "not supported by the disk");
		else
			check(false, "%s: %s", what, strerror(errno));
		return;
	}
	ring_settle(&ring);
	for (uint64_t seq = base + 1; seq <= ring_newest(&ring); seq++) {
		const struct blkship_desc *d = ring_find(&ring, seq);

		good &= d && d->op == op && d->crc32c == 0 &&
			d->state == BLKSHIP_STATE_DONE &&
			d->offset_bytes == range[0] + seen;
		seen += d ? d->length_bytes : 0;
	}
	check(good && seen == range[1], "%s", what);
}

static void test_flush(void)
{
	uint64_t base = ring_newest(&ring);
	const struct blkship_desc *d;
	struct iovec iov = { pattern(4096, 5), 4096 };
	bool flushed = false;

	check(!fsync(fd), "fsync succeeds");
	ring_settle(&ring);
	d = ring_find(&ring, base + 1);
	check(d && d->op == BLKSHIP_OP_FLUSH && d->length_bytes == 0 &&
	      d->state == BLKSHIP_STATE_DONE, "a flush is noted");

	base = ring_newest(&ring);
	check(pwritev2(fd, &iov, 1, 0, RWF_DSYNC) == 4096,
	      "a synchronous write succeeds");
	ring_settle(&ring);
	for (uint64_t seq = base + 1; seq <= ring_newest(&ring); seq++) {
		d = ring_find(&ring, seq);
		flushed |= d && (d->op == BLKSHIP_OP_FLUSH ||
				 d->flags & BLKSHIP_DESC_FUA);
	}
	check(flushed, "it is noted by FUA or a flush behind it");
	free(iov.iov_base);
}

static void test_read(void)
{
	uint64_t base = ring_newest(&ring);
	void *data = pattern(4096, 0);

	check(pread(fd, data, 4096, 8192) == 4096 &&
	      ring_newest(&ring) == base, "a read takes no seq");
	free(data);
}

static void test_nowait(void)
{
	uint64_t base = ring_newest(&ring);
	struct iovec iov = { pattern(4096, 6), 4096 };
	ssize_t done = pwritev2(fd, &iov, 1, 4096, RWF_NOWAIT);
	const struct blkship_desc *d;

	ring_settle(&ring);
	d = ring_find(&ring, base + 1);
	if (done == 4096)
		check(d && d->state == BLKSHIP_STATE_DONE,
		      "a write that may not wait passes");
	else
		check(errno == EAGAIN && (!d || d->state == BLKSHIP_STATE_ABORTED),
		      "a write that may not wait is aborted: %s",
		      strerror(errno));
	free(iov.iov_base);
}

/* Two volumes, many writers: one order, without a hole. */
static void test_order(void)
{
	struct async *writes[16];
	int fds[2] = { fd, dm_open("t1") };
	uint64_t base = ring_newest(&ring), last_pos = ring_head(&ring);
	uint8_t *data = pattern(ARRAY_SIZE(writes) * 4096, 7);
	bool good = true;

	for (unsigned int round = 0; round < 20; round++) {
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			writes[i] = async_write(fds[i % 2], data + i * 4096,
						4096,
						(round * 16 + i) * 4096ULL);
		for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
			good &= async_wait(writes[i]) == 4096;
	}
	check(good, "writes of many threads to two volumes succeed");
	check(ring_settle(&ring) && ring_newest(&ring) == base + 320,
	      "each took one seq");
	good = ring_head(&ring) == last_pos + 320;
	for (uint64_t i = 0; good && i < 320; i++) {
		const struct blkship_desc *d = ring_desc(&ring, last_pos + i);
		uint64_t slot = d->offset_bytes / 4096 % 16;

		good = d->seq == base + 1 + i && d->volume == slot % 2 &&
		       payload_is(d, data + slot * 4096);
	}
	check(good, "the ring has them in order of seq, without a hole");
	free(data);
	close(fds[1]);
}

int main(void)
{
	volume_create("t0", DISK, GROUP, "v0", 8);
	ring_bind(&ring, GROUP);
	test_attach();
	fd = dm_open("t0");
	test_one_write();
	test_sizes();
	test_range_op(BLKZEROOUT, BLKSHIP_OP_ZERO, "write zeroes is captured");
	test_range_op(BLKDISCARD, BLKSHIP_OP_DISCARD, "discard is captured");
	test_range_op(BLKSECDISCARD, BLKSHIP_OP_DISCARD,
		      "secure erase is captured");
	test_flush();
	test_read();
	test_nowait();
	ring_release_all(&ring);
	volume_create("t1", OTHER_DISK, GROUP, "v1", 8);
	test_order();
	check(ring.kernel->uncaptured == 0 && ring.kernel->failed == 0 &&
	      ring.kernel->overlaps == 0, "nothing else was counted");
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	volume_remove("t1", GROUP, "v1");
	check(!netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL),
	      "the empty group can be deleted");
	return finish();
}
