// SPDX-License-Identifier: GPL-2.0-only
/* restore_write - write the outputs; a file gets its name only when all are whole. */
#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "qcow2.h"

static int write_failed(const struct output *o, int ret)
{
	return cli_fail(CLI_FAILED, "%s: %s; it is not whole; %s", o->device ? o->device : o->part,
			strerror(-ret), ret == -ENOSPC ? "make room and restore again" :
			"check the disk and restore again");
}

static bool any_done(const struct restore *r, size_t output)
{
	for (size_t i = 0; i < r->parts.nr; i++)
		if (r->parts.items[i].output == output && r->parts.items[i].done)
			return true;
	return false;
}

/* One of which parts are done has to be the one they were written to. */
static int file_again(struct restore *r, size_t output)
{
	struct output *o = &r->outputs[output];
	struct stat st;

	o->fd = open(o->part, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (o->fd < 0 || fstat(o->fd, &st) < 0 ||
	    (!r->qcow2 && (uint64_t)st.st_size != o->size_bytes) ||
	    !restore_parts_is_file(&r->parts, output, st.st_dev, st.st_ino))
		return cli_fail(CLI_REFUSED, "%s is gone or another file than the one that was written; nothing was written; begin anew with --force and without --resume",
				o->part);
	return r->qcow2 ? qcow2_mend(o->part) : CLI_DONE;
}

static int file_begin(struct restore *r, size_t output)
{
	struct output *o = &r->outputs[output];
	struct stat st;
	int ret;

	if (any_done(r, output))
		return file_again(r, output);
	unlink(o->part);
	o->fd = open(o->part, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (o->fd < 0 || fstat(o->fd, &st) < 0)
		return write_failed(o, -errno);
	if (!r->qcow2)
		ret = ftruncate(o->fd, o->size_bytes) < 0 ? write_failed(o, -errno) : CLI_DONE;
	else
		ret = qcow2_create(o->part, o->size_bytes);
	if (ret != CLI_DONE)
		return ret;
	ret = restore_parts_file(&r->parts, output, st.st_dev, st.st_ino);
	return ret ? write_failed(o, ret) : CLI_DONE;
}

static int file_end(const struct restore *r, const struct output *o)
{
	int dir, ret = CLI_DONE;

	damage_name(o);
	if (rename(o->part, o->path) < 0)
		return write_failed(o, -errno);
	dir = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fsync(dir) < 0)
		ret = write_failed(o, -errno);
	if (dir >= 0)
		close(dir);
	return ret;
}

/* It has its name already: who goes on was interrupted while they were given. */
static bool is_named(const struct restore *r, size_t output)
{
	struct stat st;

	return r->resume && stat(r->outputs[output].path, &st) == 0 &&
	       restore_parts_is_file(&r->parts, output, st.st_dev, st.st_ino);
}

/* All or nothing: the volumes of a group belong together. */
static int name_files(struct restore *r)
{
	int ret = restore_parts_complete(&r->parts);

	if (ret)
		return cli_fail(CLI_FAILED, "%s: %s; make room there and restore again with --resume",
				r->parts.path, strerror(-ret));
	for (size_t i = 0; ret == CLI_DONE && i < r->nr_outputs; i++)
		if (!r->outputs[i].device && !is_named(r, i))
			ret = file_end(r, &r->outputs[i]);
	return ret;
}

/* Half of an image is of no use and takes space. */
static void remove_parts(const struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++)
		if (!r->outputs[i].device) {
			damage_forget(&r->outputs[i]);
			unlink(r->outputs[i].part);
		}
}

/* An image has a qemu-nbd of its own, as long as it is written. */
static int write_image(struct restore *r, struct restore_copy *copy, size_t output, bool *again)
{
	struct output *o = &r->outputs[output];
	struct restore_output *to = &copy->outputs[output];
	int ret = qcow2_open(o->part, r->parts.fd, o->size_bytes, r->nr_jobs, &to->image), error;

	if (ret != CLI_DONE)
		return ret;
	copy->only = output;
	ret = restore_copy_run(copy, again);
	error = qcow2_close(to->image);
	to->image = NULL;
	if (ret != CLI_DONE || (!error && fsync(o->fd) == 0))
		return ret;
	*again = true;
	return write_failed(o, error ? error : -errno);
}

