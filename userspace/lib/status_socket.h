/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * status_socket - a unix socket that tells a daemon's state as one JSON document.
 *
 * Who connects gets the document and the end of the connection; nothing is read.
 */
#ifndef BLKSHIP_STATUS_SOCKET_H
#define BLKSHIP_STATUS_SOCKET_H

#include <jansson.h>

#include "local_socket.h"

struct status_socket {
	json_t *(*make)(void *arg);	/* a new document; NULL: none to be had */
	void *arg;
	struct local_socket local;	/* its own */
};

/**
 * status_socket_start - listen at @path (0600), in place of a stale one
 * Return: 0; -ENAMETOOLONG; -EADDRINUSE somebody answers there; -errno.
 */
int status_socket_start(struct loop *loop, struct status_socket *s, const char *path,
			json_t *(*make)(void *arg), void *arg);

/** status_socket_stop - stop and remove the path; harmless when it was not started */
void status_socket_stop(struct status_socket *s);

/**
 * status_socket_ask - the client's side: connect and read the document
 * Return: 0; -ENOENT, -ECONNREFUSED no daemon there; -EBADMSG; -errno.
 */
int status_socket_ask(const char *path, json_t **out);

#endif
