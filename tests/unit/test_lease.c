// SPDX-License-Identifier: GPL-2.0-only
/* Leases: what a reader writes, and what who drops points makes of it. */
#include "unit.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/env_posix.h"
#include "../../userspace/store/lease.h"
#include "../host/sim_env.h"

#define DOC "docs/STORE.md"
#include "doc.h"

#define MINUTE UINT64_C(60000000000)

static const struct doc_field fields[] = {
	DOC_FIELD(lease_file, magic), DOC_FIELD(lease_file, version),
	DOC_FIELD(lease_file, reserved), DOC_FIELD(lease_file, renewals),
	DOC_FIELD(lease_file, made_ns), DOC_FIELD(lease_file, label),
};

static void the_document_has_each_field(void **state)
{
	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct leases seen;
};

static void rig_init(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	assert_int_equal(r->env->ops->mkdir(r->env, "/tl"), 0);
}

static void rig_fini(struct rig *r)
{
	leases_fini(&r->seen);
	sim_env_destroy(r->sim);
}

/* How many count now. */
static size_t look(struct rig *r)
{
	assert_int_equal(leases_look(&r->seen, r->env, "/tl",
				     r->env->ops->monotonic_ns(r->env)), 0);
	return r->seen.nr;
}

static size_t nr_files(struct rig *r)
{
	struct lease_info *infos;
	size_t nr;

	assert_int_equal(leases_list(r->env, "/tl", &infos, &nr), 0);
	free(infos);
	return nr;
}

static void it_counts_as_long_as_it_changes(void **state)
{
	struct lease one, two;
	struct rig r;

	rig_init(&r);
	assert_int_equal(look(&r), 0);
	assert_int_equal(lease_take(&one, r.env, "/tl", 7, "one"), 0);
	assert_int_equal(lease_take(&two, r.env, "/tl", 9, "two"), 0);
	assert_int_equal(look(&r), 2);
	for (int i = 0; i < 30; i++) {
		sim_env_advance(r.sim, MINUTE);
		assert_int_equal(lease_renew(&one), 0);
		assert_int_equal(look(&r), i < 14 ? 2 : 1);
	}
	assert_int_equal(r.seen.items[0].cut_seq, 7);
	assert_int_equal(nr_files(&r), 1);
	/* It was only slow: it has it again. */
	assert_int_equal(lease_renew(&two), 0);
	assert_int_equal(look(&r), 2);
	lease_drop(&one);
	lease_drop(&two);
	assert_int_equal(look(&r), 0);
	rig_fini(&r);
}

/* Who looks for the first time does not know how old it is. */
static void one_never_seen_counts(void **state)
{
	struct lease l;
	struct rig r;

	rig_init(&r);
	assert_int_equal(lease_take(&l, r.env, "/tl", 7, ""), 0);
	sim_env_advance(r.sim, 100 * MINUTE);
	assert_int_equal(look(&r), 1);
	leases_fini(&r.seen);
	sim_env_advance(r.sim, 100 * MINUTE);
	assert_int_equal(look(&r), 1);
	sim_env_advance(r.sim, 15 * MINUTE);
	assert_int_equal(look(&r), 0);
	rig_fini(&r);
}

/* It says by its name what is read; and one does not stop the others. */
static void one_that_cannot_be_read_counts(void **state)
{
	struct lease_info *infos;
	struct lease one, two;
	struct rig r;
	size_t nr;

	rig_init(&r);
	assert_int_equal(lease_take(&one, r.env, "/tl", 7, ""), 0);
	assert_int_equal(look(&r), 1);
	assert_int_equal(lease_take(&two, r.env, "/tl", 9, ""), 0);
	for (int i = 0; i < 40; i++) {
		sim_env_advance(r.sim, MINUTE);
		sim_env_fail(r.sim, SIM_FAULT_READ, 1, -EIO, false);
		assert_int_equal(look(&r), i < 15 ? 2 : 1);
		assert_memory_equal(r.seen.odd, "0000000000000007.", 17);
		assert_int_equal(r.seen.odd_error, -EIO);
		assert_true(r.seen.odd_counts);
	}
	sim_env_fail(r.sim, SIM_FAULT_READ, 1, -EIO, false);
	assert_int_equal(leases_list(r.env, "/tl", &infos, &nr), 0);
	assert_int_equal(nr, 1);
	assert_string_equal(infos[0].label, "cannot be read: Input/output error");
	free(infos);
	/* Nothing came from it since before. */
	assert_int_equal(look(&r), 0);
	assert_string_equal(r.seen.odd, "");
	rig_fini(&r);
}

