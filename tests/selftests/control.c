// SPDX-License-Identifier: GPL-2.0-only
/* The netlink family: what it lists, what it refuses and how it says so. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netlink/attr.h>

#include "harness.h"
#include "selftest.h"

#define NR_VOLUMES 100
#define VOLUME_SECTORS 1024

struct listing {
	unsigned int messages;
	unsigned int errors;
	uint64_t indices_seen[4];
};

static void on_group(struct nlattr **attrs, void *arg)
{
	struct listing *list = arg;

	list->messages++;
	if (!attrs[BLKSHIP_A_GROUP] || !attrs[BLKSHIP_A_NEWEST_SEQ] ||
	    !attrs[BLKSHIP_A_WATERMARK_SEQ] || !attrs[BLKSHIP_A_CAPTURED] ||
	    !attrs[BLKSHIP_A_IN_FLIGHT] || !attrs[BLKSHIP_A_CONSUMER] ||
	    !attrs[BLKSHIP_A_RING_BYTES] ||
	    nla_get_u64(attrs[BLKSHIP_A_RING_BYTES]) != 1 << 20)
		list->errors++;
}

static void on_volume(struct nlattr **attrs, void *arg)
{
	struct listing *list = arg;
	char name[BLKSHIP_NAME_BYTES];
	unsigned int index;

	list->messages++;
	if (!attrs[BLKSHIP_A_VOLUME_INDEX] || !attrs[BLKSHIP_A_VOLUME] ||
	    !attrs[BLKSHIP_A_FRONT] || !attrs[BLKSHIP_A_DIRTY_REGIONS] ||
	    strcmp(nla_get_string(attrs[BLKSHIP_A_GROUP]), "ga") ||
	    strcmp(nla_get_string(attrs[BLKSHIP_A_FRONT]), "dm") ||
	    nla_get_u64(attrs[BLKSHIP_A_SIZE_BYTES]) != VOLUME_SECTORS * 512) {
		list->errors++;
		return;
	}
	index = nla_get_u16(attrs[BLKSHIP_A_VOLUME_INDEX]);
	snprintf(name, sizeof(name), "v%u", index);
	list->errors += strcmp(nla_get_string(attrs[BLKSHIP_A_VOLUME]), name) ||
			list->indices_seen[index / 64] >> index % 64 & 1;
	list->indices_seen[index / 64] |= 1ULL << index % 64;
}

FIXTURE(groups) {
};

/* "ga" with many volumes, "gb" without any. */
FIXTURE_SETUP(groups)
{
	FILE *table = popen("dmsetup create many", "w");

	ASSERT_NE(NULL, table);
	for (unsigned int i = 0; i < NR_VOLUMES; i++)
		fprintf(table, "%u %u blkship " DISK " %u ga v%u ring_mib 1\n",
			i * VOLUME_SECTORS, VOLUME_SECTORS, i * VOLUME_SECTORS,
			i);
	ASSERT_EQ(0, pclose(table));
	dm_create("one", "0 1024 blkship " OTHER_DISK " 0 gb v ring_mib 1");
	volume_remove("one", "gb", "v");
}

FIXTURE_TEARDOWN(groups)
{
	char name[BLKSHIP_NAME_BYTES];

	for (unsigned int i = 0; i < NR_VOLUMES; i++) {
		snprintf(name, sizeof(name), "v%u", i);
		EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_VOLUME_DEL, "ga", name));
	}
	dm_remove("many");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, "ga", NULL));
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, "gb", NULL));
}

TEST(names_that_can_be)
{
	static const char *const good[] = {
		"_", "7", "a.b-c_D9", "abcdefghijklmnopqrstuvwxyz01234",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_NEW, good[i], NULL))
			TH_LOG("%s", good[i]);
		EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, good[i], NULL))
			TH_LOG("%s", good[i]);
	}
}

TEST(names_that_cannot_be)
{
	static const char *const bad[] = {
		"", ".a", "..", "-a", "a/b", "a b", "a:b", "a,b", "a*", "a\n",
		"a\x7f", "\xe9", "a\xc3\xa9", "\xc3\xa9",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-EINVAL, netlink_command(BLKSHIP_CMD_GROUP_NEW, bad[i], NULL))
			TH_LOG("name %zu", i);
	}
	/* Nor of a volume. */
	EXPECT_NE(0, sh("dmsetup create one --table '0 1024 blkship " OTHER_DISK " 0 gc a:b ring_mib 1' 2>/dev/null"));
	EXPECT_EQ(-ENOENT, netlink_command(BLKSHIP_CMD_GROUP_DEL, "gc", NULL));
}

