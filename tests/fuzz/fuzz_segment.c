// SPDX-License-Identifier: GPL-2.0-only
/*
 * A store with whole segments, changed where the fuzzer says, opened by a reader (and
 * a view of its newest commit read) and by a writer. Input: changes of 4 bytes each:
 * file and offset (3), value (1); or, in the second half, a whole file from raw bytes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/lib/seq.h"
#include "../../userspace/store/view.h"
#include "../host/sim_env.h"
#include "../host/test_batch.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

#define BATCHES 6

static char why[TIMELINE_TEXT_BYTES];

static struct timeline *build(struct sim_env *sim)
{
	struct env *env = sim_env_env(sim);
	const struct timeline_volume *v;
	struct timeline *tl;
	uint32_t incarnation;

	sim_env_reset(sim, 1);
	if (timeline_open(env, "/t", TIMELINE_CREATE, "", &tl, why))
		abort();
	timeline_set_limits(tl, 24576, 8192);
	timeline_volume(tl, "vda", 1 << 20, "", &v);
	timeline_grant(tl, (const uint8_t *)"0123456789abcdef", &incarnation);
	for (uint64_t n = 1; n <= BATCHES; n++) {
		struct test_batch b;

		test_batch_begin(&b, n, seq_pack(1, n * 10));
		b.codec = n % 2;
		test_batch_extent(&b, 0, n * 4096, 1024, EXTENT_DATA, n, 0, 0);
		test_batch_extent(&b, 0, n * 8192, 5120, EXTENT_DATA, n, 0, 0);
		b.volumes[0].size_bytes = 1 << 20;
		b.nr_volumes = 1;
		test_batch_end(&b);
		if (test_batch_append(&b, tl))
			abort();
		test_batch_free(&b);
		timeline_flush(tl);
		sim_env_complete_all(sim);
	}
	return tl;
}

/* Make the CRC right of whatever record begins here. */
static void mend(struct sim_env *sim, const char *path, uint64_t at)
{
	uint64_t bytes;
	const uint8_t *content = sim_env_content(sim, path, &bytes);
	struct commit_header h;

	if (at + sizeof(h) > bytes)
		return;
	memcpy(&h, content + at, sizeof(h));
	if (h.magic == COMMIT_MAGIC && h.record_bytes <= bytes - at && h.record_bytes >= sizeof(h)) {
		h.crc = 0;
		h.crc = crc32c_extend(crc32c(&h, sizeof(h)), content + at + sizeof(h),
				      h.record_bytes - sizeof(h));
		sim_env_poke(sim, path, at, &h, sizeof(h));
	} else if (h.magic == UNIT_MAGIC) {
		struct unit_header u;
		uint64_t tables;

		memcpy(&u, content + at, sizeof(u));
		tables = sizeof(u) + u.nr_extents * 32 + u.nr_crcs * 4ull;
		if (tables > bytes - at)
			return;
		u.header_crc = 0;
		u.header_crc = crc32c_extend(crc32c(&u, sizeof(u)), content + at + sizeof(u),
					     tables - sizeof(u));
		sim_env_poke(sim, path, at, &u, sizeof(u));
	}
}

static void change(struct sim_env *sim, const uint8_t *input, size_t bytes)
{
	char path[64];

	for (; bytes >= 4; input += 4, bytes -= 4) {
		uint64_t offset = (input[1] | input[2] << 8) % 40960, size;

		snprintf(path, sizeof(path), "/t/%016x.seg", 1 + (input[0] & 1));
		sim_env_content(sim, path, &size);
		if (!size)
			continue;
		if (input[0] & 2)	/* where something is */
			offset = offset % 256 + offset / 256 * 4096;
		offset %= size;
		sim_env_poke(sim, path, offset, &input[3], 1);
		if (input[0] & 4)
			mend(sim, path, offset / 4096 * 4096);
	}
}

static void look(struct env *env)
{
	const struct timeline_commit *commits;
	static uint8_t buf[65536];
	struct timeline *tl;
	struct view *v;
	size_t nr;

	if (timeline_open(env, "/t", TIMELINE_READ_ONLY, NULL, &tl, why))
		return;
	nr = timeline_commits(tl, &commits);
	if (nr && view_open(tl, commits[nr - 1].cut_seq, &v, why) == 0) {
		uint64_t size = view_size(v, 0);

		for (uint64_t at = 0; at + sizeof(buf) <= size && at < 1 << 20; at += sizeof(buf))
			view_read(v, 0, at, buf, sizeof(buf));
		view_close(v);
	}
	timeline_close(tl);
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	static struct sim_env *sim;
	struct timeline *tl;

	if (!sim)
		sim = sim_env_create(1);
	tl = build(sim);
	timeline_close(tl);
	if (bytes && input[0] & 0x80)
		sim_env_poke(sim, "/t/0000000000000001.seg", (input[0] & 3) * 4096, input + 1,
			     bytes - 1);
	else
		change(sim, input, bytes);
	look(sim_env_env(sim));
	if (timeline_open(sim_env_env(sim), "/t", 0, NULL, &tl, why) == 0) {
		timeline_close(tl);
		look(sim_env_env(sim));
	}
	return 0;
}
