/* SPDX-License-Identifier: GPL-2.0-only */
/* env_rados_private - what the two halves of env_rados share. */
#ifndef BLKSHIP_ENV_RADOS_PRIVATE_H
#define BLKSHIP_ENV_RADOS_PRIVATE_H

#include "../lib/container_of.h"
#include "cluster.h"
#include "env_rados.h"
#include "file.h"

struct rados_io;

struct env_file {
	struct rados_file data;
	char *path;
	char dir[RADOS_PATH_BYTES], name[RADOS_NAME_BYTES];
	struct owner_lock lock;
	struct waste_dir waste;		/* with the lock */
	bool writable;
};

struct env_rados {
	struct env env;
	struct cluster *cluster;
	int fd;

	pthread_mutex_t lock;		/* of what follows */
	STAILQ_HEAD(io_list, rados_io) ended;
	size_t nr_started;		/* submitted, and not yet given back */
};

static inline struct env_rados *to_rados(struct env *env)
{
	return container_of(env, struct env_rados, env);
}

/* What was acknowledged is on the disks of all replicas: 0, or -ENOLINK when fenced out. */
static inline int env_file_sync(const struct env_file *file)
{
	return atomic_load(&file->data.cluster->fenced) ? -ENOLINK : 0;
}

/** env_rados_submit - begin an operation; env_ops.submit */
void env_rados_submit(struct env *env, struct env_io *io);

/** env_rados_pump - call done for what has ended; how many were called */
size_t env_rados_pump(struct env *env);

#endif
