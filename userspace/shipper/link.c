// SPDX-License-Identifier: GPL-2.0-only
/*
 * link - a group's conversation with the target, as frames.
 *
 * Stage [5 ship]. Fed by the outbox and by the target's frames; feeds the
 * connection. Invariants: HELLO is the first frame; UNIT and COMMIT go out only
 * within the credit, in order, each batch whole; only a durable ordinal the
 * target told lets go of a batch.
 */
#include "shipper_private.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

bool shipper_volumes_changed(struct shipper *s)
{
	struct capture_volume now[BLKSHIP_MAX_VOLUMES];
	int nr = s->cap->ops->volumes(s->cap, now, BLKSHIP_MAX_VOLUMES);

	if (nr != (int)s->nr_volumes)
		return true;
	for (int i = 0; i < nr; i++)
		if (now[i].index != s->volumes[i].info.index ||
		    now[i].size_bytes != s->volumes[i].info.size_bytes ||
		    strcmp(now[i].name, s->volumes[i].info.name))
			return true;
	return false;
}

int shipper_connected(struct shipper *s)
{
	if (shipper_volumes_changed(s))
		return -ERESTART;
	s->link = SHIPPER_GREETING;
	s->hello_due = true;
	s->frame_out = s->frame_in = 1;
	s->credit_bytes = s->credit_used = 0;
	s->reply_bytes = s->reply_type = 0;
	s->text[0] = '\0';
	return 0;
}

void shipper_disconnected(struct shipper *s)
{
	if (s->link != SHIPPER_REFUSED)
		s->link = SHIPPER_DOWN;
	for (struct batch *b = s->outbox; b; b = b->next)
		batch_rewind(b);
	s->sending = s->outbox;
}

/* -- what the target says -- */

static int fail(struct shipper *s, int error, const char *text)
{
	snprintf(s->text, sizeof(s->text), "%s", text);
	return error;
}

static int told_error(struct shipper *s, const void *payload, size_t bytes)
{
	struct wire_error e;

	if (bytes != sizeof(e))
		return fail(s, -EPROTO, "the target sent an error that is none");
	memcpy(&e, payload, sizeof(e));
	e.text[sizeof(e.text) - 1] = '\0';
	fail(s, 0, e.text);
	switch (le32toh(e.code)) {
	case WIRE_ERR_NOT_YOURS:
		s->link = SHIPPER_REFUSED;
		return -EACCES;
	case WIRE_ERR_NO_SPACE:
	case WIRE_ERR_STORE:
	case WIRE_ERR_REPLACED:
		return -EAGAIN;
	default:
		return -EPROTO;
	}
}

static int answer_decode(const void *payload, size_t bytes, struct wire_hello_answer *a)
{
	if (bytes < sizeof(*a))
		return -EPROTO;
	memcpy(a, payload, sizeof(*a));
	a->status = le16toh(a->status);
	a->version = le16toh(a->version);
	a->incarnation = le32toh(a->incarnation);
	a->epoch = le32toh(a->epoch);
	a->cut_seq = le64toh(a->cut_seq);
	a->ordinal = le64toh(a->ordinal);
	a->time_ns = le64toh(a->time_ns);
	a->readback_no = le64toh(a->readback_no);
	a->hold_id = le64toh(a->hold_id);
	a->last_gap_seq = le64toh(a->last_gap_seq);
	a->repaired_t0 = le64toh(a->repaired_t0);
	a->credit_bytes = le64toh(a->credit_bytes);
	a->nr_holds = le32toh(a->nr_holds);
	a->nr_volumes = le32toh(a->nr_volumes);
	a->text[sizeof(a->text) - 1] = '\0';
	if (a->nr_holds > COMMIT_MAX_HOLDS / 2 || a->nr_volumes > BLKSHIP_MAX_VOLUMES ||
	    bytes != sizeof(*a) + a->nr_holds * sizeof(struct wire_open_hold) +
		     a->nr_volumes * sizeof(struct wire_answer_volume))
		return -EPROTO;
	return 0;
}

/* The answer is for us, and about the volumes we named, in our order. */
static bool answer_fits(const struct shipper *s, const struct wire_hello_answer *a,
			const struct wire_answer_volume *volumes)
{
	if (a->version != WIRE_VERSION || !a->incarnation ||
	    a->incarnation > SEQ_INCARNATION_MAX || a->nr_volumes != s->nr_volumes)
		return false;
	for (uint32_t i = 0; i < s->nr_volumes; i++)
		if (le16toh(volumes[i].index) != s->volumes[i].info.index)
			return false;
	return a->status != WIRE_OK || a->incarnation == s->cap->kernel->incarnation;
}

