// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nonsense from userspace, seeded: ioctls, mappings, ring positions and netlink
 * messages, as root and as a user who may nothing, while a volume is written to.
 * The kernel's own complaints are found by who runs this.
 *
 *	SEED=1 ROUNDS=20000 hostile
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/socket.h>

#include "harness.h"
#include "selftest.h"

#define GROUP		"hos"
#define NOBODY		65534
#define ARGUMENT_BYTES	4096

static struct ring ring;
static uint64_t state;
static atomic_bool stop;
static atomic_uint writes_failed;

static uint32_t dice(uint32_t bound)
{
	state = state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (state >> 33) % bound;
}

static uint64_t number(void)
{
	static const uint64_t edges[] = {
		0, 1, 63, 64, 65, 4095, 4096, 65536, 1 << 20, UINT32_MAX,
		1ULL << 32, INT64_MAX, 1ULL << 63, UINT64_MAX - 4095, UINT64_MAX,
	};

	return dice(2) ? edges[dice(ARRAY_SIZE(edges))] :
	       ((uint64_t)dice(1U << 31) << 32 | dice(1U << 31)) >> dice(64);
}

/* -- ioctls -- */

/* A pointer that is good, bad, or somebody else's. */
static uint64_t pointer(void *good)
{
	switch (dice(6)) {
	case 0:
		return 0;
	case 1:
		return 0xffff888000000000ULL + number() % (1 << 30);
	case 2:
		return number();
	case 3:
		return (uintptr_t)good + ARGUMENT_BYTES - dice(16);
	default:
		return (uintptr_t)good;
	}
}

/* Words that may pass for arguments, so that some get past the first check. */
static void argument_fill(uint64_t *words, void *user)
{
	for (unsigned int i = 0; i < ARGUMENT_BYTES / 8; i++)
		words[i] = number();
	if (dice(4))	/* volume 0, nothing reserved, a window with a bitmap */
		words[0] = (uint64_t)(1 + dice(5000)) << 32;
	words[1] = dice(3) ? dice(40) * 64 : number();
	for (unsigned int i = 2; i < 5; i++)
		if (dice(2))
			words[i] = pointer(user);
}

static void ioctl_round(int bound, int unbound, uint64_t *words, void *user)
{
	/* What is cut off at the end of the mapping must not be written either. */
	unsigned int nr = dice(8) ? 0x70 + dice(9) : dice(256);
	unsigned long request = dice(8) ?
		_IOC(_IOC_READ | _IOC_WRITE, 'B', nr, 0) : number();
	static const unsigned long known[] = {
		BLKSHIP_IOC_BIND, BLKSHIP_IOC_TAKE, BLKSHIP_IOC_CLEAR,
		BLKSHIP_IOC_MAP_READ, BLKSHIP_IOC_MARK, BLKSHIP_IOC_INCARNATION,
		BLKSHIP_IOC_VOLUME,
	};

	argument_fill(words, user);
	if (dice(4))
		request = known[dice(ARRAY_SIZE(known))];
	ioctl(dice(4) ? bound : unbound, request, pointer(words));
}

static void mapping_round(int fd)
{
	uint64_t at = (uint64_t)dice(6) << 32 | (dice(2) ? dice(1 << 12) * 4096ULL : 0);
	size_t bytes = dice(4) ? 4096 * (1 + dice(64)) : number() >> 20;
	int rights = dice(8), flags = dice(4) ? MAP_SHARED : MAP_PRIVATE;
	void *p = mmap(NULL, bytes, rights, flags, fd, at);

	if (p == MAP_FAILED)
		return;
	mprotect(p, bytes, dice(8));
	munmap(p, bytes);
}

static void positions_round(void)
{
	volatile uint64_t *words = (void *)ring.consumer;

	words[dice(8)] = dice(2) ? number() : ring_head(&ring) + dice(8);
}

/* -- netlink -- */

static int family_id(void)
{
	struct nl_sock *sk = nl_socket_alloc();
	int id;

	if (!sk || genl_connect(sk))
		give_up("no generic netlink");
	id = genl_ctrl_resolve(sk, BLKSHIP_GENL_NAME);
	nl_socket_free(sk);
	return id;
}

