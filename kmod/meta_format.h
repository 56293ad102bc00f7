/* SPDX-License-Identifier: GPL-2.0 */
/*
 * meta_format - what is on a volume's metadata device: docs/META.md has the byte
 * offsets. Little-endian; blocks of 4096 bytes, each with a CRC of its own.
 *
 *	0, 1	superblocks; the valid one with the higher write_no counts
 *	2..7	zero
 *	8...	the list: one bit for each region that may differ from the target
 */
#ifndef BLKSHIP_META_FORMAT_H
#define BLKSHIP_META_FORMAT_H

#include <linux/build_bug.h>
#include <linux/types.h>

#define META_BLOCK_BYTES	4096U
#define META_SUPERS		2U
#define META_FIRST_BLOCK	8U
#define META_VERSION		2U
#define META_SUPER_MAGIC	0x53424d42U	/* "BMBS" */
#define META_BLOCK_MAGIC	0x4c424d42U	/* "BMBL" */
#define META_REGION_BYTES	1048576U
#define META_NAME_BYTES		32
#define META_DISK_BYTES		64
#define META_PRINTS		368U	/* blocks of the disk that are looked at */
#define META_PRINT_WORDS	6U

/* What the list is worth when nobody is attached. */
enum meta_state {
	META_CLEAN	= 1,	/* good, if the prints fit */
	META_LOGGED	= 2,	/* attached, each write listed before it was made: the same */
	META_IN_USE	= 3,	/* attached, writes are not listed: worth nothing */
	META_OFF	= 4,	/* writes went on unlisted: worth nothing */
};

struct meta_super {
	__le32	magic;
	__le16	version;
	__le16	state;		/* enum meta_state */
	__le32	crc;		/* CRC32C of the 4096 bytes, this as 0 */
	__le32	region_bytes;
	__le64	write_no;	/* of superblocks: the higher one is the newer */
	__le64	size_bytes;	/* of the volume */
	__le64	log_no;		/* of the newest list when this was written */
	__le64	unused;
	__le64	ordinal;	/* commit that was durable when regions were last delisted */
	__u8	id[16];		/* random, of this list: its blocks have the same */
	__u8	instance[16];	/* group, in the kernel, that is or was attached */
	__u8	basis_instance[16]; /* the list tells differences to the target as it was */
	__le32	basis_incarnation;  /* left by this instance and incarnation; 0: to none */
	__le32	reserved;
	char	group[META_NAME_BYTES];
	char	volume[META_NAME_BYTES];
	char	disk[META_DISK_BYTES];	/* what the kernel can say of it; may be empty */
	/* Bit n % 64 of word n / 64: prints[n] is what that block of the disk holds. */
	__le64	printed[META_PRINT_WORDS];
	__le32	prints[META_PRINTS];	/* CRC32C */
};
static_assert(sizeof(struct meta_super) == 1760);
static_assert(META_PRINT_WORDS == (META_PRINTS + 63) / 64);

struct meta_block {
	__le32	magic;
	__le32	crc;		/* CRC32C of the 4096 bytes, this as 0 */
	__le64	index;		/* of the block in the list, from 0 */
	__le64	log_no;		/* rises with each change of the list */
	__u8	id[16];		/* as in the superblock */
	__le64	reserved[3];
	/* Bit n % 64 of word n / 64 is region index * META_BLOCK_REGIONS + n. */
	__le64	words[504];
};
static_assert(sizeof(struct meta_block) == META_BLOCK_BYTES);

#define META_BLOCK_WORDS	504U
#define META_BLOCK_REGIONS	(META_BLOCK_WORDS * 64U)

#endif
