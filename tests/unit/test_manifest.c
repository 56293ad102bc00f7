// SPDX-License-Identifier: GPL-2.0-only
/* The manifest: torn appends are cut off, damage is refused, nothing told is lost. */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/store/manifest_internal.h"
#include "../host/sim_env.h"

static char why[TIMELINE_TEXT_BYTES];
static const uint8_t id[16] = "the timeline's.";
static const uint8_t instance[16] = "the instance";

static struct sim_env *new_disk(void)
{
	struct sim_env *sim = sim_env_create(1);
	struct env *env = sim_env_env(sim);

	env->ops->mkdir(env, "/m");
	env->ops->sync_dir(env, "");
	return sim;
}

/* Identity, two volumes, a grant, an end, a new size: six records. */
static void fill(struct manifest *m, struct env *env)
{
	assert_int_equal(manifest_create(m, env, "/m", id, "owner", why), 0);
	assert_int_equal(manifest_add_volume(m, "vda", 1024, "serial"), 0);
	assert_int_equal(manifest_add_volume(m, "vdb", 2048, "serial2"), 0);
	assert_int_equal(manifest_add_grant(m, 1, instance), 0);
	assert_int_equal(manifest_add_end(m, 7, 8192, 33), 0);
	assert_int_equal(manifest_resize_volume(m, 0, 4096), 0);
}

/* A lease that is renewed for months costs no more than one that is not. */
static void of_a_pin_only_what_holds_now_is_kept(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct timeline_pin pin = { .id = 1, .cut_seq = 3, .kind = TIMELINE_PIN_MOUNT };
	struct manifest m;

	fill(&m, env);
	for (pin.until_ns = 1; pin.until_ns < 2000; pin.until_ns++)
		assert_int_equal(manifest_add_pin(&m, &pin, false), 0);
	assert_in_range(m.image_bytes, 1, 200 * sizeof(struct manifest_pin));
	assert_int_equal(manifest_add_pin(&m, &pin, true), 0);
	/* Its end outlives it, as the id is not used again. */
	for (uint32_t i = 0; i < 500; i++)
		assert_int_equal(manifest_add_grant(&m, m.incarnation + 1, instance), 0);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	assert_int_equal(m.nr_pins, 0);
	assert_int_equal(m.pin_id, 1);
	manifest_close(&m);
	sim_env_destroy(sim);
}

static void what_was_added_is_read_again(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest m;

	assert_int_equal(manifest_open(&m, env, "/m", true, why), -ENOENT);
	manifest_close(&m);
	fill(&m, env);
	manifest_close(&m);
	for (int writer = 0; writer < 2; writer++) {
		assert_int_equal(manifest_open(&m, env, "/m", writer, why), 0);
		assert_memory_equal(m.identity.timeline, id, 16);
		assert_string_equal(m.identity.owner, "owner");
		assert_int_equal(m.nr_volumes, 2);
		assert_string_equal(m.volumes[0].name, "vda");
		assert_string_equal(m.volumes[1].identity, "serial2");
		assert_int_equal(m.volumes[0].size_bytes, 4096);
		assert_int_equal(m.incarnation, 1);
		assert_memory_equal(m.instance, instance, 16);
		assert_int_equal(manifest_end(&m, 7)->end_offset, 8192);
		assert_int_equal(manifest_end(&m, 7)->last_ordinal, 33);
		assert_null(manifest_end(&m, 6));
		manifest_close(&m);
	}
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	assert_int_equal(manifest_add_volume(&m, "a name that is far too long to be kept",
					     1, ""), -EINVAL);
	manifest_close(&m);
	sim_env_destroy(sim);
}

