// SPDX-License-Identifier: GPL-2.0-only
#include "point_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lib/name.h"
#include "../lib/seq.h"
#include "../store/branches.h"

#define PATH_BYTES 1024

static bool extends(const struct point *last, const struct timeline_commit *c)
{
	return (c->flags & COMMIT_HEARTBEAT) && last->seq == c->cut_seq &&
	       last->degraded == c->degraded;
}

/* What may be needed of it nobody has found out: by all points from where it can be. */
static int holes_collect(struct point_list *list)
{
	const struct timeline_hole *holes;
	size_t nr = timeline_holes(list->tl, &holes);

	list->holes = calloc(nr + 1, sizeof(*list->holes));
	if (!list->holes)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++)
		if (!check_state_has_seen(&list->checks, &holes[i]))
			list->holes[list->nr_holes++] = (struct check_damage){
				.segment = holes[i].first_segment, .pack = holes[i].pack,
				.from_seq = holes[i].from_seq };
	return 0;
}

static const struct check_damage *damage_of(const struct point_list *list, uint64_t cut_seq)
{
	for (size_t i = 0; i < list->nr_holes; i++)
		if (list->holes[i].from_seq <= cut_seq)
			return &list->holes[i];
	return check_state_damage(&list->checks, cut_seq);
}

/* Bytes of a batch that is no point itself belong to the next one that is. */
static int points_collect(struct point_list *list)
{
	const struct timeline_commit *commits;
	size_t nr = timeline_commits(list->tl, &commits);
	uint64_t written_bytes = 0, nr_records = 0;

	list->points = calloc(nr ? nr : 1, sizeof(*list->points));
	if (!list->points)
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		const struct timeline_commit *c = &commits[i];
		uint64_t until_ns = c->current_to_ns > c->time_ns ? c->current_to_ns : c->time_ns;

		written_bytes += c->written_bytes;
		nr_records += c->nr_records;
		if (!c->listed)
			continue;
		if (list->nr && extends(&list->points[list->nr - 1], c)) {
			list->points[list->nr - 1].current_to_ns = until_ns;
			continue;
		}
		list->points[list->nr++] = (struct point){
			.seq = c->cut_seq, .time_ns = c->time_ns, .current_to_ns = until_ns,
			.received_ns = c->target_time_ns, .written_bytes = written_bytes,
			.nr_records = nr_records, .degraded = c->degraded,
			.checked = check_state_has_checked(&list->checks, c->cut_seq),
			.damage = damage_of(list, c->cut_seq),
		};
		written_bytes = nr_records = 0;
	}
	return 0;
}

static void see_segment(void *arg, const char *name)
{
	size_t length = strlen(name);

	if (length > 4 && strcmp(name + length - 4, ".seg") == 0)
		*(bool *)arg = true;
}

static bool has_segments(struct env *env, const char *dir)
{
	bool found = false;

	env->ops->list(env, dir, see_segment, &found);
	return found;
}

/* A directory with nothing in it is a group that is just being made. */
static int open_failed(const struct point_list *list, const char *store, const char *group,
		       const char *dir, int ret, const char *text, char *why)
{
	if (!home_is_remote(list->home) && access(store, F_OK) < 0) {
		ret = -errno;
		snprintf(why, POINT_TEXT_BYTES, "store %.500s: %s; name the target's store with --store (store= of nbdkit)",
			 store, strerror(-ret));
	} else if (ret == -ENOENT && !has_segments(list->env, dir)) {
		snprintf(why, POINT_TEXT_BYTES, "group %s: store %.400s has none of this name; look into %.400s",
			 group, store, home_groups(list->home));
	} else {
		if (ret == -ENOENT)
			ret = -EUCLEAN;
		snprintf(why, POINT_TEXT_BYTES, "group %s: %s; nothing was read; the other groups are not affected",
			 group, *text ? text : strerror(-ret));
	}
	return ret;
}

int point_group_path(char *path, size_t bytes, const char *group)
{
	const char *slash = strchr(group, '/');
	size_t length = slash ? (size_t)(slash - group) : strlen(group);
	char name[NAME_BYTES];

	if (length >= sizeof(name) || (slash && !name_valid(slash + 1)))
		return -ENOENT;
	memcpy(name, group, length);
	name[length] = 0;
	if (!name_valid(name))
		return -ENOENT;
	if (slash)
		return branch_path(path, bytes, name, slash + 1);
	snprintf(path, bytes, "%s", name);
	return 0;
}

int point_list_open(const char *store, const char *group, struct point_list *list, char *why)
{
	char below[POINT_PATH_BYTES], dir[PATH_BYTES];
	char reason[HOME_TEXT_BYTES], text[TIMELINE_TEXT_BYTES] = "";
	int ret;

	memset(list, 0, sizeof(*list));
	if (point_group_path(below, sizeof(below), group) < 0) {
		snprintf(why, POINT_TEXT_BYTES, "group '%.64s': not a name a group can have", group);
		return -ENOENT;
	}
	ret = home_open(store, NULL, &list->home, reason);
	if (ret < 0) {
		snprintf(why, POINT_TEXT_BYTES, "group %s: %s", group, reason);
		return ret;
	}
	list->env = home_env(list->home);
	snprintf(dir, sizeof(dir), "%.900s/%s", home_groups(list->home), below);
	ret = timeline_open(list->env, dir, TIMELINE_READ_ONLY, NULL, &list->tl, text);
	if (ret < 0) {
		ret = open_failed(list, store, group, dir, ret, text, why);
		home_close(list->home);
		list->home = NULL;
		list->env = NULL;
		return ret;
	}
	ret = check_state_load(list->tl, &list->checks);
	if (ret == -EBADMSG)
		snprintf(list->note, sizeof(list->note), "group %s: its check.json is not valid; it is not known what checks have found; `blkship store check %s` makes it anew",
			 group, group);
	else if (ret < 0)
		snprintf(list->note, sizeof(list->note), "group %s: its check.json cannot be read: %s; it is not known what checks have found",
			 group, strerror(-ret));
	ret = holes_collect(list);
	if (!ret)
		ret = points_collect(list);
	if (ret < 0) {
		point_list_close(list);
		snprintf(why, POINT_TEXT_BYTES, "group %s: out of memory for its points", group);
	}
	return ret;
}

