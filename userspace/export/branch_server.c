// SPDX-License-Identifier: GPL-2.0-only
/*
 * branch_server - a branch that many clients read and write at a time.
 *
 * Locks: s->lock guards the branch and the queue of its I/O; s->edges is taken before it, for
 * reading by writes of whole sectors, for writing by those that have to read the rest of a
 * sector first. Nothing is written, synced or read from the parent with s->lock held; what is
 * in the branch's own files is read with it.
 */
#include "branch_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/container_of.h"
#include "../lib/home.h"
#include "../lib/log.h"
#include "../lib/seq.h"
#include "../lib/thread.h"
#include "../store/array.h"
#include "../store/branch.h"
#include "../store/branches.h"
#include "../store/index.h"
#include "main_line.h"

#define PATH_BYTES	4096
#define MAX_STRETCHES	1024	/* that one answer tells of */
#define INDEX_RETRY_NS	UINT64_C(60000000000)

struct branch_server {
	char name[NAME_BYTES * 2];	/* GROUP/BRANCH, for messages */
	struct home *home, *job_home;
	struct env *env, *job_env;	/* theirs */
	struct env_ops ops;		/* env's, but for submit */
	const struct env_ops *real_ops;
	struct branch *branch;
	struct export *parent;
	struct export_volume *volumes;
	const struct export_volume **parent_volumes;	/* of the same index */
	size_t nr_volumes;

	pthread_rwlock_t edges;
	pthread_mutex_t lock;
	pthread_cond_t progress;	/* some I/O has ended */
	pthread_cond_t queued;		/* for the thread that does I/O */
	pthread_cond_t work;		/* for the one that keeps house */
	struct env_io *first, *last;
	pthread_t io_thread, house_thread;
	bool started, stop;
	bool told;			/* that it has failed */
	uint64_t nr_puts, nr_durable;	/* writes so far; so many of them are durable */
	bool flushing;			/* some client waits for a sync; the others for that one */
	uint64_t index_after_ns;
};

/* -- I/O of the branch -- */

/* With the lock held, as all calls of the branch are. */
static void server_submit(struct env *env, struct env_io *io)
{
	struct branch_server *s = container_of(env->ops, struct branch_server, ops);

	io->env_private[0] = NULL;
	if (s->last)
		s->last->env_private[0] = io;
	else
		s->first = io;
	s->last = io;
	pthread_cond_signal(&s->queued);
}

static int64_t io_execute(struct branch_server *s, const struct env_io *io)
{
	int ret;

	switch (io->op) {
	case ENV_IO_READ:
		return s->real_ops->read(s->env, io->file, io->buf, io->bytes, io->offset_bytes);
	case ENV_IO_WRITE:
		ret = s->real_ops->write(s->env, io->file, io->buf, io->bytes, io->offset_bytes);
		return ret < 0 ? ret : (int64_t)io->bytes;
	case ENV_IO_DATASYNC:
		return s->real_ops->datasync(s->env, io->file);
	}
	return -EINVAL;
}

static void settle(struct branch_server *s)
{
	int ret = branch_settle(s->branch);

	if (ret)
		log_warning("branch %s: its newest run cannot be opened: %s; nothing is lost, it takes more memory until the next try in a minute",
			    s->name, strerror(-ret));
}

static void tell_failure(struct branch_server *s)
{
	struct timeline_state state;

	timeline_state(branch_timeline(s->branch), &state);
	if (!state.failed || s->told)
		return;
	s->told = true;
	log_error("branch %s: cannot be written: %s; writes and flushes fail from now on, reads go on; mend what is wrong there and serve it again: it goes on from its last flush",
		  s->name, strerror(-state.error));
}

