// SPDX-License-Identifier: GPL-2.0-only
#include "keyring.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>

#define ID_INFO "blkship key id 1"

struct keyring {
	size_t nr;
	struct {
		uint8_t id[FILE_KEY_ID_BYTES];
		uint8_t key[KEY_BYTES];
	} keys[KEYRING_MAX_KEYS];
};

static struct keyring *keyring_alloc(void)
{
	struct keyring *k = mmap(NULL, sizeof(*k), PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (k == MAP_FAILED)
		return NULL;
	/* Best effort: the limit of locked memory may be 0. */
	mlock(k, sizeof(*k));
	madvise(k, sizeof(*k), MADV_DONTDUMP);
	return k;
}

void keyring_free(struct keyring *k)
{
	if (!k)
		return;
	OPENSSL_cleanse(k, sizeof(*k));
	munmap(k, sizeof(*k));
}

int keyring_derive(const uint8_t key[KEY_BYTES], const void *salt, size_t salt_bytes,
		   const void *info, size_t info_bytes, void *out, size_t out_bytes)
{
	OSSL_PARAM params[5], *p = params;
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *ctx = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	int ret = -EIO;

	*p++ = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, (char *)"SHA256", 0);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)key, KEY_BYTES);
	*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)info, info_bytes);
	if (salt_bytes)
		*p++ = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)salt,
							 salt_bytes);
	*p = OSSL_PARAM_construct_end();
	if (ctx && EVP_KDF_derive(ctx, out, out_bytes, params) == 1)
		ret = 0;
	EVP_KDF_CTX_free(ctx);
	EVP_KDF_free(kdf);
	return ret;
}

/* -- reading them -- */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static bool hex_parse(const char *text, size_t length, uint8_t key[KEY_BYTES])
{
	if (length != KEY_HEX_BYTES)
		return false;
	for (size_t i = 0; i < KEY_BYTES; i++) {
		int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		key[i] = high << 4 | low;
	}
	return true;
}

static int parse_line(struct keyring *k, const char *line, size_t length, size_t number,
		      char *why)
{
	while (length && is_blank(line[length - 1]))
		length--;
	while (length && is_blank(*line)) {
		line++;
		length--;
	}
	if (!length || *line == '#')
		return 0;
	if (k->nr == KEYRING_MAX_KEYS) {
		snprintf(why, KEYRING_TEXT_BYTES, "line %zu: more than %d keys", number,
			 KEYRING_MAX_KEYS);
		return -E2BIG;
	}
	if (!hex_parse(line, length, k->keys[k->nr].key)) {
		snprintf(why, KEYRING_TEXT_BYTES, "line %zu: not a key of %d hexadecimal digits",
			 number, KEY_HEX_BYTES);
		return -EINVAL;
	}
	if (keyring_derive(k->keys[k->nr].key, NULL, 0, ID_INFO, strlen(ID_INFO),
			   k->keys[k->nr].id, FILE_KEY_ID_BYTES)) {
		snprintf(why, KEYRING_TEXT_BYTES, "libcrypto cannot derive keys (HKDF)");
		return -EIO;
	}
	if (keyring_find(k, k->keys[k->nr].id)) {
		snprintf(why, KEYRING_TEXT_BYTES, "line %zu: the same key again", number);
		return -EINVAL;
	}
	k->nr++;
	return 0;
}

int keyring_parse(const char *text, size_t bytes, struct keyring **out, char *why)
{
	struct keyring *k = keyring_alloc();
	const char *end = text + bytes;
	size_t number = 0;
	int ret = 0;

	if (!k) {
		snprintf(why, KEYRING_TEXT_BYTES, "out of memory");
		return -ENOMEM;
	}
	while (text < end && !ret) {
		const char *line_end = memchr(text, '\n', end - text);

		if (!line_end)
			line_end = end;
		ret = parse_line(k, text, line_end - text, ++number, why);
		text = line_end + 1;
	}
	if (!ret && !k->nr) {
		snprintf(why, KEYRING_TEXT_BYTES, "no key in it");
		ret = -EINVAL;
	}
	if (ret)
		keyring_free(k);
	else
		*out = k;
	return ret;
}

/* -- asking -- */

size_t keyring_nr(const struct keyring *k)
{
	return k->nr;
}

const uint8_t *keyring_id(const struct keyring *k, size_t index)
{
	return k->keys[index].id;
}

const uint8_t *keyring_newest_id(const struct keyring *k)
{
	return k->keys[k->nr - 1].id;
}

const uint8_t *keyring_find(const struct keyring *k, const uint8_t *id)
{
	for (size_t i = 0; k && i < k->nr; i++)
		if (memcmp(k->keys[i].id, id, FILE_KEY_ID_BYTES) == 0)
			return k->keys[i].key;
	return NULL;
}

void keyring_id_text(const uint8_t *id, char *text)
{
	for (size_t i = 0; i < FILE_KEY_ID_BYTES; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
}
