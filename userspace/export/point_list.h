/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * point_list - the recovery points of a group in a store, read offline.
 *
 * Stage [8 recovery point]. Fed by a timeline opened for reading, beside a running
 * target or without one; feeds the command line and the export. Everybody who takes
 * a GROUP@WHEN finds the point here, so that it is the same one for all.
 */
#ifndef BLKSHIP_POINT_LIST_H
#define BLKSHIP_POINT_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "../lib/home.h"
#include "../lib/key_source.h"
#include "../lib/when.h"
#include "../store/check_state.h"
#include "../store/timeline.h"

#define POINT_TEXT_BYTES	1024
#define POINT_GROUP_BYTES	64
#define POINT_PATH_BYTES	(POINT_GROUP_BYTES + 16)
#define POINT_NOTE_BYTES	256

struct point {
	uint64_t seq;
	uint64_t time_ns;
	uint64_t current_to_ns;		/* nothing was written between time_ns and this */
	uint64_t received_ns;		/* by the target's clock */
	uint64_t written_bytes;		/* since the point before */
	uint64_t nr_records;
	bool degraded;
	bool checked;			/* all of it was read and was good */
	const struct check_damage *damage; /* known, of its view; or NULL */
};

/* A group's timeline, open for reading, and its listed points by time. */
struct point_list {
	struct home *home;
	struct env *env;		/* the home's */
	struct timeline *tl;
	struct check_state checks;
	char note[POINT_NOTE_BYTES];	/* "", or why it is not known what checks have found */
	struct point *points;
	size_t nr;
	struct check_damage *holes;	/* of which no check has found out who needs them */
	size_t nr_holes;
};

/**
 * point_group_path - where GROUP, or GROUP/BRANCH, lies below home_groups()
 * @path: out; POINT_PATH_BYTES are enough
 * Return: 0; -ENOENT no name that a group can have; -ENAMETOOLONG.
 */
int point_group_path(char *path, size_t bytes, const char *group);

/**
 * point_list_open - open a group, or with GROUP/BRANCH a branch of it, in a store
 * @why: out on failure, POINT_TEXT_BYTES: what is wrong, on what, and what to do
 *
 * Heartbeats of an idle group are no points of their own: they make the point before
 * them current to a later time.
 * Return: 0; -ENOENT no such store or group; other -errno.
 */
int point_list_open(const char *store, const char *group, struct point_list *list, char *why);
void point_list_close(struct point_list *list);

/**
 * point_list_set_keys - with what content is read
 * @keys: borrowed until point_list_close(); NULL: none
 * @note: why there are no others, or ""
 * @force: also with keys that do not read all of it
 * @why: out on failure, POINT_TEXT_BYTES
 * Return: 0; -ENOKEY content is, or may be, encrypted with a key that is not among them.
 */
int point_list_set_keys(struct point_list *list, const char *group, const struct keyring *keys,
			const char *note, bool force, char *why);

/** point_find - what is meant by @when; NULL: there is none */
const struct point *point_find(const struct point_list *list, const struct when *when);

/* GROUP@WHEN, taken apart. */
struct point_name {
	char group[POINT_GROUP_BYTES];
	const char *when_text;		/* part of what was parsed */
	struct when when;
};

/**
 * point_name_parse - read GROUP@WHEN
 * @why: out on failure, POINT_TEXT_BYTES
 * Return: 0 or -EINVAL.
 */
int point_name_parse(const char *text, uint64_t now_ns, struct point_name *name, char *why);

/**
 * point_choose - the point that people mean by a name
 * @force: also one that is known to be damaged
 * @why: out on failure, POINT_TEXT_BYTES
 *
 * Of a timeline whose end is lost only what lies before that is listed: the newest of
 * that is not what "latest", or a time, was meant to name. And a point is not offered
 * silently when a check has found that something it needs is damaged, or when a file
 * that it may need is missing and no check has looked.
 *
 * Return: 0; -ENOENT no such point; -EUCLEAN damaged, none is left; -EKEYREJECTED
 * damaged, and not @force.
 */
int point_choose(const struct point_list *list, const struct point_name *name, bool force,
		 const struct point **out, char *why);

#endif
