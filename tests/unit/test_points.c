// SPDX-License-Identifier: GPL-2.0-only
/* The listing rule against a naive reading of DESIGN 1.7, over random histories. */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../userspace/store/points.h"

#define COMMITS 120
#define MAX_FACTS 4096

/* All facts so far, as order_model.py keeps them. */
struct naive {
	struct { uint64_t from, to; } gaps[MAX_FACTS];
	struct { uint64_t id, from, end; bool open; } holds[MAX_FACTS];
	struct { uint64_t t0, end; } repairs[MAX_FACTS];
	size_t nr_gaps, nr_holds, nr_repairs;
	uint64_t cuts[COMMITS];
	bool was_listed[COMMITS];
};

static bool naive_listed(const struct naive *n, uint64_t cut)
{
	uint64_t done = 0;

	for (size_t i = 0; i < n->nr_holds; i++)
		if (n->holds[i].from <= cut && (n->holds[i].open || cut < n->holds[i].end))
			return false;
	for (size_t i = 0; i < n->nr_repairs; i++)
		if (n->repairs[i].end <= cut && n->repairs[i].t0 > done)
			done = n->repairs[i].t0;
	for (size_t i = 0; i < n->nr_gaps; i++)
		for (uint64_t g = n->gaps[i].from; g <= n->gaps[i].to; g++)
			if (done < g && g <= cut)
				return false;
	return true;
}

struct facts {
	struct commit_gap gaps[8];
	struct commit_hold holds[16];
	struct commit_repair repairs[8];
	struct commit_view view;
};

/* What a commit says, within the rules of ingest; the naive list is kept along. */
static void random_facts(struct naive *n, struct facts *f, uint64_t last, uint64_t cut,
			 uint64_t *random)
{
	struct commit_header *h = &f->view.header;
	uint64_t at = last;

	memset(f, 0, sizeof(*f));
	f->view.gaps = f->gaps;
	f->view.holds = f->holds;
	f->view.repairs = f->repairs;
	while (unit_random(random) % 16 == 0 && at < cut && h->nr_gaps < 8) {
		uint64_t from = at + 1 + unit_random(random) % (cut - at);
		uint64_t to = from + unit_random(random) % (cut - from + 1);

		f->gaps[h->nr_gaps++] = (struct commit_gap){ from, to };
		n->gaps[n->nr_gaps].from = from;
		n->gaps[n->nr_gaps++].to = to;
		at = to;
	}
	for (size_t i = 0; i < n->nr_holds && h->nr_holds < 12; i++) {
		if (!n->holds[i].open)
			continue;
		f->holds[h->nr_holds] = (struct commit_hold){ n->holds[i].id, n->holds[i].from, 0 };
		if (unit_random(random) % 4 == 0) {
			n->holds[i].open = false;
			n->holds[i].end = n->holds[i].from + unit_random(random) % 40;
			f->holds[h->nr_holds].end_seq = n->holds[i].end;
		}
		h->nr_holds++;
	}
	if (unit_random(random) % 5 == 0) {
		uint64_t from = last + 1 + unit_random(random) % 8, end = from + unit_random(random) % 8;
		bool open = unit_random(random) % 3;

		n->holds[n->nr_holds].id = n->nr_holds + 1;
		n->holds[n->nr_holds].from = from;
		n->holds[n->nr_holds].end = end;
		n->holds[n->nr_holds].open = open;
		f->holds[h->nr_holds++] = (struct commit_hold){ ++n->nr_holds, from, open ? 0 : end };
	}
	while (unit_random(random) % 6 == 0 && h->nr_repairs < 8) {
		uint64_t back = unit_random(random) % 12;
		uint64_t t0 = cut + 3 > back ? cut + 3 - back : 1;
		uint64_t end = t0 + unit_random(random) % 12;

		n->repairs[n->nr_repairs].t0 = t0;
		n->repairs[n->nr_repairs++].end = end;
		f->repairs[h->nr_repairs++] = (struct commit_repair){ t0, end };
	}
}

