// SPDX-License-Identifier: GPL-2.0-only
/*
 * The write-intent log: what is on the metadata device, and when. The device is read
 * behind the module's back, as a crash would leave it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "selftest.h"

/* docs/META.md */
#define BLOCK 4096u
#define FIRST_BLOCK 8u
#define BITS_AT 64u
#define STATE_AT 6u
#define WRITE_NO_AT 16u
#define LOG_NO_AT 16u
#define STATE_CLEAN 1u
#define STATE_LOGGED 2u
#define STATE_OFF 4u
#define MIB ((uint64_t)1 << 20)
#define REGIONS (DISK_SECTORS * 512 / MIB)

#define GROUP "met"
#define PARAMETERS "/sys/module/blkship/parameters/"
#define BACKING OTHER_DISK	/* of the metadata device */

static struct ring ring;
static int fd;

/* -- the device as it is -- */

static void backing_read(void *buf, size_t bytes, uint64_t at)
{
	int dev = open(BACKING, O_RDONLY | O_DIRECT);

	if (dev < 0 || pread(dev, buf, bytes, at) != (ssize_t)bytes)
		give_up("cannot read " BACKING);
	close(dev);
}

/* Change a byte of a block, which somebody else has open: not through its cache. */
static void backing_spoil(uint64_t at, unsigned int byte)
{
	static _Alignas(4096) uint8_t b[BLOCK];
	int dev = open(BACKING, O_RDWR | O_DIRECT);

	if (dev < 0 || pread(dev, b, BLOCK, at) != BLOCK)
		give_up("cannot read " BACKING);
	b[byte] ^= 0xff;
	if (pwrite(dev, b, BLOCK, at) != BLOCK)
		give_up("cannot write " BACKING);
	close(dev);
}

/* The newer superblock's state. */
static unsigned int state(void)
{
	static _Alignas(4096) uint8_t b[2 * BLOCK];
	uint64_t no[2];
	uint16_t states[2];

	backing_read(b, sizeof(b), 0);
	for (int i = 0; i < 2; i++) {
		memcpy(&no[i], b + i * BLOCK + WRITE_NO_AT, 8);
		memcpy(&states[i], b + i * BLOCK + STATE_AT, 2);
	}
	return states[no[1] > no[0]];
}

static const uint8_t *list_block(void)
{
	static _Alignas(4096) uint8_t b[BLOCK];

	backing_read(b, sizeof(b), FIRST_BLOCK * BLOCK);
	return b;
}

static bool listed(unsigned int region)
{
	return list_block()[BITS_AT + region / 8] >> region % 8 & 1;
}

static unsigned int nr_listed(void)
{
	const uint8_t *b = list_block();
	unsigned int nr = 0;

	for (unsigned int i = 0; i < REGIONS; i++)
		nr += b[BITS_AT + i / 8] >> i % 8 & 1;
	return nr;
}

static uint64_t log_no(void)
{
	uint64_t no;

	memcpy(&no, list_block() + LOG_NO_AT, 8);
	return no;
}

/* -- volumes -- */

static void set_parameter(const char *name, unsigned int value)
{
	sh("echo %u > " PARAMETERS "%s", value, name);
}

static void wipe(void)
{
	sh("dd if=/dev/zero of=" BACKING " bs=1M count=2 oflag=direct 2>/dev/null");
}

/* The metadata device: the backing disk behind a target that a test can change. */
static void meta_linear(void)
{
	dm_create("meta", "0 %llu linear " BACKING " 0", DISK_SECTORS);
}

static void meta_table(const char *verb, const char *table)
{
	sh("dmsetup suspend --noflush --nolockfs meta; dmsetup %s meta --table '%s'; dmsetup resume meta",
	   verb, table);
}

static void volume_begin(void)
{
	dm_create("t0", "0 %llu blkship " DISK " 0 " GROUP " v0 meta /dev/mapper/meta ring_mib 4",
		  DISK_SECTORS);
	ring_bind(&ring, GROUP);
	fd = dm_open("t0");
}

static void volume_end(void)
{
	close(fd);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
}

static void volume_info(struct blkship_volume_info *info)
{
	memset(info, 0, sizeof(*info));
	if (ioctl(ring.fd, BLKSHIP_IOC_VOLUME, info))
		give_up("cannot ask for the volume: %s", strerror(errno));
}

