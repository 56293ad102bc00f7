// SPDX-License-Identifier: GPL-2.0-only
#include "tcp.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "container_of.h"
#include "thread.h"

int tcp_parse(const char *text, uint16_t default_port, char host[TCP_HOST_BYTES], uint16_t *port)
{
	const char *begin = text, *end, *colon;
	unsigned long number = default_port;
	char *rest;

	if (*text == '[') {
		begin = text + 1;
		end = strchr(begin, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		colon = end[1] ? end + 1 : NULL;
	} else {
		colon = strchr(text, ':');
		if (colon && strchr(colon + 1, ':'))	/* IPv6 needs its brackets */
			return -EINVAL;
		end = colon ? colon : text + strlen(text);
	}
	if (colon) {
		number = strtoul(colon + 1, &rest, 10);
		if (colon[1] < '0' || colon[1] > '9' || *rest || number > 65535)
			return -EINVAL;
	}
	if (end == begin || end - begin >= TCP_HOST_BYTES)
		return -EINVAL;
	memcpy(host, begin, end - begin);
	host[end - begin] = 0;
	*port = number;
	return 0;
}

static int address_find(const char *host, uint16_t port, int flags, struct addrinfo **out)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = flags | AI_NUMERICSERV };
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	return getaddrinfo(host, service, &hints, out);
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage address;
	socklen_t bytes = sizeof(address);

	if (getsockname(fd, (struct sockaddr *)&address, &bytes) < 0)
		return 0;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
	return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

int tcp_listen(const char *address, uint16_t default_port, uint16_t *port, char *why)
{
	char host[TCP_HOST_BYTES];
	struct addrinfo *found;
	int fd, one = 1, ret;
	uint16_t want;

	if (tcp_parse(address, default_port, host, &want) < 0 ||
	    address_find(host, want, AI_NUMERICHOST | AI_PASSIVE, &found) != 0) {
		snprintf(why, TCP_TEXT_BYTES, "'%.100s' is not ADDRESS:PORT", address);
		return -EINVAL;
	}
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		ret = -errno;
		freeaddrinfo(found);
		snprintf(why, TCP_TEXT_BYTES, "listen on %.100s: %s", address, strerror(-ret));
		return ret;
	}
	/* A restart must not wait for connections of the last run to be forgotten. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	ret = bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 64) < 0 ? -errno : 0;
	freeaddrinfo(found);
	if (ret < 0) {
		close(fd);
		snprintf(why, TCP_TEXT_BYTES, "listen on %.100s: %s", address, strerror(-ret));
		return ret;
	}
	*port = port_of(fd);
	return fd;
}

void tcp_peer_text(int fd, char *text, size_t bytes)
{
	struct sockaddr_storage address;
	socklen_t address_bytes = sizeof(address);
	char host[64], service[8];

	if (getpeername(fd, (struct sockaddr *)&address, &address_bytes) < 0 ||
	    getnameinfo((struct sockaddr *)&address, address_bytes, host, sizeof(host), service,
			sizeof(service), NI_NUMERICHOST | NI_NUMERICSERV) != 0)
		snprintf(text, bytes, "unknown address");
	else
		snprintf(text, bytes, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
}

/* -- looking a name up -- */

/* Belongs to the thread and to the one who asked; the last of both frees it. */
struct tcp_lookup {
	atomic_int users;
	int event_fd;
	int result;		/* of getaddrinfo */
	struct addrinfo *found;
	char host[TCP_HOST_BYTES];
	uint16_t port;
};

static void lookup_put(struct tcp_lookup *lookup)
{
	if (atomic_fetch_sub(&lookup->users, 1) != 1)
		return;
	if (lookup->found)
		freeaddrinfo(lookup->found);
	close(lookup->event_fd);
	free(lookup);
}

static void *lookup_thread(void *arg)
{
	struct tcp_lookup *lookup = arg;
	uint64_t one = 1;

	lookup->result = address_find(lookup->host, lookup->port, 0, &lookup->found);
	if (write(lookup->event_fd, &one, sizeof(one)) < 0)
		abort();	/* an eventfd that is not full takes it */
	lookup_put(lookup);
	return NULL;
}

static int lookup_start(const char *host, uint16_t port, struct tcp_lookup **out)
{
	struct tcp_lookup *lookup = calloc(1, sizeof(*lookup));
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	if (!lookup)
		return -ENOMEM;
	atomic_init(&lookup->users, 2);
	snprintf(lookup->host, sizeof(lookup->host), "%s", host);
	lookup->port = port;
	lookup->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (lookup->event_fd < 0) {
		free(lookup);
		return -EMFILE;
	}
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	ret = thread_start(&thread, &attr, lookup_thread, lookup);
	pthread_attr_destroy(&attr);
	if (ret) {
		close(lookup->event_fd);
		free(lookup);
		return -ret;
	}
	*out = lookup;
	return 0;
}

