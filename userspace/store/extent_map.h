/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * extent_map - which extent is seen where: what comes later hides what was there.
 *
 * Pure. A branch keeps in it what is not in a run yet. Extents never overlap; each refers to
 * a source, which is freed with the last extent that refers to it.
 */
#ifndef BLKSHIP_EXTENT_MAP_H
#define BLKSHIP_EXTENT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where content lies: in memory, in a unit, or in both. */
struct extent_source {
	unsigned int refs;
	uint8_t *data;		/* in memory, freed with the source; or NULL */
	uint32_t data_bytes;
	uint32_t segment;	/* of its unit; 0: it is in none yet */
	uint64_t unit_offset;
	uint64_t ordinal;	/* of its batch */
	struct extent_source *next; /* the caller's */
};

struct map_extent {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint16_t volume;
	uint8_t kind;		/* enum extent_kind */
	uint32_t data_offset;	/* EXTENT_DATA: in the source's data */
	struct extent_source *source;
};

struct map_node;

struct extent_map {
	struct map_node *root;
	size_t nr;
	uint64_t random;
};

/** extent_source_create - with one reference, the caller's; @data: owned; NULL: no memory */
struct extent_source *extent_source_create(uint8_t *data, uint32_t data_bytes);

/** extent_source_put - drop a reference */
void extent_source_put(struct extent_source *source);

/**
 * extent_map_set - from now on this is seen
 * Takes a reference of its source. Return: 0; -ENOMEM, then nothing has changed.
 */
int extent_map_set(struct extent_map *map, const struct map_extent *e);

/** extent_map_find - the first extent of the volume that ends past @offset_bytes; or NULL */
const struct map_extent *extent_map_find(const struct extent_map *map, uint16_t volume,
					 uint64_t offset_bytes);

/** extent_map_next - the one behind @e by (volume, offset); NULL for @e: the first; or NULL */
const struct map_extent *extent_map_next(const struct extent_map *map,
					 const struct map_extent *e);

/** extent_map_drop - forget what lies in segments up to @segment */
void extent_map_drop(struct extent_map *map, uint32_t segment);

/** extent_map_clear - forget all */
void extent_map_clear(struct extent_map *map);

#endif
