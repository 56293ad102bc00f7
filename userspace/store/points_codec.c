// SPDX-License-Identifier: GPL-2.0-only
/* points_codec - points to the bytes of a points file and back. */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "array.h"
#include "points_file.h"
#include "points_format.h"

#define MAX_ITEMS (UINT32_MAX / 2)	/* of each kind but commits: no sum can wrap */
#define MAX_COMMITS (UINT64_C(1) << 40)

/* The tables of the body, in order. */
struct layout {
	uint64_t commits, gaps, holds, repairs, bad, members, all_members, volumes, end;
};

static struct layout layout_of(const struct points_header *h)
{
	struct layout l = { .commits = POINTS_BLOCK_BYTES };

	l.gaps = l.commits + h->nr_commits * sizeof(struct points_commit);
	l.holds = l.gaps + h->nr_gaps * sizeof(struct commit_gap);
	l.repairs = l.holds + h->nr_holds * sizeof(struct points_stored_hold);
	l.bad = l.repairs + h->nr_repairs * sizeof(struct commit_repair);
	l.members = l.bad + h->nr_bad * sizeof(struct points_stored_bad);
	l.all_members = l.members + h->nr_members * sizeof(struct points_stored_members);
	l.volumes = l.all_members + h->nr_all_members * sizeof(struct points_stored_member);
	l.end = l.volumes + h->nr_volumes * sizeof(struct points_stored_volume);
	l.end = (l.end + POINTS_BLOCK_BYTES - 1) / POINTS_BLOCK_BYTES * POINTS_BLOCK_BYTES;
	return l;
}

static uint32_t header_crc(const void *block)
{
	struct points_header h;

	memcpy(&h, block, sizeof(h));
	h.crc = 0;
	return crc32c_extend(crc32c(&h, sizeof(h)), (const uint8_t *)block + sizeof(h),
			     POINTS_BLOCK_BYTES - sizeof(h));
}

/* -- encoding -- */

/* Both ways. */
static void header_swap(struct points_header *h)
{
	h->magic = le32toh(h->magic);
	h->version = le16toh(h->version);
	h->flags = le16toh(h->flags);
	h->header_bytes = le32toh(h->header_bytes);
	h->number = le64toh(h->number);
	h->last_segment = le64toh(h->last_segment);
	h->last_ordinal = le64toh(h->last_ordinal);
	h->last_cut_seq = le64toh(h->last_cut_seq);
	h->last_time_ns = le64toh(h->last_time_ns);
	h->last_since_ns = le64toh(h->last_since_ns);
	h->aged_ns = le64toh(h->aged_ns);
	h->readback_no = le64toh(h->readback_no);
	h->hold_id = le64toh(h->hold_id);
	h->last_gap_seq = le64toh(h->last_gap_seq);
	h->repaired_t0 = le64toh(h->repaired_t0);
	h->nr_commits = le64toh(h->nr_commits);
	h->nr_gaps = le32toh(h->nr_gaps);
	h->nr_holds = le32toh(h->nr_holds);
	h->nr_repairs = le32toh(h->nr_repairs);
	h->nr_bad = le32toh(h->nr_bad);
	h->nr_members = le32toh(h->nr_members);
	h->nr_all_members = le32toh(h->nr_all_members);
	h->nr_volumes = le32toh(h->nr_volumes);
	h->body_crc = le32toh(h->body_crc);
}

static struct points_header header_of(const struct points_file *file)
{
	const struct points *p = &file->points;
	struct points_header h = {
		.magic = POINTS_MAGIC, .version = POINTS_VERSION,
		.header_bytes = POINTS_BLOCK_BYTES, .number = file->number,
		.last_segment = file->last_segment, .last_ordinal = p->last_ordinal,
		.last_cut_seq = p->last_cut_seq, .last_time_ns = p->last_time_ns,
		.last_since_ns = p->last_since_ns, .aged_ns = p->aged_ns,
		.readback_no = p->readback_no, .hold_id = p->hold_id,
		.last_gap_seq = p->last_gap_seq, .repaired_t0 = p->repaired_t0,
		.nr_commits = p->nr_commits, .nr_gaps = p->nr_gaps, .nr_holds = p->nr_holds,
		.nr_repairs = p->nr_repairs, .nr_bad = p->nr_bad, .nr_members = p->nr_members,
		.nr_all_members = p->nr_all_members, .nr_volumes = p->nr_volumes,
	};

	memcpy(h.timeline, file->timeline, sizeof(h.timeline));
	return h;
}

