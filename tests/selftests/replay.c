// SPDX-License-Identifier: GPL-2.0-only
/*
 * The whole contract at once: writers that overlap at random, a ring too small
 * for them, a consumer that stalls, repairs and drains into a copy of the disk.
 * At rest, whatever is not dirty is the same in the copy and on the disk. And the
 * same after each of many attaches to a disk that is written to all the time.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/crc32c.h"
#include "harness.h"
#include "selftest.h"

#define GROUP "rep"
#define AREA_BYTES (4U << 20)	/* small, so that writes meet */
#define AREA_REGIONS (AREA_BYTES / BLKSHIP_REGION_BYTES)
#define NR_WRITERS 6
#define SECONDS 6
#define ATTACHES 100
#define MAX_WRITE_BYTES 65536U

static struct ring ring;
static const char *device;	/* the writers write there */
static uint8_t *copy;
static int disk_fd;		/* below the volume, as read-back has it */
static atomic_bool stop, rest;
static atomic_uint nr_resting;

struct state {			/* of the consumer */
	uint64_t pos;
	uint64_t last_seq;
	unsigned int applied;
	unsigned int skipped;
	unsigned int bad;	/* records that cannot be */
	unsigned int repaired;
};

static uint32_t next_random(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	*state ^= *state << 5;
	return *state;
}

static void rest_if_asked(void)
{
	if (!atomic_load(&rest))
		return;
	atomic_fetch_add(&nr_resting, 1);
	while (atomic_load(&rest))
		sleep_ms(1);
	atomic_fetch_sub(&nr_resting, 1);
}

static void *writer(void *arg)
{
	uint32_t state = (uintptr_t)arg * 7919 + 1;
	int fd = open(device, O_RDWR | O_DIRECT);
	uint8_t *data = pattern(MAX_WRITE_BYTES, state);

	while (!atomic_load(&stop)) {
		uint64_t bytes = (next_random(&state) % 4 ? 4096 :
				  next_random(&state) % MAX_WRITE_BYTES) / 512 * 512;
		uint64_t range[2] = { 0, bytes ? bytes : 512 };

		rest_if_asked();
		range[0] = next_random(&state) % ((AREA_BYTES - range[1]) / 512) *
			   512;
		/* Errors are part of the test. */
		if (next_random(&state) % 16 == 0) {
			if (ioctl(fd, BLKZEROOUT, range) && errno != EIO)
				give_up("zeroing: %s", strerror(errno));
			continue;
		}
		memset(data, next_random(&state), range[1]);
		if (pwrite(fd, data, range[1], range[0]) < 0 && errno != EIO)
			give_up("writing: %s", strerror(errno));
	}
	close(fd);
	free(data);
	return NULL;
}

static void apply(struct state *s, const struct blkship_desc *d)
{
	const uint8_t *data = ring_payload(&ring, d);

	s->bad += d->seq <= s->last_seq || d->state == BLKSHIP_STATE_OPEN ||
		  d->offset_bytes + d->length_bytes > AREA_BYTES;
	s->last_seq = d->seq;
	if (d->state != BLKSHIP_STATE_DONE || d->op == BLKSHIP_OP_FLUSH ||
	    d->offset_bytes + d->length_bytes > AREA_BYTES) {
		s->skipped++;
		return;
	}
	s->applied++;
	if (d->op == BLKSHIP_OP_WRITE) {
		memcpy(copy + d->offset_bytes, data, d->length_bytes);
		s->bad += crc32c(data, d->length_bytes) != d->crc32c;
	} else {
		memset(copy + d->offset_bytes, 0, d->length_bytes);
	}
}

/* All records up to the present watermark; that is what it returns. */
static uint64_t drain(struct state *s)
{
	uint64_t watermark = ring_watermark(&ring), head = ring_head(&ring);

	for (; s->pos < head && ring_desc(&ring, s->pos)->seq <= watermark;
	     s->pos++)
		apply(s, ring_desc(&ring, s->pos));
	__atomic_store_n(&ring.consumer->released_pos, s->pos,
			 __ATOMIC_RELEASE);
	return watermark;
}

/*
 * Take over, wait for the watermark, read, go on. What the read-back has of
 * later writes comes again with their records.
 */
