// SPDX-License-Identifier: GPL-2.0-only
/* The target's side of a connection: greetings, refusals, acknowledgements, bad input. */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/target/session.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"

#define WINDOW (4u << 20)

/* A target with one group, and one source. */
struct rig {
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
	/* the last frame of each type */
	struct wire_hello_answer answer;
	struct wire_open_hold holds[8];
	struct wire_answer_volume volumes[4];
	struct wire_ack ack;
	struct wire_error error;
	uint32_t unsupported;
	unsigned int got[16];	/* frames by type */
};

static int timeline_get(void *arg, const char *group, const char *identity,
			struct timeline **tl, char *why)
{
	struct rig *r = arg;
	char dir[64];
	int ret = 0;

	if (r->get_error) {
		strcpy(why, "because");
		return r->get_error;
	}
	snprintf(dir, sizeof(dir), "/%s", group);
	if (!r->tl)
		ret = timeline_open(r->env, dir, TIMELINE_CREATE, identity, &r->tl, why);
	if (ret) {
		r->tl = NULL;
		return ret;
	}
	*tl = r->tl;
	return strcmp(timeline_owner(r->tl), identity) ? -EACCES : 0;
}

static int claim(void *arg, struct session *s, struct timeline *tl, const uint8_t instance[16])
{
	struct rig *r = arg;

	if (r->live && r->live != s) {
		if (memcmp(r->live_instance, instance, 16))
			return -EBUSY;
		session_end(r->live, WIRE_ERR_REPLACED, "connected again");
	}
	r->live = s;
	memcpy(r->live_instance, instance, 16);
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

static struct session *new_session(struct rig *r)
{
	struct session_params params = { &ops, r, r->env, r->identity, WINDOW };

	r->bytes = 0;
	r->frame_out = r->frame_in = 1;
	return session_create(&params);
}

static struct rig *rig_create(void)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->sim = sim_env_create(3);
	r->env = sim_env_env(r->sim);
	r->identity = "host-a";
	r->s = new_session(r);
	return r;
}

static void rig_destroy(struct rig *r)
{
	session_destroy(r->s);
	timeline_close(r->tl);
	sim_env_destroy(r->sim);
	free(r);
}

static void reconnect(struct rig *r)
{
	session_disconnected(r->s);
	if (r->live == r->s)
		r->live = NULL;
	session_destroy(r->s);
	r->s = new_session(r);
}

static void put(struct rig *r, uint8_t type, const void *payload, size_t bytes)
{
	uint8_t *at = r->buf + r->bytes;

	memcpy(at + sizeof(struct wire_header), payload, bytes);
	r->bytes += wire_encode(at, type, bytes, r->frame_out++);
}

static void took(struct rig *r, const struct wire_header *h, const uint8_t *payload)
{
	r->got[h->type]++;
	switch (h->type) {
	case WIRE_HELLO_ANSWER:
		memcpy(&r->answer, payload, sizeof(r->answer));
		payload += sizeof(r->answer);
		memcpy(r->holds, payload, r->answer.nr_holds * sizeof(*r->holds));
		payload += r->answer.nr_holds * sizeof(*r->holds);
		memcpy(r->volumes, payload, r->answer.nr_volumes * sizeof(*r->volumes));
		break;
	case WIRE_ACK:
		memcpy(&r->ack, payload, sizeof(r->ack));
		break;
	case WIRE_ERROR:
		memcpy(&r->error, payload, sizeof(r->error));
		break;
	case WIRE_UNSUPPORTED:
		memcpy(&r->unsupported, payload, 4);
		break;
	}
}

static void collect(struct rig *r)
{
	static uint8_t copy[1 << 20] __attribute__((aligned(8)));
	struct wire_header h;
	const void *out;
	size_t bytes = session_output(r->s, &out), at = 0;
	int64_t frame;

	if (bytes)
		memcpy(copy, out, bytes);
	while (at < bytes) {
		frame = wire_decode(copy + at, bytes - at, r->frame_in++, &h);
		assert_true(frame > 0);
		took(r, &h, copy + at + sizeof(h));
		at += frame;
	}
	session_sent(r->s, bytes);
}

