/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * indexer - the worker that makes runs, points files and packs for all groups of a target.
 *
 * Beside stage [7 timeline store]. Fed by what index.c plans, one job at a time; feeds
 * the timelines with the result. The work is done in a thread with files of its own, at a
 * bounded rate; whatever touches a timeline happens in the loop's thread. What fails is
 * told once and tried again later; nobody waits for it.
 */
#ifndef BLKSHIP_INDEXER_H
#define BLKSHIP_INDEXER_H

#include "../lib/loop.h"
#include "groups.h"

struct indexer;

/**
 * indexer_create - begin
 * @groups: borrowed until indexer_destroy()
 * @store: whose groups they are: the thread reaches them by itself
 * @bytes_per_s: what it reads, and what it writes, at most
 * Return: 0 or -errno.
 */
int indexer_create(struct loop *loop, struct groups *groups, const char *store,
		   uint64_t bytes_per_s, struct indexer **out);

/** indexer_destroy - end; a job under way is given up after at most one write or sync */
void indexer_destroy(struct indexer *ix);

#endif
