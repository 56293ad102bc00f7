// SPDX-License-Identifier: GPL-2.0-only
/* segment_write - the open end of a timeline: from appended bytes to durable ones. */
#include "segment_write.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

#define MAX_WRITING	3		/* buffers in flight */
#define MAX_SPARE	4
#define EAGER_BYTES	65536		/* worth a write when the disk has nothing to do */
#define SEAL_EXTENTS	(1u << 19)	/* bounds footers and what is kept for them */
#define PATH_BYTES	4096

struct tail_buffer {
	struct env_io io;
	struct segment_writer *writer;
	uint8_t *data;		/* aligned to BLOCK_BYTES */
	uint64_t segment;
	uint64_t file_offset;	/* of data[0] */
	uint64_t stream_offset;	/* likewise */
	uint32_t filled;	/* bytes in it */
	uint32_t submitted;	/* below: written or being written; a multiple of BLOCK_BYTES */
	uint32_t written;
	bool writing;
	bool closed;		/* nothing is added any more */
	struct tail_buffer *next;
};

static uint32_t round_down(uint32_t n)
{
	return n / BLOCK_BYTES * BLOCK_BYTES;
}

/* -- buffers -- */

static struct tail_buffer *buffer_get(struct segment_writer *w)
{
	struct tail_buffer *b = w->spare;

	if (b) {
		w->spare = b->next;
		w->nr_spare--;
		return b;
	}
	b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->data = aligned_alloc(BLOCK_BYTES, w->buffer_bytes);
	if (!b->data) {
		free(b);
		return NULL;
	}
	b->writer = w;
	return b;
}

static void buffer_free(struct tail_buffer *b)
{
	free(b->data);
	free(b);
}

static void buffer_put(struct segment_writer *w, struct tail_buffer *b)
{
	if (w->nr_spare == MAX_SPARE) {
		buffer_free(b);
		return;
	}
	b->next = w->spare;
	w->spare = b;
	w->nr_spare++;
}

/* Begin a buffer at the end of the stream. */
static struct tail_buffer *buffer_begin(struct segment_writer *w)
{
	struct tail_buffer *b = buffer_get(w);

	if (!b)
		return NULL;
	if (w->last)
		w->last->closed = true;
	b->segment = w->number;
	b->file_offset = w->file_offset;
	b->stream_offset = w->stream_offset;
	b->filled = b->submitted = b->written = 0;
	b->writing = b->closed = false;
	b->next = NULL;
	if (w->last)
		w->last->next = b;
	else
		w->first = b;
	w->last = b;
	return b;
}

/* Buffers at the front that are written and will not be added to. */
static void buffers_retire(struct segment_writer *w)
{
	struct tail_buffer *b;

	while ((b = w->first) && b->closed && b->written == b->filled && !b->writing) {
		w->first = b->next;
		if (!w->first)
			w->last = NULL;
		buffer_put(w, b);
	}
}

static void buffers_drop(struct segment_writer *w)
{
	struct tail_buffer *next;

	for (struct tail_buffer *b = w->first; b; b = next) {
		next = b->next;
		buffer_put(w, b);
	}
	w->first = w->last = NULL;
}

/* -- appending -- */

static int stream_put(void *arg, const void *buf, size_t bytes)
{
	struct segment_writer *w = arg;
	const uint8_t *at = buf;

	while (bytes) {
		struct tail_buffer *b = w->last;
		size_t part;

		if (!b || b->closed || b->segment != w->number || b->filled == w->buffer_bytes)
			b = buffer_begin(w);
		if (!b)
			return -ENOMEM;
		part = w->buffer_bytes - b->filled;
		if (part > bytes)
			part = bytes;
		memcpy(b->data + b->filled, at, part);
		b->filled += part;
		if (b->filled == w->buffer_bytes)
			b->closed = true;
		w->file_offset += part;
		w->stream_offset += part;
		at += part;
		bytes -= part;
	}
	return 0;
}

