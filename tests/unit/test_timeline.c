// SPDX-License-Identifier: GPL-2.0-only
/*
 * The timeline under crashes at every operation, failing syncs, a full disk and
 * damage: nothing acknowledged is lost, nothing uncommitted is shown, it always opens
 * again, and damage is named.
 */
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"

#define DIR "/store/group"
#define VOLUME_BYTES (1u << 20)

static char why[TIMELINE_TEXT_BYTES];
static const uint8_t instance[16] = "instance";

struct rig {
	struct sim_env *sim;
	struct env *env;
	struct timeline *tl;
	uint64_t seal_bytes;
	uint32_t buffer_bytes;
};

static void rig_init(struct rig *r, uint64_t seed)
{
	*r = (struct rig){ .sim = sim_env_create(seed), .seal_bytes = 64 << 10,
			   .buffer_bytes = 16 << 10 };
	r->env = sim_env_env(r->sim);
	r->env->ops->mkdir(r->env, "/store");
	r->env->ops->sync_dir(r->env, "");
}

static void rig_fini(struct rig *r)
{
	timeline_close(r->tl);
	sim_env_destroy(r->sim);
}

static int rig_open(struct rig *r)
{
	int ret = timeline_open(r->env, DIR, TIMELINE_CREATE, "owner", &r->tl, why);

	if (ret)
		r->tl = NULL;
	else
		timeline_set_limits(r->tl, r->seal_bytes, r->buffer_bytes);
	return ret;
}

/* Two volumes, one incarnation. */
static int rig_greet(struct rig *r)
{
	const struct timeline_volume *v;
	struct timeline_state state;
	uint32_t incarnation;
	int ret;

	for (int i = 0; i < 2; i++) {
		ret = timeline_volume(r->tl, i ? "vdb" : "vda", VOLUME_BYTES, "disk", &v);
		if (ret)
			return ret;
	}
	timeline_state(r->tl, &state);
	return state.incarnation ? 0 : timeline_grant(r->tl, instance, &incarnation);
}

static uint64_t cut_of(uint64_t ordinal)
{
	return seq_pack(1, ordinal * 10);
}

/* The batch that stands for its ordinal: what it holds can be checked. */
static void make_batch(struct test_batch *b, uint64_t ordinal)
{
	test_batch_begin(b, ordinal, cut_of(ordinal));
	b->codec = ordinal % 2 ? UNIT_LZ4 : UNIT_STORED;
	for (uint64_t i = 0; i < ordinal % 4; i++)
		test_batch_extent(b, i % 2, (ordinal * 7 + i) % 16 * 16384, 4096 + i * 5632,
				  EXTENT_DATA, ordinal * 10 + i, 0, 0);
	b->volumes[0] = (struct commit_volume){ .volume = 0, .size_bytes = VOLUME_BYTES };
	b->volumes[1] = (struct commit_volume){ .volume = 1, .size_bytes = VOLUME_BYTES };
	b->nr_volumes = 2;
	test_batch_end(b);
}

static int append(struct rig *r, uint64_t ordinal)
{
	struct test_batch b;
	int ret;

	make_batch(&b, ordinal);
	ret = test_batch_append(&b, r->tl);
	test_batch_free(&b);
	return ret;
}

static uint64_t durable(struct rig *r)
{
	struct timeline_state state;

	timeline_state(r->tl, &state);
	return state.durable_ordinal;
}

static bool failed(struct rig *r)
{
	struct timeline_state state;

	timeline_state(r->tl, &state);
	return state.failed;
}

/* What is there is exactly batches 1 to n, as they were made. */
static void check_content(struct rig *r, uint64_t nr)
{
	const struct timeline_commit *commits;

	assert_int_equal(timeline_commits(r->tl, &commits), nr);
	for (uint64_t i = 0; i < nr; i++) {
		assert_int_equal(commits[i].ordinal, i + 1);
		assert_int_equal(commits[i].cut_seq, cut_of(i + 1));
		assert_true(commits[i].listed);
	}
}