static void *io_run(void *arg)
{
	struct branch_server *s = arg;

	pthread_mutex_lock(&s->lock);
	for (;;) {
		struct env_io *io = s->first;
		bool sync;
		int64_t result;

		if (!io && s->stop)
			break;
		if (!io) {
			pthread_cond_wait(&s->queued, &s->lock);
			continue;
		}
		s->first = io->env_private[0];
		if (!s->first)
			s->last = NULL;
		sync = io->op == ENV_IO_DATASYNC;
		pthread_mutex_unlock(&s->lock);
		result = io_execute(s, io);
		pthread_mutex_lock(&s->lock);
		io->done(io, result);
		settle(s);
		tell_failure(s);
		pthread_cond_broadcast(&s->progress);
		if (sync)	/* a segment may have ended with it */
			pthread_cond_signal(&s->work);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* -- keeping house: batches are closed in time, finished segments get runs -- */

static uint64_t now_ns(const struct branch_server *s)
{
	return s->real_ops->monotonic_ns(s->env);
}

/* Drops the lock while it works. True: there may be more. */
static bool make_run(struct branch_server *s)
{
	struct timeline *tl = branch_timeline(s->branch);
	struct index_job *job;
	int ret;

	if (s->index_after_ns > now_ns(s))
		return false;
	job = timeline_index_plan(tl);
	if (!job)
		return false;
	pthread_mutex_unlock(&s->lock);
	index_job_run(job, s->job_env, NULL);
	pthread_mutex_lock(&s->lock);
	ret = timeline_index_take(tl, job);
	if (ret) {
		s->index_after_ns = now_ns(s) + INDEX_RETRY_NS;
		log_warning("branch %s: a run cannot be made: %s; nothing is lost, it takes more memory until the next try in a minute",
			    s->name, strerror(-ret));
	}
	settle(s);
	return !ret;
}

static void *house_run(void *arg)
{
	struct branch_server *s = arg;
	uint64_t ordinal;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		uint64_t due_ns = branch_due_ns(s->branch);
		struct timespec until = { .tv_sec = due_ns / 1000000000,
					  .tv_nsec = due_ns % 1000000000 };

		/* It fails only if the branch has: whose write or flush it is gets told. */
		if (due_ns && due_ns <= now_ns(s) && branch_flush(s->branch, &ordinal) == 0)
			continue;
		if (make_run(s))
			continue;
		if (due_ns && due_ns > now_ns(s))
			pthread_cond_timedwait(&s->work, &s->lock, &until);
		else
			pthread_cond_wait(&s->work, &s->lock);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* -- opening -- */

static int complain(char *why, int error, const struct branch_server *s, const char *text)
{
	snprintf(why, POINT_TEXT_BYTES, "branch %s: %s", s->name, text);
	return error;
}

/*
 * The group's directory, and the branch in it, made if that is wanted. -EOPNOTSUPP: none can be
 * made of this point, which is no matter if there is one.
 */
static int make(struct branch_server *s, const char *store, const char *group, const char *name,
		const char *group_dir, const char *point, bool force, char *why)
{
	const struct point *found = NULL;
	char text[512], reason[TIMELINE_TEXT_BYTES];
	struct point_name parsed;
	struct point_list list;
	struct timespec now;
	int ret;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(text, sizeof(text), "%.60s@%.400s", group, point);
	ret = point_name_parse(text, (uint64_t)now.tv_sec * WHEN_NS + now.tv_nsec, &parsed, why);
	if (ret == 0)
		ret = main_line_open(store, &parsed, &list, why);
	if (ret < 0)
		return ret;
	ret = point_choose(&list, &parsed, force, &found, why);
	if (ret == 0) {
		ret = branch_create(list.env, group_dir, name, list.tl, found->seq, reason);
		if (ret == -EEXIST)
			ret = 0;
		else if (ret < 0)
			complain(why, ret, s, reason);
	}
	point_list_close(&list);
	return ret;
}

static int open_branch(struct branch_server *s, const char *group_dir, const char *name,
		       const char *dir, char *why)
{
	char reason[TIMELINE_TEXT_BYTES] = "";
	int ret = branch_check_writable(s->env, group_dir, name, reason);

	s->real_ops = s->env->ops;
	s->ops = *s->real_ops;
	s->ops.submit = server_submit;
	s->env->ops = &s->ops;
	if (ret == 0)
		ret = branch_open(s->env, dir, &s->branch, reason);
	if (ret < 0)
		complain(why, ret, s, ret == -ENOENT ? "there is none of this name; `blkship branch create` makes one" :
			 ret == -EBUSY ? "something else serves it; one process can write to a branch" :
			 *reason ? reason : strerror(-ret));
	return ret;
}

static int open_parent(struct branch_server *s, const char *store, const char *group,
		       const struct key_source *keys, size_t nr_readers, char *why)
{
	struct timeline_parent parent;
	char text[128];
	int ret;

	timeline_parent(branch_timeline(s->branch), &parent);
	snprintf(text, sizeof(text), "%.60s@seq:%u:%llu", group, seq_incarnation(parent.cut_seq),
		 (unsigned long long)seq_number(parent.cut_seq));
	/* Whether damage is accepted was asked when it was made. */
	ret = export_open(store, text, keys, true, nr_readers, &s->parent, why);
	if (ret == 0 && memcmp(export_timeline(s->parent), parent.timeline, 16) != 0)
		ret = complain(why, -EUCLEAN, s, "it is of another history than the group's, which has the same name; it cannot be used here");
	if (ret == 0 && branch_server_point(s)->degraded)
		branch_degrade(s->branch);
	return ret;
}

/*
 * What was encrypted in the group is not to lie here in clear; nor, when its target is to encrypt
 * from now on, what would be encrypted there.
 */
static int take_keys(struct branch_server *s, char *why)
{
	struct timeline *tl = branch_timeline(s->branch);
	char id[KEY_ID_TEXT_BYTES], text[128 + KEY_SOURCE_TEXT_BYTES], reason[TIMELINE_TEXT_BYTES];
	const char *note = export_key_note(s->parent);
	const uint8_t *missing = NULL;
	int ret = 0;

	if (export_keys(s->parent))
		ret = timeline_set_keys(tl, export_keys(s->parent), reason);
	if (ret < 0)
		return complain(why, ret, s, reason);
	missing = timeline_missing_key(tl);
	if (!missing && (export_keys(s->parent) || !*note))
		return 0;
	if (!missing) {
		snprintf(text, sizeof(text), "it would be written in clear: %s; name the file of its keys with key-file=",
			 note);
		return complain(why, -ENOKEY, s, text);
	}
	keyring_id_text(missing, id);
	snprintf(text, sizeof(text), "it is encrypted, and key %s is not there; name its file with key-file=",
		 id);
	return complain(why, -ENOKEY, s, text);
}

/* By the branch's manifest, which has the ids of the parent. */
static int take_volumes(struct branch_server *s, char *why)
{
	const struct export_volume *of_parent;
	size_t nr = export_volumes(s->parent, &of_parent);

	s->volumes = calloc(nr, sizeof(*s->volumes));
	s->parent_volumes = calloc(nr, sizeof(*s->parent_volumes));
	if (!s->volumes || !s->parent_volumes)
		return complain(why, -ENOMEM, s, "out of memory");
	for (size_t i = 0; i < nr; i++) {
		s->volumes[i] = of_parent[i];
		s->parent_volumes[i] = &of_parent[i];
	}
	s->nr_volumes = nr;
	return 0;
}

static void server_free(struct branch_server *s)
{
	branch_close(s->branch);
	export_close(s->parent);
	home_close(s->job_home);
	home_close(s->home);
	free(s->parent_volumes);
	free(s->volumes);
	pthread_cond_destroy(&s->work);
	pthread_cond_destroy(&s->queued);
	pthread_cond_destroy(&s->progress);
	pthread_mutex_destroy(&s->lock);
	pthread_rwlock_destroy(&s->edges);
	free(s);
}

static struct branch_server *server_create(void)
{
	struct branch_server *s = calloc(1, sizeof(*s));
	pthread_rwlockattr_t fair;

	if (!s)
		return NULL;
	/* Or who has to read first would never get its turn. */
	pthread_rwlockattr_init(&fair);
	pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&s->edges, &fair);
	pthread_rwlockattr_destroy(&fair);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->progress, NULL);
	pthread_cond_init(&s->queued, NULL);
	thread_cond_init(&s->work);
	return s;
}

int branch_server_open(const char *store, const char *group, const char *name,
		       const char *point, const struct key_source *keys, bool force,
		       size_t nr_readers, struct branch_server **out, char *why)
{
	struct branch_server *s = server_create();
	char group_dir[PATH_BYTES / 2], dir[PATH_BYTES], reason[HOME_TEXT_BYTES];
	char text[POINT_TEXT_BYTES];
	int ret, made = 0;

	if (!s) {
		snprintf(why, POINT_TEXT_BYTES, "out of memory");
		return -ENOMEM;
	}
	snprintf(s->name, sizeof(s->name), "%.31s/%.31s", group, name);
	ret = home_open(store, NULL, &s->home, reason);
	if (ret == 0)
		ret = home_open(store, NULL, &s->job_home, reason);
	if (ret < 0) {
		complain(why, ret, s, reason);
		server_free(s);
		return ret;
	}
	s->env = home_env(s->home);
	s->job_env = home_env(s->job_home);
	snprintf(group_dir, sizeof(group_dir), "%.1900s/%.60s", home_groups(s->home), group);
	if (!name_valid(group) || !name_valid(name))
		ret = complain(why, -EINVAL, s, "not a name that a branch can have");
	if (ret == 0)
		ret = branch_path(dir, sizeof(dir), group_dir, name);
	if (ret == 0 && point)
		made = make(s, store, group, name, group_dir, point, force, why);
	if (ret == 0 && made != 0 && made != -EOPNOTSUPP)
		ret = made;
	if (ret == 0) {
		ret = open_branch(s, group_dir, name, dir, text);
		if (ret == -ENOENT && made != 0)
			ret = made;
		else if (ret < 0)
			strcpy(why, text);
	}
	if (ret == 0)
		ret = open_parent(s, store, group, keys, nr_readers, why);
	if (ret == 0)
		ret = take_keys(s, why);
	if (ret == 0)
		ret = take_volumes(s, why);
	if (ret < 0) {
		server_free(s);
		return ret;
	}
	*out = s;
	return 0;
}

int branch_server_start(struct branch_server *s)
{
	int ret = pthread_create(&s->io_thread, NULL, io_run, s);

	if (ret)
		return -ret;
	ret = pthread_create(&s->house_thread, NULL, house_run, s);
	if (ret) {
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->queued);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->io_thread, NULL);
		return -ret;
	}
	s->started = true;
	return 0;
}