static void any_cut_keeps_what_was_whole_and_any_bit_is_seen(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest m, got;
	const uint8_t *content;
	uint64_t bytes, last;
	uint8_t *image;
	size_t valid;

	fill(&m, env);
	manifest_close(&m);
	content = sim_env_content(sim, "/m/manifest", &bytes);
	image = malloc(bytes);
	memcpy(image, content, bytes);
	last = bytes - sizeof(struct manifest_header) - sizeof(struct manifest_volume);

	for (uint64_t cut = 0; cut <= bytes; cut++) {
		uint8_t *exact = malloc(cut ? cut : 1);
		int ret;

		memcpy(exact, image, cut);
		memset(&got, 0, sizeof(got));
		ret = manifest_parse(&got, exact, cut, &valid, why);
		if (cut < sizeof(struct manifest_header) + sizeof(struct manifest_identity)) {
			assert_int_equal(ret, -EBADMSG);
		} else {
			assert_int_equal(ret, 0);
			assert_true(valid <= cut);
			assert_true(cut - valid < 128);
			assert_int_equal(got.nr_volumes > 0 ? got.volumes[0].size_bytes : 0,
					 cut == bytes ? 4096 : cut < 240 ? 0 : 1024);
		}
		manifest_close(&got);
		free(exact);
	}
	for (uint64_t bit = 0; bit < bytes * 8; bit++) {
		int ret;

		image[bit / 8] ^= 1 << bit % 8;
		memset(&got, 0, sizeof(got));
		ret = manifest_parse(&got, image, bytes, &valid, why);
		if (bit / 8 < last) {
			assert_int_equal(ret, -EBADMSG);
		} else {	/* no different from a torn append */
			assert_int_equal(ret, 0);
			assert_int_equal(valid, last);
		}
		manifest_close(&got);
		image[bit / 8] ^= 1 << bit % 8;
	}
	free(image);
	sim_env_destroy(sim);
}

static void a_torn_tail_is_cut_off_for_good(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest m;
	uint64_t bytes, after;

	fill(&m, env);
	manifest_close(&m);
	sim_env_content(sim, "/m/manifest", &bytes);
	sim_env_poke(sim, "/m/manifest", bytes, "BSM1 torn", 9);
	assert_int_equal(manifest_open(&m, env, "/m", false, why), 0);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	manifest_close(&m);
	sim_env_crash(sim, 1);
	sim_env_content(sim, "/m/manifest", &after);
	assert_int_equal(after, bytes);
	sim_env_destroy(sim);
}

static void nothing_told_is_lost_in_a_crash(void **state)
{
	struct sim_env *sim = sim_env_create(1);

	for (uint64_t seed = 0; seed < 500; seed++) {
		struct env *env = sim_env_env(sim);
		uint32_t told = 0;
		struct manifest m;

		sim_env_reset(sim, seed);
		env->ops->mkdir(env, "/m");
		env->ops->sync_dir(env, "");
		for (int life = 0; life < 4; life++) {
			int ret;

			sim_env_power_off_after(sim, sim_env_random(sim, 16));
			ret = manifest_open(&m, env, "/m", true, why);
			if (ret == -ENOENT && !told) {
				manifest_close(&m);
				ret = manifest_create(&m, env, "/m", id, "owner", why);
			}
			if (!ret) {
				assert_in_range(m.incarnation, told, told + 1);
				told = m.incarnation;
				while (!manifest_add_grant(&m, told + 1, instance))
					told++;
			} else {
				assert_int_equal(ret, -EIO);
			}
			sim_env_crash(sim, seed);
			manifest_close(&m);
		}
		if (told) {
			assert_int_equal(manifest_open(&m, env, "/m", false, why), 0);
			assert_in_range(m.incarnation, told, told + 1);
			manifest_close(&m);
		}
	}
	sim_env_destroy(sim);
}

static void a_failed_append_did_not_happen(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest m;

	fill(&m, env);
	for (uint32_t i = 2; i < 40; i++) {
		sim_env_fail(sim, i % 2 ? SIM_FAULT_WRITE : SIM_FAULT_SYNC, 1, -ENOSPC, false);
		assert_int_equal(manifest_add_grant(&m, i, instance), -ENOSPC);
		assert_int_equal(m.incarnation, i - 1);
		assert_int_equal(manifest_add_grant(&m, i, instance), 0);
	}
	sim_env_crash(sim, 4);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	assert_int_equal(m.incarnation, 39);
	manifest_close(&m);
	sim_env_destroy(sim);
}

/*
 * A sync fails and the process dies: the cache shows a record that is not on the disk.
 * What is appended next must not end up behind a hole.
 */
