// SPDX-License-Identifier: GPL-2.0-only
#include "rados_format.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static_assert(sizeof(struct rados_root) == 16, "as in docs/RADOS.md");
static_assert(sizeof(struct rados_entry) == 32, "as in docs/RADOS.md");
static_assert(sizeof(struct rados_pieces) == 8, "as in docs/RADOS.md");

static const char name_chars[] =
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";

int rados_location_parse(const char *text, struct rados_location *out)
{
	const char *pool = text + strlen(RADOS_PREFIX), *space;
	size_t pool_length, space_length;

	if (strncmp(text, RADOS_PREFIX, strlen(RADOS_PREFIX)) != 0)
		return -EINVAL;
	pool_length = strspn(pool, name_chars);
	space = pool + pool_length + (pool[pool_length] == '/');
	space_length = strspn(space, name_chars);
	if (!pool_length || pool_length >= sizeof(out->pool) ||
	    space_length >= sizeof(out->space) || space[space_length] ||
	    (pool[pool_length] == '/' && !space_length))
		return -EINVAL;
	snprintf(out->pool, sizeof(out->pool), "%.*s", (int)pool_length, pool);
	snprintf(out->space, sizeof(out->space), "%.*s", (int)space_length, space);
	return 0;
}

static bool part_valid(const char *part, size_t length)
{
	return length && !(part[0] == '.' && (length == 1 || (part[1] == '.' && length == 2)));
}

int rados_name_check(const char *name)
{
	size_t length = strlen(name);

	return part_valid(name, length) && length < RADOS_NAME_BYTES && !strchr(name, '/') ?
	       0 : -EBADMSG;
}

int rados_path_split(const char *path, char *dir, char *name)
{
	const char *last = path;

	dir[0] = name[0] = 0;
	for (const char *at = path; *at;) {
		size_t length;

		if (*at != '/')
			return -EINVAL;
		last = at++;
		length = strcspn(at, "/");
		if (!part_valid(at, length))
			return -EINVAL;
		at += length;
	}
	if (!*path)
		return 0;
	if (strlen(last + 1) >= RADOS_NAME_BYTES || last - path > RADOS_PATH_BYTES)
		return -ENAMETOOLONG;
	strcpy(name, last + 1);
	if (last > path)
		snprintf(dir, RADOS_PATH_BYTES, "%.*s", (int)(last - path - 1), path + 1);
	return 0;
}

void rados_id_text(const uint8_t id[RADOS_ID_BYTES], char text[33])
{
	for (int i = 0; i < RADOS_ID_BYTES; i++)
		snprintf(text + 2 * i, 3, "%02x", id[i]);
}

void rados_piece_object(const uint8_t id[RADOS_ID_BYTES], uint32_t nr,
			char object[RADOS_PIECE_NAME_BYTES])
{
	char text[33];

	rados_id_text(id, text);
	snprintf(object, RADOS_PIECE_NAME_BYTES, "f.%s.%08" PRIx32, text, nr);
}

/* -- values -- */

static int version_check(uint16_t version)
{
	return version == RADOS_VERSION ? 0 : version > RADOS_VERSION ? -EPROTONOSUPPORT : -EBADMSG;
}

void rados_root_encode(struct rados_root *root)
{
	*root = (struct rados_root){
		.version = htole16(RADOS_VERSION),
		.piece_bytes = htole32(RADOS_PIECE_BYTES),
		.pieces_step = htole32(RADOS_PIECES_STEP),
	};
	memcpy(root->magic, RADOS_ROOT_MAGIC, sizeof(root->magic));
}

int rados_root_check(const void *buf, size_t bytes)
{
	struct rados_root root;
	int ret;

	if (bytes < sizeof(root))
		return -EBADMSG;
	memcpy(&root, buf, sizeof(root));
	if (memcmp(root.magic, RADOS_ROOT_MAGIC, sizeof(root.magic)) != 0)
		return -EBADMSG;
	ret = version_check(le16toh(root.version));
	if (ret)
		return ret;
	return bytes == sizeof(root) && le32toh(root.piece_bytes) == RADOS_PIECE_BYTES &&
	       le32toh(root.pieces_step) == RADOS_PIECES_STEP ? 0 : -EBADMSG;
}