static void commits_put(uint8_t *at, const struct points *p)
{
	for (size_t i = 0; i < p->nr_commits; i++, at += sizeof(struct points_commit)) {
		const struct timeline_commit *c = &p->commits[i];
		struct points_commit raw = {
			htole64(c->ordinal), htole64(c->cut_seq), htole64(c->time_ns),
			htole64(c->current_to_ns), htole64(c->target_time_ns),
			htole64(c->since_ns), htole64(c->batch_bytes), htole64(c->written_bytes),
			htole64(c->nr_records), htole16(c->flags),
			htole16(c->degraded ? POINTS_COMMIT_DEGRADED : 0), 0 };

		memcpy(at, &raw, sizeof(raw));
	}
}

static void facts_put(uint8_t *body, const struct layout *l, const struct points *p)
{
	for (size_t i = 0; i < p->nr_gaps; i++) {
		struct commit_gap raw = { htole64(p->gaps[i].from_seq),
					  htole64(p->gaps[i].to_seq) };

		memcpy(body + l->gaps + i * sizeof(raw), &raw, sizeof(raw));
	}
	for (size_t i = 0; i < p->nr_holds; i++) {
		struct points_stored_hold raw = { htole64(p->holds[i].id),
						  htole64(p->holds[i].from_seq),
						  htole64(p->holds[i].end_seq) };

		memcpy(body + l->holds + i * sizeof(raw), &raw, sizeof(raw));
	}
	for (size_t i = 0; i < p->nr_repairs; i++) {
		struct commit_repair raw = { htole64(p->repairs[i].t0_seq),
					     htole64(p->repairs[i].end_seq) };

		memcpy(body + l->repairs + i * sizeof(raw), &raw, sizeof(raw));
	}
	for (size_t i = 0; i < p->nr_bad; i++) {
		struct points_stored_bad raw = {
			htole16(p->bad[i].volume), { 0 }, htole64(p->bad[i].offset_bytes),
			htole64(p->bad[i].end_bytes), htole64(p->bad[i].label_seq) };

		memcpy(body + l->bad + i * sizeof(raw), &raw, sizeof(raw));
	}
}

static void members_put(uint8_t *body, const struct layout *l, const struct points *p)
{
	for (size_t i = 0; i < p->nr_members; i++) {
		struct points_stored_members raw = { htole64(p->members[i].ordinal),
						     htole32(p->members[i].first),
						     htole32(p->members[i].nr) };

		memcpy(body + l->members + i * sizeof(raw), &raw, sizeof(raw));
	}
	for (size_t i = 0; i < p->nr_all_members; i++) {
		struct points_stored_member raw = { htole16(p->all_members[i].volume), { 0 },
						    htole64(p->all_members[i].size_bytes) };

		memcpy(body + l->all_members + i * sizeof(raw), &raw, sizeof(raw));
	}
	for (size_t i = 0; i < p->nr_volumes; i++) {
		const struct points_volume *v = &p->volumes[i];
		struct points_stored_volume raw = {
			htole16(i), htole16((v->has_data ? POINTS_VOLUME_HAS_DATA : 0) |
					    (v->member ? POINTS_VOLUME_MEMBER : 0)),
			htole32(v->log_no) };

		memcpy(body + l->volumes + i * sizeof(raw), &raw, sizeof(raw));
	}
}

int points_encode(const struct points_file *file, void **out, size_t *bytes)
{
	const struct points *p = &file->points;
	struct points_header h = header_of(file);
	struct layout l = layout_of(&h);
	uint8_t *copy;

	if (p->nr_gaps > MAX_ITEMS || p->nr_holds > MAX_ITEMS || p->nr_repairs > MAX_ITEMS ||
	    p->nr_members > MAX_ITEMS || p->nr_all_members > MAX_ITEMS)
		return -EFBIG;
	copy = calloc(1, l.end);
	if (!copy)
		return -ENOMEM;
	commits_put(copy + l.commits, p);
	facts_put(copy, &l, p);
	members_put(copy, &l, p);
	h.body_crc = crc32c(copy + POINTS_BLOCK_BYTES, l.end - POINTS_BLOCK_BYTES);
	header_swap(&h);
	memcpy(copy, &h, sizeof(h));
	h.crc = htole32(header_crc(copy));
	memcpy(copy, &h, sizeof(h));
	*out = copy;
	*bytes = l.end;
	return 0;
}

/* -- decoding; each returns 0, -EBADMSG or -ENOMEM -- */

