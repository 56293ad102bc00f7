// SPDX-License-Identifier: GPL-2.0-only
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOG_MAX_BYTES	(1u << 20)
#define NOT_FOUND	127	/* exit status, as a shell has it */

static void path_of(char *path, const char *dir, const char *name, const char *suffix)
{
	snprintf(path, PATH_MAX, "%s/%s.%s", dir, name, suffix);
}

/* -- who it is: a pid is used again, a pid with its start time is not -- */

struct identity {
	int pid;
	unsigned long long start;	/* ticks since boot */
};

static int start_time(int pid, unsigned long long *start)
{
	char path[40], text[1024];
	char *at;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	text[n] = 0;
	at = strrchr(text, ')');	/* the name before it may hold anything */
	/* Field 22; the one behind the name is the third. A zombie has ended. */
	if (!at || at[2] == 'Z' ||
	    sscanf(at + 2, "%*c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu",
		   start) != 1)
		return -ESRCH;
	return 0;
}

static int identity_read(const char *dir, const char *name, struct identity *id)
{
	char path[PATH_MAX];
	FILE *f;
	int nr;

	path_of(path, dir, name, "proc");
	f = fopen(path, "re");
	if (!f)
		return -errno;
	nr = fscanf(f, "%d %llu", &id->pid, &id->start);
	fclose(f);
	return nr == 2 && id->pid > 1 ? 0 : -ESRCH;
}

static bool identity_lives(const struct identity *id)
{
	unsigned long long start;

	return start_time(id->pid, &start) == 0 && start == id->start;
}

/* In the child. */
static int identity_write(const char *dir, const char *name)
{
	unsigned long long start;
	char path[PATH_MAX];
	FILE *f;

	path_of(path, dir, name, "proc");
	if (start_time(getpid(), &start) < 0)
		return -ESRCH;
	f = fopen(path, "we");
	if (!f)
		return -errno;
	fprintf(f, "%d %llu\n", getpid(), start);
	return fclose(f) == 0 ? 0 : -errno;
}

/* -- starting -- */

static int pidfd_open_pid(int pid)
{
	return syscall(SYS_pidfd_open, pid, 0);
}

static void __attribute__((noreturn)) child(const char *dir, const char *name, char *const argv[], bool writes_files)
{
	struct rlimit limit = { LOG_MAX_BYTES, LOG_MAX_BYTES };
	char path[PATH_MAX];
	int null, log;

	umask(077);
	setsid();
	path_of(path, dir, name, "log");
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	log = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
	if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
		_exit(1);
	if (identity_write(dir, name) < 0) {
		perror("its process cannot be noted");
		_exit(1);
	}
	if (!writes_files) {
		signal(SIGXFSZ, SIG_IGN);
		setrlimit(RLIMIT_FSIZE, &limit);
	}
	/* What it allocates must not wait for pages that are written to it. */
	if (writes_files)
		prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], errno == ENOENT ? "not installed here" : strerror(errno));
	_exit(NOT_FOUND);
}

/* The last lines that it said, on one line. */
static void log_end(int fd, char *why)
{
	char text[HELPER_TEXT_BYTES];
	off_t size = lseek(fd, 0, SEEK_END);
	off_t from = size > HELPER_TEXT_BYTES - 1 ? size - (HELPER_TEXT_BYTES - 1) : 0;
	ssize_t n = pread(fd, text, sizeof(text) - 1, from);

	while (n > 0 && text[n - 1] == '\n')
		n--;
	if (n <= 0) {
		snprintf(why, HELPER_TEXT_BYTES, "it ended without a word");
		return;
	}
	/* It may quote what others wrote. */
	for (ssize_t i = 0; i < n; i++)
		why[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? ' ' : text[i];
	why[n] = 0;
}

static void say_log(const char *dir, const char *name, char *why)
{
	char path[PATH_MAX];
	int fd;

	path_of(path, dir, name, "log");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(why, HELPER_TEXT_BYTES, "%.400s: %s", path, strerror(errno));
		return;
	}
	log_end(fd, why);
	close(fd);
}

