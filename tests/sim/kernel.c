// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernel - what the module does around its own arithmetic, step by step.
 *
 * Ring and maps are kmod/ring_core.c and dirty_core.c. Each function here is what
 * the module does under the group's lock.
 */
#include "sim.h"

#include <errno.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"

static void note_seqs(struct sim *s)
{
	uint64_t n = s->ring.newest_seq;

	while (n && n < MAX_SEQS && !s->seq_time[s->boot][n])
		s->seq_time[s->boot][n--] = s->now;
}

static void mark(struct sim *s, uint16_t volume, uint64_t offset, uint64_t bytes, const char *why)
{
	blkship_dirty_mark(&s->maps[volume], offset, bytes);
	blkship_ring_mark(&s->ring);
	note_seqs(s);
	sim_log(s, "kernel: dirty volume %u (%s), event seq %llu", volume, why,
		(unsigned long long)s->ring.newest_seq);
}

static void mark_op(struct sim *s, const struct op *op, const char *why)
{
	mark(s, op->volume, sector_offset(s, op->first), op->count * 512ull, why);
}

static struct op *op_at(struct sim *s, uint64_t pos)
{
	return &s->ops[s->entry_op[pos & (s->ring.desc_count - 1)]];
}

/* Whether another that is open shares a sector with it; of these only newer ones. */
static bool meets_open(struct sim *s, const struct op *op, bool newer)
{
	for (uint64_t p = s->ring.watermark_pos; p < s->ring.desc_head; p++) {
		const struct op *o = op_at(s, p);

		if (s->entries[p & (s->ring.desc_count - 1)].state == BLKSHIP_STATE_OPEN &&
		    o != op && (!newer || o->seq > op->seq) && o->volume == op->volume &&
		    o->first < op->first + op->count && op->first < o->first + o->count)
			return true;
	}
	return false;
}

/* A later write has ended while this one was copied. */
static void renew(struct sim *s, struct op *op)
{
	uint64_t was = op->seq;

	if ((s->cfg.dm && meets_open(s, op, true)) ||
	    !blkship_ring_renew(&s->ring, s->now * 1000, &op->seq, &op->pos)) {
		mark_op(s, op, "no new place in the order");
		blkship_ring_spoil(&s->ring, op->pos, op->seq);
		return;
	}
	note_seqs(s);
	sim_log(s, "kernel: %u was seq %llu, is %llu", op->id, (unsigned long long)was,
		(unsigned long long)op->seq);
	s->entry_op[op->pos & (s->ring.desc_count - 1)] = op - s->ops;
	if (!s->cfg.dm && meets_open(s, op, false))
		mark_op(s, op, "overlap");
}

static void copy(struct sim *s, const struct op *op, uint32_t from, uint32_t end)
{
	op_data(op, from, end, blkship_ring_payload(&s->ring, op->pos));
}

void kernel_copy_rest(struct sim *s, struct op *op)
{
	uint32_t bytes = op->count * 512;

	if (op->captured && op->kind == OP_WRITE) {
		uint8_t *payload = blkship_ring_payload(&s->ring, op->pos);

		copy(s, op, op->count - op->slow, op->count);
		blkship_ring_publish(&s->ring, op->pos, crc32c(payload, bytes));
		if (!blkship_ring_in_order(&s->ring, op->seq))
			renew(s, op);
		/* Memory rots: what was captured is not what is drained. */
		if (sim_odds(s, s->cfg.corrupt))
			payload[sim_random(s, bytes)] ^= 1;
	}
	if (op->captured && sim_odds(s, s->cfg.corrupt))
		s->descs[op->pos & (s->ring.desc_count - 1)].op = 77;
	op->state = s->cfg.dm && op->captured && !kernel_may_issue(s, op) ? OP_HELD : OP_ISSUED;
}

void kernel_submit(struct sim *s, struct op *op)
{
	struct blkship_write w = {
		.offset_bytes = sector_offset(s, op->first),
		.length_bytes = op->count * 512,
		.time_ns = s->now * 1000,
		.submit_ns = s->now,
		.volume = op->volume,
		.op = op->kind == OP_WRITE ? BLKSHIP_OP_WRITE :
		      op->kind == OP_ZERO ? BLKSHIP_OP_ZERO : BLKSHIP_OP_DISCARD,
	};
	bool over = meets_open(s, op, false);

	op->captured = blkship_ring_reserve(&s->ring, &w, &op->seq, &op->pos);
	note_seqs(s);
	if (op->captured)
		s->entry_op[op->pos & (s->ring.desc_count - 1)] = op - s->ops;
	else
		blkship_dirty_mark(&s->maps[op->volume], w.offset_bytes, w.length_bytes);
	sim_log(s, "app: submit %u kind %d volume %u sectors %u+%u seq %llu%s%s", op->id, op->kind,
		op->volume, op->first, op->count, (unsigned long long)op->seq,
		op->captured ? "" : " NOT CAPTURED", over ? " OVERLAP" : "");
	if (over && !s->cfg.dm)
		mark_op(s, op, "overlap");
	if (op->captured && op->kind == OP_WRITE)
		copy(s, op, 0, op->count - op->slow);
	if (op->captured && op->slow)
		op->state = OP_COPYING;
	else
		kernel_copy_rest(s, op);
}