int branch_server_close(struct branch_server *s)
{
	int ret = 0;

	if (!s)
		return 0;
	if (s->started) {
		ret = branch_server_flush(s);
		pthread_mutex_lock(&s->lock);
		s->stop = true;
		pthread_cond_signal(&s->queued);
		pthread_cond_signal(&s->work);
		pthread_mutex_unlock(&s->lock);
		pthread_join(s->house_thread, NULL);
		pthread_join(s->io_thread, NULL);
	}
	server_free(s);
	return ret;
}

const struct point *branch_server_point(const struct branch_server *s)
{
	const char *group;

	return export_point(s->parent, &group);
}

size_t branch_server_volumes(const struct branch_server *s, const struct export_volume **out)
{
	*out = s->volumes;
	return s->nr_volumes;
}

/* -- reading -- */

struct hole {
	uint64_t offset_bytes;
	uint8_t *buf;
	size_t bytes;
};

struct holes {
	struct hole *items;
	size_t nr, max;
};

static int take_hole(void *arg, uint64_t offset_bytes, void *buf, size_t bytes)
{
	struct holes *h = arg;

	if (!array_reserve(&h->items, &h->max, h->nr + 1))
		return -ENOMEM;
	h->items[h->nr++] = (struct hole){ offset_bytes, buf, bytes };
	return 0;
}