static void a_record_that_only_the_cache_has_is_not_built_on(void **state)
{
	struct sim_env *sim = sim_env_create(1);
	unsigned int gone = 0;

	for (uint64_t seed = 0; seed < 200; seed++) {
		struct env *env = sim_env_env(sim);
		uint32_t seen;
		struct manifest m;

		sim_env_reset(sim, seed);
		env->ops->mkdir(env, "/m");
		env->ops->sync_dir(env, "");
		fill(&m, env);
		for (uint32_t i = 2; i < 20; i++)
			assert_int_equal(manifest_add_grant(&m, i, instance), 0);
		sim_env_fail(sim, SIM_FAULT_SYNC, 1, -EIO, false);
		assert_int_equal(manifest_add_volume(&m, "another", 512, "one"), -EIO);
		sim_env_kill(sim);
		manifest_close(&m);
		assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
		seen = m.nr_volumes;
		gone += seen == 2;
		assert_int_equal(manifest_add_grant(&m, 20, instance), 0);
		sim_env_crash(sim, seed);
		manifest_close(&m);
		if (manifest_open(&m, env, "/m", true, why))
			fail_msg("seed %d: %s", (int)seed, why);
		assert_int_equal(m.nr_volumes, seen);
		assert_int_equal(m.incarnation, 20);
		manifest_close(&m);
	}
	assert_true(gone > 20);
	sim_env_destroy(sim);
}

/* Sizes and grants without end: the newest counts, and it can always be opened. */
static void it_never_becomes_longer_than_it_is_read(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest m;
	uint64_t bytes, last = 0;
	int ret;

	fill(&m, env);
	m.limit_bytes = 2048;
	for (uint32_t i = 2; i < 300; i++) {
		if (i % 50 == 0)
			sim_env_fail(sim, SIM_FAULT_SYNC, 1, -EIO, false);
		ret = manifest_resize_volume(&m, i % 2, i * 512);
		if (ret)
			ret = manifest_resize_volume(&m, i % 2, i * 512);
		assert_int_equal(ret, 0);
		assert_int_equal(manifest_add_grant(&m, i, instance), 0);
		sim_env_content(sim, "/m/manifest", &bytes);
		assert_true(bytes <= 2048);
	}
	sim_env_crash(sim, 1);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	assert_int_equal(m.nr_volumes, 2);
	assert_int_equal(m.volumes[0].size_bytes, 298 * 512);
	assert_int_equal(m.volumes[1].size_bytes, 299 * 512);
	assert_string_equal(m.volumes[1].identity, "serial2");
	assert_int_equal(m.incarnation, 299);
	assert_int_equal(manifest_end(&m, 7)->last_ordinal, 33);

	/* Ends are all needed: at some time there is no more room. */
	m.limit_bytes = 2048;
	while (!(ret = manifest_add_end(&m, 8 + last, 8192, last)))
		last++;
	assert_int_equal(ret, -ENOSPC);
	assert_in_range(last, 20, 50);
	assert_int_equal(manifest_resize_volume(&m, 0, 512), -ENOSPC);
	assert_int_equal(m.volumes[0].size_bytes, 298 * 512);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", false, why), 0);
	assert_int_equal(m.nr_ends, 1 + last);
	manifest_close(&m);
	sim_env_destroy(sim);
}

static void expect_runs(const struct manifest *m, const uint64_t *numbers, size_t nr)
{
	assert_int_equal(m->nr_runs, nr);
	for (size_t i = 0; i < nr; i++)
		assert_int_equal(m->runs[i].number, numbers[i]);
}

static int add_run(struct manifest *m, uint64_t first, uint64_t last)
{
	const struct manifest_run run = { manifest_next_run(m), first, last, last * 10, 5, 2, 1 };

	return manifest_add_run(m, &run);
}

