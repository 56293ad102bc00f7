/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * restore_copy - write volumes of a point, part by part, by several threads.
 *
 * Fed by the restore command, which has looked at everything and opened the outputs; each
 * thread has a reader of its own.
 */
#ifndef BLKSHIP_RESTORE_COPY_H
#define BLKSHIP_RESTORE_COPY_H

#include "../../userspace/export/point_list.h"
#include "../../userspace/export/restore_parts.h"
#include "../../userspace/store/view.h"
#include "damage.h"
#include "progress.h"

#define RESTORE_MAX_JOBS	16
#define RESTORE_PART_BYTES	(4ull << 30)
#define RESTORE_IMAGE_PART_BYTES (256ull << 20)

/* Where one volume goes. */
struct restore_output {
	uint16_t volume;
	const char *name;	/* of the volume */
	const char *where;	/* the file or device, for complaints */
	uint64_t size_bytes;
	int fd;
	struct qcow2 *image;	/* in place of fd, with a connection for each thread; or NULL */
	bool device;		/* has to be told of zeroes; a file is born full of holes */
};

#define RESTORE_ALL	SIZE_MAX

struct restore_copy {
	const char *store;
	const struct keyring *keys;	/* NULL: none */
	const struct point_name *name;
	uint64_t seq;
	bool force;		/* also what is known to be damaged: zeroes where it cannot be read */
	struct damage *damage;	/* out: where that was, in any order */
	struct restore_output *outputs;
	size_t only;		/* parts of this output; RESTORE_ALL */
	struct restore_parts *parts;
	struct view *view;	/* of the thread that calls */
	unsigned int nr_jobs;
	struct progress *progress;
};

/**
 * restore_copy_run - do the parts that are not done
 * Each is on the disk before it is noted as done, unless some of it could not be read: whoever goes
 * on has to tell of that, too, and does it again. The first failure is complained about
 * and ends it. @again: out, whether it may go on later: it was not the point that failed.
 * Return: an exit code.
 */
int restore_copy_run(const struct restore_copy *c, bool *again);

#endif
