// SPDX-License-Identifier: GPL-2.0-only
/* Loading, attaching, reloading tables, detaching, losing, unloading. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "selftest.h"

#define GROUP "lif"
#define REGIONS (DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES)

static struct ring ring;
static int events;

static bool unload(void)
{
	return sh("rmmod blkship 2>/dev/null") == 0;
}

static bool load(const char *parameters)
{
	return sh("insmod /test/blkship.ko %s", parameters) == 0;
}

static struct blkship_volume_info volume_info(unsigned int index)
{
	struct blkship_volume_info info = { .volume = index };

	if (ioctl(ring.fd, BLKSHIP_IOC_VOLUME, &info))
		memset(&info, 0, sizeof(info));
	return info;
}

/* The index of a volume; BLKSHIP_MAX_VOLUMES when there is none of this name. */
static unsigned int index_of(const char *name)
{
	unsigned int i;

	for (i = 0; i < BLKSHIP_MAX_VOLUMES; i++)
		if (!strcmp(volume_info(i).name, name))
			break;
	return i;
}

static void forget_events(void)
{
	char buf[4096];

	while (recv(events, buf, sizeof(buf), MSG_DONTWAIT) > 0)
		;
}

static bool no_event(void)
{
	struct netlink_event event;

	/* A change that is told comes before the end of one that is. */
	netlink_command(BLKSHIP_CMD_GROUP_NEW, "marker", NULL);
	netlink_command(BLKSHIP_CMD_GROUP_DEL, "marker", NULL);
	return netlink_next(events, &event) &&
	       event.event == BLKSHIP_EVENT_GROUP_NEW &&
	       netlink_next(events, &event) &&
	       event.event == BLKSHIP_EVENT_GROUP_DEL;
}

static void test_reload(void)
{
	uint64_t newest;

	volume_create("t0", DISK, GROUP, "v0", 4);
	check(netlink_expect(events, BLKSHIP_EVENT_GROUP_NEW, NULL) &&
	      netlink_expect(events, BLKSHIP_EVENT_VOLUME_ADD, "v0"),
	      "events tell of a new group and volume");
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	check(!sh("dmsetup reload t0 --table '0 %llu blkship " DISK " 0 " GROUP " v0' && dmsetup resume t0",
		  DISK_SECTORS), "a table can be reloaded");
	check(ring_newest(&ring) == newest + 1 &&
	      volume_info(0).dirty_regions == 0 && volume_info(0).flags == 0,
	      "the volume keeps its state, and only the suspension took a seq");
	check(no_event(), "and nobody is alarmed");
	check(!sh("dmsetup reload t0 --table '0 %llu blkship " OTHER_DISK " 0 " GROUP " v0' && dmsetup resume t0",
		  DISK_SECTORS) && volume_info(0).dirty_regions == REGIONS &&
	      ring_newest(&ring) == newest + 3,
	      "on another disk everything is dirty");
}

/* What a pass of the consumer looks at: 0, or why it may not. */
static int dirty_map_error(void)
{
	uint64_t bits[REGIONS / 64];
	struct blkship_map_read read = {
		.which = BLKSHIP_MAP_DIRTY,
		.count = REGIONS,
		.bitmap = (uintptr_t)bits,
	};

	return ioctl(ring.fd, BLKSHIP_IOC_MAP_READ, &read) ? errno : 0;
}

/* Who resumes it may have loaded anything: until then the question is open. */
static void test_suspended(void)
{
	uint64_t newest;

	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	check(!sh("dmsetup suspend t0") && ring_newest(&ring) == newest + 1 &&
	      ring_settle(&ring) && !ring_find(&ring, newest + 1),
	      "a suspension is a gap in the stream");
	check(volume_info(0).flags == BLKSHIP_VOLUME_SUSPENDED &&
	      dirty_map_error() == EBUSY,
	      "that no pass can close while it lasts");
	check(!sh("dmsetup resume t0") && ring_newest(&ring) == newest + 1 &&
	      volume_info(0).flags == 0 && !dirty_map_error() &&
	      volume_info(0).dirty_regions == 0,
	      "resumed, an empty pass can: nothing was missed");
	check(no_event(), "and nobody is alarmed");
}

