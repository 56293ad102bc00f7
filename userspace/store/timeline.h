/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * timeline - a group's history at the target: segments, manifest, points.
 *
 * Stage [7 timeline store]. Fed by the target's session (or a tool that only
 * reads); feeds recovery points and views.
 *
 * Promises (DESIGN 1.7, 4, 5):
 *  - an ordinal is durable only after its bytes and all before were synced;
 *  - what no commit record follows is void: a crash at any moment leaves
 *    exactly the durable commits, plus perhaps whole later ones;
 *  - a failed write or sync makes the open segment read-only; nothing is
 *    retried on it as if nothing had happened;
 *  - a commit that was listed as a point stays listed and never changes.
 *
 * One directory, docs/SEGMENT.md has the files:
 *	manifest		identity, volumes, incarnations: records with CRCs
 *	SSSSSSSSSSSSSSSS.seg	segments, hexadecimal number, dense from 1
 *	lock			held by the writer
 *
 * One thread. Writing is asynchronous through env->submit; everything else
 * is synchronous.
 */
#ifndef BLKSHIP_TIMELINE_H
#define BLKSHIP_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "../lib/segment_format.h"

struct keyring;
struct timeline;

#define TIMELINE_NAME_BYTES	32
#define TIMELINE_IDENTITY_BYTES	64
#define TIMELINE_OWNER_BYTES	64
#define TIMELINE_TEXT_BYTES	256

struct timeline_volume {
	uint16_t id;		/* in extents; dense from 0, never reused */
	bool has_data;		/* some committed extent names it */
	bool member;		/* the newest durable commit names it as a member */
	uint32_t log_no;	/* as it says there; 0 if it does not */
	uint64_t size_bytes;	/* newest known */
	char name[TIMELINE_NAME_BYTES];
	char identity[TIMELINE_IDENTITY_BYTES];
};

/* What the commits so far say; the answer to HELLO is made of this. */
struct timeline_state {
	uint64_t cut_seq;	/* of the newest commit received, 0: none */
	uint64_t ordinal;
	uint64_t time_ns;
	uint64_t readback_no;	/* highest used in a committed unit */
	uint64_t hold_id;	/* highest used */
	uint64_t last_gap_seq;	/* highest to_seq of any gap */
	uint64_t repaired_t0;	/* highest t0 of any repair */
	uint32_t incarnation;	/* newest granted */
	uint8_t instance[16];	/* to whom */
	uint32_t epoch;
	uint64_t durable_ordinal;
	bool failed;		/* a write or sync failed since the last timeline_void_tail */
	int error;		/* -errno of that */
};

/* A batch as the timeline knows it; stays valid until the next append or close. */
struct timeline_commit {
	uint64_t ordinal;
	uint64_t cut_seq;
	uint64_t time_ns;
	uint64_t current_to_ns;
	uint64_t target_time_ns;
	uint64_t since_ns;	/* from when its age counts, by the clock of docs/STORE.md */
	uint64_t batch_bytes;
	uint64_t written_bytes;
	uint64_t nr_records;
	uint16_t flags;		/* COMMIT_* */
	bool listed;		/* a recovery point, by DESIGN 1.7 */
	bool degraded;		/* its view holds unreadable sectors */
	const char *unlisted_why; /* "hold", "gap", or NULL */
};

#define TIMELINE_READ_ONLY	(1u << 0)
#define TIMELINE_CREATE		(1u << 1)	/* make it when it is not there */
#define TIMELINE_REBUILD	(1u << 2)	/* for a writer: make a lost manifest or points file again */
#define TIMELINE_UNPROMOTED	(1u << 3)	/* with that: no branch had become the main line */

