/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * env - the op table through which the core reaches files, clock and randomness.
 *
 * The daemons and tools use env_posix; the simulator of the tests has its own,
 * with crashes, torn and lost writes and failing syncs. Core code calls nothing
 * of the operating system but memory allocation.
 *
 * Calls return 0 or -errno unless they say otherwise. Paths are as given by the
 * caller; there is no current directory in the simulator, so use absolute ones.
 */
#ifndef BLKSHIP_ENV_H
#define BLKSHIP_ENV_H

#include <stddef.h>
#include <stdint.h>

struct env_file;		/* an open file; belongs to the env */

/* How to open. */
#define ENV_READ	(1u << 0)
#define ENV_WRITE	(1u << 1)	/* and read */
#define ENV_CREATE	(1u << 2)	/* with ENV_WRITE; -EEXIST when it exists */
#define ENV_DIRECT	(1u << 3)	/* bypass the page cache where it can be */
#define ENV_NOFOLLOW	(1u << 4)	/* -ELOOP when the name is of a symbolic link, where there are any */

enum env_io_op { ENV_IO_READ, ENV_IO_WRITE, ENV_IO_DATASYNC };

/*
 * One asynchronous operation. The submitter owns it and the buffer and keeps
 * both until done is called, exactly once, never from within submit(). result is
 * the number of bytes (short only at the end of the file) or -errno. With
 * ENV_DIRECT files buffer, length and offset are multiples of 4096.
 */
struct env_io {
	enum env_io_op op;
	struct env_file *file;
	void *buf;
	uint32_t bytes;
	uint64_t offset_bytes;
	void (*done)(struct env_io *io, int64_t result);
	void *arg;		/* the submitter's */
	void *env_private[2];	/* the env's */
};

struct env;

struct env_ops {
	uint64_t (*realtime_ns)(struct env *env);
	uint64_t (*monotonic_ns)(struct env *env);
	void (*random)(struct env *env, void *buf, size_t bytes);

	/* -EISDIR, -ENXIO: it is there and not a file. Waits for nobody. */
	int (*open)(struct env *env, const char *path, unsigned int flags,
		    struct env_file **out);
	void (*close)(struct env *env, struct env_file *file);
	/* Returns bytes read (short at the end of the file) or -errno. */
	int64_t (*read)(struct env *env, struct env_file *file, void *buf,
			size_t bytes, uint64_t offset_bytes);
	/* All of it or -errno. */
	int (*write)(struct env *env, struct env_file *file, const void *buf,
		     size_t bytes, uint64_t offset_bytes);
	int (*datasync)(struct env *env, struct env_file *file);
	int (*truncate)(struct env *env, struct env_file *file, uint64_t bytes);
	int (*size)(struct env *env, struct env_file *file, uint64_t *bytes);
	/* For one writer at a time: -EBUSY when another open file has it, -ENOENT when
	 * it was removed since it was opened; ends with close or the process. */
	int (*lock)(struct env *env, struct env_file *file);

	int (*rename)(struct env *env, const char *from, const char *to);
	/* A file, or an empty directory. */
	int (*unlink)(struct env *env, const char *path);
	/* -EEXIST when it exists. Mode 0700. */
	int (*mkdir)(struct env *env, const char *path);
	int (*sync_dir)(struct env *env, const char *path);
	/* Calls each(arg, name) for every entry but . and ..; in no order. */
	int (*list)(struct env *env, const char *path,
		    void (*each)(void *arg, const char *name), void *arg);

	/* What there is room for in a directory; -EOPNOTSUPP: it cannot be said. */
	int (*free_bytes)(struct env *env, const char *path, uint64_t *bytes);

	void (*submit)(struct env *env, struct env_io *io);
};

struct env {
	const struct env_ops *ops;
};

#endif
