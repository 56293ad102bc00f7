// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_read - content of a view: from pieces to bytes, by way of checked units.
 *
 * A unit is read, unpacked and checked once for as long as it stays among the last
 * few used. Reading the segments in order, which a restore mostly does, reads them in
 * large windows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "segment_index.h"
#include "timeline_internal.h"
#include "view_internal.h"

#define PATH_BYTES 4096
#define UNIT_WINDOW_BYTES ((UNIT_MAX_BYTES + 2 * BLOCK_BYTES) / BLOCK_BYTES * BLOCK_BYTES)

void view_read_fini(struct view *v)
{
	for (size_t i = 0; i < VIEW_FILES; i++)
		if (v->files[i].file)
			v->env->ops->close(v->env, v->files[i].file);
	for (size_t i = 0; i < VIEW_SETS; i++)
		for (size_t j = 0; j < VIEW_WAYS; j++)
			free(v->units[i][j].data);
	free(v->window);
}

static int file_get(struct view *v, uint32_t segment, struct env_file **out)
{
	struct view_file *f = &v->files[segment % VIEW_FILES];
	char path[PATH_BYTES];
	int ret;

	if (f->file && f->segment == segment) {
		*out = f->file;
		return 0;
	}
	if (f->file)
		v->env->ops->close(v->env, f->file);
	f->file = NULL;
	segment_path(path, sizeof(path), v->tl->dir, segment);
	ret = v->env->ops->open(v->env, path, ENV_READ, &f->file);
	if (ret) {
		f->file = NULL;
		return ret == -ENOENT ? -EBADMSG : ret;
	}
	f->segment = segment;
	*out = f->file;
	return 0;
}

/* All bytes there are from @offset on, at least a unit's worth if the file has them. */
static int64_t window_at(struct view *v, uint32_t segment, uint64_t offset, const uint8_t **at)
{
	uint64_t end = v->window_offset + v->window_bytes;
	bool same = v->window_segment == segment && v->window_bytes;
	struct env_file *file;
	size_t want;
	int64_t got;
	int ret;

	if (same && offset >= v->window_offset && offset + UNIT_MAX_BYTES <= end)
		goto out;
	/* Shortly after those in the window: more of them will follow. */
	want = same && offset >= v->window_offset && offset <= end + VIEW_WINDOW_BYTES / 2 ?
	       VIEW_WINDOW_BYTES : UNIT_WINDOW_BYTES;
	if (!v->window) {
		v->window = aligned_alloc(BLOCK_BYTES, VIEW_WINDOW_BYTES);
		if (!v->window)
			return -ENOMEM;
	}
	v->window_bytes = 0;
	ret = file_get(v, segment, &file);
	if (ret)
		return ret;
	v->window_offset = offset / BLOCK_BYTES * BLOCK_BYTES;
	got = v->env->ops->read(v->env, file, v->window, want, v->window_offset);
	if (got < 0)
		return got;
	v->window_segment = segment;
	v->window_bytes = got;
	end = v->window_offset + got;
	if (offset >= end)
		return -EBADMSG;
out:
	*at = v->window + (offset - v->window_offset);
	return end - offset;
}

static struct view_unit *unit_set(struct view *v, uint32_t segment, uint64_t offset)
{
	uint64_t hash = (offset / FORMAT_ALIGN_BYTES ^ (uint64_t)segment << 40) *
			0x9e3779b97f4a7c15u;

	return v->units[hash >> 32 & (VIEW_SETS - 1)];
}

/* The one of the set that was not used for longest, empty now. */
static struct view_unit *unit_slot(struct view_unit *set)
{
	struct view_unit *oldest = &set[0];

	for (size_t i = 1; i < VIEW_WAYS; i++)
		if (set[i].used < oldest->used)
			oldest = &set[i];
	if (!oldest->data)
		oldest->data = malloc(UNIT_MAX_DATA_BYTES);
	oldest->segment = 0;
	return oldest->data ? oldest : NULL;
}

int view_unit_get(struct view *v, uint32_t segment, uint64_t offset, struct view_unit **out)
{
	struct view_unit *set = unit_set(v, segment, offset), *u;
	struct unit_view unit;
	const uint8_t *at = NULL;
	int64_t seen;

	for (size_t i = 0; i < VIEW_WAYS; i++) {
		u = &set[i];
		if (u->segment == segment && u->unit_offset == offset) {
			u->used = ++v->clock;
			*out = u;
			return 0;
		}
	}
	seen = window_at(v, segment, offset, &at);
	if (seen < 0)
		return seen;
	/* The blocks have CRCs of their own, which are checked once it is unpacked. */
	if (unit_decode(at, seen, 0, &unit))
		return -EBADMSG;
	u = unit_slot(set);
	if (!u)
		return -ENOMEM;
	if (unit_unpack(&unit, u->data))
		return -EBADMSG;
	u->segment = segment;
	u->unit_offset = offset;
	u->data_bytes = unit.header.data_bytes;
	u->used = ++v->clock;
	*out = u;
	return 0;
}

/* The part of a piece that begins @skip bytes into it. */
static int piece_read(struct view *v, const struct view_piece *p, uint64_t skip, void *buf,
		      size_t bytes)
{
	struct view_unit *u = NULL;
	int ret;

	if (p->kind == EXTENT_UNREADABLE)
		return -EIO;
	if (p->kind != EXTENT_DATA) {
		memset(buf, 0, bytes);
		return 0;
	}
	ret = view_unit_get(v, p->segment, p->unit_offset, &u);
	if (ret)
		return ret;
	if (p->data_offset + skip + bytes > u->data_bytes)
		return -EBADMSG;
	memcpy(buf, u->data + p->data_offset + skip, bytes);
	return 0;
}

/* What is in hand of [@offset, + *bytes); *bytes: out, how much that was. */
static int pieces_read(struct view *v, uint64_t offset_bytes, uint8_t *at, size_t *bytes)
{
	uint64_t end = v->pieces_end - offset_bytes < *bytes ? v->pieces_end : offset_bytes + *bytes;
	uint64_t from = offset_bytes;

	*bytes = end - from;
	for (size_t i = view_find(v, from); from < end; i++) {
		const struct view_piece *p = i < v->nr_pieces ? &v->pieces[i] : NULL;
		uint64_t hole_end = !p || p->offset_bytes > end ? end :
				    p->offset_bytes > from ? p->offset_bytes : from;
		uint64_t part;
		int ret;

		memset(at, 0, hole_end - from);
		at += hole_end - from;
		from = hole_end;
		if (from == end)
			break;
		part = p->offset_bytes + p->length_bytes - from;
		if (part > end - from)
			part = end - from;
		ret = piece_read(v, p, from - p->offset_bytes, at, part);
		if (ret)
			return ret;
		at += part;
		from += part;
	}
	return 0;
}

int view_read(struct view *v, uint16_t volume, uint64_t offset_bytes, void *buf, size_t bytes)
{
	const struct view_volume *vol = view_volume(v, volume);
	uint8_t *at = buf;

	if (offset_bytes % SECTOR_BYTES || bytes % SECTOR_BYTES)
		return -EINVAL;
	if (!vol || offset_bytes > vol->size_bytes || bytes > vol->size_bytes - offset_bytes)
		return -ERANGE;
	while (bytes) {
		size_t part = bytes;
		int ret = view_window(v, vol, offset_bytes, offset_bytes + bytes);

		if (!ret)
			ret = pieces_read(v, offset_bytes, at, &part);
		if (ret)
			return ret;
		at += part;
		offset_bytes += part;
		bytes -= part;
	}
	return 0;
}
