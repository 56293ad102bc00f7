// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is dead, against the rule spelled out; and a store whose segments became packs, seen
 * from outside: every point that was kept shows what the model says.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/segment_format.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/pack_plan.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/history.h"
#include "../host/sim_env.h"
#include "../host/test_steps.h"

#define SECTORS 256
#define MAX_CUTS 200
#define MAX_FILES 400

static char why[TIMELINE_TEXT_BYTES];
static uint64_t bad_run;
static size_t bad;

/* -- the rule -- */

static int entry_compare(const void *a, const void *b)
{
	return run_entry_compare(a, b);
}

static bool holds(const struct run_entry *a, const struct run_entry *b)
{
	return a->volume == b->volume && a->length_shift >= b->length_shift &&
	       a->offset_bytes <= b->offset_bytes &&
	       b->offset_bytes - a->offset_bytes < UINT64_C(1) << a->length_shift;
}

static bool is_newer(const struct run_entry *a, const struct run_entry *b)
{
	const uint64_t x[] = { a->label_seq, a->readback_no, a->segment, a->unit_at, a->extent_no };
	const uint64_t y[] = { b->label_seq, b->readback_no, b->segment, b->unit_at, b->extent_no };

	for (size_t i = 0; i < ARRAY_SIZE(x); i++)
		if (x[i] != y[i])
			return x[i] > y[i];
	return false;
}

/* Whether any cut that exists tells these two labels apart. */
static bool told_apart(const struct thin_cuts *cuts, uint64_t a, uint64_t b)
{
	uint64_t low = a < b ? a : b, high = a < b ? b : a;

	for (uint64_t cut = low; cut < high; cut++)
		if (thin_cut_is_kept(cuts, cut))
			return true;
	return false;
}

static bool is_dead(const struct thin_cuts *cuts, const struct run_entry *entries, size_t nr,
		    const struct run_entry *e)
{
	for (size_t i = 0; i < nr; i++)
		if (is_newer(&entries[i], e) && holds(&entries[i], e) &&
		    !told_apart(cuts, entries[i].label_seq, e->label_seq))
			return true;
	return false;
}

static void what_is_dead_is_what_the_rule_says(void **state)
{
	uint64_t random = 1;
	size_t nr_dead = 0, nr_live = 0;

	for (int round = 0; round < 200; round++) {
		struct run_entry entries[120];
		uint64_t kept[20], label = 0;
		struct thin_cuts cuts = { .cuts = kept };
		size_t nr = 1 + unit_random(&random) % ARRAY_SIZE(entries);
		struct thin thin;

		while (cuts.nr < unit_random(&random) % ARRAY_SIZE(kept))
			kept[cuts.nr++] = label += 1 + unit_random(&random) % 6;
		cuts.settled_cut = unit_random(&random) % 60;
		for (size_t i = 0; i < nr; i++) {
			unsigned int shift = 9 + unit_random(&random) % 5;

			entries[i] = (struct run_entry){
				.offset_bytes = unit_random(&random) % (16384 >> shift) << shift,
				.length_shift = shift, .label_seq = unit_random(&random) % 70,
				.readback_no = unit_random(&random) % 2, .segment = i + 1,
				.volume = unit_random(&random) % 2, .kind = EXTENT_DATA };
		}
		qsort(entries, nr, sizeof(*entries), entry_compare);
		thin_begin(&thin, &cuts);
		for (size_t i = 0; i < nr; i++) {
			bool dead;

			assert_int_equal(thin_take(&thin, &entries[i], &dead), 0);
			assert_int_equal(dead, is_dead(&cuts, entries, nr, &entries[i]));
			*(dead ? &nr_dead : &nr_live) += 1;
		}
		thin_end(&thin);
	}
	assert_true(nr_dead > 1000 && nr_live > 1000);
}

static const struct thin_limits no_limits = { SIZE_MAX, SIZE_MAX, UINT64_MAX, 0 };

static struct thin_file file_of(uint64_t first, uint64_t last, bool is_pack, uint64_t data_bytes,
				uint64_t live_bytes)
{
	return (struct thin_file){ .first_segment = first, .last_segment = last,
				   .is_pack = is_pack, .data_bytes = data_bytes,
				   .live_bytes = live_bytes };
}

