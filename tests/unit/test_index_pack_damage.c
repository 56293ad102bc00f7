// SPDX-License-Identifier: GPL-2.0-only
/* Giving space back beside files that are bad, or not there, or cannot be read. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/keyring.h"
#include "../../userspace/store/check.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/segment_scan.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

static char why[TIMELINE_TEXT_BYTES];

/* A segment or pack as it was. */
struct saved {
	char path[40];
	uint8_t *bytes;
	uint64_t nr;
};

static void save_path(struct rig *r, struct saved *s)
{
	const uint8_t *content = sim_env_content(r->sim, s->path, &s->nr);

	assert_non_null(content);
	s->bytes = malloc(s->nr);
	memcpy(s->bytes, content, s->nr);
}

static void save(struct rig *r, struct saved *s, uint64_t segment)
{
	segment_path(s->path, sizeof(s->path), "/tl", segment);
	save_path(r, s);
}

static void put_back(struct rig *r, struct saved *s)
{
	struct env_file *file;

	if (r->env->ops->open(r->env, s->path, ENV_WRITE | ENV_CREATE, &file) == 0)
		r->env->ops->close(r->env, file);
	assert_int_equal(sim_env_poke(r->sim, s->path, 0, s->bytes, s->nr), 0);
	free(s->bytes);
}

static void what_is_beside_a_bad_segment_is_packed(void **state_)
{
	for (int what = 0; what < 3; what++) {
		const uint64_t bad = 7;
		struct saved s;
		struct rig r;

		rig_init_dead(&r);
		save(&r, &s, bad);
		if (what == 0)
			r.env->ops->unlink(r.env, s.path);
		/* The header; or a bit here and there. */
		for (uint64_t at = what == 1 ? 20 : 4200; what && at < s.nr; at += 256)
			assert_int_equal(sim_env_flip(r.sim, s.path, at, 1), 0);
		rig_index(&r);
		assert_int_equal(rig_nr_unpacked(&r), 1);
		assert_false(rig_is_packed(&r, bad));
		assert_int_equal(rig_pack_state(&r).nr_aside, 1);
		assert_string_equal(rig_pack_state(&r).aside, "0000000000000007.seg");
		assert_int_equal(rig_pack_state(&r).error, what ? -EBADMSG : -ENOENT);
		/* It is tried again, and as long as it is bad nothing else happens. */
		sim_env_advance(r.sim, PACK_ASIDE_NS);
		rig_index(&r);
		assert_int_equal(rig_pack_state(&r).nr_aside, 1);
		put_back(&r, &s);
		sim_env_advance(r.sim, PACK_ASIDE_NS);
		rig_index(&r);
		assert_int_equal(rig_pack_state(&r).nr_aside, 0);
		assert_int_equal(rig_nr_unpacked(&r), 0);
		rig_check(&r);
		rig_fini(&r);
	}
}

static void what_is_beside_a_bad_pack_is_packed(void **state_)
{
	const struct manifest_pack *bad;
	uint64_t number;
	struct rig r;
	char path[40];

	rig_init_dead(&r);
	rig_index(&r);
	bad = &r.tl->manifest.packs[0];
	number = bad->number;
	pack_path(path, sizeof(path), "/tl", number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, 30, 1), 0);
	for (int i = 0; i < 8; i++) {
		rig_append(&r, 200, S);
		sim_env_advance(r.sim, HOUR);
		rig_index(&r);
	}
	assert_int_equal(r.tl->manifest.packs[0].number, number);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	assert_string_equal(rig_pack_state(&r).aside, path + 4);
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
	rig_init(&r, 1, 256, 16384);
	assert_int_equal(timeline_set_keys(r.tl, first, why), 0);
	rig_append(&r, 60, S);
	assert_int_equal(timeline_set_keys(r.tl, second, why), 0);
	rig_append(&r, 140, S);
	rig_index(&r);
	rig_drop(&r);
	timeline_set_packing(r.tl, true);
	rig_index(&r);
	nr = rig_nr_unpacked(&r);
	assert_true(nr > 0 && nr < r.tl->settled.last_segment / 2);
	assert_int_equal(rig_pack_state(&r).nr_aside, nr);
	assert_int_equal(rig_pack_state(&r).error, -ENOKEY);
	assert_int_equal(timeline_set_keys(r.tl, both, why), 0);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_check(&r);
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

	rig_init_dead(&r);
	run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[0].number, 0);
	assert_int_equal(sim_env_flip(r.sim, path, 4096 + 100, 1), 0);
	assert_int_equal(rig_index_faulty(&r), 1);
	sim_env_advance(r.sim, HOUR);
	rig_index(&r);
	assert_int_equal(r.tl->nr_bad_runs, 0);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_check(&r);
	rig_fini(&r);
}

