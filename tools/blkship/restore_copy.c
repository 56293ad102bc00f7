// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore_copy - write volumes of a point, part by part, by several threads.
 *
 * Lock: work->lock guards parts, progress and result. Nobody reads or writes data with it held.
 */
#include "restore_copy.h"

#include <errno.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../../userspace/export/reader.h"
#include "cli.h"
#include "qcow2.h"

#define CHUNK_BYTES	(1u << 20)

static const uint8_t zeroes[CHUNK_BYTES];

struct work {
	const struct restore_copy *copy;
	pthread_mutex_t lock;
	size_t next;		/* no part before it is to be done */
	int result;		/* enum cli_exit; the first that is not CLI_DONE */
	bool again;		/* and that was writing */
	/*
	 * The kernel tells an error of writing back once, to whoever syncs next, whosever
	 * data it were. So they sync one by one, and after a failure no part is done.
	 */
	pthread_mutex_t sync_lock;
	bool sync_failed;
};

struct worker {
	struct work *work;
	unsigned int number;	/* its connection to an image */
	struct view *view;
};

/* -- a part -- */

struct part_copy {
	struct work *work;
	unsigned int worker;
	const struct restore_output *output;
	struct restore_part *part;
	uint64_t untold_bytes;	/* done, and not in the progress yet */
	int write_error;
	int note_error;		/* of the file that says what is done */
};

static int write_all(int fd, const uint8_t *buf, size_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t n = pwrite(fd, buf, bytes, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		offset += n;
		bytes -= n;
	}
	return 0;
}

/* Also where a restore that was interrupted has left something: only devices have. */
static int write_zeroes(const struct restore_output *o, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };

	if (!o->device || ioctl(o->fd, BLKZEROOUT, range) == 0)
		return 0;
	while (bytes) {
		size_t n = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
		int ret = write_all(o->fd, zeroes, n, offset);

		if (ret < 0)
			return ret;
		offset += n;
		bytes -= n;
	}
	return 0;
}

/* So much more is done; whether to go on. */
static bool went_on(struct part_copy *c, uint64_t bytes)
{
	struct work *w = c->work;
	bool on;

	c->untold_bytes += bytes;
	if (c->untold_bytes < CHUNK_BYTES)
		return true;
	pthread_mutex_lock(&w->lock);
	progress_add(w->copy->progress, c->untold_bytes);
	on = w->result == CLI_DONE;
	pthread_mutex_unlock(&w->lock);
	c->untold_bytes = 0;
	return on;
}

static int copy_data(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct part_copy *c = arg;

	c->write_error = c->output->image ?
		qcow2_write(c->output->image, c->worker, buf, bytes, offset_bytes) :
		write_all(c->output->fd, buf, bytes, offset_bytes);
	if (c->write_error)
		return c->write_error;
	c->part->data_bytes += bytes;
	return went_on(c, bytes) ? 0 : -ECANCELED;
}

/* What is not data: zeroes, also where nothing could be read and --force was given. */
static int copy_zeroes(struct part_copy *c, struct view *view, uint64_t *offset)
{
	const struct restore_part *part = c->part;

	for (*offset = part->start_bytes; *offset < part->end_bytes;) {
		struct view_extent e;
		int ret = view_next(view, c->output->volume, *offset, &e);

		if (ret)
			return ret;
		if (e.length_bytes > part->end_bytes - *offset)
			e.length_bytes = part->end_bytes - *offset;
		if (e.kind == EXTENT_UNREADABLE && !c->work->copy->force)
			return -EIO;
		if (e.kind != EXTENT_DATA) {
			c->write_error = write_zeroes(c->output, *offset, e.length_bytes);
			if (c->write_error)
				return c->write_error;
			if (!went_on(c, e.length_bytes))
				return -ECANCELED;
		}
		*offset += e.length_bytes;
	}
	return 0;
}

/* Data from @offset on, at most a chunk, or what lies before the next data. Of one kind: @data. */
static int stretch(const struct part_copy *c, struct view *view, uint64_t offset, uint64_t *bytes,
		   bool *data)
{
	uint64_t max = c->part->end_bytes - offset;

	if (max > CHUNK_BYTES)
		max = CHUNK_BYTES;
	for (*bytes = 0; *bytes < max;) {
		struct view_extent e;
		int ret = view_next(view, c->output->volume, offset + *bytes, &e);

		if (ret)
			return ret;
		if (*bytes && *data != (e.kind == EXTENT_DATA))
			break;
		*data = e.kind == EXTENT_DATA;
		*bytes += e.length_bytes < max - *bytes ? e.length_bytes : max - *bytes;
	}
	return 0;
}

/*
 * Data in the order of the volume. An image is better off that way: QEMU takes its time for each
 * write, and by the order of the store they are as small as what was written at the source.
 */
static int copy_in_order(struct part_copy *c, struct view *view, uint64_t *offset)
{
	uint8_t *buf = malloc(CHUNK_BYTES);
	int ret = buf ? 0 : -ENOMEM;

	*offset = c->part->start_bytes;
	while (!ret && *offset < c->part->end_bytes) {
		uint64_t bytes;
		bool data;

		ret = stretch(c, view, *offset, &bytes, &data);
		if (!ret && data)
			ret = view_read(view, c->output->volume, *offset, buf, bytes);
		if (!ret && data)
			ret = copy_data(c, *offset, buf, bytes);
		if (!ret)
			*offset += bytes;
	}
	free(buf);
	return ret;
}

