/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * manifest_salvage - what a damaged manifest still says.
 *
 * Pure: fed with the bytes of the file. Each record has a CRC of its own, so those that are whole
 * count, wherever they lie. What lies between two of them and is one record but for one bit is
 * put right: no other bit gives it its CRC. (CRC-32C tells any two records of less than 655 bytes
 * apart that differ in up to five bits.)
 */
#ifndef BLKSHIP_MANIFEST_SALVAGE_H
#define BLKSHIP_MANIFEST_SALVAGE_H

#include <stddef.h>
#include <stdint.h>

struct manifest_salvage {
	uint8_t *records;	/* whole ones, one after the other, as in a file; free() */
	size_t nr_bytes, max_bytes;
	unsigned int nr_bits;	/* that were turned back */
	/* The longest stretch of which nothing is known, without the identity at its start; SIZE_MAX:
	 * the file is gone, or may have been longer. A record that is longer was not lost. */
	size_t lost_bytes;
	size_t nr_lost;		/* such stretches */
};

/**
 * manifest_salvage - see above
 * Return: 0; -EOPNOTSUPP a record is of a newer version; -ENOMEM. In all cases free(out->records)
 * is due.
 */
int manifest_salvage(const uint8_t *image, size_t bytes, struct manifest_salvage *out);

/**
 * manifest_salvage_each - hand out the records
 * @each: called with the type and the payload, little-endian; not 0: stop, and return that
 */
int manifest_salvage_each(const struct manifest_salvage *s,
			  int (*each)(void *arg, uint16_t type, const void *payload), void *arg);

#endif
