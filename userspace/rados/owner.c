// SPDX-License-Identifier: GPL-2.0-only
#include "owner.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cluster.h"
#include "process.h"

#define LOCK_NAME	"blkship"
/* Longer than anybody keeps a machine suspended; a lock is not taken away every day. */
#define FENCED_S	(365u * 86400u)
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
	int ret = CLUSTER_CALL(c, rados_blocklist_add(c->rados, h->address, FENCED_S));

	if (ret == 0)
		ret = CLUSTER_CALL(c, rados_wait_for_latest_osdmap(c->rados));
	if (ret < 0) {
		cluster_say(c, ENV_RADOS_ERROR, "%s: fence out %s: %s; its lock was not touched; the key we use needs the right to \"osd blocklist\" (docs/RADOS.md)",
			    path, h->text, strerror(-ret));
		return ret;
	}
	ret = CLUSTER_CALL(c, rados_break_lock(c->io, object, LOCK_NAME, h->client, h->cookie));
	return ret == -ENOENT ? 0 : ret;
}

/* -- locks -- */

static int lock_once(struct cluster *c, const char *object, const char *cookie)
{
	return CLUSTER_CALL(c, rados_lock_exclusive(c->io, object, LOCK_NAME, cookie, "", NULL, 0));
}

int owner_lock(struct cluster *c, const char *object, const char *path, const char *cookie)
{
	enum rados_fate fate;
	struct holder h;
	int ret = lock_once(c, object, cookie);

	for (int i = 0; ret == -EBUSY && i < LOCK_TRIES; i++) {
		int held = holder_get(c, object, &h);

		if (held < 0)
			return held;
		fate = held ? holder_fate(c, &h) : RADOS_GONE;
		if (fate != RADOS_GONE) {
			say_held(c, path, &h, fate);
			return -EBUSY;
		}
		ret = held ? holder_evict(c, object, path, &h) : 0;
		if (ret)
			return ret;
		if (held)
			cluster_say(c, ENV_RADOS_INFO, "%s: its owner, %s, has ended without giving it back; fenced out and taken over",
				    path, h.text);
		ret = lock_once(c, object, cookie);
	}
	return ret;
}

void owner_unlock(struct cluster *c, const char *object, const char *cookie)
{
	/* Where it fails the lock stays, and our end is proof enough for the next one. */
	CLUSTER_CALL(c, rados_unlock(c->io, object, LOCK_NAME, cookie));
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
