// SPDX-License-Identifier: GPL-2.0-only
/* check - every listed point is a crash state, stays listed, and does not change. */
#include "sim.h"

#include <string.h>

#include "../../userspace/lib/seq.h"

/* What this write in flight may have put there by then. */
static uint32_t value_at(const struct sim *s, const struct op *op, uint32_t sector,
			 uint64_t instant)
{
	uint32_t value = op_value(op, sector - op->first);

	if (op->late_id && value == op->late_id && instant < s->ops[op->late_op].t_submit)
		return op->id;
	return value;
}

static bool covers(const struct op *op, uint32_t volume, uint32_t sector)
{
	return op->volume == volume && sector >= op->first && sector < op->first + op->count;
}

/* May this sector hold id in a state the disks could have crashed in at instant? */
static bool legal(const struct sim *s, uint32_t volume, uint32_t sector, uint64_t instant,
		  uint32_t id)
{
	uint32_t at = volume * HOT_SECTORS + sector;
	uint32_t settled[16] = { s->initial[at] }, nr = 1;

	for (const struct effect *e = s->history[at]; e; e = e->next) {
		if (!e->op->t_told || e->op->t_told >= instant)
			continue;
		if (!e->mix)
			nr = 0;
		if (nr < 16)
			settled[nr++] = op_value(e->op, sector - e->op->first);
	}
	for (uint32_t i = 0; i < nr; i++)
		if (settled[i] == id || settled[i] == ID_ANY)
			return true;
	for (uint32_t i = 0; i < s->nr_ops; i++) {
		const struct op *op = &s->ops[i];

		if (op->t_submit > instant)
			break;
		if (op->fate == FATE_ABORTED || !covers(op, volume, sector) ||
		    (op->t_told && op->t_told < instant))
			continue;
		if (value_at(s, op, sector, instant) == id ||
		    value_at(s, op, sector, instant) == ID_ANY)
			return true;
	}
	return false;
}

/* The id a sector's bytes stand for; violation when they are no one's. */
static uint32_t sector_id(struct sim *s, const uint8_t *data)
{
	uint64_t first, word;

	memcpy(&first, data, 8);
	for (int i = 1; i < 64; i++) {
		memcpy(&word, data + i * 8, 8);
		if (word != first)
			sim_violation(s, "a sector of a view is torn");
	}
	if (first && (uint32_t)first != ~(uint32_t)(first >> 32))
		sim_violation(s, "a sector of a view is nobody's: %llx",
			      (unsigned long long)first);
	return first >> 32;
}

/* Read a point's hot sectors, and see that all else is zero. */
static void point_read(struct sim *s, uint64_t cut, uint32_t volumes, uint32_t *ids)
{
	static uint8_t data[VOLUME_BYTES];
	char why[TIMELINE_TEXT_BYTES] = "";
	struct view *view;
	int ret = view_open(s->timeline, cut, &view, why);

	if (ret) {
		sim_violation(s, "view_open: %d %s", ret, why);
		return;
	}
	for (uint32_t v = 0; v < volumes; v++) {
		uint32_t hot = s->cfg.cells * CELL_SECTORS;
		uint64_t from = sector_offset(s, 0), bytes = hot * 512ull;

		if (view_size(view, v) != VOLUME_BYTES) {
			sim_violation(s, "volume %u has size %llu", v,
				      (unsigned long long)view_size(view, v));
			break;
		}
		ret = view_read(view, v, from, data, bytes);
		if (ret) {
			sim_violation(s, "view_read: %d", ret);
			break;
		}
		for (uint32_t i = 0; i < hot; i++)
			ids[v * HOT_SECTORS + i] = sector_id(s, data + i * 512);
	}
	view_close(view);
}

static bool shows(const struct op *op, const uint32_t *ids, uint32_t id)
{
	for (uint32_t i = 0; i < op->count; i++)
		if (ids[op->volume * HOT_SECTORS + op->first + i] == id)
			return true;
	return false;
}

/* What is there because of a write is there with it, or with what came after that. */
static void causes_check(struct sim *s, const struct seen_point *p, const uint32_t *ids)
{
	for (uint32_t k = 0; k < s->nr_ops; k++) {
		const struct op *op = &s->ops[k], *cause = &s->ops[op->late_op];
		uint64_t instant = p->instant > cause->t_told ? p->instant : cause->t_told + 1;

		if (!op->late_id || op->volume >= p->volumes || cause->volume >= p->volumes ||
		    !shows(op, ids, op->late_id))
			continue;
		for (uint32_t i = cause->first; i < cause->first + cause->count; i++)
			if (!legal(s, cause->volume, i, instant,
				   ids[cause->volume * HOT_SECTORS + i])) {
				sim_violation(s, "point #%llu cut %llx: shows what %u was made because of %u, and not that",
					      (unsigned long long)p->ordinal,
					      (unsigned long long)p->cut_seq, op->id, cause->id);
				return;
			}
	}
}

