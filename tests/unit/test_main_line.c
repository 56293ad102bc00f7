// SPDX-License-Identifier: GPL-2.0-only
/* Where a name of a group finds its point when a branch is the main line. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/export/branch_server.h"
#include "../../userspace/export/main_line.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/branches.h"
#include "../host/test_group.h"

#define POINTS	10	/* of the group: number n with cut 1:10n, at second n * 1000 */
#define CUT	5	/* the branch begins there */
#define MAX_SEGMENT_BYTES (1 << 20)

static char why[POINT_TEXT_BYTES];

static void append(struct test_group *g, struct timeline *tl, uint64_t ordinal, uint64_t cut,
		   uint64_t second)
{
	struct test_group to = *g;
	struct test_batch b;

	to.tl = tl;
	test_batch_begin(&b, ordinal, cut);
	b.time_ns = second * WHEN_NS;
	test_batch_extent(&b, 0, ordinal * 4096, 4096, EXTENT_DATA, ordinal, 0, 0);
	assert_int_equal(test_group_append(&to, &b), 0);
}

static int setup(void **state)
{
	struct test_group *g = calloc(1, sizeof(*g));

	assert_int_equal(test_group_create(g), 0);
	for (uint64_t n = 1; n <= POINTS; n++)
		append(g, g->tl, n, seq_pack(1, n * 10), n * 1000);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	struct test_group *g = *state;
	int ret;

	if (g->env)
		test_group_close(g);
	ret = test_group_remove(g);
	free(g);
	return ret;
}

static void create(struct test_group *g)
{
	if (branch_create(g->env, g->dir, "dr", g->tl, seq_pack(1, CUT * 10), why))
		fail_msg("%s", why);
}

static void promote(struct test_group *g)
{
	create(g);
	if (branch_promote(g->tl, "dr", true, why))
		fail_msg("%s", why);
}

/* Cuts like those of the group, and one is stamped before the branch began. */
static void write_branch(struct test_group *g)
{
	static const uint64_t seconds[] = { 4500, 6500, 7500 };
	struct timeline *tl;
	char dir[128];

	assert_int_equal(branch_path(dir, sizeof(dir), g->dir, "dr"), 0);
	assert_int_equal(timeline_open(g->env, dir, 0, NULL, &tl, why), 0);
	for (uint64_t i = 0; i < ARRAY_SIZE(seconds); i++)
		append(g, tl, i + 1, seq_pack(1, (i + 1) * 10), seconds[i]);
	timeline_close(tl);
}

static struct point_name name_of(const char *text)
{
	struct point_name name = { .when_text = "" };

	snprintf(name.group, sizeof(name.group), "%s", text);
	return name;
}

/* @group: where it is; @second: of the point that is found. */
static void expect(struct test_group *g, struct point_name name, const char *group,
		   uint64_t second)
{
	const struct point *point;
	struct point_list list;

	if (main_line_open(g->store, &name, &list, why))
		fail_msg("%s", why);
	assert_string_equal(name.group, group);
	if (point_choose(&list, &name, false, &point, why))
		fail_msg("%s", why);
	assert_int_equal(point->time_ns / WHEN_NS, second);
	point_list_close(&list);
}

static void expect_latest(struct test_group *g, const char *name, const char *group,
			  uint64_t second)
{
	expect(g, name_of(name), group, second);
}

static void expect_time(struct test_group *g, uint64_t when, const char *group, uint64_t second)
{
	struct point_name name = name_of("erp");

	name.when = (struct when){ .kind = WHEN_TIME, .time_ns = when * WHEN_NS };
	expect(g, name, group, second);
}

static void expect_seq(struct test_group *g, const char *text, uint64_t number,
		       const char *group, uint64_t second)
{
	struct point_name name = name_of(text);

	name.when = (struct when){ .kind = WHEN_SEQ, .seq = seq_pack(1, number) };
	expect(g, name, group, second);
}

