// SPDX-License-Identifier: GPL-2.0-only
/*
 * sim_env - an env in memory whose disk loses, tears and refuses as real ones do.
 *
 * Two contents per file: what reads see (data) and what is on the platter (disk).
 * Each sector that differs has a stamp, the operation that made it differ; a sync
 * brings over those with a stamp older than itself. Directory entries likewise
 * have two inodes, and a list of operations between them. sim_disk.c has files
 * and entries; this file has the ops, faults, time and the queue.
 */
#include "sim_env.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim_disk.h"

#define BLOCK_BYTES 4096

struct fault {
	uint64_t left;		/* operations until it strikes; 0: off */
	int error;
	bool sticky;
};

struct env_file {
	struct sim_inode *inode;
	unsigned int flags;
	bool dead;		/* a crash came over it */
	bool ended;		/* it was removed: sim_env_end_removed() */
	bool lock;
	struct env_file *next;
};

struct sim_env {
	struct env env;		/* first: the ops get this */
	struct sim_disk disk;
	struct env_file *open;
	struct env_file *spare;
	struct env_io **queue;
	size_t nr_queue, max_queue;
	uint64_t realtime_ns, monotonic_ns;
	uint64_t ops;
	uint64_t power_left;	/* with power_limited */
	bool power_limited, off;
	bool end_removed;
	sim_env_watcher watch;
	void *watch_arg;
	struct fault faults[SIM_NR_FAULTS];
};

static struct sim_env *sim_of(struct env *env)
{
	return (struct sim_env *)env;
}

uint64_t sim_env_random(struct sim_env *sim, uint64_t bound)
{
	return sim_disk_random(&sim->disk, bound);
}

/* -- faults -- */

/* One more operation that changes the disk: 0, or -EIO without power. */
static int op_begin(struct sim_env *sim, enum sim_op op, const char *path, bool *edge)
{
	*edge = false;
	if (sim->off)
		return -EIO;
	*edge = sim->power_limited && sim->power_left-- == 0;
	if (sim->watch)
		sim->watch(sim->watch_arg, op, path, *edge);
	if (*edge) {
		sim->off = true;
		return -EIO;
	}
	sim->ops++;
	return 0;
}

static int fault_strikes(struct sim_env *sim, enum sim_fault what)
{
	struct fault *f = &sim->faults[what];

	if (f->left == 0)
		return 0;
	if (f->left > 1) {
		f->left--;
		return 0;
	}
	if (!f->sticky)
		f->left = 0;
	return f->error;
}

void sim_env_fail(struct sim_env *sim, enum sim_fault what, uint64_t nth, int error,
		  bool sticky)
{
	sim->faults[what] = (struct fault){ nth, error, sticky };
}

void sim_env_watch(struct sim_env *sim, sim_env_watcher watch, void *arg)
{
	sim->watch = watch;
	sim->watch_arg = arg;
}

void sim_env_power_off_after(struct sim_env *sim, uint64_t ops)
{
	sim->power_limited = true;
	sim->power_left = ops;
}

bool sim_env_is_off(const struct sim_env *sim)
{
	return sim->off;
}

uint64_t sim_env_ops(const struct sim_env *sim)
{
	return sim->ops;
}

void sim_env_set_limit(struct sim_env *sim, uint64_t bytes)
{
	sim->disk.limit_bytes = bytes;
}

uint64_t sim_env_used(const struct sim_env *sim)
{
	return sim->disk.used_bytes;
}

/* -- reading and writing, shared by both ways to ask for it -- */

static int64_t do_read(struct sim_env *sim, struct env_file *file, void *buf, size_t bytes,
		       uint64_t offset)
{
	int error;

	if (file->dead || sim->off)
		return -EIO;
	error = fault_strikes(sim, SIM_FAULT_READ);
	if (error)
		return error;
	if (file->ended)
		return 0;
	if (file->flags & ENV_DIRECT)
		assert(bytes % BLOCK_BYTES == 0 && offset % BLOCK_BYTES == 0 &&
		       (uintptr_t)buf % BLOCK_BYTES == 0);
	return sim_inode_read(file->inode, buf, bytes, offset, file->flags & ENV_DIRECT);
}

