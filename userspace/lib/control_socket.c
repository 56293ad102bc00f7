// SPDX-License-Identifier: GPL-2.0-only
/* See control_socket.h. */
#include "control_socket.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MS 10000

static void on_request(struct loop_poll *poll, uint32_t events)
{
	struct control_socket *s =
		(void *)((char *)poll - offsetof(struct control_socket, local.poll));
	struct sockaddr_un from = { .sun_family = AF_UNIX };
	socklen_t from_bytes = sizeof(from);
	char text[CONTROL_MAX_BYTES];
	ssize_t got = recvfrom(s->local.fd, text, sizeof(text), 0, (struct sockaddr *)&from,
			       &from_bytes);
	json_t *request, *answer;
	char *out;

	if (got < 0)
		return;
	request = json_loadb(text, got, 0, NULL);
	answer = request ? s->answer(s->arg, request) : NULL;
	out = answer ? json_dumps(answer, JSON_COMPACT) : NULL;
	/* Who has gone gets nothing; who does not read gets at most this. */
	if (out)
		sendto(s->local.fd, out, strlen(out), MSG_DONTWAIT | MSG_NOSIGNAL,
		       (struct sockaddr *)&from, from_bytes);
	free(out);
	json_decref(answer);
	json_decref(request);
}

int control_socket_start(struct loop *loop, struct control_socket *s, const char *path,
			 json_t *(*answer)(void *arg, const json_t *request), void *arg)
{
	*s = (struct control_socket){ .answer = answer, .arg = arg };
	return local_socket_start(loop, &s->local, path, SOCK_DGRAM, on_request);
}

void control_socket_stop(struct control_socket *s)
{
	local_socket_stop(&s->local);
}

static int ask(int fd, const char *text, json_t **answer)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char reply[CONTROL_MAX_BYTES];
	ssize_t got;

	if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return -errno;
	/* It was asked: whatever goes wrong from here on, it may be doing it. */
	if (poll(&p, 1, ANSWER_MS) <= 0)
		return -ETIMEDOUT;
	got = recv(fd, reply, sizeof(reply), 0);
	*answer = got < 0 ? NULL : json_loadb(reply, got, 0, NULL);
	return *answer ? 0 : -ETIMEDOUT;
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
	fd = local_socket_connect(path, SOCK_DGRAM);
	ret = fd < 0 ? fd : ask(fd, text, answer);
	if (fd >= 0)
		close(fd);
	free(text);
	return ret;
}
