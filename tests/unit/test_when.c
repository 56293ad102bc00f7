// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/when.h"

/* 2026-11-22 13:03:07 UTC, 14:03:07 in Berlin */
#define NOW_S	1795352587ull
#define NOW_NS	(NOW_S * WHEN_NS)

static void times_are_understood(void **state)
{
	static const struct { const char *text; uint64_t want_ns; } cases[] = {
		{ "-5m", NOW_NS - 300ull * WHEN_NS },
		{ "-0s", NOW_NS },
		{ "-1d2h3m4s", NOW_NS - (86400 + 7384ull) * WHEN_NS },
		{ "14:03:07", NOW_NS },
		{ "14:03", NOW_NS - 7ull * WHEN_NS },
		{ "14:03:07.25", NOW_NS + 250000000 },
		{ "14:04:07", NOW_NS + 60ull * WHEN_NS },
		{ "00:00:00", NOW_NS - (14 * 3600 + 3 * 60 + 7ull) * WHEN_NS },
		{ "2026-11-22T14:03:07+01:00", NOW_NS },
		{ "2026-11-22T13:03:07Z", NOW_NS },
		{ "2026-11-22T13:03:07.5z", NOW_NS + 500000000 },
		{ "2026-11-22t05:33:07-07:30", NOW_NS },
		{ "2026-11-22 14:03:07", NOW_NS },
		{ "2026-07-01T14:00:00", (1782907200ull) * WHEN_NS },	/* summer time */
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char why[WHEN_TEXT_BYTES] = "";
		struct when w;

		if (when_parse(cases[i].text, NOW_NS, &w, why) < 0)
			fail_msg("%s: %s", cases[i].text, why);
		assert_int_equal(w.kind, WHEN_TIME);
		if (w.time_ns != cases[i].want_ns)
			fail_msg("%s: %llu", cases[i].text, (unsigned long long)w.time_ns);
	}
}

static void latest_and_seqs_are_understood(void **state)
{
	char why[WHEN_TEXT_BYTES];
	struct when w;

	assert_int_equal(when_parse("latest", NOW_NS, &w, why), 0);
	assert_int_equal(w.kind, WHEN_LATEST);
	assert_int_equal(when_parse("seq:3:4711", NOW_NS, &w, why), 0);
	assert_int_equal(w.kind, WHEN_SEQ);
	assert_int_equal(w.seq, seq_pack(3, 4711));
	assert_int_equal(when_parse("seq:844424930136679", NOW_NS, &w, why), 0);
	assert_int_equal(w.seq, 844424930136679ull);
}

static void nonsense_is_refused(void **state)
{
	static const char *const bad[] = {
		"", "now", "Latest", "latest ", "5m", "-5", "-m", "-5x", "-5m5h", "-5m5m", "--5m",
		"-99999999999d", "-99999d", "25:00", "12:60", "12", "12:", "12:0x", ":12:00",
		"14:03:07.", "14:03:07Z", "2026-11-22", "2026-11-22T", "2026-13-01T00:00:00Z",
		"2026-11-22T14:03:07+1:00x", "2026-11-22T14:03:07+01", "2026-11-32T00:00:00Z",
		"1950-01-01T00:00:00Z", "2026-11-22T14:03:07 Z", "seq:", "seq:x", "seq:-1",
		"seq:65536:1", "seq:1:281474976710656", "seq:1:2:3", "seq:99999999999999999999999",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char why[WHEN_TEXT_BYTES];
		struct when w;

		if (when_parse(bad[i], NOW_NS, &w, why) != -EINVAL)
			fail_msg("'%s' was taken", bad[i]);
	}
}

/* It would be the newest point, and was meant to be last evening's. */
static void a_time_to_come_is_refused(void **state)
{
	char why[WHEN_TEXT_BYTES];
	struct when w;

	assert_int_equal(when_parse("23:50", NOW_NS, &w, why), -EINVAL);
	assert_non_null(strstr(why, "still to come"));
}

static void durations(void **state)
{
	uint64_t s;

	assert_int_equal(when_duration("15m", &s), 0);
	assert_int_equal(s, 900);
	assert_int_equal(when_duration("1h30m", &s), 0);
	assert_int_equal(s, 5400);
	assert_int_equal(when_duration("", &s), -EINVAL);
	assert_int_equal(when_duration("15", &s), -EINVAL);
	assert_int_equal(when_duration("15 m", &s), -EINVAL);
	assert_int_equal(when_duration("-15m", &s), -EINVAL);
}

static void times_are_printed(void **state)
{
	char text[64], why[WHEN_TEXT_BYTES];
	struct when w;

	when_utc(NOW_NS + 250999999, text, sizeof(text));
	assert_string_equal(text, "2026-11-22T13:03:07.250999999Z");
	assert_int_equal(when_parse(text, NOW_NS, &w, why), 0);
	assert_int_equal(w.time_ns, NOW_NS + 250999999);
	when_local(NOW_NS, text, sizeof(text));
	assert_string_equal(text, "2026-11-22 14:03:07 CET");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_understood),
		cmocka_unit_test(latest_and_seqs_are_understood),
		cmocka_unit_test(nonsense_is_refused),
		cmocka_unit_test(a_time_to_come_is_refused),
		cmocka_unit_test(durations),
		cmocka_unit_test(times_are_printed),
	};

	/* Spelled out, so that the test does not need a zone database. */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return cmocka_run_group_tests_name("when", tests, NULL, NULL);
}
