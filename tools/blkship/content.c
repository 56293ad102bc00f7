// SPDX-License-Identifier: GPL-2.0-only
#include "content.h"

#include <blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR_BYTES	512	/* libblkid's, whatever the disk's is */
#define MAX_PARTITIONS	128

static void type_at(int fd, struct content *c)
{
	blkid_probe probe = blkid_new_probe();
	const char *type = NULL;

	if (probe && blkid_probe_set_device(probe, fd, c->offset_bytes, c->length_bytes) == 0) {
		blkid_probe_enable_superblocks(probe, 1);
		blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
		if (blkid_do_safeprobe(probe) == 0)
			blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
		if (type)
			snprintf(c->type, sizeof(c->type), "%s", type);
	}
	blkid_free_probe(probe);
}

static size_t find_partitions(int fd, struct content *found)
{
	blkid_probe probe = blkid_new_probe();
	blkid_partlist list = NULL;
	size_t nr = 0;

	if (probe && blkid_probe_set_device(probe, fd, 0, 0) == 0) {
		blkid_probe_enable_partitions(probe, 1);
		list = blkid_probe_get_partitions(probe);
	}
	for (int i = 0; list && i < blkid_partlist_numof_partitions(list) && nr < MAX_PARTITIONS; i++) {
		blkid_partition p = blkid_partlist_get_partition(list, i);

		/* An extended partition is only a place for others. */
		if (!p || blkid_partition_is_extended(p))
			continue;
		found[nr] = (struct content){
			.partition = blkid_partition_get_partno(p),
			.offset_bytes = blkid_partition_get_start(p) * (uint64_t)SECTOR_BYTES,
			.length_bytes = blkid_partition_get_size(p) * (uint64_t)SECTOR_BYTES,
		};
		type_at(fd, &found[nr++]);
	}
	blkid_free_probe(probe);
	return nr;
}

int content_find(const char *path, struct content **out, size_t *nr)
{
	struct content *found = calloc(MAX_PARTITIONS, sizeof(*found));
	int fd = open(path, O_RDONLY | O_CLOEXEC), ret = 0;

	if (!found || fd < 0) {
		ret = found ? -errno : -ENOMEM;
		free(found);
		if (fd >= 0)
			close(fd);
		return ret;
	}
	*nr = 1;
	type_at(fd, &found[0]);
	if (!found[0].type[0]) {
		size_t partitions = find_partitions(fd, found);

		if (partitions)
			*nr = partitions;
	}
	close(fd);
	*out = found;
	return 0;
}

/*
 * The superblock may say that the kernel is to panic when the filesystem is found
 * damaged: that was meant for another machine. The original, or another point of it,
 * may be mounted here, too.
 */
const char *content_mount_options(const char *type)
{
	if (strcmp(type, "ext4") == 0 || strcmp(type, "ext3") == 0 || strcmp(type, "ext2") == 0)
		return "errors=remount-ro";
	if (strcmp(type, "xfs") == 0)
		return "nouuid";
	if (strcmp(type, "btrfs") == 0 || strcmp(type, "vfat") == 0)
		return "";
	return NULL;
}

const char *content_why_not(const char *type)
{
	static const struct { const char *type, *why; } known[] = {
		{ "", "nothing that is known" },
		{ "swap", "swap space" },
		{ "crypto_LUKS", "encrypted; map it with --device and open it with cryptsetup" },
		{ "linux_raid_member", "part of an md array; map it with --device and assemble it" },
	};

	if (strcmp(type, "LVM2_member") == 0)
		return access("/dev/mapper/control", F_OK) == 0 ?
		       "logical volumes are not opened; map it with --device and use vgimportclone" :
		       "logical volumes need device-mapper, which this kernel does not have; restore it elsewhere";
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(type, known[i].type) == 0)
			return known[i].why;
	return "not a filesystem that is mounted here; map it with --device and mount it by hand";
}
