/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * opener - opens the groups that a store has, so that those without a source are looked after.
 *
 * Beside groups.h, in the loop's thread. Retention, packing and the index work on groups that
 * are open; without this one whose source never comes back would keep everything for ever. One
 * at a time, with whatever else waits in between. One that cannot be opened is alarmed once and
 * tried again; the others go on.
 */
#ifndef BLKSHIP_OPENER_H
#define BLKSHIP_OPENER_H

#include <jansson.h>

#include "../lib/loop.h"
#include "groups.h"

struct opener;

/**
 * opener_create - look which groups there are, and begin
 * @groups: borrowed until opener_destroy()
 * @shared: other daemons may have some of them, on a cluster: those are left to them
 * Return: 0; -ENOMEM; -errno of listing.
 */
int opener_create(struct loop *loop, struct groups *groups, bool shared, struct opener **out);

/**
 * opener_retry_ns - how long a group that could not be opened is left alone
 * @took_ns: to find that out; nothing else is served meanwhile
 */
uint64_t opener_retry_ns(uint64_t took_ns);

/** opener_destroy - NULL is fine */
void opener_destroy(struct opener *op);

/** opener_waiting - groups that were not tried yet; of NULL: none */
size_t opener_waiting(const struct opener *op);

/** opener_failed - a new array of {"group", "error"}: cannot be opened; of NULL: none */
json_t *opener_failed(const struct opener *op);

#endif
