// SPDX-License-Identifier: GPL-2.0-only
/* world - one seed of the store's simulation. */
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/index.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view.h"
#include "../host/sim_disk.h"

#define SECTORS 96
#define LIVES 4
#define AHEAD 6			/* batches sent and not durable */
#define S 1000000000ull

static const struct retention_policy policies[2] = {
	{ { { 0, 60 * S }, { 60 * S, 600 * S } }, 2 },
	{ { { 10 * S, 100 * S } }, 1 },
};

void violation(struct store_sim *s, const char *format, ...)
{
	va_list args;

	if (s->wrong[0])
		return;
	va_start(args, format);
	vsnprintf(s->wrong, sizeof(s->wrong), format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3)))
void say(struct store_sim *s, const char *format, ...)
{
	va_list args;

	if (!s->trace)
		return;
	va_start(args, format);
	printf("%6llu ", (unsigned long long)sim_env_ops(s->sim));
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

uint64_t below(struct store_sim *s, uint64_t bound)
{
	return sim_env_random(s->sim, bound);
}

static struct timeline_state state_of(const struct store_sim *s)
{
	struct timeline_state state;

	timeline_state(s->tl, &state);
	return state;
}

/* Those of this life, for whoever opens it. */
static int set_keys(struct store_sim *s, struct timeline *tl)
{
	char why[TIMELINE_TEXT_BYTES];

	return timeline_set_keys(tl, s->nr_keys ? s->keys[s->nr_keys - 1] : NULL, why);
}

int reader_open(struct store_sim *s, struct timeline **reader, char *why)
{
	int ret = timeline_open(s->env, DIR, TIMELINE_READ_ONLY, NULL, reader, why);

	if (!ret)
		set_keys(s, *reader);
	return ret;
}

/* -- what happens -- */

static void do_append(struct store_sim *s)
{
	uint64_t next = state_of(s).ordinal + 1;
	struct test_batch b;

	if (next > state_of(s).durable_ordinal + AHEAD)
		return;
	history_truncate(&s->h, next - 1);
	history_batch(&s->h, &b);
	if (next > s->sent)
		s->sent = next;
	sim_env_advance(s->sim, below(s, 20) * 1000000000);
	if (below(s, 40) == 0)		/* somebody sets the clock */
		sim_env_set_realtime(s->sim, s->clock_ns + below(s, 3600) * 1000000000 +
					     (below(s, 4) ? 0 : 4000000000u * 1000000000u));
	if (test_batch_append(&b, s->tl))
		say(s, "batch %d is refused", (int)next);
	test_batch_free(&b);
}

/* One step of the index: plan, or do, or take; other things happen between them. */
static void do_index(struct store_sim *s)
{
	if (!s->job) {
		s->job = timeline_index_plan(s->tl);
		s->job_done = false;
	} else if (!s->job_done) {
		say(s, "job: %s", index_job_text(s->job));
		s->counts.faults += index_job_run(s->job, s->env, NULL) != 0;
		s->job_done = true;
	} else {
		bool merge = index_job_text(s->job)[0] == 'm';
		bool points = !strncmp(index_job_text(s->job), "points", 6);
		uint64_t packs = s->tl->manifest.pack_number;
		uint64_t left_out = s->tl->packing.nr_dropped;
		int ret = timeline_index_take(s->tl, s->job);

		say(s, "taken: %d; %zu packs", ret, s->tl->manifest.nr_packs);
		s->counts.jobs += !ret;
		check_dropped(s);
		s->counts.points_files += !ret && points;
		s->counts.merges += !ret && merge;
		s->counts.packs += s->tl->manifest.pack_number - packs;
		s->counts.left_out += s->tl->packing.nr_dropped - left_out;
		s->job = NULL;
	}
}

/* All durable, then a look at a point or two, live and by a reader. */
static void do_look(struct store_sim *s)
{
	struct timeline *reader;
	char why[TIMELINE_TEXT_BYTES];

	if (s->armed || sim_env_is_off(s->sim))
		return;
	timeline_flush(s->tl);
	sim_env_complete_all(s->sim);
	if (state_of(s).failed || state_of(s).durable_ordinal != s->h.nr_batches ||
	    sim_env_is_off(s->sim))
		return;
	check_some(s, s->tl, 1);
	if (reader_open(s, &reader, why)) {
		if (!sim_env_is_off(s->sim))
			violation(s, "a reader: %s", why);
		return;
	}
	check_reader(s, reader);
	check_some(s, reader, 1);
	timeline_close(reader);
}

/* -- a pinned point, and a view of it that stays open -- */

static void view_end(struct store_sim *s)
{
	view_close(s->view);
	timeline_close(s->reader);
	s->view = NULL;
	s->reader = NULL;
}

static void view_begin(struct store_sim *s)
{
	char why[TIMELINE_TEXT_BYTES];
	int ret = reader_open(s, &s->reader, why);

	if (ret)
		s->reader = NULL;
	else
		ret = view_open(s->reader, s->h.batches[s->pinned].cut, &s->view, why);
	if (ret && !sim_env_is_off(s->sim))
		violation(s, "the pinned commit %d does not open: %s", (int)s->pinned + 1, why);
	if (ret)
		view_end(s);
}

static void pin_end(struct store_sim *s)
{
	/* Where that fails it may be pinned or not. */
	timeline_unpin(s->tl, s->pin);
	s->pin = 0;
	view_end(s);
}

/* Pin a point, look at it after a while, and let it go after another one. */
static void do_pin(struct store_sim *s)
{
	const struct points *p = &s->tl->points;
	const struct timeline_commit *c;

	if (s->pin && below(s, 4) == 0) {
		pin_end(s);
	} else if (s->view) {
		s->counts.views++;
		if (!history_check(&s->h, s->view, s->pinned) && !sim_env_is_off(s->sim))
			violation(s, "an open view of commit %d: %s", (int)s->pinned + 1, s->h.why);
	} else if (s->pin && !s->armed) {	/* a sync that fails is to fail the writer's */
		view_begin(s);
	} else if (p->nr_commits) {
		c = &p->commits[below(s, p->nr_commits)];
		if (c->listed && !timeline_pin(s->tl, c->cut_seq, TIMELINE_PIN_HOLD, "", 0, &s->pin))
			s->pinned = c->ordinal - 1;
		else
			s->pin = 0;
	}
}

static void do_flip(struct store_sim *s)
{
	const struct manifest *m = &s->tl->manifest;
	uint64_t bytes, number;
	char path[64];
	bool alone;

	if (m->nr_runs == 0)
		return;
	number = m->runs[below(s, m->nr_runs)].number;
	run_path(path, sizeof(path), DIR, number, 0);
	if (m->points.number && below(s, 3) == 0)
		points_path(path, sizeof(path), DIR, number = m->points.number, 0);
	if (!sim_env_content(s->sim, path, &bytes) || bytes == 0)
		return;
	s->faulty = s->turned = true;
	s->counts.flips++;
	say(s, "a bit of %s turns", path);
	alone = strstr(path, ".points") &&
		(m->points.flags & MANIFEST_POINTS_LEFT_OUT || m->nr_packs || s->job);
	if (alone)
		bytes /= 2;
	sim_env_flip(s->sim, path, below(s, bytes), below(s, 8));
	/* What a points file left out, or was packed, only it knows: without it nothing opens. */
	if (below(s, 4) == 0 && !alone)
		s->env->ops->unlink(s->env, path);
}

static const char *const kinds[STORE_SIM_KINDS] = {
	".seg", ".run", ".points", ".pack", "/manifest", "/check", "",	/* "": all others */
};

static void edge_count(void *arg, enum sim_op op, const char *path, bool cut)
{
	struct store_sim *s = arg;
	unsigned int kind = 0;

	while (!strstr(path, kinds[kind]))
		kind++;
	s->counts.edges[op][kind].nr++;
	s->counts.edges[op][kind].cuts += cut;
}

const char *store_sim_edge_name(unsigned int op, unsigned int kind)
{
	static const char *const ops[SIM_NR_OPS] = { "create", "write", "sync", "truncate",
						     "rename", "unlink", "sync of directory" };
	static char text[64];

	snprintf(text, sizeof(text), "%s %s", ops[op], kind < STORE_SIM_KINDS - 1 ?
		 kinds[kind] + 1 : "other");
	return text;
}

/* Arm what will go wrong in this life; mostly the power. */
static void choose_fate(struct store_sim *s)
{
	static const int errors[] = { -EIO, -ENOSPC };
	uint64_t fate = below(s, 10);

	if (fate < 5 || !s->greeted) {
		sim_env_power_off_after(s->sim, below(s, below(s, 3) ? 60 : 300));
		return;
	}
	s->armed = s->faulty = true;
	if (fate == 5)
		sim_env_set_limit(s->sim, sim_env_used(s->sim) + below(s, 65536));
	else
		sim_env_fail(s->sim, fate == 6 ? SIM_FAULT_WRITE : fate < 9 ? SIM_FAULT_SYNC :
			     SIM_FAULT_READ, 1 + below(s, 30), errors[below(s, 2)],
			     below(s, 4) == 0);
}

static void faults_lift(struct store_sim *s)
{
	for (int i = 0; i < SIM_NR_FAULTS; i++)
		sim_env_fail(s->sim, i, 0, 0, false);
	sim_env_set_limit(s->sim, 0);
	sim_env_power_off_after(s->sim, UINT64_MAX);
	s->armed = false;
}

/* The timeline takes nothing more: give the segment up and go on, as HELLO does. */
static void recover_live(struct store_sim *s)
{
	sim_env_complete_all(s->sim);
	s->counts.faults++;
	if (timeline_void_tail(s->tl)) {
		faults_lift(s);
		if (timeline_void_tail(s->tl) && !sim_env_is_off(s->sim))
			violation(s, "it does not recover: %d", state_of(s).error);
	}
	s->sent = state_of(s).durable_ordinal;
	history_truncate(&s->h, s->sent);
	say(s, "failed, goes on behind %d", (int)s->sent);
}

static void live(struct store_sim *s)
{
	unsigned int steps = 50 + below(s, 90);

	for (unsigned int i = 0; i < steps && !sim_env_is_off(s->sim) && !s->wrong[0]; i++) {
		uint64_t what = below(s, 20);

		if (what < 5)
			do_append(s);
		else if (what < 8)
			timeline_flush(s->tl);
		else if (what < 14 && sim_env_pending(s->sim))
			sim_env_complete(s->sim, below(s, sim_env_pending(s->sim)));
		else if (what < 19)
			do_index(s);
		else if (below(s, 30) == 0)
			do_flip(s);
		else if (below(s, 4) == 0)
			do_look(s);
		else if (below(s, 2) == 0)
			do_pin(s);
		if (below(s, 10) == 0)
			late_look(s);
		check_nonces(s);
		if (state_of(s).failed && !sim_env_is_off(s->sim))
			recover_live(s);
		if (state_of(s).durable_ordinal > s->acked)
			s->acked = state_of(s).durable_ordinal;
	}
}

/* -- from life to life -- */

/* A job that was done is taken first: a dead process takes nothing. */
static void job_end(struct store_sim *s)
{
	if (s->job)
		timeline_index_take(s->tl, s->job);
	s->job = NULL;
}

static void life_end(struct store_sim *s)
{
	bool off = sim_env_is_off(s->sim);

	job_end(s);
	if (s->tl && !off)
		do_look(s);
	view_end(s);
	late_end(s);
	off = sim_env_is_off(s->sim);
	if (!off && below(s, 2)) {
		say(s, "KILLED");
		s->counts.kills++;
		sim_env_kill(s->sim);
	} else {
		say(s, "POWER CUT");
		s->counts.power_cuts++;
		sim_env_crash(s->sim, below(s, 1u << 30));
	}
	timeline_close(s->tl);
	s->tl = NULL;
	if (s->encrypts && s->nr_keys < 2 && below(s, 2))
		s->nr_keys++;
	faults_lift(s);
}

/* If nothing else knows which points there are. */
static bool points_lose(struct store_sim *s)
{
	char why[TIMELINE_TEXT_BYTES], path[64];
	struct manifest m;
	bool lose = !manifest_open(&m, s->env, DIR, false, why) &&
		    (m.points.flags & MANIFEST_POINTS_LEFT_OUT || m.nr_packs);

	if (lose) {
		points_path(path, sizeof(path), DIR, m.points.number, 0);
		s->env->ops->unlink(s->env, path);
	}
	manifest_close(&m);
	return lose;
}

/*
 * Sometimes the points file is lost between two lives, and made again. Points that were dropped
 * may be back then, if they are whole, which is checked as with any.
 */
static int life_open(struct store_sim *s, char *why)
{
	uint64_t nr_back;
	int ret;

	if (s->retention && !s->armed && !s->turned && below(s, 8) == 0 && points_lose(s)) {
		s->lost = true;
		s->gone = 0;
	}
	ret = timeline_open(s->env, DIR, TIMELINE_CREATE | (s->lost ? TIMELINE_REBUILD : 0),
			    "owner", &s->tl, why);
	if (ret)
		return ret;
	if (timeline_rebuilt(s->tl, &nr_back)) {
		say(s, "made a points file again, %d are back", (int)nr_back);
		s->counts.rebuilt++;
	}
	s->lost = false;
	return 0;
}

/* Open, and hold what is found against what was acknowledged and sent. */
static bool life_begin(struct store_sim *s)
{
	size_t files = nr_index_files(s);
	char why[TIMELINE_TEXT_BYTES];
	uint64_t durable;
	int ret = life_open(s, why);

	if (ret) {
		s->tl = NULL;
		if (!sim_env_is_off(s->sim) && !(s->armed && (ret == -EIO || ret == -ENOSPC)))
			violation(s, "it does not open: %s", why);
		return false;
	}
	timeline_set_limits(s->tl, s->seal_bytes, 4096);
	timeline_set_packing(s->tl, true);
	durable = state_of(s).durable_ordinal;
	say(s, "opened: %d durable, %d acknowledged, %d sent, %zu runs", (int)durable,
	    (int)s->acked, (int)s->sent, s->tl->manifest.nr_runs);
	if (durable < s->acked || durable > s->sent) {
		violation(s, "%d durable, %d were acknowledged, %d sent", (int)durable,
			  (int)s->acked, (int)s->sent);
		return false;
	}
	s->acked = s->sent = durable;
	history_truncate(&s->h, durable);
	if (sim_env_is_off(s->sim))
		return false;	/* in the last of what opening does */
	if (files > nr_named_files(s))
		s->counts.strays += files - nr_named_files(s);
	check_index(s, !s->faulty);
	if (set_keys(s, s->tl)) {
		if (!s->armed && !sim_env_is_off(s->sim))
			violation(s, "the manifest does not take a key");
		return false;
	}
	check_dropped(s);
	if (s->retention && timeline_set_retention(s->tl, &policies[below(s, 2)], 0) == 0)
		say(s, "retention is set");
	if (!s->armed)
		check_some(s, s->tl, 1);
	if (!history_greet(&s->h, s->tl))
		s->greeted = true;
	return s->greeted && !s->wrong[0];
}

/* Until nothing is left to do; a run that was bad is made anew on the way. */
static void index_all(struct store_sim *s)
{
	struct index_job *job;
	unsigned int failed = 0;

	while ((job = timeline_index_plan(s->tl)) && failed < 100) {
		index_job_run(job, s->env, NULL);
		failed += timeline_index_take(s->tl, job) != 0;
	}
	if (failed == 100)
		violation(s, "the index does not become whole");
}

/* Undisturbed: the index is made whole, and the points are what they should be. */
static void last_life(struct store_sim *s)
{
	uint64_t nr_runs, nr_waiting;

	late_end(s);
	view_end(s);
	manifest_remake(s);
	if (!life_begin(s))
		return;
	late_look(s);
	for (int i = 0; i < 3; i++)
		do_append(s);
	timeline_flush(s->tl);
	sim_env_complete_all(s->sim);
	check_nonces(s);
	if (state_of(s).durable_ordinal != s->sent)
		violation(s, "undisturbed, %d are durable of %d", (int)state_of(s).durable_ordinal,
			  (int)s->sent);
	index_all(s);
	timeline_index_state(s->tl, &nr_runs, &nr_waiting);
	if (nr_waiting || s->tl->nr_bad_runs)
		violation(s, "%d segments have no run", (int)nr_waiting);
	check_index(s, true);
	check_some(s, s->tl, 2);
	/* What went from runs no point needs. */
	for (size_t i = 0; i < s->h.nr_batches && s->tl->packing.nr_dropped; i++)
		check_point(s, s->tl, i);
	s->counts.left_out += s->tl->packing.nr_dropped;
	for (int i = 0; i < 3; i++)
		late_look(s);
	late_end(s);
	do_look(s);
	check_dropped(s);
	if (s->h.nr_batches)
		check_point(s, s->tl, s->h.nr_batches - 1);
	if (s->pin)
		check_point(s, s->tl, s->pinned);
	check_undamaged(s);
	if (below(s, 2))
		check_damaged(s);
	else
		check_lost(s);
	timeline_close(s->tl);
	s->tl = NULL;
}

/* -- */

const char *store_sim_run(struct store_sim *s, uint64_t seed, bool trace)
{
	sim_env_reset(s->sim, seed);
	history_reset(&s->h, seed);
	s->acked = s->sent = 0;
	s->greeted = s->armed = s->faulty = s->turned = s->lost = false;
	s->trace = trace;
	s->wrong[0] = 0;
	s->gone = s->pin = 0;
	s->retention = below(s, 2);
	s->clock_ns = UINT64_C(1700000000) * S;
	sim_env_set_realtime(s->sim, s->clock_ns);
	if (seed % 2)
		sim_env_end_removed(s->sim);
	s->seal_bytes = 6144 << below(s, 3);
	s->encrypts = seed % 4 == 3;
	s->nr_keys = s->encrypts ? below(s, 2) : 0;
	nonces_reset(s->nonces);
	for (int life = 0; life < LIVES && !s->wrong[0]; life++) {
		choose_fate(s);
		if (life_begin(s))
			live(s);
		life_end(s);
	}
	if (!s->wrong[0])
		last_life(s);
	view_end(s);
	late_end(s);
	if (s->tl)
		timeline_close(s->tl);
	s->tl = NULL;
	s->counts.units += nonces_nr(s->nonces);
	return s->wrong[0] ? s->wrong : NULL;
}

struct store_sim *store_sim_create(void)
{
	struct store_sim *s = sim_alloc(sizeof(*s));

	s->sim = sim_env_create(1);
	sim_env_watch(s->sim, edge_count, s);
	s->env = sim_env_env(s->sim);
	history_init(&s->h, SECTORS);
	s->nonces = nonces_create();
	for (int i = 0; i < 2; i++) {
		char text[2 * (KEY_HEX_BYTES + 1) + 1], why[KEYRING_TEXT_BYTES];

		snprintf(text, sizeof(text), "%064x\n%064x\n", 1, 2);
		if (keyring_parse(text, (i + 1) * (KEY_HEX_BYTES + 1), &s->keys[i], why))
			abort();
	}
	return s;
}

void store_sim_destroy(struct store_sim *s)
{
	free(s->dropped);
	history_fini(&s->h);
	nonces_destroy(s->nonces);
	keyring_free(s->keys[0]);
	keyring_free(s->keys[1]);
	sim_env_destroy(s->sim);
	free(s);
}

const struct store_sim_counts *store_sim_counts(const struct store_sim *s)
{
	return &s->counts;
}