TEST_F(groups, refusals_say_why)
{
	EXPECT_EQ(-ENOENT, netlink_command(BLKSHIP_CMD_GROUP_DEL, "nobody", NULL));
	EXPECT_STREQ("no such group", netlink_message);
	EXPECT_EQ(-ENOENT, netlink_command(BLKSHIP_CMD_VOLUME_DEL, "ga", "nothing"));
	EXPECT_STREQ("no such volume", netlink_message);
	/* No name, a bad one, one that is too long, one that is taken. */
	EXPECT_EQ(-EINVAL, netlink_command(BLKSHIP_CMD_GROUP_DEL, NULL, NULL));
	EXPECT_STRNE("", netlink_message);
	EXPECT_EQ(-EINVAL, netlink_command(BLKSHIP_CMD_GROUP_NEW, "a/b", NULL));
	EXPECT_STRNE("", netlink_message);
	EXPECT_GT(0, netlink_command(BLKSHIP_CMD_GROUP_NEW,
				     "a name that is longer than a name can be", NULL));
	EXPECT_EQ(-EEXIST, netlink_command(BLKSHIP_CMD_GROUP_NEW, "ga", NULL));
	EXPECT_STRNE("", netlink_message);
	/* A group with volumes stays. */
	EXPECT_EQ(-EBUSY, netlink_command(BLKSHIP_CMD_GROUP_DEL, "ga", NULL));
	EXPECT_STRNE("", netlink_message);
	EXPECT_EQ(-EOPNOTSUPP, netlink_command(BLKSHIP_CMD_EVENT, "ga", NULL));
}

TEST_F(groups, lists_are_complete)
{
	struct listing groups = { 0 }, volumes = { 0 }, none = { 0 };

	EXPECT_EQ(0, netlink_dump(BLKSHIP_CMD_GROUP_GET, NULL, on_group, &groups));
	EXPECT_EQ(2, groups.messages);
	EXPECT_EQ(0, groups.errors);
	/* Each volume once. */
	EXPECT_EQ(0, netlink_dump(BLKSHIP_CMD_VOLUME_GET, NULL, on_volume, &volumes));
	EXPECT_EQ(NR_VOLUMES, volumes.messages);
	EXPECT_EQ(0, volumes.errors);
	/* Of one group. */
	EXPECT_EQ(0, netlink_dump(BLKSHIP_CMD_VOLUME_GET, "gb", on_volume, &none));
	EXPECT_EQ(0, none.messages);
}

static void ignore(struct nlattr **attrs, void *arg)
{
	(void)attrs;
	(void)arg;
}

/* Each refusal has a bit. */
static int try_unprivileged(void)
{
	int missing = 0;

	if (netlink_command(BLKSHIP_CMD_GROUP_NEW, "gx", NULL) != -EPERM)
		missing |= 1;
	if (netlink_command(BLKSHIP_CMD_GROUP_DEL, "gb", NULL) != -EPERM)
		missing |= 2;
	if (netlink_command(BLKSHIP_CMD_VOLUME_DEL, "ga", "v0") != -EPERM)
		missing |= 4;
	if (netlink_command(BLKSHIP_CMD_GROUP_GET, "ga", NULL) != -EPERM)
		missing |= 8;
	if (netlink_dump(BLKSHIP_CMD_GROUP_GET, NULL, ignore, NULL) != -EPERM)
		missing |= 16;
	if (netlink_dump(BLKSHIP_CMD_VOLUME_GET, NULL, ignore, NULL) != -EPERM)
		missing |= 32;
	if (netlink_listen() != -EPERM)
		missing |= 64;
	return missing;
}

TEST_F(groups, without_capability_nothing_is_done_listed_or_heard)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(setgid(65534) || setuid(65534) ? 128 :
		      try_unprivileged());
	ASSERT_EQ(child, waitpid(child, &status, 0));
	EXPECT_EQ(0, status);
}

TEST_HARNESS_MAIN
