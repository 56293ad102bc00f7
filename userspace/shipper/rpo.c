// SPDX-License-Identifier: GPL-2.0-only
/* See rpo.h. */
#include "rpo.h"

#include <stdlib.h>
#include <string.h>

void rpo_add(struct rpo *r, uint64_t rpo_ns)
{
	uint64_t ms = rpo_ns / 1000000;

	r->ms[r->next] = ms > UINT32_MAX ? UINT32_MAX : ms;
	r->next = (r->next + 1) % RPO_SAMPLES;
	if (r->nr < RPO_SAMPLES)
		r->nr++;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

void rpo_figures(const struct rpo *r, struct rpo_figures *out)
{
	uint32_t *sorted = r->nr ? malloc(r->nr * sizeof(*sorted)) : NULL;

	*out = (struct rpo_figures){ 0 };
	if (!sorted)
		return;
	memcpy(sorted, r->ms, r->nr * sizeof(*sorted));
	qsort(sorted, r->nr, sizeof(*sorted), by_value);
	out->samples = r->nr;
	out->p50_ms = sorted[r->nr / 2];
	out->p99_ms = sorted[(uint64_t)r->nr * 99 / 100];
	out->max_ms = sorted[r->nr - 1];
	free(sorted);
}
