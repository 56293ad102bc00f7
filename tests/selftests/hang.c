// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices that do not answer: what waits for them does so for meta_timeout_s, others do
 * not wait, and what is left behind goes when they answer. A device-mapper device that is
 * suspended hangs.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "selftest.h"

#define GROUP "hang"
#define LIMIT_S 4u
/* Of some waits of LIMIT_S, each step of a command has its own; and the guest is slow. */
#define BOUND_S 25u
#define MODULE "/sys/module/blkship/"
#define LOW "/dev/mapper/low"		/* the disk */
#define META "/dev/mapper/meta"		/* its metadata device */

static void stop(const char *name)
{
	if (sh("dmsetup suspend --noflush --nolockfs %s", name))
		give_up("cannot suspend %s", name);
}

static void go_on(const char *name)
{
	if (sh("dmsetup resume %s", name))
		give_up("cannot resume %s", name);
}

/* Nothing of ours is left: no group, nothing that is open, nothing late. */
static bool is_unused(void *arg)
{
	(void)arg;
	return atoi(sh_line("cat " MODULE "refcnt")) == 0;
}

static bool is_open(const char *name)
{
	return atoi(sh_line("dmsetup info -c --noheadings -o open %s", name)) != 0;
}

/* Something that may take long, in a process of its own, and what came of it. */
struct job {
	pid_t pid;
	time_t begun;
};

struct outcome {
	int ret;
	unsigned int seconds;	/* that it took */
	char message[256];
};

static int outcomes[2];

static time_t now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

static struct job job_begin(struct outcome (*work)(void))
{
	struct job job = { .begun = now() };

	if (pipe(outcomes))
		give_up("no pipe");
	job.pid = fork();
	if (!job.pid) {
		struct outcome got = work();

		_exit(write(outcomes[1], &got, sizeof(got)) != sizeof(got));
	}
	close(outcomes[1]);
	return job;
}

static bool job_runs(const struct job *job)
{
	return waitpid(job->pid, NULL, WNOHANG) == 0;
}

static struct outcome job_wait(const struct job *job)
{
	struct outcome got = { .ret = -EPIPE };

	if (read(outcomes[0], &got, sizeof(got)) != sizeof(got))
		got.ret = -EPIPE;
	close(outcomes[0]);
	waitpid(job->pid, NULL, 0);
	got.seconds = now() - job->begun;
	return got;
}

static struct outcome job_run(struct outcome (*work)(void))
{
	struct job job = job_begin(work);

	return job_wait(&job);
}

static struct outcome tap(void)
{
	struct outcome got = { .ret = netlink_tap_meta(LOW, META, GROUP, "v0", 4) };

	snprintf(got.message, sizeof(got.message), "%s", netlink_message);
	return got;
}

static struct outcome untap(void)
{
	return (struct outcome){ .ret = netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "v0") };
}

static struct outcome dm(void)
{
	return (struct outcome){ .ret = sh("dmsetup create t0 --table '0 %llu blkship " LOW " 0 "
					   GROUP " v0 meta " META " ring_mib 4' 2>/dev/null",
					   DISK_SECTORS) };
}

static struct outcome undm(void)
{
	netlink_command(BLKSHIP_CMD_VOLUME_DEL, GROUP, "v0");
	return (struct outcome){ .ret = sh("dmsetup remove t0") };
}

/* Detached in order, with all of it known: the list is good, and has prints of the disk. */
static void keep_state(void)
{
	struct blkship_incarnation inc = { .incarnation = 7 };
	struct ring ring;

	if (dm().ret)
		give_up("no volume");
	ring_bind(&ring, GROUP);
	ring.consumer->durable_ordinal = 70;
	ring_clean(&ring, 0);
	ring_settle(&ring);
	ring_release_all(&ring);
	if (ioctl(ring.fd, BLKSHIP_IOC_INCARNATION, &inc))
		give_up("cannot set the incarnation");
	ring_unbind(&ring);
	undm();
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
}

static void count(struct nlattr **attrs, void *arg)
{
	(void)attrs;
	++*(unsigned int *)arg;
}

static unsigned int nr_groups(void)
{
	unsigned int nr = 0;

	netlink_dump(BLKSHIP_CMD_GROUP_GET, NULL, count, &nr);
	return nr;
}

FIXTURE(hang) {
};

FIXTURE_SETUP(hang)
{
	sh("echo %u > " MODULE "parameters/meta_timeout_s", LIMIT_S);
	sh("dd if=/dev/zero of=" OTHER_DISK " bs=1M count=2 oflag=direct 2>/dev/null");
	dm_create("low", "0 %llu linear " DISK " 0", DISK_SECTORS);
	dm_create("meta", "0 %llu linear " OTHER_DISK " 0", DISK_SECTORS);
	ASSERT_TRUE(wait_until(is_unused, NULL));
}

