// SPDX-License-Identifier: GPL-2.0-only
/* A pass of several checks, with packs made meanwhile: nothing counts as read that was not. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "../../userspace/store/check_state.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

static char why[TIMELINE_TEXT_BYTES];

static int end_at(void *arg, uint64_t segment, uint64_t bytes)
{
	return segment >= *(uint64_t *)arg ? -EINTR : 0;
}

/* One check: where the last one ended, if a pass is under way. Of a reader that sees what is there now. */
static uint64_t check_once(struct rig *r, uint64_t until, struct check_state *state)
{
	struct timeline *tl = rig_reader(r);
	struct check check = { .progress = end_at, .arg = &until };
	int ret;

	assert_int_equal(check_state_load(tl, state), 0);
	if (!check_state_is_under_way(state, tl))
		assert_int_equal(check_state_begin(state, tl), 0);
	check.first_segment = state->next_segment;
	check.packs_read = state->packs_read;
	ret = check_run(tl, &check, why);
	assert_true(ret == 0 || ret == -EINTR);
	assert_int_equal(check_state_add(state, &check), 0);
	if (ret == 0)
		check_state_end(state, 1);
	assert_int_equal(check_state_save(r->tl, state), 0);
	free(check.damage);
	timeline_close(tl);
	return check.read_bytes;
}

/* A history that was read before packs took the place of it. */
static void read_and_pack(struct rig *r)
{
	struct check_state state;
	uint64_t place;

	rig_init_dead(r);
	place = r->tl->settled.last_segment + 1;
	check_once(r, place, &state);
	assert_int_equal(state.next_segment, place);
	check_state_fini(&state);
	rig_index(r);
	assert_true(r->tl->manifest.nr_packs > 0 && r->tl->manifest.packs[0].last_segment < place);
}

static void flip(struct rig *r, const struct manifest_pack *pack)
{
	char path[64];

	snprintf(path, sizeof(path), RIG_DIR "/%016llx.pack", (unsigned long long)pack->number);
	assert_int_equal(sim_env_flip(r->sim, path, 4096 + 40, 3), 0);
}

static void what_was_packed_since_is_read_again(void **state_)
{
	for (int flipped = 0; flipped < 2; flipped++) {
		struct check_state state;
		struct rig r;

		read_and_pack(&r);
		if (flipped)
			flip(&r, &r.tl->manifest.packs[0]);
		check_once(&r, UINT64_MAX, &state);
		assert_int_equal(state.next_segment, 0);
		assert_int_equal(state.nr_found > 0, flipped);
		if (flipped)
			assert_int_equal(state.found[0].damage.pack, r.tl->manifest.packs[0].number);
		check_state_fini(&state);
		rig_fini(&r);
	}
}

static void nor_does_a_pack_count_that_was_not_read_to_its_end(void **state_)
{
	struct check_state state;
	struct timeline *tl;
	uint64_t end;
	struct rig r;

	read_and_pack(&r);
	flip(&r, &r.tl->manifest.packs[0]);
	tl = rig_reader(&r);
	end = tl->nr_segments + 1;
	timeline_close(tl);
	for (int i = 0; i < 2; i++) {
		check_once(&r, end, &state);
		assert_int_equal(state.next_segment, end);
		assert_true(state.packs_read < r.tl->manifest.packs[0].number);
		check_state_fini(&state);
	}
	check_once(&r, UINT64_MAX, &state);
	assert_int_equal(state.next_segment, 0);
	assert_int_equal(state.nr_found, 1);
	check_state_fini(&state);
	rig_fini(&r);
}

/* By runs of one pass, or of the one before. */
static void damage_that_is_found_again_is_told_once(void **state_)
{
	struct check_damage damage = { .segment = 3, .offset_bytes = 4096, .to_seq = 7 };
	const struct check check = { .damage = &damage, .nr_damage = 1, .next_segment = 3 };
	struct check_state state = { .pass = 1 };

	assert_int_equal(check_state_add(&state, &check), 0);
	damage.to_seq = 9;
	state.pass = 2;
	assert_int_equal(check_state_add(&state, &check), 0);
	assert_int_equal(state.nr_found, 1);
	assert_int_equal(state.found[0].damage.to_seq, 9);
	damage.offset_bytes = 8192;
	assert_int_equal(check_state_add(&state, &check), 0);
	assert_int_equal(state.nr_found, 2);
	check_state_end(&state, 1);
	assert_int_equal(state.nr_found, 2);
	check_state_fini(&state);
}

/* Of a state without the number of a pack all packs that lie before the place are read. */
static void packs_that_are_not_known_are_read(void **state_)
{
	struct check_state state;
	uint64_t all, none;
	struct rig r;

	rig_init_dead(&r);
	rig_index(&r);
	all = check_once(&r, UINT64_MAX, &state);
	for (int known = 0; known < 2; known++) {
		assert_int_equal(check_state_begin(&state, r.tl), 0);
		state.next_segment = r.tl->settled.last_segment + 1;
		if (!known)
			state.packs_read = 0;
		assert_int_equal(check_state_save(r.tl, &state), 0);
		check_state_fini(&state);
		none = check_once(&r, UINT64_MAX, &state);
		assert_true(known ? none < all / 2 : none > all / 2);
	}
	check_state_fini(&state);
	rig_fini(&r);
}

static void a_glance_says_whose_turn_it_is(void **state_)
{
	uint64_t finished_ns;
	struct check_state state;
	bool under_way;
	struct rig r;

	rig_init_dead(&r);
	check_state_glance(r.env, RIG_DIR, &under_way, &finished_ns);
	assert_true(!under_way && !finished_ns);
	check_once(&r, 2, &state);
	check_state_fini(&state);
	check_state_glance(r.env, RIG_DIR, &under_way, &finished_ns);
	assert_true(under_way && !finished_ns);
	check_once(&r, UINT64_MAX, &state);
	check_state_fini(&state);
	check_state_glance(r.env, RIG_DIR, &under_way, &finished_ns);
	assert_true(!under_way && finished_ns == 1);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_packed_since_is_read_again),
		cmocka_unit_test(nor_does_a_pack_count_that_was_not_read_to_its_end),
		cmocka_unit_test(damage_that_is_found_again_is_told_once),
		cmocka_unit_test(packs_that_are_not_known_are_read),
		cmocka_unit_test(a_glance_says_whose_turn_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
