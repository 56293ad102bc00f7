// SPDX-License-Identifier: GPL-2.0-only
#include "env_rados.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/queue.h>
#include <unistd.h>

#include "../lib/env_host.h"
#include "dir.h"
#include "env_rados_private.h"
#include "takeover.h"

/* What of a path follows the location. */
static int path_parse(const struct env_rados *er, const char *path, char *dir, char *name)
{
	size_t length = strlen(er->cluster->location);

	if (strncmp(path, er->cluster->location, length) != 0)
		return -EINVAL;
	return rados_path_split(path + length, dir, name);
}

/* -- files -- */

static int file_enter(struct env_rados *er, const char *dir, const char *name,
		      unsigned int flags, struct rados_entry *e)
{
	int ret;

	if (flags & ENV_CREATE) {
		uint8_t id[RADOS_ID_BYTES];

		/* Random: no other file has it, whatever became of those before. */
		env_host_random(&er->env, id, sizeof(id));
		rados_entry_encode(e, RADOS_KIND_FILE, id, 0);
		return dir_add(er->cluster, dir, name, e);
	}
	ret = dir_find(er->cluster, dir, name, e);
	return ret ? ret : e->kind == RADOS_KIND_FILE ? 0 : -EISDIR;
}

static int op_open(struct env *env, const char *path, unsigned int flags, struct env_file **out)
{
	struct env_rados *er = to_rados(env);
	struct env_file *f = calloc(1, sizeof(*f));
	struct rados_entry e;
	int ret = -ENOMEM;

	if (!f)
		return ret;
	f->path = strdup(path);
	if (f->path)
		ret = path_parse(er, path, f->dir, f->name);
	if (ret == 0)
		ret = *f->name ? file_enter(er, f->dir, f->name, flags, &e) : -EISDIR;
	if (ret) {
		free(f->path);
		free(f);
		return ret;
	}
	f->data.cluster = er->cluster;
	f->data.limit = RADOS_PIECES_STEP;
	memcpy(f->data.id, e.id, sizeof(f->data.id));
	f->writable = flags & ENV_WRITE;
	*out = f;
	return 0;
}

static void op_close(struct env *env, struct env_file *file)
{
	if (!file)
		return;
	if (*file->lock.cookie) {
		waste_disown(file->data.cluster, &file->waste);
		owner_unlock(file->data.cluster, file->path, &file->lock);
	}
	free(file->path);
	free(file);
}

static int64_t op_read(struct env *env, struct env_file *file, void *buf, size_t bytes,
		       uint64_t offset_bytes)
{
	return file_read(&file->data, buf, bytes, offset_bytes);
}

static int op_write(struct env *env, struct env_file *file, const void *buf, size_t bytes,
		    uint64_t offset_bytes)
{
	return file->writable ? file_write(&file->data, buf, bytes, offset_bytes) : -EBADF;
}

static int op_datasync(struct env *env, struct env_file *file)
{
	return env_file_sync(file);
}

static int op_truncate(struct env *env, struct env_file *file, uint64_t bytes)
{
	return file->writable ? file_truncate(&file->data, bytes) : -EBADF;
}

static int op_size(struct env *env, struct env_file *file, uint64_t *bytes)
{
	return file_size(&file->data, bytes);
}

/* 0; -ENOENT: its name is gone, or of another file. */
static int named_check(struct env_rados *er, const struct env_file *file)
{
	struct rados_entry e;
	int ret = dir_find(er->cluster, file->dir, file->name, &e);

	return ret ? ret : memcmp(e.id, file->data.id, sizeof(e.id)) == 0 ? 0 : -ENOENT;
}

static int op_lock(struct env *env, struct env_file *file)
{
	struct env_rados *er = to_rados(env);
	int ret;

	if (*file->lock.cookie)
		return 0;
	rados_piece_object(file->data.id, 0, file->lock.object);
	ret = owner_lock(er->cluster, file->path, &file->lock);
	if (ret)
		return ret;
	ret = named_check(er, file);
	if (ret) {
		owner_unlock(er->cluster, file->path, &file->lock);
		/* What is locked has no content; by locking it we made its piece anew. */
		if (ret == -ENOENT)
			file_destroy(er->cluster, file->data.id);
		return ret;
	}
	waste_own(er->cluster, &file->waste, env, file->dir);
	return 0;
}

/* -- directories -- */

static int op_rename(struct env *env, const char *from, const char *to)
{
	char from_dir[RADOS_PATH_BYTES], from_name[RADOS_NAME_BYTES];
	char to_dir[RADOS_PATH_BYTES], to_name[RADOS_NAME_BYTES];
	struct env_rados *er = to_rados(env);
	int ret = path_parse(er, from, from_dir, from_name);

	if (ret == 0)
		ret = path_parse(er, to, to_dir, to_name);
	if (ret == 0 && (!*from_name || !*to_name))
		ret = -EINVAL;
	if (ret == 0 && strcmp(from_dir, to_dir) != 0)
		ret = -EXDEV;
	if (ret == 0)
		ret = dir_rename(er->cluster, from_dir, from_name, to_name);
	if (ret == 0)
		waste_tidy(er->cluster, env, to_dir);
	return ret;
}