static void files_that_are_worth_it_are_chosen_side_by_side(void **state)
{
	const uint64_t mib = 1 << 20;
	struct thin_file files[] = {
		file_of(1, 1, false, 32 * mib, 30 * mib),	/* little is dead */
		file_of(2, 2, false, 32 * mib, 16 * mib),
		file_of(3, 9, true, 30 * mib, 10 * mib),
		file_of(10, 10, false, 32 * mib, 8 * mib),	/* 34 MiB: one too many */
		file_of(11, 11, false, 32 * mib, 24 * mib),
		file_of(13, 13, false, 32 * mib, 0),		/* no neighbour of 11 */
		file_of(14, 14, false, 32 * mib, 32 * mib),
	};
	size_t from = 0, first;

	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 2);
	assert_int_equal(first, 1);
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 2);
	assert_int_equal(first, 3);
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 1);
	assert_int_equal(first, 5);
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 0);
}

/* Small packs without anything dead: left alone until there are enough of them. */
static void small_files_become_one_when_there_are_enough(void **state)
{
	struct thin_file files[THIN_SMALL_FILES];
	size_t from = 0, first;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		files[i] = file_of(i + 1, i + 1, true, 1000, 1000);
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files) - 1, &no_limits, &from, &first), 0);
	from = 0;
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), ARRAY_SIZE(files));
}

/* Those of an idle group have hardly any data: what there is are commits of a cut that is kept. */
static void commits_fill_a_pack_too(void **state)
{
	const uint64_t mib = 1 << 20;
	struct thin_file files[40];
	size_t from = 0, first;

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		files[i] = file_of(i + 1, i + 1, false, 0, 0);
		files[i].commit_bytes = 2 * mib;
	}
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 16);
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 16);
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 8);
	/* As packs they are full: else each look at the index would find and leave them. */
	from = 0;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		files[i] = file_of(i + 1, i + 1, true, 0, 0);
		files[i].file_bytes = 32 * mib;
	}
	assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &no_limits, &from, &first), 0);
}

/* Limits are those of all together; a file that is over them by itself, or bad, parts the others. */
static void a_pack_stays_within_its_limits(void **state)
{
	static const struct {
		struct thin_limits limits;
		size_t aside, want[4];
	} cases[] = {
		{ { SIZE_MAX, SIZE_MAX, UINT64_MAX, 0 }, 9, { 6 } },
		{ { 4, SIZE_MAX, UINT64_MAX, 0 }, 9, { 4, 2 } },
		{ { SIZE_MAX, 200, UINT64_MAX, 0 }, 9, { 2, 2, 1 } },
		{ { SIZE_MAX, SIZE_MAX, 3000, 0 }, 9, { 3, 1, 1, 1 } },
		{ { SIZE_MAX, SIZE_MAX, 3000, 500 }, 9, { 2, 2, 1 } },
		{ { SIZE_MAX, SIZE_MAX, UINT64_MAX, 0 }, 2, { 2, 3 } },
	};

	for (size_t c = 0; c < ARRAY_SIZE(cases); c++) {
		struct thin_file files[6];
		size_t from = 0, first;

		for (size_t i = 0; i < ARRAY_SIZE(files); i++)
			files[i] = (struct thin_file){
				.first_segment = i + 1, .last_segment = i + 1, .data_bytes = 8192,
				.live_bytes = 4096, .need_bytes = i == 4 ? 3000 : 1000,
				.nr_live = i == 5 ? 201 : 100, .aside = i == cases[c].aside };
		for (size_t i = 0; i < ARRAY_SIZE(cases[c].want) && cases[c].want[i]; i++)
			assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &cases[c].limits, &from,
						     &first), cases[c].want[i]);
		assert_int_equal(thin_choose(files, ARRAY_SIZE(files), &cases[c].limits, &from,
					     &first), 0);
	}
}

/* -- a store -- */

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	struct history h;
	bool dropped[MAX_CUTS];
	uint64_t kept[MAX_CUTS];
	struct thin_cuts cuts;
};

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	history_init(&r->h, SECTORS);
}

static void rig_fini(struct rig *r)
{
	timeline_close(r->tl);
	history_fini(&r->h);
	sim_env_destroy(r->sim);
}

static uint64_t below(struct rig *r, uint64_t bound)
{
	return sim_env_random(r->sim, bound);
}

