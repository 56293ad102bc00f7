/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * space_count - what all groups of a store take on disk, with their branches.
 *
 * Fed by an env; feeds space_watch.h.
 */
#ifndef BLKSHIP_SPACE_COUNT_H
#define BLKSHIP_SPACE_COUNT_H

#include <stdbool.h>

#include "../lib/name.h"
#include "../store/space.h"

struct space_counted {
	char group[NAME_BYTES];
	struct space space;	/* data_bytes and index_bytes; the rest is for who has it open */
	uint64_t branch_bytes;
	uint64_t came_bytes;	/* 0; for who adds what comes in */
};

struct space_count {
	struct space_counted *items;	/* freed with free() */
	size_t nr, max;
	bool has_free;
	uint64_t free_bytes;		/* where they are */
};

/**
 * space_count_all - count
 * @dir: of the groups; none is there yet: nothing is taken
 * @stopped: asked before each directory; true: give up
 * @out: out; on failure too, free its items
 * Return: 0; -ECANCELED; -ENOMEM; -errno of listing.
 */
int space_count_all(struct env *env, const char *dir, bool (*stopped)(void *arg), void *arg,
		    struct space_count *out);

/** space_count_find - that group; NULL: it is not there */
struct space_counted *space_count_find(const struct space_count *c, const char *group);

/** space_count_get - the same, made when it is not there; NULL: no memory */
struct space_counted *space_count_get(struct space_count *c, const char *group);

/** space_counted_bytes - all it takes, and what came */
uint64_t space_counted_bytes(const struct space_counted *counted);

#endif
