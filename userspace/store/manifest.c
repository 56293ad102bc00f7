// SPDX-License-Identifier: GPL-2.0-only
/* manifest - its file, and the image of that in memory. */
#include "manifest_internal.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"

#define MAX_IMAGE_BYTES (64u << 20)
#define READ_ALIGN_BYTES 4096
#define OLD_RECORDS 64		/* so many out of date are no reason to write anew */

int manifest_rewrite(struct manifest *m)
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
	m->rewrite = m->line_unknown = false;
	return 0;
}

int manifest_image_add(struct manifest *m, uint16_t type, const void *payload)
{
	uint32_t bytes = manifest_record_bytes(type);

	if (!array_reserve(&m->image, &m->max_image_bytes, m->image_bytes + bytes))
		return -ENOMEM;
	manifest_record_encode(m->image + m->image_bytes, type, payload);
	m->image_bytes += bytes;
	return 0;
}

struct manifest_volume manifest_volume_raw(const struct timeline_volume *v)
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
		struct manifest_header h;
		struct manifest_volume volume;
		uint32_t bytes;

		memcpy(&h, at, sizeof(h));
		bytes = le32toh(h.record_bytes);
		payload = at + sizeof(h);
		from += bytes;
		if (!manifest_record_is_current(m, le16toh(h.type), payload))
			continue;
		if (le16toh(h.type) == MANIFEST_VOLUME) {
			memcpy(&volume, payload, sizeof(volume));
			if (le16toh(volume.id) != nr_volumes)
				continue;
			volume = manifest_volume_raw(&m->volumes[nr_volumes++]);
			memcpy(payload, &volume, sizeof(volume));
			h.crc = htole32(manifest_record_crc(at, bytes));
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
	size_t limit_bytes = m->limit_bytes - bytes;

	if (m->image_bytes <= limit_bytes &&
	    m->nr_old_records <= OLD_RECORDS + m->nr_runs + m->nr_packs + m->nr_pins)
		return 0;
	image_compact(m);
	m->rewrite = true;
	return m->image_bytes <= limit_bytes ? 0 : -ENOSPC;
}

int manifest_record_add(struct manifest *m, uint16_t type, const void *payload)
{
	const struct env_ops *ops = m->env->ops;
	int ret = image_room(m, manifest_record_bytes(type));
	size_t old_bytes = m->image_bytes;

	if (!ret)
		ret = manifest_image_add(m, type, payload);
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
		return ret;
	}
	return manifest_record_take(m, type, payload);
}

int manifest_begin(struct manifest *m, struct env *env, const char *dir)
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
		return manifest_complain(why, -EBADMSG, "too long", bytes);
	return image_read(m, bytes, why);
}

int manifest_open(struct manifest *m, struct env *env, const char *dir, bool writer, char *why)
{
	uint64_t bytes = 0;
	int ret = manifest_begin(m, env, dir);

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
	int ret = manifest_begin(m, env, dir);

	memcpy(identity.timeline, id, sizeof(identity.timeline));
	if (strlen(owner) >= sizeof(identity.owner))
		return -EINVAL;
	strcpy(identity.owner, owner);
	m->identity = identity;
	m->identity.created_ns = le64toh(identity.created_ns);
	return ret ? ret : manifest_image_add(m, MANIFEST_IDENTITY, &identity);
}

int manifest_create(struct manifest *m, struct env *env, const char *dir, const uint8_t *id,
		    const char *owner, char *why)
{
	int ret = image_begin(m, env, dir, id, owner);

	if (!ret)
		ret = manifest_rewrite(m);
	if (ret)
		manifest_complain(why, ret, strerror(-ret), 0);
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
	ret = manifest_image_add(m, MANIFEST_PARENT, &raw);
	for (size_t i = 0; i < of->nr_volumes && !ret; i++) {
		struct manifest_volume volume = manifest_volume_raw(&volumes[i]);

		ret = manifest_image_add(m, MANIFEST_VOLUME, &volume);
	}
	for (size_t i = 0; i < of->nr_keys && !ret; i++) {
		struct manifest_key key = { .time_ns = now_ns };

		memcpy(key.id, of->keys[i].id, sizeof(key.id));
		ret = manifest_image_add(m, MANIFEST_KEY, &key);
	}
	return ret ? ret : manifest_image_add(m, MANIFEST_GRANT, &grant);
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
		manifest_complain(why, ret, strerror(-ret), 0);
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
	free(m->lines);
	memset(m, 0, sizeof(*m));
}
