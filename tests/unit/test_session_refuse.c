// SPDX-License-Identifier: GPL-2.0-only
/* The target's side of a connection: who is turned away, and what ends it. */
#include "unit.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../host/peer.h"

static void who_may_not_is_turned_away(void **state)
{
	struct peer *p = peer_create();
	struct session *first;
	struct wire_hello h;

	/* Another machine's certificate. */
	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	peer_reconnect(p);
	session_destroy(p->s);
	p->identity = "host-b";
	p->s = peer_session(p);
	assert_int_equal(peer_greet(p, 1, 0, 0, 0), -EACCES);
	assert_int_equal(p->error.code, WIRE_ERR_NOT_YOURS);

	/* A second live session: of another instance, then of the same. */
	session_destroy(p->s);
	p->identity = "host-a";
	p->s = peer_session(p);
	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	first = p->s;
	p->s = peer_session(p);
	assert_int_equal(peer_greet(p, 2, 0, 0, 0), -EBUSY);
	assert_int_equal(p->answer.status, WIRE_BUSY);
	session_destroy(p->s);
	p->s = peer_session(p);
	assert_int_equal(peer_greet(p, 1, 2, 0, 0), 0);
	assert_int_equal(p->answer.status, WIRE_OK);
	assert_int_equal(session_progress(first), -ESHUTDOWN);
	session_destroy(first);

	/* Versions. */
	peer_reconnect(p);
	h = peer_hello_of("group", 1, 2, 0, 0);
	h.version_min = h.version_max = 2;
	peer_hello(p, &h);
	assert_int_equal(peer_feed(p), -EACCES);
	assert_int_equal(p->answer.status, WIRE_REFUSED);

	/* A damaged, and a full store. */
	peer_reconnect(p);
	p->get_error = -EUCLEAN;
	assert_int_equal(peer_greet(p, 1, 2, 0, 0), -EACCES);
	assert_int_equal(p->answer.status, WIRE_REFUSED);
	assert_non_null(strstr(p->answer.text, "damaged at the target: because"));
	peer_reconnect(p);
	p->get_error = -ENOSPC;
	assert_int_equal(peer_greet(p, 1, 2, 0, 0), -ENOSPC);
	assert_int_equal(p->error.code, WIRE_ERR_NO_SPACE);
	peer_destroy(p);
}

static void names_cannot_leave_their_directory(void **state)
{
	static const char *const bad[] = { "", ".", "..", "../x", "a/b", ".hidden", "a b", "a\n",
					   "\xc3\xa9", "0123456789012345678901234567890123456789" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct peer *p = peer_create();
		struct wire_hello h = peer_hello_of(bad[i], 1, 0, 0, 0);

		if (i == ARRAY_SIZE(bad) - 1)
			memset(h.group, 'a', sizeof(h.group));	/* no end */
		peer_hello(p, &h);
		assert_int_equal(peer_feed(p), -EPROTO);
		assert_int_equal(p->error.code, WIRE_ERR_PROTOCOL);
		assert_null(p->tl);
		peer_destroy(p);
	}
}

static void only_enrolment_without_a_certificate(void **state)
{
	struct peer *p = peer_create();
	struct { struct wire_enroll e; char csr[24]; } msg = {
		.e = { .token_id = "good", .host = "a", .csr_bytes = 19 }, .csr = "request" };

	peer_put(p, WIRE_ENROLL, &msg, sizeof(msg));
	assert_int_equal(peer_feed(p), -EPROTO);	/* it has one */
	session_destroy(p->s);
	p->identity = NULL;
	p->s = peer_session(p);
	assert_int_equal(peer_greet(p, 1, 0, 0, 0), -EACCES);
	assert_int_equal(p->error.code, WIRE_ERR_NOT_YOURS);
	session_destroy(p->s);
	p->s = peer_session(p);
	peer_put(p, WIRE_ENROLL, &msg, sizeof(msg));
	peer_feed(p);
	assert_int_equal(p->got[WIRE_ENROLL_ANSWER], 1);
	session_destroy(p->s);
	p->s = peer_session(p);
	msg.e.token_id[0] = 'b';
	peer_put(p, WIRE_ENROLL, &msg, sizeof(msg));
	assert_int_equal(peer_feed(p), -EACCES);
	assert_int_equal(p->error.code, WIRE_ERR_TOKEN);
	assert_non_null(strstr(p->error.text, "no such token"));
	session_destroy(p->s);
	p->s = peer_session(p);
	msg.e.csr_bytes = 100;
	peer_put(p, WIRE_ENROLL, &msg, sizeof(msg));
	assert_int_equal(peer_feed(p), -EPROTO);
	peer_destroy(p);
}

