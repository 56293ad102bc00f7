/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * local_socket - a unix socket of a daemon, at a path that only its owner may use (0600).
 */
#ifndef BLKSHIP_LOCAL_SOCKET_H
#define BLKSHIP_LOCAL_SOCKET_H

#include "loop.h"

#define LOCAL_SOCKET_PATH_BYTES 108

struct local_socket {
	struct loop_poll poll;
	char path[LOCAL_SOCKET_PATH_BYTES];	/* empty: not started */
	int fd;
};

/**
 * local_socket_start - listen at @path in place of what is there
 * @type: SOCK_STREAM, then connections are to be accepted, or SOCK_DGRAM
 * @ready: called with @s->poll when there is something; @s->fd never blocks
 * Return: 0; -ENAMETOOLONG; -errno.
 */
int local_socket_start(struct loop *loop, struct local_socket *s, const char *path, int type,
		       void (*ready)(struct loop_poll *poll, uint32_t events));

/** local_socket_stop - stop and remove the path; harmless when it was not started */
void local_socket_stop(struct local_socket *s);

/**
 * local_socket_connect - the client's side; one of datagrams can be answered
 * Return: a descriptor, the caller's, which blocks; -ENOENT, -ECONNREFUSED nobody there;
 * -ENAMETOOLONG; -errno.
 */
int local_socket_connect(const char *path, int type);

#endif
