/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * unit_cipher - units as they lie in an encrypted file: docs/ENCRYPTION.md.
 *
 * Pure. One of these is the key of one file, derived and ready; for one thread at a time.
 */
#ifndef BLKSHIP_UNIT_CIPHER_H
#define BLKSHIP_UNIT_CIPHER_H

#include "keyring.h"

/* What encryption can add to a unit. */
#define UNIT_SEAL_MAX_BYTES 32

/* The texts that tell kinds of files apart: no two kinds have the same keys. */
#define UNIT_CIPHER_SEGMENT "blkship segment 1"

/* A file that holds units: what its header says. */
struct unit_cipher_file {
	const char *kind;		/* UNIT_CIPHER_SEGMENT, or another kind's text */
	const uint8_t *timeline;	/* 16 bytes */
	uint64_t number;
	const uint8_t *key_id;		/* FILE_KEY_ID_BYTES */
	const uint8_t *key_salt;	/* FILE_KEY_SALT_BYTES, random for each file begun */
};

struct unit_cipher;

/**
 * unit_cipher_create - the key of a file
 * @keys: NULL is as one without keys
 * Return: 0; -ENOKEY the file's key is not among them; -ENOMEM; -EIO the library fails.
 */
int unit_cipher_create(const struct keyring *keys, const struct unit_cipher_file *file,
		       struct unit_cipher **out);

/** unit_cipher_create_segment - the same, of a segment; 0 and *out NULL when it is in clear */
int unit_cipher_create_segment(const struct keyring *keys, const struct segment_header *header,
			       struct unit_cipher **out);

/** unit_cipher_destroy - wipe and free; NULL is fine */
void unit_cipher_destroy(struct unit_cipher *c);

/**
 * unit_encrypt - a unit in clear as it is to lie in the file
 * @view: of the unit in clear, from unit_decode()
 * @offset_bytes: at which it will lie in the file
 * @nonce: random, drawn for this call
 * @out: 8-byte aligned, header.unit_bytes + UNIT_SEAL_MAX_BYTES; a whole unit, with CRCs
 * Return: its bytes; -EINVAL it is encrypted already; -EIO the library fails.
 */
int unit_encrypt(struct unit_cipher *c, const struct unit_view *view, uint64_t offset_bytes,
		 const uint8_t nonce[12], void *out);

/**
 * unit_decrypt - make a unit of a file readable
 * @c: of the file; NULL: the file is in clear
 * @view: from unit_decode(); then its tables and data are in clear
 * @offset_bytes: at which it lies in the file
 * @scratch: 4-byte aligned, UNIT_MAX_BYTES; borrowed by @view from now on
 *
 * A unit in clear in an encrypted file, or the other way round, is refused.
 * Return: 0; -EBADMSG it is not what was encrypted there; -EIO the library fails.
 */
int unit_decrypt(struct unit_cipher *c, struct unit_view *view, uint64_t offset_bytes,
		 void *scratch);

#endif
