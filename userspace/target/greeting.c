// SPDX-License-Identifier: GPL-2.0-only
/*
 * greeting - HELLO: who may append, from where, in which incarnation (DESIGN 1.9).
 *
 * Fed by session.c with the first frame of a peer that has a certificate. The answer
 * waits until all that was received before is durable, and the tail is void: what it
 * says is then all there is.
 */
#include "session_private.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/name.h"
#include "../lib/seq.h"
#include "../lib/when.h"

static_assert(WIRE_NAME_BYTES == NAME_BYTES, "name_valid() looks at all of a field");

#define MAX_VOLUMES COMMIT_MAX_VOLUMES

/* -- what was said -- */

static const struct wire_hello_volume *hello_volumes(const struct wire_hello *hello)
{
	return (const void *)(hello + 1);
}

/* NULL, or what is wrong. */
static const char *volumes_wrong(const struct wire_hello *hello)
{
	const struct wire_hello_volume *v = hello_volumes(hello);
	uint32_t nr = le32toh(hello->nr_volumes);

	for (uint32_t i = 0; i < nr; i++) {
		if (!name_valid(v[i].name))
			return "a volume's name is not valid";
		if (!memchr(v[i].identity, 0, sizeof(v[i].identity)))
			return "a volume's identity is not valid";
		if (le64toh(v[i].size_bytes) % SECTOR_BYTES ||
		    le64toh(v[i].size_bytes) > EXTENT_MAX_END_BYTES)
			return "a volume's size is not valid";
		for (uint32_t j = 0; j < i; j++)
			if (v[i].index == v[j].index || !strcmp(v[i].name, v[j].name))
				return "a volume is named twice";
	}
	return NULL;
}

static const char *hello_wrong(const struct wire_hello *hello, size_t bytes)
{
	uint32_t nr;

	if (bytes < sizeof(*hello))
		return "HELLO is too short";
	nr = le32toh(hello->nr_volumes);
	if (nr > MAX_VOLUMES ||
	    bytes != sizeof(*hello) + nr * sizeof(struct wire_hello_volume))
		return "HELLO is not as long as it says";
	if (!name_valid(hello->group))
		return "the group's name is not valid (letters, digits, _ . -, not first . or -)";
	if (le32toh(hello->incarnation) > SEQ_INCARNATION_MAX ||
	    le64toh(hello->newest_seq) > SEQ_NUMBER_MAX)
		return "HELLO's sequence numbers are out of range";
	return volumes_wrong(hello);
}

/* -- answers -- */

/* Not now, or not at all: the answer, and the end. */
__attribute__((format(printf, 3, 4)))
static int turn_away(struct session *s, enum wire_status status, const char *format, ...)
{
	struct wire_hello_answer *a = session_frame(s, sizeof(*a));
	va_list args;

	if (!a)
		return -ENOMEM;
	a->status = htole16(status);
	a->version = htole16(WIRE_VERSION);
	va_start(args, format);
	vsnprintf(a->text, sizeof(a->text), format, args);
	va_end(args);
	session_frame_end(s, WIRE_HELLO_ANSWER, sizeof(*a));
	return status == WIRE_BUSY ? -EBUSY : -EACCES;
}

/*
 * Which incarnation goes on (DESIGN 1.9). A known one goes on only when it is the
 * newest, of the same instance, and its source has not fallen behind what we have, nor
 * we behind what it was told. Everything else begins anew, with the reason.
 */
static enum wire_status judge(const struct wire_hello *hello, const struct timeline_state *state,
			      char *why, size_t why_bytes)
{
	uint32_t inc = le32toh(hello->incarnation);
	unsigned long long told = le64toh(hello->durable_ordinal);

	if (inc == 0)
		return WIRE_GRANTED;
	if (inc > state->incarnation)
		snprintf(why, why_bytes, "incarnation %u is not known here (the newest is %u): "
			 "the target's history is another or was restored", inc,
			 state->incarnation);
	else if (inc < state->incarnation)
		snprintf(why, why_bytes, "incarnation %u is past (the newest is %u): the machine "
			 "was restored from a snapshot, or is a clone", inc, state->incarnation);
	else if (memcmp(hello->instance, state->instance, sizeof(hello->instance)))
		snprintf(why, why_bytes, "incarnation %u was granted to another instance of this "
			 "machine: it was restored from a snapshot, or is a clone", inc);
	else if (seq_incarnation(state->cut_seq) == inc &&
		 le64toh(hello->newest_seq) < seq_number(state->cut_seq))
		snprintf(why, why_bytes, "the machine went back in time: its newest write is "
			 "%llu, the target has %llu", (unsigned long long)le64toh(hello->newest_seq),
			 (unsigned long long)seq_number(state->cut_seq));
	else if (told > state->ordinal)
		snprintf(why, why_bytes, "the target has lost batches %llu to %llu, which it had "
			 "acknowledged", (unsigned long long)state->ordinal + 1, told);
	else
		return WIRE_OK;
	return WIRE_RESYNC;
}

