// SPDX-License-Identifier: GPL-2.0-only
#include "loop.h"

#include <assert.h>
#include <errno.h>
#include <liburing.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "container_of.h"

/*
 * What a completion is about, in the low bits of user_data. Pointers to loop_io
 * and loop_slot are at least 8-aligned.
 */
#define TAG_IO		0u
#define TAG_SLOT	1u
#define TAG_NONE	2u	/* result of a cancellation: nobody cares */
#define TAG_MASK	7u

#define NO_MEMORY_WAIT_NS 10000000u	/* until arming a poll is tried again */

/*
 * A poll in the kernel. It outlives the loop_poll that asked for it until its
 * completion has come, so a stopped loop_poll can be freed at once.
 */
struct loop_slot {
	struct loop_poll *poll;	/* NULL: stopped */
	SLIST_ENTRY(loop_slot) link;
	SLIST_ENTRY(loop_slot) all;
};

struct loop {
	struct io_uring ring;
	bool stop;
	size_t nr_ios;
	SLIST_HEAD(, loop_slot) free_slots;
	SLIST_HEAD(, loop_slot) all_slots;
	TAILQ_HEAD(, loop_poll) changed;	/* to be armed, or armed anew */
	TAILQ_HEAD(timer_list, loop_timer) timers;	/* by due_ns */
	TAILQ_HEAD(call_list, loop_call) calls;
};

uint64_t loop_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

int loop_create(unsigned int entries, struct loop **out)
{
	/* Fewer wake-ups where the kernel has them: 6.1, then 5.19, then any. */
	static const unsigned int tries[] = {
		IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
		IORING_SETUP_COOP_TASKRUN,
		0,
	};
	struct loop *l = calloc(1, sizeof(*l));
	int ret = -EINVAL;

	if (!l)
		return -ENOMEM;
	for (size_t i = 0; ret == -EINVAL && i < sizeof(tries) / sizeof(tries[0]); i++)
		ret = io_uring_queue_init(entries, &l->ring, tries[i]);
	if (ret < 0) {
		free(l);
		return ret;
	}
	SLIST_INIT(&l->free_slots);
	SLIST_INIT(&l->all_slots);
	TAILQ_INIT(&l->changed);
	TAILQ_INIT(&l->timers);
	TAILQ_INIT(&l->calls);
	*out = l;
	return 0;
}

int loop_keep_open(struct loop *l, int fd)
{
	return io_uring_register_files(&l->ring, &fd, 1);
}

/* A full queue is handed to the kernel; it takes all of it, so one is free then. */
static struct io_uring_sqe *loop_sqe(struct loop *l)
{
	struct io_uring_sqe *sqe;

	while (!(sqe = io_uring_get_sqe(&l->ring)))
		io_uring_submit(&l->ring);
	return sqe;
}

static struct loop_slot *slot_get(struct loop *l)
{
	struct loop_slot *slot = SLIST_FIRST(&l->free_slots);

	if (slot) {
		SLIST_REMOVE_HEAD(&l->free_slots, link);
		return slot;
	}
	slot = calloc(1, sizeof(*slot));
	if (slot)
		SLIST_INSERT_HEAD(&l->all_slots, slot, all);
	return slot;
}

static void poll_changed(struct loop_poll *p)
{
	if (p->changed)
		return;
	p->changed = true;
	TAILQ_INSERT_TAIL(&p->loop->changed, p, link);
}

static void poll_disarm(struct loop_poll *p)
{
	struct io_uring_sqe *sqe;

	if (!p->slot)
		return;
	/*
	 * The slot is reused only after its completion, for an SQE behind this one:
	 * the cancellation cannot hit a later poll.
	 */
	sqe = loop_sqe(p->loop);
	io_uring_prep_poll_remove(sqe, (uintptr_t)p->slot | TAG_SLOT);
	sqe->user_data = TAG_NONE;
	p->slot->poll = NULL;
	p->slot = NULL;
	p->armed_events = 0;
}

/*
 * One-shot polls, armed again after each event: level-triggered without a thought.
 * False when there was no memory for it.
 */
static bool poll_arm(struct loop *l, struct loop_poll *p)
{
	struct io_uring_sqe *sqe;

	if (p->slot && p->armed_events == p->events)
		return true;
	poll_disarm(p);
	if (!p->events)
		return true;
	p->slot = slot_get(l);
	if (!p->slot)
		return false;
	p->slot->poll = p;
	p->armed_events = p->events;
	sqe = loop_sqe(l);
	io_uring_prep_poll_add(sqe, p->fd, p->events);
	sqe->user_data = (uintptr_t)p->slot | TAG_SLOT;
	return true;
}

/* Bring the kernel's polls up to date; false when some could not be. */
static bool polls_arm(struct loop *l)
{
	struct loop_poll *p;

	while ((p = TAILQ_FIRST(&l->changed))) {
		if (!poll_arm(l, p))
			return false;
		TAILQ_REMOVE(&l->changed, p, link);
		p->changed = false;
	}
	return true;
}

