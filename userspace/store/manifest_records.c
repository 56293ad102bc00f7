// SPDX-License-Identifier: GPL-2.0-only
/* manifest_records - what the records of a manifest say, and which of them still count. */
#include "manifest_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "../lib/name.h"
#include "array.h"

int manifest_complain(char *why, int error, const char *text, uint64_t offset)
{
	if (why)
		snprintf(why, TIMELINE_TEXT_BYTES, "manifest: %s at byte %llu", text,
			 (unsigned long long)offset);
	return error;
}

uint32_t manifest_record_crc(const uint8_t *at, uint32_t bytes)
{
	struct manifest_header h;

	memcpy(&h, at, sizeof(h));
	h.crc = 0;
	return crc32c_extend(crc32c(&h, sizeof(h)), at + sizeof(h), bytes - sizeof(h));
}

uint32_t manifest_record_check(const uint8_t *at, size_t bytes, struct manifest_header *h)
{
	if (bytes < sizeof(*h))
		return 0;
	memcpy(h, at, sizeof(*h));
	if (le32toh(h->magic) != MANIFEST_MAGIC)
		return 0;
	h->version = le16toh(h->version);
	h->type = le16toh(h->type);
	h->record_bytes = le32toh(h->record_bytes);
	if (h->record_bytes < sizeof(*h) || h->record_bytes % 8 || h->record_bytes > bytes ||
	    h->record_bytes > MANIFEST_MAX_RECORD_BYTES)
		return 0;
	return manifest_record_crc(at, h->record_bytes) == le32toh(h->crc) ? h->record_bytes : 0;
}

/* A name that came from outside ends inside its field. */
static bool text_ends(const char *text, size_t bytes)
{
	return memchr(text, 0, bytes);
}

static int parse_identity(struct manifest *m, const void *payload)
{
	memcpy(&m->identity, payload, sizeof(m->identity));
	m->identity.created_ns = le64toh(m->identity.created_ns);
	m->identity.epoch = le32toh(m->identity.epoch);
	return text_ends(m->identity.owner, sizeof(m->identity.owner)) ? 0 : -EBADMSG;
}

static int parse_volume(struct manifest *m, const void *payload)
{
	const struct manifest_volume *raw = payload;
	uint16_t id = le16toh(raw->id);
	struct timeline_volume *v;

	if (id > m->nr_volumes || !text_ends(raw->name, sizeof(raw->name)) ||
	    !text_ends(raw->identity, sizeof(raw->identity)))
		return -EBADMSG;
	if (id == m->nr_volumes) {
		if (!array_reserve(&m->volumes, &m->max_volumes, m->nr_volumes + 1))
			return -ENOMEM;
		m->volumes[m->nr_volumes++] = (struct timeline_volume){ .id = id };
	}
	v = &m->volumes[id];
	v->size_bytes = le64toh(raw->size_bytes);
	memcpy(v->name, raw->name, sizeof(v->name));
	memcpy(v->identity, raw->identity, sizeof(v->identity));
	return 0;
}

static int parse_grant(struct manifest *m, const void *payload)
{
	const struct manifest_grant *raw = payload;
	uint32_t incarnation = le32toh(raw->incarnation);

	if (incarnation <= m->incarnation)
		return -EBADMSG;
	m->incarnation = incarnation;
	memcpy(m->instance, raw->instance, sizeof(m->instance));
	return 0;
}

static int parse_end(struct manifest *m, const void *payload)
{
	const struct manifest_segment_end *raw = payload;

	if (!array_reserve(&m->ends, &m->max_ends, m->nr_ends + 1))
		return -ENOMEM;
	m->ends[m->nr_ends++] = (struct manifest_segment_end){
		le64toh(raw->number), le64toh(raw->end_offset), le64toh(raw->last_ordinal) };
	return 0;
}

/* In the place of what it overlaps; the others stay in order. */
static int parse_run(struct manifest *m, const void *payload)
{
	const struct manifest_run *raw = payload;
	struct manifest_run run = {
		le64toh(raw->number), le64toh(raw->first_segment), le64toh(raw->last_segment),
		le64toh(raw->last_ordinal), le64toh(raw->nr_entries), le32toh(raw->nr_blocks),
		le32toh(raw->level) };
	size_t from = 0, to;

	if (run.number <= m->run_number || run.number == UINT64_MAX || run.first_segment == 0 ||
	    run.first_segment > run.last_segment || run.last_segment > UINT32_MAX ||
	    run.nr_blocks == 0)
		return -EBADMSG;
	if (!array_reserve(&m->runs, &m->max_runs, m->nr_runs + 1))
		return -ENOMEM;
	while (from < m->nr_runs && m->runs[from].last_segment < run.first_segment)
		from++;
	for (to = from; to < m->nr_runs && m->runs[to].first_segment <= run.last_segment; to++)
		;
	memmove(&m->runs[from + 1], &m->runs[to], (m->nr_runs - to) * sizeof(run));
	m->runs[from] = run;
	m->nr_runs += 1 + from - to;
	m->nr_old_records += to - from;
	m->run_number = run.number;
	return 0;
}

