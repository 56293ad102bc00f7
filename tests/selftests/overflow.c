// SPDX-License-Identifier: GPL-2.0-only
/* A full ring makes gaps and dirty regions, never a failed or delayed write. */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "selftest.h"

#define GROUP "ovf"
#define WRITE_BYTES 65536U	/* one region */
#define RING_WRITES 16U		/* fit a ring of 1 MiB */

static struct ring ring;
static int fd, events;

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

static void test_overflow(void)
{
	uint64_t base = ring_newest(&ring);
	double start = now_s();
	void *data, *want = pattern(WRITE_BYTES, 1);
	bool gaps = true;

	check(write_regions(0, RING_WRITES + 8, 1),
	      "no write fails when the ring is full");
	check(now_s() - start < 5, "and none waits");
	check(ring.kernel->captured == RING_WRITES &&
	      ring.kernel->uncaptured == 8 && ring.kernel->overflows == 1,
	      "what does not fit is counted as not captured");
	/* Each takes one seq at submission and one at completion. */
	check(ring_newest(&ring) == base + RING_WRITES + 16,
	      "each write took its seqs");
	for (uint64_t seq = base + RING_WRITES + 1; seq <= ring_newest(&ring);
	     seq++)
		gaps &= !ring_find(&ring, seq);
	check(gaps, "which are gaps in the ring");
	check(dirty(0, RING_WRITES) == 0, "what was captured is not dirty");
	check(dirty(RING_WRITES, 8) == 8 && dirty(RING_WRITES + 8, 8) == 0,
	      "what was not is dirty, and no more than that");
	check(netlink_expect(events, BLKSHIP_EVENT_OVERFLOW, NULL),
	      "an event tells of the overflow");
	data = pattern(WRITE_BYTES, 0);
	check(pread(fd, data, WRITE_BYTES, (RING_WRITES + 3) * WRITE_BYTES) ==
	      WRITE_BYTES && !memcmp(data, want, WRITE_BYTES),
	      "the data is on the disk");
	free(data);
	free(want);
}

static void release(uint64_t pos)
{
	__atomic_store_n(&ring.consumer->released_pos, pos, __ATOMIC_RELEASE);
}

static void test_resume(void)
{
	uint64_t captured = ring.kernel->captured;

	release(RING_WRITES / 4);
	check(write_regions(32, 1, 2) && ring.kernel->captured == captured,
	      "a quarter free: capture does not resume");
	check(dirty(32, 1) == 1, "and the write is dirty");
	release(RING_WRITES / 2);
	check(write_regions(33, 1, 3) && ring.kernel->captured == captured + 1,
	      "half free: capture resumes");
	check(dirty(33, 1) == 0 && ring.kernel->overflows == 1,
	      "and the write is not dirty");
}

static void test_nonsense(void)
{
	static const struct { int64_t from_head; const char *what; } cases[] = {
		{ 1, "beyond the head" }, { 1 << 20, "far beyond the head" },
		{ INT64_MIN, "enormous" }, { -1000000, "wrapped below zero" },
	};
	uint64_t tail = ring.kernel->desc_tail;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t rejected = ring.kernel->rejected_positions;

		release(ring_head(&ring) + (uint64_t)cases[i].from_head);
		write_regions(40 + i, 1, i);
		check(ring.kernel->desc_tail == tail &&
		      ring.kernel->rejected_positions > rejected,
		      "a released position %s is rejected", cases[i].what);
	}
	release(tail - 1);
	write_regions(50, 1, 1);
	check(ring.kernel->desc_tail == tail, "and one that goes backwards");
	release(tail + 1);
	write_regions(51, 1, 1);
	check(ring.kernel->desc_tail == tail + 1,
	      "a sensible one is followed afterwards");
}

/* Small writes: the descriptors, and with them the entries in flight, end first. */
static void test_descriptors_used_up(void)
{
	unsigned int writes = ring.kernel->desc_count + 8, good = 0;
	uint64_t captured, uncaptured;
	void *data = pattern(512, 5);

	ring_release_all(&ring);
	write_regions(60, 1, 1);
	ring_release_all(&ring);
	captured = ring.kernel->captured;
	uncaptured = ring.kernel->uncaptured;
	for (unsigned int i = 0; i < writes; i++)
		good += pwrite(fd, data, 512, 8 << 20) == 512;
	captured = ring.kernel->captured - captured;
	uncaptured = ring.kernel->uncaptured - uncaptured;
	check(good == writes && ring_settle(&ring),
	      "no write fails when descriptors are used up");
	check(captured < writes && captured >= ring.kernel->desc_count * 3 / 4 &&
	      captured + uncaptured == writes &&
	      ring.kernel->payload_head - ring.kernel->payload_tail <
	      ring.kernel->payload_bytes,
	      "what finds none is not captured, with payload left");
	check(dirty(128, 1) == 1 && dirty(129, 8) == 0, "and is dirty");
	free(data);
}

int main(void)
{
	volume_create("t0", DISK, GROUP, "v0", 1);
	events = netlink_listen();
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	fd = dm_open("t0");
	test_overflow();
	test_resume();
	test_nonsense();
	test_descriptors_used_up();
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
	return finish();
}
