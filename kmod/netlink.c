// SPDX-License-Identifier: GPL-2.0
/*
 * Control from userspace. Every command, listing included, needs
 * CAP_SYS_ADMIN in the initial user namespace: what is protected where is
 * nobody else's business. The generic flags would ask for CAP_NET_ADMIN, which
 * a storage daemon has no reason to hold, so the handlers ask themselves.
 */
#include <linux/module.h>

#include "compat.h"
#include "front_tap.h"
#include "netlink.h"
#include "volume.h"

static const struct nla_policy group_new_policy[] = {
	[BLKSHIP_A_GROUP] = { .type = NLA_NUL_STRING,
			      .len = BLKSHIP_NAME_BYTES - 1 },
	[BLKSHIP_A_RING_BYTES] = { .type = NLA_U64 },
};

static const struct nla_policy group_policy[] = {
	[BLKSHIP_A_GROUP] = { .type = NLA_NUL_STRING,
			      .len = BLKSHIP_NAME_BYTES - 1 },
};

static const struct nla_policy volume_policy[] = {
	[BLKSHIP_A_GROUP] = { .type = NLA_NUL_STRING,
			      .len = BLKSHIP_NAME_BYTES - 1 },
	[BLKSHIP_A_VOLUME] = { .type = NLA_NUL_STRING,
			       .len = BLKSHIP_NAME_BYTES - 1 },
};

static const struct nla_policy tap_policy[] = {
	[BLKSHIP_A_GROUP] = { .type = NLA_NUL_STRING,
			      .len = BLKSHIP_NAME_BYTES - 1 },
	[BLKSHIP_A_VOLUME] = { .type = NLA_NUL_STRING,
			       .len = BLKSHIP_NAME_BYTES - 1 },
	[BLKSHIP_A_RING_BYTES] = { .type = NLA_U64 },
	[BLKSHIP_A_DEV] = { .type = NLA_U32 },
	[BLKSHIP_A_META] = { .type = NLA_U32 },
};

static struct genl_family family;

static int check_allowed(struct sk_buff *skb, struct netlink_ext_ack *extack)
{
	if (netlink_capable(skb, CAP_SYS_ADMIN))
		return 0;
	NL_SET_ERR_MSG(extack, "needs CAP_SYS_ADMIN");
	return -EPERM;
}

/* A message chosen at run time; the macros take only literals. */
static int explain(struct genl_info *info, const char *why, int ret)
{
	if (ret && why && info->extack)
		info->extack->_msg = why;
	return ret;
}

static int name_of(struct genl_info *info, int attr, const char *missing,
		   const char **name)
{
	if (!info->attrs[attr])
		return explain(info, missing, -EINVAL);
	*name = nla_data(info->attrs[attr]);
	return 0;
}

/* Whether the caller may do this, and to which group or, if asked for, volume. */
static int begin(struct sk_buff *skb, struct genl_info *info,
		 const char **group, const char **volume)
{
	int ret = check_allowed(skb, info->extack);

	if (!ret)
		ret = name_of(info, BLKSHIP_A_GROUP, "a group must be named",
			      group);
	if (!ret && volume)
		ret = name_of(info, BLKSHIP_A_VOLUME, "a volume must be named",
			      volume);
	return ret;
}

static int do_group_new(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *bytes = info->attrs[BLKSHIP_A_RING_BYTES];
	const char *name, *why = NULL;
	struct blkship_group *grp;
	int ret = begin(skb, info, &name, NULL);

	if (ret)
		return ret;
	ret = blkship_group_create(name, bytes ? nla_get_u64(bytes) : 0, &grp,
				   &why);
	if (ret)
		return explain(info, why, ret);
	blkship_group_put(grp);
	return 0;
}

static int do_group_del(struct sk_buff *skb, struct genl_info *info)
{
	const char *name, *why = NULL;
	int ret = begin(skb, info, &name, NULL);

	if (ret)
		return ret;
	return explain(info, why, blkship_group_delete(name, &why));
}