/* Zeroes up to the next block. */
static int stream_align(struct segment_writer *w)
{
	static const uint8_t zeroes[BLOCK_BYTES];
	size_t over = w->file_offset % BLOCK_BYTES;

	return over ? stream_put(w, zeroes, BLOCK_BYTES - over) : 0;
}

static int segment_begin(struct segment_writer *w)
{
	uint8_t block[SEGMENT_HEADER_BYTES] = { 0 };
	int ret;

	w->header = (struct segment_header){
		.number = w->number,
		.first_ordinal = w->next_ordinal,
		.created_ns = w->env->ops->realtime_ns(w->env),
		.epoch = w->epoch,
	};
	memcpy(w->header.timeline, w->timeline, sizeof(w->header.timeline));
	if (w->keys) {
		w->header.flags = SEGMENT_ENCRYPTED;
		memcpy(w->header.key_id, keyring_newest_id(w->keys), sizeof(w->header.key_id));
		w->env->ops->random(w->env, w->header.key_salt, sizeof(w->header.key_salt));
	}
	unit_cipher_destroy(w->cipher);
	w->cipher = NULL;
	w->describe(w->arg, w->number, block + sizeof(w->header), sizeof(block) - sizeof(w->header));
	w->described_anew = false;
	segment_header_encode(&w->header, block);
	ret = stream_put(w, block, sizeof(block));
	if (!ret)
		w->committed_offset = w->file_offset;
	return ret;
}

int segment_writer_append(struct segment_writer *w, const void *buf, size_t bytes)
{
	return stream_put(w, buf, bytes);
}

/* Footer and trailer; the next byte begins the next segment. */
static int segment_seal(struct segment_writer *w)
{
	struct segment_trailer trailer = {
		.footer_offset = w->file_offset,
		.footer_bytes = segment_footer_bytes(w->index),
		.data_end = w->file_offset,
	};
	struct segment_index *index = w->sealing;
	uint8_t block[SEGMENT_TRAILER_BYTES];
	int ret;

	ret = segment_footer_encode(w->index, stream_put, w);
	if (!ret)
		ret = stream_align(w);
	segment_trailer_encode(&trailer, block);
	if (!ret)
		ret = stream_put(w, block, sizeof(block));
	if (ret)
		return ret;
	w->last->closed = true;
	w->sealing = w->index;
	segment_index_clear(index);
	w->index = index;
	w->number++;
	w->file_offset = w->committed_offset = 0;
	return 0;
}

static bool key_is_current(const struct segment_writer *w)
{
	if (!w->keys)
		return !(w->header.flags & SEGMENT_ENCRYPTED);
	return w->header.flags & SEGMENT_ENCRYPTED &&
	       !memcmp(w->header.key_id, keyring_newest_id(w->keys), sizeof(w->header.key_id));
}

int segment_writer_ready(struct segment_writer *w)
{
	bool between = w->file_offset && w->file_offset == w->committed_offset;
	int ret = 0;

	/* One at a time, as in segment_writer_commit(): else at the next batch. */
	if (between && (w->described_anew || !key_is_current(w)) && w->index->nr_commits &&
	    w->sealing->nr_commits == 0)
		ret = segment_seal(w);
	if (!ret && w->file_offset == 0)
		ret = segment_begin(w);
	if (!ret && !w->cipher)
		ret = unit_cipher_create_segment(w->keys, &w->header, &w->cipher);
	return ret;
}

int segment_writer_commit(struct segment_writer *w, uint64_t ordinal, uint64_t record_offset)
{
	uint32_t over = w->file_offset % BLOCK_BYTES;
	struct pad_record pad = { htole32(PAD_MAGIC), htole32(BLOCK_BYTES - over) };
	int ret = 0;

	if (!array_reserve(&w->commits, &w->max_commits, w->nr_commits + 1))
		return -ENOMEM;
	if (over)
		ret = stream_put(w, &pad, sizeof(pad));
	if (!ret)
		ret = stream_align(w);
	if (!ret)
		ret = segment_index_commit(w->index, record_offset);
	if (ret)
		return ret;
	w->commits[w->nr_commits++] = (struct tail_commit){
		ordinal, w->stream_offset, w->file_offset, w->number };
	w->committed_offset = w->file_offset;
	w->next_ordinal = ordinal + 1;
	/* One at a time: with the one before not yet synced this one just grows. */
	if ((w->file_offset >= w->seal_bytes || w->index->nr_extents >= SEAL_EXTENTS) &&
	    w->sealing->nr_commits == 0)
		ret = segment_seal(w);
	return ret;
}

