// SPDX-License-Identifier: GPL-2.0-only
#include "qcow2.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nbd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../userspace/lib/local_socket.h"
#include "cli.h"
#include "nbd_handshake.h"

#define NOT_FOUND	127	/* exit status, as a shell has it */
#define LISTEN_FD	3	/* where who is handed sockets looks for them */
#define IMAGE_BYTES	(PATH_MAX + 8)
#define MAX_UNANSWERED	16	/* as many as qemu-nbd does at a time */

struct connection {
	int fd;
	unsigned int nr_unanswered;
};

struct qcow2 {
	pid_t pid;
	unsigned int nr;
	struct connection connections[];
};

/* What is before a colon would be a protocol. */
static void image_name(char *image, const char *path)
{
	snprintf(image, IMAGE_BYTES, "file:%s", path);
}

/* Ends with us; what it says is no result of ours. */
static void __attribute__((noreturn)) become(char *const argv[])
{
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	execvp(argv[0], argv);
	fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
	_exit(NOT_FOUND);
}

/* The exit status, or -errno. */
static int wait_for(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -EINTR;
}

static int run(char *const argv[])
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		become(argv);
	return pid < 0 ? -errno : wait_for(pid);
}

static int no_qemu(const char *path)
{
	return cli_fail(CLI_FAILED, "%s: no qcow2 image could be made, see above; the package qemu-utils is needed; without --format raw images are made",
			path);
}

int qcow2_create(const char *path, uint64_t size_bytes)
{
	char image[IMAGE_BYTES], size[24];
	char *argv[] = { "qemu-img", "create", "-q", "-f", "qcow2", image, size, NULL };

	image_name(image, path);
	snprintf(size, sizeof(size), "%llu", (unsigned long long)size_bytes);
	return run(argv) == 0 ? CLI_DONE : no_qemu(path);
}

int qcow2_mend(const char *path)
{
	char image[IMAGE_BYTES];
	char *argv[] = { "qemu-img", "check", "-q", "-f", "qcow2", "-r", "leaks", image, NULL };
	int status;

	image_name(image, path);
	status = run(argv);
	if (status == 0)
		return CLI_DONE;
	if (status == NOT_FOUND)
		return no_qemu(path);
	return cli_fail(CLI_REFUSED, "%s is damaged, see above; nothing was written; begin anew with --force and without --resume",
			path);
}

/* -- starting -- */

/* A socket that is listened on, and connections to it; its name is gone when this returns. */
static int connect_all(struct qcow2 *q, int *listening)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char dir[] = "/tmp/blkship-XXXXXX";
	int ret = 0;

	if (!mkdtemp(dir))
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/nbd", dir);
	*listening = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (*listening < 0 || bind(*listening, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    listen(*listening, q->nr) < 0)
		ret = -errno;
	for (unsigned int i = 0; i < q->nr && !ret; i++) {
		q->connections[i].fd = local_socket_connect(address.sun_path, SOCK_STREAM);
		if (q->connections[i].fd < 0)
			ret = q->connections[i].fd;
	}
	unlink(address.sun_path);
	rmdir(dir);
	return ret;
}

static void __attribute__((noreturn)) serve(const char *path, int lock, int listening, unsigned int nr)
{
	char image[IMAGE_BYTES], shared[24], pid[16];
	char *argv[] = { "qemu-nbd", "--format=qcow2", "--cache=writeback", "--detect-zeroes=on",
			 shared, image, NULL };

	image_name(image, path);
	snprintf(shared, sizeof(shared), "--shared=%u", nr);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_PID", pid, 1);
	/* Neither may be closed by becoming qemu-nbd; the lock is not in the socket's place. */
	lock = fcntl(lock, F_DUPFD, LISTEN_FD + 1);
	if (lock < 0 || (listening == LISTEN_FD ? fcntl(listening, F_SETFD, 0) :
						dup2(listening, LISTEN_FD)) < 0)
		_exit(NOT_FOUND);
	become(argv);
}

static int shake_hands(const struct qcow2 *q, const char *path, uint64_t size_bytes)
{
	struct nbd_export is;
	int ret;

	for (unsigned int i = 0; i < q->nr; i++) {
		ret = nbd_shake_hands(q->connections[i].fd, "", &is);
		if (ret < 0) {
			fprintf(stderr, "blkship: qemu-nbd: %s\n", strerror(-ret));
			return no_qemu(path);
		}
	}
	if (is.size_bytes == size_bytes)
		return CLI_DONE;
	return cli_fail(CLI_REFUSED, "%s is an image of %llu bytes, not of %llu; nothing was written; begin anew with --force and without --resume",
			path, (unsigned long long)is.size_bytes, (unsigned long long)size_bytes);
}

