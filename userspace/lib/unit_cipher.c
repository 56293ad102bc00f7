// SPDX-License-Identifier: GPL-2.0-only
/* See unit_cipher.h; the layout is docs/ENCRYPTION.md. */
#include "unit_cipher.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "crc32c.h"

#define INFO_MAX_BYTES 64

struct unit_cipher {
	EVP_CIPHER_CTX *encrypt, *decrypt;	/* have the key */
};

static int file_key(const uint8_t *key, const struct unit_cipher_file *file,
		    uint8_t out[KEY_BYTES])
{
	uint8_t info[INFO_MAX_BYTES], *at = info;
	size_t kind_bytes = strlen(file->kind);
	uint64_t number = htole64(file->number);

	if (kind_bytes + 16 + sizeof(number) > sizeof(info))
		return -EINVAL;
	at = (uint8_t *)memcpy(at, file->kind, kind_bytes) + kind_bytes;
	at = (uint8_t *)memcpy(at, file->timeline, 16) + 16;
	at = (uint8_t *)memcpy(at, &number, sizeof(number)) + sizeof(number);
	return keyring_derive(key, file->key_salt, FILE_KEY_SALT_BYTES, info, at - info, out,
			      KEY_BYTES);
}

static EVP_CIPHER_CTX *context_create(const uint8_t key[KEY_BYTES], int encrypt)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();

	if (ctx && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, NULL, encrypt) != 1) {
		EVP_CIPHER_CTX_free(ctx);
		ctx = NULL;
	}
	return ctx;
}

int unit_cipher_create(const struct keyring *keys, const struct unit_cipher_file *file,
		       struct unit_cipher **out)
{
	const uint8_t *key = keyring_find(keys, file->key_id);
	uint8_t derived[KEY_BYTES];
	struct unit_cipher *c;
	int ret;

	if (!key)
		return -ENOKEY;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	ret = file_key(key, file, derived);
	if (!ret) {
		c->encrypt = context_create(derived, 1);
		c->decrypt = context_create(derived, 0);
		ret = c->encrypt && c->decrypt ? 0 : -EIO;
	}
	OPENSSL_cleanse(derived, sizeof(derived));
	if (ret)
		unit_cipher_destroy(c);
	else
		*out = c;
	return ret;
}

int unit_cipher_create_segment(const struct keyring *keys, const struct segment_header *header,
			       struct unit_cipher **out)
{
	const struct unit_cipher_file file = {
		.kind = UNIT_CIPHER_SEGMENT, .timeline = header->timeline,
		.number = header->number, .key_id = header->key_id,
		.key_salt = header->key_salt,
	};

	*out = NULL;
	return header->flags & SEGMENT_ENCRYPTED ? unit_cipher_create(keys, &file, out) : 0;
}

void unit_cipher_destroy(struct unit_cipher *c)
{
	if (!c)
		return;
	/* They wipe what they have. */
	EVP_CIPHER_CTX_free(c->encrypt);
	EVP_CIPHER_CTX_free(c->decrypt);
	free(c);
}

/* -- one unit -- */

/* Set the nonce, and take in what is in clear: header without its CRCs, extents, place. */
static bool begin(EVP_CIPHER_CTX *ctx, const struct unit_header *raw,
		  const struct unit_extent *extents, uint64_t offset_bytes, const uint8_t *nonce)
{
	const int extents_bytes = le16toh(raw->nr_extents) * sizeof(*extents);
	struct unit_header h = *raw;
	int used;

	h.header_crc = h.stored_crc = 0;
	offset_bytes = htole64(offset_bytes);
	return EVP_CipherInit_ex(ctx, NULL, NULL, NULL, nonce, -1) == 1 &&
	       EVP_CipherUpdate(ctx, NULL, &used, (void *)&h, sizeof(h)) == 1 &&
	       EVP_CipherUpdate(ctx, NULL, &used, (const void *)extents, extents_bytes) == 1 &&
	       EVP_CipherUpdate(ctx, NULL, &used, (void *)&offset_bytes,
				sizeof(offset_bytes)) == 1;
}

int unit_encrypt(struct unit_cipher *c, const struct unit_view *view, uint64_t offset_bytes,
		 const uint8_t nonce[12], void *out)
{
	const struct unit_header *h = &view->header;
	const size_t clear_bytes = (const uint8_t *)view->crcs - (const uint8_t *)view->extents +
				   sizeof(*h);
	const size_t crcs_bytes = h->nr_crcs * sizeof(uint32_t);
	const size_t text_bytes = crcs_bytes + h->stored_bytes;
	const size_t used = clear_bytes + text_bytes + sizeof(struct unit_seal);
	const size_t bytes = (used + FORMAT_ALIGN_BYTES - 1) / FORMAT_ALIGN_BYTES *
			     FORMAT_ALIGN_BYTES;
	uint8_t *text = (uint8_t *)out + clear_bytes;
	struct unit_header *raw = out;
	struct unit_seal seal;
	int part;

	if (view->seal)
		return -EINVAL;
	/* The header lies before the extents. */
	memcpy(out, (const uint8_t *)view->extents - sizeof(*h), clear_bytes);
	raw->flags |= UNIT_ENCRYPTED;
	raw->unit_bytes = htole32(bytes);
	raw->header_crc = 0;
	memcpy(seal.nonce, nonce, sizeof(seal.nonce));
	if (!begin(c->encrypt, raw, view->extents, offset_bytes, nonce) ||
	    EVP_CipherUpdate(c->encrypt, text, &part, (const void *)view->crcs,
			     text_bytes) != 1 ||
	    EVP_CipherFinal_ex(c->encrypt, text + text_bytes, &part) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c->encrypt, EVP_CTRL_AEAD_GET_TAG, sizeof(seal.tag),
				seal.tag) != 1)
		return -EIO;
	memcpy(text + text_bytes, &seal, sizeof(seal));
	memset((uint8_t *)out + used, 0, bytes - used);
	raw->stored_crc = htole32(crc32c(text + crcs_bytes, h->stored_bytes + sizeof(seal)));
	raw->header_crc = htole32(crc32c(out, clear_bytes + crcs_bytes));
	return bytes;
}

int unit_decrypt(struct unit_cipher *c, struct unit_view *view, uint64_t offset_bytes,
		 void *scratch)
{
	const struct unit_header *h = &view->header;
	const size_t crcs_bytes = h->nr_crcs * sizeof(uint32_t);
	const size_t text_bytes = crcs_bytes + h->stored_bytes;
	uint8_t *text = scratch;
	struct unit_header raw;
	struct unit_seal seal;
	int part;

	if (!c != !view->seal)
		return -EBADMSG;
	if (!c)
		return 0;
	memcpy(&raw, (const uint8_t *)view->extents - sizeof(raw), sizeof(raw));
	memcpy(&seal, view->seal, sizeof(seal));
	if (!begin(c->decrypt, &raw, view->extents, offset_bytes, seal.nonce) ||
	    EVP_CipherUpdate(c->decrypt, text, &part, (const void *)view->crcs,
			     text_bytes) != 1 ||
	    EVP_CIPHER_CTX_ctrl(c->decrypt, EVP_CTRL_AEAD_SET_TAG, sizeof(seal.tag),
				seal.tag) != 1)
		return -EIO;
	if (EVP_CipherFinal_ex(c->decrypt, text + text_bytes, &part) != 1) {
		OPENSSL_cleanse(text, text_bytes);	/* nobody vouches for it */
		return -EBADMSG;
	}
	view->crcs = scratch;
	view->stored = text + crcs_bytes;
	view->seal = NULL;
	return 0;
}
