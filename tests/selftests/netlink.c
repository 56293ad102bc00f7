// SPDX-License-Identifier: GPL-2.0-only
/* The netlink family from userspace: see selftest.h. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <linux/genetlink.h>
#include <netlink/attr.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

#include "selftest.h"

char netlink_message[256];

/* libnl maps errors to its own and back less exactly: answers are read here. */
static struct nl_sock *sock_open(int *family)
{
	struct nl_sock *sk = nl_socket_alloc();
	int on = 1;

	if (!sk || genl_connect(sk))
		give_up("no generic netlink");
	*family = genl_ctrl_resolve(sk, BLKSHIP_GENL_NAME);
	setsockopt(nl_socket_get_fd(sk), SOL_NETLINK, NETLINK_EXT_ACK, &on,
		   sizeof(on));
	return sk;
}

static struct nl_msg *message(int family, int command, int flags,
			      const char *group, const char *volume)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (!msg || !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0,
				 flags, command, BLKSHIP_GENL_VERSION))
		give_up("no memory");
	if (group)
		nla_put_string(msg, BLKSHIP_A_GROUP, group);
	if (volume)
		nla_put_string(msg, BLKSHIP_A_VOLUME, volume);
	return msg;
}

/* The error of an acknowledgement, and its text. */
static int ack_error(struct nlmsghdr *hdr)
{
	struct nlmsgerr *err = nlmsg_data(hdr);
	int at = sizeof(*err), left;
	struct nlattr *attr;

	if (!(hdr->nlmsg_flags & NLM_F_CAPPED))
		at += err->msg.nlmsg_len - sizeof(err->msg);
	if (!(hdr->nlmsg_flags & NLM_F_ACK_TLVS))
		return err->error;
	attr = (struct nlattr *)((char *)err + NLMSG_ALIGN(at));
	left = (int)hdr->nlmsg_len - NLMSG_HDRLEN - (int)NLMSG_ALIGN(at);
	for (; nla_ok(attr, left); attr = nla_next(attr, &left))
		if (nla_type(attr) == NLMSGERR_ATTR_MSG)
			snprintf(netlink_message, sizeof(netlink_message), "%s",
				 nla_get_string(attr));
	return err->error;
}

/* Receive until an acknowledgement or the end of a list. */
static int receive(struct nl_sock *sk,
		   void (*fn)(struct nlattr **attrs, void *arg), void *arg)
{
	static char buf[65536] __attribute__((aligned(16)));

	for (;;) {
		ssize_t got = recv(nl_socket_get_fd(sk), buf, sizeof(buf), 0);
		struct nlmsghdr *hdr = (struct nlmsghdr *)buf;
		int left = got;

		if (got < 0)
			return -errno;
		for (; nlmsg_ok(hdr, left); hdr = nlmsg_next(hdr, &left)) {
			struct nlattr *attrs[BLKSHIP_A_MAX + 1];

			if (hdr->nlmsg_type == NLMSG_ERROR)
				return ack_error(hdr);
			if (hdr->nlmsg_type == NLMSG_DONE)
				return *(int *)nlmsg_data(hdr);
			if (fn && !genlmsg_parse(hdr, 0, attrs, BLKSHIP_A_MAX,
						 NULL))
				fn(attrs, arg);
		}
	}
}

/* What a command has besides the names. */
struct tap_place {
	uint32_t dev;
	uint32_t meta;			/* 0: none */
	uint64_t ring_bytes;
};

