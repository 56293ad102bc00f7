// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_read - content of a view: from pieces to bytes, by way of checked units.
 *
 * A compressed unit is read, unpacked and checked once for as long as it stays among the
 * last few used. Of a stored one only the blocks that are wanted are read and checked, as
 * often as they are: the page cache has them. Files are read by way of
 * view_file.c.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "timeline_internal.h"
#include "view_internal.h"

#define UNIT_GUESS_BYTES 16384	/* of one that is not compressed and was written at random */
#define UNIT_NEAR_BYTES	8192	/* a copy of these is as dear as a read */

void view_read_fini(struct view *v)
{
	view_file_fini(v);
	for (size_t i = 0; i < VIEW_SETS; i++)
		for (size_t j = 0; j < VIEW_WAYS; j++)
			free(v->units[i][j].data);
	free(v->clear);
}

static struct view_unit *unit_set(struct view *v, const struct view_place *place)
{
	uint64_t hash = (place->unit_offset / FORMAT_ALIGN_BYTES ^ place->file << 40) *
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
	oldest->file = 0;
	return oldest->data ? oldest : NULL;
}

/* Whether its data lie there as they were captured. */
static bool unit_is_plain(const struct unit_view *unit)
{
	return unit->header.codec == UNIT_STORED && !unit->seal;
}

/* Content of a unit, if it is encrypted and can be read. */
static int unit_clear(struct view *v, const struct view_place *place, struct unit_view *unit)
{
	struct view_file *f;
	int ret = view_file_get(v, place->file, &f);

	if (ret)
		return ret;
	if (f->key_error)
		return unit->seal ? f->key_error : 0;
	if (!v->clear)
		v->clear = malloc(UNIT_MAX_BYTES);
	if (!v->clear)
		return -ENOMEM;
	return unit_decrypt(f->cipher, unit, place->unit_offset, v->clear);
}

/* A pack's unit says where it lies. */
static bool unit_belongs(const struct unit_view *unit, const struct view_place *place)
{
	return !(place->file & VIEW_PACK_FILE) ||
	       pack_unit_belongs(unit, place->file & ~VIEW_PACK_FILE, place->unit_offset);
}

/* As it lies in the file; good until the next call. */
static int unit_fetch(struct view *v, const struct view_place *place, struct unit_view *out)
{
	/* As long as the last one, perhaps; what it lacks it says. */
	size_t need = v->unit_bytes ? v->unit_bytes : UNIT_GUESS_BYTES;
	const uint8_t *at = NULL;
	int64_t seen;
	int ret;

	for (;;) {
		seen = view_file_window(v, place->file, place->unit_offset, need, &at);
		if (seen < 0)
			return seen;
		/* The blocks have CRCs of their own, which are checked once it is unpacked. */
		ret = unit_decode(at, seen, 0, out);
		if (ret != -EAGAIN || (size_t)seen < need)
			break;
		need = out->header.unit_bytes;
	}
	if (ret || !unit_belongs(out, place))
		return -EBADMSG;
	v->unit_bytes = out->header.unit_bytes;
	return 0;
}

/* An unpacked and checked unit, good until the next call. */
static int unit_get(struct view *v, const struct view_place *place, struct view_unit **out)
{
	struct view_unit *set = unit_set(v, place), *u;
	struct unit_view unit;
	bool plain;
	int ret;

	for (size_t i = 0; i < VIEW_WAYS; i++) {
		u = &set[i];
		if (u->file == place->file && u->unit_offset == place->unit_offset) {
			u->used = ++v->clock;
			*out = u;
			return 0;
		}
	}
	ret = unit_fetch(v, place, &unit);
	if (ret)
		return ret;
	plain = unit_is_plain(&unit);
	ret = unit_clear(v, place, &unit);
	if (ret)
		return ret;
	u = unit_slot(set);
	if (!u)
		return -ENOMEM;
	v->units_stored = plain;
	if (unit_unpack(&unit, u->data))
		return -EBADMSG;
	u->file = place->file;
	u->unit_offset = place->unit_offset;
	u->data_bytes = unit.header.data_bytes;
	u->used = ++v->clock;
	*out = u;
	return 0;
}

static const struct unit_extent *extent_with(const struct unit_view *unit, uint32_t data_offset)
{
	for (unsigned int i = 0; i < unit->header.nr_extents; i++) {
		const struct unit_extent *e = &unit->extents[i];
		uint32_t from = le32toh(e->data_offset);

		if (e->kind == EXTENT_DATA && data_offset >= from &&
		    data_offset - from < le64toh(e->length_bytes))
			return e;
	}
	return NULL;
}

