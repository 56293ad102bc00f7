/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * check_state - what checks of a timeline have found, kept beside its segments.
 *
 * Fed by check.h; feeds whoever lists or restores points. One file, check.json
 * (docs/CHECK.md), replaced as a whole; without it nothing was checked. A pass over all
 * segments may be made of several runs: what it finds marks points at once, what it
 * does not find any more is forgotten when it ends.
 */
#ifndef BLKSHIP_CHECK_STATE_H
#define BLKSHIP_CHECK_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"

/* Cuts, both ends included. */
struct check_range {
	uint64_t from_seq;
	uint64_t to_seq;
};

/* The points that were listed when a pass began: all up to a cut, but for these. */
struct check_scope {
	uint64_t newest_seq;		/* 0: there is none */
	struct check_range *unlisted;	/* ascending */
	size_t nr_unlisted, max_unlisted;
};

struct check_found {
	struct check_damage damage;
	uint64_t pass;
};

struct check_state {
	uint64_t finished_ns;		/* when the last whole pass ended; 0: none has */
	struct check_scope checked;	/* by it */
	uint64_t pass;			/* number of the one that is under way, or of the last */
	uint64_t next_segment;		/* where it goes on; 0: it has ended */
	uint64_t packs_read;		/* packs up to this number that lie before it were read */
	struct check_scope checking;	/* by the one that is under way */
	struct check_found *found;
	size_t nr_found, max_found;
};

/**
 * check_state_load - read it
 * Return: 0, also when there is none; -EBADMSG not valid, or of another timeline;
 * -ENOMEM; -errno. @state is empty then. check_state_fini() is due in all cases.
 */
int check_state_load(struct timeline *tl, struct check_state *state);

/** check_state_save - durable on return; 0 or -errno */
int check_state_save(struct timeline *tl, const struct check_state *state);
void check_state_fini(struct check_state *state);

/**
 * check_state_glance - whether a pass over the timeline in @dir is under way, else when the last ended
 * What cannot be read, or is of another timeline, counts as none; check_state_load() tells.
 */
void check_state_glance(struct env *env, const char *dir, bool *under_way, uint64_t *finished_ns);

/** check_state_is_under_way - whether a pass over @tl is, so that check_run() can go on */
bool check_state_is_under_way(const struct check_state *state, const struct timeline *tl);

/** check_state_begin - a pass begins, over what @tl lists now; 0 or -ENOMEM */
int check_state_begin(struct check_state *state, struct timeline *tl);

/** check_state_add - what a run of the pass found, and how far it came; 0 or -ENOMEM */
int check_state_add(struct check_state *state, const struct check *check);

/** check_damage_is_same - whether it is the same that was found before, or by another run */
bool check_damage_is_same(const struct check_damage *a, const struct check_damage *b);

#define CHECK_TEXT_BYTES 80

/** check_damage_text - which file, and what is wrong with it, for people */
void check_damage_text(const struct check_damage *d, char *text, size_t bytes);

/** check_state_end - the pass has read everything */
void check_state_end(struct check_state *state, uint64_t now_ns);

/** check_state_has_seen - whether a check has found out which points need what a hole had */
bool check_state_has_seen(const struct check_state *state, const struct timeline_hole *hole);

/** check_state_damage - what is known to be damaged in the view of a cut, or NULL */
const struct check_damage *check_state_damage(const struct check_state *state, uint64_t cut_seq);

/** check_state_has_checked - whether all of the view of a cut was read and was good */
bool check_state_has_checked(const struct check_state *state, uint64_t cut_seq);

#endif
