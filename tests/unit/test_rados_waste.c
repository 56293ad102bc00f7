// SPDX-License-Identifier: GPL-2.0-only
/* Who removes the data of removed files, and for how long: over a stand-in for directories. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "../../userspace/lib/env_host.h"
#include "../../userspace/rados/cluster.h"
#include "../../userspace/rados/dir.h"

#define MS UINT64_C(1000000)

static char swept[64];		/* directories, in order */
static uint64_t given_ns;	/* how much time the last had, at most */
static bool more;		/* there is not enough of it */
static void (*meanwhile)(void);

bool dir_sweep(struct cluster *c, const char *dir, uint64_t age_ns, uint64_t until_ns)
{
	assert_int_equal(age_ns, UINT64_C(900000000000));
	snprintf(swept + strlen(swept), sizeof(swept) - strlen(swept), "%s ", dir);
	given_ns = until_ns - env_host_monotonic_ns(NULL);
	if (meanwhile)
		meanwhile();
	return !more;
}

int dir_list(struct cluster *c, const char *dir,
	     void (*each)(void *arg, const char *name, const struct rados_entry *e), void *arg)
{
	const struct rados_entry file = { .kind = RADOS_KIND_FILE };
	const struct rados_entry below = { .kind = RADOS_KIND_DIRECTORY };

	each(arg, "manifest", &file);
	each(arg, "leases", &below);
	return 0;
}

static struct cluster cluster = { .lock = PTHREAD_MUTEX_INITIALIZER };
static struct waste_dir erp;
static int loop_env, worker_env;

static void expect_swept(const char *dirs)
{
	assert_string_equal(swept, dirs);
	swept[0] = 0;
}

static void only_what_is_ours_and_once_a_minute(void **state)
{
	waste_tidy(&cluster, &worker_env, "erp");
	expect_swept("");
	waste_own(&cluster, &erp, &loop_env, "erp");
	expect_swept("erp erp/leases ");
	waste_tidy(&cluster, &loop_env, "erp");
	waste_tidy(&cluster, &loop_env, "web");
	expect_swept("");
	waste_disown(&cluster, &erp);
	waste_tidy(&cluster, &loop_env, "erp");
	expect_swept("");
}

static void the_thread_that_ingests_spends_little_time(void **state)
{
	more = true;
	waste_own(&cluster, &erp, &loop_env, "erp");
	assert_in_range(given_ns, 0, 50 * MS);
	/* There was no time for all: it goes on, as soon as anything is removed. */
	waste_tidy(&cluster, &loop_env, "erp");
	assert_in_range(given_ns, 0, 50 * MS);
	expect_swept("erp erp ");
	more = false;
	waste_tidy(&cluster, &worker_env, "erp");
	assert_in_range(given_ns, 100 * MS, 5000 * MS);
	expect_swept("erp erp/leases ");
	waste_tidy(&cluster, &loop_env, "erp");
	waste_tidy(&cluster, &worker_env, "erp");
	expect_swept("");
	waste_disown(&cluster, &erp);
}

static void remove_something(void)
{
	meanwhile = NULL;
	waste_tidy(&cluster, &loop_env, "erp");
}

static void give_it_back(void)
{
	meanwhile = NULL;
	waste_disown(&cluster, &erp);
	memset(&erp, 0xff, sizeof(erp));
}

static void what_another_thread_does_meanwhile(void **state)
{
	more = true;
	waste_own(&cluster, &erp, &loop_env, "erp");
	more = false;
	expect_swept("erp ");
	meanwhile = remove_something;
	waste_tidy(&cluster, &worker_env, "erp");
	expect_swept("erp erp/leases ");
	waste_disown(&cluster, &erp);
	more = true;
	waste_own(&cluster, &erp, &loop_env, "erp");
	more = false;
	expect_swept("erp ");
	meanwhile = give_it_back;
	waste_tidy(&cluster, &worker_env, "erp");
	expect_swept("erp erp/leases ");
	assert_true(LIST_EMPTY(&cluster.owned));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_what_is_ours_and_once_a_minute),
		cmocka_unit_test(the_thread_that_ingests_spends_little_time),
		cmocka_unit_test(what_another_thread_does_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