static void bad_input_ends_it_with_a_word(void **state)
{
	struct peer *p = peer_create();
	uint32_t type[2] = { 77 };
	struct test_batch b;
	uint8_t unit[UNIT_MAX_BYTES];

	peer_put(p, 77, type, 8);
	assert_int_equal(peer_feed(p), 0);
	assert_int_equal(p->unsupported, 77);
	assert_int_equal(peer_send(p, 1, seq_pack(1, 5), 0), -EPROTO);	/* before HELLO */

	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	assert_int_equal(peer_send(p, 2, seq_pack(1, 5), 0), -EPROTO);
	assert_int_equal(p->error.code, WIRE_ERR_PROTOCOL);

	/* A whole frame with a damaged unit in it. */
	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 1, 0, 0), 0);
	test_batch_begin(&b, 1, seq_pack(1, 5));
	test_batch_extent(&b, 0, 0, 4096, EXTENT_DATA, 1, 0, 0);
	memcpy(unit, b.units[0], b.unit_bytes[0]);
	unit[200] ^= 1;
	peer_put(p, WIRE_UNIT, unit, b.unit_bytes[0]);
	assert_int_equal(peer_feed(p), -EBADMSG);
	assert_int_equal(p->error.code, WIRE_ERR_CORRUPT);
	test_batch_free(&b);

	/* More than the credit. */
	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 1, 0, 0), 0);
	for (uint64_t n = 1, used = 0; ; n++) {
		int ret;

		test_batch_begin(&b, 1, seq_pack(1, 5));
		test_batch_extent(&b, 0, 0, 65536, EXTENT_DATA, 1, 0, 0);
		peer_put(p, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
		used += b.unit_bytes[0];
		test_batch_free(&b);
		ret = peer_feed(p);
		if (used <= PEER_WINDOW) {
			assert_int_equal(ret, 0);
			continue;
		}
		assert_int_equal(ret, -EPROTO);
		assert_non_null(strstr(p->error.text, "credit"));
		break;
	}
	sim_env_complete_all(p->sim);

	/* A second HELLO, an error of the peer. */
	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 1, 0, 0), 0);
	assert_int_equal(peer_greet(p, 1, 1, 0, 0), -EPROTO);
	peer_reconnect(p);
	peer_put(p, WIRE_ERROR, &p->error, sizeof(p->error));
	assert_int_equal(peer_feed(p), -ECONNRESET);
	peer_destroy(p);
}

static void a_failing_store_is_told(void **state)
{
	struct peer *p = peer_create();

	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	sim_env_fail(p->sim, SIM_FAULT_SYNC, 1, -EIO, false);
	assert_int_equal(peer_send(p, 1, seq_pack(1, 5), 0), -EIO);	/* making the file */
	assert_int_equal(p->error.code, WIRE_ERR_STORE);
	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 1, 5, 0), 0);
	assert_int_equal(p->answer.ordinal, 0);
	assert_int_equal(peer_send(p, 1, seq_pack(1, 5), 0), 0);
	sim_env_fail(p->sim, SIM_FAULT_WRITE, 1, -ENOSPC, false);
	peer_settle(p);
	assert_int_equal(p->error.code, WIRE_ERR_NO_SPACE);
	assert_int_equal(p->ack.durable_ordinal, 0);
	peer_reconnect(p);
	assert_int_equal(peer_greet(p, 1, 1, 5, 0), 0);
	assert_int_equal(p->answer.ordinal, 0);
	assert_int_equal(peer_send(p, 1, seq_pack(1, 5), 0), 0);
	peer_settle(p);
	assert_int_equal(p->ack.durable_ordinal, 1);
	peer_destroy(p);
}

