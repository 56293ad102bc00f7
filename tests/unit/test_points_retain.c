// SPDX-License-Identifier: GPL-2.0-only
/* What retention takes away from a timeline, and what it must not: pins, branches, clocks. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/when.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define S	((uint64_t)WHEN_NS)
#define HOUR	(3600 * S)
#define DAY	(24 * HOUR)
#define T0	(497000 * HOUR)

static char why[TIMELINE_TEXT_BYTES];

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	uint64_t n;		/* commits so far */
};

static void rig_open(struct rig *r)
{
	if (timeline_open(r->env, "/tl", TIMELINE_CREATE, "", &r->tl, why))
		fail_msg("%s", why);
	timeline_set_limits(r->tl, 16384, 4096);
}

static void rig_init(struct rig *r)
{
	const struct timeline_volume *v;
	uint32_t incarnation;

	memset(r, 0, sizeof(*r));
	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	sim_env_set_realtime(r->sim, T0);
	rig_open(r);
	assert_int_equal(timeline_volume(r->tl, "v", 1 << 20, "", &v), 0);
	assert_int_equal(timeline_grant(r->tl, (const uint8_t *)"0123456789abcdef", &incarnation),
			 0);
}

static void rig_fini(struct rig *r)
{
	timeline_close(r->tl);
	sim_env_destroy(r->sim);
}

/* One commit; with @idle its cut is that of the one before. */
static void commit(struct rig *r, bool idle)
{
	uint64_t cut = idle ? r->tl->received.cut_seq : seq_pack(1, r->n + 1);
	struct test_batch b;

	r->n++;
	test_batch_begin(&b, r->n, cut);
	if (!idle) {
		test_batch_unit_begin();
		test_batch_unit_add(0, 4096 * (r->n % 8), 4096, EXTENT_ZERO, NULL);
		test_batch_unit_end(&b, 0, 0);
	}
	b.volumes[b.nr_volumes++].size_bytes = 1 << 20;
	test_batch_end(&b);
	assert_int_equal(test_append(r->sim, r->tl, &b), 0);
}

static void commits(struct rig *r, unsigned int nr, uint64_t every_ns)
{
	for (unsigned int i = 0; i < nr; i++) {
		sim_env_advance(r->sim, every_ns);
		commit(r, false);
	}
}

static void index_all(struct rig *r)
{
	assert_int_equal(test_index(r->env, r->tl), 0);
}

/* Time, with the worker at work after each step. */
static void pass(struct rig *r, unsigned int nr, uint64_t step_ns)
{
	for (unsigned int i = 0; i < nr; i++) {
		sim_env_advance(r->sim, step_ns);
		index_all(r);
	}
}

static void restart(struct rig *r)
{
	timeline_close(r->tl);
	rig_open(r);
}

static void set(struct rig *r, const char *text, uint64_t immutable_ns)
{
	struct retention_policy p;

	if (retention_parse(text, &p, why))
		fail_msg("%s", why);
	assert_int_equal(timeline_set_retention(r->tl, &p, immutable_ns), 0);
}

static bool exists(const struct rig *r, uint64_t ordinal)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(r->tl, &c);

	for (size_t i = 0; i < nr; i++)
		if (c[i].ordinal == ordinal)
			return true;
	return false;
}

/* Each writes content of its own, in one of eight places. */
static void commits_with_data(struct rig *r, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct test_batch b;

		sim_env_advance(r->sim, S);
		r->n++;
		test_batch_begin(&b, r->n, seq_pack(1, r->n));
		test_batch_extent(&b, 0, 4096 * (r->n % 8), 4096, EXTENT_DATA, r->n, 0, 0);
		b.volumes[b.nr_volumes++].size_bytes = 1 << 20;
		test_batch_end(&b);
		assert_int_equal(test_append(r->sim, r->tl, &b), 0);
	}
}

/* What point @n wrote last in each place, by a view of it: 0; -EILSEQ it shows something else. */
static int read_all(struct view *v, uint64_t n)
{
	uint8_t got[4096], want[4096];
	int ret = 0;

	for (uint64_t newest = n; newest > n - 8 && !ret; newest--) {
		test_fill(want, sizeof(want), newest);
		ret = view_read(v, 0, 4096 * (newest % 8), got, sizeof(got));
		if (!ret && memcmp(got, want, sizeof(got)) != 0)
			ret = -EILSEQ;
	}
	return ret;
}

