// SPDX-License-Identifier: GPL-2.0-only
/* manifest_salvage - what a damaged manifest still says. */
#include "manifest_salvage.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "manifest_internal.h"

static int records_add(struct manifest_salvage *s, const uint8_t *at, size_t bytes)
{
	if (!array_reserve(&s->records, &s->max_bytes, s->nr_bytes + bytes))
		return -ENOMEM;
	memcpy(s->records + s->nr_bytes, at, bytes);
	s->nr_bytes += bytes;
	return 0;
}

/* One record, as long as the stretch, of a type and version that are known. */
static bool is_one_record(const uint8_t *at, size_t bytes)
{
	struct manifest_header h;

	return manifest_record_check(at, bytes, &h) == bytes && h.version == MANIFEST_VERSION &&
	       h.record_bytes == manifest_record_bytes(h.type);
}

/* Whether there is one bit whose turning makes @record whole; then it is turned. */
static bool bit_find(uint8_t *record, size_t bytes)
{
	for (size_t bit = 0; bit < bytes * 8; bit++) {
		record[bit / 8] ^= 1u << bit % 8;
		if (is_one_record(record, bytes))
			return true;
		record[bit / 8] ^= 1u << bit % 8;
	}
	return false;
}

/* A stretch of the file that is no record. At its end nobody knows how much more there was. */
static int stretch_take(struct manifest_salvage *s, const uint8_t *at, size_t bytes, bool first,
			bool last)
{
	const size_t identity = manifest_record_bytes(MANIFEST_IDENTITY);
	uint8_t record[MANIFEST_MAX_RECORD_BYTES];
	size_t lost = bytes;

	if (bytes <= sizeof(record)) {
		memcpy(record, at, bytes);
		if (bit_find(record, bytes)) {
			s->nr_bits++;
			return records_add(s, record, bytes);
		}
	}
	if (last)
		lost = SIZE_MAX;
	else if (first)
		lost = bytes > identity ? bytes - identity : 0;
	if (lost > s->lost_bytes)
		s->lost_bytes = lost;
	s->nr_lost++;
	return 0;
}

int manifest_salvage(const uint8_t *image, size_t bytes, struct manifest_salvage *out)
{
	size_t at = 0, stretch = 0;
	struct manifest_header h;
	int ret = 0;

	*out = (struct manifest_salvage){ .nr_bytes = 0 };
	while (at < bytes && !ret) {
		uint32_t length = manifest_record_check(image + at, bytes - at, &h);

		if (!length) {
			at += bytes - at < 8 ? bytes - at : 8;
			continue;
		}
		if (h.version != MANIFEST_VERSION || length != manifest_record_bytes(h.type))
			return -EOPNOTSUPP;
		if (at > stretch)
			ret = stretch_take(out, image + stretch, at - stretch, stretch == 0, false);
		if (!ret)
			ret = records_add(out, image + at, length);
		at += length;
		stretch = at;
	}
	if (!ret && (at > stretch || !bytes))
		ret = stretch_take(out, image + stretch, at - stretch, stretch == 0, true);
	return ret;
}

int manifest_salvage_each(const struct manifest_salvage *s,
			  int (*each)(void *arg, uint16_t type, const void *payload), void *arg)
{
	struct manifest_header h;
	uint64_t payload[MANIFEST_MAX_RECORD_BYTES / sizeof(uint64_t)];
	int ret = 0;

	for (size_t at = 0; at < s->nr_bytes && !ret; at += h.record_bytes) {
		if (!manifest_record_check(s->records + at, s->nr_bytes - at, &h))
			return -EBADMSG;
		memcpy(payload, s->records + at + sizeof(h), h.record_bytes - sizeof(h));
		ret = each(arg, h.type, payload);
	}
	return ret;
}
