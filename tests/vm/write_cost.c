// SPDX-License-Identifier: GPL-2.0-only
/*
 * write-cost DEVICE QUEUE_DEPTH WRITES [BYTES] - what one direct write costs.
 *
 * Keeps QUEUE_DEPTH io_uring writes in flight and prints the mean nanoseconds per
 * write. In a guest that counts instructions (run-guest --icount) a nanosecond is
 * one executed instruction. No two writes in flight share a block. The first
 * quarter of the writes warms up and is not counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SPAN_BYTES (8ULL << 20)
#define HUGE_BYTES (2U << 20)
#define PAGE_BYTES 4096U

struct run {
	struct io_uring uring;
	int fd;
	void *buffer;
	unsigned int bytes;
	unsigned int depth;
	uint64_t issued;
};

static uint64_t raw_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_RAW, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/*
 * A large one in huge pages: then a bio can hold all of it in a few segments. Any
 * other in pages that lie apart: no two neighbours are given out one after the
 * other, or else it would be luck in how many pieces it is.
 */
static void *buffer_alloc(unsigned int bytes)
{
	bool huge = bytes >= HUGE_BYTES;
	char *buffer = aligned_alloc(huge ? HUGE_BYTES : PAGE_BYTES, bytes);
	unsigned int half = bytes / 2, i;

	if (!buffer)
		return NULL;
	if (huge)
		madvise(buffer, bytes, MADV_HUGEPAGE);
	for (i = 0; !huge && i + PAGE_BYTES <= half; i += PAGE_BYTES)
		buffer[i] = buffer[half + i] = 0x5a;
	memset(buffer, 0x5a, bytes);
	return buffer;
}

/* Odd steps through a power of two visit every slot before one comes again. */
static uint64_t next_offset(struct run *run)
{
	uint64_t slots = SPAN_BYTES / run->bytes;

	return run->issued++ * 5077 % slots * run->bytes;
}

/* As many writes as asked for; false when one of them failed. */
static bool write_many(struct run *run, unsigned int writes)
{
	unsigned int queued = 0, ended = 0;
	struct io_uring_cqe *cqe;
	bool good = true;

	while (ended < writes) {
		for (; queued < writes && queued - ended < run->depth; queued++)
			io_uring_prep_write(io_uring_get_sqe(&run->uring),
					    run->fd, run->buffer, run->bytes,
					    next_offset(run));
		io_uring_submit_and_wait(&run->uring, 1);
		while (io_uring_peek_cqe(&run->uring, &cqe) == 0) {
			good &= cqe->res == (int)run->bytes;
			io_uring_cqe_seen(&run->uring, cqe);
			ended++;
		}
	}
	return good;
}

int main(int argc, char **argv)
{
	struct run run = { .bytes = argc > 4 ? atoi(argv[4]) : 4096 };
	unsigned int writes, warm_up;
	uint64_t begin;

	if (argc < 4) {
		fprintf(stderr, "usage: write-cost DEVICE QUEUE_DEPTH WRITES [BYTES]\n");
		return 2;
	}
	run.depth = atoi(argv[2]);
	writes = atoi(argv[3]);
	warm_up = writes / 4;
	run.fd = open(argv[1], O_RDWR | O_DIRECT);
	if (run.fd < 0) {
		fprintf(stderr, "write-cost: %s: %s\n", argv[1], strerror(errno));
		return 1;
	}
	run.buffer = buffer_alloc(run.bytes);
	if (!run.buffer || io_uring_queue_init(run.depth, &run.uring, 0)) {
		fprintf(stderr, "write-cost: no io_uring\n");
		return 1;
	}
	if (!write_many(&run, warm_up)) {
		fprintf(stderr, "write-cost: %s: a write failed\n", argv[1]);
		return 1;
	}
	usleep(200000);		/* what the warm-up left to do in the background */
	begin = raw_ns();
	if (!write_many(&run, writes - warm_up)) {
		fprintf(stderr, "write-cost: %s: a write failed\n", argv[1]);
		return 1;
	}
	printf("%.1f\n", (double)(raw_ns() - begin) / (writes - warm_up));
	return 0;
}
