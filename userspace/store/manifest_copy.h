/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * manifest_copy - what headers of segments and packs tell of the manifest, should that be lost.
 *
 * Pure. The copy is records of the manifest, one after the other, as far as there is room:
 * docs/SEGMENT.md, "The copy of the manifest". Only manifest_rebuild.c reads it.
 */
#ifndef BLKSHIP_MANIFEST_COPY_H
#define BLKSHIP_MANIFEST_COPY_H

#include "manifest.h"

/**
 * manifest_copy_encode - the copy for one file
 * @number: the file's; of more volumes than there is room for, files have others in turn
 * @room: zero, @bytes of it, a multiple of 8
 */
void manifest_copy_encode(const struct manifest *m, uint64_t number, uint8_t *room,
			  size_t bytes);

/**
 * manifest_copy_each - hand out the records of a copy
 * @each: called with the type and the payload, little-endian; not 0: stop, and return that
 * Return: 0, also of a header without a copy; -EBADMSG: what is there is not one.
 */
int manifest_copy_each(const uint8_t *room, size_t bytes,
		       int (*each)(void *arg, uint16_t type, const void *payload), void *arg);

#endif
