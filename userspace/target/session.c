// SPDX-License-Identifier: GPL-2.0-only
/* session - the target's side of one connection, without sockets. See session.h. */
#include "session_private.h"

#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../store/array.h"

#define MIN_WINDOW_BYTES	(2u << 20)	/* a buffer of the writer, and some */
#define OUT_FULL_BYTES		(256u << 10)	/* the peer does not listen: neither do we */
#define MAX_PING_BYTES		64
#define MAX_CSR_BYTES		(16u << 10)
#define ENROLL_ANSWER_BYTES	(64u << 10)

/* -- output -- */

void *session_frame(struct session *s, size_t payload_bytes)
{
	size_t bytes = sizeof(struct wire_header) + payload_bytes;

	if (s->out_sent == s->out_bytes)
		s->out_sent = s->out_bytes = 0;
	if (!array_reserve(&s->out, &s->max_out, s->out_bytes + bytes))
		return NULL;
	memset(s->out + s->out_bytes, 0, bytes);
	return s->out + s->out_bytes + sizeof(struct wire_header);
}

void session_frame_end(struct session *s, uint8_t type, size_t payload_bytes)
{
	s->out_bytes += wire_encode(s->out + s->out_bytes, type, payload_bytes,
				    s->frame_out++);
}

static int send_frame(struct session *s, uint8_t type, const void *payload, size_t bytes)
{
	void *at = session_frame(s, bytes);

	if (!at)
		return -ENOMEM;
	memcpy(at, payload, bytes);
	session_frame_end(s, type, bytes);
	return 0;
}

size_t session_output(struct session *s, const void **buf)
{
	*buf = s->out ? s->out + s->out_sent : NULL;
	return s->out_bytes - s->out_sent;
}

void session_sent(struct session *s, size_t bytes)
{
	s->out_sent += bytes;
}

static bool out_full(const struct session *s)
{
	return s->out_bytes - s->out_sent > OUT_FULL_BYTES;
}

/* -- ending -- */

static void end_with(struct session *s, int error, uint32_t code, const char *text)
{
	struct wire_error e = { .code = htole32(code) };

	if (s->stage == SESSION_ENDED)
		return;
	snprintf(e.text, sizeof(e.text), "%s", text);
	send_frame(s, WIRE_ERROR, &e, sizeof(e));	/* without memory: just the end */
	s->stage = SESSION_ENDED;
	s->error = error;
}

int session_fail(struct session *s, int error, uint32_t code, const char *format, ...)
{
	char text[WIRE_TEXT_BYTES];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	end_with(s, error, code, text);
	return error;
}

int session_fail_store(struct session *s, int error)
{
	struct timeline_state state = { 0 };

	if (s->tl)
		timeline_state(s->tl, &state);
	if (state.error)
		error = state.error;
	if (error == -ENOSPC || error == -EDQUOT)
		return session_fail(s, error, WIRE_ERR_NO_SPACE,
				    "the target has no space left for group %s; make room there, "
				    "the source tries again by itself", s->group);
	return session_fail(s, error, WIRE_ERR_STORE,
			    "the target cannot store group %s: %s; see its log", s->group,
			    strerror(-error));
}

void session_end(struct session *s, uint32_t code, const char *text)
{
	end_with(s, -ESHUTDOWN, code, text);
}

/* -- acknowledging -- */

uint64_t session_credit(const struct session *s)
{
	uint64_t waiting = timeline_unflushed_bytes(s->tl);
	uint64_t taken = s->received_bytes > waiting ? s->received_bytes - waiting : 0;
	uint64_t credit = taken + s->params.credit_window_bytes;

	return credit > s->acked.credit_bytes ? credit : s->acked.credit_bytes;
}

/* Tell what is new; credit alone only when it has moved by a quarter of the window. */
static int acknowledge(struct session *s)
{
	struct timeline_state state;
	struct wire_ack now, raw;

	timeline_state(s->tl, &state);
	now = (struct wire_ack){ state.ordinal, state.durable_ordinal, session_credit(s) };
	if (out_full(s))
		return 0;	/* the next one says it all */
	if (now.received_ordinal == s->acked.received_ordinal &&
	    now.durable_ordinal == s->acked.durable_ordinal &&
	    now.credit_bytes - s->acked.credit_bytes < s->params.credit_window_bytes / 4)
		return 0;
	raw = (struct wire_ack){ htole64(now.received_ordinal), htole64(now.durable_ordinal),
				 htole64(now.credit_bytes) };
	if (send_frame(s, WIRE_ACK, &raw, sizeof(raw)))
		return -ENOMEM;
	s->acked = now;
	return 0;
}

/* -- frames -- */

static int take_data(struct session *s, uint8_t type, const void *payload, size_t bytes)
{
	struct timeline_state state;
	int ret;

	if (s->stage != SESSION_LIVE)
		return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL, "data before HELLO");
	if (s->received_bytes + bytes > s->acked.credit_bytes)
		return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL,
				    "more data than credit was given for");
	s->received_bytes += bytes;
	if (type == WIRE_UNIT)
		ret = timeline_append_unit(s->tl, payload, bytes);
	else
		ret = timeline_append_commit(s->tl, payload, bytes);
	if (ret == -EBADMSG)
		return session_fail(s, ret, WIRE_ERR_CORRUPT, "a %s does not check",
				    type == WIRE_UNIT ? "unit" : "commit record");
	if (ret == -EPROTO || ret == -E2BIG)
		return session_fail(s, ret, WIRE_ERR_PROTOCOL,
				    "a %s is whole, but %s", type == WIRE_UNIT ? "unit" :
				    "commit record", ret == -E2BIG ? "makes the batch too large" :
				    "not what may come next");
	if (ret)
		return session_fail_store(s, ret);
	if (type == WIRE_COMMIT)
		timeline_flush(s->tl);
	timeline_state(s->tl, &state);
	return state.failed ? session_fail_store(s, state.error) : acknowledge(s);
}

