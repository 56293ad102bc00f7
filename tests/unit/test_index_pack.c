// SPDX-License-Identifier: GPL-2.0-only
/* Giving space back where something is in the way: bad files, no room, a points file in danger. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/keyring.h"
#include "../../userspace/store/branches.h"
#include "../../userspace/store/check.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/index_pack.h"
#include "../../userspace/store/lease.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/segment_scan.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/history.h"
#include "../host/sim_env.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

static char why[TIMELINE_TEXT_BYTES];

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	struct history h;
	unsigned int nr_failed;	/* jobs */
};

static void rig_open(struct rig *r)
{
	if (timeline_open(r->env, "/tl", TIMELINE_CREATE, "", &r->tl, why))
		fail_msg("%s", why);
	timeline_set_limits(r->tl, 16384, 4096);
}

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	sim_env_set_realtime(r->sim, UINT64_C(1700000000) * S);
	history_init(&r->h, 256);
	history_reset(&r->h, 1);
	rig_open(r);
	assert_int_equal(history_greet(&r->h, r->tl), 0);
}

static void rig_fini(struct rig *r)
{
	timeline_close(r->tl);
	history_fini(&r->h);
	sim_env_destroy(r->sim);
}

static void append(struct rig *r, unsigned int nr)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct test_batch b;

		sim_env_advance(r->sim, S);
		history_batch(&r->h, &b);
		assert_int_equal(test_batch_append(&b, r->tl), 0);
		test_batch_free(&b);
		timeline_flush(r->tl);
		sim_env_complete_all(r->sim);
	}
}

/* Until nothing is left to do: what fails must not be tried for ever. */
static void index_all(struct rig *r)
{
	struct index_job *job;
	unsigned int nr = 0;

	r->nr_failed = 0;
	while ((job = timeline_index_plan(r->tl))) {
		index_job_run(job, r->env, NULL);
		r->nr_failed += timeline_index_take(r->tl, job) != 0;
		assert_true(++nr < 400);
	}
}

/* Of what is settled only the newest point stays. */
static void drop(struct rig *r)
{
	struct retention_policy p;

	assert_int_equal(retention_parse("all:1m", &p, why), 0);
	assert_int_equal(timeline_set_retention(r->tl, &p, 0), 0);
	sim_env_advance(r->sim, HOUR);
	index_all(r);
	assert_true(r->tl->points.nr_commits < r->tl->points.last_ordinal / 2);
}

/* A history of which most is dead, and nothing packed. */
static void rig_dead(struct rig *r)
{
	rig_init(r);
	append(r, 200);
	index_all(r);
	drop(r);
	timeline_set_packing(r->tl, true);
}

static struct timeline_pack_state state(const struct rig *r)
{
	struct timeline_pack_state out;

	timeline_pack_state(r->tl, &out);
	return out;
}

static bool is_packed(const struct rig *r, uint64_t segment)
{
	return manifest_pack(&r->tl->manifest, segment);
}

static size_t nr_unpacked(const struct rig *r)
{
	size_t nr = 0;

	for (uint64_t n = 1; n <= r->tl->settled.last_segment; n++)
		nr += !is_packed(r, n);
	return nr;
}

/* Every point there is. */
static void check_points(struct rig *r)
{
	const struct points *p = &r->tl->points;

	for (size_t i = 0; i < p->nr_commits; i++)
		if (!history_point(&r->h, r->tl, p->commits[i].ordinal - 1))
			fail_msg("commit %d: %s", (int)p->commits[i].ordinal, r->h.why);
}

struct saved {
	char path[40];
	uint8_t *bytes;
	uint64_t nr;
};

static void save(struct rig *r, struct saved *s, uint64_t segment)
{
	const uint8_t *content;

	segment_path(s->path, sizeof(s->path), "/tl", segment);
	content = sim_env_content(r->sim, s->path, &s->nr);
	assert_non_null(content);
	s->bytes = malloc(s->nr);
	memcpy(s->bytes, content, s->nr);
}

