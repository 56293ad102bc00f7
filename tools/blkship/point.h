/* SPDX-License-Identifier: GPL-2.0-only */
/* point - the recovery points of a group in a store, read offline. */
#ifndef BLKSHIP_POINT_H
#define BLKSHIP_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../../userspace/lib/env.h"
#include "../../userspace/lib/when.h"
#include "../../userspace/store/check_state.h"
#include "../../userspace/store/timeline.h"

struct point {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t current_to_ns;		/* nothing was written between time_ns and this */
	uint64_t received_ns;		/* by the target's clock */
	uint64_t written_bytes;		/* since the point before */
	uint64_t nr_records;
	bool degraded;
	bool checked;			/* all of it was read and was good */
	const struct check_damage *damage; /* known, of its view; or NULL */
};

/* A group's timeline, open for reading, and its listed points by time. */
struct point_list {
	struct env *env;
	struct timeline *tl;
	struct check_state checks;
	struct point *points;
	size_t nr;
};

/**
 * point_list_open - open a group in a store
 * Heartbeats of an idle group are no points of their own: they make the point before
 * them current to a later time.
 * Return: 0, or an exit code after complaining.
 */
int point_list_open(const char *store, const char *group, struct point_list *list);
void point_list_close(struct point_list *list);

/**
 * point_refuse_damaged - complain unless all of a point can be read, as far as is known
 * Return: 0, or an exit code after complaining.
 */
int point_refuse_damaged(const struct point_list *list, const char *group,
			 const struct point *point);

/** point_find - what is meant by @when; NULL: there is none */
const struct point *point_find(const struct point_list *list, const struct when *when);

#endif
