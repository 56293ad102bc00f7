// SPDX-License-Identifier: GPL-2.0-only
/*
 * shipper - the batches of a group: cut, keep until durable, release.
 *
 * Stages [4 coalesce + cut] and the policy of when to do what; drain.c, repair.c
 * and link.c have the rest.
 */
#include "shipper_private.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_CUT_BYTES (32u << 20)
#define DEFAULT_CHUNK_BYTES (4u << 20)
#define DEFAULT_OUTBOX_BATCHES 64
#define DEFAULT_CUT_INTERVAL_NS UINT64_C(1000000000)
#define WATERMARK_POLL_NS UINT64_C(2000000)

struct volume *volume_by_index(struct shipper *s, uint16_t index)
{
	for (uint32_t i = 0; i < s->nr_volumes; i++)
		if (s->volumes[i].info.index == index)
			return &s->volumes[i];
	return NULL;
}

void volume_known(struct volume *v, uint64_t offset_bytes, uint64_t length_bytes)
{
	uint64_t region = offset_bytes / BLKSHIP_REGION_BYTES;
	uint64_t last = (offset_bytes + length_bytes - 1) / BLKSHIP_REGION_BYTES;

	for (; region <= last && region < v->nr_regions; region++)
		v->known[region / 64] |= UINT64_C(1) << region % 64;
}

static void volume_free(struct volume *v)
{
	free(v->known);
	free(v->need);
}

static int volume_init(struct volume *v, const struct capture_volume *info)
{
	uint64_t words;

	*v = (struct volume){ .info = *info };
	v->nr_regions = (info->size_bytes + BLKSHIP_REGION_BYTES - 1) / BLKSHIP_REGION_BYTES;
	/* Windows are read whole. */
	words = (v->nr_regions + TAKE_WINDOW) / 64 + 1;
	v->known = calloc(words, sizeof(*v->known));
	v->need = calloc(words, sizeof(*v->need));
	if (v->known && v->need)
		return 0;
	volume_free(v);
	return -ENOMEM;
}

static int volumes_init(struct shipper *s)
{
	struct capture_volume *infos = calloc(BLKSHIP_MAX_VOLUMES, sizeof(*infos));
	int nr, ret = infos ? 0 : -ENOMEM;

	nr = infos ? s->cap->ops->volumes(s->cap, infos, BLKSHIP_MAX_VOLUMES) : 0;
	if (nr < 0)
		ret = nr;
	for (int i = 0; i < nr && i < BLKSHIP_MAX_VOLUMES && !ret; i++) {
		ret = volume_init(&s->volumes[s->nr_volumes], &infos[i]);
		if (!ret)
			s->nr_volumes++;
	}
	free(infos);
	return ret;
}

static bool is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

int shipper_create(const struct shipper_params *params, struct shipper **out)
{
	const struct capture *c = params->capture;
	struct shipper *s;
	int ret = -ENOMEM;

	if (!is_power_of_two(c->desc_count) || !is_power_of_two(c->payload_bytes))
		return -EINVAL;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->params = *params;
	s->cap = params->capture;
	s->env = params->env;
	if (!s->params.cut_bytes)
		s->params.cut_bytes = DEFAULT_CUT_BYTES;
	if (!s->params.chunk_bytes)
		s->params.chunk_bytes = DEFAULT_CHUNK_BYTES;
	if (!s->params.outbox_batches)
		s->params.outbox_batches = DEFAULT_OUTBOX_BATCHES;
	if (!s->params.cut_interval_ns)
		s->params.cut_interval_ns = DEFAULT_CUT_INTERVAL_NS;
	/* The ring has to hold two batches and a round trip. */
	if (s->params.cut_bytes > c->payload_bytes / 4)
		s->params.cut_bytes = c->payload_bytes / 4;
	s->outbox_end = &s->outbox;
	s->stat.durable_ordinal = __atomic_load_n(&c->consumer->durable_ordinal, __ATOMIC_RELAXED);
	s->open = batch_create();
	if (!s->open)
		goto err;
	ret = volumes_init(s);
	if (ret)
		goto err;
	*out = s;
	return 0;

err:
	shipper_destroy(s);
	return ret;
}