static void settle(struct rig *r)
{
	timeline_flush(r->tl);
	sim_env_complete_all(r->sim);
}

static void what_was_appended_is_there_after_opening_again(void **state)
{
	struct rig r;
	struct timeline *second;
	uint64_t nr = 0;

	rig_init(&r, 1);
	assert_int_equal(timeline_open(r.env, DIR, 0, NULL, &r.tl, why), -ENOENT);
	r.tl = NULL;
	for (int round = 0; round < 5; round++) {
		assert_int_equal(rig_open(&r), 0);
		assert_int_equal(timeline_open(r.env, DIR, 0, NULL, &second, why), -EBUSY);
		assert_int_equal(rig_greet(&r), 0);
		check_content(&r, nr);
		for (int i = 0; i < 30; i++)
			assert_int_equal(append(&r, ++nr), 0);
		settle(&r);
		assert_int_equal(durable(&r), nr);
		check_content(&r, nr);
		assert_true(timeline_idle(r.tl));
		assert_int_equal(timeline_unflushed_bytes(r.tl), 0);
		assert_int_equal(timeline_open(r.env, DIR, TIMELINE_READ_ONLY, NULL, &second,
					       why), 0);
		assert_null(timeline_damage(second));
		assert_string_equal(timeline_owner(second), "owner");
		assert_memory_equal(timeline_id(second), timeline_id(r.tl), 16);
		timeline_close(second);
		timeline_close(r.tl);
	}
	r.tl = NULL;
	rig_fini(&r);
}

/* One life of the process: random appends, flushes, completions, until the power goes. */
static void live(struct rig *r, uint64_t *acked, uint64_t *sent)
{
	uint64_t next = durable(r) + 1;

	while (!sim_env_is_off(r->sim)) {
		switch (sim_env_random(r->sim, 4)) {
		case 0:
			if (next > durable(r) + 12)
				break;
			*sent = next > *sent ? next : *sent;
			if (append(r, next))
				return;
			next++;
			break;
		case 1:
			timeline_flush(r->tl);
			break;
		default:
			if (sim_env_pending(r->sim))
				sim_env_complete(r->sim, sim_env_random(r->sim,
						 sim_env_pending(r->sim)));
		}
		if (durable(r) > *acked)
			*acked = durable(r);
	}
}

static void a_crash_at_any_operation_keeps_what_was_durable(void **state)
{
	struct rig r;
	uint64_t lost_more = 0;

	rig_init(&r, 1);
	for (uint64_t seed = 0; seed < 300; seed++) {
		uint64_t acked = 0, sent = 0;

		sim_env_reset(r.sim, seed);
		r.env->ops->mkdir(r.env, "/store");
		r.env->ops->sync_dir(r.env, "");
		for (int life = 0; life < 4; life++) {
			sim_env_power_off_after(r.sim, seed < 100 ? seed :
						sim_env_random(r.sim, 80));
			if (!rig_open(&r) && !rig_greet(&r)) {
				assert_in_range(durable(&r), acked, sent);
				check_content(&r, durable(&r));
				if (durable(&r) > acked)
					lost_more++;
				acked = durable(&r);
				live(&r, &acked, &sent);
			}
			sim_env_crash(r.sim, seed + life);
			timeline_close(r.tl);
			r.tl = NULL;
		}
		if (rig_open(&r))
			fail_msg("seed %d: %s", (int)seed, why);
		assert_in_range(durable(&r), acked, sent);
		check_content(&r, durable(&r));
		timeline_close(r.tl);
		r.tl = NULL;
	}
	assert_true(lost_more > 20);	/* whole later ones may survive: the test sees some */
	rig_fini(&r);
}

