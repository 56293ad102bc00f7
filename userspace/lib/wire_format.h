/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * wire_format - frames between a source and a target, inside TLS 1.3.
 *
 * All integers are little-endian. docs/WIRE.md has the byte offsets and who says
 * what when. UNIT and COMMIT carry exactly what the segment stores.
 */
#ifndef BLKSHIP_WIRE_FORMAT_H
#define BLKSHIP_WIRE_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC		0x31575342u	/* "BSW1" */
#define WIRE_VERSION		1
#define WIRE_MAX_PAYLOAD	(1u << 20)
#define WIRE_PORT		7443

enum wire_type {
	WIRE_HELLO = 1,		/* source: who, which group, what it has */
	WIRE_HELLO_ANSWER = 2,	/* target: where to continue, or why not */
	WIRE_UNIT = 3,		/* source: one unit */
	WIRE_COMMIT = 4,	/* source: a commit record */
	WIRE_ACK = 5,		/* target: received, durable, credit */
	WIRE_ERROR = 6,		/* either: why the connection ends */
	WIRE_PING = 7,		/* either; payload comes back in PONG */
	WIRE_PONG = 8,
	WIRE_UNSUPPORTED = 9,	/* answer to a type not known; payload: the type, u32 */
	WIRE_ENROLL = 10,	/* no certificate yet: token and signing request */
	WIRE_ENROLL_ANSWER = 11,
};

struct wire_header {
	uint32_t magic;
	uint8_t  version;
	uint8_t  type;		/* enum wire_type */
	uint16_t flags;		/* 0 */
	uint32_t stream;	/* 0: one group per connection */
	uint32_t payload_bytes;
	uint64_t seq;		/* frames of this direction, from 1, dense */
	uint32_t crc;		/* CRC32C of header (this as 0) and payload */
	uint32_t reserved;
};
static_assert(sizeof(struct wire_header) == 32, "on the wire");

#define WIRE_NAME_BYTES		32
#define WIRE_IDENTITY_BYTES	64
#define WIRE_TEXT_BYTES		256

struct wire_hello {
	uint16_t version_min;
	uint16_t version_max;
	uint32_t features;	/* bits both sides know are used; 0 now */
	char     group[WIRE_NAME_BYTES];
	uint8_t  instance[16];	/* of the group in the running kernel */
	uint8_t  machine[16];	/* machine id */
	uint32_t incarnation;	/* 0: none granted to this instance yet */
	uint32_t epoch;
	uint64_t newest_seq;	/* number in that incarnation */
	uint64_t durable_ordinal; /* newest commit this daemon was told is durable */
	uint32_t nr_volumes;
	uint32_t reserved;
};
static_assert(sizeof(struct wire_hello) == 104, "on the wire");

struct wire_hello_volume {
	uint16_t index;		/* in the source's group */
	uint16_t reserved;
	uint32_t flags;
	uint64_t size_bytes;
	char     name[WIRE_NAME_BYTES];
	char     identity[WIRE_IDENTITY_BYTES];
	/* What its maps compare with, if they were kept: docs/META.md. */
	uint8_t  kept_instance[16];
	uint64_t kept_ordinal;
	uint32_t kept_incarnation; /* 0: nothing was kept, or it was settled */
	uint32_t kept_log_no;
};
static_assert(sizeof(struct wire_hello_volume) == 144, "on the wire");

enum wire_status {
	WIRE_OK = 0,		/* go on in the incarnation you have */
	WIRE_GRANTED = 1,	/* a first incarnation */
	WIRE_RESYNC = 2,	/* a new incarnation; everything is to be read back: text */
	WIRE_REFUSED = 3,	/* do not come back soon: text */
	WIRE_BUSY = 4,		/* another live session, or the store is not ready: retry */
};

