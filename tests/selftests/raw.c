// SPDX-License-Identifier: GPL-2.0-only
/* See raw.h. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/dm-ioctl.h>
#include <linux/genetlink.h>
#include <linux/netlink.h>

#include "raw.h"
#include "selftest.h"

/* -- netlink -- */

static int family;
static int nl_fd = -1;		/* of the operation that is tried */
static int quiet_fd;		/* for everything else */
static uint32_t tap_dev, tap_meta;

static size_t put_attr(char *at, int type, const void *data, size_t bytes)
{
	struct nlattr attr = { .nla_len = NLA_HDRLEN + bytes, .nla_type = type };

	memcpy(at, &attr, sizeof(attr));
	memcpy(at + NLA_HDRLEN, data, bytes);
	return NLA_ALIGN(attr.nla_len);
}

static int raw_send(int fd, int type, int command, int flags,
		    const char *group, const char *volume)
{
	static char buf[512] __attribute__((aligned(16)));
	struct nlmsghdr *hdr = (struct nlmsghdr *)buf;
	struct genlmsghdr genl = { .cmd = command, .version = 1 };
	size_t len = NLMSG_HDRLEN + GENL_HDRLEN;
	uint64_t ring_bytes = 1 << 20;	/* the smallest: it is made often */

	memset(buf, 0, sizeof(buf));
	memcpy(NLMSG_DATA(hdr), &genl, sizeof(genl));
	if (type == GENL_ID_CTRL)
		len += put_attr(buf + len, CTRL_ATTR_FAMILY_NAME,
				BLKSHIP_GENL_NAME, sizeof(BLKSHIP_GENL_NAME));
	if (group)
		len += put_attr(buf + len, BLKSHIP_A_GROUP, group,
				strlen(group) + 1);
	if (volume)
		len += put_attr(buf + len, BLKSHIP_A_VOLUME, volume,
				strlen(volume) + 1);
	if (type == family && (command == BLKSHIP_CMD_GROUP_NEW ||
			       command == BLKSHIP_CMD_TAP_ADD))
		len += put_attr(buf + len, BLKSHIP_A_RING_BYTES, &ring_bytes,
				sizeof(ring_bytes));
	if (type == family && command == BLKSHIP_CMD_TAP_ADD) {
		len += put_attr(buf + len, BLKSHIP_A_DEV, &tap_dev, sizeof(tap_dev));
		if (tap_meta)
			len += put_attr(buf + len, BLKSHIP_A_META, &tap_meta,
					sizeof(tap_meta));
	}
	hdr->nlmsg_len = len;
	hdr->nlmsg_type = type;
	hdr->nlmsg_flags = NLM_F_REQUEST | flags;
	return send(fd, buf, len, 0) < 0 ? -errno : 0;
}

/* All of the answer, up to the acknowledgement or the end of a list. */
static int raw_answer(int fd, uint16_t *family_id)
{
	static char buf[32768] __attribute__((aligned(16)));

	for (;;) {
		ssize_t got = recv(fd, buf, sizeof(buf), 0);
		struct nlmsghdr *hdr = (struct nlmsghdr *)buf;
		struct nlattr *attr = (struct nlattr *)
			(buf + NLMSG_HDRLEN + GENL_HDRLEN);

		if (got < 0)
			return -errno;
		for (; NLMSG_OK(hdr, got); hdr = NLMSG_NEXT(hdr, got)) {
			if (hdr->nlmsg_type == NLMSG_ERROR)
				return ((struct nlmsgerr *)NLMSG_DATA(hdr))->error;
			if (hdr->nlmsg_type == NLMSG_DONE)
				return *(int *)NLMSG_DATA(hdr);
			/* CTRL_ATTR_FAMILY_NAME is first, then the id. */
			if (family_id)
				memcpy(family_id, (char *)attr + NLA_HDRLEN +
				       NLA_ALIGN(attr->nla_len), 2);
		}
	}
}

void raw_tap_devices(uint32_t dev, uint32_t meta)
{
	tap_dev = dev;
	tap_meta = meta;
}

int raw_request(int command, int flags, const char *group, const char *volume)
{
	int ret = raw_send(nl_fd, family, command, flags, group, volume);

	return ret ? ret : raw_answer(nl_fd, NULL);
}

int raw_ask(int command, const char *group, const char *volume)
{
	int ret = raw_send(quiet_fd, family, command, NLM_F_ACK, group, volume);

	return ret ? ret : raw_answer(quiet_fd, NULL);
}

static int netlink_open(void)
{
	struct timeval limit = { .tv_sec = 10 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
				 sizeof(limit)))
		give_up("netlink: %s", strerror(errno));
	return fd;
}

void raw_open(void)
{
	nl_fd = netlink_open();
}

void raw_close(void)
{
	close(nl_fd);
	nl_fd = -1;
}

static void family_find(void)
{
	uint16_t id = 0;

	if (raw_send(quiet_fd, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK,
		     NULL, NULL) || raw_answer(quiet_fd, &id) || !id)
		give_up("no generic netlink family");
	family = id;
}

/* -- device-mapper -- */

static int dm_fd;
static struct {
	struct dm_ioctl head;
	struct dm_target_spec spec;
	char parameters[4096];
} arg;

int raw_dm(unsigned int command, const char *name, const char *table,
	   uint64_t sectors)
{
	memset(&arg, 0, sizeof(arg));
	arg.head.version[0] = DM_VERSION_MAJOR;
	arg.head.data_size = sizeof(arg);
	arg.head.data_start = offsetof(typeof(arg), spec);
	strcpy(arg.head.name, name);
	if (table) {
		arg.head.target_count = 1;
		arg.spec.length = sectors;
		strcpy(arg.spec.target_type, "blkship");
		strcpy(arg.parameters, table);
	}
	return ioctl(dm_fd, command, &arg) ? -errno : 0;
}

bool raw_dm_target_exists(const char *name)
{
	const struct dm_target_versions *v = (void *)&arg.spec;

	if (raw_dm(DM_LIST_VERSIONS, "", NULL, 0))
		give_up("DM_LIST_VERSIONS: %s", strerror(errno));
	while (strcmp(v->name, name) && v->next)
		v = (const void *)((const char *)v + v->next);
	return !strcmp(v->name, name);
}

/* -- both -- */

void raw_init(void)
{
	quiet_fd = netlink_open();
	family_find();
	dm_fd = open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
	if (dm_fd < 0)
		give_up("/dev/mapper/control: %s", strerror(errno));
}

void raw_fini(void)
{
	close(dm_fd);
	close(quiet_fd);
}
