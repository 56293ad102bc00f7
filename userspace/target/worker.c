// SPDX-License-Identifier: GPL-2.0-only
#include "worker.h"

#include <time.h>
#include <unistd.h>

#include "../lib/log.h"

#define STOP_S 30

void worker_end(pthread_t thread, const char *what)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += STOP_S;
	if (pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until) == 0)
		return;
	log_error("the disk did not end %s within %d s; ending without it; nothing that was acknowledged is lost",
		  what, STOP_S);
	_exit(1);
}
