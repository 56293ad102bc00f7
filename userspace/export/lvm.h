/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lvm - where the logical volumes of a volume group lie, as its metadata say.
 *
 * Pure, and only for looking: from blocks of a physical volume to ranges of it, so that no
 * device-mapper is needed and two groups of one name are no matter. The format is LVM2's
 * own (label, metadata area, text); what lies on a disk is checked, as anybody may have
 * written it.
 */
#ifndef BLKSHIP_LVM_H
#define BLKSHIP_LVM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LVM_LABEL_BYTES	2048		/* the label is in one of the first sectors */
#define LVM_AREA_BYTES	512		/* what begins a metadata area */
#define LVM_ID_BYTES	32
#define LVM_NAME_BYTES	128
#define LVM_MAX_TEXT_BYTES (16u << 20)

/* A physical volume: who it is, and where its metadata area lies in it. */
struct lvm_label {
	char id[LVM_ID_BYTES];
	uint64_t area_offset, area_bytes;
};

/* The text in a metadata area: from @offset in the area on, and again from LVM_AREA_BYTES on
 * where the area ends. */
struct lvm_text {
	uint64_t offset, bytes;
	uint32_t crc;
};

/* A stretch of a logical volume in one physical volume. */
struct lvm_piece {
	char pv[LVM_ID_BYTES];
	uint64_t offset_bytes;		/* in the physical volume */
	uint64_t length_bytes;
	/* It and those beside it: a stripe of each in turn, and again. 1: it is alone. */
	uint32_t nr_stripes;
	uint64_t stripe_bytes;		/* divides length_bytes; alone it may be anything */
};

struct lvm_volume {
	char name[LVM_NAME_BYTES];
	/* Of a segment that is neither linear nor striped; "stacked": it lies in another volume;
	 * "snapshot": of one, or one is being merged into it; "": what it shows is in its pieces,
	 * which are here: */
	char type[LVM_NAME_BYTES];
	struct lvm_piece *pieces;
	size_t nr_pieces, max_pieces;
	/* There are some: its pieces are the first image of a mirror, whose metadata volumes begin
	 * with these. That it shows everything is for lvm_raid_in_sync() to say. */
	struct lvm_piece *metas;
	size_t nr_metas, max_metas;
};

struct lvm_group {
	char name[LVM_NAME_BYTES];
	struct lvm_volume *volumes;	/* that people see */
	size_t nr_volumes, max_volumes;
};

/**
 * lvm_label_find - in the first LVM_LABEL_BYTES of a physical volume
 * Return: 0; -ENODATA it has no metadata area; -EBADMSG no label that checks.
 */
int lvm_label_find(const void *head, struct lvm_label *out);

/**
 * lvm_text_find - which text of a metadata area counts
 * @area: its first LVM_AREA_BYTES
 * Return: 0; -ENODATA none: the metadata are on other physical volumes; -EBADMSG.
 */
int lvm_text_find(const void *area, const struct lvm_label *label, struct lvm_text *out);

/**
 * lvm_group_parse - take the text apart
 * @text: @where->bytes of it
 * @out: lvm_group_fini() is due on success
 * Return: 0; -EBADMSG; -E2BIG more than any group has; -ENOMEM.
 */
int lvm_group_parse(const char *text, const struct lvm_text *where, struct lvm_group *out);
void lvm_group_fini(struct lvm_group *group);

#endif