int qcow2_open(const char *path, int lock, uint64_t size_bytes, unsigned int nr, struct qcow2 **out)
{
	struct qcow2 *q = malloc(sizeof(*q) + nr * sizeof(q->connections[0]));
	int listening = -1, ret;

	if (!q)
		return cli_fail(CLI_FAILED, "out of memory; nothing was written");
	q->pid = -1;
	q->nr = nr;
	for (unsigned int i = 0; i < nr; i++)
		q->connections[i] = (struct connection){ .fd = -1 };
	ret = connect_all(q, &listening);
	if (!ret) {
		q->pid = fork();
		if (q->pid == 0)
			serve(path, lock, listening, nr);
		ret = q->pid < 0 ? -errno : 0;
	}
	/* Ours closed, connections are when it ends. */
	if (listening >= 0)
		close(listening);
	ret = ret ? cli_fail(CLI_FAILED, "%s: no connection to a qemu-nbd: %s; nothing was written", path,
			     strerror(-ret)) : shake_hands(q, path, size_bytes);
	if (ret == CLI_DONE)
		*out = q;
	else
		qcow2_close(q);
	return ret;
}

/*
 * -- requests --
 *
 * A write is not waited for: what fails is told by a later one, or by the flush, without which
 * nothing is known to be written anyway.
 */

static int send_all(int fd, struct iovec *parts, size_t nr)
{
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = nr };

	while (message.msg_iovlen) {
		ssize_t n = sendmsg(fd, &message, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		while (message.msg_iovlen && (size_t)n >= message.msg_iov->iov_len) {
			n -= message.msg_iov->iov_len;
			message.msg_iov++;
			message.msg_iovlen--;
		}
		if (message.msg_iovlen) {
			message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + n;
			message.msg_iov->iov_len -= n;
		}
	}
	return 0;
}

/* However long that takes: a flush writes what the machine had in memory. */
static int answer(int fd)
{
	struct nbd_reply reply;
	size_t done = 0;

	while (done < sizeof(reply)) {
		ssize_t n = recv(fd, (char *)&reply + done, sizeof(reply) - done, 0);

		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += n;
	}
	if (be32toh(reply.magic) != NBD_REPLY_MAGIC)
		return -EPROTO;
	return -(int)be32toh(reply.error);	/* the numbers are Linux's */
}

static int ask(int fd, uint32_t type, const void *buf, size_t bytes, uint64_t offset_bytes)
{
	struct nbd_request request = {
		.magic = htobe32(NBD_REQUEST_MAGIC), .type = htobe32(type),
		.from = htobe64(offset_bytes), .len = htobe32(bytes),
	};
	struct iovec parts[] = { { &request, sizeof(request) }, { (void *)buf, bytes } };

	return send_all(fd, parts, 2);
}

/* Until no more than so many are open; the first error. */
static int settle(struct connection *c, unsigned int nr)
{
	int first = 0;

	while (c->nr_unanswered > nr && !first) {
		first = answer(c->fd);
		c->nr_unanswered--;
	}
	return first;
}

int qcow2_write(struct qcow2 *q, unsigned int connection, const void *buf, size_t bytes,
		uint64_t offset_bytes)
{
	struct connection *c = &q->connections[connection];
	int ret = settle(c, MAX_UNANSWERED - 1);

	if (!ret)
		ret = ask(c->fd, NBD_CMD_WRITE, buf, bytes, offset_bytes);
	c->nr_unanswered += !ret;
	return ret;
}

int qcow2_flush(struct qcow2 *q, unsigned int connection)
{
	struct connection *c = &q->connections[connection];
	int ret = settle(c, 0);

	if (!ret)
		ret = ask(c->fd, NBD_CMD_FLUSH, NULL, 0, 0);
	return ret ? ret : answer(c->fd);
}

int qcow2_close(struct qcow2 *q)
{
	int status = 0;

	if (!q)
		return 0;
	for (unsigned int i = 0; i < q->nr; i++) {
		struct connection *c = &q->connections[i];

		if (c->fd < 0)
			continue;
		ask(c->fd, NBD_CMD_DISC, NULL, 0, 0);
		close(c->fd);
	}
	if (q->pid > 0)
		status = wait_for(q->pid);
	free(q);
	return status > 0 ? -EIO : status;
}
