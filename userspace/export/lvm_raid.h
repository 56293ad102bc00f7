/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * lvm_raid - whether the images of a mirror are all the same, as device-mapper has noted beside them.
 *
 * Pure. Each image of a logical volume of type raid1 has a metadata volume, which begins with a
 * superblock of dm-raid; docs/EXPORT.md, "Mirrors", has its format, and why this is enough.
 */
#ifndef BLKSHIP_LVM_RAID_H
#define BLKSHIP_LVM_RAID_H

#include <stddef.h>
#include <stdint.h>

#define LVM_RAID_BYTES		512	/* of a superblock that are looked at */
#define LVM_RAID_MAX_IMAGES	10	/* of LVM2, too */

/**
 * lvm_raid_in_sync - whether the first image shows all that was written
 * @superblocks: of all images, in their order, LVM_RAID_BYTES each
 * @image_bytes: length of each
 * Return: 0; -EBADMSG: not superblocks of one such mirror; -EUCLEAN: they are, and one of the images
 * has failed, or has not been made the same as the others yet.
 */
int lvm_raid_in_sync(const uint8_t (*superblocks)[LVM_RAID_BYTES], size_t nr, uint64_t image_bytes);

#endif
