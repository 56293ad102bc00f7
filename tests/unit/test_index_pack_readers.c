// SPDX-License-Identifier: GPL-2.0-only
/* Giving space back while somebody reads: a check, a branch, a reader with a lease. */
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/branches.h"
#include "../../userspace/store/check.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/lease.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

static char why[TIMELINE_TEXT_BYTES];

/* All segments were read; then, as runs are read, they go. */
static int pack_then(void *arg, uint64_t segment, uint64_t bytes)
{
	struct rig *r = arg;

	if (segment > r->tl->settled.last_segment && !r->tl->packing.on) {
		timeline_set_packing(r->tl, true);
		rig_index(r);
		assert_int_not_equal(r->tl->manifest.nr_packs, 0);
	}
	return 0;
}

static int check_all(struct rig *r, int (*progress)(void *arg, uint64_t segment, uint64_t bytes),
		     size_t *nr_damage)
{
	struct check check = { .progress = progress, .arg = r };
	struct timeline *reader = rig_reader(r);
	int ret = check_run(reader, &check, why);

	*nr_damage = check.nr_damage;
	free(check.damage);
	timeline_close(reader);
	return ret;
}

/* A bit of a unit's data, in some segment. */
static void unit_damage(struct rig *r)
{
	for (uint64_t segment = 1;; segment++) {
		size_t nr_damage;
		char path[40];

		segment_path(path, sizeof(path), "/tl", segment);
		assert_int_equal(sim_env_flip(r->sim, path, 5000, 1), 0);
		if (!check_all(r, NULL, &nr_damage) && nr_damage)
			return;
		sim_env_flip(r->sim, path, 5000, 1);
	}
}

static void a_check_goes_on_when_segments_are_packed(void **state_)
{
	size_t nr_damage;
	struct rig r;

	rig_init_dead(&r);
	timeline_set_packing(r.tl, false);
	unit_damage(&r);
	if (check_all(&r, pack_then, &nr_damage))
		fail_msg("%s", why);
	assert_int_not_equal(r.tl->manifest.nr_packs, 0);
	assert_int_equal(nr_damage, 1);
	rig_fini(&r);
}

/* A branch shows what its parent's point does, and that is all it needs of it. */
static void what_a_branch_begins_with_stays(void **state_)
{
	const struct points *p;
	size_t at = 0;
	struct rig r;

	rig_init_settled(&r);
	p = &r.tl->points;
	while (at < 40 || !p->commits[at].listed)
		at++;
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, p->commits[at].cut_seq, why), 0);
	rig_drop(&r);
	timeline_set_packing(r.tl, true);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	assert_true(r.tl->points.nr_commits < 100);
	assert_true(points_find(p, r.h.batches[at].cut) < p->nr_commits);
	rig_check(&r);
	rig_fini(&r);
}

/* -- leases -- */

#define NR_VIEWS 4

/* A reader of a point that is dropped. A view goes on with what it has open: each is read once. */
struct reading {
	struct rig *rig;
	struct timeline *reader;
	struct view *views[NR_VIEWS];
	struct lease lease;
	struct env_ops ops;
	uint64_t cut_seq;
	size_t batch;
	bool due, began;
};

static struct reading late;

static void reading_open(struct rig *r)
{
	const struct timeline_commit *commits;

	late = (struct reading){ .rig = r, .reader = rig_reader(r), .ops = sim_ops };
	assert_true(timeline_commits(late.reader, &commits) > 20);
	late.batch = commits[20].ordinal - 1;
	late.cut_seq = commits[20].cut_seq;
	for (int i = 0; i < NR_VIEWS; i++)
		assert_int_equal(view_open(late.reader, late.cut_seq, &late.views[i], why), 0);
}

static void reading_close(void)
{
	for (int i = 0; i < NR_VIEWS; i++)
		view_close(late.views[i]);
	timeline_close(late.reader);
}

/* The writer has looked which leases there are, and the record is not there yet. */
static int lease_then_write(struct env *env, struct env_file *file, const void *data, size_t bytes,
			    uint64_t offset)
{
	if (late.due) {
		late.due = false;
		late.began = true;
		assert_int_equal(lease_take(&late.lease, env, "/tl", late.cut_seq, ""), 0);
		assert_int_equal(view_check(late.views[0]), 0);
	}
	return sim_ops.write(env, file, data, bytes, offset);
}

static bool is_listed(const struct rig *r, uint64_t cut_seq)
{
	return points_find(&r->tl->points, cut_seq) < r->tl->points.nr_commits;
}

