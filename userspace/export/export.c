// SPDX-License-Identifier: GPL-2.0-only
/*
 * export - a pool of readers over one point.
 *
 * Lock: ex->lock guards the pool; a reader that is busy belongs to the thread that
 * took it. Nobody reads or opens files with the lock held.
 */
#include "export.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/log.h"
#include "lease_keeper.h"
#include "reader.h"

#define LOCATE_BYTES 4096	/* a fault is located to so much */

struct export {
	char *store, *text;
	struct keyring *keys;
	char key_note[KEY_SOURCE_TEXT_BYTES];
	bool force;
	struct point_name name;
	struct point point;
	struct export_volume *volumes;
	size_t nr_volumes;
	struct lease_keeper *lease;	/* NULL: none */

	pthread_mutex_t lock;
	pthread_cond_t idle;		/* a reader became idle, or opening ended */
	struct reader *readers[EXPORT_MAX_READERS];
	size_t nr_readers, max_readers;
	bool opening;			/* one at a time */
	uint64_t clock;
};

static int take_volumes(struct export *ex, const struct reader *r)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(r->list.tl, &volumes);

	ex->volumes = calloc(nr ? nr : 1, sizeof(*ex->volumes));
	if (!ex->volumes)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		uint64_t size_bytes = view_size(r->view, volumes[i].id);

		if (size_bytes)
			/* The first reader stays: the name is its timeline's. */
			ex->volumes[ex->nr_volumes++] = (struct export_volume){
				.id = volumes[i].id, .name = volumes[i].name,
				.size_bytes = size_bytes,
			};
	}
	return ex->nr_volumes ? 0 : -ENOENT;
}

static int open_first(struct export *ex, char *why)
{
	const struct point *point = NULL;
	struct timespec now;
	int ret;

	clock_gettime(CLOCK_REALTIME, &now);
	ret = point_name_parse(ex->text, (uint64_t)now.tv_sec * WHEN_NS + now.tv_nsec, &ex->name,
			       why);
	if (ret == 0)
		ret = reader_open(ex->store, &ex->name, 0, ex->keys, ex->key_note, ex->force,
				  &ex->readers[0], &point, why);
	if (ret < 0)
		return ret;
	ex->nr_readers = 1;
	strcpy(ex->name.group, ex->readers[0]->group);
	ex->point = *point;
	ret = take_volumes(ex, ex->readers[0]);
	if (ret < 0)
		snprintf(why, POINT_TEXT_BYTES, "group %s: %s", ex->name.group, ret == -ENOENT ?
			 "no volume was a member at this point; try another" : "out of memory");
	return ret;
}

int export_open(const char *store, const char *text, const struct key_source *keys, bool force,
		size_t nr_readers, struct export **out, char *why)
{
	const struct key_source none = { NULL, NULL };
	struct export *ex = calloc(1, sizeof(*ex));
	int ret = -ENOMEM;

	if (!ex) {
		snprintf(why, POINT_TEXT_BYTES, "out of memory");
		return ret;
	}
	pthread_mutex_init(&ex->lock, NULL);
	pthread_cond_init(&ex->idle, NULL);
	ex->max_readers = nr_readers;
	ex->force = force;
	ex->store = realpath(store, NULL);	/* a daemon changes its directory */
	if (!ex->store)
		ex->store = strdup(store);
	ex->text = strdup(text);
	if (ex->store && ex->text) {
		ret = key_source_for_reader(keys ? keys : &none, ex->store, &ex->keys,
					    ex->key_note, why);
		if (ret == 0)
			ret = open_first(ex, why);
	} else {
		snprintf(why, POINT_TEXT_BYTES, "out of memory");
	}
	if (ret < 0) {
		export_close(ex);
		return ret;
	}
	*out = ex;
	return 0;
}

void export_close(struct export *ex)
{
	if (!ex)
		return;
	lease_keeper_stop(ex->lease);
	for (size_t i = 0; i < ex->nr_readers; i++)
		reader_close(ex->readers[i]);
	pthread_cond_destroy(&ex->idle);
	pthread_mutex_destroy(&ex->lock);
	keyring_free(ex->keys);
	free(ex->volumes);
	free(ex->store);
	free(ex->text);
	free(ex);
}

int export_hold(struct export *ex, char *why)
{
	struct reader *r = ex->readers[0];

	return lease_keeper_start(ex->store, ex->name.group, r->list.tl, r->view, ex->point.seq,
				  "nbdkit", &ex->lease, why);
}

const struct point *export_point(const struct export *ex, const char **group)
{
	*group = ex->name.group;
	return &ex->point;
}

const struct keyring *export_keys(const struct export *ex)
{
	return ex->keys;
}

const char *export_key_note(const struct export *ex)
{
	return ex->key_note;
}