static const struct export_volume *in_parent(const struct branch_server *s,
					     const struct export_volume *volume)
{
	return s->parent_volumes[volume - s->volumes];
}

/* Whole sectors. The parent does not change, so what is read of it later is the same. */
static int read_sectors(struct branch_server *s, const struct export_volume *volume,
			uint64_t offset_bytes, void *buf, size_t bytes, struct export_fault *fault)
{
	struct holes holes = { 0 };
	int ret;

	*fault = (struct export_fault){ .offset_bytes = offset_bytes };
	pthread_mutex_lock(&s->lock);
	ret = branch_read(s->branch, volume->id, offset_bytes, buf, bytes, take_hole, &holes);
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < holes.nr && !ret; i++)
		ret = export_read(s->parent, in_parent(s, volume), holes.items[i].offset_bytes,
				  holes.items[i].buf, holes.items[i].bytes, fault);
	free(holes.items);
	return ret;
}

/* Part of one sector. */
static int read_part(struct branch_server *s, const struct export_volume *volume,
		     uint64_t offset_bytes, void *buf, size_t bytes, struct export_fault *fault)
{
	uint8_t sector[SECTOR_BYTES];
	size_t skip = offset_bytes % SECTOR_BYTES;
	int ret = read_sectors(s, volume, offset_bytes - skip, sector, SECTOR_BYTES, fault);

	if (!ret)
		memcpy(buf, sector + skip, bytes);
	return ret;
}