static int op_unlink(struct env *env, const char *path)
{
	char dir[RADOS_PATH_BYTES], name[RADOS_NAME_BYTES];
	struct env_rados *er = to_rados(env);
	int ret = path_parse(er, path, dir, name);

	if (ret == 0)
		ret = *name ? dir_remove(er->cluster, dir, name) : -EBUSY;
	if (ret == 0)
		waste_tidy(er->cluster, env, dir);
	return ret;
}

static int op_mkdir(struct env *env, const char *path)
{
	char dir[RADOS_PATH_BYTES], name[RADOS_NAME_BYTES];
	struct env_rados *er = to_rados(env);
	int ret = path_parse(er, path, dir, name);

	return ret ? ret : dir_make(er->cluster, dir, name);
}

/* Each change was durable when it was acknowledged. */
static int op_sync_dir(struct env *env, const char *path)
{
	char dir[RADOS_PATH_BYTES], name[RADOS_NAME_BYTES];
	struct env_rados *er = to_rados(env);
	int ret = path_parse(er, path, dir, name);

	return ret ? ret : dir_check(er->cluster, dir, name);
}

struct listing {
	void (*each)(void *arg, const char *name);
	void *arg;
};

static void list_one(void *arg, const char *name, const struct rados_entry *e)
{
	const struct listing *l = arg;

	l->each(l->arg, name);
}

static int op_list(struct env *env, const char *path, void (*each)(void *arg, const char *name),
		   void *arg)
{
	char dir[RADOS_PATH_BYTES], name[RADOS_NAME_BYTES];
	char whole[RADOS_PATH_BYTES + RADOS_NAME_BYTES];
	struct env_rados *er = to_rados(env);
	struct listing l = { each, arg };
	int ret = path_parse(er, path, dir, name);

	if (ret == 0)
		ret = dir_check(er->cluster, dir, name);
	if (ret)
		return ret;
	snprintf(whole, sizeof(whole), "%s%s%s", dir, *dir ? "/" : "", name);
	return dir_list(er->cluster, whole, list_one, &l);
}

/* It depends on which objects come to lie where. */
static int op_free_bytes(struct env *env, const char *path, uint64_t *bytes)
{
	return -EOPNOTSUPP;
}

static const struct env_ops rados_ops = {
	.realtime_ns = env_host_realtime_ns,
	.monotonic_ns = env_host_monotonic_ns,
	.random = env_host_random,
	.open = op_open,
	.close = op_close,
	.read = op_read,
	.write = op_write,
	.datasync = op_datasync,
	.truncate = op_truncate,
	.size = op_size,
	.lock = op_lock,
	.rename = op_rename,
	.unlink = op_unlink,
	.mkdir = op_mkdir,
	.sync_dir = op_sync_dir,
	.list = op_list,
	.free_bytes = op_free_bytes,
	.submit = env_rados_submit,
};

/* -- life -- */

static void destroy(struct env *env)
{
	struct env_rados *er = to_rados(env);
	size_t left;

	do {
		rados_aio_flush(er->cluster->io);
		env_rados_pump(env);
		pthread_mutex_lock(&er->lock);
		left = er->nr_started;
		pthread_mutex_unlock(&er->lock);
	} while (left);
	close(er->fd);
	pthread_mutex_destroy(&er->lock);
	cluster_put(er->cluster);
	free(er);
}

/* A location that holds nothing yet is good; one that holds something else is not. */
static int root_check(struct cluster *c, char *why)
{
	int ret = dir_root(c);

	if (ret == 0 || ret == -ENOENT)
		return 0;
	snprintf(why, ENV_RADOS_TEXT_BYTES, "store %s: %s; nothing was changed", c->location,
		 ret == -EBADMSG ? "what is there is not ours" :
		 ret == -EPROTONOSUPPORT ? "it was made by a newer blkship" :
		 ret == -ETIMEDOUT ? "the cluster does not answer, see `ceph -s`" : strerror(-ret));
	return ret;
}

static int create(const char *location, env_rados_say *say, struct env **out, char *why)
{
	struct env_rados *er = calloc(1, sizeof(*er));
	int ret = -ENOMEM;

	snprintf(why, ENV_RADOS_TEXT_BYTES, "out of memory");
	if (!er)
		return ret;
	er->env.ops = &rados_ops;
	STAILQ_INIT(&er->ended);
	er->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (er->fd < 0) {
		ret = -errno;
		snprintf(why, ENV_RADOS_TEXT_BYTES, "eventfd: %s", strerror(-ret));
		goto err_free;
	}
	ret = cluster_get(location, say, &er->cluster, why);
	if (ret)
		goto err_fd;
	ret = root_check(er->cluster, why);
	if (ret)
		goto err_cluster;
	pthread_mutex_init(&er->lock, NULL);
	*out = &er->env;
	return 0;

err_cluster:
	cluster_put(er->cluster);
err_fd:
	close(er->fd);
err_free:
	free(er);
	return ret;
}

static int takeover(struct env *env)
{
	return takeover_below(to_rados(env)->cluster);
}

static int env_fd(struct env *env)
{
	return to_rados(env)->fd;
}

const struct env_rados_plugin env_rados_plugin = {
	.version = ENV_RADOS_VERSION,
	.create = create,
	.destroy = destroy,
	.fd = env_fd,
	.pump = env_rados_pump,
	.takeover = takeover,
};