static int do_volume_del(struct sk_buff *skb, struct genl_info *info)
{
	const char *group, *volume, *why = NULL;
	int ret = begin(skb, info, &group, &volume);

	if (ret)
		return ret;
	ret = blkship_tap_remove(group, volume);
	if (ret == -ENOENT)
		ret = blkship_volume_delete(group, volume, &why);
	return explain(info, why, ret);
}

static int do_tap_add(struct sk_buff *skb, struct genl_info *info)
{
	struct nlattr *dev = info->attrs[BLKSHIP_A_DEV];
	struct nlattr *bytes = info->attrs[BLKSHIP_A_RING_BYTES];
	struct nlattr *meta = info->attrs[BLKSHIP_A_META];
	const char *group, *volume, *why = NULL;
	int ret = begin(skb, info, &group, &volume);

	if (ret)
		return ret;
	if (!dev)
		return explain(info, "a device must be named", -EINVAL);
	ret = blkship_tap_add(group, volume, nla_get_u32(dev),
			      meta ? nla_get_u32(meta) : 0,
			      bytes ? nla_get_u64(bytes) : 0, &why);
	return explain(info, why, ret);
}

static int put_u64(struct sk_buff *skb, int attr, u64 value)
{
	return nla_put_u64_64bit(skb, attr, value, BLKSHIP_A_PAD);
}

/* The group's positions and counters, of one instant. */
static int put_group(struct sk_buff *skb, struct blkship_group *grp)
{
	struct blkship_ring_kernel now;
	u64 used, in_flight;

	lockdep_assert_held(&blkship_mutex);
	raw_spin_lock_irq(&grp->lock);
	blkship_ring_collect(&grp->ring);
	now = *grp->ring.shared;
	used = grp->ring.payload_head - grp->ring.payload_tail;
	in_flight = grp->nr_flights;
	raw_spin_unlock_irq(&grp->lock);

	return nla_put_string(skb, BLKSHIP_A_GROUP, grp->name) ||
	       put_u64(skb, BLKSHIP_A_RING_BYTES, now.payload_bytes) ||
	       put_u64(skb, BLKSHIP_A_RING_USED_BYTES, used) ||
	       nla_put_u32(skb, BLKSHIP_A_INCARNATION, now.incarnation) ||
	       nla_put_u8(skb, BLKSHIP_A_CONSUMER, grp->consumer) ||
	       put_u64(skb, BLKSHIP_A_NEWEST_SEQ, now.newest_seq) ||
	       put_u64(skb, BLKSHIP_A_WATERMARK_SEQ, now.watermark_seq) ||
	       put_u64(skb, BLKSHIP_A_CAPTURED, now.captured) ||
	       put_u64(skb, BLKSHIP_A_CAPTURED_BYTES, now.captured_bytes) ||
	       put_u64(skb, BLKSHIP_A_UNCAPTURED, now.uncaptured) ||
	       put_u64(skb, BLKSHIP_A_OVERFLOWS, now.overflows) ||
	       put_u64(skb, BLKSHIP_A_FAILED, now.failed) ||
	       put_u64(skb, BLKSHIP_A_OVERLAPS, now.overlaps) ||
	       put_u64(skb, BLKSHIP_A_TIMEOUTS, now.timeouts) ||
	       put_u64(skb, BLKSHIP_A_IN_FLIGHT, in_flight) ?
	       -EMSGSIZE : 0;
}

