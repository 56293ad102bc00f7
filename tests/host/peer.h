/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * peer - a source, and a target with one group that it talks to; for unit tests of the session.
 *
 * Frames that are put wait until they are fed; what is answered is kept in struct peer.
 * Nothing is durable before peer_settle().
 */
#ifndef TEST_PEER_H
#define TEST_PEER_H

#include "../../userspace/target/session.h"
#include "sim_env.h"
#include "test_batch.h"

#define PEER_WINDOW (4u << 20)	/* the credit that the target gives */

struct peer {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	struct session *live;
	uint8_t live_instance[16];
	int get_error;
	struct session *s;
	const char *identity;
	uint8_t buf[1 << 20] __attribute__((aligned(8)));
	size_t bytes;		/* to be input */
	uint64_t frame_out, frame_in;
	/* The last frame of each type. */
	struct wire_hello_answer answer;
	struct wire_open_hold holds[8];
	struct wire_answer_volume volumes[4];
	struct wire_ack ack;
	struct wire_error error;
	uint32_t unsupported;
	unsigned int got[16];	/* frames by type */
};

struct peer *peer_create(void);
void peer_destroy(struct peer *p);

/** peer_session - what its next connection is to the target; to be put into @p->s */
struct session *peer_session(struct peer *p);

/** peer_reconnect - the connection broke, and there is another one */
void peer_reconnect(struct peer *p);

void peer_put(struct peer *p, uint8_t type, const void *payload, size_t bytes);

/** peer_feed_by - what was put, @step bytes more each time; what session_input() returns */
int peer_feed_by(struct peer *p, size_t step);
int peer_feed(struct peer *p);

/** peer_settle - all that was received is durable, and acknowledged */
void peer_settle(struct peer *p);

/* Of version 1 and two volumes. */
struct wire_hello peer_hello_of(const char *group, uint8_t instance, uint32_t incarnation,
				uint64_t newest, uint64_t durable);

/** peer_hello_kept - put a HELLO; with what was kept of vdb, or NULL */
void peer_hello_kept(struct peer *p, const struct wire_hello *h,
		     const struct wire_hello_volume *kept);
void peer_hello(struct peer *p, const struct wire_hello *h);

/** peer_greet - a HELLO for "group", fed and settled; the first error */
int peer_greet(struct peer *p, uint8_t instance, uint32_t incarnation, uint64_t newest,
	       uint64_t durable);

/** peer_send - a batch of 8 KiB of vdb; @open_hold: of this number, 0: none; fed */
int peer_send(struct peer *p, uint64_t ordinal, uint64_t cut, uint64_t open_hold);

#endif
