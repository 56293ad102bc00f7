/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * branch - a timeline that is written to in place: writes in, commits out, content back.
 *
 * Beside stage [7 timeline store]; docs/BRANCH.md. Fed by the export's branch server; what it
 * does not have is read from the parent's view by who asks.
 *
 * Promises:
 *  - a write is seen by every read that begins after it returned;
 *  - what was written before branch_flush() is durable once branch_durable() says so;
 *  - after a crash the branch is what it was at one of its commits, none older than the
 *    newest that was durable;
 *  - memory is bounded by what is not durable, and by the extents of segments without a run.
 *
 * One thread, or a lock around all. I/O is asynchronous through env->submit.
 */
#ifndef BLKSHIP_BRANCH_H
#define BLKSHIP_BRANCH_H

#include "timeline.h"
#include "view.h"

struct branch;

#define BRANCH_CUT_BYTES	(16u << 20)	/* a batch is closed when it has so much, ... */
#define BRANCH_CUT_WRITES	65536		/* ... so many writes, ... */
#define BRANCH_CUT_NS		UINT64_C(1000000000) /* ... or when branch_due_ns() has come */
#define BRANCH_RETRY_NS		UINT64_C(60000000000)
#define BRANCH_MAX_WRITE_BYTES	(64u << 20)

/**
 * branch_open - open a branch for writing, after a crash recover it
 * @dir: of the branch
 * @why: out on failure, TIMELINE_TEXT_BYTES
 * Return: 0; -EBUSY somebody writes to it; -EINVAL no branch; as timeline_open().
 */
int branch_open(struct env *env, const char *dir, struct branch **out, char *why);

/** branch_close - free it; nothing is in flight. What is not durable may be lost */
void branch_close(struct branch *b);

/** branch_timeline - for its state, volumes and index; borrowed */
struct timeline *branch_timeline(struct branch *b);

/**
 * branch_degrade - the parent's point is degraded, and so is every commit from now on
 * Also when all that could not be read there has been written over: nobody looks.
 */
void branch_degrade(struct branch *b);

/* -- writing: multiples of 512, inside the volume -- */

/**
 * branch_write - @buf is copied
 * Return: 0; -ENOMEM, -ERANGE, -EINVAL, nothing has changed; -errno of what went wrong
 * before: a write or sync of the branch failed, and nothing is taken any more until it is
 * opened again.
 */
int branch_write(struct branch *b, uint16_t volume, uint64_t offset_bytes, const void *buf,
		 uint32_t bytes);

/** branch_zero - the same with zeroes; @discard: the content is not wanted any more */
int branch_zero(struct branch *b, uint16_t volume, uint64_t offset_bytes, uint64_t bytes,
		bool discard);

/** branch_commit - close the open batch, if anything is in it: 0 or -errno */
int branch_commit(struct branch *b);

/**
 * branch_flush - close the open batch and begin to make all there is durable
 * @ordinal: out, what branch_durable() is to be asked for
 */
int branch_flush(struct branch *b, uint64_t *ordinal);

/** branch_durable - 0: up to @ordinal all is; -EAGAIN not yet; other -errno: never */
int branch_durable(const struct branch *b, uint64_t ordinal);

/** branch_due_ns - monotonic time from which the open batch is to be closed; 0: it is empty */
uint64_t branch_due_ns(const struct branch *b);

/** branch_unsynced_bytes - data held in memory because they are not durable */
uint64_t branch_unsynced_bytes(const struct branch *b);

/**
 * branch_settle - after I/O has completed, or a job of the index was taken
 * Frees what is durable, and lets runs answer for the segments they cover.
 * Return: 0; -errno: runs are not used yet, nothing is lost; they are tried again by the
 * first call after BRANCH_RETRY_NS.
 */
int branch_settle(struct branch *b);

/* -- reading -- */

/**
 * branch_next - what the branch has at a place, cut to begin there
 * @out: kind VIEW_NOTHING: it is as in the parent
 * Return: 0; -ENOENT past the end; as view_next().
 */
int branch_next(struct branch *b, uint16_t volume, uint64_t offset_bytes,
		struct view_extent *out);

/**
 * branch_read - content; multiples of 512
 * @hole: called for each stretch that is as in the parent, as seen from now on: the bytes
 * of @buf are the caller's to fill; not 0: stop and return that
 * Return: 0; -ERANGE; as view_read().
 */
int branch_read(struct branch *b, uint16_t volume, uint64_t offset_bytes, void *buf,
		size_t bytes,
		int (*hole)(void *arg, uint64_t offset_bytes, void *buf, size_t bytes), void *arg);

#endif