/* The target has everything, in this incarnation. */
static void all_durable(uint32_t incarnation, uint64_t ordinal)
{
	struct blkship_incarnation inc = { .incarnation = incarnation };

	ring.consumer->durable_ordinal = ordinal;
	ring_clean(&ring, 0);
	ring_settle(&ring);
	ring_release_all(&ring);
	if (incarnation && ioctl(ring.fd, BLKSHIP_IOC_INCARNATION, &inc))
		give_up("cannot set the incarnation");
}

static bool is_empty(void *arg)
{
	(void)arg;
	return nr_listed() == 0;
}

static void write_at(const void *data, unsigned int region)
{
	if (pwrite(fd, data, 4096, region * MIB) != 4096)
		give_up("a write failed: %s", strerror(errno));
}

/* Wait until everything that may has left the list. */
static bool list_empties(void)
{
	return wait_until(is_empty, NULL);
}

static bool is_off(void *arg)
{
	(void)arg;
	return state() == STATE_OFF;
}

/* -- tests -- */

static void test_refused(void)
{
	sh("printf something | dd of=" BACKING " bs=512 seek=9 conv=notrunc 2>/dev/null");
	meta_linear();
	check(sh("dmsetup create t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta /dev/mapper/meta' 2>/dev/null",
		 DISK_SECTORS) != 0,
	      "a device that holds something else is refused");
	check(!strcmp(sh_line("dd if=" BACKING " bs=512 skip=9 count=1 2>/dev/null | head -c 9"),
		      "something"), "and left alone");
	wipe();
	check(sh("dmsetup create t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta " DISK "' 2>/dev/null",
		 DISK_SECTORS) != 0, "so is the disk itself");
	dm_remove("meta");
	dm_create("meta", "0 64 linear " BACKING " 0");
	check(sh("dmsetup create t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta /dev/mapper/meta' 2>/dev/null",
		 DISK_SECTORS) != 0, "and one that is too small");
	dm_remove("meta");
}

static void test_list_before_write(void)
{
	void *data = pattern(8192, 1), *got = pattern(4096, 0);
	struct async *a;
	uint64_t no;
	int raw;

	wipe();
	meta_linear();
	volume_begin();
	check(nr_listed() == REGIONS && state() == STATE_LOGGED,
	      "with nothing known everything is listed");
	dm_create("linear", "0 8192 linear " DISK " 0");
	check(sh("dmsetup create t1 --table '0 8192 blkship /dev/mapper/linear 0 " GROUP " v1 meta /dev/mapper/meta' 2>/dev/null"),
	      "a list serves one volume");
	dm_remove("linear");
	check(pwrite(fd, data, 4096, 0) == 4096, "writes go");
	all_durable(1, 1);
	check(list_empties(), "what is durable at the target leaves the list");

	meta_table("load", "0 131072 delay " BACKING " 0 0 " BACKING " 0 500");
	raw = open(DISK, O_RDONLY | O_DIRECT);
	a = async_write(fd, data, 4096, 5 * MIB);
	sleep_ms(200);
	check(!async_ended(a) && pread(raw, got, 4096, 5 * MIB) == 4096 &&
	      memcmp(got, data, 4096), "a cold write waits and is not on the disk");
	check(ring_newest(&ring) > ring_watermark(&ring), "it has its seq already");
	check(async_wait(a) == 4096 && listed(5), "it goes once it is listed");
	check(nr_listed() == 1, "alone");
	no = log_no();
	a = async_write(fd, data, 4096, 5 * MIB + 65536);
	sleep_ms(150);
	check(async_ended(a), "a hot one does not wait");
	async_wait(a);
	check(log_no() == no, "and writes nothing there");
	a = async_write(fd, data, 8192, 8 * MIB - 4096);
	check(async_wait(a) == 8192 && listed(7) && listed(8),
	      "one on a border lists both sides");
	meta_table("load", "0 131072 linear " BACKING " 0");
	close(raw);
	free(data);
	free(got);
	volume_end();
	check(state() == STATE_CLEAN, "detached, the list is closed");
	dm_remove("meta");
}

