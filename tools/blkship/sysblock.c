// SPDX-License-Identifier: GPL-2.0-only
#include "sysblock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define GONE_TRIES	500
#define GONE_NS		10000000

/* A file that was unlinked keeps its path, with a remark behind. */
bool sysblock_is(const struct sysblock_kind *kind, const char *device, const char *path)
{
	char attribute[PATH_MAX], value[PATH_MAX] = "";
	size_t length = strlen(path);
	FILE *f;

	snprintf(attribute, sizeof(attribute), "/sys/block/%.32s/%s", strrchr(device, '/') + 1,
		 kind->attribute);
	f = fopen(attribute, "re");
	if (!f)
		return false;
	if (!fgets(value, sizeof(value), f))
		value[0] = 0;
	fclose(f);
	return strncmp(value, path, length) == 0 && (value[length] == '/' || value[length] == '\n');
}

int sysblock_each(const struct sysblock_kind *kind, const char *path,
		  int (*each)(void *arg, const char *device), void *arg)
{
	char device[SYSBLOCK_BYTES];
	struct dirent *entry;
	DIR *blocks = opendir("/sys/block");
	int ret = 0;

	while (blocks && ret == 0 && (entry = readdir(blocks))) {
		if (strncmp(entry->d_name, kind->name, strlen(kind->name)) != 0)
			continue;
		snprintf(device, sizeof(device), "/dev/%.20s", entry->d_name);
		if (sysblock_is(kind, device, path))
			ret = each(arg, device);
	}
	if (blocks)
		closedir(blocks);
	return ret;
}

static int still_there(void *arg, const char *device)
{
	return -EBUSY;
}

int sysblock_wait_gone(const struct sysblock_kind *kind, const char *path)
{
	struct timespec pause = { .tv_nsec = GONE_NS };

	for (int i = 0; sysblock_each(kind, path, still_there, NULL); i++) {
		if (i == GONE_TRIES)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
	return 0;
}