static int do_write(struct sim_env *sim, struct env_file *file, const void *buf, size_t bytes,
		    uint64_t offset)
{
	bool edge;
	int error;

	assert(file->flags & ENV_WRITE);
	if (file->dead)
		return -EIO;
	if (file->flags & ENV_DIRECT)
		assert(bytes % BLOCK_BYTES == 0 && offset % BLOCK_BYTES == 0 &&
		       (uintptr_t)buf % BLOCK_BYTES == 0);
	error = op_begin(sim, SIM_OP_WRITE, file->inode->made_as, &edge);
	if (!error)
		error = fault_strikes(sim, SIM_FAULT_WRITE);
	else if (!edge)
		return error;
	if (!error && !sim_disk_fits(&sim->disk, file->inode, offset + bytes))
		error = -ENOSPC;
	if (error) {
		/* Some of it got there. */
		if (sim_disk_fits(&sim->disk, file->inode, offset + bytes))
			sim_inode_write_torn(&sim->disk, file->inode, buf, bytes, offset,
					     sim->ops);
		return error;
	}
	sim_inode_write(&sim->disk, file->inode, buf, bytes, offset, sim->ops);
	return 0;
}

/* @asked: the operation count when the sync was asked for. */
static int do_sync(struct sim_env *sim, struct env_file *file, uint64_t asked)
{
	bool edge;
	int error;

	if (file->dead)
		return -EIO;
	error = op_begin(sim, SIM_OP_SYNC, file->inode->made_as, &edge);
	if (error) {
		if (edge)
			sim_inode_sync_part(&sim->disk, file->inode);
		return error;
	}
	error = fault_strikes(sim, SIM_FAULT_SYNC);
	if (error) {
		sim_inode_sync_fail(&sim->disk, file->inode);
		return error;
	}
	sim_inode_sync(&sim->disk, file->inode, asked);
	return 0;
}

/* -- the ops -- */

static uint64_t op_realtime_ns(struct env *env)
{
	return sim_of(env)->realtime_ns;
}

static uint64_t op_monotonic_ns(struct env *env)
{
	return sim_of(env)->monotonic_ns;
}

static void op_random(struct env *env, void *buf, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		((uint8_t *)buf)[i] = sim_env_random(sim_of(env), 256);
}

static struct env_file *file_create(struct sim_env *sim, struct sim_inode *inode,
				    unsigned int flags)
{
	struct env_file *file = sim->spare;

	if (file)
		sim->spare = file->next;
	else
		file = sim_alloc(sizeof(*file));
	*file = (struct env_file){ .inode = inode, .flags = flags, .next = sim->open };
	sim->open = file;
	inode->refs++;
	return file;
}

static int entry_make(struct sim_env *sim, const char *path, bool dir, struct sim_inode **out)
{
	struct sim_entry *entry = sim_disk_entry(&sim->disk, path);
	bool edge;
	int error;

	if (entry->now)
		return -EEXIST;
	if (!sim_disk_parent(&sim->disk, path))
		return -ENOENT;
	error = op_begin(sim, SIM_OP_CREATE, path, &edge);
	if (error)
		return error;
	*out = sim_inode_create(&sim->disk, dir);
	(*out)->made_as = entry->path;
	sim_disk_link(&sim->disk, entry, *out, NULL);
	return 0;
}

static int op_open(struct env *env, const char *path, unsigned int flags,
		   struct env_file **out)
{
	struct sim_env *sim = sim_of(env);
	struct sim_inode *inode = NULL;
	int ret;

	if (sim->off)
		return -EIO;
	if (flags & ENV_CREATE) {
		assert(flags & ENV_WRITE);
		ret = entry_make(sim, path, false, &inode);
		if (ret)
			return ret;
	} else {
		inode = sim_disk_entry(&sim->disk, path)->now;
		if (!inode)
			return -ENOENT;
	}
	if (inode->is_dir)
		return -EISDIR;
	*out = file_create(sim, inode, flags);
	return 0;
}

static void op_close(struct env *env, struct env_file *file)
{
	struct sim_env *sim = sim_of(env);
	struct env_file **at = &sim->open;

	while (*at != file)
		at = &(*at)->next;
	*at = file->next;
	if (file->lock && !file->dead)
		file->inode->locked = false;
	sim_inode_put(&sim->disk, file->inode);
	file->next = sim->spare;
	sim->spare = file;
}

static int op_lock(struct env *env, struct env_file *file)
{
	if (file->dead || sim_of(env)->off)
		return -EIO;
	if (file->inode->locked && !file->lock)
		return -EBUSY;
	file->lock = true;
	file->inode->locked = true;
	return 0;
}

static int64_t op_read(struct env *env, struct env_file *file, void *buf, size_t bytes,
		       uint64_t offset_bytes)
{
	return do_read(sim_of(env), file, buf, bytes, offset_bytes);
}

static int op_write(struct env *env, struct env_file *file, const void *buf, size_t bytes,
		    uint64_t offset_bytes)
{
	return do_write(sim_of(env), file, buf, bytes, offset_bytes);
}

static int op_datasync(struct env *env, struct env_file *file)
{
	return do_sync(sim_of(env), file, sim_of(env)->ops);
}

