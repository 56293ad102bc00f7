// SPDX-License-Identifier: GPL-2.0-only
/*
 * conformance - what the store relies on, asked of every env that it may be given.
 *
 *   conformance STORE...	each STORE is a directory or rados:POOL/NAMESPACE, empty
 *
 * The same table runs over each of them, with and without a loop; the last line is
 * "N passed, N failed, N skipped".
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../userspace/lib/loop.h"
#include "../../userspace/lib/home.h"

#define PIECE	(4u << 20)	/* of a file in RADOS: what crosses it is of interest */
#define MAX_NAMES 64

static const char *store;
static struct loop *loop;	/* or NULL */
static struct home *home;
static struct env *env;
static char base[512];		/* a directory of the test's own */
static const char *failure;
static char failure_text[256];

extern char **environ;

#define CHECK(x) do {							\
	if (!failure && !(x)) {						\
		snprintf(failure_text, sizeof(failure_text), "line %d: %s", __LINE__, #x); \
		failure = failure_text;					\
	}								\
} while (0)
#define CHECK_EQ(x, y) do {						\
	long long x_ = (x), y_ = (y);					\
	if (!failure && x_ != y_) {					\
		snprintf(failure_text, sizeof(failure_text), "line %d: %s is %lld, not %lld", \
			 __LINE__, #x, x_, y_);				\
		failure = failure_text;					\
	}								\
} while (0)

static const char *in(const char *name)
{
	static char paths[4][600];
	static unsigned int turn;
	char *path = paths[turn++ % 4];

	snprintf(path, sizeof(paths[0]), "%s/%s", base, name);
	return path;
}

static struct env_file *opened(const char *name, unsigned int flags)
{
	struct env_file *f = NULL;

	CHECK_EQ(env->ops->open(env, in(name), flags, &f), 0);
	return f;
}

static void made(const char *name, const char *content)
{
	struct env_file *f = opened(name, ENV_WRITE | ENV_CREATE);

	if (!f)
		return;
	CHECK_EQ(env->ops->write(env, f, content, strlen(content), 0), 0);
	CHECK_EQ(env->ops->datasync(env, f), 0);
	env->ops->close(env, f);
}

static void expect_content(const char *name, const char *content)
{
	struct env_file *f = opened(name, ENV_READ);
	char buf[64] = "";

	if (!f)
		return;
	CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 0), strlen(content));
	CHECK(memcmp(buf, content, strlen(content)) == 0);
	env->ops->close(env, f);
}

static uint64_t size_of(struct env_file *f)
{
	uint64_t bytes = 0;

	CHECK_EQ(env->ops->size(env, f, &bytes), 0);
	return bytes;
}

static bool all_bytes(const uint8_t *buf, uint8_t byte, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		if (buf[i] != byte)
			return false;
	return true;
}

struct names {
	char name[MAX_NAMES][64];
	size_t nr;
};

static void take_name(void *arg, const char *name)
{
	struct names *n = arg;

	if (n->nr < MAX_NAMES)
		snprintf(n->name[n->nr++], sizeof(n->name[0]), "%s", name);
}

static bool listed(const char *name)
{
	struct names n = { .nr = 0 };
	bool found = false;

	CHECK_EQ(env->ops->list(env, base, take_name, &n), 0);
	for (size_t i = 0; i < n.nr; i++)
		found = found || strcmp(n.name[i], name) == 0;
	return found;
}

/* -- the table -- */

static void test_open(void)
{
	struct env_file *f;

	CHECK_EQ(env->ops->open(env, in("none"), ENV_READ, &f), -ENOENT);
	CHECK_EQ(env->ops->open(env, in("none"), ENV_WRITE, &f), -ENOENT);
	CHECK_EQ(env->ops->open(env, in("none/none"), ENV_WRITE | ENV_CREATE, &f), -ENOENT);
	made("a", "content");
	CHECK_EQ(env->ops->open(env, in("a"), ENV_WRITE | ENV_CREATE, &f), -EEXIST);
	expect_content("a", "content");
	f = opened("empty", ENV_WRITE | ENV_CREATE);
	if (f) {
		CHECK_EQ(size_of(f), 0);
		env->ops->close(env, f);
	}
	expect_content("empty", "");
}

