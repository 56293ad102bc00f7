// SPDX-License-Identifier: GPL-2.0-only
/* lv_join - logical volumes in several pieces, which may lie on several volumes of a group; mirrors. */
#include "lv_join.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/export/lvm_raid.h"
#include "../../userspace/store/array.h"
#include "mapping.h"

#define PARAMETER_BYTES (NAME_BYTES + 48)

void lv_join_fini(struct lv_join *join)
{
	for (size_t i = 0; i < join->nr_lvs; i++) {
		free(join->lvs[i].pieces);
		free(join->lvs[i].metas);
	}
	for (size_t i = 0; i < join->nr_pvs; i++)
		free(join->pvs[i].file);
	free(join->lvs);
	free(join->pvs);
	memset(join, 0, sizeof(*join));
}

int lv_join_note(struct lv_join *join, const char *volume, const char *file, struct content *c,
		 json_t *row)
{
	if (c->pv[0]) {
		struct lv_join_pv *pv;

		if (!array_reserve(&join->pvs, &join->max_pvs, join->nr_pvs + 1))
			return -ENOMEM;
		pv = &join->pvs[join->nr_pvs++];
		*pv = (struct lv_join_pv){ .offset_bytes = c->offset_bytes,
					   .length_bytes = c->length_bytes,
					   .file = strdup(file) };
		if (!pv->file)
			return -ENOMEM;
		memcpy(pv->id, c->pv, sizeof(pv->id));
		snprintf(pv->volume, sizeof(pv->volume), "%s", volume);
	}
	if (c->pieces && join->nr_lvs < LV_JOIN_MAX) {
		struct lv_join_lv *lv;

		if (!array_reserve(&join->lvs, &join->max_lvs, join->nr_lvs + 1))
			return -ENOMEM;
		lv = &join->lvs[join->nr_lvs++];
		*lv = (struct lv_join_lv){ .row = row, .pieces = c->pieces,
					   .nr_pieces = c->nr_pieces,
					   .metas = c->metas, .nr_metas = c->nr_metas };
		c->pieces = c->metas = NULL;
		snprintf(lv->volume, sizeof(lv->volume), "%s", volume);
		snprintf(lv->lv, sizeof(lv->lv), "%s", c->lv);
	}
	return 0;
}

/* Of several with one id that on the same volume; elsewhere it has to be the only one. */
static const struct lv_join_pv *pv_find(const struct lv_join *join, const struct lv_join_lv *lv,
					const char *id, const char **why_not)
{
	const struct lv_join_pv *found = NULL;
	size_t nr = 0;

	for (size_t i = 0; i < join->nr_pvs; i++) {
		const struct lv_join_pv *pv = &join->pvs[i];

		if (memcmp(pv->id, id, sizeof(pv->id)) != 0)
			continue;
		if (strcmp(pv->volume, lv->volume) == 0)
			return pv;
		found = pv;
		nr++;
	}
	*why_not = nr ? "a logical volume on several disks, and two of the group say that they are the same one of these" :
		   "a logical volume on several disks, not all of which are in the group";
	return nr == 1 ? found : NULL;
}

static const struct lv_join_pv *piece_find(const struct lv_join *join, const struct lv_join_lv *lv,
					   const struct lvm_piece *p, const char **why_not)
{
	const struct lv_join_pv *pv = pv_find(join, lv, p->pv, why_not);

	if (!pv || (p->offset_bytes <= pv->length_bytes &&
		    p->length_bytes <= pv->length_bytes - p->offset_bytes))
		return pv;
	*why_not = "a logical volume that goes on behind the end of its disk";
	return NULL;
}

/* One for each piece, and one for each number of them that are laid in stripes. */
static size_t nr_parameters(const struct lv_join_lv *lv)
{
	size_t nr = lv->nr_pieces;

	for (size_t i = 0; i < lv->nr_pieces; i += lv->pieces[i].nr_stripes)
		nr += lv->pieces[i].nr_stripes > 1;
	return nr;
}

/* Into @out, PARAMETER_BYTES each; false: as @why_not says. */
static bool parameters_tell(const struct lv_join *join, const struct lv_join_lv *lv, char **out,
			    const char **why_not)
{
	const struct lvm_piece *p = lv->pieces, *end = p + lv->nr_pieces;

	while (p < end) {
		const struct lvm_piece *last = p + p->nr_stripes;

		if (p->nr_stripes > 1)
			snprintf(*out++, PARAMETER_BYTES, "stripe=%u:%llu", p->nr_stripes,
				 (unsigned long long)p->stripe_bytes);
		for (; p < last; p++) {
			const struct lv_join_pv *pv = piece_find(join, lv, p, why_not);

			if (!pv)
				return false;
			snprintf(*out++, PARAMETER_BYTES, "join=%s:%llu:%llu", pv->volume,
				 (unsigned long long)(pv->offset_bytes + p->offset_bytes),
				 (unsigned long long)p->length_bytes);
		}
	}
	*why_not = NULL;
	return true;
}

/* -- mirrors -- */

static bool superblock_read(const struct lv_join_pv *pv, const struct lvm_piece *meta, uint8_t *out)
{
	int fd = open(pv->file, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd < 0 ? -1 : pread(fd, out, LVM_RAID_BYTES, pv->offset_bytes + meta->offset_bytes);

	if (fd >= 0)
		close(fd);
	return got == LVM_RAID_BYTES;
}

/* NULL: its first image shows everything. */
static const char *mirror_why_not(const struct lv_join *join, const struct lv_join_lv *lv)
{
	uint8_t superblocks[LVM_RAID_MAX_IMAGES][LVM_RAID_BYTES];
	uint64_t image_bytes = 0;
	const char *why_not;

	for (size_t i = 0; i < lv->nr_metas; i++) {
		const struct lv_join_pv *pv = piece_find(join, lv, &lv->metas[i], &why_not);

		if (!pv)
			return why_not;
		if (!superblock_read(pv, &lv->metas[i], superblocks[i]))
			return "a mirror, and what is noted of its images cannot be read" CONTENT_BY_LVM;
	}
	for (size_t i = 0; i < lv->nr_pieces; i++)
		image_bytes += lv->pieces[i].length_bytes;
	switch (lvm_raid_in_sync(superblocks, lv->nr_metas, image_bytes)) {
	case 0:
		return NULL;
	case -EUCLEAN:
		return "a mirror of which an image has failed, or is not the same as the others yet" CONTENT_BY_LVM;
	default:
		return "a mirror, and what is noted of its images is not understood" CONTENT_BY_LVM;
	}
}

char **lv_join_parameters(const struct lv_join *join, const struct lv_join_lv *lv,
			  const char **why_not)
{
	size_t nr = nr_parameters(lv);
	char **out;

	*why_not = lv->nr_metas ? mirror_why_not(join, lv) : NULL;
	if (*why_not)
		return NULL;
	*why_not = "a logical volume in too many pieces" CONTENT_BY_LVM;
	if (nr > MAPPING_MAX_PARAMETERS)
		return NULL;
	out = calloc(1, (nr + 1) * sizeof(*out) + nr * PARAMETER_BYTES);
	*why_not = "out of memory";
	if (!out)
		return NULL;
	for (size_t i = 0; i < nr; i++)
		out[i] = (char *)(out + nr + 1) + i * PARAMETER_BYTES;
	if (parameters_tell(join, lv, out, why_not))
		return out;
	free(out);
	return NULL;
}