static int op_truncate(struct env *env, struct env_file *file, uint64_t bytes)
{
	struct sim_env *sim = sim_of(env);
	bool edge;
	int error;

	assert(file->flags & ENV_WRITE);
	if (file->dead)
		return -EIO;
	error = op_begin(sim, SIM_OP_TRUNCATE, file->inode->made_as, &edge);
	if (error)
		return error;
	sim_inode_truncate(&sim->disk, file->inode, bytes, sim->ops);
	return 0;
}

static int op_size(struct env *env, struct env_file *file, uint64_t *bytes)
{
	if (file->dead)
		return -EIO;
	*bytes = file->inode->size;
	return 0;
}

static int op_rename(struct env *env, const char *from, const char *to)
{
	struct sim_env *sim = sim_of(env);
	struct sim_entry *a = sim_disk_entry(&sim->disk, from);
	struct sim_entry *b = sim_disk_entry(&sim->disk, to);
	bool edge;
	int error;

	if (!a->now || !sim_disk_parent(&sim->disk, to))
		return -ENOENT;
	error = op_begin(sim, SIM_OP_RENAME, from, &edge);
	if (error)
		return error;
	sim_disk_link(&sim->disk, b, a->now, a);
	return 0;
}

static int op_unlink(struct env *env, const char *path)
{
	struct sim_env *sim = sim_of(env);
	struct sim_entry *entry = sim_disk_entry(&sim->disk, path);
	bool edge;
	int error;

	if (!entry->now)
		return -ENOENT;
	error = op_begin(sim, SIM_OP_UNLINK, path, &edge);
	if (error)
		return error;
	for (struct env_file *f = sim->open; f && sim->end_removed; f = f->next)
		f->ended |= f->inode == entry->now;
	sim_disk_link(&sim->disk, entry, NULL, NULL);
	return 0;
}

static int op_mkdir(struct env *env, const char *path)
{
	struct sim_inode *inode;

	if (sim_of(env)->off)
		return -EIO;
	return entry_make(sim_of(env), path, true, &inode);
}

static int op_sync_dir(struct env *env, const char *path)
{
	struct sim_env *sim = sim_of(env);
	bool edge;
	int error = op_begin(sim, SIM_OP_SYNC_DIR, path, &edge);

	if (!error)
		error = fault_strikes(sim, SIM_FAULT_SYNC);
	if (!error)
		sim_disk_sync_dir(&sim->disk, path);
	return error;
}

static int op_list(struct env *env, const char *path,
		   void (*each)(void *arg, const char *name), void *arg)
{
	struct sim_env *sim = sim_of(env);

	if (sim->off)
		return -EIO;
	return sim_disk_list(&sim->disk, path, each, arg);
}

static void op_submit(struct env *env, struct env_io *io)
{
	struct sim_env *sim = sim_of(env);

	if (sim->nr_queue == sim->max_queue) {
		sim->max_queue = sim->max_queue ? sim->max_queue * 2 : 16;
		sim->queue = sim_realloc(sim->queue, sim->max_queue * sizeof(*sim->queue));
	}
	io->env_private[0] = (void *)(uintptr_t)sim->ops;
	sim->queue[sim->nr_queue++] = io;
}

static int op_free_bytes(struct env *env, const char *path, uint64_t *bytes)
{
	const struct sim_disk *disk = &sim_of(env)->disk;

	if (!disk->limit_bytes)
		return -EOPNOTSUPP;
	*bytes = disk->limit_bytes > disk->used_bytes ? disk->limit_bytes - disk->used_bytes : 0;
	return 0;
}

const struct env_ops sim_ops = {
	.realtime_ns = op_realtime_ns,
	.monotonic_ns = op_monotonic_ns,
	.random = op_random,
	.open = op_open,
	.close = op_close,
	.read = op_read,
	.write = op_write,
	.datasync = op_datasync,
	.truncate = op_truncate,
	.size = op_size,
	.rename = op_rename,
	.unlink = op_unlink,
	.mkdir = op_mkdir,
	.sync_dir = op_sync_dir,
	.lock = op_lock,
	.list = op_list,
	.free_bytes = op_free_bytes,
	.submit = op_submit,
};

void sim_env_end_removed(struct sim_env *sim)
{
	sim->end_removed = true;
}

/* -- the queue -- */

size_t sim_env_pending(const struct sim_env *sim)
{
	return sim->nr_queue;
}

static int64_t io_run(struct sim_env *sim, struct env_io *io)
{
	int ret;

	switch (io->op) {
	case ENV_IO_READ:
		return do_read(sim, io->file, io->buf, io->bytes, io->offset_bytes);
	case ENV_IO_WRITE:
		ret = do_write(sim, io->file, io->buf, io->bytes, io->offset_bytes);
		return ret ? ret : (int64_t)io->bytes;
	default:
		return do_sync(sim, io->file, (uintptr_t)io->env_private[0]);
	}
}

