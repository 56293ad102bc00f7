// SPDX-License-Identifier: GPL-2.0-only
/* What is said of the space that a timeline takes, and will. */
#include "unit.h"

#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/space.h"
#include "../../userspace/store/space_warn.h"
#include "../host/rig.h"

#define S UINT64_C(1000000000)
#define DAY (86400 * S)
#define T0 (UINT64_C(1700000000) * S)

static void a_rate_is_that_of_the_last_day(void **state)
{
	struct timeline_commit c[100];
	uint64_t measured_ns;

	memset(c, 0, sizeof(c));
	for (size_t i = 0; i < 100; i++) {
		c[i].ordinal = i + 1;
		c[i].target_time_ns = T0 + i * 3600 * S;
		c[i].batch_bytes = i < 60 ? 1 << 30 : 1000;
	}
	assert_int_equal(space_rate(c, 100, &measured_ns), 24000);
	assert_int_equal(measured_ns, DAY);
	/* Half of it, as long as there is no more. */
	assert_int_equal(space_rate(c + 87, 13, &measured_ns), 24000);
	assert_int_equal(measured_ns, DAY / 2);
	/* What was dropped is not known. */
	c[90].ordinal = 200;
	assert_int_equal(space_rate(c, 90, &measured_ns), 24000);
	assert_int_equal(space_rate(c, 91, &measured_ns), 0);
	assert_int_equal(measured_ns, 0);
	/* Minutes say nothing of a day; nor does a clock that went back. */
	for (size_t i = 0; i < 100; i++)
		c[i] = (struct timeline_commit){ .ordinal = i + 1, .batch_bytes = 1,
						 .target_time_ns = T0 + i * 5 * S };
	assert_int_equal(space_rate(c, 100, &measured_ns), 0);
	c[98].target_time_ns = T0 + DAY;
	assert_int_equal(space_rate(c, 100, &measured_ns), 0);
	assert_int_equal(space_rate(c, 0, &measured_ns), 0);
}

static void it_is_said_when_it_will_not_fit(void **state)
{
	assert_int_equal(space_days_left(100, 50, 150, 10), UINT64_MAX);
	assert_int_equal(space_days_left(100, 50, 151, 10), 10);
	assert_int_equal(space_days_left(100, 50, 0, 10), 10);
	assert_int_equal(space_days_left(100, 50, 1000, 0), UINT64_MAX);
	assert_int_equal(space_days_left(0, 50, 151, 10), 0);
}

static void it_is_warned_whatever_the_rate(void **state)
{
	static const struct {
		struct space_place place;
		unsigned int want;
	} cases[] = {
		/* left, taken, most, day, window */
		{ { 100, 900, 0, 0, 0 }, 0 },
		{ { 99, 901, 0, 0, 0 }, SPACE_WARN_LOW },
		{ { 300, 700, 0, 10, 0 }, 0 },
		{ { 299, 701, 0, 10, 0 }, SPACE_WARN_SOON },
		{ { 299, 701, 1000, 10, 0 }, 0 },
		{ { 500, 500, 0, 1, 500 }, 0 },
		{ { 500, 500, 0, 1, 501 }, SPACE_WARN_WINDOW },
		{ { 0, 1000, 0, 1, 1 }, SPACE_WARN_SOON | SPACE_WARN_LOW | SPACE_WARN_WINDOW |
					SPACE_WARN_FULL },
		{ { 1 << 20, 0, 0, 0, 0 }, 0 },		/* nothing there yet */
	};
	char text[SPACE_TEXT_BYTES];

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		if (space_warn(&cases[i].place) != cases[i].want)
			fail_msg("case %zu: %x", i, space_warn(&cases[i].place));
	space_warn_text(&(struct space_place){ 3 << 20, 61 << 20, 0, 0, 0 }, SPACE_WARN_LOW, text);
	assert_string_equal(text, "3.0 MiB left of 64 MiB");
	space_warn_text(&(struct space_place){ 30 << 20, 0, 0, 2 << 20, 0 }, SPACE_WARN_SOON, text);
	assert_string_equal(text, "30 MiB left: may be full in 15 days, at 2.0 MiB a day");
}

/* To and fro about where it begins: said once, and over only with clearly more room. */
static void a_warning_is_over_when_it_clearly_is(void **state)
{
	struct space_place p = { 99, 901, 0, 0, 0 };
	unsigned int told = space_warn_again(&p, 0);

	assert_int_equal(told, SPACE_WARN_LOW);
	p = (struct space_place){ 130, 870, 0, 0, 0 };
	assert_int_equal(space_warn_again(&p, told), SPACE_WARN_LOW);
	assert_int_equal(space_warn_again(&p, 0), 0);
	p = (struct space_place){ 136, 864, 0, 0, 0 };
	assert_int_equal(space_warn_again(&p, told), 0);
	/* A cap that was reached. */
	p = (struct space_place){ 0, 3200, 0, 0, 0 };
	told = space_warn_again(&p, 0);
	assert_true(told & SPACE_WARN_FULL);
	p = (struct space_place){ 99, 3101, 0, 0, 0 };
	assert_true(space_warn_again(&p, told) & SPACE_WARN_FULL);
	p = (struct space_place){ 100, 3100, 0, 0, 0 };
	assert_int_equal(space_warn_again(&p, told), SPACE_WARN_LOW);
}

/* An hour of a point a minute, each with 4 KiB of zeroes. */
static void what_is_there_is_counted(void **state)
{
	uint64_t id = 0;
	struct space s;
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	rig_commits(&r, 61, 60 * S);
	assert_int_equal(space_measure(r.tl, &s), 0);
	assert_int_equal(s.nr_points, 61);
	assert_int_equal(s.measured_ns, 3600 * S);
	assert_int_equal(s.most_bytes, 0);
	assert_true(s.data_bytes > 61 * 4096 && s.data_bytes < 1 << 20);
	/* With a policy it has an end; a hold keeps one that it would not. */
	rig_retain(&r, "all:30m", 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 5), TIMELINE_PIN_HOLD, "", 0, &id), 0);
	id = 0;
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 60), TIMELINE_PIN_HOLD, "", 0, &id), 0);
	assert_int_equal(space_measure(r.tl, &s), 0);
	assert_int_equal(s.nr_pins, 2);
	assert_int_equal(s.pinned, 1);
	assert_in_range(s.most_bytes, s.data_bytes, s.data_bytes + s.day_bytes / 48 + 1);
	/* Half an hour more than there is: nothing of that may go before. */
	assert_int_equal(s.window_bytes, 0);
	rig_retain(&r, "all:30m", 5400 * S);
	assert_int_equal(space_measure(r.tl, &s), 0);
	assert_in_range(s.window_bytes, s.day_bytes / 48, s.day_bytes / 47);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_is_that_of_the_last_day),
		cmocka_unit_test(it_is_said_when_it_will_not_fit),
		cmocka_unit_test(it_is_warned_whatever_the_rate),
		cmocka_unit_test(a_warning_is_over_when_it_clearly_is),
		cmocka_unit_test(what_is_there_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
