// SPDX-License-Identifier: GPL-2.0-only
/* manifest_add - what is added to a manifest and asked of it. */
#include "manifest_internal.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "array.h"

int manifest_add_volume(struct manifest *m, const char *name, uint64_t size_bytes,
			const char *identity)
{
	struct manifest_volume raw = { .id = htole16(m->nr_volumes),
				       .size_bytes = htole64(size_bytes) };

	if (m->nr_volumes >= UINT16_MAX)
		return -ENOSPC;
	if (strlen(name) >= sizeof(raw.name) || strlen(identity) >= sizeof(raw.identity))
		return -EINVAL;
	strcpy(raw.name, name);
	strcpy(raw.identity, identity);
	return manifest_record_add(m, MANIFEST_VOLUME, &raw);
}

int manifest_resize_volume(struct manifest *m, uint16_t id, uint64_t size_bytes)
{
	struct manifest_volume raw = manifest_volume_raw(&m->volumes[id]);

	raw.size_bytes = htole64(size_bytes);
	return manifest_record_add(m, MANIFEST_VOLUME, &raw);
}

int manifest_add_grant(struct manifest *m, uint32_t incarnation, const uint8_t *instance)
{
	struct manifest_grant raw = { .incarnation = htole32(incarnation),
				      .time_ns = htole64(m->env->ops->realtime_ns(m->env)) };

	memcpy(raw.instance, instance, sizeof(raw.instance));
	return manifest_record_add(m, MANIFEST_GRANT, &raw);
}

bool manifest_has_grant(const struct manifest *m, uint32_t incarnation, const uint8_t *instance)
{
	struct manifest_header h;
	size_t offset = 0;

	/* The newest is never dropped; older ones may be, and then it is not known. */
	while (offset < m->image_bytes &&
	       manifest_record_check(m->image + offset, m->image_bytes - offset, &h)) {
		struct manifest_grant grant;

		if (h.type == MANIFEST_GRANT) {
			memcpy(&grant, m->image + offset + sizeof(h), sizeof(grant));
			if (le32toh(grant.incarnation) == incarnation &&
			    !memcmp(grant.instance, instance, sizeof(grant.instance)))
				return true;
		}
		offset += h.record_bytes;
	}
	return false;
}

int manifest_add_end(struct manifest *m, uint64_t number, uint64_t end_offset,
		     uint64_t last_ordinal)
{
	struct manifest_segment_end raw = { htole64(number), htole64(end_offset),
					    htole64(last_ordinal) };

	return manifest_record_add(m, MANIFEST_SEGMENT_END, &raw);
}

bool manifest_has_key(const struct manifest *m, const uint8_t *id)
{
	for (size_t i = 0; i < m->nr_keys; i++)
		if (!memcmp(m->keys[i].id, id, sizeof(m->keys[i].id)))
			return true;
	return false;
}

int manifest_add_key(struct manifest *m, const uint8_t *id)
{
	struct manifest_key raw = { .time_ns = htole64(m->env->ops->realtime_ns(m->env)) };

	memcpy(raw.id, id, sizeof(raw.id));
	return manifest_record_add(m, MANIFEST_KEY, &raw);
}

uint64_t manifest_next_run(const struct manifest *m)
{
	return m->run_number + 1;
}

int manifest_add_run(struct manifest *m, const struct manifest_run *run)
{
	struct manifest_run raw = {
		htole64(run->number), htole64(run->first_segment), htole64(run->last_segment),
		htole64(run->last_ordinal), htole64(run->nr_entries), htole32(run->nr_blocks),
		htole32(run->level) };

	if (run->number != manifest_next_run(m))
		return -EINVAL;
	/* Once it is in the file its number is used: nothing may fail after that. */
	if (!array_reserve(&m->runs, &m->max_runs, m->nr_runs + 1))
		return -ENOMEM;
	return manifest_record_add(m, MANIFEST_RUN, &raw);
}

uint64_t manifest_next_points(const struct manifest *m)
{
	return (m->points_number > m->points.number ? m->points_number : m->points.number) + 1;
}

int manifest_add_points(struct manifest *m, const struct manifest_points *points)
{
	struct manifest_points raw = {
		htole64(points->number), htole64(points->last_segment),
		htole64(points->last_ordinal), htole64(points->nr_commits),
		htole64(points->file_bytes), htole32(points->flags), 0 };
	int ret;

	if (points->number != manifest_next_points(m))
		return -EINVAL;
	ret = manifest_record_add(m, MANIFEST_POINTS, &raw);
	/* It may be on disk: then the file of this name must stay what it is. */
	if (ret)
		m->points_number = points->number;
	return ret;
}

