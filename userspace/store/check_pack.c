// SPDX-License-Identifier: GPL-2.0-only
/* check_pack - the part of a check that reads packs: docs/PACK.md. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "check_internal.h"
#include "timeline_internal.h"

static bool part_checks(const struct unit_view *unit, const struct pack_extent *e)
{
	const struct unit_extent *x = pack_unit_extent(unit, e->data_offset);

	return x && le64toh(x->offset_bytes) == e->offset_bytes &&
	       le64toh(x->length_bytes) == e->length_bytes && le16toh(x->volume) == e->volume;
}

/* The unit in hand, as parts of it go by. */
struct unit_in_hand {
	uint64_t offset;	/* 0: none yet */
	bool good, told;
	struct unit_view unit;
};

static int unit_take(struct check_reader *r, uint64_t number, uint64_t offset,
		     struct unit_in_hand *u)
{
	const uint8_t *at = NULL;
	int64_t bytes = check_window_at(r, offset, &at);

	if (bytes < 0 && bytes != -EIO)
		return bytes;
	r->check->nr_units++;
	*u = (struct unit_in_hand){ .offset = offset };
	u->good = bytes > 0 && check_content(r, at, bytes, offset, &u->unit) &&
		  pack_unit_belongs(&u->unit, number, offset);
	return 0;
}

static int part_check(struct check_reader *r, const struct manifest_pack *named,
		      const struct pack_extent *e, struct unit_in_hand *u)
{
	uint64_t offset = (uint64_t)e->at * PACK_UNIT_ALIGN;
	int ret = u->offset == offset ? 0 : unit_take(r, named->number, offset, u);

	if (ret || (u->good && part_checks(&u->unit, e)))
		return ret;
	if (!u->told) {
		const struct check_damage damage = {
			.segment = e->segment, .pack = named->number, .offset_bytes = offset,
			.from_seq = e->label_seq };

		ret = check_damage_add(r, &damage);
		u->told = true;
	}
	if (!ret && r->check->damage[r->check->nr_damage - 1].from_seq > e->label_seq)
		r->check->damage[r->check->nr_damage - 1].from_seq = e->label_seq;
	return ret ? ret : check_lose_extent(r, e);
}

/* What else there was is not looked for: as if every point needed it, from 0 up to the newest. */
static int directory_lost(struct check_reader *r, const struct manifest_pack *named,
			  uint64_t offset)
{
	const struct check_damage damage = {
		.segment = named->first_segment, .pack = named->number, .offset_bytes = offset,
		.lost_bytes = named->live_bytes, .from_seq = 0, .to_seq = CHECK_ANY_POINT };

	return check_damage_add(r, &damage);
}

static int parts_check(struct check_reader *r, const struct manifest_pack *named,
		       const struct pack *pack)
{
	struct unit_in_hand u = { .offset = 0 };
	struct pack_tables tables;
	struct pack_stream stream;
	struct pack_extent e;
	int ret = pack_stream_begin(&stream, pack);

	while (!ret) {
		ret = pack_stream_next(&stream, &e);
		if (!ret && e.kind == EXTENT_DATA)
			ret = part_check(r, named, &e, &u);
	}
	pack_stream_end(&stream);
	if (ret == -ENOENT)
		ret = pack_tables_load(pack, &tables);
	if (ret == -EBADMSG || ret == -EIO)
		return directory_lost(r, named, pack->header.data_end);
	if (!ret)
		free(tables.bytes);
	return ret;
}

int check_pack(struct check_reader *r, const struct manifest_pack *named)
{
	struct timeline *tl = r->tl;
	struct pack pack;
	int ret = pack_open(tl->env, tl->dir, tl->manifest.identity.timeline, named, &pack);

	if (ret == -EBADMSG || ret == -EIO)
		return check_lose_pack(r, named);
	if (ret)
		return ret;
	r->file = pack.file;
	r->window_bytes = 0;
	r->encrypted = pack.header.flags & PACK_ENCRYPTED;
	ret = pack_cipher(&pack.header, tl->keys, &r->cipher);
	if (!ret || ret == -ENOKEY)
		ret = parts_check(r, named, &pack);
	r->file = NULL;
	unit_cipher_destroy(r->cipher);
	r->cipher = NULL;
	pack_close(&pack);
	return ret;
}

int check_pack_replace(struct check_reader *r, const struct manifest_pack *named)
{
	struct timeline *tl = r->tl;
	struct pack_stream stream;
	struct pack_extent e;
	struct pack pack;
	int ret = pack_open(tl->env, tl->dir, tl->manifest.identity.timeline, named, &pack);

	if (ret == -EBADMSG || ret == -EIO)
		return check_lost_pack_replace(r, named);
	if (ret)
		return ret;
	ret = pack_stream_begin(&stream, &pack);
	while (!ret) {
		ret = pack_stream_next(&stream, &e);
		if (!ret)
			check_replace(r, &e);
	}
	pack_stream_end(&stream);
	pack_close(&pack);
	/* Less is hidden than could be: points are marked that need not be. */
	return ret == -ENOENT || ret == -EBADMSG || ret == -EIO ? 0 : ret;
}
