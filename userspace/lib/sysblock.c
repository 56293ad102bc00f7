// SPDX-License-Identifier: GPL-2.0-only
/* See sysblock.h. */
#include "sysblock.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR_BYTES 512u
#define MAX_STACK 1024		/* devices above or below one */

/* -- one device -- */

static void text_at(const char *dir, const char *file, char *out, size_t bytes)
{
	char path[SYSBLOCK_DIR_BYTES + 64];
	FILE *f;

	out[0] = '\0';
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	f = fopen(path, "re");
	if (!f)
		return;
	if (!fgets(out, bytes, f))
		out[0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	fclose(f);
}

static uint64_t number_at(const char *dir, const char *file)
{
	char text[32];

	text_at(dir, file, text, sizeof(text));
	return strtoull(text, NULL, 10);
}

static bool exists_at(const char *dir, const char *file)
{
	char path[SYSBLOCK_DIR_BYTES + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	return access(path, F_OK) == 0;
}

static enum sysblock_kind kind_of(const struct sysblock *dev)
{
	char uuid[160];

	sysblock_disk_text(dev, "dm/uuid", uuid, sizeof(uuid));
	if (strncmp(uuid, "mpath-", 6) == 0)
		return SYSBLOCK_MULTIPATH;
	if (strncmp(dev->disk, "dm-", 3) == 0)
		return SYSBLOCK_DM;
	if (strncmp(dev->disk, "md", 2) == 0)
		return SYSBLOCK_MD;
	if (strncmp(dev->disk, "bcache", 6) == 0)
		return SYSBLOCK_BCACHE;
	return strstr(dev->dir, "/nvme-subsystem/") ? SYSBLOCK_NVME_HEAD : SYSBLOCK_PLAIN;
}

int sysblock_get(const char *sysfs, unsigned int major, unsigned int minor,
		 struct sysblock *out)
{
	struct sysblock dev = { .major = major, .minor = minor };
	char link[SYSBLOCK_DIR_BYTES], path[PATH_MAX], *base;

	snprintf(link, sizeof(link), "%s/dev/block/%u:%u", sysfs, major, minor);
	if (!realpath(link, path) || strlen(path) >= sizeof(dev.dir))
		return -ENODEV;
	snprintf(dev.dir, sizeof(dev.dir), "%.511s", path);
	base = strrchr(path, '/');
	snprintf(dev.name, sizeof(dev.name), "%.63s", base + 1);
	dev.partition = exists_at(dev.dir, "partition");
	dev.size_bytes = number_at(dev.dir, "size") * SECTOR_BYTES;
	if (dev.partition) {
		dev.start_bytes = number_at(dev.dir, "start") * SECTOR_BYTES;
		*base = '\0';
		base = strrchr(path, '/');
	}
	snprintf(dev.disk, sizeof(dev.disk), "%.63s", base ? base + 1 : dev.name);
	text_at(dev.dir, "dm/name", dev.label, sizeof(dev.label));
	if (!dev.label[0])
		memcpy(dev.label, dev.name, sizeof(dev.label));
	dev.kind = kind_of(&dev);
	*out = dev;
	return 0;
}

void sysblock_text(const struct sysblock *dev, const char *file, char *out, size_t bytes)
{
	text_at(dev->dir, file, out, bytes);
}

void sysblock_disk_text(const struct sysblock *dev, const char *file, char *out, size_t bytes)
{
	char up[64];

	snprintf(up, sizeof(up), "%s%s", dev->partition ? "../" : "", file);
	text_at(dev->dir, up, out, bytes);
}

/* -- its neighbours -- */

/* The devices that are named in one of its folders. */
static int each_in(const char *sysfs, const struct sysblock *dev, const char *folder,
		   int (*each)(void *arg, const struct sysblock *found), void *arg)
{
	char path[SYSBLOCK_DIR_BYTES + 64], file[300], number[32];
	unsigned int major, minor;
	struct sysblock found;
	struct dirent *de;
	int ret = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/%s", dev->dir, folder);
	dir = opendir(path);
	if (!dir)
		return 0;
	while (ret == 0 && (de = readdir(dir))) {
		if (de->d_name[0] == '.')
			continue;
		snprintf(file, sizeof(file), "%s/dev", de->d_name);
		text_at(path, file, number, sizeof(number));
		if (sscanf(number, "%u:%u", &major, &minor) == 2 &&
		    sysblock_get(sysfs, major, minor, &found) == 0)
			ret = each(arg, &found);
	}
	closedir(dir);
	return ret;
}

struct partition_filter {
	const struct sysblock *disk;
	int (*each)(void *arg, const struct sysblock *part);
	void *arg;
};

static int only_partitions(void *arg, const struct sysblock *found)
{
	const struct partition_filter *f = arg;

	return found->partition && strcmp(found->disk, f->disk->name) == 0 ?
	       f->each(f->arg, found) : 0;
}

int sysblock_partitions(const char *sysfs, const struct sysblock *disk,
			int (*each)(void *arg, const struct sysblock *part), void *arg)
{
	struct partition_filter f = { disk, each, arg };

	return disk->partition ? 0 : each_in(sysfs, disk, ".", only_partitions, &f);
}

struct range {
	uint64_t start_bytes, size_bytes;
	struct sysblock *out;
};

static int is_range(void *arg, const struct sysblock *part)
{
	struct range *r = arg;

	if (part->start_bytes != r->start_bytes || part->size_bytes != r->size_bytes)
		return 0;
	*r->out = *part;
	return 1;
}

int sysblock_find(const char *sysfs, unsigned int major, unsigned int minor,
		  uint64_t start_bytes, uint64_t size_bytes, struct sysblock *out)
{
	struct range r = { start_bytes, size_bytes, out };
	struct sysblock disk;
	int ret = sysblock_get(sysfs, major, minor, &disk);

	if (ret)
		return ret;
	if (sysblock_partitions(sysfs, &disk, is_range, &r) == 0)
		*out = disk;
	return 0;
}

/* -- up and down -- */

struct stack {
	struct sysblock *devices;	/* each once, in the order they were found */
	size_t nr, room;
};

static int stack_add(void *arg, const struct sysblock *dev)
{
	struct stack *st = arg;

	for (size_t i = 0; i < st->nr; i++)
		if (st->devices[i].major == dev->major && st->devices[i].minor == dev->minor)
			return 0;
	if (st->nr == MAX_STACK)
		return -E2BIG;
	if (st->nr == st->room) {
		size_t room = st->room ? st->room * 2 : 16;
		struct sysblock *more = realloc(st->devices, room * sizeof(*more));

		if (!more)
			return -ENOMEM;
		st->devices = more;
		st->room = room;
	}
	st->devices[st->nr++] = *dev;
	return 0;
}

struct climb {
	const char *sysfs;
	struct stack *stack;
};

static int add_holders(void *arg, const struct sysblock *dev)
{
	struct climb *c = arg;

	return each_in(c->sysfs, dev, "holders", stack_add, c->stack);
}

static int climb(struct climb *c, const struct sysblock *dev)
{
	int ret = add_holders(c, dev);

	return ret ? ret : sysblock_partitions(c->sysfs, dev, add_holders, c);
}

int sysblock_above(const char *sysfs, const struct sysblock *dev,
		   int (*each)(void *arg, const struct sysblock *above), void *arg)
{
	struct stack st = { .nr = 0 };
	struct climb c = { sysfs, &st };
	int ret = climb(&c, dev);

	if (ret == 0 && dev->partition)
		ret = each_in(sysfs, dev, "../holders", stack_add, &st);
	for (size_t i = 0; ret == 0 && i < st.nr; i++) {
		struct sysblock at = st.devices[i];	/* the array may move */

		ret = each(arg, &at);
		if (ret == 0)
			ret = climb(&c, &at);
	}
	free(st.devices);
	return ret;
}

int sysblock_below(const char *sysfs, const struct sysblock *dev,
		   int (*each)(void *arg, const struct sysblock *below), void *arg)
{
	struct stack st = { .nr = 0 };
	int ret = each_in(sysfs, dev, dev->partition ? "../slaves" : "slaves", stack_add, &st);

	for (size_t i = 0; ret == 0 && i < st.nr; i++) {
		struct sysblock at = st.devices[i];

		ret = each(arg, &at);
		if (ret == 0)
			ret = each_in(sysfs, &at, at.partition ? "../slaves" : "slaves", stack_add,
				      &st);
	}
	free(st.devices);
	return ret;
}