/* Released is not enough, nor is clean. */
static void test_delisting(void)
{
	struct blkship_mark mark = { .offset_bytes = 9 * MIB, .length_bytes = 512 };
	void *data = pattern(4096, 2);

	wipe();
	meta_linear();
	volume_begin();
	all_durable(1, 1);
	list_empties();
	write_at(data, 3);
	sleep_ms(2500);
	check(listed(3), "what is not released stays listed");
	check(!ioctl(ring.fd, BLKSHIP_IOC_MARK, &mark) && listed(9),
	      "a mark is listed when it returns");
	ring_settle(&ring);
	ring_release_all(&ring);
	sleep_ms(2500);
	check(!listed(3) && listed(9), "released, it leaves; what is dirty does not");
	ring_clean(&ring, 0);
	check(list_empties(), "clean and released, it does");
	write_at(data, 3);
	check(listed(3), "and comes back with the next write");
	free(data);
	volume_end();
	dm_remove("meta");
}

static void test_uncaptured(void)
{
	size_t bytes = 1 << 20;
	void *data = pattern(bytes, 3);
	bool good = true;

	wipe();
	meta_linear();
	volume_begin();
	all_durable(1, 1);
	list_empties();
	for (unsigned int i = 0; i < 12; i++)	/* of 4 MiB */
		good &= pwrite(fd, data, bytes, i * MIB) == (ssize_t)bytes;
	check(good && ring.kernel->uncaptured > 0, "the ring is full");
	check(nr_listed() == 12, "what is not captured is listed all the same");
	all_durable(1, 2);
	check(list_empties(), "and leaves when it was repaired");
	free(data);
	volume_end();
	dm_remove("meta");
}

static void test_failure(void)
{
	int events = netlink_listen();
	void *data = pattern(4096, 4);
	struct blkship_volume_info info;
	struct async *a;

	wipe();
	meta_linear();
	volume_begin();
	all_durable(1, 1);
	list_empties();
	volume_info(&info);
	check(info.log_no && (info.flags & (BLKSHIP_VOLUME_META | BLKSHIP_VOLUME_META_OFF)) ==
	      BLKSHIP_VOLUME_META, "the log is on");
	meta_table("load", "0 131072 error");
	check(pwrite(fd, data, 4096, 2 * MIB) == 4096,
	      "a metadata device that fails does not fail the write");
	check(netlink_expect(events, BLKSHIP_EVENT_META_OFF, "v0"), "an event says so");
	volume_info(&info);
	check(!info.log_no && info.flags & BLKSHIP_VOLUME_META_OFF, "and a flag");
	check(strstr(sh_line("dmsetup status t0"), "listed off"), "and the status");
	check(pwrite(fd, data, 4096, 4 * MIB) == 4096, "writes go on");
	meta_table("load", "0 131072 linear " BACKING " 0");
	check(wait_until(is_off, NULL), "the device says so as soon as it can");
	volume_end();

	/* The next one is all dirty, and logs again. */
	volume_begin();
	volume_info(&info);
	check(info.dirty_regions == DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES &&
	      !info.kept_incarnation && state() == STATE_LOGGED,
	      "then everything is read back, with a new list");

	/* A device that hangs is given up. */
	all_durable(1, 3);
	list_empties();
	set_parameter("meta_timeout_s", 1);
	sh("dmsetup suspend --noflush --nolockfs meta");
	a = async_write(fd, data, 4096, 6 * MIB);
	sleep_ms(300);
	check(!async_ended(a), "one that hangs holds a write");
	check(async_wait(a) == 4096, "but not for long");
	check(netlink_expect(events, BLKSHIP_EVENT_META_OFF, "v0"), "with an event");
	sh("dmsetup resume meta");
	check(wait_until(is_off, NULL), "and is off");
	set_parameter("meta_timeout_s", 10);
	volume_end();
	close(events);
	free(data);
	dm_remove("meta");
}

