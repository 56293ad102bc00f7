// SPDX-License-Identifier: GPL-2.0-only
/* Flipped bits: what a check says of points is what reading them says. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/check_state.h"
#include "../../userspace/store/view.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define SECTORS	128
#define BATCHES	24
#define ROUNDS	300

static char why[TIMELINE_TEXT_BYTES];

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	uint64_t random;
	uint64_t readback_no;
};

static uint64_t below(struct rig *r, uint64_t bound)
{
	return unit_random(&r->random) % bound;
}

static void add_extent(struct rig *r, struct test_batch *b, uint64_t stamp)
{
	uint32_t first = below(r, SECTORS - 1), nr = 1 + below(r, 24);

	if (nr > SECTORS - first)
		nr = SECTORS - first;
	test_batch_extent(b, 0, first * 512, nr * 512, below(r, 4) ? EXTENT_DATA : EXTENT_ZERO,
			  below(r, 1000), stamp, stamp ? ++r->readback_no : 0);
}

/* Records in every batch; every fifth opens a hold, the next one has its read-backs. */
static void build(struct rig *r, uint64_t seed)
{
	uint64_t stamp = 0;

	r->random = seed * 2654435761u + 1;
	r->readback_no = 0;
	sim_env_reset(r->sim, seed);
	assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_CREATE, "", &r->tl, why), 0);
	timeline_set_limits(r->tl, 16384 << below(r, 3), 4096 << below(r, 4));
	assert_int_equal(test_greet(r->tl, "a", SECTORS * 512), 0);
	for (uint64_t n = 1; n <= BATCHES; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n * 10));
		b.codec = below(r, 2) ? UNIT_LZ4 : UNIT_STORED;
		for (uint64_t i = 1 + below(r, 4); i > 0; i--)
			add_extent(r, &b, 0);
		if (stamp) {
			for (uint64_t i = below(r, 4); i > 0; i--)
				add_extent(r, &b, stamp);
			b.holds[b.nr_holds++] = (struct commit_hold){ n / 5, stamp, b.cut_seq };
			stamp = 0;
		} else if (n % 5 == 0) {
			stamp = b.cut_seq;
			b.holds[b.nr_holds++] = (struct commit_hold){ n / 5, stamp, 0 };
		}
		b.volumes[b.nr_volumes++] = (struct commit_volume){ .size_bytes = SECTORS * 512 };
		test_batch_end(&b);
		assert_int_equal(test_append(r->sim, r->tl, &b), 0);
	}
	timeline_close(r->tl);
}

static void open_reader(struct rig *r)
{
	assert_int_equal(timeline_open(r->env, "/tl", TIMELINE_READ_ONLY, NULL, &r->tl, why), 0);
}

static int nobody(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	return 0;
}

/* Whether the point cannot be restored because of a checksum. */
static bool point_is_bad(struct rig *r, uint64_t cut_seq)
{
	uint8_t sector[512];
	struct view *view;
	uint64_t at;
	bool bad;
	int ret;

	assert_int_equal(view_open(r->tl, cut_seq, &view, why), 0);
	ret = view_copy(view, 0, nobody, NULL, &at);
	assert_true(ret == 0 || ret == -EBADMSG);
	bad = ret;
	/* Other sectors of a unit with a bad one can be read, never the other way round. */
	for (uint32_t i = 0; i < SECTORS; i++) {
		ret = view_read(view, 0, i * 512, sector, sizeof(sector));
		assert_true(ret == 0 || (bad && ret == -EBADMSG));
	}
	view_close(view);
	return bad;
}

static void run(struct rig *r, struct check_state *state)
{
	struct check check = { .first_segment = 0 };

	assert_int_equal(check_state_load(r->tl, state), 0);
	assert_int_equal(check_state_begin(state, r->tl), 0);
	assert_int_equal(check_run(r->tl, &check, why), 0);
	assert_int_equal(check_state_add(state, &check), 0);
	check_state_end(state, 1);
	free(check.damage);
}

