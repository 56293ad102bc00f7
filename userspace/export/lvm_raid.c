// SPDX-License-Identifier: GPL-2.0-only
/* lvm_raid - whether the images of a mirror are all the same, as device-mapper has noted beside them. */
#include "lvm_raid.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "lvm_bytes.h"

#define SECTOR_BYTES	512
#define EXTENDED	1u	/* of the features: there is what lies behind byte 60 */
#define LEVEL_RAID1	1
#define NOTHING_LEFT	UINT64_MAX	/* to be made the same */

/* Superblock @number of @nr. One without the extension is of Linux before 4.8. */
static bool is_mirror(const uint8_t *sb, size_t number, size_t nr, uint64_t image_bytes)
{
	return !memcmp(sb, "DmRd", 4) && lvm_get32(sb + 4) == EXTENDED && !lvm_get32(sb + 144) &&
	       lvm_get32(sb + 8) == nr && lvm_get32(sb + 12) == number &&
	       lvm_get32(sb + 48) == LEVEL_RAID1 && lvm_get32(sb + 72) == LEVEL_RAID1 &&
	       lvm_get64(sb + 88) == image_bytes / SECTOR_BYTES &&
	       lvm_get64(sb + 112) == image_bytes / SECTOR_BYTES;
}

/* Failed, of this image or of others; recovered, resynced and reshaped up to; moved by. */
static bool is_whole(const uint8_t *sb)
{
	return !lvm_get64(sb + 24) && !lvm_get64(sb + 120) && !lvm_get64(sb + 128) && !lvm_get64(sb + 136) &&
	       lvm_get64(sb + 32) == NOTHING_LEFT && lvm_get64(sb + 40) == NOTHING_LEFT &&
	       !lvm_get32(sb + 60) && lvm_get64(sb + 64) == NOTHING_LEFT && !lvm_get32(sb + 84) &&
	       !lvm_get64(sb + 96) && !lvm_get64(sb + 104);
}

/*
 * Of superblocks that are being written some may be new already. More than one behind is one whose
 * writes went wrong, although none says so.
 */
int lvm_raid_in_sync(const uint8_t (*superblocks)[LVM_RAID_BYTES], size_t nr, uint64_t image_bytes)
{
	uint64_t newest = 0, oldest = UINT64_MAX;
	bool whole = true;

	for (size_t i = 0; i < nr; i++) {
		uint64_t events = lvm_get64(superblocks[i] + 16);

		if (!is_mirror(superblocks[i], i, nr, image_bytes))
			return -EBADMSG;
		whole = whole && is_whole(superblocks[i]);
		newest = events > newest ? events : newest;
		oldest = events < oldest ? events : oldest;
	}
	return whole && nr && newest - oldest <= 1 ? 0 : -EUCLEAN;
}
