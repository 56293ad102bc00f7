// SPDX-License-Identifier: GPL-2.0-only
/* manifest_copy - what headers of segments and packs tell of the manifest, should that be lost. */
#include "manifest_copy.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#include "manifest_internal.h"

struct room {
	uint8_t *at;
	size_t bytes;
};

static bool room_add(struct room *room, uint16_t type, const void *payload)
{
	uint32_t bytes = manifest_record_bytes(type);

	if (bytes > room->bytes)
		return false;
	manifest_record_encode(room->at, type, payload);
	room->at += bytes;
	room->bytes -= bytes;
	return true;
}

/* Where not all of them fit each file has a part, and those that follow one another all. */
static void room_add_volumes(struct room *room, const struct manifest *m, uint64_t number)
{
	size_t fit = room->bytes / manifest_record_bytes(MANIFEST_VOLUME);
	size_t first = 0;

	if (fit && m->nr_volumes > fit)
		first = number * fit % m->nr_volumes;
	for (size_t i = 0; i < m->nr_volumes; i++) {
		struct manifest_volume raw =
			manifest_volume_raw(&m->volumes[(first + i) % m->nr_volumes]);

		if (!room_add(room, MANIFEST_VOLUME, &raw))
			break;
	}
}

void manifest_copy_encode(const struct manifest *m, uint64_t number, uint8_t *room, size_t bytes)
{
	struct manifest_identity identity = m->identity;
	struct manifest_parent parent = m->parent;
	struct manifest_grant grant = { .incarnation = htole32(m->incarnation) };
	struct room left = { room, bytes };

	identity.created_ns = htole64(identity.created_ns);
	identity.epoch = htole32(identity.epoch);
	room_add(&left, MANIFEST_IDENTITY, &identity);
	parent.cut_seq = htole64(parent.cut_seq);
	parent.time_ns = htole64(parent.time_ns);
	if (m->has_parent)
		room_add(&left, MANIFEST_PARENT, &parent);
	memcpy(grant.instance, m->instance, sizeof(grant.instance));
	if (m->incarnation)
		room_add(&left, MANIFEST_GRANT, &grant);
	room_add_volumes(&left, m, number);
}

int manifest_copy_each(const uint8_t *room, size_t bytes,
		       int (*each)(void *arg, uint16_t type, const void *payload), void *arg)
{
	struct manifest_header h;
	size_t at = 0;
	int ret = 0;

	while (!ret && at < bytes && manifest_record_check(room + at, bytes - at, &h)) {
		if (h.version != MANIFEST_VERSION ||
		    h.record_bytes != manifest_record_bytes(h.type))
			return -EBADMSG;
		ret = each(arg, h.type, room + at + sizeof(h));
		at += h.record_bytes;
	}
	return ret;
}
