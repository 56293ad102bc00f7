// SPDX-License-Identifier: GPL-2.0-only
/* What a target's configuration says of what is kept. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/lib/when.h"
#include "../../userspace/target/retention_conf.h"

#define HOUR (UINT64_C(3600) * WHEN_NS)

static char why[RETENTION_TEXT_BYTES];

static void expect(const struct retention_conf *conf, const char *group, const char *policy,
		   uint64_t immutable_ns)
{
	struct groups_retention r;
	char text[RETENTION_TEXT_BYTES];

	retention_conf_get(conf, group, &r);
	retention_format(&r.policy, text, sizeof(text));
	assert_string_equal(text, policy);
	assert_int_equal(r.immutable_ns, immutable_ns);
}

static void expect_packing(const struct retention_conf *conf, const char *group, bool packing)
{
	struct groups_retention r;

	retention_conf_get(conf, group, &r);
	assert_int_equal(r.packing, packing);
}

static void a_group_overrides_what_is_for_all(void **state)
{
	struct retention_conf conf;

	retention_conf_init(&conf);
	expect(&conf, "erp", RETENTION_DEFAULT, 7 * 24 * HOUR);
	/* In any order. */
	assert_int_equal(retention_conf_line(&conf, "group erp", "retention", "all:48h", why), 0);
	assert_int_equal(retention_conf_line(&conf, "target", "immutable", "2d", why), 0);
	assert_int_equal(retention_conf_line(&conf, "target", "retention", "all:1h", why), 0);
	assert_int_equal(retention_conf_line(&conf, "group web", "immutable", "0", why), 0);
	expect(&conf, "erp", "all:2d", 48 * HOUR);
	expect(&conf, "web", "all:1h", 0);
	expect(&conf, "other", "all:1h", 48 * HOUR);
	expect_packing(&conf, "erp", true);
	assert_int_equal(retention_conf_line(&conf, "target", "packing", "no", why), 0);
	assert_int_equal(retention_conf_line(&conf, "group web", "packing", "yes", why), 0);
	expect_packing(&conf, "erp", false);
	expect_packing(&conf, "web", true);
	retention_conf_fini(&conf);
}

static void what_it_cannot_mean_is_refused(void **state)
{
	struct retention_conf conf;

	retention_conf_init(&conf);
	assert_int_equal(retention_conf_line(&conf, "target", "listen", "x", why), -ENOENT);
	assert_int_equal(retention_conf_line(&conf, "other", "retention", "all:1h", why), -ENOENT);
	assert_int_equal(retention_conf_line(&conf, "target", "retention", "5m", why), -EINVAL);
	assert_non_null(strstr(why, "EVERY:FOR"));
	assert_int_equal(retention_conf_line(&conf, "target", "immutable", "soon", why), -EINVAL);
	assert_non_null(strstr(why, "soon"));
	assert_int_equal(retention_conf_line(&conf, "group ../x", "immutable", "1h", why),
			 -EINVAL);
	assert_non_null(strstr(why, "../x"));
	assert_int_equal(retention_conf_line(&conf, "target", "packing", "maybe", why), -EINVAL);
	assert_non_null(strstr(why, "maybe"));
	expect(&conf, "erp", RETENTION_DEFAULT, 7 * 24 * HOUR);
	retention_conf_fini(&conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_overrides_what_is_for_all),
		cmocka_unit_test(what_it_cannot_mean_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
