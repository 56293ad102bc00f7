// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_pack - where data are that a pack has taken over: docs/PACK.md, "Looking up".
 *
 * What runs and footers say of where a version lies stays true of where it was. If a pack
 * stands for that segment its directory has the place where it is now.
 */
#include <errno.h>
#include <stdlib.h>

#include "timeline_internal.h"
#include "view_internal.h"

void view_pack_fini(struct view *v)
{
	for (size_t i = 0; i < VIEW_PACKS; i++)
		pack_close(&v->packs[i]);
	if (v->pack_cache)
		pack_cache_fini(v->pack_cache);
	free(v->pack_cache);
}

int view_pack_get(struct view *v, const struct manifest_pack *named, const struct pack **out)
{
	struct pack *pack = &v->packs[named->number % VIEW_PACKS];
	int ret;

	if (!pack->file || pack->header.number != named->number) {
		pack_close(pack);
		ret = pack_open(v->env, v->tl->dir, v->tl->manifest.identity.timeline, named, pack);
		if (ret)
			return ret;
	}
	*out = pack;
	return 0;
}

static int part_find(struct view *v, const struct pack *pack, const struct view_piece *p,
		     struct pack_extent *out)
{
	const struct pack_origin origin = { p->segment, p->unit_offset / PACK_UNIT_ALIGN,
					    p->data_offset, p->extent_no };
	int ret;

	if (!v->pack_cache)
		v->pack_cache = calloc(1, sizeof(*v->pack_cache));
	if (!v->pack_cache)
		return -ENOMEM;
	ret = pack_find(pack, v->pack_cache, &origin, out);
	/* What is seen at a cut that exists lives, and so it must be there, all of it. */
	if (ret == -ENOENT || (!ret && p->data_offset - out->from_offset + p->length_bytes >
			       out->length_bytes))
		ret = -EBADMSG;
	return ret;
}

int view_pack_place(struct view *v, const struct view_piece *p, struct view_place *out)
{
	const struct manifest_pack *named = manifest_pack(&v->tl->manifest, p->segment);
	const struct pack *pack;
	struct pack_extent e;
	int ret;

	if (p->unit_offset == VIEW_LOST_UNIT) {
		out->file = named ? named->number | VIEW_PACK_FILE : p->segment;
		return -EBADMSG;
	}
	if (!named) {
		*out = (struct view_place){ p->segment, p->unit_offset, p->data_offset };
		return 0;
	}
	/* Named also to who is told that it is not there. */
	out->file = named->number | VIEW_PACK_FILE;
	ret = view_pack_get(v, named, &pack);
	if (!ret)
		ret = part_find(v, pack, p, &e);
	if (ret)
		return ret;
	*out = (struct view_place){ named->number | VIEW_PACK_FILE,
				    (uint64_t)e.at * PACK_UNIT_ALIGN,
				    e.data_offset + (p->data_offset - e.from_offset) };
	return 0;
}
