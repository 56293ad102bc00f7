// SPDX-License-Identifier: GPL-2.0-only
#include "loopdev.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define ATTACH_TRIES	64	/* others look for free ones, too */
#define GONE_TRIES	500
#define GONE_NS		10000000

static int configure(int fd, int file, const struct loopdev_range *range, unsigned int flags,
		     const char *path)
{
	struct loop_config config = { .fd = file };

	config.info.lo_offset = range->offset_bytes;
	config.info.lo_sizelimit = range->length_bytes;
	snprintf((char *)config.info.lo_file_name, LO_NAME_SIZE, "%.63s", path);
	if (flags & LOOPDEV_READ_ONLY)
		config.info.lo_flags |= LO_FLAGS_READ_ONLY;
	if (flags & LOOPDEV_PARTITIONS)
		config.info.lo_flags |= LO_FLAGS_PARTSCAN;
	if (flags & LOOPDEV_UNTIL_CLOSED)
		config.info.lo_flags |= LO_FLAGS_AUTOCLEAR;
	return ioctl(fd, LOOP_CONFIGURE, &config) < 0 ? -errno : 0;
}

int loopdev_attach(const char *path, const struct loopdev_range *range, unsigned int flags,
		   char *device)
{
	int mode = flags & LOOPDEV_READ_ONLY ? O_RDONLY : O_RDWR;
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), file, fd = -1, ret = -EBUSY;

	if (control < 0)
		return -errno;
	file = open(path, mode | O_CLOEXEC);
	if (file < 0) {
		ret = -errno;
		close(control);
		return ret;
	}
	for (int i = 0; i < ATTACH_TRIES && ret == -EBUSY; i++) {
		int number = ioctl(control, LOOP_CTL_GET_FREE);

		if (number < 0) {
			ret = -errno;
			break;
		}
		snprintf(device, LOOPDEV_BYTES, "/dev/loop%d", number);
		fd = open(device, mode | O_CLOEXEC);
		ret = fd < 0 ? -errno : configure(fd, file, range, flags, path);
		if (ret < 0 && fd >= 0)
			close(fd);
	}
	close(file);
	close(control);
	return ret < 0 ? ret : fd;
}

/* What it lies over; a file that was unlinked keeps its path, with a remark behind. */
static bool backing_file(const char *name, char *path, size_t bytes)
{
	char attribute[PATH_MAX];
	FILE *f;
	bool found;

	snprintf(attribute, sizeof(attribute), "/sys/block/%.32s/loop/backing_file", name);
	f = fopen(attribute, "re");
	if (!f)
		return false;
	found = fgets(path, bytes, f);
	fclose(f);
	return found;
}

int loopdev_each(const char *dir, int (*each)(void *arg, const char *device), void *arg)
{
	char path[PATH_MAX], device[LOOPDEV_BYTES];
	size_t length = strlen(dir);
	struct dirent *entry;
	DIR *blocks = opendir("/sys/block");
	int ret = 0;

	while (blocks && ret == 0 && (entry = readdir(blocks))) {
		if (strncmp(entry->d_name, "loop", 4) != 0 ||
		    !backing_file(entry->d_name, path, sizeof(path)) ||
		    strncmp(path, dir, length) != 0 || path[length] != '/')
			continue;
		snprintf(device, sizeof(device), "/dev/%.20s", entry->d_name);
		ret = each(arg, device);
	}
	if (blocks)
		closedir(blocks);
	return ret;
}

static int detach(void *arg, const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return errno == ENXIO || errno == ENOENT ? 0 : -errno;
	/* One that is in use goes when it is closed. */
	if (ioctl(fd, LOOP_CLR_FD) < 0 && errno != ENXIO)
		ret = -errno;
	close(fd);
	return ret;
}

static int still_there(void *arg, const char *device)
{
	return -EBUSY;
}

int loopdev_detach_all(const char *dir)
{
	struct timespec pause = { .tv_nsec = GONE_NS };
	int ret = loopdev_each(dir, detach, NULL);

	/* The kernel takes them down behind our back, and tells nobody when it has. */
	for (int i = 0; ret == 0 && loopdev_each(dir, still_there, NULL); i++) {
		if (i == GONE_TRIES)
			return -EBUSY;
		nanosleep(&pause, NULL);
	}
	return ret;
}
