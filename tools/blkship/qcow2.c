// SPDX-License-Identifier: GPL-2.0-only
/*
 * qcow2: a captive nbdkit serves the volume, qemu-img reads it and writes the image.
 *
 * qemu-img knows the format better than we would; it asks for extents, so that what is
 * zero takes no space. Blocks that do not check are I/O errors, which end it.
 */
#include "qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../userspace/lib/seq.h"
#include "cli.h"
#include "mapping.h"

/* In a shell of nbdkit's: the path comes in the environment, whatever is in it. */
#define CONVERT "exec qemu-img convert %s -f raw -O qcow2 \"$uri\" \"file:$BLKSHIP_IMAGE\""

static void __attribute__((noreturn)) child(const struct qcow2_request *q)
{
	char plugin[PATH_MAX], store[PATH_MAX], group[80], point[64], volume[80], convert[160];
	char key[PATH_MAX + 16];
	/* The key last: there may be none. */
	char *argv[] = { "nbdkit", "--exit-with-parent", "-U", "-", "--run", convert, plugin, store,
			 group, point, volume, q->force ? "force=true" : "force=false",
			 mapping_key_argument(&q->keys, key, sizeof(key)), NULL };
	/* Progress goes where ours does; a result is for standard output. */
	bool terminal = isatty(STDERR_FILENO);

	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	mapping_plugin(plugin);
	snprintf(store, sizeof(store), "store=%s", q->store);
	snprintf(group, sizeof(group), "group=%s", q->group);
	snprintf(point, sizeof(point), "point=seq:%u:%llu", seq_incarnation(q->seq),
		 (unsigned long long)seq_number(q->seq));
	snprintf(volume, sizeof(volume), "volume=%s", q->volume);
	snprintf(convert, sizeof(convert), CONVERT, terminal ? "-p" : "");
	setenv("BLKSHIP_IMAGE", q->path, 1);
	execvp(argv[0], argv);
	fprintf(stderr, "nbdkit: %s\n", strerror(errno));
	_exit(127);
}

static int sync_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

int qcow2_write(const struct qcow2_request *q)
{
	int status, fd, ret;
	pid_t pid;

	/* Ours, and for nobody else, before anything is in it. */
	fd = open(q->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return cli_fail(CLI_FAILED, "%s: %s; it was not written", q->path, strerror(errno));
	close(fd);
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		child(q);
	while (pid > 0 && waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			pid = -1;
	if (pid < 0)
		return cli_fail(CLI_FAILED, "%s: no process: %s; it is not whole", q->path, strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return cli_fail(CLI_FAILED, "volume %s: no qcow2 image could be made of it, see above; nothing is left of it; the packages nbdkit, nbdkit-blkship and qemu-utils are needed; without --format raw images are made",
				q->volume);
	ret = sync_file(q->path);
	return ret == 0 ? CLI_DONE : cli_fail(CLI_FAILED, "%s: %s; it is not whole; check the disk and restore again",
					      q->path, strerror(-ret));
}
