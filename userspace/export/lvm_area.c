// SPDX-License-Identifier: GPL-2.0-only
/* lvm_area - where a physical volume says where the text of its group is. */
#include "lvm.h"

#include <errno.h>
#include <string.h>

#include "lvm_bytes.h"

#define SECTOR_BYTES	512
#define AREA_IGNORED	1u

uint32_t lvm_crc(const void *data, size_t bytes)
{
	const uint8_t *at = data;
	uint32_t crc = 0xf597a6cf;

	for (size_t i = 0; i < bytes; i++) {
		crc ^= at[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return crc;
}

/* Label: "LABELONE", sector, CRC of what follows it, offset of the rest, "LVM2 001". */
static bool label_valid(const uint8_t *sector, unsigned int number)
{
	return !memcmp(sector, "LABELONE", 8) && lvm_get64(sector + 8) == number &&
	       !memcmp(sector + 24, "LVM2 001", 8) &&
	       lvm_get32(sector + 16) == lvm_crc(sector + 20, SECTOR_BYTES - 20) &&
	       lvm_get32(sector + 20) >= 32 && lvm_get32(sector + 20) <= SECTOR_BYTES - 72;
}

/* The rest: id, size, then two lists of offset and size, each ended by zeroes: data, areas. */
static int label_decode(const uint8_t *sector, struct lvm_label *out)
{
	uint32_t at = lvm_get32(sector + 20);

	memcpy(out->id, sector + at, LVM_ID_BYTES);
	at += LVM_ID_BYTES + 8;
	while (at <= SECTOR_BYTES - 16 && lvm_get64(sector + at))
		at += 16;
	at += 16;
	if (at > SECTOR_BYTES - 16)
		return -EBADMSG;
	out->area_offset = lvm_get64(sector + at);
	out->area_bytes = lvm_get64(sector + at + 8);
	if (!out->area_offset)
		return -ENODATA;
	if (out->area_bytes <= LVM_AREA_BYTES || out->area_offset > INT64_MAX - out->area_bytes)
		return -EBADMSG;
	return 0;
}

int lvm_label_find(const void *head, struct lvm_label *out)
{
	const uint8_t *sector = head;

	for (unsigned int i = 0; i < LVM_LABEL_BYTES / SECTOR_BYTES; i++, sector += SECTOR_BYTES)
		if (label_valid(sector, i))
			return label_decode(sector, out);
	return -EBADMSG;
}

/* Area: CRC, magic, version, its own place and size; then offset, size, CRC, flags of texts. */
int lvm_text_find(const void *area, const struct lvm_label *label, struct lvm_text *out)
{
	const uint8_t *at = area;

	if (memcmp(at + 4, " LVM2 x[5A%r0N*>", 16) != 0 || lvm_get32(at + 20) != 1 ||
	    lvm_get32(at) != lvm_crc(at + 4, LVM_AREA_BYTES - 4) ||
	    lvm_get64(at + 24) != label->area_offset || lvm_get64(at + 32) != label->area_bytes)
		return -EBADMSG;
	*out = (struct lvm_text){ lvm_get64(at + 40), lvm_get64(at + 48), lvm_get32(at + 56) };
	if (!out->offset || lvm_get32(at + 60) & AREA_IGNORED)
		return -ENODATA;
	if (out->offset < LVM_AREA_BYTES || out->offset >= label->area_bytes || !out->bytes ||
	    out->bytes > label->area_bytes - LVM_AREA_BYTES || out->bytes > LVM_MAX_TEXT_BYTES)
		return -EBADMSG;
	return 0;
}
