/* SPDX-License-Identifier: GPL-2.0-only */
/* content - what is on a volume: a filesystem, partitions, logical volumes; found by libblkid. */
#ifndef BLKSHIP_CONTENT_H
#define BLKSHIP_CONTENT_H

#include <stddef.h>
#include <stdint.h>

#include "../../userspace/export/lvm.h"

#define CONTENT_TYPE_BYTES 32
#define CONTENT_LV_BYTES 264
/* What to do about what is not opened here; behind what it is. */
#define CONTENT_BY_LVM "; `blkship map --device --writable`, then vgimportclone and vgchange -ay"

struct content {
	unsigned int partition;		/* 0: the whole volume */
	uint64_t offset_bytes;
	uint64_t length_bytes;
	char type[CONTENT_TYPE_BYTES];	/* as blkid names it; "" unknown, or nothing */
	char lv[CONTENT_LV_BYTES];	/* GROUP/NAME of a logical volume in it; else "" */
	char pv[LVM_ID_BYTES];		/* of a physical volume with metadata; else zeroes */
	struct lvm_piece *pieces;	/* of a logical volume in several; then it has no range */
	size_t nr_pieces;
	struct lvm_piece *metas;	/* of a mirror, as in lvm.h; then it has pieces, be it one */
	size_t nr_metas;
	const char *why_not;		/* that cannot be had by its range; NULL */
};

/**
 * content_find - look at a file or device
 * @out: content_free() it
 * Return: 0, *nr at least 1; -errno.
 */
int content_find(const char *path, struct content **out, size_t *nr);
void content_free(struct content *found, size_t nr);

/** content_whole - the whole of a file or device, whatever is in it; 0 or -errno */
int content_whole(const char *path, struct content *out);

/**
 * content_mount_options - how to mount a filesystem that is a copy of another one
 * Return: options for mount(2); NULL: it is nothing that is mounted.
 */
const char *content_mount_options(const char *type);

/** content_why_not - why it is not mounted, and what to do */
const char *content_why_not(const struct content *c);

#endif
