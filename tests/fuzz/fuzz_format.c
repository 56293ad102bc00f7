// SPDX-License-Identifier: GPL-2.0-only
/*
 * Units and commit records made up by the fuzzer. The first byte says whether the CRCs
 * are made right, so that what lies behind them is reached. What is a unit in clear comes back
 * from encryption as it was; one that says it is encrypted never decrypts.
 */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/unit_cipher.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

static void mend_unit(uint8_t *buf, size_t bytes)
{
	struct unit_header h;
	size_t tables, seal;

	if (bytes < sizeof(h))
		return;
	memcpy(&h, buf, sizeof(h));
	h.magic = UNIT_MAGIC;
	h.version = FORMAT_VERSION;
	tables = sizeof(h) + h.nr_extents * sizeof(struct unit_extent) + h.nr_crcs * 4ull;
	seal = h.flags & UNIT_ENCRYPTED ? sizeof(struct unit_seal) : 0;
	if (tables <= bytes && h.stored_bytes + seal <= bytes - tables) {
		h.stored_crc = crc32c(buf + tables, h.stored_bytes + seal);
		h.unit_bytes = (tables + h.stored_bytes + seal + 7) / 8 * 8;
	}
	h.header_crc = 0;
	memcpy(buf, &h, sizeof(h));
	if (tables <= bytes)
		h.header_crc = crc32c(buf, tables);
	memcpy(buf, &h, sizeof(h));
}

static void mend_commit(uint8_t *buf, size_t bytes)
{
	struct commit_header h;

	if (bytes < sizeof(h))
		return;
	memcpy(&h, buf, sizeof(h));
	h.magic = COMMIT_MAGIC;
	h.version = FORMAT_VERSION;
	h.crc = 0;
	memcpy(buf, &h, sizeof(h));
	if (h.record_bytes >= sizeof(h) && h.record_bytes <= bytes)
		h.crc = crc32c(buf, h.record_bytes);
	memcpy(buf, &h, sizeof(h));
}

/* Whoever believed the decoder may touch all of this. */
static unsigned int touch_unit(const struct unit_view *u)
{
	unsigned int sum = 0;

	for (unsigned int i = 0; i < u->header.nr_extents; i++)
		sum += u->extents[i].kind;
	for (unsigned int i = 0; i < u->header.nr_crcs; i++)
		sum += u->crcs[i];
	return sum + (u->header.stored_bytes ? u->stored[u->header.stored_bytes - 1] : 0);
}

static unsigned int touch_commit(const struct commit_view *c)
{
	unsigned int sum = 0;

	for (uint32_t i = 0; i < c->header.nr_gaps; i++)
		sum += c->gaps[i].to_seq;
	for (uint32_t i = 0; i < c->header.nr_holds; i++)
		sum += c->holds[i].end_seq;
	for (uint32_t i = 0; i < c->header.nr_repairs; i++)
		sum += c->repairs[i].end_seq;
	for (uint32_t i = 0; i < c->header.nr_volumes; i++)
		sum += c->volumes[i].size_bytes;
	return sum;
}

static struct unit_cipher *cipher_make(void)
{
	static const char key[] = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
	struct segment_header header = { .flags = SEGMENT_ENCRYPTED };
	struct unit_cipher *c;
	struct keyring *keys;
	char why[KEYRING_TEXT_BYTES];

	if (keyring_parse(key, KEY_HEX_BYTES, &keys, why))
		abort();
	memcpy(header.key_id, keyring_newest_id(keys), sizeof(header.key_id));
	if (unit_cipher_create_segment(keys, &header, &c))
		abort();
	keyring_free(keys);
	return c;
}

static void crypt_unit(const struct unit_view *unit)
{
	static struct unit_cipher *c;
	const size_t text_bytes = unit->header.nr_crcs * 4 + unit->header.stored_bytes;
	uint8_t *scratch = malloc(text_bytes + 1), *out;
	struct unit_view view = *unit;
	int bytes;

	if (!c)
		c = cipher_make();
	if (unit->seal) {
		if (!unit_decrypt(c, &view, 0, scratch))
			abort();
	} else {
		out = aligned_alloc(8, unit->header.unit_bytes + UNIT_SEAL_MAX_BYTES);
		bytes = unit_encrypt(c, unit, 8, (const uint8_t *)"twelve bytes", out);
		if (bytes < 0 || unit_decode(out, bytes, 1, &view) ||
		    unit_decrypt(c, &view, 8, scratch) ||
		    memcmp(scratch, unit->crcs, text_bytes) || view.stored != scratch +
		    unit->header.nr_crcs * 4)
			abort();
		free(out);
	}
	free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	static volatile unsigned int sink;
	static uint8_t data[UNIT_MAX_DATA_BYTES];
	struct commit_view commit;
	struct unit_view unit;
	uint8_t mode, *buf;

	if (bytes == 0)
		return 0;
	mode = *input++;
	bytes--;
	buf = malloc(bytes + 1);	/* exactly: the sanitizer watches its end */
	memcpy(buf, input, bytes);
	if (mode & 1)
		mend_unit(buf, bytes);
	if (!unit_decode(buf, bytes, mode & 2, &unit)) {
		sink += touch_unit(&unit);
		crypt_unit(&unit);
		/* Sized for the unit: more would be an overflow. */
		if (mode & 4) {
			uint8_t *exact = malloc(unit.header.data_bytes + 1);

			unit_unpack(&unit, exact);
			free(exact);
		} else {
			unit_unpack(&unit, data);
		}
	}
	if (mode & 1)
		mend_commit(buf, bytes);
	if (!commit_decode(buf, bytes, &commit))
		sink += touch_commit(&commit);
	free(buf);
	(void)sink;
	return 0;
}
