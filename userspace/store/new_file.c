// SPDX-License-Identifier: GPL-2.0-only
/* new_file - a file that is written once, from its start to its end, and then named. */
#include "new_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_BYTES	(256u << 10)
#define SYNC_BYTES	(8u << 20)	/* so that no sync has much to do, nor others wait for it */

int new_file_begin(struct new_file *f, struct env *env, const char *path,
		   const struct run_pace *pace)
{
	const unsigned int flags = ENV_WRITE | ENV_CREATE;
	int ret;

	*f = (struct new_file){ .env = env, .pace = pace, .buffer_offset = NEW_FILE_HEADER_BYTES,
				.synced_offset = NEW_FILE_HEADER_BYTES };
	f->buffer = malloc(BUFFER_BYTES);
	if (!f->buffer)
		return -ENOMEM;
	ret = pace ? pace->fn(pace->arg, 0) : 0;
	if (ret)
		return ret;
	ret = env->ops->open(env, path, flags, &f->file);
	if (ret == -EEXIST) {
		/* Of an attempt that could not even be cleared away. */
		ret = env->ops->unlink(env, path);
		if (!ret)
			ret = env->ops->open(env, path, flags, &f->file);
	}
	if (ret)
		f->file = NULL;
	return ret;
}

static int buffer_write(struct new_file *f)
{
	size_t bytes = f->buffered_bytes;

	f->error = f->env->ops->write(f->env, f->file, f->buffer, bytes, f->buffer_offset);
	if (f->error)
		return f->error;
	f->buffer_offset += bytes;
	f->buffered_bytes = 0;
	if (f->buffer_offset - f->synced_offset >= SYNC_BYTES) {
		f->error = f->env->ops->datasync(f->env, f->file);
		f->synced_offset = f->buffer_offset;
	}
	if (!f->error && f->pace)
		f->error = f->pace->fn(f->pace->arg, bytes);
	return f->error;
}

int new_file_put(struct new_file *f, const void *data, size_t bytes)
{
	const uint8_t *at = data;
	int ret = 0;

	while (bytes && !ret) {
		size_t part = BUFFER_BYTES - f->buffered_bytes;

		if (part > bytes)
			part = bytes;
		memcpy(f->buffer + f->buffered_bytes, at, part);
		f->buffered_bytes += part;
		at += part;
		bytes -= part;
		if (f->buffered_bytes == BUFFER_BYTES)
			ret = buffer_write(f);
	}
	return ret;
}

int new_file_read(struct new_file *f, uint64_t bytes)
{
	const uint64_t told = new_file_offset(f) + f->paced_bytes;
	uint64_t more;

	f->read_bytes += bytes;
	if (!f->pace || f->error || f->read_bytes <= told)
		return f->error;
	more = f->read_bytes - told;
	f->paced_bytes += more;
	f->error = f->pace->fn(f->pace->arg, more);
	return f->error;
}

static void file_free(struct new_file *f)
{
	if (f->file)
		f->env->ops->close(f->env, f->file);
	free(f->buffer);
	f->file = NULL;
	f->buffer = NULL;
}

int new_file_finish(struct new_file *f, const char *dir, const char *from, const char *to,
		    const void *header)
{
	const struct env_ops *ops = f->env->ops;
	int ret = f->buffered_bytes ? buffer_write(f) : 0;

	if (!ret)
		ret = ops->write(f->env, f->file, header, NEW_FILE_HEADER_BYTES, 0);
	if (!ret)
		ret = ops->datasync(f->env, f->file);
	if (!ret)
		ret = ops->rename(f->env, from, to);
	if (!ret) {
		ret = ops->sync_dir(f->env, dir);
		if (ret)
			ops->unlink(f->env, to);
	}
	if (!ret)
		file_free(f);
	return ret;
}

void new_file_abort(struct new_file *f, const char *path)
{
	/* If that does not work, the next one of this name or the next opening will. */
	if (f->file)
		f->env->ops->unlink(f->env, path);
	file_free(f);
}
