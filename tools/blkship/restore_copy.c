// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore_copy - write volumes of a point, part by part, by several threads.
 *
 * Lock: work->lock guards parts, progress and result. Nobody reads or writes data with it held.
 */
#include "restore_copy.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "../../userspace/export/reader.h"
#include "cli.h"
#include "damage.h"
#include "restore_part.h"

#define TELL_BYTES	(1u << 20)

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

struct job {
	struct work *work;
	uint64_t untold_bytes;	/* done, and not in the progress yet */
	int note_error;		/* of the file that says what is done */
};

static bool went_on(void *arg, uint64_t bytes)
{
	struct job *job = arg;
	struct work *w = job->work;
	bool on;

	job->untold_bytes += bytes;
	if (job->untold_bytes < TELL_BYTES)
		return true;
	pthread_mutex_lock(&w->lock);
	progress_add(w->copy->progress, job->untold_bytes);
	on = w->result == CLI_DONE;
	pthread_mutex_unlock(&w->lock);
	job->untold_bytes = 0;
	return on;
}

static int read_failed(const struct restore_output *o, uint64_t offset, int ret)
{
	if (ret == -EIO)
		return cli_fail(CLI_FAILED, "volume %s at byte %llu: could not be read at the source then; restore with --force leaves zeroes there",
				o->name, (unsigned long long)offset);
	return cli_fail(CLI_FAILED, "volume %s at byte %llu: %s; what was written so far is not whole; try another point; --force leaves zeroes where it cannot be read",
			o->name, (unsigned long long)offset, view_error_text(ret));
}

static int write_failed(const struct restore_output *o, int ret)
{
	return cli_fail(CLI_FAILED, "%s: %s; it is not whole; %s", o->where, strerror(-ret),
			ret == -ENOSPC ? "make room and restore again" :
			"check the disk and restore again");
}

/* Called with the lock held: only the first failure is told. */
static void fail(struct work *w, const struct job *job, const struct part_copy *c, uint64_t offset,
		 int ret)
{
	if (w->result != CLI_DONE || ret == -ECANCELED)
		return;
	progress_end(w->copy->progress);
	w->again = c->write_error || job->note_error;
	if (job->note_error) {
		w->result = cli_fail(CLI_FAILED, "%s: %s; make room there and restore again with --resume",
				     w->copy->parts->path, strerror(-ret));
		return;
	}
	w->result = c->write_error ? write_failed(c->output, c->write_error) :
				     read_failed(c->output, offset, ret);
}

/* On the disk, and noted there. */
static int part_end(struct job *job, struct part_copy *c)
{
	struct work *w = job->work;
	int ret = 0;

	pthread_mutex_lock(&w->sync_lock);
	if (w->sync_failed) {
		ret = -ECANCELED;
	} else {
		ret = c->write_error = part_copy_sync(c);
		w->sync_failed = ret;
	}
	if (!ret && c->damage.nr)
		c->part->done = true;	/* not noted: whoever goes on has to know of that, too */
	else if (!ret)
		ret = job->note_error = restore_parts_done(w->copy->parts, c->part);
	pthread_mutex_unlock(&w->sync_lock);
	return ret;
}

static void part_do(const struct worker *worker, struct restore_part *part)
{
	struct work *w = worker->work;
	struct job job = { .work = w };
	struct part_copy c = {
		.output = &w->copy->outputs[part->output], .part = part, .connection = worker->number,
		.force = w->copy->force, .went_on = went_on, .arg = &job,
	};
	uint64_t offset;
	int ret = part_copy_run(&c, worker->view, &offset);

	if (!ret)
		ret = part_end(&job, &c);
	pthread_mutex_lock(&w->lock);
	progress_add(w->copy->progress, job.untold_bytes);
	if (!ret)
		ret = damage_join(w->copy->damage, &c.damage);
	if (ret)
		fail(w, &job, &c, offset, ret);
	pthread_mutex_unlock(&w->lock);
	damage_fini(&c.damage);
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
