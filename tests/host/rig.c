// SPDX-License-Identifier: GPL-2.0-only
/* rig - a timeline on a simulated disk, for unit tests of the store. */
#include "../unit/unit.h"

#include "rig.h"

#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/retention.h"
#include "../../userspace/store/timeline_internal.h"
#include "test_steps.h"

#define S	UINT64_C(1000000000)
#define HOUR	(3600 * S)

static char why[TIMELINE_TEXT_BYTES];

void rig_init(struct rig *r, uint64_t seed, uint32_t sectors, uint64_t seal_bytes)
{
	*r = (struct rig){ .sim = sim_env_create(seed), .seal_bytes = seal_bytes };
	r->env = sim_env_env(r->sim);
	history_init(&r->h, sectors);
	rig_begin(r, seed);
}

void rig_fini(struct rig *r)
{
	rig_close(r);
	history_fini(&r->h);
	sim_env_destroy(r->sim);
}

void rig_begin(struct rig *r, uint64_t seed)
{
	rig_close(r);
	sim_env_reset(r->sim, seed);
	sim_env_set_realtime(r->sim, RIG_T0);
	history_reset(&r->h, seed);
	rig_open(r, TIMELINE_CREATE);
	assert_int_equal(history_greet(&r->h, r->tl), 0);
}

void rig_open(struct rig *r, unsigned int flags)
{
	if (timeline_open(r->env, RIG_DIR, flags, "", &r->tl, why))
		fail_msg("%s", why);
	timeline_set_limits(r->tl, r->seal_bytes, 4096);
}

void rig_close(struct rig *r)
{
	timeline_close(r->tl);
	r->tl = NULL;
}

void rig_restart(struct rig *r)
{
	rig_close(r);
	rig_open(r, TIMELINE_CREATE);
}

struct timeline *rig_reader(struct rig *r)
{
	struct timeline *reader;

	if (timeline_open(r->env, RIG_DIR, TIMELINE_READ_ONLY, NULL, &reader, why))
		fail_msg("%s", why);
	return reader;
}

/* -- batches of the model -- */

void rig_append(struct rig *r, unsigned int nr, uint64_t step_ns)
{
	for (unsigned int i = 0; i < nr; i++) {
		struct test_batch b;

		sim_env_advance(r->sim, step_ns);
		history_batch(&r->h, &b);
		assert_int_equal(test_append(r->sim, r->tl, &b), 0);
	}
}

void rig_check(struct rig *r)
{
	const struct points *p = &r->tl->points;

	for (size_t i = 0; i < p->nr_commits; i++)
		if (!history_point(&r->h, r->tl, p->commits[i].ordinal - 1))
			fail_msg("commit %d: %s", (int)p->commits[i].ordinal, r->h.why);
}

/* -- numbered commits -- */

void rig_commit(struct rig *r, enum rig_content content)
{
	uint64_t n = r->tl->received.ordinal + 1;
	struct test_batch b;

	test_batch_begin(&b, n, content == RIG_IDLE ? r->tl->received.cut_seq : seq_pack(1, n));
	if (content != RIG_IDLE)
		test_batch_extent(&b, 0, 4096 * (n % 8), 4096,
				  content == RIG_DATA ? EXTENT_DATA : EXTENT_ZERO, n, 0, 0);
	b.volumes[b.nr_volumes++].size_bytes = r->h.sectors * UINT64_C(512);
	test_batch_end(&b);
	assert_int_equal(test_append(r->sim, r->tl, &b), 0);
}

void rig_commits(struct rig *r, unsigned int nr, uint64_t step_ns)
{
	for (unsigned int i = 0; i < nr; i++) {
		sim_env_advance(r->sim, step_ns);
		rig_commit(r, RIG_ZEROES);
	}
}

void rig_init_numbered(struct rig *r, const char *policy, unsigned int nr)
{
	rig_init(r, 1, 2048, 16384);
	if (policy)
		rig_retain(r, policy, 0);
	rig_commits(r, nr, S);
}

