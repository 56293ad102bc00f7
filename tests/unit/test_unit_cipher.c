// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keys and encrypted units: docs/ENCRYPTION.md and the code say the same; whatever is
 * altered, moved or relabelled does not decrypt.
 */
#define DOC "docs/ENCRYPTION.md"
#include "doc.h"
#include "example_unit.h"

#include <errno.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/unit_builder.h"
#include "../../userspace/lib/unit_cipher.h"
#include "../../userspace/store/manifest_format.h"
#include "../host/test_batch.h"

static const struct doc_field fields[] = {
	DOC_FIELD(segment_header, key_id),
	DOC_FIELD(segment_header, key_salt),
	DOC_FIELD(unit_seal, nonce),
	DOC_FIELD(unit_seal, tag),
	DOC_FIELD(manifest_key, id),
	DOC_FIELD(manifest_key, time_ns),
};

static void the_document_has_the_offsets_of_the_code(void **state)
{
	doc_expect_fields(fields, ARRAY_SIZE(fields));
}

/* -- the worked example -- */

#define EXAMPLE_KEY	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define OTHER_KEY	"ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define EXAMPLE_OFFSET	4096

static const uint8_t example_nonce[12] = {
	0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xab };

static struct keyring *keys_of(const char *text)
{
	struct keyring *k = NULL;
	char why[KEYRING_TEXT_BYTES];

	assert_int_equal(keyring_parse(text, strlen(text), &k, why), 0);
	return k;
}

static struct segment_header example_header(const struct keyring *keys)
{
	struct segment_header h = { .flags = SEGMENT_ENCRYPTED, .number = 7 };

	memcpy(h.timeline, "the timeline's.", 16);
	memcpy(h.key_id, keyring_newest_id(keys), sizeof(h.key_id));
	for (size_t i = 0; i < sizeof(h.key_salt); i++)
		h.key_salt[i] = 0x20 + i;
	return h;
}

static struct unit_cipher *cipher_of(const struct keyring *keys, const struct segment_header *h)
{
	struct unit_cipher *c = NULL;

	assert_int_equal(unit_cipher_create_segment(keys, h, &c), 0);
	return c;
}

/* An encrypted unit, and all that it was encrypted with. */
struct example {
	struct keyring *keys;
	struct segment_header header;
	struct unit_cipher *cipher;
	uint8_t clear[1024] __attribute__((aligned(8)));
	uint8_t unit[1024] __attribute__((aligned(8)));
	size_t bytes;
};

static void example_begin(struct example *e)
{
	struct unit_view view;
	uint32_t header_crc;
	size_t bytes = example_unit(e->clear, &header_crc);

	e->keys = keys_of(EXAMPLE_KEY "\n");
	e->header = example_header(e->keys);
	e->cipher = cipher_of(e->keys, &e->header);
	assert_int_equal(unit_decode(e->clear, bytes, 1, &view), 0);
	e->bytes = unit_encrypt(e->cipher, &view, EXAMPLE_OFFSET, example_nonce, e->unit);
}

static void example_end(struct example *e)
{
	unit_cipher_destroy(e->cipher);
	keyring_free(e->keys);
}

static int decrypt(struct unit_cipher *c, const uint8_t *unit, size_t bytes, uint64_t offset,
		   struct unit_view *view)
{
	static uint8_t scratch[UNIT_MAX_BYTES] __attribute__((aligned(8)));
	int ret = unit_decode(unit, bytes, 1, view);

	return ret ? ret : unit_decrypt(c, view, offset, scratch);
}

static void the_worked_example_is_what_the_code_makes(void **state)
{
	struct unit_view view;
	struct example e;
	uint8_t data[512];

	example_begin(&e);
	doc_expect_bytes("key_id", e.header.key_id, sizeof(e.header.key_id));
	assert_int_equal(e.bytes, 672);
	doc_expect_bytes("unit", e.unit, 160);
	doc_expect_bytes("seal", e.unit + 644, sizeof(struct unit_seal));
	assert_int_equal(decrypt(e.cipher, e.unit, e.bytes, EXAMPLE_OFFSET, &view), 0);
	assert_int_equal(unit_unpack(&view, data), 0);
	for (int i = 0; i < 512; i++)
		assert_int_equal(data[i], (uint8_t)i);
	example_end(&e);
}

/* -- what is refused -- */