static void a_group_is_its_own_main_line(void **state)
{
	struct test_group *g = *state;

	test_group_close(g);
	expect_latest(g, "erp", "erp", 10000);
	expect_latest(g, "erp/~0", "erp", 10000);
	expect_time(g, 7700, "erp", 7000);
	expect_seq(g, "erp", 70, "erp", 7000);
}

static void a_branch_that_took_over_is_it_from_its_beginning_on(void **state)
{
	struct test_group *g = *state;

	promote(g);
	/* While nothing was written to it it is the point where it begins. */
	expect_latest(g, "erp", "erp", CUT * 1000);
	expect_time(g, 9000, "erp", CUT * 1000);
	write_branch(g);
	test_group_close(g);
	expect_latest(g, "erp", "erp/dr", 7500);
	expect_time(g, 7000, "erp/dr", 6500);
	expect_time(g, 9000, "erp/dr", 7500);
	/* Before, whatever the clock of the branch said. */
	expect_time(g, 4999, "erp", 4000);
	expect_time(g, 1500, "erp", 1000);
	/* By seq, as ever: also what the branch has another point for, and the old line. */
	expect_seq(g, "erp", 20, "erp", 2000);
	expect_seq(g, "erp", 70, "erp", 7000);
	expect_seq(g, "erp/dr", 20, "erp/dr", 6500);
	expect_latest(g, "erp/dr", "erp/dr", 7500);
}

static void epochs_name_what_was_the_main_line(void **state)
{
	static const char *const bad[] = { "erp/~2", "erp/~", "erp/~-1", "erp/~0x", "erp/~ 0",
					   "erp/~18446744073709551616", "erp/~0/x", "web/~0" };
	struct test_group *g = *state;
	char branch[POINT_GROUP_BYTES];
	struct point_list list;

	promote(g);
	write_branch(g);
	test_group_close(g);
	expect_latest(g, "erp/~0", "erp", 10000);
	expect_seq(g, "erp/~0", 20, "erp", 2000);
	expect_latest(g, "erp/~1", "erp/dr", 7500);
	assert_int_equal(main_line_name(g->store, "a-name-that-is-longer-than-any-can-be/"
					"and-that-is-another-one-cut-short", branch, why), -ENOENT);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct point_name name = name_of(bad[i]);

		assert_int_equal(main_line_open(g->store, &name, &list, why), -ENOENT);
		assert_null(list.tl);
	}
}

/* A new incarnation has another clock: points of the old line may be stamped before the cut. */
static void the_old_line_is_never_shown_for_the_main_one(void **state)
{
	struct test_group *g = *state;
	char branch[POINT_GROUP_BYTES];
	struct point_list list, rest;
	uint32_t incarnation;

	assert_int_equal(timeline_grant(g->tl, (const uint8_t *)"another instance", &incarnation),
			 0);
	append(g, g->tl, POINTS + 1, seq_pack(incarnation, 1), 2500);
	promote(g);
	write_branch(g);
	test_group_close(g);
	expect_time(g, 2700, "erp", 2000);
	assert_int_equal(point_list_open(g->store, "erp", &list, why), 0);
	assert_int_equal(list.nr, POINTS + 1);
	assert_int_equal(main_line_split(g->store, "erp", &list, branch, &rest, why), 0);
	assert_string_equal(branch, "erp/dr");
	assert_int_equal(list.nr, CUT);
	assert_int_equal(rest.nr, 3);
	point_list_close(&list);
	point_list_close(&rest);
}