static int read_failed(const struct restore_output *o, uint64_t offset, int ret)
{
	if (ret == -EIO)
		return cli_fail(CLI_FAILED, "volume %s at byte %llu: could not be read at the source then; restore with --force leaves zeroes there",
				o->name, (unsigned long long)offset);
	return cli_fail(CLI_FAILED, "volume %s at byte %llu: %s; what was written so far is not whole; try another point",
			o->name, (unsigned long long)offset, view_error_text(ret));
}

static int write_failed(const struct restore_output *o, int ret)
{
	return cli_fail(CLI_FAILED, "%s: %s; it is not whole; %s", o->where, strerror(-ret),
			ret == -ENOSPC ? "make room and restore again" :
			"check the disk and restore again");
}

/* Called with the lock held: only the first failure is told. */
static void fail(struct work *w, const struct part_copy *c, uint64_t offset, int ret)
{
	if (w->result != CLI_DONE || ret == -ECANCELED)
		return;
	progress_end(w->copy->progress);
	w->again = c->write_error || c->note_error;
	if (c->note_error) {
		w->result = cli_fail(CLI_FAILED, "%s: %s; make room there and restore again with --resume",
				     w->copy->parts->path, strerror(-ret));
		return;
	}
	w->result = c->write_error ? write_failed(c->output, c->write_error) :
				     read_failed(c->output, offset, ret);
}

static int sync_output(const struct part_copy *c)
{
	if (c->output->image)
		return qcow2_flush(c->output->image, c->worker);
	return fsync(c->output->fd) < 0 ? -errno : 0;
}

/* On the disk, and noted there. */
static int part_end(struct work *w, struct part_copy *c)
{
	int ret = 0;

	pthread_mutex_lock(&w->sync_lock);
	if (w->sync_failed) {
		ret = -ECANCELED;
	} else {
		ret = c->write_error = sync_output(c);
		w->sync_failed = ret;
	}
	if (!ret) {
		ret = restore_parts_done(w->copy->parts, c->part);
		c->note_error = ret;
	}
	pthread_mutex_unlock(&w->sync_lock);
	return ret;
}

static void part_do(const struct worker *worker, struct restore_part *part)
{
	struct work *w = worker->work;
	struct view *view = worker->view;
	const struct restore_output *o = &w->copy->outputs[part->output];
	struct part_copy c = { .work = w, .worker = worker->number, .output = o, .part = part };
	uint64_t offset;
	int ret;

	part->data_bytes = 0;
	ret = copy_zeroes(&c, view, &offset);
	if (!ret && o->image)
		ret = copy_in_order(&c, view, &offset);
	else if (!ret)
		ret = view_copy_range(view, o->volume, part->start_bytes, part->end_bytes,
				      copy_data, &c, &offset);
	if (!ret)
		ret = part_end(w, &c);
	pthread_mutex_lock(&w->lock);
	progress_add(w->copy->progress, c.untold_bytes);
	if (ret)
		fail(w, &c, offset, ret);
	pthread_mutex_unlock(&w->lock);
}

/* -- threads -- */

static bool is_to_do(const struct restore_copy *c, const struct restore_part *part)
{
	return !part->taken && (c->only == RESTORE_ALL || c->only == part->output);
}

static struct restore_part *part_take(struct work *w)
{
	struct restore_parts *parts = w->copy->parts;
	struct restore_part *part = NULL;

	pthread_mutex_lock(&w->lock);
	while (w->next < parts->nr && !is_to_do(w->copy, &parts->items[w->next]))
		w->next++;
	if (w->next < parts->nr && w->result == CLI_DONE) {
		part = &parts->items[w->next++];
		part->taken = true;
	}
	pthread_mutex_unlock(&w->lock);
	return part;
}

static void parts_do(const struct worker *worker)
{
	struct restore_part *part;

	while ((part = part_take(worker->work)))
		part_do(worker, part);
}

/* One that cannot open the point leaves the work to the others. */
static void *helper(void *arg)
{
	struct worker *worker = arg;
	const struct restore_copy *c = worker->work->copy;
	char why[POINT_TEXT_BYTES];
	const struct point *point;
	struct reader *r = NULL;

	/* The keys suffice: the thread that reads already has asked. */
	if (reader_open(c->store, c->name, c->seq, c->keys, "", c->force, &r, &point, why) == 0) {
		worker->view = r->view;
		parts_do(worker);
	}
	reader_close(r);
	return NULL;
}

static size_t nr_to_do(const struct restore_copy *c)
{
	size_t nr = 0;

	for (size_t i = 0; i < c->parts->nr; i++)
		nr += is_to_do(c, &c->parts->items[i]);
	return nr;
}

int restore_copy_run(const struct restore_copy *c, bool *again)
{
	struct work w = { .copy = c };
	struct worker workers[RESTORE_MAX_JOBS] = { { .work = &w, .view = c->view } };
	pthread_t threads[RESTORE_MAX_JOBS];
	size_t nr = nr_to_do(c), nr_workers = 1;

	pthread_mutex_init(&w.lock, NULL);
	pthread_mutex_init(&w.sync_lock, NULL);
	for (; nr_workers < c->nr_jobs && nr_workers < nr; nr_workers++) {
		struct worker *worker = &workers[nr_workers];

		*worker = (struct worker){ .work = &w, .number = nr_workers };
		if (pthread_create(&threads[nr_workers], NULL, helper, worker))
			break;
	}
	parts_do(&workers[0]);
	while (nr_workers > 1)
		pthread_join(threads[--nr_workers], NULL);
	pthread_mutex_destroy(&w.sync_lock);
	pthread_mutex_destroy(&w.lock);
	*again = w.again;
	return w.result;
}
