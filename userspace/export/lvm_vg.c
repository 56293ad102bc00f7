// SPDX-License-Identifier: GPL-2.0-only
/* lvm_vg - what the text of a volume group names: physical volumes, and logical ones. */
#include "lvm_vg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../store/array.h"

/* Of whatever begins with a name. */
static int name_compare(const void *a, const void *b)
{
	const struct lvm_name *x = a, *y = b;
	int ret = memcmp(x->at, y->at, x->bytes < y->bytes ? x->bytes : y->bytes);

	return ret ? ret : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

/* As on the label: without the dashes. */
static bool id_copy(const struct lvm_tree *t, size_t pv, char *out)
{
	size_t i = lvm_tree_child(t, pv, "id", LVM_TEXT), nr = 0;

	for (size_t k = 0; i && k < t->nodes[i].text_bytes; k++)
		if (t->nodes[i].text[k] != '-' && nr++ < LVM_ID_BYTES)
			out[nr - 1] = t->nodes[i].text[k];
	return nr == LVM_ID_BYTES;
}

static int pvs_get(struct lvm_vg *vg, size_t pvs)
{
	const struct lvm_tree *t = vg->tree;

	for (size_t i = t->nodes[pvs].first; i; i = t->nodes[i].next) {
		struct lvm_pv *pv;

		if (t->nodes[i].kind != LVM_SECTION)
			continue;
		if (!array_reserve(&vg->pvs, &vg->max_pvs, vg->nr_pvs + 1))
			return -ENOMEM;
		pv = &vg->pvs[vg->nr_pvs++];
		pv->name = (struct lvm_name){ t->nodes[i].name, t->nodes[i].name_bytes };
		if (!id_copy(t, i, pv->id) || !lvm_tree_number(t, i, "pe_start", &pv->start))
			return -EBADMSG;
	}
	if (vg->nr_pvs)
		qsort(vg->pvs, vg->nr_pvs, sizeof(*vg->pvs), name_compare);
	return 0;
}

static int lvs_get(struct lvm_vg *vg, size_t lvs)
{
	const struct lvm_node *nodes = vg->tree->nodes;

	for (size_t i = nodes[lvs].first; i; i = nodes[i].next) {
		if (nodes[i].kind != LVM_SECTION)
			continue;
		if (!array_reserve(&vg->lvs, &vg->max_lvs, vg->nr_lvs + 1))
			return -ENOMEM;
		vg->lvs[vg->nr_lvs++] = (struct lvm_lv){ { nodes[i].name, nodes[i].name_bytes }, i, false };
	}
	if (vg->nr_lvs)
		qsort(vg->lvs, vg->nr_lvs, sizeof(*vg->lvs), name_compare);
	return 0;
}

static int changing_add(struct lvm_vg *vg, size_t segment, const char *what)
{
	size_t i = lvm_tree_child(vg->tree, segment, what, LVM_TEXT);
	const struct lvm_node *node = &vg->tree->nodes[i];

	if (!i)
		return 0;
	if (!array_reserve(&vg->changing, &vg->max_changing, vg->nr_changing + 1))
		return -ENOMEM;
	vg->changing[vg->nr_changing++] = (struct lvm_name){ node->text, node->text_bytes };
	return 0;
}

/*
 * A snapshot is a segment of a hidden volume that names two others: where what is old of its origin
 * is kept, which is no disk's content; and the origin, which is whole, unless the snapshot is being
 * merged into it: then a part of it still lies in the other.
 */
static int snapshot_add(struct lvm_vg *vg, size_t segment)
{
	int ret = changing_add(vg, segment, "cow_store");

	if (ret || !lvm_tree_child(vg->tree, segment, "merging_store", LVM_TEXT))
		return ret;
	ret = changing_add(vg, segment, "merging_store");
	return ret ? ret : changing_add(vg, segment, "origin");
}

static int snapshots_get(struct lvm_vg *vg, size_t lvs)
{
	const struct lvm_node *nodes = vg->tree->nodes;
	int ret = 0;

	for (size_t i = nodes[lvs].first; i; i = nodes[i].next)
		for (size_t k = nodes[i].kind == LVM_SECTION ? nodes[i].first : 0; k && !ret;
		     k = nodes[k].next)
			if (nodes[k].kind == LVM_SECTION)
				ret = snapshot_add(vg, k);
	if (vg->nr_changing)
		qsort(vg->changing, vg->nr_changing, sizeof(*vg->changing), name_compare);
	return ret;
}

int lvm_vg_read(const struct lvm_tree *t, size_t vg, size_t pvs, size_t lvs, struct lvm_vg *out)
{
	int ret;

	*out = (struct lvm_vg){ .tree = t };
	ret = lvm_tree_number(t, vg, "extent_size", &out->extent_sectors) ? pvs_get(out, pvs) :
									    -EBADMSG;
	if (!ret)
		ret = lvs_get(out, lvs);
	return ret ? ret : snapshots_get(out, lvs);
}

void lvm_vg_fini(struct lvm_vg *vg)
{
	free(vg->pvs);
	free(vg->lvs);
	free(vg->changing);
	memset(vg, 0, sizeof(*vg));
}

/* -- asking it -- */

/* Of @nr, @bytes each, that begin with a name. */
static void *find(const void *all, size_t nr, size_t bytes, const char *at, size_t at_bytes)
{
	const struct lvm_name key = { at, at_bytes };

	return nr ? bsearch(&key, all, nr, bytes, name_compare) : NULL;
}

const struct lvm_pv *lvm_vg_pv(const struct lvm_vg *vg, size_t i)
{
	const struct lvm_node *node = &vg->tree->nodes[i];

	return node->kind == LVM_TEXT ?
		find(vg->pvs, vg->nr_pvs, sizeof(*vg->pvs), node->text, node->text_bytes) : NULL;
}

size_t lvm_vg_take_lv(struct lvm_vg *vg, size_t i)
{
	const struct lvm_node *node = &vg->tree->nodes[i];
	struct lvm_lv *lv = node->kind == LVM_TEXT ?
		find(vg->lvs, vg->nr_lvs, sizeof(*vg->lvs), node->text, node->text_bytes) : NULL;

	if (!lv || lv->taken)
		return 0;
	lv->taken = true;
	return lv->node;
}

bool lvm_vg_changing(const struct lvm_vg *vg, size_t lv)
{
	const struct lvm_node *node = &vg->tree->nodes[lv];

	return find(vg->changing, vg->nr_changing, sizeof(*vg->changing), node->name,
		    node->name_bytes);
}
