/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * server - the connections of a target.
 *
 * Stage [6 ingest], its sockets: accepted, authenticated, handed to a session
 * each, whose group's timeline is made durable as commits come in. What fails
 * ends the one session it concerns; the daemon goes on.
 */
#ifndef BLKSHIP_SERVER_H
#define BLKSHIP_SERVER_H

#include <jansson.h>

#include "../lib/loop.h"
#include "../lib/home.h"
#include "groups.h"
#include "limits_conf.h"

struct keyring;
struct server;

#define SERVER_TEXT_BYTES 512

struct server_params {
	struct loop *loop;
	struct home *home;	/* where its groups are */
	const char *store;	/* directory made by `blkship target init` */
	const char *listen;	/* ADDRESS:PORT */
	const struct limits_conf *limits; /* borrowed */
	const struct keyring *keys; /* of what is kept; borrowed; NULL: in clear */
	/* What is kept of a group: groups.h. NULL: what its manifest says. */
	void (*retention)(void *arg, const char *group, struct groups_retention *out);
	void (*stopped)(void *arg);
	void *arg;		/* of both */
};

/**
 * server_create - load the certificates and listen
 * @port: out
 * Return: 0; -errno with a sentence in @why, SERVER_TEXT_BYTES.
 */
int server_create(const struct server_params *params, struct server **out, uint16_t *port,
		  char *why);

/**
 * server_stop - accept no more, end the sessions, finish what is committed
 * Calls stopped() at the end, from the loop; then server_destroy() may be called.
 */
void server_stop(struct server *sv);
void server_destroy(struct server *sv);

/** server_status - the status document; the caller's reference */
json_t *server_status(struct server *sv);

/** server_control - answer a request of control.h; the caller's reference */
json_t *server_control(struct server *sv, const json_t *request);

#endif
