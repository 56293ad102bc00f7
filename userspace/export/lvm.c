// SPDX-License-Identifier: GPL-2.0-only
/* lvm - where the logical volumes of a volume group lie, as its metadata say. */
#include "lvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/array.h"
#include "lvm_bytes.h"
#include "lvm_raid.h"
#include "lvm_tree.h"
#include "lvm_vg.h"

#define SECTOR_BYTES	512

static bool name_copy(char *out, const char *name, size_t bytes)
{
	if (bytes >= LVM_NAME_BYTES)
		return false;
	memcpy(out, name, bytes);
	out[bytes] = 0;
	return true;
}

/* -- from the tree to pieces -- */

/* One of a segment's stripes, *@i in the list of them and the one behind it; goes on in the list.
 * -ENODEV: it lies in no physical volume. */
static int piece_get(const struct lvm_vg *vg, size_t *i, uint64_t nr_extents, struct lvm_piece *out)
{
	const struct lvm_node *nodes = vg->tree->nodes, *name = &nodes[*i], *extent = &nodes[name->next];
	const struct lvm_pv *pv = lvm_vg_pv(vg, *i);
	uint64_t first, nr, end;

	if (!*i || name->kind != LVM_TEXT || !name->next || extent->kind != LVM_NUMBER)
		return -EBADMSG;
	*i = extent->next;
	if (!pv)
		return -ENODEV;
	if (__builtin_mul_overflow(extent->number, vg->extent_sectors, &first) ||
	    __builtin_add_overflow(first, pv->start, &first) ||
	    __builtin_mul_overflow(nr_extents, vg->extent_sectors, &nr) || !nr ||
	    __builtin_add_overflow(first, nr, &end) || end > INT64_MAX / SECTOR_BYTES)
		return -EBADMSG;
	memcpy(out->pv, pv->id, sizeof(out->pv));
	out->offset_bytes = first * SECTOR_BYTES;
	out->length_bytes = nr * SECTOR_BYTES;
	return 0;
}

/* What goes on where the one before ends is the same piece, if both are alone. */
static int piece_add(struct lvm_volume *lv, const struct lvm_piece *piece)
{
	struct lvm_piece *last = lv->nr_pieces ? &lv->pieces[lv->nr_pieces - 1] : NULL;

	if (last && last->nr_stripes == 1 && piece->nr_stripes == 1 &&
	    !memcmp(last->pv, piece->pv, LVM_ID_BYTES) &&
	    last->offset_bytes + last->length_bytes == piece->offset_bytes) {
		last->length_bytes += piece->length_bytes;
		return 0;
	}
	if (!array_reserve(&lv->pieces, &lv->max_pieces, lv->nr_pieces + 1))
		return -ENOMEM;
	lv->pieces[lv->nr_pieces++] = *piece;
	return 0;
}

/* Linear is striped over one. */
static bool is_striped(const struct lvm_tree *t, size_t segment, struct lvm_volume *lv)
{
	size_t type = lvm_tree_child(t, segment, "type", LVM_TEXT);

	if (type && (lvm_tree_text_is(t, type, "striped") || lvm_tree_text_is(t, type, "linear")))
		return true;
	if (!type || !name_copy(lv->type, t->nodes[type].text, t->nodes[type].text_bytes) ||
	    !lv->type[0])
		strcpy(lv->type, "unknown");
	return false;
}

/* In how many, and how wide. */
static int stripes_shape(const struct lvm_tree *t, size_t segment, uint64_t nr_extents,
			 uint64_t *nr, uint64_t *sectors)
{
	*sectors = 0;
	if (!lvm_tree_number(t, segment, "stripe_count", nr) || !*nr || nr_extents % *nr)
		return -EBADMSG;
	if (*nr > 1 && (!lvm_tree_number(t, segment, "stripe_size", sectors) || !*sectors))
		return -EBADMSG;
	return 0;
}

/* All that a segment of @nr_extents consists of; -ENODEV as above. */
static int stripes_get(const struct lvm_vg *vg, size_t segment, uint64_t nr_extents,
		       struct lvm_volume *lv)
{
	size_t list = lvm_tree_child(vg->tree, segment, "stripes", LVM_LIST);
	size_t i = list ? vg->tree->nodes[list].first : 0;
	uint64_t nr, sectors;
	int ret = stripes_shape(vg->tree, segment, nr_extents, &nr, &sectors);

	for (uint64_t k = 0; !ret && k < nr; k++) {
		struct lvm_piece piece = { .nr_stripes = nr };

		ret = piece_get(vg, &i, nr_extents / nr, &piece);
		if (ret)
			break;
		if (sectors && piece.length_bytes / SECTOR_BYTES % sectors)
			return -EBADMSG;
		piece.stripe_bytes = sectors * SECTOR_BYTES;
		ret = piece_add(lv, &piece);
	}
	return ret ? ret : i ? -EBADMSG : 0;
}

