/* SPDX-License-Identifier: GPL-2.0-only */
/* array - a growing array, of which the caller bounds how far; where something lies in it; order. */
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

/**
 * array_search - where in sorted items a place is: the index of the first that is not before it
 * @item: name that @before knows an item by: a pointer to it
 * @before: true of items before that place, and of no other
 * Gives @nr when all are before it.
 */
#define array_search(items, nr, item, before) ({		\
	size_t low_ = 0, high_ = (nr);				\
								\
	while (low_ < high_) {					\
		size_t mid_ = low_ + (high_ - low_) / 2;	\
		__typeof__(&(items)[0]) item = &(items)[mid_];	\
								\
		if (before)					\
			low_ = mid_ + 1;			\
		else						\
			high_ = mid_;				\
	}							\
	low_;							\
})

static inline int array_compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/** array_sort_u64 - let them rise; @items may be NULL where there are none */
static inline void array_sort_u64(uint64_t *items, size_t nr)
{
	if (nr)
		qsort(items, nr, sizeof(*items), array_compare_u64);
}

#endif