static void test_rights(void)
{
	struct env_file *f;

	made("a", "content");
	f = opened("a", ENV_READ);
	if (!f)
		return;
	CHECK(env->ops->write(env, f, "x", 1, 0) < 0);
	env->ops->close(env, f);
	expect_content("a", "content");
}

static void test_directories(void)
{
	struct names n = { .nr = 0 };
	char sub[600];

	snprintf(sub, sizeof(sub), "%s", in("sub"));
	CHECK_EQ(env->ops->list(env, sub, take_name, &n), -ENOENT);
	CHECK_EQ(env->ops->sync_dir(env, sub), -ENOENT);
	CHECK_EQ(env->ops->mkdir(env, in("none/sub")), -ENOENT);
	CHECK_EQ(env->ops->mkdir(env, sub), 0);
	CHECK_EQ(env->ops->mkdir(env, sub), -EEXIST);
	CHECK_EQ(env->ops->sync_dir(env, base), 0);
	CHECK_EQ(env->ops->sync_dir(env, sub), 0);
	CHECK(listed("sub"));
	made("sub/a", "inside");
	expect_content("sub/a", "inside");
	CHECK(!listed("a") && !listed("sub/a"));
	CHECK_EQ(env->ops->unlink(env, sub), -ENOTEMPTY);
	CHECK_EQ(env->ops->unlink(env, in("sub/a")), 0);
	CHECK_EQ(env->ops->unlink(env, sub), 0);
	CHECK(!listed("sub"));
	CHECK_EQ(env->ops->list(env, sub, take_name, &n), -ENOENT);
	CHECK_EQ(env->ops->mkdir(env, sub), 0);
}

static void test_list(void)
{
	struct names n = { .nr = 0 };
	char name[16];

	CHECK_EQ(env->ops->list(env, base, take_name, &n), 0);
	CHECK_EQ(n.nr, 0);
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "%d", i);
		made(name, name);
	}
	CHECK_EQ(env->ops->unlink(env, in("7")), 0);
	CHECK_EQ(env->ops->list(env, base, take_name, &n), 0);
	CHECK_EQ(n.nr, 19);
	CHECK(listed("0") && listed("19") && !listed("7"));
}

static void test_unlink(void)
{
	struct env_file *f;

	CHECK_EQ(env->ops->unlink(env, in("a")), -ENOENT);
	made("a", "first");
	f = opened("a", ENV_READ);
	CHECK_EQ(env->ops->unlink(env, in("a")), 0);
	CHECK_EQ(env->ops->unlink(env, in("a")), -ENOENT);
	CHECK(!listed("a"));
	/* Who has it open reads on, and a new one of this name is another file. */
	made("a", "second");
	if (f) {
		char buf[8] = "";

		CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 0), 5);
		CHECK(memcmp(buf, "first", 5) == 0);
		env->ops->close(env, f);
	}
	expect_content("a", "second");
}

static void test_rename(void)
{
	struct env_file *f;

	CHECK_EQ(env->ops->rename(env, in("a"), in("b")), -ENOENT);
	made("a", "new");
	CHECK_EQ(env->ops->rename(env, in("a"), in("b")), 0);
	CHECK(!listed("a") && listed("b"));
	expect_content("b", "new");
	/* Over another, while that is read and this is written. */
	made("a", "newer");
	f = opened("a", ENV_WRITE);
	CHECK_EQ(env->ops->rename(env, in("a"), in("b")), 0);
	if (f) {
		CHECK_EQ(env->ops->write(env, f, "!", 1, 5), 0);
		env->ops->close(env, f);
	}
	expect_content("b", "newer!");
	CHECK(!listed("a"));
	CHECK_EQ(env->ops->rename(env, in("b"), in("b")), 0);
	expect_content("b", "newer!");
}

static void test_read_end(void)
{
	struct env_file *f = opened("a", ENV_WRITE | ENV_CREATE);
	char buf[16];

	if (!f)
		return;
	CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 0), 0);
	CHECK_EQ(env->ops->write(env, f, "0123456789", 10, 0), 0);
	CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 0), 10);
	CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 7), 3);
	CHECK(memcmp(buf, "789", 3) == 0);
	CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 10), 0);
	CHECK_EQ(env->ops->read(env, f, buf, sizeof(buf), 100ull * PIECE), 0);
	env->ops->close(env, f);
}

