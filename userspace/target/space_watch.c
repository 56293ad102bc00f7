// SPDX-License-Identifier: GPL-2.0-only
#include "space_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "../lib/container_of.h"
#include "../lib/home.h"
#include "../lib/log.h"
#include "../lib/thread.h"
#include "../store/space_warn.h"
#include "space_count.h"
#include "worker.h"

#define EVERY_NS	10000000000ull
#define PART_OF_TIME	100	/* that counting may take */

/* What is looked after: the disk, the store's cap, a group's cap. */
struct place {
	const char *of, *name;
	uint64_t max_bytes;	/* 0: the disk */
	struct space_place now;
	unsigned int told;
};

struct space_watch {
	struct loop *loop;
	struct groups *groups;
	const struct limits_conf *limits;
	char *store;
	struct space_count count; /* the newest; its came_bytes rise */
	bool counted;
	uint64_t asked_ns;
	struct place *places;	/* disk, store, then one for each of the caps */
	size_t nr_places;
	struct loop_timer timer;
	struct loop_poll done_poll;

	pthread_t thread;
	pthread_mutex_t lock;	/* of what follows */
	pthread_cond_t wake;
	bool asked, stop;
	struct space_count next; /* the thread's, from asked to its end ... */
	int error;		/* ... and how that was */
	/* Only the thread's. */
	struct home *home;
};

/* -- the thread -- */

static bool stopped(void *arg)
{
	struct space_watch *sw = arg;
	bool stop;

	pthread_mutex_lock(&sw->lock);
	stop = sw->stop;
	pthread_mutex_unlock(&sw->lock);
	return stop;
}

static void *work(void *arg)
{
	struct space_watch *sw = arg;
	const uint64_t one = 1;

	pthread_mutex_lock(&sw->lock);
	while (!sw->stop) {
		if (!sw->asked) {
			pthread_cond_wait(&sw->wake, &sw->lock);
			continue;
		}
		pthread_mutex_unlock(&sw->lock);
		sw->error = space_count_all(home_env(sw->home), home_groups(sw->home), stopped, sw,
					    &sw->next);
		pthread_mutex_lock(&sw->lock);
		sw->asked = false;
		if (write(sw->done_poll.fd, &one, sizeof(one)) < 0)
			sw->stop = true;	/* an eventfd that is not full takes it */
	}
	pthread_mutex_unlock(&sw->lock);
	return NULL;
}

/* -- what there is, and what that means -- */

static bool place_has(const struct place *place, const struct space_counted *c)
{
	return strcmp(place->of, "group") != 0 || strcmp(place->name, c->group) == 0;
}

static uint64_t place_bytes(const struct space_watch *sw, const struct place *place)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < sw->count.nr; i++)
		if (place_has(place, &sw->count.items[i]))
			bytes += space_counted_bytes(&sw->count.items[i]);
	return bytes;
}

static uint64_t left_below(uint64_t max_bytes, uint64_t bytes)
{
	return bytes < max_bytes ? max_bytes - bytes : 0;
}

static void place_look(const struct space_watch *sw, struct place *place)
{
	struct space_place *p = &place->now;
	bool endless = false;

	*p = (struct space_place){ .taken_bytes = place_bytes(sw, place) };
	for (size_t i = 0; i < sw->count.nr; i++) {
		const struct space_counted *t = &sw->count.items[i];

		if (!place_has(place, t))
			continue;
		/* Of one that has no rate it is only not known. */
		endless |= !t->space.most_bytes && t->space.day_bytes;
		p->most_bytes += (t->space.most_bytes ? t->space.most_bytes : t->space.data_bytes) +
				 t->branch_bytes;
		p->day_bytes += t->space.day_bytes;
		p->window_bytes += t->space.window_bytes;
	}
	if (endless)
		p->most_bytes = 0;
	p->left_bytes = place->max_bytes ? left_below(place->max_bytes, p->taken_bytes) :
					   sw->count.free_bytes;
}