/* Its sections are its segments; each begins where the one before ends. */
static int pieces_get(const struct lvm_vg *vg, size_t node, struct lvm_volume *lv)
{
	const struct lvm_tree *t = vg->tree;
	uint64_t nr = 0, want = 0, begin = 0, start, count;
	int ret = lvm_tree_number(t, node, "segment_count", &want) && want ? 0 : -EBADMSG;

	for (size_t i = t->nodes[node].first; i && !ret; i = t->nodes[i].next) {
		if (t->nodes[i].kind != LVM_SECTION)
			continue;
		if (!lvm_tree_number(t, i, "start_extent", &start) || start != begin ||
		    !lvm_tree_number(t, i, "extent_count", &count) ||
		    __builtin_add_overflow(begin, count, &begin))
			return -EBADMSG;
		nr++;
		if (!is_striped(t, i, lv))
			return 0;
		ret = stripes_get(vg, i, count, lv);
		if (ret == -ENODEV) {
			/* In another logical volume: what is being moved, for example. */
			strcpy(lv->type, "stacked");
			return 0;
		}
	}
	return ret ? ret : nr == want ? 0 : -EBADMSG;
}

/* -- what people see, and mirrors of what they do not -- */

static bool is_visible(const struct lvm_tree *t, size_t lv)
{
	size_t status = lvm_tree_child(t, lv, "status", LVM_LIST);

	for (size_t i = status ? t->nodes[status].first : 0; i; i = t->nodes[i].next)
		if (lvm_tree_text_is(t, i, "VISIBLE"))
			return true;
	return false;
}

/* Nothing else is said of it than what one may do with it: not rebuilt, split off, lagging, ... */
static bool is_plain(const struct lvm_tree *t, size_t lv)
{
	size_t status = lvm_tree_child(t, lv, "status", LVM_LIST);
	size_t flags = lvm_tree_child(t, lv, "flags", LVM_LIST);

	for (size_t i = status ? t->nodes[status].first : 0; i; i = t->nodes[i].next)
		if (!lvm_tree_text_is(t, i, "READ") && !lvm_tree_text_is(t, i, "WRITE") &&
		    !lvm_tree_text_is(t, i, "VISIBLE"))
			return false;
	return status && !(flags && t->nodes[flags].first);
}

/*
 * A hidden volume that node @i of a list names; of one other only, or very many might name the one that
 * has very many pieces. @out: its pieces are to be freed in any case.
 */
static int part_get(struct lvm_vg *vg, size_t i, struct lvm_volume *out)
{
	size_t lv = lvm_vg_take_lv(vg, i);
	int ret;

	memset(out, 0, sizeof(*out));
	if (!lv || !is_plain(vg->tree, lv) || is_visible(vg->tree, lv))
		return -EBADMSG;
	ret = pieces_get(vg, lv, out);
	return !ret && out->type[0] ? -EBADMSG : ret;
}

static bool is_long(const struct lvm_volume *image, uint64_t bytes)
{
	for (size_t i = 0; i < image->nr_pieces; i++) {
		if (image->pieces[i].length_bytes > bytes)
			return false;
		bytes -= image->pieces[i].length_bytes;
	}
	return !bytes;
}

/* The image whose metadata volume is named by node @i, and it by the one behind. */
static int image_get(struct lvm_vg *vg, size_t i, uint64_t bytes, struct lvm_volume *lv)
{
	struct lvm_volume meta, image = { .nr_pieces = 0 };
	int ret = part_get(vg, i, &meta);

	if (!ret)
		ret = part_get(vg, vg->tree->nodes[i].next, &image);
	if (!ret && !is_long(&image, bytes))
		ret = -EBADMSG;
	if (!ret && !array_reserve(&lv->metas, &lv->max_metas, lv->nr_metas + 1))
		ret = -ENOMEM;
	if (!ret) {
		lv->metas[lv->nr_metas++] = meta.pieces[0];
		if (!lv->pieces) {
			lv->pieces = image.pieces;
			lv->nr_pieces = image.nr_pieces;
			image.pieces = NULL;
		}
	}
	free(meta.pieces);
	free(image.pieces);
	return ret;
}

/* The only segment of a volume; 0: there are several. */
static size_t segment_get(const struct lvm_tree *t, size_t lv)
{
	size_t found = 0;

	for (size_t i = t->nodes[lv].first; i; i = t->nodes[i].next)
		if (t->nodes[i].kind == LVM_SECTION) {
			if (found)
				return 0;
			found = i;
		}
	return found;
}