const uint8_t *export_timeline(const struct export *ex)
{
	return timeline_id(ex->readers[0]->list.tl);
}

size_t export_volumes(const struct export *ex, const struct export_volume **out)
{
	*out = ex->volumes;
	return ex->nr_volumes;
}

/* -- the pool -- */

/*
 * The idle reader whose last read ended here has what comes next at hand; otherwise
 * the one that was idle for longest.
 */
static struct reader *pick_idle(struct export *ex, uint16_t volume, uint64_t offset_bytes)
{
	struct reader *found = NULL;

	for (size_t i = 0; i < ex->nr_readers; i++) {
		struct reader *r = ex->readers[i];

		if (r->busy)
			continue;
		if (r->volume == volume && r->end_bytes == offset_bytes && r->used)
			return r;
		if (!found || r->used < found->used)
			found = r;
	}
	return found;
}

/* Called with the lock held, which it drops meanwhile. */
static void open_another(struct export *ex)
{
	char why[POINT_TEXT_BYTES];
	const struct point *point;
	struct reader *r = NULL;
	int ret;

	ex->opening = true;
	pthread_mutex_unlock(&ex->lock);
	ret = reader_open(ex->store, &ex->name, ex->point.seq, ex->keys, ex->key_note, ex->force,
			  &r, &point, why);
	pthread_mutex_lock(&ex->lock);
	ex->opening = false;
	if (ret == 0) {
		ex->readers[ex->nr_readers++] = r;
	} else {
		ex->max_readers = ex->nr_readers;
		log_warning("%s: reader %zu: %s; reading goes on with the %zu there are, more slowly",
			    ex->text, ex->nr_readers + 1, why, ex->nr_readers);
	}
	pthread_cond_broadcast(&ex->idle);
}

static struct reader *reader_get(struct export *ex, uint16_t volume, uint64_t offset_bytes)
{
	struct reader *r;

	pthread_mutex_lock(&ex->lock);
	while (!(r = pick_idle(ex, volume, offset_bytes))) {
		if (ex->nr_readers < ex->max_readers && !ex->opening)
			open_another(ex);
		else
			pthread_cond_wait(&ex->idle, &ex->lock);
	}
	r->busy = true;
	pthread_mutex_unlock(&ex->lock);
	return r;
}

static void reader_put(struct export *ex, struct reader *r)
{
	pthread_mutex_lock(&ex->lock);
	r->busy = false;
	r->used = ++ex->clock;
	pthread_cond_signal(&ex->idle);
	pthread_mutex_unlock(&ex->lock);
}

/* -- reading -- */

/*
 * Read again in blocks to find the one that fails. Where none does by itself, it was another
 * part of a unit that all of it was read of.
 */
static void locate(struct reader *r, const struct export_volume *volume, uint64_t offset_bytes,
		   size_t bytes, struct export_fault *fault)
{
	uint8_t block[LOCATE_BYTES];
	uint64_t end = offset_bytes + bytes;

	fault->offset_bytes = offset_bytes;
	view_fault(r->view, fault->segment, sizeof(fault->segment));
	while (offset_bytes < end) {
		size_t n = LOCATE_BYTES - offset_bytes % LOCATE_BYTES;

		if (n > end - offset_bytes)
			n = end - offset_bytes;
		if (view_read(r->view, volume->id, offset_bytes, block, n) < 0) {
			fault->offset_bytes = offset_bytes;
			view_fault(r->view, fault->segment, sizeof(fault->segment));
			break;
		}
		offset_bytes += n;
	}
}

int export_read(struct export *ex, const struct export_volume *volume, uint64_t offset_bytes,
		void *buf, size_t bytes, struct export_fault *fault)
{
	struct reader *r = reader_get(ex, volume->id, offset_bytes);
	int ret = view_read(r->view, volume->id, offset_bytes, buf, bytes);

	if (ret < 0)
		locate(r, volume, offset_bytes, bytes, fault);
	r->volume = volume->id;
	r->end_bytes = offset_bytes + bytes;
	reader_put(ex, r);
	return ret;
}

int export_extents(struct export *ex, const struct export_volume *volume, uint64_t offset_bytes,
		   uint64_t bytes, int (*each)(void *arg, const struct view_extent *extent),
		   void *arg)
{
	struct reader *r = reader_get(ex, volume->id, offset_bytes);
	uint64_t end = offset_bytes + bytes;
	int ret = 0;

	while (offset_bytes < end) {
		struct view_extent e;

		ret = view_next(r->view, volume->id, offset_bytes, &e);
		if (ret < 0 || each(arg, &e))
			break;
		offset_bytes += e.length_bytes;
	}
	reader_put(ex, r);
	return ret;
}