static void after_a_failure_it_goes_on_in_a_new_segment(void **state)
{
	static const int errors[] = { -EIO, -ENOSPC };
	struct rig r;
	int voided = 0;

	rig_init(&r, 1);
	for (uint64_t seed = 0; seed < 300; seed++) {
		uint64_t acked = 0, sent = 0;

		sim_env_reset(r.sim, seed);
		r.env->ops->mkdir(r.env, "/store");
		r.env->ops->sync_dir(r.env, "");
		assert_int_equal(rig_open(&r), 0);
		assert_int_equal(rig_greet(&r), 0);
		for (int failure = 0; failure < 4; failure++) {
			uint64_t next = durable(&r) + 1;

			sim_env_fail(r.sim, seed % 2 ? SIM_FAULT_WRITE : SIM_FAULT_SYNC,
				     1 + sim_env_random(r.sim, 12), errors[seed / 2 % 2], false);
			for (int i = 0; i < 400 && !failed(&r); i++) {
				/* It hit the manifest, which is no failure of what was appended. */
				if (i == 200)
					sim_env_fail(r.sim, seed % 2 ? SIM_FAULT_WRITE :
						     SIM_FAULT_SYNC, 1, errors[seed / 2 % 2], false);
				if (next < durable(&r) + 12 && !append(&r, next))
					next++;
				if (sim_env_random(r.sim, 2))
					timeline_flush(r.tl);
				if (sim_env_pending(r.sim))
					sim_env_complete(r.sim, 0);
			}
			assert_true(failed(&r));
			assert_int_equal(append(&r, next), -EIO);
			sim_env_complete_all(r.sim);
			acked = durable(&r);
			sent = next - 1;
			/* Cutting the file is only a courtesy: the manifest has its end. */
			if (seed % 5 == 0)
				sim_env_fail(r.sim, SIM_FAULT_SYNC, 2, -EIO, false);
			if (timeline_void_tail(r.tl))	/* the fault hits here: once more */
				assert_int_equal(timeline_void_tail(r.tl), 0);
			sim_env_fail(r.sim, SIM_FAULT_SYNC, 0, 0, false);
			assert_false(failed(&r));
			assert_int_equal(durable(&r), acked);
			voided += sent > acked;
			if (seed % 3 == 0) {
				sim_env_crash(r.sim, seed);
				timeline_close(r.tl);
				if (rig_open(&r))
					fail_msg("seed %d: %s", (int)seed, why);
				assert_int_equal(durable(&r), acked);
			}
			sim_env_fail(r.sim, SIM_FAULT_WRITE, 0, 0, false);
			sim_env_fail(r.sim, SIM_FAULT_SYNC, 0, 0, false);
			for (int i = 0; i < 5; i++)
				assert_int_equal(append(&r, acked + 1 + i), 0);
			settle(&r);
			assert_int_equal(durable(&r), acked + 5);
			if (seed % 4 < 2)
				continue;
			sim_env_crash(r.sim, seed);
			timeline_close(r.tl);
			if (rig_open(&r))
				fail_msg("seed %d: %s", (int)seed, why);
			assert_int_equal(durable(&r), acked + 5);
		}
		timeline_close(r.tl);
		if (rig_open(&r))
			fail_msg("seed %d: %s", (int)seed, why);
		assert_int_equal(durable(&r), acked + 5);
		check_content(&r, acked + 5);
		timeline_close(r.tl);
		r.tl = NULL;
	}
	assert_true(voided > 50);
	rig_fini(&r);
}

/*
 * A sync fails, the process dies before it can give the segment up, the machine stays
 * up: the page cache shows what is not on the disk. Recovery must not build on it.
 */
