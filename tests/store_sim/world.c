// SPDX-License-Identifier: GPL-2.0-only
/* world - one seed of the store's simulation. */
#include "store_sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/array.h"
#include "../../userspace/store/check.h"
#include "../../userspace/store/index.h"
#include "../../userspace/store/pack_read.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/run_read.h"
#include "../../userspace/store/timeline_internal.h"
#include "../../userspace/store/view.h"
#include "../host/history.h"
#include "../host/sim_disk.h"
#include "../host/sim_env.h"
#include "nonces.h"

#define DIR "/tl"
#define SECTORS 96
#define LIVES 4
#define AHEAD 6			/* batches sent and not durable */

struct store_sim {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	struct history h;
	struct index_job *job;
	bool job_done;
	uint64_t acked, sent;
	bool greeted;
	bool armed;		/* something is to fail in this life */
	bool faulty;		/* something failed or was turned so far: runs may be bad */
	bool turned;		/* a bit was, perhaps where nobody has looked since */
	uint64_t seal_bytes;
	struct keyring *keys[2];	/* one key; that and another one */
	unsigned int nr_keys;	/* in use in this life; 0: in clear */
	bool encrypts;
	struct nonces *nonces;
	bool retention;		/* points are dropped */
	uint64_t clock_ns;	/* the target's, about */
	bool lost;		/* the points file is, until a life has made it again */
	uint64_t gone;		/* up to here commits were seen to be dropped, or not */
	bool *dropped;		/* by ordinal */
	size_t max_dropped;
	uint64_t pin;		/* a point that must stay; 0: none */
	size_t pinned;		/* its batch */
	struct timeline *reader; /* that looks at it while others go, and their space */
	struct view *view;
	bool trace;
	char wrong[400];
	struct store_sim_counts counts;
};

__attribute__((format(printf, 2, 3)))
static void violation(struct store_sim *s, const char *format, ...)
{
	va_list args;

	if (s->wrong[0])
		return;
	va_start(args, format);
	vsnprintf(s->wrong, sizeof(s->wrong), format, args);
	va_end(args);
}

__attribute__((format(printf, 2, 3)))
static void say(struct store_sim *s, const char *format, ...)
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

static uint64_t below(struct store_sim *s, uint64_t bound)
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

/* -- what must hold -- */

static void watch_file(struct store_sim *s, const char *path)
{
	uint64_t bytes;
	const uint8_t *content = sim_env_content(s->sim, path, &bytes);
	const char *wrong = content ? nonces_watch(s->nonces, content, bytes) : NULL;

	if (wrong)
		violation(s, "%s: %s", path, wrong);
}

/* As whoever has the disk: segments that are written to, or were a moment ago, and packs. */
static void watch_nonces(struct store_sim *s)
{
	uint64_t last = s->tl->writer.number, first = last > 2 ? last - 2 : 1;
	const struct manifest *m = &s->tl->manifest;
	char path[64];

	for (uint64_t n = first; s->nr_keys && n <= last; n++) {
		segment_path(path, sizeof(path), DIR, n);
		watch_file(s, path);
	}
	for (size_t i = 0; s->nr_keys && i < m->nr_packs; i++) {
		pack_path(path, sizeof(path), DIR, m->packs[i].number, 0);
		watch_file(s, path);
	}
}

#define S 1000000000ull
static const struct retention_policy policies[2] = {
	{ { { 0, 60 * S }, { 60 * S, 600 * S } }, 2 },
	{ { { 10 * S, 100 * S } }, 1 },
};

static bool exists(const struct timeline *tl, uint64_t ordinal)
{
	const struct points *p = &tl->points;

	for (size_t i = 0; i < p->nr_commits; i++)
		if (p->commits[i].ordinal == ordinal)
			return true;
	return false;
}

/* What does not exist any more never does again. What is remembered grows with what is durable. */
static void check_dropped(struct store_sim *s)
{
	uint64_t settled = s->tl->settled.last_ordinal;

	if (!array_reserve(&s->dropped, &s->max_dropped, settled + 1))
		abort();
	for (uint64_t n = 1; n <= settled; n++) {
		bool dropped = !exists(s->tl, n);

		if (n <= s->gone && s->dropped[n] && !dropped)
			violation(s, "commit %d was dropped and is there again", (int)n);
		s->counts.dropped += dropped && (n > s->gone || !s->dropped[n]);
		s->dropped[n] = dropped;
	}
	if (settled > s->gone)
		s->gone = settled;
	if (s->pin && points_find(&s->tl->points, s->h.batches[s->pinned].cut) ==
		      s->tl->points.nr_commits)
		violation(s, "commit %d is pinned and was dropped", (int)s->pinned + 1);
	if (settled && !exists(s->tl, settled))
		violation(s, "the last commit of the points file was dropped");
	if (!s->retention && s->tl->points.nr_commits != s->tl->points.last_ordinal)
		violation(s, "commits are missing, and nothing asked for that");
}

