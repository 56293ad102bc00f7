/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * keyring - the keys of a target: docs/ENCRYPTION.md, "Keys".
 *
 * Pure but for the memory it lives in: a page that is locked where that is allowed, left
 * out of core dumps, and wiped when it is freed. Nothing here prints a key.
 */
#ifndef BLKSHIP_KEYRING_H
#define BLKSHIP_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "segment_format.h"

#define KEY_BYTES		32
#define KEY_HEX_BYTES		(2 * KEY_BYTES)
#define KEY_ID_TEXT_BYTES	(2 * FILE_KEY_ID_BYTES + 1)
#define KEYRING_MAX_KEYS	64
#define KEYRING_MAX_TEXT_BYTES	65536
#define KEYRING_TEXT_BYTES	256

struct keyring;

/**
 * keyring_parse - keys as they lie in a file
 * @text: not NUL-terminated; the caller wipes it
 * @why: out on failure, KEYRING_TEXT_BYTES; names the line, never what is in it
 * Return: 0; -EINVAL not keys, or none; -E2BIG too many; -ENOMEM.
 */
int keyring_parse(const char *text, size_t bytes, struct keyring **out, char *why);

/** keyring_free - wipe and free; NULL is fine */
void keyring_free(struct keyring *k);

size_t keyring_nr(const struct keyring *k);

/** keyring_id - of key @index in the order of the file; the last is for what is new */
const uint8_t *keyring_id(const struct keyring *k, size_t index);

/** keyring_newest_id - of the key for what is written from now on */
const uint8_t *keyring_newest_id(const struct keyring *k);

/** keyring_find - the key with this id, KEY_BYTES; NULL: not among them, or @k is NULL */
const uint8_t *keyring_find(const struct keyring *k, const uint8_t *id);

/** keyring_id_text - hexadecimal, into KEY_ID_TEXT_BYTES */
void keyring_id_text(const uint8_t *id, char *text);

/**
 * keyring_derive - HKDF-SHA256
 * @salt: may be NULL with 0 bytes
 * Return: 0; -EIO when the library fails.
 */
int keyring_derive(const uint8_t key[KEY_BYTES], const void *salt, size_t salt_bytes,
		   const void *info, size_t info_bytes, void *out, size_t out_bytes);

#endif