static void a_check_says_of_points_what_reading_them_says(void **state)
{
	struct rig *r = *state;
	size_t nr_bad = 0, nr_good = 0, nr_unneeded = 0;

	for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
		const struct timeline_commit *commits;
		struct check_state checked;
		char path[64];
		uint64_t bytes, at;
		size_t nr;

		build(r, seed);
		snprintf(path, sizeof(path), "/tl/%016llx.seg", 1 + (unsigned long long)below(r, 3));
		if (!sim_env_content(r->sim, path, &bytes) || bytes <= 4096)
			continue;
		at = 4096 + below(r, bytes - 4096);
		assert_int_equal(sim_env_flip(r->sim, path, at, below(r, 8)), 0);
		open_reader(r);
		run(r, &checked);
		nr_unneeded += checked.nr_found &&
			       checked.found[0].damage.from_seq == checked.found[0].damage.to_seq;
		nr = timeline_commits(r->tl, &commits);
		for (size_t i = 0; i < nr; i++) {
			bool bad;

			if (!commits[i].listed)
				continue;
			bad = point_is_bad(r, commits[i].cut_seq);
			nr_bad += bad;
			nr_good += !bad;
			/* Behind a hole nobody knows that it is good. */
			if (timeline_damage(r->tl) && !bad)
				continue;
			if (bad != !!check_state_damage(&checked, commits[i].cut_seq) ||
			    bad == check_state_has_checked(&checked, commits[i].cut_seq))
				fail_msg("seed %llu, byte %llu of %s, commit %zu: %s",
					 (unsigned long long)seed, (unsigned long long)at, path, i,
					 bad ? "bad" : "good");
		}
		check_state_fini(&checked);
		timeline_close(r->tl);
	}
	/* The dice have thrown some of each. */
	assert_true(nr_bad > ROUNDS && nr_good > ROUNDS && nr_unneeded > 0);
}

static int end_at(void *arg, uint64_t segment, uint64_t bytes)
{
	return segment >= *(uint64_t *)arg ? -EINTR : 0;
}

/* Two runs of one pass know what one run of it does. */
static void a_pass_goes_on_where_it_ended(void **state)
{
	struct rig *r = *state;
	uint64_t last = 3, bytes;

	for (uint64_t seed = 1; seed <= 20; seed++) {
		struct check_state one, two, loaded;
		struct check check = { .progress = end_at, .arg = &last };

		build(r, seed);
		assert_non_null(sim_env_content(r->sim, "/tl/0000000000000001.seg", &bytes));
		sim_env_flip(r->sim, "/tl/0000000000000001.seg", 4096 + below(r, 4096), 3);
		open_reader(r);
		run(r, &one);
		assert_int_equal(check_state_load(r->tl, &two), 0);
		assert_int_equal(check_state_begin(&two, r->tl), 0);
		if (check_run(r->tl, &check, why) == -EINTR)
			assert_int_equal(check.next_segment, last);
		assert_int_equal(check_state_add(&two, &check), 0);
		free(check.damage);
		/* What is found marks points before the pass has ended. */
		assert_int_equal(two.nr_found, one.nr_found);
		assert_int_equal(check_state_save(r->tl, &two), 0);
		assert_int_equal(check_state_load(r->tl, &loaded), 0);
		check = (struct check){ .first_segment = loaded.next_segment };
		assert_int_equal(check_run(r->tl, &check, why), 0);
		assert_int_equal(check_state_add(&loaded, &check), 0);
		free(check.damage);
		check_state_end(&loaded, 1);
		assert_int_equal(loaded.nr_found, one.nr_found);
		for (size_t i = 0; i < one.nr_found; i++)
			assert_memory_equal(&loaded.found[i].damage, &one.found[i].damage,
					    sizeof(one.found[i].damage));
		assert_int_equal(loaded.checked.newest_seq, one.checked.newest_seq);
		assert_int_equal(loaded.checked.nr_unlisted, one.checked.nr_unlisted);
		check_state_fini(&one);
		check_state_fini(&two);
		check_state_fini(&loaded);
		timeline_close(r->tl);
	}
}