static void put_back(struct rig *r, struct saved *s)
{
	struct env_file *file;

	if (r->env->ops->open(r->env, s->path, ENV_WRITE | ENV_CREATE, &file) == 0)
		r->env->ops->close(r->env, file);
	assert_int_equal(sim_env_poke(r->sim, s->path, 0, s->bytes, s->nr), 0);
	free(s->bytes);
}

/* -- sources -- */

static void what_is_beside_a_bad_segment_is_packed(void **state_)
{
	for (int what = 0; what < 3; what++) {
		const uint64_t bad = 7;
		struct saved s;
		struct rig r;

		rig_dead(&r);
		save(&r, &s, bad);
		if (what == 0)
			r.env->ops->unlink(r.env, s.path);
		/* The header; or a bit here and there. */
		for (uint64_t at = what == 1 ? 20 : 4200; what && at < s.nr; at += 256)
			assert_int_equal(sim_env_flip(r.sim, s.path, at, 1), 0);
		index_all(&r);
		assert_int_equal(r.nr_failed, 0);
		assert_int_equal(nr_unpacked(&r), 1);
		assert_false(is_packed(&r, bad));
		assert_int_equal(state(&r).nr_aside, 1);
		assert_string_equal(state(&r).aside, "0000000000000007.seg");
		assert_int_equal(state(&r).error, what ? -EBADMSG : -ENOENT);
		/* It is tried again, and as long as it is bad nothing else happens. */
		sim_env_advance(r.sim, PACK_ASIDE_NS);
		index_all(&r);
		assert_int_equal(state(&r).nr_aside, 1);
		put_back(&r, &s);
		sim_env_advance(r.sim, PACK_ASIDE_NS);
		index_all(&r);
		assert_int_equal(state(&r).nr_aside, 0);
		assert_int_equal(nr_unpacked(&r), 0);
		check_points(&r);
		rig_fini(&r);
	}
}

static void what_is_beside_a_bad_pack_is_packed(void **state_)
{
	const struct manifest_pack *bad;
	uint64_t number;
	struct rig r;
	char path[40];

	rig_dead(&r);
	index_all(&r);
	bad = &r.tl->manifest.packs[0];
	number = bad->number;
	pack_path(path, sizeof(path), "/tl", number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, 30, 1), 0);
	for (int i = 0; i < 8; i++) {
		append(&r, 200);
		sim_env_advance(r.sim, HOUR);
		index_all(&r);
		assert_int_equal(r.nr_failed, 0);
	}
	assert_int_equal(r.tl->manifest.packs[0].number, number);
	assert_int_equal(nr_unpacked(&r), 0);
	assert_string_equal(state(&r).aside, path + 4);
	rig_fini(&r);
}

static struct keyring *keys_of(const char *text)
{
	char key_why[KEYRING_TEXT_BYTES];
	struct keyring *keys;

	if (keyring_parse(text, strlen(text), &keys, key_why))
		fail_msg("%s", key_why);
	return keys;
}

static void a_key_that_is_missing_keeps_only_its_segments(void **state_)
{
	char text[2 * (KEY_HEX_BYTES + 1) + 1];
	struct keyring *first, *second, *both;
	struct rig r;
	size_t nr;

	snprintf(text, sizeof(text), "%064x\n%064x\n", 1, 2);
	both = keys_of(text);
	second = keys_of(text + KEY_HEX_BYTES + 1);
	text[KEY_HEX_BYTES + 1] = 0;
	first = keys_of(text);
	rig_init(&r);
	assert_int_equal(timeline_set_keys(r.tl, first, why), 0);
	append(&r, 60);
	assert_int_equal(timeline_set_keys(r.tl, second, why), 0);
	append(&r, 140);
	index_all(&r);
	drop(&r);
	timeline_set_packing(r.tl, true);
	index_all(&r);
	nr = nr_unpacked(&r);
	assert_true(nr > 0 && nr < r.tl->settled.last_segment / 2);
	assert_int_equal(state(&r).nr_aside, nr);
	assert_int_equal(state(&r).error, -ENOKEY);
	assert_int_equal(timeline_set_keys(r.tl, both, why), 0);
	index_all(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	check_points(&r);
	rig_fini(&r);
	keyring_free(first);
	keyring_free(second);
	keyring_free(both);
}

/* The run is made anew, and then all is packed. */
static void a_bad_leaf_of_a_run_is_mended(void **state_)
{
	struct rig r;
	char path[40];

	rig_dead(&r);
	run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[0].number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, 4096 + 100, 1), 0);
	index_all(&r);
	assert_int_equal(r.nr_failed, 1);
	sim_env_advance(r.sim, HOUR);
	index_all(&r);
	assert_int_equal(r.nr_failed, 0);
	assert_int_equal(r.tl->nr_bad_runs, 0);
	assert_int_equal(nr_unpacked(&r), 0);
	check_points(&r);
	rig_fini(&r);
}

