// SPDX-License-Identifier: GPL-2.0-only
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../../userspace/lib/when.h"

#define SHOW_NS	(WHEN_NS / 5)

static uint64_t monotonic_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * (uint64_t)WHEN_NS + ts.tv_nsec;
}

void progress_begin(struct progress *p, uint64_t total_bytes)
{
	*p = (struct progress){ .total_bytes = total_bytes, .begun_ns = monotonic_ns() };
}

double progress_seconds(const struct progress *p)
{
	return (monotonic_ns() - p->begun_ns) / (double)WHEN_NS;
}

static void show(struct progress *p, uint64_t now_ns)
{
	uint64_t done_bytes = p->done_bytes < p->total_bytes ? p->done_bytes : p->total_bytes;
	double elapsed_s = progress_seconds(p);
	double rate = elapsed_s > 0 ? done_bytes / elapsed_s : 0;
	unsigned int percent = done_bytes * 100 / p->total_bytes;
	char bar[11] = "----------";

	p->shown_ns = now_ns;
	memset(bar, '#', percent / 10);
	fprintf(stderr, "\r[%s] %3u%%  %.0f MB/s  ETA %.0fs   ", bar, percent, rate / 1e6,
		rate > 0 ? (p->total_bytes - done_bytes) / rate : 0.0);
}

void progress_add(struct progress *p, uint64_t bytes)
{
	uint64_t now_ns = monotonic_ns();

	p->done_bytes += bytes;
	if (p->total_bytes && now_ns - p->shown_ns >= SHOW_NS && isatty(STDERR_FILENO))
		show(p, now_ns);
}

void progress_skip(struct progress *p, uint64_t bytes)
{
	p->total_bytes -= bytes < p->total_bytes ? bytes : p->total_bytes;
}

void progress_end(struct progress *p)
{
	if (p->shown_ns)
		fputs("\r\033[K", stderr);
}
