// SPDX-License-Identifier: GPL-2.0-only
/* timeline - a group's history: opening, state, manifest, points. */
#include "timeline.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/seq.h"
#include "manifest_copy.h"
#include "manifest_rebuild.h"
#include "segment_scan.h"
#include "timeline_internal.h"

#define READER_TRIES 3

static int explain(char *why, int error, const char *what, const char *dir)
{
	if (why && !why[0])
		snprintf(why, TIMELINE_TEXT_BYTES, "%s %s: %s", what, dir, strerror(-error));
	return error;
}

/* -- opening -- */

static int lock_take(struct timeline *tl)
{
	const struct env_ops *ops = tl->env->ops;
	char *path;
	int ret;

	if (asprintf(&path, "%s/lock", tl->dir) < 0)
		return -ENOMEM;
	ret = ops->open(tl->env, path, ENV_WRITE, &tl->lock);
	if (ret == -ENOENT) {
		ret = ops->open(tl->env, path, ENV_WRITE | ENV_CREATE, &tl->lock);
		if (ret == -EEXIST)	/* another was faster */
			ret = ops->open(tl->env, path, ENV_WRITE, &tl->lock);
	}
	free(path);
	if (ret) {
		tl->lock = NULL;
		return ret;
	}
	return ops->lock(tl->env, tl->lock);
}

/* The directory, durable in its parent. */
static int directory_make(struct timeline *tl)
{
	const struct env_ops *ops = tl->env->ops;
	char *parent, *slash;
	int ret = ops->mkdir(tl->env, tl->dir);

	if (ret && ret != -EEXIST)
		return ret;
	parent = strdup(tl->dir);
	if (!parent)
		return -ENOMEM;
	slash = strrchr(parent, '/');
	if (slash)
		slash[slash == parent] = 0;
	ret = slash ? ops->sync_dir(tl->env, parent) : 0;
	free(parent);
	return ret;
}

static void see_segment(void *arg, const char *name)
{
	size_t length = strlen(name);

	if (length > 4 && !strcmp(name + length - 4, ".seg"))
		*(bool *)arg = true;
}

/* It is what all else hangs by: say what can be done. */
static int manifest_advise(int error, char *why)
{
	size_t used = strlen(why);

	if (error == -EBADMSG && used)
		snprintf(why + used, TIMELINE_TEXT_BYTES - used, "; put it back from a copy, or run `blkship store check --rebuild GROUP`");
	return error;
}

/* The reason why it could not be opened stays if nothing can be said about making it again. */
static int manifest_remake(struct timeline *tl, bool unpromoted, int error, char *why)
{
	int ret;

	manifest_close(&tl->manifest);
	ret = timeline_manifest_rebuild(tl, unpromoted, &tl->remade, why);
	if (ret)
		return ret == -ENODATA ? error : ret;
	why[0] = 0;
	return manifest_open(&tl->manifest, tl->env, tl->dir, true, why);
}

static int manifest_get(struct timeline *tl, const char *owner, unsigned int flags, char *why)
{
	bool create = flags & TIMELINE_CREATE && !tl->read_only, segments = false;
	uint8_t id[16];
	int ret;

	if (tl->rebuild && !create) {
		ret = timeline_manifest_mend(tl, &tl->remade, why);
		if (ret && ret != -ENODATA && ret != -EUCLEAN)
			return ret;
		why[0] = 0;
	}
	ret = manifest_open(&tl->manifest, tl->env, tl->dir, !tl->read_only, why);
	if (tl->rebuild && !create && (ret == -ENOENT || ret == -EBADMSG))
		return manifest_remake(tl, flags & TIMELINE_UNPROMOTED, ret, why);
	if (ret != -ENOENT || tl->read_only)
		return manifest_advise(ret, why);
	manifest_close(&tl->manifest);
	ret = tl->env->ops->list(tl->env, tl->dir, see_segment, &segments);
	if (ret)
		return ret;
	if (segments) {
		/* Made anew it would make them somebody else's, and void. */
		snprintf(why, TIMELINE_TEXT_BYTES, "%.140s has segments but no manifest; put it back from a copy, or run `blkship store check --rebuild GROUP`",
			 tl->dir);
		return -EUCLEAN;
	}
	if (!create)
		return -ENOENT;
	tl->env->ops->random(tl->env, id, sizeof(id));
	return manifest_create(&tl->manifest, tl->env, tl->dir, id, owner ? owner : "", why);
}

static void writer_progress(void *arg)
{
	struct timeline *tl = arg;

	if (tl->progress)
		tl->progress(tl->progress_arg);
}

static void writer_describe(void *arg, uint64_t number, uint8_t *room, size_t bytes)
{
	const struct timeline *tl = arg;

	manifest_copy_encode(&tl->manifest, number, room, bytes);
}

