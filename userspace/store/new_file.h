/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * new_file - a file that is written once, from its start to its end, and then named.
 *
 * Fed by run_write.c and pack_write.c. Until new_file_finish() has returned 0 there is only a
 * temporary file; afterwards the file is whole and durable, its name included. Its first
 * block, the header, is written last: it says what is in the rest.
 */
#ifndef BLKSHIP_NEW_FILE_H
#define BLKSHIP_NEW_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"

#define NEW_FILE_HEADER_BYTES	4096

/*
 * Called as bytes are read and written: whoever must not take the whole disk sleeps in it.
 * Not 0: stop, with this error.
 */
struct run_pace {
	int (*fn)(void *arg, uint64_t bytes);
	void *arg;
};

struct new_file {
	struct env *env;
	const struct run_pace *pace;
	struct env_file *file;	/* NULL: there is none, or no more */
	uint8_t *buffer;
	size_t buffered_bytes;
	uint64_t buffer_offset;	/* in the file */
	uint64_t synced_offset;
	uint64_t read_bytes;	/* of new_file_read() ... */
	uint64_t paced_bytes;	/* ... and what of it the pace was told, beside what is written */
	int error;		/* of what was written so far, or what the pace returned */
};

/**
 * new_file_begin - begin behind the header
 * @path: the temporary name; what an attempt that failed left there is removed
 * @pace: borrowed until the end; may be NULL
 * Return: 0; -errno. Then new_file_abort() is still due.
 */
int new_file_begin(struct new_file *f, struct env *env, const char *path,
		   const struct run_pace *pace);

/** new_file_put - append; 0, -errno, or what the pace returned */
int new_file_put(struct new_file *f, const void *data, size_t bytes);

/**
 * new_file_read - so many bytes were read to make it
 * A file costs as much as is written, or read if that is more.
 * Return: 0, or what the pace returned; then so will new_file_put().
 */
int new_file_read(struct new_file *f, uint64_t bytes);

/** new_file_offset - where the next byte will lie */
static inline uint64_t new_file_offset(const struct new_file *f)
{
	return f->buffer_offset + f->buffered_bytes;
}

/**
 * new_file_finish - write the rest and the header, sync, rename, sync the directory
 * @header: NEW_FILE_HEADER_BYTES
 * Return: 0, and nothing is due; -errno, then new_file_abort() is.
 */
int new_file_finish(struct new_file *f, const char *dir, const char *from, const char *to,
		    const void *header);

/** new_file_abort - remove what there is of it; @path: the temporary name */
void new_file_abort(struct new_file *f, const char *path);

#endif
