// SPDX-License-Identifier: GPL-2.0-only
#include "sysblock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GONE_TRIES	500
#define GONE_NS		10000000

/* It has none, or has just lost it, or one longer than any of ours. */
static bool is_none(int error)
{
	return error == ENOENT || error == ENODEV || error == ENXIO || error == ENAMETOOLONG;
}

/* A file that was unlinked keeps its path, with a remark behind. */
int sysblock_is(const struct sysblock_kind *kind, const char *device, const char *path)
{
	char attribute[PATH_MAX], value[PATH_MAX] = "";
	size_t length = strlen(path);
	int error = 0;
	FILE *f;

	snprintf(attribute, sizeof(attribute), "/sys/block/%.32s/%s", strrchr(device, '/') + 1,
		 kind->attribute);
	f = fopen(attribute, "re");
	if (!f)
		return is_none(errno) ? 0 : -errno;
	if (!fgets(value, sizeof(value), f)) {
		error = ferror(f) ? errno : 0;
		value[0] = 0;
	}
	fclose(f);
	if (error && !is_none(error))
		return -error;
	return strncmp(value, path, length) == 0 && (value[length] == '/' || value[length] == '\n');
}

int sysblock_each(const struct sysblock_kind *kind, const char *path,
		  int (*each)(void *arg, const char *device), void *arg)
{
	char device[SYSBLOCK_BYTES];
	struct dirent *entry;
	DIR *blocks = opendir("/sys/block");
	int ret = 0;

	if (!blocks)
		return -errno;
	while (ret == 0 && (entry = readdir(blocks))) {
		if (strncmp(entry->d_name, kind->name, strlen(kind->name)) != 0)
			continue;
		snprintf(device, sizeof(device), "/dev/%.20s", entry->d_name);
		ret = sysblock_is(kind, device, path);
		if (ret > 0)
			ret = each(arg, device);
	}
	closedir(blocks);
	return ret;
}

int sysblock_each_partition(const char *device, int (*each)(void *arg, const char *partition),
			    void *arg)
{
	const char *disk = strrchr(device, '/') + 1;
	char path[PATH_MAX], partition[SYSBLOCK_BYTES];
	size_t length = strlen(disk);
	struct dirent *entry;
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/block/%s", disk);
	dir = opendir(path);
	if (!dir)
		return is_none(errno) ? 0 : -errno;
	while (ret == 0 && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, disk, length) != 0 || entry->d_name[length] != 'p')
			continue;
		snprintf(partition, sizeof(partition), "/dev/%.20s", entry->d_name);
		ret = each(arg, partition);
	}
	closedir(dir);
	return ret;
}

static int still_there(void *arg, const char *device)
{
	return -EBUSY;
}

int sysblock_wait_gone(const struct sysblock_kind *kind, const char *path)
{
	struct timespec pause = { .tv_nsec = GONE_NS };
	int ret;

	for (int i = 0; (ret = sysblock_each(kind, path, still_there, NULL)) == -EBUSY; i++) {
		if (i == GONE_TRIES)
			break;
		nanosleep(&pause, NULL);
	}
	return ret;
}
