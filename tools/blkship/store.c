// SPDX-License-Identifier: GPL-2.0-only
/*
 * store check and store scrub: read what a store holds, and mark points that need what
 * is damaged. Both may run beside the target's daemon, on a copied store without one.
 */
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/export/main_line.h"
#include "../../userspace/lib/home.h"
#include "../../userspace/store/check_state.h"
#include "../../userspace/store/index.h"
#include "cli.h"
#include "group_names.h"
#include "point.h"
#include "progress.h"

#define RATE_DEFAULT_MIB	32
#define SAVE_SECONDS		5.0

struct scrub {
	const struct command *cmd;
	const char *store;
	struct key_source key_source;
	struct keyring *keys;
	bool json;
	bool rebuild;		/* the index, first */
	bool unpromoted;	/* and no branch had become the main line */
	bool resume;		/* and end when told, keeping the place */
	bool restart;		/* from the start all the same */
	uint64_t rate_bytes;	/* a second; 0: no limit */
	uint64_t for_s;		/* 0: until all is read */
	struct progress clock;	/* of the whole command; shown per group */
	json_t *groups;
	int failed;		/* exit code, when something is damaged or was not read */
	bool ended;		/* by a signal, or its time was up */
	struct group_names names;
	struct turn {
		const char *name;
		bool under_way;
		uint64_t finished_ns;
	} *turns;		/* as many as names */
	int nr_named;		/* by the user; 0: all */

	/* the group in hand */
	const char *group;
	struct point_list list;
	struct check check;
	struct progress progress;
	double saved_s;
	bool unsaved_told;
	struct timeline_remade remade; /* the manifest was lost */
	bool points_rebuilt;	/* the points file was lost */
	uint64_t nr_points_back; /* that had been dropped */
};

static volatile sig_atomic_t told_to_end;

static void on_signal(int signo)
{
	told_to_end = 1;
}

/* -- the index -- */

static int end_if_told(void *arg, uint64_t bytes)
{
	return told_to_end ? -EINTR : 0;
}

static int make_runs(struct env *env, struct timeline *tl)
{
	const struct run_pace pace = { .fn = end_if_told };
	struct index_job *job;
	int ret = 0;

	timeline_index_forget(tl);
	while (!ret && (job = timeline_index_plan(tl))) {
		index_job_run(job, env, &pace);
		ret = timeline_index_take(tl, job);
	}
	return ret;
}

/* As the one writer there can be: all runs anew, from the segments. */
static int index_rebuild(struct scrub *s, const char *group)
{
	char dir[GROUP_DIR_BYTES], why[TIMELINE_TEXT_BYTES] = "", reason[HOME_TEXT_BYTES];
	struct timeline *tl = NULL;
	struct home *home;
	int ret = home_open(s->store, NULL, &home, reason);

	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "%s", reason);
	ret = group_dir(home, group, dir);
	if (ret == 0)
		ret = timeline_open(home_env(home), dir,
				    TIMELINE_REBUILD | (s->unpromoted ? TIMELINE_UNPROMOTED : 0),
				    NULL, &tl, why);
	if (ret == 0) {
		s->points_rebuilt = timeline_rebuilt(tl, &s->nr_points_back);
		s->remade = *timeline_remade(tl);
	}
	if (ret == 0)
		ret = make_runs(home_env(home), tl);
	if (tl)
		timeline_close(tl);
	home_close(home);
	if (ret == -EBUSY)
		return cli_fail(CLI_REFUSED, "group %s: blkship-targetd, or who serves the branch, has it open; nothing was changed; stop it to rebuild the index",
				group);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "group %s: its index was not rebuilt: %s; no data were changed",
				group, *why ? why : strerror(-ret));
	return CLI_DONE;
}

/* -- reading one group -- */

static void state_save(struct scrub *s)
{
	int ret = check_state_save(s->list.tl, &s->list.checks);

	if (ret < 0 && !s->unsaved_told)
		fprintf(stderr, "blkship: group %s: check.json in its directory cannot be written: %s; the result is only shown here, points are not marked\n",
			s->group, strerror(-ret));
	s->unsaved_told |= ret < 0;
}

/*
 * Who is killed does not begin anew. Which points need what is damaged is known at the end only: up to
 * there the place stays before it, so that it is found again.
 */
