// SPDX-License-Identifier: GPL-2.0-only
#include "tokens.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEEP_S		(7 * 86400)	/* an ended token is listed for so long */
#define FILE_BYTES	1024
#define HEX_BYTES	65

struct record {
	struct tokens_entry entry;
	char secret_sha256[HEX_BYTES];
};

static void hash_secret(const uint8_t secret[32], char hex[HEX_BYTES])
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	unsigned int bytes;

	/* 32 random bytes need neither salt nor a slow hash. */
	if (!EVP_Digest(secret, 32, digest, &bytes, EVP_sha256(), NULL))
		abort();
	for (int i = 0; i < 32; i++)
		sprintf(hex + 2 * i, "%02x", digest[i]);
}

static bool id_valid(const char *id)
{
	return strlen(id) == PKI_TOKEN_ID_CHARS &&
	       strspn(id, "0123456789abcdef") == PKI_TOKEN_ID_CHARS;
}

static int parse_line(void *arg, const char *section, const char *name, const char *value)
{
	struct record *r = arg;

	if (strcmp(section, "token") != 0)
		return 1;
	if (strcmp(name, "host") == 0)
		snprintf(r->entry.host, sizeof(r->entry.host), "%s", value);
	else if (strcmp(name, "created") == 0)
		r->entry.created_s = strtoull(value, NULL, 10);
	else if (strcmp(name, "expires") == 0)
		r->entry.expires_s = strtoull(value, NULL, 10);
	else if (strcmp(name, "secret_sha256") == 0)
		snprintf(r->secret_sha256, sizeof(r->secret_sha256), "%s", value);
	return 1;
}

static int path_of(char *path, const char *dir, const char *id, const char *end, char *why)
{
	if ((size_t)snprintf(path, PKI_PATH_BYTES, "%s/%s.%s", dir, id, end) >= PKI_PATH_BYTES) {
		snprintf(why, PKI_TEXT_BYTES, "%.100s: name too long", dir);
		return -ENAMETOOLONG;
	}
	return 0;
}

static int record_read(const char *dir, const char *id, const char *end, struct record *r,
		       char *why)
{
	char text[FILE_BYTES], path[PKI_PATH_BYTES];
	int ret = path_of(path, dir, id, end, why);

	if (ret == 0)
		ret = pki_read_file(path, text, sizeof(text), why);
	if (ret < 0)
		return ret;
	memset(r, 0, sizeof(*r));
	strcpy(r->entry.id, id);
	r->entry.used = strcmp(end, "used") == 0;
	if (ini_parse_string(text, parse_line, r) != 0 || !pki_host_valid(r->entry.host) ||
	    strlen(r->secret_sha256) != HEX_BYTES - 1) {
		snprintf(why, PKI_TEXT_BYTES, "token file %.200s is damaged", path);
		return -EBADMSG;
	}
	return 0;
}

static void remove_old(void *arg, const struct tokens_entry *e)
{
	char path[PKI_PATH_BYTES], why[PKI_TEXT_BYTES];

	if (e->expires_s + KEEP_S < (uint64_t)time(NULL) &&
	    path_of(path, arg, e->id, e->used ? "used" : "token", why) == 0)
		unlink(path);
}

int tokens_create(const char *dir, const char *host, uint64_t lifetime_s,
		  struct pki_token *token, uint64_t *expires_s, char *why)
{
	char path[PKI_PATH_BYTES], text[FILE_BYTES], hash[HEX_BYTES];
	uint64_t now_s = time(NULL);
	uint8_t id[PKI_TOKEN_ID_CHARS / 2];
	int ret = tokens_list(dir, remove_old, (void *)dir, why);

	if (ret < 0)
		return ret;
	if (RAND_bytes(id, sizeof(id)) != 1 || RAND_bytes(token->secret, 32) != 1) {
		snprintf(why, PKI_TEXT_BYTES, "no random numbers to be had");
		return -EIO;
	}
	for (size_t i = 0; i < sizeof(id); i++)
		sprintf(token->id + 2 * i, "%02x", id[i]);
	hash_secret(token->secret, hash);
	snprintf(text, sizeof(text),
		 "[token]\nhost = %s\ncreated = %llu\nexpires = %llu\nsecret_sha256 = %s\n", host,
		 (unsigned long long)now_s, (unsigned long long)(now_s + lifetime_s), hash);
	ret = path_of(path, dir, token->id, "token", why);
	if (ret == 0)
		ret = pki_write_file(path, text, strlen(text), why);
	if (ret == 0)
		*expires_s = now_s + lifetime_s;
	return ret;
}

int tokens_check(const char *dir, const char *id, const uint8_t secret[32], char *host, char *why)
{
	char hash[HEX_BYTES];
	struct record r;
	int ret = -ENOENT;

	if (id_valid(id)) {
		ret = record_read(dir, id, "token", &r, why);
		if (ret == -ENOENT)
			ret = record_read(dir, id, "used", &r, why);
	}
	if (ret < 0 && ret != -ENOENT)
		return ret;
	hash_secret(secret, hash);
	if (ret < 0 || CRYPTO_memcmp(hash, r.secret_sha256, HEX_BYTES) != 0) {
		snprintf(why, PKI_TEXT_BYTES, "the target does not know this token");
		return -EACCES;
	}
	if (r.entry.used) {
		snprintf(why, PKI_TEXT_BYTES, "this token has been used already");
		return -EACCES;
	}
	if (r.entry.expires_s <= (uint64_t)time(NULL)) {
		snprintf(why, PKI_TEXT_BYTES, "this token has expired");
		return -EACCES;
	}
	strcpy(host, r.entry.host);
	return 0;
}

int tokens_use(const char *dir, const char *id, char *why)
{
	char from[PKI_PATH_BYTES], to[PKI_PATH_BYTES];
	int fd, ret = path_of(from, dir, id, "token", why);

	if (ret == 0)
		ret = path_of(to, dir, id, "used", why);
	if (ret < 0)
		return ret;
	if (rename(from, to) < 0) {
		ret = errno == ENOENT ? -EACCES : -errno;
		snprintf(why, PKI_TEXT_BYTES, ret == -EACCES ? "this token has been used already" :
			 "the token cannot be used up: %s", strerror(-ret));
		return ret;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0) {
		ret = -errno;
		snprintf(why, PKI_TEXT_BYTES, "sync %.100s: %s", dir, strerror(-ret));
	}
	if (fd >= 0)
		close(fd);
	return ret;
}

int tokens_list(const char *dir, void (*each)(void *arg, const struct tokens_entry *e),
		void *arg, char *why)
{
	DIR *d = opendir(dir);
	struct dirent *de;
	int ret;

	if (!d) {
		ret = -errno;
		snprintf(why, PKI_TEXT_BYTES, "open %.200s: %s", dir, strerror(-ret));
		return ret;
	}
	while ((de = readdir(d))) {
		char *dot = strchr(de->d_name, '.');
		struct record r;

		if (!dot || (strcmp(dot, ".token") != 0 && strcmp(dot, ".used") != 0))
			continue;
		*dot = 0;
		/* One damaged file does not hide the others. */
		if (id_valid(de->d_name) &&
		    record_read(dir, de->d_name, dot + 1, &r, why) == 0)
			each(arg, &r.entry);
	}
	closedir(d);
	return 0;
}
