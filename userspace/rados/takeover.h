/* SPDX-License-Identifier: GPL-2.0-only */
/* takeover - fence out whoever has a lock below a location. */
#ifndef BLKSHIP_TAKEOVER_H
#define BLKSHIP_TAKEOVER_H

struct cluster;

/**
 * takeover_below - of all directories: owners of timelines, and who works on branches
 * Locks of this process stay.
 * Return: how many locks were taken away; -errno, then some may still be there.
 */
int takeover_below(struct cluster *c);

#endif
