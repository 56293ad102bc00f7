/* SPDX-License-Identifier: GPL-2.0 */
/*
 * meta_core - the list of regions that may differ from the target, and how it is
 * written down. Arithmetic only; also built for the host.
 *
 * Beside stage [1 capture]: a write of a volume with a write-intent log asks
 * here whether its regions are listed on the metadata device. meta_log.c does
 * the I/O.
 *
 * Promises:
 *  - a region is told to be listed only after a block that has it was written;
 *  - it is taken off only when all that was ever written to it is durable at
 *    the target and it is neither dirty nor repairing, and it counts as not
 *    listed from the moment that the block without it is filled;
 *  - what cannot be read back, or does not check, is listed.
 *
 * The caller holds the group's lock around what takes a struct blkship_list,
 * and writes one block at a time (fill, write, wrote). Nothing here allocates.
 */
#ifndef BLKSHIP_META_CORE_H
#define BLKSHIP_META_CORE_H

#include "dirty_core.h"
#include "meta_format.h"

/* -- the list -- */

/* All maps have one bit for each region of META_REGION_BYTES. */
struct blkship_list {
	u64 *listed;		/* is on the device: a write may go */
	u64 *wanted;		/* has to be, and waits for its block */
	u64 *touched;		/* was written to in this period */
	u64 *leaving;		/* goes with the next write of its block, if still unused */
	u64 *due;		/* one bit for each block that is to be written */
	u64 nr_regions;
	u64 nr_listed;
	u32 nr_blocks;
	bool may_leave;		/* what is leaving may go: see blkship_list_leave() */
	u64 closed_pos;		/* ring position when the last period ended */
};

u64 blkship_list_regions(u64 size_bytes);
u32 blkship_list_blocks(u64 size_bytes);
/* Words of memory that a list of this volume needs. */
u64 blkship_list_words(u64 size_bytes);

/* Empty. memory: zeroed, blkship_list_words() of it; the caller's. */
void blkship_list_init(struct blkship_list *l, u64 size_bytes, u64 *memory);

/* A write comes: whether it may go. If not, its blocks are due from now on. */
bool blkship_list_touch(struct blkship_list *l, u64 offset_bytes,
			u64 length_bytes);

/* Whether the whole range is listed by now. */
bool blkship_list_covers(const struct blkship_list *l, u64 offset_bytes,
			 u64 length_bytes);

/* Have a range listed that nobody writes to: it was marked dirty. */
void blkship_list_want(struct blkship_list *l, u64 offset_bytes,
		       u64 length_bytes);

/* As if all had just been read from the device: everything is listed. */
void blkship_list_fill_all(struct blkship_list *l);

/*
 * A period ends, for the words [*at, *at + max_words) of the maps; *at moves on
 * and becomes the number of words at the end. With retire, what is listed and
 * was not touched in the period may leave after blkship_list_leave(). The
 * caller may let the lock go in between. When the end is reached head_pos is
 * remembered: all that was touched before lies below it in the ring.
 */
void blkship_list_period(struct blkship_list *l, bool retire, u64 head_pos,
			 u64 *at, u64 max_words);
u64 blkship_list_map_words(const struct blkship_list *l);

/*
 * The disk keeps what was written to it before the period ended: what is
 * leaving may go, if nothing has happened to it since; its blocks are due.
 */
void blkship_list_leave(struct blkship_list *l);

/* The first block from @from on that is due; false when there is none. */
bool blkship_list_due(const struct blkship_list *l, u32 from, u32 *block);

/*
 * Fill a block's bits as they are to be written: what is listed or wanted, less
 * what leaves. It is not due any more.
 */
void blkship_list_block_fill(struct blkship_list *l,
			     const struct blkship_dirty *maps, u32 block,
			     struct meta_block *out);

/* This block is durable: what it has is listed. */
void blkship_list_block_wrote(struct blkship_list *l, u32 block,
			      const struct meta_block *written);

/* Whether nobody can be writing to this byte's region: it is not to be listed. */
bool blkship_list_rests(const struct blkship_list *l, u64 offset_bytes);

/* Read from the device: what it has is listed; in NULL (or damaged) all is. */
void blkship_list_block_load(struct blkship_list *l, u32 block,
			     const struct meta_block *read);

/* Mark dirty what is listed, for the words from *at on, as above. */
void blkship_list_mark(const struct blkship_list *l, struct blkship_dirty *maps,
		       u64 *at, u64 max_words);

/* -- prints: what some blocks of the disk hold, to tell when others write there -- */

/*
 * One is known as long as its region is not listed. A region leaves the list
 * only after a superblock was written while it was listed, and so without its
 * print: what a superblock has of a region that is not listed is never older
 * than the last write to it.
 */
struct blkship_prints {
	u64 known[META_PRINT_WORDS];
	u32 crc[META_PRINTS];
};

/* How many a volume of this size has, and where: at blocks of META_BLOCK_BYTES. */
u32 blkship_prints_count(u64 size_bytes);
u64 blkship_print_offset(u64 size_bytes, u32 n);

static inline bool blkship_print_known(const struct blkship_prints *p, u32 n)
{
	return p->known[n / 64] >> n % 64 & 1;
}

/* This is what the block holds, read while its region rested. */
void blkship_print_set(struct blkship_prints *p, u32 n, const void *block);
/* It is not known what it holds. */
void blkship_print_forget(struct blkship_prints *p, u32 n);
/* Whether it still does; true when it is not known. */
bool blkship_print_fits(const struct blkship_prints *p, u32 n,
			const void *block);
/* Forget those whose regions are listed, or are to be. */
void blkship_prints_settle(struct blkship_prints *p,
			   const struct blkship_list *l, u64 size_bytes);

/* -- blocks, as on the device -- */

/* A superblock in the host's order. */
struct blkship_super {
	u16 state;			/* enum meta_state */
	u32 place;			/* block that it was read from */
	u64 write_no;
	u64 size_bytes;
	u64 log_no;
	u64 ordinal;
	u8 id[16];
	u8 instance[16];
	u8 basis_instance[16];
	u32 basis_incarnation;
	char group[META_NAME_BYTES];
	char volume[META_NAME_BYTES];
	char disk[META_DISK_BYTES];
};

void blkship_super_encode(const struct blkship_super *s,
			  const struct blkship_prints *prints, void *block);
/* Of a block that blkship_super_choose() has chosen. */
void blkship_prints_decode(const void *block, struct blkship_prints *out);

/*
 * Choose among the META_SUPERS blocks. 0; -ENODATA: both are empty, nothing was
 * ever here; -EBADMSG: there is something, but no superblock of ours that
 * checks (*foreign: nor anything that looks like one); -EPROTO: another version.
 */
int blkship_super_choose(const void *blocks, struct blkship_super *out,
			 bool *foreign);

/* Head and CRC around the bits of a block. */
void blkship_block_seal(struct meta_block *block, const u8 *id, u32 index,
			u64 log_no);
/* Whether it checks, and is this block of this list. */
bool blkship_block_valid(const struct meta_block *block, const u8 *id,
			 u32 index);

#endif