static void test_reload(void)
{
	void *data = pattern(4096, 5);
	struct blkship_volume_info info;

	wipe();
	meta_linear();
	volume_begin();
	all_durable(1, 1);
	list_empties();
	write_at(data, 11);
	sh("dmsetup suspend t0");
	check(listed(11) && nr_listed() == 1, "suspended, the list is on the device");
	sh("dmsetup load t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta /dev/mapper/meta' && dmsetup resume t0",
	   DISK_SECTORS);
	check(nr_listed() == 1 && listed(11) && state() == STATE_LOGGED,
	      "a table that is loaded anew keeps it");
	volume_info(&info);
	check(!info.dirty_regions && info.log_no, "nothing is dirty, the log is on");
	write_at(data, 13);
	check(listed(13), "and goes on");
	/* Without one, nobody lists any more. */
	sh("dmsetup load t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0' && dmsetup resume t0",
	   DISK_SECTORS);
	check(state() == STATE_OFF, "a table without it turns it off");
	volume_info(&info);
	check(!info.log_no && !(info.flags & BLKSHIP_VOLUME_META), "for the volume too");
	volume_end();
	free(data);
	dm_remove("meta");
}

/* Attach again; how many regions are dirty, and what was kept. */
static void again(struct blkship_volume_info *info)
{
	volume_begin();
	volume_info(info);
}

static void test_kept(void)
{
	unsigned int per_mib = MIB / BLKSHIP_REGION_BYTES;
	unsigned int all = DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES;
	struct blkship_settle settle = { .fits = 1 };
	struct blkship_volume_info info;
	uint8_t instance[16];
	void *data = pattern(4096, 6);

	wipe();
	meta_linear();
	volume_begin();
	memcpy(instance, ring.kernel->instance, 16);
	all_durable(7, 70);
	list_empties();
	write_at(data, 20);
	volume_end();

	again(&info);
	check(info.dirty_regions == per_mib && ring_marked(&ring, 0, BLKSHIP_MAP_DIRTY,
							   20 * per_mib, per_mib) == per_mib,
	      "attached again, only what was listed is dirty");
	check(info.kept_incarnation == 7 && info.kept_ordinal == 70 && info.kept_log_no &&
	      !memcmp(info.kept_instance, instance, 16) && ring_newest(&ring) == 1,
	      "and what it compares with is told");
	settle.kept_log_no = info.kept_log_no + 1;
	check(ioctl(ring.fd, BLKSHIP_IOC_SETTLE, &settle) && errno == ESTALE,
	      "an answer for another list is refused");
	settle.kept_log_no--;
	check(!ioctl(ring.fd, BLKSHIP_IOC_SETTLE, &settle), "the target's answer is taken");
	volume_info(&info);
	check(!info.kept_incarnation && info.dirty_regions == per_mib, "it fits: nothing more");
	volume_end();

	again(&info);	/* detached before the incarnation was set: compares with the same */
	check(info.kept_incarnation == 7 && info.dirty_regions == per_mib,
	      "not granted, the old basis stays");
	settle.fits = 0;
	settle.kept_log_no = info.kept_log_no;
	check(!ioctl(ring.fd, BLKSHIP_IOC_SETTLE, &settle) && nr_listed() == REGIONS,
	      "it does not fit: all is listed when the call returns");
	volume_info(&info);
	check(info.dirty_regions == all, "and dirty");
	all_durable(8, 80);
	list_empties();
	memcpy(instance, ring.kernel->instance, 16);
	volume_end();

	again(&info);
	check(!info.dirty_regions && info.kept_incarnation == 8 &&
	      !memcmp(info.kept_instance, instance, 16), "a new basis, and nothing to read back");
	volume_end();

	/* Somebody else writes to the disk. */
	sh("echo x | dd of=" DISK " bs=512 seek=2 conv=notrunc 2>/dev/null");
	again(&info);
	check(info.dirty_regions == all && !info.kept_incarnation,
	      "a disk that changed meanwhile is read back as a whole");
	all_durable(9, 90);
	list_empties();
	volume_end();
	backing_spoil(FIRST_BLOCK * BLOCK, 100);
	again(&info);
	check(info.dirty_regions == all && info.kept_incarnation == 9,
	      "a block of the list that is damaged lists all its regions");
	volume_end();
	backing_spoil(0, 0);
	backing_spoil(BLOCK, 0);
	check(sh("dmsetup create t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0 meta /dev/mapper/meta' 2>/dev/null",
		 DISK_SECTORS) != 0, "without a superblock it is nobody's");
	dm_remove("meta");
	free(data);
}

int main(void)
{
	set_parameter("meta_period_s", 1);
	test_refused();
	test_list_before_write();
	test_delisting();
	test_uncaptured();
	test_failure();
	test_reload();
	test_kept();
	set_parameter("meta_period_s", 30);
	wipe();
	return finish();
}
