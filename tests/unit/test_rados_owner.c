// SPDX-License-Identifier: GPL-2.0-only
/* Who gets a lock, and from whom it is taken: over a stand-in for one object of a cluster. */
#include "unit.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../userspace/rados/cluster.h"
#include "../../userspace/rados/owner.h"
#include "../../userspace/rados/process.h"

#define US	4100
#define OTHER	"client.4200"
#define ADDRESS	"127.0.0.1:0/7"
#define SKIPPED	77

/* The object, and what was asked of the cluster. */
static struct {
	char client[64], cookie[RADOS_OWNER_BYTES];	/* "": nobody has the lock */
	char order[64];		/* f: fenced out, x: lock broken */
	char said[1024];
	int fence_error;
	int unlock_error;	/* it does not get there */
	int lock_error;		/* it does, its answer not back */
} fake;

/* -- librados -- */

uint64_t rados_get_instance_id(rados_t cluster)
{
	return US;
}

int rados_lock_exclusive(rados_ioctx_t io, const char *object, const char *name,
			 const char *cookie, const char *text, struct timeval *duration,
			 uint8_t flags)
{
	assert_null(duration);
	if (*fake.cookie)
		return -EBUSY;
	snprintf(fake.client, sizeof(fake.client), "client.%d", US);
	snprintf(fake.cookie, sizeof(fake.cookie), "%s", cookie);
	return fake.lock_error;
}

static int lock_end(const char *client, const char *cookie)
{
	if (strcmp(client, fake.client) != 0 || strcmp(cookie, fake.cookie) != 0)
		return -ENOENT;
	fake.client[0] = fake.cookie[0] = 0;
	return 0;
}

int rados_unlock(rados_ioctx_t io, const char *object, const char *name, const char *cookie)
{
	char us[64];

	snprintf(us, sizeof(us), "client.%d", US);
	if (fake.unlock_error)
		return fake.unlock_error;
	return lock_end(us, cookie);
}

int rados_break_lock(rados_ioctx_t io, const char *object, const char *name, const char *client,
		     const char *cookie)
{
	strcat(fake.order, "x");
	return lock_end(client, cookie);
}

ssize_t rados_list_lockers(rados_ioctx_t io, const char *object, const char *name, int *exclusive,
			   char *tag, size_t *tag_bytes, char *clients, size_t *client_bytes,
			   char *cookies, size_t *cookie_bytes, char *addresses,
			   size_t *address_bytes)
{
	if (!*fake.cookie)
		return -ENOENT;
	snprintf(clients, *client_bytes, "%s", fake.client);
	snprintf(cookies, *cookie_bytes, "%s", fake.cookie);
	snprintf(addresses, *address_bytes, ADDRESS);
	return 1;
}

/* -- monitors.c, cluster.c -- */

int monitors_fence(struct monitors *m, const char *address)
{
	assert_string_equal(address, ADDRESS);
	strcat(fake.order, "f");
	return fake.fence_error;
}

void cluster_begin(struct cluster *c, struct cluster_request *r)
{
}

int cluster_end(struct cluster *c, struct cluster_request *r, int ret)
{
	return ret;
}

void cluster_say(struct cluster *c, enum env_rados_level level, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fake.said, sizeof(fake.said), format, args);
	va_end(args);
}

/* -- helpers -- */

static struct cluster *begin(void)
{
	static struct cluster c;

	memset(&fake, 0, sizeof(fake));
	memset(&c, 0, sizeof(c));
	LIST_INIT(&c.held);
	pthread_mutex_init(&c.lock, NULL);
	process_self(&c.self);
	/* Some machines that build have none. */
	strcpy(c.self.machine, "m1");
	return &c;
}

static void hold(const char *client, const struct rados_owner *o)
{
	snprintf(fake.client, sizeof(fake.client), "%s", client);
	rados_owner_format(o, fake.cookie);
}

static struct owner_lock taken = { .object = "object" };

static int take(struct cluster *c)
{
	return owner_lock(c, "path", &taken);
}

/* Of a child, with the rights and the mounts that @prepare gave it. */
static void in_child(int (*prepare)(void), int (*body)(uint32_t parent))
{
	uint32_t parent = getpid();
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(prepare() ? SKIPPED : body(parent));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == SKIPPED)
		skip();
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* -- tests -- */

static void a_process_that_ended_is_fenced_before_its_lock_goes(void **state)
{
	struct cluster *c = begin();
	struct rados_owner o = c->self;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	o.pid = pid;
	hold(OTHER, &o);
	assert_int_equal(take(c), 0);
	assert_string_equal(fake.order, "fx");
	assert_non_null(strstr(fake.said, "has ended without giving it back"));
	owner_unlock(c, "path", &taken);

	hold(OTHER, &o);
	fake.fence_error = -EPERM;
	fake.order[0] = 0;
	assert_int_equal(take(c), -EPERM);
	assert_string_equal(fake.order, "f");
	assert_string_equal(fake.client, OTHER);
}

