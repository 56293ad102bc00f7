// SPDX-License-Identifier: GPL-2.0-only
/* Nobody waits for ever for the monitors: over stand-ins for them. */
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/rados/monitors.h"

#define PATIENT_NS	(60 * 1000000000ull)
#define HASTY_NS	1000000ull

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool silent;			/* they do not answer */
	unsigned int nr_maps, nr_waiting;
	int error;
	char fenced[256];		/* one letter each */
} fake = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static void changed(void)
{
	pthread_cond_broadcast(&fake.changed);
	pthread_mutex_unlock(&fake.lock);
}

static void answer(bool silent)
{
	pthread_mutex_lock(&fake.lock);
	fake.silent = silent;
	changed();
}

/* Until so many wait, or have their map. */
static void await(const unsigned int *counter, unsigned int nr)
{
	pthread_mutex_lock(&fake.lock);
	while (*counter != nr)
		pthread_cond_wait(&fake.changed, &fake.lock);
	pthread_mutex_unlock(&fake.lock);
}

static bool waiting(void)
{
	bool now;

	pthread_mutex_lock(&fake.lock);
	now = fake.nr_waiting;
	pthread_mutex_unlock(&fake.lock);
	return now;
}

int rados_wait_for_latest_osdmap(rados_t cluster)
{
	pthread_mutex_lock(&fake.lock);
	fake.nr_waiting++;
	pthread_cond_broadcast(&fake.changed);
	while (fake.silent)
		pthread_cond_wait(&fake.changed, &fake.lock);
	fake.nr_waiting--;
	fake.nr_maps++;
	changed();
	return 0;
}

int rados_blocklist_add(rados_t cluster, char *address, uint32_t seconds)
{
	pthread_mutex_lock(&fake.lock);
	fake.fenced[strlen(fake.fenced)] = *address;
	pthread_mutex_unlock(&fake.lock);
	return fake.error;
}

static void begin(struct monitors *m, uint64_t patience_ns, bool silent)
{
	fake.nr_maps = fake.nr_waiting = fake.error = 0;
	fake.silent = silent;
	memset(fake.fenced, 0, sizeof(fake.fenced));
	assert_int_equal(monitors_start(m, NULL, patience_ns), 0);
}

static void fenced_out_is_who_the_map_says(void **state)
{
	struct monitors m;

	begin(&m, PATIENT_NS, false);
	assert_int_equal(monitors_fence(&m, "a"), 0);
	assert_int_equal(fake.nr_maps, 1);
	assert_int_equal(monitors_fence(&m, "b"), 0);
	assert_int_equal(fake.nr_maps, 2);
	fake.error = -EPERM;
	assert_int_equal(monitors_fence(&m, "c"), -EPERM);
	assert_int_equal(fake.nr_maps, 2);
	assert_string_equal(fake.fenced, "abc");
	assert_true(monitors_stop(&m));
}

static void nobody_waits_for_ever(void **state)
{
	struct monitors m;

	begin(&m, HASTY_NS, true);
	/* Until one is under way; the next ones never are. */
	do {
		assert_int_equal(monitors_fence(&m, "a"), -ETIMEDOUT);
	} while (!waiting());
	assert_int_equal(monitors_fence(&m, "b"), -ETIMEDOUT);
	assert_int_equal(monitors_fence(&m, "c"), -ETIMEDOUT);
	answer(false);
	m.patience_ns = PATIENT_NS;
	assert_int_equal(monitors_fence(&m, "d"), 0);
	assert_true(monitors_stop(&m));
	assert_string_equal(fake.fenced, "ad");
}

static void a_map_is_asked_for_once_at_a_time(void **state)
{
	struct monitors m;

	begin(&m, PATIENT_NS, true);
	monitors_refresh(&m);
	await(&fake.nr_waiting, 1);
	monitors_refresh(&m);
	monitors_refresh(&m);
	answer(false);
	await(&fake.nr_maps, 1);
	assert_int_equal(monitors_fence(&m, "a"), 0);
	assert_int_equal(fake.nr_maps, 2);
	monitors_refresh(&m);
	await(&fake.nr_maps, 3);
	assert_true(monitors_stop(&m));
}

static void an_end_does_not_wait_for_them(void **state)
{
	static struct monitors m;	/* of the thread that stays */

	begin(&m, PATIENT_NS, true);
	monitors_refresh(&m);
	await(&fake.nr_waiting, 1);
	assert_false(monitors_stop(&m));
	answer(false);
	await(&fake.nr_waiting, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fenced_out_is_who_the_map_says),
		cmocka_unit_test(nobody_waits_for_ever),
		cmocka_unit_test(a_map_is_asked_for_once_at_a_time),
		cmocka_unit_test(an_end_does_not_wait_for_them),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