static void batches_destroy(struct batch *b)
{
	while (b) {
		struct batch *next = b->next;

		batch_destroy(b);
		b = next;
	}
}

void shipper_destroy(struct shipper *s)
{
	if (!s)
		return;
	batches_destroy(s->open);
	batches_destroy(s->outbox);
	batches_destroy(s->spare);
	for (uint32_t i = 0; i < s->nr_volumes; i++)
		volume_free(&s->volumes[i]);
	free(s->chunk.bitmap);
	free(s->chunk.buf);
	free(s->chunk.runs);
	free(s);
}

/* -- cut -- */

static struct batch *batch_get(struct shipper *s)
{
	struct batch *b = s->spare;

	if (!b)
		return batch_create();
	s->spare = b->next;
	batch_reset(b);
	return b;
}

static void batch_put(struct shipper *s, struct batch *b)
{
	batch_reset(b);
	b->next = s->spare;
	s->spare = b;
}

/*
 * The time of the point: all writes acknowledged before it are at or below the
 * cut. A record's time was read before its seq was taken, so whatever had been
 * acknowledged by then has a lower seq. If nothing is newer than the cut, that
 * holds for the present moment too, whose clock was read before.
 */
static void batch_set_time(struct shipper *s, struct batch *b)
{
	uint64_t now = s->env->ops->realtime_ns(s->env);

	if (s->record_time_ns > s->time_ns)
		s->time_ns = s->record_time_ns;
	if (ring_newest(s) == s->drained) {
		if (now > s->time_ns)
			s->time_ns = now;
		b->current_to_ns = s->time_ns;
	}
	b->time_ns = s->time_ns;
}

bool shipper_cut(struct shipper *s)
{
	struct batch *b = s->open, *next;

	/* Number 0 is before everything: no state of the disks. */
	if (!s->started || s->nr_outbox >= s->params.outbox_batches || !s->drained)
		return false;
	next = batch_get(s);
	if (!next)
		return false;
	if (batch_seal(b)) {
		batch_put(s, next);
		return false;
	}
	b->clean = !s->nr_holds && s->last_gap <= s->repaired_t0 &&
		   seq_of(s, s->drained) >= s->clean_from;
	for (uint32_t i = 0; i < s->nr_holds; i++)
		b->holds[b->nr_holds++] = (struct commit_hold){
			.id = s->holds[i].id,
			.from_seq = seq_of(s, s->holds[i].from_seq),
		};
	b->ordinal = s->next_ordinal++;
	b->cut_seq = seq_of(s, s->drained);
	b->end_pos = s->pos;
	batch_set_time(s, b);
	*s->outbox_end = b;
	s->outbox_end = &b->next;
	s->nr_outbox++;
	s->outbox_bytes += b->record_bytes;
	if (!s->sending)
		s->sending = b;
	s->open = next;
	s->last_cut = s->drained;
	s->cut_at_ns = s->env->ops->monotonic_ns(s->env);
	s->cut_due = s->cut_now = false;
	return true;
}

bool shipper_drain_to(struct shipper *s, uint64_t limit)
{
	while (s->drained < limit)
		if (!shipper_drain(s, limit) && !shipper_cut(s))
			return false;
	return true;
}

/* -- acknowledged -- */

/* The consumer's page: pairs with the producer's acquire in collect. */
static void ring_release_to(struct shipper *s, uint64_t pos)
{
	__atomic_store_n(&s->cap->consumer->released_pos, pos, __ATOMIC_RELEASE);
}

void shipper_set_durable(struct shipper *s, uint64_t ordinal)
{
	s->stat.durable_ordinal = ordinal;
	__atomic_store_n(&s->cap->consumer->durable_ordinal, ordinal, __ATOMIC_RELAXED);
}

