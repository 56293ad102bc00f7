/* SPDX-License-Identifier: GPL-2.0-only */
/* session_private - what session.c (frames) and greeting.c (HELLO) share. */
#ifndef BLKSHIP_SESSION_PRIVATE_H
#define BLKSHIP_SESSION_PRIVATE_H

#include <stdbool.h>

#include "session.h"

enum session_stage {
	SESSION_NEW,		/* nothing was said yet */
	SESSION_GREETING,	/* HELLO waits until the store is idle and durable */
	SESSION_LIVE,
	SESSION_ENDED,
};

struct session {
	struct session_params params;
	enum session_stage stage;
	int error;		/* what session_input returns from now on */
	uint64_t frame_in, frame_out;

	uint8_t *out;		/* frames to send, from out_sent on */
	size_t out_sent, out_bytes, max_out;

	char group[WIRE_NAME_BYTES];
	struct timeline *tl;
	uint8_t *hello;		/* while it waits */

	uint64_t received_bytes; /* payload of UNIT and COMMIT */
	struct wire_ack acked;	/* as last told, host order */
};

/* session.c */

/* Room for a frame with this payload, at the end of the output; NULL: no memory. */
void *session_frame(struct session *s, size_t payload_bytes);
void session_frame_end(struct session *s, uint8_t type, size_t payload_bytes);

/* End with an error that the peer is told. Returns @error. */
__attribute__((format(printf, 4, 5)))
int session_fail(struct session *s, int error, uint32_t code, const char *format, ...);
/* The same for what the timeline returned. */
int session_fail_store(struct session *s, int error);
uint64_t session_credit(const struct session *s);

/* greeting.c */

int session_hello(struct session *s, const void *payload, size_t bytes);
/* Answer the waiting HELLO if the store is ready. */
int session_greet(struct session *s);

#endif