bool manifest_points_alone(const struct manifest *m)
{
	return m->points.flags & MANIFEST_POINTS_LEFT_OUT || m->nr_packs;
}

uint64_t manifest_next_pack(const struct manifest *m)
{
	return m->pack_number + 1;
}

int manifest_add_pack(struct manifest *m, const struct manifest_pack *pack)
{
	struct manifest_pack raw = {
		htole64(pack->number), htole64(pack->first_segment), htole64(pack->last_segment),
		htole64(pack->last_ordinal), htole64(pack->points_no), htole64(pack->nr_extents),
		htole64(pack->live_bytes), htole64(pack->file_bytes) };
	const struct manifest_pack *first = manifest_pack(m, pack->first_segment);
	const struct manifest_pack *last = manifest_pack(m, pack->last_segment);
	int ret;

	if (pack->number != manifest_next_pack(m) ||
	    (first && first->first_segment < pack->first_segment) ||
	    (last && last->last_segment > pack->last_segment))
		return -EINVAL;
	/* Once it is in the file its number is used: nothing may fail after that. */
	if (!array_reserve(&m->packs, &m->max_packs, m->nr_packs + 1))
		return -ENOMEM;
	ret = manifest_record_add(m, MANIFEST_PACK, &raw);
	/* It may be on disk: then the file of this name must stay what it is. */
	if (ret)
		m->pack_number = pack->number;
	return ret;
}

int manifest_add_policy(struct manifest *m, const struct manifest_retention *retention)
{
	struct manifest_policy raw = { htole64(retention->since_ns),
				       htole64(retention->immutable_ns), { 0 } };

	retention_format(&retention->policy, raw.text, sizeof(raw.text));
	return manifest_record_add(m, MANIFEST_POLICY, &raw);
}

int manifest_add_pin(struct manifest *m, const struct timeline_pin *pin, bool released)
{
	struct manifest_pin raw = {
		.id = htole64(pin->id), .cut_seq = htole64(pin->cut_seq),
		.made_ns = htole64(pin->made_ns), .until_ns = htole64(pin->until_ns),
		.kind = htole16(pin->kind), .flags = htole16(released ? MANIFEST_PIN_RELEASED : 0) };

	memcpy(raw.label, pin->label, sizeof(raw.label));
	if (!array_reserve(&m->pins, &m->max_pins, m->nr_pins + 1))
		return -ENOMEM;
	return manifest_record_add(m, MANIFEST_PIN, &raw);
}

uint32_t manifest_epoch(const struct manifest *m)
{
	return m->nr_lines ? m->lines[m->nr_lines - 1].epoch : m->identity.epoch;
}

int manifest_add_line(struct manifest *m, const struct timeline_line *line)
{
	struct manifest_line raw = {
		.epoch = htole32(line->epoch), .cut_seq = htole64(line->cut_seq),
		.time_ns = htole64(line->time_ns), .made_ns = htole64(line->made_ns),
		.branch_cut_seq = htole64(line->branch_cut_seq) };
	int ret;

	if (!manifest_line_fits(m, line))
		return -EINVAL;
	memcpy(raw.timeline, line->timeline, sizeof(raw.timeline));
	strcpy(raw.name, line->name);
	/* Once it is in the file it holds: nothing may fail after that. */
	if (!array_reserve(&m->lines, &m->max_lines, m->nr_lines + 1))
		return -ENOMEM;
	ret = manifest_record_add(m, MANIFEST_LINE, &raw);
	/* Readers may see it already: they are to see that it does not hold. */
	if (ret && m->rewrite)
		m->line_unknown = manifest_rewrite(m) != 0;
	return ret;
}

int manifest_add_durable(struct manifest *m, uint64_t ordinal, uint64_t segment)
{
	struct manifest_durable raw = { htole64(ordinal), htole64(segment) };

	return manifest_record_add(m, MANIFEST_DURABLE, &raw);
}

const struct manifest_segment_end *manifest_end(const struct manifest *m, uint64_t number)
{
	for (size_t i = m->nr_ends; i-- > 0;)
		if (m->ends[i].number == number)
			return &m->ends[i];
	return NULL;
}