/* Neither its run can be read nor itself: what lives in it is not known. */
static void a_segment_without_a_run_stops_nothing(void **state_)
{
	uint64_t nr_runs, nr_waiting;
	struct saved s;
	struct rig r;
	char path[40];

	rig_dead(&r);
	save(&r, &s, 3);
	r.env->ops->unlink(r.env, s.path);
	for (size_t i = 0; i < r.tl->manifest.nr_runs; i++) {
		run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[i].number, 0);
		r.env->ops->unlink(r.env, path);
	}
	for (int i = 0; i < 8; i++) {
		index_all(&r);
		sim_env_advance(r.sim, 600 * S);
	}
	timeline_index_state(r.tl, &nr_runs, &nr_waiting);
	assert_int_equal(nr_waiting, 1);
	assert_int_equal(nr_unpacked(&r), 1);
	assert_string_equal(state(&r).aside, "0000000000000003.seg");
	put_back(&r, &s);
	for (int i = 0; i < 3; i++) {
		sim_env_advance(r.sim, PACK_ASIDE_NS);
		index_all(&r);
	}
	assert_int_equal(nr_unpacked(&r), 0);
	assert_int_equal(state(&r).nr_aside, 0);
	check_points(&r);
	rig_fini(&r);
}

/* -- what others see of it -- */

static struct timeline *reader_open(struct rig *r)
{
	struct timeline *reader;

	if (timeline_open(r->env, "/tl", TIMELINE_READ_ONLY, NULL, &reader, why))
		fail_msg("%s", why);
	return reader;
}

/* What comes behind it is a pack: that says where it ended. */
/* The block where this finished segment has its last commit. */
static uint64_t last_commit_block(struct rig *r, uint64_t segment)
{
	char path[40];
	struct segment_scan scan = {
		.env = r->env, .path = path, .number = segment, .trust_footer = true,
		.timeline = r->tl->manifest.identity.timeline,
	};
	uint64_t at;

	segment_path(path, sizeof(path), "/tl", segment);
	assert_int_equal(segment_first_ordinal(r->env, "/tl", scan.timeline, segment,
					       &scan.first_ordinal), 0);
	assert_int_equal(segment_scan(&scan), 0);
	at = scan.index.commits[scan.index.nr_commits - 1] / 4096 * 4096;
	segment_index_fini(&scan.index);
	return at;
}

/*
 * A segment whose last commit is bad seems to end before it. Where those after it have a run,
 * and it has none, nothing but its footer says that something is missing.
 */
