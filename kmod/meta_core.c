// SPDX-License-Identifier: GPL-2.0
/* See meta_core.h for what the list promises. */
#include <linux/bitops.h>
#include <linux/crc32c.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/string.h>
#include <asm/byteorder.h>

#include "meta_core.h"

/* Dirty regions of one region of the list: they lie in a row within a word. */
#define PER_REGION	(META_REGION_BYTES / BLKSHIP_REGION_BYTES)
#define PER_REGION_MASK	((1ULL << PER_REGION) - 1)
static_assert(META_REGION_BYTES % BLKSHIP_REGION_BYTES == 0);
static_assert(PER_REGION < 64 && 64 % PER_REGION == 0);

/* What the prints are of: boot sector, labels, the first file system. */
#define PRINT_FIRST_BYTES	(1152ULL << 10)
#define PRINT_LAST_BYTES	(64ULL << 10)
#define PRINT_SPREAD		64
static_assert((PRINT_FIRST_BYTES + PRINT_LAST_BYTES) / META_BLOCK_BYTES +
	      PRINT_SPREAD == META_PRINTS);

/* -- the list -- */

u64 blkship_list_regions(u64 size_bytes)
{
	return size_bytes / META_REGION_BYTES +
	       (size_bytes % META_REGION_BYTES ? 1 : 0);
}

u64 blkship_list_map_words(const struct blkship_list *l)
{
	return (u64)l->nr_blocks * META_BLOCK_WORDS;
}

u32 blkship_list_blocks(u64 size_bytes)
{
	u64 regions = blkship_list_regions(size_bytes);

	return (regions + META_BLOCK_REGIONS - 1) / META_BLOCK_REGIONS;
}

u64 blkship_list_words(u64 size_bytes)
{
	u64 blocks = blkship_list_blocks(size_bytes);

	return 4 * blocks * META_BLOCK_WORDS + (blocks + 63) / 64;
}

void blkship_list_init(struct blkship_list *l, u64 size_bytes, u64 *memory)
{
	u64 words;

	l->nr_regions = blkship_list_regions(size_bytes);
	l->nr_blocks = blkship_list_blocks(size_bytes);
	words = blkship_list_map_words(l);
	l->listed = memory;
	l->wanted = memory + words;
	l->touched = memory + 2 * words;
	l->leaving = memory + 3 * words;
	l->due = memory + 4 * words;
	l->nr_listed = 0;
	l->closed_pos = 0;
	l->may_leave = false;
}

/* First and last region of a range; false when it has none. */
static bool range_of(const struct blkship_list *l, u64 offset_bytes,
		     u64 length_bytes, u64 *first, u64 *last)
{
	u64 end = offset_bytes + length_bytes - 1;

	*first = offset_bytes / META_REGION_BYTES;
	if (!length_bytes || *first >= l->nr_regions)
		return false;
	*last = end < offset_bytes ? l->nr_regions - 1 : end / META_REGION_BYTES;
	*last = min_t(u64, *last, l->nr_regions - 1);
	return true;
}

/* The bits of word n that lie in first..last. */
static u64 mask_of(u64 n, u64 first, u64 last)
{
	u32 from = n == first / 64 ? first % 64 : 0;
	u32 to = n == last / 64 ? last % 64 : 63;

	return (~0ULL >> (63 - to)) & (~0ULL << from);
}

static void word_want(struct blkship_list *l, u64 word, u64 bits)
{
	u32 block = word / META_BLOCK_WORDS;

	if (!bits)
		return;
	l->wanted[word] |= bits;
	l->due[block / 64] |= 1ULL << block % 64;
}

bool blkship_list_touch(struct blkship_list *l, u64 offset_bytes,
			u64 length_bytes)
{
	u64 first, last, word;
	bool go = true;

	if (!range_of(l, offset_bytes, length_bytes, &first, &last))
		return true;
	for (word = first / 64; word <= last / 64; word++) {
		u64 mask = mask_of(word, first, last);
		u64 cold = mask & ~l->listed[word];

		l->touched[word] |= mask;
		if (!cold)
			continue;
		word_want(l, word, cold & ~l->wanted[word]);
		go = false;
	}
	return go;
}

bool blkship_list_covers(const struct blkship_list *l, u64 offset_bytes,
			 u64 length_bytes)
{
	u64 first, last, word;

	if (!range_of(l, offset_bytes, length_bytes, &first, &last))
		return true;
	for (word = first / 64; word <= last / 64; word++)
		if (mask_of(word, first, last) & ~l->listed[word])
			return false;
	return true;
}

