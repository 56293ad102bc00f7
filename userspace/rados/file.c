// SPDX-License-Identifier: GPL-2.0-only
#include "file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_KEY	"pieces"
#define BATCH		RADOS_PIECES_STEP

/* -- several at a time -- */

/* One operation on each of up to BATCH pieces, all under way at once. */
struct batch {
	rados_completion_t completions[BATCH];
	uint64_t sizes[BATCH];
	time_t times[BATCH];
	int results[BATCH];
};

enum batch_op { BATCH_STAT, BATCH_REMOVE };

static int batch_start(struct rados_file *f, struct batch *b, unsigned int i, uint32_t piece,
		       enum batch_op op)
{
	rados_ioctx_t io = f->cluster->io;
	char object[RADOS_PIECE_NAME_BYTES];
	int ret = rados_aio_create_completion2(NULL, NULL, &b->completions[i]);

	if (ret)
		return ret;
	rados_piece_object(f->id, piece, object);
	if (op == BATCH_STAT)
		ret = rados_aio_stat(io, object, b->completions[i], &b->sizes[i], &b->times[i]);
	else
		ret = rados_aio_remove(io, object, b->completions[i]);
	if (ret)
		rados_aio_release(b->completions[i]);
	return ret;
}

/* Pieces first .. first + nr - 1; results has what became of each. */
static int batch_run(struct rados_file *f, struct batch *b, uint32_t first, unsigned int nr,
		     enum batch_op op)
{
	struct cluster_request request;
	unsigned int started = 0;
	int ret = 0, answer = 0;

	cluster_begin(f->cluster, &request);
	while (started < nr && ret == 0) {
		ret = batch_start(f, b, started, first + started, op);
		started += ret == 0;
	}
	for (unsigned int i = 0; i < started; i++) {
		rados_aio_wait_for_complete(b->completions[i]);
		b->results[i] = rados_aio_get_return_value(b->completions[i]);
		rados_aio_release(b->completions[i]);
		if (b->results[i] < 0 && b->results[i] != -ENOENT)
			answer = b->results[i];
	}
	return cluster_end(f->cluster, &request, ret ? ret : answer);
}

/* -- how many pieces -- */

static int limit_read(struct rados_file *f)
{
	char object[RADOS_PIECE_NAME_BYTES], buf[32];
	uint32_t limit;
	int ret;

	rados_piece_object(f->id, 0, object);
	ret = CLUSTER_CALL(f->cluster, rados_getxattr(f->cluster->io, object, LIMIT_KEY, buf,
						      sizeof(buf)));
	if (ret == -ENOENT || ret == -ENODATA) {
		f->limit = RADOS_PIECES_STEP;
		return 0;
	}
	if (ret < 0)
		return ret == -ERANGE ? -EBADMSG : ret;
	ret = rados_pieces_check(buf, ret, &limit);
	if (ret == 0)
		f->limit = limit;
	return ret;
}

static int limit_raise(struct rados_file *f, uint32_t piece)
{
	struct rados_pieces p;
	char object[RADOS_PIECE_NAME_BYTES];
	int ret = limit_read(f);

	if (ret || piece < f->limit)
		return ret;
	rados_pieces_encode(&p, rados_pieces_limit(piece));
	rados_piece_object(f->id, 0, object);
	ret = CLUSTER_CALL(f->cluster, rados_setxattr(f->cluster->io, object, LIMIT_KEY,
						      (const char *)&p, sizeof(p)));
	if (ret == 0)
		f->limit = rados_pieces_limit(piece);
	return ret;
}

int file_admit(struct rados_file *f, uint64_t offset_bytes, size_t bytes)
{
	uint64_t last = bytes ? (offset_bytes + bytes - 1) / RADOS_PIECE_BYTES : 0;

	if (offset_bytes + bytes < offset_bytes || last >= RADOS_PIECES_MAX)
		return -EFBIG;
	return last < RADOS_PIECES_STEP || last < f->limit ? 0 : limit_raise(f, last);
}

int file_size(struct rados_file *f, uint64_t *bytes)
{
	struct batch b;
	int ret = limit_read(f);

	*bytes = 0;
	/* The last piece that is there, from the top. */
	for (uint32_t top = f->limit; ret == 0 && top; top -= BATCH) {
		ret = batch_run(f, &b, top - BATCH, BATCH, BATCH_STAT);
		for (unsigned int i = BATCH; ret == 0 && i-- > 0;) {
			if (b.results[i] < 0)
				continue;
			*bytes = (uint64_t)(top - BATCH + i) * RADOS_PIECE_BYTES + b.sizes[i];
			return 0;
		}
	}
	return ret;
}