/* Until the program has written its pid, or has ended. */
static int wait_ready(const char *path, int watch, int process)
{
	struct pollfd fds[] = { { .fd = watch, .events = POLLIN }, { .fd = process, .events = POLLIN } };
	char events[4096];

	while (access(path, F_OK) < 0) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return -errno;
		if (fds[1].revents)
			return -EPROTO;
		if (fds[0].revents && read(watch, events, sizeof(events)) < 0 && errno != EAGAIN)
			return -errno;
	}
	return 0;
}

/*
 * nbdkit in the foreground ends with its parent. So the parent of the program is one
 * that has ended before the program begins.
 */
static void wait_orphaned(pid_t parent)
{
	struct pollfd fd = { .events = POLLIN };

	if (getppid() != parent)
		return;
	fd.fd = pidfd_open_pid(parent);
	while (fd.fd >= 0 && poll(&fd, 1, -1) < 0 && errno == EINTR)
		;
	if (fd.fd >= 0)
		close(fd.fd);
}

/* A process that is nobody's child any more; *process: a descriptor of it. */
static int start_orphan(const char *dir, const char *name, char *const argv[], bool writes_files,
			int *process)
{
	pid_t between, pid = 0;
	int fds[2], ret = 0;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	between = fork();
	if (between == 0) {
		pid_t parent = getpid();

		pid = fork();
		if (pid == 0) {
			wait_orphaned(parent);
			child(dir, name, argv, writes_files);
		}
		_exit(pid < 0 || write(fds[1], &pid, sizeof(pid)) < 0);
	}
	close(fds[1]);
	if (between < 0 || read(fds[0], &pid, sizeof(pid)) != sizeof(pid))
		ret = -EAGAIN;
	close(fds[0]);
	if (between > 0)
		waitpid(between, NULL, 0);
	if (ret == 0) {
		*process = pidfd_open_pid(pid);
		if (*process < 0)
			ret = -errno;
	}
	return ret;
}

int helper_start(const char *dir, const char *name, char *const argv[], bool writes_files,
		 char *why)
{
	int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), process = -1, ret = 0;
	char path[PATH_MAX];

	path_of(path, dir, name, "pid");
	if (watch < 0 || inotify_add_watch(watch, dir, IN_CREATE | IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
		ret = -errno;
		snprintf(why, HELPER_TEXT_BYTES, "%.400s cannot be watched: %s", dir, strerror(-ret));
		goto out;
	}
	ret = start_orphan(dir, name, argv, writes_files, &process);
	if (ret < 0 && ret != -ESRCH) {
		snprintf(why, HELPER_TEXT_BYTES, "no process: %s", strerror(-ret));
		goto out;
	}
	if (ret == 0)
		ret = wait_ready(path, watch, process);
	if (ret < 0) {
		if (process >= 0)
			syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
		say_log(dir, name, why);
	}
out:
	if (process >= 0)
		close(process);
	if (watch >= 0)
		close(watch);
	return ret;
}

/* -- ending -- */

int helper_pid(const char *dir, const char *name)
{
	struct identity id;

	return identity_read(dir, name, &id) == 0 && identity_lives(&id) ? id.pid : 0;
}

static bool ended(const struct identity *id, int process, int timeout_ms)
{
	struct pollfd fd = { .fd = process, .events = POLLIN };

	while (poll(&fd, 1, timeout_ms) < 0)
		if (errno != EINTR)
			return !identity_lives(id);
	return fd.revents;
}

int helper_stop(const char *dir, const char *name, int patience_ms)
{
	struct identity id;
	int process, ret;

	ret = identity_read(dir, name, &id);
	if (ret < 0)
		return ret == -ENOENT || ret == -ESRCH ? 0 : ret;
	process = pidfd_open_pid(id.pid);
	if (process < 0)
		return errno == ESRCH ? 0 : -errno;
	/* Looked at with the process in hand: from here on it is no other. */
	if (identity_lives(&id)) {
		syscall(SYS_pidfd_send_signal, process, SIGTERM, NULL, 0);
		if (!ended(&id, process, patience_ms)) {
			syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
			ended(&id, process, -1);
		}
	}
	close(process);
	return 0;
}