static void save_place(struct scrub *s, uint64_t segment)
{
	struct check_state *state = &s->list.checks;
	double now_s = progress_seconds(&s->clock);

	if (!s->resume || s->check.nr_damage || s->check.nr_unread || now_s - s->saved_s < SAVE_SECONDS ||
	    (segment == state->next_segment && s->check.packs_read == state->packs_read))
		return;
	s->saved_s = now_s;
	state->next_segment = segment;
	state->packs_read = s->check.packs_read;
	state_save(s);
}

static int on_progress(void *arg, uint64_t segment, uint64_t bytes)
{
	struct scrub *s = arg;
	double ahead_s;

	progress_add(&s->progress, bytes);
	save_place(s, segment);
	if (s->rate_bytes) {
		ahead_s = s->progress.done_bytes / (double)s->rate_bytes -
			  progress_seconds(&s->progress);
		if (ahead_s > 0) {
			struct timespec ts = { .tv_sec = (time_t)ahead_s };

			ts.tv_nsec = (ahead_s - ts.tv_sec) * 1e9;
			nanosleep(&ts, NULL);	/* a signal ends it early */
		}
	}
	s->ended = told_to_end || (s->for_s && progress_seconds(&s->clock) >= s->for_s);
	return s->ended ? -EINTR : 0;
}

/*
 * Not all of it could be decrypted: that was no pass. What was found is kept beside what
 * passes have found; what was not found says little.
 */
static int keep_found(struct scrub *s)
{
	struct check_state *state = &s->list.checks;
	struct check new = { .nr_damage = 0 };
	int ret;

	check_state_fini(state);
	ret = check_state_load(s->list.tl, state);
	if (ret && ret != -EBADMSG)
		return ret;
	new.next_segment = state->next_segment;
	new.packs_read = state->packs_read;
	new.damage = s->check.damage;
	for (size_t i = 0; i < s->check.nr_damage; i++) {
		bool known = false;

		for (size_t j = 0; j < state->nr_found; j++)
			known |= check_damage_is_same(&state->found[j].damage,
						      &s->check.damage[i]);
		if (!known)
			new.damage[new.nr_damage++] = s->check.damage[i];
	}
	return check_state_add(state, &new);
}

static int group_read(struct scrub *s, char *why)
{
	struct check_state *state = &s->list.checks;
	struct timespec now;
	uint64_t bytes;
	int ret = 0, added;

	if (!s->resume || s->restart || !check_state_is_under_way(state, s->list.tl))
		ret = check_state_begin(state, s->list.tl);
	else if (!s->json)
		printf("%s: going on at segment %016llx; --restart begins anew\n", s->group,
		       (unsigned long long)state->next_segment);
	if (!ret && s->restart)
		state_save(s);	/* or the old place would come back if it is killed at once */
	fflush(stdout);
	s->check = (struct check){ .first_segment = state->next_segment,
				   .packs_read = state->packs_read,
				   .progress = on_progress, .arg = s };
	if (!ret)
		ret = check_bytes(s->list.tl, &s->check, &bytes);
	if (ret) {
		snprintf(why, TIMELINE_TEXT_BYTES, "%s", strerror(-ret));
		return ret;
	}
	progress_begin(&s->progress, bytes);
	ret = check_run(s->list.tl, &s->check, why);
	progress_end(&s->progress);
	added = s->check.nr_unread ? keep_found(s) : check_state_add(state, &s->check);
	if (added) {
		snprintf(why, TIMELINE_TEXT_BYTES, "%s", strerror(-added));
		return added;
	}
	if (!ret && !s->check.nr_unread) {
		clock_gettime(CLOCK_REALTIME, &now);
		check_state_end(state, now.tv_sec * (uint64_t)WHEN_NS + now.tv_nsec);
	}
	return ret == -EINTR && s->ended ? 0 : ret;
}

/* -- saying what was found -- */

/* Listed points that need it. */
static size_t points_hit(const struct scrub *s, const struct check_damage *d,
			 const struct point **first, const struct point **last)
{
	size_t nr = 0;

	for (size_t i = 0; i < s->list.nr; i++) {
		const struct point *p = &s->list.points[i];

		if (p->seq < d->from_seq || (d->to_seq && p->seq >= d->to_seq))
			continue;
		if (!nr++)
			*first = p;
		*last = p;
	}
	return nr;
}

