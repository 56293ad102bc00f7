/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * control_socket - a unix datagram socket by which a daemon is asked to do something.
 *
 * A request is one datagram with a JSON object, and so is its answer: nobody who asks can keep
 * the daemon waiting. Who may write to the path may ask (0600).
 */
#ifndef BLKSHIP_CONTROL_SOCKET_H
#define BLKSHIP_CONTROL_SOCKET_H

#include <jansson.h>

#include "local_socket.h"

#define CONTROL_MAX_BYTES 4096	/* of a request, and of an answer */

struct control_socket {
	/* A new document; @request is borrowed. NULL: no answer is sent. */
	json_t *(*answer)(void *arg, const json_t *request);
	void *arg;
	struct local_socket local;	/* its own */
};

/** control_socket_start - listen at @path in place of what is there; 0 or -errno */
int control_socket_start(struct loop *loop, struct control_socket *s, const char *path,
			 json_t *(*answer)(void *arg, const json_t *request), void *arg);

/** control_socket_stop - stop and remove the path; harmless when it was not started */
void control_socket_stop(struct control_socket *s);

/**
 * control_socket_ask - the client's side
 * Return: 0; -ENOENT, -ECONNREFUSED no daemon there; -ETIMEDOUT it was asked, and no answer
 * came or it cannot be read: whether it did what was asked is not known; -E2BIG; -errno.
 */
int control_socket_ask(const char *path, const json_t *request, json_t **answer);

#endif
