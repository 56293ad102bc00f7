// SPDX-License-Identifier: GPL-2.0-only
#include "key_source.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

/* What was read: is wiped with it. */
struct text {
	size_t bytes;
	char data[KEYRING_MAX_TEXT_BYTES];
};

static struct text *text_create(char *why)
{
	struct text *t = calloc(1, sizeof(*t));

	if (!t)
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "out of memory for keys");
	return t;
}

static void text_destroy(struct text *t)
{
	if (t)
		OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

static int text_parse(const struct text *t, const char *what, const char *name,
		      struct keyring **out, char *why)
{
	char reason[KEYRING_TEXT_BYTES];
	int ret = keyring_parse(t->data, t->bytes, out, reason);

	if (ret)
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "%s %.200s: %.200s", what, name, reason);
	return ret;
}

/* What a read() brought: 1 there may be more; 0 that was all; -errno. */
static int text_read(struct text *t, int fd)
{
	ssize_t n;

	if (t->bytes == sizeof(t->data))
		return -EFBIG;
	n = read(fd, t->data + t->bytes, sizeof(t->data) - t->bytes);
	if (n < 0)
		return errno == EINTR ? 1 : -errno;
	t->bytes += n;
	return n > 0;
}

/* -- a file -- */

static int file_check(int fd, const char *path, char *why)
{
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "key file %.200s: not a regular file", path);
		return -EINVAL;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "key file %.200s: belongs to user %u; it must belong to root or to user %u",
			 path, st.st_uid, geteuid());
		return -EPERM;
	}
	if (st.st_mode & 077) {
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "key file %.200s: mode %03o lets others at it; `chmod 600` it, and think of who may have read it",
			 path, st.st_mode & 0777);
		return -EPERM;
	}
	return 0;
}

static int file_load(const char *path, struct keyring **out, char *why)
{
	struct text *t = text_create(why);
	int fd, ret;

	if (!t)
		return -ENOMEM;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ret = fd < 0 ? -errno : 1;
	if (fd < 0)
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "key file %.200s: %s", path, strerror(errno));
	else if (file_check(fd, path, why) < 0)
		ret = -EPERM;
	while (ret > 0) {
		ret = text_read(t, fd);
		if (ret < 0)
			snprintf(why, KEY_SOURCE_TEXT_BYTES, "key file %.200s: %s", path,
				 strerror(-ret));
	}
	if (ret == 0)
		ret = text_parse(t, "key file", path, out, why);
	if (fd >= 0)
		close(fd);
	text_destroy(t);
	return ret;
}

/* -- a command -- */

/* Cut @words at blanks; NULL when there are too many or the first is no absolute path. */
static char **words_cut(char *words, char **argv)
{
	char *save = NULL;
	size_t nr = 0;

	for (char *w = strtok_r(words, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
		if (nr == KEY_COMMAND_MAX_ARGS)
			return NULL;
		argv[nr++] = w;
	}
	argv[nr] = NULL;
	return nr && argv[0][0] == '/' ? argv : NULL;
}

static pid_t command_start(char **argv, int *fd)
{
	int pipe_fds[2], null;
	pid_t pid;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		null = open("/dev/null", O_RDONLY);
		if (dup2(null, STDIN_FILENO) < 0 || dup2(pipe_fds[1], STDOUT_FILENO) < 0)
			_exit(126);
		signal(SIGPIPE, SIG_DFL);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(pipe_fds[1]);
	if (pid < 0)
		close(pipe_fds[0]);
	*fd = pipe_fds[0];
	return pid;
}

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000) + ts.tv_nsec / 1000000;
}

/* All of its output, until it closes it; -ETIMEDOUT; -errno. */
static int command_read(struct text *t, int fd, int64_t end_ms)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLIN };
	int ret = 1;

	while (ret > 0) {
		int64_t left_ms = end_ms - now_ms();
		int ready = left_ms > 0 ? poll(&poll_fd, 1, left_ms) : 0;

		if (ready == 0)
			return -ETIMEDOUT;
		if (ready > 0)
			ret = text_read(t, fd);
		else if (errno != EINTR)
			ret = -errno;
	}
	return ret;
}