/* In the place of the one before; it never goes less far. */
static int parse_points(struct manifest *m, const void *payload)
{
	const struct manifest_points *raw = payload;
	struct manifest_points points = {
		le64toh(raw->number), le64toh(raw->last_segment), le64toh(raw->last_ordinal),
		le64toh(raw->nr_commits), le64toh(raw->file_bytes), le32toh(raw->flags), 0 };

	if (points.number <= m->points.number || points.number == UINT64_MAX ||
	    points.last_segment < m->points.last_segment || points.last_segment == 0 ||
	    points.last_segment > UINT32_MAX || points.last_ordinal < m->points.last_ordinal ||
	    points.nr_commits > points.last_ordinal || points.flags & ~MANIFEST_POINTS_LEFT_OUT)
		return -EBADMSG;
	m->nr_old_records += m->points.number != 0;
	m->points = points;
	return 0;
}

static int parse_key(struct manifest *m, const void *payload)
{
	const struct manifest_key *raw = payload;

	if (manifest_has_key(m, raw->id))
		return -EBADMSG;
	if (!array_reserve(&m->keys, &m->max_keys, m->nr_keys + 1))
		return -ENOMEM;
	m->keys[m->nr_keys] = *raw;
	m->keys[m->nr_keys++].time_ns = le64toh(raw->time_ns);
	return 0;
}

static int parse_parent(struct manifest *m, const void *payload)
{
	const struct manifest_parent *raw = payload;

	if (m->has_parent || m->nr_lines ||
	    !memcmp(raw->timeline, m->identity.timeline, sizeof(raw->timeline)))
		return -EBADMSG;
	m->has_parent = true;
	m->parent = *raw;
	m->parent.cut_seq = le64toh(raw->cut_seq);
	m->parent.time_ns = le64toh(raw->time_ns);
	return 0;
}

/* Of a group only: a branch has no branches. */
bool manifest_line_fits(const struct manifest *m, const struct timeline_line *line)
{
	return !m->has_parent && line->epoch && line->epoch == manifest_epoch(m) + 1 &&
	       line->cut_seq && line->cut_seq != UINT64_MAX && name_valid(line->name) &&
	       memcmp(line->timeline, m->identity.timeline, sizeof(line->timeline)) != 0;
}

static int parse_line(struct manifest *m, const void *payload)
{
	const struct manifest_line *raw = payload;
	struct timeline_line line = {
		.epoch = le32toh(raw->epoch), .cut_seq = le64toh(raw->cut_seq),
		.time_ns = le64toh(raw->time_ns), .made_ns = le64toh(raw->made_ns),
		.branch_cut_seq = le64toh(raw->branch_cut_seq) };

	memcpy(line.timeline, raw->timeline, sizeof(line.timeline));
	memcpy(line.name, raw->name, sizeof(line.name));
	if (raw->reserved || !manifest_line_fits(m, &line))
		return -EBADMSG;
	if (!array_reserve(&m->lines, &m->max_lines, m->nr_lines + 1))
		return -ENOMEM;
	m->lines[m->nr_lines++] = line;
	return 0;
}

/* The first of @m's packs that ends at or behind a segment. */
static size_t pack_find_at(const struct manifest *m, uint64_t segment)
{
	return array_search(m->packs, m->nr_packs, p, p->last_segment < segment);
}

const struct manifest_pack *manifest_pack(const struct manifest *m, uint64_t segment)
{
	size_t at = pack_find_at(m, segment);

	return at < m->nr_packs && m->packs[at].first_segment <= segment ? &m->packs[at] : NULL;
}

/* In the place of those it covers; one that it covers in part would be lost. */
static int parse_pack(struct manifest *m, const void *payload)
{
	const struct manifest_pack *raw = payload;
	struct manifest_pack pack = {
		le64toh(raw->number), le64toh(raw->first_segment), le64toh(raw->last_segment),
		le64toh(raw->last_ordinal), le64toh(raw->points_no), le64toh(raw->nr_extents),
		le64toh(raw->live_bytes), le64toh(raw->file_bytes) };
	size_t from, to;

	if (pack.number <= m->pack_number || pack.number == UINT64_MAX ||
	    pack.first_segment == 0 || pack.first_segment > pack.last_segment ||
	    pack.last_segment > UINT32_MAX || pack.last_ordinal == 0)
		return -EBADMSG;
	from = to = pack_find_at(m, pack.first_segment);
	while (to < m->nr_packs && m->packs[to].first_segment <= pack.last_segment)
		to++;
	if (from < to && (m->packs[from].first_segment < pack.first_segment ||
			  m->packs[to - 1].last_segment > pack.last_segment))
		return -EBADMSG;
	if (!array_reserve(&m->packs, &m->max_packs, m->nr_packs + 1))
		return -ENOMEM;
	memmove(&m->packs[from + 1], &m->packs[to], (m->nr_packs - to) * sizeof(pack));
	m->packs[from] = pack;
	m->nr_packs += 1 + from - to;
	m->nr_old_records += to - from;
	m->pack_number = pack.number;
	return 0;
}