/*
 * Whether the timeline still is what a volume's kept maps compare with: NULL, or why
 * not. Everything that was written there since is either in the maps, or came from
 * somebody else.
 */
static const char *kept_wrong(const struct session *s, const struct wire_hello_volume *v,
			      const struct timeline_volume *volume)
{
	uint32_t inc = le32toh(v->kept_incarnation), log_no = le32toh(v->kept_log_no);
	struct timeline_state state;

	timeline_state(s->tl, &state);
	if (!timeline_was_granted(s->tl, inc, v->kept_instance))
		return "that incarnation was not granted to it here";
	if (seq_incarnation(state.cut_seq) > inc)
		return "the history went on without it";
	if (le64toh(v->kept_ordinal) > state.ordinal)
		return "batches that were acknowledged are lost here";
	if (!volume->member || !volume->log_no)
		return "writes were not listed up to the last commit";
	/* Both count on and wrap: the list must not be the older one. */
	if ((int32_t)(log_no - volume->log_no) < 0)
		return "the list is older than the last commit: disk and list were restored";
	return NULL;
}

static bool kept_fits(const struct session *s, const struct wire_hello_volume *v,
		      const struct timeline_volume *volume, char *text, size_t bytes)
{
	const char *wrong;

	if (!v->kept_incarnation)
		return false;
	wrong = kept_wrong(s, v, volume);
	if (wrong)
		snprintf(text, bytes, "volume %s is read back as a whole: %s", v->name, wrong);
	return !wrong;
}

/* Ids of the volumes that HELLO names; new ones are made. */
static int volumes_enter(struct session *s, const struct wire_hello *hello,
			 struct wire_answer_volume *out, char *text, size_t bytes)
{
	const struct wire_hello_volume *v = hello_volumes(hello);
	uint32_t nr = le32toh(hello->nr_volumes);

	for (uint32_t i = 0; i < nr; i++) {
		const struct timeline_volume *volume;
		int ret = timeline_volume(s->tl, v[i].name, le64toh(v[i].size_bytes),
					  v[i].identity, &volume);

		if (ret)
			return ret;
		out[i] = (struct wire_answer_volume){
			.index = v[i].index,
			.volume = htole16(volume->id),
			.flags = htole32((volume->has_data ? WIRE_VOLUME_HAS_DATA : 0) |
					 (volume->member ? WIRE_VOLUME_MEMBER : 0) |
					 (kept_fits(s, &v[i], volume, text, bytes) ?
					  WIRE_VOLUME_KEPT_FITS : 0)),
		};
	}
	return 0;
}

static void answer_fill(struct session *s, struct wire_hello_answer *a,
			const struct timeline_state *state, uint64_t credit_bytes)
{
	const struct commit_hold *holds;
	struct wire_open_hold *out = (void *)(a + 1);
	size_t nr = timeline_open_holds(s->tl, &holds);

	a->version = htole16(WIRE_VERSION);
	a->epoch = htole32(state->epoch);
	a->cut_seq = htole64(state->cut_seq);
	a->ordinal = htole64(state->ordinal);
	a->time_ns = htole64(state->time_ns);
	a->readback_no = htole64(state->readback_no);
	a->hold_id = htole64(state->hold_id);
	a->last_gap_seq = htole64(state->last_gap_seq);
	a->repaired_t0 = htole64(state->repaired_t0);
	a->credit_bytes = htole64(credit_bytes);
	a->nr_holds = htole32(nr);
	for (size_t i = 0; i < nr; i++)
		out[i] = (struct wire_open_hold){ htole64(holds[i].id),
						  htole64(holds[i].from_seq) };
}

