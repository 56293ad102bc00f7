// SPDX-License-Identifier: GPL-2.0-only
/*
 * extent_map - which extent is seen where.
 *
 * A treap by (volume, offset): a search tree by key that is a heap by random priority, so
 * that its depth is logarithmic whatever the order of writes.
 */
#include "extent_map.h"

#include <errno.h>
#include <stdlib.h>

#include "../lib/segment_format.h"

struct map_node {
	struct map_extent e;
	uint64_t priority;
	struct map_node *left, *right;
};

struct extent_source *extent_source_create(uint8_t *data, uint32_t data_bytes)
{
	struct extent_source *source = calloc(1, sizeof(*source));

	if (!source)
		return NULL;
	source->refs = 1;
	source->data = data;
	source->data_bytes = data_bytes;
	return source;
}

void extent_source_put(struct extent_source *source)
{
	if (--source->refs)
		return;
	free(source->data);
	free(source);
}

static void node_free(struct extent_map *map, struct map_node *n)
{
	extent_source_put(n->e.source);
	free(n);
	map->nr--;
}

static bool before(const struct map_extent *e, uint16_t volume, uint64_t offset_bytes)
{
	return e->volume != volume ? e->volume < volume : e->offset_bytes < offset_bytes;
}

/* Those that begin before the place, and the others. */
static void split(struct map_node *t, uint16_t volume, uint64_t offset_bytes,
		  struct map_node **low, struct map_node **high)
{
	if (!t) {
		*low = *high = NULL;
	} else if (before(&t->e, volume, offset_bytes)) {
		split(t->right, volume, offset_bytes, &t->right, high);
		*low = t;
	} else {
		split(t->left, volume, offset_bytes, low, &t->left);
		*high = t;
	}
}

static struct map_node *merge(struct map_node *low, struct map_node *high)
{
	if (!low || !high)
		return low ? low : high;
	if (low->priority > high->priority) {
		low->right = merge(low->right, high);
		return low;
	}
	high->left = merge(low, high->left);
	return high;
}

static struct map_node *last(struct map_node *t)
{
	while (t && t->right)
		t = t->right;
	return t;
}

static void free_all(struct extent_map *map, struct map_node *t)
{
	if (!t)
		return;
	free_all(map, t->left);
	free_all(map, t->right);
	node_free(map, t);
}

static uint64_t end_of(const struct map_extent *e)
{
	return e->offset_bytes + e->length_bytes;
}

static uint64_t next_random(struct extent_map *map)
{
	uint64_t x = map->random ? map->random : 0x9e3779b97f4a7c15u;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return map->random = x;
}

/* What of @e lies at or past @from, as a node of its own. */
static struct map_node *remainder_of(struct extent_map *map, struct map_node *node,
				     const struct map_extent *e, uint64_t from)
{
	node->e = *e;
	node->e.offset_bytes = from;
	node->e.length_bytes = end_of(e) - from;
	if (e->kind == EXTENT_DATA)
		node->e.data_offset += from - e->offset_bytes;
	node->e.source->refs++;
	map->nr++;
	return node;
}

static struct map_node *node_create(struct extent_map *map)
{
	struct map_node *n = calloc(1, sizeof(*n));

	if (n)
		n->priority = next_random(map);
	return n;
}

int extent_map_set(struct extent_map *map, const struct map_extent *e)
{
	struct map_node *new = node_create(map), *spare = node_create(map), *rest = NULL;
	struct map_node *low, *hidden, *high, *n;
	uint64_t end = end_of(e);

	if (!new || !spare) {
		free(new);
		free(spare);
		return -ENOMEM;
	}
	split(map->root, e->volume, e->offset_bytes, &low, &high);
	split(high, e->volume, end, &hidden, &high);
	/* At most one of all goes on past the end: they do not overlap. */
	n = last(hidden);
	if (n && end_of(&n->e) > end)
		rest = remainder_of(map, spare, &n->e, end);
	n = last(low);
	if (n && n->e.volume == e->volume && end_of(&n->e) > e->offset_bytes) {
		if (end_of(&n->e) > end)
			rest = remainder_of(map, spare, &n->e, end);
		n->e.length_bytes = e->offset_bytes - n->e.offset_bytes;
	}
	free_all(map, hidden);
	if (!rest)
		free(spare);
	new->e = *e;
	new->e.source->refs++;
	map->nr++;
	map->root = merge(merge(low, new), merge(rest, high));
	return 0;
}

const struct map_extent *extent_map_find(const struct extent_map *map, uint16_t volume,
					 uint64_t offset_bytes)
{
	const struct map_extent *found = NULL;

	for (const struct map_node *t = map->root; t;) {
		if (t->e.volume < volume ||
		    (t->e.volume == volume && end_of(&t->e) <= offset_bytes)) {
			t = t->right;
		} else {
			found = &t->e;
			t = t->left;
		}
	}
	return found && found->volume == volume ? found : NULL;
}

const struct map_extent *extent_map_next(const struct extent_map *map,
					 const struct map_extent *e)
{
	const struct map_extent *found = NULL;

	for (const struct map_node *t = map->root; t;) {
		if (e && !before(e, t->e.volume, t->e.offset_bytes)) {
			t = t->right;
		} else {
			found = &t->e;
			t = t->left;
		}
	}
	return found;
}

static struct map_node *drop(struct extent_map *map, struct map_node *t, uint32_t segment)
{
	struct map_node *left, *right;

	if (!t)
		return NULL;
	left = drop(map, t->left, segment);
	right = drop(map, t->right, segment);
	if (t->e.source->segment <= segment) {
		node_free(map, t);
		return merge(left, right);
	}
	t->left = left;
	t->right = right;
	return t;
}

void extent_map_drop(struct extent_map *map, uint32_t segment)
{
	map->root = drop(map, map->root, segment);
}

void extent_map_clear(struct extent_map *map)
{
	free_all(map, map->root);
	map->root = NULL;
}
