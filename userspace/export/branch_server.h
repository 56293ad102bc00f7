/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * branch_server - a branch that many clients read and write at a time.
 *
 * Stage [9 export]. Fed by the nbdkit plugin; a lock around branch.c, a thread that does its
 * I/O, one that closes batches in time and makes runs; what the branch does not have comes
 * from the parent's point by way of export.c.
 *
 * Promises: those of branch.h, for calls from any number of threads; a flush of one client
 * covers what all have written before.
 */
#ifndef BLKSHIP_BRANCH_SERVER_H
#define BLKSHIP_BRANCH_SERVER_H

#include "export.h"

struct branch_server;

#define BRANCH_SERVER_UNSYNCED_BYTES (64u << 20) /* then writes wait for the disk */

/**
 * branch_server_open - open a branch for writing
 * @store, @group, @name: which
 * @point: WHEN: make it of that point of the group if it is not there; NULL: it has to be
 * @keys: as export_open(); the branch is encrypted with them, and cannot do with less than its
 *	parent had
 * @force: although the point is known to be damaged
 * @nr_readers: of the parent, as export_open()
 * @why: out on failure, POINT_TEXT_BYTES
 * No thread is started yet, so a daemon may fork. Return: 0 or -errno.
 */
int branch_server_open(const char *store, const char *group, const char *name,
		       const char *point, const struct key_source *keys, bool force,
		       size_t nr_readers, struct branch_server **out, char *why);

/** branch_server_start - start its threads: 0 or -errno */
int branch_server_start(struct branch_server *s);

/**
 * branch_server_close - make all that was written durable, and free it
 * Nobody is in a call. Return: 0; -errno: what was written since the last flush may be lost.
 */
int branch_server_close(struct branch_server *s);

/** branch_server_point - where it begins */
const struct point *branch_server_point(const struct branch_server *s);

/** branch_server_volumes - its volumes, by id */
size_t branch_server_volumes(const struct branch_server *s, const struct export_volume **out);

/* -- any offset and length inside the volume -- */

/**
 * branch_server_read - content of a volume
 * @fault: out on failure
 * Return: as view_read().
 */
int branch_server_read(struct branch_server *s, const struct export_volume *volume,
		       uint64_t offset_bytes, void *buf, size_t bytes,
		       struct export_fault *fault);

/** branch_server_write - 0; as branch_write() */
int branch_server_write(struct branch_server *s, const struct export_volume *volume,
			uint64_t offset_bytes, const void *buf, uint32_t bytes);

/** branch_server_zero - as branch_zero(); of a discard parts of sectors are left alone */
int branch_server_zero(struct branch_server *s, const struct export_volume *volume,
		       uint64_t offset_bytes, uint64_t bytes, bool discard);

/** branch_server_flush - wait until all that was written before is durable: 0 or -errno */
int branch_server_flush(struct branch_server *s);

/** branch_server_extents - as export_extents(); may stop before the end of the range */
int branch_server_extents(struct branch_server *s, const struct export_volume *volume,
			  uint64_t offset_bytes, uint64_t bytes,
			  int (*each)(void *arg, const struct view_extent *extent), void *arg);

#endif