/* -- writing -- */

static void writer_fail(struct segment_writer *w, int error)
{
	if (!w->error)
		w->error = error;
}

/* Make the file of the segment that @b begins; its entry is durable on return. */
static int file_make(struct segment_writer *w, const struct tail_buffer *b)
{
	const struct env_ops *ops = w->env->ops;
	const unsigned int flags = ENV_WRITE | ENV_CREATE | ENV_DIRECT;
	char path[PATH_BYTES];
	int ret;

	segment_path(path, sizeof(path), w->dir, b->segment);
	ret = ops->open(w->env, path, flags, &w->file);
	if (ret == -EEXIST) {
		/* Of an attempt that failed: no durable commit was ever in it. */
		ret = ops->unlink(w->env, path);
		if (!ret)
			ret = ops->open(w->env, path, flags, &w->file);
	}
	if (ret) {
		w->file = NULL;
		return ret;
	}
	w->file_number = b->segment;
	w->file_has_durable = false;
	w->durable_end = w->written_end = 0;
	return ops->sync_dir(w->env, w->dir);
}

static void file_close(struct segment_writer *w)
{
	if (w->file)
		w->env->ops->close(w->env, w->file);
	w->file = NULL;
}

static void write_done(struct env_io *io, int64_t result)
{
	struct tail_buffer *b = io->arg;
	struct segment_writer *w = b->writer;

	b->writing = false;
	w->nr_writing--;
	if (result == io->bytes)
		b->written = b->submitted;
	else
		writer_fail(w, result < 0 ? result : -EIO);
	segment_writer_pump(w);
	w->progress(w->arg);
}

static void buffer_submit(struct segment_writer *w, struct tail_buffer *b, uint32_t end)
{
	b->io = (struct env_io){
		.op = ENV_IO_WRITE,
		.file = w->file,
		.buf = b->data + b->submitted,
		.bytes = end - b->submitted,
		.offset_bytes = b->file_offset + b->submitted,
		.done = write_done,
		.arg = b,
	};
	b->submitted = end;
	b->writing = true;
	w->nr_writing++;
	if (b->file_offset + end > w->written_end)
		w->written_end = b->file_offset + end;
	w->env->ops->submit(w->env, &b->io);
}

/* Stream offset up to which a flush wants everything written. */
static uint64_t flush_stream_end(const struct segment_writer *w)
{
	if (w->nr_commits == 0 || w->flush_ordinal < w->commits[0].ordinal)
		return 0;
	for (size_t i = w->nr_commits; i-- > 0;)
		if (w->commits[i].ordinal <= w->flush_ordinal)
			return w->commits[i].stream_end;
	return 0;
}

/* How far a buffer may be written now. */
static uint32_t buffer_write_end(const struct segment_writer *w, const struct tail_buffer *b,
				 uint64_t flush_end)
{
	uint32_t whole = round_down(b->filled);

	if (b->closed)
		return b->filled;	/* full, or the end of a segment: aligned */
	if (flush_end > b->stream_offset)
		return flush_end - b->stream_offset < whole ? flush_end - b->stream_offset : whole;
	if (w->nr_writing == 0 && whole - b->submitted >= EAGER_BYTES)
		return whole;
	return b->submitted;
}

