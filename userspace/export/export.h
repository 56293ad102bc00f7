/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * export - the volumes of a group at one point, for many readers at a time.
 *
 * Stage [9 export]. Fed by views; feeds the nbdkit plugin.
 * Promises: every byte handed out was checked against its CRC of capture time (the
 * view's promise); calls may come from any number of threads.
 *
 * A view, and the timeline below it, are for one thread. So there is a pool of
 * readers, each with a timeline and a view of its own: a read takes an idle one,
 * opens another if all are busy and the pool is not full, waits otherwise. The pool
 * is per export, not per connection: each reader costs an index of the point and up
 * to 32 MiB of unpacked units, and one connection with many requests in flight is as
 * good a customer as many connections.
 */
#ifndef BLKSHIP_EXPORT_H
#define BLKSHIP_EXPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../store/view.h"
#include "point_list.h"

struct export;

#define EXPORT_MAX_READERS 16

struct export_volume {
	uint16_t id;
	const char *name;
	uint64_t size_bytes;
};

/* Where reading went wrong. */
struct export_fault {
	uint64_t offset_bytes;	/* in the volume: the block that cannot be read */
	char segment[256];	/* the file looked at last; may be empty */
};

/**
 * export_open - open a point
 * @text: GROUP@WHEN
 * @keys: where its keys come from, as key_source_for_reader() says; NULL: not given
 * @force: also one that is known to be damaged, or not all of whose keys are there; reads fail
 *	where it is
 * @nr_readers: at most so many reads at a time, 1 to EXPORT_MAX_READERS
 * @why: out on failure, POINT_TEXT_BYTES
 * Return: 0 or -errno.
 */
int export_open(const char *store, const char *text, const struct key_source *keys, bool force,
		size_t nr_readers, struct export **out, char *why);
void export_close(struct export *ex);

/**
 * export_hold - have the point stay until the export is closed
 * @why: out, POINT_TEXT_BYTES: "", or why it may go all the same
 * Once, before the first read and behind the last fork. Return: 0; -ESTALE it is gone already.
 */
int export_hold(struct export *ex, char *why);

/** export_point - which one it became; the group's name with it */
const struct point *export_point(const struct export *ex, const char **group);

/** export_keys - what it is read with; borrowed, may be NULL */
const struct keyring *export_keys(const struct export *ex);

/** export_key_note - "", or why the keys that the store's targetd.conf names are not used */
const char *export_key_note(const struct export *ex);

/** export_timeline - id of the timeline, 16 bytes */
const uint8_t *export_timeline(const struct export *ex);

/** export_volumes - the members at this point, by id */
size_t export_volumes(const struct export *ex, const struct export_volume **out);

/**
 * export_read - content of a volume; multiples of 512
 * @fault: out on failure
 * Return: as view_read().
 */
int export_read(struct export *ex, const struct export_volume *volume, uint64_t offset_bytes,
		void *buf, size_t bytes, struct export_fault *fault);

/**
 * export_extents - the kinds of the stretches of a range
 * @each: called for one after the other; the first begins at @offset_bytes, the last may
 *	end past the range; not 0: stop and return 0
 * Return: 0; -errno.
 */
int export_extents(struct export *ex, const struct export_volume *volume, uint64_t offset_bytes,
		   uint64_t bytes, int (*each)(void *arg, const struct view_extent *extent),
		   void *arg);

#endif
