// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_version - the order of versions, and which of many is seen.
 *
 * (label, record before read-back, read-back number, position in the stream): DESIGN 1.5.
 * A record has read-back number 0, so the number says both.
 */
#include <errno.h>
#include <stdlib.h>

#include "../lib/extent_sweep.h"
#include "array.h"
#include "view_internal.h"

int view_version_add(struct view_versions *versions, const struct view_version *add)
{
	if (!array_reserve(&versions->items, &versions->max, versions->nr + 1))
		return -ENOMEM;
	versions->items[versions->nr++] = *add;
	return 0;
}

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

/* <0: @a is older. */
static int version_compare(const struct view_version *a, const struct view_version *b)
{
	if (a->label_seq != b->label_seq)
		return compare(a->label_seq, b->label_seq);
	if (a->readback_no != b->readback_no)
		return compare(a->readback_no, b->readback_no);
	if (a->segment != b->segment)
		return compare(a->segment, b->segment);
	if (a->unit_offset != b->unit_offset)
		return compare(a->unit_offset, b->unit_offset);
	return compare(a->extent_no, b->extent_no);
}

static int order_compare(const void *a, const void *b, void *arg)
{
	const struct view_version *items = arg;

	return version_compare(&items[*(const uint32_t *)a], &items[*(const uint32_t *)b]);
}

/* Indexes from old to new. The stream brings them nearly so. */
static uint32_t *versions_order(const struct view_versions *versions)
{
	uint32_t *order = malloc((versions->nr + 1) * sizeof(*order));
	bool sorted = true;

	for (size_t i = 0; i < versions->nr && order; i++) {
		order[i] = i;
		sorted = sorted && (i == 0 || version_compare(&versions->items[i - 1],
							      &versions->items[i]) <= 0);
	}
	if (order && !sorted)
		qsort_r(order, versions->nr, sizeof(*order), order_compare, versions->items);
	return order;
}

struct sweep {
	const struct view_version *items;
	int (*emit)(void *arg, const struct view_version *seen);
	void *arg;
};

static int take_piece(void *arg, const struct sweep_piece *piece)
{
	struct sweep *s = arg;
	struct view_version seen = s->items[piece->item];

	if (seen.kind == EXTENT_DATA)
		seen.data_offset += piece->offset_bytes - seen.offset_bytes;
	seen.offset_bytes = piece->offset_bytes;
	seen.length_bytes = piece->length_bytes;
	return s->emit(s->arg, &seen);
}

int view_versions_sweep(const struct view_versions *versions,
			int (*emit)(void *arg, const struct view_version *seen), void *arg)
{
	struct sweep s = { versions->items, emit, arg };
	struct sweep_extent *in;
	uint32_t *order;
	int ret = -ENOMEM;

	if (versions->nr > UINT32_MAX)
		return -EFBIG;
	order = versions_order(versions);
	in = malloc((versions->nr + 1) * sizeof(*in));
	if (order && in) {
		for (size_t i = 0; i < versions->nr; i++) {
			const struct view_version *v = &versions->items[order[i]];

			in[order[i]] = (struct sweep_extent){ v->offset_bytes, v->length_bytes, i,
							      order[i], v->volume };
		}
		ret = extent_sweep(in, versions->nr, take_piece, &s);
	}
	free(order);
	free(in);
	return ret;
}
