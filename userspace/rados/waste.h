/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * waste - when the data of removed files go: docs/RADOS.md, "Removed files".
 *
 * Only the owner of a directory removes them, which is the process: what an env of it removes is
 * looked after by that env, also if another one has the lock.
 */
#ifndef BLKSHIP_WASTE_H
#define BLKSHIP_WASTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

struct cluster;

/* A directory that is ours, as who has its lock keeps it. */
struct waste_dir {
	const char *dir;
	const void *env;	/* of the lock */
	uint64_t swept_ns;	/* monotonic: when waste in it was last looked for, all of it */
	bool busy;		/* it is just now */
	LIST_ENTRY(waste_dir) link;	/* of the cluster */
};

/** waste_own - the lock was taken; in use until waste_disown(). Removes what is due */
void waste_own(struct cluster *c, struct waste_dir *w, const void *env, const char *dir);
void waste_disown(struct cluster *c, struct waste_dir *w);

/**
 * waste_tidy - @env has removed something in @dir
 * Once a minute what is due goes, if the directory is ours. The env that has the lock has data that
 * come in waiting: it spends little time. What is left goes after the next removals.
 */
void waste_tidy(struct cluster *c, const void *env, const char *dir);

#endif