static void print_damage(const struct scrub *s, const struct check_damage *d)
{
	const struct point *first = NULL, *last = NULL;
	size_t nr = points_hit(s, d, &first, &last);
	char what[CHECK_TEXT_BYTES], size[16], from[64], to[64];

	cli_bytes(d->lost_bytes, size, sizeof(size));
	check_damage_text(d, what, sizeof(what));
	printf("%s: %s: %s of data lost; ", s->group, what, size);
	if (!nr) {
		printf("no point needs it\n");
		return;
	}
	when_local(first->time_ns, from, sizeof(from));
	when_local(last->time_ns, to, sizeof(to));
	printf("%zu point%s, %s to %s\n", nr, nr == 1 ? " needs it" : "s need it", from, to);
}

static json_t *damage_json(const struct scrub *s, const struct check_damage *d)
{
	const struct point *first = NULL, *last = NULL;
	size_t nr = points_hit(s, d, &first, &last);

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "segment", (json_int_t)d->segment,
			 "pack", (json_int_t)d->pack, "offset_bytes", (json_int_t)d->offset_bytes, "lost_bytes",
			 (json_int_t)d->lost_bytes, "points", (json_int_t)nr, "first_time",
			 cli_json_time(nr ? first->time_ns : 0), "last_time",
			 cli_json_time(nr ? last->time_ns : 0));
}

/* What a manifest that was made again does not know any more. */
static json_t *lost_json(const struct timeline_remade *m)
{
	json_t *lost = json_array();

	if (m->pins_lost)
		json_array_append_new(lost, json_string("holds"));
	if (m->policies_lost)
		json_array_append_new(lost, json_string("policies"));
	if (m->lines_lost)
		json_array_append_new(lost, json_string("promotions"));
	if (m->grant_lost)
		json_array_append_new(lost, json_string("grant"));
	if (m->points_older)
		json_array_append_new(lost, json_string("points_file"));
	return lost;
}

static void report_remade(const struct scrub *s)
{
	const struct timeline_remade *m = &s->remade;
	const char *g = s->group;

	if (!m->manifest)
		return;
	if (!m->from_segments) {
		printf("%s: its manifest was damaged and is as it was: %u bit%s turned back, nothing is lost; the damaged one is manifest.damaged\n",
		       g, m->nr_bits, m->nr_bits == 1 ? " was" : "s were");
		return;
	}
	printf("%s: its manifest was lost and is made again, of what its segments, packs and points file tell; the old one, if there was any, is manifest.damaged\n",
	       g);
	if (m->points_made)
		printf("%s: its points file was lost as well and is made again; points that had been dropped are back where their data are whole; all count as new\n",
		       g);
	if (m->points_older)
		printf("%s: which of several points files counted is not known any more: the oldest does now, so points that had been dropped may be back, whole; the policy drops them again\n",
		       g);
	if (m->pins_lost)
		printf("%s: holds may be lost: make them again with `blkship hold` before blkship-targetd is started, as its policy drops what only they kept\n",
		       g);
	if (m->policies_lost)
		printf("%s: which policies were in force is not known any more, nor their immutable windows; blkship-targetd sets that of its configuration when it has the group open\n",
		       g);
	if (m->lines_lost)
		printf("%s: whether a branch had become the main line, or another one since, is not known any more; `blkship branch list %s` says which is it now; promote the right one again before blkship-targetd is started\n",
		       g, g);
	if (m->grant_lost)
		printf("%s: to whom it belonged last is not known any more: its source reads all volumes back when it comes\n",
		       g);
}

static void report_json(struct scrub *s)
{
	const struct check_state *state = &s->list.checks;
	json_t *damage = json_array();

	for (size_t i = 0; i < state->nr_found; i++)
		json_array_append_new(damage, damage_json(s, &state->found[i].damage));
	json_array_append_new(s->groups, json_pack("{s:s, s:b, s:I, s:o, s:b, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:I, s:I, s:s?, s:o}",
		"group", s->group, "manifest_rebuilt", s->remade.manifest, "manifest_bits_turned",
		(json_int_t)s->remade.nr_bits, "manifest_lost", lost_json(&s->remade), "complete", !state->next_segment && !s->check.nr_unread, "next_segment",
		(json_int_t)state->next_segment, "read_bytes", (json_int_t)s->check.read_bytes,
		"units", (json_int_t)s->check.nr_units, "footers_damaged",
		(json_int_t)s->check.nr_footers_damaged, "runs_damaged",
		(json_int_t)s->check.nr_runs_damaged, "points_file_damaged",
		s->check.points_damaged, "points_file_rebuilt", s->points_rebuilt, "points_back",
		(json_int_t)s->nr_points_back, "units_unread",
		(json_int_t)s->check.nr_unread, "history", timeline_damage(s->list.tl),
		"damage", damage));
}