static void index_all(struct rig *r)
{
	assert_int_equal(test_index(r->env, r->tl), 0);
}

static void append(struct rig *r, size_t nr_batches)
{
	for (size_t i = 0; i < nr_batches; i++) {
		struct test_batch b;

		history_batch(&r->h, &b);
		assert_int_equal(test_append(r->sim, r->tl, &b), 0);
	}
	index_all(r);
}

static void build(struct rig *r, uint64_t seed, size_t nr_batches)
{
	timeline_close(r->tl);
	sim_env_reset(r->sim, seed);
	history_reset(&r->h, seed);
	memset(r->dropped, 0, sizeof(r->dropped));
	if (timeline_open(r->env, "/tl", TIMELINE_CREATE, "", &r->tl, why))
		fail_msg("%s", why);
	timeline_set_limits(r->tl, 8192 << below(r, 3), 4096);
	assert_int_equal(history_greet(&r->h, r->tl), 0);
	append(r, nr_batches);
}

/* The last batch that lies in segments that are finished. */
static uint64_t settled_ordinal(const struct rig *r)
{
	const struct manifest *m = &r->tl->manifest;

	return m->nr_runs ? m->runs[m->nr_runs - 1].last_ordinal : 0;
}

/* Drop some of what is settled, for good. @odds of 8. */
static void drop(struct rig *r, unsigned int odds)
{
	const uint64_t settled = settled_ordinal(r);

	assert_true(r->h.nr_batches <= MAX_CUTS);
	r->cuts = (struct thin_cuts){ .cuts = r->kept,
				      .settled_cut = r->h.batches[settled - 1].cut };
	for (size_t i = 0; i < settled; i++) {
		r->dropped[i] |= r->h.batches[i].cut < r->cuts.settled_cut && below(r, 8) < odds;
		if (!r->dropped[i])
			r->kept[r->cuts.nr++] = r->h.batches[i].cut;
	}
}

/* Two batches may have one cut: it exists as long as either does. */
static bool is_kept(const struct rig *r, size_t index)
{
	return thin_cut_is_kept(&r->cuts, r->h.batches[index].cut);
}

static struct pack_index whole_index(struct rig *r)
{
	return (struct pack_index){
		.env = r->env, .dir = "/tl", .timeline = timeline_id(r->tl),
		.runs = r->tl->manifest.runs, .nr_runs = r->tl->manifest.nr_runs,
		.cuts = &r->cuts };
}

/* The files there are, as sources. */
static size_t all_sources(struct rig *r, struct pack_source *sources)
{
	uint64_t last = segment_writer_finished(&r->tl->writer);
	size_t nr = 0;

	for (uint64_t n = 1; n <= last; n++) {
		const struct manifest_pack *pack = manifest_pack(&r->tl->manifest, n);
		struct pack_source *s = &sources[nr++];

		assert_true(nr <= MAX_FILES);
		*s = (struct pack_source){ .segment = n };
		if (pack) {
			s->pack = *pack;
			n = pack->last_segment;
		}
	}
	return nr;
}

static void remove_source(struct rig *r, const struct pack_source *s)
{
	char path[64];

	if (s->pack.number)
		pack_path(path, sizeof(path), "/tl", s->pack.number, 0);
	else
		segment_path(path, sizeof(path), "/tl", s->segment);
	assert_int_equal(r->env->ops->unlink(r->env, path), 0);
}

/* Make one pack of sources side by side, name it, remove them. */
static void pack_some(struct rig *r, const struct pack_source *sources, size_t nr)
{
	const struct pack_index index = whole_index(r);
	const struct pack_source *end = &sources[nr - 1];
	uint64_t first = sources[0].segment;
	uint64_t last = end->pack.number ? end->pack.last_segment : end->segment;
	struct pack_job job = {
		.env = r->env, .dir = "/tl", .timeline = timeline_id(r->tl),
		.number = manifest_next_pack(&r->tl->manifest), .cuts = &r->cuts,
		.sources = sources, .nr_sources = nr };
	const struct pack_range range = { first, last };
	struct manifest_pack out;
	struct pack_live *live;

	assert_int_equal(pack_plan_live(&index, &range, 1, SIZE_MAX, &live, &job.nr_live, &bad_run), 0);
	job.live = live;
	assert_int_equal(pack_build(&job, &out, &bad), 0);
	free(live);
	assert_int_equal(out.first_segment, first);
	assert_int_equal(out.last_segment, last);
	assert_int_equal(manifest_add_pack(&r->tl->manifest, &out), 0);
	for (size_t i = 0; i < nr; i++)
		remove_source(r, &sources[i]);
}

