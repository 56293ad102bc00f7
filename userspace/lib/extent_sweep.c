// SPDX-License-Identifier: GPL-2.0-only
/*
 * A sweep over the extents by offset. A heap holds those that have begun, the
 * highest rank on top: the top is what is seen until it ends or something higher
 * begins. Extents that have ended are dropped when they come to the top.
 */
#include "extent_sweep.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct heap {
	const struct sweep_extent **at;
	size_t nr, room;
};

static int heap_push(struct heap *h, const struct sweep_extent *e)
{
	size_t i = h->nr;

	if (h->nr == h->room) {
		size_t room = h->room ? h->room * 2 : 64;
		const struct sweep_extent **at = realloc(h->at, room * sizeof(*at));

		if (!at)
			return -ENOMEM;
		h->at = at;
		h->room = room;
	}
	for (h->nr++; i && h->at[(i - 1) / 2]->rank < e->rank; i = (i - 1) / 2)
		h->at[i] = h->at[(i - 1) / 2];
	h->at[i] = e;
	return 0;
}

static void heap_pop(struct heap *h)
{
	const struct sweep_extent *last = h->at[--h->nr];
	size_t i = 0;

	while (2 * i + 1 < h->nr) {
		size_t child = 2 * i + 1;

		if (child + 1 < h->nr && h->at[child + 1]->rank > h->at[child]->rank)
			child++;
		if (h->at[child]->rank < last->rank)
			break;
		h->at[i] = h->at[child];
		i = child;
	}
	h->at[i] = last;
}

static int by_place(const void *a, const void *b)
{
	const struct sweep_extent *x = a, *y = b;

	if (x->volume != y->volume)
		return x->volume < y->volume ? -1 : 1;
	if (x->offset_bytes != y->offset_bytes)
		return x->offset_bytes < y->offset_bytes ? -1 : 1;
	return x->rank > y->rank ? -1 : x->rank < y->rank;
}

static bool in_order(const struct sweep_extent *in, size_t nr)
{
	for (size_t i = 1; i < nr; i++)
		if (by_place(&in[i - 1], &in[i]) > 0)
			return false;
	return true;
}

struct sweep {
	struct heap heap;
	struct sweep_piece piece;	/* not yet emitted: it may go on */
	int (*emit)(void *arg, const struct sweep_piece *piece);
	void *arg;
};

static int piece_flush(struct sweep *s)
{
	int ret = 0;

	if (s->piece.length_bytes)
		ret = s->emit(s->arg, &s->piece);
	s->piece.length_bytes = 0;
	return ret;
}

static int piece_add(struct sweep *s, const struct sweep_extent *e, uint64_t from, uint64_t to)
{
	struct sweep_piece *p = &s->piece;
	int ret;

	if (p->length_bytes && p->item == e->item && p->volume == e->volume &&
	    p->offset_bytes + p->length_bytes == from) {
		p->length_bytes += to - from;
		return 0;
	}
	ret = piece_flush(s);
	*p = (struct sweep_piece){ from, to - from, e->item, e->volume };
	return ret;
}

/* Emit what is seen in [from, to) of the volume being swept. */
static int sweep_to(struct sweep *s, uint64_t from, uint64_t to)
{
	while (s->heap.nr && from < to) {
		const struct sweep_extent *top = s->heap.at[0];
		uint64_t end = top->offset_bytes + top->length_bytes;
		int ret;

		if (end <= from) {
			heap_pop(&s->heap);
			continue;
		}
		end = end < to ? end : to;
		ret = piece_add(s, top, from, end);
		if (ret)
			return ret;
		from = end;
	}
	return 0;
}

int extent_sweep(struct sweep_extent *in, size_t nr,
		 int (*emit)(void *arg, const struct sweep_piece *piece), void *arg)
{
	struct sweep s = { .emit = emit, .arg = arg };
	int ret = 0;

	if (!in_order(in, nr))
		qsort(in, nr, sizeof(*in), by_place);
	for (size_t i = 0; i < nr && !ret; i++) {
		bool last = i + 1 == nr || in[i + 1].volume != in[i].volume;

		ret = heap_push(&s.heap, &in[i]);
		if (ret)
			break;
		ret = sweep_to(&s, in[i].offset_bytes,
			       last ? UINT64_MAX : in[i + 1].offset_bytes);
		if (last)
			s.heap.nr = 0;
	}
	if (!ret)
		ret = piece_flush(&s);
	free(s.heap.at);
	return ret;
}