/* Whether a reader sees what point @n wrote last in each place; or -errno of view_open(). */
static int shown(struct timeline *reader, uint64_t n, bool *right)
{
	struct view *v;
	int ret = view_open(reader, seq_pack(1, n), &v, why);

	*right = true;
	if (ret)
		return ret;
	*right = read_all(v, n) == 0;
	view_close(v);
	return 0;
}

/*
 * A reader was opened before points went, and their space with them. Where a run does not
 * open it has to ask the packs, which no longer have what only those points needed.
 */
static void a_reader_shows_no_point_that_went(void **state)
{
	struct timeline *reader;
	unsigned int nr_refused = 0;
	struct rig r;
	char path[64];
	bool right;

	rig_init(&r);
	commits_with_data(&r, 200);
	index_all(&r);
	assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_READ_ONLY, NULL, &reader, why), 0);
	set(&r, "all:1m", 0);
	sim_env_advance(r.sim, HOUR);
	timeline_set_packing(r.tl, true);
	index_all(&r);
	assert_true(r.tl->manifest.nr_packs > 0 && !exists(&r, 30));
	run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[0].number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, 100, 1), 0);
	for (uint64_t n = 8; n <= r.n; n += 3) {
		int ret = shown(reader, n, &right);

		assert_true(right);
		if (exists(&r, n))
			assert_int_equal(ret, 0);
		nr_refused += ret != 0;
	}
	assert_true(nr_refused > 20);
	timeline_close(reader);
	rig_fini(&r);
}

#define VIEWS 80

/*
 * Readers have points open while they go, and their space with them. @read: and have read some
 * of it. Who reads on gets what it was or hears that the point was dropped.
 */
static void drop_under_readers(struct rig *r, bool read)
{
	struct timeline *readers[VIEWS];
	struct view *views[VIEWS];
	unsigned int nr_stale = 0, nr_kept = 0;
	uint8_t buf[4096];

	commits_with_data(r, 3 * VIEWS + 8);
	index_all(r);
	for (unsigned int i = 0; i < VIEWS; i++) {
		assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_READ_ONLY, NULL,
					       &readers[i], why), 0);
		assert_int_equal(view_open(readers[i], seq_pack(1, 8 + 3 * i), &views[i], why), 0);
		/* All files are open then, and what is in hand is of the last. */
		for (unsigned int place = 0; read && place < 8; place++)
			assert_int_equal(view_read(views[i], 0, 4096 * place, buf, sizeof(buf)), 0);
	}
	set(r, "all:1m,30s:1d", 0);
	sim_env_advance(r->sim, HOUR);
	timeline_set_packing(r->tl, true);
	index_all(r);
	assert_true(r->tl->manifest.nr_packs > 0);
	for (unsigned int i = 0; i < VIEWS; i++) {
		uint64_t n = 8 + 3 * i;
		int ret = read_all(views[i], n);

		assert_int_equal(view_check(views[i]), exists(r, n) ? 0 : -ESTALE);
		if (exists(r, n))
			assert_int_equal(ret, 0);
		else if (ret)
			assert_int_equal(ret, -ESTALE);
		nr_stale += ret != 0;
		nr_kept += exists(r, n);
		view_close(views[i]);
		timeline_close(readers[i]);
	}
	assert_true(nr_stale > VIEWS / 3 && nr_kept > 2);
}

static void a_reader_hears_that_its_point_went(void **state)
{
	struct rig r;

	rig_init(&r);
	drop_under_readers(&r, false);
	rig_fini(&r);
}

static void also_where_open_files_end_when_removed(void **state)
{
	struct rig r;

	rig_init(&r);
	sim_env_end_removed(r.sim);
	drop_under_readers(&r, true);
	rig_fini(&r);
}

