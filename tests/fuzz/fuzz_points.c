// SPDX-License-Identifier: GPL-2.0-only
/*
 * One copy of a points file as the fuzzer wants it, its CRCs made right: whatever it says, it
 * is refused, or it is one that can be asked, added to and encoded again.
 */
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/crc32c.h"
#include "../../userspace/store/points_file.h"
#include "../../userspace/store/points_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes);

/* Input: what the header has from `timeline` on, then the body. */
static uint8_t *make(const uint8_t *input, size_t bytes, size_t *nr)
{
	const size_t from = offsetof(struct points_header, timeline);
	size_t head = sizeof(struct points_header) - from, body = bytes > head ? bytes - head : 0;
	struct points_header h = { .magic = POINTS_MAGIC, .version = POINTS_VERSION,
				   .header_bytes = POINTS_BLOCK_BYTES };
	uint8_t *copy;

	*nr = POINTS_BLOCK_BYTES + (body + POINTS_BLOCK_BYTES - 1) / POINTS_BLOCK_BYTES *
				   POINTS_BLOCK_BYTES;
	copy = calloc(1, *nr);
	memcpy((uint8_t *)&h + from, input, bytes < head ? bytes : head);
	if (body)
		memcpy(copy + POINTS_BLOCK_BYTES, input + head, body);
	h.body_crc = crc32c(copy + POINTS_BLOCK_BYTES, *nr - POINTS_BLOCK_BYTES);
	memcpy(copy, &h, sizeof(h));
	h.crc = crc32c(copy, POINTS_BLOCK_BYTES);
	memcpy(copy, &h, sizeof(h));
	return copy;
}

static void use(struct points_file *file)
{
	struct points *p = &file->points;
	const struct points_member *members;
	const struct timeline_gap *gaps;
	struct commit_view commit = { .header = { .ordinal = p->last_ordinal + 1,
						  .cut_seq = p->last_cut_seq } };
	struct points_file again;
	size_t bytes;
	void *copy;

	for (size_t i = 0; i < p->nr_commits; i++)
		for (size_t nr = points_members(p, i, &members); nr-- > 0;)
			if (members[nr].volume >= p->nr_volumes)
				abort();
	points_gaps(p, &gaps);
	if (points_encode(file, &copy, &bytes))
		abort();
	if (points_decode(copy, bytes, &again))
		abort();
	points_fini(&again.points);
	free(copy);
	if (p->last_ordinal != UINT64_MAX && points_add(p, &commit, NULL, 0))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t bytes)
{
	struct points_file file;
	size_t nr;
	uint8_t *copy = make(input, bytes, &nr);

	if (points_decode(copy, nr, &file) == 0) {
		use(&file);
		points_fini(&file.points);
	}
	free(copy);
	return 0;
}
