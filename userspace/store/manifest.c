// SPDX-License-Identifier: GPL-2.0-only
/* manifest - what a timeline must know before it looks at a segment. */
#include "manifest.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/crc32c.h"
#include "array.h"

#define MAX_IMAGE_BYTES (64u << 20)
#define READ_ALIGN_BYTES 4096
#define OLD_RECORDS 64		/* so many out of date are no reason to write anew */

static int complain(char *why, int error, const char *text, uint64_t offset)
{
	if (why)
		snprintf(why, TIMELINE_TEXT_BYTES, "manifest: %s at byte %llu", text,
			 (unsigned long long)offset);
	return error;
}

/* -- parsing -- */

static uint32_t record_crc(const uint8_t *at, uint32_t bytes)
{
	struct manifest_header h;

	memcpy(&h, at, sizeof(h));
	h.crc = 0;
	return crc32c_extend(crc32c(&h, sizeof(h)), at + sizeof(h), bytes - sizeof(h));
}

/* Bytes of the valid record at @at, or 0. */
static uint32_t record_check(const uint8_t *at, size_t bytes, struct manifest_header *h)
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
	return record_crc(at, h->record_bytes) == le32toh(h->crc) ? h->record_bytes : 0;
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

	if (m->has_parent)
		return -EBADMSG;
	m->has_parent = true;
	m->parent = *raw;
	m->parent.cut_seq = le64toh(raw->cut_seq);
	m->parent.time_ns = le64toh(raw->time_ns);
	return 0;
}

/* The first of @m's packs that ends at or behind a segment. */
static size_t pack_find_at(const struct manifest *m, uint64_t segment)
{
	size_t low = 0, high = m->nr_packs;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (m->packs[mid].last_segment < segment)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
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
};

static int parse_record(struct manifest *m, const struct manifest_header *h, const uint8_t *at,
			bool first)
{
	const struct record_type *type = record_types;

	if (h->version != MANIFEST_VERSION ||
	    h->type >= sizeof(record_types) / sizeof(*record_types))
		return -EBADMSG;
	type += h->type;
	if (!type->payload_bytes || h->record_bytes != sizeof(*h) + type->payload_bytes ||
	    first != (h->type == MANIFEST_IDENTITY))
		return -EBADMSG;
	return type->parse(m, at + sizeof(*h));
}

int manifest_parse(struct manifest *m, const void *image, size_t bytes, size_t *valid_bytes,
		   char *why)
{
	const uint8_t *at = image;
	struct manifest_header h;
	size_t offset = 0;
	int ret;

	*valid_bytes = 0;
	while (offset < bytes && record_check(at + offset, bytes - offset, &h)) {
		ret = parse_record(m, &h, at + offset, offset == 0);
		if (ret)
			return complain(why, ret, "a record that makes no sense (or is of a newer "
					"version)", offset);
		offset += h.record_bytes;
	}
	*valid_bytes = offset;
	if (offset == 0)
		return complain(why, -EBADMSG, "no identity", 0);
	/* Each append was synced before the next: only the last can be torn. */
	for (size_t later = offset + 8; later < bytes; later += 8)
		if (record_check(at + later, bytes - later, &h))
			return complain(why, -EBADMSG, "damaged record", offset);
	return 0;
}

/* -- the file -- */

/* Replace the file by the image: a crash leaves the old or the new one. */
static int manifest_rewrite(struct manifest *m)
{
	const struct env_ops *ops = m->env->ops;
	struct env_file *file;
	int ret;

	ops->unlink(m->env, m->tmp_path);
	ret = ops->open(m->env, m->tmp_path, ENV_WRITE | ENV_CREATE, &file);
	if (ret)
		return ret;
	ret = ops->write(m->env, file, m->image, m->image_bytes, 0);
	if (!ret)
		ret = ops->datasync(m->env, file);
	if (!ret)
		ret = ops->rename(m->env, m->tmp_path, m->path);
	if (!ret)
		ret = ops->sync_dir(m->env, m->dir);
	if (ret) {
		ops->close(m->env, file);
		return ret;
	}
	if (m->file)
		ops->close(m->env, m->file);
	m->file = file;
	m->rewrite = false;
	return 0;
}