static void what_the_policy_keeps_stays_over_lives(void **state)
{
	size_t kept;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m,1m:1h", 0);
	commits(&r, 300, S);
	index_all(&r);
	/* 5 minutes: what is finished and older than one minute, one a minute. */
	kept = r.tl->points.nr_commits;
	assert_in_range(kept, 60, 75);
	assert_true(r.tl->manifest.points.flags & MANIFEST_POINTS_LEFT_OUT);
	for (size_t i = 1; i < 4; i++)
		assert_int_equal(r.tl->points.commits[i].since_ns / (60 * S) -
				 r.tl->points.commits[i - 1].since_ns / (60 * S), 1);
	restart(&r);
	assert_int_equal(r.tl->points.nr_commits, kept);
	assert_int_equal(r.tl->points.last_ordinal, 300);
	commits(&r, 1, S);
	assert_int_equal(r.tl->points.last_ordinal, 301);
	rig_fini(&r);
}

static void without_a_policy_all_stays(void **state)
{
	struct rig r;

	rig_init(&r);
	commits(&r, 100, DAY);
	index_all(&r);
	assert_int_equal(r.tl->points.nr_commits, 100);
	assert_int_equal(r.tl->manifest.points.flags, 0);
	rig_fini(&r);
}

static void an_hour_later_it_is_applied_again(void **state)
{
	struct rig r;
	size_t nr;

	rig_init(&r);
	set(&r, "all:1h", 0);
	commits(&r, 100, S);
	index_all(&r);
	assert_int_equal(r.tl->points.nr_commits, 100);
	sim_env_advance(r.sim, HOUR - S);
	assert_null(timeline_index_plan(r.tl));
	pass(&r, 1, HOUR);
	nr = r.tl->points.nr_commits;
	/* The last of the points file, and what is not in a finished segment. */
	assert_int_equal(nr, 100 - r.tl->settled.last_ordinal + 1);
	rig_fini(&r);
}

static void what_is_pinned_stays(void **state)
{
	uint64_t hold = 0, lease = 0, none = 0;
	struct timeline_pin *pins;
	struct rig r;
	size_t nr;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 30, S);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 7), TIMELINE_PIN_HOLD, "before", 0, &hold),
			 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 9), TIMELINE_PIN_MOUNT, "", 10 * HOUR,
				      &lease), 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 999), TIMELINE_PIN_HOLD, "", 0, &none),
			 -ENOENT);
	commits(&r, 70, S);
	pass(&r, 1, HOUR);
	assert_true(exists(&r, 7) && exists(&r, 9) && !exists(&r, 8));
	/* Durable: another life knows them. The lease ends by itself, the hold when told to. */
	restart(&r);
	assert_int_equal(timeline_pins(r.tl, &pins, &nr), 0);
	assert_int_equal(nr, 2);
	assert_string_equal(pins[0].label, "before");
	free(pins);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 9), TIMELINE_PIN_MOUNT, "", 20 * HOUR,
				      &lease), 0);
	pass(&r, 1, 15 * HOUR);
	assert_true(exists(&r, 7) && exists(&r, 9));
	sim_env_advance(r.sim, 15 * HOUR);
	assert_int_equal(timeline_unpin(r.tl, hold), 0);
	assert_int_equal(timeline_unpin(r.tl, hold), -ENOENT);
	index_all(&r);
	assert_false(exists(&r, 7) || exists(&r, 9));
	rig_fini(&r);
}

static void the_parent_of_a_branch_stays(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, seq_pack(1, 11), why), 0);
	pass(&r, 1, HOUR);
	assert_true(exists(&r, 11) && !exists(&r, 12));
	assert_int_equal(branch_drop(r.env, "/tl", "b", why), 0);
	pass(&r, 1, 2 * HOUR);
	assert_false(exists(&r, 11));
	rig_fini(&r);
}

static const struct env_ops *sim_ops;

static int no_file_left(struct env *env, const char *path,
			void (*name)(void *arg, const char *name), void *arg)
{
	return strstr(path, "branches/") ? -EMFILE : sim_ops->list(env, path, name, arg);
}

/* One that cannot be looked at now is not one that is not there. */
static void a_branch_that_cannot_be_looked_at_keeps_all(void **state)
{
	struct index_job *job;
	struct env_ops ops;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, seq_pack(1, 11), why), 0);
	sim_env_advance(r.sim, HOUR);
	sim_ops = r.env->ops;
	ops = *sim_ops;
	ops.list = no_file_left;
	r.env->ops = &ops;
	for (int i = 0; i < 100 && (job = timeline_index_plan(r.tl)); i++) {
		index_job_run(job, r.env, NULL);
		timeline_index_take(r.tl, job);
	}
	r.env->ops = sim_ops;
	assert_true(exists(&r, 11) && exists(&r, 12));
	pass(&r, 1, HOUR);
	assert_true(exists(&r, 11) && !exists(&r, 12));
	rig_fini(&r);
}