static void pump_writes(struct segment_writer *w)
{
	uint64_t flush_end = flush_stream_end(w);

	for (struct tail_buffer *b = w->first; b && w->nr_writing < MAX_WRITING; b = b->next) {
		uint32_t end;

		if (!w->file) {
			int ret = file_make(w, b);

			if (ret) {
				writer_fail(w, ret);
				return;
			}
		}
		if (b->segment != w->file_number)
			return;
		end = buffer_write_end(w, b, flush_end);
		if (!b->writing && end > b->submitted)
			buffer_submit(w, b, end);
	}
}

/* Everything below this stream offset is written. */
static uint64_t written_stream_offset(const struct segment_writer *w)
{
	for (const struct tail_buffer *b = w->first; b; b = b->next)
		if (b->written < b->filled)
			return b->stream_offset + b->written;
	return w->stream_offset;
}

uint64_t segment_writer_unwritten(const struct segment_writer *w)
{
	return w->stream_offset - written_stream_offset(w);
}

static void commits_durable(struct segment_writer *w, uint64_t ordinal)
{
	size_t nr = 0;

	while (nr < w->nr_commits && w->commits[nr].ordinal <= ordinal) {
		w->durable_end = w->commits[nr].file_end;
		w->file_has_durable = true;
		nr++;
	}
	if (nr == 0)
		return;
	w->nr_commits -= nr;
	memmove(w->commits, w->commits + nr, w->nr_commits * sizeof(*w->commits));
	w->durable_ordinal = ordinal;
	w->durable(w->arg, ordinal);
}

static void sync_done(struct env_io *io, int64_t result)
{
	struct segment_writer *w = io->arg;

	w->syncing = false;
	if (result < 0) {
		writer_fail(w, result);
	} else {
		commits_durable(w, w->sync_ordinal);
		if (w->sync_seals) {
			file_close(w);
			segment_index_clear(w->sealing);
		}
	}
	segment_writer_pump(w);
	w->progress(w->arg);
}

/* One sync at a time; it covers every commit whose writes have ended. */
static void pump_sync(struct segment_writer *w)
{
	uint64_t written = written_stream_offset(w), covers = 0;
	bool seals;

	if (!w->file || w->syncing)
		return;
	for (size_t i = 0; i < w->nr_commits; i++) {
		if (w->commits[i].stream_end > written ||
		    w->commits[i].segment != w->file_number)
			break;
		covers = w->commits[i].ordinal;
	}
	/* Sealed, and nothing of it is left in buffers. */
	seals = w->number > w->file_number && (!w->first || w->first->segment > w->file_number);
	if (!seals && (covers == 0 || w->flush_ordinal < w->commits[0].ordinal))
		return;
	w->sync_seals = seals;
	w->sync_ordinal = covers;
	w->syncing = true;
	w->sync_io = (struct env_io){ .op = ENV_IO_DATASYNC, .file = w->file, .done = sync_done,
				      .arg = w };
	w->env->ops->submit(w->env, &w->sync_io);
}

void segment_writer_pump(struct segment_writer *w)
{
	if (w->error)
		return;
	buffers_retire(w);
	pump_writes(w);
	if (!w->error)
		pump_sync(w);
}

void segment_writer_flush(struct segment_writer *w)
{
	w->flush_ordinal = w->next_ordinal - 1;
	segment_writer_pump(w);
}

uint64_t segment_writer_finished(const struct segment_writer *w)
{
	if (w->file)
		return w->file_number - 1;
	/* The file of the one that is being sealed may still have to be made. */
	return w->sealing->nr_commits ? w->number - 2 : w->number - 1;
}

/* -- giving things up -- */

/* The segment that is appended to has no commit: as if it had not begun. */
static void segment_unbegin(struct segment_writer *w)
{
	char path[PATH_BYTES];

	buffers_drop(w);
	if (w->file && w->file_number == w->number) {
		file_close(w);
		segment_path(path, sizeof(path), w->dir, w->number);
		/* If that does not work, file_make() will try again. */
		w->env->ops->unlink(w->env, path);
	}
	w->file_offset = w->committed_offset = 0;
}