static int writer_prepare(struct timeline *tl)
{
	struct segment_writer *w = &tl->writer;

	w->env = tl->env;
	w->dir = tl->dir;
	memcpy(w->timeline, tl->manifest.identity.timeline, sizeof(w->timeline));
	w->epoch = tl->manifest.identity.epoch;
	w->seal_bytes = SEGMENT_SEAL_BYTES;
	w->buffer_bytes = SEGMENT_BUFFER_BYTES;
	w->durable = timeline_durable;
	w->progress = writer_progress;
	w->describe = writer_describe;
	w->arg = tl;
	tl->writer_ready = true;
	return segment_writer_init(w);
}

static int open_once(struct env *env, const char *dir, unsigned int flags, const char *owner,
		     struct timeline **out, char *why)
{
	bool create = flags & TIMELINE_CREATE && !(flags & TIMELINE_READ_ONLY);
	struct timeline *tl = calloc(1, sizeof(*tl));
	int ret = tl ? 0 : -ENOMEM;

	why[0] = 0;
	if (!ret) {
		tl->env = env;
		tl->read_only = flags & TIMELINE_READ_ONLY;
		tl->rebuild = flags & TIMELINE_REBUILD && !tl->read_only;
		tl->dir = strdup(dir);
		ret = tl->dir ? 0 : -ENOMEM;
	}
	if (!ret && create)
		ret = directory_make(tl);
	if (!ret && !tl->read_only)
		ret = lock_take(tl);
	if (!ret)
		ret = manifest_get(tl, owner, flags, why);
	if (!ret && !tl->read_only)
		ret = writer_prepare(tl);
	if (!ret)
		ret = timeline_recover(tl, why);
	if (ret) {
		timeline_close(tl);
		return explain(why, ret, "timeline", dir);
	}
	if (!tl->read_only) {
		/* The segment that is gone on with may be older than these. */
		tl->writer.described_anew = tl->manifest.nr_volumes > tl->points.nr_volumes;
		timeline_strays_remove(tl);
		timeline_runs_look(tl);
		/* With no room for it, a later opening or a reader makes it. */
		leases_make(env, dir);
	}
	timeline_received_reset(tl);
	*out = tl;
	return 0;
}

int timeline_open(struct env *env, const char *dir, unsigned int flags, const char *owner,
		  struct timeline **out, char *why)
{
	struct timeline *tl;
	int ret = open_once(env, dir, flags, owner, &tl, why);

	/* Beside a live writer a reader may look at a moment that never was, or for what has gone: again. */
	for (int i = 1; i < READER_TRIES && flags & TIMELINE_READ_ONLY &&
	     (ret == -ENOENT || (!ret && tl->damaged)); i++) {
		if (!ret)
			timeline_close(tl);
		ret = open_once(env, dir, flags, owner, &tl, why);
	}
	if (!ret)
		*out = tl;
	return ret;
}

void timeline_close(struct timeline *tl)
{
	if (!tl)
		return;
	if (tl->writer_ready)
		segment_writer_fini(&tl->writer);
	points_fini(&tl->points);
	manifest_close(&tl->manifest);
	if (tl->lock)
		tl->env->ops->close(tl->env, tl->lock);
	for (size_t i = 0; i < tl->nr_pending; i++)
		free(tl->pending[i].record);
	free(tl->pending);
	free(tl->bad_runs);
	free(tl->holes);
	free(tl->packing.asides.items);
	free(tl->unneeded.names);
	leases_fini(&tl->leases);
	free(tl->dir);
	free(tl);
}

void timeline_set_limits(struct timeline *tl, uint64_t seal_bytes, uint32_t buffer_bytes)
{
	assert(buffer_bytes % BLOCK_BYTES == 0);
	if (seal_bytes)
		tl->writer.seal_bytes = seal_bytes;
	if (buffer_bytes)
		tl->writer.buffer_bytes = buffer_bytes;
}

/* -- what it is, and where it stands -- */

const char *timeline_owner(const struct timeline *tl)
{
	return tl->manifest.identity.owner;
}

const uint8_t *timeline_id(const struct timeline *tl)
{
	return tl->manifest.identity.timeline;
}

bool timeline_parent(const struct timeline *tl, struct timeline_parent *parent)
{
	const struct manifest_parent *p = &tl->manifest.parent;

	if (!tl->manifest.has_parent)
		return false;
	memcpy(parent->timeline, p->timeline, sizeof(parent->timeline));
	parent->cut_seq = p->cut_seq;
	parent->time_ns = p->time_ns;
	return true;
}

size_t timeline_lines(const struct timeline *tl, const struct timeline_line **out)
{
	*out = tl->manifest.lines;
	return tl->manifest.nr_lines;
}

const struct timeline_line *timeline_main_line(const struct timeline *tl)
{
	const struct manifest *m = &tl->manifest;

	return m->nr_lines ? &m->lines[m->nr_lines - 1] : NULL;
}

