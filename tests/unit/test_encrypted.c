// SPDX-License-Identifier: GPL-2.0-only
/*
 * A timeline with keys: what lies on disk tells no content, who has the key reads all of it,
 * who has not gets points and a clear refusal; new keys are for what is new.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/seq.h"
#include "../../userspace/lib/unit_cipher.h"
#include "../../userspace/store/check.h"
#include "../../userspace/store/segment_index.h"
#include "../../userspace/store/view.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"
#include "../host/test_steps.h"

#define DIR "/tl"
#define BLOCKS 16
#define MARKER "this is what nobody is to see..."

static char why[TIMELINE_TEXT_BYTES];

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	struct keyring *a, *ab, *b;	/* one key, that and a newer one, only that */
	uint64_t nr;			/* batches */
};

static struct keyring *keys_of(int first, int last)
{
	char text[4 * (KEY_HEX_BYTES + 1)];
	struct keyring *k = NULL;
	size_t at = 0;

	for (int i = first; i <= last; i++)
		at += sprintf(text + at, "%064x\n", i);
	assert_int_equal(keyring_parse(text, at, &k, why), 0);
	return k;
}

static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));

	r->sim = sim_env_create(1);
	r->env = sim_env_env(r->sim);
	r->a = keys_of(1, 1);
	r->ab = keys_of(1, 2);
	r->b = keys_of(2, 2);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	timeline_close(r->tl);
	keyring_free(r->a);
	keyring_free(r->ab);
	keyring_free(r->b);
	sim_env_destroy(r->sim);
	free(r);
	return 0;
}

static void reopen(struct rig *r, unsigned int flags, const struct keyring *keys, int error)
{
	timeline_close(r->tl);
	assert_int_equal(timeline_open(r->env, DIR, flags, "owner", &r->tl, why), 0);
	assert_int_equal(timeline_set_keys(r->tl, keys, why), error);
}

/* Without opening anew: the group is known, or becomes so. */
static void greet(struct rig *r)
{
	assert_int_equal(test_greet(r->tl, "vda", BLOCKS * BLOCK_BYTES), 0);
}

/* A block that says which batch it is of, in text. */
static void block_fill(char *block, uint64_t ordinal)
{
	for (size_t at = 0; at < BLOCK_BYTES; at += 64)
		snprintf(block + at, 64, MARKER "%020llu", (unsigned long long)ordinal);
}

/* Batch n writes block n of the volume. */
static int append(struct rig *r, uint8_t codec)
{
	char block[BLOCK_BYTES] = { 0 };
	struct test_batch b;
	int ret;

	test_batch_begin(&b, r->nr + 1, seq_pack(1, (r->nr + 1) * 10));
	b.codec = codec;
	block_fill(block, r->nr + 1);
	test_batch_unit_begin();
	test_batch_unit_add(0, (r->nr + 1) % BLOCKS * BLOCK_BYTES, sizeof(block), EXTENT_DATA,
			    block);
	test_batch_unit_end(&b, 0, 0);
	b.volumes[b.nr_volumes++] = (struct commit_volume){ .size_bytes = BLOCKS * BLOCK_BYTES };
	test_batch_end(&b);
	ret = test_append(r->sim, r->tl, &b);
	r->nr += !ret;
	return ret;
}

static void begin(struct rig *r, const struct keyring *keys)
{
	reopen(r, TIMELINE_CREATE, keys, 0);
	greet(r);
}

/* All blocks of the newest point; the first error. */
static int read_all(struct rig *r)
{
	char block[BLOCK_BYTES], want[BLOCK_BYTES] = { 0 };
	struct view *view;
	int ret = view_open(r->tl, seq_pack(1, r->nr * 10), &view, why);

	for (uint64_t n = 1; n <= r->nr && !ret; n++) {
		ret = view_read(view, 0, n % BLOCKS * BLOCK_BYTES, block, sizeof(block));
		block_fill(want, n);
		if (!ret)
			assert_memory_equal(block, want, sizeof(block));
	}
	view_close(view);
	return ret;
}