static void a_page_that_was_never_written_is_not_believed(void **state)
{
	unsigned int cut = 0;
	struct rig r;

	rig_init(&r, 1);
	for (uint64_t seed = 0; seed < 200; seed++) {
		uint64_t acked, nr = 3 + seed % 5;

		sim_env_reset(r.sim, seed);
		r.env->ops->mkdir(r.env, "/store");
		r.env->ops->sync_dir(r.env, "");
		assert_int_equal(rig_open(&r), 0);
		assert_int_equal(rig_greet(&r), 0);
		assert_int_equal(append(&r, 1), 0);
		settle(&r);
		for (uint64_t n = 2; n <= nr; n++)
			assert_int_equal(append(&r, n), 0);
		sim_env_fail(r.sim, SIM_FAULT_SYNC, 1, -EIO, false);
		settle(&r);
		assert_true(failed(&r));
		acked = durable(&r);
		sim_env_kill(r.sim);
		timeline_close(r.tl);
		if (rig_open(&r))
			fail_msg("seed %d: %s", (int)seed, why);
		assert_in_range(durable(&r), acked, nr);
		acked = durable(&r);
		cut += acked < nr;
		for (int i = 0; i < 3; i++)
			assert_int_equal(append(&r, ++acked), 0);
		settle(&r);
		sim_env_crash(r.sim, seed);
		timeline_close(r.tl);
		if (rig_open(&r))
			fail_msg("seed %d: %s", (int)seed, why);
		assert_int_equal(durable(&r), acked);
		timeline_close(r.tl);
		r.tl = NULL;
	}
	assert_true(cut > 50);
	rig_fini(&r);
}

static void a_full_disk_gives_its_error_and_recovers_when_there_is_room(void **state)
{
	struct rig r;
	uint64_t next = 1;
	struct timeline_state st;

	rig_init(&r, 5);
	assert_int_equal(rig_open(&r), 0);
	assert_int_equal(rig_greet(&r), 0);
	sim_env_set_limit(r.sim, 200 << 10);
	while (!append(&r, next)) {
		next++;
		settle(&r);
	}
	timeline_state(r.tl, &st);
	assert_true(st.failed);
	assert_int_equal(st.error, -ENOSPC);
	for (int i = 0; i < 50; i++) {	/* tried again and again, no segments pile up */
		uint64_t before = durable(&r);

		if (timeline_void_tail(r.tl))
			continue;
		next = before + 1;
		for (int j = 0; j < 20 && !append(&r, next); j++)
			next++;
		settle(&r);
		assert_true(durable(&r) >= before);
	}
	assert_true(sim_env_used(r.sim) <= 200 << 10);
	sim_env_set_limit(r.sim, 0);
	if (failed(&r))
		assert_int_equal(timeline_void_tail(r.tl), 0);
	next = durable(&r) + 1;
	assert_int_equal(append(&r, next), 0);
	settle(&r);
	assert_int_equal(durable(&r), next);
	rig_fini(&r);
}

static void an_uncommitted_tail_is_void(void **state)
{
	struct rig r;
	struct test_batch b;

	rig_init(&r, 9);
	assert_int_equal(rig_open(&r), 0);
	assert_int_equal(rig_greet(&r), 0);
	for (uint64_t n = 1; n <= 40; n++) {
		/* Half a batch, then the peer is gone; then the whole of another. */
		test_batch_begin(&b, n, cut_of(n));
		for (int i = 0; i < 20; i++)
			test_batch_extent(&b, 1, i * 16384, 16384, EXTENT_DATA, i, 0, 0);
		for (uint32_t i = 0; i < n % b.nr_units; i++)
			assert_int_equal(timeline_append_unit(r.tl, b.units[i], b.unit_bytes[i]),
					 0);
		test_batch_free(&b);
		settle(&r);
		assert_int_equal(timeline_void_tail(r.tl), 0);
		assert_int_equal(append(&r, n), 0);
		settle(&r);
		assert_int_equal(durable(&r), n);
	}
	timeline_close(r.tl);
	assert_int_equal(rig_open(&r), 0);
	check_content(&r, 40);
	rig_fini(&r);
}

/* 60 batches in several segments; returns how many segments. */
static unsigned int build_store(struct rig *r)
{
	char path[64];
	uint64_t bytes;
	unsigned int nr = 0;

	rig_init(r, 11);
	assert_int_equal(rig_open(r), 0);
	assert_int_equal(rig_greet(r), 0);
	for (uint64_t n = 1; n <= 60; n++) {
		assert_int_equal(append(r, n), 0);
		settle(r);
	}
	timeline_close(r->tl);
	r->tl = NULL;
	do
		snprintf(path, sizeof(path), DIR "/%016x.seg", ++nr);
	while (sim_env_content(r->sim, path, &bytes));
	assert_true(nr > 6);
	return nr - 1;
}

