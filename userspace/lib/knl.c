// SPDX-License-Identifier: GPL-2.0-only
/* See knl.h; libnl-genl does the protocol. */
#include "knl.h"

#include <errno.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct knl {
	struct nl_sock *sock;
	int family;
	char *why;			/* of the call under way */
	int error;
	int (*each_group)(void *arg, const struct knl_group *g);
	int (*each_volume)(void *arg, const struct knl_volume *v);
	void (*each_event)(void *arg, enum blkship_event event, const char *group,
			   const char *volume);
	void *arg;
};

static int from_nl_error(int error)
{
	switch (-error) {
	case NLE_OBJ_NOTFOUND:
	case NLE_NOADDR:
		return -ENOENT;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_NOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static int knl_connect(struct knl **out, char *why)
{
	struct knl *nl = calloc(1, sizeof(*nl));
	int ret;

	if (!nl)
		return -ENOMEM;
	nl->sock = nl_socket_alloc();
	if (!nl->sock) {
		free(nl);
		return -ENOMEM;
	}
	ret = genl_connect(nl->sock);
	if (!ret) {
		nl->family = genl_ctrl_resolve(nl->sock, BLKSHIP_GENL_NAME);
		ret = nl->family < 0 ? nl->family : 0;
	}
	if (!ret) {
		*out = nl;
		return 0;
	}
	ret = from_nl_error(ret);
	if (ret == -ENOENT)
		snprintf(why, KNL_TEXT_BYTES,
			 "the kernel module blkship is not loaded; load it with: modprobe blkship");
	else
		snprintf(why, KNL_TEXT_BYTES, "generic netlink: %s", strerror(-ret));
	knl_close(nl);
	return ret;
}

void knl_close(struct knl *nl)
{
	if (!nl)
		return;
	nl_socket_free(nl->sock);
	free(nl);
}

/* -- calls -- */

/* The kernel's sentence behind an error, where it sent one. */
static void error_text(struct knl *nl, struct nlmsgerr *err)
{
	struct nlmsghdr *h = (struct nlmsghdr *)((char *)err - NLMSG_HDRLEN);
	struct nlattr *attrs[NLMSGERR_ATTR_MAX + 1];
	size_t skip = sizeof(*err);

	if (!(h->nlmsg_flags & NLM_F_CAPPED))
		skip += err->msg.nlmsg_len - NLMSG_HDRLEN;
	if (!(h->nlmsg_flags & NLM_F_ACK_TLVS) ||
	    h->nlmsg_len < NLMSG_HDRLEN + skip ||
	    nla_parse(attrs, NLMSGERR_ATTR_MAX, (struct nlattr *)((char *)err + skip),
		      h->nlmsg_len - NLMSG_HDRLEN - skip, NULL) ||
	    !attrs[NLMSGERR_ATTR_MSG])
		return;
	snprintf(nl->why, KNL_TEXT_BYTES, "%.*s", nla_len(attrs[NLMSGERR_ATTR_MSG]),
		 (const char *)nla_data(attrs[NLMSGERR_ATTR_MSG]));
}

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	struct knl *nl = arg;

	nl->error = err->error;
	if (err->error) {
		snprintf(nl->why, KNL_TEXT_BYTES, "%s", strerror(-err->error));
		error_text(nl, err);
	}
	return NL_STOP;
}

static int on_end(struct nl_msg *msg, void *arg)
{
	struct knl *nl = arg;

	nl->error = 0;
	return NL_STOP;
}

static uint64_t get_u64(struct nlattr **attrs, int attr)
{
	return attrs[attr] ? nla_get_u64(attrs[attr]) : 0;
}

static uint32_t get_u32(struct nlattr **attrs, int attr)
{
	return attrs[attr] ? nla_get_u32(attrs[attr]) : 0;
}

static void get_name(struct nlattr **attrs, int attr, char *out, size_t bytes)
{
	snprintf(out, bytes, "%s", attrs[attr] ? nla_get_string(attrs[attr]) : "");
}

static int told_group(struct knl *nl, struct nlattr **a)
{
	struct knl_group g = {
		.ring_bytes = get_u64(a, BLKSHIP_A_RING_BYTES),
		.ring_used_bytes = get_u64(a, BLKSHIP_A_RING_USED_BYTES),
		.in_flight = get_u64(a, BLKSHIP_A_IN_FLIGHT),
		.incarnation = get_u32(a, BLKSHIP_A_INCARNATION),
		.consumer = a[BLKSHIP_A_CONSUMER] && nla_get_u8(a[BLKSHIP_A_CONSUMER]),
		.newest_seq = get_u64(a, BLKSHIP_A_NEWEST_SEQ),
		.watermark_seq = get_u64(a, BLKSHIP_A_WATERMARK_SEQ),
		.captured = get_u64(a, BLKSHIP_A_CAPTURED),
		.captured_bytes = get_u64(a, BLKSHIP_A_CAPTURED_BYTES),
		.uncaptured = get_u64(a, BLKSHIP_A_UNCAPTURED),
		.overflows = get_u64(a, BLKSHIP_A_OVERFLOWS),
		.failed = get_u64(a, BLKSHIP_A_FAILED),
		.overlaps = get_u64(a, BLKSHIP_A_OVERLAPS),
		.timeouts = get_u64(a, BLKSHIP_A_TIMEOUTS),
	};

	get_name(a, BLKSHIP_A_GROUP, g.name, sizeof(g.name));
	return nl->each_group(nl->arg, &g);
}

static int told_volume(struct knl *nl, struct nlattr **a)
{
	uint32_t dev = get_u32(a, BLKSHIP_A_DEV);
	struct knl_volume v = {
		.index = a[BLKSHIP_A_VOLUME_INDEX] ? nla_get_u16(a[BLKSHIP_A_VOLUME_INDEX]) : 0,
		.dev_major = dev >> 20,
		.dev_minor = dev & ((1u << 20) - 1),
		.dev_start_bytes = get_u64(a, BLKSHIP_A_DEV_START_BYTES),
		.flags = get_u32(a, BLKSHIP_A_FLAGS),
		.size_bytes = get_u64(a, BLKSHIP_A_SIZE_BYTES),
		.dirty_regions = get_u64(a, BLKSHIP_A_DIRTY_REGIONS),
		.repairing_regions = get_u64(a, BLKSHIP_A_REPAIRING_REGIONS),
		.unseen = get_u64(a, BLKSHIP_A_UNSEEN),
	};

	get_name(a, BLKSHIP_A_GROUP, v.group, sizeof(v.group));
	get_name(a, BLKSHIP_A_VOLUME, v.name, sizeof(v.name));
	get_name(a, BLKSHIP_A_FRONT, v.front, sizeof(v.front));
	return nl->each_volume(nl->arg, &v);
}

static void told_event(struct knl *nl, struct nlattr **a)
{
	char group[BLKSHIP_NAME_BYTES], volume[BLKSHIP_NAME_BYTES];

	get_name(a, BLKSHIP_A_GROUP, group, sizeof(group));
	get_name(a, BLKSHIP_A_VOLUME, volume, sizeof(volume));
	nl->each_event(nl->arg, get_u32(a, BLKSHIP_A_EVENT), group, volume[0] ? volume : NULL);
}

/* A kernel newer than us may send attributes we do not know: they are skipped. */
static int on_message(struct nl_msg *msg, void *arg)
{
	static struct nla_policy policy[BLKSHIP_A_MAX + 1] = {
		[BLKSHIP_A_GROUP] = { .type = NLA_STRING },
		[BLKSHIP_A_VOLUME] = { .type = NLA_STRING },
		[BLKSHIP_A_FRONT] = { .type = NLA_STRING },
		[BLKSHIP_A_VOLUME_INDEX] = { .type = NLA_U16 },
		[BLKSHIP_A_CONSUMER] = { .type = NLA_U8 },
	};
	struct knl *nl = arg;
	struct nlattr *attrs[BLKSHIP_A_MAX + 1];
	struct nlmsghdr *h = nlmsg_hdr(msg);
	int ret = 0;

	if (h->nlmsg_type != nl->family ||
	    genlmsg_parse(h, 0, attrs, BLKSHIP_A_MAX, policy))
		return NL_SKIP;
	switch (genlmsg_hdr(h)->cmd) {
	case BLKSHIP_CMD_GROUP_GET:
		ret = nl->each_group ? told_group(nl, attrs) : 0;
		break;
	case BLKSHIP_CMD_VOLUME_GET:
		ret = nl->each_volume ? told_volume(nl, attrs) : 0;
		break;
	case BLKSHIP_CMD_EVENT:
		if (nl->each_event)
			told_event(nl, attrs);
		break;
	}
	if (ret && nl->error > 0)
		nl->error = ret;
	return ret ? NL_STOP : NL_OK;
}

/* Send, and take messages until the answer has ended. msg is consumed. */
static int knl_call(struct knl *nl, struct nl_msg *msg, char *why)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);
	int ret = msg && cb ? 0 : -ENOMEM;

	nl->why = why;
	nl->error = 1;			/* not ended yet */
	if (!ret) {
		nl_cb_err(cb, NL_CB_CUSTOM, on_error, nl);
		nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_end, nl);
		nl_cb_set(cb, NL_CB_FINISH, NL_CB_CUSTOM, on_end, nl);
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, nl);
		ret = nl_send_auto(nl->sock, msg);
		ret = ret < 0 ? from_nl_error(ret) : 0;
	}
	while (!ret && nl->error > 0) {
		ret = nl_recvmsgs(nl->sock, cb);
		ret = ret < 0 && nl->error > 0 ? from_nl_error(ret) : 0;
	}
	if (ret)
		snprintf(why, KNL_TEXT_BYTES, "generic netlink: %s", strerror(-ret));
	else
		ret = nl->error;
	nlmsg_free(msg);
	nl_cb_put(cb);
	return ret;
}