static void point_check(struct sim *s, struct seen_point *p, bool again)
{
	uint32_t ids[MAX_SECTORS];

	point_read(s, p->cut_seq, p->volumes, ids);
	for (uint32_t v = 0; v < p->volumes && !s->violation[0]; v++)
		for (uint32_t i = 0; i < s->cfg.cells * CELL_SECTORS; i++) {
			uint32_t at = v * HOT_SECTORS + i;

			if (again && ids[at] == p->ids[at])
				continue;
			if (legal(s, v, i, p->instant, ids[at])) {
				if (!again || legal(s, v, i, p->instant, 0x7fffffff))
					continue;
				sim_violation(s, "point #%llu was listed and changed",
					      (unsigned long long)p->ordinal);
				return;
			}
			sim_violation(s, "point #%llu cut %llx: volume %u sector %u shows %x: "
				      "the disks were never like that",
				      (unsigned long long)p->ordinal,
				      (unsigned long long)p->cut_seq, v, i, ids[at]);
			return;
		}
	if (!s->violation[0])
		causes_check(s, p, ids);
	if (!again)
		memcpy(p->ids, ids, sizeof(ids));
}

static uint64_t point_instant(const struct sim *s, const struct timeline_commit *c)
{
	uint64_t number = seq_number(c->cut_seq), instant = 0;
	uint32_t boot = s->boot_of[seq_incarnation(c->cut_seq)];

	if (number < MAX_SEQS)
		instant = s->seq_time[boot][number];
	return c->time_ns / 1000 > instant ? c->time_ns / 1000 : instant;
}

void check_points(struct sim *s)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(s->timeline, &c), seen = 0;

	for (size_t i = 0; i < nr && !s->violation[0] && !s->reverted; i++) {
		struct seen_point *p;

		if (seen < s->nr_points && s->points[seen].ordinal < c[i].ordinal) {
			sim_violation(s, "point #%llu was listed and is gone",
				      (unsigned long long)s->points[seen].ordinal);
			return;
		}
		if (!c[i].listed)
			continue;
		if (seen < s->nr_points && s->points[seen].ordinal == c[i].ordinal) {
			seen++;
			continue;
		}
		if (s->nr_points == MAX_POINTS)
			return;
		memmove(&s->points[seen + 1], &s->points[seen],
			(s->nr_points - seen) * sizeof(*p));
		s->nr_points++;
		p = &s->points[seen++];
		p->ordinal = c[i].ordinal;
		p->cut_seq = c[i].cut_seq;
		p->volumes = s->cfg.volumes;
		p->instant = point_instant(s, &c[i]);
		sim_log(s, "check: point #%llu cut %llx instant %llu",
			(unsigned long long)p->ordinal, (unsigned long long)p->cut_seq,
			(unsigned long long)p->instant);
		point_check(s, p, false);
		c = NULL;	/* views do not change it, but the interface says so */
		nr = timeline_commits(s->timeline, &c);
	}
	if (seen < s->nr_points && !s->reverted)
		sim_violation(s, "point #%llu was listed and is gone",
			      (unsigned long long)s->points[seen].ordinal);
}

void check_all_again(struct sim *s)
{
	for (uint32_t i = 0; i < s->nr_points && !s->violation[0]; i++)
		point_check(s, &s->points[i], true);
}

/* All is at rest and protected: the newest point equals the disks. */
void check_at_rest(struct sim *s)
{
	const struct timeline_commit *c;
	size_t nr = timeline_commits(s->timeline, &c);
	struct seen_point p = { .instant = s->now, .volumes = s->cfg.volumes, .ids = { 0 } };

	if (!nr || !c[nr - 1].listed || seq_number(c[nr - 1].cut_seq) != s->ring.newest_seq) {
		sim_violation(s, "at rest, but of %zu commits the newest, cut %llx, is no recovery point of seq %llu: %s",
			      nr, nr ? (unsigned long long)c[nr - 1].cut_seq : 0,
			      (unsigned long long)s->ring.newest_seq,
			      nr && c[nr - 1].unlisted_why ? c[nr - 1].unlisted_why : "");
		return;
	}
	p.ordinal = c[nr - 1].ordinal;
	p.cut_seq = c[nr - 1].cut_seq;
	if (!s->reverted) {
		point_check(s, &p, false);
		return;
	}
	point_read(s, p.cut_seq, p.volumes, p.ids);
	for (uint32_t i = 0; i < MAX_SECTORS; i++)
		if (p.ids[i] != s->content[i] && s->content[i] != ID_ANY && !s->violation[0])
			sim_violation(s, "sector %u shows %x, the disk has %x", i, p.ids[i],
				      s->content[i]);
}