/* Opening must not become slower for it. */
static void a_damaged_branch_keeps_all_and_stops_no_file(void **state)
{
	unsigned int nr_failed = 0;
	struct index_job *job;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, seq_pack(1, 11), why), 0);
	sim_env_flip(r.sim, "/tl/branches/b/manifest", 20, 3);
	sim_env_advance(r.sim, HOUR);
	while ((job = timeline_index_plan(r.tl))) {
		assert_int_equal(index_job_run(job, r.env, NULL), 0);
		nr_failed += timeline_index_take(r.tl, job) != 0;
	}
	assert_int_equal(nr_failed, 1);
	assert_int_equal(r.tl->points.nr_commits, 100);
	assert_int_equal(r.tl->manifest.points.last_segment,
			 segment_writer_finished(&r.tl->writer));
	rig_fini(&r);
}

/* While the job that drops it is under way; then nothing is dropped. */
static void what_is_pinned_late_stays(void **state)
{
	uint64_t id = 0, number;
	struct index_job *job;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	index_all(&r);
	number = r.tl->manifest.points.number;
	sim_env_advance(r.sim, HOUR);
	job = timeline_index_plan(r.tl);
	assert_non_null(job);
	assert_int_equal(index_job_run(job, r.env, NULL), 0);
	assert_int_equal(timeline_pin(r.tl, seq_pack(1, 50), TIMELINE_PIN_HOLD, "", 0, &id), 0);
	assert_int_equal(timeline_index_take(r.tl, job), -EAGAIN);
	assert_int_equal(r.tl->manifest.points.number, number);
	index_all(&r);
	assert_true(exists(&r, 50) && !exists(&r, 49));
	rig_fini(&r);
}

static void what_is_read_stays(void **state)
{
	struct index_job *job;
	struct lease early, late;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	assert_int_equal(lease_take(&early, r.env, "/tl", seq_pack(1, 40), "early"), 0);
	index_all(&r);
	sim_env_advance(r.sim, HOUR);
	assert_int_equal(lease_renew(&early), 0);
	job = timeline_index_plan(r.tl);
	assert_non_null(job);
	assert_int_equal(index_job_run(job, r.env, NULL), 0);
	/* While the job was under way. */
	assert_int_equal(lease_take(&late, r.env, "/tl", seq_pack(1, 50), "late"), 0);
	assert_int_equal(timeline_index_take(r.tl, job), -EAGAIN);
	index_all(&r);
	assert_true(exists(&r, 40) && exists(&r, 50) && !exists(&r, 49));
	/* One goes on, of the other nothing is heard. */
	sim_env_advance(r.sim, HOUR);
	assert_int_equal(lease_renew(&late), 0);
	index_all(&r);
	assert_true(!exists(&r, 40) && exists(&r, 50));
	rig_fini(&r);
}

static struct index_job *points_job(struct rig *r)
{
	struct index_job *job = timeline_index_plan(r->tl);

	assert_non_null(job);
	assert_memory_equal(index_job_text(job), "points", 6);
	assert_int_equal(index_job_run(job, r->env, NULL), 0);
	return job;
}

static int no_leases_list(struct env *env, const char *path,
			  void (*name)(void *arg, const char *name), void *arg)
{
	return strstr(path, "/leases") ? -EACCES : sim_ops->list(env, path, name, arg);
}

static void ops_replace(struct rig *r, struct env_ops *ops)
{
	sim_ops = r->env->ops;
	*ops = *sim_ops;
	ops->list = no_leases_list;
	r->env->ops = ops;
}

static int no_lease_open(struct env *env, const char *path, unsigned int flags,
			 struct env_file **file)
{
	return strstr(path, "/leases/") ? -EACCES : sim_ops->open(env, path, flags, file);
}

