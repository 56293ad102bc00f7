/* SPDX-License-Identifier: GPL-2.0-only */
/* progress - how far long work has come, on a terminal only. */
#ifndef BLKSHIP_PROGRESS_H
#define BLKSHIP_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	uint64_t total_bytes;	/* 0: nothing is shown */
	uint64_t done_bytes;
	uint64_t begun_ns, shown_ns;
};

/** progress_begin - from now on, so much is to be done */
void progress_begin(struct progress *p, uint64_t total_bytes);

/** progress_add - so much more is done; shown a few times a second */
void progress_add(struct progress *p, uint64_t bytes);

/** progress_skip - so much need not be done after all */
void progress_skip(struct progress *p, uint64_t bytes);

/** progress_end - take it off the terminal */
void progress_end(struct progress *p);

/** progress_seconds - since it began */
double progress_seconds(const struct progress *p);

#endif