static int image_add(struct manifest *m, uint16_t type, const void *payload, uint32_t bytes)
{
	struct manifest_header h = {
		.magic = htole32(MANIFEST_MAGIC), .version = htole16(MANIFEST_VERSION),
		.type = htole16(type), .record_bytes = htole32(sizeof(h) + bytes),
	};
	uint8_t *at;

	if (!array_reserve(&m->image, &m->max_image_bytes, m->image_bytes + sizeof(h) + bytes))
		return -ENOMEM;
	at = m->image + m->image_bytes;
	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), payload, bytes);
	h.crc = htole32(record_crc(at, sizeof(h) + bytes));
	memcpy(at, &h, sizeof(h));
	m->image_bytes += sizeof(h) + bytes;
	return 0;
}

static struct manifest_volume volume_raw(const struct timeline_volume *v)
{
	struct manifest_volume raw = { .id = htole16(v->id),
				       .size_bytes = htole64(v->size_bytes) };

	memcpy(raw.name, v->name, sizeof(raw.name));
	memcpy(raw.identity, v->identity, sizeof(raw.identity));
	return raw;
}

/*
 * Drop what newer records have replaced: of each volume its first stays, with what is
 * known of it now, because ids must come in order. (The newest run, points file and
 * pack are current: so their numbers are not used again.)
 */
static void image_compact(struct manifest *m)
{
	size_t from = 0, to = 0, nr_volumes = 0;

	while (from < m->image_bytes) {
		uint8_t *at = m->image + from, *payload;
		const struct record_type *type;
		struct manifest_header h;
		struct manifest_volume volume;
		uint32_t bytes;

		memcpy(&h, at, sizeof(h));
		bytes = le32toh(h.record_bytes);
		payload = at + sizeof(h);
		type = &record_types[le16toh(h.type)];
		from += bytes;
		if (type->is_current && !type->is_current(m, payload))
			continue;
		if (le16toh(h.type) == MANIFEST_VOLUME) {
			memcpy(&volume, payload, sizeof(volume));
			if (le16toh(volume.id) != nr_volumes)
				continue;
			volume = volume_raw(&m->volumes[nr_volumes++]);
			memcpy(payload, &volume, sizeof(volume));
			h.crc = htole32(record_crc(at, bytes));
			memcpy(at, &h, sizeof(h));
		}
		memmove(m->image + to, at, bytes);
		to += bytes;
	}
	m->image_bytes = to;
	m->nr_old_records = 0;
}

/* Longer than it is read it must never become: whoever may append could void it. */
static int image_room(struct manifest *m, uint32_t bytes)
{
	size_t limit_bytes = m->limit_bytes - sizeof(struct manifest_header) - bytes;

	if (m->image_bytes <= limit_bytes &&
	    m->nr_old_records <= OLD_RECORDS + m->nr_runs + m->nr_packs + m->nr_pins)
		return 0;
	image_compact(m);
	m->rewrite = true;
	return m->image_bytes <= limit_bytes ? 0 : -ENOSPC;
}

static int manifest_append(struct manifest *m, uint16_t type, const void *payload,
			   uint32_t bytes)
{
	const struct env_ops *ops = m->env->ops;
	int ret = image_room(m, bytes);
	size_t old_bytes = m->image_bytes;

	if (!ret)
		ret = image_add(m, type, payload, bytes);
	if (ret)
		return ret;
	if (m->rewrite) {
		ret = manifest_rewrite(m);
	} else {
		ret = ops->write(m->env, m->file, m->image + old_bytes,
				 m->image_bytes - old_bytes, old_bytes);
		if (!ret)
			ret = ops->datasync(m->env, m->file);
	}
	if (ret) {
		/* Whether it is there nobody knows: the next one writes all anew. */
		m->rewrite = true;
		m->image_bytes = old_bytes;
	}
	return ret;
}