/* As for a branch: opening must not become slower for it, and no file be made in vain. */
static void leases_that_cannot_be_read_keep_all_and_stop_no_file(void **state)
{
	struct timeline_pack_state told;
	struct index_job *job;
	struct env_ops ops;
	unsigned int nr = 0;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	ops_replace(&r, &ops);
	for (int hour = 0; hour < 3; hour++) {
		commits(&r, 100, S);
		sim_env_advance(r.sim, HOUR);
		for (int i = 0; i < 200 && (job = timeline_index_plan(r.tl)); i++) {
			bool points = index_job_run(job, r.env, NULL) == 0 &&
				      strstr(index_job_text(job), "leases/ cannot be read");

			assert_int_equal(timeline_index_take(r.tl, job), points ? -EACCES : 0);
			nr += points;
		}
		assert_int_equal(r.tl->manifest.points.last_segment,
				 segment_writer_finished(&r.tl->writer));
	}
	assert_int_equal(nr, 3);
	assert_int_equal(r.tl->points.nr_commits, 300);
	timeline_pack_state(r.tl, &told);
	assert_int_equal(told.leases_error, -EACCES);
	r.env->ops = sim_ops;
	pass(&r, 1, HOUR);
	assert_false(exists(&r, 40));
	timeline_pack_state(r.tl, &told);
	assert_int_equal(told.leases_error, 0);
	rig_fini(&r);
}

/* Of another user: its point stays, and nothing else. */
static void a_lease_that_cannot_be_read_keeps_its_point(void **state)
{
	struct lease lease;
	struct env_ops ops;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	assert_int_equal(lease_take(&lease, r.env, "/tl", seq_pack(1, 40), ""), 0);
	index_all(&r);
	sim_ops = r.env->ops;
	ops = *sim_ops;
	ops.open = no_lease_open;
	r.env->ops = &ops;
	pass(&r, 5, HOUR);
	r.env->ops = sim_ops;
	assert_true(exists(&r, 40));
	assert_false(exists(&r, 39) || exists(&r, 41));
	rig_fini(&r);
}

/* While a job is under way; then nothing is dropped. */
static void leases_lost_meanwhile_keep_all(void **state)
{
	struct index_job *job;
	struct env_ops ops;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	index_all(&r);
	sim_env_advance(r.sim, HOUR);
	job = points_job(&r);
	ops_replace(&r, &ops);
	assert_int_equal(timeline_index_take(r.tl, job), -EACCES);
	r.env->ops = sim_ops;
	assert_true(exists(&r, 50) && exists(&r, 51));
	rig_fini(&r);
}

/* Each time a reader begins on a point that is about to go. */
static void readers_that_come_and_go_stop_no_file(void **state)
{
	unsigned int nr_again = 0, nr_made = 0;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 100, S);
	for (int i = 0; i < 20; i++) {
		struct index_job *job;
		struct lease l;
		int ret;

		commits(&r, 60, S);
		sim_env_advance(r.sim, HOUR);
		while ((job = timeline_index_plan(r.tl)) &&
		       strncmp(index_job_text(job), "points", 6) != 0) {
			index_job_run(job, r.env, NULL);
			assert_int_equal(timeline_index_take(r.tl, job), 0);
		}
		if (!job)
			continue;
		assert_int_equal(index_job_run(job, r.env, NULL), 0);
		assert_int_equal(lease_take(&l, r.env, "/tl", seq_pack(1, 2 + i), ""), 0);
		ret = timeline_index_take(r.tl, job);
		assert_true(ret == 0 || ret == -EAGAIN);
		nr_again += ret != 0;
		nr_made += !ret;
		lease_drop(&l);
	}
	assert_int_equal(nr_again, 10);
	assert_int_equal(nr_made, 10);
	assert_int_equal(r.tl->manifest.points.last_segment,
			 segment_writer_finished(&r.tl->writer));
	/* With nobody in the way it goes on. */
	pass(&r, 2, HOUR);
	assert_false(exists(&r, 40));
	rig_fini(&r);
}

