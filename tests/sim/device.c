// SPDX-License-Identifier: GPL-2.0-only
/* device - the application's writes and the disks they go to. */
#include "sim.h"

#include <errno.h>
#include <string.h>

uint64_t sector_offset(const struct sim *s, uint32_t hot_sector)
{
	return ((uint64_t)s->cfg.first_cell * CELL_SECTORS + hot_sector) * 512;
}

static uint32_t sector_index(const struct op *op, uint32_t i)
{
	return op->volume * HOT_SECTORS + op->first + i;
}

/* A sector's bytes tell whose they are; zero is zero. */
static void sector_fill(uint8_t *out, uint32_t id)
{
	uint64_t word = id ? (uint64_t)id << 32 | ~id : 0;

	for (int i = 0; i < 64; i++)
		memcpy(out + i * 8, &word, 8);
}

uint32_t op_value(const struct op *op, uint32_t i)
{
	if (op->kind == OP_WRITE)
		return op->late_id && i >= op->count - op->slow ? op->late_id : op->id;
	return op->kind == OP_ZERO ? ID_ZERO : ID_ANY;
}

void op_data(const struct op *op, uint32_t from, uint32_t end, uint8_t *out)
{
	for (uint32_t i = from; i < end; i++)
		sector_fill(out + i * 512, op_value(op, i));
}

void device_fill(struct sim *s, uint32_t v)
{
	for (uint32_t i = 0; i < s->cfg.cells * CELL_SECTORS; i++) {
		uint32_t at = v * HOT_SECTORS + i;

		s->initial[at] = sim_random(s, 2) ? 0x40000000 + at : ID_ZERO;
		s->content[at] = s->initial[at];
	}
}

void device_init(struct sim *s)
{
	for (uint32_t v = 0; v < s->cfg.volumes; v++)
		device_fill(s, v);
}

static void apply(struct sim *s, struct op *op, uint32_t i, bool mix)
{
	uint32_t at = sector_index(op, i);
	struct effect *e = &s->effects[s->nr_effects++];

	op->applied |= 1u << i;
	*e = (struct effect){ .op = op, .mix = mix };
	if (s->history_end[at])
		s->history_end[at]->next = e;
	else
		s->history[at] = e;
	s->history_end[at] = e;
	/* A failed write leaves old, new or anything between. */
	if (!mix || sim_random(s, 2))
		s->content[at] = op_value(op, i);
}

/* The device is through: done = all sectors new, failed = whatever. */
static void device_finish(struct sim *s, struct op *op)
{
	for (uint32_t i = 0; i < op->count; i++) {
		if (op->applied & 1u << i)
			continue;
		if (op->fate == FATE_DONE)
			apply(s, op, i, false);
		else if (sim_random(s, 3))
			apply(s, op, i, true);
	}
	op->at_device = false;
}

static void issue(struct op *op)
{
	if (op->state == OP_ISSUED && op->fate != FATE_ABORTED)
		op->at_device = true;
}

static bool overlap_in_flight(const struct sim *s, const struct op *op)
{
	for (uint32_t i = 0; i < s->nr_flying; i++) {
		const struct op *o = &s->ops[s->flying[i]];

		if (o->volume == op->volume && o->first < op->first + op->count &&
		    op->first < o->first + o->count)
			return true;
	}
	return false;
}

/* Some write that has ended while this one is copied. */
static const struct op *ended_meanwhile(struct sim *s, const struct op *op)
{
	const struct op *found = NULL;
	uint32_t nr = 0;

	for (uint32_t i = 0; i < s->nr_ops; i++)
		if (s->ops[i].t_told >= op->t_submit && s->ops[i].fate == FATE_DONE &&
		    !sim_random(s, ++nr))
			found = &s->ops[i];
	return found;
}

void device_copied(struct sim *s, struct op *op, const struct op *because)
{
	if (because) {
		op->late_id = 0x20000000 + op->id;
		op->late_op = because - s->ops;
		sim_log(s, "app: the rest of %u changes because of %u", op->id, because->id);
	}
	kernel_copy_rest(s, op);
	issue(op);
}

struct op *device_submit(struct sim *s, const struct op *what)
{
	struct op *op = &s->ops[s->nr_ops];

	*op = *what;
	op->id = s->nr_ops + 1;
	op->t_submit = s->now;
	s->flying[s->nr_flying++] = s->nr_ops++;
	kernel_submit(s, op);
	issue(op);
	return op;
}

bool do_submit(struct sim *s)
{
	uint32_t cells, first, dice = sim_random(s, 100);
	struct op what = { 0 }, *op = &what;

	if (s->nr_flying >= s->cfg.inflight || s->nr_ops == MAX_OPS)
		return false;
	cells = 1 + sim_random(s, s->cfg.cells < 3 ? s->cfg.cells : 3);
	first = sim_random(s, s->cfg.cells - cells + 1);
	op->volume = sim_random(s, s->cfg.volumes);
	op->first = first * CELL_SECTORS;
	op->count = cells * CELL_SECTORS;
	/* Ends that are not on a cell, to cut blocks in two. */
	if (sim_odds(s, 30)) {
		op->first += sim_random(s, CELL_SECTORS);
		op->count -= op->first % CELL_SECTORS;
	}
	if (overlap_in_flight(s, op) && !sim_odds(s, s->cfg.overlap))
		return false;
	op->kind = dice < 80 ? OP_WRITE : dice < 90 ? OP_ZERO : OP_DISCARD;
	if (op->kind == OP_WRITE && sim_odds(s, s->cfg.slow_copy))
		op->slow = 1 + sim_random(s, op->count);
	op->fate = sim_odds(s, s->cfg.abort) ? FATE_ABORTED :
		   sim_odds(s, s->cfg.fail) ? FATE_FAILED : FATE_DONE;
	device_submit(s, op);
	return true;
}

