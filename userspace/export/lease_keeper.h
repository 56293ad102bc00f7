/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lease_keeper - a reader's lease, renewed by a thread for as long as it reads.
 *
 * It has files of its own: it may be started and stopped in any thread.
 */
#ifndef BLKSHIP_LEASE_KEEPER_H
#define BLKSHIP_LEASE_KEEPER_H

#include "../store/view.h"
#include "point_list.h"

struct lease_keeper;

/**
 * lease_keeper_start - have the point that a view shows stay while it is read
 * @what: "restore", for people
 * @out: out, NULL when none can be had, or none is needed, as of a branch
 * @why: out, POINT_TEXT_BYTES: "", or what to tell: why there is none, if the timeline has a policy;
 *	of a failure what is wrong
 * Not before the process has forked for the last time.
 * Return: 0; -ESTALE the point has been dropped.
 */
int lease_keeper_start(const char *store, const char *group, struct timeline *tl,
		       struct view *view, uint64_t cut_seq, const char *what,
		       struct lease_keeper **out, char *why);

/** lease_keeper_stop - from now on it may go; NULL is fine */
void lease_keeper_stop(struct lease_keeper *k);

#endif
