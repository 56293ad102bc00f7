/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_aside - files of a timeline that cannot be read now: what is beside them goes on.
 *
 * Pure; in memory only. Fed by jobs of the index that failed because of a file; feeds the
 * planning of the next ones, and whoever wants to tell of it.
 */
#ifndef BLKSHIP_PACK_ASIDE_H
#define BLKSHIP_PACK_ASIDE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So long a file that cannot be read is left alone. */
#define PACK_ASIDE_NS (UINT64_C(6 * 3600) * 1000000000)

struct pack_aside {
	uint64_t segment;	/* the first it stands for */
	uint64_t pack;		/* number; 0: the segment itself */
	int error;		/* -errno */
	bool run;		/* of making a run of it; else of packing it */
	uint64_t until_ns;	/* monotonic: then it is tried again */
};

struct pack_asides {
	struct pack_aside *items;
	size_t nr, max;
};

/** pack_aside_is_due - whether an error is one of the file that was read */
bool pack_aside_is_due(int error);

/** pack_aside_find - that file, unless it is to be tried again by now; NULL: it is not there */
const struct pack_aside *pack_aside_find(const struct pack_asides *list, uint64_t segment,
					 uint64_t pack, bool run, uint64_t now_ns);

/** pack_aside_add - put it there, or begin its time anew; 0 or -ENOMEM */
int pack_aside_add(struct pack_asides *list, const struct pack_aside *add);

/** pack_aside_drop - forget those of some segments; whether there was any */
bool pack_aside_drop(struct pack_asides *list, uint64_t first, uint64_t last, bool run);

/** pack_aside_renew - those that were not packed though their time was over: until then again */
void pack_aside_renew(struct pack_asides *list, uint64_t now_ns, uint64_t until_ns);

/** pack_aside_retry - forget when they were tried: something has changed */
void pack_aside_retry(struct pack_asides *list);

#endif