bool blkship_list_rests(const struct blkship_list *l, u64 offset_bytes)
{
	u64 region = offset_bytes / META_REGION_BYTES;

	return !((l->listed[region / 64] | l->wanted[region / 64]) >>
		 region % 64 & 1);
}

void blkship_list_want(struct blkship_list *l, u64 offset_bytes,
		       u64 length_bytes)
{
	u64 first, last, word;

	if (!range_of(l, offset_bytes, length_bytes, &first, &last))
		return;
	for (word = first / 64; word <= last / 64; word++)
		word_want(l, word, mask_of(word, first, last) &
				   ~l->listed[word] & ~l->wanted[word]);
}

/* The bits of a word that are regions of the volume. */
static u64 word_valid(const struct blkship_list *l, u64 word)
{
	if (word * 64 >= l->nr_regions)
		return 0;
	return mask_of(word, 0, min_t(u64, word * 64 + 63, l->nr_regions - 1));
}

void blkship_list_fill_all(struct blkship_list *l)
{
	u64 words = blkship_list_map_words(l), i;

	for (i = 0; i < words; i++)
		l->listed[i] = word_valid(l, i);
	l->nr_listed = l->nr_regions;
}

void blkship_list_period(struct blkship_list *l, bool retire, u64 head_pos,
			 u64 *at, u64 max_words)
{
	u64 words = blkship_list_map_words(l);
	u64 end = min_t(u64, *at + max_words, words);

	l->may_leave = false;
	for (; *at < end; (*at)++) {
		l->leaving[*at] = retire ? l->listed[*at] & ~l->touched[*at] :
					   0;
		l->touched[*at] = 0;
	}
	if (*at == words)
		l->closed_pos = head_pos;
}

void blkship_list_leave(struct blkship_list *l)
{
	u64 words = blkship_list_map_words(l), i;

	l->may_leave = true;
	for (i = 0; i < words; i++) {
		u32 block = i / META_BLOCK_WORDS;

		if (l->leaving[i])
			l->due[block / 64] |= 1ULL << block % 64;
	}
}

bool blkship_list_due(const struct blkship_list *l, u32 from, u32 *block)
{
	u32 i;

	for (i = from; i < l->nr_blocks; i++) {
		if (!(l->due[i / 64] >> i % 64 & 1))
			continue;
		*block = i;
		return true;
	}
	return false;
}

/* Of these regions of a word, those that are dirty or repairing in part. */
static u64 word_busy(const struct blkship_dirty *maps, u64 word, u64 bits)
{
	u64 busy = 0, left;

	for (left = bits; left; left &= left - 1) {
		u64 bit = left & -left;
		u64 region = word * 64 + hweight64(bit - 1);
		u64 at = region * PER_REGION / 64;
		u32 shift = region * PER_REGION % 64;

		if (at < blkship_dirty_words(maps->nr_regions) &&
		    (maps->dirty[at] | maps->repairing[at]) >> shift &
		    PER_REGION_MASK)
			busy |= bit;
	}
	return busy;
}

void blkship_list_block_fill(struct blkship_list *l,
			     const struct blkship_dirty *maps, u32 block,
			     struct meta_block *out)
{
	u64 base = (u64)block * META_BLOCK_WORDS;
	u32 i;

	l->due[block / 64] &= ~(1ULL << block % 64);
	for (i = 0; i < META_BLOCK_WORDS; i++) {
		u64 word = base + i;
		u64 gone = l->may_leave ? l->leaving[word] : 0;

		l->leaving[word] &= ~gone;
		gone &= l->listed[word] & ~l->touched[word] & ~l->wanted[word];
		if (gone)
			gone &= ~word_busy(maps, word, gone);
		l->nr_listed -= hweight64(gone);
		l->listed[word] &= ~gone;
		out->words[i] = cpu_to_le64(l->listed[word] | l->wanted[word]);
	}
}

static void word_list(struct blkship_list *l, u64 word, u64 bits)
{
	bits &= word_valid(l, word);
	l->nr_listed += hweight64(bits & ~l->listed[word]);
	l->listed[word] |= bits;
	l->wanted[word] &= ~bits;
}

void blkship_list_block_wrote(struct blkship_list *l, u32 block,
			      const struct meta_block *written)
{
	u64 base = (u64)block * META_BLOCK_WORDS;
	u32 i;

	for (i = 0; i < META_BLOCK_WORDS; i++)
		word_list(l, base + i, le64_to_cpu(written->words[i]));
}

void blkship_list_block_load(struct blkship_list *l, u32 block,
			     const struct meta_block *read)
{
	u64 base = (u64)block * META_BLOCK_WORDS;
	u32 i;

	for (i = 0; i < META_BLOCK_WORDS; i++)
		word_list(l, base + i, read ? le64_to_cpu(read->words[i]) : ~0ULL);
}

