// SPDX-License-Identifier: GPL-2.0-only
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/pki.h"

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "/tmp/blkship-unit-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf -- '%s'", dir);
	return system(command);
}

static const char *in_dir(const char *name)
{
	static char path[4][128];
	static int next;
	char *out = path[next++ % 4];

	snprintf(out, sizeof(path[0]), "%s/%s", dir, name);
	return out;
}

static void tokens_survive_text(void **state)
{
	uint64_t seed = 7;

	for (int i = 0; i < 1000; i++) {
		char text[PKI_TOKEN_TEXT_BYTES], padded[PKI_TOKEN_TEXT_BYTES + 8], why[PKI_TEXT_BYTES];
		struct pki_token a = { .id = "0123456789abcdef" }, b;

		for (int j = 0; j < 32; j++) {
			a.secret[j] = unit_random(&seed) >> 56;
			a.ca_sha256[j] = unit_random(&seed) >> 56;
		}
		pki_token_format(&a, text);
		assert_null(strpbrk(text, " \n+/="));
		snprintf(padded, sizeof(padded), " \n%s\r\n", text);
		assert_int_equal(pki_token_parse(padded, &b, why), 0);
		assert_string_equal(a.id, b.id);
		assert_memory_equal(a.secret, b.secret, 32);
		assert_memory_equal(a.ca_sha256, b.ca_sha256, 32);
	}
}

static void damaged_tokens_are_refused(void **state)
{
	char good[PKI_TOKEN_TEXT_BYTES], why[PKI_TEXT_BYTES];
	struct pki_token token = { .id = "0123456789abcdef" };
	static const char *const bad[] = {
		"", "blks1.", "blks2.0123456789abcdef.", "blks1.0123456789abcde.AAAA",
		"blks1.0123456789ABCDEF.AAAA", "hello", "blks1.../../etc/passwd.",
	};

	memset(token.secret, 0x5a, 32);
	memset(token.ca_sha256, 0xa5, 32);
	pki_token_format(&token, good);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(pki_token_parse(bad[i], &token, why), -EINVAL);
	/* Every shorter one, every one with a sign more or a sign that may not be there. */
	for (size_t len = 0; len < strlen(good); len++) {
		char cut[PKI_TOKEN_TEXT_BYTES];

		strcpy(cut, good);
		cut[len] = 0;
		assert_int_equal(pki_token_parse(cut, &token, why), -EINVAL);
		strcpy(cut, good);
		cut[len] = '%';
		assert_int_equal(pki_token_parse(cut, &token, why), -EINVAL);
	}
	strcat(good, "A");
	assert_int_equal(pki_token_parse(good, &token, why), -EINVAL);
	/* Two texts for one secret would be one too many: bits behind the end. */
	good[strlen(good) - 1] = 0;
	good[strlen(good) - 1]++;
	assert_int_equal(pki_token_parse(good, &token, why), -EINVAL);
}

static void only_hosts_are_hosts(void **state)
{
	static const char *const good[] = { "web1", "a", "web1.example.org", "x_y-z", "10.0.0.1" };
	static const char *const bad[] = { "", ".", "..", "-x", "a/b", "a b", "a\nb", "a,DNS:b",
					   "0123456789012345678901234567890123456789012345678901234567890123" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_true(pki_host_valid(good[i]));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_false(pki_host_valid(bad[i]));
}

static void files_are_private_and_whole(void **state)
{
	char why[PKI_TEXT_BYTES], buf[16];
	struct stat st;

	assert_int_equal(pki_write_file(in_dir("f"), "one", 3, why), 0);
	assert_int_equal(pki_write_file(in_dir("f"), "three", 5, why), 0);
	assert_int_equal(stat(in_dir("f"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(access(in_dir("f.tmp"), F_OK), -1);
	assert_int_equal(pki_read_file(in_dir("f"), buf, sizeof(buf), why), 0);
	assert_string_equal(buf, "three");
	assert_int_equal(pki_read_file(in_dir("f"), buf, 5, why), -EFBIG);
	assert_int_equal(pki_read_file(in_dir("none"), buf, 5, why), -ENOENT);
	assert_non_null(strstr(why, "none"));
	assert_int_equal(pki_write_file(in_dir("no/dir"), "x", 1, why), -ENOENT);
}

static void a_request_becomes_a_certificate(void **state)
{
	static const char *const names[] = { "dr1", "dr1.example.org", "192.0.2.1", "::1" };
	char csr[PKI_PEM_BYTES], cert[PKI_PEM_BYTES], why[PKI_TEXT_BYTES];
	uint64_t not_after_s = 0, again_s = 0;
	uint8_t a[32], b[32];
	struct stat st;

	assert_int_equal(pki_init(dir, "dr1", names, ARRAY_SIZE(names), why), 0);
	assert_int_equal(stat(in_dir("ca.key"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(pki_request(in_dir("key.pem"), "other", csr, why), 0);
	assert_int_equal(pki_sign(dir, csr, strlen(csr), "web1", cert, &not_after_s, why), 0);
	assert_in_range(not_after_s - time(NULL), 89 * 86400, 90 * 86400);
	assert_int_equal(pki_write_file(in_dir("cert.pem"), cert, strlen(cert), why), 0);
	assert_int_equal(pki_not_after(in_dir("cert.pem"), &again_s, why), 0);
	assert_int_equal(again_s, not_after_s);
	assert_int_equal(pki_fingerprint(in_dir("cert.pem"), a, why), 0);
	assert_int_equal(pki_fingerprint_pem(cert, strlen(cert), b, why), 0);
	assert_memory_equal(a, b, 32);

	/* One changed byte of the request's body: its signature no longer fits. */
	csr[strlen(csr) / 2] ^= csr[strlen(csr) / 2] == 'A' ? 'A' ^ 'B' : csr[strlen(csr) / 2] ^ 'A';
	assert_int_equal(pki_sign(dir, csr, strlen(csr), "web1", cert, &not_after_s, why), -EBADMSG);
	assert_int_equal(pki_sign(dir, "x", 1, "web1", cert, &not_after_s, why), -EBADMSG);
	assert_non_null(strstr(why, "request"));
}

static void odd_names_make_no_certificate(void **state)
{
	static const char *const names[] = { "dr1", "evil,DNS:x" };
	char why[PKI_TEXT_BYTES];

	assert_int_equal(pki_init(dir, "dr 1", NULL, 0, why), -EINVAL);
	assert_int_equal(pki_init(dir, "dr1", names, 2, why), -EINVAL);
	assert_non_null(strstr(why, "evil"));
	assert_int_equal(access(in_dir("ca.key"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_survive_text),
		cmocka_unit_test(damaged_tokens_are_refused),
		cmocka_unit_test(only_hosts_are_hosts),
		cmocka_unit_test_setup_teardown(files_are_private_and_whole, setup, teardown),
		cmocka_unit_test_setup_teardown(a_request_becomes_a_certificate, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_names_make_no_certificate, setup, teardown),
	};

	return cmocka_run_group_tests_name("pki", tests, NULL, NULL);
}
