// SPDX-License-Identifier: GPL-2.0-only
/* See wire_format.h and docs/WIRE.md. */
#include "wire_format.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "crc32c.h"

static uint32_t frame_crc(const struct wire_header *le, const void *payload, size_t bytes)
{
	struct wire_header blank = *le;

	blank.crc = 0;
	return crc32c_extend(crc32c(&blank, sizeof(blank)), payload, bytes);
}

size_t wire_encode(void *frame, uint8_t type, uint32_t payload_bytes, uint64_t seq)
{
	struct wire_header h = {
		.magic = htole32(WIRE_MAGIC),
		.version = WIRE_VERSION,
		.type = type,
		.payload_bytes = htole32(payload_bytes),
		.seq = htole64(seq),
	};

	h.crc = htole32(frame_crc(&h, (char *)frame + sizeof(h), payload_bytes));
	memcpy(frame, &h, sizeof(h));
	return sizeof(h) + payload_bytes;
}

int64_t wire_decode(const void *buf, size_t bytes, uint64_t seq, struct wire_header *header)
{
	struct wire_header le, h;

	if (bytes < sizeof(le))
		return 0;
	memcpy(&le, buf, sizeof(le));
	h = (struct wire_header){
		.magic = le32toh(le.magic),
		.version = le.version,
		.type = le.type,
		.flags = le16toh(le.flags),
		.stream = le32toh(le.stream),
		.payload_bytes = le32toh(le.payload_bytes),
		.seq = le64toh(le.seq),
		.crc = le32toh(le.crc),
		.reserved = le32toh(le.reserved),
	};
	/* Multiples of 8 keep every frame of a stream aligned. */
	if (h.magic != WIRE_MAGIC || h.version != WIRE_VERSION || h.flags || h.stream ||
	    h.reserved || h.payload_bytes > WIRE_MAX_PAYLOAD || h.payload_bytes % 8)
		return -EPROTO;
	if (bytes - sizeof(le) < h.payload_bytes)
		return 0;
	if (h.seq != seq ||
	    h.crc != frame_crc(&le, (const char *)buf + sizeof(le), h.payload_bytes))
		return -EBADMSG;
	*header = h;
	return (int64_t)sizeof(h) + h.payload_bytes;
}
