// SPDX-License-Identifier: GPL-2.0-only
#include "loopdev.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define ATTACH_TRIES	64	/* others look for free ones, too */

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
		snprintf(device, SYSBLOCK_BYTES, "/dev/loop%d", number);
		fd = open(device, mode | O_CLOEXEC);
		ret = fd < 0 ? -errno : configure(fd, file, range, flags, path);
		if (ret < 0 && fd >= 0)
			close(fd);
	}
	close(file);
	close(control);
	return ret < 0 ? ret : fd;
}

static const struct sysblock_kind loops = { "loop", "loop/backing_file" };

int loopdev_each(const char *path, int (*each)(void *arg, const char *device), void *arg)
{
	return sysblock_each(&loops, path, each, arg);
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

int loopdev_detach_all(const char *path)
{
	int ret = loopdev_each(path, detach, NULL);

	return ret ? ret : sysblock_wait_gone(&loops, path);
}