/* Packs of 1 to 6 files; some files stay as they are. */
static size_t pack_all(struct rig *r)
{
	static struct pack_source sources[MAX_FILES];
	size_t nr = all_sources(r, sources), nr_packs = 0;

	for (size_t i = 0; i < nr;) {
		size_t some = 1 + below(r, 6);

		if (some > nr - i)
			some = nr - i;
		if (below(r, 4)) {
			pack_some(r, &sources[i], some);
			nr_packs++;
		}
		i += some;
	}
	return nr_packs;
}

static void check_kept(struct rig *r, struct timeline *tl)
{
	for (size_t i = 0; i < r->h.nr_batches; i++)
		if (is_kept(r, i) && !history_point(&r->h, tl, i))
			fail_msg("batch %d: %s", (int)i, r->h.why);
}

static void points_that_are_kept_stay_what_they_are(void **state)
{
	struct rig r;
	size_t nr_packs = 0;

	rig_init(&r);
	for (uint64_t seed = 1; seed <= 24; seed++) {
		struct timeline *reader;

		build(&r, seed, 40 + seed);
		assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_READ_ONLY, NULL, &reader,
					       why), 0);
		drop(&r, seed % 9);
		nr_packs += pack_all(&r);
		check_kept(&r, r.tl);
		/* One that was told of the segments before. */
		check_kept(&r, reader);
		timeline_close(reader);
		/* What comes later, and packs of packs. */
		append(&r, 20);
		drop(&r, 3);
		nr_packs += pack_all(&r);
		check_kept(&r, r.tl);
		/* Without any run the directories of the packs say it all. */
		timeline_index_forget(r.tl);
		check_kept(&r, r.tl);
	}
	assert_true(nr_packs > 100);
	rig_fini(&r);
}

/* A view that is open while what it reads is packed and removed. */
static void an_open_view_goes_on(void **state)
{
	struct rig r;

	rig_init(&r);
	for (uint64_t seed = 1; seed <= 16; seed++) {
		struct timeline *reader;
		struct view *v;

		build(&r, seed, 50);
		drop(&r, 6);
		assert_int_equal(timeline_open(r.env, "/tl", TIMELINE_READ_ONLY, NULL, &reader,
					       why), 0);
		for (size_t i = 0; i < r.h.nr_batches; i++) {
			if (!is_kept(&r, i))
				continue;
			assert_int_equal(view_open(seed % 2 ? reader : r.tl, r.h.batches[i].cut,
						   &v, why), 0);
			if (below(&r, 4) == 0)
				pack_all(&r);
			if (!history_check(&r.h, v, i))
				fail_msg("%s", r.h.why);
			view_close(v);
		}
		timeline_close(reader);
	}
	rig_fini(&r);
}

static uint64_t file_bytes(struct rig *r, uint64_t segment)
{
	uint64_t bytes;
	char path[64];

	segment_path(path, sizeof(path), "/tl", segment);
	assert_non_null(sim_env_content(r->sim, path, &bytes));
	return bytes;
}

/* All dropped but the newest: what is left is about what a view shows. */
static void what_is_dead_gives_its_space_back(void **state)
{
	static struct pack_source sources[MAX_FILES];
	struct thin_file file = { .first_segment = 1 };
	struct pack_index index;
	struct rig r;
	uint64_t before = 0;

	rig_init(&r);
	build(&r, 3, 180);
	drop(&r, 8);
	file.last_segment = segment_writer_finished(&r.tl->writer);
	for (uint64_t n = 1; n <= file.last_segment; n++)
		before += file_bytes(&r, n);
	index = whole_index(&r);
	assert_int_equal(pack_plan_count(&index, &file, 1, &bad_run), 0);
	assert_true(file.live_bytes * 4 < file.data_bytes);
	pack_some(&r, sources, all_sources(&r, sources));
	assert_int_equal(r.tl->manifest.packs[0].live_bytes, file.live_bytes);
	assert_true(r.tl->manifest.packs[0].file_bytes < before / 3);
	check_kept(&r, r.tl);
	rig_fini(&r);
}