bool timeline_rebuilt(const struct timeline *tl, uint64_t *nr_back)
{
	*nr_back = tl->nr_back;
	return tl->rebuilt;
}

const struct timeline_remade *timeline_remade(const struct timeline *tl)
{
	return &tl->remade;
}

const char *timeline_damage(const struct timeline *tl)
{
	return tl->damaged ? tl->damage : NULL;
}

bool timeline_ends_early(const struct timeline *tl)
{
	return tl->ends_early;
}

void timeline_state(const struct timeline *tl, struct timeline_state *state)
{
	const struct timeline_received *r = &tl->received;

	*state = (struct timeline_state){
		.cut_seq = r->cut_seq,
		.ordinal = r->ordinal,
		.time_ns = r->time_ns,
		.readback_no = r->readback_no,
		.hold_id = r->hold_id,
		.last_gap_seq = r->last_gap_seq,
		.repaired_t0 = r->repaired_t0,
		.incarnation = tl->manifest.incarnation,
		.epoch = manifest_epoch(&tl->manifest),
		.durable_ordinal = tl->points.last_ordinal,
		.error = tl->broken ? tl->broken : tl->writer.error,
	};
	memcpy(state->instance, tl->manifest.instance, sizeof(state->instance));
	state->failed = state->error;
}

/* -- keys -- */

int timeline_set_keys(struct timeline *tl, const struct keyring *keys, char *why)
{
	char id[KEY_ID_TEXT_BYTES];
	int ret = 0;

	why[0] = 0;
	if (!tl->read_only && !keys && tl->manifest.nr_keys) {
		keyring_id_text(tl->manifest.keys[tl->manifest.nr_keys - 1].id, id);
		snprintf(why, TIMELINE_TEXT_BYTES, "%.100s is encrypted with key %s, and no key was given",
			 tl->dir, id);
		return -ENOKEY;
	}
	/* First this is known, then a segment may have it. */
	if (!tl->read_only && keys && !manifest_has_key(&tl->manifest, keyring_newest_id(keys)))
		ret = manifest_add_key(&tl->manifest, keyring_newest_id(keys));
	if (ret)
		return explain(why, ret, "manifest of", tl->dir);
	tl->keys = keys;
	tl->writer.keys = keys;
	pack_aside_retry(&tl->packing.asides);
	return 0;
}

const uint8_t *timeline_key(const struct timeline *tl)
{
	return tl->keys ? keyring_newest_id(tl->keys) : NULL;
}

const uint8_t *timeline_missing_key(const struct timeline *tl)
{
	for (size_t i = tl->manifest.nr_keys; i-- > 0;)
		if (!keyring_find(tl->keys, tl->manifest.keys[i].id))
			return tl->manifest.keys[i].id;
	return NULL;
}

/* -- manifest -- */

int timeline_volume(struct timeline *tl, const char *name, uint64_t size_bytes,
		    const char *identity, const struct timeline_volume **out)
{
	struct manifest *m = &tl->manifest;
	size_t i = 0;
	int ret = 0;

	if (tl->read_only)
		return -EROFS;
	while (i < m->nr_volumes && strcmp(m->volumes[i].name, name))
		i++;
	if (i == m->nr_volumes) {
		ret = manifest_add_volume(m, name, size_bytes, identity);
		tl->writer.described_anew |= !ret;
	} else if (m->volumes[i].size_bytes != size_bytes) {
		ret = manifest_resize_volume(m, i, size_bytes);
	}
	if (!ret)
		*out = &m->volumes[i];
	return ret;
}

size_t timeline_volumes(const struct timeline *tl, const struct timeline_volume **out)
{
	*out = tl->manifest.volumes;
	return tl->manifest.nr_volumes;
}

int timeline_grant(struct timeline *tl, const uint8_t instance[16], uint32_t *incarnation)
{
	uint32_t next = tl->manifest.incarnation + 1;
	int ret;

	if (tl->read_only)
		return -EROFS;
	if (next > SEQ_INCARNATION_MAX)
		return -EOVERFLOW;
	ret = manifest_add_grant(&tl->manifest, next, instance);
	if (!ret)
		*incarnation = next;
	return ret;
}

bool timeline_was_granted(const struct timeline *tl, uint32_t incarnation,
			  const uint8_t instance[16])
{
	return manifest_has_grant(&tl->manifest, incarnation, instance);
}

/* -- points -- */

int timeline_take_commit(struct timeline *tl, const struct commit_view *commit,
			 const struct footer_extent *extents, size_t nr_extents)
{
	int ret = points_add(&tl->points, commit, extents, nr_extents);

	timeline_volumes_renew(tl);
	return ret;
}

