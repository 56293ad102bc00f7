// SPDX-License-Identifier: GPL-2.0-only
/*
 * The whole contract at once: writers that overlap at random, a ring too small
 * for them, a consumer that stalls, repairs and drains into a copy of the disk.
 * At rest, whatever is not dirty is the same in the copy and on the disk.
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
#include "selftest.h"

#define GROUP "rep"
#define AREA_BYTES (4U << 20)	/* small, so that writes meet */
#define AREA_REGIONS (AREA_BYTES / BLKSHIP_REGION_BYTES)
#define NR_WRITERS 6
#define SECONDS 6
#define MAX_WRITE_BYTES 65536U

/* How the writes are seen, and where the writers write. */
struct front {
	const char *name;
	const char *device;
	void (*attach)(void);
	void (*detach)(void);
};

static struct ring ring;
static const struct front *front;
static uint8_t *copy;
static int disk_fd;		/* below the volume, as read-back has it */
static atomic_bool stop;

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

static void *writer(void *arg)
{
	uint32_t state = (uintptr_t)arg * 7919 + 1;
	int fd = open(front->device, O_RDWR | O_DIRECT);
	uint8_t *data = pattern(MAX_WRITE_BYTES, state);

	while (!atomic_load(&stop)) {
		uint64_t bytes = (next_random(&state) % 4 ? 4096 :
				  next_random(&state) % MAX_WRITE_BYTES) / 512 * 512;
		uint64_t range[2] = { 0, bytes ? bytes : 512 };

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

static void run(struct state *s)
{
	pthread_t threads[NR_WRITERS];
	time_t until = time(NULL) + SECONDS;
	uint32_t state = 99;

	atomic_store(&stop, false);
	for (uintptr_t i = 0; i < NR_WRITERS; i++)
		if (pthread_create(&threads[i], NULL, writer, (void *)(i + 1)))
			give_up("no thread");
	while (time(NULL) < until) {
		drain(s);
		if (next_random(&state) % 50 == 0)
			sleep_ms(250);	/* now the ring overflows */
		if (next_random(&state) % 4 == 0)
			repair(s, 1 + next_random(&state) % 16);
	}
	atomic_store(&stop, true);
	for (unsigned int i = 0; i < NR_WRITERS; i++)
		pthread_join(threads[i], NULL);
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

static void attach_dm(void)
{
	volume_create("t0", "/dev/mapper/low", GROUP, "v0", 1);
}

static void detach_dm(void)
{
	volume_remove("t0", GROUP, "v0");
}

static void attach_tap(void)
{
	tap_create(front->device, GROUP, "v0", 1);
}

static void detach_tap(void)
{
	tap_remove(GROUP, "v0");
}

static const struct front dm = {
	"dm", "/dev/mapper/t0", attach_dm, detach_dm
}, tap = {
	"tap", DISK, attach_tap, detach_tap
}, tap_on_dm = {
	"tap on a dm device", "/dev/mapper/low", attach_tap, detach_tap
};

static void test(const char *name, const struct front *f)
{
	struct state s = { 0 };

	front = f;
	front->attach();
	ring_bind(&ring, GROUP);
	disk_fd = open(DISK, O_RDONLY | O_DIRECT);
	repair(&s, AREA_REGIONS);
	run(&s);
	printf("# %s, %s: %u applied, %u skipped, %u regions repaired; %llu not captured, %llu failed, %llu overlaps, %llu overflows\n",
	       front->name, name, s.applied, s.skipped, s.repaired,
	       (unsigned long long)ring.kernel->uncaptured,
	       (unsigned long long)ring.kernel->failed,
	       (unsigned long long)ring.kernel->overlaps,
	       (unsigned long long)ring.kernel->overflows);
	check(s.bad == 0, "%s, %s: every record is sound and in order",
	      front->name, name);
	check(s.applied && s.repaired && ring.kernel->overlaps,
	      "%s, %s: there were repairs and overlaps", front->name, name);
	check(differences() == 0, "%s, %s: what is not dirty is right",
	      front->name, name);
	repair(&s, AREA_REGIONS);
	check(differences() == 0 &&
	      ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY, 0, AREA_REGIONS) == 0,
	      "%s, %s: repaired, everything is", front->name, name);
	close(disk_fd);
	ring_unbind(&ring);
	front->detach();
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
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

int main(void)
{
	copy = pattern(AREA_BYTES, 0);
	test("plain disk", &tap);
	dm_create("low", "0 %llu linear " DISK " 0", DISK_SECTORS);
	test("plain disk", &dm);
	test("plain disk", &tap_on_dm);
	dm_remove("low");
	dm_create("low", "0 %llu delay " DISK " 0 0 " DISK " 0 5", DISK_SECTORS);
	test("slow disk", &dm);
	test("slow disk", &tap_on_dm);
	dm_remove("low");
	create_torn_disk();
	test("failing disk", &dm);
	test("failing disk", &tap_on_dm);
	dm_remove("low");
	free(copy);
	return finish();
}