static int take_enroll(struct session *s, const void *payload, size_t bytes)
{
	const struct wire_enroll *e = payload;
	size_t answer_bytes = ENROLL_ANSWER_BYTES;
	char why[TIMELINE_TEXT_BYTES] = "";
	uint8_t *answer;
	uint32_t csr_bytes;
	int ret;

	if (s->params.identity || s->stage != SESSION_NEW || !s->params.ops->enroll)
		return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL, "no enrolment here");
	csr_bytes = bytes < sizeof(*e) ? 0 : le32toh(e->csr_bytes);
	if (bytes < sizeof(*e) || csr_bytes > MAX_CSR_BYTES ||
	    bytes != sizeof(*e) + (csr_bytes + 7) / 8 * 8 ||
	    !memchr(e->token_id, 0, sizeof(e->token_id)) || !memchr(e->host, 0, sizeof(e->host)))
		return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL, "ENROLL makes no sense");
	answer = calloc(1, ENROLL_ANSWER_BYTES);
	if (!answer)
		return -ENOMEM;
	ret = s->params.ops->enroll(s->params.ops_arg, payload, bytes, answer, &answer_bytes, why);
	if (!ret)
		ret = send_frame(s, WIRE_ENROLL_ANSWER, answer, (answer_bytes + 7) / 8 * 8);
	free(answer);
	if (ret)
		return session_fail(s, ret, WIRE_ERR_TOKEN, "enrolment refused: %s",
				    why[0] ? why : strerror(-ret));
	s->stage = SESSION_ENDED;	/* the next connection has the certificate */
	s->error = -ESHUTDOWN;
	return 0;
}

static int take_frame(struct session *s, const struct wire_header *h, const void *payload)
{
	uint32_t type[2] = { htole32(h->type) };

	switch (h->type) {
	case WIRE_HELLO:
		if (!s->params.identity)
			return session_fail(s, -EACCES, WIRE_ERR_NOT_YOURS,
					    "no certificate: enrol first (blkship enroll)");
		if (s->stage != SESSION_NEW)
			return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL, "a second HELLO");
		return session_hello(s, payload, h->payload_bytes);
	case WIRE_UNIT:
	case WIRE_COMMIT:
		return take_data(s, h->type, payload, h->payload_bytes);
	case WIRE_ENROLL:
		return take_enroll(s, payload, h->payload_bytes);
	case WIRE_PING:
		if (h->payload_bytes > MAX_PING_BYTES)
			return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL, "PING is too long");
		return send_frame(s, WIRE_PONG, payload, h->payload_bytes);
	case WIRE_PONG:
	case WIRE_UNSUPPORTED:
		return 0;
	case WIRE_ERROR:
		s->stage = SESSION_ENDED;
		s->error = -ECONNRESET;
		return s->error;
	case WIRE_HELLO_ANSWER:
	case WIRE_ACK:
	case WIRE_ENROLL_ANSWER:
		return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL,
				    "a frame of type %u is for the target to send", h->type);
	default:
		return send_frame(s, WIRE_UNSUPPORTED, type, sizeof(type));
	}
}

int session_input(struct session *s, const void *buf, size_t bytes, size_t *used)
{
	*used = 0;
	while (s->stage != SESSION_ENDED && s->stage != SESSION_GREETING && !out_full(s)) {
		const uint8_t *at = (const uint8_t *)buf + *used;
		struct wire_header h;
		int64_t frame = wire_decode(at, bytes - *used, s->frame_in, &h);
		int ret;

		if (frame == 0)
			return 0;
		if (frame == -EBADMSG)
			return session_fail(s, -EBADMSG, WIRE_ERR_CORRUPT,
					    "frame %llu does not check",
					    (unsigned long long)s->frame_in);
		if (frame < 0)
			return session_fail(s, frame, WIRE_ERR_PROTOCOL,
					    "no frame of version %u where one should begin",
					    WIRE_VERSION);
		s->frame_in++;
		*used += frame;
		ret = take_frame(s, &h, at + sizeof(h));
		if (ret) {
			s->stage = SESSION_ENDED;
			s->error = ret;
			return ret;
		}
	}
	return s->error;
}

int session_progress(struct session *s)
{
	struct timeline_state state;
	int ret = 0;

	if (s->stage == SESSION_GREETING) {
		ret = session_greet(s);
	} else if (s->stage == SESSION_LIVE) {
		timeline_state(s->tl, &state);
		ret = state.failed ? session_fail_store(s, state.error) : acknowledge(s);
	}
	if (ret) {
		s->stage = SESSION_ENDED;
		s->error = ret;
	}
	return s->error;
}

void session_disconnected(struct session *s)
{
	s->stage = SESSION_ENDED;
	s->error = -ECONNRESET;
}

/* -- life -- */

struct session *session_create(const struct session_params *params)
{
	struct session *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->params = *params;
	if (s->params.credit_window_bytes < MIN_WINDOW_BYTES)
		s->params.credit_window_bytes = MIN_WINDOW_BYTES;
	s->frame_in = s->frame_out = 1;
	return s;
}

void session_destroy(struct session *s)
{
	if (!s)
		return;
	free(s->hello);
	free(s->out);
	free(s);
}

struct timeline *session_timeline(struct session *s)
{
	return s->tl;
}

const char *session_group(const struct session *s)
{
	return s->group;
}