/* Across the borders of pieces, with holes, and past what a file may have untold. */
static void test_large(void)
{
	const uint64_t places[] = { 0, PIECE - 5, 3 * PIECE - 1, 7ull * PIECE, 16ull * PIECE - 2,
				    40ull * PIECE + 17 };
	struct env_file *f = opened("a", ENV_WRITE | ENV_CREATE), *other;
	uint8_t buf[64];

	if (!f)
		return;
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		memset(buf, 'a' + i, 10);
		CHECK_EQ(env->ops->write(env, f, buf, 10, places[i]), 0);
		CHECK_EQ(size_of(f), places[i] + 10);
	}
	other = opened("a", ENV_READ);
	for (size_t i = 0; other && i < sizeof(places) / sizeof(places[0]); i++) {
		bool last = places[i] == 40ull * PIECE + 17;

		CHECK_EQ(env->ops->read(env, other, buf, 20, places[i]), last ? 10 : 20);
		CHECK(all_bytes(buf, 'a' + i, 10));
		CHECK(last || all_bytes(buf + 10, 0, 10));
	}
	if (other) {
		CHECK_EQ(size_of(other), 40ull * PIECE + 27);
		env->ops->close(env, other);
	}
	env->ops->close(env, f);
	CHECK_EQ(env->ops->unlink(env, in("a")), 0);
}

static void test_truncate(void)
{
	static const uint64_t sizes[] = { 20 * PIECE + 3, 20 * PIECE, 18 * PIECE + 1, PIECE, 5, 0,
					  PIECE + 1, 0 };
	struct env_file *f = opened("a", ENV_WRITE | ENV_CREATE);
	uint8_t *buf = malloc(PIECE + 16);
	uint64_t whole = 21ull * PIECE, before = whole;

	for (uint64_t at = 0; f && at < whole; at += PIECE) {
		memset(buf, 'x', PIECE);
		CHECK_EQ(env->ops->write(env, f, buf, PIECE, at), 0);
	}
	for (size_t i = 0; f && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		uint64_t bytes = sizes[i];

		CHECK_EQ(env->ops->truncate(env, f, bytes), 0);
		CHECK_EQ(size_of(f), bytes);
		CHECK_EQ(env->ops->read(env, f, buf, 8, bytes), 0);
		if (bytes && bytes < before) {
			CHECK_EQ(env->ops->read(env, f, buf, 8, bytes - 1), 1);
			CHECK_EQ(buf[0], 'x');
		}
		/* What was cut off does not come back. */
		if (bytes >= before) {
			CHECK_EQ(env->ops->read(env, f, buf, PIECE + 16, before), bytes - before);
			CHECK(all_bytes(buf, 0, bytes - before));
		}
		before = bytes;
	}
	if (f) {
		CHECK_EQ(env->ops->write(env, f, "y", 1, PIECE + 2), 0);
		CHECK_EQ(env->ops->read(env, f, buf, PIECE + 16, 0), PIECE + 3);
		CHECK(all_bytes(buf, 0, PIECE + 2) && buf[PIECE + 2] == 'y');
		env->ops->close(env, f);
	}
	free(buf);
}

static void test_lock(void)
{
	struct env_file *f = opened("lock", ENV_WRITE | ENV_CREATE), *g = opened("lock", ENV_WRITE);

	if (f && g) {
		CHECK_EQ(env->ops->lock(env, f), 0);
		CHECK_EQ(env->ops->lock(env, g), -EBUSY);
		env->ops->close(env, f);
		CHECK_EQ(env->ops->lock(env, g), 0);
		env->ops->close(env, g);
	}
	f = opened("lock", ENV_WRITE);
	CHECK_EQ(env->ops->lock(env, f), 0);
	env->ops->close(env, f);
}

/* Who opened it before it was removed must not believe to have what others lock by its name. */
static void test_lock_removed(void)
{
	struct env_file *f = opened("lock", ENV_WRITE | ENV_CREATE), *g = opened("lock", ENV_WRITE), *h;

	CHECK_EQ(env->ops->unlink(env, in("lock")), 0);
	h = opened("lock", ENV_WRITE | ENV_CREATE);
	if (f && g && h) {
		CHECK_EQ(env->ops->lock(env, f), -ENOENT);
		CHECK_EQ(env->ops->lock(env, h), 0);
		CHECK_EQ(env->ops->lock(env, g), -ENOENT);
		env->ops->close(env, f);
		env->ops->close(env, g);
		env->ops->close(env, h);
	}
}