static struct nl_msg *knl_message(struct knl *nl, int cmd, int flags, const char *group,
				 const char *volume)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, nl->family, 0, flags, cmd,
			       BLKSHIP_GENL_VERSION) &&
	    (!group || !nla_put_string(msg, BLKSHIP_A_GROUP, group)) &&
	    (!volume || !nla_put_string(msg, BLKSHIP_A_VOLUME, volume)))
		return msg;
	nlmsg_free(msg);
	return NULL;
}

int knl_open(struct knl **out, char *why)
{
	int ret = knl_connect(out, why);
	int on = 1;

	if (ret)
		return ret;
	nl_socket_disable_auto_ack((*out)->sock);
	setsockopt(nl_socket_get_fd((*out)->sock), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	return 0;
}

int knl_groups(struct knl *nl, int (*each)(void *arg, const struct knl_group *g), void *arg,
	      char *why)
{
	nl->each_group = each;
	nl->each_volume = NULL;
	nl->arg = arg;
	return knl_call(nl, knl_message(nl, BLKSHIP_CMD_GROUP_GET, NLM_F_DUMP, NULL, NULL), why);
}

int knl_volumes(struct knl *nl, const char *group,
	       int (*each)(void *arg, const struct knl_volume *v), void *arg, char *why)
{
	nl->each_group = NULL;
	nl->each_volume = each;
	nl->arg = arg;
	return knl_call(nl, knl_message(nl, BLKSHIP_CMD_VOLUME_GET, NLM_F_DUMP, group, NULL), why);
}

struct volume_list {
	struct knl_volume *volumes;
	size_t nr, room;
};

static int volume_list_add(void *arg, const struct knl_volume *v)
{
	struct volume_list *l = arg;

	if (l->nr == l->room) {
		size_t room = l->room ? l->room * 2 : 32;
		struct knl_volume *more = realloc(l->volumes, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		l->volumes = more;
		l->room = room;
	}
	l->volumes[l->nr++] = *v;
	return 0;
}

int knl_volume_list(struct knl *nl, const char *group, struct knl_volume **out, size_t *nr,
		    char *why)
{
	struct volume_list l = { .nr = 0 };
	int ret = knl_volumes(nl, group, volume_list_add, &l, why);

	if (ret) {
		free(l.volumes);
		return ret;
	}
	*out = l.volumes;
	*nr = l.nr;
	return 0;
}

int knl_group_new(struct knl *nl, const char *group, uint64_t ring_bytes, char *why)
{
	struct nl_msg *msg = knl_message(nl, BLKSHIP_CMD_GROUP_NEW, NLM_F_ACK, group, NULL);

	if (msg && ring_bytes && nla_put_u64(msg, BLKSHIP_A_RING_BYTES, ring_bytes)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return knl_call(nl, msg, why);
}

int knl_group_del(struct knl *nl, const char *group, char *why)
{
	return knl_call(nl, knl_message(nl, BLKSHIP_CMD_GROUP_DEL, NLM_F_ACK, group, NULL), why);
}

int knl_volume_del(struct knl *nl, const char *group, const char *volume, char *why)
{
	return knl_call(nl, knl_message(nl, BLKSHIP_CMD_VOLUME_DEL, NLM_F_ACK, group, volume), why);
}

int knl_tap_add(struct knl *nl, const char *group, const char *volume, uint32_t dev_major,
		uint32_t dev_minor, uint64_t ring_bytes, const uint32_t *meta, char *why)
{
	struct nl_msg *msg = knl_message(nl, BLKSHIP_CMD_TAP_ADD, NLM_F_ACK, group, volume);

	if (msg && (nla_put_u32(msg, BLKSHIP_A_DEV, dev_major << 20 | dev_minor) ||
		    (meta && nla_put_u32(msg, BLKSHIP_A_META, meta[0] << 20 | meta[1])) ||
		    (ring_bytes && nla_put_u64(msg, BLKSHIP_A_RING_BYTES, ring_bytes)))) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return knl_call(nl, msg, why);
}

/* -- events -- */

int knl_events_open(struct knl **out,
		   void (*each)(void *arg, enum blkship_event event, const char *group,
				const char *volume),
		   void *arg, char *why)
{
	struct knl *nl;
	int ret = knl_connect(&nl, why), id;

	if (ret)
		return ret;
	nl->each_event = each;
	nl->arg = arg;
	id = genl_ctrl_resolve_grp(nl->sock, BLKSHIP_GENL_NAME, BLKSHIP_GENL_MCGRP_EVENTS);
	ret = id < 0 ? id : nl_socket_add_membership(nl->sock, id);
	if (ret) {
		ret = from_nl_error(ret);
		snprintf(why, KNL_TEXT_BYTES, "the module's events: %s", strerror(-ret));
		knl_close(nl);
		return ret;
	}
	nl_socket_disable_seq_check(nl->sock);
	nl_socket_modify_cb(nl->sock, NL_CB_VALID, NL_CB_CUSTOM, on_message, nl);
	nl_socket_set_nonblocking(nl->sock);
	*out = nl;
	return 0;
}

int knl_events_fd(const struct knl *nl)
{
	return nl_socket_get_fd(nl->sock);
}

/* The kernel says once that it had to drop some, in the place of a message. */
int knl_events_read(struct knl *nl)
{
	int ret, lost = 0;

	/* A second time it may be the library that has no memory. */
	while ((ret = nl_recvmsgs_default(nl->sock)) == 0 || (ret == -NLE_NOMEM && !lost))
		lost = ret ? -ENOBUFS : lost;
	return lost;
}