static int parse_policy(struct manifest *m, const void *payload)
{
	const struct manifest_policy *raw = payload;
	struct retention_policy policy;
	char why[RETENTION_TEXT_BYTES];

	if (!text_ends(raw->text, sizeof(raw->text)) || retention_parse(raw->text, &policy, why))
		return -EBADMSG;
	if (!array_reserve(&m->policies, &m->max_policies, m->nr_policies + 1))
		return -ENOMEM;
	m->policies[m->nr_policies++] = (struct manifest_retention){
		policy, le64toh(raw->immutable_ns), le64toh(raw->since_ns) };
	return 0;
}

static int parse_pin(struct manifest *m, const void *payload)
{
	const struct manifest_pin *raw = payload;
	struct timeline_pin pin = {
		.id = le64toh(raw->id), .cut_seq = le64toh(raw->cut_seq),
		.made_ns = le64toh(raw->made_ns), .until_ns = le64toh(raw->until_ns),
		.kind = le16toh(raw->kind) };
	bool released = le16toh(raw->flags) & MANIFEST_PIN_RELEASED;
	size_t i = 0;

	if (!text_ends(raw->label, sizeof(raw->label)) || pin.id == 0)
		return -EBADMSG;
	memcpy(pin.label, raw->label, sizeof(pin.label));
	while (i < m->nr_pins && m->pins[i].id != pin.id)
		i++;
	m->nr_old_records += released + (i < m->nr_pins);
	if (pin.id > m->pin_id)
		m->pin_id = pin.id;
	if (released) {
		if (i < m->nr_pins)
			m->pins[i] = m->pins[--m->nr_pins];
		return 0;
	}
	if (i == m->nr_pins) {
		if (!array_reserve(&m->pins, &m->max_pins, m->nr_pins + 1))
			return -ENOMEM;
		m->nr_pins++;
	}
	m->pins[i] = pin;
	return 0;
}

static int parse_durable(struct manifest *m, const void *payload)
{
	const struct manifest_durable *raw = payload;
	struct manifest_durable durable = { le64toh(raw->ordinal), le64toh(raw->segment) };

	if (durable.ordinal <= m->durable.ordinal || durable.segment <= m->durable.segment ||
	    durable.segment > UINT32_MAX)
		return -EBADMSG;
	m->nr_old_records += m->durable.ordinal != 0;
	m->durable = durable;
	return 0;
}

/* Whether a record still says something that no newer one does. */
static bool grant_is_current(const struct manifest *m, const void *payload)
{
	return le32toh(((const struct manifest_grant *)payload)->incarnation) == m->incarnation;
}

static bool run_is_current(const struct manifest *m, const void *payload)
{
	uint64_t number = le64toh(((const struct manifest_run *)payload)->number);

	for (size_t i = 0; i < m->nr_runs; i++)
		if (m->runs[i].number == number)
			return true;
	return false;
}

static bool points_are_current(const struct manifest *m, const void *payload)
{
	return le64toh(((const struct manifest_points *)payload)->number) == m->points.number;
}

static bool pack_is_current(const struct manifest *m, const void *payload)
{
	uint64_t number = le64toh(((const struct manifest_pack *)payload)->number);

	for (size_t i = 0; i < m->nr_packs; i++)
		if (m->packs[i].number == number)
			return true;
	return false;
}

/* Of one that is over only the newest's end stays: its id is not used again. */
static bool pin_is_current(const struct manifest *m, const void *payload)
{
	const struct manifest_pin *raw = payload;
	uint64_t id = le64toh(raw->id);

	for (size_t i = 0; i < m->nr_pins; i++)
		if (m->pins[i].id == id)
			return m->pins[i].until_ns == le64toh(raw->until_ns);
	return id == m->pin_id && le16toh(raw->flags) & MANIFEST_PIN_RELEASED;
}

static bool durable_is_current(const struct manifest *m, const void *payload)
{
	return le64toh(((const struct manifest_durable *)payload)->ordinal) == m->durable.ordinal;
}