static int answer(struct session *s, const struct wire_hello *hello)
{
	uint32_t nr_volumes = le32toh(hello->nr_volumes), incarnation;
	struct wire_hello_answer *a;
	const struct commit_hold *holds;
	struct timeline_state state;
	size_t nr_holds, bytes;
	enum wire_status status;
	int ret;

	timeline_state(s->tl, &state);
	nr_holds = timeline_open_holds(s->tl, &holds);
	bytes = sizeof(*a) + nr_holds * sizeof(struct wire_open_hold) +
		nr_volumes * sizeof(struct wire_answer_volume);
	a = session_frame(s, bytes);
	if (!a)
		return -ENOMEM;
	ret = volumes_enter(s, hello, (void *)((struct wire_open_hold *)(a + 1) + nr_holds),
			    a->text, sizeof(a->text));
	if (ret)
		return session_fail_store(s, ret);
	status = judge(hello, &state, a->text, sizeof(a->text));
	incarnation = state.incarnation;
	if (status != WIRE_OK) {
		ret = timeline_grant(s->tl, hello->instance, &incarnation);
		if (ret == -EOVERFLOW)
			return turn_away(s, WIRE_REFUSED, "group %s has used up its incarnations; "
					 "protect it under a new name", s->group);
		if (ret)
			return session_fail_store(s, ret);
	}
	s->acked.received_ordinal = s->acked.durable_ordinal = state.ordinal;
	s->acked.credit_bytes = session_credit(s);
	answer_fill(s, a, &state, s->acked.credit_bytes);
	a->status = htole16(status);
	a->incarnation = htole32(incarnation);
	a->nr_volumes = htole32(nr_volumes);
	session_frame_end(s, WIRE_HELLO_ANSWER, bytes);
	s->stage = SESSION_LIVE;
	return 0;
}

/* -- HELLO -- */

int session_greet(struct session *s)
{
	struct timeline_state state;
	int ret;

	timeline_state(s->tl, &state);
	if (!timeline_idle(s->tl) || (!state.failed && state.ordinal != state.durable_ordinal))
		return 0;
	ret = timeline_void_tail(s->tl);
	if (ret)
		return session_fail_store(s, ret);
	ret = answer(s, (const struct wire_hello *)s->hello);
	free(s->hello);
	s->hello = NULL;
	return ret;
}

/*
 * Its history goes on in a branch, whatever epoch HELLO names: nothing is shipped to a branch
 * (docs/BRANCH.md).
 */
static int taken_over(struct session *s, const struct timeline_line *line)
{
	char since[40], point[40];

	when_utc(line->made_ns, since, sizeof(since));
	when_utc(line->time_ns, point, sizeof(point));
	return turn_away(s, WIRE_REFUSED, "group %s: branch %s is its main line since %.19sZ (epoch %u), and nothing of this source past %.19sZ is part of it; detach the source, or protect it as a new group",
			 s->group, line->name, since, line->epoch, point);
}

static int enter(struct session *s, const struct wire_hello *hello)
{
	const struct session_params *p = &s->params;
	char why[TIMELINE_TEXT_BYTES] = "";
	int ret;

	ret = p->ops->timeline_get(p->ops_arg, s->group, p->identity, &s->tl, why);
	if (ret) {
		s->tl = NULL;
		if (ret == -EACCES)
			return session_fail(s, ret, WIRE_ERR_NOT_YOURS,
					    "group %s belongs to another machine: %s", s->group,
					    why);
		if (ret == -EDQUOT)
			return session_fail(s, ret, WIRE_ERR_NO_SPACE, "%s", why);
		if (ret == -EBUSY)
			return turn_away(s, WIRE_BUSY, "group %s is in use: %s", s->group, why);
		if (ret == -EUCLEAN || ret == -EBADMSG)
			return turn_away(s, WIRE_REFUSED, "group %s is damaged at the target: %s",
					 s->group, why);
		return session_fail_store(s, ret);
	}
	if (timeline_main_line(s->tl))
		return taken_over(s, timeline_main_line(s->tl));
	ret = p->ops->claim(p->ops_arg, s, s->tl, hello->instance);
	if (ret) {
		s->tl = NULL;
		return turn_away(s, WIRE_BUSY, "group %s has a live connection from another "
				 "instance of this machine", s->group);
	}
	s->stage = SESSION_GREETING;
	timeline_flush(s->tl);
	return session_greet(s);
}

int session_hello(struct session *s, const void *payload, size_t bytes)
{
	const struct wire_hello *hello = payload;
	const char *wrong = hello_wrong(hello, bytes);

	if (wrong)
		return session_fail(s, -EPROTO, WIRE_ERR_PROTOCOL, "%s", wrong);
	if (le16toh(hello->version_min) > WIRE_VERSION ||
	    le16toh(hello->version_max) < WIRE_VERSION)
		return turn_away(s, WIRE_REFUSED, "the source speaks versions %u to %u, the target "
				 "%u: upgrade the older", le16toh(hello->version_min),
				 le16toh(hello->version_max), WIRE_VERSION);
	memcpy(s->group, hello->group, sizeof(s->group));
	s->hello = malloc(bytes);
	if (!s->hello)
		return -ENOMEM;
	memcpy(s->hello, payload, bytes);
	return enter(s, (const struct wire_hello *)s->hello);
}
