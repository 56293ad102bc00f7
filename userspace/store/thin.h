/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * thin - which versions no kept point shows, and which files to write anew for it.
 *
 * Pure. Fed with the entries of all runs in their order; feeds pack_build.c and
 * merging. docs/PACK.md has the rule and why dropping what is dead changes no view.
 */
#ifndef BLKSHIP_THIN_H
#define BLKSHIP_THIN_H

#include <stdbool.h>

#include "run.h"

/* The cuts that exist: @cuts up to @settled_cut, and every one from there on. */
struct thin_cuts {
	const uint64_t *cuts;	/* rising */
	size_t nr;
	uint64_t settled_cut;
};

/** thin_interval - the highest label of the interval that @label lies in */
uint64_t thin_interval(const struct thin_cuts *cuts, uint64_t label_seq);

/** thin_cut_is_kept - whether a view may ask for it */
bool thin_cut_is_kept(const struct thin_cuts *cuts, uint64_t cut_seq);

/**
 * thin_cuts_add - those, and some more
 * @more: in any order
 * @out: allocated, rising; free() them
 * Return: 0; -ENOMEM.
 */
int thin_cuts_add(const struct thin_cuts *cuts, const uint64_t *more, size_t nr_more,
		  uint64_t **out, size_t *nr);

/* -- from entries to what is dead -- */

/* The newest version in an interval at a place. */
struct thin_version {
	uint64_t interval;
	struct run_entry entry;
};

/* A place that holds the one in hand, or that one. */
struct thin_place {
	uint64_t offset_bytes;
	uint16_t volume;
	uint8_t length_shift;
	size_t first;		/* of its versions: those up to the next place's */
};

struct thin {
	const struct thin_cuts *cuts;
	struct thin_place places[RUN_MAX_SHIFT - RUN_MIN_SHIFT + 1];
	size_t nr_places;
	struct thin_version *versions;	/* of all places, by place; intervals fall in each */
	size_t nr_versions, max_versions;
};

/** thin_begin - @cuts: borrowed until thin_end() */
void thin_begin(struct thin *t, const struct thin_cuts *cuts);
void thin_end(struct thin *t);

/**
 * thin_take - the next entry of all there are, in the order of run_entry_compare()
 * @dead: out, whether a newer version in its interval covers it
 * Return: 0; -ENOMEM.
 */
int thin_take(struct thin *t, const struct run_entry *e, bool *dead);

/* -- which files -- */

#define THIN_PACK_BYTES	(32u << 20)	/* of live data and commits, about, in one pack */
#define THIN_DEAD_PERCENT 25		/* a file with that much dead is worth writing anew */
#define THIN_SMALL_FILES 8		/* so many small ones side by side become one */

/* A segment, or a pack in the place of several. */
struct thin_file {
	uint64_t first_segment, last_segment;
	bool is_pack;
	uint64_t data_bytes;	/* that were live when it was made; of a segment thin_file_count()
				 * adds them up */
	uint64_t live_bytes;
	uint64_t need_bytes;	/* in a pack at most; thin_file_count() adds what is live */
	size_t nr_live;		/* pieces */
	bool aside;		/* it cannot be read, or not be looked into: left as it is */
	size_t nr_dead;		/* pieces of which runs have an entry still */
	uint64_t commit_bytes;	/* of records that a pack keeps, where that is known; in need_bytes too */
	uint64_t file_bytes;	/* of a pack */
};

/* How much may become one pack. */
struct thin_limits {
	size_t nr_files;
	size_t nr_live;		/* pieces */
	uint64_t need_bytes;	/* as much as there is room for ... */
	uint64_t pack_bytes;	/* ... and what of it a pack takes for no file in particular */
};

/** thin_file_find - the one that has a segment; @files by segment; NULL: none has */
struct thin_file *thin_file_find(struct thin_file *files, size_t nr, uint64_t segment);

/** thin_file_count - an entry of it was looked at */
void thin_file_count(struct thin_file *file, const struct run_entry *e, bool dead);

/** thin_file_is_worth_it - whether so much of it is dead that it is written anew by itself */
bool thin_file_is_worth_it(const struct thin_file *file);

/**
 * thin_choose - the next files, side by side, that become one pack
 * @limits: a file that is over them by itself is left as it is
 * @from: in and out: where to look on
 * Return: how many, from @files[*first] on; 0: no more.
 */
size_t thin_choose(const struct thin_file *files, size_t nr, const struct thin_limits *limits,
		   size_t *from, size_t *first);

#endif