/* Damage that is gone at the next pass is forgotten; a sector that cannot be read is damage. */
static void what_is_mended_is_forgotten(void **state)
{
	struct rig *r = *state;
	struct check_state checked;
	struct check check = { .first_segment = 0 };

	build(r, 7);
	open_reader(r);
	assert_int_equal(check_state_load(r->tl, &checked), 0);
	assert_int_equal(check_state_begin(&checked, r->tl), 0);
	sim_env_fail(r->sim, SIM_FAULT_READ, 4, -EIO, false);
	if (check_run(r->tl, &check, why) == 0) {
		assert_int_equal(check_state_add(&checked, &check), 0);
		check_state_end(&checked, 1);
	}
	free(check.damage);
	assert_true(checked.nr_found > 0);
	assert_int_equal(check_state_save(r->tl, &checked), 0);
	check_state_fini(&checked);
	run(r, &checked);
	assert_int_equal(checked.nr_found, 0);
	check_state_fini(&checked);
	timeline_close(r->tl);
}

static void a_state_file_may_say_anything(void **state)
{
	static const char *const bad[] = {
		"", "{", "[]", "{}", "null", "{\"version\": 1}", "{\"version\": 2}",
		"{\"version\": 1, \"timeline\": \"00000000000000000000000000000000\"}",
	};
	struct rig *r = *state;
	struct check_state s;
	char text[4096], id[33];

	build(r, 1);
	open_reader(r);
	assert_int_equal(check_state_load(r->tl, &s), 0);
	assert_int_equal(check_state_save(r->tl, &s), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char padded[1025];	/* over all that is there */

		snprintf(padded, sizeof(padded), "%-1024s", bad[i]);
		sim_env_poke(r->sim, "/tl/check.json", 0, padded, sizeof(padded) - 1);
		assert_int_equal(check_state_load(r->tl, &s), -EBADMSG);
		assert_int_equal(s.nr_found, 0);
	}
	for (int i = 0; i < 16; i++)
		snprintf(id + 2 * i, 3, "%02x", timeline_id(r->tl)[i]);
	for (int field = 0; field < 7; field++) {
		snprintf(text, sizeof(text), "{\"version\": 1, \"timeline\": \"%s\", \"finished_ns\": %s, \"checked\": {\"newest_seq\": \"%s\", \"unlisted\": [%s]}, \"pass\": \"1\", \"next_segment\": \"%s\", \"checking\": {\"newest_seq\": \"0\", \"unlisted\": %s}, \"damage\": [%s]}%*s",
			 id, field == 1 ? "5" : "\"5\"",
			 field == 2 ? "99999999999999999999" : "9",
			 field == 3 ? "[\"5\", \"4\"]" : "[\"4\", \"5\"]",
			 field == 4 ? "-1" : "0", field == 5 ? "{}" : "[]",
			 field == 6 ? "{\"pass\": \"1\"}" : "", 800, "");
		sim_env_poke(r->sim, "/tl/check.json", 0, text, strlen(text));
		assert_int_equal(check_state_load(r->tl, &s), field ? -EBADMSG : 0);
		check_state_fini(&s);
	}
	timeline_close(r->tl);
}

static int set_up(void **state)
{
	static struct rig r;

	r.sim = sim_env_create(1);
	r.env = sim_env_env(r.sim);
	*state = &r;
	return 0;
}

static int tear_down(void **state)
{
	sim_env_destroy(((struct rig *)*state)->sim);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_check_says_of_points_what_reading_them_says),
		cmocka_unit_test(a_pass_goes_on_where_it_ended),
		cmocka_unit_test(what_is_mended_is_forgotten),
		cmocka_unit_test(a_state_file_may_say_anything),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
