// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <string.h>

#include "../../kmod/ring_core.h"

#define DESCS 32
#define PAYLOAD 65536

static struct blkship_ring_kernel kernel;
static struct blkship_ring_consumer consumer;
static struct blkship_desc descs[DESCS];
static struct blkship_entry entries[DESCS];
static uint8_t payload[PAYLOAD];
static struct blkship_ring ring;

static int setup(void **state)
{
	memset(&kernel, 0, sizeof(kernel));
	memset(&consumer, 0, sizeof(consumer));
	memset(descs, 0, sizeof(descs));
	memset(entries, 0, sizeof(entries));
	ring = (struct blkship_ring){
		.shared = &kernel, .consumer = &consumer, .descs = descs, .payload = payload,
		.entries = entries, .desc_count = DESCS, .payload_bytes = PAYLOAD,
	};
	blkship_ring_init(&ring);
	return 0;
}

static bool put(uint32_t bytes, uint64_t *seq, uint64_t *pos)
{
	struct blkship_write w = { .op = BLKSHIP_OP_WRITE, .length_bytes = bytes };

	return blkship_ring_reserve(&ring, &w, seq, pos);
}

static void end(uint64_t pos, uint64_t seq)
{
	assert_true(blkship_ring_end(&ring, pos, seq, BLKSHIP_STATE_DONE));
}

static void seqs_are_dense_captured_or_not(void **state)
{
	uint64_t seq, pos, want = 0;

	for (int i = 0; i < 100; i++) {
		put(4096, &seq, &pos);
		assert_int_equal(seq, ++want);
		assert_int_equal(kernel.newest_seq, want);
	}
	assert_int_equal(kernel.captured, 16);
	assert_int_equal(kernel.uncaptured, 84);
	assert_int_equal(kernel.overflows, 1);
	assert_int_equal(blkship_ring_mark(&ring), ++want);
}

static void a_write_passed_over_is_a_gap(void **state)
{
	uint64_t seq, pos;

	assert_true(put(4096, &seq, &pos));
	assert_int_equal(blkship_ring_pass_over(&ring), 2);
	assert_int_equal(kernel.newest_seq, 2);
	assert_int_equal(kernel.watermark_seq, 0);
	assert_int_equal(kernel.uncaptured, 1);
	assert_int_equal(kernel.overflows, 0);
	assert_true(put(4096, &seq, &pos));	/* capture goes on */
	assert_int_equal(seq, 3);
	end(0, 1);
	assert_int_equal(kernel.watermark_seq, 2);
}

static void watermark_waits_for_the_oldest(void **state)
{
	uint64_t seq[3], pos[3];

	for (int i = 0; i < 3; i++)
		assert_true(put(512, &seq[i], &pos[i]));
	assert_int_equal(kernel.watermark_seq, 0);
	end(pos[1], seq[1]);
	assert_int_equal(kernel.watermark_seq, 0);
	end(pos[0], seq[0]);
	assert_int_equal(kernel.watermark_seq, 2);
	assert_int_equal(kernel.watermark_pos, 2);
	end(pos[2], seq[2]);
	assert_int_equal(kernel.watermark_seq, 3);
	blkship_ring_mark(&ring);
	assert_int_equal(kernel.watermark_seq, 4);
	assert_false(blkship_ring_end(&ring, pos[2], seq[2], BLKSHIP_STATE_DONE));
}

static void only_released_space_is_reused(void **state)
{
	uint64_t seq[16], pos[16], s, p;

	for (int i = 0; i < 16; i++)
		assert_true(put(4096, &seq[i], &pos[i]));
	assert_false(put(4096, &s, &p));
	for (int i = 0; i < 16; i++)
		end(pos[i], seq[i]);
	assert_false(put(4096, &s, &p));	/* ended, not released */
	consumer.released_pos = 7;
	assert_false(put(4096, &s, &p));	/* not half empty yet */
	consumer.released_pos = 8;
	assert_true(put(4096, &s, &p));
	assert_int_equal(kernel.desc_tail, 8);
}