static bool tables_are_of(const struct view *v, const struct view_place *place)
{
	return v->tables_file == place->file && v->tables_offset == place->unit_offset;
}

/* Header and tables of a unit, unless they are longer than most. Good until the next call. */
static int tables_get(struct view *v, const struct view_place *place, struct unit_view *out)
{
	uint64_t window_end = v->window_offset + v->window_bytes, offset = place->unit_offset;
	struct view_file *file;
	int64_t got = sizeof(v->tables);
	int ret;

	if (!tables_are_of(v, place)) {
		v->tables_file = 0;
		if (v->window_file == place->file && offset >= v->window_offset &&
		    offset + sizeof(v->tables) <= window_end) {
			/* A copy: the window may go on before they are done with. */
			memcpy(v->tables, v->window + (offset - v->window_offset), got);
		} else {
			ret = view_file_get(v, place->file, &file);
			if (ret)
				return ret;
			got = v->env->ops->read(v->env, file->file, v->tables, got, offset);
			if (got < 0)
				return got;
		}
		v->tables_file = place->file;
		v->tables_offset = offset;
		v->tables_bytes = got;
	}
	if (unit_decode_tables(v->tables, v->tables_bytes, out))
		return -EAGAIN;
	return unit_belongs(out, place) ? 0 : -EBADMSG;
}

/*
 * Bytes of a stored unit from @skip on behind @place, without reading and checking the rest of
 * it. All lie in one extent. Return: 0; -EAGAIN: take the whole unit; -EBADMSG; -errno.
 */
static int stored_read(struct view *v, const struct view_place *place, uint64_t skip, void *buf,
		       size_t bytes)
{
	uint64_t data_offset = place->data_offset + skip, begin, from, to;
	const struct unit_extent *e;
	struct view_file *file;
	struct unit_view unit;
	const uint8_t *at;
	int64_t seen;
	int ret = 0;

	/* Where it is near the beginning of its unit both come with one read. */
	if (data_offset <= UNIT_NEAR_BYTES && !tables_are_of(v, place))
		ret = view_file_window(v, place->file, place->unit_offset,
				       sizeof(v->tables) + data_offset + bytes, &at);
	if (ret < 0)
		return ret;
	ret = tables_get(v, place, &unit);
	if (ret)
		return ret;
	ret = view_file_get(v, place->file, &file);
	if (ret)
		return ret;
	/* In clear where all is encrypted: who reads the whole unit refuses it. */
	v->units_stored = unit_is_plain(&unit) && !file->cipher;
	e = v->units_stored ? extent_with(&unit, data_offset) : NULL;
	/* Read in order, the unit's other extents are mostly wanted next. */
	if (!e || (v->ahead && unit.header.nr_extents > 1))
		return -EAGAIN;
	begin = from = data_offset - le32toh(e->data_offset);
	to = from + bytes;
	if (to > le64toh(e->length_bytes))
		return -EBADMSG;
	unit_part_widen(e, &from, &to);
	seen = view_file_window(v, place->file, place->unit_offset + (unit.stored - v->tables) +
			 le32toh(e->data_offset) + from, to - from, &at);
	if (seen < 0)
		return seen;
	if ((uint64_t)seen < to - from || unit_check_part(&unit, e, from, to, at))
		return -EBADMSG;
	memcpy(buf, at + (begin - from), bytes);
	return 0;
}

static int data_at(struct view *v, const struct view_place *place, uint64_t skip, uint64_t bytes,
		   const uint8_t **out)
{
	struct view_unit *u = NULL;
	int ret = unit_get(v, place, &u);

	if (!ret && place->data_offset + skip + bytes > u->data_bytes)
		ret = -EBADMSG;
	if (!ret)
		*out = u->data + place->data_offset + skip;
	return ret;
}

/* Of the pack that has a piece now, as far as the manifest in hand knows; 0: its segment. */
static uint64_t pack_number(const struct view *v, const struct view_piece *p)
{
	const struct manifest_pack *named = manifest_pack(&v->tl->manifest, p->segment);

	return named ? named->number : 0;
}

/*
 * A file that is gone was packed by a writer: what is in its place it has named before. On a
 * cluster a file that was open ends some time after it went, and does not check. One that is still
 * there is looked for as often as view_error() does. Return: whether to try again.
 */