static int exchange(int command, int flags, const char *group,
		    const char *volume, const struct tap_place *place,
		    void (*fn)(struct nlattr **attrs, void *arg), void *arg)
{
	struct nl_msg *msg;
	struct nl_sock *sk;
	int family, ret;

	netlink_message[0] = '\0';
	sk = sock_open(&family);
	if (family < 0) {
		nl_socket_free(sk);
		return -ENOENT;
	}
	msg = message(family, command, flags, group, volume);
	if (place) {
		nla_put_u32(msg, BLKSHIP_A_DEV, place->dev);
		nla_put_u64(msg, BLKSHIP_A_RING_BYTES, place->ring_bytes);
		if (place->meta)
			nla_put_u32(msg, BLKSHIP_A_META, place->meta);
	}
	ret = nl_send_auto(sk, msg);
	nlmsg_free(msg);
	ret = ret < 0 ? -EIO : receive(sk, fn, arg);
	nl_socket_free(sk);
	return ret;
}

int netlink_command(int command, const char *group, const char *volume)
{
	return exchange(command, NLM_F_ACK, group, volume, NULL, NULL, NULL);
}

uint32_t netlink_dev(const char *device)
{
	struct stat st;

	if (stat(device, &st))
		give_up("%s: %s", device, strerror(errno));
	return major(st.st_rdev) << 20 | minor(st.st_rdev);
}

int netlink_tap(const char *device, const char *group, const char *volume,
		unsigned int ring_mib)
{
	return netlink_tap_meta(device, NULL, group, volume, ring_mib);
}

int netlink_tap_meta(const char *device, const char *meta, const char *group, const char *volume,
		     unsigned int ring_mib)
{
	struct tap_place place = {
		.dev = netlink_dev(device),
		.meta = meta ? netlink_dev(meta) : 0,
		.ring_bytes = (uint64_t)ring_mib << 20,
	};

	return exchange(BLKSHIP_CMD_TAP_ADD, NLM_F_ACK, group, volume, &place,
			NULL, NULL);
}

int netlink_dump(int command, const char *group,
		 void (*fn)(struct nlattr **attrs, void *arg), void *arg)
{
	return exchange(command, NLM_F_DUMP, group, NULL, NULL, fn, arg);
}

int netlink_listen(void)
{
	struct nl_sock *sk;
	int family, events, fd;

	sk = sock_open(&family);
	events = genl_ctrl_resolve_grp(sk, BLKSHIP_GENL_NAME,
				       BLKSHIP_GENL_MCGRP_EVENTS);
	if (events < 0)
		return -ENOENT;
	if (setsockopt(nl_socket_get_fd(sk), SOL_NETLINK,
		       NETLINK_ADD_MEMBERSHIP, &events, sizeof(events)))
		return -errno;
	/* The socket outlives libnl's handle, which the program's end frees. */
	fd = dup(nl_socket_get_fd(sk));
	return fd;
}

bool netlink_next(int fd, struct netlink_event *event)
{
	static char buf[65536] __attribute__((aligned(16)));
	struct nlmsghdr *hdr = (struct nlmsghdr *)buf;
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	struct nlattr *attrs[BLKSHIP_A_MAX + 1];
	ssize_t got;

	memset(event, 0, sizeof(*event));
	if (poll(&poll_fd, 1, 5000) <= 0)
		return false;
	got = recv(fd, buf, sizeof(buf), 0);
	if (got <= 0 || !nlmsg_ok(hdr, (int)got) ||
	    genlmsg_parse(hdr, 0, attrs, BLKSHIP_A_MAX, NULL) ||
	    !attrs[BLKSHIP_A_EVENT] || !attrs[BLKSHIP_A_GROUP])
		return false;
	event->event = nla_get_u32(attrs[BLKSHIP_A_EVENT]);
	snprintf(event->group, sizeof(event->group), "%s",
		 nla_get_string(attrs[BLKSHIP_A_GROUP]));
	if (attrs[BLKSHIP_A_VOLUME])
		snprintf(event->volume, sizeof(event->volume), "%s",
			 nla_get_string(attrs[BLKSHIP_A_VOLUME]));
	return true;
}

bool netlink_expect(int fd, unsigned int event, const char *volume)
{
	struct netlink_event got;

	while (netlink_next(fd, &got))
		if (got.event == event &&
		    (!volume || !strcmp(volume, got.volume)))
			return true;
	return false;
}