/* How much of a range is in a sector that it begins inside of, and how much in whole ones. */
static size_t split(uint64_t offset_bytes, uint64_t bytes, uint64_t *whole)
{
	size_t head = offset_bytes % SECTOR_BYTES ? SECTOR_BYTES - offset_bytes % SECTOR_BYTES : 0;

	if (head > bytes)
		head = bytes;
	*whole = (bytes - head) / SECTOR_BYTES * SECTOR_BYTES;
	return head;
}

int branch_server_read(struct branch_server *s, const struct export_volume *volume,
		       uint64_t offset_bytes, void *buf, size_t bytes,
		       struct export_fault *fault)
{
	uint64_t whole, head = split(offset_bytes, bytes, &whole), tail = bytes - head - whole;
	uint8_t *at = buf;
	int ret = 0;

	if (head)
		ret = read_part(s, volume, offset_bytes, at, head, fault);
	if (!ret && whole)
		ret = read_sectors(s, volume, offset_bytes + head, at + head, whole, fault);
	if (!ret && tail)
		ret = read_part(s, volume, offset_bytes + head + whole, at + head + whole, tail,
				fault);
	return ret;
}

/* -- writing -- */

/* Wait until there is room in memory; with the lock held. A failure the write meets itself. */
static void wait_for_room(struct branch_server *s)
{
	uint64_t ordinal;

	while (branch_unsynced_bytes(s->branch) > BRANCH_SERVER_UNSYNCED_BYTES &&
	       branch_flush(s->branch, &ordinal) == 0 &&
	       branch_durable(s->branch, ordinal) == -EAGAIN)
		pthread_cond_wait(&s->progress, &s->lock);
}