/* dm: a held write goes out when no earlier captured one on its blocks is open. */
bool kernel_may_issue(const struct sim *s, const struct op *op)
{
	for (uint64_t p = s->ring.watermark_pos; p < s->ring.desc_head; p++) {
		const struct blkship_entry *e = &s->entries[p & (s->ring.desc_count - 1)];
		const struct op *o = &s->ops[s->entry_op[p & (s->ring.desc_count - 1)]];

		if (e->state == BLKSHIP_STATE_OPEN && e->seq < op->seq && o->volume == op->volume &&
		    o->first < op->first + op->count && op->first < o->first + o->count)
			return false;
	}
	return true;
}

void kernel_complete(struct sim *s, struct op *op)
{
	uint8_t state = op->fate == FATE_DONE ? BLKSHIP_STATE_DONE :
			op->fate == FATE_FAILED ? BLKSHIP_STATE_FAILED : BLKSHIP_STATE_ABORTED;

	const struct blkship_entry *e = &s->entries[op->pos & (s->ring.desc_count - 1)];

	if (op->captured && e->seq == op->seq && e->state == BLKSHIP_STATE_OPEN) {
		/* A failed range is dirty before the watermark can pass its record. */
		if (op->fate == FATE_FAILED)
			mark_op(s, op, "failure");
		blkship_ring_end(&s->ring, op->pos, op->seq, state);
		return;
	}
	mark_op(s, op, "completion");
	blkship_ring_ended(&s->ring, s->ring.newest_seq);
}

void kernel_timeout(struct sim *s, struct op *op)
{
	const struct blkship_entry *e = &s->entries[op->pos & (s->ring.desc_count - 1)];

	if (e->seq != op->seq || e->state != BLKSHIP_STATE_OPEN)
		return;
	sim_log(s, "kernel: time-out of %u", op->id);
	mark_op(s, op, "time-out");
	blkship_ring_end(&s->ring, op->pos, op->seq, BLKSHIP_STATE_GAP);
}

void kernel_consumer_gone(struct sim *s)
{
	bool any = false;

	for (uint32_t v = 0; v < s->cfg.volumes; v++) {
		any |= s->maps[v].nr_repairing != 0;
		blkship_dirty_fall_back(&s->maps[v], 0, 1);
	}
	if (any) {
		blkship_ring_mark(&s->ring);
		note_seqs(s);
		sim_log(s, "kernel: repairing falls back, event seq %llu",
			(unsigned long long)s->ring.newest_seq);
	}
}

void kernel_diverge(struct sim *s, uint16_t volume)
{
	s->diverged[volume] = true;
	s->suspended[volume] = false;
	mark(s, volume, 0, VOLUME_BYTES, "diverged");
}

void kernel_feed_again(struct sim *s, uint16_t volume)
{
	s->diverged[volume] = false;
	mark(s, volume, 0, VOLUME_BYTES, "fed again");
}

void kernel_suspend(struct sim *s, uint16_t volume)
{
	s->suspended[volume] = true;
	blkship_ring_mark(&s->ring);
	note_seqs(s);
	sim_log(s, "kernel: volume %u suspended, event seq %llu", volume,
		(unsigned long long)s->ring.newest_seq);
}

void kernel_resume(struct sim *s, uint16_t volume)
{
	s->suspended[volume] = false;
}

/* -- what the consumer asks for -- */

static struct sim *sim_of(struct capture *c)
{
	return (struct sim *)((char *)c - offsetof(struct sim, capture));
}

static int cap_take(struct capture *c, uint16_t volume, uint64_t first, uint32_t count,
		    uint32_t max_regions, uint64_t *bitmap, uint32_t *taken, uint64_t *seq)
{
	struct sim *s = sim_of(c);

	if (s->diverged[volume])
		return -EREMCHG;
	*taken = blkship_dirty_take(&s->maps[volume], first, count, max_regions, bitmap);
	*seq = blkship_ring_mark(&s->ring);
	note_seqs(s);
	sim_log(s, "kernel: volume %u regions %llx taken over at seq %llu", volume,
		(unsigned long long)bitmap[0], (unsigned long long)*seq);
	return 0;
}

