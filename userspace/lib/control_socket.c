// SPDX-License-Identifier: GPL-2.0-only
/* See control_socket.h. */
#include "control_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 10000

static int address_make(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static void on_request(struct loop_poll *poll, uint32_t events)
{
	struct control_socket *s = (void *)((char *)poll - offsetof(struct control_socket, poll));
	struct sockaddr_un from = { .sun_family = AF_UNIX };
	socklen_t from_bytes = sizeof(from);
	char text[CONTROL_MAX_BYTES];
	ssize_t got = recvfrom(s->fd, text, sizeof(text), 0, (struct sockaddr *)&from, &from_bytes);
	json_t *request, *answer;
	char *out;

	if (got < 0)
		return;
	request = json_loadb(text, got, 0, NULL);
	answer = request ? s->answer(s->arg, request) : NULL;
	out = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	/* Who has gone gets nothing; who does not read gets at most this. */
	if (out)
		sendto(s->fd, out, strlen(out), MSG_DONTWAIT | MSG_NOSIGNAL,
		       (struct sockaddr *)&from, from_bytes);
	free(out);
	json_decref(answer);
	json_decref(request);
}

int control_socket_start(struct loop *loop, struct control_socket *s, const char *path,
			 json_t *(*answer)(void *arg, const json_t *request), void *arg)
{
	struct sockaddr_un address;
	int ret = address_make(path, &address);
	mode_t mask;

	*s = (struct control_socket){ .answer = answer, .arg = arg, .fd = -1 };
	if (ret)
		return ret;
	unlink(path);
	s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	mask = umask(0177);
	ret = bind(s->fd, (struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
	umask(mask);
	if (ret) {
		close(s->fd);
		s->fd = -1;
		return ret;
	}
	strcpy(s->path, path);
	loop_poll_start(loop, &s->poll, s->fd, POLLIN, on_request);
	return 0;
}

void control_socket_stop(struct control_socket *s)
{
	if (!s->path[0])
		return;
	loop_poll_stop(&s->poll);
	close(s->fd);
	unlink(s->path);
	s->path[0] = '\0';
}

static int ask(int fd, const char *path, const char *text, json_t **answer)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char reply[CONTROL_MAX_BYTES];
	struct sockaddr_un address;
	int ret = address_make(path, &address);
	ssize_t got;

	if (ret)
		return ret;
	/* Only the family: the kernel finds a name for us to be answered at. */
	if (bind(fd, (const struct sockaddr *)&any, sizeof(sa_family_t)) ||
	    connect(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return -errno;
	ret = poll(&p, 1, ANSWER_MS);
	if (ret <= 0)
		return ret < 0 ? -errno : -ETIMEDOUT;
	got = recv(fd, reply, sizeof(reply), 0);
	if (got < 0)
		return -errno;
	*answer = json_loadb(reply, got, 0, NULL);
	return *answer ? 0 : -EBADMSG;
}

int control_socket_ask(const char *path, const json_t *request, json_t **answer)
{
	char *text = json_dumps(request, JSON_COMPACT);
	int fd, ret = text ? 0 : -ENOMEM;

	if (!ret && strlen(text) > CONTROL_MAX_BYTES)
		ret = -E2BIG;
	if (ret) {
		free(text);
		return ret;
	}
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ret = fd < 0 ? -errno : ask(fd, path, text, answer);
	if (fd >= 0)
		close(fd);
	free(text);
	return ret;
}