/* The worst of it, when something begins; and that it is over. */
static void place_tell(struct place *place)
{
	const unsigned int warnings = space_warn_again(&place->now, place->told);
	const unsigned int begun = warnings & ~place->told;
	const char *cap = place->max_bytes ? ", max_bytes" : "";
	unsigned int worst = SPACE_WARN_END;
	char text[SPACE_TEXT_BYTES];

	while (worst > 1 && !(begun & worst))
		worst >>= 1;
	space_warn_text(&place->now, worst, text);
	if (begun && worst == SPACE_WARN_SOON)
		log_warning("%s %s%s: %s, if nothing is dropped; see `blkship space`", place->of,
			    place->name, cap, text);
	else if (begun)
		log_error("ALARM: %s %s%s: %s; %s, and nothing is dropped for it; %s, or keep less: see `blkship space`",
			  place->of, place->name, cap, text, begun & SPACE_WARN_FULL ?
			  "sources are refused and track only until there is room" :
			  "when it is full, sources are refused and track only",
			  place->max_bytes ? "raise it in targetd.conf" : "make room on the disk");
	else if (place->told & ~SPACE_WARN_SOON && !(warnings & ~SPACE_WARN_SOON))
		log_info("%s %s%s: there is room again", place->of, place->name, cap);
	place->told = warnings;
}

static void look(struct space_watch *sw)
{
	for (size_t i = 0; i < sw->nr_places; i++) {
		struct place *p = &sw->places[i];

		if (!p->max_bytes && !sw->count.has_free)
			continue;
		place_look(sw, p);
		place_tell(p);
	}
}

/* -- the loop's side -- */

/* What comes from now on may be in the count, or not: it counts as well. */
static void ask(struct loop_timer *t)
{
	struct space_watch *sw = container_of(t, struct space_watch, timer);

	for (size_t i = 0; i < sw->count.nr; i++) {
		sw->count.items[i].space.data_bytes += sw->count.items[i].came_bytes;
		sw->count.items[i].came_bytes = 0;
	}
	sw->asked_ns = loop_now_ns();
	pthread_mutex_lock(&sw->lock);
	sw->asked = true;
	pthread_cond_signal(&sw->wake);
	pthread_mutex_unlock(&sw->lock);
}

static void rates_get(struct space_watch *sw)
{
	struct group *g = NULL;

	while ((g = groups_next(sw->groups, g))) {
		struct space_counted *t = space_count_find(&sw->count, group_name(g));

		if (t)
			space_rates(group_timeline(g), &t->space);
	}
}

static void count_take(struct space_watch *sw)
{
	for (size_t i = 0; i < sw->next.nr; i++) {
		const struct space_counted *before = space_count_find(&sw->count,
								      sw->next.items[i].group);

		if (before)
			sw->next.items[i].came_bytes = before->came_bytes;
	}
	free(sw->count.items);
	sw->count = sw->next;
	sw->next = (struct space_count){ .nr = 0 };
	sw->counted = true;
	rates_get(sw);
	look(sw);
}

static void on_done(struct loop_poll *poll, uint32_t events)
{
	struct space_watch *sw = container_of(poll, struct space_watch, done_poll);
	uint64_t took_ns = loop_now_ns() - sw->asked_ns, count;

	if (read(poll->fd, &count, sizeof(count)) < 0)
		return;
	if (sw->error) {
		log_warning("store %s: its space cannot be counted: %s; tried again later", sw->store,
			    strerror(-sw->error));
		free(sw->next.items);
		sw->next = (struct space_count){ .nr = 0 };
	} else {
		count_take(sw);
	}
	loop_timer_start(sw->loop, &sw->timer,
			 took_ns > EVERY_NS / PART_OF_TIME ? took_ns * PART_OF_TIME : EVERY_NS, 0,
			 ask);
}

/* Of what comes in between two counts only this is not to wait for the next. */
static bool is_news(const struct space_watch *sw, const struct place *place)
{
	const struct space_place now = {
		.taken_bytes = place_bytes(sw, place),
		.left_bytes = left_below(place->max_bytes, place_bytes(sw, place)),
	};

	return space_warn(&now) & ~place->told;
}

void space_watch_came(struct space_watch *sw, const char *group, uint64_t bytes)
{
	struct space_counted *t = space_count_get(&sw->count, group);

	if (!t)
		return;
	t->came_bytes += bytes;
	for (size_t i = 0; i < sw->nr_places; i++) {
		struct place *p = &sw->places[i];

		if (!p->max_bytes || !place_has(p, t) || !is_news(sw, p))
			continue;
		place_look(sw, p);
		place_tell(p);
	}
}