static void damage_is_found_and_named(void **state)
{
	struct rig r;
	unsigned int segments = build_store(&r), refused = 0;
	const struct timeline_commit *commits;

	/* A bit anywhere in a sealed segment's end, or anywhere in the last one. */
	for (int i = 0; i < 300; i++) {
		bool last = i % 2;
		unsigned int segment = last ? segments : 1 + i % (segments - 1);
		uint64_t bytes, offset;
		char path[64];
		size_t nr;

		snprintf(path, sizeof(path), DIR "/%016x.seg", segment);
		sim_env_content(r.sim, path, &bytes);
		offset = last ? sim_env_random(r.sim, bytes) :
			 bytes - 1 - sim_env_random(r.sim, 8192);
		sim_env_flip(r.sim, path, offset, i % 8);
		if (!last) {
			/* Only the footer: the data are all there. */
			assert_int_equal(rig_open(&r), 0);
			check_content(&r, 60);
			timeline_close(r.tl);
		} else {
			assert_int_equal(timeline_open(r.env, DIR, TIMELINE_READ_ONLY, NULL,
						       &r.tl, why), 0);
			nr = timeline_commits(r.tl, &commits);
			if (timeline_damage(r.tl))
				refused++;
			/* Without a later commit as witness only the last one is lost. */
			assert_true(timeline_damage(r.tl) || nr >= 59);
			timeline_close(r.tl);
			if (nr < 59) {
				assert_int_equal(rig_open(&r), -EUCLEAN);
				assert_non_null(strstr(why, ".seg: damaged at byte"));
			}
		}
		r.tl = NULL;
		sim_env_flip(r.sim, path, offset, i % 8);
	}
	assert_true(refused > 50);
	assert_int_equal(rig_open(&r), 0);
	check_content(&r, 60);
	rig_fini(&r);
}

/* Every record whole, but the batch is not what its commit record says. */
static void a_commit_that_does_not_match_its_units_does_not_count(void **state)
{
	for (int field = 0; field < 3; field++) {
		struct rig r;
		uint64_t bytes, at = 4096;
		const uint8_t *content;
		struct commit_header h;

		rig_init(&r, 3);
		assert_int_equal(rig_open(&r), 0);
		assert_int_equal(rig_greet(&r), 0);
		assert_int_equal(append(&r, 1), 0);
		settle(&r);
		timeline_close(r.tl);
		content = sim_env_content(r.sim, DIR "/0000000000000001.seg", &bytes);
		for (; memcmp(content + at, "BSC1", 4); at += 8)
			;
		memcpy(&h, content + at, sizeof(h));
		h.nr_units += field == 0;
		h.units_crc += field == 1;
		h.batch_bytes += field == 2 ? 8 : 0;
		h.crc = 0;
		h.crc = crc32c_extend(crc32c(&h, sizeof(h)), content + at + sizeof(h),
				      h.record_bytes - sizeof(h));
		sim_env_poke(r.sim, DIR "/0000000000000001.seg", at, &h, sizeof(h));
		assert_int_equal(timeline_open(r.env, DIR, TIMELINE_READ_ONLY, NULL, &r.tl, why), 0);
		assert_int_equal(durable(&r), 0);
		assert_non_null(timeline_damage(r.tl));
		rig_fini(&r);
	}
}

static unsigned int nr_reads;

static int64_t counted_read(struct env *env, struct env_file *file, void *buf, size_t bytes,
			    uint64_t offset_bytes)
{
	nr_reads++;
	return sim_ops.read(env, file, buf, bytes, offset_bytes);
}

