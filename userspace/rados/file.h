/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * file - a file's content: pieces of 4 MiB, an object each.
 *
 * Sizes are not written down: a file ends where its last piece ends, so that a write is
 * one operation and two at once do not disturb each other. What is written down, before
 * it is used, is how many pieces there may be at most.
 */
#ifndef BLKSHIP_FILE_H
#define BLKSHIP_FILE_H

#include "cluster.h"

struct rados_file {
	struct cluster *cluster;
	uint8_t id[RADOS_ID_BYTES];
	uint32_t limit;		/* pieces there may be, as far as we know */
};

/** file_size - where it ends now */
int file_size(struct rados_file *f, uint64_t *bytes);
/** file_read - bytes read, short at the end of the file, holes as zeroes; -errno */
int64_t file_read(struct rados_file *f, void *buf, size_t bytes, uint64_t offset_bytes);
/** file_write - all of it or -errno */
int file_write(struct rados_file *f, const void *buf, size_t bytes, uint64_t offset_bytes);
/** file_truncate - shorter or longer */
int file_truncate(struct rados_file *f, uint64_t bytes);
/** file_admit - have the file's limit allow for these bytes, before they are written */
int file_admit(struct rados_file *f, uint64_t offset_bytes, size_t bytes);
/** file_destroy - remove all pieces of what is no longer named */
int file_destroy(struct cluster *c, const uint8_t id[RADOS_ID_BYTES]);

#endif
