/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * env_rados - struct env over objects of a Ceph cluster.
 *
 * A shared object of its own, blkship-rados.so: who keeps histories in directories needs
 * no Ceph. It is loaded by home.c when a location begins with "rados:". Paths are the
 * location and what follows: "rados:POOL/NAMESPACE/erp/manifest". docs/RADOS.md has how
 * files lie in objects, what is atomic, and how an owner is fenced out.
 *
 * All envs of one location in a process share one client of the cluster: an address, and
 * with it a fate when that is fenced out. Calls may be made from any thread, those of one
 * env from one at a time; submit()'s done functions are called by pump() alone.
 */
#ifndef BLKSHIP_ENV_RADOS_H
#define BLKSHIP_ENV_RADOS_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

#include "../lib/env.h"

#define ENV_RADOS_SYMBOL	"env_rados_plugin"
/* One more when anything changes that both sides see: here, and struct env_ops and env_io. */
#define ENV_RADOS_VERSION	2u
#define ENV_RADOS_TEXT_BYTES	512

static_assert(sizeof(struct env_ops) == 18 * sizeof(void (*)(void)) &&
	      offsetof(struct env_ops, submit) == 17 * sizeof(void (*)(void)),
	      "the op table has changed: so must ENV_RADOS_VERSION");

enum env_rados_level { ENV_RADOS_INFO, ENV_RADOS_WARNING, ENV_RADOS_ERROR };

/* Says one line; called from any thread. */
typedef void env_rados_say(enum env_rados_level level, const char *text);

/* What the shared object offers under ENV_RADOS_SYMBOL. */
struct env_rados_plugin {
	unsigned int version;		/* ENV_RADOS_VERSION, or it must not be used */

	/*
	 * Connect. @location: "rados:POOL[/NAMESPACE]"; the cluster and who we are there are
	 * as in ceph.conf (or $CEPH_CONF, $CEPH_ARGS).
	 * Return: 0; -EINVAL no location; -ENOENT no such pool; -ETIMEDOUT nobody answers;
	 * -errno. @why, ENV_RADOS_TEXT_BYTES: a sentence, on failure.
	 */
	int (*create)(const char *location, env_rados_say *say, struct env **out, char *why);

	/* Files are closed; waits for what was submitted and calls its done functions. */
	void (*destroy)(struct env *env);

	/* Readable when pump() has something to do. */
	int (*fd)(struct env *env);

	/* Call done for what has ended. Return: how many were called. */
	size_t (*pump)(struct env *env);

	/*
	 * Fence out whoever holds the lock of a directory below the location, unless it is this
	 * process: their addresses are blocked in the whole cluster before their
	 * locks are taken away. After this nothing they still send is carried out.
	 * Return: how many locks were taken away; -errno.
	 */
	int (*takeover)(struct env *env);
};

#endif