static void a_run_stands_for_those_it_overlaps(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest_run bad = { 1, 3, 2, 9, 9, 2, 0 };
	uint64_t bytes;
	struct manifest m;

	fill(&m, env);
	for (uint64_t i = 1; i <= 4; i++)
		assert_int_equal(add_run(&m, i, i), 0);
	assert_int_equal(add_run(&m, 1, 3), 0);
	expect_runs(&m, (uint64_t[]){ 5, 4 }, 2);
	assert_int_equal(add_run(&m, 7, 9), 0);
	assert_int_equal(add_run(&m, 5, 5), 0);
	expect_runs(&m, (uint64_t[]){ 5, 4, 7, 6 }, 4);
	/* One that was damaged is made anew from its beginning. */
	assert_int_equal(add_run(&m, 1, 1), 0);
	expect_runs(&m, (uint64_t[]){ 8, 4, 7, 6 }, 4);
	sim_env_fail(sim, SIM_FAULT_SYNC, 1, -EIO, false);
	assert_int_equal(add_run(&m, 2, 2), -EIO);
	expect_runs(&m, (uint64_t[]){ 8, 4, 7, 6 }, 4);
	assert_int_equal(manifest_next_run(&m), 9);
	assert_int_equal(manifest_add_run(&m, &bad), -EINVAL);
	for (int again = 0; again < 2; again++) {
		manifest_close(&m);
		assert_int_equal(manifest_open(&m, env, "/m", again, why), 0);
		if (m.nr_runs == 5)	/* it was written after all */
			continue;
		expect_runs(&m, (uint64_t[]){ 8, 4, 7, 6 }, 4);
		assert_int_equal(m.runs[3].last_segment, 9);
		assert_int_equal(m.runs[3].last_ordinal, 90);
	}
	/* What is out of date does not pile up. */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(add_run(&m, 20, 20 + i % 3), 0);
	sim_env_content(sim, "/m/manifest", &bytes);
	assert_in_range(bytes, 500, 8192);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", false, why), 0);
	assert_int_equal(m.runs[m.nr_runs - 1].first_segment, 20);
	assert_true(m.run_number >= 1008);
	manifest_close(&m);
	sim_env_destroy(sim);
}

/* What lies beyond the points file is still to come, or was never settled. */
static void a_pack_of_more_than_the_points_file_covers_is_refused(void **state)
{
	const struct manifest_points points = { .number = 1, .last_segment = 4, .last_ordinal = 40,
						.nr_commits = 9, .file_bytes = 8192 };
	const struct manifest_pack whole = { .number = 1, .first_segment = 2, .last_segment = 4,
					     .last_ordinal = 40, .points_no = 1 };
	static const struct manifest_pack beyond[] = {
		{ 0 }, { .last_segment = 1 }, { .last_ordinal = 1 }, { .points_no = 1 } };

	for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
		struct sim_env *sim = new_disk();
		struct env *env = sim_env_env(sim);
		struct manifest_pack pack = whole;
		struct manifest m;

		pack.last_segment += beyond[i].last_segment;
		pack.last_ordinal += beyond[i].last_ordinal;
		pack.points_no += beyond[i].points_no;
		fill(&m, env);
		assert_int_equal(manifest_add_points(&m, &points), 0);
		assert_int_equal(manifest_add_pack(&m, &pack), 0);
		manifest_close(&m);
		for (int writer = 0; writer < 2; writer++) {
			assert_int_equal(manifest_open(&m, env, "/m", writer, why),
					 i ? -EBADMSG : 0);
			manifest_close(&m);
		}
		if (i)
			assert_non_null(strstr(why, "more than its points file"));
		sim_env_destroy(sim);
	}
}

static void pins_end_and_are_not_mixed_up(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct timeline_pin pin = { .cut_seq = 7, .kind = TIMELINE_PIN_HOLD, .label = "quarter" };
	struct manifest_retention retention = { .immutable_ns = 5, .since_ns = 3 };
	struct manifest m;
	uint64_t bytes;

	fill(&m, env);
	assert_int_equal(retention_parse("all:1h,1h:24h", &retention.policy, why), 0);
	assert_int_equal(manifest_add_policy(&m, &retention), 0);
	/* Leases that begin anew for a long time: the file stays short. */
	for (int i = 0; i < 2000; i++) {
		pin.id = 1;
		pin.until_ns = i + 1;
		assert_int_equal(manifest_add_pin(&m, &pin, false), 0);
		pin.id = i + 2;
		assert_int_equal(manifest_add_pin(&m, &pin, false), 0);
		assert_int_equal(manifest_add_pin(&m, &pin, true), 0);
	}
	sim_env_content(sim, "/m/manifest", &bytes);
	assert_true(bytes < 20000);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	assert_int_equal(m.nr_pins, 1);
	assert_int_equal(m.pins[0].id, 1);
	assert_int_equal(m.pins[0].until_ns, 2000);
	assert_string_equal(m.pins[0].label, "quarter");
	assert_int_equal(m.pin_id, 2001);
	assert_int_equal(m.nr_policies, 1);
	assert_int_equal(m.policies[0].immutable_ns, 5);
	assert_int_equal(m.policies[0].policy.tiers[1].for_ns, UINT64_C(86400000000000));
	manifest_close(&m);
	sim_env_destroy(sim);
}