static int manifest_paths(struct manifest *m, struct env *env, const char *dir)
{
	memset(m, 0, sizeof(*m));
	m->env = env;
	m->limit_bytes = MAX_IMAGE_BYTES;
	m->dir = strdup(dir);
	if (!m->dir || asprintf(&m->path, "%s/manifest", dir) < 0)
		m->path = NULL;
	if (!m->path || asprintf(&m->tmp_path, "%s/manifest.new", dir) < 0)
		m->tmp_path = NULL;
	return m->tmp_path ? 0 : -ENOMEM;
}

/*
 * Around the page cache, where that can be: a page that failed to be written still looks
 * fine there, and what is appended behind it would be cut off from the rest by a crash.
 */
static int image_read(struct manifest *m, uint64_t bytes, char *why)
{
	const struct env_ops *ops = m->env->ops;
	size_t max_bytes = (bytes / READ_ALIGN_BYTES + 1) * READ_ALIGN_BYTES;
	uint8_t *buf = aligned_alloc(READ_ALIGN_BYTES, max_bytes);
	struct env_file *file;
	int64_t got;
	int ret = buf ? ops->open(m->env, m->path, ENV_READ | ENV_DIRECT, &file) : -ENOMEM;

	if (!ret) {
		got = ops->read(m->env, file, buf, max_bytes, 0);
		ops->close(m->env, file);
		if (got > (int64_t)bytes)	/* a writer has appended meanwhile */
			got = bytes;
		ret = got < 0 ? got : manifest_parse(m, buf, got, &m->image_bytes, why);
	}
	if (!ret && array_reserve(&m->image, &m->max_image_bytes, m->image_bytes + 1))
		memcpy(m->image, buf, m->image_bytes);
	else if (!ret)
		ret = -ENOMEM;
	free(buf);
	return ret;
}

static int manifest_load(struct manifest *m, char *why)
{
	uint64_t bytes;
	int ret = m->env->ops->size(m->env, m->file, &bytes);

	if (ret)
		return ret;
	if (bytes > m->limit_bytes)
		return complain(why, -EBADMSG, "too long", bytes);
	return image_read(m, bytes, why);
}

int manifest_open(struct manifest *m, struct env *env, const char *dir, bool writer, char *why)
{
	uint64_t bytes = 0;
	int ret = manifest_paths(m, env, dir);

	if (!ret)
		ret = env->ops->open(env, m->path, writer ? ENV_WRITE : ENV_READ, &m->file);
	if (ret)
		return ret;
	ret = manifest_load(m, why);
	if (ret || !writer)
		return ret;
	ret = env->ops->size(env, m->file, &bytes);
	if (ret)
		return ret;
	/* What the cache shows may not be on disk yet: make it so before it is used. */
	return bytes != m->image_bytes ? manifest_rewrite(m) : env->ops->datasync(env, m->file);
}

/* Paths, and an image that begins with the identity. */
static int image_begin(struct manifest *m, struct env *env, const char *dir, const uint8_t *id,
		       const char *owner)
{
	struct manifest_identity identity = { .created_ns = htole64(env->ops->realtime_ns(env)) };
	int ret = manifest_paths(m, env, dir);

	memcpy(identity.timeline, id, sizeof(identity.timeline));
	if (strlen(owner) >= sizeof(identity.owner))
		return -EINVAL;
	strcpy(identity.owner, owner);
	m->identity = identity;
	m->identity.created_ns = le64toh(identity.created_ns);
	return ret ? ret : image_add(m, MANIFEST_IDENTITY, &identity, sizeof(identity));
}