/* His point goes, and he is told nothing of it: he reads all that he could read. */
static void drop_as_a_reader_begins(struct rig *r)
{
	struct index_job *job;

	rig_retain(r, "all:1m", 0);
	sim_env_advance(r->sim, HOUR);
	late.ops.write = lease_then_write;
	while ((job = timeline_index_plan(r->tl))) {
		bool points = !strncmp(index_job_text(job), "points", 6);

		index_job_run(job, r->env, NULL);
		late.due = points && !late.began;
		r->env->ops = &late.ops;
		assert_int_equal(timeline_index_take(r->tl, job), 0);
		r->env->ops = &sim_ops;
	}
	assert_true(late.began);
	assert_false(is_listed(r, late.cut_seq));
}

/* So much more comes in and goes that what was packed is packed anew. */
static void pack_anew(struct rig *r, struct lease *lease)
{
	const uint64_t first = r->tl->manifest.packs[0].number;

	for (int i = 0; i < 20 && r->tl->manifest.packs[0].number == first; i++) {
		rig_append(r, 200, S);
		sim_env_advance(r->sim, HOUR);
		if (lease)
			assert_int_equal(lease_renew(lease), 0);
		rig_index(r);
	}
	assert_true(r->tl->manifest.packs[0].number > first);
	assert_int_equal(rig_pack_state(r).nr_aside, 0);
	assert_int_equal(rig_nr_unpacked(r), 0);
}

