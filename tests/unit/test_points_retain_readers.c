// SPDX-License-Identifier: GPL-2.0-only
/* Points that retention drops while somebody reads them, and leases that keep them. */
#include "unit.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

static char why[TIMELINE_TEXT_BYTES];

/* A second each, and each writes content of its own. */
static void commits_with_data(struct rig *r, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		sim_env_advance(r->sim, S);
		rig_commit(r, RIG_DATA);
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

	rig_init_numbered(&r, NULL, 0);
	commits_with_data(&r, 200);
	rig_index(&r);
	reader = rig_reader(&r);
	rig_retain(&r, "all:1m", 0);
	sim_env_advance(r.sim, HOUR);
	timeline_set_packing(r.tl, true);
	rig_index(&r);
	assert_true(r.tl->manifest.nr_packs > 0 && !rig_has(&r, 30));
	run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[0].number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, 100, 1), 0);
	for (uint64_t n = 8; n <= 200; n += 3) {
		int ret = shown(reader, n, &right);

		assert_true(right);
		if (rig_has(&r, n))
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
	rig_index(r);
	for (unsigned int i = 0; i < VIEWS; i++) {
		assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_READ_ONLY, NULL,
					       &readers[i], why), 0);
		assert_int_equal(view_open(readers[i], seq_pack(1, 8 + 3 * i), &views[i], why), 0);
		/* All files are open then, and what is in hand is of the last. */
		for (unsigned int place = 0; read && place < 8; place++)
			assert_int_equal(view_read(views[i], 0, 4096 * place, buf, sizeof(buf)), 0);
	}
	rig_retain(r, "all:1m,30s:1d", 0);
	sim_env_advance(r->sim, HOUR);
	timeline_set_packing(r->tl, true);
	rig_index(r);
	assert_true(r->tl->manifest.nr_packs > 0);
	for (unsigned int i = 0; i < VIEWS; i++) {
		uint64_t n = 8 + 3 * i;
		int ret = read_all(views[i], n);

		assert_int_equal(view_check(views[i]), rig_has(r, n) ? 0 : -ESTALE);
		if (rig_has(r, n))
			assert_int_equal(ret, 0);
		else if (ret)
			assert_int_equal(ret, -ESTALE);
		nr_stale += ret != 0;
		nr_kept += rig_has(r, n);
		view_close(views[i]);
		timeline_close(readers[i]);
	}
	assert_true(nr_stale > VIEWS / 3 && nr_kept > 2);
}

static void a_reader_hears_that_its_point_went(void **state)
{
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	drop_under_readers(&r, false);
	rig_fini(&r);
}

static void also_where_open_files_end_when_removed(void **state)
{
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	sim_env_end_removed(r.sim);
	drop_under_readers(&r, true);
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
	return sim_ops.open(env, path, flags, file);
}

static void a_reader_tells_why_it_could_not_look_again(void **state)
{
	struct env_ops ops = sim_ops;
	struct timeline *reader;
	struct rig r;

	rig_init_numbered(&r, NULL, 100);
	rig_index(&r);
	ops.open = gone_and_no_file_left;
	r.env->ops = &ops;
	assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_READ_ONLY, NULL, &reader, why),
			 -EMFILE);
	r.env->ops = &sim_ops;
	rig_fini(&r);
}

static void what_is_read_stays(void **state)
{
	struct index_job *job;
	struct lease early, late;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	assert_int_equal(lease_take(&early, r.env, "/tl", seq_pack(1, 40), "early"), 0);
	rig_index(&r);
	sim_env_advance(r.sim, HOUR);
	assert_int_equal(lease_renew(&early), 0);
	job = rig_points_job(&r);
	/* While the job was under way. */
	assert_int_equal(lease_take(&late, r.env, "/tl", seq_pack(1, 50), "late"), 0);
	assert_int_equal(timeline_index_take(r.tl, job), -EAGAIN);
	rig_index(&r);
	assert_true(rig_has(&r, 40) && rig_has(&r, 50) && !rig_has(&r, 49));
	/* One goes on, of the other nothing is heard. */
	sim_env_advance(r.sim, HOUR);
	assert_int_equal(lease_renew(&late), 0);
	rig_index(&r);
	assert_true(!rig_has(&r, 40) && rig_has(&r, 50));
	rig_fini(&r);
}

static void name_ignore(void *arg, const char *name)
{
}

/* Else the first reader does: as root, perhaps, and then the writer may not look into it. */
static void the_writer_makes_the_directory_of_leases(void **state)
{
	struct rig r;

	rig_init_numbered(&r, "all:1m", 1);
	assert_int_equal(sim_ops.list(r.env, "/tl/" LEASES_DIR, name_ignore, NULL), 0);
	rig_fini(&r);
}

static unsigned int nr_looks;

static int counted_list(struct env *env, const char *path,
			void (*name)(void *arg, const char *name), void *arg)
{
	nr_looks += strstr(path, "/" LEASES_DIR) != NULL;
	return sim_ops.list(env, path, name, arg);
}

/* The thread that plans has data that come in waiting. */
static void leases_are_looked_at_for_a_points_file_only(void **state)
{
	struct env_ops ops = sim_ops;
	struct index_job *job;
	unsigned int nr = 0;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	ops.list = counted_list;
	r.env->ops = &ops;
	nr_looks = 0;
	while ((job = timeline_index_plan(r.tl)) && !strstr(index_job_text(job), "points")) {
		assert_int_equal(nr_looks, 0);
		rig_do(&r, job);
		nr++;
	}
	assert_true(job && nr);
	assert_int_equal(nr_looks, 1);
	rig_do(&r, job);
	r.env->ops = &sim_ops;
	rig_fini(&r);
}