static int commits_get(const uint8_t *at, const struct points_header *h, struct points *p)
{
	uint64_t ordinal = 0, cut = 0, since = 0;

	if (!array_reserve(&p->commits, &p->max_commits, h->nr_commits))
		return -ENOMEM;
	for (; p->nr_commits < h->nr_commits; at += sizeof(struct points_commit)) {
		struct timeline_commit *c = &p->commits[p->nr_commits++];
		struct points_commit raw;

		memcpy(&raw, at, sizeof(raw));
		*c = (struct timeline_commit){
			.ordinal = le64toh(raw.ordinal), .cut_seq = le64toh(raw.cut_seq),
			.time_ns = le64toh(raw.time_ns),
			.current_to_ns = le64toh(raw.current_to_ns),
			.target_time_ns = le64toh(raw.target_time_ns),
			.since_ns = le64toh(raw.since_ns),
			.batch_bytes = le64toh(raw.batch_bytes),
			.written_bytes = le64toh(raw.written_bytes),
			.nr_records = le64toh(raw.nr_records), .flags = le16toh(raw.flags),
			.degraded = le16toh(raw.state) & POINTS_COMMIT_DEGRADED,
		};
		if (c->ordinal <= ordinal || c->cut_seq < cut || c->since_ns < since)
			return -EBADMSG;
		ordinal = c->ordinal;
		cut = c->cut_seq;
		since = c->since_ns;
	}
	return ordinal <= h->last_ordinal && cut <= h->last_cut_seq &&
	       since <= h->last_since_ns ? 0 : -EBADMSG;
}

static int gaps_get(const uint8_t *at, const struct points_header *h, struct points *p)
{
	if (!array_reserve(&p->gaps, &p->max_gaps, h->nr_gaps))
		return -ENOMEM;
	for (; p->nr_gaps < h->nr_gaps; at += sizeof(struct commit_gap)) {
		struct commit_gap *g = &p->gaps[p->nr_gaps];

		memcpy(g, at, sizeof(*g));
		g->from_seq = le64toh(g->from_seq);
		g->to_seq = le64toh(g->to_seq);
		if (g->from_seq > g->to_seq || g->to_seq > h->last_gap_seq)
			return -EBADMSG;
		if (p->nr_gaps && (g->from_seq < g[-1].from_seq || g->to_seq < g[-1].to_seq))
			return -EBADMSG;
		p->nr_gaps++;
	}
	return 0;
}

static int holds_get(const uint8_t *at, const struct points_header *h, struct points *p)
{
	size_t nr_open = 0;

	if (!array_reserve(&p->holds, &p->max_holds, h->nr_holds))
		return -ENOMEM;
	for (; p->nr_holds < h->nr_holds; at += sizeof(struct points_stored_hold)) {
		struct points_hold *hold = &p->holds[p->nr_holds];
		struct points_stored_hold raw;

		memcpy(&raw, at, sizeof(raw));
		*hold = (struct points_hold){ le64toh(raw.id), le64toh(raw.from_seq),
					      le64toh(raw.end_seq), 0 };
		nr_open += hold->end_seq == UINT64_MAX;
		if (hold->id == 0 || hold->id > h->hold_id || nr_open > COMMIT_MAX_OPEN_HOLDS ||
		    (p->nr_holds && hold->from_seq < hold[-1].from_seq))
			return -EBADMSG;
		p->nr_holds++;
	}
	return 0;
}

static int repairs_get(const uint8_t *at, const struct points_header *h, struct points *p)
{
	if (!array_reserve(&p->repairs, &p->max_repairs, h->nr_repairs))
		return -ENOMEM;
	for (; p->nr_repairs < h->nr_repairs; at += sizeof(struct commit_repair)) {
		struct commit_repair *r = &p->repairs[p->nr_repairs];

		memcpy(r, at, sizeof(*r));
		r->t0_seq = le64toh(r->t0_seq);
		r->end_seq = le64toh(r->end_seq);
		if (r->t0_seq > h->repaired_t0 ||
		    (p->nr_repairs && (r->t0_seq <= r[-1].t0_seq || r->end_seq <= r[-1].end_seq)))
			return -EBADMSG;
		p->nr_repairs++;
	}
	return 0;
}

static int bad_get(const uint8_t *at, const struct points_header *h, struct points *p)
{
	if (!array_reserve(&p->bad, &p->max_bad, h->nr_bad))
		return -ENOMEM;
	for (; p->nr_bad < h->nr_bad; at += sizeof(struct points_stored_bad)) {
		struct points_stored_bad raw;

		memcpy(&raw, at, sizeof(raw));
		p->bad[p->nr_bad++] = (struct points_bad){
			le16toh(raw.volume), le64toh(raw.offset_bytes), le64toh(raw.end_bytes),
			le64toh(raw.label_seq) };
		if (le16toh(raw.volume) >= h->nr_volumes ||
		    le64toh(raw.offset_bytes) >= le64toh(raw.end_bytes))
			return -EBADMSG;
	}
	return 0;
}