/**
 * timeline_open - open, and after a crash recover, a timeline
 * @env: borrowed until timeline_close
 * @dir: absolute path; with TIMELINE_CREATE it is made (its parent exists)
 * @flags: TIMELINE_*
 * @owner: with TIMELINE_CREATE, who may append; kept in the manifest
 * @out: out
 * @why: out on failure, at least TIMELINE_TEXT_BYTES: what is wrong, with
 *	file and offset
 *
 * Recovery: sealed segments are trusted by trailer and footer CRC (a damaged
 * footer: scanned); the last one is scanned from its start, with ENV_DIRECT, and
 * a writer cuts off what no valid commit closes. A missing or damaged segment
 * in the middle refuses a writer (-EUCLEAN): nothing is appended to a history
 * with a hole. A reader gets it with damage noted (timeline_damage).
 *
 * A points file of which both copies are lost, and that left points out, refuses a writer, too;
 * with TIMELINE_REBUILD it is made again, with all points whose data are there for sure
 * (docs/STORE.md, "A points file that is lost"). So is a manifest that is damaged or gone
 * (docs/SEGMENT.md, "A manifest that is lost"), which refuses everybody.
 *
 * Return: 0; -ENOENT; -EBUSY another writer has it; -EUCLEAN; -EBADMSG manifest
 * damaged; other -errno.
 */
int timeline_open(struct env *env, const char *dir, unsigned int flags, const char *owner,
		  struct timeline **out, char *why);

/**
 * timeline_close - free it; what is not durable is not waited for
 * The caller makes sure that no write is in flight (timeline_idle).
 */
void timeline_close(struct timeline *tl);

const char *timeline_owner(const struct timeline *tl);
const uint8_t *timeline_id(const struct timeline *tl);	/* 16 bytes */
void timeline_state(const struct timeline *tl, struct timeline_state *state);

/* Where a branch begins. */
struct timeline_parent {
	uint8_t timeline[16];
	uint64_t cut_seq;
	uint64_t time_ns;
};

/** timeline_parent - whether it is a branch (docs/BRANCH.md), and of what */
bool timeline_parent(const struct timeline *tl, struct timeline_parent *parent);

/* A branch that became the group's main line: docs/BRANCH.md. */
struct timeline_line {
	uint32_t epoch;
	uint8_t timeline[16];	/* of the branch */
	uint64_t cut_seq;	/* where it begins: up to there the main line is the group's */
	uint64_t time_ns;	/* of that point */
	uint64_t made_ns;	/* when it was promoted, by the target's clock */
	uint64_t branch_cut_seq; /* of its newest point then; 0: it had none */
	char name[TIMELINE_NAME_BYTES];
};

/**
 * timeline_lines - all branches that ever became the main line, by epoch; the last one is it
 * None: the timeline itself is the main line. *out is valid until the next, or close.
 */
size_t timeline_lines(const struct timeline *tl, const struct timeline_line **out);

/** timeline_main_line - the branch that is the main line; NULL: the timeline itself */
const struct timeline_line *timeline_main_line(const struct timeline *tl);

/**
 * timeline_rebuilt - whether TIMELINE_REBUILD has made a points file again
 * @nr_back: out, how many points that had been dropped there are again
 */
bool timeline_rebuilt(const struct timeline *tl, uint64_t *nr_back);

/* A manifest that was made again, and what is not known any more. */
struct timeline_remade {
	bool manifest;		/* it was; else nothing of this is set */
	unsigned int nr_bits;	/* of the old one, that were turned back */
	bool from_segments;	/* that did not do: what follows may be lost */
	bool pins_lost;		/* some of the operator's holds */
	bool policies_lost;	/* what retention was in force, and when */
	bool lines_lost;	/* whether another branch had become the main line */
	bool grant_lost;	/* to whom the newest incarnation was granted */
	bool points_older;	/* which points file counted is not known: points may be back */
	bool points_made;	/* the points file was lost as well, and made of the packs */
};

/** timeline_remade - what TIMELINE_REBUILD has done to the manifest */
const struct timeline_remade *timeline_remade(const struct timeline *tl);

/*
 * Segments that are lost, with others behind them. A point below from_seq needs nothing of what was
 * in them; any other one may, until a check has found out.
 */
struct timeline_hole {
	uint64_t first_segment, last_segment;
	uint64_t pack;		/* that had the place of the first; 0: none had */
	uint64_t first_ordinal, last_ordinal; /* of the batches that are lost */
	uint64_t from_seq;	/* lowest label that any of it can have */
	uint64_t label_seq;	/* what has a higher one is newer than it */
	bool known;		/* its commits are: whichever points need it a check can say */
};

/** timeline_holes - what opening found, and who read since; *out is valid until the next read */
size_t timeline_holes(const struct timeline *tl, const struct timeline_hole **out);

/** timeline_ends_early - whether what was durable is missing at its end: there were newer points */
bool timeline_ends_early(const struct timeline *tl);

