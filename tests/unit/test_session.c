// SPDX-License-Identifier: GPL-2.0-only
/* The target's side of a connection: greetings, whose source it is, what is acknowledged. */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../host/peer.h"

static void a_source_appends_and_is_told_what_is_durable(void **state)
{
	struct peer *p = peer_create();

	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	assert_int_equal(p->answer.status, WIRE_GRANTED);
	assert_int_equal(p->answer.incarnation, 1);
	assert_int_equal(p->answer.credit_bytes, PEER_WINDOW);
	assert_int_equal(p->answer.nr_volumes, 2);
	assert_int_equal(p->volumes[0].index, 4);
	assert_int_equal(p->volumes[0].volume, 0);
	assert_int_equal(p->volumes[1].index, 2);
	assert_int_equal(p->volumes[1].volume, 1);
	assert_string_equal(session_group(p->s), "group");
	assert_ptr_equal(session_timeline(p->s), p->tl);

	assert_int_equal(peer_send(p, 1, seq_pack(1, 7), 3), 0);
	assert_int_equal(p->ack.received_ordinal, 1);
	assert_int_equal(p->ack.durable_ordinal, 0);
	peer_settle(p);
	assert_int_equal(p->ack.durable_ordinal, 1);
	assert_true(p->ack.credit_bytes > PEER_WINDOW);

	/* Half a batch; then it comes again. */
	peer_send(p, 2, seq_pack(1, 9), 0);
	p->bytes = 0;
	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 1, 9, 1), 0);
	assert_int_equal(p->answer.status, WIRE_OK);
	assert_int_equal(p->answer.ordinal, 2);	/* it was whole, so it is kept */
	assert_int_equal(p->answer.cut_seq, seq_pack(1, 9));
	assert_int_equal(p->answer.hold_id, 3);
	assert_int_equal(p->answer.nr_holds, 1);
	assert_int_equal(p->holds[0].id, 3);
	assert_int_equal(p->holds[0].from_seq, seq_pack(1, 7));
	assert_int_equal(p->volumes[0].flags, 0);
	assert_int_equal(p->volumes[1].flags, WIRE_VOLUME_HAS_DATA);
	assert_int_equal(peer_send(p, 3, seq_pack(1, 12), 0), 0);
	peer_settle(p);
	assert_int_equal(p->ack.durable_ordinal, 3);
	peer_destroy(p);
}

static void hello_waits_until_the_store_is_idle_and_the_tail_void(void **state)
{
	struct peer *p = peer_create();
	struct wire_hello h;
	struct test_batch b;

	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	assert_int_equal(peer_send(p, 1, seq_pack(1, 7), 0), 0);
	test_batch_begin(&b, 2, seq_pack(1, 8));
	test_batch_extent(&b, 0, 0, 65536, EXTENT_DATA, 5, 0, 0);
	peer_put(p, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
	test_batch_free(&b);
	assert_int_equal(peer_feed(p), 0);
	assert_true(sim_env_pending(p->sim) > 0);
	peer_reconnect(p);
	memset(p->got, 0, sizeof(p->got));
	h = peer_hello_of("group", 1, 1, 8, 0);
	peer_hello(p, &h);
	peer_put(p, WIRE_PING, "12345678", 8);
	assert_int_equal(peer_feed(p), 0);
	assert_int_equal(p->got[WIRE_HELLO_ANSWER], 0);
	assert_true(p->bytes > 0);	/* nothing is taken meanwhile */
	peer_settle(p);
	assert_int_equal(p->got[WIRE_HELLO_ANSWER], 1);
	assert_int_equal(p->answer.ordinal, 1);
	assert_int_equal(peer_feed(p), 0);
	assert_int_equal(p->got[WIRE_PONG], 1);
	assert_int_equal(peer_send(p, 2, seq_pack(1, 9), 0), 0);
	peer_destroy(p);
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
		struct peer *p = peer_create();

		assert_int_equal(peer_greet(p, 9, 0, 0, 0), 0);
		peer_reconnect(p);
		assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
		assert_int_equal(p->answer.incarnation, 2);
		assert_int_equal(peer_send(p, 1, seq_pack(2, 50), 0), 0);
		peer_settle(p);
		peer_reconnect(p);
		assert_int_equal(peer_greet(p, cases[i].instance, cases[i].incarnation,
					    cases[i].newest, cases[i].durable), 0);
		assert_int_equal(p->answer.status, cases[i].status);
		assert_int_equal(p->answer.incarnation, cases[i].granted);
		if (!strstr(p->answer.text, cases[i].text))
			fail_msg("case %d: %s", (int)i, p->answer.text);
		/* What it was granted holds the next time. */
		peer_reconnect(p);
		assert_int_equal(peer_greet(p, cases[i].instance, cases[i].granted, 90, 1), 0);
		assert_int_equal(p->answer.status, WIRE_OK);
		peer_destroy(p);
	}
}

