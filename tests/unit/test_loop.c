// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/lib/loop.h"

#define SECOND_NS 1000000000u

struct fixture {
	struct loop *loop;
	char dir[64];
	int calls;
	int order[8];
};

static int setup(void **state)
{
	static struct fixture f;

	memset(&f, 0, sizeof(f));
	strcpy(f.dir, "/tmp/blkship-unit-XXXXXX");
	if (!mkdtemp(f.dir) || loop_create(8, &f.loop) < 0)
		return -1;
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_destroy(f->loop);
	return rmdir(f->dir);
}

/* -- descriptors -- */

struct reader {
	struct loop_poll poll;
	size_t bytes;
	int calls;
	bool stop;
};

static void reader_fn(struct loop_poll *p, uint32_t events)
{
	struct reader *r = (struct reader *)p;
	char c;

	r->calls++;
	assert_true(events & POLLIN);
	if (read(p->fd, &c, 1) == 1)
		r->bytes++;
	if (r->stop)
		loop_poll_stop(p);
}

static void polls_are_level_triggered_until_stopped(void **state)
{
	struct fixture *f = *state;
	struct reader r = { .bytes = 0 };
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	loop_poll_start(f->loop, &r.poll, fds[0], POLLIN, reader_fn);
	assert_int_equal(write(fds[1], "abc", 3), 3);
	while (r.bytes < 3)
		assert_int_equal(loop_turn(f->loop, SECOND_NS), 0);
	/* Paused: nothing is told; resumed: the byte is still there. */
	loop_poll_events(&r.poll, 0);
	assert_int_equal(write(fds[1], "d", 1), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_turn(f->loop, 1000000), 0);
	assert_int_equal(r.bytes, 3);
	r.stop = true;
	loop_poll_events(&r.poll, POLLIN);
	while (r.bytes < 4)
		assert_int_equal(loop_turn(f->loop, SECOND_NS), 0);
	assert_int_equal(write(fds[1], "e", 1), 1);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_turn(f->loop, 1000000), 0);
	assert_int_equal(r.bytes, 4);
	/* Armed and stopped, then another on the same descriptor: only that is called. */
	memset(&r, 0, sizeof(r));
	loop_poll_start(f->loop, &r.poll, fds[1], POLLIN, reader_fn);
	assert_int_equal(loop_turn(f->loop, 0), 0);
	loop_poll_stop(&r.poll);
	memset(&r, 0, sizeof(r));
	loop_poll_start(f->loop, &r.poll, fds[0], POLLIN, reader_fn);
	while (!r.calls)
		assert_int_equal(loop_turn(f->loop, SECOND_NS), 0);
	assert_int_equal(r.bytes, 1);
	loop_poll_stop(&r.poll);
	close(fds[0]);
	close(fds[1]);
}

static void many_polls_pass_a_small_queue(void **state)
{
	enum { NR = 100 };
	struct fixture *f = *state;
	static struct reader r[NR];
	int fds[NR][2];

	memset(r, 0, sizeof(r));
	for (int i = 0; i < NR; i++) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds[i]), 0);
		loop_poll_start(f->loop, &r[i].poll, fds[i][0], POLLIN, reader_fn);
	}
	assert_int_equal(loop_turn(f->loop, 0), 0);
	for (int i = 0; i < NR; i++)
		assert_int_equal(write(fds[i][1], "x", 1), 1);
	for (int left = NR; left; left = 0)
		for (int i = 0; i < NR; i++)
			while (!r[i].bytes)
				assert_int_equal(loop_turn(f->loop, SECOND_NS), 0);
	for (int i = 0; i < NR; i++) {
		assert_int_equal(r[i].bytes, 1);
		loop_poll_stop(&r[i].poll);
		close(fds[i][0]);
		close(fds[i][1]);
	}
}

/* -- timers and calls -- */

struct ordered_timer {
	struct loop_timer timer;
	struct fixture *f;
	int id;
};

static void timer_fn(struct loop_timer *t)
{
	struct ordered_timer *o = (struct ordered_timer *)t;

	o->f->order[o->f->calls++] = o->id;
	if (o->f->calls == 5)
		loop_stop(o->f->loop);
}

static void timers_run_in_order(void **state)
{
	struct fixture *f = *state;
	struct ordered_timer t[4] = {
		{ .f = f, .id = 0 }, { .f = f, .id = 1 }, { .f = f, .id = 2 }, { .f = f, .id = 3 },
	};

	loop_timer_start(f->loop, &t[0].timer, 3000000, 0, timer_fn);
	loop_timer_start(f->loop, &t[1].timer, 1000000, 0, timer_fn);
	loop_timer_start(f->loop, &t[2].timer, 2000000, 0, timer_fn);
	loop_timer_start(f->loop, &t[3].timer, 100000000, 1000000, timer_fn);
	loop_timer_start(f->loop, &t[2].timer, 4000000, 0, timer_fn);	/* restarted */
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->order[0], 1);
	assert_int_equal(f->order[1], 0);
	assert_int_equal(f->order[2], 2);
	assert_int_equal(f->order[3], 3);
	assert_int_equal(f->order[4], 3);
	loop_timer_stop(&t[3].timer);
	loop_timer_stop(&t[3].timer);
}