/* Neither its run can be read nor itself: what lives in it is not known. */
static void a_segment_without_a_run_stops_nothing(void **state_)
{
	uint64_t nr_runs, nr_waiting;
	struct saved s;
	struct rig r;
	char path[40];

	rig_init_dead(&r);
	save(&r, &s, 3);
	r.env->ops->unlink(r.env, s.path);
	for (size_t i = 0; i < r.tl->manifest.nr_runs; i++) {
		run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[i].number, 0);
		r.env->ops->unlink(r.env, path);
	}
	for (int i = 0; i < 8; i++) {
		rig_index_faulty(&r);
		sim_env_advance(r.sim, 600 * S);
	}
	timeline_index_state(r.tl, &nr_runs, &nr_waiting);
	assert_int_equal(nr_waiting, 1);
	assert_int_equal(rig_nr_unpacked(&r), 1);
	assert_string_equal(rig_pack_state(&r).aside, "0000000000000003.seg");
	put_back(&r, &s);
	for (int i = 0; i < 3; i++) {
		sim_env_advance(r.sim, PACK_ASIDE_NS);
		rig_index(&r);
	}
	assert_int_equal(rig_nr_unpacked(&r), 0);
	assert_int_equal(rig_pack_state(&r).nr_aside, 0);
	rig_check(&r);
	rig_fini(&r);
}

/* The block where this finished segment has its last commit. */
static uint64_t last_commit_block(struct rig *r, uint64_t segment)
{
	const uint8_t *timeline = r->tl->manifest.identity.timeline;
	struct segment_scan scan;
	uint64_t first_ordinal, at;

	assert_int_equal(segment_first_ordinal(r->env, "/tl", timeline, segment, &first_ordinal),
			 0);
	segment_scan_init(&scan, r->env, "/tl", timeline, segment, first_ordinal);
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

	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		const struct timeline_commit *c;
		struct timeline *reader;
		struct rig r;
		char path[40];
		size_t nr;

		rig_init_settled(&r);
		segment_path(path, sizeof(path), "/tl", segments[i]);
		assert_int_equal(sim_env_poke(r.sim, path, last_commit_block(&r, segments[i]),
					      nothing, sizeof(nothing)), 0);
		for (size_t k = 0; k < r.tl->manifest.nr_runs; k++) {
			run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[k].number, 0);
			sim_env_flip(r.sim, path, 20, 1);
		}
		rig_restart(&r);
		rig_index_faulty(&r);
		reader = rig_reader(&r);
		nr = timeline_commits(reader, &c);
		for (size_t k = 0; k < nr; k++) {
			struct view *v;

			if (view_open(reader, c[k].cut_seq, &v, why))
				continue;	/* it says that it cannot */
			if (!history_sample(&r.h, v, c[k].ordinal - 1, 400, -EBADMSG))
				fail_msg("point %d: %s", (int)c[k].ordinal, r.h.why);
			view_close(v);
		}
		timeline_close(reader);
		rig_fini(&r);
	}
}

/* Segment 7 has it, and what comes behind that is a pack, which says where it ended. */
static void rig_init_bad_footer(struct rig *r)
{
	struct saved s;

	rig_init_dead(r);
	save(r, &s, 7);
	r->env->ops->unlink(r->env, s.path);
	rig_index(r);
	assert_true(rig_is_packed(r, 8) && !rig_is_packed(r, 7));
	s.bytes[s.nr - 20] ^= 1;
	put_back(r, &s);
}

static void a_bad_footer_before_a_pack_costs_nothing(void **state_)
{
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	struct rig r;

	rig_init_bad_footer(&r);
	reader = rig_reader(&r);
	if (check_run(reader, &check, why))
		fail_msg("%s", why);
	assert_int_equal(check.nr_damage, 0);
	assert_int_equal(check.nr_footers_damaged, 1);
	free(check.damage);
	timeline_close(reader);
	/* Its run can be made again, and then it is packed. */
	timeline_index_forget(r.tl);
	rig_index(&r);
	sim_env_advance(r.sim, PACK_ASIDE_NS);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_check(&r);
	rig_fini(&r);
}

/* Also of the points file: what a view accepts, that does. */
static void a_bad_footer_before_a_pack_stops_no_rebuild(void **state_)
{
	struct rig r;
	char path[40];

	rig_init_bad_footer(&r);
	points_path(path, sizeof(path), "/tl", r.tl->manifest.points.number, 0);
	rig_close(&r);
	r.env->ops->unlink(r.env, path);
	rig_open(&r, TIMELINE_REBUILD);
	rig_check(&r);
	rig_fini(&r);
}

