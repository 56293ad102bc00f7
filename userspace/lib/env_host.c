// SPDX-License-Identifier: GPL-2.0-only
#include "env_host.h"

#include <assert.h>
#include <errno.h>
#include <sys/random.h>
#include <time.h>

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + ts.tv_nsec;
}

uint64_t env_host_realtime_ns(struct env *env)
{
	return clock_ns(CLOCK_REALTIME);
}

uint64_t env_host_monotonic_ns(struct env *env)
{
	return clock_ns(CLOCK_MONOTONIC);
}

void env_host_random(struct env *env, void *buf, size_t bytes)
{
	uint8_t *at = buf;

	while (bytes) {
		ssize_t n = getrandom(at, bytes, 0);

		if (n < 0 && errno == EINTR)
			continue;
		assert(n > 0);		/* the pool is ready, the buffer is ours */
		at += n;
		bytes -= n;
	}
}