struct counted_call {
	struct loop_call call;
	struct fixture *f;
	struct counted_call *cancels;
	bool again;
};

static void call_fn(struct loop_call *c)
{
	struct counted_call *cc = (struct counted_call *)c;

	cc->f->calls++;
	if (cc->cancels)
		loop_defer_cancel(&cc->cancels->call);
	if (cc->again)
		loop_defer(cc->f->loop, c, call_fn);
}

static void calls_run_once_and_do_not_starve(void **state)
{
	struct fixture *f = *state;
	struct counted_call last = { .f = f }, first = { .f = f, .cancels = &last };
	struct counted_call again = { .f = f, .again = true };

	loop_defer(f->loop, &first.call, call_fn);
	loop_defer(f->loop, &first.call, call_fn);
	loop_defer(f->loop, &last.call, call_fn);
	assert_int_equal(loop_turn(f->loop, UINT64_MAX), 0);
	assert_int_equal(f->calls, 1);
	loop_defer(f->loop, &again.call, call_fn);
	assert_int_equal(loop_turn(f->loop, UINT64_MAX), 0);
	assert_int_equal(loop_turn(f->loop, UINT64_MAX), 0);
	assert_int_equal(f->calls, 3);
	loop_defer_cancel(&again.call);
}

static int last_signal;

static void signal_fn(struct loop_signals *s, int signo)
{
	last_signal = signo;
}

static void signals_arrive(void **state)
{
	struct fixture *f = *state;
	struct loop_signals s = { .fn = NULL };
	static const int signos[] = { SIGUSR1, SIGUSR2 };

	assert_int_equal(loop_signals_start(f->loop, &s, signos, 2, signal_fn), 0);
	kill(getpid(), SIGUSR2);
	while (!last_signal)
		assert_int_equal(loop_turn(f->loop, SECOND_NS), 0);
	assert_int_equal(last_signal, SIGUSR2);
	loop_signals_stop(&s);
}

/* -- env_posix -- */

struct counted_io {
	struct env_io io;
	int64_t result;
	int nr;
};

static void io_fn(struct env_io *io, int64_t result)
{
	struct counted_io *c = (struct counted_io *)io;

	c->result = result;
	c->nr++;
}

static int64_t io_run(struct fixture *f, struct env *env, bool with_loop, struct env_file *file,
		      enum env_io_op op, void *buf, uint32_t bytes, uint64_t offset)
{
	struct counted_io c = {
		.io = { .op = op, .file = file, .buf = buf, .bytes = bytes,
			.offset_bytes = offset, .done = io_fn },
	};

	env->ops->submit(env, &c.io);
	assert_int_equal(c.nr, 0);	/* never from within */
	while (!c.nr) {
		if (with_loop)
			assert_int_equal(loop_turn(f->loop, SECOND_NS), 0);
		else
			assert_int_equal(env_posix_pump(env), 1);
	}
	assert_int_equal(c.nr, 1);
	return c.result;
}

static void count_name(void *arg, const char *name)
{
	if (strcmp(name, "b") == 0)
		++*(int *)arg;
	else
		*(int *)arg += 100;
}