static int no_leases_list(struct env *env, const char *path,
			  void (*name)(void *arg, const char *name), void *arg)
{
	return strstr(path, "/leases") ? -EACCES : sim_ops.list(env, path, name, arg);
}

static int no_lease_open(struct env *env, const char *path, unsigned int flags,
			 struct env_file **file)
{
	return strstr(path, "/leases/") ? -EACCES : sim_ops.open(env, path, flags, file);
}

/* As for a branch: opening must not become slower for it, and no file be made in vain. */
static void leases_that_cannot_be_read_keep_all_and_stop_no_file(void **state)
{
	struct env_ops ops = sim_ops;
	struct index_job *job;
	unsigned int nr = 0;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 0);
	ops.list = no_leases_list;
	r.env->ops = &ops;
	for (int hour = 0; hour < 3; hour++) {
		rig_commits(&r, 100, S);
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
	assert_int_equal(rig_pack_state(&r).leases_error, -EACCES);
	r.env->ops = &sim_ops;
	rig_pass(&r, 1, HOUR);
	assert_false(rig_has(&r, 40));
	assert_int_equal(rig_pack_state(&r).leases_error, 0);
	rig_fini(&r);
}

/* Of another user: its point stays, and nothing else. */
static void a_lease_that_cannot_be_read_keeps_its_point(void **state)
{
	struct env_ops ops = sim_ops;
	struct lease lease;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	assert_int_equal(lease_take(&lease, r.env, "/tl", seq_pack(1, 40), ""), 0);
	rig_index(&r);
	ops.open = no_lease_open;
	r.env->ops = &ops;
	rig_pass(&r, 5, HOUR);
	r.env->ops = &sim_ops;
	assert_true(rig_has(&r, 40));
	assert_false(rig_has(&r, 39) || rig_has(&r, 41));
	rig_fini(&r);
}

/* While a job is under way; then nothing is dropped. */
static void leases_lost_meanwhile_keep_all(void **state)
{
	struct env_ops ops = sim_ops;
	struct index_job *job;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	rig_index(&r);
	sim_env_advance(r.sim, HOUR);
	job = rig_points_job(&r);
	ops.list = no_leases_list;
	r.env->ops = &ops;
	assert_int_equal(timeline_index_take(r.tl, job), -EACCES);
	r.env->ops = &sim_ops;
	assert_true(rig_has(&r, 50) && rig_has(&r, 51));
	rig_fini(&r);
}

/* Each time a reader begins on a point that is about to go. */
static void readers_that_come_and_go_stop_no_file(void **state)
{
	unsigned int nr_again = 0, nr_made = 0;
	struct rig r;

	rig_init_numbered(&r, "all:1m", 100);
	for (int i = 0; i < 20; i++) {
		struct index_job *job;
		struct lease l;
		int ret;

		rig_commits(&r, 60, S);
		sim_env_advance(r.sim, HOUR);
		job = rig_index_until(&r, "points");
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
	rig_pass(&r, 2, HOUR);
	assert_false(rig_has(&r, 40));
	rig_fini(&r);
}

static unsigned int nr_points_read, nr_manifests_read;

static int open_counted(struct env *env, const char *path, unsigned int flags, struct env_file **out)
{
	nr_points_read += strstr(path, ".points") != NULL;
	nr_manifests_read += strstr(path, "/manifest") != NULL;
	return sim_ops.open(env, path, flags, out);
}

/* Each read that fails asks whether the point went; that has its price where the disk is bad. */
static void who_reads_what_is_damaged_looks_seldom(void **state)
{
	struct timeline *reader;
	struct env_ops ops;
	struct view *view;
	struct rig r;

	rig_init_numbered(&r, NULL, 0);
	commits_with_data(&r, 200);
	rig_index(&r);
	reader = rig_reader(&r);
	assert_int_equal(view_open(reader, seq_pack(1, 200), &view, why), 0);
	rig_retain(&r, "all:1m", 0);
	sim_env_advance(r.sim, HOUR);
	rig_index(&r);
	assert_int_not_equal(r.tl->manifest.points.number, reader->points_no);
	ops = sim_ops;
	ops.open = open_counted;
	r.env->ops = &ops;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(view_error(view, -EBADMSG), -EBADMSG);
		sim_env_advance(r.sim, S / 10 + 1);
	}
	assert_in_range(nr_manifests_read, 10, 20);	/* opened twice each time */
	assert_int_equal(nr_points_read, 1);
	r.env->ops = &sim_ops;
	view_close(view);
	timeline_close(reader);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_reader_shows_no_point_that_went),
		cmocka_unit_test(a_reader_hears_that_its_point_went),
		cmocka_unit_test(also_where_open_files_end_when_removed),
		cmocka_unit_test(what_is_read_stays),
		cmocka_unit_test(the_writer_makes_the_directory_of_leases),
		cmocka_unit_test(leases_are_looked_at_for_a_points_file_only),
		cmocka_unit_test(leases_that_cannot_be_read_keep_all_and_stop_no_file),
		cmocka_unit_test(a_lease_that_cannot_be_read_keeps_its_point),
		cmocka_unit_test(leases_lost_meanwhile_keep_all),
		cmocka_unit_test(readers_that_come_and_go_stop_no_file),
		cmocka_unit_test(who_reads_what_is_damaged_looks_seldom),
		cmocka_unit_test(a_reader_tells_why_it_could_not_look_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