/* The device writes one sector of one of its writes. */
bool do_apply(struct sim *s)
{
	uint32_t start = sim_random(s, s->nr_flying ? s->nr_flying : 1);

	for (uint32_t n = 0; n < s->nr_flying; n++) {
		struct op *op = &s->ops[s->flying[(start + n) % s->nr_flying]];
		uint32_t i = sim_random(s, op->count);

		if (!op->at_device || op->fate != FATE_DONE || op->applied & 1u << i)
			continue;
		apply(s, op, i, false);
		return true;
	}
	return false;
}

static void release_held(struct sim *s)
{
	for (uint32_t i = 0; i < s->nr_flying; i++) {
		struct op *op = &s->ops[s->flying[i]];

		if (op->state == OP_HELD && kernel_may_issue(s, op)) {
			op->state = OP_ISSUED;
			issue(op);
		}
	}
}

static void complete_slot(struct sim *s, uint32_t slot)
{
	struct op *op = &s->ops[s->flying[slot]];

	if (op->at_device)
		device_finish(s, op);
	op->state = OP_ENDED;
	s->flying[slot] = s->flying[--s->nr_flying];
	sim_log(s, "app: completed %u (seq %llu) fate %d", op->id, (unsigned long long)op->seq,
		op->fate);
	kernel_complete(s, op);
	op->t_told = s->now;
	release_held(s);
}

void device_complete(struct sim *s, const struct op *op)
{
	for (uint32_t i = 0; i < s->nr_flying; i++)
		if (&s->ops[s->flying[i]] == op) {
			complete_slot(s, i);
			return;
		}
}

bool do_complete(struct sim *s)
{
	uint32_t start = sim_random(s, s->nr_flying ? s->nr_flying : 1);

	for (uint32_t n = 0; n < s->nr_flying; n++) {
		uint32_t slot = (start + n) % s->nr_flying;
		struct op *op = &s->ops[s->flying[slot]];

		if (op->state == OP_COPYING)
			device_copied(s, op, ended_meanwhile(s, op));
		else if (op->state == OP_ISSUED)
			complete_slot(s, slot);
		else
			continue;
		return true;
	}
	return false;
}

bool do_timeout(struct sim *s)
{
	for (uint32_t i = 0; i < s->nr_flying; i++) {
		struct op *op = &s->ops[s->flying[i]];

		if (op->state != OP_ISSUED || !op->captured)
			continue;
		kernel_timeout(s, op);
		release_held(s);
		return true;
	}
	return false;
}

/* What a read of this sector finds: writes in flight may be in it or not. */
static uint32_t read_sector(struct sim *s, uint16_t volume, uint32_t sector)
{
	uint32_t id = s->content[volume * HOT_SECTORS + sector];

	for (uint32_t i = 0; i < s->nr_flying; i++) {
		const struct op *op = &s->ops[s->flying[i]];

		if (op->at_device && op->volume == volume && sector >= op->first &&
		    sector < op->first + op->count &&
		    !(op->applied & 1u << (sector - op->first)) && !sim_random(s, 3))
			id = op_value(op, sector - op->first);
	}
	if (id == ID_ANY)
		id = sim_random(s, 2) ? ID_ZERO : ID_JUNK;
	return id;
}

bool do_device_read(struct sim *s)
{
	uint32_t slot = sim_random(s, s->nr_reads ? s->nr_reads : 1);
	struct pending_read r;

	if (!s->nr_reads)
		return false;
	r = s->reads[slot];
	s->reads[slot] = s->reads[--s->nr_reads];
	if (s->bad_offset && s->bad_offset >= r.offset_bytes &&
	    s->bad_offset < r.offset_bytes + r.bytes) {
		r.done(r.arg, s->bad_error);
		return true;
	}
	memset(r.buf, 0, r.bytes);
	for (uint32_t i = 0; i < s->cfg.cells * CELL_SECTORS; i++) {
		uint64_t offset = sector_offset(s, i);

		if (offset >= r.offset_bytes && offset < r.offset_bytes + r.bytes)
			sector_fill(r.buf + (offset - r.offset_bytes),
				    read_sector(s, r.volume, i));
	}
	sim_log(s, "device: read volume %u at %llu", r.volume,
		(unsigned long long)r.offset_bytes);
	s->read_told = false;
	r.done(r.arg, r.bytes);
	if (!s->read_told && !shipper_reading(s->shipper))
		sim_violation(s, "a chunk was read and the daemon not told: it would wait for the next cut");
	return true;
}

void device_settle(struct sim *s)
{
	for (uint32_t i = 0; i < s->nr_flying; i++) {
		struct op *op = &s->ops[s->flying[i]];

		if (op->fate == FATE_DONE)
			op->fate = FATE_FAILED;
		if (op->at_device)
			device_finish(s, op);
		op->state = OP_ENDED;
		op->t_told = s->now;
	}
	s->nr_flying = 0;
}