static void a_segment_that_ends_too_early_shows_no_old_content(void **state_)
{
	static const uint64_t segments[] = { 30, 50, 63, 120 };
	static const uint8_t nothing[4096];

	for (size_t i = 0; i < sizeof(segments) / sizeof(segments[0]); i++) {
		const struct timeline_commit *c;
		struct timeline *reader;
		struct rig r;
		char path[40];
		size_t nr;

		rig_init(&r);
		append(&r, 200);
		index_all(&r);
		segment_path(path, sizeof(path), "/tl", segments[i]);
		assert_int_equal(sim_env_poke(r.sim, path, last_commit_block(&r, segments[i]),
					      nothing, sizeof(nothing)), 0);
		for (size_t k = 0; k < r.tl->manifest.nr_runs; k++) {
			run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[k].number, 0);
			sim_env_flip(r.sim, path, 20, 1);
		}
		timeline_close(r.tl);
		rig_open(&r);
		index_all(&r);
		reader = reader_open(&r);
		nr = timeline_commits(reader, &c);
		for (size_t k = 0; k < nr; k++) {
			struct view *v;

			if (view_open(reader, c[k].cut_seq, &v, why))
				continue;	/* it says that it cannot */
			if (!history_check(&r.h, v, c[k].ordinal - 1))
				fail_msg("point %d: %s", (int)c[k].ordinal, r.h.why);
			view_close(v);
		}
		timeline_close(reader);
		rig_fini(&r);
	}
}

static void a_bad_footer_before_a_pack_costs_nothing(void **state_)
{
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	struct saved s;
	struct rig r;

	rig_dead(&r);
	save(&r, &s, 7);
	r.env->ops->unlink(r.env, s.path);
	index_all(&r);
	assert_true(is_packed(&r, 8) && !is_packed(&r, 7));
	s.bytes[s.nr - 20] ^= 1;
	put_back(&r, &s);
	reader = reader_open(&r);
	if (check_run(reader, &check, why))
		fail_msg("%s", why);
	assert_int_equal(check.nr_damage, 0);
	assert_int_equal(check.nr_footers_damaged, 1);
	free(check.damage);
	timeline_close(reader);
	/* Its run can be made again, and then it is packed. */
	timeline_index_forget(r.tl);
	index_all(&r);
	assert_int_equal(r.nr_failed, 0);
	sim_env_advance(r.sim, PACK_ASIDE_NS);
	index_all(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	check_points(&r);
	rig_fini(&r);
}

/* All segments were read; then, as runs are read, they go. */
static int pack_then(void *arg, uint64_t segment, uint64_t bytes)
{
	struct rig *r = arg;

	if (segment > r->tl->settled.last_segment && !r->tl->packing.on) {
		timeline_set_packing(r->tl, true);
		index_all(r);
		assert_int_not_equal(r->tl->manifest.nr_packs, 0);
	}
	return 0;
}

static int check_all(struct rig *r, int (*progress)(void *arg, uint64_t segment, uint64_t bytes),
		     size_t *nr_damage)
{
	struct check check = { .progress = progress, .arg = r };
	struct timeline *reader = reader_open(r);
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

	rig_dead(&r);
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
	struct index_job *job;
	size_t at = 0;
	struct rig r;

	rig_init(&r);
	append(&r, 200);
	index_all(&r);
	p = &r.tl->points;
	while (at < 40 || !p->commits[at].listed)
		at++;
	assert_int_equal(branch_create(r.env, "/tl", "b", r.tl, p->commits[at].cut_seq, why), 0);
	drop(&r);
	timeline_set_packing(r.tl, true);
	while ((job = timeline_index_plan(r.tl))) {
		index_job_run(job, r.env, NULL);
		assert_int_equal(timeline_index_take(r.tl, job), 0);
	}
	assert_int_equal(nr_unpacked(&r), 0);
	assert_true(r.tl->points.nr_commits < 100);
	assert_true(points_find(p, r.h.batches[at].cut) < p->nr_commits);
	check_points(&r);
	rig_fini(&r);
}

/* -- room -- */

static void packs_leave_room_for_what_comes_in(void **state_)
{
	const uint64_t mib = 1 << 20;

	assert_int_equal(index_pack_room(0), 0);
	assert_int_equal(index_pack_room(1024 * mib), 768 * mib);
	/* Of the last, a little: what is all dead needs hardly any. */
	assert_int_equal(index_pack_room(256 * mib), 16 * mib);
	assert_int_equal(index_pack_room(160 * mib), 10 * mib);
}

/* The most that jobs take on the way, beside what they give back. */
static uint64_t most_used(struct rig *r, uint64_t limit)
{
	uint64_t most = 0;
	struct index_job *job;

	sim_env_set_limit(r->sim, limit);
	for (unsigned int nr = 0; (job = timeline_index_plan(r->tl)); nr++) {
		index_job_run(job, r->env, NULL);
		if (sim_env_used(r->sim) > most)
			most = sim_env_used(r->sim);
		assert_int_equal(timeline_index_take(r->tl, job), 0);
		assert_true(nr < 400);
	}
	return most;
}

static void without_room_a_pack_waits(void **state_)
{
	struct rig r;
	uint64_t used, ops, most;

	rig_dead(&r);
	used = sim_env_used(r.sim);
	ops = sim_env_ops(r.sim);
	most_used(&r, used + 4096);
	/* It was not even begun. */
	assert_int_equal(sim_env_ops(r.sim), ops);
	assert_true(state(&r).need_bytes > 0);
	assert_null(timeline_index_plan(r.tl));
	/* Some is there: it is tried again after a while, and takes a sixteenth at most. */
	sim_env_advance(r.sim, HOUR);
	most = most_used(&r, used + 16 * 65536);
	assert_true(r.tl->manifest.nr_packs > 0);
	assert_true(most <= used + 65536 + 65536 / 2);
	for (int i = 0; i < 20; i++) {
		sim_env_advance(r.sim, HOUR);
		most_used(&r, used + 16 * 65536);
	}
	assert_int_equal(nr_unpacked(&r), 0);
	assert_int_equal(state(&r).need_bytes, 0);
	check_points(&r);
	rig_fini(&r);
}

/* Where nobody can say how much there is, or somebody else was quicker. */
static void full_disk_is_tried_again(int error)
{
	struct rig r;
	uint64_t bytes;

	rig_dead(&r);
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 1, error, true);
	index_all(&r);
	assert_int_equal(r.nr_failed, 0);
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	assert_true(state(&r).need_bytes > 0);
	assert_null(sim_env_content(r.sim, "/tl/0000000000000001.pack.new", &bytes));
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 0, 0, false);
	index_all(&r);
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	sim_env_advance(r.sim, HOUR);
	index_all(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	assert_int_equal(state(&r).need_bytes, 0);
	rig_fini(&r);
}

