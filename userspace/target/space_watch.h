/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * space_watch - how much room a target has, told before it is at its end; caps are held.
 *
 * Beside groups.h. A thread counts what all groups take, open or not, and what the disk has left,
 * again and again but for a hundredth of the time at most; in between what comes in is added. What
 * space_warn.h says of it is alarmed once, until it is over. At a cap what comes in is refused,
 * as by a full disk; nothing is ever dropped for it.
 */
#ifndef BLKSHIP_SPACE_WATCH_H
#define BLKSHIP_SPACE_WATCH_H

#include <jansson.h>

#include "../lib/loop.h"
#include "groups.h"
#include "limits_conf.h"

struct space_watch;

/**
 * space_watch_create - begin
 * @groups, @limits: borrowed until space_watch_destroy()
 * @store: whose groups they are: the thread reaches them by itself
 * Return: 0 or -errno.
 */
int space_watch_create(struct loop *loop, struct groups *groups, const char *store,
		       const struct limits_conf *limits, struct space_watch **out);

/** space_watch_destroy - a count under way is given up after one directory; NULL is fine */
void space_watch_destroy(struct space_watch *sw);

/** space_watch_came - so many bytes came in for a group */
void space_watch_came(struct space_watch *sw, const char *group, uint64_t bytes);

/**
 * space_watch_refuses - whether a cap keeps this group from taking more
 * @why: out if it does, SPACE_WATCH_TEXT_BYTES: a sentence for its source
 */
bool space_watch_refuses(const struct space_watch *sw, const char *group, char *why);

#define SPACE_WATCH_TEXT_BYTES 192

/**
 * space_watch_status - {"free_bytes", "taken_bytes", "max_bytes", "warnings": [{"of", "name",
 * "warning", "text"}]}; null: it was not counted yet
 */
json_t *space_watch_status(const struct space_watch *sw);

#endif