void rados_entry_encode(struct rados_entry *e, uint8_t kind, const uint8_t *id,
			uint64_t removed_ns)
{
	*e = (struct rados_entry){
		.version = htole16(RADOS_VERSION),
		.kind = kind,
		.removed_ns = htole64(removed_ns),
	};
	if (id)
		memcpy(e->id, id, sizeof(e->id));
}

int rados_entry_check(const void *buf, size_t bytes, struct rados_entry *out)
{
	int ret;

	if (bytes < sizeof(*out))
		return -EBADMSG;
	memcpy(out, buf, sizeof(*out));
	out->version = le16toh(out->version);
	out->removed_ns = le64toh(out->removed_ns);
	ret = version_check(out->version);
	if (ret)
		return ret;
	return bytes == sizeof(*out) &&
	       (out->kind == RADOS_KIND_FILE || out->kind == RADOS_KIND_DIRECTORY) ? 0 : -EBADMSG;
}

void rados_pieces_encode(struct rados_pieces *p, uint32_t limit)
{
	*p = (struct rados_pieces){ .version = htole16(RADOS_VERSION), .limit = htole32(limit) };
}

int rados_pieces_check(const void *buf, size_t bytes, uint32_t *limit)
{
	struct rados_pieces p;
	int ret;

	if (bytes != sizeof(p))
		return -EBADMSG;
	memcpy(&p, buf, sizeof(p));
	ret = version_check(le16toh(p.version));
	if (ret)
		return ret;
	*limit = le32toh(p.limit);
	return *limit && *limit <= RADOS_PIECES_MAX && *limit % RADOS_PIECES_STEP == 0 ?
	       0 : -EBADMSG;
}

uint32_t rados_pieces_limit(uint32_t nr)
{
	return (nr / RADOS_PIECES_STEP + 1) * RADOS_PIECES_STEP;
}

/* -- owners -- */

void rados_owner_format(const struct rados_owner *o, char text[RADOS_OWNER_BYTES])
{
	snprintf(text, RADOS_OWNER_BYTES, "%s %s %s %" PRIu64 " %" PRIu32 " %" PRIu64 " %016" PRIx64,
		 o->host, o->machine, o->boot, o->pid_space, o->pid, o->started, o->nonce);
}

int rados_owner_parse(const char *text, struct rados_owner *out)
{
	int end = 0;

	if (sscanf(text, "%71s %39s %39s %" SCNu64 " %" SCNu32 " %" SCNu64 " %16" SCNx64 "%n",
		   out->host, out->machine, out->boot, &out->pid_space, &out->pid, &out->started,
		   &out->nonce, &end) != 7 || text[end])
		return -EBADMSG;
	return 0;
}

static bool known_equal(const char *a, const char *b)
{
	return strcmp(a, "-") != 0 && strcmp(a, b) == 0;
}

enum rados_fate rados_owner_fate(const struct rados_owner *o, const struct rados_owner *self,
				 const struct rados_sighting *seen)
{
	/* Copied machines often share the id: the name has to be the same, too. */
	if (!known_equal(self->machine, o->machine) || strcmp(o->host, self->host) != 0 ||
	    strcmp(o->boot, "-") == 0 || strcmp(self->boot, "-") == 0)
		return RADOS_ELSEWHERE;
	if (strcmp(o->boot, self->boot) != 0)
		return RADOS_GONE;
	if (!o->pid_space || o->pid_space != self->pid_space)
		return RADOS_ELSEWHERE;
	if (!seen->exists)
		return RADOS_GONE;
	if (!seen->started || !o->started)
		return RADOS_HIDDEN;
	return o->started == seen->started ? RADOS_RUNS : RADOS_GONE;
}