int segment_writer_void(struct segment_writer *w)
{
	uint64_t over = w->file_offset - w->committed_offset;
	int ret = 0;

	assert(segment_writer_idle(w) && !w->error && w->nr_commits == 0);
	segment_index_void(w->index);
	if (w->index->nr_commits == 0) {
		segment_unbegin(w);
		return 0;
	}
	if (over == 0)
		return 0;
	/* The last commit is durable: buffers hold nothing before it that is not written. */
	buffers_drop(w);
	w->file_offset = w->committed_offset;
	w->stream_offset -= over;
	if (w->written_end > w->committed_offset) {
		ret = w->env->ops->truncate(w->env, w->file, w->committed_offset);
		w->written_end = w->committed_offset;
	}
	if (ret)
		writer_fail(w, ret);
	return ret;
}

void segment_writer_abandon(struct segment_writer *w, bool *given_up)
{
	assert(segment_writer_idle(w));
	buffers_drop(w);
	w->nr_commits = 0;
	w->next_ordinal = w->durable_ordinal + 1;
	w->flush_ordinal = w->durable_ordinal;
	*given_up = w->file && w->file_has_durable;
}

/*
 * Commits that were received and not durable must not come back after a crash: what
 * follows them will have other content under the same ordinals.
 */
static int file_forget(struct segment_writer *w)
{
	const struct env_ops *ops = w->env->ops;
	char path[PATH_BYTES];
	int ret;

	segment_path(path, sizeof(path), w->dir, w->file_number);
	ret = ops->unlink(w->env, path);
	if (ret && ret != -ENOENT)
		return ret;
	return ops->sync_dir(w->env, w->dir);
}

int segment_writer_restart(struct segment_writer *w, bool given_up)
{
	const struct env_ops *ops = w->env->ops;
	/* Without a file we are between two: the one that is being sealed comes next. */
	uint64_t number = w->file ? w->file_number :
			  w->sealing->nr_commits ? w->number - 1 : w->number;
	int ret;

	if (given_up) {
		/* Only to give the space back: the manifest says where it ends. */
		if (ops->truncate(w->env, w->file, w->durable_end) == 0)
			ops->datasync(w->env, w->file);
		number++;
	} else if (w->file) {
		ret = file_forget(w);
		if (ret)
			return ret;
	}
	file_close(w);
	segment_index_clear(w->index);
	segment_index_clear(w->sealing);
	w->error = 0;
	segment_writer_start(w, number, w->next_ordinal);
	return 0;
}

/* -- life -- */

int segment_writer_init(struct segment_writer *w)
{
	w->index = calloc(1, sizeof(*w->index));
	w->sealing = calloc(1, sizeof(*w->sealing));
	return w->index && w->sealing ? 0 : -ENOMEM;
}

void segment_writer_start(struct segment_writer *w, uint64_t number, uint64_t next_ordinal)
{
	w->number = number;
	w->next_ordinal = next_ordinal;
	w->durable_ordinal = next_ordinal - 1;
	w->file_offset = w->committed_offset = 0;
}

void segment_writer_resume(struct segment_writer *w, const struct segment_header *header,
			   uint64_t end, uint64_t next_ordinal, struct env_file *file,
			   struct segment_index *index)
{
	segment_writer_start(w, header->number, next_ordinal);
	w->header = *header;
	w->file = file;
	w->file_number = header->number;
	w->file_offset = w->committed_offset = w->durable_end = w->written_end = end;
	w->file_has_durable = index->nr_commits > 0;
	segment_index_fini(w->index);
	*w->index = *index;
	memset(index, 0, sizeof(*index));
}

void segment_writer_fini(struct segment_writer *w)
{
	struct tail_buffer *next;

	buffers_drop(w);
	for (struct tail_buffer *b = w->spare; b; b = next) {
		next = b->next;
		buffer_free(b);
	}
	file_close(w);
	unit_cipher_destroy(w->cipher);
	if (w->index)
		segment_index_fini(w->index);
	if (w->sealing)
		segment_index_fini(w->sealing);
	free(w->index);
	free(w->sealing);
	free(w->commits);
}