int manifest_create(struct manifest *m, struct env *env, const char *dir, const uint8_t *id,
		    const char *owner, char *why)
{
	int ret = image_begin(m, env, dir, id, owner);

	if (!ret)
		ret = manifest_rewrite(m);
	if (ret)
		complain(why, ret, strerror(-ret), 0);
	return ret;
}

/* What a branch begins with, behind its identity. */
static int image_add_branch(struct manifest *m, const uint8_t *id, const struct manifest *of,
			    const struct manifest_parent *parent,
			    const struct timeline_volume *volumes)
{
	uint64_t now_ns = htole64(m->env->ops->realtime_ns(m->env));
	struct manifest_grant grant = { .incarnation = htole32(1), .time_ns = now_ns };
	struct manifest_parent raw = *parent;
	int ret;

	raw.cut_seq = htole64(parent->cut_seq);
	raw.time_ns = htole64(parent->time_ns);
	memcpy(grant.instance, id, sizeof(grant.instance));
	ret = image_add(m, MANIFEST_PARENT, &raw, sizeof(raw));
	for (size_t i = 0; i < of->nr_volumes && !ret; i++) {
		struct manifest_volume volume = volume_raw(&volumes[i]);

		ret = image_add(m, MANIFEST_VOLUME, &volume, sizeof(volume));
	}
	for (size_t i = 0; i < of->nr_keys && !ret; i++) {
		struct manifest_key key = { .time_ns = now_ns };

		memcpy(key.id, of->keys[i].id, sizeof(key.id));
		ret = image_add(m, MANIFEST_KEY, &key, sizeof(key));
	}
	return ret ? ret : image_add(m, MANIFEST_GRANT, &grant, sizeof(grant));
}

int manifest_create_branch(struct manifest *m, struct env *env, const char *dir,
			   const uint8_t *id, const struct manifest *of,
			   const struct manifest_parent *parent,
			   const struct timeline_volume *volumes, char *why)
{
	int ret = image_begin(m, env, dir, id, of->identity.owner);
	size_t valid_bytes;

	if (!ret)
		ret = image_add_branch(m, id, of, parent, volumes);
	if (!ret)
		ret = manifest_parse(m, m->image, m->image_bytes, &valid_bytes, why);
	if (!ret)
		ret = manifest_rewrite(m);
	if (ret)
		complain(why, ret, strerror(-ret), 0);
	return ret;
}

void manifest_close(struct manifest *m)
{
	if (m->file)
		m->env->ops->close(m->env, m->file);
	free(m->path);
	free(m->tmp_path);
	free(m->dir);
	free(m->image);
	free(m->volumes);
	free(m->ends);
	free(m->runs);
	free(m->packs);
	free(m->keys);
	free(m->policies);
	free(m->pins);
	memset(m, 0, sizeof(*m));
}

/* -- what is added -- */

int manifest_add_volume(struct manifest *m, const char *name, uint64_t size_bytes,
			const char *identity)
{
	struct manifest_volume raw = { .id = htole16(m->nr_volumes),
				       .size_bytes = htole64(size_bytes) };
	int ret;

	if (m->nr_volumes >= UINT16_MAX)
		return -ENOSPC;
	if (strlen(name) >= sizeof(raw.name) || strlen(identity) >= sizeof(raw.identity))
		return -EINVAL;
	strcpy(raw.name, name);
	strcpy(raw.identity, identity);
	ret = manifest_append(m, MANIFEST_VOLUME, &raw, sizeof(raw));
	return ret ? ret : parse_volume(m, &raw);
}

int manifest_resize_volume(struct manifest *m, uint16_t id, uint64_t size_bytes)
{
	struct manifest_volume raw = volume_raw(&m->volumes[id]);
	int ret;

	raw.size_bytes = htole64(size_bytes);
	ret = manifest_append(m, MANIFEST_VOLUME, &raw, sizeof(raw));
	return ret ? ret : parse_volume(m, &raw);
}