static void check_point(struct store_sim *s, struct timeline *tl, size_t index)
{
	if (points_find(&tl->points, s->h.batches[index].cut) == tl->points.nr_commits) {
		/* Another commit may have the cut: but a cut goes with all of them, or none. */
		if (exists(tl, index + 1) || index + 1 > tl->settled.last_ordinal)
			violation(s, "commit %zu is not there", index + 1);
		return;
	}
	s->counts.points++;
	if (!history_point(&s->h, tl, index) && !sim_env_is_off(s->sim))
		violation(s, "%s", s->h.why);
}

static void check_some(struct store_sim *s, struct timeline *tl, unsigned int nr)
{
	for (unsigned int i = 0; i < nr && s->h.nr_batches; i++)
		check_point(s, tl, below(s, s->h.nr_batches));
}

static void check_one_run(struct store_sim *s, const struct manifest_run *mr)
{
	struct run_stream stream;
	struct run_entry e;
	struct run run;
	int ret = run_open(s->env, DIR, s->tl->manifest.identity.timeline, mr, &run);

	if (!ret && !run_stream_begin(&stream, &run)) {
		while ((ret = run_stream_next(&stream, &e)) == 0)
			;
		run_stream_end(&stream);
	}
	run_close(&run);
	if (ret != -ENOENT)
		violation(s, "run %llu is named and does not check: %d",
			  (unsigned long long)mr->number, ret);
}

/* Every extent of its directory. Its units: whoever looks at points reads them. */
static void check_pack(struct store_sim *s, const struct manifest_pack *named)
{
	struct pack_stream stream;
	struct pack_extent e;
	struct pack pack;
	int ret = pack_open(s->env, DIR, s->tl->manifest.identity.timeline, named, &pack);

	if (!ret && !pack_stream_begin(&stream, &pack)) {
		while ((ret = pack_stream_next(&stream, &e)) == 0)
			;
		pack_stream_end(&stream);
	}
	pack_close(&pack);
	if (ret != -ENOENT)
		violation(s, "pack %llu is named and does not check: %d",
			  (unsigned long long)named->number, ret);
}

static void check_points_file(struct store_sim *s)
{
	const struct manifest *m = &s->tl->manifest;
	struct points_file file;
	unsigned int nr_bad;
	int ret = points_file_read(s->env, DIR, m->identity.timeline, &m->points, &file, &nr_bad);

	if (!ret)
		points_fini(&file.points);
	if (ret || nr_bad)
		violation(s, "points file %llu is named and does not check: %d",
			  (unsigned long long)m->points.number, ret);
}

static void count_files(void *arg, const char *name)
{
	*(size_t *)arg += strstr(name, ".run") || strstr(name, ".points") || strstr(name, ".pack");
}

static size_t nr_index_files(struct store_sim *s)
{
	size_t nr = 0;

	s->env->ops->list(s->env, DIR, count_files, &nr);
	return nr;
}

static size_t nr_named_files(const struct store_sim *s)
{
	const struct manifest *m = &s->tl->manifest;

	return m->nr_runs + m->nr_packs + (m->points.number != 0);
}

/* What the manifest names, and nothing else, is there; they follow one another. */
static void check_index(struct store_sim *s, bool whole)
{
	const struct manifest *m = &s->tl->manifest;

	for (size_t i = 1; i < m->nr_runs; i++)
		if (m->runs[i].first_segment <= m->runs[i - 1].last_segment)
			violation(s, "runs overlap");
	if (!whole)
		return;
	if (nr_index_files(s) != nr_named_files(s))
		violation(s, "%zu files of the index, %zu are named", nr_index_files(s),
			  nr_named_files(s));
	for (size_t i = 0; i < m->nr_runs && !s->turned; i++)
		check_one_run(s, &m->runs[i]);
	if (m->points.number && !s->turned)
		check_points_file(s);
	for (size_t i = 0; i < m->nr_packs; i++)
		check_pack(s, &m->packs[i]);
}