/* A unit of a source whose data are damaged: no pack, and nothing is gone. */
static void a_damaged_source_is_not_packed(void **state)
{
	static struct pack_source sources[MAX_FILES];
	struct rig r;
	unsigned int refused = 0;

	rig_init(&r);
	build(&r, 5, 60);
	drop(&r, 4);
	for (int i = 0; i < 60; i++) {
		const struct pack_index index = whole_index(&r);
		struct pack_job job = {
			.env = r.env, .dir = "/tl", .timeline = timeline_id(r.tl), .number = 1,
			.cuts = &r.cuts, .sources = sources, .nr_sources = 3 };
		struct pack_live *live;
		struct manifest_pack out;
		uint64_t bytes;
		char path[64];

		all_sources(&r, sources);
		segment_path(path, sizeof(path), "/tl", 1 + below(&r, 3));
		sim_env_content(r.sim, path, &bytes);
		assert_int_equal(pack_plan_live(&index, &(struct pack_range){ 1, 3 }, 1, SIZE_MAX,
						 &live, &job.nr_live, &bad_run), 0);
		job.live = live;
		bytes = below(&r, bytes);
		sim_env_flip(r.sim, path, bytes, i % 8);
		if (pack_build(&job, &out, &bad)) {
			refused++;
			assert_null(sim_env_content(r.sim, "/tl/0000000000000001.pack", &bytes));
		} else {
			/* What was turned is dead, or between things. */
			struct manifest_pack *packs = r.tl->manifest.packs;

			r.tl->manifest.packs = &out;
			r.tl->manifest.nr_packs = 1;
			check_kept(&r, r.tl);
			r.tl->manifest.packs = packs;
			r.tl->manifest.nr_packs = 0;
			r.env->ops->unlink(r.env, "/tl/0000000000000001.pack");
		}
		sim_env_flip(r.sim, path, bytes, i % 8);
		free(live);
	}
	assert_true(refused > 5);
	rig_fini(&r);
}

/* What the index says lives, and the file does not have: it would be lost. */
static void a_live_piece_that_is_not_found_stops_the_pack(void **state)
{
	static struct pack_source sources[MAX_FILES];
	struct rig r;
	struct pack_live *live;
	struct manifest_pack out;
	uint64_t bytes;

	rig_init(&r);
	build(&r, 7, 40);
	drop(&r, 4);
	all_sources(&r, sources);
	for (int what = 0; what < 4; what++) {
		const struct pack_index index = whole_index(&r);
		struct pack_job job = {
			.env = r.env, .dir = "/tl", .timeline = timeline_id(r.tl), .number = 1,
			.cuts = &r.cuts, .sources = sources, .nr_sources = 2 };

		assert_int_equal(pack_plan_live(&index, &(struct pack_range){ 1, 2 }, 1, SIZE_MAX,
						 &live, &job.nr_live, &bad_run), 0);
		job.live = live;
		switch (what) {
		case 0: live[job.nr_live / 2].unit_at++; break;
		case 1: live[job.nr_live / 2].extent_no += 100; break;
		case 2: live[job.nr_live - 1].segment = 3; break;
		default: live[0].segment = 0;
		}
		assert_int_equal(pack_build(&job, &out, &bad), -EBADMSG);
		assert_null(sim_env_content(r.sim, "/tl/0000000000000001.pack", &bytes));
		free(live);
	}
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_dead_is_what_the_rule_says),
		cmocka_unit_test(files_that_are_worth_it_are_chosen_side_by_side),
		cmocka_unit_test(small_files_become_one_when_there_are_enough),
		cmocka_unit_test(commits_fill_a_pack_too),
		cmocka_unit_test(a_pack_stays_within_its_limits),
		cmocka_unit_test(points_that_are_kept_stay_what_they_are),
		cmocka_unit_test(an_open_view_goes_on),
		cmocka_unit_test(what_is_dead_gives_its_space_back),
		cmocka_unit_test(a_damaged_source_is_not_packed),
		cmocka_unit_test(a_live_piece_that_is_not_found_stops_the_pack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
