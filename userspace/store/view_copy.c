// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_copy - all data of a volume, in the order of the store.
 *
 * Blocks written at random lie in their units in the order of time: reading them in the
 * order of the volume would read and unpack a unit for each.
 */
#include <errno.h>
#include <stdlib.h>

#include "view_internal.h"

static int order_compare(const void *a, const void *b)
{
	const struct view_piece *x = *(const struct view_piece *const *)a;
	const struct view_piece *y = *(const struct view_piece *const *)b;

	if (x->segment != y->segment)
		return x->segment < y->segment ? -1 : 1;
	if (x->unit_offset != y->unit_offset)
		return x->unit_offset < y->unit_offset ? -1 : 1;
	return x->data_offset < y->data_offset ? -1 : x->data_offset > y->data_offset;
}

/* The pieces that are data and begin inside the volume, in the order of the store. */
static const struct view_piece **data_pieces(const struct view *v, const struct view_volume *vol,
					     size_t *nr)
{
	const struct view_piece **pieces = malloc((vol->nr + 1) * sizeof(*pieces));

	*nr = 0;
	if (!pieces)
		return NULL;
	for (size_t i = 0; i < vol->nr; i++) {
		const struct view_piece *p = &v->pieces[vol->first + i];

		if (p->kind == EXTENT_DATA && p->offset_bytes < vol->size_bytes)
			pieces[(*nr)++] = p;
	}
	qsort(pieces, *nr, sizeof(*pieces), order_compare);
	return pieces;
}

int view_copy(struct view *v, uint16_t volume,
	      int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
	      void *arg, uint64_t *offset_bytes)
{
	const struct view_volume *vol = view_volume(v, volume);
	const struct view_piece **pieces;
	int ret = 0;
	size_t nr;

	*offset_bytes = 0;
	if (!vol)
		return -ERANGE;
	pieces = data_pieces(v, vol, &nr);
	if (!pieces)
		return -ENOMEM;
	for (size_t i = 0; i < nr && !ret; i++) {
		const struct view_piece *p = pieces[i];
		uint64_t bytes = vol->size_bytes - p->offset_bytes;
		struct view_unit *u = NULL;

		*offset_bytes = p->offset_bytes;
		if (p->length_bytes < bytes)
			bytes = p->length_bytes;
		ret = view_unit_get(v, p->segment, p->unit_offset, &u);
		if (!ret && p->data_offset + bytes > u->data_bytes)
			ret = -EBADMSG;
		if (!ret)
			ret = put(arg, p->offset_bytes, u->data + p->data_offset, bytes);
	}
	free(pieces);
	return ret;
}