bool space_watch_refuses(const struct space_watch *sw, const char *group, char *why)
{
	char max[16];

	for (size_t i = 0; i < sw->nr_places; i++) {
		const struct place *p = &sw->places[i];

		if (!p->max_bytes || !(p->told & SPACE_WARN_FULL) ||
		    (strcmp(p->of, "group") == 0 && strcmp(p->name, group) != 0))
			continue;
		snprintf(why, SPACE_WATCH_TEXT_BYTES, "the target has no space left for group %.32s: the %s may take %s (max_bytes in its targetd.conf); the source tries again by itself",
			 group, p->of, space_size_text(p->max_bytes, max));
		return true;
	}
	return false;
}

json_t *space_watch_status(const struct space_watch *sw)
{
	const struct place *disk = &sw->places[0];
	json_t *warnings;

	if (!sw->counted)
		return json_null();
	warnings = json_array();
	for (size_t i = 0; i < sw->nr_places; i++) {
		const struct place *p = &sw->places[i];
		char text[SPACE_TEXT_BYTES];

		for (unsigned int w = 1; w < SPACE_WARN_END; w <<= 1) {
			if (!(p->told & w))
				continue;
			space_warn_text(&p->now, w, text);
			json_array_append_new(warnings, json_pack("{s:s, s:s, s:s, s:s}", "of", p->of,
				"name", p->name, "warning", space_warn_name(w), "text", text));
		}
	}
	return json_pack("{s:o, s:I, s:o, s:o}", "free_bytes", sw->count.has_free ?
			 json_integer(sw->count.free_bytes) : json_null(), "taken_bytes",
			 (json_int_t)place_bytes(sw, disk), "max_bytes", sw->limits->max_bytes ?
			 json_integer(sw->limits->max_bytes) : json_null(), "warnings", warnings);
}

/* -- life -- */

static int places_make(struct space_watch *sw)
{
	const struct limits_conf *limits = sw->limits;
	struct place *p;

	sw->places = calloc(limits->nr_caps + 2, sizeof(*sw->places));
	if (!sw->places)
		return -ENOMEM;
	p = sw->places;
	*p++ = (struct place){ .of = "disk", .name = sw->store };
	if (limits->max_bytes)
		*p++ = (struct place){ .of = "store", .name = sw->store,
				       .max_bytes = limits->max_bytes };
	for (size_t i = 0; i < limits->nr_caps; i++)
		*p++ = (struct place){ .of = "group", .name = limits->caps[i].group,
				       .max_bytes = limits->caps[i].max_bytes };
	sw->nr_places = p - sw->places;
	return 0;
}

static void watch_free(struct space_watch *sw)
{
	home_close(sw->home);
	pthread_cond_destroy(&sw->wake);
	pthread_mutex_destroy(&sw->lock);
	free(sw->count.items);
	free(sw->next.items);
	free(sw->places);
	free(sw->store);
	free(sw);
}

int space_watch_create(struct loop *loop, struct groups *groups, const char *store,
		       const struct limits_conf *limits, struct space_watch **out)
{
	struct space_watch *sw = calloc(1, sizeof(*sw));
	char why[HOME_TEXT_BYTES];
	int fd, ret;

	if (!sw)
		return -ENOMEM;
	sw->loop = loop;
	sw->groups = groups;
	sw->limits = limits;
	pthread_mutex_init(&sw->lock, NULL);
	thread_cond_init(&sw->wake);
	sw->store = strdup(store);
	ret = sw->store ? places_make(sw) : -ENOMEM;
	if (!ret)
		ret = home_open(store, NULL, &sw->home, why);
	if (ret)
		goto err_free;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = fd < 0 ? -errno : 0;
	if (ret)
		goto err_free;
	loop_poll_start(loop, &sw->done_poll, fd, POLLIN, on_done);
	ret = thread_start(&sw->thread, NULL, work, sw);
	if (ret)
		goto err_poll;
	loop_timer_start(loop, &sw->timer, 0, 0, ask);
	*out = sw;
	return 0;

err_poll:
	loop_poll_stop(&sw->done_poll);
	close(fd);
err_free:
	watch_free(sw);
	return ret;
}

void space_watch_destroy(struct space_watch *sw)
{
	if (!sw)
		return;
	loop_timer_stop(&sw->timer);
	loop_poll_stop(&sw->done_poll);
	pthread_mutex_lock(&sw->lock);
	sw->stop = true;
	pthread_cond_signal(&sw->wake);
	pthread_mutex_unlock(&sw->lock);
	worker_end(sw->thread, "a look at how much is taken");
	close(sw->done_poll.fd);
	watch_free(sw);
}