/* Their readers were killed while nobody looked. */
static void too_many_that_are_over_go_away(void **state)
{
	struct lease_info *infos;
	struct lease l;
	size_t nr;
	struct rig r;

	rig_init(&r);
	for (int i = 0; i < LEASES_MAX + 1; i++)
		assert_int_equal(lease_take(&l, r.env, "/tl", 7, ""), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(leases_look(&r.seen, r.env, "/tl",
					     r.env->ops->monotonic_ns(r.env)), -E2BIG);
		sim_env_advance(r.sim, 16 * MINUTE);
	}
	assert_string_equal(leases_error_text(-E2BIG), "more than 4096 leases");
	assert_int_equal(leases_list(r.env, "/tl", &infos, &nr), 0);
	assert_int_equal(nr, 1);	/* those that are over are gone */
	free(infos);
	assert_int_equal(look(&r), 1);
	sim_env_advance(r.sim, 16 * MINUTE);
	assert_int_equal(look(&r), 0);
	assert_int_equal(nr_files(&r), 0);
	rig_fini(&r);
}

/* A pipe that nobody writes to must not keep who opens it waiting. */
static void what_is_no_file_is_ignored_and_named(void **state)
{
	static const int errors[] = { -EISDIR, -ENXIO, -ELOOP };
	char dir[] = "/tmp/lease.XXXXXX", path[96];
	struct leases seen = { 0 };
	struct lease_info *infos;
	struct lease l;
	struct env *env;
	size_t nr;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(env_posix_create(NULL, &env), 0);
	assert_int_equal(lease_take(&l, env, dir, 7, ""), 0);
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		snprintf(path, sizeof(path), "%s/leases/0000000000000009.0000000000000001", dir);
		assert_int_equal(i == 0 ? mkdir(path, 0700) : i == 1 ? mkfifo(path, 0600) :
				 symlink("/etc/passwd", path), 0);
		assert_int_equal(leases_look(&seen, env, dir, 1), 0);
		assert_int_equal(seen.nr, 1);
		assert_int_equal(seen.items[0].cut_seq, 7);
		assert_string_equal(seen.odd, "0000000000000009.0000000000000001");
		assert_int_equal(seen.odd_error, errors[i]);
		assert_false(seen.odd_counts);
		assert_int_equal(leases_list(env, dir, &infos, &nr), 0);
		assert_int_equal(nr, 1);
		free(infos);
		assert_int_equal(remove(path), 0);
	}
	leases_fini(&seen);
	lease_drop(&l);
	snprintf(path, sizeof(path), "%s/leases", dir);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rmdir(dir), 0);
	env_posix_destroy(env);
}

static void others_files_are_left_alone(void **state)
{
	static const char *const names[] = { "note", "0000000000000007.000000000000001",
					     "0000000000000007.0000000000000001x",
					     "000000000000000G.0000000000000001",
					     "0x00000000000007.0000000000000001" };
	struct lease_info *infos;
	struct env_file *file;
	struct lease l;
	struct rig r;
	size_t nr;

	rig_init(&r);
	assert_int_equal(lease_take(&l, r.env, "/tl", 7, "web1\n\033[2J"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[96];

		snprintf(path, sizeof(path), "/tl/leases/%s", names[i]);
		assert_int_equal(r.env->ops->open(r.env, path, ENV_WRITE | ENV_CREATE, &file), 0);
		r.env->ops->close(r.env, file);
	}
	assert_int_equal(look(&r), 1);
	/* A label comes from another machine: it does nothing to a terminal. */
	assert_int_equal(leases_list(r.env, "/tl", &infos, &nr), 0);
	assert_int_equal(nr, 1);
	assert_string_equal(infos[0].label, "web1??[2J");
	free(infos);
	rig_fini(&r);
}

/* What it has is nobody's to see; it keeps its point, as it may be of a newer version. */
static void what_is_no_lease_is_not_shown(void **state)
{
	static const char *const contents[] = { "", "root:x:0:0:secret", "BSE1\002" };
	struct lease_info *infos;
	struct env_file *file;
	struct rig r;
	size_t nr;

	rig_init(&r);
	assert_int_equal(leases_make(r.env, "/tl"), 0);
	for (size_t i = 0; i < ARRAY_SIZE(contents); i++) {
		char path[96];

		snprintf(path, sizeof(path), "/tl/leases/%016zx.0000000000000001", i);
		assert_int_equal(r.env->ops->open(r.env, path, ENV_WRITE | ENV_CREATE, &file), 0);
		assert_int_equal(r.env->ops->write(r.env, file, contents[i], strlen(contents[i]), 0), 0);
		r.env->ops->close(r.env, file);
	}
	assert_int_equal(leases_list(r.env, "/tl", &infos, &nr), 0);
	assert_int_equal(nr, ARRAY_SIZE(contents));
	for (size_t i = 0; i < nr; i++)
		assert_string_equal(infos[i].label, "is no lease of this version");
	free(infos);
	assert_int_equal(look(&r), nr);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_each_field),
		cmocka_unit_test(it_counts_as_long_as_it_changes),
		cmocka_unit_test(one_never_seen_counts),
		cmocka_unit_test(one_that_cannot_be_read_counts),
		cmocka_unit_test(too_many_that_are_over_go_away),
		cmocka_unit_test(what_is_no_file_is_ignored_and_named),
		cmocka_unit_test(others_files_are_left_alone),
		cmocka_unit_test(what_is_no_lease_is_not_shown),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
