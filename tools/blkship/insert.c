// SPDX-License-Identifier: GPL-2.0-only
/*
 * insert - see insert.h.
 *
 * The device may be the root of this very process. So between suspend and resume
 * nothing of ours runs: the kernel does both, and the change of tables, in one call
 * that needs no memory of ours. It gives up when what is in flight does not end, and
 * a guard, a second process that has all it needs in memory, puts things back should
 * this one be killed.
 */
#include "insert.h"

#include <errno.h>
#include <libdevmapper.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define SECTOR_BYTES	512
#define UUID_BYTES	(16 + 2 * BLKSHIP_NAME_BYTES)
#define SUFFIX		"-blkship"
/* What writes has to wait as long as we do. */
#define SWITCH_TIMEOUT_S 20

/* Targets that keep nothing of their own: a second one on the same blocks is the same. */
static const char *const movable[] = {
	"linear", "striped", "crypt", "delay", "flakey", "error", "zero",
};

/* Names have no colon. */
static void hidden_uuid(char *uuid, const char *group, const char *volume)
{
	snprintf(uuid, UUID_BYTES, "BLKSHIP-%s:%s", group, volume);
}

/* -- what can be done -- */

bool insert_applies(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode) && dm_is_dm_major(major(st.st_rdev));
}

static bool is_movable(const char *type)
{
	for (size_t i = 0; i < sizeof(movable) / sizeof(movable[0]); i++)
		if (strcmp(movable[i], type) == 0)
			return true;
	return false;
}

static int table_check(const struct dmdev_table *table, char *why)
{
	for (size_t i = 0; i < table->nr; i++) {
		if (is_movable(table->lines[i].type))
			continue;
		snprintf(why, DM_TEXT_BYTES, "its table has a target %.40s, which cannot be moved",
			 table->lines[i].type);
		return -EOPNOTSUPP;
	}
	if (table->nr)
		return 0;
	snprintf(why, DM_TEXT_BYTES, "it has no table");
	return -EOPNOTSUPP;
}

static int device_check(const struct dmdev_info *info, char *why)
{
	const char *what = info->suspended ? "it is suspended" :
			   info->next_table ? "another table is loaded for it" :
			   info->read_only ? "it is read-only" : NULL;

	if (!what && strlen(info->name) + sizeof(SUFFIX) > DM_NAME_BYTES)
		what = "its name is too long";
	if (!what)
		return 0;
	snprintf(why, DM_TEXT_BYTES, "%s", what);
	return -EOPNOTSUPP;
}

int insert_prepare(const char *path, struct insert *in, char *why)
{
	struct dmdev_info info;
	struct stat st;
	int ret;

	in->in_use = false;
	if (stat(path, &st) < 0) {
		snprintf(why, DM_TEXT_BYTES, "%s", strerror(errno));
		return -errno;
	}
	ret = dmdev_info_of_number(major(st.st_rdev), minor(st.st_rdev), &info, why);
	in->in_use = ret == 0 && info.open_count > 0;
	if (ret == 0)
		ret = device_check(&info, why);
	if (ret == 0)
		ret = dmdev_table_read(info.name, &in->old, why);
	if (ret < 0)
		return ret;
	ret = table_check(&in->old, why);
	if (ret < 0) {
		insert_fini(in);
		return ret;
	}
	snprintf(in->name, sizeof(in->name), "%s", info.name);
	in->size_bytes = 0;
	for (size_t i = 0; i < in->old.nr; i++)
		in->size_bytes += in->old.lines[i].sectors * SECTOR_BYTES;
	return 0;
}

void insert_fini(struct insert *in)
{
	dmdev_table_free(&in->old);
}

/* -- the switch -- */

/* Nothing that this process needs may have to be read from, or freed by writing to, it. */
static void process_harden(void)
{
	mlockall(MCL_CURRENT | MCL_FUTURE);
	prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
}