static void a_full_disk_is_tried_again(void **state_)
{
	full_disk_is_tried_again(-ENOSPC);
	full_disk_is_tried_again(-EDQUOT);
}

/* -- the points file -- */

static bool points_are_whole(struct rig *r)
{
	struct points_file file;
	unsigned int nr_bad;

	if (points_file_read(r->env, "/tl", timeline_id(r->tl), &r->tl->manifest.points, &file,
			     &nr_bad))
		return false;
	points_fini(&file.points);
	return nr_bad == 0;
}

static void copy_damage(struct rig *r, unsigned int copy)
{
	uint64_t bytes;
	char path[40];

	points_path(path, sizeof(path), "/tl", r->tl->manifest.points.number, 0);
	sim_env_content(r->sim, path, &bytes);
	sim_env_flip(r->sim, path, copy * bytes / 2 + 20, 3);
}

/* Whatever becomes of the last copy: first there are two again, then it goes on. */
static void nothing_is_packed_beside_one_copy_of_the_points(void **state_)
{
	for (unsigned int copy = 0; copy < 2; copy++) {
		struct index_job *job;
		struct rig r;

		rig_dead(&r);
		assert_true(r.tl->manifest.points.flags & MANIFEST_POINTS_LEFT_OUT);
		copy_damage(&r, copy);
		while ((job = timeline_index_plan(r.tl))) {
			index_job_run(job, r.env, NULL);
			assert_int_equal(timeline_index_take(r.tl, job), 0);
			assert_true(points_are_whole(&r) || r.tl->manifest.nr_packs == 0);
		}
		assert_true(points_are_whole(&r));
		assert_int_equal(nr_unpacked(&r), 0);
		rig_fini(&r);
	}
}