void shipper_acknowledged(struct shipper *s, uint64_t ordinal)
{
	while (s->outbox && s->outbox->ordinal <= ordinal) {
		struct batch *b = s->outbox;

		/* Known before anything is given back for it: see docs/META.md. */
		shipper_set_durable(s, b->ordinal);
		if (b->clear.bitmap)
			s->cap->ops->clear(s->cap, b->clear.index, b->clear.first_region,
					   b->clear.count, b->clear.bitmap);
		ring_release_to(s, b->end_pos);
		s->stat.durable_time_ns = b->time_ns;
		if (b->clean)
			s->stat.point_time_ns = b->time_ns;
		s->outbox = b->next;
		if (!s->outbox)
			s->outbox_end = &s->outbox;
		if (s->sending == b)
			s->sending = b->next;
		s->nr_outbox--;
		s->outbox_bytes -= b->record_bytes;
		batch_put(s, b);
	}
}

/* -- start -- */

/* Skip what is durable already, and give it back. */
static void ring_skip(struct shipper *s)
{
	const struct capture *c = s->cap;
	uint64_t watermark, head;

	watermark = __atomic_load_n(&c->kernel->watermark_pos, __ATOMIC_ACQUIRE);
	head = __atomic_load_n(&c->kernel->desc_head, __ATOMIC_ACQUIRE);
	s->pos = __atomic_load_n(&c->kernel->desc_tail, __ATOMIC_ACQUIRE);
	if (watermark > head || head - s->pos > c->desc_count)
		return;		/* drain will find out */
	while (s->pos < watermark && c->descs[s->pos & (c->desc_count - 1)].seq <= s->drained)
		s->pos++;
	ring_release_to(s, s->pos);
}

/* Maps that were kept: the target has said whether it is what they compare with. */
static int volume_settle(struct shipper *s, struct volume *v, uint32_t flags)
{
	int ret;

	if (!v->info.kept_incarnation)
		return 0;
	ret = s->cap->ops->settle(s->cap, v->info.index, flags & WIRE_VOLUME_KEPT_FITS,
				  v->info.kept_log_no);
	if (!ret)
		v->info.kept_incarnation = 0;
	/* Attached anew meanwhile: what we told the target was about another one. */
	return ret == -ESTALE ? -ERESTART : ret;
}

int shipper_start(struct shipper *s, const struct wire_hello_answer *a,
		  const struct wire_open_hold *holds, const struct wire_answer_volume *volumes)
{
	uint64_t marked;
	bool lost;
	int ret;

	s->incarnation = a->incarnation;
	s->drained = seq_incarnation(a->cut_seq) == a->incarnation ? seq_number(a->cut_seq) : 0;
	s->last_cut = s->drained;
	s->next_ordinal = a->ordinal + 1;
	s->time_ns = a->time_ns;
	s->last_gap = a->last_gap_seq;
	s->repaired_t0 = a->repaired_t0;
	s->readback_no = a->readback_no;
	s->hold_id = a->hold_id;
	shipper_set_durable(s, a->ordinal);
	s->stat.durable_time_ns = a->time_ns;
	/*
	 * A volume that is new to the timeline is read back as a whole, and is a
	 * member of its points from there on. All are if what was given back as
	 * durable is not at the target (any more).
	 */
	lost = __atomic_load_n(&s->cap->kernel->released_seq, __ATOMIC_ACQUIRE) > s->drained;
	for (uint32_t i = 0; i < s->nr_volumes; i++) {
		struct volume *v = &s->volumes[i];
		uint32_t flags = le32toh(volumes[i].flags);
		bool member = flags & WIRE_VOLUME_MEMBER;

		v->id = le16toh(volumes[i].volume);
		v->member_from = 0;
		memset(v->known, flags & WIRE_VOLUME_HAS_DATA ? 0xff : 0,
		       (v->nr_regions + 63) / 64 * 8);
		ret = volume_settle(s, v, flags);
		if (ret)
			return ret;
		if (member && !lost)
			continue;
		ret = s->cap->ops->mark(s->cap, v->info.index, 0, v->info.size_bytes, &marked);
		if (ret)
			return ret;
		if (!member)
			v->member_from = marked;
	}
	/* What a consumer before us left open ends at the newest seq as we begin. */
	for (uint32_t i = 0; i < a->nr_holds; i++)
		s->open->holds[s->open->nr_holds++] = (struct commit_hold){
			.id = le64toh(holds[i].id),
			.from_seq = le64toh(holds[i].from_seq),
			.end_seq = seq_of(s, ring_newest(s)),
		};
	s->clean_from = a->nr_holds ? seq_of(s, ring_newest(s)) : 0;
	ring_skip(s);
	s->started = true;
	return 0;
}

