/* SPDX-License-Identifier: GPL-2.0-only */
/* world - the state of one seed of the store's simulation, for its parts. */
#ifndef STORE_SIM_WORLD_H
#define STORE_SIM_WORLD_H

#include "store_sim.h"

#include "../host/history.h"
#include "../host/sim_env.h"
#include "nonces.h"

#define DIR "/tl"

struct store_sim {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	struct history h;
	struct index_job *job;
	bool job_done;
	uint64_t acked, sent;
	bool greeted;
	bool armed;		/* something is to fail in this life */
	bool faulty;		/* something failed or was turned so far: runs may be bad */
	bool turned;		/* a bit was, perhaps where nobody has looked since */
	uint64_t seal_bytes;
	struct keyring *keys[2];	/* one key; that and another one */
	unsigned int nr_keys;	/* in use in this life; 0: in clear */
	bool encrypts;
	struct nonces *nonces;
	bool retention;		/* points are dropped */
	uint64_t clock_ns;	/* the target's, about */
	bool lost;		/* the points file is, until a life has made it again */
	uint64_t gone;		/* up to here commits were seen to be dropped, or not */
	bool *dropped;		/* by ordinal */
	size_t max_dropped;
	uint64_t pin;		/* a point that must stay; 0: none */
	size_t pinned;		/* its batch */
	struct timeline *reader; /* that looks at it while others go, and their space */
	struct view *view;
	struct timeline *late;	/* late.c: a reader that lists what may be dropped by now; NULL: none */
	struct view *late_view;	/* of a point that may be, too; or NULL */
	size_t late_index;	/* its batch */
	bool trace;
	char wrong[400];
	struct store_sim_counts counts;
};

/* world.c */

/* Something is wrong: the first that is said counts. */
__attribute__((format(printf, 2, 3)))
void violation(struct store_sim *s, const char *format, ...);

uint64_t below(struct store_sim *s, uint64_t bound);

/* As timeline_open(), with the keys of this life. */
int reader_open(struct store_sim *s, struct timeline **reader, char *why);

/* What happens, if that was asked for. */
__attribute__((format(printf, 2, 3)))
void say(struct store_sim *s, const char *format, ...);

/* remade.c: nobody has the timeline open */

/* Sometimes: have a manifest that is damaged or gone made again, or keep what there was. */
void manifest_remake(struct store_sim *s);

/* check.c: what must hold */

/* No nonce on the disk was used twice. */
void check_nonces(struct store_sim *s);

/* What was dropped is never there again, and nothing is dropped that must stay. */
void check_dropped(struct store_sim *s);

/* A point is what the model says, if it was not dropped; @index: of its batch. */
void check_point(struct store_sim *s, struct timeline *tl, size_t index);
void check_some(struct store_sim *s, struct timeline *tl, unsigned int nr);

/* Runs, points file and packs; @whole: without faults, each of them is good. */
void check_index(struct store_sim *s, bool whole);
size_t nr_index_files(struct store_sim *s);
size_t nr_named_files(const struct store_sim *s);

/* What it found in the store is what the writer knows. */
void check_reader(struct store_sim *s, const struct timeline *reader);

/* Of what nobody has damaged `store check` says so. */
void check_undamaged(struct store_sim *s);

/* Whatever bit of a segment or pack turns: a reader gets right content, or an error. */
void check_damaged(struct store_sim *s);

/* lost.c: the last that is done to a store */

/* Whole files go: what is offered as good is right, and a check says what is not. */
void check_lost(struct store_sim *s);

/* late.c */

/* A reader comes; or, when there is one, it looks at what it has open, and at another point. */
void late_look(struct store_sim *s);
void late_end(struct store_sim *s);

#endif
