// SPDX-License-Identifier: GPL-2.0-only
#include "blockdev.h"

#include <blkid.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../../userspace/lib/knl.h"
#include "../../userspace/lib/sysblock.h"

void blockdev_of_volume(const struct knl_volume *v, char *name, size_t bytes)
{
	struct sysblock dev;

	if (sysblock_find("/sys", v->dev_major, v->dev_minor, v->dev_start_bytes, v->size_bytes,
			  &dev) == 0)
		snprintf(name, bytes, "%s", dev.label);
	else
		snprintf(name, bytes, "%u:%u", v->dev_major, v->dev_minor);
}

/* -- who uses it -- */

static bool mounted(unsigned int major, unsigned int minor, char *where, size_t bytes)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	bool found = false;
	char line[4096], point[2048];
	unsigned int a, b;

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*d %*d %u:%u %*s %2047s", &a, &b, point) == 3 && a == major &&
		    b == minor) {
			snprintf(where, bytes, "mounted on %.200s", point);
			found = true;
		}
	if (f)
		fclose(f);
	return found;
}

bool blockdev_is_swap(unsigned int major, unsigned int minor)
{
	FILE *f = fopen("/proc/swaps", "re");
	bool found = false;
	char line[4096], path[2048];
	struct stat st;

	while (f && !found && fgets(line, sizeof(line), f))
		if (sscanf(line, "%2047s", path) == 1 && stat(path, &st) == 0 &&
		    S_ISBLK(st.st_mode) && st.st_rdev == makedev(major, minor))
			found = true;
	if (f)
		fclose(f);
	return found;
}

static bool swapped(unsigned int major, unsigned int minor, char *where, size_t bytes)
{
	bool found = blockdev_is_swap(major, minor);

	if (found)
		snprintf(where, bytes, "used as swap");
	return found;
}

static bool held(unsigned int major, unsigned int minor, char *where, size_t bytes)
{
	char path[64];
	struct dirent *de;
	bool found = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/dev/block/%u:%u/holders", major, minor);
	dir = opendir(path);
	while (dir && !found && (de = readdir(dir)))
		if (de->d_name[0] != '.') {
			snprintf(where, bytes, "used by %.200s", de->d_name);
			found = true;
		}
	if (dir)
		closedir(dir);
	return found;
}

static bool used(unsigned int major, unsigned int minor, char *where, size_t bytes)
{
	return mounted(major, minor, where, bytes) || swapped(major, minor, where, bytes) ||
	       held(major, minor, where, bytes);
}

static bool read_number(const char *dir, const char *name, unsigned int *major, unsigned int *minor)
{
	char path[600];
	FILE *f;
	bool ok;

	snprintf(path, sizeof(path), "%s/%s/dev", dir, name);
	f = fopen(path, "re");
	ok = f && fscanf(f, "%u:%u", major, minor) == 2;
	if (f)
		fclose(f);
	return ok;
}

/* The disk itself, or a partition of it. */
static void find_user(const struct blockdev *dev, char *where, size_t bytes)
{
	unsigned int major, minor;
	char dir_path[64], name[256];
	struct dirent *de;
	bool found;
	DIR *dir;

	snprintf(where, bytes, "used by something");
	if (used(dev->major, dev->minor, where, bytes))
		return;
	snprintf(dir_path, sizeof(dir_path), "/sys/dev/block/%u:%u", dev->major, dev->minor);
	dir = opendir(dir_path);
	for (found = false; dir && !found && (de = readdir(dir));) {
		if (de->d_name[0] == '.' || !read_number(dir_path, de->d_name, &major, &minor))
			continue;
		if (used(major, minor, name, sizeof(name))) {
			snprintf(where, bytes, "its partition %.40s is %.120s", de->d_name, name);
			found = true;
		}
	}
	if (dir)
		closedir(dir);
}

int blockdev_open(const char *path, bool write, struct blockdev *dev, char *why)
{
	char where[200];
	struct stat st;

	if (stat(path, &st) < 0) {
		int ret = -errno;

		snprintf(why, BLOCKDEV_TEXT_BYTES, "%s", strerror(-ret));
		return ret;
	}
	if (!S_ISBLK(st.st_mode)) {
		snprintf(why, BLOCKDEV_TEXT_BYTES, "it is no block device");
		return -ENOTBLK;
	}
	dev->major = major(st.st_rdev);
	dev->minor = minor(st.st_rdev);
	dev->fd = open(path, (write ? O_RDWR : O_RDONLY) | O_EXCL | O_CLOEXEC);
	if (dev->fd < 0) {
		int ret = -errno;

		if (ret == -EBUSY) {
			find_user(dev, where, sizeof(where));
			snprintf(why, BLOCKDEV_TEXT_BYTES, "it is in use: %s", where);
		} else {
			snprintf(why, BLOCKDEV_TEXT_BYTES, "%s", strerror(-ret));
		}
		return ret;
	}
	if (ioctl(dev->fd, BLKGETSIZE64, &dev->size_bytes) < 0) {
		int ret = -errno;

		snprintf(why, BLOCKDEV_TEXT_BYTES, "its size: %s", strerror(-ret));
		close(dev->fd);
		return ret;
	}
	return 0;
}

void blockdev_close(struct blockdev *dev)
{
	close(dev->fd);
	dev->fd = -1;
}

int blockdev_signature(const struct blockdev *dev, char *what, size_t bytes)
{
	blkid_probe probe = blkid_new_probe();
	const char *type = NULL, *label = NULL, *table = NULL;
	int ret = -EIO;

	if (!probe)
		return -ENOMEM;
	if (blkid_probe_set_device(probe, dev->fd, 0, 0) < 0)
		goto out;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
	blkid_probe_enable_partitions(probe, 1);
	switch (blkid_do_safeprobe(probe)) {
	case 0:
		blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
		blkid_probe_lookup_value(probe, "LABEL", &label, NULL);
		blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL);
		if (type)
			snprintf(what, bytes, label ? "%s labelled %s" : "%s", type, label);
		else
			snprintf(what, bytes, "a partition table (%s)", table ? table : "unknown");
		ret = 1;
		break;
	case 1:
		ret = 0;
		break;
	case -2:	/* several at once: certainly not empty */
		snprintf(what, bytes, "more than one signature");
		ret = 1;
		break;
	default:
		break;
	}
out:
	blkid_free_probe(probe);
	return ret;
}