void timeline_scan_init(const struct timeline *tl, struct segment_scan *scan, uint64_t number,
			uint64_t first_ordinal)
{
	const struct manifest_segment_end *end = manifest_end(&tl->manifest, number);

	segment_scan_init(scan, tl->env, tl->dir, tl->manifest.identity.timeline, number,
			  first_ordinal);
	scan->end_limit = end ? end->end_offset : 0;
	scan->next = manifest_pack(&tl->manifest, number + 1);
}

int timeline_scan(const struct timeline *tl, struct segment_scan *scan)
{
	bool lost = timeline_is_lost(tl, scan->number);
	int ret;

	if (scan->number < tl->nr_segments || lost) {
		ret = segment_scan_finished(scan);
		/* What follows cannot say that this is all; what is lost was reckoned from there on. */
		if (ret == -EBADMSG && !lost && scan->header_valid && !scan->damaged &&
		    scan->index.nr_commits &&
		    timeline_is_lost_behind(tl, scan->number, scan->last_ordinal))
			ret = 0;
		return ret;
	}
	ret = segment_scan(scan);
	if (!ret && scan->number == tl->settled.last_segment &&
	    scan->last_ordinal < tl->settled.last_ordinal)
		ret = -EBADMSG;
	return ret;
}

void timeline_volumes_renew(struct timeline *tl)
{
	for (size_t i = 0; i < tl->points.nr_volumes; i++) {
		struct timeline_volume *v = &tl->manifest.volumes[i];

		v->has_data = tl->points.volumes[i].has_data;
		v->member = tl->points.volumes[i].member;
		v->log_no = tl->points.volumes[i].log_no;
	}
}

void timeline_points_settled(struct timeline *tl, const struct points *stored,
			     uint64_t last_segment)
{
	uint64_t now_ns = timeline_age_now(tl);

	points_adopt(&tl->points, stored);
	/* It went on while the file was made. */
	timeline_age_set(tl, tl->points.aged_ns > now_ns ? tl->points.aged_ns : now_ns);
	tl->settled = (struct points_settled){ stored->last_ordinal, stored->last_cut_seq,
					       last_segment };
}

size_t timeline_open_holds(const struct timeline *tl, const struct commit_hold **out)
{
	*out = tl->points.open_holds;
	return tl->points.nr_open_holds;
}

size_t timeline_commits(struct timeline *tl, const struct timeline_commit **out)
{
	*out = tl->points.commits;
	return tl->points.nr_commits;
}

int timeline_kept_cuts(const struct timeline *tl, struct timeline_kept *out)
{
	const struct points *p = &tl->points;
	struct timeline_kept kept = { .settled_ordinal = 0 };

	if (tl->settled.last_ordinal) {
		kept.settled_ordinal = tl->settled.last_ordinal;
		kept.settled_cut = tl->settled.last_cut_seq;
		kept.settled_segment = tl->settled.last_segment;
	}
	kept.cuts = malloc((p->nr_commits + 1) * sizeof(*kept.cuts));
	if (!kept.cuts)
		return -ENOMEM;
	for (size_t i = 0; i < p->nr_commits; i++)
		if (p->commits[i].ordinal <= kept.settled_ordinal &&
		    (!kept.nr || p->commits[i].cut_seq != kept.cuts[kept.nr - 1]))
			kept.cuts[kept.nr++] = p->commits[i].cut_seq;
	*out = kept;
	return 0;
}

size_t timeline_gaps(struct timeline *tl, const struct timeline_gap **out)
{
	return points_gaps(&tl->points, out);
}

/* -- writing -- */

void timeline_flush(struct timeline *tl)
{
	segment_writer_flush(&tl->writer);
}

void timeline_on_progress(struct timeline *tl, void (*fn)(void *arg), void *arg)
{
	tl->progress = fn;
	tl->progress_arg = arg;
}

bool timeline_idle(const struct timeline *tl)
{
	return segment_writer_idle(&tl->writer);
}

uint64_t timeline_unflushed_bytes(const struct timeline *tl)
{
	return segment_writer_unwritten(&tl->writer);
}

int timeline_void_tail(struct timeline *tl)
{
	struct segment_writer *w = &tl->writer;
	bool given_up;
	int ret;

	if (tl->read_only)
		return -EROFS;
	if (tl->broken)
		return tl->broken;
	if (!segment_writer_idle(w) || (!w->error && tl->nr_pending))
		return -EBUSY;
	if (!w->error) {
		ret = segment_writer_void(w);
		memset(&tl->batch, 0, sizeof(tl->batch));
		return ret;
	}
	segment_writer_abandon(w, &given_up);
	timeline_received_reset(tl);
	if (given_up) {
		/* First this is known, then the next segment may exist. */
		ret = manifest_add_end(&tl->manifest, w->file_number, w->durable_end,
				       w->durable_ordinal);
		if (ret)
			return ret;
	}
	return segment_writer_restart(w, given_up);
}
