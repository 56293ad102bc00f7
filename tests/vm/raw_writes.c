// SPDX-License-Identifier: GPL-2.0-only
/*
 * raw-writes DEVICE SEED - write to a device without end, from several processes
 *
 * Direct writes of 512 bytes to 64 KiB. Most go to the first 4 MiB, a few anywhere in
 * the first three quarters; the rest is never written to. Each sector says which
 * one it is, and which write it is from, so none is ever the same twice.
 */
#include <err.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/fs.h>

#define PROCESSES	4
#define HOT_SECTORS	8192
#define MAX_SECTORS	128
#define COLD_ONE_IN	48
#define PAUSE_US	1500

struct sector {
	uint64_t address, seed, process, write_no;
	uint64_t filler[60];
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * UINT64_C(2685821657736338717);
}

static void write_one(int fd, struct sector *buf, uint64_t sectors, uint64_t *state,
		      struct sector what)
{
	uint64_t dice = next_random(state);
	uint64_t area = dice % COLD_ONE_IN ? HOT_SECTORS : sectors / 4 * 3;
	uint64_t nr = dice >> 8 & 3 ? 8 : 1 + (dice >> 16) % MAX_SECTORS;
	uint64_t at = (dice >> 24) % (area - nr + 1);

	for (uint64_t i = 0; i < nr; i++) {
		buf[i] = what;
		buf[i].address = at + i;
		for (unsigned int k = 0; k < 60; k++)
			buf[i].filler[k] = what.write_no * 60 + k;
	}
	if (pwrite(fd, buf, nr * sizeof(*buf), at * sizeof(*buf)) != (ssize_t)(nr * sizeof(*buf)))
		err(1, "writing %u sectors at %llu", (unsigned int)nr, (unsigned long long)at);
}

int main(int argc, char **argv)
{
	struct sector what = { .seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 0 };
	uint64_t bytes, state;
	struct sector *buf;
	int fd;

	if (argc != 3)
		errx(2, "usage: raw-writes DEVICE SEED");
	for (; what.process < PROCESSES - 1 && fork() > 0; what.process++)
		;
	fd = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &bytes))
		err(1, "%s", argv[1]);
	buf = aligned_alloc(4096, MAX_SECTORS * sizeof(*buf));
	if (!buf)
		errx(1, "no memory");
	state = what.seed * 7919 + what.process + 1;
	for (;; what.write_no++) {
		write_one(fd, buf, bytes / sizeof(*buf), &state, what);
		usleep(next_random(&state) % PAUSE_US);
	}
}
