/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * loop - one io_uring event loop: descriptors, timers, files, signals, calls.
 *
 * One thread: everything is called from loop_run() or loop_turn(), nothing nests.
 * All handles (struct loop_poll, _timer, _io, _call, _signals) live in the
 * caller's structs; the loop allocates only when more descriptors are watched at
 * once than ever before. A handle is zeroed before its first use.
 *
 * The ring belongs to the task that made it: do not fork between loop_create()
 * and the end, nor use it from another thread.
 */
#ifndef BLKSHIP_LOOP_H
#define BLKSHIP_LOOP_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct loop;
struct loop_slot;

/**
 * loop_create - make a loop
 * @entries: size of the submission queue; only a hint, more is never lost
 * Return: 0; -ENOSYS or -EPERM when this kernel or container has no io_uring;
 * -ENOMEM; -errno.
 */
int loop_create(unsigned int entries, struct loop **out);

/**
 * loop_destroy - wait for the file operations in flight, then free
 * Their done functions are called; nothing else is. What still watches is
 * forgotten.
 */
void loop_destroy(struct loop *l);

/** loop_run - turn until loop_stop(); 0, or -errno when the ring fails */
int loop_run(struct loop *l);

/** loop_stop - let loop_run() return after the present turn */
void loop_stop(struct loop *l);

/**
 * loop_turn - submit, wait, and call what is ready, once
 * @wait_ns: wait at most so long for something; 0: do not wait; UINT64_MAX: as
 *	long as it takes
 * Return: 0, also when nothing came; -errno when the ring fails.
 */
int loop_turn(struct loop *l, uint64_t wait_ns);

/**
 * loop_keep_open - let the ring hold a file as well, until it has gone itself
 * A process that is killed may leave writes behind that end after it. A flock()
 * on a file kept so is free only when all of them have ended: who gets it then
 * has the files to himself. One file a loop.
 * Return: 0 or -errno.
 */
int loop_keep_open(struct loop *l, int fd);

/** loop_now_ns - monotonic clock, as timers have it */
uint64_t loop_now_ns(void);

/* -- descriptors, level-triggered -- */

struct loop_poll {
	void (*fn)(struct loop_poll *p, uint32_t events);
	int fd;
	uint32_t events;		/* wanted: POLLIN, POLLOUT; 0: paused */
	/* the loop's */
	struct loop *loop;
	struct loop_slot *slot;
	uint32_t armed_events;
	bool active;
	bool changed;
	TAILQ_ENTRY(loop_poll) link;
};

/**
 * loop_poll_start - call @fn whenever @fd has one of @events, or an error
 * With @events 0 nothing is watched, not even the end of the connection.
 */
void loop_poll_start(struct loop *l, struct loop_poll *p, int fd, uint32_t events,
		     void (*fn)(struct loop_poll *p, uint32_t events));

/** loop_poll_events - change what is wanted */
void loop_poll_events(struct loop_poll *p, uint32_t events);

/**
 * loop_poll_stop - forget it; @fn is not called any more; idempotent
 * Call before the descriptor is closed. May be called from @fn.
 */
void loop_poll_stop(struct loop_poll *p);

/* -- timers -- */

struct loop_timer {
	void (*fn)(struct loop_timer *t);
	/* the loop's */
	struct loop *loop;
	uint64_t due_ns;
	uint64_t period_ns;
	bool active;
	TAILQ_ENTRY(loop_timer) link;
};

/**
 * loop_timer_start - call @fn after @delay_ns, then every @period_ns unless 0
 * Restarts one that runs. Periods that passed while the loop was busy are skipped.
 * Kept in a sorted list: meant for a few per connection, not for thousands.
 */
void loop_timer_start(struct loop *l, struct loop_timer *t, uint64_t delay_ns,
		      uint64_t period_ns, void (*fn)(struct loop_timer *t));

/** loop_timer_stop - idempotent; may be called from any callback */
void loop_timer_stop(struct loop_timer *t);

/* -- files -- */

/*
 * One operation on a file. The submitter keeps it and the buffer until done is
 * called: exactly once, from a turn of the loop. result is as the system call's:
 * bytes, possibly fewer than asked, or -errno.
 */
struct loop_io {
	void (*done)(struct loop_io *io, int32_t result);
};

void loop_read(struct loop *l, struct loop_io *io, int fd, void *buf, uint32_t bytes,
	       uint64_t offset_bytes);
void loop_write(struct loop *l, struct loop_io *io, int fd, const void *buf, uint32_t bytes,
		uint64_t offset_bytes);
void loop_datasync(struct loop *l, struct loop_io *io, int fd);

/** loop_ios - file operations in flight */
size_t loop_ios(const struct loop *l);

/* -- deferred calls -- */

struct loop_call {
	void (*fn)(struct loop_call *c);
	/* the loop's */
	struct loop *loop;
	bool active;
	TAILQ_ENTRY(loop_call) link;
};

/**
 * loop_defer - call @fn once, at the end of this turn or of the next
 * Asked for again before it ran, it runs once.
 */
void loop_defer(struct loop *l, struct loop_call *c, void (*fn)(struct loop_call *c));

/** loop_defer_cancel - idempotent */
void loop_defer_cancel(struct loop_call *c);

/* -- signals -- */

struct loop_signals {
	void (*fn)(struct loop_signals *s, int signo);
	struct loop_poll poll;
};

/**
 * loop_signals_start - block these signals and call @fn for each that arrives
 * Return: 0 or -errno.
 */
int loop_signals_start(struct loop *l, struct loop_signals *s, const int *signos, size_t nr,
		       void (*fn)(struct loop_signals *s, int signo));
void loop_signals_stop(struct loop_signals *s);

#endif
