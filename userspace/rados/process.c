// SPDX-License-Identifier: GPL-2.0-only
#include "process.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void read_word(const char *path, char *word, size_t bytes)
{
	FILE *f = fopen(path, "r");

	snprintf(word, bytes, "-");
	if (!f)
		return;
	if (fgets(word, bytes, f))
		word[strcspn(word, " \n")] = 0;
	if (!*word)
		snprintf(word, bytes, "-");
	fclose(f);
}

/* State, and when it began in ticks since boot. Return: false, it is not shown. */
static bool stat_read(const char *path, char *state, uint64_t *started)
{
	unsigned long long ticks;
	char stat[1024], *at;
	FILE *f = fopen(path, "r");

	if (!f)
		return false;
	/* Its name, in brackets, may have anything in it; the 22nd field is what we want. */
	at = fgets(stat, sizeof(stat), f) ? strrchr(stat, ')') : NULL;
	fclose(f);
	if (!at || sscanf(at + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
			  state, &ticks) != 2)
		return false;
	*started = ticks;
	return true;
}

void process_self(struct rados_owner *self)
{
	struct stat st;
	char state;

	memset(self, 0, sizeof(*self));
	if (gethostname(self->host, sizeof(self->host) - 1) < 0 || !*self->host)
		strcpy(self->host, "-");
	read_word("/etc/machine-id", self->machine, sizeof(self->machine));
	read_word("/proc/sys/kernel/random/boot_id", self->boot, sizeof(self->boot));
	self->pid_space = stat("/proc/self/ns/pid", &st) == 0 ? st.st_ino : 0;
	self->pid = getpid();
	if (!stat_read("/proc/self/stat", &state, &self->started))
		self->started = 0;
}

/* Pids mean the same in /proc as to us: one that was mounted elsewhere has other processes. */
static bool proc_is_ours(void)
{
	char pid[16];
	ssize_t length = readlink("/proc/self", pid, sizeof(pid) - 1);

	if (length <= 0)
		return false;
	pid[length] = 0;
	return strtol(pid, NULL, 10) == getpid();
}

struct rados_sighting process_look(uint32_t pid)
{
	struct rados_sighting seen = { .exists = true };
	char path[32], state;

	if (pid == 0 || pid > INT_MAX)	/* to kill() these are many, or one that is not meant */
		return seen;
	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	if (proc_is_ours() && stat_read(path, &state, &seen.started))
		seen.exists = state != 'Z' && state != 'X';
	else
		seen.exists = kill(pid, 0) == 0 || errno != ESRCH;
	return seen;
}
