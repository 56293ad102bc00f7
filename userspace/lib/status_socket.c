// SPDX-License-Identifier: GPL-2.0-only
/* See status_socket.h. */
#include "status_socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEND_BUFFER_BYTES (1 << 20)

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
	struct status_socket *s = (void *)((char *)p - offsetof(struct status_socket, local.poll));
	int fd = accept4(s->local.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	tell(s, fd);
	close(fd);
}

int status_socket_start(struct loop *loop, struct status_socket *s, const char *path,
			json_t *(*make)(void *arg), void *arg)
{
	int fd = local_socket_connect(path, SOCK_STREAM);

	*s = (struct status_socket){ .make = make, .arg = arg };
	if (fd >= 0) {
		close(fd);
		return -EADDRINUSE;
	}
	return local_socket_start(loop, &s->local, path, SOCK_STREAM, on_connect);
}

void status_socket_stop(struct status_socket *s)
{
	local_socket_stop(&s->local);
}

int status_socket_ask(const char *path, json_t **out)
{
	json_error_t error;
	int fd = local_socket_connect(path, SOCK_STREAM);

	if (fd < 0)
		return fd;
	*out = json_loadfd(fd, 0, &error);
	close(fd);
	return *out ? 0 : -EBADMSG;
}