static void with_both_copies_lost_the_worker_hears(void **state_)
{
	struct index_job *job;
	struct rig r;

	rig_dead(&r);
	copy_damage(&r, 0);
	copy_damage(&r, 1);
	job = timeline_index_plan(r.tl);
	assert_non_null(job);
	assert_int_equal(index_job_run(job, r.env, NULL), -EBADMSG);
	assert_non_null(index_job_lost(job));
	assert_int_equal(timeline_index_take(r.tl, job), -EBADMSG);
	assert_null(timeline_index_plan(r.tl));
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	rig_fini(&r);
}

/* -- leases -- */

static const struct env_ops *sim_ops;

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

	late = (struct reading){ .rig = r, .reader = reader_open(r) };
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
	return sim_ops->write(env, file, data, bytes, offset);
}

static bool is_listed(const struct rig *r, uint64_t cut_seq)
{
	return points_find(&r->tl->points, cut_seq) < r->tl->points.nr_commits;
}

/* His point goes, and he is told nothing of it: he reads all that he could read. */
static void drop_as_a_reader_begins(struct rig *r)
{
	struct retention_policy p;
	struct index_job *job;

	assert_int_equal(retention_parse("all:1m", &p, why), 0);
	assert_int_equal(timeline_set_retention(r->tl, &p, 0), 0);
	sim_env_advance(r->sim, HOUR);
	sim_ops = r->env->ops;
	late.ops = *sim_ops;
	late.ops.write = lease_then_write;
	while ((job = timeline_index_plan(r->tl))) {
		bool points = !strncmp(index_job_text(job), "points", 6);

		index_job_run(job, r->env, NULL);
		late.due = points && !late.began;
		r->env->ops = &late.ops;
		assert_int_equal(timeline_index_take(r->tl, job), 0);
		r->env->ops = sim_ops;
	}
	assert_true(late.began);
	assert_false(is_listed(r, late.cut_seq));
}

/* So much more comes in and goes that what was packed is packed anew. */
static void pack_anew(struct rig *r, struct lease *lease)
{
	const uint64_t first = r->tl->manifest.packs[0].number;

	for (int i = 0; i < 20 && r->tl->manifest.packs[0].number == first; i++) {
		append(r, 200);
		sim_env_advance(r->sim, HOUR);
		if (lease)
			assert_int_equal(lease_renew(lease), 0);
		index_all(r);
		assert_int_equal(r->nr_failed, 0);
	}
	assert_true(r->tl->manifest.packs[0].number > first);
	assert_int_equal(state(r).nr_aside, 0);
	assert_int_equal(nr_unpacked(r), 0);
}