static int write_parts(struct restore *r, struct restore_copy *copy, bool *again)
{
	int ret = CLI_DONE;

	if (!r->qcow2)
		return restore_copy_run(copy, again);
	for (size_t i = 0; ret == CLI_DONE && i < r->nr_outputs; i++) {
		copy->only = i;
		ret = r->outputs[i].device ? restore_copy_run(copy, again) :
					     write_image(r, copy, i, again);
	}
	return ret;
}

static int write_volumes(struct restore *r, bool *again)
{
	struct restore_output *outputs = calloc(r->nr_outputs, sizeof(*outputs));
	struct damage damage = { 0 };
	struct restore_copy copy = {
		.store = r->store, .keys = r->named.keys, .name = &r->named.name, .seq = r->named.point->seq,
		.force = r->force, .outputs = outputs, .only = RESTORE_ALL, .parts = &r->parts,
		.view = r->view, .nr_jobs = r->nr_jobs, .progress = &r->progress,
		.damage = &damage,
	};
	int ret = outputs ? CLI_DONE : cli_fail(CLI_FAILED, "out of memory; nothing was written");

	for (size_t i = 0; ret == CLI_DONE && i < r->nr_outputs; i++) {
		struct output *o = &r->outputs[i];

		if (!o->device)
			ret = file_begin(r, i);
		outputs[i] = (struct restore_output){
			.volume = o->volume, .name = o->name, .size_bytes = o->size_bytes,
			.where = o->device ? o->device : o->part, .fd = o->fd, .device = o->device,
		};
	}
	for (size_t i = 0; i < r->parts.nr; i++)
		if (r->parts.items[i].done)
			progress_skip(&r->progress, r->parts.items[i].end_bytes -
						    r->parts.items[i].start_bytes);
	if (ret == CLI_DONE)
		ret = write_parts(r, &copy, again);
	progress_end(&r->progress);
	if (ret == CLI_DONE) {
		*again = true;
		ret = damage_note(r, &damage);
	}
	damage_fini(&damage);
	free(outputs);
	return ret;
}

static int write_all(struct restore *r, bool *again)
{
	int ret = r->parts.complete ? CLI_DONE : write_volumes(r, again);

	for (size_t i = 0; r->parts.complete && i < r->nr_outputs; i++)
		if (!r->outputs[i].device)
			damage_again(&r->outputs[i], is_named(r, i));
	for (size_t i = 0; i < r->parts.nr; i++)
		r->outputs[r->parts.items[i].output].data_bytes += r->parts.items[i].data_bytes;
	return ret == CLI_DONE ? name_files(r) : ret;
}

int write_outputs(struct restore *r)
{
	bool again = false;
	int ret;

	if (r->dir && mkdir(r->dir, 0700) < 0 && errno != EEXIST)
		return cli_fail(CLI_FAILED, "directory %s: %s; nothing was written", r->dir,
				strerror(errno));
	ret = r->resume ? CLI_DONE : state_begin(r);
	if (ret != CLI_DONE)
		return ret;
	progress_begin(&r->progress, r->total_bytes);
	ret = write_all(r, &again);
	/* Who went on keeps what he had, whatever it was that failed. */
	if (ret != CLI_DONE && r->parts.path && restore_parts_any(&r->parts) &&
	    (again || r->resume)) {
		fprintf(stderr, "blkship: what was done is kept; the same command with --resume goes on; without it, remove %s and the .part files\n",
			r->parts.path);
		return ret;
	}
	if (ret != CLI_DONE)
		remove_parts(r);
	restore_parts_forget(&r->parts);
	return ret;
}
