/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * store_sim - the store through several lives on a disk that tears, loses and refuses.
 *
 * The real code (ingest, sealing, runs, merging, views) over tests/host/sim_env. A life ends
 * in a power cut after any write, sync, rename or unlink, or the process is killed; before
 * that writes, syncs and reads fail, the disk fills, bits of runs turn. After each:
 *  - it opens again;
 *  - nothing acknowledged is lost, and nothing is there that was not sent;
 *  - every point looked at is what the model says;
 *  - what a reader finds in the points file and behind it is what the writer knows;
 *  - a commit that retention dropped is never there again, unless the points file was lost, and a
 *    pinned one is never dropped;
 *  - a view of that one which stays open shows the same whatever is packed and removed;
 *  - a reader that came before others were dropped is shown what is right, or hears of it;
 *  - without faults every run and points file the manifest names is whole, and no other is there;
 *  - of each kind of operation on each kind of file the power has gone with some;
 *  - no nonce was used twice with one key (a quarter of the seeds encrypt, and get their
 *    first key, or another one, between two lives).
 * Sometimes the manifest is damaged, or goes, and is made again or that is refused.
 * What is dead then gives its space back, and the points that are left are what they were.
 * At the end a bit of a segment or pack turns: then a reader gets right content or an error.
 */
#ifndef STORE_SIM_H
#define STORE_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "../host/sim_env.h"

#define STORE_SIM_KINDS	7	/* of files */

struct store_sim;

struct store_sim_counts {
	uint64_t points;	/* compared with the model */
	uint64_t power_cuts, kills;
	uint64_t faults;	/* that ended the timeline's writing, or a job */
	uint64_t jobs, merges, points_files; /* whose result was taken */
	uint64_t dropped;	/* commits, by retention */
	uint64_t views;		/* of a pinned point, looked at while they stay open */
	uint64_t late;		/* points looked at by readers that had come before ... */
	uint64_t refused;	/* ... and that these heard were dropped */
	uint64_t left_out;	/* entries of runs, by merging */
	uint64_t packs;		/* in the place of segments and of other packs */
	uint64_t rebuilt;	/* points files that were lost and held the only list */
	uint64_t remade, not_remade; /* manifests that were spoilt */
	uint64_t strays;	/* found and removed when opening */
	uint64_t flips;
	uint64_t unhurt;	/* points offered as good, and right, where whole files are lost */
	uint64_t units;		/* encrypted ones that were on the disk at some time */
	struct store_sim_edge {
		uint64_t nr;	/* operations ... */
		uint64_t cuts;	/* ... with which the power went */
	} edges[SIM_NR_OPS][STORE_SIM_KINDS];
};

/** store_sim_edge_name - what an element of edges is about: "write of a segment"; static */
const char *store_sim_edge_name(unsigned int op, unsigned int kind);

struct store_sim *store_sim_create(void);
void store_sim_destroy(struct store_sim *s);

/**
 * store_sim_run - one seed
 * Return: NULL; what is wrong, valid until the next call.
 */
const char *store_sim_run(struct store_sim *s, uint64_t seed, bool trace);

const struct store_sim_counts *store_sim_counts(const struct store_sim *s);

#endif
