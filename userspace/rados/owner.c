// SPDX-License-Identifier: GPL-2.0-only
#include "owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/env_host.h"
#include "cluster.h"
#include "process.h"

#define LOCK_NAME	"blkship"
#define LOCK_TRIES	3
#define ADDRESS_BYTES	256

/* Who holds a lock, as the cluster tells. */
struct holder {
	char client[64];
	char cookie[RADOS_OWNER_BYTES];
	char address[ADDRESS_BYTES];
	char text[ADDRESS_BYTES + 128];	/* for messages */
};

/* -- holders -- */

static void holder_describe(struct holder *h)
{
	struct rados_owner o;

	if (rados_owner_parse(h->cookie, &o) == 0)
		snprintf(h->text, sizeof(h->text), "process %u of %s (%s)", o.pid, o.host,
			 h->address);
	else
		snprintf(h->text, sizeof(h->text), "%s (%s)", h->client, h->address);
}

/* 1; 0 when nobody has it; -errno. */
static int holder_get(struct cluster *c, const char *object, struct holder *h)
{
	size_t client_bytes = sizeof(h->client), cookie_bytes = sizeof(h->cookie);
	size_t address_bytes = sizeof(h->address), tag_bytes;
	char tag[64];
	int exclusive, nr;

	tag_bytes = sizeof(tag);
	memset(h, 0, sizeof(*h));
	nr = CLUSTER_CALL(c, (int)rados_list_lockers(c->io, object, LOCK_NAME, &exclusive, tag,
						     &tag_bytes, h->client, &client_bytes,
						     h->cookie, &cookie_bytes, h->address,
						     &address_bytes));
	if (nr <= 0)
		return nr == -ENOENT ? 0 : nr;
	holder_describe(h);
	return 1;
}

static enum rados_fate holder_fate(const struct cluster *c, const struct holder *h)
{
	struct rados_sighting seen;
	struct rados_owner o;

	if (rados_owner_parse(h->cookie, &o))
		return RADOS_ELSEWHERE;
	seen = process_look(o.pid);
	return rados_owner_fate(&o, &c->self, &seen);
}

static void say_held(struct cluster *c, const char *path, const struct holder *h,
		     enum rados_fate fate)
{
	static const char *const why[] = {
		[RADOS_RUNS] = "which is running",
		[RADOS_ELSEWHERE] = "of another machine or pid namespace, so that it cannot be seen from here whether it has ended",
		[RADOS_HIDDEN] = "whose pid is in use, but /proc does not show by what (hidepid=?)",
	};

	cluster_say(c, ENV_RADOS_ERROR, "%s: is held by %s, %s; stop that one, or, if it cannot be reached, start blkship-targetd with --takeover, which fences it out",
		    path, h->text, why[fate]);
}

static bool holder_is_us(const struct cluster *c, const struct holder *h)
{
	char client[64];

	snprintf(client, sizeof(client), "client.%llu",
		 (unsigned long long)rados_get_instance_id(c->rados));
	return strcmp(client, h->client) == 0;
}

/* First no write of it is carried out any more, then its lock goes. */
static int holder_evict(struct cluster *c, const char *object, const char *path,
			struct holder *h)
{
	int ret = CLUSTER_CALL(c, monitors_fence(&c->monitors, h->address));

	if (ret < 0) {
		cluster_say(c, ENV_RADOS_ERROR, "%s: fence out %s: %s; its lock was not touched; see `ceph -s`; the key we use needs the right to \"osd blocklist\" (docs/RADOS.md)",
			    path, h->text, strerror(-ret));
		return ret;
	}
	ret = CLUSTER_CALL(c, rados_break_lock(c->io, object, LOCK_NAME, h->client, h->cookie));
	return ret == -ENOENT ? 0 : ret;
}

/* -- locks -- */

static int lock_once(struct cluster *c, const struct owner_lock *l)
{
	return CLUSTER_CALL(c, rados_lock_exclusive(c->io, l->object, LOCK_NAME, l->cookie, "",
						    NULL, 0));
}

static int unlock(struct cluster *c, const char *object, const char *cookie)
{
	int ret = CLUSTER_CALL(c, rados_unlock(c->io, object, LOCK_NAME, cookie));

	return ret == -ENOENT ? 0 : ret;
}

/* Before it is asked for: nobody takes it for one that was left behind. */
static void held_add(struct cluster *c, struct owner_lock *l)
{
	struct rados_owner self = c->self;

	env_host_random(NULL, &self.nonce, sizeof(self.nonce));
	rados_owner_format(&self, l->cookie);
	pthread_mutex_lock(&c->lock);
	LIST_INSERT_HEAD(&c->held, l, link);
	pthread_mutex_unlock(&c->lock);
}

static void held_remove(struct cluster *c, struct owner_lock *l)
{
	pthread_mutex_lock(&c->lock);
	LIST_REMOVE(l, link);
	pthread_mutex_unlock(&c->lock);
	l->cookie[0] = 0;
}

/* Ours, and yet nobody has it: what we asked last was carried out, or not, but not answered. */
static bool holder_is_leftover(struct cluster *c, const struct holder *h)
{
	const struct owner_lock *l;

	if (!holder_is_us(c, h))
		return false;
	pthread_mutex_lock(&c->lock);
	LIST_FOREACH(l, &c->held, link)
		if (strcmp(l->cookie, h->cookie) == 0)
			break;
	pthread_mutex_unlock(&c->lock);
	return !l;
}

/* Make who has it let go. Return: 0, it may be asked for again; -errno. */
static int holder_dismiss(struct cluster *c, const struct owner_lock *l, const char *path)
{
	enum rados_fate fate;
	struct holder h;
	int ret = holder_get(c, l->object, &h);

	if (ret <= 0)
		return ret;
	if (holder_is_leftover(c, &h))
		return unlock(c, l->object, h.cookie);
	fate = holder_fate(c, &h);
	if (fate != RADOS_GONE) {
		say_held(c, path, &h, fate);
		return -EBUSY;
	}
	ret = holder_evict(c, l->object, path, &h);
	if (ret == 0)
		cluster_say(c, ENV_RADOS_INFO, "%s: its owner, %s, has ended without giving it back; fenced out and taken over",
			    path, h.text);
	return ret;
}

int owner_lock(struct cluster *c, const char *path, struct owner_lock *l)
{
	int ret;

	held_add(c, l);
	ret = lock_once(c, l);
	for (int i = 0; ret == -EBUSY && i < LOCK_TRIES; i++) {
		ret = holder_dismiss(c, l, path);
		if (ret)
			break;
		ret = lock_once(c, l);
	}
	if (ret)
		held_remove(c, l);
	return ret;
}

void owner_unlock(struct cluster *c, const char *path, struct owner_lock *l)
{
	int ret = unlock(c, l->object, l->cookie);

	held_remove(c, l);
	if (ret && ret != -ENOLINK)
		cluster_say(c, ENV_RADOS_WARNING, "%s: giving back its lock: %s; this process can take it again, others when it has ended",
			    path, strerror(-ret));
}

int owner_evict(struct cluster *c, const char *object, const char *path)
{
	struct holder h;
	int ret = holder_get(c, object, &h);

	if (ret <= 0 || holder_is_us(c, &h))
		return ret < 0 ? ret : 0;
	ret = holder_evict(c, object, path, &h);
	if (ret < 0)
		return ret;
	cluster_say(c, ENV_RADOS_WARNING, "%s: taken over from %s, which is fenced out: nothing it still sends is carried out",
		    path, h.text);
	return 1;
}