/* -- main lines -- */

static const struct timeline_line a_line = {
	.epoch = 1, .timeline = "the branch's id", .cut_seq = 77, .time_ns = 5, .made_ns = 6,
	.branch_cut_seq = 99, .name = "dr",
};

static void main_lines_follow_one_another(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct timeline_line next = a_line;
	struct manifest m;

	fill(&m, env);
	assert_int_equal(manifest_epoch(&m), 0);
	next.epoch = 2;
	assert_int_equal(manifest_add_line(&m, &next), -EINVAL);
	/* What could not be read again is not written. */
	next = a_line;
	memcpy(next.timeline, id, sizeof(id));
	assert_int_equal(manifest_add_line(&m, &next), -EINVAL);
	next = a_line;
	next.cut_seq = UINT64_MAX;
	assert_int_equal(manifest_add_line(&m, &next), -EINVAL);
	next = a_line;
	next.epoch = 2;
	assert_int_equal(manifest_add_line(&m, &a_line), 0);
	assert_int_equal(manifest_add_line(&m, &a_line), -EINVAL);
	strcpy(next.name, "again");
	assert_int_equal(manifest_add_line(&m, &next), 0);
	/* It is none of what goes when the file is written anew. */
	m.limit_bytes = 2048;
	for (uint32_t i = 2; i < 100; i++)
		assert_int_equal(manifest_add_grant(&m, i, instance), 0);
	manifest_close(&m);
	assert_int_equal(manifest_open(&m, env, "/m", true, why), 0);
	assert_int_equal(manifest_epoch(&m), 2);
	assert_int_equal(m.nr_lines, 2);
	assert_memory_equal(m.lines[0].timeline, "the branch's id", 16);
	assert_int_equal(m.lines[0].cut_seq, 77);
	assert_int_equal(m.lines[0].time_ns, 5);
	assert_int_equal(m.lines[0].made_ns, 6);
	assert_int_equal(m.lines[0].branch_cut_seq, 99);
	assert_string_equal(m.lines[0].name, "dr");
	assert_string_equal(m.lines[1].name, "again");
	manifest_close(&m);
	sim_env_destroy(sim);
}

/* An image with one record more, whose CRC is right. */
static int parse_with(struct manifest *m, uint16_t type, const void *payload, uint32_t bytes)
{
	struct manifest_header h = { .magic = MANIFEST_MAGIC, .version = MANIFEST_VERSION,
				     .type = type, .record_bytes = sizeof(h) + bytes };
	uint8_t *image = malloc(m->image_bytes + h.record_bytes), *at = image + m->image_bytes;
	struct manifest got = { 0 };
	size_t valid;
	int ret;

	memcpy(image, m->image, m->image_bytes);
	memcpy(at, &h, sizeof(h));
	memcpy(at + sizeof(h), payload, bytes);
	h.crc = manifest_record_crc(at, h.record_bytes);
	memcpy(at, &h, sizeof(h));
	ret = manifest_parse(&got, image, m->image_bytes + h.record_bytes, &valid, why);
	manifest_close(&got);
	free(image);
	return ret;
}

static int parse_line(struct manifest *m, const struct manifest_line *raw)
{
	return parse_with(m, MANIFEST_LINE, raw, sizeof(*raw));
}

