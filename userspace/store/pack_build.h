/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * pack_build - a pack from segments and packs, and from what of them is live.
 *
 * Fed with what is finished and never changes, as run_build.c, and with the live set
 * that thin.c found. So it needs nothing of the timeline and may work in any thread, with
 * an env of its own. It removes nothing.
 */
#ifndef BLKSHIP_PACK_BUILD_H
#define BLKSHIP_PACK_BUILD_H

#include "pack_write.h"
#include "run_build.h"
#include "thin.h"

/*
 * A piece that lives: all that must be in the pack. One that is leased lives for a reader of a
 * dropped cut only; it is taken over if it is there, as it may have gone before he came.
 */
struct pack_live {
	uint32_t segment;
	uint32_t unit_at;
	uint16_t extent_no;
	uint8_t data_sector;
	uint8_t length_shift : 7;
	uint8_t leased : 1;
};

/** pack_live_of - what an entry of a run says that its extent lives, if only for a lease */
struct pack_live pack_live_of(const struct run_entry *e, bool leased);

/** pack_live_sort - by origin, as pack_build() wants them */
void pack_live_sort(struct pack_live *live, size_t nr);

/**
 * pack_commit_stays - whether a pack made for @cuts has this commit record
 * Gaps, holds and repairs stay known, whatever became of the cut.
 */
bool pack_commit_stays(const struct thin_cuts *cuts, const struct commit_header *h);

/* What a pack is made of: a segment, or a pack in the place of some. */
struct pack_source {
	uint64_t segment;		/* number; without a pack */
	uint64_t end_limit;		/* it was given up there; 0: sealed */
	struct manifest_pack next;	/* of a segment: has the next one's place; number 0: none */
	struct manifest_pack pack;	/* number 0: none */
	/* Of who makes several: index_pack.c, pack_choose.c. */
	int error;			/* why it is not to be packed, -errno; 0: it can be */
	bool failed;			/* that came out just now */
	bool counted;			/* what its commit records take */
};

struct pack_job {
	struct env *env;
	const char *dir;
	const uint8_t *timeline;	/* 16 bytes */
	uint64_t number;		/* of the pack */
	uint64_t points_no;		/* of the points file that has @cuts */
	const struct thin_cuts *cuts;	/* that are kept; leases have no place in tables */
	const struct pack_source *sources; /* side by side, by segment */
	size_t nr_sources;
	const struct pack_live *live;	/* in the sources, by origin */
	size_t nr_live;
	const uint8_t *room;		/* as in struct pack_writer */
	const struct keyring *keys;	/* NULL: none; to read with, and to write with */
	const struct run_pace *pace;
};

/**
 * pack_build - write it, durably
 * @bad: out, on failure: the source whose fault it is; nr_sources: nobody's
 * Return: 0; -EBADMSG a source is damaged, or does not have what is said to live in it;
 * -ENOKEY; -EFBIG; -errno; what the pace returned. Then nothing is left.
 */
int pack_build(const struct pack_job *job, struct manifest_pack *out, size_t *bad);

#endif
