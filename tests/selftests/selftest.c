// SPDX-License-Identifier: GPL-2.0-only
/* See selftest.h: the system. ring.c and netlink.c have the rest. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "selftest.h"

void give_up(const char *what, ...)
{
	char text[512];
	va_list args;

	va_start(args, what);
	vsnprintf(text, sizeof(text), what, args);
	va_end(args);
	fflush(stdout);
	fprintf(stderr, "# %s\n", text);
	exit(1);
}

int sh(const char *command, ...)
{
	char line[1024];
	va_list args;
	int status;

	va_start(args, command);
	vsnprintf(line, sizeof(line), command, args);
	va_end(args);
	fflush(stdout);
	status = system(line);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

const char *sh_line(const char *command, ...)
{
	static char out[1024];
	char line[1024];
	va_list args;
	FILE *pipe;

	va_start(args, command);
	vsnprintf(line, sizeof(line), command, args);
	va_end(args);
	fflush(stdout);
	pipe = popen(line, "r");
	if (!pipe || !fgets(out, sizeof(out), pipe))
		out[0] = '\0';
	if (pipe)
		pclose(pipe);
	out[strcspn(out, "\n")] = '\0';
	return out;
}

void dm_create(const char *name, const char *table, ...)
{
	char text[512];
	va_list args;

	va_start(args, table);
	vsnprintf(text, sizeof(text), table, args);
	va_end(args);
	if (sh("dmsetup create %s --table '%s' && dmsetup mknodes", name, text))
		give_up("cannot create %s: %s", name, text);
}

void dm_remove(const char *name)
{
	if (sh("dmsetup remove --retry %s", name))
		give_up("cannot remove %s", name);
}

void volume_create(const char *name, const char *disk, const char *group,
		   const char *volume, unsigned int ring_mib)
{
	dm_create(name, "0 %llu blkship %s 0 %s %s ring_mib %u", DISK_SECTORS,
		  disk, group, volume, ring_mib);
}

void volume_remove(const char *name, const char *group, const char *volume)
{
	int ret = netlink_command(BLKSHIP_CMD_VOLUME_DEL, group, volume);

	if (ret)
		give_up("cannot detach %s: %s", volume, strerror(-ret));
	dm_remove(name);
}

void tap_create(const char *device, const char *group, const char *volume,
		unsigned int ring_mib)
{
	int ret = netlink_tap(device, group, volume, ring_mib);

	if (ret)
		give_up("cannot tap %s: %s (%s)", device, strerror(-ret),
			netlink_message);
}

void tap_remove(const char *group, const char *volume)
{
	int ret = netlink_command(BLKSHIP_CMD_VOLUME_DEL, group, volume);

	if (ret)
		give_up("cannot detach %s: %s", volume, strerror(-ret));
}

int dm_open(const char *name)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/mapper/%s", name);
	fd = open(path, O_RDWR | O_DIRECT);
	if (fd < 0)
		give_up("%s: %s", path, strerror(errno));
	return fd;
}

void sleep_ms(unsigned int ms)
{
	struct timespec pause = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&pause, NULL);
}

bool wait_until(bool (*is_true)(void *), void *arg)
{
	for (unsigned int tries = 0; tries < 1000; tries++) {
		if (is_true(arg))
			return true;
		sleep_ms(10);
	}
	return is_true(arg);
}

void *pattern(size_t bytes, unsigned int seed)
{
	uint32_t *words = aligned_alloc(4096, (bytes + 4095) & ~4095UL);
	uint32_t state = seed * 2654435761U + 1;

	if (!words)
		give_up("no memory");
	for (size_t i = 0; i < bytes / sizeof(*words); i++) {
		state = state * 1664525U + 1013904223U;
		words[i] = state;
	}
	return words;
}

struct async {
	pthread_t thread;
	int fd;
	const void *buf;
	size_t bytes;
	uint64_t at;
	long result;
	atomic_bool ended;
};

static void *async_run(void *arg)
{
	struct async *a = arg;

	a->result = pwrite(a->fd, a->buf, a->bytes, a->at);
	if (a->result < 0)
		a->result = -errno;
	atomic_store(&a->ended, true);
	return NULL;
}

struct async *async_write(int fd, const void *buf, size_t bytes, uint64_t at)
{
	struct async *a = calloc(1, sizeof(*a));

	if (!a)
		give_up("no memory");
	a->fd = fd;
	a->buf = buf;
	a->bytes = bytes;
	a->at = at;
	if (pthread_create(&a->thread, NULL, async_run, a))
		give_up("no thread");
	return a;
}

bool async_ended(struct async *a)
{
	return atomic_load(&a->ended);
}

long async_wait(struct async *a)
{
	long result;

	pthread_join(a->thread, NULL);
	result = a->result;
	free(a);
	return result;
}
