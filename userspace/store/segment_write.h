/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * segment_write - the open end of a timeline: from appended bytes to durable ones.
 *
 * Fed by the timeline with units and commit records it has checked; writes
 * segments. The stream of bytes fills aligned buffers; a buffer is written when it
 * is full, when a flush is asked for, or when there is nothing else to do; syncs
 * follow writes; one sync makes durable all commits written before it (group commit).
 *
 * Invariants:
 *  - a 4096-byte block is written again only while no durable commit lies in it
 *    (every commit is padded to a block);
 *  - the next segment is made only when the one before is sealed and synced;
 *  - after a failure nothing more is submitted.
 * Memory is bounded by what the caller appends beyond what was written; sessions
 * bound that by their credit.
 */
#ifndef BLKSHIP_SEGMENT_WRITE_H
#define BLKSHIP_SEGMENT_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "../lib/unit_cipher.h"
#include "segment_index.h"

#define SEGMENT_BUFFER_BYTES (1u << 20)

/* A piece of the stream that lies in one segment; see segment_write.c. */
struct tail_buffer;

/* A commit that is not durable yet. */
struct tail_commit {
	uint64_t ordinal;
	uint64_t stream_end;
	uint64_t file_end;
	uint64_t segment;
};

struct segment_writer {
	struct env *env;
	const char *dir;	/* the timeline's */
	uint8_t timeline[16];
	uint64_t epoch;
	uint64_t seal_bytes;
	uint32_t buffer_bytes;
	/* Ordinals up to this are durable now; called before indexes go. */
	void (*durable)(void *arg, uint64_t ordinal);
	void (*progress)(void *arg);	/* a write or sync has ended, or failed */
	/* Fill what the block of a new segment's header has room for; it is zero. */
	void (*describe)(void *arg, uint64_t number, uint8_t *room, size_t bytes);
	void *arg;
	bool described_anew;	/* that has changed: the next batch begins a segment */
	/* With what units are encrypted from the next batch on; NULL: in clear. Borrowed. */
	const struct keyring *keys;

	/* The end that is appended to. */
	uint64_t number;	/* segment that the next byte goes to */
	uint64_t file_offset;	/* of the next byte in it */
	uint64_t stream_offset;	/* of the next byte since the writer began */
	uint64_t committed_offset; /* file offset behind the last commit */
	uint64_t next_ordinal;
	struct segment_header header;	/* of that segment, when it has one (file_offset) */
	struct unit_cipher *cipher;	/* its key; NULL: in clear, or not needed yet */
	struct segment_index *index;	/* of that segment */
	struct segment_index *sealing;	/* of the one before, until it is synced */

	struct tail_buffer *first, *last; /* oldest not yet written ... being filled */
	struct tail_buffer *spare;
	unsigned int nr_spare;
	struct tail_commit *commits;	/* not durable yet, by ordinal */
	size_t nr_commits, max_commits;

	/* The file that is written. */
	struct env_file *file;
	uint64_t file_number;
	bool file_has_durable;	/* a durable commit lies in it */
	uint64_t durable_end;	/* file offset behind the last durable commit in it */
	uint64_t written_end;	/* highest file offset ever submitted */

	struct env_io sync_io;
	bool syncing;
	bool sync_seals;	/* the sync under way ends the file */
	uint64_t sync_ordinal;	/* what it will make durable */
	unsigned int nr_writing;
	uint64_t flush_ordinal;	/* make durable up to here */
	uint64_t durable_ordinal;
	int error;
};

/** segment_writer_init - the caller has filled env ... arg; nothing is open yet */
int segment_writer_init(struct segment_writer *w);
void segment_writer_fini(struct segment_writer *w);

/** segment_writer_start - the next byte begins segment @number */
void segment_writer_start(struct segment_writer *w, uint64_t number, uint64_t next_ordinal);

/**
 * segment_writer_resume - go on in a segment that recovery has cut to @end
 * @file: its, owned from here on; @index: its, moved from here on
 */
void segment_writer_resume(struct segment_writer *w, const struct segment_header *header,
			   uint64_t end, uint64_t next_ordinal, struct env_file *file,
			   struct segment_index *index);

/**
 * segment_writer_ready - there is a segment that what comes next may be appended to
 * One whose key is not the one to be used, or whose header does not tell what it has to by now,
 * ends here, between two batches. Then
 * w->file_offset is where the next byte will lie, and w->cipher what encrypts it.
 * Return: 0; -ENOKEY it goes on with a key that is gone; -ENOMEM; -EIO (call _void then).
 */
int segment_writer_ready(struct segment_writer *w);

/** segment_writer_append - bytes of a unit or commit, as on disk; 0 or -ENOMEM (call _void then) */
int segment_writer_append(struct segment_writer *w, const void *buf, size_t bytes);

/**
 * segment_writer_commit - pad after a commit record; seal when it is time
 * @record_offset: in the file
 */
int segment_writer_commit(struct segment_writer *w, uint64_t ordinal, uint64_t record_offset);

/** segment_writer_pump - submit what is to be written or synced now */
void segment_writer_pump(struct segment_writer *w);

/** segment_writer_flush - all commits so far are to become durable */
void segment_writer_flush(struct segment_writer *w);

static inline bool segment_writer_idle(const struct segment_writer *w)
{
	return w->nr_writing == 0 && !w->syncing;
}

/** segment_writer_finished - segments up to this are sealed and synced, or given up */
uint64_t segment_writer_finished(const struct segment_writer *w);

/** segment_writer_unwritten - bytes appended, not written */
uint64_t segment_writer_unwritten(const struct segment_writer *w);

/**
 * segment_writer_void - drop what lies behind the last commit
 * Only when idle, without error, and all commits durable. Return: 0; -errno, then the
 * writer has failed.
 */
int segment_writer_void(struct segment_writer *w);

/**
 * segment_writer_abandon - after a failure: drop all that is not durable
 * @given_up: out, true when a segment with durable commits ends early: the caller
 *	records w->file_number and w->durable_end before it calls _restart
 */
void segment_writer_abandon(struct segment_writer *w, bool *given_up);

/**
 * segment_writer_restart - after abandon: close the file, go on in a new segment
 * Return: 0; -errno, then it has failed still and this may be tried again.
 */
int segment_writer_restart(struct segment_writer *w, bool given_up);

#endif
