// SPDX-License-Identifier: GPL-2.0-only
/* peer - a source, and a target with one group that it talks to. */
#include "../unit/unit.h"

#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int timeline_get(void *arg, const char *group, const char *identity,
			struct timeline **tl, char *why)
{
	struct peer *p = arg;
	char dir[64];
	int ret = 0;

	if (p->get_error) {
		strcpy(why, "because");
		return p->get_error;
	}
	snprintf(dir, sizeof(dir), "/%s", group);
	if (!p->tl)
		ret = timeline_open(p->env, dir, TIMELINE_CREATE, identity, &p->tl, why);
	if (ret) {
		p->tl = NULL;
		return ret;
	}
	*tl = p->tl;
	return strcmp(timeline_owner(p->tl), identity) ? -EACCES : 0;
}

static int claim(void *arg, struct session *s, struct timeline *tl, const uint8_t instance[16])
{
	struct peer *p = arg;

	if (p->live && p->live != s) {
		if (memcmp(p->live_instance, instance, 16))
			return -EBUSY;
		session_end(p->live, WIRE_ERR_REPLACED, "connected again");
	}
	p->live = s;
	memcpy(p->live_instance, instance, 16);
	return 0;
}

static int enroll(void *arg, const void *payload, size_t bytes, void *answer,
		  size_t *answer_bytes, char *why)
{
	const struct wire_enroll *e = payload;

	if (strcmp(e->token_id, "good")) {
		strcpy(why, "no such token");
		return -EACCES;
	}
	memset(answer, 'c', 24);
	*answer_bytes = 21;
	return 0;
}

static const struct session_ops ops = { timeline_get, claim, enroll };

struct session *peer_session(struct peer *p)
{
	struct session_params params = { &ops, p, p->env, p->identity, PEER_WINDOW };

	p->bytes = 0;
	p->frame_out = p->frame_in = 1;
	return session_create(&params);
}

struct peer *peer_create(void)
{
	struct peer *p = calloc(1, sizeof(*p));

	p->sim = sim_env_create(3);
	p->env = sim_env_env(p->sim);
	p->identity = "host-a";
	p->s = peer_session(p);
	return p;
}

void peer_destroy(struct peer *p)
{
	session_destroy(p->s);
	timeline_close(p->tl);
	sim_env_destroy(p->sim);
	free(p);
}

void peer_reconnect(struct peer *p)
{
	session_disconnected(p->s);
	if (p->live == p->s)
		p->live = NULL;
	session_destroy(p->s);
	p->s = peer_session(p);
}

void peer_put(struct peer *p, uint8_t type, const void *payload, size_t bytes)
{
	uint8_t *at = p->buf + p->bytes;

	memcpy(at + sizeof(struct wire_header), payload, bytes);
	p->bytes += wire_encode(at, type, bytes, p->frame_out++);
}

static void took(struct peer *p, const struct wire_header *h, const uint8_t *payload)
{
	p->got[h->type]++;
	switch (h->type) {
	case WIRE_HELLO_ANSWER:
		memcpy(&p->answer, payload, sizeof(p->answer));
		payload += sizeof(p->answer);
		memcpy(p->holds, payload, p->answer.nr_holds * sizeof(*p->holds));
		payload += p->answer.nr_holds * sizeof(*p->holds);
		memcpy(p->volumes, payload, p->answer.nr_volumes * sizeof(*p->volumes));
		break;
	case WIRE_ACK:
		memcpy(&p->ack, payload, sizeof(p->ack));
		break;
	case WIRE_ERROR:
		memcpy(&p->error, payload, sizeof(p->error));
		break;
	case WIRE_UNSUPPORTED:
		memcpy(&p->unsupported, payload, 4);
		break;
	}
}

static void collect(struct peer *p)
{
	static uint8_t copy[1 << 20] __attribute__((aligned(8)));
	struct wire_header h;
	const void *out;
	size_t bytes = session_output(p->s, &out), at = 0;
	int64_t frame;

	if (bytes)
		memcpy(copy, out, bytes);
	while (at < bytes) {
		frame = wire_decode(copy + at, bytes - at, p->frame_in++, &h);
		assert_true(frame > 0);
		took(p, &h, copy + at + sizeof(h));
		at += frame;
	}
	session_sent(p->s, bytes);
}

int peer_feed_by(struct peer *p, size_t step)
{
	size_t seen = 0, used;
	int ret = 0;

	while (!ret && (seen < p->bytes)) {
		seen = seen + step < p->bytes ? seen + step : p->bytes;
		ret = session_input(p->s, p->buf, seen, &used);
		memmove(p->buf, p->buf + used, p->bytes - used);
		p->bytes -= used;
		seen -= used;
		if (!used && seen == p->bytes)
			break;
	}
	collect(p);
	return ret;
}

int peer_feed(struct peer *p)
{
	return peer_feed_by(p, SIZE_MAX / 2);
}

void peer_settle(struct peer *p)
{
	sim_env_complete_all(p->sim);
	session_progress(p->s);
	collect(p);
}

struct wire_hello peer_hello_of(const char *group, uint8_t instance, uint32_t incarnation,
				uint64_t newest, uint64_t durable)
{
	struct wire_hello h = {
		.version_min = 1, .version_max = 1, .incarnation = incarnation,
		.newest_seq = newest, .durable_ordinal = durable, .nr_volumes = 2,
	};

	memset(h.instance, instance, sizeof(h.instance));
	snprintf(h.group, sizeof(h.group), "%s", group);
	return h;
}

void peer_hello_kept(struct peer *p, const struct wire_hello *h,
		     const struct wire_hello_volume *kept)
{
	uint8_t payload[sizeof(*h) + 2 * sizeof(struct wire_hello_volume)];
	struct wire_hello_volume v[2] = {
		{ .index = 4, .size_bytes = 1 << 20, .name = "vda", .identity = "serial" },
		{ .index = 2, .size_bytes = 2 << 20, .name = "vdb", .identity = "serial2" },
	};

	if (kept) {
		memcpy(v[1].kept_instance, kept->kept_instance, sizeof(kept->kept_instance));
		v[1].kept_ordinal = kept->kept_ordinal;
		v[1].kept_incarnation = kept->kept_incarnation;
		v[1].kept_log_no = kept->kept_log_no;
	}
	memcpy(payload, h, sizeof(*h));
	memcpy(payload + sizeof(*h), v, sizeof(v));
	peer_put(p, WIRE_HELLO, payload, sizeof(payload));
}

void peer_hello(struct peer *p, const struct wire_hello *h)
{
	peer_hello_kept(p, h, NULL);
}

int peer_greet(struct peer *p, uint8_t instance, uint32_t incarnation, uint64_t newest,
	       uint64_t durable)
{
	struct wire_hello h = peer_hello_of("group", instance, incarnation, newest, durable);
	int ret;

	peer_hello(p, &h);
	ret = peer_feed(p);
	if (!ret)
		peer_settle(p);
	return ret;
}

int peer_send(struct peer *p, uint64_t ordinal, uint64_t cut, uint64_t open_hold)
{
	struct test_batch b;

	test_batch_begin(&b, ordinal, cut);
	test_batch_extent(&b, 1, 4096 * ordinal, 8192, EXTENT_DATA, ordinal, 0, 0);
	if (open_hold)
		b.holds[b.nr_holds++] = (struct commit_hold){ open_hold, cut, 0 };
	test_batch_end(&b);
	peer_put(p, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
	peer_put(p, WIRE_COMMIT, b.record, b.record_bytes);
	test_batch_free(&b);
	return peer_feed(p);
}