static bool commit_same(const struct timeline_commit *a, const struct timeline_commit *b)
{
	return a->ordinal == b->ordinal && a->cut_seq == b->cut_seq && a->time_ns == b->time_ns &&
	       a->target_time_ns == b->target_time_ns &&
	       a->listed == b->listed && a->degraded == b->degraded && a->flags == b->flags &&
	       a->unlisted_why == b->unlisted_why && a->batch_bytes == b->batch_bytes;
}

/* What opening finds, in the points file and behind it, is what those who were there know. */
static void check_reader(struct store_sim *s, const struct timeline *reader)
{
	const struct points *a = &s->tl->points, *b = &reader->points;

	if (a->nr_commits != b->nr_commits || a->last_ordinal != b->last_ordinal ||
	    a->last_cut_seq != b->last_cut_seq || a->last_time_ns != b->last_time_ns ||
	    a->readback_no != b->readback_no || a->hold_id != b->hold_id ||
	    a->last_gap_seq != b->last_gap_seq || a->repaired_t0 != b->repaired_t0 ||
	    a->nr_gaps != b->nr_gaps || a->nr_holds != b->nr_holds ||
	    a->nr_open_holds != b->nr_open_holds || a->nr_repairs != b->nr_repairs ||
	    a->nr_bad != b->nr_bad || a->nr_members != b->nr_members)
		violation(s, "a reader knows %zu commits up to %d, other than the %zu up to %d",
			  b->nr_commits, (int)b->last_ordinal, a->nr_commits,
			  (int)a->last_ordinal);
	for (size_t i = 0; i < a->nr_commits && !s->wrong[0]; i++)
		/*
		 * How time was counted is in the points file: not known without it, and otherwise
		 * in one of which the writer does not know whether it was named.
		 */
		if (!commit_same(&a->commits[i], &b->commits[i]) ||
		    (!reader->points_bad &&
		     reader->manifest.points.number == s->tl->manifest.points.number &&
		     a->commits[i].since_ns != b->commits[i].since_ns))
			violation(s, "a reader knows commit %d differently: since %llu, not %llu; listed %d, %d; degraded %d, %d",
				  (int)a->commits[i].ordinal,
				  (unsigned long long)b->commits[i].since_ns,
				  (unsigned long long)a->commits[i].since_ns,
				  b->commits[i].listed, a->commits[i].listed,
				  b->commits[i].degraded, a->commits[i].degraded);
	for (size_t i = 0; i < s->tl->manifest.nr_volumes && !s->wrong[0]; i++)
		if (s->tl->manifest.volumes[i].has_data != reader->manifest.volumes[i].has_data ||
		    s->tl->manifest.volumes[i].member != reader->manifest.volumes[i].member)
			violation(s, "a reader knows volume %zu differently", i);
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
		int ret = timeline_index_take(s->tl, s->job);

		say(s, "taken: %d; %zu packs", ret, s->tl->manifest.nr_packs);
		s->counts.jobs += !ret;
		check_dropped(s);
		s->counts.points_files += !ret && points;
		s->counts.merges += !ret && merge;
		s->counts.packs += s->tl->manifest.pack_number - packs;
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
	if (timeline_open(s->env, DIR, TIMELINE_READ_ONLY, NULL, &reader, why)) {
		if (!sim_env_is_off(s->sim))
			violation(s, "a reader: %s", why);
		return;
	}
	check_reader(s, reader);
	set_keys(s, reader);
	check_some(s, reader, 1);
	timeline_close(reader);
}

/* -- a pinned point, and a view of it that stays open -- */

static void view_end(struct store_sim *s)
{
	if (s->view)
		view_close(s->view);
	if (s->reader)
		timeline_close(s->reader);
	s->view = NULL;
	s->reader = NULL;
}

