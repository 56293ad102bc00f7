/* SPDX-License-Identifier: GPL-2.0-only */
/* manifest_internal - what manifest*.c share. */
#ifndef BLKSHIP_MANIFEST_INTERNAL_H
#define BLKSHIP_MANIFEST_INTERNAL_H

#include "manifest.h"

/* -- manifest_records.c: types are known ones unless it says otherwise -- */

/** manifest_complain - fill @why, which may be NULL; returns @error */
int manifest_complain(char *why, int error, const char *text, uint64_t offset);

/** manifest_record_crc - of a whole record, whatever its field says now */
uint32_t manifest_record_crc(const uint8_t *at, uint32_t bytes);

/**
 * manifest_record_check - its length when there is a valid record of any type, or 0
 * @bytes: that there are at @at
 * @h: out, its header; type, version and length in host order
 */
uint32_t manifest_record_check(const uint8_t *at, size_t bytes, struct manifest_header *h);

/** manifest_record_bytes - length of a whole record; 0: the type is not known */
uint32_t manifest_record_bytes(uint16_t type);

/** manifest_record_encode - a whole record, manifest_record_bytes(), into @at */
void manifest_record_encode(uint8_t *at, uint16_t type, const void *payload);

/**
 * manifest_record_take - have @m know what a record says
 * @payload: little endian, as in the file
 * Return: 0; -EBADMSG it makes no sense; -ENOMEM.
 */
int manifest_record_take(struct manifest *m, uint16_t type, const void *payload);

/** manifest_record_is_current - whether it still says something that no newer one does */
bool manifest_record_is_current(const struct manifest *m, uint16_t type, const void *payload);

/* -- manifest.c -- */

/**
 * manifest_record_add - append a record, make it durable, and have @m know of it
 * Return: 0; -ENOSPC; -errno: then @m does not know of it, but it may be in the file.
 */
int manifest_record_add(struct manifest *m, uint16_t type, const void *payload);

/** manifest_begin - one of which nothing is known, and no file is open; 0 or -ENOMEM */
int manifest_begin(struct manifest *m, struct env *env, const char *dir);

/** manifest_image_add - append a record to the image; 0 or -ENOMEM */
int manifest_image_add(struct manifest *m, uint16_t type, const void *payload);

/** manifest_rewrite - replace the file by the image: a crash leaves the old or the new one */
int manifest_rewrite(struct manifest *m);

/** manifest_line_fits - whether it can be the next that becomes the main line */
bool manifest_line_fits(const struct manifest *m, const struct timeline_line *line);

/** manifest_volume_raw - as it is in a record */
struct manifest_volume manifest_volume_raw(const struct timeline_volume *v);

#endif