/*
 * We are started already: the outbox goes on where the target's history ends. If
 * that is not where we were acknowledged, the target has another history now.
 */
static int link_resume(struct shipper *s, const struct wire_hello_answer *a)
{
	uint64_t first = s->outbox ? s->outbox->ordinal : s->next_ordinal;

	if (a->incarnation != s->incarnation || a->ordinal + 1 < first ||
	    a->ordinal >= s->next_ordinal)
		return fail(s, -ERESTART, "the target has another history than we sent");
	shipper_acknowledged(s, a->ordinal);
	s->sending = s->outbox;
	return 0;
}

static int told_answer(struct shipper *s, const void *payload, size_t bytes)
{
	const struct wire_answer_volume *volumes;
	const struct wire_open_hold *holds;
	struct wire_hello_answer a;
	int ret;

	if (s->link != SHIPPER_GREETING || s->hello_due || answer_decode(payload, bytes, &a))
		return fail(s, -EPROTO, "the target's answer to HELLO makes no sense");
	if (a.status == WIRE_REFUSED || a.status == WIRE_BUSY) {
		if (a.status == WIRE_REFUSED)
			s->link = SHIPPER_REFUSED;
		return fail(s, a.status == WIRE_REFUSED ? -EACCES : -EAGAIN, a.text);
	}
	holds = (const void *)((const char *)payload + sizeof(a));
	volumes = (const void *)(holds + a.nr_holds);
	if (a.status > WIRE_RESYNC || !answer_fits(s, &a, volumes))
		return fail(s, -EPROTO, "the target's answer to HELLO does not fit");
	if (a.status != WIRE_OK) {
		ret = s->cap->ops->set_incarnation(s->cap, a.incarnation);
		if (ret)
			return fail(s, ret, "the kernel refused the incarnation");
		if (s->started) {
			shipper_set_durable(s, a.ordinal);
			return fail(s, -ERESTART, a.text);
		}
	}
	ret = s->started ? link_resume(s, &a) : shipper_start(s, &a, holds, volumes);
	if (ret)
		return ret;
	fail(s, 0, a.text);
	s->credit_bytes = a.credit_bytes;
	s->link = SHIPPER_LIVE;
	return 0;
}

static int told_ack(struct shipper *s, const void *payload, size_t bytes)
{
	struct wire_ack ack;

	if (bytes != sizeof(ack) || s->link != SHIPPER_LIVE)
		return fail(s, -EPROTO, "the target sent an acknowledgement that is none");
	memcpy(&ack, payload, sizeof(ack));
	/* Nothing that was not sent whole can be durable. */
	if (s->sending ? le64toh(ack.durable_ordinal) >= s->sending->ordinal :
			 le64toh(ack.durable_ordinal) >= s->next_ordinal)
		return fail(s, -EPROTO, "the target acknowledged what was not sent");
	if (le64toh(ack.credit_bytes) > s->credit_bytes)
		s->credit_bytes = le64toh(ack.credit_bytes);
	shipper_acknowledged(s, le64toh(ack.durable_ordinal));
	return 0;
}

/* One reply is kept: a peer that pings faster than we send gets the last one. */
static void reply_with(struct shipper *s, uint8_t type, const void *payload, size_t bytes)
{
	if (bytes > sizeof(s->reply))
		return;
	s->reply_type = type;
	s->reply_bytes = bytes;
	memcpy(s->reply, payload, bytes);
}

static int frame_in(struct shipper *s, const struct wire_header *h, const void *payload)
{
	uint32_t type[2] = { htole32(h->type) };

	switch (h->type) {
	case WIRE_HELLO_ANSWER:
		return told_answer(s, payload, h->payload_bytes);
	case WIRE_ACK:
		return told_ack(s, payload, h->payload_bytes);
	case WIRE_ERROR:
		return told_error(s, payload, h->payload_bytes);
	case WIRE_PING:
		reply_with(s, WIRE_PONG, payload, h->payload_bytes);
		return 0;
	case WIRE_PONG:
	case WIRE_UNSUPPORTED:
		return 0;
	default:
		reply_with(s, WIRE_UNSUPPORTED, type, sizeof(type));
		return 0;
	}
}

