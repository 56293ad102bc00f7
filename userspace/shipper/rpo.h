/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * rpo - the recovery point objective as it was, as a distribution.
 *
 * RPO at an instant is that instant minus the time of the newest recovery point.
 * It is sampled at a steady pace, and the last hour of samples is kept.
 */
#ifndef BLKSHIP_RPO_H
#define BLKSHIP_RPO_H

#include <stdint.h>

#define RPO_SAMPLE_NS	UINT64_C(250000000)
#define RPO_SAMPLES	14400		/* an hour */

struct rpo {
	uint32_t ms[RPO_SAMPLES];	/* a ring */
	uint32_t nr, next;
};

struct rpo_figures {
	uint32_t p50_ms, p99_ms, max_ms;
	uint32_t samples;
};

/** rpo_add - one sample */
void rpo_add(struct rpo *r, uint64_t rpo_ns);

/** rpo_figures - of all samples kept; 0 without samples, and when memory is short */
void rpo_figures(const struct rpo *r, struct rpo_figures *out);

#endif