/* Any bit turned: seen without the key; with the CRCs made right again, with it. */
static void a_turned_bit_is_seen(void **state)
{
	const size_t tables_bytes = 64 + 2 * 32 + 4;
	struct unit_view view;
	struct example e;
	unsigned int decoded = 0;

	example_begin(&e);
	for (size_t bit = 0; bit < e.bytes * 8; bit++) {
		struct unit_header *h = (struct unit_header *)e.unit;
		uint8_t saved[1024];

		if (bit / 8 >= 8 && bit / 8 < 12)
			continue;	/* its length: below it wants more, or is refused */
		memcpy(saved, e.unit, sizeof(saved));
		e.unit[bit / 8] ^= 1 << bit % 8;
		assert_int_equal(unit_decode(e.unit, e.bytes, 1, &view), -EBADMSG);
		h->stored_crc = crc32c(e.unit + tables_bytes, 512 + sizeof(struct unit_seal));
		h->header_crc = 0;
		h->header_crc = crc32c(e.unit, tables_bytes);
		/* Turned CRCs are right again now: nothing is left to see. */
		if (memcmp(saved, e.unit, e.bytes) == 0)
			continue;
		decoded += !unit_decode(e.unit, e.bytes, 1, &view);
		assert_int_equal(decrypt(e.cipher, e.unit, e.bytes, EXAMPLE_OFFSET, &view),
				 -EBADMSG);
		memcpy(e.unit, saved, sizeof(saved));
	}
	/* Most of them nothing but the tag sees: labels, volumes, CRCs, data, nonce, tag. */
	assert_true(decoded > 8 * (512 + 28 + 4 + 16));
	example_end(&e);
}

static void a_unit_decrypts_only_where_it_was_written(void **state)
{
	struct keyring *other = keys_of(OTHER_KEY);
	struct unit_view view;
	struct unit_cipher *c;
	struct example e;

	example_begin(&e);
	assert_int_equal(decrypt(e.cipher, e.unit, e.bytes, EXAMPLE_OFFSET + 8, &view), -EBADMSG);
	for (int i = 0; i < 3; i++) {
		struct segment_header h = e.header;

		if (i == 0)
			h.number++;
		else if (i == 1)
			h.timeline[15] ^= 1;
		else
			h.key_salt[31] ^= 1;
		c = cipher_of(e.keys, &h);
		assert_int_equal(decrypt(c, e.unit, e.bytes, EXAMPLE_OFFSET, &view), -EBADMSG);
		unit_cipher_destroy(c);
	}
	/* Another key under the same name. */
	memcpy(e.header.key_id, keyring_newest_id(other), sizeof(e.header.key_id));
	c = cipher_of(other, &e.header);
	assert_int_equal(decrypt(c, e.unit, e.bytes, EXAMPLE_OFFSET, &view), -EBADMSG);
	unit_cipher_destroy(c);
	example_end(&e);
	keyring_free(other);
}

static void another_kind_of_file_has_another_key(void **state)
{
	struct unit_cipher_file file = { .kind = "blkship other 1", .number = 7 };
	struct unit_view view;
	struct unit_cipher *c;
	struct example e;

	example_begin(&e);
	file.timeline = e.header.timeline;
	file.key_id = e.header.key_id;
	file.key_salt = e.header.key_salt;
	assert_int_equal(unit_cipher_create(e.keys, &file, &c), 0);
	assert_int_equal(decrypt(c, e.unit, e.bytes, EXAMPLE_OFFSET, &view), -EBADMSG);
	unit_cipher_destroy(c);
	file.kind = UNIT_CIPHER_SEGMENT;
	assert_int_equal(unit_cipher_create(e.keys, &file, &c), 0);
	assert_int_equal(decrypt(c, e.unit, e.bytes, EXAMPLE_OFFSET, &view), 0);
	unit_cipher_destroy(c);
	example_end(&e);
}

static void clear_and_encrypted_do_not_mix(void **state)
{
	struct segment_header clear = { .number = 7 };
	struct unit_view view;
	struct unit_cipher *c;
	struct example e;
	uint8_t data[512];

	example_begin(&e);
	/* In a file that says nothing of a key. */
	assert_int_equal(unit_cipher_create_segment(e.keys, &clear, &c), 0);
	assert_null(c);
	assert_int_equal(decrypt(NULL, e.unit, e.bytes, EXAMPLE_OFFSET, &view), -EBADMSG);
	assert_int_equal(decrypt(NULL, e.clear, sizeof(e.clear), EXAMPLE_OFFSET, &view), 0);
	assert_int_equal(unit_unpack(&view, data), 0);
	/* In clear in one that does. */
	assert_int_equal(decrypt(e.cipher, e.clear, sizeof(e.clear), EXAMPLE_OFFSET, &view),
			 -EBADMSG);
	/* Nobody gets at content by forgetting to decrypt it, or encrypts it twice. */
	assert_int_equal(unit_decode(e.unit, e.bytes, 1, &view), 0);
	assert_int_equal(unit_unpack(&view, data), -ENOKEY);
	assert_int_equal(unit_encrypt(e.cipher, &view, 0, example_nonce, e.clear), -EINVAL);
	example_end(&e);
}