/* -- policy -- */

static void wake_arm(struct shipper *s)
{
	struct blkship_ring_consumer *c = s->cap->consumer;
	uint64_t pos = 0, payload = 0;

	if (s->started && s->nr_outbox < s->params.outbox_batches) {
		pos = s->pos + s->cap->desc_count / 4;
		payload = __atomic_load_n(&s->cap->kernel->payload_head, __ATOMIC_RELAXED) +
			  s->params.cut_bytes / 2;
	}
	__atomic_store_n(&c->wake_pos, pos, __ATOMIC_RELAXED);
	__atomic_store_n(&c->wake_payload, payload, __ATOMIC_RELAXED);
}

uint64_t shipper_tick(struct shipper *s)
{
	uint64_t now = s->env->ops->monotonic_ns(s->env), due;
	bool progress = s->started;

	while (progress) {
		progress = false;
		if (s->nr_outbox < s->params.outbox_batches) {
			progress = shipper_drain(s, ring_watermark(s));
			if (s->cut_now || s->open->record_bytes >= s->params.cut_bytes ||
			    s->open->nr_records >= MAX_BATCH_RECORDS)
				progress |= shipper_cut(s);
		}
		progress |= shipper_repair_step(s);
	}
	if (s->started && (s->cut_due || now - s->cut_at_ns >= s->params.cut_interval_ns))
		shipper_cut(s);
	wake_arm(s);
	due = s->cut_at_ns + s->params.cut_interval_ns;
	if (due <= now)		/* no room for a cut: an acknowledgement brings us back */
		due = now + s->params.cut_interval_ns;
	if (s->chunk.state == CHUNK_TAKEN && due > now + WATERMARK_POLL_NS &&
	    now >= s->read_at_ns)
		due = now + WATERMARK_POLL_NS;
	return due;
}

bool shipper_volumes_stale(const struct shipper *s)
{
	return s->volumes_stale;
}

bool shipper_idle(const struct shipper *s)
{
	return s->started && !s->outbox && s->chunk.state == CHUNK_NONE && !s->pass.active &&
	       s->last_gap <= s->repaired_t0 && batch_is_empty(s->open) &&
	       s->drained == ring_newest(s);
}

void shipper_status(const struct shipper *s, struct shipper_status *out)
{
	*out = s->stat;
	out->link = s->link;
	memcpy(out->text, s->text, sizeof(out->text));
	out->incarnation = s->incarnation;
	out->newest_seq = ring_newest(s);
	out->watermark_seq = ring_watermark(s);
	out->drained_seq = s->drained;
	out->next_ordinal = s->next_ordinal;
	out->outbox_batches = s->nr_outbox;
	out->outbox_bytes = s->outbox_bytes;
	out->gaps_open = s->last_gap > s->repaired_t0;
	out->repairing = s->pass.active;
	out->repair_regions_all = s->pass.regions_all;
	out->repair_regions_done = s->pass.regions_done;
}