static void nonsense_from_the_consumer_is_not_followed(void **state)
{
	uint64_t seq, pos, first, at;

	assert_true(put(4096, &first, &at));
	consumer.released_pos = 1;		/* still open */
	put(4096, &seq, &pos);
	assert_int_equal(kernel.desc_tail, 0);
	consumer.released_pos = UINT64_MAX;
	put(4096, &seq, &pos);
	assert_int_equal(kernel.desc_tail, 0);
	assert_int_equal(kernel.rejected_positions, 2);
	end(at, first);
	consumer.released_pos = 1;
	put(4096, &seq, &pos);
	assert_int_equal(kernel.desc_tail, 1);
	consumer.released_pos = 0;		/* backwards */
	put(4096, &seq, &pos);
	assert_int_equal(kernel.desc_tail, 1);
}

static void what_was_copied_while_a_later_one_ended_comes_after_it(void **state)
{
	uint64_t a, a_pos, b, b_pos;

	assert_true(put(8192, &a, &a_pos));
	assert_true(put(4096, &b, &b_pos));
	assert_true(blkship_ring_in_order(&ring, a));
	end(b_pos, b);
	assert_true(blkship_ring_in_order(&ring, b));
	assert_false(blkship_ring_in_order(&ring, a));
	blkship_ring_payload(&ring, a_pos)[0] = 77;
	blkship_ring_publish(&ring, a_pos, 0x1234);
	assert_true(blkship_ring_renew(&ring, 99, &a, &a_pos));
	assert_int_equal(a, 3);
	assert_int_equal(a_pos, 2);
	assert_true(blkship_ring_in_order(&ring, a));
	assert_int_equal(descs[0].state, BLKSHIP_STATE_ABORTED);
	assert_int_equal(kernel.watermark_seq, 2);	/* what was held up by it */
	assert_int_equal(descs[2].state, BLKSHIP_STATE_OPEN);
	assert_int_equal(descs[2].crc32c, 0x1234);
	assert_int_equal(descs[2].time_ns, 99);
	assert_int_equal(blkship_ring_payload(&ring, a_pos)[0], 77);
	assert_int_equal(kernel.captured, 2);
	assert_int_equal(kernel.renewed, 1);
	assert_int_equal(kernel.aborted, 0);
	assert_false(blkship_ring_end(&ring, 0, 1, BLKSHIP_STATE_DONE));
	end(a_pos, a);
	assert_int_equal(kernel.watermark_seq, 3);
}

static void payload_of_a_renewed_record_stays_until_that_is_released(void **state)
{
	uint64_t a, a_pos, b, b_pos, c, c_pos;

	assert_true(put(8192, &a, &a_pos));
	assert_true(put(4096, &b, &b_pos));
	assert_true(put(4096, &c, &c_pos));
	end(b_pos, b);
	assert_true(blkship_ring_renew(&ring, 0, &a, &a_pos));
	end(c_pos, c);
	consumer.released_pos = 3;
	blkship_ring_collect(&ring);
	assert_int_equal(kernel.desc_tail, 3);
	assert_int_equal(kernel.payload_tail, 0);
	end(a_pos, a);
	consumer.released_pos = 4;
	blkship_ring_collect(&ring);
	assert_int_equal(kernel.payload_tail, 16384);
}

static void what_has_ended_or_finds_no_descriptor_is_not_renewed(void **state)
{
	struct blkship_write zero = { .op = BLKSHIP_OP_ZERO, .length_bytes = 512 };
	uint64_t a, a_pos, seq, pos;

	assert_true(put(4096, &a, &a_pos));
	while (blkship_ring_reserve(&ring, &zero, &seq, &pos))
		;
	assert_false(blkship_ring_renew(&ring, 0, &a, &a_pos));
	assert_int_equal(a, 1);
	assert_int_equal(a_pos, 0);
	end(a_pos, a);
	consumer.released_pos = 1;
	assert_false(blkship_ring_renew(&ring, 0, &a, &a_pos));
	assert_int_equal(kernel.renewed, 0);
}

