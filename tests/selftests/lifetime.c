// SPDX-License-Identifier: GPL-2.0-only
/* Loading, attaching, reloading tables, detaching, losing, unloading. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
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

/* Load another table for a device; the result of dmsetup. */
static int table_reload(const char *name, unsigned long long sectors,
			const char *disk, const char *volume)
{
	return sh("dmsetup reload %s --table '0 %llu blkship %s 0 " GROUP " %s' && dmsetup resume %s",
		  name, sectors, disk, volume, name);
}

/* A volume that nobody has to read back. */
FIXTURE(volume) {
};

FIXTURE_SETUP(volume)
{
	events = netlink_listen();
	ASSERT_LE(0, events);
	volume_create("t0", DISK, GROUP, "v0", 4);
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_GROUP_NEW, NULL));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_VOLUME_ADD, "v0"));
	ring_bind(&ring, GROUP);
	ring_clean(&ring, 0);
}

FIXTURE_TEARDOWN(volume)
{
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	close(events);
}

TEST_F(volume, table_reloaded_keeps_its_state)
{
	uint64_t newest = ring_newest(&ring);

	EXPECT_EQ(0, table_reload("t0", DISK_SECTORS, DISK, "v0"));
	/* Only the suspension took a seq, and nobody is alarmed. */
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(0, volume_info(0).dirty_regions);
	EXPECT_EQ(0, volume_info(0).flags);
	EXPECT_TRUE(no_event());
}

TEST_F(volume, reloaded_on_another_disk_is_dirty_as_a_whole)
{
	uint64_t newest = ring_newest(&ring);

	EXPECT_EQ(0, table_reload("t0", DISK_SECTORS, OTHER_DISK, "v0"));
	EXPECT_EQ(REGIONS, volume_info(0).dirty_regions);
	EXPECT_EQ(newest + 2, ring_newest(&ring));
}

/* Who resumes it may have loaded anything: until then the question is open. */
TEST_F(volume, suspended_no_pass_can_end)
{
	uint64_t newest = ring_newest(&ring);

	/* A gap in the stream that no pass can close while it lasts. */
	EXPECT_EQ(0, sh("dmsetup suspend t0"));
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_EQ(NULL, ring_find(&ring, newest + 1));
	EXPECT_EQ(BLKSHIP_VOLUME_SUSPENDED, volume_info(0).flags);
	EXPECT_EQ(EBUSY, dirty_map_error());
	/* Resumed, an empty pass can: nothing was missed. */
	EXPECT_EQ(0, sh("dmsetup resume t0"));
	EXPECT_EQ(newest + 1, ring_newest(&ring));
	EXPECT_EQ(0, volume_info(0).flags);
	EXPECT_EQ(0, dirty_map_error());
	EXPECT_EQ(0, volume_info(0).dirty_regions);
	EXPECT_TRUE(no_event());
}

/* What comes into use after it was told to leave is told so anew or is missed. */
TEST_F(volume, told_to_leave_before_its_table_is_used)
{
	dm_create("t1", "0 %llu blkship " OTHER_DISK " 0 " GROUP " early",
		  DISK_SECTORS);
	EXPECT_EQ(0, sh("dmsetup load t1 --table '0 %llu blkship " OTHER_DISK " 0 " GROUP " early'",
			DISK_SECTORS));
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "early"));
	EXPECT_EQ(0, sh("dmsetup resume t1"));
	forget_events();
	/* Its end is an alarm, and it can be told to leave after all. */
	EXPECT_EQ(0, sh("dmsetup load t1 --table '0 %llu linear " OTHER_DISK " 0' && dmsetup resume t1",
			DISK_SECTORS));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_VOLUME_LOST, "early"));
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "early"));
	EXPECT_EQ(BLKSHIP_MAX_VOLUMES, index_of("early"));
	dm_remove("t1");
}

