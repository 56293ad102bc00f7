/* SPDX-License-Identifier: GPL-2.0-only */
/* worker - the end of a thread that works on the disk beside the loop. */
#ifndef BLKSHIP_WORKER_H
#define BLKSHIP_WORKER_H

#include <pthread.h>

/**
 * worker_end - wait for one that was told to end
 * If a disk that hangs keeps it, nothing of it can be freed, and nobody is to wait for ever: after
 * 30 s the process ends, with a line that says what the disk did not end (@what).
 */
void worker_end(pthread_t thread, const char *what);

#endif