/* One attribute, often of the right form; the group is never the one in use. */
static unsigned int attribute_put(uint8_t *at)
{
	struct nlattr *attr = (struct nlattr *)at;
	unsigned int bytes = dice(4) ? 8 : dice(80);

	attr->nla_type = dice(8) ? dice(BLKSHIP_A_MAX + 3) : number();
	for (unsigned int i = 0; i < bytes; i++)
		at[NLA_HDRLEN + i] = dice(256);
	if (dice(4)) {
		bytes = 1 + snprintf((char *)at + NLA_HDRLEN, 16, "f%u", dice(4));
		if (attr->nla_type != BLKSHIP_A_VOLUME)
			attr->nla_type = dice(3) ? BLKSHIP_A_GROUP : BLKSHIP_A_VOLUME;
	} else if (attr->nla_type == BLKSHIP_A_DEV) {
		*(uint32_t *)(at + NLA_HDRLEN) = dice(2) ? 254 << 20 | dice(64) : number();
		bytes = 4;
	}
	attr->nla_len = dice(8) ? NLA_HDRLEN + bytes : (uint16_t)number();
	return NLA_ALIGN(NLA_HDRLEN + bytes);
}

/* Send one message; how many answers said 0 (done), not counting lists. */
static unsigned int message_round(int fd, int family)
{
	static uint8_t buf[65536] __attribute__((aligned(16)));
	struct nlmsghdr *hdr = (struct nlmsghdr *)buf;
	struct genlmsghdr *genl = (struct genlmsghdr *)(buf + NLMSG_HDRLEN);
	unsigned int len = NLMSG_HDRLEN + GENL_HDRLEN, nr = dice(6), done = 0;
	ssize_t got;

	memset(buf, 0, 4096);
	for (unsigned int i = 0; i < nr; i++)
		len += attribute_put(buf + len);
	hdr->nlmsg_type = family;
	hdr->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | (dice(4) ? 0 : dice(1 << 16));
	hdr->nlmsg_len = dice(16) ? len : len - dice(len - NLMSG_HDRLEN);
	genl->cmd = dice(16) ? dice(BLKSHIP_CMD_MAX + 2) : dice(256);
	genl->version = dice(8) ? BLKSHIP_GENL_VERSION : dice(256);
	if (send(fd, buf, len, 0) < 0)
		return 0;
	while ((got = recv(fd, buf, sizeof(buf), MSG_DONTWAIT)) > 0) {
		const struct nlmsgerr *e = (void *)(buf + NLMSG_HDRLEN);

		/* What a length that lies leaves behind may look like a no-op. */
		if (hdr->nlmsg_type == NLMSG_ERROR &&
		    got >= NLMSG_HDRLEN + (ssize_t)sizeof(*e))
			done += e->error == 0 && e->msg.nlmsg_type == family;
		else if (hdr->nlmsg_type == family)
			done++;		/* it was told something */
	}
	return done;
}

static unsigned int netlink_rounds(int family, unsigned int rounds)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
	unsigned int done = 0;

	if (fd < 0)
		give_up("netlink: %s", strerror(errno));
	while (rounds--)
		done += message_round(fd, family);
	close(fd);
	return done;
}

/* -- as whom, and meanwhile -- */

static void *writer(void *arg)
{
	int fd = dm_open("t0");
	void *data = pattern(65536, 3);

	while (!atomic_load(&stop))
		if (pwrite(fd, data, 65536, (off_t)(rand() % 500) * 65536) != 65536)
			atomic_fetch_add(&writes_failed, 1);
	free(data);
	close(fd);
	return NULL;
}

/* What was made by chance goes. */
static void on_group(struct nlattr **attrs, void *arg)
{
	char (*names)[BLKSHIP_NAME_BYTES] = arg;

	for (unsigned int i = 0; i < 64; i++)
		if (!names[i][0]) {
			snprintf(names[i], sizeof(names[i]), "%s",
				 nla_get_string(attrs[BLKSHIP_A_GROUP]));
			return;
		}
}

static unsigned int groups_list(char (*names)[BLKSHIP_NAME_BYTES])
{
	unsigned int nr = 0;

	memset(names, 0, 64 * sizeof(*names));
	netlink_dump(BLKSHIP_CMD_GROUP_GET, NULL, on_group, names);
	while (nr < 64 && names[nr][0])
		nr++;
	return nr;
}

static void clean_up(struct __test_metadata *_metadata)
{
	char names[64][BLKSHIP_NAME_BYTES], volume[BLKSHIP_NAME_BYTES];

	for (unsigned int i = groups_list(names); i-- > 0;) {
		if (!strcmp(names[i], GROUP))
			continue;
		for (unsigned int v = 0; v < 4; v++) {
			snprintf(volume, sizeof(volume), "f%u", v);
			netlink_command(BLKSHIP_CMD_VOLUME_DEL, names[i], volume);
		}
		netlink_command(BLKSHIP_CMD_GROUP_DEL, names[i], NULL);
	}
	EXPECT_EQ(1, groups_list(names));
}