/* The file goes with the next job: another of its name would go with it. */
static void the_number_of_a_pack_that_goes_is_not_used_again(void **state_)
{
	struct index_job *job;
	struct saved s;
	uint64_t bytes;
	struct rig r;

	/* Two packs, as one segment between them cannot be read. */
	rig_init_dead(&r);
	save(&r, &s, 7);
	r.env->ops->unlink(r.env, s.path);
	job = rig_index_until(&r, "packing");
	index_job_run(job, r.env, NULL);
	assert_int_equal(timeline_index_take(r.tl, job), 0);
	job = rig_index_until(&r, "packing");
	assert_int_equal(index_job_run(job, r.env, NULL), 0);
	assert_non_null(sim_env_content(r.sim, "/tl/0000000000000002.pack", &bytes));
	sim_env_fail(r.sim, SIM_FAULT_WRITE, 1, -EIO, false);
	assert_int_equal(timeline_index_take(r.tl, job), -EIO);
	assert_int_equal(manifest_next_pack(&r.tl->manifest), 3);
	put_back(&r, &s);
	sim_env_advance(r.sim, PACK_ASIDE_NS);
	rig_index(&r);
	assert_int_equal(rig_nr_unpacked(&r), 0);
	rig_check(&r);
	rig_fini(&r);
}

static int nobody(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	return 0;
}

/* Whether something of the point cannot be had; what can be had is right. */
static bool point_is_bad(struct rig *r, struct timeline *reader, const struct timeline_commit *c)
{
	bool bad = false;
	struct view *v;
	uint64_t at;

	if (view_open(reader, c->cut_seq, &v, why))
		return true;
	for (uint16_t volume = 0; volume < HISTORY_VOLUMES; volume++)
		bad |= view_copy(v, volume, nobody, NULL, &at) == -EBADMSG;
	if (!history_sample(&r->h, v, c->ordinal - 1, 400, -EBADMSG))
		fail_msg("point %d: %s", (int)c->ordinal, r->h.why);
	view_close(v);
	return bad;
}

/* Points here and there are kept, and what they show is packed; more has come in since. */
static void init_thinned(struct rig *r)
{
	rig_init_settled(r);
	for (size_t i = 0; i < r->tl->points.nr_commits; i += 25) {
		const struct timeline_commit *c = &r->tl->points.commits[i];
		uint64_t id = 0;

		if (c->listed)
			assert_int_equal(timeline_pin(r->tl, c->cut_seq, TIMELINE_PIN_HOLD, "", 0,
						      &id), 0);
	}
	rig_drop(r);
	timeline_set_packing(r->tl, true);
	rig_index(r);
	assert_true(r->tl->manifest.nr_packs && rig_nr_unpacked(r) == 0);
	rig_append(r, 400, S);
	rig_index(r);
}

/* @runs: they say what was in it, so only who needs it is hit; else anybody may be. */
static void pack_loss_check(struct rig *r, bool runs, size_t *nr_bad, size_t *nr_good)
{
	struct check check = { .first_segment = 0 };
	struct timeline *reader = rig_reader(r);
	const struct timeline_commit *c;
	size_t nr = timeline_commits(reader, &c);

	*nr_bad = *nr_good = 0;
	if (check_run(reader, &check, why))
		fail_msg("%s", why);
	for (size_t i = 0; i < nr; i++) {
		bool marked = false, bad;

		if (!c[i].listed)
			continue;
		for (size_t k = 0; k < check.nr_damage; k++)
			marked |= check.damage[k].from_seq <= c[i].cut_seq &&
				  (!check.damage[k].to_seq ||
				   c[i].cut_seq < check.damage[k].to_seq);
		bad = point_is_bad(r, reader, &c[i]);
		*nr_bad += bad;
		*nr_good += !bad;
		if (runs ? marked != bad : !marked)
			fail_msg("point %d is %s, and a check says otherwise",
				 (int)c[i].ordinal, bad ? "bad" : "good");
	}
	free(check.damage);
	timeline_close(reader);
}

static void a_pack_that_is_missing_is_damage_of_who_needs_it(void **state_)
{
	for (int what = 0; what < 2; what++) {
		size_t nr_bad, nr_good;
		struct saved s;
		char path[40];
		struct rig r;

		init_thinned(&r);
		pack_path(s.path, sizeof(s.path), "/tl", r.tl->manifest.packs[0].number, 0);
		save_path(&r, &s);
		if (what == 0)
			r.env->ops->unlink(r.env, s.path);
		else
			sim_env_flip(r.sim, s.path, 30, 1);
		pack_loss_check(&r, true, &nr_bad, &nr_good);
		assert_true(nr_bad > 2 && nr_good > 2);
		/* Put back, all is as it was. */
		put_back(&r, &s);
		pack_loss_check(&r, true, &nr_bad, &nr_good);
		assert_int_equal(nr_bad, 0);
		r.env->ops->unlink(r.env, s.path);
		for (size_t i = 0; i < r.tl->manifest.nr_runs; i++) {
			run_path(path, sizeof(path), "/tl", r.tl->manifest.runs[i].number, 0);
			r.env->ops->unlink(r.env, path);
		}
		pack_loss_check(&r, false, &nr_bad, &nr_good);
		rig_fini(&r);
	}
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
		cmocka_unit_test(a_bad_footer_before_a_pack_stops_no_rebuild),
		cmocka_unit_test(a_pack_that_is_missing_is_damage_of_who_needs_it),
		cmocka_unit_test(the_number_of_a_pack_that_goes_is_not_used_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