/* It has closed its output, or is not wanted any more. */
static int command_end(pid_t pid, bool finished, int64_t end_ms, int *status)
{
	struct pollfd poll_fd = { .fd = finished ? pidfd_open(pid, 0) : -1, .events = POLLIN };
	int64_t left_ms = end_ms - now_ms();
	bool late = false;
	pid_t got;

	if (poll_fd.fd >= 0) {
		late = poll(&poll_fd, 1, left_ms > 0 ? left_ms : 0) <= 0;
		close(poll_fd.fd);
	}
	if (!finished || late)
		kill(-pid, SIGKILL);
	do {
		got = waitpid(pid, status, 0);
	} while (got < 0 && errno == EINTR);
	return got < 0 ? -errno : late ? -ETIMEDOUT : 0;
}

static int command_failed(const char *command, int ret, int status, char *why)
{
	char reason[128];

	if (ret == -ETIMEDOUT)
		snprintf(reason, sizeof(reason), "no end in %d s; it was killed",
			 KEY_COMMAND_TIMEOUT_MS / 1000);
	else if (ret == -EFBIG)
		snprintf(reason, sizeof(reason), "prints more than %d bytes; it was killed",
			 KEYRING_MAX_TEXT_BYTES);
	else if (ret < 0)
		snprintf(reason, sizeof(reason), "%s", strerror(-ret));
	else if (WIFSIGNALED(status))
		snprintf(reason, sizeof(reason), "ended by signal %d", WTERMSIG(status));
	else
		snprintf(reason, sizeof(reason), "ended with exit code %d", WEXITSTATUS(status));
	snprintf(why, KEY_SOURCE_TEXT_BYTES, "key command `%.200s`: %s; run it by hand to see why",
		 command, reason);
	return ret < 0 ? ret : -EKEYREJECTED;
}

static int command_run(const char *command, char **argv, struct text *t, char *why)
{
	int64_t end_ms = now_ms() + KEY_COMMAND_TIMEOUT_MS;
	int fd, ret, status = 0, ended;
	pid_t pid = command_start(argv, &fd);

	if (pid < 0)
		return command_failed(command, -errno, 0, why);
	ret = command_read(t, fd, end_ms);
	close(fd);
	ended = command_end(pid, ret == 0, end_ms, &status);
	if (ret == 0)
		ret = ended;
	if (ret < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		return command_failed(command, ret, status, why);
	return 0;
}

static int command_load(const char *command, struct keyring **out, char *why)
{
	char *argv[KEY_COMMAND_MAX_ARGS + 1], *words = strdup(command);
	struct text *t = text_create(why);
	int ret = -ENOMEM;

	if (words && t) {
		ret = -EINVAL;
		if (!words_cut(words, argv))
			snprintf(why, KEY_SOURCE_TEXT_BYTES, "key command `%.200s`: it must be the absolute path of a program and at most %d arguments, between blanks; there is no shell",
				 command, KEY_COMMAND_MAX_ARGS - 1);
		else
			ret = command_run(command, argv, t, why);
	}
	if (ret == 0)
		ret = text_parse(t, "output of key command", command, out, why);
	text_destroy(t);
	free(words);
	return ret;
}

/* -- */

int key_source_load(const struct key_source *source, struct keyring **out, char *why)
{
	*out = NULL;
	why[0] = 0;
	if (source->file && source->command) {
		snprintf(why, KEY_SOURCE_TEXT_BYTES, "a key file and a key command: only one of them can be had");
		return -EINVAL;
	}
	if (source->file)
		return file_load(source->file, out, why);
	return source->command ? command_load(source->command, out, why) : 0;
}

struct conf {
	char file[PATH_MAX];
	bool command;
};

static int conf_line(void *arg, const char *section, const char *name, const char *value)
{
	struct conf *conf = arg;

	if (strcmp(section, "target") == 0 && strcmp(name, "key_file") == 0)
		snprintf(conf->file, sizeof(conf->file), "%s", value);
	if (strcmp(section, "target") == 0 && strcmp(name, "key_command") == 0)
		conf->command = true;
	return 1;
}

int key_source_for_reader(const struct key_source *given, const char *store,
			  struct keyring **out, char *note, char *why)
{
	struct key_source source = { NULL, NULL };
	struct conf conf = { .file = "" };
	char path[PATH_MAX];

	*out = NULL;
	note[0] = why[0] = 0;
	if (given->file || given->command)
		return key_source_load(given, out, why);
	if (snprintf(path, sizeof(path), "%s/targetd.conf", store) < (int)sizeof(path))
		ini_parse(path, conf_line, &conf);
	source.file = conf.file[0] ? conf.file : NULL;
	if (key_source_load(&source, out, note))
		*out = NULL;
	else if (conf.command)
		snprintf(note, KEY_SOURCE_TEXT_BYTES, "the store's targetd.conf names a key command, which only the target runs");
	return 0;
}