/* Whether the record got to the disk is not known: what it names must stay what it is. */
static void a_file_that_may_be_named_is_not_made_anew(void **state)
{
	for (int seed = 1; seed <= 20; seed++) {
		struct index_job *job;
		struct env_file *lock;
		struct rig r;
		int ret;

		rig_init(&r);
		for (int i = 0; i < seed; i++)
			sim_env_random(r.sim, 100);
		set(&r, "all:2h", 0);
		commits(&r, 120, 60 * S);
		index_all(&r);
		sim_env_advance(r.sim, HOUR);
		job = points_job(&r);
		sim_env_fail(r.sim, SIM_FAULT_SYNC, 1, -EIO, false);
		assert_int_not_equal(timeline_index_take(r.tl, job), 0);
		sim_env_advance(r.sim, 10 * HOUR);
		job = points_job(&r);
		assert_int_equal(branches_lock(r.env, "/tl", &lock), 0);
		assert_int_equal(timeline_index_take(r.tl, job), -EBUSY);
		sim_env_crash(r.sim, seed);
		r.env->ops->close(r.env, lock);
		timeline_close(r.tl);
		ret = timeline_open(r.env, "/tl", 0, "", &r.tl, why);
		if (ret)
			fail_msg("seed %d: %s", seed, why);
		rig_fini(&r);
	}
}

/* One that cannot be named is tried again after all else, as one that cannot be made. */
static void what_cannot_be_named_lets_the_others_go_first(void **state)
{
	unsigned int nr_points = 0, nr_packing = 0;
	struct index_job *job;
	struct env_file *lock;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 200, S);
	index_all(&r);
	commits(&r, 200, S);
	timeline_set_packing(r.tl, true);
	sim_env_advance(r.sim, HOUR);
	assert_int_equal(branches_lock(r.env, "/tl", &lock), 0);
	while (nr_points < 2 && (job = timeline_index_plan(r.tl))) {
		nr_points += !strncmp(index_job_text(job), "points", 6);
		nr_packing += !strncmp(index_job_text(job), "packing", 7);
		index_job_run(job, r.env, NULL);
		timeline_index_take(r.tl, job);
	}
	r.env->ops->close(r.env, lock);
	assert_int_equal(nr_points, 2);
	assert_int_not_equal(nr_packing, 0);
	rig_fini(&r);
}

static void copy_damage(struct rig *r, unsigned int copy)
{
	uint64_t bytes;
	char path[64];

	points_path(path, sizeof(path), "/tl", r->tl->manifest.points.number, 0);
	sim_env_content(r->sim, path, &bytes);
	sim_env_flip(r->sim, path, copy * bytes / 2 + 20, 3);
}

static void of_two_copies_one_is_not_left_alone(void **state)
{
	struct points_file file;
	unsigned int nr_bad;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 200, S);
	index_all(&r);
	for (unsigned int copy = 0; copy < 2; copy++) {
		copy_damage(&r, copy);
		pass(&r, 1, HOUR);
		assert_int_equal(points_file_read(r.env, "/tl", timeline_id(r.tl),
						  &r.tl->manifest.points, &file, &nr_bad), 0);
		assert_int_equal(nr_bad, 0);
		points_fini(&file.points);
	}
	rig_fini(&r);
}

/* While the daemon still knows the points somebody can save them. */
static void of_two_lost_copies_the_worker_hears(void **state)
{
	struct index_job *job;
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m", 0);
	commits(&r, 200, S);
	index_all(&r);
	copy_damage(&r, 0);
	copy_damage(&r, 1);
	sim_env_advance(r.sim, HOUR);
	job = timeline_index_plan(r.tl);
	assert_non_null(job);
	assert_null(index_job_lost(job));
	assert_int_equal(index_job_run(job, r.env, NULL), -EBADMSG);
	assert_string_equal(index_job_lost(job), "0000000000000001.points");
	assert_int_equal(timeline_index_take(r.tl, job), -EBADMSG);
	assert_true(exists(&r, 200));
	rig_fini(&r);
}

static void of_a_cut_that_stays_the_first_commit_stays(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:1m,1m:1h", 0);
	commits(&r, 5, S);
	for (int i = 0; i < 600; i++) {
		sim_env_advance(r.sim, S);
		commit(&r, true);
	}
	index_all(&r);
	assert_true(exists(&r, 5));
	assert_false(exists(&r, 6));
	assert_in_range(r.tl->points.nr_commits, 60, 145);
	rig_fini(&r);
}

/* The points file is gone, and then there is no file left to look for its successor. */
static int gone_and_no_file_left(struct env *env, const char *path, unsigned int flags,
				 struct env_file **file)
{
	static bool gone, failed;

