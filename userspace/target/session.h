/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * session - the target's side of one connection, without sockets.
 *
 * Stage [6 ingest]. Fed with the bytes of a connection that TLS has
 * authenticated; feeds a timeline; produces the bytes to send back. The daemon and
 * the simulator drive it alike.
 *
 * Promises: a durable ordinal is told only when timeline_state() says so; HELLO is
 * answered only when everything received before is durable and the uncommitted
 * tail is void; a peer appends to its own groups, nothing else.
 */
#ifndef BLKSHIP_SESSION_H
#define BLKSHIP_SESSION_H

#include "../lib/wire_format.h"
#include "../store/timeline.h"

struct session;

/*
 * What the daemon gives a session: which timeline a group has, and who else is
 * connected. Calls of one session never nest.
 */
struct session_ops {
	/*
	 * Open (make, when new) the group's timeline for this identity.
	 * Return 0; -EACCES it belongs to another identity; -EBUSY; -EDQUOT it may take
	 * no more; -errno; with a sentence in @why.
	 */
	int (*timeline_get)(void *arg, const char *group, const char *identity,
			    struct timeline **tl, char *why);
	/*
	 * Another live session has this timeline: if @instance is the one it was
	 * opened with, end that one and return 0, else return -EBUSY. Return 0
	 * as well when there is none. On 0 this session is the live one.
	 */
	int (*claim)(void *arg, struct session *s, struct timeline *tl,
		     const uint8_t instance[16]);
	/*
	 * An enrolment request of a peer without certificate; answer in @answer, of
	 * which *@answer_bytes says the size, then the length. May be NULL.
	 */
	int (*enroll)(void *arg, const void *payload, size_t bytes, void *answer,
		      size_t *answer_bytes, char *why);
};

struct session_params {
	const struct session_ops *ops;
	void *ops_arg;
	struct env *env;
	const char *identity;	/* of the peer's certificate; NULL: it has none */
	uint64_t credit_window_bytes;
};

struct session *session_create(const struct session_params *params);
void session_destroy(struct session *s);

/**
 * session_input - take received bytes
 * @buf: 8-byte aligned
 * @used: out, bytes consumed; the rest is to be offered again with more behind it
 * (at most one frame is kept waiting; while a HELLO waits for the store nothing is
 * consumed)
 * Return: 0; -errno when the connection is to be closed after the output is sent.
 */
int session_input(struct session *s, const void *buf, size_t bytes, size_t *used);

/**
 * session_output - bytes to send
 * Return: how many are at *buf; session_sent() takes them away.
 */
size_t session_output(struct session *s, const void **buf);
void session_sent(struct session *s, size_t bytes);

/**
 * session_progress - the timeline moved: acknowledge, answer a waiting HELLO
 * Return: as session_input.
 */
int session_progress(struct session *s);

/**
 * session_end - say why and end it: replaced, shutting down
 * The caller closes the connection when the output is sent.
 */
void session_end(struct session *s, uint32_t code, const char *text);

/** session_disconnected - the peer is gone; the next HELLO voids the tail it left */
void session_disconnected(struct session *s);

struct timeline *session_timeline(struct session *s);	/* NULL before HELLO */
const char *session_group(const struct session *s);

#endif
