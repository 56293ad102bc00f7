/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * branches - which branches a timeline has: making, listing, dropping them.
 *
 * Beside stage [7 timeline store]; docs/BRANCH.md has files and crash rules. What is in a
 * branch is an ordinary timeline in a directory of its own.
 *
 * Promises: a branch is there as a whole or not at all; it is dropped in constant time; the
 * parent is only read.
 */
#ifndef BLKSHIP_BRANCHES_H
#define BLKSHIP_BRANCHES_H

#include "../lib/name.h"
#include "timeline.h"

#define BRANCHES_DIR "branches"	/* below the timeline's */

struct branch_info {
	char name[NAME_BYTES];
	uint8_t timeline[16];		/* its id */
	uint64_t created_ns;
	struct timeline_parent parent;
	int error;			/* -errno: its manifest cannot be read ... */
	char why[TIMELINE_TEXT_BYTES];	/* ... and why; the rest but the name is 0 */
};

/** branch_path - directory of a branch; @path: out, @bytes of it. 0 or -ENAMETOOLONG */
int branch_path(char *path, size_t bytes, const char *group_dir, const char *name);

/**
 * branch_create - make a branch of a point; durable when it returns
 * @group_dir: of @parent, which is open for reading or writing
 * @cut_seq: of a commit that is listed now, whatever was when @parent was opened
 * @why: out on failure, TIMELINE_TEXT_BYTES
 *
 * What a dropped branch of this name has left is removed first.
 * Return: 0; -EINVAL the name; -EEXIST there is one, or one that is away was promoted; -ENODATA
 * no such point; -EOPNOTSUPP @parent is a branch itself; -EBUSY somebody works on this name, or holds branches_lock(); -EUCLEAN
 * segments without a manifest lie there; -errno.
 */
int branch_create(struct env *env, const char *group_dir, const char *name,
		  struct timeline *parent, uint64_t cut_seq, char *why);

/**
 * branch_check_line - whether a branch is the one of a line, and has the points that it had when it
 * was promoted
 * @group, @branch: open for reading or writing
 * @why: out on failure, TIMELINE_TEXT_BYTES
 *
 * Damage that @branch knows of is no matter here: that is said, and points before it are listed,
 * as with any timeline. Without the end of its newest segment it looks like one that never had that.
 * Return: 0; -EUCLEAN.
 */
int branch_check_line(const struct timeline *group, const struct timeline_line *line,
		      const struct timeline *branch, char *why);

/**
 * branch_check_writable - ask before a branch is opened for writing
 * @why: out on failure, TIMELINE_TEXT_BYTES
 *
 * One that was promoted and has lost points takes nothing: its next writes would get the seqs of
 * what is lost, and nobody would notice any more.
 * Return: 0; -EUCLEAN; -ENOENT there is no such group or branch; -errno it cannot be read.
 */
int branch_check_writable(struct env *env, const char *group_dir, const char *name, char *why);

/**
 * branch_drop - from now on it is no more; its files remain until branch_sweep()
 * Return: 0; -ENOENT there is none; -EBUSY it is open for writing; -EPERM it is, or was, the
 * group's main line, also under another name; -errno, also when the group's manifest cannot be
 * read, nor its own in a group that has such lines.
 */
int branch_drop(struct env *env, const char *group_dir, const char *name, char *why);

/**
 * branch_promote - make a branch the main line of its group; durable when it returns
 * @group: open for writing
 * @force: also one that has no points, which as a rule is not the one that was meant
 * @why: out on failure but -EALREADY, TIMELINE_TEXT_BYTES
 *
 * From then on @group takes no commits (-EROFS), whatever it has past the branch's beginning
 * stays, and the branch cannot be dropped.
 * Return: 0; -EALREADY it is the main line; -ENOENT there is none; -EBUSY it is open for writing;
 * -EAGAIN somebody has branches_lock(); -EUCLEAN, -EBADMSG it, or its point, is damaged, or another
 * one was promoted under its name; -EPERM it has no points; -EROFS;
 * -ENOTRECOVERABLE the disk has failed, and what is on it is not known: the group takes no commits;
 * -errno: nothing has changed.
 */
int branch_promote(struct timeline *group, const char *name, bool force, char *why);

/**
 * branch_sweep - remove what dropped branches, and those that were never made, have left
 * What others work on is left to them. Return: 0; -errno of the first failure: the rest
 * stays until the next time.
 */
int branch_sweep(struct env *env, const char *group_dir);

/**
 * branch_list - all branches, by name
 * @out: freed with free(); also those whose manifest is damaged, with an error
 * Return: 0; -ENOMEM; -errno.
 */
int branch_list(struct env *env, const char *group_dir, struct branch_info **out, size_t *nr);

/*
 * Whoever takes points from a timeline holds the lock from before he asks which ones branches
 * need until they are gone: branches are made with it held.
 */

/** branches_lock - for as long as the file is open: 0; -EBUSY try again; -errno */
int branches_lock(struct env *env, const char *group_dir, struct env_file **lock);

/**
 * branches_cuts - the points that branches begin at, rising; *out is freed with free()
 * Return: 0; -EBADMSG which ones is not known, a manifest is damaged: take nothing; -errno.
 */
int branches_cuts(struct env *env, const char *group_dir, uint64_t **out, size_t *nr);

#endif
