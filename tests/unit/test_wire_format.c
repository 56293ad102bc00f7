// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/lib/wire_format.h"

static uint64_t frame_mem[16];
static uint8_t *const frame = (uint8_t *)frame_mem;

static size_t frame_make(void)
{
	memset(frame, 0, sizeof(frame_mem));
	memcpy(frame + 32, "twenty-four bytes here!!", 24);
	return wire_encode(frame, WIRE_PING, 24, 7);
}

static void wire_round_trip(void **state)
{
	size_t bytes = frame_make();
	struct wire_header h;

	assert_int_equal(bytes, 56);
	assert_int_equal(wire_decode(frame, 128, 7, &h), 56);
	assert_int_equal(h.type, WIRE_PING);
	assert_int_equal(h.payload_bytes, 24);
}

/* docs/WIRE.md names these offsets. */
static void wire_header_lies_as_documented(void **state)
{
	static const uint8_t want[24] = { 'B', 'S', 'W', '1', 1, WIRE_PING, 0, 0,
					  0, 0, 0, 0, 24, 0, 0, 0, 7 };

	frame_make();
	assert_memory_equal(frame, want, sizeof(want));
}

static void wire_waits_for_a_whole_frame(void **state)
{
	size_t bytes = frame_make();
	struct wire_header h;

	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(wire_decode(frame, i, 7, &h), 0);
}

static void wire_refuses_every_flipped_bit(void **state)
{
	size_t bytes = frame_make();
	struct wire_header h;

	for (size_t bit = 0; bit < bytes * 8; bit++) {
		frame[bit / 8] ^= 1 << bit % 8;
		/* A longer length asks for more bytes, and fails when they come. */
		assert_true(wire_decode(frame, sizeof(frame_mem), 7, &h) <= 0);
		frame[bit / 8] ^= 1 << bit % 8;
	}
}

static void wire_refuses_bad_fields(void **state)
{
	struct wire_header h;

	frame_make();
	assert_int_equal(wire_decode(frame, 56, 8, &h), -EBADMSG);
	wire_encode(frame, WIRE_PING, 16, 7);
	frame[12] = 1;		/* 17 bytes: no multiple of 8 */
	assert_int_equal(wire_decode(frame, 56, 7, &h), -EPROTO);
	frame_make();
	frame[15] = 1;		/* 16 MiB */
	assert_int_equal(wire_decode(frame, 56, 7, &h), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wire_round_trip),
		cmocka_unit_test(wire_header_lies_as_documented),
		cmocka_unit_test(wire_waits_for_a_whole_frame),
		cmocka_unit_test(wire_refuses_every_flipped_bit),
		cmocka_unit_test(wire_refuses_bad_fields),
	};

	return cmocka_run_group_tests_name("wire_format", tests, NULL, NULL);
}
