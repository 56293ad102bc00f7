// SPDX-License-Identifier: GPL-2.0-only
/* What a target's configuration says of how much it may take. */
#include "unit.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "../../userspace/target/limits_conf.h"
#include "../../userspace/target/pacer.h"

static_assert((uint64_t)LIMITS_RECLAIM_MAX << 20 <= PACER_MAX_BYTES_PER_S, "what a pacer can");

static void the_limit_is_configured(void **state)
{
	static const char *const wrong[] = { "", "0", "-1", "64M", "6 4", "16385", "99999999999999999999" };
	char why[LIMITS_TEXT_BYTES];
	struct limits_conf conf;

	limits_conf_init(&conf);
	assert_int_equal(conf.reclaim_bytes_per_s, 64 << 20);
	assert_int_equal(limits_conf_line(&conf, "target", "reclaim_mib_per_s", "7", why), 0);
	assert_int_equal(conf.reclaim_bytes_per_s, 7 << 20);
	assert_int_equal(limits_conf_line(&conf, "target", "reclaim_mib_per_s", "16384", why), 0);
	assert_int_equal(conf.reclaim_bytes_per_s, (uint64_t)LIMITS_RECLAIM_MAX << 20);
	assert_int_equal(limits_conf_line(&conf, "group erp", "reclaim_mib_per_s", "7", why), -ENOENT);
	assert_int_equal(limits_conf_line(&conf, "target", "listen", "7", why), -ENOENT);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(limits_conf_line(&conf, "target", "reclaim_mib_per_s", wrong[i], why),
				 -EINVAL);
		assert_non_null(strstr(why, "MiB from 1 to 16384"));
	}
	assert_int_equal(conf.reclaim_bytes_per_s, (uint64_t)LIMITS_RECLAIM_MAX << 20);
}

static void caps_are_of_the_store_or_of_a_group(void **state)
{
	static const struct { const char *text; uint64_t bytes; } sizes[] = {
		{ "1", 1 }, { "4096", 4096 }, { "3K", 3 << 10 }, { "48M", 48 << 20 },
		{ "500G", UINT64_C(500) << 30 }, { "2T", UINT64_C(2) << 40 },
		{ "4096P", UINT64_C(1) << 62 },
	};
	static const char *const wrong[] = { "", "0", "0G", "-1", "G", "1g", "1GiB", "1.5T", "1 G",
					     "4097P", "18446744073709551617" };
	char why[LIMITS_TEXT_BYTES];
	struct limits_conf conf;

	limits_conf_init(&conf);
	assert_int_equal(conf.max_bytes, 0);
	assert_int_equal(limits_conf_max(&conf, "erp"), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_int_equal(limits_conf_line(&conf, "target", "max_bytes", sizes[i].text, why), 0);
		assert_int_equal(conf.max_bytes, sizes[i].bytes);
	}
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		assert_int_equal(limits_conf_line(&conf, "group erp", "max_bytes", wrong[i], why),
				 -EINVAL);
		assert_non_null(strstr(why, "not a size"));
	}
	assert_int_equal(limits_conf_line(&conf, "group ../erp", "max_bytes", "1G", why), -EINVAL);
	assert_int_equal(limits_conf_line(&conf, "groups", "max_bytes", "1G", why), -ENOENT);
	/* That of the store is none of each group. */
	assert_int_equal(limits_conf_max(&conf, "erp"), 0);
	assert_int_equal(limits_conf_line(&conf, "group erp", "max_bytes", "1G", why), 0);
	assert_int_equal(limits_conf_line(&conf, "group web", "max_bytes", "2G", why), 0);
	assert_int_equal(limits_conf_line(&conf, "group erp", "max_bytes", "3G", why), 0);
	assert_int_equal(limits_conf_max(&conf, "erp"), UINT64_C(3) << 30);
	assert_int_equal(limits_conf_max(&conf, "web"), UINT64_C(2) << 30);
	limits_conf_fini(&conf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_limit_is_configured),
		cmocka_unit_test(caps_are_of_the_store_or_of_a_group),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
