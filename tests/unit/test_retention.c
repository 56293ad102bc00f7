// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/when.h"
#include "../../userspace/store/retention.h"

#define S	((uint64_t)WHEN_NS)
#define MIN	(60 * S)
#define HOUR	(60 * MIN)
#define DAY	(24 * HOUR)
/* A whole hour, and so a whole stretch of any tier here. */
#define T0	(497000 * HOUR)

static struct retention_policy policy_of(const char *text)
{
	struct retention_policy p;
	char why[RETENTION_TEXT_BYTES] = "";

	if (retention_parse(text, &p, why))
		fail_msg("%s: %s", text, why);
	return p;
}

static void policies_are_read_and_written(void **state)
{
	static const char *const same[] = {
		RETENTION_DEFAULT, "all:24h", "10s:1m", "all:48h", "1m:1h,1h:24h,24h:365d",
	};
	char text[RETENTION_TEXT_BYTES];

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		struct retention_policy p = policy_of(same[i]), again;

		retention_format(&p, text, sizeof(text));
		again = policy_of(text);
		assert_memory_equal(&p, &again, sizeof(p));
	}
	retention_format(&(struct retention_policy){ .nr_tiers = 1, .tiers = { { 0, DAY } } }, text,
			 sizeof(text));
	assert_string_equal(text, "all:24h");
}

