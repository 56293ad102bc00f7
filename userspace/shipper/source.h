/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * source - one protected group in the daemon: its ring, its shipper, its connection.
 *
 * The shell around shipper.h: sockets, timers and the order in which things are
 * taken down. Nothing here knows about seqs.
 */
#ifndef BLKSHIP_SOURCE_H
#define BLKSHIP_SOURCE_H

#include <jansson.h>

#include "../lib/env.h"
#include "../lib/loop.h"
#include "../lib/tls.h"
#include "shipper.h"

struct source;

/* Where a group's capture comes from: /dev/blkship, or the generator of the tests. */
struct capture_opener {
	/* As capture_dev_open(); @poll_fd: readable when the ring is to be drained. */
	int (*open)(void *arg, struct loop *loop, const char *group, struct capture **out,
		    int *poll_fd, char *why);
	void (*close)(struct capture *c);
	void *arg;
};

struct source_params {
	const struct capture_opener *opener;
	struct loop *loop;
	struct env *env;
	struct tls_ctx *tls;
	const char *target;		/* HOST:PORT */
	uint8_t machine[16];
	uint8_t codec;			/* enum unit_codec */
	uint32_t cut_bytes;		/* 0: default */
	uint64_t cut_interval_ns;	/* 0: default */
};

/**
 * source_create - begin to serve a group; it goes on by itself from here
 * @params: borrowed until source_destroy
 * A group that cannot be bound now is tried again.
 */
int source_create(const struct source_params *params, const char *group, struct source **out);

/**
 * source_stop - end it; @done is called when nothing is in flight any more
 * What is in the ring and in the dirty maps stays there for the next daemon.
 */
void source_stop(struct source *src, void (*done)(void *arg), void *arg);
bool source_is_stopped(const struct source *src);
void source_destroy(struct source *src);

/** source_refresh - the group's volumes have changed: greet the target anew */
void source_refresh(struct source *src);

/** source_check - see whether they have; events can be lost */
void source_check(struct source *src);

const char *source_group(const struct source *src);

/** source_status - for the status socket; a new reference */
json_t *source_status(const struct source *src);

#endif
