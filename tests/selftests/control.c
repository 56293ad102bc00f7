// SPDX-License-Identifier: GPL-2.0-only
/* The netlink family: what it lists, what it refuses and how it says so. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <netlink/attr.h>

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

static void test_names(void)
{
	static const char *const good[] = {
		"_", "7", "a.b-c_D9", "abcdefghijklmnopqrstuvwxyz01234",
	};
	static const char *const bad[] = {
		"", ".a", "..", "-a", "a/b", "a b", "a:b", "a,b", "a*", "a\n",
		"a\x7f", "\xe9", "a\xc3\xa9", "\xc3\xa9",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		check(!netlink_command(BLKSHIP_CMD_GROUP_NEW, good[i], NULL) &&
		      !netlink_command(BLKSHIP_CMD_GROUP_DEL, good[i], NULL),
		      "%s can be a name", good[i]);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check(netlink_command(BLKSHIP_CMD_GROUP_NEW, bad[i], NULL) ==
		      -EINVAL, "name %zu of those that cannot be is refused", i);
	check(sh("dmsetup create one --table '0 1024 blkship " OTHER_DISK " 0 gc a:b ring_mib 1' 2>/dev/null") &&
	      netlink_command(BLKSHIP_CMD_GROUP_DEL, "gc", NULL) == -ENOENT,
	      "a volume cannot have such a name either");
}

static void test_errors(void)
{
	check(netlink_command(BLKSHIP_CMD_GROUP_DEL, "nobody", NULL) == -ENOENT &&
	      !strcmp(netlink_message, "no such group"),
	      "an unknown group is named as such: %s", netlink_message);
	check(netlink_command(BLKSHIP_CMD_GROUP_DEL, NULL, NULL) == -EINVAL &&
	      netlink_message[0], "a missing name too: %s", netlink_message);
	check(netlink_command(BLKSHIP_CMD_GROUP_NEW, "a/b", NULL) == -EINVAL &&
	      netlink_message[0], "and a bad one: %s", netlink_message);
	check(netlink_command(BLKSHIP_CMD_GROUP_NEW,
			      "a name that is longer than a name can be",
			      NULL) < 0, "and one that is too long");
	check(netlink_command(BLKSHIP_CMD_GROUP_NEW, "ga", NULL) == -EEXIST &&
	      netlink_message[0], "and one that is taken: %s", netlink_message);
	check(netlink_command(BLKSHIP_CMD_VOLUME_DEL, "ga", "nothing") ==
	      -ENOENT && !strcmp(netlink_message, "no such volume"),
	      "and an unknown volume: %s", netlink_message);
	check(netlink_command(BLKSHIP_CMD_GROUP_DEL, "ga", NULL) == -EBUSY &&
	      netlink_message[0], "a group with volumes stays: %s",
	      netlink_message);
	check(netlink_command(BLKSHIP_CMD_EVENT, "ga", NULL) == -EOPNOTSUPP,
	      "an event is not a command");
}

static void test_lists(void)
{
	struct listing groups = { 0 }, volumes = { 0 }, none = { 0 };

	check(!netlink_dump(BLKSHIP_CMD_GROUP_GET, NULL, on_group, &groups) &&
	      groups.messages == 2 && groups.errors == 0, "groups are listed");
	check(!netlink_dump(BLKSHIP_CMD_VOLUME_GET, NULL, on_volume,
			    &volumes) && volumes.messages == NR_VOLUMES &&
	      volumes.errors == 0,
	      "%u volumes are listed, each once", NR_VOLUMES);
	check(!netlink_dump(BLKSHIP_CMD_VOLUME_GET, "gb", on_volume, &none) &&
	      none.messages == 0, "a list can be of one group");
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

static void test_unprivileged(void)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(setgid(65534) || setuid(65534) ? 128 :
		      try_unprivileged());
	waitpid(child, &status, 0);
	check(status == 0,
	      "without CAP_SYS_ADMIN nothing is done, listed or heard (%#x)",
	      (unsigned int)status);
}

int main(void)
{
	FILE *table = popen("dmsetup create many", "w");

	for (unsigned int i = 0; table && i < NR_VOLUMES; i++)
		fprintf(table, "%u %u blkship " DISK " %u ga v%u ring_mib 1\n",
			i * VOLUME_SECTORS, VOLUME_SECTORS, i * VOLUME_SECTORS,
			i);
	if (!table || pclose(table))
		give_up("cannot create %u volumes", NR_VOLUMES);
	if (sh("dmsetup create one --table '0 1024 blkship " OTHER_DISK " 0 gb v ring_mib 1'"))
		give_up("cannot create a volume");
	volume_remove("one", "gb", "v");
	test_names();
	test_errors();
	test_lists();
	test_unprivileged();
	for (unsigned int i = 0; i < NR_VOLUMES; i++) {
		char name[BLKSHIP_NAME_BYTES];

		snprintf(name, sizeof(name), "v%u", i);
		if (netlink_command(BLKSHIP_CMD_VOLUME_DEL, "ga", name))
			give_up("cannot detach %s", name);
	}
	dm_remove("many");
	check(!netlink_command(BLKSHIP_CMD_GROUP_DEL, "ga", NULL) &&
	      !netlink_command(BLKSHIP_CMD_GROUP_DEL, "gb", NULL),
	      "all is cleaned up");
	return finish();
}
