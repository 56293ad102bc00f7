/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * seq - a sequence number as wire and store know it: (incarnation, number).
 *
 * Packed into one u64 so that comparing two is comparing integers: 16 bits of
 * incarnation over 48 bits of number. At a million writes per second a number
 * lasts 8.9 years; an incarnation is spent by a boot, a reload or a resync.
 */
#ifndef BLKSHIP_SEQ_H
#define BLKSHIP_SEQ_H

#include <stdint.h>

#define SEQ_NUMBER_BITS	48
#define SEQ_NUMBER_MAX	((UINT64_C(1) << SEQ_NUMBER_BITS) - 1)
#define SEQ_INCARNATION_MAX 0xffffu

static inline uint64_t seq_pack(uint32_t incarnation, uint64_t number)
{
	return (uint64_t)incarnation << SEQ_NUMBER_BITS | number;
}

static inline uint32_t seq_incarnation(uint64_t seq)
{
	return seq >> SEQ_NUMBER_BITS;
}

static inline uint64_t seq_number(uint64_t seq)
{
	return seq & SEQ_NUMBER_MAX;
}

#endif