/** timeline_damage - NULL, or what recovery found damaged (a reader's view) */
const char *timeline_damage(const struct timeline *tl);

/**
 * timeline_set_limits - for tests: seal sooner, write in smaller pieces
 * @seal_bytes, @buffer_bytes: 0 leaves it; the second a multiple of 4096, before the
 * first append
 */
void timeline_set_limits(struct timeline *tl, uint64_t seal_bytes, uint32_t buffer_bytes);

/**
 * timeline_set_keys - what content is encrypted with, and read by; docs/ENCRYPTION.md
 * @keys: borrowed until timeline_close() or until others are set; NULL: none
 * @why: out on failure, TIMELINE_TEXT_BYTES
 *
 * Without it everything but content can be had of an encrypted timeline, and nothing can be
 * appended. A writer encrypts with the newest of them from the next batch on; the manifest
 * knows of it, durably, when this returns.
 * Return: 0; -ENOKEY none for a writer, and its timeline is encrypted; -errno of the manifest.
 */
int timeline_set_keys(struct timeline *tl, const struct keyring *keys, char *why);

/** timeline_key - id of the key for what is new, FILE_KEY_ID_BYTES; NULL: it lies in clear */
const uint8_t *timeline_key(const struct timeline *tl);

/**
 * timeline_missing_key - a key that content may be encrypted with and that was not set
 * Return: its id, FILE_KEY_ID_BYTES; NULL: all are there.
 */
const uint8_t *timeline_missing_key(const struct timeline *tl);

/* -- manifest -- */

/**
 * timeline_volume - find or add a volume by name; durable when it returns
 * A changed size is recorded. Return: 0; -ENOSPC past 65535 volumes; -errno.
 */
int timeline_volume(struct timeline *tl, const char *name, uint64_t size_bytes,
		    const char *identity, const struct timeline_volume **out);

/** timeline_volumes - all of them, by id */
size_t timeline_volumes(const struct timeline *tl, const struct timeline_volume **out);

/** timeline_was_granted - whether this instance is known to have got that incarnation */
bool timeline_was_granted(const struct timeline *tl, uint32_t incarnation,
			  const uint8_t instance[16]);

/**
 * timeline_grant - the next incarnation, for this instance; durable on return
 * Return: 0; -EOVERFLOW when all are spent; -errno.
 */
int timeline_grant(struct timeline *tl, const uint8_t instance[16], uint32_t *incarnation);

/** timeline_open_holds - holds nobody closed; *out is valid until the next commit */
size_t timeline_open_holds(const struct timeline *tl, const struct commit_hold **out);

/* -- writing: the session's side -- */

/**
 * timeline_append_unit - take one unit of the open batch
 * @unit: borrowed for the call; checked (header, extents, known volumes, label not
 *	beyond the rules, ordinal is the open batch's)
 *
 * Copies into the tail, encrypted if there are keys; full buffers are submitted for writing
 * as they fill. Return: 0; -EBADMSG not valid; -EPROTO valid, but not what comes next;
 * -E2BIG the batch is over BATCH_MAX_BYTES; -ENOKEY keys are needed (timeline_set_keys());
 * -EIO after a failure (see state.error).
 */
int timeline_append_unit(struct timeline *tl, const void *unit, size_t bytes);

/**
 * timeline_append_commit - close the open batch
 * Checked: CRC, ordinal = last + 1, cut not below the last, counts and units_crc
 * equal to what was appended, hold and gap rules (docs/SEGMENT.md). The target's
 * time is stamped in. Return: as timeline_append_unit.
 */
int timeline_append_commit(struct timeline *tl, const void *record, size_t bytes);

/**
 * timeline_flush - make everything committed so far durable
 * Starts writing and syncing if nothing is in flight; otherwise remembers to do so
 * afterwards. timeline_state().durable_ordinal moves when a sync has ended; the
 * callback of timeline_on_progress tells.
 */
void timeline_flush(struct timeline *tl);

/** timeline_on_progress - call @fn after every completed write or sync, or failure */
void timeline_on_progress(struct timeline *tl, void (*fn)(void *arg), void *arg);

/** timeline_idle - nothing is in flight */
bool timeline_idle(const struct timeline *tl);