/* A commit at number 50, of vdb with this list; 0: none, -1: vdb is no member. */
static void send_listed(struct peer *p, uint64_t ordinal, uint32_t incarnation, int64_t log_no)
{
	struct test_batch b;

	test_batch_begin(&b, ordinal, seq_pack(incarnation, 50));
	test_batch_extent(&b, 1, 0, 4096, EXTENT_DATA, ordinal, 0, 0);
	b.volumes[b.nr_volumes++] = (struct commit_volume){ .volume = 0, .size_bytes = 1 << 20 };
	if (log_no >= 0)
		b.volumes[b.nr_volumes++] = (struct commit_volume){
			.volume = 1, .log_no = log_no, .size_bytes = 2 << 20 };
	test_batch_end(&b);
	peer_put(p, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
	peer_put(p, WIRE_COMMIT, b.record, b.record_bytes);
	test_batch_free(&b);
	assert_int_equal(peer_feed(p), 0);
	peer_settle(p);
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
		struct peer *p = peer_create();
		struct wire_hello h;
		bool fits;

		memset(kept.kept_instance, cases[i].instance, sizeof(kept.kept_instance));
		assert_int_equal(peer_greet(p, 9, 0, 0, 0), 0);
		peer_reconnect(p);
		assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
		send_listed(p, 1, 2, cases[i].committed);
		peer_reconnect(p);
		assert_int_equal(peer_greet(p, 2, 0, 0, 0), 0);
		if (cases[i].went_on)
			send_listed(p, 2, 3, cases[i].committed);
		peer_reconnect(p);
		h = peer_hello_of("group", 5, 0, 0, 0);
		peer_hello_kept(p, &h, &kept);
		assert_int_equal(peer_feed(p), 0);
		peer_settle(p);
		fits = p->volumes[1].flags & WIRE_VOLUME_KEPT_FITS;
		if (fits != !cases[i].wrong)
			fail_msg("case %d: %s", (int)i, p->answer.text);
		if (cases[i].wrong && !strstr(p->answer.text, cases[i].wrong))
			fail_msg("case %d: %s", (int)i, p->answer.text);
		/* Whatever is said of vdb, nothing was kept of vda. */
		assert_false(p->volumes[0].flags & WIRE_VOLUME_KEPT_FITS);
		peer_destroy(p);
	}
}

/* Its group goes on in a branch: whatever epoch it names, and when it was live a moment ago. */
static void a_source_that_was_taken_over_from_is_turned_away(void **state)
{
	struct peer *p = peer_create();
	struct wire_hello h;
	char why[TIMELINE_TEXT_BYTES];
	const struct timeline_commit *commits;

	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	send_listed(p, 1, 1, 0);
	assert_int_equal(timeline_commits(p->tl, &commits), 1);
	assert_int_equal(branch_create(p->env, "/group", "dr", p->tl, commits[0].cut_seq, why), 0);
	assert_int_equal(branch_promote(p->tl, "dr", true, why), 0);
	for (uint32_t epoch = 0; epoch < 3; epoch++) {
		peer_reconnect(p);
		h = peer_hello_of("group", 1, 1, 1000, 0);
		h.epoch = htole32(epoch);
		peer_hello(p, &h);
		assert_int_equal(peer_feed(p), -EACCES);
		assert_int_equal(p->answer.status, WIRE_REFUSED);
		assert_non_null(strstr(p->answer.text, "branch dr is its main line since "));
		assert_non_null(strstr(p->answer.text, "(epoch 1)"));
	}
	assert_null(p->live);
	peer_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_source_appends_and_is_told_what_is_durable),
		cmocka_unit_test(hello_waits_until_the_store_is_idle_and_the_tail_void),
		cmocka_unit_test(incarnations_are_judged),
		cmocka_unit_test(kept_maps_are_judged),
		cmocka_unit_test(a_source_that_was_taken_over_from_is_turned_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
