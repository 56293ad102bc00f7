// SPDX-License-Identifier: GPL-2.0-only
/* key create, key add, key list: files of keys for what a target keeps; docs/ENCRYPTION.md. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "../../userspace/lib/pki.h"
#include "cli.h"

/* A file in the making: keys, wiped when they are written. */
struct key_text {
	size_t bytes;
	char data[KEYRING_MAX_TEXT_BYTES];
};

static int add_key(struct key_text *t)
{
	const size_t most = KEY_HEX_BYTES + 64;
	time_t now = time(NULL);
	uint8_t key[KEY_BYTES];
	struct tm tm;

	if (t->bytes + most > sizeof(t->data))
		return -EFBIG;
	if (getrandom(key, sizeof(key), 0) != sizeof(key))
		return -EIO;
	gmtime_r(&now, &tm);
	t->bytes += strftime(t->data + t->bytes, 48, "# made %Y-%m-%dT%H:%M:%SZ\n", &tm);
	for (size_t i = 0; i < KEY_BYTES; i++)
		t->bytes += sprintf(t->data + t->bytes, "%02x", key[i]);
	t->data[t->bytes++] = '\n';
	OPENSSL_cleanse(key, sizeof(key));
	return 0;
}

static json_t *ids_json(const struct keyring *keys)
{
	json_t *list = json_array();

	for (size_t i = 0; i < keyring_nr(keys); i++) {
		char id[KEY_ID_TEXT_BYTES];

		keyring_id_text(keyring_id(keys, i), id);
		json_array_append_new(list, json_pack("{s:s, s:b}", "id", id, "newest",
						      i + 1 == keyring_nr(keys)));
	}
	return list;
}

static int print_ids(const char *path, const struct keyring *keys, bool json)
{
	static const char *const headings[] = { "KEY", "USE" };
	struct table *t;

	if (json)
		return cli_print_json(json_pack("{s:s, s:o}", "file", path, "keys", ids_json(keys)));
	t = table_create(headings, ARRAY_SIZE(headings));
	for (size_t i = 0; i < keyring_nr(keys); i++) {
		char id[KEY_ID_TEXT_BYTES];

		keyring_id_text(keyring_id(keys, i), id);
		table_cell(t, "%s", id);
		table_cell(t, "%s", i + 1 == keyring_nr(keys) ? "new segments" : "reading");
	}
	table_print(t);
	return CLI_DONE;
}

static int load(const char *path, struct keyring **keys)
{
	const struct key_source source = { .file = path };
	char why[KEY_SOURCE_TEXT_BYTES];
	int ret = key_source_load(&source, keys, why);

	return ret < 0 ? cli_fail(cli_exit_of(ret), "%s", why) : CLI_DONE;
}

/* The file, whole or as it was; then what is in it. */
static int save(const char *path, struct key_text *t, bool json, const char *next)
{
	struct keyring *keys = NULL;
	char why[PKI_TEXT_BYTES];
	int ret = add_key(t);

	if (ret < 0)
		return cli_fail(CLI_FAILED, "key file %s: %s; nothing was changed", path,
				ret == -EFBIG ? "it is full" : "no random numbers");
	/* Never a file that nobody could read: with one key too many it would be one. */
	ret = keyring_parse(t->data, t->bytes, &keys, why);
	if (ret < 0)
		return cli_fail(CLI_FAILED, "key file %s: %s; nothing was changed", path, why);
	if (pki_write_file(path, t->data, t->bytes, why) < 0)
		ret = cli_fail(CLI_FAILED, "key file %s; no key was made", why);
	else
		ret = print_ids(path, keys, json);
	if (ret == CLI_DONE && !json)
		printf("next: %s\n", next);
	keyring_free(keys);
	return ret;
}

static const char *parse(const struct command *cmd, int argc, char **argv, bool *json)
{
	static const struct option longs[] = { CLI_COMMON_OPTIONS };

	while (cli_getopt(cmd, argc, argv, longs, json) != -1)
		;
	cli_check_args(cmd, argc, 1, 1);
	return argv[optind];
}

static struct key_text *text_create(void)
{
	struct key_text *t = calloc(1, sizeof(*t));

	if (!t)
		exit(cli_fail(CLI_FAILED, "out of memory; no key was made"));
	return t;
}

static void text_destroy(struct key_text *t)
{
	OPENSSL_cleanse(t, sizeof(*t));
	free(t);
}

int cmd_key_create(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const char *path = parse(cmd, argc, argv, &json);
	struct key_text *t;
	int ret;

	if (access(path, F_OK) == 0)
		return cli_fail(CLI_REFUSED, "key file %s exists, and what its keys encrypted needs them; nothing was changed; `blkship key add %s` adds a key",
				path, path);
	t = text_create();
	ret = save(path, t, json, "key_file = FILE in targetd.conf of the store; keep a copy elsewhere: without it nothing can be read");
	text_destroy(t);
	return ret;
}

/* As it is, with all comments. */
static int read_text(const char *path, struct key_text *t)
{
	FILE *f = fopen(path, "re");
	bool whole = false;
	size_t n = 0;

	if (f) {
		setvbuf(f, NULL, _IONBF, 0);	/* no copy that nobody wipes */
		n = fread(t->data, 1, sizeof(t->data), f);
		whole = !ferror(f) && n < sizeof(t->data);
		fclose(f);
	}
	if (!whole)
		return cli_fail(CLI_FAILED, "key file %s cannot be read; nothing was changed", path);
	t->bytes = n;
	if (n && t->data[n - 1] != '\n')
		t->data[t->bytes++] = '\n';
	return CLI_DONE;
}

int cmd_key_add(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const char *path = parse(cmd, argc, argv, &json);
	struct keyring *keys = NULL;
	struct key_text *t;
	int ret = load(path, &keys);

	if (ret != CLI_DONE)
		return ret;
	keyring_free(keys);
	t = text_create();
	ret = read_text(path, t);
	if (ret == CLI_DONE)
		ret = save(path, t, json, "renew the copy you keep elsewhere, then restart blkship-targetd: new segments have the new key, old ones need the old ones");
	text_destroy(t);
	return ret;
}

int cmd_key_list(const struct command *cmd, int argc, char **argv)
{
	bool json = false;
	const char *path = parse(cmd, argc, argv, &json);
	struct keyring *keys = NULL;
	int ret = load(path, &keys);

	if (ret != CLI_DONE)
		return ret;
	ret = print_ids(path, keys, json);
	keyring_free(keys);
	return ret;
}
