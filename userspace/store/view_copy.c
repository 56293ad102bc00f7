// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_copy - all data of a volume, in the order of the store.
 *
 * Blocks written at random lie in their units in the order of time: reading them in the
 * order of the volume would read and unpack a unit for each.
 */
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "view_internal.h"

#define SORTED_PIECES (4u << 20)	/* at a time: 160 MiB */

struct sorted {
	struct view_piece *pieces;
	size_t nr, max;
};

static int order_compare(const void *a, const void *b)
{
	const struct view_piece *x = a, *y = b;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	if (x->unit_offset != y->unit_offset)
		return x->unit_offset < y->unit_offset ? -1 : 1;
	return x->data_offset < y->data_offset ? -1 : x->data_offset > y->data_offset;
}

/* From *offset up to @end, as many pieces with data as are sorted at once, or all. */
static int data_pieces(struct view *v, const struct view_volume *vol, struct sorted *s,
		       uint64_t *offset, uint64_t end)
{
	s->nr = 0;
	while (*offset < end && s->nr < SORTED_PIECES) {
		int ret = view_window(v, vol, *offset, end);

		if (ret)
			return ret;
		if (!array_reserve(&s->pieces, &s->max, s->nr + v->nr_pieces))
			return -ENOMEM;
		for (size_t i = view_find(v, *offset); i < v->nr_pieces; i++) {
			struct view_piece p = v->pieces[i];

			if (p.offset_bytes >= end)
				break;
			if (p.length_bytes > end - p.offset_bytes)
				p.length_bytes = end - p.offset_bytes;
			if (p.kind == EXTENT_DATA)
				s->pieces[s->nr++] = p;
		}
		*offset = v->pieces_end;
	}
	if (s->nr)
		qsort(s->pieces, s->nr, sizeof(*s->pieces), order_compare);
	return 0;
}

static int piece_put(struct view *v, const struct view_piece *p,
		     int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
		     void *arg)
{
	const uint8_t *data = NULL;
	int ret = view_piece_data(v, p, 0, p->length_bytes, &data);

	return ret ? ret : put(arg, p->offset_bytes, data, p->length_bytes);
}

int view_copy_range(struct view *v, uint16_t volume, uint64_t start_bytes, uint64_t end_bytes,
		    int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
		    void *arg, uint64_t *offset_bytes)
{
	const struct view_volume *vol = view_volume(v, volume);
	uint64_t next = start_bytes;
	struct sorted s = { 0 };
	int ret = 0;

	*offset_bytes = start_bytes;
	if (!vol || end_bytes > vol->size_bytes)
		return -ERANGE;
	if (start_bytes % SECTOR_BYTES || end_bytes % SECTOR_BYTES)
		return -EINVAL;
	v->pieces_end = 0;	/* from the beginning, whatever is in hand */
	while (next < end_bytes && !ret) {
		*offset_bytes = next;
		ret = data_pieces(v, vol, &s, &next, end_bytes);
		for (size_t i = 0; i < s.nr && !ret; i++) {
			*offset_bytes = s.pieces[i].offset_bytes;
			ret = piece_put(v, &s.pieces[i], put, arg);
		}
	}
	free(s.pieces);
	if (ret || !v->parent)
		return ret;
	return view_parent_copy(v, volume, start_bytes, end_bytes, put, arg, offset_bytes);
}

int view_copy(struct view *v, uint16_t volume,
	      int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
	      void *arg, uint64_t *offset_bytes)
{
	return view_copy_range(v, volume, 0, view_size(v, volume), put, arg, offset_bytes);
}