static int put_volume(struct sk_buff *skb, struct blkship_volume *vol)
{
	bool fed = !(vol->flags & BLKSHIP_VOLUME_DETACHED);

	lockdep_assert_held(&blkship_mutex);
	return nla_put_string(skb, BLKSHIP_A_GROUP, vol->grp->name) ||
	       nla_put_string(skb, BLKSHIP_A_VOLUME, vol->name) ||
	       nla_put_u16(skb, BLKSHIP_A_VOLUME_INDEX, vol->index) ||
	       put_u64(skb, BLKSHIP_A_SIZE_BYTES, vol->size_bytes) ||
	       put_u64(skb, BLKSHIP_A_DEV_START_BYTES, vol->dev_start_bytes) ||
	       put_u64(skb, BLKSHIP_A_DIRTY_REGIONS,
		       READ_ONCE(vol->maps.nr_dirty)) ||
	       put_u64(skb, BLKSHIP_A_REPAIRING_REGIONS,
		       READ_ONCE(vol->maps.nr_repairing)) ||
	       nla_put_u32(skb, BLKSHIP_A_DEV, vol->dev) ||
	       nla_put_string(skb, BLKSHIP_A_FRONT,
			      fed ? vol->front_kind : "none") ||
	       put_u64(skb, BLKSHIP_A_UNSEEN, READ_ONCE(vol->unseen)) ||
	       nla_put_u32(skb, BLKSHIP_A_FLAGS, blkship_volume_flags(vol)) ?
	       -EMSGSIZE : 0;
}

/* One message about a group (vol NULL) or a volume of it. */
static int put_message(struct sk_buff *skb, u32 portid, u32 seq, int flags,
		       struct blkship_group *grp, struct blkship_volume *vol)
{
	void *head = genlmsg_put(skb, portid, seq, &family, flags,
				 vol ? BLKSHIP_CMD_VOLUME_GET :
				 BLKSHIP_CMD_GROUP_GET);

	if (!head)
		return -EMSGSIZE;
	if (vol ? put_volume(skb, vol) : put_group(skb, grp)) {
		genlmsg_cancel(skb, head);
		return -EMSGSIZE;
	}
	genlmsg_end(skb, head);
	return 0;
}

static int do_group_get(struct sk_buff *skb, struct genl_info *info)
{
	struct blkship_group *grp;
	struct sk_buff *reply;
	const char *name;
	int ret = begin(skb, info, &name, NULL);

	if (ret)
		return ret;
	reply = genlmsg_new(NLMSG_GOODSIZE, GFP_KERNEL);
	if (!reply)
		return -ENOMEM;
	mutex_lock(&blkship_mutex);
	grp = blkship_group_find(name);
	ret = grp ? put_message(reply, info->snd_portid, info->snd_seq, 0, grp,
				NULL) : -ENOENT;
	mutex_unlock(&blkship_mutex);
	if (ret) {
		nlmsg_free(reply);
		return explain(info, "no such group", ret);
	}
	return genlmsg_reply(reply, info);
}

static int dump_start(struct netlink_callback *cb)
{
	return check_allowed(cb->skb, cb->extack);
}

static bool dump_wants(struct netlink_callback *cb,
		       const struct blkship_group *grp)
{
	struct nlattr *name = blkship_dump_attrs(cb)[BLKSHIP_A_GROUP];

	return !name || !strcmp(nla_data(name), grp->name);
}

/* args[0] is the id of the last group told: ids rise and are not used twice. */
static int dump_groups(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct blkship_group *grp;

	mutex_lock(&blkship_mutex);
	list_for_each_entry(grp, &blkship_groups, link) {
		if (grp->id <= cb->args[0] || !dump_wants(cb, grp))
			continue;
		if (put_message(skb, NETLINK_CB(cb->skb).portid,
				cb->nlh->nlmsg_seq, NLM_F_MULTI, grp, NULL))
			break;
		cb->args[0] = grp->id;
	}
	mutex_unlock(&blkship_mutex);
	return skb->len;
}

/* args[0] is the group at hand, args[1] the next index in it. */
static int dump_volumes(struct sk_buff *skb, struct netlink_callback *cb)
{
	struct blkship_group *grp;

	mutex_lock(&blkship_mutex);
	list_for_each_entry(grp, &blkship_groups, link) {
		if (grp->id < cb->args[0] || !dump_wants(cb, grp))
			continue;
		if (grp->id > cb->args[0]) {
			cb->args[0] = grp->id;
			cb->args[1] = 0;
		}
		for (; cb->args[1] < BLKSHIP_MAX_VOLUMES; cb->args[1]++) {
			struct blkship_volume *vol =
				blkship_volume_at(grp, cb->args[1]);

			if (vol && put_message(skb, NETLINK_CB(cb->skb).portid,
					       cb->nlh->nlmsg_seq, NLM_F_MULTI,
					       grp, vol))
				goto out;
		}
	}
out:
	mutex_unlock(&blkship_mutex);
	return skb->len;
}