static void report(struct scrub *s)
{
	const struct check_state *state = &s->list.checks;
	const char *history = timeline_damage(s->list.tl);
	double seconds = progress_seconds(&s->progress);
	char size[16];

	report_remade(s);
	if (s->points_rebuilt)
		printf("%s: its points file was lost and is made again; %llu points that had been dropped are back, as their data are whole; all count as new, so the policy keeps them for longer\n",
		       s->group, (unsigned long long)s->nr_points_back);
	if (history)
		printf("%s: %s: %s\n", s->group, timeline_ends_early(s->list.tl) ?
		       "its history ends early" : "a part of its history is lost", history);
	for (size_t i = 0; i < state->nr_found; i++)
		print_damage(s, &state->found[i].damage);
	if (s->check.nr_footers_damaged)
		printf("%s: %llu damaged footers: nothing is lost, their segments are read from the start\n",
		       s->group, (unsigned long long)s->check.nr_footers_damaged);
	if (s->check.nr_runs_damaged)
		printf("%s: %llu damaged runs of the index: nothing is lost, points open more slowly; --rebuild makes them anew when the target's daemon is stopped\n",
		       s->group, (unsigned long long)s->check.nr_runs_damaged);
	if (s->check.points_damaged)
		printf("%s: the points file is damaged: nothing is lost as long as one of its two copies is whole; the target's daemon replaces it when more has come in\n",
		       s->group);
	cli_bytes(s->check.read_bytes, size, sizeof(size));
	printf("%s: %s read in %.1f s, %llu units", s->group, size, seconds,
	       (unsigned long long)s->check.nr_units);
	if (s->check.nr_unread)
		printf("; the content of %llu is encrypted and was not verified, only that it lies there as it was written; no point is marked as checked; --key-file names the keys\n",
		       (unsigned long long)s->check.nr_unread);
	else if (state->next_segment)
		printf("; goes on at segment %016llx next time\n",
		       (unsigned long long)state->next_segment);
	else
		printf("%s\n", state->nr_found || history ? "" : ", every block checked");
}

/* A branch that was promoted is part of the history: as readers take it, or refuse it. */
static void lines_look(struct scrub *s)
{
	const struct timeline_line *lines;
	size_t nr = timeline_lines(s->list.tl, &lines);
	char why[POINT_TEXT_BYTES];

	for (size_t i = 0; i < nr; i++)
		if (main_line_check(s->store, s->group, s->list.tl, &lines[i], why) < 0)
			s->failed = cli_fail(CLI_FAILED, "%s", why);
}

static void group_run(struct scrub *s, const char *group)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	int ret;

	s->group = group;
	s->unsaved_told = s->points_rebuilt = false;
	s->nr_points_back = 0;
	s->remade = (struct timeline_remade){ .manifest = false };
	memset(&s->check, 0, sizeof(s->check));
	ret = s->rebuild ? index_rebuild(s, group) : CLI_DONE;
	if (ret == CLI_DONE)
		ret = point_open(s->store, group, &s->list);
	/* Hours may pass until it is a branch's turn. */
	if (ret == CLI_NOT_FOUND && !s->nr_named && strchr(group, '/'))
		return;
	if (ret != CLI_DONE) {		/* and has complained */
		s->failed = s->failed == CLI_DONE ? ret : CLI_FAILED;
		return;
	}
	timeline_set_keys(s->list.tl, s->keys, why);
	ret = group_read(s, why);
	if (ret < 0) {
		cli_fail(CLI_FAILED, "group %s: %s; it was not read to its end, nothing was marked",
			 group, why);
		s->failed = CLI_FAILED;
	} else {
		state_save(s);
		lines_look(s);
		if (s->list.checks.nr_found || timeline_damage(s->list.tl))
			s->failed = CLI_FAILED;
		if (s->json)
			report_json(s);
		else
			report(s);
	}
	free(s->check.damage);
	point_list_close(&s->list);
}

/* -- the commands -- */

/* First what was interrupted, then what was read longest ago: with --for all have their turn. */
static int turn_compare(const void *a, const void *b)
{
	const struct turn *x = a, *y = b;

	if (x->under_way != y->under_way)
		return x->under_way ? -1 : 1;
	if (x->finished_ns != y->finished_ns)
		return x->finished_ns < y->finished_ns ? -1 : 1;
	return strcmp(x->name, y->name);
}