void sim_env_complete(struct sim_env *sim, size_t index)
{
	struct env_io *io = sim->queue[index];

	sim->nr_queue--;
	memmove(&sim->queue[index], &sim->queue[index + 1],
		(sim->nr_queue - index) * sizeof(*sim->queue));
	io->done(io, io_run(sim, io));
}

void sim_env_complete_all(struct sim_env *sim)
{
	while (sim->nr_queue)
		sim_env_complete(sim, sim_env_random(sim, sim->nr_queue));
}

/* -- crash -- */

static void queue_drop(struct sim_env *sim)
{
	for (size_t i = 0; i < sim->nr_queue; i++) {
		struct env_io *io = sim->queue[i];

		if (io->op == ENV_IO_WRITE && !io->file->dead &&
		    sim_disk_fits(&sim->disk, io->file->inode, io->offset_bytes + io->bytes))
			sim_inode_write_torn(&sim->disk, io->file->inode, io->buf, io->bytes,
					     io->offset_bytes, sim->ops);
	}
	sim->nr_queue = 0;
	for (struct env_file *f = sim->open; f; f = f->next) {
		f->dead = true;
		if (f->lock)
			f->inode->locked = false;
	}
}

void sim_env_crash(struct sim_env *sim, uint64_t seed)
{
	sim->disk.random ^= seed * 0x9e3779b97f4a7c15u;
	queue_drop(sim);
	sim_disk_crash(&sim->disk);
	sim->off = sim->power_limited = false;
	memset(sim->faults, 0, sizeof(sim->faults));
}

void sim_env_kill(struct sim_env *sim)
{
	queue_drop(sim);
}

/* -- tools of the tests -- */

int sim_env_flip(struct sim_env *sim, const char *path, uint64_t offset_bytes,
		 unsigned int bit)
{
	struct sim_inode *inode = sim_disk_entry(&sim->disk, path)->now;

	if (!inode)
		return -ENOENT;
	if (offset_bytes >= inode->size)
		return -ERANGE;
	inode->data[offset_bytes] ^= 1u << bit;
	inode->disk[offset_bytes] ^= 1u << bit;
	return 0;
}

int sim_env_poke(struct sim_env *sim, const char *path, uint64_t offset_bytes,
		 const void *buf, size_t bytes)
{
	struct sim_inode *inode = sim_disk_entry(&sim->disk, path)->now;

	if (!inode)
		return -ENOENT;
	sim_inode_write(&sim->disk, inode, buf, bytes, offset_bytes, sim->ops);
	sim_inode_sync(&sim->disk, inode, sim->ops);
	return 0;
}

const uint8_t *sim_env_content(struct sim_env *sim, const char *path, uint64_t *bytes)
{
	struct sim_inode *inode = sim_disk_entry(&sim->disk, path)->now;

	*bytes = inode ? inode->size : 0;
	return inode ? inode->data : NULL;
}

void sim_env_set_realtime(struct sim_env *sim, uint64_t ns)
{
	sim->realtime_ns = ns;
}

void sim_env_advance(struct sim_env *sim, uint64_t ns)
{
	sim->realtime_ns += ns;
	sim->monotonic_ns += ns;
}

/* -- life -- */

struct sim_env *sim_env_create(uint64_t seed)
{
	struct sim_env *sim = sim_alloc(sizeof(*sim));

	sim_env_reset(sim, seed);
	return sim;
}

void sim_env_reset(struct sim_env *sim, uint64_t seed)
{
	struct env_file *spare;

	while (sim->open)
		op_close(&sim->env, sim->open);
	spare = sim->spare;
	sim_disk_reset(&sim->disk, seed);
	*sim = (struct sim_env){
		.env.ops = &sim_ops,
		.disk = sim->disk,
		.spare = spare,
		.queue = sim->queue,
		.max_queue = sim->max_queue,
		.watch = sim->watch,
		.watch_arg = sim->watch_arg,
		.realtime_ns = 1700000000000000000u,
		.monotonic_ns = 1000000000,
	};
}

void sim_env_destroy(struct sim_env *sim)
{
	struct env_file *next;

	if (!sim)
		return;
	while (sim->open)
		op_close(&sim->env, sim->open);
	for (struct env_file *f = sim->spare; f; f = next) {
		next = f->next;
		free(f);
	}
	sim_disk_fini(&sim->disk);
	free(sim->queue);
	free(sim);
}

struct env *sim_env_env(struct sim_env *sim)
{
	return &sim->env;
}
