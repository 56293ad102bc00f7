/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * manifest_parts - what the files of a timeline prove of it, without its manifest.
 *
 * Fed with the directory; feeds manifest_rebuild.c. Segments and packs have to be there without a
 * hole, of one timeline, each where the one before ends. Nothing is written.
 */
#ifndef BLKSHIP_MANIFEST_PARTS_H
#define BLKSHIP_MANIFEST_PARTS_H

#include "manifest.h"
#include "pack_format.h"

struct manifest_numbers {
	uint64_t *items;	/* rising */
	size_t nr, max;
};

/* A segment, or a pack in the place of some. */
struct manifest_part {
	uint64_t last_segment;
	uint64_t last_ordinal;	/* in it */
	bool known;		/* that is; a segment's damaged header does not say */
};

struct manifest_parts {
	struct env *env;
	const char *dir;
	char *why;		/* TIMELINE_TEXT_BYTES; filled with what an -EUCLEAN is about */

	struct manifest_numbers segments, packs, points, runs;
	bool has_timeline;
	uint8_t timeline[16];
	struct manifest_part *parts;
	size_t nr_parts, max_parts;
	uint64_t last_ordinal;	/* that any file of the index bears witness of */
	uint64_t cut_seq;	/* highest of a commit that was looked at */
	uint64_t *sizes;	/* by volume, as the newest commit has it; 0: none does */
	size_t nr_sizes, max_sizes;
};

/** manifest_parts_list - which files there are. 0; -ENOMEM; -errno */
int manifest_parts_list(struct manifest_parts *p);
void manifest_parts_fini(struct manifest_parts *p);

/** manifest_parts_refuse - say why it cannot be, behind what is said of all. -EUCLEAN */
__attribute__((format(printf, 2, 3)))
int manifest_parts_refuse(struct manifest_parts *p, const char *format, ...);

/**
 * manifest_parts_headers - read the headers of segments, lowest first, and see that all are of
 * one timeline; those that do not check are passed over
 * @each: called with the header, and what the block has behind it; not 0: stop, and return that
 */
int manifest_parts_headers(struct manifest_parts *p,
			   int (*each)(void *arg, const struct segment_header *header,
				       const uint8_t *room, size_t bytes),
			   void *arg);

/** manifest_parts_packs - the same of packs, lowest first; those that are not whole are passed over */
int manifest_parts_packs(struct manifest_parts *p,
			 int (*each)(void *arg, const struct pack_header *header,
				     const uint8_t *room, size_t bytes),
			 void *arg);

/**
 * manifest_parts_walk - go through segments and packs from the first to the last
 * @m: its packs, and ends of segments, are known; gets the ends that are not
 */
int manifest_parts_walk(struct manifest_parts *p, struct manifest *m);

/**
 * manifest_parts_points - the points file that is to count, of those that there are
 * @named: number of the one that a record names; 0: not known
 * @out: number 0: none can
 * @older: out: a later one is there, so what it dropped comes back
 * Of those that are whole and not older than what any pack was made by that which is named, or the
 * lowest: all data that it needs are there.
 */
int manifest_parts_points(struct manifest_parts *p, const struct manifest *m,
			  uint64_t named, struct manifest_points *out, bool *older);

/** manifest_parts_witness - see up to which commit runs and points files say that all was durable */
int manifest_parts_witness(struct manifest_parts *p);

#endif
