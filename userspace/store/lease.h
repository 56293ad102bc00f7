/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lease - points that stay while somebody reads them: docs/STORE.md, "Leases".
 *
 * A reader makes a file beside the segments and changes it again and again; whoever drops points
 * looks which of them change. So it works wherever the store can be reached, and no clocks are
 * compared. Beside stage [7 timeline store]; fed by lease_keeper.c, feeds timeline_retain.c.
 */
#ifndef BLKSHIP_LEASE_H
#define BLKSHIP_LEASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"

#define LEASES_DIR		"leases"	/* below the timeline's */
#define LEASE_RENEW_NS		UINT64_C(60000000000)
#define LEASE_END_NS		UINT64_C(900000000000)	/* after so long without a change */
#define LEASE_LABEL_BYTES	104
#define LEASE_PATH_BYTES	4096
#define LEASE_NAME_BYTES	34	/* of the file: CUT.ID, 16 hexadecimal digits each */
#define LEASES_MAX		4096	/* of a timeline; with more nothing is dropped */

/* What is in the file; docs/STORE.md. */
struct lease_file {
	char magic[4];
	uint16_t version;
	uint16_t reserved;
	uint64_t renewals;
	uint64_t made_ns;
	char label[LEASE_LABEL_BYTES];	/* who reads; ends with a zero */
};

_Static_assert(sizeof(struct lease_file) == 128, "docs/STORE.md");

/**
 * leases_make - the directory; 0 also where it is, or -errno
 * For the writer: one that a reader of another user has made is closed to it.
 */
int leases_make(struct env *env, const char *dir);

/* -- the reader's side -- */

struct lease {
	struct env *env;
	char path[LEASE_PATH_BYTES];
	struct lease_file file;
};

/**
 * lease_take - have a point stay from now on, if it still is there: look at that afterwards
 * @dir: of the timeline
 * @label: who reads, for people; cut if it is too long
 * Return: 0, and lease_drop() is due; -errno, -EROFS or -EACCES where nothing can be written.
 */
int lease_take(struct lease *l, struct env *env, const char *dir, uint64_t cut_seq,
	       const char *label);

/** lease_renew - every LEASE_RENEW_NS; one that has ended begins anew. 0 or -errno */
int lease_renew(struct lease *l);

void lease_drop(struct lease *l);

/* -- the side of who drops points -- */

struct lease_seen {
	uint64_t cut_seq, id;
	uint32_t crc;		/* of what was in it when it was looked at last ... */
	uint64_t changed_ns;	/* ... and since when, by the monotonic clock */
	bool there;
};

struct leases {
	struct lease_seen *items;
	size_t nr, max;
	char odd[LEASE_NAME_BYTES];	/* one that cannot be read; "": all can */
	int odd_error;			/* -errno: why */
	bool odd_counts;		/* false: it is no file */
};

/**
 * leases_look - which there are now; those that did not change for LEASE_END_NS are removed
 * @now_ns: monotonic
 * One that was never seen before counts from now on. One that cannot be read counts for as long as
 * it is there: its name says of which point it is. What is no file does not.
 * Return: 0; -errno: what is leased is not known, nothing may be dropped. -E2BIG: there are more
 * than LEASES_MAX; those that are over were removed all the same.
 */
int leases_look(struct leases *l, struct env *env, const char *dir, uint64_t now_ns);
void leases_fini(struct leases *l);

/* -- for people -- */

struct lease_info {
	uint64_t cut_seq;
	uint64_t made_ns;	/* the reader's clock */
	char label[LEASE_LABEL_BYTES];
};

/**
 * leases_list - all, also of readers that are no more; *out is free()d
 * Of one that cannot be read, or is none, the label says so.
 * Return: 0; -E2BIG: there are more than LEASES_MAX, so many are in *out; -errno: nothing is.
 */
int leases_list(struct env *env, const char *dir, struct lease_info **out, size_t *nr);

/** leases_error_text - why it is not known which leases there are; @error: of leases_look() */
const char *leases_error_text(int error);

#endif
