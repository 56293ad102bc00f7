// SPDX-License-Identifier: GPL-2.0-only
/* What is said of the space that a timeline takes, and will. */
#include "unit.h"

#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/space.h"
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
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_rate_is_that_of_the_last_day),
		cmocka_unit_test(it_is_said_when_it_will_not_fit),
		cmocka_unit_test(what_is_there_is_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
