// SPDX-License-Identifier: GPL-2.0-only
/* branch promote: a branch becomes the main line of its group (docs/BRANCH.md). */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../../userspace/export/point_list.h"
#include "../../userspace/lib/when.h"
#include "../../userspace/store/branches.h"
#include "branch.h"
#include "daemon.h"

/* What a branch has. */
struct branch_has {
	size_t nr_points;
	uint64_t newest_ns;	/* of the last of them; 0: there is none */
};

static int look_at(const struct branch_place *place, const char *store, struct branch_has *has,
		   char *why)
{
	char name[POINT_GROUP_BYTES];
	struct point_list list;
	int ret;

	snprintf(name, sizeof(name), "%s/%s", place->group, place->name);
	ret = point_list_open(store, name, &list, why);
	if (ret < 0)
		return ret;
	has->nr_points = list.nr;
	has->newest_ns = list.nr ? list.points[list.nr - 1].time_ns : 0;
	point_list_close(&list);
	return 0;
}

static int promote_by_daemon(const struct branch_place *place, const char *store, bool force,
			     char *why)
{
	json_t *answer;
	int ret = daemon_ask(store, json_pack("{s:s, s:s, s:s, s:b}", "op", "promote", "group",
					      place->group, "branch", place->name, "force", force),
			     &answer, why);

	if (!ret && json_is_true(json_object_get(answer, "fed"))) {
		snprintf(why, TIMELINE_TEXT_BYTES, "its source is connected, and would not be protected any more; stop it first, or say --force");
		ret = -EPERM;
	}
	json_decref(answer);
	return ret;
}

static int promote_here(const struct branch_place *place, bool force, char *why)
{
	struct timeline *tl;
	int ret = timeline_open(home_env(place->home), place->dir, 0, NULL, &tl, why);

	/* Not the branch is: what serves that is not in the way. */
	if (ret == -EBUSY) {
		snprintf(why, TIMELINE_TEXT_BYTES, "another process has the group open for writing, and none that has it answers at the store's run/control.sock; end that, or try again");
		return -EAGAIN;
	}
	if (ret)
		return ret;
	ret = branch_promote(tl, place->name, force, why);
	timeline_close(tl);
	return ret;
}

/* What the manifest says now. */
static int promoted_print(const struct branch_place *place, const char *store, bool changed,
			  bool json)
{
	char why[POINT_TEXT_BYTES], when[64], newest[64];
	const struct timeline_line *line;
	struct branch_has has;
	struct timeline *tl;
	int ret = look_at(place, store, &has, why);

	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "group %s: branch %s is its main line, but cannot be read: %s",
				place->group, place->name, why);
	ret = timeline_open(home_env(place->home), place->dir, TIMELINE_READ_ONLY, NULL, &tl, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "group %s: branch %s is its main line, but the group cannot be read: %s",
				place->group, place->name, why);
	line = timeline_main_line(tl);
	if (!line || strcmp(line->name, place->name) != 0) {
		ret = cli_fail(CLI_FAILED, "group %s: branch %s was its main line and is not any more: another command has promoted another one",
			       place->group, place->name);
	} else if (json) {
		ret = cli_print_json(json_pack("{s:s, s:s, s:b, s:i, s:o, s:o, s:o, s:I, s:o}", "group",
			place->group, "branch", line->name, "changed", changed, "epoch",
			(int)line->epoch, "since", cli_json_time(line->made_ns), "point",
			cli_json_seq(line->cut_seq), "point_time", cli_json_time(line->time_ns),
			"points", (json_int_t)has.nr_points, "newest", cli_json_time(has.newest_ns)));
	} else {
		when_local(line->time_ns, when, sizeof(when));
		when_local(has.newest_ns, newest, sizeof(newest));
		printf("group %s: branch %s %s the main line, from the point of %s on (epoch %u)\n"
		       "it has %zu point%s%s%s\n"
		       "what the group had past that is kept as %s/~%u\n", place->group, line->name,
		       changed ? "is" : "already is", when, line->epoch,
		       has.nr_points, has.nr_points == 1 ? "" : "s",
		       has.nr_points ? ", the newest of " : "", has.nr_points ? newest : "",
		       place->group, line->epoch - 1);
	}
	timeline_close(tl);
	return ret;
}

static int promote_failed(const struct branch_place *place, const char *store, int ret,
			  const char *why)
{
	if (ret == -ETIMEDOUT)
		return cli_fail(CLI_FAILED, "group %s: the daemon was asked and gave no answer; it may still be under way: whether branch %s is the main line `blkship branch list %s --store %s` says",
				place->group, place->name, place->group, store);
	if (ret == -ENOTRECOVERABLE)
		return cli_fail(CLI_FAILED, "group %s: %s; check its disk", place->group, why);
	return cli_fail(ret == -EPERM || ret == -EBUSY || ret == -EAGAIN ? CLI_REFUSED :
			cli_exit_of(ret),
			"group %s: %s; the main line is what it was%s", place->group,
			*why ? why : strerror(-ret), ret == -EBUSY ?
			"; end what serves the branch first (nbdkit, or `blkship unmap`)" : "");
}

int cmd_branch_promote(const struct command *cmd, int argc, char **argv)
{
	char why[TIMELINE_TEXT_BYTES] = "";
	bool json = false, force = false;
	struct branch_place place;
	const char *store;
	int ret;

	store = branch_options(cmd, argc, argv, 1, &json, &force);
	ret = branch_place_open(cmd, store, argv[optind], &place);
	if (ret != CLI_DONE)
		return ret;
	ret = promote_by_daemon(&place, store, force, why);
	if (ret == -ENOTCONN || ret == -ENXIO)
		ret = promote_here(&place, force, why);
	if (ret == 0 || ret == -EALREADY)
		ret = promoted_print(&place, store, ret == 0, json);
	else
		ret = promote_failed(&place, store, ret, why);
	home_close(place.home);
	return ret;
}
