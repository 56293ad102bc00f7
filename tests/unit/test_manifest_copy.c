// SPDX-License-Identifier: GPL-2.0-only
/* What the headers of segments tell of the manifest: docs/SEGMENT.md, "The copy of the manifest". */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/manifest_copy.h"
#include "../../userspace/store/timeline_internal.h"
#include "../host/rig.h"

#define ROOM_AT		112	/* as the page says */
#define ROOM_BYTES	(4096 - ROOM_AT)
#define S		UINT64_C(1000000000)

static char why[TIMELINE_TEXT_BYTES];

/* What was found in copies. */
struct copy {
	struct manifest_identity identity;
	struct manifest_grant grant;
	unsigned int nr_identities, nr_grants, nr_parents;
	struct manifest_volume volumes[256];
	bool has_volume[256];
	unsigned int nr_volumes;
};

static int take(void *arg, uint16_t type, const void *payload)
{
	struct copy *c = arg;
	struct manifest_volume v;

	switch (type) {
	case MANIFEST_IDENTITY:
		memcpy(&c->identity, payload, sizeof(c->identity));
		c->nr_identities++;
		return 0;
	case MANIFEST_GRANT:
		memcpy(&c->grant, payload, sizeof(c->grant));
		c->nr_grants++;
		return 0;
	case MANIFEST_PARENT:
		c->nr_parents++;
		return 0;
	case MANIFEST_VOLUME:
		memcpy(&v, payload, sizeof(v));
		assert_in_range(v.id, 0, ARRAY_SIZE(c->volumes) - 1);
		c->volumes[v.id] = v;
		c->has_volume[v.id] = true;
		c->nr_volumes++;
		return 0;
	}
	return -EINVAL;
}

static void copy_read(struct rig *r, uint64_t segment, struct copy *out)
{
	uint8_t block[4096];
	const uint8_t *content;
	struct segment_header h;
	char path[64];
	uint64_t bytes;

	segment_path(path, sizeof(path), RIG_DIR, segment);
	content = sim_env_content(r->sim, path, &bytes);
	assert_non_null(content);
	assert_true(bytes >= sizeof(block));
	memcpy(block, content, sizeof(block));
	assert_int_equal(segment_header_decode(block, &h), 0);
	memset(out, 0, sizeof(*out));
	assert_int_equal(manifest_copy_each(block + ROOM_AT, ROOM_BYTES, take, out), 0);
}

static void every_header_has_it(void **state)
{
	struct copy c;
	struct rig r;

	rig_init(&r, 1, 64, 16384);
	rig_append(&r, 30, S);
	assert_true(r.tl->nr_segments > 2 || segment_writer_finished(&r.tl->writer) > 2);
	for (uint64_t n = 1; n <= 3; n++) {
		copy_read(&r, n, &c);
		assert_int_equal(c.nr_identities, 1);
		assert_memory_equal(c.identity.timeline, timeline_id(r.tl), 16);
		assert_int_equal(c.identity.created_ns, RIG_T0);
		assert_int_equal(c.nr_grants, 1);
		assert_int_equal(c.grant.incarnation, 1);
		assert_memory_equal(c.grant.instance, "0123456789abcdef", 16);
		assert_int_equal(c.nr_parents, 0);
		assert_int_equal(c.nr_volumes, r.tl->manifest.nr_volumes);
		for (size_t i = 0; i < c.nr_volumes; i++) {
			assert_string_equal(c.volumes[i].name, r.tl->manifest.volumes[i].name);
			assert_int_equal(c.volumes[i].size_bytes, 64 * 512);
		}
	}
	rig_fini(&r);
}

/* Of a volume that came later no commit lies where its name is not told, also after a restart. */
static void a_new_volume_begins_a_segment(void **state)
{
	for (int restart = 0; restart < 2; restart++) {
		const struct timeline_volume *v;
		struct copy c;
		struct rig r;

		rig_init(&r, 1, 64, 32 << 20);
		rig_append(&r, 3, S);
		assert_int_equal(timeline_volume(r.tl, "late", 1 << 20, "disk", &v), 0);
		if (restart)
			rig_restart(&r);
		rig_append(&r, 3, S);
		copy_read(&r, 1, &c);
		assert_int_equal(c.nr_volumes, 2);
		copy_read(&r, 2, &c);
		assert_int_equal(c.nr_volumes, 3);
		assert_string_equal(c.volumes[2].name, "late");
		assert_string_equal(c.volumes[2].identity, "disk");
		rig_check(&r);
		rig_restart(&r);
		rig_check(&r);
		rig_fini(&r);
	}
}

static void of_many_volumes_segments_have_parts(void **state)
{
	struct manifest_identity identity = { .owner = "somebody" };
	uint8_t room[ROOM_BYTES] __attribute__((aligned(8)));
	struct manifest m = { .identity = identity, .incarnation = 7 };
	struct copy c = { .nr_volumes = 0 };

	m.nr_volumes = 100;
	m.volumes = calloc(m.nr_volumes, sizeof(*m.volumes));
	for (size_t i = 0; i < m.nr_volumes; i++)
		m.volumes[i].id = i;
	for (uint64_t segment = 41; segment < 45; segment++) {
		memset(room, 0, sizeof(room));
		manifest_copy_encode(&m, segment, room, sizeof(room));
		c.nr_volumes = 0;
		assert_int_equal(manifest_copy_each(room, sizeof(room), take, &c), 0);
		assert_int_equal(c.nr_volumes, 29);
		assert_true(c.has_volume[segment * 29 % 100]);
	}
	for (size_t i = 0; i < m.nr_volumes; i++)
		assert_true(c.has_volume[i]);
	free(m.volumes);
}

/* Segments of versions before have none, and are read and gone on with as ever. */
static void without_one_nothing_changes(void **state)
{
	uint8_t block[4096] = { 0 };
	struct segment_header h;
	const uint8_t *content;
	struct copy c = { 0 };
	uint64_t bytes;
	struct rig r;

	rig_init(&r, 1, 64, 32 << 20);
	rig_append(&r, 3, S);
	rig_close(&r);
	content = sim_env_content(r.sim, RIG_DIR "/0000000000000001.seg", &bytes);
	assert_int_equal(segment_header_decode(content, &h), 0);
	segment_header_encode(&h, block);
	assert_int_equal(manifest_copy_each(block + ROOM_AT, ROOM_BYTES, take, &c), 0);
	assert_int_equal(c.nr_identities, 0);
	assert_int_equal(sim_env_poke(r.sim, RIG_DIR "/0000000000000001.seg", 0, block, 4096), 0);
	assert_int_equal(timeline_open(r.env, RIG_DIR, 0, "", &r.tl, why), 0);
	rig_append(&r, 3, S);
	rig_check(&r);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_header_has_it),
		cmocka_unit_test(a_new_volume_begins_a_segment),
		cmocka_unit_test(of_many_volumes_segments_have_parts),
		cmocka_unit_test(without_one_nothing_changes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