static bool place_reload(struct view *v, const struct view_piece *p, int error, int tries)
{
	uint64_t before = pack_number(v, p);
	uint64_t file = before ? before | VIEW_PACK_FILE : p->segment;

	if ((error != -ENOENT && error != -EBADMSG) || !v->tl->read_only || tries >= VIEW_RELOADS ||
	    (error == -EBADMSG && view_has_looked(v) && !view_file_is_gone(v, file)) ||
	    timeline_runs_reload(v->tl))
		return false;
	return error == -ENOENT || pack_number(v, p) != before;
}

/* What a reader is told; @place is where it was looked for last. */
static int piece_result(struct view *v, const struct view_place *place, int error)
{
	if (error)
		v->fault_file = place->file;
	/* What does not check is not kept: asked for again it is read again. */
	if (error == -EBADMSG) {
		v->window_bytes = 0;
		v->tables_file = 0;
	}
	return view_error(v, error);
}

int view_piece_data(struct view *v, const struct view_piece *p, uint64_t skip, uint64_t bytes,
		    const uint8_t **out)
{
	struct view_place place = { 0 };
	int ret, tries = 0;

	do {
		ret = view_pack_place(v, p, &place);
		if (!ret)
			ret = data_at(v, &place, skip, bytes, out);
	} while (place_reload(v, p, ret, tries++));
	return piece_result(v, &place, ret);
}

/* Where a unit as a whole does not check: these bytes may, unless it is compressed. */
static int place_read_part(struct view *v, const struct view_place *place, uint64_t skip, void *buf,
			   size_t bytes)
{
	size_t ahead = v->ahead;
	int ret;

	if (!v->units_stored)
		return -EBADMSG;
	v->ahead = 0;
	ret = stored_read(v, place, skip, buf, bytes);
	v->ahead = ahead;
	return ret == -EAGAIN ? -EBADMSG : ret;
}

static int place_read(struct view *v, const struct view_place *place, uint64_t skip, void *buf,
		      size_t bytes)
{
	const uint8_t *data = NULL;
	int ret;

	/* A guess, by the last one; a wrong one costs a read of what is then in the page cache. */
	if (v->units_stored) {
		ret = stored_read(v, place, skip, buf, bytes);
		if (ret != -EAGAIN)
			return ret;
	}
	ret = data_at(v, place, skip, bytes, &data);
	if (ret == -EBADMSG)
		return place_read_part(v, place, skip, buf, bytes);
	if (!ret)
		memcpy(buf, data, bytes);
	return ret;
}

/* The part of a piece that begins @skip bytes into it. */
static int piece_read(struct view *v, const struct view_piece *p, uint64_t skip, void *buf,
		      size_t bytes)
{
	struct view_place place = { 0 };
	int ret, tries = 0;

	if (p->kind == EXTENT_UNREADABLE)
		return -EIO;
	if (p->kind != EXTENT_DATA) {
		memset(buf, 0, bytes);
		return 0;
	}
	do {
		ret = view_pack_place(v, p, &place);
		if (!ret)
			ret = place_read(v, &place, skip, buf, bytes);
	} while (place_reload(v, p, ret, tries++));
	return piece_result(v, &place, ret);
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

static int read_own(struct view *v, const struct view_volume *vol, uint64_t offset_bytes,
		    uint8_t *at, size_t bytes)
{
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

static int read_over_parent(struct view *v, const struct view_volume *vol, uint64_t offset_bytes,
			    uint8_t *at, size_t bytes)
{
	while (bytes) {
		struct view_extent e;
		int ret = view_next_written(v, vol->id, offset_bytes, &e);

		if (ret)
			return ret;
		if (e.length_bytes > bytes)
			e.length_bytes = bytes;
		ret = e.kind == VIEW_NOTHING ?
		      view_read(v->parent, vol->id, offset_bytes, at, e.length_bytes) :
		      read_own(v, vol, offset_bytes, at, e.length_bytes);
		if (ret)
			return ret;
		at += e.length_bytes;
		offset_bytes += e.length_bytes;
		bytes -= e.length_bytes;
	}
	return 0;
}

int view_read(struct view *v, uint16_t volume, uint64_t offset_bytes, void *buf, size_t bytes)
{
	const struct view_volume *vol = view_volume(v, volume);

	for (struct view *of = v; of; of = of->parent)
		of->fault_file = 0;
	if (offset_bytes % SECTOR_BYTES || bytes % SECTOR_BYTES)
		return -EINVAL;
	if (!vol || offset_bytes > vol->size_bytes || bytes > vol->size_bytes - offset_bytes)
		return -ERANGE;
	return v->parent ? read_over_parent(v, vol, offset_bytes, buf, bytes) :
			   read_own(v, vol, offset_bytes, buf, bytes);
}