int manifest_add_grant(struct manifest *m, uint32_t incarnation, const uint8_t *instance)
{
	struct manifest_grant raw = { .incarnation = htole32(incarnation),
				      .time_ns = htole64(m->env->ops->realtime_ns(m->env)) };
	int ret;

	memcpy(raw.instance, instance, sizeof(raw.instance));
	ret = manifest_append(m, MANIFEST_GRANT, &raw, sizeof(raw));
	return ret ? ret : parse_grant(m, &raw);
}

bool manifest_has_grant(const struct manifest *m, uint32_t incarnation, const uint8_t *instance)
{
	struct manifest_header h;
	size_t offset = 0;

	/* The newest is never dropped; older ones may be, and then it is not known. */
	while (offset < m->image_bytes &&
	       record_check(m->image + offset, m->image_bytes - offset, &h)) {
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
	int ret = manifest_append(m, MANIFEST_SEGMENT_END, &raw, sizeof(raw));

	return ret ? ret : parse_end(m, &raw);
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
	int ret;

	memcpy(raw.id, id, sizeof(raw.id));
	ret = manifest_append(m, MANIFEST_KEY, &raw, sizeof(raw));
	return ret ? ret : parse_key(m, &raw);
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
	int ret;

	if (run->number != manifest_next_run(m))
		return -EINVAL;
	/* Once it is in the file its number is used: nothing may fail after that. */
	if (!array_reserve(&m->runs, &m->max_runs, m->nr_runs + 1))
		return -ENOMEM;
	ret = manifest_append(m, MANIFEST_RUN, &raw, sizeof(raw));
	return ret ? ret : parse_run(m, &raw);
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
	ret = manifest_append(m, MANIFEST_POINTS, &raw, sizeof(raw));
	/* It may be on disk: then the file of this name must stay what it is. */
	if (ret)
		m->points_number = points->number;
	return ret ? ret : parse_points(m, &raw);
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
	ret = manifest_append(m, MANIFEST_PACK, &raw, sizeof(raw));
	/* It may be on disk: then the file of this name must stay what it is. */
	if (ret)
		m->pack_number = pack->number;
	return ret ? ret : parse_pack(m, &raw);
}

const struct manifest_pack *manifest_pack(const struct manifest *m, uint64_t segment)
{
	size_t at = pack_find_at(m, segment);

	return at < m->nr_packs && m->packs[at].first_segment <= segment ? &m->packs[at] : NULL;
}

int manifest_add_policy(struct manifest *m, const struct manifest_retention *retention)
{
	struct manifest_policy raw = { htole64(retention->since_ns),
				       htole64(retention->immutable_ns), { 0 } };
	int ret;

	retention_format(&retention->policy, raw.text, sizeof(raw.text));
	ret = manifest_append(m, MANIFEST_POLICY, &raw, sizeof(raw));
	return ret ? ret : parse_policy(m, &raw);
}

int manifest_add_pin(struct manifest *m, const struct timeline_pin *pin, bool released)
{
	struct manifest_pin raw = {
		.id = htole64(pin->id), .cut_seq = htole64(pin->cut_seq),
		.made_ns = htole64(pin->made_ns), .until_ns = htole64(pin->until_ns),
		.kind = htole16(pin->kind), .flags = htole16(released ? MANIFEST_PIN_RELEASED : 0) };
	int ret;

	memcpy(raw.label, pin->label, sizeof(raw.label));
	if (!array_reserve(&m->pins, &m->max_pins, m->nr_pins + 1))
		return -ENOMEM;
	ret = manifest_append(m, MANIFEST_PIN, &raw, sizeof(raw));
	return ret ? ret : parse_pin(m, &raw);
}

const struct manifest_segment_end *manifest_end(const struct manifest *m, uint64_t number)
{
	for (size_t i = m->nr_ends; i-- > 0;)
		if (m->ends[i].number == number)
			return &m->ends[i];
	return NULL;
}
