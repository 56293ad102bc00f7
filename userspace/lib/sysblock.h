/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * sysblock - block devices as sysfs shows them: ranges of disks, what is above and
 * below them.
 *
 * @sysfs is "/sys", or a tree of the tests. Every device that is named may go away at
 * any time; one that did is as one that was never there.
 */
#ifndef BLKSHIP_SYSBLOCK_H
#define BLKSHIP_SYSBLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SYSBLOCK_NAME_BYTES 64
#define SYSBLOCK_DIR_BYTES 512

enum sysblock_kind {
	SYSBLOCK_PLAIN,
	SYSBLOCK_DM,
	SYSBLOCK_MULTIPATH,		/* of device-mapper */
	SYSBLOCK_MD,
	SYSBLOCK_BCACHE,
	SYSBLOCK_NVME_HEAD,		/* of NVMe's own multipath */
};

struct sysblock {
	char dir[SYSBLOCK_DIR_BYTES];
	char name[SYSBLOCK_NAME_BYTES];		/* vda2, dm-0 */
	char label[SYSBLOCK_NAME_BYTES];	/* for people: vda2, vg0-data */
	char disk[SYSBLOCK_NAME_BYTES];		/* vda, dm-0: itself, unless a partition */
	unsigned int major, minor;
	uint64_t start_bytes, size_bytes;	/* the part of the disk that it is */
	enum sysblock_kind kind;
	bool partition;
};

/** sysblock_get - by its number; -ENODEV */
int sysblock_get(const char *sysfs, unsigned int major, unsigned int minor,
		 struct sysblock *out);

/** sysblock_find - the partition, or else the disk, that is this range; -ENODEV */
int sysblock_find(const char *sysfs, unsigned int major, unsigned int minor,
		  uint64_t start_bytes, uint64_t size_bytes, struct sysblock *out);

/** sysblock_text - a file of its folder, or of its disk's; empty when there is none */
void sysblock_text(const struct sysblock *dev, const char *file, char *out, size_t bytes);
void sysblock_disk_text(const struct sysblock *dev, const char *file, char *out, size_t bytes);

/** sysblock_partitions - of a disk; each() returns not 0 to stop, which is returned then */
int sysblock_partitions(const char *sysfs, const struct sysblock *disk,
			int (*each)(void *arg, const struct sysblock *part), void *arg);

/**
 * sysblock_above - all that is built on it, at any height
 * On its partitions too if it is a disk, and on the disk if it is a partition.
 * Return: what each() stopped with; 0; -E2BIG more than can be remembered; -ENOMEM.
 */
int sysblock_above(const char *sysfs, const struct sysblock *dev,
		   int (*each)(void *arg, const struct sysblock *above), void *arg);

/** sysblock_below - all that it is built on, at any depth; as sysblock_above() */
int sysblock_below(const char *sysfs, const struct sysblock *dev,
		   int (*each)(void *arg, const struct sysblock *below), void *arg);

#endif