int shipper_input(struct shipper *s, const void *buf, size_t bytes, size_t *used)
{
	*used = 0;
	for (;;) {
		const char *at = (const char *)buf + *used;
		struct wire_header h;
		int64_t frame = wire_decode(at, bytes - *used, s->frame_in, &h);
		int ret;

		if (frame == 0)
			return 0;
		if (frame < 0)
			return fail(s, frame, "a frame from the target is damaged");
		s->frame_in++;
		*used += frame;
		ret = frame_in(s, &h, at + sizeof(h));
		if (ret)
			return ret;
	}
}

/* -- what we say -- */

static uint32_t hello_encode(struct shipper *s, void *payload)
{
	struct wire_hello *h = payload;
	struct wire_hello_volume *v = (void *)(h + 1);

	*h = (struct wire_hello){
		.version_min = htole16(WIRE_VERSION),
		.version_max = htole16(WIRE_VERSION),
		.incarnation = htole32(s->cap->kernel->incarnation),
		.newest_seq = htole64(ring_newest(s)),
		.durable_ordinal = htole64(s->stat.durable_ordinal),
		.nr_volumes = htole32(s->nr_volumes),
	};
	memcpy(h->group, s->cap->group, sizeof(h->group));
	memcpy(h->instance, s->cap->kernel->instance, sizeof(h->instance));
	memcpy(h->machine, s->params.machine, sizeof(h->machine));
	for (uint32_t i = 0; i < s->nr_volumes; i++, v++) {
		const struct capture_volume *info = &s->volumes[i].info;

		*v = (struct wire_hello_volume){
			.index = htole16(info->index),
			.size_bytes = htole64(info->size_bytes),
			.kept_ordinal = htole64(info->kept_ordinal),
			.kept_incarnation = htole32(info->kept_incarnation),
			.kept_log_no = htole32(info->kept_log_no),
		};
		memcpy(v->kept_instance, info->kept_instance, sizeof(v->kept_instance));
		memcpy(v->name, info->name, sizeof(v->name));
		memcpy(v->identity, info->identity, sizeof(v->identity));
	}
	return (char *)v - (char *)payload;
}

/* Members of a point at this cut: a volume that joined later is none yet. */
static uint32_t members_at(const struct shipper *s, uint64_t cut_seq,
			   struct commit_volume *members)
{
	uint32_t nr = 0;

	for (uint32_t i = 0; i < s->nr_volumes; i++) {
		const struct volume *v = &s->volumes[i];

		if (v->member_from > seq_number(cut_seq))
			continue;
		members[nr++] = (struct commit_volume){
			.volume = v->id,
			.log_no = s->cap->ops->log_no ?
				  s->cap->ops->log_no(s->cap, v->info.index) : 0,
			.size_bytes = v->info.size_bytes,
		};
	}
	return nr;
}

/* The next unit, or the commit record, of the batch that is being sent. */
static uint32_t batch_encode(struct shipper *s, void *payload, uint8_t *type)
{
	struct commit_volume members[BLKSHIP_MAX_VOLUMES];
	struct batch *b = s->sending;
	size_t bytes = batch_next_unit(b, s->params.codec, &s->builder, s->scratch, payload);
	int ret;

	*type = WIRE_UNIT;
	if (bytes)
		return bytes;
	*type = WIRE_COMMIT;
	ret = batch_commit_record(b, members, members_at(s, b->cut_seq, members), payload);
	s->sending = b->next;
	return ret > 0 ? ret : 0;
}

static uint32_t next_payload(struct shipper *s, void *payload, uint8_t *type)
{
	uint32_t bytes = 0;

	if (s->reply_type) {
		*type = s->reply_type;
		bytes = (s->reply_bytes + 7) / 8 * 8;
		memcpy(payload, s->reply, bytes);
		s->reply_type = 0;
		return bytes;
	}
	if (s->hello_due) {
		s->hello_due = false;
		*type = WIRE_HELLO;
		return hello_encode(s, payload);
	}
	if (s->link != SHIPPER_LIVE || !s->sending ||
	    s->credit_bytes - s->credit_used < UNIT_MAX_BYTES)
		return 0;
	bytes = batch_encode(s, payload, type);
	s->credit_used += bytes;
	return bytes;
}

size_t shipper_output(struct shipper *s, void *buf, size_t room)
{
	size_t used = 0;

	if (s->link != SHIPPER_GREETING && s->link != SHIPPER_LIVE)
		return 0;
	while (room - used >= SHIPPER_FRAME_MAX) {
		char *frame = (char *)buf + used;
		uint8_t type = 0;
		uint32_t bytes = next_payload(s, frame + sizeof(struct wire_header), &type);

		if (!bytes)
			break;
		used += wire_encode(frame, type, bytes, s->frame_out++);
	}
	s->stat.sent_bytes += used;
	return used;
}
