// SPDX-License-Identifier: GPL-2.0-only
#include "pacer.h"

#define SECOND_NS UINT64_C(1000000000)

/* Rounded up: rounded down a limit would not be one. */
static uint64_t cost_ns(uint64_t bytes, uint64_t bytes_per_s)
{
	uint64_t rest = bytes % bytes_per_s * SECOND_NS;

	return bytes / bytes_per_s * SECOND_NS + (rest + bytes_per_s - 1) / bytes_per_s;
}

int pacer_take(void *arg, uint64_t bytes)
{
	const struct pacer *p = arg;
	uint64_t now_ns = p->env->ops->monotonic_ns(p->env);

	return p->wait_until(p->arg, now_ns + cost_ns(bytes, p->bytes_per_s));
}