/* A peer sends units without end and no commit: opening reads them a few times. */
static void a_tail_of_many_units_is_searched_once(void **state)
{
	const uint64_t tail_bytes = 8 << 20;
	struct env_ops counting = sim_ops;
	uint64_t bytes, used = 0;
	struct test_batch b;
	uint8_t *tail;
	struct rig r;

	rig_init(&r, 3);
	assert_int_equal(rig_open(&r), 0);
	assert_int_equal(rig_greet(&r), 0);
	assert_int_equal(append(&r, 1), 0);
	settle(&r);
	timeline_close(r.tl);
	test_batch_begin(&b, 2, cut_of(2));
	test_batch_extent(&b, 0, 0, 512, EXTENT_ZERO, 0, 0, 0);
	tail = malloc(tail_bytes);
	for (; used + b.unit_bytes[0] <= tail_bytes; used += b.unit_bytes[0])
		memcpy(tail + used, b.units[0], b.unit_bytes[0]);
	test_batch_free(&b);
	sim_env_content(r.sim, DIR "/0000000000000001.seg", &bytes);
	sim_env_poke(r.sim, DIR "/0000000000000001.seg", bytes, tail, used);
	free(tail);

	counting.read = counted_read;
	r.env->ops = &counting;
	nr_reads = 0;
	assert_int_equal(rig_open(&r), 0);
	assert_in_range(nr_reads, 8, 40);
	check_content(&r, 1);
	timeline_close(r.tl);
	r.tl = NULL;
	r.env->ops = &sim_ops;
	rig_fini(&r);
}

static void a_missing_segment_is_a_hole(void **state)
{
	const struct timeline_hole *hole;
	struct rig r;
	const struct timeline_commit *commits;

	build_store(&r);
	r.env->ops->unlink(r.env, DIR "/0000000000000002.seg");
	assert_int_equal(rig_open(&r), -EUCLEAN);
	assert_non_null(strstr(why, "0000000000000002.seg: missing"));
	assert_int_equal(timeline_open(r.env, DIR, TIMELINE_READ_ONLY, NULL, &r.tl, why), 0);
	assert_non_null(timeline_damage(r.tl));
	/* Those in it are gone; those behind it are there, and none of them is known to be whole. */
	assert_in_range(timeline_commits(r.tl, &commits), 41, 59);
	assert_int_equal(timeline_holes(r.tl, &hole), 1);
	assert_int_equal(hole->first_segment, 2);
	assert_int_equal(hole->last_segment, 2);
	assert_false(hole->known || timeline_ends_early(r.tl));
	for (uint64_t n = 0; n < hole->first_ordinal - 1; n++)
		assert_true(commits[n].ordinal == n + 1 && commits[n].cut_seq < hole->from_seq);
	assert_int_equal(commits[hole->first_ordinal - 1].ordinal, hole->last_ordinal + 1);
	rig_fini(&r);
}

static void a_lost_manifest_is_not_made_anew(void **state)
{
	struct rig r;

	build_store(&r);
	r.env->ops->unlink(r.env, DIR "/manifest");
	assert_int_equal(rig_open(&r), -EUCLEAN);
	assert_non_null(strstr(why, "has segments but no manifest"));
	rig_fini(&r);
}

/* Volumes and incarnations that only a newer manifest knew. */
static void an_older_manifest_does_not_fit(void **state)
{
	for (int volumes = 0; volumes < 2; volumes++) {
		const struct timeline_volume *v;
		struct env_file *file;
		uint32_t incarnation;
		uint8_t old[4096];
		uint64_t bytes;
		struct rig r;

		rig_init(&r, 2);
		assert_int_equal(rig_open(&r), 0);
		if (volumes) {
			/* Only the second is missing, and the commit has no data of it. */
			assert_int_equal(timeline_volume(r.tl, "vda", VOLUME_BYTES, "disk", &v), 0);
			assert_int_equal(timeline_grant(r.tl, instance, &incarnation), 0);
		}
		sim_env_content(r.sim, DIR "/manifest", &bytes);
		assert_in_range(bytes, 112, sizeof(old));
		memcpy(old, sim_env_content(r.sim, DIR "/manifest", &bytes), bytes);
		assert_int_equal(rig_greet(&r), 0);
		assert_int_equal(append(&r, 1), 0);
		settle(&r);
		timeline_close(r.tl);
		r.env->ops->unlink(r.env, DIR "/manifest");
		assert_int_equal(r.env->ops->open(r.env, DIR "/manifest", ENV_WRITE | ENV_CREATE,
						  &file), 0);
		r.env->ops->write(r.env, file, old, bytes, 0);
		r.env->ops->close(r.env, file);
		assert_int_equal(rig_open(&r), -EUCLEAN);
		assert_non_null(strstr(why, volumes ? "of a volume the manifest does not know" :
				       "of an incarnation the manifest does not know"));
		rig_fini(&r);
	}
}