TEST_F(volume, tables_that_make_no_sense_are_refused)
{
	static const char *const tables[] = {
		/* A volume fed by another device, and one named twice. */
		"0 1024 blkship " DISK " 0 " GROUP " v0",
		"0 1024 blkship " DISK " 0 " GROUP " w\n1024 1024 blkship " DISK " 1024 " GROUP " w",
		"0 1024 blkship " DISK " 0 new v ring_mib 5000",
		"0 1024 blkship " DISK " 0 new v ring_mib 4096",
		"0 1024 blkship " DISK " 0 a/b v",
		"0 1024 blkship " DISK " x new v",
		"0 1024 blkship " DISK " 0 new",
	};

	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		EXPECT_NE(0, sh("printf '%%s\\n' '%s' | dmsetup create t1 2>/dev/null",
				tables[i]))
			TH_LOG("%s", tables[i]);
	}
	/* Nor do they leave a group behind. */
	EXPECT_EQ(-ENOENT, netlink_command(BLKSHIP_CMD_GROUP_DEL, "new", NULL));
}

TEST_F(volume, grows_and_shrinks)
{
	struct blkship_volume_info info;
	unsigned int index;
	uint64_t newest;

	dm_create("t1", "0 %llu blkship " DISK " 0 " GROUP " grows",
		  DISK_SECTORS / 2 - 8);
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_VOLUME_ADD, "grows"));
	index = index_of("grows");
	EXPECT_EQ(REGIONS / 2, volume_info(index).dirty_regions);
	EXPECT_EQ(0, table_reload("t1", DISK_SECTORS, DISK, "grows"));
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_RESIZE, "grows"));
	info = volume_info(index);
	EXPECT_EQ(DISK_SECTORS * 512, info.size_bytes);
	EXPECT_EQ(REGIONS, info.dirty_regions);
	ring_clean(&ring, index);
	EXPECT_EQ(0, table_reload("t1", DISK_SECTORS / 2, DISK, "grows"));
	EXPECT_EQ(DISK_SECTORS * 256, volume_info(index).size_bytes);
	EXPECT_EQ(0, volume_info(index).dirty_regions);
	/* What it loses and gets again is dirty. */
	EXPECT_EQ(0, table_reload("t1", DISK_SECTORS, DISK, "grows"));
	EXPECT_EQ(REGIONS / 2, volume_info(index).dirty_regions);

	/* Detached on purpose: with a seq, so that nobody takes it for a member. */
	newest = ring_newest(&ring);
	volume_remove("t1", GROUP, "grows");
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_VOLUME_DEL, "grows"));
	EXPECT_EQ(BLKSHIP_MAX_VOLUMES, index_of("grows"));
	EXPECT_EQ(newest + 2, ring_newest(&ring));
}

TEST_F(volume, table_that_is_never_used_leaves_no_trace)
{
	EXPECT_EQ(0, sh("dmsetup create t1 --notable && dmsetup load t1 --table '0 1024 blkship " DISK " 0 " GROUP " idle' && dmsetup clear t1 && dmsetup remove t1"));
	EXPECT_TRUE(no_event());
	EXPECT_EQ(0, sh("dmsetup create t1 --notable && dmsetup load t1 --table '0 1024 blkship " DISK " 0 new idle' && dmsetup remove t1"));
	EXPECT_EQ(-ENOENT, netlink_command(BLKSHIP_CMD_GROUP_DEL, "new", NULL));
}

