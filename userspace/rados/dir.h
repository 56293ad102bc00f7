/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * dir - directories: one object each, whose omap has a key for each name.
 *
 * Every change is one operation on one object with the conditions under which it was
 * decided: whole or not at all, and without effect if it comes late, after another.
 */
#ifndef BLKSHIP_DIR_H
#define BLKSHIP_DIR_H

#include "cluster.h"

/** dir_root - check the mark of the top directory; -ENOENT: there is none yet */
int dir_root(struct cluster *c);
/** dir_make - -EEXIST when it is there; "" makes the top directory */
int dir_make(struct cluster *c, const char *dir, const char *name);
/** dir_check - 0 when there is such a directory */
int dir_check(struct cluster *c, const char *dir, const char *name);

/** dir_find - the entry of a name; -ENOENT; -EBADMSG, -EPROTONOSUPPORT: not one of ours */
int dir_find(struct cluster *c, const char *dir, const char *name, struct rados_entry *e);
/** dir_add - a new file; -EEXIST */
int dir_add(struct cluster *c, const char *dir, const char *name, const struct rados_entry *e);
/** dir_remove - of a file, its data become waste; of a directory, -ENOTEMPTY with names in it */
int dir_remove(struct cluster *c, const char *dir, const char *name);
/** dir_rename - within a directory; what @to named becomes waste */
int dir_rename(struct cluster *c, const char *dir, const char *from, const char *to);
/** dir_list - each name */
int dir_list(struct cluster *c, const char *dir,
	     void (*each)(void *arg, const char *name, const struct rados_entry *e), void *arg);

/**
 * dir_sweep - remove the data of files that were removed at least @age_ns ago
 * @until_ns: monotonic: then none is begun but the first
 * Only for the owner. What fails is tried again with the next sweep.
 * Return: false when there may be more, for which there was no time.
 */
bool dir_sweep(struct cluster *c, const char *dir, uint64_t age_ns, uint64_t until_ns);

#endif
