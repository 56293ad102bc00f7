// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys from files and commands: what is refused, and that whoever says why never says the key.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../userspace/lib/key_source.h"

#define KEY_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define KEY_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

static char dir[64], why[KEY_SOURCE_TEXT_BYTES], note[KEY_SOURCE_TEXT_BYTES];

static int setup(void **state)
{
	strcpy(dir, "/tmp/test_key_source.XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	return system(command);
}

static const char *path(const char *name)
{
	static char text[128];

	snprintf(text, sizeof(text), "%s/%s", dir, name);
	return text;
}

static void put(const char *name, const char *text, mode_t mode)
{
	FILE *f = fopen(path(name), "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
	assert_int_equal(chmod(path(name), mode), 0);
}

static int load_file(const char *name, struct keyring **keys)
{
	const struct key_source source = { .file = path(name) };

	*keys = NULL;
	return key_source_load(&source, keys, why);
}

static int load_command(const char *command, struct keyring **keys)
{
	const struct key_source source = { .command = command };

	*keys = NULL;
	return key_source_load(&source, keys, why);
}

static void a_file_is_read_if_it_is_for_nobody_else(void **state)
{
	static const mode_t bad[] = { 0640, 0604, 0610, 0602 };
	struct keyring *keys;

	put("key", KEY_A "\n" KEY_B "\n", 0600);
	assert_int_equal(load_file("key", &keys), 0);
	assert_int_equal(keyring_nr(keys), 2);
	keyring_free(keys);
	chmod(path("key"), 0400);
	assert_int_equal(load_file("key", &keys), 0);
	keyring_free(keys);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		chmod(path("key"), bad[i]);
		assert_int_equal(load_file("key", &keys), -EPERM);
		assert_non_null(strstr(why, "lets others at it"));
	}
	assert_int_equal(load_file("none", &keys), -ENOENT);
	assert_int_equal(mkdir(path("dir"), 0700), 0);
	assert_int_not_equal(load_file("dir", &keys), 0);
	assert_non_null(strstr(why, "not a regular file"));
	/* One that nobody writes to must not be waited for. */
	assert_int_equal(mkfifo(path("fifo"), 0600), 0);
	assert_int_not_equal(load_file("fifo", &keys), 0);
	put("bad", "secret words\n", 0600);
	assert_int_equal(load_file("bad", &keys), -EINVAL);
	assert_null(strstr(why, "secret"));
}

static void a_file_of_somebody_else_is_refused(void **state)
{
	struct keyring *keys;

	if (geteuid() != 0)
		skip();
	put("key", KEY_A "\n", 0600);
	assert_int_equal(chown(path("key"), 65534, 65534), 0);
	assert_int_equal(load_file("key", &keys), -EPERM);
	assert_non_null(strstr(why, "belongs to user 65534"));
}

static void a_file_that_is_too_long_is_refused(void **state)
{
	struct keyring *keys;
	FILE *f;

	put("long", KEY_A "\n", 0600);
	f = fopen(path("long"), "a");
	for (int i = 0; i < KEYRING_MAX_TEXT_BYTES; i += 2)
		fputs("#\n", f);
	fclose(f);
	assert_int_equal(load_file("long", &keys), -EFBIG);
}

static void a_command_is_run_as_it_is_written(void **state)
{
	struct keyring *keys;
	char command[256];

	put("key", KEY_A "\n", 0600);
	snprintf(command, sizeof(command), "/bin/cat \t %s", path("key"));
	assert_int_equal(load_command(command, &keys), 0);
	assert_int_equal(keyring_nr(keys), 1);
	keyring_free(keys);
	/* No shell: nothing is expanded, put together or run. */
	snprintf(command, sizeof(command), "/bin/echo %s; touch %s", KEY_A, path("made"));
	assert_int_equal(load_command(command, &keys), -EINVAL);
	assert_int_equal(access(path("made"), F_OK), -1);
	/* Its input is empty: it does not wait for a person. */
	assert_int_equal(load_command("/bin/cat", &keys), -EINVAL);
	assert_non_null(strstr(why, "no key in it"));
}

static void a_command_that_fails_is_told(void **state)
{
	struct keyring *keys;

	assert_int_equal(load_command("/bin/false", &keys), -EKEYREJECTED);
	assert_non_null(strstr(why, "`/bin/false`: ended with exit code 1"));
	assert_int_equal(load_command("/nonexistent/program", &keys), -EKEYREJECTED);
	assert_non_null(strstr(why, "exit code 127"));
	assert_int_equal(load_command("cat key", &keys), -EINVAL);
	assert_non_null(strstr(why, "absolute path"));
	assert_int_equal(load_command("  ", &keys), -EINVAL);
	/* Without an end, but with a bound: it is killed. */
	assert_int_equal(load_command("/usr/bin/yes #", &keys), -EFBIG);
	assert_non_null(strstr(why, "it was killed"));
}

static void a_reader_finds_the_key_file_of_the_store_but_runs_nothing(void **state)
{
	const struct key_source none = { NULL, NULL };
	struct key_source given = { NULL, NULL };
	struct keyring *keys, *b;
	char text[512];

	put("key", KEY_A "\n", 0600);
	put("other", KEY_B "\n", 0600);
	/* No configuration at all: a copy of the groups alone. */
	assert_int_equal(key_source_for_reader(&none, dir, &keys, note, why), 0);
	assert_null(keys);
	assert_string_equal(note, "");
	snprintf(text, sizeof(text), "[target]\nlisten = 127.0.0.1:0\nkey_file = %s\n", path("key"));
	put("targetd.conf", text, 0600);
	assert_int_equal(key_source_for_reader(&none, dir, &keys, note, why), 0);
	assert_non_null(keys);
	keyring_free(keys);
	/* What was given goes first, and its failure is one. */
	given.file = strdup(path("other"));
	assert_int_equal(key_source_for_reader(&given, dir, &keys, note, why), 0);
	assert_int_equal(keyring_parse(KEY_B, KEY_HEX_BYTES, &b, why), 0);
	assert_memory_equal(keyring_newest_id(keys), keyring_newest_id(b), FILE_KEY_ID_BYTES);
	keyring_free(b);
	keyring_free(keys);
	unlink(path("other"));
	assert_int_equal(key_source_for_reader(&given, dir, &keys, note, why), -ENOENT);
	free((char *)given.file);
	/* That of the store is not there: it may not be needed. */
	unlink(path("key"));
	assert_int_equal(key_source_for_reader(&none, dir, &keys, note, why), 0);
	assert_null(keys);
	assert_non_null(strstr(note, "No such file"));
	snprintf(text, sizeof(text), "[target]\nkey_command = /usr/bin/touch %s\n", path("made"));
	put("targetd.conf", text, 0600);
	assert_int_equal(key_source_for_reader(&none, dir, &keys, note, why), 0);
	assert_null(keys);
	assert_non_null(strstr(note, "only the target runs"));
	assert_int_equal(access(path("made"), F_OK), -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_is_read_if_it_is_for_nobody_else),
		TEST(a_file_of_somebody_else_is_refused),
		TEST(a_file_that_is_too_long_is_refused),
		TEST(a_command_is_run_as_it_is_written),
		TEST(a_command_that_fails_is_told),
		TEST(a_reader_finds_the_key_file_of_the_store_but_runs_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