/* What is to be read, and in which order. */
static int names_list(struct scrub *s, int nr_named, char **named)
{
	char why[HOME_TEXT_BYTES], dir[GROUP_DIR_BYTES];
	struct home *home;
	int ret = home_open(s->store, NULL, &home, why);

	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "%s", why);
	ret = group_names_get(home, named, nr_named, &s->names);
	s->turns = calloc(s->names.nr + 1, sizeof(*s->turns));
	if (!s->turns && !ret)
		ret = -ENOMEM;
	for (size_t i = 0; i < s->names.nr && s->turns; i++) {
		struct turn *t = &s->turns[i];

		t->name = s->names.items[i];
		if (s->resume && group_dir(home, t->name, dir) == 0)
			check_state_glance(home_env(home), dir, &t->under_way, &t->finished_ns);
	}
	home_close(home);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "store %s: %s; name the target's store with --store",
				s->store, strerror(-ret));
	if (s->names.incomplete)
		s->failed = CLI_FAILED;
	s->nr_named = nr_named;
	if (!nr_named)
		qsort(s->turns, s->names.nr, sizeof(*s->turns), turn_compare);
	return CLI_DONE;
}

static void listen_to_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int scrub_run(struct scrub *s, int argc, char **argv)
{
	char note[KEY_SOURCE_TEXT_BYTES], why[KEY_SOURCE_TEXT_BYTES];
	int ret;

	if (key_source_for_reader(&s->key_source, s->store, &s->keys, note, why) < 0)
		return cli_fail(CLI_FAILED, "%s; nothing was read", why);
	if (*note)
		fprintf(stderr, "blkship: %s; what is encrypted cannot be verified\n", note);
	listen_to_signals();
	progress_begin(&s->clock, 0);
	s->groups = s->json ? json_array() : NULL;
	ret = names_list(s, argc - optind, argv + optind);
	for (size_t i = 0; i < s->names.nr && ret == CLI_DONE && !s->ended; i++)
		group_run(s, s->turns[i].name);
	if (ret == CLI_DONE && s->json)
		cli_print_json(json_pack("{s:o}", "groups", s->groups));
	free(s->turns);
	group_names_free(&s->names);
	keyring_free(s->keys);
	return ret == CLI_DONE ? s->failed : ret;
}

int cmd_store_check(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "rebuild", no_argument, NULL, 'b' },
		{ "unpromoted", no_argument, NULL, 'u' },
		CLI_KEY_OPTIONS,
		CLI_COMMON_OPTIONS
	};
	struct scrub s = { .cmd = cmd, .store = CLI_STORE_DEFAULT };
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &s.json)) != -1) {
		if (c == 'b')
			s.rebuild = true;
		else if (c == 'u')
			s.unpromoted = true;
		else if (!cli_key_option(c, optarg, &s.key_source))
			s.store = optarg;
	}
	cli_check_args(cmd, argc, 0, INT_MAX);
	if (s.unpromoted && !s.rebuild)
		return cli_usage(cmd, "--unpromoted says something about --rebuild only");
	return scrub_run(&s, argc, argv);
}

int cmd_store_scrub(const struct command *cmd, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "store", required_argument, NULL, 's' },
		{ "rate-mib", required_argument, NULL, 'r' },
		{ "for", required_argument, NULL, 'f' },
		{ "restart", no_argument, NULL, 'a' },
		CLI_KEY_OPTIONS,
		CLI_COMMON_OPTIONS
	};
	struct scrub s = { .cmd = cmd, .store = CLI_STORE_DEFAULT, .resume = true };
	unsigned long rate_mib = RATE_DEFAULT_MIB;
	char *end;
	int c;

	while ((c = cli_getopt(cmd, argc, argv, longs, &s.json)) != -1) {
		if (c == 's') {
			s.store = optarg;
		} else if (cli_key_option(c, optarg, &s.key_source)) {
			continue;
		} else if (c == 'a') {
			s.restart = true;
		} else if (c == 'f') {
			if (when_duration(optarg, &s.for_s) || !s.for_s)
				return cli_usage(cmd, "--for: '%s' is not a time like 30m", optarg);
		} else {
			rate_mib = strtoul(optarg, &end, 10);
			if (*end || end == optarg || rate_mib < 1 || rate_mib > 1 << 20)
				return cli_usage(cmd, "--rate-mib: '%s' is not 1 to 1048576", optarg);
		}
	}
	cli_check_args(cmd, argc, 0, INT_MAX);
	s.rate_bytes = (uint64_t)rate_mib << 20;
	return scrub_run(&s, argc, argv);
}
