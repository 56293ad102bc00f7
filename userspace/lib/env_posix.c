// SPDX-License-Identifier: GPL-2.0-only
#include "env_posix.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "container_of.h"
#include "env_host.h"

struct env_file {
	int fd;
	bool direct;
};

/* What the loop needs for one env_io; kept for reuse, never given back. */
struct posix_io {
	struct loop_io loop_io;
	struct env_posix *env;
	struct env_io *io;
	uint32_t done_bytes;	/* of a transfer that came in pieces */
	int64_t result;		/* without a loop */
	STAILQ_ENTRY(posix_io) link;
};

struct env_posix {
	struct env env;
	struct loop *loop;
	STAILQ_HEAD(posix_io_list, posix_io) free_ios;
	struct posix_io_list executed;	/* without a loop: done is still to be called */
};

static struct env_posix *to_posix(struct env *env)
{
	return container_of(env, struct env_posix, env);
}

static void posix_close(struct env *env, struct env_file *file)
{
	if (!file)
		return;
	if (file->fd >= 0)
		close(file->fd);
	free(file);
}

/*
 * Directories and pipes have no content at an offset. O_NONBLOCK was for the opening of a pipe
 * that nobody writes to; with it transfers could end with -EAGAIN.
 */
static int opened_check(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	if (flags < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (S_ISFIFO(st.st_mode))
		return -ENXIO;	/* as for a socket */
	return flags & O_NONBLOCK && fcntl(fd, F_SETFL, flags & ~O_NONBLOCK) < 0 ? -errno : 0;
}

static int posix_open(struct env *env, const char *path, unsigned int flags,
		      struct env_file **out)
{
	int oflags = O_CLOEXEC | (flags & ENV_WRITE ? O_RDWR : O_RDONLY | O_NONBLOCK) |
		     (flags & ENV_CREATE ? O_CREAT | O_EXCL : 0) |
		     (flags & ENV_NOFOLLOW ? O_NOFOLLOW : 0);
	struct env_file *file = malloc(sizeof(*file));
	int ret;

	if (!file)
		return -ENOMEM;
	file->direct = flags & ENV_DIRECT;
	file->fd = open(path, oflags | (file->direct ? O_DIRECT : 0), 0600);
	if (file->fd < 0 && errno == EINVAL && file->direct) {
		/* tmpfs and others have no O_DIRECT; they may have made the file. */
		file->direct = false;
		file->fd = open(path, oflags & ~O_EXCL, 0600);
	}
	ret = file->fd < 0 ? -errno : opened_check(file->fd);
	if (ret) {
		posix_close(env, file);
		return ret;
	}
	*out = file;
	return 0;
}

static int64_t posix_read(struct env *env, struct env_file *file, void *buf, size_t bytes,
			  uint64_t offset_bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pread(file->fd, (uint8_t *)buf + done, bytes - done,
				  offset_bytes + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += n;
		/* With O_DIRECT the end of the file may be inside a block. */
		if (n == 0 || (file->direct && done % 512))
			break;
	}
	return done;
}

static int posix_write(struct env *env, struct env_file *file, const void *buf, size_t bytes,
		       uint64_t offset_bytes)
{
	size_t done = 0;

	while (done < bytes) {
		ssize_t n = pwrite(file->fd, (const uint8_t *)buf + done, bytes - done,
				   offset_bytes + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		done += n;
	}
	return 0;
}

static int posix_datasync(struct env *env, struct env_file *file)
{
	return fdatasync(file->fd) < 0 ? -errno : 0;
}

static int posix_truncate(struct env *env, struct env_file *file, uint64_t bytes)
{
	return ftruncate(file->fd, bytes) < 0 ? -errno : 0;
}

static int posix_size(struct env *env, struct env_file *file, uint64_t *bytes)
{
	off_t end;
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return -errno;
	if (!S_ISBLK(st.st_mode)) {
		*bytes = st.st_size;
		return 0;
	}
	end = lseek(file->fd, 0, SEEK_END);
	if (end < 0)
		return -errno;
	*bytes = end;
	return 0;
}

static int posix_lock(struct env *env, struct env_file *file)
{
	struct stat st;

	if (flock(file->fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? -EBUSY : -errno;
	if (fstat(file->fd, &st) == 0 && st.st_nlink)
		return 0;
	flock(file->fd, LOCK_UN);
	return -ENOENT;
}

static int posix_rename(struct env *env, const char *from, const char *to)
{
	return rename(from, to) < 0 ? -errno : 0;
}

static int posix_unlink(struct env *env, const char *path)
{
	return remove(path) < 0 ? -errno : 0;
}

static int posix_mkdir(struct env *env, const char *path)
{
	return mkdir(path, 0700) < 0 ? -errno : 0;
}

static int posix_sync_dir(struct env *env, const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

static int posix_list(struct env *env, const char *path,
		      void (*each)(void *arg, const char *name), void *arg)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int ret;

	if (!dir)
		return -errno;
	while ((errno = 0, entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			each(arg, entry->d_name);
	ret = -errno;
	closedir(dir);
	return ret;
}

/* -- asynchronous operations -- */

static struct posix_io *io_get(struct env_posix *posix, struct env_io *io)
{
	struct posix_io *pio = STAILQ_FIRST(&posix->free_ios);

	if (pio)
		STAILQ_REMOVE_HEAD(&posix->free_ios, link);
	else
		pio = malloc(sizeof(*pio));
	if (!pio)
		return NULL;
	pio->env = posix;
	pio->io = io;
	pio->done_bytes = 0;
	return pio;
}

static void io_end(struct posix_io *pio, int64_t result)
{
	struct env_io *io = pio->io;

	STAILQ_INSERT_HEAD(&pio->env->free_ios, pio, link);
	io->done(io, result);
}

static void io_start(struct posix_io *pio);

static void io_done(struct loop_io *loop_io, int32_t result)
{
	struct posix_io *pio = container_of(loop_io, struct posix_io, loop_io);
	struct env_io *io = pio->io;

	if (result == -EINTR || result == -EAGAIN) {
		io_start(pio);
		return;
	}
	if (result < 0 || io->op == ENV_IO_DATASYNC) {
		io_end(pio, result);
		return;
	}
	pio->done_bytes += result;
	if (pio->done_bytes == io->bytes ||
	    (io->op == ENV_IO_READ && (result == 0 || (io->file->direct && result % 512)))) {
		io_end(pio, pio->done_bytes);
		return;
	}
	if (result == 0)	/* a write that does not get on: never report it as whole */
		io_end(pio, -EIO);
	else
		io_start(pio);
}

static void io_start(struct posix_io *pio)
{
	struct env_io *io = pio->io;
	uint8_t *buf = (uint8_t *)io->buf + pio->done_bytes;
	uint32_t bytes = io->bytes - pio->done_bytes;
	uint64_t offset = io->offset_bytes + pio->done_bytes;

	switch (io->op) {
	case ENV_IO_READ:
		loop_read(pio->env->loop, &pio->loop_io, io->file->fd, buf, bytes, offset);
		break;
	case ENV_IO_WRITE:
		loop_write(pio->env->loop, &pio->loop_io, io->file->fd, buf, bytes, offset);
		break;
	case ENV_IO_DATASYNC:
		loop_datasync(pio->env->loop, &pio->loop_io, io->file->fd);
		break;
	}
}

static int64_t io_execute(struct env *env, const struct env_io *io)
{
	int ret;

	switch (io->op) {
	case ENV_IO_READ:
		return posix_read(env, io->file, io->buf, io->bytes, io->offset_bytes);
	case ENV_IO_WRITE:
		ret = posix_write(env, io->file, io->buf, io->bytes, io->offset_bytes);
		return ret < 0 ? ret : (int64_t)io->bytes;
	case ENV_IO_DATASYNC:
		return posix_datasync(env, io->file);
	}
	return -EINVAL;
}

static void posix_submit(struct env *env, struct env_io *io)
{
	struct env_posix *posix = to_posix(env);
	struct posix_io *pio = io_get(posix, io);

	/* A few dozen bytes: without them nothing else here could go on either. */
	if (!pio)
		abort();
	if (posix->loop) {
		pio->loop_io.done = io_done;
		io_start(pio);
		return;
	}
	pio->result = io_execute(env, io);
	STAILQ_INSERT_TAIL(&posix->executed, pio, link);
}

size_t env_posix_pump(struct env *env)
{
	struct env_posix *posix = to_posix(env);
	struct posix_io_list ready = STAILQ_HEAD_INITIALIZER(ready);
	struct posix_io *pio;
	size_t nr = 0;

	STAILQ_CONCAT(&ready, &posix->executed);
	while ((pio = STAILQ_FIRST(&ready))) {
		STAILQ_REMOVE_HEAD(&ready, link);
		io_end(pio, pio->result);
		nr++;
	}
	return nr;
}

static int posix_free_bytes(struct env *env, const char *path, uint64_t *bytes)
{
	struct statvfs fs;

	if (statvfs(path, &fs) < 0)
		return -errno;
	*bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	return 0;
}

static const struct env_ops posix_ops = {
	.realtime_ns = env_host_realtime_ns,
	.monotonic_ns = env_host_monotonic_ns,
	.random = env_host_random,
	.open = posix_open,
	.close = posix_close,
	.read = posix_read,
	.write = posix_write,
	.datasync = posix_datasync,
	.truncate = posix_truncate,
	.size = posix_size,
	.lock = posix_lock,
	.rename = posix_rename,
	.unlink = posix_unlink,
	.mkdir = posix_mkdir,
	.sync_dir = posix_sync_dir,
	.list = posix_list,
	.free_bytes = posix_free_bytes,
	.submit = posix_submit,
};

int env_posix_create(struct loop *loop, struct env **out)
{
	struct env_posix *posix = calloc(1, sizeof(*posix));

	if (!posix)
		return -ENOMEM;
	posix->env.ops = &posix_ops;
	posix->loop = loop;
	STAILQ_INIT(&posix->free_ios);
	STAILQ_INIT(&posix->executed);
	*out = &posix->env;
	return 0;
}

void env_posix_destroy(struct env *env)
{
	struct env_posix *posix = to_posix(env);
	struct posix_io *pio;

	if (!env)
		return;
	assert(STAILQ_EMPTY(&posix->executed));
	while ((pio = STAILQ_FIRST(&posix->free_ios))) {
		STAILQ_REMOVE_HEAD(&posix->free_ios, link);
		free(pio);
	}
	free(posix);
}

bool env_posix_is_direct(const struct env_file *file)
{
	return file->direct;
}