static void env_does_files(struct fixture *f, bool with_loop, unsigned int flags)
{
	static uint8_t out[3 << 20] __attribute__((aligned(4096)));
	static uint8_t in[3 << 20] __attribute__((aligned(4096)));
	struct env_file *file, *second;
	struct env *env;
	char a[128], b[128];
	uint64_t size;
	int names = 0;

	snprintf(a, sizeof(a), "%s/a", f->dir);
	snprintf(b, sizeof(b), "%s/b", f->dir);
	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = i * 31 >> 3;
	assert_int_equal(env_posix_create(with_loop ? f->loop : NULL, &env), 0);
	assert_int_equal(env->ops->open(env, a, ENV_READ, &file), -ENOENT);
	assert_int_equal(env->ops->open(env, a, ENV_WRITE | ENV_CREATE | flags, &file), 0);
	assert_int_equal(env->ops->open(env, a, ENV_WRITE | ENV_CREATE | flags, &second), -EEXIST);
	assert_int_equal(env->ops->write(env, file, out, 4096, 0), 0);
	assert_int_equal(io_run(f, env, with_loop, file, ENV_IO_WRITE, out + 4096,
				sizeof(out) - 4096, 4096), sizeof(out) - 4096);
	assert_int_equal(io_run(f, env, with_loop, file, ENV_IO_DATASYNC, NULL, 0, 0), 0);
	assert_int_equal(env->ops->datasync(env, file), 0);
	assert_int_equal(env->ops->size(env, file, &size), 0);
	assert_int_equal(size, sizeof(out));
	assert_int_equal(io_run(f, env, with_loop, file, ENV_IO_READ, in, sizeof(in), 0), sizeof(in));
	assert_memory_equal(in, out, sizeof(in));
	/* Short at the end of the file, by both roads; also inside a block. */
	assert_int_equal(env->ops->truncate(env, file, 10000), 0);
	assert_int_equal(io_run(f, env, with_loop, file, ENV_IO_READ, in, 16384, 4096), 10000 - 4096);
	assert_int_equal(env->ops->read(env, file, in, 16384, 0), 10000);
	assert_int_equal(env->ops->read(env, file, in, 4096, 12288), 0);
	assert_memory_equal(in, out, 10000);

	assert_int_equal(env->ops->open(env, a, ENV_WRITE, &second), 0);
	assert_int_equal(env->ops->lock(env, file), 0);
	assert_int_equal(env->ops->lock(env, second), -EBUSY);
	env->ops->close(env, file);
	assert_int_equal(env->ops->lock(env, second), 0);
	env->ops->close(env, second);
	assert_int_equal(env->ops->rename(env, a, b), 0);
	assert_int_equal(env->ops->sync_dir(env, f->dir), 0);
	assert_int_equal(env->ops->list(env, f->dir, count_name, &names), 0);
	assert_int_equal(names, 1);
	assert_int_equal(env->ops->unlink(env, b), 0);
	assert_int_equal(env->ops->unlink(env, b), -ENOENT);
	assert_int_equal(env->ops->mkdir(env, f->dir), -EEXIST);
	assert_int_equal(env->ops->open(env, f->dir, ENV_WRITE | flags, &file), -EISDIR);
	env_posix_destroy(env);
}

static void env_with_loop(void **state)
{
	env_does_files(*state, true, 0);
	env_does_files(*state, true, ENV_DIRECT);
}

static void env_without_loop(void **state)
{
	env_does_files(*state, false, 0);
	env_does_files(*state, false, ENV_DIRECT);
}

static void destroy_waits_for_files(void **state)
{
	struct fixture *f = *state;
	struct counted_io c = { .nr = 0 };
	struct env_file *file;
	struct env *env;
	struct loop *loop;
	char path[128];

	snprintf(path, sizeof(path), "%s/a", f->dir);
	assert_int_equal(loop_create(8, &loop), 0);
	assert_int_equal(env_posix_create(loop, &env), 0);
	assert_int_equal(env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &file), 0);
	c.io = (struct env_io){ .op = ENV_IO_WRITE, .file = file, .buf = "x", .bytes = 1,
				.done = io_fn };
	env->ops->submit(env, &c.io);
	assert_int_equal(loop_ios(loop), 1);
	loop_destroy(loop);
	assert_int_equal(c.nr, 1);
	assert_int_equal(c.result, 1);
	env->ops->close(env, file);
	assert_int_equal(env->ops->unlink(env, path), 0);
	env_posix_destroy(env);
}

/* So that a lock outlives a killed daemon until its last write has ended. */
static void a_kept_file_stays_locked_as_long_as_the_ring(void **state)
{
	struct fixture *f = *state;
	struct loop *loop;
	char path[128];
	int fd, other;

	snprintf(path, sizeof(path), "%s/lock", f->dir);
	assert_int_equal(loop_create(8, &loop), 0);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(flock(fd, LOCK_EX | LOCK_NB), 0);
	assert_int_equal(loop_keep_open(loop, fd), 0);
	close(fd);
	other = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(flock(other, LOCK_EX | LOCK_NB), -1);
	loop_destroy(loop);
	assert_int_equal(flock(other, LOCK_EX), 0);	/* soon: the ring goes by itself */
	close(other);
	unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(polls_are_level_triggered_until_stopped, setup, teardown),
		cmocka_unit_test_setup_teardown(many_polls_pass_a_small_queue, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_run_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(calls_run_once_and_do_not_starve, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_arrive, setup, teardown),
		cmocka_unit_test_setup_teardown(env_with_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(env_without_loop, setup, teardown),
		cmocka_unit_test_setup_teardown(destroy_waits_for_files, setup, teardown),
		cmocka_unit_test_setup_teardown(a_kept_file_stays_locked_as_long_as_the_ring,
						setup, teardown),
	};

	return cmocka_run_group_tests_name("loop", tests, NULL, NULL);
}
