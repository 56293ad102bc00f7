// SPDX-License-Identifier: GPL-2.0-only
/* See check_state.h. */
#include "check_state.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "timeline_internal.h"

#define PATH_BYTES	4096
#define FILE_MAX_BYTES	(64u << 20)
#define STATE_VERSION	1

/* -- to JSON -- */

/* Numbers of 64 bits are strings: JSON's are not that long everywhere. */
static json_t *u64_json(uint64_t value)
{
	return json_sprintf("%" PRIu64, value);
}

static json_t *scope_json(const struct check_scope *scope)
{
	json_t *unlisted = json_array();

	for (size_t i = 0; i < scope->nr_unlisted; i++)
		json_array_append_new(unlisted, json_pack("[o, o]",
			u64_json(scope->unlisted[i].from_seq), u64_json(scope->unlisted[i].to_seq)));
	return json_pack("{s:o, s:o}", "newest_seq", u64_json(scope->newest_seq), "unlisted",
			 unlisted);
}

static json_t *found_json(const struct check_found *f)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "pass", u64_json(f->pass),
			 "segment", u64_json(f->damage.segment),
			 "last_segment", u64_json(f->damage.last_segment),
			 "pack", u64_json(f->damage.pack),
			 "offset_bytes", u64_json(f->damage.offset_bytes),
			 "lost_bytes", u64_json(f->damage.lost_bytes),
			 "from_seq", u64_json(f->damage.from_seq),
			 "to_seq", u64_json(f->damage.to_seq));
}

static void id_text(const struct timeline *tl, char text[33])
{
	const uint8_t *id = timeline_id(tl);

	for (int i = 0; i < 16; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

static char *state_text(const struct timeline *tl, const struct check_state *state)
{
	json_t *found = json_array(), *document;
	char id[33], *text;

	id_text(tl, id);
	for (size_t i = 0; i < state->nr_found; i++)
		json_array_append_new(found, found_json(&state->found[i]));
	document = json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", STATE_VERSION,
			     "timeline", id, "finished_ns", u64_json(state->finished_ns),
			     "checked", scope_json(&state->checked), "pass", u64_json(state->pass),
			     "next_segment", u64_json(state->next_segment), "packs_read",
			     u64_json(state->packs_read), "checking",
			     scope_json(&state->checking), "damage", found);
	text = json_dumps(document, JSON_INDENT(1));
	json_decref(document);
	return text;
}

/* -- from JSON, which may say anything -- */

static bool u64_of(const json_t *value, uint64_t *out)
{
	const char *text = json_string_value(value);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return !errno && !*end;
}

static bool u64_at(const json_t *object, const char *key, uint64_t *out)
{
	return u64_of(json_object_get(object, key), out);
}

static int scope_of(const json_t *object, struct check_scope *scope)
{
	const json_t *unlisted = json_object_get(object, "unlisted");
	size_t nr = json_array_size(unlisted);

	if (!u64_at(object, "newest_seq", &scope->newest_seq) || !json_is_array(unlisted))
		return -EBADMSG;
	if (!array_reserve(&scope->unlisted, &scope->max_unlisted, nr))
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		const json_t *pair = json_array_get(unlisted, i);
		struct check_range *range = &scope->unlisted[i];

		if (!u64_of(json_array_get(pair, 0), &range->from_seq) ||
		    !u64_of(json_array_get(pair, 1), &range->to_seq) ||
		    range->to_seq < range->from_seq ||
		    (i && range->from_seq <= range[-1].to_seq))
			return -EBADMSG;
		scope->nr_unlisted++;
	}
	return 0;
}

static int found_of(const json_t *array, struct check_state *state)
{
	size_t nr = json_array_size(array);

	if (!json_is_array(array))
		return -EBADMSG;
	if (!array_reserve(&state->found, &state->max_found, nr))
		return -ENOMEM;
	for (size_t i = 0; i < nr; i++) {
		const json_t *object = json_array_get(array, i);
		struct check_found *f = &state->found[i];

		if (!u64_at(object, "pass", &f->pass) ||
		    !u64_at(object, "segment", &f->damage.segment) ||
		    (json_object_get(object, "last_segment") &&
		     !u64_at(object, "last_segment", &f->damage.last_segment)) ||
		    (json_object_get(object, "pack") &&
		     !u64_at(object, "pack", &f->damage.pack)) ||
		    !u64_at(object, "offset_bytes", &f->damage.offset_bytes) ||
		    !u64_at(object, "lost_bytes", &f->damage.lost_bytes) ||
		    !u64_at(object, "from_seq", &f->damage.from_seq) ||
		    !u64_at(object, "to_seq", &f->damage.to_seq))
			return -EBADMSG;
		state->nr_found++;
	}
	return 0;
}