struct wire_hello_answer {
	uint16_t status;	/* enum wire_status */
	uint16_t version;
	uint32_t features;
	uint32_t incarnation;	/* to be used from now on */
	uint32_t epoch;
	uint64_t cut_seq;	/* of the last durable commit, packed; 0: none */
	uint64_t ordinal;	/* its ordinal; the next one is this + 1 */
	uint64_t time_ns;	/* its point time: the next is not below */
	uint64_t readback_no;	/* highest used */
	uint64_t hold_id;	/* highest used */
	uint64_t last_gap_seq;	/* highest to_seq of any gap */
	uint64_t repaired_t0;	/* highest t0 of any repair */
	uint64_t credit_bytes;	/* payload bytes of UNIT and COMMIT it may send in all */
	uint32_t nr_holds;	/* open ones: struct wire_open_hold */
	uint32_t nr_volumes;	/* struct wire_answer_volume */
	char     text[WIRE_TEXT_BYTES];
};
static_assert(sizeof(struct wire_hello_answer) == 344, "on the wire");

struct wire_open_hold {
	uint64_t id;
	uint64_t from_seq;
};

#define WIRE_VOLUME_HAS_DATA	(1u << 0)	/* the timeline has versions of blocks of it */
#define WIRE_VOLUME_MEMBER	(1u << 1)	/* the last commit named it as a member */
#define WIRE_VOLUME_KEPT_FITS	(1u << 2)	/* what was kept of it fits */
struct wire_answer_volume {
	uint16_t index;		/* at the source */
	uint16_t volume;	/* id in the timeline: used in extents */
	uint32_t flags;		/* WIRE_VOLUME_* */
};
static_assert(sizeof(struct wire_answer_volume) == 8, "on the wire");

struct wire_ack {
	uint64_t received_ordinal;
	uint64_t durable_ordinal;
	uint64_t credit_bytes;	/* as in the answer, cumulative */
};
static_assert(sizeof(struct wire_ack) == 24, "on the wire");

enum wire_error_code {
	WIRE_ERR_PROTOCOL = 1,
	WIRE_ERR_CORRUPT = 2,	/* CRC of a frame, unit or commit */
	WIRE_ERR_NOT_YOURS = 3,	/* certificate and group do not fit */
	WIRE_ERR_NO_SPACE = 4,
	WIRE_ERR_STORE = 5,	/* the store failed otherwise */
	WIRE_ERR_TOKEN = 6,	/* enrolment refused */
	WIRE_ERR_REPLACED = 7,	/* the same instance connected again */
};

struct wire_error {
	uint32_t code;		/* enum wire_error_code */
	uint32_t reserved;
	char     text[WIRE_TEXT_BYTES];
};
static_assert(sizeof(struct wire_error) == 264, "on the wire");

/* ENROLL: this header, then the PEM signing request. */
struct wire_enroll {
	char     token_id[32];
	uint8_t  secret[32];
	char     host[64];
	uint32_t csr_bytes;
	uint32_t reserved;
};
static_assert(sizeof(struct wire_enroll) == 136, "on the wire");

/* ENROLL_ANSWER: this, then certificate (PEM) and CA (PEM). */
struct wire_enroll_answer {
	uint32_t cert_bytes;
	uint32_t ca_bytes;
	uint64_t not_after_s;	/* unix time */
};
static_assert(sizeof(struct wire_enroll_answer) == 16, "on the wire");

/**
 * wire_encode - put a header in front of a payload
 * @frame: 32 bytes for the header, directly followed by the payload
 * @payload_bytes: multiple of 8; pad with zeroes
 * @seq: frame number of this direction
 * Return: bytes of the frame.
 */
size_t wire_encode(void *frame, uint8_t type, uint32_t payload_bytes, uint64_t seq);

/**
 * wire_decode - look at the start of a byte stream
 * @buf: 8-byte aligned
 * @seq: frame number expected
 * @header: out, host order
 *
 * The payload follows the header in @buf. No allocation, no recursion.
 * Return: bytes of the frame; 0 when more bytes are needed; -EBADMSG bad CRC or
 * number; -EPROTO bad magic, version or length.
 */
int64_t wire_decode(const void *buf, size_t bytes, uint64_t seq, struct wire_header *header);

#endif