/* Another process: its lock ends with it, however it ends. */
static void test_lock_process(void)
{
	char *argv[] = { "conformance", "--hold", (char *)store, base, NULL };
	struct env_file *f = opened("lock", ENV_WRITE | ENV_CREATE);
	posix_spawn_file_actions_t actions;
	int out[2], status;
	pid_t pid;
	char ready;

	if (!f || pipe(out) < 0)
		return;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, out[1], 1);
	posix_spawn_file_actions_addclose(&actions, out[0]);
	CHECK_EQ(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ), 0);
	posix_spawn_file_actions_destroy(&actions);
	close(out[1]);
	CHECK_EQ(read(out[0], &ready, 1), 1);
	CHECK_EQ(env->ops->lock(env, f), -EBUSY);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	CHECK_EQ(env->ops->lock(env, f), 0);
	close(out[0]);
	env->ops->close(env, f);
}

/* -- submitted operations -- */

struct pending {
	struct env_io io;
	int64_t result;
	bool done;
	bool inside;		/* submit() has not come back */
	struct pending *then;	/* submitted when this ends */
};

static void pending_submit(struct pending *p)
{
	p->inside = true;
	env->ops->submit(env, &p->io);
	p->inside = false;
}

static void pending_done(struct env_io *io, int64_t result)
{
	struct pending *p = io->arg;

	CHECK(!p->done && !p->inside);
	p->done = true;
	p->result = result;
	if (p->then)
		pending_submit(p->then);
}

static void pending_wait(const struct pending *p)
{
	while (!p->done && !failure) {
		if (loop)
			CHECK_EQ(loop_turn(loop, UINT64_MAX), 0);
		else if (!home_pump(home))
			sched_yield();
	}
}

static void pending_init(struct pending *p, enum env_io_op op, struct env_file *f, void *buf,
			 uint32_t bytes, uint64_t at)
{
	memset(p, 0, sizeof(*p));
	p->io = (struct env_io){ .op = op, .file = f, .buf = buf, .bytes = bytes,
				 .offset_bytes = at, .done = pending_done, .arg = p };
}

static void test_submit(void)
{
	enum { NR = 12, BYTES = 1 << 20 };
	struct env_file *f = opened("a", ENV_WRITE | ENV_CREATE | ENV_DIRECT);
	uint8_t *buf = aligned_alloc(4096, NR * BYTES), *got = aligned_alloc(4096, NR * BYTES);
	struct pending writes[NR], sync, reading, past;

	if (!f)
		return;
	/* Last place first, and one over the border of two pieces at an odd megabyte. */
	for (int i = 0; i < NR; i++) {
		memset(buf + i * BYTES, 'a' + i, BYTES);
		pending_init(&writes[i], ENV_IO_WRITE, f, buf + i * BYTES, BYTES,
			     (uint64_t)i * BYTES + 4096);
	}
	for (int i = NR - 1; i >= 0; i--)
		pending_submit(&writes[i]);
	for (int i = 0; i < NR; i++) {
		pending_wait(&writes[i]);
		CHECK_EQ(writes[i].result, BYTES);
	}
	/* One that is submitted as another ends. */
	pending_init(&reading, ENV_IO_READ, f, got, NR * BYTES, 4096);
	pending_init(&sync, ENV_IO_DATASYNC, f, NULL, 0, 0);
	sync.then = &reading;
	pending_submit(&sync);
	pending_wait(&reading);
	CHECK_EQ(sync.result, 0);
	CHECK_EQ(reading.result, NR * BYTES);
	CHECK(memcmp(buf, got, NR * BYTES) == 0);
	pending_init(&past, ENV_IO_READ, f, got, 8192, (uint64_t)NR * BYTES);
	pending_submit(&past);
	pending_wait(&past);
	CHECK_EQ(past.result, 4096);
	env->ops->close(env, f);
	free(buf);
	free(got);
}