static int state_of(const struct timeline *tl, const json_t *document, struct check_state *state)
{
	const char *id = json_string_value(json_object_get(document, "timeline"));
	char want[33];
	int ret;

	id_text(tl, want);
	if (json_integer_value(json_object_get(document, "version")) != STATE_VERSION || !id ||
	    strcmp(id, want) != 0 || !u64_at(document, "finished_ns", &state->finished_ns) ||
	    !u64_at(document, "pass", &state->pass) ||
	    !u64_at(document, "next_segment", &state->next_segment) ||
	    (json_object_get(document, "packs_read") &&
	     !u64_at(document, "packs_read", &state->packs_read)))
		return -EBADMSG;
	ret = scope_of(json_object_get(document, "checked"), &state->checked);
	if (!ret)
		ret = scope_of(json_object_get(document, "checking"), &state->checking);
	if (!ret)
		ret = found_of(json_object_get(document, "damage"), state);
	return ret;
}

/* -- the file -- */

static int file_read(struct env *env, const char *dir, char **text, size_t *text_bytes)
{
	const struct env_ops *ops = env->ops;
	char path[PATH_BYTES];
	struct env_file *file;
	uint64_t bytes = 0;
	int64_t got = 0;
	int ret;

	*text = NULL;
	snprintf(path, sizeof(path), "%s/check.json", dir);
	ret = ops->open(env, path, ENV_READ, &file);
	if (ret)
		return ret;
	ret = ops->size(env, file, &bytes);
	if (!ret && bytes > FILE_MAX_BYTES)
		ret = -EBADMSG;
	*text = ret ? NULL : malloc(bytes + 1);
	if (!ret && !*text)
		ret = -ENOMEM;
	if (!ret)
		got = ops->read(env, file, *text, bytes, 0);
	ops->close(env, file);
	*text_bytes = got < 0 ? 0 : got;
	return ret ? ret : got < 0 ? got : 0;
}

/* 0 or -errno; -EBADMSG: it is no JSON. */
static int document_read(struct env *env, const char *dir, json_t **out)
{
	char *text;
	size_t bytes;
	int ret = file_read(env, dir, &text, &bytes);

	*out = ret ? NULL : json_loadb(text, bytes, JSON_REJECT_DUPLICATES, NULL);
	free(text);
	return ret ? ret : *out ? 0 : -EBADMSG;
}

void check_state_glance(struct env *env, const char *dir, bool *under_way, uint64_t *finished_ns)
{
	uint64_t next_segment = 0;
	json_t *document;

	*finished_ns = 0;
	document_read(env, dir, &document);
	u64_at(document, "next_segment", &next_segment);
	u64_at(document, "finished_ns", finished_ns);
	*under_way = next_segment;
	json_decref(document);
}

int check_state_load(struct timeline *tl, struct check_state *state)
{
	json_t *document;
	int ret;

	memset(state, 0, sizeof(*state));
	ret = document_read(tl->env, tl->dir, &document);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	ret = state_of(tl, document, state);
	json_decref(document);
	if (ret)
		check_state_fini(state);
	return ret;
}

static int file_write(struct env *env, const char *path, const char *text)
{
	struct env_file *file;
	int ret;

	env->ops->unlink(env, path);	/* what a crash left */
	ret = env->ops->open(env, path, ENV_WRITE | ENV_CREATE, &file);
	if (ret)
		return ret;
	ret = env->ops->write(env, file, text, strlen(text), 0);
	if (!ret)
		ret = env->ops->datasync(env, file);
	env->ops->close(env, file);
	return ret;
}

int check_state_save(struct timeline *tl, const struct check_state *state)
{
	char path[PATH_BYTES], fresh[PATH_BYTES];
	char *text = state_text(tl, state);
	int ret;

	if (!text)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/check.json", tl->dir);
	snprintf(fresh, sizeof(fresh), "%s/check.json.new", tl->dir);
	ret = file_write(tl->env, fresh, text);
	free(text);
	if (!ret)
		ret = tl->env->ops->rename(tl->env, fresh, path);
	if (!ret)
		ret = tl->env->ops->sync_dir(tl->env, tl->dir);
	else
		tl->env->ops->unlink(tl->env, fresh);
	return ret;
}

void check_state_fini(struct check_state *state)
{
	free(state->checked.unlisted);
	free(state->checking.unlisted);
	free(state->found);
	memset(state, 0, sizeof(*state));
}

/* -- a pass -- */