void point_list_close(struct point_list *list)
{
	free(list->points);
	free(list->holes);
	check_state_fini(&list->checks);
	if (list->tl)
		timeline_close(list->tl);
	home_close(list->home);
	memset(list, 0, sizeof(*list));
}

int point_list_set_keys(struct point_list *list, const char *group, const struct keyring *keys,
			const char *note, bool force, char *why)
{
	char id[KEY_ID_TEXT_BYTES], text[TIMELINE_TEXT_BYTES];
	const uint8_t *missing;
	int ret = timeline_set_keys(list->tl, keys, text);

	missing = timeline_missing_key(list->tl);
	if (ret || !missing || force)
		return ret;
	keyring_id_text(missing, id);
	snprintf(why, POINT_TEXT_BYTES, "group %s: it is encrypted, and key %s is not %s%s%s; name its file with --key-file (key-file= of nbdkit); --force (force=true) reads what the keys that are there can read",
		 group, id, keys ? "among those given" : "there", *note ? ": " : "", note);
	return -ENOKEY;
}

const struct point *point_find(const struct point_list *list, const struct when *when)
{
	const struct point *found = NULL;

	for (size_t i = 0; i < list->nr; i++) {
		const struct point *p = &list->points[i];

		switch (when->kind) {
		case WHEN_LATEST:
			found = p;
			break;
		case WHEN_TIME:
			if (p->time_ns <= when->time_ns)
				found = p;
			break;
		case WHEN_SEQ:
			if (p->seq == when->seq)
				found = p;
			break;
		}
	}
	return found;
}

int point_name_parse(const char *text, uint64_t now_ns, struct point_name *name, char *why)
{
	const char *at = strchr(text, '@');
	char reason[WHEN_TEXT_BYTES];

	if (!at || at == text || at - text >= POINT_GROUP_BYTES) {
		snprintf(why, POINT_TEXT_BYTES, "'%.200s' is not GROUP@WHEN", text);
		return -EINVAL;
	}
	memcpy(name->group, text, at - text);
	name->group[at - text] = 0;
	name->when_text = at + 1;
	if (when_parse(name->when_text, now_ns, &name->when, reason) == 0)
		return 0;
	snprintf(why, POINT_TEXT_BYTES, "%s", reason);
	return -EINVAL;
}

static void say_damaged(const struct point_list *list, const char *group,
			const struct point *point, char *why)
{
	const struct point *good = NULL;
	char what[CHECK_TEXT_BYTES];
	int used;

	for (size_t i = 0; i < list->nr && list->points[i].seq < point->seq; i++)
		if (!list->points[i].damage)
			good = &list->points[i];
	check_damage_text(point->damage, what, sizeof(what));
	used = snprintf(why, POINT_TEXT_BYTES, "group %s: this point is damaged: %s; ", group, what);
	if (good)
		used += snprintf(why + used, POINT_TEXT_BYTES - used, "the last one before it without known damage is %s@seq:%u:%llu",
				 group, seq_incarnation(good->seq),
				 (unsigned long long)seq_number(good->seq));
	else
		used += snprintf(why + used, POINT_TEXT_BYTES - used, "no point before it is without known damage");
	snprintf(why + used, POINT_TEXT_BYTES - used, "; --force (force=true of nbdkit) tries all the same");
}

int point_choose(const struct point_list *list, const struct point_name *name, bool force,
		 const struct point **out, char *why)
{
	const struct point *found = point_find(list, &name->when);
	const char *damage = timeline_damage(list->tl);
	bool by_seq = name->when.kind == WHEN_SEQ;
	char oldest[64];

	if (!found && !list->nr) {
		snprintf(why, POINT_TEXT_BYTES, damage ? "group %s is damaged: %s; no recovery point is left" :
			 "group %s has no recovery points yet%s", name->group, damage ? damage : "");
		return damage ? -EUCLEAN : -ENOENT;
	}
	if (!found) {
		when_local(list->points[0].time_ns, oldest, sizeof(oldest));
		snprintf(why, POINT_TEXT_BYTES, "group %s has no point %s %.64s; the oldest is of %s",
			 name->group, by_seq ? "with" : "at or before", name->when_text, oldest);
		return -ENOENT;
	}
	if (timeline_ends_early(list->tl) && !force && !by_seq && found == &list->points[list->nr - 1]) {
		snprintf(why, POINT_TEXT_BYTES, "group %s is damaged: %s; points after %s@seq:%u:%llu are lost with it; name that one, or an older one, to take it",
			 name->group, damage, name->group, seq_incarnation(found->seq),
			 (unsigned long long)seq_number(found->seq));
		return -EKEYREJECTED;
	}
	if (found->damage && !force) {
		say_damaged(list, name->group, found, why);
		return -EKEYREJECTED;
	}
	*out = found;
	return 0;
}