static void repair(struct state *s, unsigned int max_regions)
{
	uint64_t bits;
	struct blkship_take take = {
		.count = AREA_REGIONS,
		.max_regions = max_regions,
		.bitmap = (uintptr_t)&bits,
	};
	struct blkship_clear clear = {
		.count = AREA_REGIONS,
		.bitmap = (uintptr_t)&bits,
	};

	if (ioctl(ring.fd, BLKSHIP_IOC_TAKE, &take))
		give_up("TAKE: %s", strerror(errno));
	while (drain(s) < take.seq)
		sleep_ms(1);
	for (unsigned int i = 0; i < AREA_REGIONS; i++) {
		uint64_t at = (uint64_t)i * BLKSHIP_REGION_BYTES;

		if (bits >> i & 1 &&
		    pread(disk_fd, copy + at, BLKSHIP_REGION_BYTES, at) !=
		    BLKSHIP_REGION_BYTES)
			give_up("reading back: %s", strerror(errno));
	}
	if (ioctl(ring.fd, BLKSHIP_IOC_CLEAR, &clear))
		give_up("CLEAR: %s", strerror(errno));
	s->repaired += take.taken;
}

static void writers_begin(pthread_t *threads)
{
	atomic_store(&stop, false);
	for (uintptr_t i = 0; i < NR_WRITERS; i++)
		if (pthread_create(&threads[i], NULL, writer, (void *)(i + 1)))
			give_up("no thread");
}

static void writers_end(pthread_t *threads)
{
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < NR_WRITERS; i++)
		pthread_join(threads[i], NULL);
}

static bool all_rest(void *arg)
{
	(void)arg;
	return atomic_load(&nr_resting) == NR_WRITERS;
}

static void run(struct state *s)
{
	pthread_t threads[NR_WRITERS];
	time_t until = time(NULL) + SECONDS;
	uint32_t state = 99;

	writers_begin(threads);
	while (time(NULL) < until) {
		drain(s);
		if (next_random(&state) % 50 == 0)
			sleep_ms(250);	/* now the ring overflows */
		if (next_random(&state) % 4 == 0)
			repair(s, 1 + next_random(&state) % 16);
	}
	writers_end(threads);
	if (!ring_settle(&ring))
		give_up("the watermark does not reach the newest seq");
	drain(s);
}

/* Regions that differ though nothing says so. */
static unsigned int differences(void)
{
	uint8_t *now = pattern(AREA_BYTES, 0);
	unsigned int differ = 0;

	if (pread(disk_fd, now, AREA_BYTES, 0) != AREA_BYTES)
		give_up("reading: %s", strerror(errno));
	for (unsigned int i = 0; i < AREA_REGIONS; i++) {
		size_t at = (size_t)i * BLKSHIP_REGION_BYTES;

		differ += memcmp(copy + at, now + at, BLKSHIP_REGION_BYTES) &&
			  !ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, i, 1);
	}
	free(now);
	return differ;
}

/* Bad sectors here and there: of a write across one, only a part is written. */
static void create_torn_disk(void)
{
	FILE *table = popen("dmsetup create low", "w");
	unsigned int at;

	for (at = 0; table && at < AREA_BYTES / 512; at += 64)
		fprintf(table, "%u 60 linear " DISK " %u\n%u 4 error\n", at, at,
			at + 60);
	if (table)
		fprintf(table, "%u %llu linear " DISK " %u\n", at,
			DISK_SECTORS - at, at);
	if (!table || pclose(table) || sh("dmsetup mknodes"))
		give_up("cannot create a disk with bad sectors");
}

static void create_plain_disk(void)
{
	dm_create("low", "0 %llu linear " DISK " 0", DISK_SECTORS);
}

static void create_slow_disk(void)
{
	dm_create("low", "0 %llu delay " DISK " 0 0 " DISK " 0 5", DISK_SECTORS);
}

static void copy_begin(void)
{
	disk_fd = open(DISK, O_RDONLY | O_DIRECT);
	if (disk_fd < 0)
		give_up(DISK ": %s", strerror(errno));
	copy = pattern(AREA_BYTES, 0);
}

static void copy_end(void)
{
	free(copy);
	close(disk_fd);
}

/* How the writes are seen, and what disk they are for. */
FIXTURE(replay) {
};

FIXTURE_VARIANT(replay) {
	void (*create_disk)(void);	/* a dm device "low"; NULL: the disk itself */
	bool tap;			/* else the dm front end */
};

FIXTURE_VARIANT_ADD(replay, tap) {
	.tap = true,
};

FIXTURE_VARIANT_ADD(replay, dm) {
	.create_disk = create_plain_disk,
};

FIXTURE_VARIANT_ADD(replay, tap_on_dm) {
	.create_disk = create_plain_disk, .tap = true,
};