static void a_lease_of_the_last_moment_keeps_the_data(void **state_)
{
	struct rig r;

	rig_init_settled(&r);
	reading_open(&r);
	timeline_set_packing(r.tl, true);
	drop_as_a_reader_begins(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	for (int i = 0; i < NR_VIEWS - 1; i++) {
		if (!history_check(&r.h, late.views[i], late.batch))
			fail_msg("after %d: %s", i, r.h.why);
		pack_anew(&r, &late.lease);
	}
	lease_drop(&late.lease);
	pack_anew(&r, NULL);
	pack_anew(&r, NULL);
	assert_false(history_check(&r.h, late.views[NR_VIEWS - 1], late.batch));
	rig_check(&r);
	reading_close();
	rig_fini(&r);
}

/* Of what is gone nothing comes back, and that is no damage. */
static void a_lease_that_came_too_late_stops_no_pack(void **state_)
{
	struct lease lease;
	struct rig r;

	rig_init_dead(&r);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	assert_int_equal(lease_take(&lease, r.env, "/tl", r.h.batches[40].cut, ""), 0);
	pack_anew(&r, &lease);
	rig_check(&r);
	rig_fini(&r);
}

static int leases_refused(struct env *env, const char *dir,
			  void (*fn)(void *arg, const char *name), void *arg)
{
	return strstr(dir, "/leases") ? -EIO : sim_ops.list(env, dir, fn, arg);
}

static void without_a_look_at_the_leases_nothing_is_packed(void **state_)
{
	struct env_ops ops = sim_ops;
	struct rig r;

	rig_init_dead(&r);
	ops.list = leases_refused;
	r.env->ops = &ops;
	rig_index(&r);
	r.env->ops = &sim_ops;
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	sim_env_advance(r.sim, HOUR);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_fini(&r);
}

/* A writer that makes another points file as a reader looks into one. */
static struct {
	struct rig *rig;
	struct env_ops ops;
	bool due;
} beside;

static int points_renew_then_open(struct env *env, const char *path, unsigned int flags,
				  struct env_file **out)
{
	if (beside.due && strstr(path, ".points")) {
		beside.due = false;
		rig_append(beside.rig, 200, S);
		rig_index(beside.rig);
	}
	return sim_ops.open(env, path, flags, out);
}

static void a_point_that_stays_is_opened_beside_a_new_points_file(void **state_)
{
	struct timeline *reader;
	uint64_t cut_seq, id = 0;
	struct view *v;
	struct rig r;

	rig_init_dead(&r);
	reader = rig_reader(&r);
	cut_seq = reader->points.commits[reader->points.nr_commits - 1].cut_seq;
	assert_int_equal(timeline_pin(r.tl, cut_seq, TIMELINE_PIN_HOLD, "x", 0, &id), 0);
	rig_index(&r);
	/* The reader does not know the points file that there is now, and then that one goes. */
	rig_append(&r, 200, S);
	rig_index(&r);
	beside.rig = &r;
	beside.ops = sim_ops;
	beside.ops.open = points_renew_then_open;
	beside.due = true;
	r.env->ops = &beside.ops;
	if (view_open(reader, cut_seq, &v, why))
		fail_msg("%s", why);
	r.env->ops = &sim_ops;
	assert_false(beside.due);
	assert_true(is_listed(&r, cut_seq));
	view_close(v);
	timeline_close(reader);
	rig_fini(&r);
}

static int pack_then_open(struct env *env, const char *path, unsigned int flags,
			  struct env_file **out)
{
	if (beside.due && strstr(path, ".seg")) {
		beside.due = false;
		rig_drop(beside.rig);
		rig_index(beside.rig);
	}
	return sim_ops.open(env, path, flags, out);
}

/* Where the manifest that it has read does not know of packs, and what they hold has gone. */
static void a_reader_opens_beside_segments_that_go(void **state_)
{
	struct timeline *reader;
	struct rig r;

	rig_init_dead(&r);
	rig_append(&r, 400, S);
	beside.rig = &r;
	beside.ops = sim_ops;
	beside.ops.open = pack_then_open;
	beside.due = true;
	r.env->ops = &beside.ops;
	reader = rig_reader(&r);
	r.env->ops = &sim_ops;
	assert_false(beside.due);
	assert_true(r.tl->manifest.nr_packs > 0);
	assert_int_equal(reader->manifest.nr_packs, r.tl->manifest.nr_packs);
	timeline_close(reader);
	rig_check(&r);
	rig_fini(&r);
}

static bool is_named(const struct timeline *tl, uint64_t run)
{
	for (size_t i = 0; i < tl->manifest.nr_runs; i++)
		if (tl->manifest.runs[i].number == run)
			return true;
	return false;
}

/* As on a cluster: what it reads then is the run in their place, not all segments of it. */
static void runs_that_end_are_taken_anew(void **state_)
{
	const struct timeline_commit *last;
	struct timeline *reader;
	uint64_t id = 0;
	struct view *v;
	struct rig r;

	rig_init_dead(&r);
	reader = rig_reader(&r);
	last = &reader->points.commits[reader->points.nr_commits - 1];
	assert_int_equal(timeline_pin(r.tl, last->cut_seq, TIMELINE_PIN_HOLD, "x", 0, &id), 0);
	assert_int_equal(view_open(reader, last->cut_seq, &v, why), 0);
	assert_true(v->nr_runs > 1);
	sim_env_end_removed(r.sim);
	rig_append(&r, 200, S);
	rig_index(&r);
	assert_int_not_equal(r.tl->packing.nr_dropped, 0);
	for (size_t i = 0; i < v->nr_runs; i++)
		assert_false(is_named(r.tl, v->runs[i].run.header.number));
	if (!history_check(&r.h, v, last->ordinal - 1))
		fail_msg("%s", r.h.why);
	assert_int_equal(v->rest.nr, 0);
	assert_int_not_equal(v->nr_runs, 0);
	for (size_t i = 0; i < v->nr_runs; i++)
		assert_true(is_named(r.tl, v->runs[i].run.header.number));
	view_close(v);
	timeline_close(reader);
	rig_fini(&r);
}

static unsigned int nr_bad(struct view *v, unsigned int step)
{
	unsigned int nr = 0;
	uint8_t buf[512];

	for (uint64_t at = 0; at < view_size(v, 0); at += 512 * step) {
		int ret = view_read(v, 0, at, buf, sizeof(buf));

		assert_true(!ret || ret == -EBADMSG);
		nr += ret != 0;
	}
	return nr;
}

/* Damage was met just before: that of other files is looked for all the same if they are gone. */
static void what_is_packed_is_no_damage_beside_some(void **state_)
{
	const struct timeline_commit *last;
	struct timeline *reader;
	unsigned int before = 0;
	struct view *v, *probe;
	uint64_t id = 0;
	char path[40];
	struct rig r;

	rig_init_dead(&r);
	reader = rig_reader(&r);
	last = &reader->points.commits[reader->points.nr_commits - 1];
	assert_int_equal(timeline_pin(r.tl, last->cut_seq, TIMELINE_PIN_HOLD, "x", 0, &id), 0);
	for (uint64_t n = r.tl->settled.last_segment; !before; n--) {
		segment_path(path, sizeof(path), "/tl", n);
		assert_int_equal(sim_env_flip(r.sim, path, 20, 1), 0);
		assert_int_equal(view_open(reader, last->cut_seq, &probe, why), 0);
		before = nr_bad(probe, 1);
		view_close(probe);
		if (!before)
			sim_env_flip(r.sim, path, 20, 1);
	}
	assert_int_equal(view_open(reader, last->cut_seq, &v, why), 0);
	assert_int_not_equal(nr_bad(v, 3), 0);
	sim_env_end_removed(r.sim);
	rig_index(&r);
	assert_int_not_equal(r.tl->manifest.nr_packs, 0);
	assert_int_equal(nr_bad(v, 1), before);
	view_close(v);
	timeline_close(reader);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_goes_on_when_segments_are_packed),
		cmocka_unit_test(what_a_branch_begins_with_stays),
		cmocka_unit_test(a_lease_of_the_last_moment_keeps_the_data),
		cmocka_unit_test(a_lease_that_came_too_late_stops_no_pack),
		cmocka_unit_test(without_a_look_at_the_leases_nothing_is_packed),
		cmocka_unit_test(a_point_that_stays_is_opened_beside_a_new_points_file),
		cmocka_unit_test(a_reader_opens_beside_segments_that_go),
		cmocka_unit_test(runs_that_end_are_taken_anew),
		cmocka_unit_test(what_is_packed_is_no_damage_beside_some),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
