/* SPDX-License-Identifier: GPL-2.0-only */
/* array - a growing array; the caller bounds how far. */
#ifndef BLKSHIP_ARRAY_H
#define BLKSHIP_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

/* Use the macro. */
static inline bool array_reserve_bytes(void **items, size_t *max, size_t nr, size_t item_bytes)
{
	size_t more = *max ? *max : 8;
	void *new;

	if (nr <= *max)
		return true;
	while (more < nr)
		more *= 2;
	if (more > SIZE_MAX / item_bytes)
		return false;
	new = realloc(*items, more * item_bytes);
	if (!new)
		return false;
	*items = new;
	*max = more;
	return true;
}

/** array_reserve - room for @nr items; *@items may move; false: no memory, unchanged */
#define array_reserve(items, max, nr) \
	array_reserve_bytes((void **)(items), max, nr, sizeof(**(items)))

#endif