/* Exit status: 0 when all was refused. */
static int nobody(unsigned int rounds, int family)
{
	if (setgroups(0, NULL) || setresgid(NOBODY, NOBODY, NOBODY) ||
	    setresuid(NOBODY, NOBODY, NOBODY))
		return 2;
	if (open("/dev/blkship", O_RDWR) >= 0 || open("/dev/blkship", O_RDONLY) >= 0)
		return 3;
	return netlink_rounds(family, rounds) ? 4 : 0;
}

/* No write failed. */
static void writer_stop(struct __test_metadata *_metadata, pthread_t thread)
{
	atomic_store(&stop, true);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, atomic_load(&writes_failed));
	ring_settle(&ring);
}

/* A volume that is written to meanwhile. */
FIXTURE(hostile) {
	unsigned int rounds;
	int family;
	pthread_t thread;
};

FIXTURE_SETUP(hostile)
{
	const char *seed = getenv("SEED"), *rounds = getenv("ROUNDS");

	state = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	self->rounds = rounds ? strtoul(rounds, NULL, 0) : 20000;
	TH_LOG("SEED=%llu ROUNDS=%u", (unsigned long long)state, self->rounds);
	self->family = family_id();
	ASSERT_LE(0, self->family);
	volume_create("t0", DISK, GROUP, "v0", 1);
	ring_bind(&ring, GROUP);
	ASSERT_EQ(0, pthread_create(&self->thread, NULL, writer, NULL));
}

FIXTURE_TEARDOWN(hostile)
{
	if (!atomic_load(&stop))
		writer_stop(_metadata, self->thread);
	ring_unbind(&ring);
	volume_remove("t0", GROUP, "v0");
	EXPECT_EQ(0, netlink_command(BLKSHIP_CMD_GROUP_DEL, GROUP, NULL));
}

TEST_F_TIMEOUT(hostile, root, 900)
{
	int unbound = open("/dev/blkship", O_RDWR | O_CLOEXEC);
	/* The page after both buffers is nobody's. */
	uint8_t *pages = mmap(NULL, 3 * ARGUMENT_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const struct blkship_desc *d;
	uint64_t newest;
	void *data;
	int fd;

	ASSERT_LE(0, unbound);
	ASSERT_NE(MAP_FAILED, pages);
	munmap(pages + 2 * ARGUMENT_BYTES, ARGUMENT_BYTES);
	for (unsigned int i = 0; i < self->rounds; i++) {
		ioctl_round(ring.fd, unbound, (uint64_t *)pages, pages + ARGUMENT_BYTES);
		if (!dice(4))
			mapping_round(dice(4) ? ring.fd : unbound);
		if (!dice(8))
			positions_round();
		if (!dice(64)) {
			close(unbound);
			unbound = open("/dev/blkship", O_RDWR | O_CLOEXEC);
		}
	}
	/* Some messages were meant; what they made by chance can be removed. */
	EXPECT_NE(0, netlink_rounds(self->family, self->rounds / 2));
	close(unbound);
	munmap(pages, 2 * ARGUMENT_BYTES);
	clean_up(_metadata);
	writer_stop(_metadata, self->thread);

	/* All that was set to nonsense is made good: it works as it did. */
	ring_unbind(&ring);
	ring_bind(&ring, GROUP);
	ring_release_all(&ring);
	ring_clean(&ring, 0);
	ring_settle(&ring);
	data = pattern(4096, 77);
	fd = dm_open("t0");
	newest = ring_newest(&ring);
	EXPECT_EQ(4096, pwrite(fd, data, 4096, 8192));
	EXPECT_TRUE(ring_settle(&ring));
	d = ring_find(&ring, newest + 1);
	ASSERT_NE(NULL, d);
	EXPECT_EQ(BLKSHIP_STATE_DONE, d->state);
	EXPECT_EQ(4096, d->length_bytes);
	EXPECT_EQ(0, memcmp(ring_payload(&ring, d), data, 4096));
	close(fd);
	free(data);
}

/* Refused, and nothing is changed. */
TEST_F_TIMEOUT(hostile, user_who_may_nothing, 900)
{
	char before[64][BLKSHIP_NAME_BYTES], after[64][BLKSHIP_NAME_BYTES];
	uint64_t newest;
	int status;
	pid_t pid;

	writer_stop(_metadata, self->thread);
	newest = ring_newest(&ring);
	groups_list(before);
	ASSERT_EQ(0, chmod("/dev/blkship", 0666));	/* even so */
	pid = fork();
	if (pid == 0)
		_exit(nobody(self->rounds / 4, self->family));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, chmod("/dev/blkship", 0600));
	EXPECT_TRUE(WIFEXITED(status));
	EXPECT_EQ(0, WEXITSTATUS(status));
	groups_list(after);
	EXPECT_EQ(0, memcmp(before, after, sizeof(before)));
	EXPECT_EQ(newest, ring_newest(&ring));
}

TEST_HARNESS_MAIN