static void a_batch_larger_than_the_window_passes(void **state)
{
	struct peer *p = peer_create();
	struct test_batch b;
	uint64_t sent = 0, credit;
	uint32_t units_crc = 0;
	struct commit_view view = { .header = { .ordinal = 1, .cut_seq = seq_pack(1, 5),
						.nr_units = 200 } };
	uint8_t record[COMMIT_MAX_BYTES];
	size_t bytes;

	assert_int_equal(peer_greet(p, 1, 0, 0, 0), 0);
	credit = p->answer.credit_bytes;
	for (int i = 0; i < 200; i++) {
		test_batch_begin(&b, 1, seq_pack(1, 5));
		test_batch_extent(&b, 0, i % 10 * 65536, 65536, EXTENT_DATA, i, 0, 0);
		if (credit - sent < b.unit_bytes[0]) {
			peer_settle(p);
			credit = p->ack.credit_bytes;
		}
		assert_true(credit - sent >= b.unit_bytes[0]);
		peer_put(p, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
		sent += b.unit_bytes[0];
		units_crc = crc32c_extend(units_crc, b.units[0] +
					  offsetof(struct unit_header, header_crc), 4);
		assert_int_equal(peer_feed(p), 0);
		test_batch_free(&b);
	}
	peer_settle(p);
	view.header.batch_bytes = sent;
	view.header.units_crc = units_crc;
	bytes = commit_encode(&view, record);
	peer_put(p, WIRE_COMMIT, record, bytes);
	assert_int_equal(peer_feed(p), 0);
	peer_settle(p);
	assert_int_equal(p->ack.durable_ordinal, 1);
	assert_true(sent > 2 * PEER_WINDOW);
	peer_destroy(p);
}

/* One conversation, cut or with a bit turned at any place: an error at most. */
static void any_cut_and_any_bit(void **state)
{
	static uint8_t talk[1 << 16] __attribute__((aligned(8)));
	struct peer *p = peer_create();
	struct wire_hello h = peer_hello_of("group", 1, 0, 0, 0);
	struct test_batch b;
	size_t bytes;

	peer_hello(p, &h);
	for (uint64_t n = 1; n <= 2; n++) {
		test_batch_begin(&b, n, seq_pack(1, n * 10));
		test_batch_extent(&b, 1, 4096, 1024, EXTENT_DATA, n, 0, 0);
		test_batch_end(&b);
		peer_put(p, WIRE_UNIT, b.units[0], b.unit_bytes[0]);
		peer_put(p, WIRE_COMMIT, b.record, b.record_bytes);
		test_batch_free(&b);
	}
	bytes = p->bytes;
	memcpy(talk, p->buf, bytes);
	for (size_t i = 0; i < 2 * bytes; i++) {
		struct timeline_state st;
		bool flip = i >= bytes;
		int ret;

		session_destroy(p->s);
		timeline_close(p->tl);
		p->tl = NULL;
		p->live = NULL;
		sim_env_reset(p->sim, i);
		p->s = peer_session(p);
		p->bytes = flip ? bytes : i;
		memcpy(p->buf, talk, bytes);
		if (flip)
			p->buf[i - bytes] ^= 1 << i % 8;
		ret = peer_feed_by(p, i % 3 ? SIZE_MAX / 2 : 100);
		if (!flip)
			assert_int_equal(ret, 0);
		sim_env_complete_all(p->sim);
		if (!p->tl)
			continue;
		timeline_state(p->tl, &st);
		assert_in_range(st.durable_ordinal, 0, flip ? 1 : 2);
	}
	peer_destroy(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_may_not_is_turned_away),
		cmocka_unit_test(names_cannot_leave_their_directory),
		cmocka_unit_test(only_enrolment_without_a_certificate),
		cmocka_unit_test(bad_input_ends_it_with_a_word),
		cmocka_unit_test(a_failing_store_is_told),
		cmocka_unit_test(a_batch_larger_than_the_window_passes),
		cmocka_unit_test(any_cut_and_any_bit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
