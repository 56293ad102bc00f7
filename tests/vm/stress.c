// SPDX-License-Identifier: GPL-2.0-only
/*
 * stress - overlapping writes from many threads, each told when it began and ended
 *
 *	stress SEED SECONDS THREADS LOG DEVICE...
 *
 * At most for so long, or until SIGTERM.
 *
 * Direct writes of 1 to 256 sectors into the hot areas of the devices, some on each
 * other, in turns of bursts and calm. Every sector carries the number of its write. LOG
 * gets, in the order it happened, a struct event when a write begins and when it ended:
 * what a model needs to tell which contents the disks could have had at an instant.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEVICES	4
#define MAX_EVENTS	(1u << 21)
#define MAX_SECTORS	256
#define SECTOR_BYTES	512
#define CALM_PAUSE_NS	600000000
#define SECOND_NS	UINT64_C(1000000000)

/* Where is written, in sectors; tests/e2e/stress has the same. The second may fail. */
static const struct area {
	uint32_t first, count;
} areas[] = { { 1024, 22528 }, { 24576, 1024 } };

enum { BEGIN, DONE, FAILED };

struct event {
	uint64_t time_ns;	/* wall clock */
	uint32_t write;		/* from 1 */
	uint32_t sector;
	uint16_t count;
	uint8_t device;
	uint8_t kind;
	uint32_t reserved;
};

static int devices[MAX_DEVICES];
static int nr_devices;
static uint64_t seed;
static atomic_ullong end_ns;
static struct event *events;
static atomic_uint nr_events, nr_writes;
static atomic_bool burst;

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * SECOND_NS + ts.tv_nsec;
}

static uint32_t dice(uint64_t *state, uint32_t bound)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*state >> 33) % bound;
}

static void pause_ns(uint64_t ns)
{
	struct timespec ts = { ns / SECOND_NS, ns % SECOND_NS };

	nanosleep(&ts, NULL);
}

/* Its place in the log is taken at once: the order of the log is that of events. */
static void tell(struct event e, uint8_t kind)
{
	unsigned int at = atomic_fetch_add(&nr_events, 1);

	e.kind = kind;
	e.time_ns = clock_ns(CLOCK_REALTIME);
	events[at] = e;
}

static void fill(uint64_t *words, const struct event *e)
{
	for (uint32_t i = 0; i < e->count; i++, words += SECTOR_BYTES / 8) {
		uint64_t word = e->write * UINT64_C(0x9e3779b97f4a7c15) +
				(e->sector + i) * UINT64_C(0xc2b2ae3d27d4eb4f) + e->device;

		words[0] = e->write;
		for (int k = 1; k < SECTOR_BYTES / 8; k++)
			words[k] = word;
	}
}

/* Half of them small; one in sixteen where writes may fail. */
static struct event choose(uint64_t *state)
{
	static const uint16_t most[] = { 1, 8, 8, 8, 16, 64, 64, MAX_SECTORS };
	const struct area *area = &areas[dice(state, 16) == 0];
	struct event e = { .device = dice(state, nr_devices) };

	e.count = 1 + dice(state, most[dice(state, 8)]);
	e.sector = area->first + dice(state, area->count - e.count + 1);
	return e;
}

static void *writer(void *arg)
{
	uint64_t state = seed + (uintptr_t)arg * UINT64_C(0x9e3779b97f4a7c15);
	void *buf = aligned_alloc(4096, MAX_SECTORS * SECTOR_BYTES);

	if (!buf)
		err(1, "memory");
	while (clock_ns(CLOCK_MONOTONIC) < atomic_load(&end_ns) &&
	       atomic_load(&nr_events) < MAX_EVENTS - 1024) {
		struct event e = choose(&state);
		size_t bytes = (size_t)e.count * SECTOR_BYTES;
		ssize_t n;

		e.write = 1 + atomic_fetch_add(&nr_writes, 1);
		fill(buf, &e);
		tell(e, BEGIN);
		n = pwrite(devices[e.device], buf, bytes, (off_t)e.sector * SECTOR_BYTES);
		tell(e, n == (ssize_t)bytes ? DONE : FAILED);
		if (!atomic_load(&burst))
			pause_ns(dice(&state, 2 * CALM_PAUSE_NS));
	}
	free(buf);
	return NULL;
}

static void on_term(int sig)
{
	(void)sig;
	atomic_store(&end_ns, 0);
}

static void turns(void)
{
	uint64_t state = seed;

	while (clock_ns(CLOCK_MONOTONIC) < atomic_load(&end_ns)) {
		pause_ns(2 * SECOND_NS + dice(&state, 3000) * UINT64_C(1000000));
		atomic_store(&burst, true);
		pause_ns(dice(&state, 1500) * UINT64_C(1000000));
		atomic_store(&burst, false);
	}
}

static void log_write(const char *path)
{
	FILE *f = fopen(path, "w");

	if (!f || fwrite(events, sizeof(*events), nr_events, f) != nr_events || fclose(f))
		err(1, "%s", path);
}

int main(int argc, char **argv)
{
	pthread_t threads[64];
	uintptr_t nr;

	if (argc < 6 || argc > 5 + MAX_DEVICES || atoi(argv[3]) > 64)
		errx(2, "usage: stress SEED SECONDS THREADS LOG DEVICE...");
	seed = strtoull(argv[1], NULL, 0);
	atomic_store(&end_ns, clock_ns(CLOCK_MONOTONIC) + atoi(argv[2]) * SECOND_NS);
	nr = atoi(argv[3]);
	for (int i = 5; i < argc; i++) {
		devices[nr_devices] = open(argv[i], O_WRONLY | O_DIRECT);
		if (devices[nr_devices++] < 0)
			err(1, "%s", argv[i]);
	}
	events = mmap(NULL, MAX_EVENTS * sizeof(*events), PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (events == MAP_FAILED)
		err(1, "memory");
	signal(SIGTERM, on_term);
	for (uintptr_t i = 0; i < nr; i++)
		if (pthread_create(&threads[i], NULL, writer, (void *)(i + 1)))
			errx(1, "no thread");
	turns();
	for (uintptr_t i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
	log_write(argv[4]);
	return 0;
}
