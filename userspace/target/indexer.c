// SPDX-License-Identifier: GPL-2.0-only
#include "indexer.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../lib/container_of.h"
#include "../lib/log.h"
#include "../lib/home.h"
#include "../lib/thread.h"
#include "../store/index.h"
#include "../store/pack_aside.h"
#include "pacer.h"
#include "worker.h"

#define LOOK_NS			1000000000ull	/* whether a segment was sealed meanwhile */
#define RETRY_NS		60000000000ull

struct indexer {
	struct loop *loop;
	struct groups *groups;
	struct loop_poll done_poll;
	struct loop_timer look;
	struct group *last;	/* whose turn it was */
	struct group *group;	/* of the job; NULL: none is under way */

	pthread_t thread;
	pthread_mutex_t lock;	/* of what follows */
	pthread_cond_t wake;
	struct index_job *job;	/* to be done, or done and not taken */
	bool done;
	bool stop;
	/* Only the thread's. */
	struct home *home;
	struct pacer pacer;
};

/* -- the thread -- */

/* For the pacer; or until it is to end. The clock is the one that the condition waits by. */
static int wait_until(void *arg, uint64_t monotonic_ns)
{
	const struct timespec until = { .tv_sec = monotonic_ns / 1000000000u,
					.tv_nsec = monotonic_ns % 1000000000u };
	struct indexer *ix = arg;
	bool stop;

	pthread_mutex_lock(&ix->lock);
	while (!ix->stop && pthread_cond_timedwait(&ix->wake, &ix->lock, &until) == 0)
		;
	stop = ix->stop;
	pthread_mutex_unlock(&ix->lock);
	return stop ? -ECANCELED : 0;
}

/* Jobs, until it is to end. They stay in ix->job for the loop's thread to take. */
static void *work(void *arg)
{
	struct indexer *ix = arg;
	const struct run_pace pacing = { pacer_take, &ix->pacer };
	const uint64_t one = 1;

	pthread_mutex_lock(&ix->lock);
	while (!ix->stop) {
		struct index_job *job = ix->job;

		if (!job || ix->done) {
			pthread_cond_wait(&ix->wake, &ix->lock);
			continue;
		}
		pthread_mutex_unlock(&ix->lock);
		index_job_run(job, home_env(ix->home), &pacing);
		pthread_mutex_lock(&ix->lock);
		ix->done = true;
		if (write(ix->done_poll.fd, &one, sizeof(one)) < 0)
			ix->stop = true;	/* an eventfd that is not full takes it */
	}
	pthread_mutex_unlock(&ix->lock);
	return NULL;
}

/* -- the loop's side -- */

/*
 * What of leases is in the way, told when it begins. One that cannot be read is of a reader of another
 * user, mostly: nobody else can remove what it left.
 */
static void lease_tell(struct group *g, const struct timeline_pack_state *before)
{
	struct timeline_pack_state now;

	timeline_pack_state(group_timeline(g), &now);
	if (now.leases_error && now.leases_error != before->leases_error)
		log_warning("group %s: " LEASES_DIR "/, of readers: %s; until that is over no point is dropped and no space given back, all else goes on; `blkship hold %s` lists them, remove those that nobody renews",
			    group_name(g), leases_error_text(now.leases_error), group_name(g));
	if (now.lease[0] && strcmp(now.lease, before->lease) != 0)
		log_warning("group %s: " LEASES_DIR "/%s, of a reader, cannot be read: %s; %s, all else goes on; remove it if nobody reads that point",
			    group_name(g), now.lease, strerror(-now.lease_error),
			    now.lease_counts ? "as long as it is there its point stays" :
					       "it is no file and keeps no point");
}

static struct index_job *plan_group(struct group *g)
{
	struct timeline_pack_state before;
	struct index_job *job;

	timeline_pack_state(group_timeline(g), &before);
	job = timeline_index_plan(group_timeline(g));
	lease_tell(g, &before);
	if (job && index_job_first_pack(job))
		log_info("group %s: retention has dropped %llu commits; their space is given back from now on, and what only they showed is gone for good; packing = no keeps what is left",
			 group_name(g), (unsigned long long)index_job_first_pack(job));
	return job;
}

/* The next group, from the one whose turn it was, that needs something. */
static void plan(struct indexer *ix)
{
	struct group *first = NULL, *g = ix->last;
	uint64_t now_ns = loop_now_ns();
	struct index_job *job = NULL;

	if (ix->group)
		return;
	do {
		g = groups_next(ix->groups, g);
		if (!g)
			g = groups_next(ix->groups, NULL);
		if (!g || g == first)
			return;
		if (!first)
			first = g;
		if (now_ns >= group_index_retry(g))
			job = plan_group(g);
	} while (!job);
	ix->last = ix->group = g;
	pthread_mutex_lock(&ix->lock);
	ix->job = job;
	ix->done = false;
	pthread_cond_signal(&ix->wake);
	pthread_mutex_unlock(&ix->lock);
}

static void on_look(struct loop_timer *t)
{
	plan(container_of(t, struct indexer, look));
}

static struct index_job *job_take(struct indexer *ix)
{
	struct index_job *job;