static void what_breaks_the_rules_is_refused(void **state)
{
	struct rig r;
	struct test_batch b;

	rig_init(&r, 1);
	assert_int_equal(rig_open(&r), 0);
	assert_int_equal(rig_greet(&r), 0);
	assert_int_equal(append(&r, 1), 0);
	settle(&r);

	for (int wrong = 0; wrong < 13; wrong++) {
		int want = -EPROTO, ret;

		test_batch_begin(&b, 2, cut_of(2));
		switch (wrong) {
		case 0: b.ordinal = 3; break;
		case 1: b.cut_seq = cut_of(1) - 1; break;
		case 2: b.time_ns = 1; break;
		case 3: b.cut_seq = seq_pack(2, 1); break;
		case 4: test_batch_extent(&b, 2, 0, 512, EXTENT_ZERO, 0, 0, 0); break;
		case 5: b.gaps[b.nr_gaps++] = (struct commit_gap){ cut_of(1), cut_of(2) }; break;
		case 6: b.gaps[b.nr_gaps++] = (struct commit_gap){ cut_of(3), cut_of(3) }; break;
		case 7: b.holds[b.nr_holds++] = (struct commit_hold){ 1, cut_of(1), 0 }; break;
		case 8: /* a read-back that no hold covers */
			test_batch_extent(&b, 0, 0, 512, EXTENT_ZERO, 0, cut_of(1), 1);
			break;
		case 9: /* its stamp past the cut */
			b.holds[b.nr_holds++] = (struct commit_hold){ 1, cut_of(1) + 1, 0 };
			test_batch_extent(&b, 0, 0, 512, EXTENT_ZERO, 0, cut_of(2) + 1, 1);
			break;
		case 10: /* records with a label that is not the cut */
			test_batch_extent(&b, 0, 0, 512, EXTENT_ZERO, 0, 0, 0);
			b.cut_seq++;
			break;
		case 11:
			b.volumes[b.nr_volumes++].volume = 7;
			break;
		case 12:
			test_batch_extent(&b, 0, 0, 4096, EXTENT_DATA, 0, 0, 0);
			b.units[0][b.unit_bytes[0] - 1] ^= 1;
			want = -EBADMSG;
			break;
		}
		test_batch_end(&b);
		ret = test_batch_append(&b, r.tl);
		if (ret != want)
			fail_msg("case %d: %d", wrong, ret);
		test_batch_free(&b);
		settle(&r);
		assert_int_equal(timeline_void_tail(r.tl), 0);
	}
	assert_int_equal(append(&r, 2), 0);
	settle(&r);
	check_content(&r, 2);
	rig_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_appended_is_there_after_opening_again),
		cmocka_unit_test(a_crash_at_any_operation_keeps_what_was_durable),
		cmocka_unit_test(after_a_failure_it_goes_on_in_a_new_segment),
		cmocka_unit_test(a_page_that_was_never_written_is_not_believed),
		cmocka_unit_test(a_full_disk_gives_its_error_and_recovers_when_there_is_room),
		cmocka_unit_test(an_uncommitted_tail_is_void),
		cmocka_unit_test(damage_is_found_and_named),
		cmocka_unit_test(a_commit_that_does_not_match_its_units_does_not_count),
		cmocka_unit_test(a_tail_of_many_units_is_searched_once),
		cmocka_unit_test(a_missing_segment_is_a_hole),
		cmocka_unit_test(a_lost_manifest_is_not_made_anew),
		cmocka_unit_test(an_older_manifest_does_not_fit),
		cmocka_unit_test(what_breaks_the_rules_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