void loop_poll_start(struct loop *l, struct loop_poll *p, int fd, uint32_t events,
		     void (*fn)(struct loop_poll *p, uint32_t events))
{
	assert(!p->active);
	p->fn = fn;
	p->fd = fd;
	p->events = events;
	p->loop = l;
	p->slot = NULL;
	p->armed_events = 0;
	p->changed = false;
	p->active = true;
	poll_changed(p);
}

void loop_poll_events(struct loop_poll *p, uint32_t events)
{
	if (!p->active || p->events == events)
		return;
	p->events = events;
	poll_changed(p);
}

void loop_poll_stop(struct loop_poll *p)
{
	if (!p->active)
		return;
	poll_disarm(p);
	if (p->changed)
		TAILQ_REMOVE(&p->loop->changed, p, link);
	p->changed = false;
	p->active = false;
}

void loop_timer_stop(struct loop_timer *t)
{
	if (!t->active)
		return;
	TAILQ_REMOVE(&t->loop->timers, t, link);
	t->active = false;
}

static void timer_insert(struct loop *l, struct loop_timer *t)
{
	struct loop_timer *after;

	TAILQ_FOREACH_REVERSE(after, &l->timers, timer_list, link)
		if (after->due_ns <= t->due_ns)
			break;
	if (after)
		TAILQ_INSERT_AFTER(&l->timers, after, t, link);
	else
		TAILQ_INSERT_HEAD(&l->timers, t, link);
	t->active = true;
}

void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns,
		      uint64_t period_ns, void (*fn)(struct loop_timer *t))
{
	loop_timer_stop(t);
	t->fn = fn;
	t->loop = l;
	t->due_ns = loop_now_ns() + delay_ns;
	t->period_ns = period_ns;
	timer_insert(l, t);
}

static void timers_run(struct loop *l)
{
	uint64_t now_ns = loop_now_ns();
	struct loop_timer *t;

	while ((t = TAILQ_FIRST(&l->timers)) && t->due_ns <= now_ns) {
		loop_timer_stop(t);
		if (t->period_ns) {
			t->due_ns += t->period_ns;
			if (t->due_ns <= now_ns)
				t->due_ns = now_ns + t->period_ns;
			timer_insert(l, t);
		}
		t->fn(t);
	}
}

static struct io_uring_sqe *io_sqe(struct loop *l, struct loop_io *io)
{
	assert(!((uintptr_t)io & TAG_MASK));
	l->nr_ios++;
	return loop_sqe(l);
}

void loop_read(struct loop *l, struct loop_io *io, int fd, void *buf, uint32_t bytes,
	       uint64_t offset_bytes)
{
	struct io_uring_sqe *sqe = io_sqe(l, io);

	io_uring_prep_read(sqe, fd, buf, bytes, offset_bytes);
	sqe->user_data = (uintptr_t)io | TAG_IO;
}

void loop_write(struct loop *l, struct loop_io *io, int fd, const void *buf, uint32_t bytes,
		uint64_t offset_bytes)
{
	struct io_uring_sqe *sqe = io_sqe(l, io);

	io_uring_prep_write(sqe, fd, buf, bytes, offset_bytes);
	sqe->user_data = (uintptr_t)io | TAG_IO;
}

void loop_datasync(struct loop *l, struct loop_io *io, int fd)
{
	struct io_uring_sqe *sqe = io_sqe(l, io);

	io_uring_prep_fsync(sqe, fd, IORING_FSYNC_DATASYNC);
	sqe->user_data = (uintptr_t)io | TAG_IO;
}

size_t loop_ios(const struct loop *l)
{
	return l->nr_ios;
}

void loop_defer(struct loop *l, struct loop_call *c, void (*fn)(struct loop_call *c))
{
	c->fn = fn;
	if (c->active)
		return;
	c->loop = l;
	c->active = true;
	TAILQ_INSERT_TAIL(&l->calls, c, link);
}

void loop_defer_cancel(struct loop_call *c)
{
	if (!c->active)
		return;
	TAILQ_REMOVE(&c->loop->calls, c, link);
	c->active = false;
}

/* What is deferred from here on waits for the next turn: no livelock. */
static void calls_run(struct loop *l)
{
	struct loop_call *last = TAILQ_LAST(&l->calls, call_list), *c;
	struct loop_call mark = { .loop = l };

	if (!last)
		return;
	/* A mark of our own: calls, the last one too, may be cancelled meanwhile. */
	TAILQ_INSERT_AFTER(&l->calls, last, &mark, link);
	while ((c = TAILQ_FIRST(&l->calls)) != &mark) {
		loop_defer_cancel(c);
		c->fn(c);
	}
	TAILQ_REMOVE(&l->calls, &mark, link);
}