/** timeline_unflushed_bytes - bytes appended and not yet written; for credits */
uint64_t timeline_unflushed_bytes(const struct timeline *tl);

/**
 * timeline_void_tail - forget the batch that has no commit
 * Only while timeline_idle() and after a timeline_flush() that left nothing to do.
 * After a failure this also gives up the open segment at its durable end and goes
 * on in a new one; then ordinals that were received but not durable are gone.
 * Return: 0; -errno (the timeline stays failed).
 */
int timeline_void_tail(struct timeline *tl);

/* -- reading -- */

/**
 * timeline_commits - all commits that exist, by ordinal, with what 1.7 says of each
 * Durable ones; ordinals rise, and are not dense where points were dropped.
 * *out is valid until the next append, flush, timeline_index_take() or close.
 */
size_t timeline_commits(struct timeline *tl, const struct timeline_commit **out);

/* Which cuts there are up to an ordinal; what is newer may all be needed. */
struct timeline_kept {
	uint64_t *cuts;		/* that exist, rising, each once; free() it */
	size_t nr;
	uint64_t settled_ordinal; /* up to here that is durable; 0: nothing is settled */
	uint64_t settled_cut;	/* of that commit */
	uint64_t settled_segment; /* the one it is the last of */
};

/**
 * timeline_kept_cuts - the cuts that still exist, as the points file has them
 * What is not in @cuts and below settled_cut never exists again: a version that only
 * such a cut shows is not needed. Every cut from settled_cut on counts as one that exists.
 * Return: 0; -ENOMEM.
 */
int timeline_kept_cuts(const struct timeline *tl, struct timeline_kept *out);

/* -- retention and pins: docs/STORE.md, "What goes" -- */

struct retention_policy;

/**
 * timeline_set_retention - the policy from now on; durable when it returns
 * One that is in force already is not written again. Without any everything is kept.
 * Return: 0; -errno.
 */
int timeline_set_retention(struct timeline *tl, const struct retention_policy *policy,
			   uint64_t immutable_ns);

/** timeline_retention - the policy in force, and its window; NULL: none, everything is kept */
const struct retention_policy *timeline_retention(const struct timeline *tl,
						  uint64_t *immutable_ns);

enum timeline_pin_kind {
	TIMELINE_PIN_HOLD = 1,	/* by the operator */
	TIMELINE_PIN_MOUNT = 2,
	TIMELINE_PIN_BRANCH = 3,
};

#define TIMELINE_PIN_LABEL_BYTES 64

struct timeline_pin {
	uint64_t id;
	uint64_t cut_seq;
	uint64_t made_ns;	/* real time */
	uint64_t until_ns;	/* by the clock of retention; 0: until it is released */
	uint16_t kind;
	char label[TIMELINE_PIN_LABEL_BYTES];
};

/**
 * timeline_pin - a point that is not dropped while this lasts; durable when it returns
 * @cut_seq: of a listed commit
 * @lease_ns: so long, and then it is over by itself; 0: until timeline_unpin()
 * @id: out; 0 in it: a new one, else of the one whose lease is to begin anew
 * Return: 0; -ENOENT no such point (or pin); -EINVAL the label is too long; -EROFS; -errno.
 */
int timeline_pin(struct timeline *tl, uint64_t cut_seq, enum timeline_pin_kind kind,
		 const char *label, uint64_t lease_ns, uint64_t *id);

/** timeline_unpin - its end; durable when it returns. 0; -ENOENT; -EROFS; -errno */
int timeline_unpin(struct timeline *tl, uint64_t id);

/** timeline_pins - those that are not over; *out is free()d. 0 or -ENOMEM */
int timeline_pins(const struct timeline *tl, struct timeline_pin **out, size_t *nr);

struct lease_info;

/** timeline_leases - leases_list() of it */
int timeline_leases(const struct timeline *tl, struct lease_info **out, size_t *nr);

/** A gap, as a person wants it: between which points the seconds are missing. */
struct timeline_gap {
	uint64_t from_time_ns;	/* last listed point before, 0: none */
	uint64_t to_time_ns;	/* first listed point after, 0: still open */
};

/**
 * timeline_gaps - stretches without listed points because of gaps or holds
 * Return: how many; *out is valid until the next append, flush or close.
 */
size_t timeline_gaps(struct timeline *tl, const struct timeline_gap **out);

#endif