	pthread_mutex_lock(&ix->lock);
	job = ix->job;
	ix->job = NULL;
	pthread_mutex_unlock(&ix->lock);
	return job;
}

/* Told when it begins. Where something only was in the way there is nothing to look after. */
static void failure_tell(const struct group *g, const char *what, int error)
{
	const int retry_s = RETRY_NS / 1000000000u;

	if (error == -EAGAIN || error == -EBUSY)
		log_info("group %s: index, %s: put off, as a branch or a hold was made, or a reader began, meanwhile; tried again in %d s",
			 group_name(g), what, retry_s);
	else
		log_warning("group %s: index, %s: %s; nothing is lost, but points open more slowly, and space of dropped points stays taken; tried again every %d s; check %s",
			    group_name(g), what, error == -E2BIG ? "too many" : strerror(-error),
			    retry_s, error == -EACCES ?
			    "that all in the group's directory is of the daemon's user, " LEASES_DIR "/ too, and chown it if not" :
			    "the disk and its free space");
}

/* What keeps space from being given back; told when it begins. */
static void packing_tell(struct group *g, const struct timeline_pack_state *before)
{
	struct timeline_pack_state now;

	timeline_pack_state(group_timeline(g), &now);
	if (now.nr_aside > before->nr_aside)
		log_warning("group %s: %s cannot be read: %s; what is dead in it stays taken (%zu such files now), all else goes on; blkship store check says which points need it; tried again after %d h, or when keys are set",
			    group_name(g), now.aside, strerror(-now.error), now.nr_aside,
			    (int)(PACK_ASIDE_NS / 1000000000 / 3600));
	if (now.need_bytes && !before->need_bytes)
		log_error("ALARM: group %s: no room to give back space of dropped points: %llu MiB are needed beside what is left for new data; it waits; nothing is lost; make room on the disk",
			    group_name(g), (unsigned long long)(now.need_bytes >> 20) + 1);
}

/* Name what was made. */
static void take(struct indexer *ix)
{
	struct group *g = ix->group;
	struct timeline_pack_state before;
	struct index_job *job = job_take(ix);
	char what[INDEX_TEXT_BYTES];
	int ret;

	strcpy(what, index_job_text(job));
	if (index_job_lost(job) && !group_index_retry(g))
		log_error("group %s: both copies of %s are missing or damaged, and only it says which points were not dropped; the daemon still knows, but the group would not open again: stop it, then run `blkship store check --rebuild %s`",
			  group_name(g), index_job_lost(job), group_name(g));
	timeline_pack_state(group_timeline(g), &before);
	ret = timeline_index_take(group_timeline(g), job);
	packing_tell(g, &before);
	lease_tell(g, &before);
	if (ret && !group_index_retry(g))
		failure_tell(g, what, ret);
	group_set_index_retry(g, ret ? loop_now_ns() + RETRY_NS : 0);
	ix->group = NULL;
}

static void on_done(struct loop_poll *p, uint32_t events)
{
	struct indexer *ix = container_of(p, struct indexer, done_poll);
	uint64_t count;

	if (read(p->fd, &count, sizeof(count)) < 0 || !ix->group)
		return;
	take(ix);
	plan(ix);
}

/* -- life -- */

int indexer_create(struct loop *loop, struct groups *groups, const char *store,
		   uint64_t bytes_per_s, struct indexer **out)
{
	struct indexer *ix = calloc(1, sizeof(*ix));
	char why[HOME_TEXT_BYTES];
	int fd, ret;

	if (!ix)
		return -ENOMEM;
	ix->loop = loop;
	ix->groups = groups;
	pthread_mutex_init(&ix->lock, NULL);
	thread_cond_init(&ix->wake);
	ret = home_open(store, NULL, &ix->home, why);
	if (ret)
		goto err_free;
	ix->pacer = (struct pacer){ home_env(ix->home), bytes_per_s, wait_until, ix };
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = fd < 0 ? -errno : 0;
	if (ret)
		goto err_home;
	loop_poll_start(loop, &ix->done_poll, fd, POLLIN, on_done);
	ret = thread_start(&ix->thread, NULL, work, ix);
	if (ret)
		goto err_poll;
	loop_timer_start(loop, &ix->look, 0, LOOK_NS, on_look);
	*out = ix;
	return 0;

err_poll:
	loop_poll_stop(&ix->done_poll);
	close(fd);
err_home:
	home_close(ix->home);
err_free:
	free(ix);
	return ret;
}

void indexer_destroy(struct indexer *ix)
{
	if (!ix)
		return;
	loop_timer_stop(&ix->look);
	loop_poll_stop(&ix->done_poll);
	pthread_mutex_lock(&ix->lock);
	ix->stop = true;
	pthread_cond_signal(&ix->wake);
	pthread_mutex_unlock(&ix->lock);
	worker_end(ix->thread, "a write of the index");
	if (ix->group)
		timeline_index_take(group_timeline(ix->group), ix->job);
	close(ix->done_poll.fd);
	home_close(ix->home);
	pthread_cond_destroy(&ix->wake);
	pthread_mutex_destroy(&ix->lock);
	free(ix);
}