static void a_spoiled_record_ends_as_a_gap(void **state)
{
	uint64_t seq[3], pos[3];

	for (int i = 0; i < 3; i++) {
		assert_true(put(4096, &seq[i], &pos[i]));
		blkship_ring_spoil(&ring, pos[i], seq[i]);
	}
	end(pos[0], seq[0]);
	assert_true(blkship_ring_end(&ring, pos[1], seq[1], BLKSHIP_STATE_FAILED));
	assert_true(blkship_ring_end(&ring, pos[2], seq[2], BLKSHIP_STATE_ABORTED));
	assert_int_equal(descs[0].state, BLKSHIP_STATE_GAP);
	assert_int_equal(descs[1].state, BLKSHIP_STATE_FAILED);
	assert_int_equal(descs[2].state, BLKSHIP_STATE_ABORTED);
	assert_int_equal(kernel.uncaptured, 3);
	assert_int_equal(kernel.timeouts, 0);
	assert_int_equal(kernel.watermark_seq, 3);
	blkship_ring_spoil(&ring, pos[0], seq[0]);	/* too late */
	assert_int_equal(kernel.uncaptured, 3);
}

static void a_write_without_an_entry_counts_when_it_ends(void **state)
{
	uint64_t seq, pos;

	assert_true(put(4096, &seq, &pos));
	blkship_ring_mark(&ring);
	assert_true(blkship_ring_in_order(&ring, seq));
	blkship_ring_ended(&ring, blkship_ring_mark(&ring));
	assert_false(blkship_ring_in_order(&ring, seq));
}

/* Any mix of sizes: payload never wraps inside a record, never overlaps live data. */
static void payload_is_never_overrun(void **state)
{
	struct live { uint64_t seq, pos, start, bytes; } live[DESCS];
	uint64_t seed = 9, head = 0, tail = 0, done = 0;

	for (int step = 0; step < 20000; step++) {
		struct live l;

		l.bytes = (1 + unit_random(&seed) % 32) * 512;
		if (unit_random(&seed) % 3 && put(l.bytes, &l.seq, &l.pos)) {
			l.start = blkship_ring_payload(&ring, l.pos) - payload;
			assert_true(l.start + l.bytes <= PAYLOAD);
			for (uint64_t i = tail; i < head; i++) {
				const struct live *o = &live[i % DESCS];

				assert_true(o->start >= l.start + l.bytes ||
					    l.start >= o->start + o->bytes);
			}
			live[head++ % DESCS] = l;
		} else if (done < head && unit_random(&seed) % 4 == 0 &&
			   blkship_ring_renew(&ring, 0, &live[done % DESCS].seq,
					      &live[done % DESCS].pos)) {
			/* The oldest that is open is the newest now; its old place is void. */
			const struct live renewed = live[done % DESCS];

			live[done++ % DESCS].bytes = 0;
			live[head++ % DESCS] = renewed;
		} else if (done < head && unit_random(&seed) % 2) {
			end(live[done % DESCS].pos, live[done % DESCS].seq);
			done++;
		} else if (tail < done) {
			tail += 1 + unit_random(&seed) % (done - tail);
			consumer.released_pos = tail;
			blkship_ring_collect(&ring);
		}
	}
	assert_true(head > 3000);
	assert_int_equal(kernel.rejected_positions, 0);
}

static void some_descriptors_are_kept_for_no_payload(void **state)
{
	struct blkship_write zero = { .op = BLKSHIP_OP_ZERO, .length_bytes = 1 << 30 };
	uint64_t seq, pos;
	int n = 0;

	while (put(512, &seq, &pos))
		n++;
	assert_int_equal(n, DESCS - DESCS / 16);
	setup(NULL);
	for (n = 0; n < DESCS; n++)
		assert_true(blkship_ring_reserve(&ring, &zero, &seq, &pos));
	assert_false(blkship_ring_reserve(&ring, &zero, &seq, &pos));
}

static void a_flush_never_makes_a_gap(void **state)
{
	struct blkship_write flush = { .op = BLKSHIP_OP_FLUSH };
	uint64_t seq, pos;

	assert_true(blkship_ring_flush(&ring, &flush, &pos));
	assert_int_equal(kernel.newest_seq, 1);
	while (put(4096, &seq, &pos))
		;
	assert_false(blkship_ring_flush(&ring, &flush, &pos));
	assert_int_equal(kernel.newest_seq, seq);
}