static void points_are_listed_as_the_rule_says(void **state)
{
	struct naive *n = malloc(sizeof(*n));
	unsigned int listed = 0, later = 0, unlisted = 0;

	for (uint64_t seed = 1; seed <= 200; seed++) {
		uint64_t random = seed * 0x9e3779b97f4a7c15u, cut = 0;
		struct points p = { 0 };
		struct facts f;

		memset(n, 0, sizeof(*n));
		for (size_t i = 0; i < COMMITS; i++) {
			uint64_t last = cut;

			cut += unit_random(&random) % 6;
			n->cuts[i] = cut;
			random_facts(n, &f, last, cut, &random);
			f.view.header.ordinal = i + 1;
			f.view.header.cut_seq = cut;
			f.view.header.time_ns = i * 1000;
			assert_int_equal(points_add(&p, &f.view, NULL, 0), 0);
			for (size_t j = 0; j <= i; j++) {
				bool want = naive_listed(n, n->cuts[j]);

				if (p.commits[j].listed != want)
					fail_msg("seed %d: commit %d after %d: %d, not %d",
						 (int)seed, (int)j, (int)i, p.commits[j].listed, want);
				assert_int_equal(!want, p.commits[j].unlisted_why != NULL);
				/* Once listed it stays listed. */
				assert_true(want || !n->was_listed[j]);
				later += want && !n->was_listed[j] && j < i;
				n->was_listed[j] = want;
			}
			listed += n->was_listed[i];
			unlisted += !n->was_listed[i];
		}
		assert_int_equal(p.nr_commits, COMMITS);
		points_fini(&p);
	}
	print_message("%u listed at once, %u not, %u later\n", listed, unlisted, later);
	assert_true(listed > 1000 && unlisted > 1000 && later > 100);
	free(n);
}

static void add_plain(struct points *p, uint64_t ordinal, uint64_t cut,
		      const struct commit_hold *hold, const struct footer_extent *e, size_t nr)
{
	struct commit_view view = {
		.header = { .ordinal = ordinal, .cut_seq = cut, .time_ns = ordinal * 100,
			    .nr_holds = hold ? 1 : 0 },
		.holds = hold,
	};

	assert_int_equal(points_add(p, &view, e, nr), 0);
}

static void gaps_are_told_as_times(void **state)
{
	struct commit_hold open = { 1, 15, 0 }, closed = { 1, 15, 35 };
	const struct timeline_gap *gaps;
	struct points p = { 0 };

	add_plain(&p, 1, 10, NULL, NULL, 0);
	assert_int_equal(points_gaps(&p, &gaps), 0);
	add_plain(&p, 2, 20, &open, NULL, 0);
	assert_int_equal(points_gaps(&p, &gaps), 1);
	assert_int_equal(gaps[0].from_time_ns, 100);
	assert_int_equal(gaps[0].to_time_ns, 0);
	add_plain(&p, 3, 35, &open, NULL, 0);
	add_plain(&p, 4, 40, &closed, NULL, 0);	/* lists the third as well */
	assert_true(p.commits[2].listed);
	assert_int_equal(points_gaps(&p, &gaps), 1);
	assert_int_equal(gaps[0].from_time_ns, 100);
	assert_int_equal(gaps[0].to_time_ns, 300);
	assert_int_equal(p.nr_open_holds, 0);
	assert_int_equal(p.hold_id, 1);
	points_fini(&p);
}

static void points_with_unreadable_sectors_are_degraded(void **state)
{
	struct footer_extent bad = { .extent = { .offset_bytes = 4096, .length_bytes = 8192,
				     .kind = EXTENT_UNREADABLE }, .label_seq = 10, .readback_no = 1 };
	struct footer_extent over[2] = {
		{ .extent = { .offset_bytes = 6144, .length_bytes = 2048, .kind = EXTENT_DATA },
		  .label_seq = 30 },
		{ .extent = { .offset_bytes = 0, .length_bytes = 6144, .kind = EXTENT_DATA },
		  .label_seq = 30 } };
	struct footer_extent rest = { .extent = { .offset_bytes = 8192, .length_bytes = 4096,
				      .kind = EXTENT_ZERO }, .label_seq = 40 };
	struct points p = { 0 };

	add_plain(&p, 1, 10, NULL, NULL, 0);
	add_plain(&p, 2, 20, NULL, &bad, 1);
	add_plain(&p, 3, 30, NULL, over, 2);
	add_plain(&p, 4, 40, NULL, &rest, 1);
	assert_false(p.commits[0].degraded);
	assert_true(p.commits[1].degraded);
	assert_true(p.commits[2].degraded);
	assert_false(p.commits[3].degraded);
	assert_int_equal(p.readback_no, 1);
	points_fini(&p);
}

/* A hundred thousand commits, with a hold every hundred: not quadratic. */
static void many_commits_stay_fast(void **state)
{
	struct points p = { 0 };
	clock_t start = clock();

	for (uint64_t i = 1; i <= 100000; i++) {
		struct commit_hold hold = { i / 100 + 1, i / 100 * 1000 + 5, i % 100 < 50 ? 0 : i * 10 };

		add_plain(&p, i, i * 10, i % 100 > 0 && i % 100 <= 50 ? &hold : NULL, NULL, 0);
	}
	assert_int_equal(p.nr_holds, 1000);
	assert_true(clock() - start < 2 * CLOCKS_PER_SEC);
	points_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_listed_as_the_rule_says),
		cmocka_unit_test(gaps_are_told_as_times),
		cmocka_unit_test(points_with_unreadable_sectors_are_degraded),
		cmocka_unit_test(many_commits_stay_fast),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
