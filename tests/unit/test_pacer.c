// SPDX-License-Identifier: GPL-2.0-only
/* The limit of the worker of the index: held, and used, by all that it does. No real time passes. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/store/index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/target/pacer.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define RATE	(UINT64_C(3) << 18)	/* 768 KiB a second */
#define FILE_COST (UINT64_C(4) << 20)	/* of removing one: docs/PACK.md */
#define HEADERS_BYTES 16384		/* of a job's files */

static struct {
	uint64_t read_bytes, written_bytes;
	unsigned int nr_removed;
	uint64_t waited_ns;
} moved;

static int64_t read_counted(struct env *env, struct env_file *file, void *data, size_t bytes,
			    uint64_t offset)
{
	int64_t got = sim_ops.read(env, file, data, bytes, offset);

	moved.read_bytes += got > 0 ? got : 0;
	return got;
}

static int write_counted(struct env *env, struct env_file *file, const void *data, size_t bytes,
			 uint64_t offset)
{
	moved.written_bytes += bytes;
	return sim_ops.write(env, file, data, bytes, offset);
}

static int unlink_counted(struct env *env, const char *path)
{
	moved.nr_removed++;
	return sim_ops.unlink(env, path);
}

/* As the thread's, but the clock is moved. */
static int wait_until(void *arg, uint64_t monotonic_ns)
{
	struct rig *r = arg;
	uint64_t now_ns = r->env->ops->monotonic_ns(r->env);

	assert_true(monotonic_ns >= now_ns);
	moved.waited_ns += monotonic_ns - now_ns;
	sim_env_advance(r->sim, monotonic_ns - now_ns);
	return 0;
}

/* Bytes that may have been moved in that time. */
static uint64_t allowed(void)
{
	return moved.waited_ns * (RATE >> 10) / (S >> 10);
}

static void work(struct rig *r)
{
	struct pacer pacer = { r->env, RATE, wait_until, r };
	const struct run_pace pace = { pacer_take, &pacer };
	struct env_ops ops = sim_ops;
	struct index_job *job;

	ops.read = read_counted;
	ops.write = write_counted;
	ops.unlink = unlink_counted;
	while ((job = timeline_index_plan(r->tl))) {
		memset(&moved, 0, sizeof(moved));
		r->env->ops = &ops;
		assert_int_equal(index_job_run(job, r->env, &pace), 0);
		r->env->ops = &sim_ops;
		/* Held, headers and tables beside; and used. */
		if (allowed() < moved.read_bytes / 8 * 7 ||
		    allowed() + HEADERS_BYTES < moved.written_bytes ||
		    allowed() > moved.read_bytes + moved.written_bytes + HEADERS_BYTES +
		    moved.nr_removed * FILE_COST)
			fail_msg("%s: %llu read, %llu written where %llu are allowed",
				 index_job_text(job), (unsigned long long)moved.read_bytes,
				 (unsigned long long)moved.written_bytes,
				 (unsigned long long)allowed());
		assert_int_equal(timeline_index_take(r->tl, job), 0);
	}
}

static void all_jobs_hold_the_limit(void **state)
{
	struct rig r;

	rig_init(&r, 1, 256, 65536);
	rig_append(&r, 300, S);
	work(&r);
	rig_drop(&r);
	timeline_set_packing(r.tl, true);
	work(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_check(&r);
	rig_fini(&r);
}

static uint64_t asked_ns;

static int note(void *arg, uint64_t monotonic_ns)
{
	asked_ns = monotonic_ns;
	return *(int *)arg;
}

static void each_byte_costs_its_time(void **state)
{
	struct sim_env *sim = sim_env_create(1);
	int stop = 0;
	struct pacer p = { sim_env_env(sim), 64 << 20, note, &stop };
	uint64_t now_ns = p.env->ops->monotonic_ns(p.env);

	assert_int_equal(pacer_take(&p, 64 << 20), 0);
	assert_int_equal(asked_ns, now_ns + S);
	/* The time that the bytes took is not taken off. */
	sim_env_advance(sim, S);
	pacer_take(&p, 32 << 20);
	assert_int_equal(asked_ns, now_ns + S + S / 2);
	pacer_take(&p, 0);
	assert_int_equal(asked_ns, now_ns + S);
	/* Rounded up; and a petabyte is no overflow. */
	p.bytes_per_s = PACER_MAX_BYTES_PER_S;
	pacer_take(&p, 1);
	assert_int_equal(asked_ns, now_ns + S + 1);
	pacer_take(&p, (UINT64_C(1) << 50) + PACER_MAX_BYTES_PER_S - 1);
	assert_int_equal(asked_ns, now_ns + S + 65537 * S);
	stop = -ECANCELED;
	assert_int_equal(pacer_take(&p, 1), -ECANCELED);
	sim_env_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_jobs_hold_the_limit),
		cmocka_unit_test(each_byte_costs_its_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