static struct segment_header header_of(struct rig *r, uint64_t number)
{
	struct segment_header h;
	uint64_t bytes;
	char path[64];
	const uint8_t *content;

	segment_path(path, sizeof(path), DIR, number);
	content = sim_env_content(r->sim, path, &bytes);
	assert_non_null(content);
	assert_int_equal(segment_header_decode(content, &h), 0);
	return h;
}

static bool segment_tells(struct rig *r, uint64_t number)
{
	uint64_t bytes;
	char path[64];
	const uint8_t *content;

	segment_path(path, sizeof(path), DIR, number);
	content = sim_env_content(r->sim, path, &bytes);
	return content && memmem(content, bytes, MARKER, strlen(MARKER));
}

static void who_has_the_key_reads_it_and_nobody_else(void **state)
{
	const struct timeline_commit *commits;
	struct rig *r = *state;

	begin(r, r->a);
	for (int i = 0; i < 8; i++)
		assert_int_equal(append(r, i % 2 ? UNIT_LZ4 : UNIT_STORED), 0);
	assert_false(segment_tells(r, 1));
	assert_int_equal(read_all(r), 0);
	reopen(r, TIMELINE_READ_ONLY, r->a, 0);
	assert_null(timeline_missing_key(r->tl));
	assert_int_equal(read_all(r), 0);
	for (int i = 0; i < 2; i++) {
		reopen(r, TIMELINE_READ_ONLY, i ? r->b : NULL, 0);
		assert_int_equal(timeline_commits(r->tl, &commits), 8);
		assert_true(commits[7].listed);
		assert_memory_equal(timeline_missing_key(r->tl), keyring_newest_id(r->a),
				    FILE_KEY_ID_BYTES);
		assert_int_equal(read_all(r), -ENOKEY);
	}
}

static void without_a_key_the_test_would_see_the_text(void **state)
{
	struct rig *r = *state;

	begin(r, NULL);
	assert_int_equal(append(r, UNIT_STORED), 0);
	assert_true(segment_tells(r, 1));
	assert_null(timeline_missing_key(r->tl));
}

static void a_key_begins_a_segment(void **state)
{
	struct rig *r = *state;
	struct segment_header h;

	begin(r, NULL);
	assert_int_equal(append(r, UNIT_STORED), 0);
	/* The first key; the same in the next life; another one; that while it runs. */
	reopen(r, 0, r->a, 0);
	assert_int_equal(append(r, UNIT_STORED), 0);
	reopen(r, 0, r->a, 0);
	assert_int_equal(append(r, UNIT_STORED), 0);
	assert_int_equal(timeline_set_keys(r->tl, r->ab, why), 0);
	assert_int_equal(append(r, UNIT_STORED), 0);
	assert_int_equal(append(r, UNIT_STORED), 0);
	assert_int_equal(header_of(r, 1).flags, 0);
	assert_true(segment_tells(r, 1));
	for (int i = 2; i <= 3; i++) {
		h = header_of(r, i);
		assert_int_equal(h.flags, SEGMENT_ENCRYPTED);
		assert_memory_equal(h.key_id, keyring_id(r->ab, i - 2), FILE_KEY_ID_BYTES);
		assert_false(segment_tells(r, i));
	}
	assert_int_equal(h.first_ordinal, 4);
	assert_int_equal(read_all(r), 0);
	/* The old one alone reads what is old; the new one alone what is new. */
	reopen(r, TIMELINE_READ_ONLY, r->a, 0);
	assert_int_equal(read_all(r), -ENOKEY);
	assert_memory_equal(timeline_missing_key(r->tl), keyring_newest_id(r->b),
			    FILE_KEY_ID_BYTES);
	reopen(r, 0, r->b, 0);
	assert_int_equal(append(r, UNIT_STORED), 0);
	assert_int_equal(read_all(r), -ENOKEY);
	reopen(r, TIMELINE_READ_ONLY, r->ab, 0);
	assert_int_equal(read_all(r), 0);
}