/* -- content -- */

/* How much of a range lies in its first piece. */
static size_t part_bytes(uint64_t offset_bytes, size_t bytes)
{
	size_t left = RADOS_PIECE_BYTES - offset_bytes % RADOS_PIECE_BYTES;

	return bytes < left ? bytes : left;
}

int64_t file_read(struct rados_file *f, void *buf, size_t bytes, uint64_t offset_bytes)
{
	uint64_t end = 0;
	bool end_known = false;
	size_t done = 0;

	while (done < bytes) {
		uint64_t at = offset_bytes + done;
		size_t part = part_bytes(at, bytes - done);
		uint8_t *to = (uint8_t *)buf + done;
		char object[RADOS_PIECE_NAME_BYTES];
		int ret;

		if (at / RADOS_PIECE_BYTES >= RADOS_PIECES_MAX)
			break;
		rados_piece_object(f->id, at / RADOS_PIECE_BYTES, object);
		ret = CLUSTER_CALL(f->cluster, rados_read(f->cluster->io, object, (char *)to, part,
							  at % RADOS_PIECE_BYTES));
		if (ret == -ENOENT)
			ret = 0;
		if (ret < 0)
			return ret;
		if ((size_t)ret < part) {
			/* A hole, or the end. */
			int size_ret = end_known ? 0 : file_size(f, &end);

			if (size_ret)
				return size_ret;
			end_known = true;
			if (end <= at + ret)
				return done + ret;
			if (end < at + part)
				part = end - at;
			memset(to + ret, 0, part - ret);
		}
		done += part;
		if (end_known && at + part >= end)
			break;
	}
	return done;
}

int file_write(struct rados_file *f, const void *buf, size_t bytes, uint64_t offset_bytes)
{
	int ret = file_admit(f, offset_bytes, bytes);

	for (size_t done = 0; ret == 0 && done < bytes;) {
		uint64_t at = offset_bytes + done;
		size_t part = part_bytes(at, bytes - done);
		char object[RADOS_PIECE_NAME_BYTES];

		rados_piece_object(f->id, at / RADOS_PIECE_BYTES, object);
		ret = CLUSTER_CALL(f->cluster, rados_write(f->cluster->io, object,
							   (const char *)buf + done, part,
							   at % RADOS_PIECE_BYTES));
		done += part;
	}
	return ret;
}

/* -- ends -- */

/* Pieces from @first on, the last ones first: what is left is a shorter file. */
static int pieces_remove(struct rados_file *f, uint32_t first)
{
	struct batch b;
	int ret = limit_read(f);

	for (uint32_t top = f->limit; ret == 0 && top > first;) {
		uint32_t from = top - BATCH > first ? top - BATCH : first;

		ret = batch_run(f, &b, from, top - from, BATCH_REMOVE);
		top = from;
	}
	return ret;
}

int file_truncate(struct rados_file *f, uint64_t bytes)
{
	uint32_t last = bytes ? (bytes - 1) / RADOS_PIECE_BYTES : 0;
	rados_write_op_t op;
	char object[RADOS_PIECE_NAME_BYTES];
	int ret = file_admit(f, 0, bytes);

	if (ret == 0)
		ret = pieces_remove(f, last + 1);
	if (ret)
		return ret;
	/* The last one stays, whole up to the end, and the first one with the limit. */
	rados_piece_object(f->id, last, object);
	op = rados_create_write_op();
	rados_write_op_create(op, LIBRADOS_CREATE_IDEMPOTENT, NULL);
	rados_write_op_truncate(op, bytes ? (bytes - 1) % RADOS_PIECE_BYTES + 1 : 0);
	ret = CLUSTER_CALL(f->cluster, rados_write_op_operate(op, f->cluster->io, object, NULL, 0));
	rados_release_write_op(op);
	return ret;
}

int file_destroy(struct cluster *c, const uint8_t id[RADOS_ID_BYTES])
{
	struct rados_file f = { .cluster = c, .limit = RADOS_PIECES_STEP };
	struct batch b;
	int ret;

	memcpy(f.id, id, RADOS_ID_BYTES);
	/* The first one knows how many there are: it goes last. */
	ret = pieces_remove(&f, 1);
	return ret ? ret : batch_run(&f, &b, 0, 1, BATCH_REMOVE);
}