/* Its directory was put there by somebody. */
static void a_branch_of_the_same_name_is_not_the_main_line(void **state)
{
	struct test_group *g = *state;
	struct point_name name = name_of("erp");
	char dr[128], other[128], away[128];
	struct point_list list;

	promote(g);
	write_branch(g);
	assert_int_equal(branch_create(g->env, g->dir, "other", g->tl, seq_pack(1, CUT * 10), why),
			 0);
	branch_path(dr, sizeof(dr), g->dir, "dr");
	branch_path(other, sizeof(other), g->dir, "other");
	branch_path(away, sizeof(away), g->dir, "away");
	test_group_close(g);
	assert_int_equal(rename(dr, away), 0);
	assert_int_equal(main_line_open(g->store, &name, &list, why), -EUCLEAN);
	/* What is before it is not its matter. */
	expect_time(g, 4999, "erp", 4000);
	assert_int_equal(rename(other, dr), 0);
	assert_int_equal(main_line_open(g->store, &name, &list, why), -EUCLEAN);
	assert_non_null(strstr(why, "what the group had before is erp/~0"));
	assert_null(list.tl);
	name = name_of("erp/~1");
	assert_int_equal(main_line_open(g->store, &name, &list, why), -EUCLEAN);
	expect_latest(g, "erp/~0", "erp", 10000);
}

/* The @nth commit of a timeline's first segment, and with it all behind it. */
static void damage_commit(const char *dir, unsigned int nth)
{
	static const char magic[] = "BSC1";
	uint8_t *content = malloc(MAX_SEGMENT_BYTES), *at;
	char path[256];
	size_t bytes;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%016x.seg", dir, 1);
	f = fopen(path, "r+");
	assert_true(content && f);
	bytes = fread(content, 1, MAX_SEGMENT_BYTES, f);
	assert_in_range(bytes, 1, MAX_SEGMENT_BYTES - 1);
	for (at = content; nth; at += strlen(magic), nth--) {
		at = memmem(at, content + bytes - at, magic, strlen(magic));
		assert_non_null(at);
	}
	assert_int_equal(fseek(f, at - content, SEEK_SET), 0);
	assert_int_not_equal(fputc(*at ^ 1, f), EOF);
	assert_int_equal(fclose(f), 0);
	free(content);
}

/* @second: 0: latest */
static void expect_refused(const struct test_group *g, uint64_t second, const char *part)
{
	struct point_name name = name_of("erp");
	struct point_list list;

	if (second)
		name.when = (struct when){ .kind = WHEN_TIME, .time_ns = second * WHEN_NS };
	assert_int_equal(main_line_open(g->store, &name, &list, why), -EUCLEAN);
	assert_null(list.tl);
	if (!strstr(why, part))
		fail_msg("%s", why);
}

/* It had points, and now has none: where it begins is not what was meant. */
static void a_branch_that_is_damaged_is_not_taken_for_an_empty_one(void **state)
{
	struct test_group *g = *state;
	char dir[128];

	promote(g);
	write_branch(g);
	test_group_close(g);
	branch_path(dir, sizeof(dir), g->dir, "dr");
	damage_commit(dir, 1);
	expect_refused(g, 0, "branch dr is its main line and is damaged: ");
	expect_refused(g, 0, "erp@seq:1:50 (its beginning)");
	expect_refused(g, CUT * 1000, "erp/~0");
	/* What was named is there. */
	expect_seq(g, "erp", CUT * 10, "erp", CUT * 1000);
	expect_latest(g, "erp/~0", "erp", 10000);
	expect_time(g, 4999, "erp", 4000);
}

/* As if by hand: what is left of the group ends before the branch begins. */
static void what_is_older_is_not_shown_for_the_beginning(void **state)
{
	struct test_group *g = *state;

	promote(g);
	test_group_close(g);
	damage_commit(g->dir, CUT);
	expect_refused(g, 0, "the point at which it begins (seq:1:50) is not there any more");
	expect_refused(g, CUT * 1000, "is not there any more");
	expect_time(g, 2500, "erp", 2000);
}