/* What comes into use after it was told to leave is told so anew or is missed. */
static void test_told_to_leave_early(void)
{
	dm_create("t1", "0 %llu blkship " OTHER_DISK " 0 " GROUP " early",
		  DISK_SECTORS);
	check(!sh("dmsetup load t1 --table '0 %llu blkship " OTHER_DISK " 0 " GROUP " early'",
		  DISK_SECTORS) &&
	      !netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "early") &&
	      !sh("dmsetup resume t1"),
	      "a volume told to leave is fed by its next table");
	forget_events();
	check(!sh("dmsetup load t1 --table '0 %llu linear " OTHER_DISK " 0' && dmsetup resume t1",
		  DISK_SECTORS) &&
	      netlink_expect(events, BLKSHIP_EVENT_VOLUME_LOST, "early"),
	      "whose end is an alarm");
	check(!netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "early") &&
	      index_of("early") == BLKSHIP_MAX_VOLUMES,
	      "and which can be told to leave after all");
	dm_remove("t1");
}

static void test_refused(void)
{
	check(sh("dmsetup create t1 --table '0 1024 blkship " DISK " 0 " GROUP " v0' 2>/dev/null"),
	      "a volume fed by another device is refused");
	check(sh("printf '0 1024 blkship " DISK " 0 " GROUP " w\\n1024 1024 blkship " DISK " 1024 " GROUP " w\\n' | dmsetup create t1 2>/dev/null"),
	      "so is one named twice in a table");
	check(sh("dmsetup create t1 --table '0 1024 blkship " DISK " 0 new v ring_mib 5000' 2>/dev/null") &&
	      sh("dmsetup create t1 --table '0 1024 blkship " DISK " 0 new v ring_mib 4096' 2>/dev/null") &&
	      sh("dmsetup create t1 --table '0 1024 blkship " DISK " 0 a/b v' 2>/dev/null") &&
	      sh("dmsetup create t1 --table '0 1024 blkship " DISK " x new v' 2>/dev/null") &&
	      sh("dmsetup create t1 --table '0 1024 blkship " DISK " 0 new' 2>/dev/null"),
	      "so are arguments that make no sense");
	check(netlink_command(BLKSHIP_CMD_GROUP_DEL, "new", NULL) == -ENOENT,
	      "and leave no group behind");
}

static void test_resize(void)
{
	struct blkship_volume_info info;
	unsigned int index;
	uint64_t newest;

	dm_create("t1", "0 %llu blkship " DISK " 0 " GROUP " grows",
		  DISK_SECTORS / 2 - 8);
	netlink_expect(events, BLKSHIP_EVENT_VOLUME_ADD, "grows");
	index = index_of("grows");
	info = volume_info(index);
	check(info.dirty_regions == REGIONS / 2, "a volume of half the disk");
	check(!sh("dmsetup reload t1 --table '0 %llu blkship " DISK " 0 " GROUP " grows' && dmsetup resume t1",
		  DISK_SECTORS) &&
	      netlink_expect(events, BLKSHIP_EVENT_RESIZE, "grows"),
	      "it can grow, and an event tells");
	info = volume_info(index);
	check(info.size_bytes == DISK_SECTORS * 512 &&
	      info.dirty_regions == REGIONS, "what is new is dirty");
	ring_clean(&ring, index);
	check(!sh("dmsetup reload t1 --table '0 %llu blkship " DISK " 0 " GROUP " grows' && dmsetup resume t1",
		  DISK_SECTORS / 2) &&
	      volume_info(index).size_bytes == DISK_SECTORS * 256 &&
	      volume_info(index).dirty_regions == 0, "it can shrink");
	check(!sh("dmsetup reload t1 --table '0 %llu blkship " DISK " 0 " GROUP " grows' && dmsetup resume t1",
		  DISK_SECTORS) &&
	      volume_info(index).dirty_regions == REGIONS / 2,
	      "what it loses and gets again is dirty");
	newest = ring_newest(&ring);
	volume_remove("t1", GROUP, "grows");
	check(netlink_expect(events, BLKSHIP_EVENT_VOLUME_DEL, "grows"),
	      "detached on purpose, an event tells");
	check(index_of("grows") == BLKSHIP_MAX_VOLUMES, "and it is gone");
	check(ring_newest(&ring) == newest + 2,
	      "with a seq, so that nobody takes it for a member still");
}