void blkship_list_mark(const struct blkship_list *l, struct blkship_dirty *maps,
		       u64 *at, u64 max_words)
{
	u64 end = min_t(u64, *at + max_words, blkship_list_map_words(l));

	for (; *at < end; (*at)++) {
		u64 left;

		for (left = l->listed[*at]; left; left &= left - 1) {
			u64 region = *at * 64 + hweight64((left & -left) - 1);

			blkship_dirty_mark(maps, region * META_REGION_BYTES,
					   META_REGION_BYTES);
		}
	}
}

static u32 block_crc(const void *block)
{
	return ~crc32c(~0, block, META_BLOCK_BYTES);
}

/* -- prints -- */

/* Whole blocks only. */
static u64 print_bytes(u64 size_bytes)
{
	return size_bytes & ~(u64)(META_BLOCK_BYTES - 1);
}

u32 blkship_prints_count(u64 size_bytes)
{
	u64 size = print_bytes(size_bytes);
	u64 first = min_t(u64, PRINT_FIRST_BYTES, size);
	u64 last = min_t(u64, PRINT_LAST_BYTES, size);

	return size ? (first + last) / META_BLOCK_BYTES + PRINT_SPREAD : 0;
}

u64 blkship_print_offset(u64 size_bytes, u32 n)
{
	u64 size = print_bytes(size_bytes), offset = (u64)n * META_BLOCK_BYTES;
	u64 first = min_t(u64, PRINT_FIRST_BYTES, size);
	u64 last = min_t(u64, PRINT_LAST_BYTES, size);

	if (offset < first)
		return offset;
	if (offset < first + last)
		return size - last + (offset - first);
	offset = size / PRINT_SPREAD * (n - (first + last) / META_BLOCK_BYTES);
	return print_bytes(offset);
}

void blkship_print_set(struct blkship_prints *p, u32 n, const void *block)
{
	p->crc[n] = block_crc(block);
	p->known[n / 64] |= 1ULL << n % 64;
}

void blkship_print_forget(struct blkship_prints *p, u32 n)
{
	p->known[n / 64] &= ~(1ULL << n % 64);
}

bool blkship_print_fits(const struct blkship_prints *p, u32 n,
			const void *block)
{
	return !blkship_print_known(p, n) || p->crc[n] == block_crc(block);
}

void blkship_prints_settle(struct blkship_prints *p,
			   const struct blkship_list *l, u64 size_bytes)
{
	u32 count = blkship_prints_count(size_bytes), n;

	for (n = 0; n < count; n++)
		if (!blkship_list_rests(l, blkship_print_offset(size_bytes, n)))
			p->known[n / 64] &= ~(1ULL << n % 64);
}

/* -- blocks, as on the device -- */

static void prints_encode(const struct blkship_prints *p,
			  struct meta_super *raw)
{
	u32 i;

	for (i = 0; i < META_PRINT_WORDS; i++)
		raw->printed[i] = cpu_to_le64(p->known[i]);
	for (i = 0; i < META_PRINTS; i++)
		raw->prints[i] = cpu_to_le32(p->crc[i]);
}

void blkship_prints_decode(const void *block, struct blkship_prints *out)
{
	const struct meta_super *raw = block;
	u32 i;

	for (i = 0; i < META_PRINT_WORDS; i++)
		out->known[i] = le64_to_cpu(raw->printed[i]);
	for (i = 0; i < META_PRINTS; i++)
		out->crc[i] = le32_to_cpu(raw->prints[i]);
}

void blkship_super_encode(const struct blkship_super *s,
			  const struct blkship_prints *prints, void *block)
{
	struct meta_super *raw = block;

	memset(block, 0, META_BLOCK_BYTES);
	raw->magic = cpu_to_le32(META_SUPER_MAGIC);
	raw->version = cpu_to_le16(META_VERSION);
	raw->state = cpu_to_le16(s->state);
	raw->region_bytes = cpu_to_le32(META_REGION_BYTES);
	raw->write_no = cpu_to_le64(s->write_no);
	raw->size_bytes = cpu_to_le64(s->size_bytes);
	raw->log_no = cpu_to_le64(s->log_no);
	raw->ordinal = cpu_to_le64(s->ordinal);
	memcpy(raw->id, s->id, sizeof(raw->id));
	memcpy(raw->instance, s->instance, sizeof(raw->instance));
	memcpy(raw->basis_instance, s->basis_instance,
	       sizeof(raw->basis_instance));
	raw->basis_incarnation = cpu_to_le32(s->basis_incarnation);
	memcpy(raw->group, s->group, sizeof(raw->group));
	memcpy(raw->volume, s->volume, sizeof(raw->volume));
	memcpy(raw->disk, s->disk, sizeof(raw->disk));
	prints_encode(prints, raw);
	raw->crc = cpu_to_le32(block_crc(block));
}