/* Nor does damage of the old line matter to the main line. */
static void damage_behind_the_beginning_is_no_matter(void **state)
{
	struct test_group *g = *state;
	struct point_name name = name_of("erp/~0");
	const struct point *point;
	struct point_list list;

	promote(g);
	test_group_close(g);
	damage_commit(g->dir, CUT + 2);
	expect_latest(g, "erp", "erp", CUT * 1000);
	expect_time(g, 9000, "erp", CUT * 1000);
	expect_time(g, CUT * 1000, "erp", CUT * 1000);
	expect_time(g, 4999, "erp", 4000);
	assert_int_equal(main_line_open(g->store, &name, &list, why), 0);
	assert_int_equal(point_choose(&list, &name, false, &point, why), -EKEYREJECTED);
	point_list_close(&list);
}

/* It is not opened for writing, so it takes no record. What its branch has is there. */
static void of_a_damaged_group_nothing_is_promoted(void **state)
{
	struct test_group *g = *state;
	char text[TIMELINE_TEXT_BYTES];
	struct point_list list;
	struct timeline *tl;

	create(g);
	write_branch(g);
	test_group_close(g);
	damage_commit(g->dir, CUT + 2);
	assert_int_equal(point_list_open(g->store, "erp/dr", &list, why), 0);
	assert_int_equal(timeline_open(list.env, g->dir, 0, NULL, &tl, text), -EUCLEAN);
	point_list_close(&list);
	expect_latest(g, "erp/dr", "erp/dr", 7500);
}

/* Its last record: as older versions, which told it nothing durable, left it. */
static void untell_durable(const char *dir)
{
	struct stat st;
	char path[256];

	snprintf(path, sizeof(path), "%s/manifest", dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 1), 0);
}

/* Its end, then its only segment, is gone: nothing in the branch itself has to say so. */
static void a_branch_that_has_lost_points_is_refused(void **state)
{
	struct test_group *g = *state;
	char dir[128], path[256];

	create(g);
	write_branch(g);
	assert_int_equal(branch_promote(g->tl, "dr", true, why), 0);
	test_group_close(g);
	branch_path(dir, sizeof(dir), g->dir, "dr");
	snprintf(path, sizeof(path), "%s/%016x.seg", dir, 1);
	expect_latest(g, "erp", "erp/dr", 7500);
	damage_commit(dir, 3);
	expect_refused(g, 0, "points up to seq:1:30 when it was promoted, and none after seq:1:20");
	expect_refused(g, 7000, "points up to seq:1:30");
	expect_latest(g, "erp/dr", "erp/dr", 6500);
	assert_int_equal(unlink(path), 0);
	expect_refused(g, 0, "is damaged: ");
	untell_durable(dir);
	expect_refused(g, 0, "has none now");
	expect_refused(g, CUT * 1000, "has none now");
	expect_latest(g, "erp/~0", "erp", 10000);
}

/*
 * What it writes next would have the seqs of what is lost, and hide that. It was the main line for
 * a time, so its epoch names it.
 */
static void a_branch_that_has_lost_points_takes_nothing(void **state)
{
	struct test_group *g = *state;
	char dir[128], group[POINT_GROUP_BYTES], text[TIMELINE_TEXT_BYTES];
	const struct timeline_line *lines;
	struct branch_server *server;

	create(g);
	write_branch(g);
	assert_int_equal(branch_create(g->env, g->dir, "late", g->tl, seq_pack(1, 60), why), 0);
	assert_int_equal(branch_promote(g->tl, "dr", true, why), 0);
	assert_int_equal(branch_promote(g->tl, "late", true, why), 0);
	assert_int_equal(timeline_lines(g->tl, &lines), 2);
	branch_path(dir, sizeof(dir), g->dir, "dr");
	assert_int_equal(branch_check_writable(g->env, g->dir, "dr", text), 0);
	assert_int_equal(main_line_check(g->store, "erp", g->tl, &lines[0], why), 0);
	assert_int_equal(main_line_name(g->store, "erp/~1", group, why), 0);
	damage_commit(dir, 3);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(branch_server_open(g->store, "erp", "dr", NULL, NULL, false, 1,
						    &server, why), -EUCLEAN);
		assert_non_null(strstr(why, "branch erp/dr: it had points up to seq:1:30 "));
	}
	assert_int_equal(branch_promote(g->tl, "dr", true, why), -EUCLEAN);
	assert_non_null(strstr(why, "put its directory back from a copy"));
	assert_int_equal(timeline_main_line(g->tl)->epoch, 2);
	assert_int_equal(main_line_check(g->store, "erp", g->tl, &lines[0], why), -EUCLEAN);
	assert_non_null(strstr(why, "branch dr was its main line and cannot be read: it had"));
	assert_int_equal(main_line_check(g->store, "erp", g->tl, &lines[1], why), 0);
	assert_int_equal(main_line_name(g->store, "erp/~1", group, why), -EUCLEAN);
	/* What it has is there by its own name. */
	expect_latest(g, "erp/dr", "erp/dr", 6500);
	test_group_close(g);
}

