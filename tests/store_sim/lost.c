// SPDX-License-Identifier: GPL-2.0-only
/* lost - a whole segment or pack goes: what is still offered as good is right. */
#include "world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/check_state.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/segment_index.h"
#include "../../userspace/store/timeline_internal.h"

#define POINTS 8	/* that are looked at */

/* Whoever opens it knows that a file is not there; that one does not check only who reads it. */
enum loss { LOSS_REMOVED, LOSS_EMPTIED, LOSS_HEADER, LOSS_COMMIT, NR_LOSSES };

static void file_empty(struct store_sim *s, const char *path)
{
	struct env_file *file;

	if (s->env->ops->open(s->env, path, ENV_WRITE, &file))
		return;
	s->env->ops->truncate(s->env, file, 0);
	s->env->ops->close(s->env, file);
}

/* One of the last things in a sealed segment; in any file something. */
static void commit_spoil(struct store_sim *s, const char *path, uint64_t bytes)
{
	const uint8_t *content = sim_env_content(s->sim, path, &bytes);
	uint64_t at = bytes / 8 * 8;

	while (at > 8 && memcmp(content + at - 8, "BSC1", 4) != 0)
		at -= 8;
	sim_env_flip(s->sim, path, at > 8 ? at - 8 + below(s, 120) : below(s, bytes), below(s, 8));
}

static void file_lose(struct store_sim *s, const char *path, enum loss loss)
{
	uint64_t bytes;

	if (!sim_env_content(s->sim, path, &bytes) || !bytes)
		return;
	if (loss == LOSS_REMOVED)
		s->env->ops->unlink(s->env, path);
	else if (loss == LOSS_EMPTIED)
		file_empty(s, path);
	else if (loss == LOSS_HEADER)
		sim_env_flip(s->sim, path, below(s, 80), below(s, 8));
	else
		commit_spoil(s, path, bytes);
}

static void segment_lose(struct store_sim *s, enum loss loss)
{
	const uint64_t number = 1 + below(s, segment_writer_finished(&s->tl->writer) + 1);
	const struct manifest_pack *pack = manifest_pack(&s->tl->manifest, number);
	char path[64];

	if (pack)
		pack_path(path, sizeof(path), DIR, pack->number, 0);
	else
		segment_path(path, sizeof(path), DIR, number);
	file_lose(s, path, loss);
}

/* What else may be gone: then less is known. */
static void index_lose(struct store_sim *s)
{
	const struct manifest *m = &s->tl->manifest;
	char path[64];

	for (size_t i = 0; i < m->nr_runs && below(s, 2); i++) {
		run_path(path, sizeof(path), DIR, m->runs[i].number, 0);
		s->env->ops->unlink(s->env, path);
	}
	if (m->points.number && !manifest_points_alone(m) && below(s, 2)) {
		points_path(path, sizeof(path), DIR, m->points.number, 0);
		s->env->ops->unlink(s->env, path);
	}
}

/* As who lists points has it. */
static bool is_marked(struct timeline *reader, const struct check_state *state, uint64_t cut)
{
	const struct timeline_hole *holes;
	size_t nr = timeline_holes(reader, &holes);

	for (size_t i = 0; i < nr; i++)
		if (holes[i].from_seq <= cut && !check_state_has_seen(state, &holes[i]))
			return true;
	return check_state_damage(state, cut);
}

static void point_look(struct store_sim *s, struct timeline *reader,
		       const struct timeline_commit *c, bool marked)
{
	char why[TIMELINE_TEXT_BYTES];
	struct view *v;

	s->counts.points++;
	if (!marked) {
		s->counts.unhurt++;
		if (!history_point(&s->h, reader, c->ordinal - 1))
			violation(s, "with a file lost, and offered as good: %s", s->h.why);
		return;
	}
	if (view_open(reader, c->cut_seq, &v, why))
		return;
	if (!history_sample(&s->h, v, c->ordinal - 1, 40, -EBADMSG))
		violation(s, "with a file lost: %s", s->h.why);
	view_close(v);
}

static void points_look(struct store_sim *s, struct timeline *reader,
			const struct check_state *state)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(reader, &c);

	for (int i = 0; i < POINTS && nr && !s->wrong[0]; i++) {
		size_t index = below(s, nr);

		if (c[index].listed)
			point_look(s, reader, &c[index], is_marked(reader, state, c[index].cut_seq));
	}
}

void check_lost(struct store_sim *s)
{
	const enum loss loss = below(s, NR_LOSSES);
	struct check check = { .first_segment = 0 };
	struct check_state state;
	char why[TIMELINE_TEXT_BYTES];
	struct timeline *reader;

	index_lose(s);
	for (uint64_t i = below(s, 3); i < 3; i++)
		segment_lose(s, loss);
	if (reader_open(s, &reader, why)) {
		violation(s, "with a file lost it does not open: %s", why);
		return;
	}
	memset(&state, 0, sizeof(state));
	if (loss == LOSS_REMOVED)
		points_look(s, reader, &state);
	if (check_run(reader, &check, why))
		violation(s, "a check of what is left fails: %s", why);
	else if (check_state_begin(&state, reader) || check_state_add(&state, &check))
		abort();
	else
		points_look(s, reader, &state);
	check_state_fini(&state);
	free(check.damage);
	timeline_close(reader);
}