static void slot_complete(struct loop *l, struct loop_slot *slot, int32_t res, bool call)
{
	struct loop_poll *p = slot->poll;

	slot->poll = NULL;
	SLIST_INSERT_HEAD(&l->free_slots, slot, link);
	if (!p)
		return;
	p->slot = NULL;
	p->armed_events = 0;
	poll_changed(p);	/* before fn, which may stop or free it */
	if (call)
		p->fn(p, res < 0 ? POLLERR : (uint32_t)res);
}

static void completions_run(struct loop *l, bool only_ios)
{
	unsigned int left = io_uring_cq_ready(&l->ring);
	struct io_uring_cqe *cqe;

	while (left-- && io_uring_peek_cqe(&l->ring, &cqe) == 0) {
		uint64_t data = cqe->user_data;
		int32_t res = cqe->res;
		struct loop_io *io;

		/* Free the entry first: callbacks submit, and may need it. */
		io_uring_cqe_seen(&l->ring, cqe);
		switch (data & TAG_MASK) {
		case TAG_IO:
			io = (struct loop_io *)(uintptr_t)data;
			l->nr_ios--;
			io->done(io, res);
			break;
		case TAG_SLOT:
			slot_complete(l, (struct loop_slot *)(uintptr_t)(data - TAG_SLOT), res,
				      !only_ios);
			break;
		default:
			break;
		}
	}
}

static int loop_submit_and_wait(struct loop *l, uint64_t wait_ns)
{
	struct __kernel_timespec ts = {
		.tv_sec = wait_ns / 1000000000u,
		.tv_nsec = wait_ns % 1000000000u,
	};
	struct io_uring_cqe *cqe;
	int ret;

	if (wait_ns == 0)
		ret = io_uring_submit_and_get_events(&l->ring);
	else
		ret = io_uring_submit_and_wait_timeout(&l->ring, &cqe, 1,
						       wait_ns == UINT64_MAX ? NULL : &ts, NULL);
	/* EBUSY, EAGAIN: the kernel wants completions to be taken first. */
	if (ret >= 0 || ret == -ETIME || ret == -EINTR || ret == -EBUSY || ret == -EAGAIN)
		return 0;
	return ret;
}

/* Wait no longer than until the first timer. */
static uint64_t wait_bound(const struct loop *l, uint64_t wait_ns)
{
	const struct loop_timer *t = TAILQ_FIRST(&l->timers);
	uint64_t now_ns;

	if (!TAILQ_EMPTY(&l->calls))
		return 0;
	if (!t || !wait_ns)
		return wait_ns;
	now_ns = loop_now_ns();
	if (t->due_ns <= now_ns)
		return 0;
	return t->due_ns - now_ns < wait_ns ? t->due_ns - now_ns : wait_ns;
}

int loop_turn(struct loop *l, uint64_t wait_ns)
{
	int ret;

	if (!polls_arm(l) && wait_ns > NO_MEMORY_WAIT_NS)
		wait_ns = NO_MEMORY_WAIT_NS;
	ret = loop_submit_and_wait(l, wait_bound(l, wait_ns));
	if (ret < 0)
		return ret;
	completions_run(l, false);
	timers_run(l);
	calls_run(l);
	return 0;
}

int loop_run(struct loop *l)
{
	l->stop = false;
	while (!l->stop) {
		int ret = loop_turn(l, UINT64_MAX);

		if (ret < 0)
			return ret;
	}
	return 0;
}

void loop_stop(struct loop *l)
{
	l->stop = true;
}

void loop_destroy(struct loop *l)
{
	struct loop_slot *slot;

	if (!l)
		return;
	while (l->nr_ios) {
		if (loop_submit_and_wait(l, UINT64_MAX) < 0)
			break;
		completions_run(l, true);
	}
	io_uring_queue_exit(&l->ring);
	while ((slot = SLIST_FIRST(&l->all_slots))) {
		SLIST_REMOVE_HEAD(&l->all_slots, all);
		free(slot);
	}
	free(l);
}

static void signals_readable(struct loop_poll *p, uint32_t events)
{
	struct loop_signals *s = container_of(p, struct loop_signals, poll);
	struct signalfd_siginfo info;

	/* One a turn: fn may stop us, and the poll is level-triggered. */
	if (read(p->fd, &info, sizeof(info)) == sizeof(info))
		s->fn(s, info.ssi_signo);
}

int loop_signals_start(struct loop *l, struct loop_signals *s, const int *signos, size_t nr,
		       void (*fn)(struct loop_signals *s, int signo))
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (size_t i = 0; i < nr; i++)
		sigaddset(&set, signos[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	s->fn = fn;
	loop_poll_start(l, &s->poll, fd, POLLIN, signals_readable);
	return 0;
}

void loop_signals_stop(struct loop_signals *s)
{
	if (!s->poll.active)
		return;
	loop_poll_stop(&s->poll);
	close(s->poll.fd);
}