TEST_F(volume, removed_without_detach_is_lost)
{
	uint64_t newest = ring_newest(&ring);

	dm_remove("t0");	/* suspends it first */
	EXPECT_TRUE(netlink_expect(events, BLKSHIP_EVENT_VOLUME_LOST, "v0"));
	EXPECT_EQ(BLKSHIP_VOLUME_DIVERGED | BLKSHIP_VOLUME_DETACHED,
		  volume_info(0).flags);
	/* A gap in the stream, dirty as a whole. */
	EXPECT_EQ(newest + 2, ring_newest(&ring));
	EXPECT_TRUE(ring_settle(&ring));
	EXPECT_EQ(NULL, ring_find(&ring, newest + 2));
	EXPECT_EQ(REGIONS, volume_info(0).dirty_regions);
	/* It cannot be repaired from a disk that changes unseen. */
	EXPECT_TRUE(take_is_refused());
	EXPECT_EQ(newest + 2, ring_newest(&ring));
	EXPECT_EQ(0, volume_info(0).repairing_regions);
	/* Fed again, it is dirty as a whole, with another seq, and can be. */
	volume_create("t0", DISK, GROUP, "v0", 4);
	EXPECT_EQ(0, volume_info(0).flags);
	EXPECT_EQ(REGIONS, volume_info(0).dirty_regions);
	EXPECT_EQ(newest + 3, ring_newest(&ring));
	ring_clean(&ring, 0);
	EXPECT_EQ(0, volume_info(0).dirty_regions);
}

TEST(unload_is_refused_as_long_as_there_is_something)
{
	volume_create("t0", DISK, GROUP, "v0", 4);
	ring_bind(&ring, GROUP);
	EXPECT_FALSE(unload());
	/* A consumer, under which the group cannot be deleted. */
	volume_remove("t0", GROUP, "v0");
	EXPECT_FALSE(unload());
	EXPECT_EQ(-EBUSY, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	/* A group. */
	ring_unbind(&ring);
	EXPECT_FALSE(unload());
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	EXPECT_TRUE(unload());
	EXPECT_TRUE(load(""));
}

TEST(disabled_it_passes_everything_through)
{
	void *data = pattern(4096, 9), *got = pattern(4096, 0);
	int fd;

	ASSERT_TRUE(unload());
	ASSERT_TRUE(load("disable=1"));
	EXPECT_NE(0, access("/dev/blkship", F_OK));
	dm_create("t0", "0 %llu blkship " DISK " 0 " GROUP " v0", DISK_SECTORS);
	fd = dm_open("t0");
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 4096));
	EXPECT_EQ(4096, pread(fd, got, 4096, 4096));
	EXPECT_EQ(0, memcmp(got, data, 4096));
	close(fd);
	dm_remove("t0");
	/* Also with a metadata device, which is looked at. */
	ASSERT_EQ(0, sh("dd if=/dev/zero of=" OTHER_DISK " bs=64k count=1 oflag=direct 2>/dev/null"));
	dm_create("t0", "0 %llu blkship " DISK " 0 " GROUP " v0 meta " OTHER_DISK,
		  DISK_SECTORS);
	fd = dm_open("t0");
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 8192));
	close(fd);
	dm_remove("t0");
	EXPECT_TRUE(unload());
	EXPECT_TRUE(load(""));
	free(data);
	free(got);
}

TEST(loaded_and_unloaded_again_and_again)
{
	for (unsigned int i = 0; i < 3; i++) {
		EXPECT_TRUE(unload());
		EXPECT_TRUE(load(""));
	}
}

/* Ask for a group whenever the module is on its way out, without end. */
static void groups_while_it_goes(void)
{
	char state[16] = "";
	int sysfs;

	for (;;) {
		sysfs = open("/sys/module/blkship/initstate", O_RDONLY);
		if (sysfs < 0 || read(sysfs, state, sizeof(state) - 1) <= 0)
			state[0] = '\0';
		close(sysfs);
		if (!strncmp(state, "going", 5))
			netlink_command(BLKSHIP_CMD_GROUP_NEW, "race", NULL);
	}
}

/* One that is made then must not be left without the module. */
TEST(unloaded_while_groups_are_asked_for)
{
	unsigned int rounds = 0;
	pid_t child = fork();

	if (!child)
		groups_while_it_goes();
	for (unsigned int tries = 0; tries < 40 && rounds < 10; tries++) {
		rounds += unload() && load("");
		/* It may have asked too late, for one of the next life. */
		netlink_command(BLKSHIP_CMD_GROUP_DEL, "race", NULL);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	netlink_command(BLKSHIP_CMD_GROUP_DEL, "race", NULL);
	EXPECT_EQ(10, rounds);
}

TEST_HARNESS_MAIN