static void test_submit_error(void)
{
	uint8_t *buf = aligned_alloc(4096, 4096);
	struct pending writing;
	struct env_file *f;

	made("a", "content");
	f = opened("a", ENV_READ | ENV_DIRECT);
	memset(buf, 0, 4096);
	pending_init(&writing, ENV_IO_WRITE, f, buf, 4096, 0);
	pending_submit(&writing);
	pending_wait(&writing);
	CHECK(writing.result < 0);
	env->ops->close(env, f);
	expect_content("a", "content");
	free(buf);
}

static void test_clocks(void)
{
	uint8_t a[16] = "", b[16] = "";

	CHECK(env->ops->realtime_ns(env) > 1600000000ull * 1000000000ull);
	CHECK(env->ops->monotonic_ns(env) <= env->ops->monotonic_ns(env));
	env->ops->random(env, a, sizeof(a));
	env->ops->random(env, b, sizeof(b));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
}

static void test_free(void)
{
	uint64_t bytes = 0;
	int ret = env->ops->free_bytes(env, base, &bytes);

	CHECK(ret == -EOPNOTSUPP || (ret == 0 && bytes > 0));
}

static const struct test {
	const char *name;
	void (*fn)(void);
} tests[] = {
	{ "open and create", test_open },
	{ "a file opened to be read is not written", test_rights },
	{ "directories", test_directories },
	{ "listing", test_list },
	{ "unlink", test_unlink },
	{ "rename", test_rename },
	{ "reading past the end", test_read_end },
	{ "large files with holes", test_large },
	{ "truncate", test_truncate },
	{ "one lock", test_lock },
	{ "a lock of a file that was removed", test_lock_removed },
	{ "a lock of a process that is killed", test_lock_process },
	{ "submitted operations", test_submit },
	{ "a submitted write that is refused", test_submit_error },
	{ "clocks and chance", test_clocks },
	{ "room", test_free },
};

static bool begin(bool with_loop, size_t nr)
{
	char why[HOME_TEXT_BYTES];

	loop = NULL;
	if (with_loop && loop_create(16, &loop)) {
		puts("no io_uring here");
		return false;
	}
	if (home_open(store, loop, &home, why)) {
		printf("%s: %s\n", store, why);
		return false;
	}
	env = home_env(home);
	home_prepare(home);
	snprintf(base, sizeof(base), "%.400s/%s%zu", home_groups(home),
		 with_loop ? "loop" : "plain", nr);
	CHECK_EQ(env->ops->mkdir(env, base), 0);
	return true;
}

static void end(void)
{
	home_detach(home);
	loop_destroy(loop);
	home_close(home);
}

/* Hold a lock and say so, until killed. */
static int hold(void)
{
	char why[HOME_TEXT_BYTES];
	struct env_file *f;

	if (home_open(store, NULL, &home, why))
		return 1;
	env = home_env(home);
	f = opened("lock", ENV_WRITE);
	if (!f || env->ops->lock(env, f) || write(1, "+", 1) != 1)
		return 1;
	pause();
	return 1;
}

int main(int argc, char **argv)
{
	unsigned int passed = 0, failed = 0;
	char why[HOME_TEXT_BYTES];
	struct home *keeper;

	if (argc == 4 && strcmp(argv[1], "--hold") == 0) {
		store = argv[2];
		snprintf(base, sizeof(base), "%s", argv[3]);
		return hold();
	}
	for (int i = 1; i < argc; i++) {
		store = argv[i];
		/* Connecting takes longer than a test: who holds this one lets them share it. */
		if (home_open(store, NULL, &keeper, why)) {
			printf("%s: %s\n", store, why);
			return 1;
		}
		for (size_t t = 0; t < 2 * sizeof(tests) / sizeof(tests[0]); t++) {
			const struct test *test = &tests[t / 2];

			failure = NULL;
			if (!begin(t % 2, t))
				return 1;
			test->fn();
			end();
			printf("%s %s: %s%s%s%s\n", failure ? "not ok" : "ok", store, test->name,
			       t % 2 ? ", with a loop" : "", failure ? ": " : "",
			       failure ? failure : "");
			failed += !!failure;
			passed += !failure;
		}
		home_close(keeper);
	}
	printf("%u passed, %u failed, 0 skipped\n", passed, failed);
	return failed ? 1 : 0;
}