	if (strstr(path, ".points")) {
		gone = true;
		return -ENOENT;
	}
	if (gone && !failed && strstr(path, "/manifest")) {
		failed = true;
		return -EMFILE;
	}
	return sim_ops->open(env, path, flags, file);
}

static void a_reader_tells_why_it_could_not_look_again(void **state)
{
	struct timeline *reader;
	struct env_ops ops;
	struct rig r;

	rig_init(&r);
	commits(&r, 100, S);
	index_all(&r);
	sim_ops = r.env->ops;
	ops = *sim_ops;
	ops.open = gone_and_no_file_left;
	r.env->ops = &ops;
	assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_READ_ONLY, NULL, &reader, why),
			 -EMFILE);
	r.env->ops = sim_ops;
	rig_fini(&r);
}

/* -- the clock -- */

static void a_clock_that_jumps_ahead_ages_nothing_at_once(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:24h", 0);
	commits(&r, 100, S);
	index_all(&r);
	/* Ten years, in a second. */
	sim_env_set_realtime(r.sim, T0 + 3650 * DAY);
	commits(&r, 100, S);
	pass(&r, 1, HOUR);
	assert_int_equal(r.tl->points.nr_commits, 200);
	restart(&r);
	pass(&r, 1, HOUR);
	assert_int_equal(r.tl->points.nr_commits, 200);
	/* It is put right; what came meanwhile is as old as it is. */
	sim_env_set_realtime(r.sim, T0 + 3 * HOUR);
	commits(&r, 100, S);
	pass(&r, 1, 12 * HOUR);
	assert_int_equal(r.tl->points.nr_commits, 300);
	pass(&r, 1, 24 * HOUR);
	assert_false(exists(&r, 1) || exists(&r, 150));
	rig_fini(&r);
}

static void a_clock_that_goes_back_ages_nothing(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:24h", 0);
	commits(&r, 100, S);
	sim_env_set_realtime(r.sim, S);
	commits(&r, 100, S);
	index_all(&r);
	sim_env_set_realtime(r.sim, T0 + HOUR);
	commits(&r, 100, S);
	index_all(&r);
	assert_int_equal(r.tl->points.nr_commits, 300);
	rig_fini(&r);
}

/* The daemon was off for a month: what came before is not gone at once, and then is. */
static void it_catches_up(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:24h,1h:30d", 0);
	commits(&r, 200, 10 * S);
	index_all(&r);
	timeline_close(r.tl);
	sim_env_advance(r.sim, 40 * DAY);
	rig_open(&r);
	commits(&r, 400, 10 * S);
	pass(&r, 1, HOUR);
	assert_true(exists(&r, 1));
	/* What comes now keeps its distances: nothing falls into one stretch that did not. */
	for (size_t i = 1; i < r.tl->points.nr_commits; i++)
		assert_true(r.tl->points.commits[i].since_ns > r.tl->points.commits[i - 1].since_ns);
	pass(&r, 45, DAY);
	assert_false(exists(&r, 1));
	rig_fini(&r);
}

/* Nothing is finished yet, so no points file says where the clock of retention stood. */
static void a_jump_before_the_first_file_ages_nothing(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:24h", 7 * DAY);
	commits(&r, 3, S);
	sim_env_set_realtime(r.sim, T0 + 3650 * DAY);
	commits(&r, 1, S);
	set(&r, "all:25h", 7 * DAY);
	assert_int_equal(r.tl->settled.last_ordinal, 0);
	restart(&r);
	commits(&r, 30, S);
	index_all(&r);
	assert_int_not_equal(r.tl->settled.last_ordinal, 0);
	assert_int_equal(r.tl->points.nr_commits, 34);
	rig_fini(&r);
}

static void the_clock_goes_on_while_a_file_is_made(void **state)
{
	struct index_job *job;
	uint64_t before_ns;
	struct rig r;

	rig_init(&r);
	set(&r, "all:24h", 0);
	commits(&r, 100, S);
	index_all(&r);
	sim_env_advance(r.sim, 5 * HOUR);
	job = points_job(&r);
	sim_env_advance(r.sim, 100 * S);
	before_ns = timeline_age_now(r.tl);
	assert_int_equal(timeline_index_take(r.tl, job), 0);
	assert_int_equal(timeline_age_now(r.tl), before_ns);
	rig_fini(&r);
}