static void overdue_entries_are_found_and_end_as_gaps(void **state)
{
	struct blkship_write w = { .op = BLKSHIP_OP_WRITE, .length_bytes = 512 };
	uint64_t seq, pos, from = 0;
	const struct blkship_entry *e;
	uint32_t budget = 100;

	for (w.submit_ns = 1; w.submit_ns <= 4; w.submit_ns++)
		blkship_ring_reserve(&ring, &w, &seq, &pos);
	end(1, 2);
	e = blkship_ring_overdue(&ring, 3, &from, &budget);
	assert_int_equal(e->seq, 1);
	e = blkship_ring_overdue(&ring, 3, &from, &budget);
	assert_int_equal(e->seq, 3);
	assert_null(blkship_ring_overdue(&ring, 3, &from, &budget));
	assert_true(blkship_ring_end(&ring, 0, 1, BLKSHIP_STATE_GAP));
	assert_int_equal(kernel.watermark_seq, 2);
	assert_int_equal(kernel.timeouts, 1);
	/* Its completion comes later: no entry. */
	assert_false(blkship_ring_end(&ring, 0, 1, BLKSHIP_STATE_DONE));
}

static void a_search_for_overdue_entries_goes_on_where_its_budget_ended(void **state)
{
	struct blkship_write w = { .op = BLKSHIP_OP_ZERO, .length_bytes = 512, .submit_ns = 9 };
	uint64_t seq, pos, from = 0;
	uint32_t budget = 4;

	for (int i = 0; i < 10; i++) {
		w.submit_ns = i == 6 ? 1 : 9;
		blkship_ring_reserve(&ring, &w, &seq, &pos);
	}
	assert_null(blkship_ring_overdue(&ring, 5, &from, &budget));
	assert_int_equal(budget, 0);
	assert_null(blkship_ring_overdue(&ring, 5, &from, &budget));
	assert_int_equal(from, 4);
	budget = 4;
	assert_int_equal(blkship_ring_overdue(&ring, 5, &from, &budget)->seq, 7);
	assert_int_equal(budget, 1);
	budget = 4;
	assert_null(blkship_ring_overdue(&ring, 5, &from, &budget));
	assert_int_equal(budget, 1);		/* that was all of them */
}

static void wakes_when_asked(void **state)
{
	uint64_t seq[2], pos[2];

	put(4096, &seq[0], &pos[0]);
	put(4096, &seq[1], &pos[1]);
	assert_false(blkship_ring_wants_wake(&ring));
	consumer.wake_payload = 8192;
	end(pos[0], seq[0]);
	assert_false(blkship_ring_wants_wake(&ring));
	end(pos[1], seq[1]);
	assert_true(blkship_ring_wants_wake(&ring));
	consumer.wake_payload = 0;
	consumer.wake_pos = 2;
	assert_true(blkship_ring_wants_wake(&ring));
	consumer.wake_pos = 3;
	assert_false(blkship_ring_wants_wake(&ring));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(seqs_are_dense_captured_or_not, setup),
		cmocka_unit_test_setup(a_write_passed_over_is_a_gap, setup),
		cmocka_unit_test_setup(watermark_waits_for_the_oldest, setup),
		cmocka_unit_test_setup(only_released_space_is_reused, setup),
		cmocka_unit_test_setup(nonsense_from_the_consumer_is_not_followed, setup),
		cmocka_unit_test_setup(what_was_copied_while_a_later_one_ended_comes_after_it,
				       setup),
		cmocka_unit_test_setup(payload_of_a_renewed_record_stays_until_that_is_released,
				       setup),
		cmocka_unit_test_setup(what_has_ended_or_finds_no_descriptor_is_not_renewed,
				       setup),
		cmocka_unit_test_setup(a_spoiled_record_ends_as_a_gap, setup),
		cmocka_unit_test_setup(a_write_without_an_entry_counts_when_it_ends, setup),
		cmocka_unit_test_setup(payload_is_never_overrun, setup),
		cmocka_unit_test_setup(some_descriptors_are_kept_for_no_payload, setup),
		cmocka_unit_test_setup(a_flush_never_makes_a_gap, setup),
		cmocka_unit_test_setup(overdue_entries_are_found_and_end_as_gaps, setup),
		cmocka_unit_test_setup(a_search_for_overdue_entries_goes_on_where_its_budget_ended,
				       setup),
		cmocka_unit_test_setup(wakes_when_asked, setup),
	};

	return cmocka_run_group_tests_name("ring_core", tests, NULL, NULL);
}