static void view_begin(struct store_sim *s)
{
	char why[TIMELINE_TEXT_BYTES];
	int ret = timeline_open(s->env, DIR, TIMELINE_READ_ONLY, NULL, &s->reader, why);

	if (ret) {
		s->reader = NULL;
	} else {
		set_keys(s, s->reader);
		ret = view_open(s->reader, s->h.batches[s->pinned].cut, &s->view, why);
	}
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
		watch_nonces(s);
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

static int nobody(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	return 0;
}

static bool view_is_bad(struct view *v)
{
	uint64_t at;

	for (uint16_t volume = 0; volume < HISTORY_VOLUMES; volume++)
		if (view_size(v, volume) && view_copy(v, volume, nobody, NULL, &at) == -EBADMSG)
			return true;
	return false;
}

/* A check marks every point that cannot be read. @check: of this reader. */
static void compare_check(struct store_sim *s, const struct check *check, struct view *v,
			  uint64_t cut)
{
	bool marked = false;

	for (size_t i = 0; i < check->nr_damage; i++)
		marked |= check->damage[i].from_seq <= cut &&
			  (!check->damage[i].to_seq || cut < check->damage[i].to_seq);
	if (!marked && view_is_bad(v))
		violation(s, "a check did not find what keeps a point from being read");
}

/* Whatever bit of a segment turns: a reader gets right content, or an error. */
static void look_at_damage(struct store_sim *s)
{
	const struct timeline_commit *commits;
	const struct manifest_pack *pack;
	uint64_t bytes, number;
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	char path[64], why[TIMELINE_TEXT_BYTES];
	size_t nr;
	int checked;

	number = 1 + below(s, segment_writer_finished(&s->tl->writer) + 1);
	pack = manifest_pack(&s->tl->manifest, number);
	if (pack)
		pack_path(path, sizeof(path), DIR, pack->number, 0);
	else
		segment_path(path, sizeof(path), DIR, number);
	if (!sim_env_content(s->sim, path, &bytes) || bytes == 0)
		return;
	sim_env_flip(s->sim, path, below(s, bytes), below(s, 8));
	if (timeline_open(s->env, DIR, TIMELINE_READ_ONLY, NULL, &reader, why))
		return;
	set_keys(s, reader);
	checked = check_run(reader, &check, why);
	nr = timeline_commits(reader, &commits);
	for (int i = 0; i < 3 && nr; i++) {
		size_t index = below(s, nr);
		struct view *v;

		if (!commits[index].listed || view_open(reader, commits[index].cut_seq, &v, why))
			continue;
		s->counts.points++;
		if (!history_sample(&s->h, v, commits[index].ordinal - 1, 40))
			violation(s, "with a damaged segment: %s", s->h.why);
		if (!checked)
			compare_check(s, &check, v, commits[index].cut_seq);
		view_close(v);
	}
	free(check.damage);
	timeline_close(reader);
}

/* Of what nobody has damaged a check says so. */
static void check_all(struct store_sim *s)
{
	struct check check = { .first_segment = 0 };
	struct timeline *reader;
	char why[TIMELINE_TEXT_BYTES];

	if (timeline_open(s->env, DIR, TIMELINE_READ_ONLY, NULL, &reader, why))
		return;
	set_keys(s, reader);
	if (check_run(reader, &check, why))
		violation(s, "a check fails: %s", why);
	else if (check.nr_damage || check.nr_unread)
		violation(s, "a check finds damage in %s %d", check.nr_damage &&
			  check.damage[0].pack ? "pack" : "segment",
			  check.nr_damage ? (int)check.damage[0].segment : 0);
	free(check.damage);
	timeline_close(reader);
}

/* Undisturbed: the index is made whole, and the points are what they should be. */
static void last_life(struct store_sim *s)
{
	uint64_t nr_runs, nr_waiting;

	if (!life_begin(s))
		return;
	for (int i = 0; i < 3; i++)
		do_append(s);
	timeline_flush(s->tl);
	sim_env_complete_all(s->sim);
	watch_nonces(s);
	if (state_of(s).durable_ordinal != s->sent)
		violation(s, "undisturbed, %d are durable of %d", (int)state_of(s).durable_ordinal,
			  (int)s->sent);
	index_all(s);
	timeline_index_state(s->tl, &nr_runs, &nr_waiting);
	if (nr_waiting || s->tl->nr_bad_runs)
		violation(s, "%d segments have no run", (int)nr_waiting);
	check_index(s, true);
	check_some(s, s->tl, 2);
	do_look(s);
	check_dropped(s);
	if (s->h.nr_batches)
		check_point(s, s->tl, s->h.nr_batches - 1);
	if (s->pin)
		check_point(s, s->tl, s->pinned);
	check_all(s);
	look_at_damage(s);
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