static void test_never_used(void)
{
	forget_events();
	check(!sh("dmsetup create t1 --notable && dmsetup load t1 --table '0 1024 blkship " DISK " 0 " GROUP " idle' && dmsetup clear t1 && dmsetup remove t1") &&
	      no_event(), "a table that is never used leaves no trace");
	check(!sh("dmsetup create t1 --notable && dmsetup load t1 --table '0 1024 blkship " DISK " 0 new idle' && dmsetup remove t1") &&
	      netlink_command(BLKSHIP_CMD_GROUP_DEL, "new", NULL) == -ENOENT,
	      "nor a group that was made for it");
}

static bool take_is_refused(void)
{
	uint64_t bits[REGIONS / 64];
	struct blkship_take take = {
		.count = REGIONS,
		.max_regions = REGIONS,
		.bitmap = (uintptr_t)bits,
	};

	return ioctl(ring.fd, BLKSHIP_IOC_TAKE, &take) && errno == EREMCHG;
}

static void test_lost(void)
{
	uint64_t newest;

	ring_clean(&ring, 0);
	newest = ring_newest(&ring);
	dm_remove("t0");	/* suspends it first */
	check(netlink_expect(events, BLKSHIP_EVENT_VOLUME_LOST, "v0"),
	      "removed without detach, the alarm is raised");
	check(volume_info(0).flags ==
	      (BLKSHIP_VOLUME_DIVERGED | BLKSHIP_VOLUME_DETACHED),
	      "and the volume is diverged");
	check(ring_newest(&ring) == newest + 2 && ring_settle(&ring) &&
	      !ring_find(&ring, newest + 2) &&
	      volume_info(0).dirty_regions == REGIONS,
	      "which is a gap in the stream, dirty as a whole");
	check(take_is_refused() && ring_newest(&ring) == newest + 2 &&
	      volume_info(0).repairing_regions == 0,
	      "that cannot be repaired from a disk that changes unseen");
	volume_create("t0", DISK, GROUP, "v0", 4);
	check(volume_info(0).flags == 0 &&
	      volume_info(0).dirty_regions == REGIONS &&
	      ring_newest(&ring) == newest + 3,
	      "fed again, it is dirty as a whole, with another seq");
	ring_clean(&ring, 0);
	check(volume_info(0).dirty_regions == 0, "and can be repaired");
}

static void test_unload_refused(void)
{
	check(!unload(), "unload is refused while a volume is attached");
	volume_remove("t0", GROUP, "v0");
	check(!unload(), "and while a consumer has the group");
	check(netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL) == -EBUSY,
	      "which cannot be deleted under it");
	ring_unbind(&ring);
	check(!unload(), "and while there is a group");
	check(!netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL),
	      "the group can be deleted now");
}

static void test_off_switch(void)
{
	void *data = pattern(4096, 9), *got = pattern(4096, 0);
	int fd;

	check(load("disable=1"), "disabled, the module loads");
	check(access("/dev/blkship", F_OK) != 0, "without its device");
	dm_create("t0", "0 %llu blkship " DISK " 0 " GROUP " v0", DISK_SECTORS);
	fd = dm_open("t0");
	check(pwrite(fd, data, 4096, 4096) == 4096 &&
	      pread(fd, got, 4096, 4096) == 4096 && !memcmp(got, data, 4096),
	      "its tables load and pass everything through");
	close(fd);
	dm_remove("t0");
	check(unload(), "and it unloads");
	free(data);
	free(got);
}

int main(void)
{
	events = netlink_listen();
	if (events < 0)
		give_up("cannot listen to events: %s", strerror(-events));
	test_reload();
	test_suspended();
	test_told_to_leave_early();
	test_refused();
	test_resize();
	test_never_used();
	test_lost();
	test_unload_refused();
	close(events);
	check(unload(), "the module unloads");
	test_off_switch();
	for (unsigned int i = 0; i < 3; i++)
		check(load("") && (i == 2 || unload()),
		      "load and unload, round %u", i + 1);
	return finish();
}
