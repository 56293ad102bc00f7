/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * groups - the timelines of a target by name, and who feeds each.
 *
 * Stage [6 ingest], beside session.h: sessions come and go, a timeline stays open.
 * A group belongs to the identity that made it; it has one live feeder at most.
 */
#ifndef BLKSHIP_GROUPS_H
#define BLKSHIP_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include "../lib/env.h"
#include "../store/retention.h"
#include "../store/timeline.h"

struct groups;
struct group;

#define GROUP_TEXT_BYTES 256

/* What of a group's points is kept; docs/STORE.md, "What goes". */
struct groups_retention {
	struct retention_policy policy;
	uint64_t immutable_ns;
	bool packing;		/* the space of what goes is given back: docs/PACK.md */
};

struct groups_params {
	struct env *env;
	/* Asked when a group is opened. NULL: what its manifest says. */
	void (*retention)(void *arg, const char *group, struct groups_retention *out);
	void *retention_arg;
	const char *dir;	/* holds one directory a group */
	const struct keyring *keys; /* content is encrypted with; borrowed; NULL: none */
	/* A group's timeline moved; @live is who feeds it, or NULL. */
	void (*progress)(void *arg, struct group *g, void *live);
	void *arg;
};

/** groups_create - Return: 0 or -ENOMEM. */
int groups_create(const struct groups_params *params, struct groups **out);

/** groups_destroy - close all timelines; only when groups_idle() */
void groups_destroy(struct groups *gs);

/** groups_idle - no timeline has anything in flight or to be flushed */
bool groups_idle(const struct groups *gs);

/**
 * groups_get - the group of this name for this identity, made when new
 * Return: 0; -EINVAL the name; -EACCES it belongs to somebody else; as
 * timeline_open(); with a sentence in @why, GROUP_TEXT_BYTES.
 */
int groups_get(struct groups *gs, const char *name, const char *identity, struct group **out,
	       char *why);

/**
 * groups_open - the group of this name, whoever's it is; never made
 * Return: 0; -EINVAL the name; -ENOENT there is none; as timeline_open(); with a sentence in
 * @why, GROUP_TEXT_BYTES.
 */
int groups_open(struct groups *gs, const char *name, struct group **out, char *why);

/**
 * groups_names - call each(arg, name) for whatever lies where groups do, open or not
 * Return: 0, also when there is no such place yet; -errno of listing.
 */
int groups_names(struct groups *gs, void (*each)(void *arg, const char *name), void *arg);

/** groups_find - the group with this timeline */
struct group *groups_find(struct groups *gs, const struct timeline *tl);

/** groups_next - iterate: NULL begins and ends */
struct group *groups_next(struct groups *gs, struct group *g);

struct timeline *group_timeline(struct group *g);
const char *group_name(const struct group *g);

/** group_live - who feeds it, as given to group_claim(); NULL: nobody */
void *group_live(struct group *g);

/**
 * group_claim - feed it from now on
 * @evicted: out: who fed it up to now, with the same @instance; to be ended; or NULL
 * Return: 0; -EBUSY another instance does.
 */
int group_claim(struct group *g, void *live, const uint8_t instance[16], void **evicted);

/** group_release - @live is gone; does nothing when it is somebody else's */
void group_release(struct group *g, void *live);

/** group_flush - make what was committed durable, if there is any */
void group_flush(struct group *g);

/** group_index_retry - the index failed and is not tried before this (loop_now_ns()); 0 */
uint64_t group_index_retry(const struct group *g);
void group_set_index_retry(struct group *g, uint64_t retry_ns);

#endif