static void a_line_that_cannot_be_is_refused(void **state)
{
	const struct manifest_line good = { .epoch = 1, .timeline = "the branch's id",
					    .cut_seq = 77, .name = "dr" };
	const struct manifest_parent parent = { .timeline = "the group's id", .cut_seq = 3 };
	struct manifest_parent own = parent;
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest_line raw = good;
	struct manifest m;

	fill(&m, env);
	assert_int_equal(parse_line(&m, &good), 0);
	raw.epoch = 2;
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	raw.epoch = 0;
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	raw = good;
	raw.reserved = 1;
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	raw = good;
	raw.cut_seq = 0;
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	raw.cut_seq = UINT64_MAX;
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	raw = good;
	strcpy(raw.name, "../x");
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	memset(raw.name, 'x', sizeof(raw.name));
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	raw = good;
	memcpy(raw.timeline, id, sizeof(id));
	assert_int_equal(parse_line(&m, &raw), -EBADMSG);
	/* Nor is anything its own parent. */
	assert_int_equal(parse_with(&m, MANIFEST_PARENT, &parent, sizeof(parent)), 0);
	memcpy(own.timeline, id, sizeof(id));
	assert_int_equal(parse_with(&m, MANIFEST_PARENT, &own, sizeof(own)), -EBADMSG);
	/* What has lines has no parent, nor the other way round. */
	assert_int_equal(manifest_add_line(&m, &a_line), 0);
	assert_int_equal(parse_line(&m, &good), -EBADMSG);
	assert_int_equal(parse_with(&m, MANIFEST_PARENT, &parent, sizeof(parent)), -EBADMSG);
	/* As a reader does that is older than a record. */
	assert_int_equal(parse_with(&m, MANIFEST_DURABLE + 1, &good, sizeof(good)), -EBADMSG);
	manifest_close(&m);
	sim_env_destroy(sim);
}

/* Readers look at the file: a line that was said not to be there must not be there. */
static void a_line_that_failed_is_taken_back(void **state)
{
	struct sim_env *sim = new_disk();
	struct env *env = sim_env_env(sim);
	struct manifest m, seen;

	fill(&m, env);
	for (int what = SIM_FAULT_WRITE; what <= SIM_FAULT_SYNC; what++) {
		sim_env_fail(sim, what, 1, -EIO, false);
		assert_int_equal(manifest_add_line(&m, &a_line), -EIO);
		assert_false(m.line_unknown);
		assert_int_equal(m.nr_lines, 0);
		assert_int_equal(manifest_open(&seen, env, "/m", false, why), 0);
		assert_int_equal(seen.nr_lines, 0);
		manifest_close(&seen);
	}
	/* Nothing can be written: it is not known until something can. */
	sim_env_fail(sim, SIM_FAULT_SYNC, 1, -EIO, true);
	assert_int_equal(manifest_add_line(&m, &a_line), -EIO);
	assert_true(m.line_unknown);
	sim_env_fail(sim, SIM_FAULT_SYNC, 0, 0, false);
	assert_int_equal(manifest_add_grant(&m, 2, instance), 0);
	assert_false(m.line_unknown);
	assert_int_equal(manifest_open(&seen, env, "/m", false, why), 0);
	assert_int_equal(seen.nr_lines, 0);
	manifest_close(&seen);
	manifest_close(&m);
	sim_env_destroy(sim);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(main_lines_follow_one_another),
		cmocka_unit_test(a_line_that_cannot_be_is_refused),
		cmocka_unit_test(a_line_that_failed_is_taken_back),
		cmocka_unit_test(pins_end_and_are_not_mixed_up),
		cmocka_unit_test(a_pack_of_more_than_the_points_file_covers_is_refused),
		cmocka_unit_test(of_a_pin_only_what_holds_now_is_kept),
		cmocka_unit_test(what_was_added_is_read_again),
		cmocka_unit_test(any_cut_keeps_what_was_whole_and_any_bit_is_seen),
		cmocka_unit_test(a_torn_tail_is_cut_off_for_good),
		cmocka_unit_test(nothing_told_is_lost_in_a_crash),
		cmocka_unit_test(a_failed_append_did_not_happen),
		cmocka_unit_test(it_never_becomes_longer_than_it_is_read),
		cmocka_unit_test(a_record_that_only_the_cache_has_is_not_built_on),
		cmocka_unit_test(a_run_stands_for_those_it_overlaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