/* -- connecting -- */

static void connect_cleanup(struct tcp_connect *tc)
{
	loop_poll_stop(&tc->poll);
	loop_timer_stop(&tc->timer);
	loop_defer_cancel(&tc->next);
	if (tc->lookup)
		lookup_put(tc->lookup);
	else if (tc->addresses)
		freeaddrinfo(tc->addresses);
	if (tc->fd >= 0)
		close(tc->fd);
	tc->lookup = NULL;
	tc->addresses = NULL;
	tc->fd = -1;
	tc->active = false;
}

static void connect_end(struct tcp_connect *tc, int fd, const char *why)
{
	connect_cleanup(tc);
	tc->fn(tc, fd, why);
}

static void connect_failed(struct tcp_connect *tc, int ret, const char *reason)
{
	char why[TCP_TEXT_BYTES + TCP_HOST_BYTES];

	snprintf(why, sizeof(why), "%s: %s", tc->target, reason);
	connect_end(tc, ret, why);
}

static void connect_timeout(struct loop_timer *t)
{
	struct tcp_connect *tc = container_of(t, struct tcp_connect, timer);

	connect_failed(tc, -ETIMEDOUT, tc->addresses ? "timed out" :
		       "its name was not resolved in time");
}

static void connect_next(struct loop_call *c);

static void connect_writable(struct loop_poll *p, uint32_t events)
{
	struct tcp_connect *tc = container_of(p, struct tcp_connect, poll);
	int error = 0, fd = tc->fd;
	socklen_t bytes = sizeof(error);

	loop_poll_stop(&tc->poll);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &bytes) < 0)
		error = errno;
	tc->fd = -1;
	if (error) {
		close(fd);
		tc->error = error;
		loop_defer(tc->loop, &tc->next, connect_next);
		return;
	}
	connect_end(tc, fd, "");
}

/* Try the next address, or give up with what the last one said. */
static void connect_next(struct loop_call *c)
{
	struct tcp_connect *tc = container_of(c, struct tcp_connect, next);
	struct addrinfo *address = tc->address;

	if (!address) {
		connect_failed(tc, -tc->error, strerror(tc->error));
		return;
	}
	tc->address = address->ai_next;
	tc->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (tc->fd >= 0 && (connect(tc->fd, address->ai_addr, address->ai_addrlen) == 0 ||
			    errno == EINPROGRESS)) {
		loop_poll_start(tc->loop, &tc->poll, tc->fd, POLLOUT, connect_writable);
		return;
	}
	tc->error = errno;
	if (tc->fd >= 0)
		close(tc->fd);
	tc->fd = -1;
	loop_defer(tc->loop, &tc->next, connect_next);
}

static void connect_found(struct loop_poll *p, uint32_t events)
{
	struct tcp_connect *tc = container_of(p, struct tcp_connect, poll);

	loop_poll_stop(&tc->poll);
	if (tc->lookup->result) {
		connect_failed(tc, -EHOSTUNREACH, gai_strerror(tc->lookup->result));
		return;
	}
	tc->addresses = tc->lookup->found;
	tc->address = tc->addresses;
	loop_defer(tc->loop, &tc->next, connect_next);
}

int tcp_connect_start(struct loop *l, struct tcp_connect *tc, const char *target,
		      uint16_t default_port, uint64_t timeout_ns,
		      void (*fn)(struct tcp_connect *tc, int fd, const char *why))
{
	char host[TCP_HOST_BYTES];
	struct addrinfo *found;
	uint16_t port;
	int ret = tcp_parse(target, default_port, host, &port);

	if (ret < 0)
		return ret;
	memset(tc, 0, sizeof(*tc));
	tc->fn = fn;
	tc->loop = l;
	tc->fd = -1;
	tc->error = EHOSTUNREACH;
	snprintf(tc->target, sizeof(tc->target), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	if (address_find(host, port, AI_NUMERICHOST, &found) == 0) {
		tc->addresses = found;
		tc->address = found;
		loop_defer(l, &tc->next, connect_next);
	} else {
		ret = lookup_start(host, port, &tc->lookup);
		if (ret < 0)
			return ret;
		loop_poll_start(l, &tc->poll, tc->lookup->event_fd, POLLIN, connect_found);
	}
	loop_timer_start(l, &tc->timer, timeout_ns, 0, connect_timeout);
	tc->active = true;
	return 0;
}

void tcp_connect_stop(struct tcp_connect *tc)
{
	if (tc->active)
		connect_cleanup(tc);
}