static int cap_clear(struct capture *c, uint16_t volume, uint64_t first, uint32_t count,
		     const uint64_t *bitmap)
{
	blkship_dirty_clear(&sim_of(c)->maps[volume], first, count, bitmap);
	return 0;
}

static int cap_map_read(struct capture *c, uint16_t volume, int which, uint64_t first,
			uint32_t count, uint64_t *bitmap)
{
	struct blkship_dirty *d = &sim_of(c)->maps[volume];

	if (which == BLKSHIP_MAP_DIRTY && sim_of(c)->suspended[volume])
		return -EBUSY;
	blkship_dirty_read(d, which == BLKSHIP_MAP_DIRTY ? d->dirty : d->repairing, first, count,
			   bitmap);
	return 0;
}

static int cap_mark(struct capture *c, uint16_t volume, uint64_t offset, uint64_t bytes,
		    uint64_t *seq)
{
	mark(sim_of(c), volume, offset, bytes, "consumer");
	*seq = sim_of(c)->ring.newest_seq;
	return 0;
}

static int cap_set_incarnation(struct capture *c, uint32_t incarnation)
{
	struct sim *s = sim_of(c);

	if (s->kernel_page.incarnation)
		for (uint32_t v = 0; v < s->cfg.volumes; v++)
			mark(s, v, 0, VOLUME_BYTES, "resync");
	s->kernel_page.incarnation = incarnation;
	s->boot_of[incarnation] = s->boot;
	sim_log(s, "kernel: incarnation %u", incarnation);
	return 0;
}

static int cap_volumes(struct capture *c, struct capture_volume *out, int max)
{
	struct sim *s = sim_of(c);

	for (uint32_t v = 0; v < s->cfg.volumes; v++)
		out[v] = (struct capture_volume){
			.index = v, .size_bytes = VOLUME_BYTES, .name = { 'v', '0' + v },
		};
	return s->cfg.volumes;
}

static int cap_read(struct capture *c, uint16_t volume, uint64_t offset, void *buf,
		    uint32_t bytes, void (*done)(void *arg, int64_t result), void *arg)
{
	struct sim *s = sim_of(c);

	if (s->nr_reads == MAX_READS)
		return -EAGAIN;
	s->reads[s->nr_reads++] = (struct pending_read){ volume, offset, buf, bytes, done, arg };
	return 0;
}

static const struct capture_ops sim_capture_ops = {
	.take = cap_take,
	.clear = cap_clear,
	.map_read = cap_map_read,
	.mark = cap_mark,
	.set_incarnation = cap_set_incarnation,
	.volumes = cap_volumes,
	.read = cap_read,
};

static void volume_attach(struct sim *s, uint32_t v)
{
	memset(s->map_words[v], 0, sizeof(s->map_words[v]));
	s->diverged[v] = s->suspended[v] = false;
	blkship_dirty_init(&s->maps[v], blkship_dirty_regions(VOLUME_BYTES), &s->map_words[v][0],
			   &s->map_words[v][1]);
	mark(s, v, 0, VOLUME_BYTES, "attach");
}

void kernel_join(struct sim *s)
{
	uint32_t v = s->cfg.volumes++;

	device_fill(s, v);
	volume_attach(s, v);
}

/* Capture starts anew: nothing in the ring, everything dirty. */
void kernel_start(struct sim *s)
{
	memset(&s->kernel_page, 0, sizeof(s->kernel_page));
	memset(&s->consumer_page, 0, sizeof(s->consumer_page));
	memset(s->descs, 0, sizeof(s->descs));
	memset(s->entries, 0, sizeof(s->entries));
	s->boot++;
	memset(s->seq_time[s->boot], 0, MAX_SEQS * sizeof(uint64_t));
	s->ring = (struct blkship_ring){
		.shared = &s->kernel_page,
		.consumer = &s->consumer_page,
		.descs = s->descs,
		.payload = s->payload,
		.entries = s->entries,
		.desc_count = s->cfg.desc_count,
		.payload_bytes = s->cfg.payload_bytes,
	};
	blkship_ring_init(&s->ring);
	for (uint32_t i = 0; i < 16; i++)
		s->kernel_page.instance[i] = sim_random(s, 256);
	s->capture = (struct capture){
		.ops = &sim_capture_ops,
		.kernel = &s->kernel_page,
		.consumer = &s->consumer_page,
		.descs = s->descs,
		.payload = s->payload,
		.desc_count = s->cfg.desc_count,
		.payload_bytes = s->cfg.payload_bytes,
		.group = "sim",
	};
	for (uint32_t v = 0; v < s->cfg.volumes; v++)
		volume_attach(s, v);
}