static void no_two_segments_have_a_salt(void **state)
{
	uint8_t salts[12][FILE_KEY_SALT_BYTES];
	struct rig *r = *state;

	begin(r, r->a);
	timeline_set_limits(r->tl, 4096, 0);
	for (int i = 0; i < 12; i++) {
		assert_int_equal(append(r, UNIT_STORED), 0);
		memcpy(salts[i], header_of(r, i + 1).key_salt, sizeof(salts[i]));
		for (int j = 0; j < i; j++)
			assert_memory_not_equal(salts[i], salts[j], sizeof(salts[i]));
	}
	assert_int_equal(read_all(r), 0);
}

static void it_never_goes_on_in_clear(void **state)
{
	struct rig *r = *state;

	begin(r, r->a);
	assert_int_equal(append(r, UNIT_STORED), 0);
	reopen(r, 0, NULL, -ENOKEY);
	assert_non_null(strstr(why, DIR " is encrypted with key "));
	assert_int_equal(append(r, UNIT_STORED), -ENOKEY);
	/* Nothing has failed: with the key it goes on. */
	assert_int_equal(timeline_set_keys(r->tl, r->a, why), 0);
	assert_int_equal(append(r, UNIT_STORED), 0);
	assert_int_equal(read_all(r), 0);
}

static void a_source_cannot_send_what_is_encrypted(void **state)
{
	uint8_t out[8192] __attribute__((aligned(8)));
	struct segment_header h = { .flags = SEGMENT_ENCRYPTED };
	struct rig *r = *state;
	struct unit_cipher *c;
	struct unit_view view;
	struct test_batch b;
	int bytes;

	begin(r, r->a);
	memcpy(h.key_id, keyring_newest_id(r->a), sizeof(h.key_id));
	assert_int_equal(unit_cipher_create_segment(r->a, &h, &c), 0);
	test_batch_begin(&b, 1, seq_pack(1, 10));
	test_batch_extent(&b, 0, 0, 4096, EXTENT_DATA, 1, 0, 0);
	assert_int_equal(unit_decode(b.units[0], b.unit_bytes[0], 1, &view), 0);
	bytes = unit_encrypt(c, &view, 4096, (const uint8_t *)"123456789012", out);
	assert_int_equal(timeline_append_unit(r->tl, out, bytes), -EPROTO);
	test_batch_free(&b);
	unit_cipher_destroy(c);
}

/* -- checking -- */

static struct check check_all(struct rig *r)
{
	struct check check = { .first_segment = 1 };

	assert_int_equal(check_run(r->tl, &check, why), 0);
	free(check.damage);
	return check;
}

static void a_check_goes_as_far_as_its_keys(void **state)
{
	struct rig *r = *state;
	const struct keyring *keys[] = { r->ab, r->a, NULL };
	const uint64_t unread[] = { 0, 2, 6 };

	begin(r, r->a);
	for (int i = 0; i < 6; i++) {
		if (i == 4)
			assert_int_equal(timeline_set_keys(r->tl, r->ab, why), 0);
		assert_int_equal(append(r, UNIT_STORED), 0);
	}
	for (int damaged = 0; damaged < 2; damaged++) {
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
			struct check check;

			reopen(r, TIMELINE_READ_ONLY, keys[i], 0);
			check = check_all(r);
			assert_int_equal(check.nr_units, 6);
			assert_int_equal(check.nr_unread, unread[i] - (damaged && !keys[i]));
			assert_int_equal(check.nr_damage, damaged);
		}
		/* In the data of the first unit, whose segment has a footer. */
		assert_int_equal(sim_env_flip(r->sim, DIR "/0000000000000001.seg", 4096 + 400, 3), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(who_has_the_key_reads_it_and_nobody_else),
		TEST(without_a_key_the_test_would_see_the_text),
		TEST(a_key_begins_a_segment),
		TEST(no_two_segments_have_a_salt),
		TEST(it_never_goes_on_in_clear),
		TEST(a_source_cannot_send_what_is_encrypted),
		TEST(a_check_goes_as_far_as_its_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
