// SPDX-License-Identifier: GPL-2.0-only
#include "nonces.h"

#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/store/array.h"
#include "../../userspace/store/pack.h"
#include "../../userspace/store/segment_index.h"
#include "../host/sim_disk.h"

struct pair {
	uint8_t salt[FILE_KEY_SALT_BYTES];
	struct unit_seal seal;
	uint32_t text_crc;
};

struct nonces {
	struct pair *pairs;
	size_t nr, max;
};

struct nonces *nonces_create(void)
{
	return sim_alloc(sizeof(struct nonces));
}

void nonces_destroy(struct nonces *n)
{
	free(n->pairs);
	free(n);
}

void nonces_reset(struct nonces *n)
{
	n->nr = 0;
}

size_t nonces_nr(const struct nonces *n)
{
	return n->nr;
}

static const char *take(struct nonces *n, const uint8_t *salt, const struct unit_view *unit)
{
	uint32_t crc = crc32c(unit->crcs, unit->header.nr_crcs * sizeof(uint32_t) +
					  unit->header.stored_bytes);
	struct pair *p;

	/* Newest first: most were seen a moment ago. */
	for (size_t i = n->nr; i-- > 0;) {
		p = &n->pairs[i];
		if (memcmp(p->seal.nonce, unit->seal->nonce, sizeof(p->seal.nonce)) ||
		    memcmp(p->salt, salt, sizeof(p->salt)))
			continue;
		return p->text_crc == crc && !memcmp(&p->seal, unit->seal, sizeof(p->seal)) ?
		       NULL : "a nonce was used twice";
	}
	if (!array_reserve(&n->pairs, &n->max, n->nr + 1))
		abort();
	p = &n->pairs[n->nr++];
	memcpy(p->salt, salt, sizeof(p->salt));
	memcpy(&p->seal, unit->seal, sizeof(p->seal));
	p->text_crc = crc;
	return NULL;
}

const char *nonces_watch(struct nonces *n, const uint8_t *content, uint64_t bytes)
{
	uint64_t offset = SEGMENT_HEADER_BYTES;
	struct segment_header segment;
	struct pack_header pack;
	struct commit_view commit;
	struct unit_view unit;
	const char *wrong = NULL;
	const uint8_t *salt;
	bool encrypted;

	if (bytes < offset)
		return NULL;
	if (!segment_header_decode(content, &segment)) {
		encrypted = segment.flags & SEGMENT_ENCRYPTED;
		salt = segment.key_salt;
	} else if (!pack_header_decode(content, &pack)) {
		encrypted = pack.flags & PACK_ENCRYPTED;
		salt = pack.key_salt;
	} else {
		return NULL;
	}
	while (offset < bytes && !wrong) {
		if (!unit_decode(content + offset, bytes - offset, 1, &unit)) {
			if (!unit.seal != !encrypted)
				return "units in clear and encrypted ones in a file";
			wrong = unit.seal ? take(n, salt, &unit) : NULL;
			offset += unit.header.unit_bytes;
		} else if (!commit_decode(content + offset, bytes - offset, &commit)) {
			offset += commit.header.record_bytes + BLOCK_BYTES - 1;
			offset -= offset % BLOCK_BYTES;
		} else {
			break;
		}
	}
	return wrong;
}