static int members_get(const uint8_t *copy, const struct layout *l,
		       const struct points_header *h, struct points *p)
{
	const uint8_t *at = copy + l->members;
	uint64_t ordinal = 0;

	if (!array_reserve(&p->members, &p->max_members, h->nr_members) ||
	    !array_reserve(&p->all_members, &p->max_all_members, h->nr_all_members))
		return -ENOMEM;
	for (; p->nr_members < h->nr_members; at += sizeof(struct points_stored_members)) {
		struct points_members *m = &p->members[p->nr_members++];
		struct points_stored_members raw;

		memcpy(&raw, at, sizeof(raw));
		*m = (struct points_members){ le64toh(raw.ordinal), le32toh(raw.first),
					      le32toh(raw.nr) };
		if (m->ordinal <= ordinal || m->ordinal > h->last_ordinal ||
		    m->nr > COMMIT_MAX_VOLUMES || m->first > h->nr_all_members ||
		    m->nr > h->nr_all_members - m->first)
			return -EBADMSG;
		ordinal = m->ordinal;
	}
	at = copy + l->all_members;
	for (; p->nr_all_members < h->nr_all_members; at += sizeof(struct points_stored_member)) {
		struct points_stored_member raw;

		memcpy(&raw, at, sizeof(raw));
		p->all_members[p->nr_all_members++] = (struct points_member){
			le16toh(raw.volume), le64toh(raw.size_bytes) };
		if (le16toh(raw.volume) >= h->nr_volumes)
			return -EBADMSG;
	}
	return 0;
}

static int volumes_get(const uint8_t *at, const struct points_header *h, struct points *p)
{
	if (!array_reserve(&p->volumes, &p->max_volumes, h->nr_volumes))
		return -ENOMEM;
	for (; p->nr_volumes < h->nr_volumes; at += sizeof(struct points_stored_volume)) {
		struct points_stored_volume raw;

		memcpy(&raw, at, sizeof(raw));
		if (le16toh(raw.id) != p->nr_volumes)
			return -EBADMSG;
		p->volumes[p->nr_volumes++] = (struct points_volume){
			le16toh(raw.flags) & POINTS_VOLUME_HAS_DATA,
			le16toh(raw.flags) & POINTS_VOLUME_MEMBER, le32toh(raw.log_no) };
	}
	return 0;
}

/* A header that checks, of a body that is there and checks. */
static int header_get(const uint8_t *copy, size_t bytes, struct points_header *h,
		      struct layout *l)
{
	if (bytes < POINTS_BLOCK_BYTES)
		return -EBADMSG;
	memcpy(h, copy, sizeof(*h));
	if (le32toh(h->crc) != header_crc(copy))
		return -EBADMSG;
	header_swap(h);
	if (h->magic != POINTS_MAGIC || h->version != POINTS_VERSION || h->flags ||
	    h->header_bytes != POINTS_BLOCK_BYTES || h->nr_commits > MAX_COMMITS ||
	    h->nr_commits > h->last_ordinal || h->nr_gaps > MAX_ITEMS ||
	    h->nr_holds > MAX_ITEMS || h->nr_repairs > MAX_ITEMS ||
	    h->nr_bad > POINTS_MAX_BAD || h->nr_members > MAX_ITEMS ||
	    h->nr_all_members > MAX_ITEMS || h->nr_volumes > UINT16_MAX)
		return -EBADMSG;
	*l = layout_of(h);
	if (l->end != bytes ||
	    crc32c(copy + POINTS_BLOCK_BYTES, bytes - POINTS_BLOCK_BYTES) != h->body_crc)
		return -EBADMSG;
	return 0;
}

int points_decode(const void *copy, size_t bytes, struct points_file *file)
{
	const uint8_t *at = copy;
	struct points_header h;
	struct points p = { 0 };
	struct layout l;
	int ret = header_get(at, bytes, &h, &l);

	if (!ret)
		ret = commits_get(at + l.commits, &h, &p);
	if (!ret)
		ret = gaps_get(at + l.gaps, &h, &p);
	if (!ret)
		ret = holds_get(at + l.holds, &h, &p);
	if (!ret)
		ret = repairs_get(at + l.repairs, &h, &p);
	if (!ret)
		ret = bad_get(at + l.bad, &h, &p);
	if (!ret)
		ret = members_get(at, &l, &h, &p);
	if (!ret)
		ret = volumes_get(at + l.volumes, &h, &p);
	if (!ret) {
		p.last_ordinal = h.last_ordinal;
		p.last_cut_seq = h.last_cut_seq;
		p.last_time_ns = h.last_time_ns;
		p.last_since_ns = h.last_since_ns;
		p.aged_ns = h.aged_ns;
		p.readback_no = h.readback_no;
		p.hold_id = h.hold_id;
		p.last_gap_seq = h.last_gap_seq;
		p.repaired_t0 = h.repaired_t0;
		ret = points_renew(&p);
	}
	if (ret) {
		points_fini(&p);
		return ret;
	}
	*file = (struct points_file){ .number = h.number, .last_segment = h.last_segment,
				      .points = p };
	memcpy(file->timeline, h.timeline, sizeof(file->timeline));
	return 0;
}
