// SPDX-License-Identifier: GPL-2.0-only
/*
 * env_rados_io - operations that are under way while others are asked for.
 *
 * librados ends them in threads of its own. Those only put them into a list and wake whoever
 * pumps: done is called there.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "env_rados_private.h"

/* An env_io under way: one write for each piece that it touches. */
struct rados_io {
	struct env_rados *rados;
	struct env_io *io;
	struct cluster_request request;
	atomic_uint nr_parts;		/* and one of submit() until it has started them all */
	atomic_int error;
	int64_t result;
	STAILQ_ENTRY(rados_io) link;
};

/* By a thread of librados, or by submit(). */
static void io_part_end(struct rados_io *rio)
{
	struct env_rados *er = rio->rados;
	const uint64_t one = 1;
	int error;

	if (atomic_fetch_sub(&rio->nr_parts, 1) != 1)
		return;
	error = cluster_end(er->cluster, &rio->request, atomic_load(&rio->error));
	if (error)
		rio->result = error;
	pthread_mutex_lock(&er->lock);
	STAILQ_INSERT_TAIL(&er->ended, rio, link);
	/* An eventfd that is not full takes it; inside, so that destroy() waits for it. */
	if (write(er->fd, &one, sizeof(one)) < 0)
		abort();
	pthread_mutex_unlock(&er->lock);
}

static void part_done(rados_completion_t completion, void *arg)
{
	struct rados_io *rio = arg;
	int ret = rados_aio_get_return_value(completion);

	if (ret < 0)
		atomic_store(&rio->error, ret);
	rados_aio_release(completion);
	io_part_end(rio);
}

static int part_start(struct rados_io *rio, const void *buf, size_t bytes, uint64_t offset_bytes)
{
	struct rados_file *f = &rio->io->file->data;
	rados_completion_t completion;
	char object[RADOS_PIECE_NAME_BYTES];
	int ret = rados_aio_create_completion2(rio, part_done, &completion);

	if (ret)
		return ret;
	rados_piece_object(f->id, offset_bytes / RADOS_PIECE_BYTES, object);
	atomic_fetch_add(&rio->nr_parts, 1);
	ret = rados_aio_write(f->cluster->io, object, completion, buf, bytes,
			      offset_bytes % RADOS_PIECE_BYTES);
	if (ret) {
		atomic_fetch_sub(&rio->nr_parts, 1);
		rados_aio_release(completion);
	}
	return ret;
}

static int write_start(struct rados_io *rio)
{
	const struct env_io *io = rio->io;
	int ret;

	if (!io->file->writable)
		return -EBADF;
	/* Only a file of more than 64 MiB waits here; segments are smaller. */
	ret = file_admit(&io->file->data, io->offset_bytes, io->bytes);
	for (uint32_t done = 0; ret == 0 && done < io->bytes;) {
		uint64_t at = io->offset_bytes + done;
		uint32_t part = RADOS_PIECE_BYTES - at % RADOS_PIECE_BYTES;

		if (part > io->bytes - done)
			part = io->bytes - done;
		ret = part_start(rio, (const uint8_t *)io->buf + done, part, at);
		done += part;
	}
	return ret;
}

/* Writes are under way at once; the store reads in its own time, so reads are not. */
static int64_t io_start(struct rados_io *rio)
{
	struct env_io *io = rio->io;
	int ret;

	switch (io->op) {
	case ENV_IO_READ:
		return file_read(&io->file->data, io->buf, io->bytes, io->offset_bytes);
	case ENV_IO_WRITE:
		ret = write_start(rio);
		return ret ? ret : (int64_t)io->bytes;
	case ENV_IO_DATASYNC:
		return env_file_sync(io->file);
	}
	return -EINVAL;
}

void env_rados_submit(struct env *env, struct env_io *io)
{
	struct env_rados *er = to_rados(env);
	struct rados_io *rio = calloc(1, sizeof(*rio));

	/* A few dozen bytes: without them nothing else here could go on either. */
	if (!rio)
		abort();
	rio->rados = er;
	rio->io = io;
	atomic_init(&rio->nr_parts, 1);
	pthread_mutex_lock(&er->lock);
	er->nr_started++;
	pthread_mutex_unlock(&er->lock);
	cluster_begin(er->cluster, &rio->request);
	rio->result = io_start(rio);
	io_part_end(rio);
}

size_t env_rados_pump(struct env *env)
{
	struct env_rados *er = to_rados(env);
	struct io_list ready = STAILQ_HEAD_INITIALIZER(ready);
	struct rados_io *rio;
	uint64_t count;
	size_t nr = 0;

	pthread_mutex_lock(&er->lock);
	if (read(er->fd, &count, sizeof(count)) > 0)
		STAILQ_CONCAT(&ready, &er->ended);
	pthread_mutex_unlock(&er->lock);
	while ((rio = STAILQ_FIRST(&ready))) {
		struct env_io *io = rio->io;
		int64_t result = rio->result;

		STAILQ_REMOVE_HEAD(&ready, link);
		free(rio);
		pthread_mutex_lock(&er->lock);
		er->nr_started--;
		pthread_mutex_unlock(&er->lock);
		io->done(io, result);
		nr++;
	}
	return nr;
}