/* Should it be suspended, it is on its old table, and runs; no new one is left behind. */
static void switch_undo(const char *name, const struct dmdev_table *old)
{
	char why[DM_TEXT_BYTES];
	struct dmdev_info info;

	if (dmdev_info(name, NULL, &info, why) == 0 && info.suspended) {
		dmdev_load(name, old, why);
		dmdev_switch(name, why);
	}
	dmdev_clear(name);
}

struct guard {
	pid_t pid;
	int fd;
};

/*
 * Does nothing as long as we live. @hidden: of an insertion, goes with it; NULL when
 * tables are switched back: then it is in use for as long as that is undone.
 */
static void guard_main(int fd, const char *name, const struct dmdev_table *old,
		       const char *hidden)
{
	char why[DM_TEXT_BYTES], byte;
	ssize_t n;

	process_harden();
	n = write(fd, "", 1);		/* ready */
	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) {
		switch_undo(name, old);
		if (hidden)
			dmdev_remove(hidden, why);
	}
	_exit(0);
}

static int guard_start(struct guard *g, const char *name, const struct dmdev_table *old,
		       const char *hidden)
{
	int ends[2], ret;
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	fflush(NULL);
	g->pid = fork();
	if (g->pid == 0) {
		close(ends[1]);
		setsid();		/* what ends our session is not meant for it */
		guard_main(ends[0], name, old, hidden);
	}
	ret = g->pid < 0 ? -errno : 0;
	close(ends[0]);
	g->fd = ends[1];
	if (ret == 0 && read(g->fd, &byte, 1) != 1)
		ret = -ECHILD;
	if (ret)
		close(g->fd);
	return ret;
}

