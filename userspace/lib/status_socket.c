// SPDX-License-Identifier: GPL-2.0-only
/* See status_socket.h. */
#include "status_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEND_BUFFER_BYTES (1 << 20)

static int address_make(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static int dial(const char *path)
{
	struct sockaddr_un address;
	int fd, ret = address_make(path, &address);

	if (ret)
		return ret;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/*
 * One write into a buffer that is large enough for any document of ours: a client
 * that does not read cannot hold the daemon up.
 */
static void tell(struct status_socket *s, int fd)
{
	const int room = SEND_BUFFER_BYTES;
	json_t *document = s->make(s->arg);
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;

	if (text) {
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof(room));
		send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
		send(fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
	free(text);
	json_decref(document);
}

static void on_connect(struct loop_poll *p, uint32_t events)
{
	struct status_socket *s = (void *)((char *)p - offsetof(struct status_socket, poll));
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	tell(s, fd);
	close(fd);
}

int status_socket_start(struct loop *loop, struct status_socket *s, const char *path,
			json_t *(*make)(void *arg), void *arg)
{
	struct sockaddr_un address;
	int ret = address_make(path, &address), fd;
	mode_t mask;

	*s = (struct status_socket){ .make = make, .arg = arg, .fd = -1 };
	if (ret)
		return ret;
	fd = dial(path);
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE;
	}
	unlink(path);
	s->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	mask = umask(0177);
	ret = bind(s->fd, (struct sockaddr *)&address, sizeof(address));
	if (ret)
		ret = -errno;
	umask(mask);
	if (!ret && listen(s->fd, 8))
		ret = -errno;
	if (ret) {
		close(s->fd);
		s->fd = -1;
		return ret;
	}
	strcpy(s->path, path);
	loop_poll_start(loop, &s->poll, s->fd, POLLIN, on_connect);
	return 0;
}

void status_socket_stop(struct status_socket *s)
{
	if (!s->path[0])
		return;
	loop_poll_stop(&s->poll);
	close(s->fd);
	unlink(s->path);
	s->path[0] = '\0';
}

int status_socket_ask(const char *path, json_t **out)
{
	json_error_t error;
	int fd = dial(path);

	if (fd < 0)
		return fd;
	*out = json_loadfd(fd, 0, &error);
	close(fd);
	return *out ? 0 : -EBADMSG;
}