static const struct genl_ops ops[] = {
	{
		.cmd	 = BLKSHIP_CMD_GROUP_NEW,
		.doit	 = do_group_new,
		.policy	 = group_new_policy,
		.maxattr = ARRAY_SIZE(group_new_policy) - 1,
	}, {
		.cmd	 = BLKSHIP_CMD_GROUP_DEL,
		.doit	 = do_group_del,
		.policy	 = group_policy,
		.maxattr = ARRAY_SIZE(group_policy) - 1,
	}, {
		.cmd	 = BLKSHIP_CMD_GROUP_GET,
		.doit	 = do_group_get,
		.start	 = dump_start,
		.dumpit	 = dump_groups,
		.policy	 = group_policy,
		.maxattr = ARRAY_SIZE(group_policy) - 1,
	}, {
		.cmd	 = BLKSHIP_CMD_VOLUME_GET,
		.start	 = dump_start,
		.dumpit	 = dump_volumes,
		.policy	 = group_policy,
		.maxattr = ARRAY_SIZE(group_policy) - 1,
	}, {
		.cmd	 = BLKSHIP_CMD_VOLUME_DEL,
		.doit	 = do_volume_del,
		.policy	 = volume_policy,
		.maxattr = ARRAY_SIZE(volume_policy) - 1,
	}, {
		.cmd	 = BLKSHIP_CMD_TAP_ADD,
		.doit	 = do_tap_add,
		.policy	 = tap_policy,
		.maxattr = ARRAY_SIZE(tap_policy) - 1,
	},
};

static const struct genl_multicast_group multicast_groups[] = {
	{ .name = BLKSHIP_GENL_MCGRP_EVENTS,
	  .flags = GENL_MCAST_CAP_SYS_ADMIN },
};

static struct genl_family family __ro_after_init = {
	.name		= BLKSHIP_GENL_NAME,
	.version	= BLKSHIP_GENL_VERSION,
	.module		= THIS_MODULE,
	.ops		= ops,
	.n_ops		= ARRAY_SIZE(ops),
	.resv_start_op	= __BLKSHIP_CMD_MAX,
	.mcgrps		= multicast_groups,
	.n_mcgrps	= ARRAY_SIZE(multicast_groups),
	/* The handlers lock for themselves; a detach may take some seconds. */
	.parallel_ops	= true,
};

void blkship_event(enum blkship_event event, const char *group,
		   const char *volume)
{
	struct sk_buff *skb;
	void *head;

	if (!genl_has_listeners(&family, &init_net, 0))
		return;
	/* Also sent while a device is suspended: must not wait for one. */
	skb = genlmsg_new(NLMSG_GOODSIZE, GFP_NOIO);
	if (!skb)
		goto err_lost;
	head = genlmsg_put(skb, 0, 0, &family, 0, BLKSHIP_CMD_EVENT);
	if (!head || nla_put_u32(skb, BLKSHIP_A_EVENT, event) ||
	    nla_put_string(skb, BLKSHIP_A_GROUP, group) ||
	    (volume && nla_put_string(skb, BLKSHIP_A_VOLUME, volume))) {
		nlmsg_free(skb);
		goto err_lost;
	}
	genlmsg_end(skb, head);
	genlmsg_multicast(&family, skb, 0, 0, GFP_NOIO);
	return;

err_lost:
	/* As when a socket's queue is full: the listener has to ask anew. */
	genl_set_err(&family, &init_net, 0, 0, -ENOBUFS);
}

int __init blkship_netlink_init(void)
{
	return genl_register_family(&family);
}

void blkship_netlink_exit(void)
{
	genl_unregister_family(&family);
}