static int scope_set(struct check_scope *scope, struct timeline *tl)
{
	const struct timeline_commit *commits;
	size_t nr = timeline_commits(tl, &commits);
	bool open = false;	/* the last range goes on */

	scope->newest_seq = 0;
	scope->nr_unlisted = 0;
	for (size_t i = 0; i < nr; i++) {
		struct check_range *last;

		scope->newest_seq = commits[i].cut_seq;
		if (commits[i].listed) {
			open = false;
			continue;
		}
		if (!array_reserve(&scope->unlisted, &scope->max_unlisted, scope->nr_unlisted + 1))
			return -ENOMEM;
		last = scope->nr_unlisted ? &scope->unlisted[scope->nr_unlisted - 1] : NULL;
		/* Several commits may have one cut. */
		if (last && (open || last->to_seq == commits[i].cut_seq))
			last->to_seq = commits[i].cut_seq;
		else
			scope->unlisted[scope->nr_unlisted++] = (struct check_range){
				commits[i].cut_seq, commits[i].cut_seq };
		open = true;
	}
	return 0;
}

bool check_state_is_under_way(const struct check_state *state, const struct timeline *tl)
{
	return state->next_segment && state->next_segment <= tl->nr_segments + 1;
}

int check_state_begin(struct check_state *state, struct timeline *tl)
{
	state->pass++;
	state->next_segment = 1;
	state->packs_read = manifest_next_pack(&tl->manifest) - 1;
	return scope_set(&state->checking, tl);
}

/* A whole file may be needed by points here and there: then each stretch of them is one. */
bool check_damage_is_same(const struct check_damage *a, const struct check_damage *b)
{
	return a->segment == b->segment && a->pack == b->pack &&
	       a->offset_bytes == b->offset_bytes &&
	       (a->offset_bytes || a->from_seq == b->from_seq);
}

/* Found again: where a run ended in the middle of a file, or by the pass before. */
static struct check_found *found_at(struct check_state *state, const struct check_damage *d)
{
	for (size_t i = 0; i < state->nr_found; i++) {
		const struct check_damage *known = &state->found[i].damage;

		if (check_damage_is_same(known, d))
			return &state->found[i];
	}
	return &state->found[state->nr_found++];
}

int check_state_add(struct check_state *state, const struct check *check)
{
	if (!array_reserve(&state->found, &state->max_found, state->nr_found + check->nr_damage))
		return -ENOMEM;
	for (size_t i = 0; i < check->nr_damage; i++)
		*found_at(state, &check->damage[i]) = (struct check_found){
			.damage = check->damage[i], .pass = state->pass };
	state->next_segment = check->next_segment;
	state->packs_read = check->packs_read;
	return 0;
}

void check_state_end(struct check_state *state, uint64_t now_ns)
{
	struct check_scope old = state->checked;
	size_t kept = 0;

	for (size_t i = 0; i < state->nr_found; i++)
		if (state->found[i].pass == state->pass)
			state->found[kept++] = state->found[i];
	state->nr_found = kept;
	state->checked = state->checking;
	state->checking = old;
	state->checking.newest_seq = 0;
	state->checking.nr_unlisted = 0;
	state->next_segment = 0;
	state->finished_ns = now_ns;
}

void check_damage_text(const struct check_damage *d, char *text, size_t bytes)
{
	const char *kind = d->pack ? "pack" : "segment";
	unsigned long long number = d->pack ? d->pack : d->segment;

	if (d->offset_bytes)
		snprintf(text, bytes, "%s %016llx at byte %llu does not check", kind, number,
			 (unsigned long long)d->offset_bytes);
	else
		snprintf(text, bytes, "%s %016llx is missing, or not readable", kind, number);
}

/* -- points -- */

bool check_state_has_seen(const struct check_state *state, const struct timeline_hole *hole)
{
	for (size_t i = 0; i < state->nr_found && hole->known; i++) {
		const struct check_damage *d = &state->found[i].damage;

		if (!d->offset_bytes && d->pack == hole->pack &&
		    d->segment <= hole->first_segment && hole->last_segment <= d->last_segment)
			return true;
	}
	return false;
}

const struct check_damage *check_state_damage(const struct check_state *state, uint64_t cut_seq)
{
	for (size_t i = 0; i < state->nr_found; i++) {
		const struct check_damage *d = &state->found[i].damage;

		if (cut_seq >= d->from_seq && (!d->to_seq || cut_seq < d->to_seq))
			return d;
	}
	return NULL;
}

bool check_state_has_checked(const struct check_state *state, uint64_t cut_seq)
{
	const struct check_scope *scope = &state->checked;

	if (!state->finished_ns || cut_seq > scope->newest_seq)
		return false;
	for (size_t i = 0; i < scope->nr_unlisted; i++)
		if (cut_seq >= scope->unlisted[i].from_seq && cut_seq <= scope->unlisted[i].to_seq)
			return false;
	return !check_state_damage(state, cut_seq);
}
