// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a peer may send: raw bytes, or frames (type, length, payload) with headers and
 * CRCs made right, after a HELLO when the first byte asks for one.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/target/session.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

static struct sim_env *sim;
static struct timeline *tl;

static int timeline_get(void *arg, const char *group, const char *identity,
			struct timeline **out, char *why)
{
	char dir[64];
	int ret = 0;

	if (strchr(group, '/') || group[0] == '.' || strlen(group) > 31)
		abort();
	snprintf(dir, sizeof(dir), "/%s", group);
	if (!tl)
		ret = timeline_open(sim_env_env(sim), dir, TIMELINE_CREATE, identity, &tl, why);
	*out = tl;
	return ret;
}

static int claim(void *arg, struct session *s, struct timeline *t, const uint8_t instance[16])
{
	return instance[0] == 'b' ? -EBUSY : 0;
}

static int enroll(void *arg, const void *payload, size_t bytes, void *answer,
		  size_t *answer_bytes, char *why)
{
	*answer_bytes = 16;
	return bytes % 16 ? -EACCES : 0;
}

static const struct session_ops ops = { timeline_get, claim, enroll };

struct talk {
	uint8_t buf[1 << 17] __attribute__((aligned(8)));
	size_t bytes;
	uint64_t seq;
};

static void frame(struct talk *t, uint8_t type, const void *payload, size_t bytes)
{
	size_t padded = (bytes + 7) / 8 * 8;
	uint8_t *at = t->buf + t->bytes;

	if (t->bytes + 32 + padded > sizeof(t->buf))
		return;
	memset(at, 0, 32 + padded);
	memcpy(at + 32, payload, bytes);
	t->bytes += wire_encode(at, type, padded, ++t->seq);
}

static void hello(struct talk *t)
{
	struct { struct wire_hello h; struct wire_hello_volume v; } m = {
		.h = { .version_min = 1, .version_max = 1, .group = "g", .nr_volumes = 1 },
		.v = { .size_bytes = 1 << 20, .name = "v" },
	};

	frame(t, WIRE_HELLO, &m, sizeof(m));
}

/* A batch with parts the fuzzer sets: holds, gaps, repairs, labels. */
static void batch(struct talk *t, uint64_t ordinal, const uint8_t *in, size_t bytes)
{
	struct test_batch b;

	test_batch_begin(&b, ordinal, seq_pack(1, in[0]));
	if (in[1] & 1)
		test_batch_extent(&b, 0, in[2] * 512, 512 + in[3] % 16 * 512, EXTENT_DATA, in[4],
				  0, 0);
	if (in[1] & 2)
		test_batch_extent(&b, 0, in[2] * 512, 512, EXTENT_ZERO, 0, seq_pack(1, in[5]),
				  1 + in[6]);
	for (size_t i = 8; i + 4 <= bytes && i < 24; i += 4) {
		uint64_t from = seq_pack(1, in[i + 1]), to = seq_pack(1, in[i + 2]);

		switch (in[i] % 3) {
		case 0: b.gaps[b.nr_gaps++] = (struct commit_gap){ from, to }; break;
		case 1: b.holds[b.nr_holds++] = (struct commit_hold){ in[i + 3], from,
								      in[i] & 4 ? to : 0 }; break;
		case 2: b.repairs[b.nr_repairs++] = (struct commit_repair){ from, to }; break;
		}
	}
	test_batch_end(&b);
	for (uint32_t i = 0; i < b.nr_units; i++)
		frame(t, WIRE_UNIT, b.units[i], b.unit_bytes[i]);
	frame(t, WIRE_COMMIT, b.record, b.record_bytes);
	test_batch_free(&b);
}

static void compose(struct talk *t, const uint8_t *in, size_t bytes)
{
	uint64_t ordinal = 0;

	while (bytes >= 3) {
		size_t part = in[1] | (in[0] & 0x10 ? in[2] << 8 : 0);

		in += 3;
		bytes -= 3;
		if (part > bytes)
			part = bytes;
		if (in[-3] & 0x20 && part >= 8)
			batch(t, ++ordinal, in, part);
		else
			frame(t, in[-3] % 13, in, part);
		in += part;
		bytes -= part;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	struct session_params params = { &ops, NULL, NULL, "host", 4 << 20 };
	static struct talk t;
	struct session *s;
	size_t used, step, seen = 0;
	const void *out;
	uint8_t mode;

	if (!bytes)
		return 0;
	if (!sim)
		sim = sim_env_create(1);
	sim_env_reset(sim, 1);
	params.env = sim_env_env(sim);
	mode = *input++;
	bytes--;
	if (mode & 8)
		params.identity = NULL;
	t.bytes = t.seq = 0;
	if (mode & 1)
		hello(&t);
	if (mode & 2) {
		compose(&t, input, bytes);
	} else {
		if (bytes > sizeof(t.buf) - t.bytes)
			bytes = sizeof(t.buf) - t.bytes;
		memcpy(t.buf + t.bytes, input, bytes);
		t.bytes += bytes;
	}
	s = session_create(&params);
	step = mode & 4 ? 64 : sizeof(t.buf);
	while (seen < t.bytes) {
		seen = seen + step < t.bytes ? seen + step : t.bytes;
		if (session_input(s, t.buf, seen, &used))
			break;
		memmove(t.buf, t.buf + used, t.bytes - used);
		t.bytes -= used;
		seen -= used;
		sim_env_complete_all(sim);
		if (session_progress(s))
			break;
		if (!used && seen == t.bytes)
			break;
	}
	session_sent(s, session_output(s, &out));
	session_disconnected(s);
	session_destroy(s);
	timeline_close(tl);
	tl = NULL;
	return 0;
}