/* Whole sectors; @buf NULL: zeroes, or a discard. */
static int put_sectors(struct branch_server *s, const struct export_volume *volume,
		       uint64_t offset_bytes, const void *buf, uint64_t bytes, bool discard)
{
	bool was_empty;
	int ret;

	pthread_mutex_lock(&s->lock);
	wait_for_room(s);
	was_empty = !branch_due_ns(s->branch);
	ret = buf ? branch_write(s->branch, volume->id, offset_bytes, buf, bytes) :
		    branch_zero(s->branch, volume->id, offset_bytes, bytes, discard);
	s->nr_puts++;
	if (was_empty)		/* from now on the clock runs */
		pthread_cond_signal(&s->work);
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* Part of one sector; with the edges held, so that nobody changes the rest of it meanwhile. */
static int put_part(struct branch_server *s, const struct export_volume *volume,
		    uint64_t offset_bytes, const void *buf, size_t bytes)
{
	uint8_t sector[SECTOR_BYTES];
	size_t skip = offset_bytes % SECTOR_BYTES;
	struct export_fault fault;
	int ret = read_sectors(s, volume, offset_bytes - skip, sector, SECTOR_BYTES, &fault);

	if (ret)
		return ret;
	if (buf)
		memcpy(sector + skip, buf, bytes);
	else
		memset(sector + skip, 0, bytes);
	return put_sectors(s, volume, offset_bytes - skip, sector, SECTOR_BYTES, false);
}

static int put(struct branch_server *s, const struct export_volume *volume,
	       uint64_t offset_bytes, const uint8_t *buf, uint64_t bytes, bool discard)
{
	uint64_t whole, head = split(offset_bytes, bytes, &whole), tail = bytes - head - whole;
	bool edges = !discard && (head || tail);
	int ret = 0;

	if (edges)
		pthread_rwlock_wrlock(&s->edges);
	else
		pthread_rwlock_rdlock(&s->edges);
	if (edges && head)
		ret = put_part(s, volume, offset_bytes, buf, head);
	if (!ret && whole)
		ret = put_sectors(s, volume, offset_bytes + head, buf ? buf + head : NULL, whole,
				  discard);
	if (!ret && edges && tail)
		ret = put_part(s, volume, offset_bytes + head + whole,
			       buf ? buf + head + whole : NULL, tail);
	pthread_rwlock_unlock(&s->edges);
	return ret;
}

int branch_server_write(struct branch_server *s, const struct export_volume *volume,
			uint64_t offset_bytes, const void *buf, uint32_t bytes)
{
	return put(s, volume, offset_bytes, buf, bytes, false);
}

int branch_server_zero(struct branch_server *s, const struct export_volume *volume,
		       uint64_t offset_bytes, uint64_t bytes, bool discard)
{
	return put(s, volume, offset_bytes, NULL, bytes, discard);
}

/* For all who wait; with the lock held, and nobody else at it. */
static int flush_all(struct branch_server *s)
{
	uint64_t nr_puts = s->nr_puts, ordinal;
	int ret = branch_flush(s->branch, &ordinal);

	s->flushing = true;
	while (!ret && (ret = branch_durable(s->branch, ordinal)) == -EAGAIN) {
		pthread_cond_wait(&s->progress, &s->lock);
		ret = 0;
	}
	s->flushing = false;
	if (!ret)
		s->nr_durable = nr_puts;
	pthread_cond_broadcast(&s->progress);
	return ret;
}

/* While one sync is under way what comes is collected: the next one is for all of it. */
int branch_server_flush(struct branch_server *s)
{
	uint64_t nr_puts;
	int ret = 0;

	pthread_mutex_lock(&s->lock);
	nr_puts = s->nr_puts;
	while (!ret && s->nr_durable < nr_puts) {
		if (s->flushing)
			pthread_cond_wait(&s->progress, &s->lock);
		else
			ret = flush_all(s);
	}
	pthread_mutex_unlock(&s->lock);
	return ret;
}

/* -- extents -- */

struct parts {
	uint64_t end_bytes;
	int (*each)(void *arg, const struct view_extent *extent);
	void *arg;
	bool ended;
};

/* A stretch of the parent, as far as the branch has nothing there. */
static int part_of_parent(void *arg, const struct view_extent *extent)
{
	struct parts *p = arg;
	struct view_extent e = *extent;

	if (e.length_bytes > p->end_bytes - e.offset_bytes)
		e.length_bytes = p->end_bytes - e.offset_bytes;
	p->ended = p->each(p->arg, &e);
	return p->ended;
}

int branch_server_extents(struct branch_server *s, const struct export_volume *volume,
			  uint64_t offset_bytes, uint64_t bytes,
			  int (*each)(void *arg, const struct view_extent *extent), void *arg)
{
	struct view_extent *list = malloc(MAX_STRETCHES * sizeof(*list));
	struct parts parts = { .each = each, .arg = arg };
	uint64_t at = offset_bytes;
	size_t nr = 0;
	int ret = list ? 0 : -ENOMEM;

	pthread_mutex_lock(&s->lock);
	while (!ret && nr < MAX_STRETCHES && at < offset_bytes + bytes) {
		ret = branch_next(s->branch, volume->id, at, &list[nr]);
		if (!ret)
			at += list[nr++].length_bytes;
	}
	pthread_mutex_unlock(&s->lock);
	for (size_t i = 0; i < nr && !ret && !parts.ended; i++) {
		const struct view_extent *e = &list[i];

		if (e->kind != VIEW_NOTHING) {
			parts.ended = each(arg, e);
			continue;
		}
		parts.end_bytes = e->offset_bytes + e->length_bytes;
		if (parts.end_bytes > offset_bytes + bytes)
			parts.end_bytes = offset_bytes + bytes;
		ret = export_extents(s->parent, in_parent(s, volume), e->offset_bytes,
				     parts.end_bytes - e->offset_bytes, part_of_parent, &parts);
	}
	free(list);
	return ret;
}
