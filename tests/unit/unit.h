/* SPDX-License-Identifier: GPL-2.0-only */
/* What every cmocka program needs, in the order cmocka wants it. */
#ifndef BLKSHIP_UNIT_H
#define BLKSHIP_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* A repeatable random number: xorshift64*, by Vigna. */
static inline uint64_t unit_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

#endif