static void a_lease_of_the_last_moment_keeps_the_data(void **state_)
{
	struct rig r;

	rig_init(&r);
	append(&r, 200);
	index_all(&r);
	reading_open(&r);
	timeline_set_packing(r.tl, true);
	drop_as_a_reader_begins(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	for (int i = 0; i < NR_VIEWS - 1; i++) {
		if (!history_check(&r.h, late.views[i], late.batch))
			fail_msg("after %d: %s", i, r.h.why);
		pack_anew(&r, &late.lease);
	}
	lease_drop(&late.lease);
	pack_anew(&r, NULL);
	pack_anew(&r, NULL);
	assert_false(history_check(&r.h, late.views[NR_VIEWS - 1], late.batch));
	check_points(&r);
	reading_close();
	rig_fini(&r);
}

/* Of what is gone nothing comes back, and that is no damage. */
static void a_lease_that_came_too_late_stops_no_pack(void **state_)
{
	struct lease lease;
	struct rig r;

	rig_dead(&r);
	index_all(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	assert_int_equal(lease_take(&lease, r.env, "/tl", r.h.batches[40].cut, ""), 0);
	pack_anew(&r, &lease);
	check_points(&r);
	rig_fini(&r);
}

static int leases_refused(struct env *env, const char *dir,
			  void (*fn)(void *arg, const char *name), void *arg)
{
	return strstr(dir, "/leases") ? -EIO : sim_ops->list(env, dir, fn, arg);
}

static void without_a_look_at_the_leases_nothing_is_packed(void **state_)
{
	struct env_ops ops;
	struct rig r;

	rig_dead(&r);
	sim_ops = r.env->ops;
	ops = *sim_ops;
	ops.list = leases_refused;
	r.env->ops = &ops;
	index_all(&r);
	r.env->ops = sim_ops;
	assert_int_equal(r.tl->manifest.nr_packs, 0);
	sim_env_advance(r.sim, HOUR);
	index_all(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	rig_fini(&r);
}

/* -- removing -- */

static int unlink_refused(struct env *env, const char *path)
{
	if (!strstr(path, "/manifest"))
		fail_msg("%s was removed in the thread that acknowledges", path);
	return sim_ops->unlink(env, path);
}

/* What a job replaces is removed by the next, in the thread of jobs. */
static void taking_a_job_removes_nothing(void **state_)
{
	struct index_job *job;
	struct env_ops ops;
	struct rig r;

	rig_init(&r);
	append(&r, 200);
	timeline_set_packing(r.tl, true);
	sim_ops = r.env->ops;
	ops = *sim_ops;
	ops.unlink = unlink_refused;
	for (int round = 0; round < 2; round++) {
		while ((job = timeline_index_plan(r.tl))) {
			bool points = !strncmp(index_job_text(job), "points", 6);

			index_job_run(job, r.env, NULL);
			r.env->ops = points ? sim_ops : &ops;
			timeline_index_take(r.tl, job);
			r.env->ops = sim_ops;
		}
		if (round == 0)
			drop(&r);
	}
	assert_int_equal(nr_unpacked(&r), 0);
	for (uint64_t n = 1; n <= r.tl->settled.last_segment; n++) {
		uint64_t bytes;
		char path[40];

		segment_path(path, sizeof(path), "/tl", n);
		assert_null(sim_env_content(r.sim, path, &bytes));
	}
	rig_fini(&r);
}

/* What cannot be undone is said before it is done; once. */
static void the_first_pack_is_told(void **state_)
{
	unsigned int nr_told = 0;
	struct index_job *job;
	struct rig r;

	rig_dead(&r);
	for (int i = 0; i < 2; i++) {
		while ((job = timeline_index_plan(r.tl))) {
			if (index_job_first_pack(job)) {
				nr_told++;
				assert_int_equal(r.tl->manifest.nr_packs, 0);
				assert_int_equal(index_job_first_pack(job),
						 r.tl->settled.last_ordinal -
						 r.tl->manifest.points.nr_commits);
			}
			index_job_run(job, r.env, NULL);
			timeline_index_take(r.tl, job);
		}
		assert_int_not_equal(r.tl->manifest.nr_packs, 0);
		assert_int_equal(nr_told, 1);
		append(&r, 200);
		timeline_close(r.tl);
		rig_open(&r);
		timeline_set_packing(r.tl, true);
		sim_env_advance(r.sim, HOUR);
	}
	rig_fini(&r);
}

/* -- beside what comes in -- */

static struct {
	uint64_t read_bytes, paced_bytes;
	unsigned int nr_removed;
	unsigned int nr_paced, stop_at;
} counted;

static int64_t read_counted(struct env *env, struct env_file *file, void *data, size_t bytes,
			    uint64_t offset)
{
	int64_t got = sim_ops->read(env, file, data, bytes, offset);

	if (got > 0)
		counted.read_bytes += got;
	return got;
}

static int unlink_counted(struct env *env, const char *path)
{
	counted.nr_removed++;
	return sim_ops->unlink(env, path);
}

static int pace_counted(void *arg, uint64_t bytes)
{
	counted.paced_bytes += bytes;
	return ++counted.nr_paced == counted.stop_at ? -ECANCELED : 0;
}

static void reading_and_removing_have_a_pace(void **state_)
{
	const struct run_pace pace = { pace_counted, NULL };
	struct index_job *job;
	struct env_ops ops;
	struct rig r;

	rig_dead(&r);
	sim_ops = r.env->ops;
	ops = *sim_ops;
	ops.read = read_counted;
	ops.unlink = unlink_counted;
	while ((job = timeline_index_plan(r.tl))) {
		memset(&counted, 0, sizeof(counted));
		r.env->ops = &ops;
		assert_int_equal(index_job_run(job, r.env, &pace), 0);
		r.env->ops = sim_ops;
		/* Tables and headers beside. */
		assert_true(counted.paced_bytes >= counted.read_bytes / 8 * 7);
		assert_true(counted.nr_removed <= 64);
		assert_true(counted.paced_bytes >= (uint64_t)counted.nr_removed << 20);
		assert_int_equal(timeline_index_take(r.tl, job), 0);
	}
	assert_int_equal(nr_unpacked(&r), 0);
	rig_fini(&r);
}

/* Whatever it was at: nothing of it is left, and no file is to blame. */
static void a_pack_that_is_to_end_leaves_nothing(void **state_)
{
	const struct run_pace pace = { pace_counted, NULL };
	struct index_job *job;
	struct rig r;
	int ret;

	rig_dead(&r);
	memset(&counted, 0, sizeof(counted));
	do {
		uint64_t bytes;

		counted.nr_paced = 0;
		counted.stop_at = counted.stop_at * 3 / 2 + 1;
		while ((job = timeline_index_plan(r.tl)) &&
		       strncmp(index_job_text(job), "packing", 7) != 0) {
			index_job_run(job, r.env, NULL);
			timeline_index_take(r.tl, job);
		}
		assert_non_null(job);
		ret = index_job_run(job, r.env, &pace);
		assert_int_equal(ret, counted.nr_paced >= counted.stop_at ? -ECANCELED : 0);
		timeline_index_take(r.tl, job);
		assert_int_equal(state(&r).nr_aside, 0);
		assert_null(sim_env_content(r.sim, "/tl/0000000000000001.pack.new", &bytes));
		sim_env_advance(r.sim, 301 * S);
	} while (ret);
	assert_true(counted.stop_at > 100);
	index_all(&r);
	assert_int_equal(nr_unpacked(&r), 0);
	check_points(&r);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_beside_a_bad_segment_is_packed),
		cmocka_unit_test(what_is_beside_a_bad_pack_is_packed),
		cmocka_unit_test(a_key_that_is_missing_keeps_only_its_segments),
		cmocka_unit_test(a_bad_leaf_of_a_run_is_mended),
		cmocka_unit_test(a_segment_without_a_run_stops_nothing),
		cmocka_unit_test(a_segment_that_ends_too_early_shows_no_old_content),
		cmocka_unit_test(a_bad_footer_before_a_pack_costs_nothing),
		cmocka_unit_test(a_check_goes_on_when_segments_are_packed),
		cmocka_unit_test(what_a_branch_begins_with_stays),
		cmocka_unit_test(packs_leave_room_for_what_comes_in),
		cmocka_unit_test(without_room_a_pack_waits),
		cmocka_unit_test(a_full_disk_is_tried_again),
		cmocka_unit_test(nothing_is_packed_beside_one_copy_of_the_points),
		cmocka_unit_test(with_both_copies_lost_the_worker_hears),
		cmocka_unit_test(a_lease_of_the_last_moment_keeps_the_data),
		cmocka_unit_test(a_lease_that_came_too_late_stops_no_pack),
		cmocka_unit_test(without_a_look_at_the_leases_nothing_is_packed),
		cmocka_unit_test(the_first_pack_is_told),
		cmocka_unit_test(taking_a_job_removes_nothing),
		cmocka_unit_test(reading_and_removing_have_a_pace),
		cmocka_unit_test(a_pack_that_is_to_end_leaves_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
