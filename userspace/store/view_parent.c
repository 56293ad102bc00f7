// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_parent - what shows through where a branch has nothing: docs/BRANCH.md.
 *
 * The view of a point of a branch stands on the view of its parent at the point where it
 * begins. Both have the same volumes with the same sizes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "timeline_internal.h"
#include "view_internal.h"

/* GROUPDIR of GROUPDIR/branches/NAME; freed by the caller. */
static char *parent_dir(const char *dir)
{
	char *parent = strdup(dir);

	for (int i = 0; i < 2 && parent; i++) {
		char *slash = strrchr(parent, '/');

		if (!slash || slash == parent) {
			free(parent);
			return NULL;
		}
		*slash = 0;
	}
	return parent;
}

int view_parent_open(struct view *v, char *why)
{
	const struct manifest *m = &v->tl->manifest;
	char *dir;
	int ret;

	if (!m->has_parent)
		return 0;
	dir = parent_dir(v->tl->dir);
	if (!dir)
		return -ENOMEM;
	ret = timeline_open(v->env, dir, TIMELINE_READ_ONLY, NULL, &v->parent_tl, why);
	free(dir);
	if (ret)
		return ret;
	if (memcmp(timeline_id(v->parent_tl), m->parent.timeline, sizeof(m->parent.timeline)) != 0) {
		snprintf(why, TIMELINE_TEXT_BYTES, "the group that the branch is of has another history now");
		return -EUCLEAN;
	}
	ret = timeline_set_keys(v->parent_tl, v->tl->keys, why);
	return ret ? ret : view_open(v->parent_tl, m->parent.cut_seq, &v->parent, why);
}

void view_parent_close(struct view *v)
{
	view_close(v->parent);
	timeline_close(v->parent_tl);
}

int view_parent_next(struct view *v, uint16_t volume, struct view_extent *out)
{
	uint64_t length_bytes = out->length_bytes;
	int ret = view_next(v->parent, volume, out->offset_bytes, out);

	if (!ret && out->length_bytes > length_bytes)
		out->length_bytes = length_bytes;
	return ret;
}

/* -- copying -- */

struct through {
	struct view *view;
	uint16_t volume;
	int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes);
	void *arg;
};

/* Of a stretch of the parent, what the branch does not hide. */
static int put_through(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	const struct through *t = arg;
	const uint8_t *at = buf;

	while (bytes) {
		struct view_extent e;
		int ret = view_next_written(t->view, t->volume, offset_bytes, &e);

		if (ret)
			return ret;
		if (e.length_bytes > bytes)
			e.length_bytes = bytes;
		if (e.kind == VIEW_NOTHING)
			ret = t->put(t->arg, offset_bytes, at, e.length_bytes);
		if (ret)
			return ret;
		offset_bytes += e.length_bytes;
		at += e.length_bytes;
		bytes -= e.length_bytes;
	}
	return 0;
}

int view_parent_copy(struct view *v, uint16_t volume, uint64_t start_bytes, uint64_t end_bytes,
		     int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
		     void *arg, uint64_t *offset_bytes)
{
	struct through t = { v, volume, put, arg };

	return view_copy_range(v->parent, volume, start_bytes, end_bytes, put_through, &t,
			       offset_bytes);
}