static void one_that_runs_keeps_it(void **state)
{
	struct cluster *c = begin();
	struct rados_owner o = c->self;

	hold(OTHER, &o);
	assert_int_equal(take(c), -EBUSY);
	assert_string_equal(fake.order, "");
	assert_non_null(strstr(fake.said, "which is running"));
	strcpy(fake.cookie, "of somebody else");
	assert_int_equal(take(c), -EBUSY);
	assert_string_equal(fake.order, "");
	assert_non_null(strstr(fake.said, "--takeover"));
}

static void a_zombie_has_ended(void **state)
{
	struct rados_sighting seen;
	siginfo_t info;
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), 0);
	seen = process_look(pid);
	assert_false(seen.exists);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	seen = process_look(getpid());
	assert_true(seen.exists && seen.started);
	seen = process_look(0);
	assert_true(seen.exists && !seen.started);
	seen = process_look(UINT32_MAX);
	assert_true(seen.exists && !seen.started);
}

static int without_proc_of_others(void)
{
	return unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	       mount("proc", "/proc", "proc", 0, "hidepid=2") || setgid(65534) || setuid(65534);
}

/* The parent runs, as somebody else: it may neither be seen nor signalled. */
static int hidden_keeps_it(uint32_t parent)
{
	struct cluster *c = begin();
	struct rados_owner o = c->self;

	o.pid = parent;
	hold(OTHER, &o);
	return !(take(c) == -EBUSY && !*fake.order && strstr(fake.said, "hidepid"));
}

static void one_that_is_not_shown_keeps_it(void **state)
{
	in_child(without_proc_of_others, hidden_keeps_it);
}

static int another_pid_namespace(void)
{
	return unshare(CLONE_NEWPID);
}

/* Our pid is 1 there, and /proc shows another one under it. */
static int proc_of_others_is_not_asked(uint32_t parent)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct rados_sighting seen = process_look(1), none = process_look(parent);

		_exit(!(seen.exists && !seen.started && !none.exists));
	}
	return pid < 0 || waitpid(pid, &status, 0) != pid || status;
}

static void pids_of_another_namespace_are_not_looked_up(void **state)
{
	in_child(another_pid_namespace, proc_of_others_is_not_asked);
}

static void takeover_fences_and_names(void **state)
{
	struct cluster *c = begin();
	struct rados_owner o = c->self;

	assert_int_equal(owner_evict(c, "object", "path"), 0);
	hold(OTHER, &o);
	assert_int_equal(owner_evict(c, "object", "path"), 1);
	assert_string_equal(fake.order, "fx");
	assert_string_equal(fake.cookie, "");
	assert_int_equal(take(c), 0);
	assert_int_equal(owner_evict(c, "object", "path"), 0);
	assert_string_equal(fake.order, "fx");
	owner_unlock(c, "path", &taken);
}

static void a_lock_is_for_one_of_this_process(void **state)
{
	struct owner_lock other = { .object = "object" };
	struct cluster *c = begin();

	assert_int_equal(take(c), 0);
	assert_int_equal(owner_lock(c, "path", &other), -EBUSY);
	assert_string_equal(other.cookie, "");
	owner_unlock(c, "path", &taken);
	assert_string_equal(taken.cookie, "");
	assert_int_equal(owner_lock(c, "path", &other), 0);
	assert_int_equal(take(c), -EBUSY);
	owner_unlock(c, "path", &other);
	assert_string_equal(fake.cookie, "");
}

static void a_lock_that_was_not_given_back_is_taken_again(void **state)
{
	struct cluster *c = begin();

	assert_int_equal(take(c), 0);
	fake.unlock_error = -ETIMEDOUT;
	owner_unlock(c, "path", &taken);
	assert_non_null(strstr(fake.said, "giving back its lock"));
	fake.unlock_error = 0;
	assert_int_equal(take(c), 0);
	assert_string_equal(fake.cookie, taken.cookie);
	assert_string_equal(fake.order, "");
	owner_unlock(c, "path", &taken);
	assert_string_equal(fake.cookie, "");
}

static void a_lock_whose_answer_was_lost_is_taken_again(void **state)
{
	struct cluster *c = begin();

	fake.lock_error = -ETIMEDOUT;
	assert_int_equal(take(c), -ETIMEDOUT);
	assert_string_equal(taken.cookie, "");
	assert_string_not_equal(fake.cookie, "");
	fake.lock_error = 0;
	assert_int_equal(take(c), 0);
	assert_string_equal(fake.cookie, taken.cookie);
	owner_unlock(c, "path", &taken);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_process_that_ended_is_fenced_before_its_lock_goes),
		cmocka_unit_test(one_that_runs_keeps_it),
		cmocka_unit_test(a_zombie_has_ended),
		cmocka_unit_test(one_that_is_not_shown_keeps_it),
		cmocka_unit_test(pids_of_another_namespace_are_not_looked_up),
		cmocka_unit_test(takeover_fences_and_names),
		cmocka_unit_test(a_lock_is_for_one_of_this_process),
		cmocka_unit_test(a_lock_that_was_not_given_back_is_taken_again),
		cmocka_unit_test(a_lock_whose_answer_was_lost_is_taken_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
