/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lvm_vg - what the text of a volume group names: physical volumes, and logical ones.
 *
 * Pure. Sorted, as anybody may have written very many.
 */
#ifndef BLKSHIP_LVM_VG_H
#define BLKSHIP_LVM_VG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lvm.h"
#include "lvm_tree.h"

/* Borrowed from the text. */
struct lvm_name {
	const char *at;
	size_t bytes;
};

struct lvm_pv {
	struct lvm_name name;
	char id[LVM_ID_BYTES];
	uint64_t start;		/* of its first extent, in sectors */
};

struct lvm_lv {
	struct lvm_name name;
	size_t node;
	bool taken;
};

struct lvm_vg {
	const struct lvm_tree *tree;	/* borrowed */
	uint64_t extent_sectors;
	struct lvm_pv *pvs;
	size_t nr_pvs, max_pvs;
	struct lvm_lv *lvs;
	size_t nr_lvs, max_lvs;
	struct lvm_name *changing;	/* logical volumes whose content is not all in their pieces */
	size_t nr_changing, max_changing;
};

/**
 * lvm_vg_read - know all names
 * @vg: node of the group
 * @pvs, @lvs: those of its physical and logical volumes
 * @out: lvm_vg_fini() is due, whatever is returned
 * Return: 0; -EBADMSG; -ENOMEM.
 */
int lvm_vg_read(const struct lvm_tree *t, size_t vg, size_t pvs, size_t lvs, struct lvm_vg *out);
void lvm_vg_fini(struct lvm_vg *vg);

/** lvm_vg_pv - the physical volume whose name a text, node @i, is; NULL: there is none */
const struct lvm_pv *lvm_vg_pv(const struct lvm_vg *vg, size_t i);

/** lvm_vg_take_lv - the node of a logical volume, named so; 0: there is none, or it was taken before,
 * as a part of another one */
size_t lvm_vg_take_lv(struct lvm_vg *vg, size_t i);

/** lvm_vg_changing - what a logical volume shows, node @lv, is not all in its pieces */
bool lvm_vg_changing(const struct lvm_vg *vg, size_t lv);

#endif