static void nonsense_is_refused_with_the_reason(void **state)
{
	static const struct { const char *text, *why; } bad[] = {
		{ "", "EVERY:FOR" },
		{ "all", "EVERY:FOR" },
		{ "all:", "not a time" },
		{ "all:0s", "not a time" },
		{ "0s:1h", "not a time" },
		{ "5m:1h,all:7d", "only the first tier" },
		{ "all:24h,5m:24h", "tier 2" },
		{ "5m:24h,5m:7d", "tier 2" },
		{ "1h:24h,5m:7d", "tier 2" },
		{ "7m:24h,1h:7d", "tier 2" },
		{ "2h:1h", "shorter than" },
		{ "all:24h,", "EVERY:FOR" },
		{ "all:99999999999999999999d", "not a time" },
		{ "1s:1m,2s:2m,4s:3m,8s:4m,16s:5m,32s:6m,64s:7m,128s:8m,256s:9m", "more than 8" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char why[RETENTION_TEXT_BYTES] = "";
		struct retention_policy p;

		assert_int_equal(retention_parse(bad[i].text, &p, why), -EINVAL);
		if (!strstr(why, bad[i].why))
			fail_msg("%s: %s", bad[i].text, why);
	}
}

/* Points at one a second for so long, up to @now_ns. */
static struct retention_point *seconds(uint64_t now_ns, uint64_t length_ns, size_t *nr)
{
	struct retention_point *points;

	*nr = length_ns / S;
	points = calloc(*nr, sizeof(*points));
	assert_non_null(points);
	for (size_t i = 0; i < *nr; i++)
		points[i].time_ns = now_ns - (*nr - 1 - i) * S;
	return points;
}

static size_t kept_between(const struct retention_point *points, size_t nr, uint64_t from_ns,
			   uint64_t to_ns)
{
	size_t kept = 0;

	for (size_t i = 0; i < nr; i++)
		kept += points[i].keep && points[i].time_ns >= from_ns && points[i].time_ns < to_ns;
	return kept;
}

static void each_tier_keeps_what_it_says(void **state)
{
	struct retention r = { .policy = policy_of("all:1h,5m:6h,1h:24h") };
	struct retention_point *points;
	size_t nr, kept;

	points = seconds(T0, 30 * HOUR, &nr);
	kept = retention_apply(&r, T0, points, nr);
	assert_int_equal(kept_between(points, nr, T0 - HOUR, T0 + 1), 3601);
	assert_int_equal(kept_between(points, nr, T0 - 6 * HOUR, T0 - HOUR), 5 * 12);
	/* The point exactly a day old has just expired. */
	assert_int_equal(kept_between(points, nr, 0, T0 - 24 * HOUR + 1), 0);
	assert_int_equal(kept_between(points, nr, T0 - 24 * HOUR, T0 - 6 * HOUR), 18);
	assert_true(kept <= retention_max_points(&r.policy));
	/* Of five minutes it is the last second that stays. */
	for (size_t i = 0; i < nr; i++)
		if (points[i].time_ns == T0 - 3 * HOUR - S)
			assert_true(points[i].keep);
		else if (points[i].time_ns == T0 - 3 * HOUR)
			assert_false(points[i].keep);
	free(points);
}

/* Hour by hour, with what went really gone: nothing that stays depends on what went. */
static void thinning_little_by_little_is_thinning_at_once(void **state)
{
	struct retention r = { .policy = policy_of("all:1h,6m:5h,1h:20h") };
	struct retention_point *all, *some;
	uint64_t seed = 42, end_ns = T0 + 30 * HOUR;
	size_t nr, left, n;

	all = seconds(end_ns, 40 * HOUR, &nr);
	some = seconds(end_ns, 40 * HOUR, &left);
	for (uint64_t now_ns = end_ns - 40 * HOUR; now_ns < end_ns;
	     now_ns += unit_random(&seed) % HOUR) {
		size_t here = 0;

		while (here < left && some[here].time_ns <= now_ns)
			here++;
		retention_apply(&r, now_ns, some, here);
		n = 0;
		for (size_t i = 0; i < left; i++)
			if (i >= here || some[i].keep)
				some[n++] = some[i];
		left = n;
	}
	retention_apply(&r, end_ns, some, left);
	retention_apply(&r, end_ns, all, nr);
	n = 0;
	for (size_t i = 0; i < nr; i++) {
		if (!all[i].keep)
			continue;
		while (n < left && (!some[n].keep || some[n].time_ns < all[i].time_ns))
			n++;
		assert_true(n < left && some[n].time_ns == all[i].time_ns);
	}
	free(all);
	free(some);
}

/* A source that was silent for a year has its last point. */
static void the_newest_point_never_goes(void **state)
{
	struct retention r = { .policy = policy_of(RETENTION_DEFAULT) };
	struct retention_point points[] = { { .time_ns = T0 }, { .time_ns = T0 + S } };

	assert_int_equal(retention_apply(&r, T0 + 365 * DAY, points, 2), 1);
	assert_true(points[1].keep);
	assert_int_equal(retention_apply(&r, T0 + 365 * DAY, points, 0), 0);
}

static void what_is_pinned_stays(void **state)
{
	struct retention r = { .policy = policy_of("all:1m") };
	struct retention_point points[] = {
		{ .time_ns = T0 }, { .time_ns = T0 + S, .pinned = true }, { .time_ns = T0 + 2 * S },
	};

	assert_int_equal(retention_apply(&r, T0 + DAY, points, 3), 2);
	assert_false(points[0].keep);
	assert_true(points[1].keep);
}

/* A clock set back, on whichever side: what lies ahead is as young as can be. */
static void points_of_the_future_stay(void **state)
{
	struct retention r = { .policy = policy_of("all:1m,5m:1h") };
	struct retention_point points[] = {
		{ .time_ns = T0 + DAY }, { .time_ns = T0 + DAY + 1 }, { .time_ns = T0 + DAY + 2 },
	};

	assert_int_equal(retention_apply(&r, T0, points, 3), 3);
}

static void a_new_policy_shortens_nothing_in_the_immutable_window(void **state)
{
	struct retention_past past = { .policy = policy_of("all:24h,1h:30d") };
	struct retention r = {
		.policy = policy_of("1h:2h"), .immutable_ns = 12 * HOUR, .past = &past, .nr_past = 1,
	};
	struct retention_point *points;
	size_t nr;

	past.until_ns = T0 - HOUR;
	points = seconds(T0, 20 * HOUR, &nr);
	retention_apply(&r, T0, points, nr);
	/* All that the window holds from before the change. */
	assert_int_equal(kept_between(points, nr, T0 - 12 * HOUR + 1, T0 - HOUR), 11 * 3600 - 1);
	/* What was made after it is under the new one: the last of its hour, and the newest. */
	assert_int_equal(kept_between(points, nr, T0 - HOUR, T0 + 1), 2);
	/* And what has left the window as well. */
	assert_int_equal(kept_between(points, nr, 0, T0 - 12 * HOUR + 1), 0);
	r.nr_past = 0;
	retention_apply(&r, T0, points, nr);
	assert_int_equal(kept_between(points, nr, 0, T0 - 2 * HOUR), 0);
	free(points);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(policies_are_read_and_written),
		cmocka_unit_test(nonsense_is_refused_with_the_reason),
		cmocka_unit_test(each_tier_keeps_what_it_says),
		cmocka_unit_test(thinning_little_by_little_is_thinning_at_once),
		cmocka_unit_test(the_newest_point_never_goes),
		cmocka_unit_test(what_is_pinned_stays),
		cmocka_unit_test(points_of_the_future_stay),
		cmocka_unit_test(a_new_policy_shortens_nothing_in_the_immutable_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