static int images_get(struct lvm_vg *vg, size_t node, struct lvm_volume *lv)
{
	const struct lvm_tree *t = vg->tree;
	size_t segment = segment_get(t, node);
	size_t list = segment ? lvm_tree_child(t, segment, "raids", LVM_LIST) : 0;
	size_t i = list ? t->nodes[list].first : 0;
	uint64_t nr, bytes;
	int ret = 0;

	if (!list || !lvm_tree_number(t, segment, "device_count", &nr) || !nr ||
	    nr > LVM_RAID_MAX_IMAGES || !lvm_tree_number(t, segment, "extent_count", &bytes) ||
	    __builtin_mul_overflow(bytes, vg->extent_sectors, &bytes) ||
	    bytes > INT64_MAX / SECTOR_BYTES)
		return -EBADMSG;
	for (uint64_t k = 0; k < nr && !ret; k++) {
		ret = image_get(vg, i, bytes * SECTOR_BYTES, lv);
		if (!ret)
			i = t->nodes[t->nodes[i].next].next;
	}
	return ret ? ret : i ? -EBADMSG : 0;
}

/* Where its images lie, if that is simple; else it stays what it is called, with no pieces. */
static int mirror_get(struct lvm_vg *vg, size_t node, struct lvm_volume *lv)
{
	int ret = lv->nr_pieces || !is_plain(vg->tree, node) ? -EBADMSG : images_get(vg, node, lv);

	if (!ret) {
		lv->type[0] = 0;
	} else {
		free(lv->pieces);
		free(lv->metas);
		lv->pieces = lv->metas = NULL;
		lv->nr_pieces = lv->max_pieces = lv->nr_metas = lv->max_metas = 0;
	}
	return ret == -ENOMEM ? ret : 0;
}

static int volume_add(struct lvm_vg *vg, size_t node, struct lvm_group *out)
{
	const struct lvm_node *n = &vg->tree->nodes[node];
	struct lvm_volume *lv;
	int ret;

	if (n->kind != LVM_SECTION || !is_visible(vg->tree, node))
		return 0;
	if (!array_reserve(&out->volumes, &out->max_volumes, out->nr_volumes + 1))
		return -ENOMEM;
	lv = &out->volumes[out->nr_volumes++];
	memset(lv, 0, sizeof(*lv));
	if (!name_copy(lv->name, n->name, n->name_bytes))
		return -EBADMSG;
	ret = pieces_get(vg, node, lv);
	if (!ret && strcmp(lv->type, "raid1") == 0)
		ret = mirror_get(vg, node, lv);
	if (lvm_vg_changing(vg, node))
		strcpy(lv->type, "snapshot");
	return ret;
}

static int volumes_get(struct lvm_vg *vg, size_t lvs, struct lvm_group *out)
{
	const struct lvm_node *nodes = vg->tree->nodes;
	int ret = 0;

	for (size_t i = nodes[lvs].first; i && !ret; i = nodes[i].next)
		ret = volume_add(vg, i, out);
	return ret;
}

static int group_get(const struct lvm_tree *t, struct lvm_group *out)
{
	size_t node = t->nodes[0].first, pvs = 0, lvs;
	struct lvm_vg vg;
	int ret;

	while (node && (t->nodes[node].kind != LVM_SECTION ||
			!(pvs = lvm_tree_child(t, node, "physical_volumes", LVM_SECTION))))
		node = t->nodes[node].next;
	if (!node || !name_copy(out->name, t->nodes[node].name, t->nodes[node].name_bytes))
		return -EBADMSG;
	lvs = lvm_tree_child(t, node, "logical_volumes", LVM_SECTION);
	if (!lvs)
		return 0;
	ret = lvm_vg_read(t, node, pvs, lvs, &vg);
	if (!ret)
		ret = volumes_get(&vg, lvs, out);
	lvm_vg_fini(&vg);
	return ret;
}

int lvm_group_parse(const char *text, const struct lvm_text *where, struct lvm_group *out)
{
	struct lvm_group group = { .nr_volumes = 0 };
	struct lvm_tree tree = { .nr = 0 };
	int ret = where->crc == lvm_crc(text, where->bytes) ? 0 : -EBADMSG;

	if (!ret)
		ret = lvm_tree_parse(text, where->bytes, &tree);
	if (!ret)
		ret = group_get(&tree, &group);
	lvm_tree_fini(&tree);
	if (ret)
		lvm_group_fini(&group);
	else
		*out = group;
	return ret;
}

void lvm_group_fini(struct lvm_group *group)
{
	for (size_t i = 0; i < group->nr_volumes; i++) {
		free(group->volumes[i].pieces);
		free(group->volumes[i].metas);
	}
	free(group->volumes);
	memset(group, 0, sizeof(*group));
}