static void any_unit_comes_back(void **state)
{
	static const struct { uint32_t bytes; enum extent_kind kind; uint8_t codec; } units[] = {
		{ 512, EXTENT_DATA, UNIT_STORED }, { 65536, EXTENT_DATA, UNIT_STORED },
		{ 65536, EXTENT_DATA, UNIT_LZ4 }, { 1 << 20, EXTENT_ZERO, UNIT_STORED },
		{ 1 << 20, EXTENT_DISCARD, UNIT_LZ4 }, { 7168, EXTENT_DATA, UNIT_LZ4 },
	};
	static uint8_t out[UNIT_MAX_BYTES] __attribute__((aligned(8)));
	static uint8_t want[UNIT_MAX_DATA_BYTES], data[UNIT_MAX_DATA_BYTES];
	struct example e;

	example_begin(&e);
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		bool has_data = units[i].kind == EXTENT_DATA;
		struct unit_view view;
		struct test_batch b;
		int bytes;

		test_batch_begin(&b, 3, 90);
		b.codec = units[i].codec;
		test_batch_extent(&b, 1, 1536, units[i].bytes, units[i].kind, i, 0, 0);
		assert_int_equal(unit_decode(b.units[0], b.unit_bytes[0], 1, &view), 0);
		bytes = unit_encrypt(e.cipher, &view, 8 * i, example_nonce, out);
		assert_in_range(bytes, b.unit_bytes[0] + 24, b.unit_bytes[0] + UNIT_SEAL_MAX_BYTES);
		assert_int_equal(decrypt(e.cipher, out, bytes, 8 * i, &view), 0);
		assert_int_equal(unit_unpack(&view, data), 0);
		test_fill(want, has_data ? units[i].bytes : 0, i);
		assert_memory_equal(data, want, has_data ? units[i].bytes : 0);
		test_batch_free(&b);
	}
	example_end(&e);
}

/* -- keys -- */

static void the_last_key_is_for_what_is_new_and_all_are_for_reading(void **state)
{
	struct keyring *both = keys_of("# of 2026\n" EXAMPLE_KEY "\n\n  " OTHER_KEY "\t\r\n");
	struct keyring *other = keys_of(OTHER_KEY);
	struct unit_view view;
	struct unit_cipher *c;
	struct example e;

	example_begin(&e);
	assert_int_equal(keyring_nr(both), 2);
	assert_memory_equal(keyring_id(both, 0), e.header.key_id, FILE_KEY_ID_BYTES);
	assert_memory_equal(keyring_newest_id(both), keyring_id(other, 0), FILE_KEY_ID_BYTES);
	c = cipher_of(both, &e.header);
	assert_int_equal(decrypt(c, e.unit, e.bytes, EXAMPLE_OFFSET, &view), 0);
	unit_cipher_destroy(c);
	assert_int_equal(unit_cipher_create_segment(other, &e.header, &c), -ENOKEY);
	assert_int_equal(unit_cipher_create_segment(NULL, &e.header, &c), -ENOKEY);
	example_end(&e);
	keyring_free(both);
	keyring_free(other);
}

static void what_is_no_key_is_refused_and_not_shown(void **state)
{
	static const struct { const char *text; int error; const char *why; } bad[] = {
		{ "", -EINVAL, "no key in it" },
		{ "# only words\n\n", -EINVAL, "no key in it" },
		{ "abc\n", -EINVAL, "line 1: not a key" },
		{ EXAMPLE_KEY "0\n", -EINVAL, "line 1: not a key" },
		{ "\n" EXAMPLE_KEY " " OTHER_KEY "\n", -EINVAL, "line 2: not a key" },
		{ EXAMPLE_KEY "\n#\n" EXAMPLE_KEY, -EINVAL, "line 3: the same key again" },
		{ "g00102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", -EINVAL,
		  "line 1: not a key" },
	};
	char why[KEYRING_TEXT_BYTES], many[65 * (KEY_HEX_BYTES + 1) + 1];
	struct keyring *k;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(keyring_parse(bad[i].text, strlen(bad[i].text), &k, why),
				 bad[i].error);
		assert_non_null(strstr(why, bad[i].why));
		assert_null(strstr(why, "0203"));
	}
	for (int i = 0; i < 65; i++)
		sprintf(many + i * (KEY_HEX_BYTES + 1), "%064x\n", i);
	assert_int_equal(keyring_parse(many, strlen(many), &k, why), -E2BIG);
	k = keys_of(strchr(many, '\n') + 1);
	assert_int_equal(keyring_nr(k), KEYRING_MAX_KEYS);
	keyring_free(k);
	/* Nothing is read behind the end. */
	assert_int_equal(keyring_parse(EXAMPLE_KEY, KEY_HEX_BYTES - 1, &k, why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_document_has_the_offsets_of_the_code),
		cmocka_unit_test(the_worked_example_is_what_the_code_makes),
		cmocka_unit_test(a_turned_bit_is_seen),
		cmocka_unit_test(a_unit_decrypts_only_where_it_was_written),
		cmocka_unit_test(another_kind_of_file_has_another_key),
		cmocka_unit_test(clear_and_encrypted_do_not_mix),
		cmocka_unit_test(any_unit_comes_back),
		cmocka_unit_test(the_last_key_is_for_what_is_new_and_all_are_for_reading),
		cmocka_unit_test(what_is_no_key_is_refused_and_not_shown),
	};

	return cmocka_run_group_tests(tests, doc_load, doc_free);
}