/* What there can be. A type without a size is not known. */
static const struct record_type {
	uint32_t payload_bytes;
	int (*parse)(struct manifest *m, const void *payload);
	/* NULL: it stays when the file is written anew. */
	bool (*is_current)(const struct manifest *m, const void *payload);
} record_types[] = {
	[MANIFEST_IDENTITY] = { sizeof(struct manifest_identity), parse_identity, NULL },
	[MANIFEST_VOLUME] = { sizeof(struct manifest_volume), parse_volume, NULL },
	[MANIFEST_GRANT] = { sizeof(struct manifest_grant), parse_grant, grant_is_current },
	[MANIFEST_SEGMENT_END] = { sizeof(struct manifest_segment_end), parse_end, NULL },
	[MANIFEST_RUN] = { sizeof(struct manifest_run), parse_run, run_is_current },
	[MANIFEST_POINTS] = { sizeof(struct manifest_points), parse_points, points_are_current },
	[MANIFEST_PACK] = { sizeof(struct manifest_pack), parse_pack, pack_is_current },
	[MANIFEST_POLICY] = { sizeof(struct manifest_policy), parse_policy, NULL },
	[MANIFEST_PIN] = { sizeof(struct manifest_pin), parse_pin, pin_is_current },
	[MANIFEST_PARENT] = { sizeof(struct manifest_parent), parse_parent, NULL },
	[MANIFEST_KEY] = { sizeof(struct manifest_key), parse_key, NULL },
	[MANIFEST_LINE] = { sizeof(struct manifest_line), parse_line, NULL },
	[MANIFEST_DURABLE] = { sizeof(struct manifest_durable), parse_durable, durable_is_current },
};

uint32_t manifest_record_bytes(uint16_t type)
{
	if (type >= sizeof(record_types) / sizeof(*record_types) ||
	    !record_types[type].payload_bytes)
		return 0;
	return sizeof(struct manifest_header) + record_types[type].payload_bytes;
}

void manifest_record_encode(uint8_t *at, uint16_t type, const void *payload)
{
	uint32_t bytes = manifest_record_bytes(type);
	struct manifest_header h = {
		.magic = htole32(MANIFEST_MAGIC), .version = htole16(MANIFEST_VERSION),
		.type = htole16(type), .record_bytes = htole32(bytes),
	};

	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), payload, bytes - sizeof(h));
	h.crc = htole32(manifest_record_crc(at, bytes));
	memcpy(at, &h, sizeof(h));
}

int manifest_record_take(struct manifest *m, uint16_t type, const void *payload)
{
	return record_types[type].parse(m, payload);
}

bool manifest_record_is_current(const struct manifest *m, uint16_t type, const void *payload)
{
	const struct record_type *t = &record_types[type];

	return !t->is_current || t->is_current(m, payload);
}

static int parse_record(struct manifest *m, const struct manifest_header *h, const uint8_t *at,
			bool first)
{
	if (h->version != MANIFEST_VERSION || h->record_bytes != manifest_record_bytes(h->type) ||
	    first != (h->type == MANIFEST_IDENTITY))
		return -EBADMSG;
	return manifest_record_take(m, h->type, at + sizeof(*h));
}

/*
 * A pack has only what a points file covered that was named before, and those never go less
 * far. One that goes further would hide what is appended behind that.
 */
static bool packs_fit(const struct manifest *m)
{
	for (size_t i = 0; i < m->nr_packs; i++)
		if (m->packs[i].last_segment > m->points.last_segment ||
		    m->packs[i].last_ordinal > m->points.last_ordinal ||
		    m->packs[i].points_no > m->points.number)
			return false;
	return true;
}

int manifest_parse(struct manifest *m, const void *image, size_t bytes, size_t *valid_bytes,
		   char *why)
{
	const uint8_t *at = image;
	struct manifest_header h;
	size_t offset = 0;
	int ret;

	*valid_bytes = 0;
	while (offset < bytes && manifest_record_check(at + offset, bytes - offset, &h)) {
		ret = parse_record(m, &h, at + offset, offset == 0);
		if (ret)
			return manifest_complain(why, ret, "a record that makes no sense (or is of "
						 "a newer version)", offset);
		offset += h.record_bytes;
	}
	*valid_bytes = offset;
	if (offset == 0)
		return manifest_complain(why, -EBADMSG, "no identity", 0);
	/* Each append was synced before the next: only the last can be torn. */
	for (size_t later = offset + 8; later < bytes; later += 8)
		if (manifest_record_check(at + later, bytes - later, &h))
			return manifest_complain(why, -EBADMSG, "damaged record", offset);
	if (!packs_fit(m))
		return manifest_complain(why, -EBADMSG, "a pack of more than its points file covers",
					 offset);
	return 0;
}