static void guard_stop(struct guard *g)
{
	send(g->fd, "", 1, MSG_NOSIGNAL);	/* unless it is gone already */
	close(g->fd);
	while (waitpid(g->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void on_alarm(int sig)
{
	(void)sig;	/* the call ends with EINTR */
}

/* With signals blocked but for the alarm that bounds it. */
static int switch_bounded(const char *name, char *why)
{
	struct sigaction action = { .sa_handler = on_alarm }, before;
	sigset_t all, saved;
	int ret;

	sigfillset(&all);
	sigdelset(&all, SIGALRM);
	sigprocmask(SIG_SETMASK, &all, &saved);
	sigaction(SIGALRM, &action, &before);
	alarm(SWITCH_TIMEOUT_S);
	ret = dmdev_switch(name, why);
	alarm(0);
	sigaction(SIGALRM, &before, NULL);
	sigprocmask(SIG_SETMASK, &saved, NULL);
	if (ret == -EINTR)
		snprintf(why, DM_TEXT_BYTES, "what is in flight on it did not end within %d s",
			 SWITCH_TIMEOUT_S);
	return ret;
}

/* To the table that is loaded; on failure @old is in use. */
static int switch_tables(const char *name, const struct dmdev_table *old, const char *hidden,
			 char *why)
{
	struct guard guard = { .fd = -1 };
	int ret;

	process_harden();
	ret = guard_start(&guard, name, old, hidden);
	if (ret < 0) {
		snprintf(why, DM_TEXT_BYTES, "no guard could be started: %s", strerror(-ret));
		dmdev_clear(name);
		return ret;
	}
	ret = switch_bounded(name, why);
	if (ret < 0)
		switch_undo(name, old);
	guard_stop(&guard);
	return ret;
}

/* -- put, and take away -- */

static int hidden_make(const struct insert *in, const char *group, const char *volume,
		       struct dmdev_info *hidden, char *why)
{
	char uuid[UUID_BYTES], name[DM_NAME_BYTES + sizeof(SUFFIX)];
	int ret;

	hidden_uuid(uuid, group, volume);
	if (dmdev_info(NULL, uuid, hidden, why) == 0) {
		if (hidden->open_count) {
			snprintf(why, DM_TEXT_BYTES, "the volume is there already, with %.80s",
				 hidden->name);
			return -EEXIST;
		}
		/* Left when somebody loaded a table without blkship. */
		dmdev_remove(hidden->name, why);
	}
	snprintf(name, sizeof(name), "%s%s", in->name, SUFFIX);
	ret = dmdev_create_hidden(name, uuid, &in->old, why);
	return ret < 0 ? ret : dmdev_info(name, NULL, hidden, why);
}

int insert_put(const struct insert *in, const char *group, const char *volume, char *why)
{
	struct dmdev_line line = { .sectors = in->size_bytes / SECTOR_BYTES, .type = "blkship" };
	const struct dmdev_table table = { .lines = &line, .nr = 1 };
	char params[128], ignored[DM_TEXT_BYTES];
	struct dmdev_info hidden;
	int ret = hidden_make(in, group, volume, &hidden, why);

	if (ret < 0)
		return ret;
	snprintf(params, sizeof(params), "%u:%u 0 %s %s", hidden.major, hidden.minor, group, volume);
	line.params = params;
	ret = dmdev_load(in->name, &table, why);
	if (ret == 0)
		ret = switch_tables(in->name, &in->old, hidden.name, why);
	if (ret < 0)
		dmdev_remove(hidden.name, ignored);
	return ret;
}

bool insert_is_at(const char *name, const char *group, const char *volume)
{
	char uuid[UUID_BYTES], why[DM_TEXT_BYTES], number[32];
	struct dmdev_info hidden;
	struct dmdev_table table;
	bool is = false;

	hidden_uuid(uuid, group, volume);
	if (dmdev_info(NULL, uuid, &hidden, why) < 0 || dmdev_table_read(name, &table, why) < 0)
		return false;
	snprintf(number, sizeof(number), "%u:%u ", hidden.major, hidden.minor);
	for (size_t i = 0; i < table.nr; i++)
		is |= strncmp(table.lines[i].params, number, strlen(number)) == 0;
	dmdev_table_free(&table);
	return is;
}

int insert_take_away(const char *name, const char *group, const char *volume, char *why)
{
	struct dmdev_table own = { .nr = 0 }, ours = { .nr = 0 };
	char uuid[UUID_BYTES];
	struct dmdev_info hidden;
	int ret;

	hidden_uuid(uuid, group, volume);
	ret = dmdev_info(NULL, uuid, &hidden, why);
	if (ret == 0)
		ret = dmdev_table_read(hidden.name, &own, why);
	if (ret == 0)
		ret = dmdev_table_read(name, &ours, why);
	if (ret == 0)
		ret = dmdev_load(name, &own, why);
	if (ret == 0)
		ret = switch_tables(name, &ours, NULL, why);
	dmdev_table_free(&own);
	dmdev_table_free(&ours);
	/* The daemon has it open for reading back, for a moment yet. */
	return ret == 0 ? dmdev_remove_unused(hidden.name, why) : ret;
}

bool insert_above(uint32_t major, uint32_t minor, char *name)
{
	char why[DM_TEXT_BYTES];
	struct dmdev_info info;
	size_t len;

	if (!dm_is_dm_major(major) || dmdev_info_of_number(major, minor, &info, why) < 0)
		return false;
	len = strlen(info.name);
	if (len < sizeof(SUFFIX) || strcmp(info.name + len - strlen(SUFFIX), SUFFIX) != 0)
		return false;
	snprintf(name, DM_NAME_BYTES, "%.*s", (int)(len - strlen(SUFFIX)), info.name);
	return true;
}

void insert_clean_up(const char *group, const char *volume)
{
	char uuid[UUID_BYTES], why[DM_TEXT_BYTES];
	struct dmdev_info hidden;

	hidden_uuid(uuid, group, volume);
	if (dmdev_info(NULL, uuid, &hidden, why) == 0)
		dmdev_remove_unused(hidden.name, why);
}