/* The CRC of a block whose CRC field lies at @at, that field taken as 0. */
static u32 crc_without(const void *block, u32 at)
{
	static const u8 zero[4];
	const u8 *bytes = block;
	u32 crc = crc32c(~0, bytes, at);

	crc = crc32c(crc, zero, sizeof(zero));
	return ~crc32c(crc, bytes + at + 4, META_BLOCK_BYTES - at - 4);
}

static bool name_ends(const char *name, u32 bytes)
{
	return memchr(name, 0, bytes);
}

/* 0, -EBADMSG or -EPROTO. Nothing of a block is looked at before its CRC. */
static int super_decode(const void *block, struct blkship_super *s)
{
	const struct meta_super *raw = block;

	if (raw->magic != cpu_to_le32(META_SUPER_MAGIC) ||
	    le32_to_cpu(raw->crc) !=
	    crc_without(block, offsetof(struct meta_super, crc)))
		return -EBADMSG;
	if (raw->version != cpu_to_le16(META_VERSION) ||
	    raw->region_bytes != cpu_to_le32(META_REGION_BYTES))
		return -EPROTO;
	s->state = le16_to_cpu(raw->state);
	if (s->state < META_CLEAN || s->state > META_OFF ||
	    !name_ends(raw->group, sizeof(raw->group)) ||
	    !name_ends(raw->volume, sizeof(raw->volume)) ||
	    !name_ends(raw->disk, sizeof(raw->disk)))
		return -EBADMSG;
	s->write_no = le64_to_cpu(raw->write_no);
	s->size_bytes = le64_to_cpu(raw->size_bytes);
	s->log_no = le64_to_cpu(raw->log_no);
	s->ordinal = le64_to_cpu(raw->ordinal);
	memcpy(s->id, raw->id, sizeof(s->id));
	memcpy(s->instance, raw->instance, sizeof(s->instance));
	memcpy(s->basis_instance, raw->basis_instance,
	       sizeof(s->basis_instance));
	s->basis_incarnation = le32_to_cpu(raw->basis_incarnation);
	memcpy(s->group, raw->group, sizeof(s->group));
	memcpy(s->volume, raw->volume, sizeof(s->volume));
	memcpy(s->disk, raw->disk, sizeof(s->disk));
	return 0;
}

static bool is_empty(const u8 *block)
{
	return !block[0] && !memcmp(block, block + 1, META_BLOCK_BYTES - 1);
}

int blkship_super_choose(const void *blocks, struct blkship_super *out,
			 bool *foreign)
{
	struct blkship_super s;
	int ret = -ENODATA;
	bool ours = false;
	u32 i;

	for (i = 0; i < META_SUPERS; i++) {
		const u8 *block = (const u8 *)blocks + i * META_BLOCK_BYTES;
		const struct meta_super *raw = (const void *)block;
		int got = super_decode(block, &s);

		ours |= raw->magic == cpu_to_le32(META_SUPER_MAGIC);
		if (got == -EPROTO) {
			/* A newer module was here: what we know is old. */
			ret = got;
		} else if (!got && ret != -EPROTO &&
			   (ret || s.write_no > out->write_no)) {
			*out = s;
			out->place = i;
			ret = 0;
		} else if (got && ret == -ENODATA && !is_empty(block)) {
			ret = got;
		}
	}
	*foreign = ret == -EBADMSG && !ours;
	return ret;
}

void blkship_block_seal(struct meta_block *block, const u8 *id, u32 index,
			u64 log_no)
{
	block->magic = cpu_to_le32(META_BLOCK_MAGIC);
	block->crc = 0;
	block->index = cpu_to_le64(index);
	block->log_no = cpu_to_le64(log_no);
	memcpy(block->id, id, sizeof(block->id));
	memset(block->reserved, 0, sizeof(block->reserved));
	block->crc = cpu_to_le32(block_crc(block));
}

bool blkship_block_valid(const struct meta_block *block, const u8 *id,
			 u32 index)
{
	return block->magic == cpu_to_le32(META_BLOCK_MAGIC) &&
	       le32_to_cpu(block->crc) ==
	       crc_without(block, offsetof(struct meta_block, crc)) &&
	       block->index == cpu_to_le64(index) &&
	       !memcmp(block->id, id, sizeof(block->id));
}
