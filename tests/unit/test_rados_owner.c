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
	char order[64];		/* b: blocklisted, m: map, x: lock broken */
	char said[1024];
	int fence_error;
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
	return 0;
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

int rados_blocklist_add(rados_t cluster, char *address, uint32_t seconds)
{
	assert_string_equal(address, ADDRESS);
	strcat(fake.order, "b");
	return fake.fence_error;
}

int rados_wait_for_latest_osdmap(rados_t cluster)
{
	strcat(fake.order, "m");
	return 0;
}

/* -- cluster.c -- */

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

static int take(struct cluster *c)
{
	struct rados_owner self = c->self;
	char cookie[RADOS_OWNER_BYTES];

	self.nonce = 77;
	rados_owner_format(&self, cookie);
	return owner_lock(c, "object", "path", cookie);
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
	assert_string_equal(fake.order, "bmx");
	assert_non_null(strstr(fake.said, "has ended without giving it back"));

	hold(OTHER, &o);
	fake.fence_error = -EPERM;
	fake.order[0] = 0;
	assert_int_equal(take(c), -EPERM);
	assert_string_equal(fake.order, "b");
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
	assert_string_equal(fake.order, "bmx");
	assert_string_equal(fake.cookie, "");
	assert_int_equal(take(c), 0);
	assert_int_equal(owner_evict(c, "object", "path"), 0);
	assert_string_equal(fake.order, "bmx");
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
