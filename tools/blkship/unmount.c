// SPDX-License-Identifier: GPL-2.0-only
#include "unmount.h"

#include <errno.h>
#include <limits.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "loopdev.h"
#include "mapping.h"
#include "nbddev.h"

#define MOUNTS		"/proc/self/mounts"
#define LINE_BYTES	(4 * PATH_MAX)

struct found {
	const char *source;
	char dir[PATH_MAX];
	bool any;
};

/* The last one: what was mounted later may lie on what was mounted before. */
static int find_mount(const char *source, struct found *found)
{
	FILE *f = setmntent(MOUNTS, "re");
	char *line = malloc(LINE_BYTES);
	struct mntent entry;

	found->any = false;
	if (!f || !line) {
		if (f)
			endmntent(f);
		free(line);
		return f ? -ENOMEM : -errno;
	}
	while (getmntent_r(f, &entry, line, LINE_BYTES))
		if (strcmp(entry.mnt_fsname, source) == 0) {
			snprintf(found->dir, sizeof(found->dir), "%s", entry.mnt_dir);
			found->any = true;
		}
	endmntent(f);
	free(line);
	return 0;
}

static int unmount_source(const char *source, char *why)
{
	struct found found;
	int ret;

	while ((ret = find_mount(source, &found)) == 0 && found.any)
		if (umount2(found.dir, UMOUNT_NOFOLLOW) < 0) {
			ret = -errno;
			snprintf(why, MAPPING_TEXT_BYTES, "%.400s: %s", found.dir, ret == -EBUSY ?
				 "in use; it stays mounted; end what works in it (fuser -vm shows what) and try again" :
				 strerror(-ret));
			break;
		}
	return ret;
}

static int unmount_device(void *arg, const char *device)
{
	return unmount_source(device, arg);
}

/* What lies on a part of it, and what lies on it. */
static int unmount_nbd(void *arg, const char *device)
{
	int ret = loopdev_each(device, unmount_device, arg);

	return ret ? ret : unmount_device(arg, device);
}

struct partition {
	const char *device;
	char *why;
};

static int refuse_loop(void *arg, const char *loop)
{
	const struct partition *p = arg;

	snprintf(p->why, MAPPING_TEXT_BYTES, "%s, a partition of it, is in use: %s lies over it; all of it stays; end what uses that, `losetup -d %s`, then try again",
		 p->device, loop, loop);
	return -EBUSY;
}

static int check_partition(void *arg, const char *device)
{
	struct partition p = { device, arg };

	return loopdev_each(device, refuse_loop, &p);
}

/*
 * None of ours lies over a partition. Of an NBD device it would not be in the way, as a mount is,
 * and find its disk gone.
 */
static int check_partitions(void *arg, const char *device)
{
	return sysblock_each_partition(device, check_partition, arg);
}

static int detach_loops(void *arg, const char *path)
{
	int ret = loopdev_detach_all(path);

	if (ret < 0)
		snprintf(arg, MAPPING_TEXT_BYTES, "loop devices over %.400s: %s", path,
			 ret == -EBUSY ? "in use (losetup -l shows them); they stay until they are closed; then try again" :
			 strerror(-ret));
	return ret;
}

static int detach_nbds(const char *dir, bool flush, char *why)
{
	int ret = nbddev_detach_all(dir, flush);

	if (ret < 0)
		snprintf(why, MAPPING_TEXT_BYTES, "NBD devices of %.400s: %s", dir, ret == -EBUSY ?
			 "in use (lsblk and fuser show by what); close what has them open, then try again" :
			 ret == -EIO ? "they cannot be flushed, and stay; see to the store and close what has them open, then try again; ending their nbdkit gives up what was not flushed" :
			 strerror(-ret));
	return ret;
}

int unmount_all(const char *name, const char *dir, bool flush, char *why)
{
	char source[MAPPING_NAME_BYTES + 16];
	int ret = nbddev_each(dir, check_partitions, why);

	if (ret == 0)
		ret = loopdev_each(dir, check_partitions, why);
	if (ret == 0)
		ret = nbddev_each(dir, unmount_nbd, why);
	if (ret == 0)
		ret = loopdev_each(dir, unmount_device, why);
	if (ret == 0) {
		snprintf(source, sizeof(source), UNMOUNT_SOURCE_PREFIX "%s", name);
		ret = unmount_source(source, why);
	}
	if (ret == 0)
		ret = detach_loops(why, dir);
	if (ret == 0)
		ret = nbddev_each(dir, detach_loops, why);
	return ret == 0 ? detach_nbds(dir, flush, why) : ret;
}

int unmount_dir(const char *dir)
{
	if (umount2(dir, UMOUNT_NOFOLLOW) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	return -errno;
}

int unmount_find(const char *dir, char *name, size_t bytes)
{
	const char *prefix = UNMOUNT_SOURCE_PREFIX;
	FILE *f = setmntent(MOUNTS, "re");
	char *line = malloc(LINE_BYTES);
	struct mntent entry;
	int ret = -ENOENT;

	while (f && line && getmntent_r(f, &entry, line, LINE_BYTES))
		if (strcmp(entry.mnt_dir, dir) == 0) {
			bool ours = strncmp(entry.mnt_fsname, prefix, strlen(prefix)) == 0;

			ret = ours ? 0 : -ENOENT;
			if (ours)
				snprintf(name, bytes, "%s", entry.mnt_fsname + strlen(prefix));
		}
	if (f)
		endmntent(f);
	free(line);
	return ret;
}