/* Give it what was put, @step bytes more each time. */
static int feed_by(struct rig *r, size_t step)
{
	size_t seen = 0, used;
	int ret = 0;

	while (!ret && (seen < r->bytes)) {
		seen = seen + step < r->bytes ? seen + step : r->bytes;
		ret = session_input(r->s, r->buf, seen, &used);
		memmove(r->buf, r->buf + used, r->bytes - used);
		r->bytes -= used;
		seen -= used;
		if (!used && seen == r->bytes)
			break;
	}
	collect(r);
	return ret;
}

static int feed(struct rig *r)
{
	return feed_by(r, SIZE_MAX / 2);
}

static void settle(struct rig *r)
{
	sim_env_complete_all(r->sim);
	session_progress(r->s);
	collect(r);
}

static struct wire_hello hello_of(const char *group, uint8_t instance, uint32_t incarnation,
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

/* With what was kept of vdb; NULL: nothing. */
static void put_hello_kept(struct rig *r, const struct wire_hello *h,
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
	put(r, WIRE_HELLO, payload, sizeof(payload));
}

static void put_hello(struct rig *r, const struct wire_hello *h)
{
	put_hello_kept(r, h, NULL);
}

static int greet(struct rig *r, uint8_t instance, uint32_t incarnation, uint64_t newest,
		 uint64_t durable)
{
	struct wire_hello h = hello_of("group", instance, incarnation, newest, durable);
	int ret;

	put_hello(r, &h);
	ret = feed(r);
	if (!ret)
		settle(r);
	return ret;
}

static int send_batch(struct rig *r, uint64_t ordinal, uint64_t cut, uint64_t open_hold)
{
	struct test_batch b;

	test_batch_begin(&b, ordinal, cut);
	test_batch_extent(&b, 1, 4096 * ordinal, 8192, EXTENT_DATA, ordinal, 0, 0);
	if (open_hold)
		b.holds[b.nr_holds++] = (struct commit_hold){ open_hold, cut, 0 };
	test_batch_end(&b);
	put(r, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
	put(r, WIRE_COMMIT, b.record, b.record_bytes);
	test_batch_free(&b);
	return feed(r);
}

static void a_source_appends_and_is_told_what_is_durable(void **state)
{
	struct rig *r = rig_create();

	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	assert_int_equal(r->answer.status, WIRE_GRANTED);
	assert_int_equal(r->answer.incarnation, 1);
	assert_int_equal(r->answer.credit_bytes, WINDOW);
	assert_int_equal(r->answer.nr_volumes, 2);
	assert_int_equal(r->volumes[0].index, 4);
	assert_int_equal(r->volumes[0].volume, 0);
	assert_int_equal(r->volumes[1].index, 2);
	assert_int_equal(r->volumes[1].volume, 1);
	assert_string_equal(session_group(r->s), "group");
	assert_ptr_equal(session_timeline(r->s), r->tl);

	assert_int_equal(send_batch(r, 1, seq_pack(1, 7), 3), 0);
	assert_int_equal(r->ack.received_ordinal, 1);
	assert_int_equal(r->ack.durable_ordinal, 0);
	settle(r);
	assert_int_equal(r->ack.durable_ordinal, 1);
	assert_true(r->ack.credit_bytes > WINDOW);

	/* Half a batch; then it comes again. */
	send_batch(r, 2, seq_pack(1, 9), 0);
	r->bytes = 0;
	reconnect(r);
	assert_int_equal(greet(r, 1, 1, 9, 1), 0);
	assert_int_equal(r->answer.status, WIRE_OK);
	assert_int_equal(r->answer.ordinal, 2);	/* it was whole, so it is kept */
	assert_int_equal(r->answer.cut_seq, seq_pack(1, 9));
	assert_int_equal(r->answer.hold_id, 3);
	assert_int_equal(r->answer.nr_holds, 1);
	assert_int_equal(r->holds[0].id, 3);
	assert_int_equal(r->holds[0].from_seq, seq_pack(1, 7));
	assert_int_equal(r->volumes[0].flags, 0);
	assert_int_equal(r->volumes[1].flags, WIRE_VOLUME_HAS_DATA);
	assert_int_equal(send_batch(r, 3, seq_pack(1, 12), 0), 0);
	settle(r);
	assert_int_equal(r->ack.durable_ordinal, 3);
	rig_destroy(r);
}

static void hello_waits_until_the_store_is_idle_and_the_tail_void(void **state)
{
	struct rig *r = rig_create();
	struct wire_hello h;
	struct test_batch b;

	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	assert_int_equal(send_batch(r, 1, seq_pack(1, 7), 0), 0);
	test_batch_begin(&b, 2, seq_pack(1, 8));
	test_batch_extent(&b, 0, 0, 65536, EXTENT_DATA, 5, 0, 0);
	put(r, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
	test_batch_free(&b);
	assert_int_equal(feed(r), 0);
	assert_true(sim_env_pending(r->sim) > 0);
	reconnect(r);
	memset(r->got, 0, sizeof(r->got));
	h = hello_of("group", 1, 1, 8, 0);
	put_hello(r, &h);
	put(r, WIRE_PING, "12345678", 8);
	assert_int_equal(feed(r), 0);
	assert_int_equal(r->got[WIRE_HELLO_ANSWER], 0);
	assert_true(r->bytes > 0);	/* nothing is taken meanwhile */
	settle(r);
	assert_int_equal(r->got[WIRE_HELLO_ANSWER], 1);
	assert_int_equal(r->answer.ordinal, 1);
	assert_int_equal(feed(r), 0);
	assert_int_equal(r->got[WIRE_PONG], 1);
	assert_int_equal(send_batch(r, 2, seq_pack(1, 9), 0), 0);
	rig_destroy(r);
}

/* What the source says, and what it must get; the newest incarnation is 2, of instance 1. */
static void incarnations_are_judged(void **state)
{
	static const struct {
		uint8_t instance;
		uint32_t incarnation;
		uint64_t newest, durable;
		int status;
		uint32_t granted;
		const char *text;
	} cases[] = {
		{ 1, 2, 50, 1, WIRE_OK, 2, "" },
		{ 1, 2, 50, 0, WIRE_OK, 2, "" },
		{ 1, 2, 49, 1, WIRE_RESYNC, 3, "went back in time" },
		{ 1, 2, 60, 2, WIRE_RESYNC, 3, "has lost batches 2 to 2" },
		{ 1, 1, 90, 1, WIRE_RESYNC, 3, "is past" },
		{ 1, 7, 90, 1, WIRE_RESYNC, 3, "not known here" },
		{ 2, 2, 90, 1, WIRE_RESYNC, 3, "another instance" },
		{ 2, 0, 90, 1, WIRE_GRANTED, 3, "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rig *r = rig_create();

		assert_int_equal(greet(r, 9, 0, 0, 0), 0);
		reconnect(r);
		assert_int_equal(greet(r, 1, 0, 0, 0), 0);
		assert_int_equal(r->answer.incarnation, 2);
		assert_int_equal(send_batch(r, 1, seq_pack(2, 50), 0), 0);
		settle(r);
		reconnect(r);
		assert_int_equal(greet(r, cases[i].instance, cases[i].incarnation,
				       cases[i].newest, cases[i].durable), 0);
		assert_int_equal(r->answer.status, cases[i].status);
		assert_int_equal(r->answer.incarnation, cases[i].granted);
		if (!strstr(r->answer.text, cases[i].text))
			fail_msg("case %d: %s", (int)i, r->answer.text);
		/* What it was granted holds the next time. */
		reconnect(r);
		assert_int_equal(greet(r, cases[i].instance, cases[i].granted, 90, 1), 0);
		assert_int_equal(r->answer.status, WIRE_OK);
		rig_destroy(r);
	}
}

/* A commit at number 50, of vdb with this list; 0: none, -1: vdb is no member. */
static void send_listed(struct rig *r, uint64_t ordinal, uint32_t incarnation, int64_t log_no)
{
	struct test_batch b;

	test_batch_begin(&b, ordinal, seq_pack(incarnation, 50));
	test_batch_extent(&b, 1, 0, 4096, EXTENT_DATA, ordinal, 0, 0);
	b.volumes[b.nr_volumes++] = (struct commit_volume){ .volume = 0, .size_bytes = 1 << 20 };
	if (log_no >= 0)
		b.volumes[b.nr_volumes++] = (struct commit_volume){
			.volume = 1, .log_no = log_no, .size_bytes = 2 << 20 };
	test_batch_end(&b);
	put(r, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
	put(r, WIRE_COMMIT, b.record, b.record_bytes);
	test_batch_free(&b);
	assert_int_equal(feed(r), 0);
	settle(r);
}

/* Incarnation 2 of instance 1 has made commit 1, then 3 was granted to instance 2. */
static void kept_maps_are_judged(void **state)
{
	static const struct {
		uint8_t instance;
		uint32_t incarnation, log_no;
		uint64_t ordinal;
		int64_t committed;
		bool went_on;		/* incarnation 3 made a commit, too */
		const char *wrong;
	} cases[] = {
		{ 1, 2, 7, 1, 7, false, NULL },
		{ 1, 2, 9, 0, 7, false, NULL },
		{ 2, 3, 7, 1, 7, false, NULL },
		{ 2, 3, 7, 1, 7, true, NULL },
		{ 1, 2, 3, 1, UINT32_MAX, false, NULL },	/* it counted past the end */
		{ 1, 2, 7, 1, 7, true, "went on without it" },
		{ 1, 3, 7, 1, 7, false, "not granted to it" },
		{ 2, 2, 7, 1, 7, false, "not granted to it" },
		{ 1, 4, 7, 1, 7, false, "not granted to it" },
		{ 1, 2, 7, 2, 7, false, "are lost here" },
		{ 1, 2, 6, 1, 7, false, "older than the last commit" },
		{ 1, 2, UINT32_MAX, 1, 3, false, "older than the last commit" },
		{ 1, 2, 7, 1, 0, false, "not listed up to" },
		{ 1, 2, 7, 1, -1, false, "not listed up to" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct wire_hello_volume kept = {
			.kept_incarnation = cases[i].incarnation,
			.kept_ordinal = cases[i].ordinal,
			.kept_log_no = cases[i].log_no,
		};
		struct rig *r = rig_create();
		struct wire_hello h;
		bool fits;

		memset(kept.kept_instance, cases[i].instance, sizeof(kept.kept_instance));
		assert_int_equal(greet(r, 9, 0, 0, 0), 0);
		reconnect(r);
		assert_int_equal(greet(r, 1, 0, 0, 0), 0);
		send_listed(r, 1, 2, cases[i].committed);
		reconnect(r);
		assert_int_equal(greet(r, 2, 0, 0, 0), 0);
		if (cases[i].went_on)
			send_listed(r, 2, 3, cases[i].committed);
		reconnect(r);
		h = hello_of("group", 5, 0, 0, 0);
		put_hello_kept(r, &h, &kept);
		assert_int_equal(feed(r), 0);
		settle(r);
		fits = r->volumes[1].flags & WIRE_VOLUME_KEPT_FITS;
		if (fits != !cases[i].wrong)
			fail_msg("case %d: %s", (int)i, r->answer.text);
		if (cases[i].wrong && !strstr(r->answer.text, cases[i].wrong))
			fail_msg("case %d: %s", (int)i, r->answer.text);
		/* Whatever is said of vdb, nothing was kept of vda. */
		assert_false(r->volumes[0].flags & WIRE_VOLUME_KEPT_FITS);
		rig_destroy(r);
	}
}

static void who_may_not_is_turned_away(void **state)
{
	struct rig *r = rig_create();
	struct session *first;
	struct wire_hello h;

	/* Another machine's certificate. */
	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	reconnect(r);
	session_destroy(r->s);
	r->identity = "host-b";
	r->s = new_session(r);
	assert_int_equal(greet(r, 1, 0, 0, 0), -EACCES);
	assert_int_equal(r->error.code, WIRE_ERR_NOT_YOURS);

	/* A second live session: of another instance, then of the same. */
	session_destroy(r->s);
	r->identity = "host-a";
	r->s = new_session(r);
	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	first = r->s;
	r->s = new_session(r);
	assert_int_equal(greet(r, 2, 0, 0, 0), -EBUSY);
	assert_int_equal(r->answer.status, WIRE_BUSY);
	session_destroy(r->s);
	r->s = new_session(r);
	assert_int_equal(greet(r, 1, 2, 0, 0), 0);
	assert_int_equal(r->answer.status, WIRE_OK);
	assert_int_equal(session_progress(first), -ESHUTDOWN);
	session_destroy(first);

	/* Versions. */
	reconnect(r);
	h = hello_of("group", 1, 2, 0, 0);
	h.version_min = h.version_max = 2;
	put_hello(r, &h);
	assert_int_equal(feed(r), -EACCES);
	assert_int_equal(r->answer.status, WIRE_REFUSED);

	/* A damaged, and a full store. */
	reconnect(r);
	r->get_error = -EUCLEAN;
	assert_int_equal(greet(r, 1, 2, 0, 0), -EACCES);
	assert_int_equal(r->answer.status, WIRE_REFUSED);
	assert_non_null(strstr(r->answer.text, "damaged at the target: because"));
	reconnect(r);
	r->get_error = -ENOSPC;
	assert_int_equal(greet(r, 1, 2, 0, 0), -ENOSPC);
	assert_int_equal(r->error.code, WIRE_ERR_NO_SPACE);
	rig_destroy(r);
}

/* Its group goes on in a branch: whatever epoch it names, and when it was live a moment ago. */
static void a_source_that_was_taken_over_from_is_turned_away(void **state)
{
	struct rig *r = rig_create();
	struct wire_hello h;
	char why[TIMELINE_TEXT_BYTES];
	const struct timeline_commit *commits;

	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	send_listed(r, 1, 1, 0);
	assert_int_equal(timeline_commits(r->tl, &commits), 1);
	assert_int_equal(branch_create(r->env, "/group", "dr", r->tl, commits[0].cut_seq, why), 0);
	assert_int_equal(branch_promote(r->tl, "dr", why), 0);
	for (uint32_t epoch = 0; epoch < 3; epoch++) {
		reconnect(r);
		h = hello_of("group", 1, 1, 1000, 0);
		h.epoch = htole32(epoch);
		put_hello(r, &h);
		assert_int_equal(feed(r), -EACCES);
		assert_int_equal(r->answer.status, WIRE_REFUSED);
		assert_non_null(strstr(r->answer.text, "branch dr is its main line since "));
		assert_non_null(strstr(r->answer.text, "(epoch 1)"));
	}
	assert_null(r->live);
	rig_destroy(r);
}

static void names_cannot_leave_their_directory(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n",
					   "\xc3\xa9", "0123456789012345678901234567890123456789" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct rig *r = rig_create();
		struct wire_hello h = hello_of(bad[i], 1, 0, 0, 0);

		if (i == ARRAY_SIZE(bad) - 1)
			memset(h.group, 'a', sizeof(h.group));	/* no end */
		put_hello(r, &h);
		assert_int_equal(feed(r), -EPROTO);
		assert_int_equal(r->error.code, WIRE_ERR_PROTOCOL);
		assert_null(r->tl);
		rig_destroy(r);
	}
}

static void only_enrolment_without_a_certificate(void **state)
{
	struct rig *r = rig_create();
	struct { struct wire_enroll e; char csr[24]; } msg = {
		.e = { .token_id = "good", .host = "a", .csr_bytes = 19 }, .csr = "request" };

	put(r, WIRE_ENROLL, &msg, sizeof(msg));
	assert_int_equal(feed(r), -EPROTO);	/* it has one */
	session_destroy(r->s);
	r->identity = NULL;
	r->s = new_session(r);
	assert_int_equal(greet(r, 1, 0, 0, 0), -EACCES);
	assert_int_equal(r->error.code, WIRE_ERR_NOT_YOURS);
	session_destroy(r->s);
	r->s = new_session(r);
	put(r, WIRE_ENROLL, &msg, sizeof(msg));
	feed(r);
	assert_int_equal(r->got[WIRE_ENROLL_ANSWER], 1);
	session_destroy(r->s);
	r->s = new_session(r);
	msg.e.token_id[0] = 'b';
	put(r, WIRE_ENROLL, &msg, sizeof(msg));
	assert_int_equal(feed(r), -EACCES);
	assert_int_equal(r->error.code, WIRE_ERR_TOKEN);
	assert_non_null(strstr(r->error.text, "no such token"));
	session_destroy(r->s);
	r->s = new_session(r);
	msg.e.csr_bytes = 100;
	put(r, WIRE_ENROLL, &msg, sizeof(msg));
	assert_int_equal(feed(r), -EPROTO);
	rig_destroy(r);
}

static void bad_input_ends_it_with_a_word(void **state)
{
	struct rig *r = rig_create();
	uint32_t type[2] = { 77 };
	struct test_batch b;
	uint8_t unit[UNIT_MAX_BYTES];

	put(r, 77, type, 8);
	assert_int_equal(feed(r), 0);
	assert_int_equal(r->unsupported, 77);
	assert_int_equal(send_batch(r, 1, seq_pack(1, 5), 0), -EPROTO);	/* before HELLO */

	reconnect(r);
	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	assert_int_equal(send_batch(r, 2, seq_pack(1, 5), 0), -EPROTO);
	assert_int_equal(r->error.code, WIRE_ERR_PROTOCOL);

	/* A whole frame with a damaged unit in it. */
	reconnect(r);
	assert_int_equal(greet(r, 1, 1, 0, 0), 0);
	test_batch_begin(&b, 1, seq_pack(1, 5));
	test_batch_extent(&b, 0, 0, 4096, EXTENT_DATA, 1, 0, 0);
	memcpy(unit, b.units[0], b.unit_bytes[0]);
	unit[200] ^= 1;
	put(r, WIRE_UNIT, unit, b.unit_bytes[0]);
	assert_int_equal(feed(r), -EBADMSG);
	assert_int_equal(r->error.code, WIRE_ERR_CORRUPT);
	test_batch_free(&b);

	/* More than the credit. */
	reconnect(r);
	assert_int_equal(greet(r, 1, 1, 0, 0), 0);
	for (uint64_t n = 1, used = 0; ; n++) {
		int ret;

		test_batch_begin(&b, 1, seq_pack(1, 5));
		test_batch_extent(&b, 0, 0, 65536, EXTENT_DATA, 1, 0, 0);
		put(r, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
		used += b.unit_bytes[0];
		test_batch_free(&b);
		ret = feed(r);
		if (used <= WINDOW) {
			assert_int_equal(ret, 0);
			continue;
		}
		assert_int_equal(ret, -EPROTO);
		assert_non_null(strstr(r->error.text, "credit"));
		break;
	}
	sim_env_complete_all(r->sim);

	/* A second HELLO, an error of the peer. */
	reconnect(r);
	assert_int_equal(greet(r, 1, 1, 0, 0), 0);
	assert_int_equal(greet(r, 1, 1, 0, 0), -EPROTO);
	reconnect(r);
	put(r, WIRE_ERROR, &r->error, sizeof(r->error));
	assert_int_equal(feed(r), -ECONNRESET);
	rig_destroy(r);
}

static void a_failing_store_is_told(void **state)
{
	struct rig *r = rig_create();

	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	sim_env_fail(r->sim, SIM_FAULT_SYNC, 1, -EIO, false);
	assert_int_equal(send_batch(r, 1, seq_pack(1, 5), 0), -EIO);	/* making the file */
	assert_int_equal(r->error.code, WIRE_ERR_STORE);
	reconnect(r);
	assert_int_equal(greet(r, 1, 1, 5, 0), 0);
	assert_int_equal(r->answer.ordinal, 0);
	assert_int_equal(send_batch(r, 1, seq_pack(1, 5), 0), 0);
	sim_env_fail(r->sim, SIM_FAULT_WRITE, 1, -ENOSPC, false);
	settle(r);
	assert_int_equal(r->error.code, WIRE_ERR_NO_SPACE);
	assert_int_equal(r->ack.durable_ordinal, 0);
	reconnect(r);
	assert_int_equal(greet(r, 1, 1, 5, 0), 0);
	assert_int_equal(r->answer.ordinal, 0);
	assert_int_equal(send_batch(r, 1, seq_pack(1, 5), 0), 0);
	settle(r);
	assert_int_equal(r->ack.durable_ordinal, 1);
	rig_destroy(r);
}

/* One conversation, cut or with a bit turned at any place: an error at most. */
static void a_batch_larger_than_the_window_passes(void **state)
{
	struct rig *r = rig_create();
	struct test_batch b;
	uint64_t sent = 0, credit;
	uint32_t units_crc = 0;
	struct commit_view view = { .header = { .ordinal = 1, .cut_seq = seq_pack(1, 5),
						.nr_units = 200 } };
	uint8_t record[COMMIT_MAX_BYTES];
	size_t bytes;

	assert_int_equal(greet(r, 1, 0, 0, 0), 0);
	credit = r->answer.credit_bytes;
	for (int i = 0; i < 200; i++) {
		test_batch_begin(&b, 1, seq_pack(1, 5));
		test_batch_extent(&b, 0, i % 10 * 65536, 65536, EXTENT_DATA, i, 0, 0);
		if (credit - sent < b.unit_bytes[0]) {
			settle(r);
			credit = r->ack.credit_bytes;
		}
		assert_true(credit - sent >= b.unit_bytes[0]);
		put(r, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
		sent += b.unit_bytes[0];
		units_crc = crc32c_extend(units_crc, b.units[0] +
					  offsetof(struct unit_header, header_crc), 4);
		assert_int_equal(feed(r), 0);
		test_batch_free(&b);
	}
	settle(r);
	view.header.batch_bytes = sent;
	view.header.units_crc = units_crc;
	bytes = commit_encode(&view, record);
	put(r, WIRE_COMMIT, record, bytes);
	assert_int_equal(feed(r), 0);
	settle(r);
	assert_int_equal(r->ack.durable_ordinal, 1);
	assert_true(sent > 2 * WINDOW);
	rig_destroy(r);
}

static void any_cut_and_any_bit(void **state)
{
	static uint8_t talk[1 << 16] __attribute__((aligned(8)));
	struct rig *r = rig_create();
	struct wire_hello h = hello_of("group", 1, 0, 0, 0);
	struct test_batch b;
	size_t bytes;

	put_hello(r, &h);
	for (uint64_t n = 1; n <= 2; n++) {
		test_batch_begin(&b, n, seq_pack(1, n * 10));
		test_batch_extent(&b, 1, 4096, 1024, EXTENT_DATA, n, 0, 0);
		test_batch_end(&b);
		put(r, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
		put(r, WIRE_COMMIT, b.record, b.record_bytes);
		test_batch_free(&b);
	}
	bytes = r->bytes;
	memcpy(talk, r->buf, bytes);
	for (size_t i = 0; i < 2 * bytes; i++) {
		struct timeline_state st;
		bool flip = i >= bytes;
		int ret;

		session_destroy(r->s);
		timeline_close(r->tl);
		r->tl = NULL;
		r->live = NULL;
		sim_env_reset(r->sim, i);
		r->s = new_session(r);
		r->bytes = flip ? bytes : i;
		memcpy(r->buf, talk, bytes);
		if (flip)
			r->buf[i - bytes] ^= 1 << i % 8;
		ret = feed_by(r, i % 3 ? SIZE_MAX / 2 : 100);
		if (!flip)
			assert_int_equal(ret, 0);
		sim_env_complete_all(r->sim);
		if (!r->tl)
			continue;
		timeline_state(r->tl, &st);
		assert_in_range(st.durable_ordinal, 0, flip ? 1 : 2);
	}
	rig_destroy(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_appends_and_is_told_what_is_durable),
		cmocka_unit_test(hello_waits_until_the_store_is_idle_and_the_tail_void),
		cmocka_unit_test(incarnations_are_judged),
		cmocka_unit_test(kept_maps_are_judged),
		cmocka_unit_test(who_may_not_is_turned_away),
		cmocka_unit_test(a_source_that_was_taken_over_from_is_turned_away),
		cmocka_unit_test(names_cannot_leave_their_directory),
		cmocka_unit_test(only_enrolment_without_a_certificate),
		cmocka_unit_test(bad_input_ends_it_with_a_word),
		cmocka_unit_test(a_failing_store_is_told),
		cmocka_unit_test(a_batch_larger_than_the_window_passes),
		cmocka_unit_test(any_cut_and_any_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