/* Where it is damaged in the middle it is listed up to there, as any group is. */
static void damage_that_is_known_of_leaves_what_is_before_it(void **state)
{
	struct test_group *g = *state;
	struct point_name name = name_of("erp");
	const struct point *point;
	struct point_list list;
	char dir[128];

	create(g);
	write_branch(g);
	assert_int_equal(branch_promote(g->tl, "dr", true, why), 0);
	test_group_close(g);
	branch_path(dir, sizeof(dir), g->dir, "dr");
	damage_commit(dir, 2);
	assert_int_equal(main_line_open(g->store, &name, &list, why), 0);
	assert_string_equal(name.group, "erp/dr");
	assert_int_equal(list.nr, 1);
	assert_int_equal(point_choose(&list, &name, false, &point, why), -EKEYREJECTED);
	point_list_close(&list);
}

static void expect_note(const struct test_group *g, uint64_t second, bool is_there)
{
	struct point_name name = name_of("erp");
	struct point_list list;

	name.when = (struct when){ .kind = WHEN_TIME, .time_ns = second * WHEN_NS };
	assert_int_equal(main_line_open(g->store, &name, &list, why), 0);
	assert_int_equal(strstr(list.note, "found by erp/dr@TIME") != NULL, is_there);
	point_list_close(&list);
}

/* The branch's clock is behind the group's: its first point is stamped before it began. */
static void points_by_another_clock_are_told_of(void **state)
{
	struct test_group *g = *state;

	promote(g);
	write_branch(g);
	test_group_close(g);
	expect_note(g, 4499, false);
	expect_note(g, 4500, true);
	expect_note(g, 4999, true);
	expect_note(g, 5000, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_group_is_its_own_main_line, setup, teardown),
		cmocka_unit_test_setup_teardown(a_branch_that_took_over_is_it_from_its_beginning_on,
						setup, teardown),
		cmocka_unit_test_setup_teardown(epochs_name_what_was_the_main_line, setup, teardown),
		cmocka_unit_test_setup_teardown(the_old_line_is_never_shown_for_the_main_one,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_branch_of_the_same_name_is_not_the_main_line,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_branch_that_is_damaged_is_not_taken_for_an_empty_one, setup, teardown),
		cmocka_unit_test_setup_teardown(a_branch_that_has_lost_points_is_refused, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_branch_that_has_lost_points_takes_nothing, setup,
						teardown),
		cmocka_unit_test_setup_teardown(damage_that_is_known_of_leaves_what_is_before_it,
						setup, teardown),
		cmocka_unit_test_setup_teardown(points_by_another_clock_are_told_of, setup,
						teardown),
		cmocka_unit_test_setup_teardown(damage_behind_the_beginning_is_no_matter, setup,
						teardown),
		cmocka_unit_test_setup_teardown(what_is_older_is_not_shown_for_the_beginning,
						setup, teardown),
		cmocka_unit_test_setup_teardown(of_a_damaged_group_nothing_is_promoted, setup,
						teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