FIXTURE_VARIANT_ADD(replay, dm_slow_disk) {
	.create_disk = create_slow_disk,
};

FIXTURE_VARIANT_ADD(replay, tap_on_dm_slow_disk) {
	.create_disk = create_slow_disk, .tap = true,
};

FIXTURE_VARIANT_ADD(replay, dm_failing_disk) {
	.create_disk = create_torn_disk,
};

FIXTURE_VARIANT_ADD(replay, tap_on_dm_failing_disk) {
	.create_disk = create_torn_disk, .tap = true,
};

FIXTURE_SETUP(replay)
{
	const char *low = DISK;

	if (variant->create_disk) {
		variant->create_disk();
		low = "/dev/mapper/low";
	}
	if (variant->tap) {
		tap_create(low, GROUP, "v0", 1);
		device = low;
	} else {
		volume_create("t0", low, GROUP, "v0", 1);
		device = "/dev/mapper/t0";
	}
	ring_bind(&ring, GROUP);
	copy_begin();
}

FIXTURE_TEARDOWN(replay)
{
	copy_end();
	ring_unbind(&ring);
	if (variant->tap)
		tap_remove(GROUP, "v0");
	else
		volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	if (variant->create_disk)
		dm_remove("low");
}

TEST_F(replay, what_is_not_dirty_is_right)
{
	struct state s = { 0 };

	repair(&s, AREA_REGIONS);
	run(&s);
	TH_LOG("%u applied, %u skipped, %u regions repaired; %llu not captured, %llu failed, %llu overlaps, %llu overflows",
	       s.applied, s.skipped, s.repaired,
	       (unsigned long long)ring.kernel->uncaptured,
	       (unsigned long long)ring.kernel->failed,
	       (unsigned long long)ring.kernel->overlaps,
	       (unsigned long long)ring.kernel->overflows);
	/* Every record is sound and in order, and there were repairs and overlaps. */
	EXPECT_EQ(0, s.bad);
	EXPECT_NE(0, s.applied);
	EXPECT_NE(0, s.repaired);
	EXPECT_NE(0, ring.kernel->overlaps);
	EXPECT_EQ(0, differences());
	/* Repaired, everything is. */
	repair(&s, AREA_REGIONS);
	EXPECT_EQ(0, differences());
	EXPECT_EQ(0, ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, AREA_REGIONS));
}

/* The disk is attached while it is written to, again and again. */
FIXTURE(busy) {
};

FIXTURE_VARIANT(busy) {
	bool on_dm;
};

FIXTURE_VARIANT_ADD(busy, disk) {
	.on_dm = false,
};

FIXTURE_VARIANT_ADD(busy, dm) {
	.on_dm = true,
};

FIXTURE_SETUP(busy)
{
	if (variant->on_dm)
		create_plain_disk();
	device = variant->on_dm ? "/dev/mapper/low" : DISK;
	copy_begin();
}

FIXTURE_TEARDOWN(busy)
{
	copy_end();
	if (variant->on_dm)
		dm_remove("low");
}

TEST_F(busy, disk_attached_again_and_again_is_copied_right)
{
	pthread_t threads[NR_WRITERS];
	unsigned int differ = 0, bad = 0, applied = 0;

	/* There one takes seconds; test tap has some. */
	if (strstr(sh_line("uname -r"), "debug"))
		SKIP(return, "too slow here for as many");
	writers_begin(threads);
	for (unsigned int i = 0; i < ATTACHES; i++) {
		struct state s = { 0 };

		tap_create(device, GROUP, "v0", 1);
		ring_bind(&ring, GROUP);
		memset(copy, 0xa5, AREA_BYTES);
		repair(&s, AREA_REGIONS);
		drain(&s);
		atomic_store(&rest, true);
		EXPECT_TRUE(wait_until(all_rest, NULL));
		EXPECT_TRUE(ring_settle(&ring));
		drain(&s);
		differ += differences();
		/* What came in between was too much for the ring, or met. */
		repair(&s, AREA_REGIONS);
		differ += differences();
		differ += ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, AREA_REGIONS);
		bad += s.bad;
		applied += s.applied;
		atomic_store(&rest, false);
		ring_unbind(&ring);
		tap_remove(GROUP, "v0");
		EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	}
	writers_end(threads);
	EXPECT_EQ(0, differ);
	EXPECT_EQ(0, bad);
	EXPECT_NE(0, applied);
}

TEST_HARNESS_MAIN