bool rig_has(const struct rig *r, uint64_t ordinal)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(r->tl, &c);

	for (size_t i = 0; i < nr; i++)
		if (c[i].ordinal == ordinal)
			return true;
	return false;
}

/* -- what the worker does -- */

void rig_index(struct rig *r)
{
	assert_int_equal(test_index(r->env, r->tl), 0);
}

/* Until nothing is left to do: what fails must not be tried for ever. */
unsigned int rig_index_faulty(struct rig *r)
{
	unsigned int nr = 0, nr_failed = 0;
	struct index_job *job;

	while ((job = timeline_index_plan(r->tl))) {
		index_job_run(job, r->env, NULL);
		nr_failed += timeline_index_take(r->tl, job) != 0;
		assert_true(++nr < 400);
	}
	return nr_failed;
}

void rig_do(struct rig *r, struct index_job *job)
{
	assert_int_equal(index_job_run(job, r->env, NULL), 0);
	assert_int_equal(timeline_index_take(r->tl, job), 0);
}

struct index_job *rig_index_until(struct rig *r, const char *text)
{
	struct index_job *job;

	while ((job = timeline_index_plan(r->tl)) &&
	       strncmp(index_job_text(job), text, strlen(text)) != 0)
		rig_do(r, job);
	return job;
}

struct index_job *rig_points_job(struct rig *r)
{
	struct index_job *job = timeline_index_plan(r->tl);

	assert_non_null(job);
	assert_memory_equal(index_job_text(job), "points", 6);
	assert_int_equal(index_job_run(job, r->env, NULL), 0);
	return job;
}

void rig_pass(struct rig *r, unsigned int nr, uint64_t step_ns)
{
	for (unsigned int i = 0; i < nr; i++) {
		sim_env_advance(r->sim, step_ns);
		rig_index(r);
	}
}

void rig_retain(struct rig *r, const char *policy, uint64_t immutable_ns)
{
	struct retention_policy p;

	if (retention_parse(policy, &p, why))
		fail_msg("%s", why);
	assert_int_equal(timeline_set_retention(r->tl, &p, immutable_ns), 0);
}

void rig_drop(struct rig *r)
{
	rig_retain(r, "all:1m", 0);
	sim_env_advance(r->sim, HOUR);
	rig_index(r);
	assert_true(r->tl->points.nr_commits < r->tl->points.last_ordinal / 2);
}

void rig_init_settled(struct rig *r)
{
	rig_init(r, 1, 256, 16384);
	rig_append(r, 200, S);
	rig_index(r);
}

void rig_init_dead(struct rig *r)
{
	rig_init_settled(r);
	rig_drop(r);
	timeline_set_packing(r->tl, true);
}

struct timeline_pack_state rig_pack_state(const struct rig *r)
{
	struct timeline_pack_state out;

	timeline_pack_state(r->tl, &out);
	return out;
}

bool rig_is_packed(const struct rig *r, uint64_t segment)
{
	return manifest_pack(&r->tl->manifest, segment);
}

size_t rig_nr_unpacked(const struct rig *r)
{
	size_t nr = 0;

	for (uint64_t n = 1; n <= r->tl->settled.last_segment; n++)
		nr += !rig_is_packed(r, n);
	return nr;
}

void rig_points_damage(struct rig *r, unsigned int copy)
{
	uint64_t bytes;
	char path[64];

	points_path(path, sizeof(path), RIG_DIR, r->tl->manifest.points.number, 0);
	assert_non_null(sim_env_content(r->sim, path, &bytes));
	assert_int_equal(sim_env_flip(r->sim, path, copy * bytes / 2 + 20, 3), 0);
}

bool rig_points_are_whole(struct rig *r)
{
	struct points_file file;
	unsigned int nr_bad;

	if (points_file_read(r->env, RIG_DIR, timeline_id(r->tl), &r->tl->manifest.points, &file,
			     &nr_bad))
		return false;
	points_fini(&file.points);
	return nr_bad == 0;
}