/* Everything is given back. */
FIXTURE_TEARDOWN(hang)
{
	netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL);
	EXPECT_TRUE(wait_until(is_unused, NULL));
	EXPECT_FALSE(is_open("low"));
	EXPECT_FALSE(is_open("meta"));
	dm_remove("low");
	dm_remove("meta");
	sh("echo 10 > " MODULE "parameters/meta_timeout_s");
}

/* Others get their answers while one waits. */
TEST_F(hang, tap_whose_metadata_device_hangs_is_refused)
{
	struct outcome got;
	struct job job;

	stop("meta");
	job = job_begin(tap);
	sleep_ms(500);
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_NEW, "other", NULL));
	EXPECT_EQ(1, nr_groups());
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, "other", NULL));
	EXPECT_TRUE(job_runs(&job));
	got = job_wait(&job);
	EXPECT_EQ(-ETIMEDOUT, got.ret);
	EXPECT_NE(NULL, strstr(got.message, "metadata device does not answer"));
	EXPECT_LT(got.seconds, BOUND_S);
	/* Nothing is left but what the device has. */
	EXPECT_EQ(0, nr_groups());
	EXPECT_FALSE(is_open("low"));
	EXPECT_TRUE(is_open("meta"));
	EXPECT_NE(0, sh("dmsetup remove meta 2>/dev/null"));
	EXPECT_NE(0, sh("rmmod blkship 2>/dev/null"));
	EXPECT_NE(0, tap().ret);
	go_on("meta");
	EXPECT_TRUE(wait_until(is_unused, NULL));
	EXPECT_EQ(0, tap().ret);
	EXPECT_EQ(0, untap().ret);
}

TEST_F(hang, tap_whose_disk_hangs_is_refused)
{
	struct outcome got;

	keep_state();
	ASSERT_TRUE(wait_until(is_unused, NULL));
	stop("low");
	got = job_run(tap);
	EXPECT_EQ(-ETIMEDOUT, got.ret);
	EXPECT_NE(NULL, strstr(got.message, "disk does not answer"));
	EXPECT_LT(got.seconds, BOUND_S);
	EXPECT_EQ(0, nr_groups());
	EXPECT_TRUE(is_open("low"));
	EXPECT_FALSE(is_open("meta"));
	EXPECT_NE(0, sh("rmmod blkship 2>/dev/null"));
	go_on("low");
	EXPECT_TRUE(wait_until(is_unused, NULL));
	/* The list was not worth anything any more: writes may have gone on. */
	EXPECT_EQ(0, tap().ret);
	EXPECT_EQ(0, untap().ret);
}

TEST_F(hang, table_whose_metadata_device_hangs_is_refused)
{
	struct outcome got;

	stop("meta");
	got = job_run(dm);
	EXPECT_NE(0, got.ret);
	EXPECT_LT(got.seconds, BOUND_S);
	EXPECT_EQ(0, nr_groups());
	EXPECT_FALSE(is_open("low"));
	EXPECT_TRUE(is_open("meta"));
	go_on("meta");
	EXPECT_TRUE(wait_until(is_unused, NULL));
	EXPECT_EQ(0, dm().ret);
	EXPECT_EQ(0, undm().ret);
}

/* It comes up, as it is needed, and forgets what was kept. */
TEST_F(hang, table_whose_disk_hangs_is_resumed)
{
	struct outcome got;

	keep_state();
	stop("low");
	got = job_run(dm);
	EXPECT_EQ(0, got.ret);
	EXPECT_LT(got.seconds, BOUND_S);
	EXPECT_NE(NULL, strstr(sh_line("dmsetup status t0"), "listed 64/64"));
	go_on("low");
	EXPECT_EQ(0, undm().ret);
}

/* Each end of a volume is bounded as well. */
TEST_F(hang, detached_while_its_metadata_device_hangs)
{
	struct outcome got;

	ASSERT_EQ(0, tap().ret);
	stop("meta");
	got = job_run(untap);
	EXPECT_EQ(0, got.ret);
	EXPECT_LT(got.seconds, BOUND_S);
	EXPECT_FALSE(is_open("low"));
	EXPECT_TRUE(is_open("meta"));
	go_on("meta");
	ASSERT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
	EXPECT_TRUE(wait_until(is_unused, NULL));

	ASSERT_EQ(0, dm().ret);
	stop("meta");
	got = job_run(undm);
	EXPECT_EQ(0, got.ret);
	EXPECT_LT(got.seconds, 2 * BOUND_S);
	EXPECT_FALSE(is_open("low"));
	EXPECT_TRUE(is_open("meta"));
	go_on("meta");
}

TEST_HARNESS_MAIN