/* Then it is not known how far apart the points are: they stay as long as any of their age. */
static void what_came_before_the_first_file_is_not_thinned(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:24h,1h:30d", 0);
	commits(&r, 5, DAY);
	restart(&r);
	commits(&r, 30, S);
	pass(&r, 48, HOUR);
	for (uint64_t ordinal = 1; ordinal <= 5; ordinal++)
		assert_true(exists(&r, ordinal));
	pass(&r, 40, DAY);
	assert_false(exists(&r, 1) || exists(&r, 5));
	rig_fini(&r);
}

/* -- the immutable window -- */

static void a_shorter_policy_waits_for_the_window_to_pass(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:48h", 72 * HOUR);
	commits(&r, 100, S);
	index_all(&r);
	sim_env_advance(r.sim, HOUR);
	/* All at once: the policy, and the window itself. */
	set(&r, "1m:2m", 0);
	restart(&r);
	pass(&r, 40, HOUR);
	assert_int_equal(r.tl->points.nr_commits, 100);
	pass(&r, 1, 8 * HOUR);
	assert_false(exists(&r, 1));
	rig_fini(&r);
}

/* The configuration is edited, and the daemon restarted: its clock is behind the newest points. */
static void a_shorter_policy_after_a_restart_waits_as_well(void **state)
{
	struct rig r;

	rig_init(&r);
	set(&r, "all:48h", 72 * HOUR);
	commits(&r, 100, S);
	index_all(&r);
	commits(&r, 40, 60 * S);
	restart(&r);
	set(&r, "1m:2m", 0);
	for (int i = 0; i < 40; i++) {
		sim_env_advance(r.sim, HOUR);
		commits(&r, 3, S);
		index_all(&r);
	}
	for (uint64_t ordinal = 1; ordinal <= 140; ordinal++)
		assert_true(exists(&r, ordinal));
	pass(&r, 80, HOUR);
	assert_false(exists(&r, 1) || exists(&r, 120));
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reader_shows_no_point_that_went),
		cmocka_unit_test(a_reader_hears_that_its_point_went),
		cmocka_unit_test(also_where_open_files_end_when_removed),
		cmocka_unit_test(what_the_policy_keeps_stays_over_lives),
		cmocka_unit_test(without_a_policy_all_stays),
		cmocka_unit_test(an_hour_later_it_is_applied_again),
		cmocka_unit_test(what_is_pinned_stays),
		cmocka_unit_test(the_parent_of_a_branch_stays),
		cmocka_unit_test(a_branch_that_cannot_be_looked_at_keeps_all),
		cmocka_unit_test(a_damaged_branch_keeps_all_and_stops_no_file),
		cmocka_unit_test(what_is_pinned_late_stays),
		cmocka_unit_test(what_is_read_stays),
		cmocka_unit_test(leases_that_cannot_be_read_keep_all_and_stop_no_file),
		cmocka_unit_test(a_lease_that_cannot_be_read_keeps_its_point),
		cmocka_unit_test(leases_lost_meanwhile_keep_all),
		cmocka_unit_test(readers_that_come_and_go_stop_no_file),
		cmocka_unit_test(a_file_that_may_be_named_is_not_made_anew),
		cmocka_unit_test(what_cannot_be_named_lets_the_others_go_first),
		cmocka_unit_test(of_two_copies_one_is_not_left_alone),
		cmocka_unit_test(of_two_lost_copies_the_worker_hears),
		cmocka_unit_test(of_a_cut_that_stays_the_first_commit_stays),
		cmocka_unit_test(a_reader_tells_why_it_could_not_look_again),
		cmocka_unit_test(a_clock_that_jumps_ahead_ages_nothing_at_once),
		cmocka_unit_test(a_clock_that_goes_back_ages_nothing),
		cmocka_unit_test(it_catches_up),
		cmocka_unit_test(a_jump_before_the_first_file_ages_nothing),
		cmocka_unit_test(the_clock_goes_on_while_a_file_is_made),
		cmocka_unit_test(what_came_before_the_first_file_is_not_thinned),
		cmocka_unit_test(a_shorter_policy_waits_for_the_window_to_pass),
		cmocka_unit_test(a_shorter_policy_after_a_restart_waits_as_well),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
