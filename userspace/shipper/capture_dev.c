// SPDX-License-Identifier: GPL-2.0-only
/*
 * capture_dev - ring and ioctls of /dev/blkship, and reading the devices back.
 *
 * A device is opened read-only and O_DIRECT through the node that the kernel
 * names in sysfs, or one of our own where there is no udev.
 */
#include "capture_dev.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "../lib/sysblock.h"

struct device {
	int fd;			/* -1: not open */
	uint32_t major, minor;
	uint64_t start_bytes;
};

struct read_io {
	struct loop_io io;
	void (*done)(void *arg, int64_t result);
	void *arg;
};

struct capture_dev {
	struct capture capture;
	struct loop *loop;
	int fd;
	size_t desc_bytes;
	struct device devices[BLKSHIP_MAX_VOLUMES];
};

static struct capture_dev *dev_of(struct capture *c)
{
	return (struct capture_dev *)((char *)c - offsetof(struct capture_dev, capture));
}

static int call(struct capture *c, unsigned long request, void *arg)
{
	return ioctl(dev_of(c)->fd, request, arg) < 0 ? -errno : 0;
}

static int dev_take(struct capture *c, uint16_t volume, uint64_t first_region, uint32_t count,
		    uint32_t max_regions, uint64_t *bitmap, uint32_t *taken, uint64_t *seq)
{
	struct blkship_take arg = {
		.volume = volume,
		.count = count,
		.first_region = first_region,
		.max_regions = max_regions,
		.bitmap = (uintptr_t)bitmap,
	};
	int ret = call(c, BLKSHIP_IOC_TAKE, &arg);

	if (ret)
		return ret;
	*taken = arg.taken;
	*seq = arg.seq;
	return 0;
}

static int dev_clear(struct capture *c, uint16_t volume, uint64_t first_region, uint32_t count,
		     const uint64_t *bitmap)
{
	struct blkship_clear arg = {
		.volume = volume,
		.count = count,
		.first_region = first_region,
		.bitmap = (uintptr_t)bitmap,
	};

	return call(c, BLKSHIP_IOC_CLEAR, &arg);
}

static int dev_map_read(struct capture *c, uint16_t volume, int which, uint64_t first_region,
			uint32_t count, uint64_t *bitmap)
{
	struct blkship_map_read arg = {
		.volume = volume,
		.which = which,
		.count = count,
		.first_region = first_region,
		.bitmap = (uintptr_t)bitmap,
	};

	return call(c, BLKSHIP_IOC_MAP_READ, &arg);
}

static int dev_mark(struct capture *c, uint16_t volume, uint64_t offset_bytes,
		    uint64_t length_bytes, uint64_t *seq)
{
	struct blkship_mark arg = {
		.volume = volume,
		.offset_bytes = offset_bytes,
		.length_bytes = length_bytes,
	};
	int ret = call(c, BLKSHIP_IOC_MARK, &arg);

	if (!ret)
		*seq = arg.seq;
	return ret;
}

static int dev_set_incarnation(struct capture *c, uint32_t incarnation)
{
	struct blkship_incarnation arg = { .incarnation = incarnation };

	return call(c, BLKSHIP_IOC_INCARNATION, &arg);
}

static int dev_settle(struct capture *c, uint16_t volume, bool fits, uint64_t kept_log_no)
{
	struct blkship_settle arg = {
		.volume = volume,
		.fits = fits,
		.kept_log_no = kept_log_no,
	};

	return call(c, BLKSHIP_IOC_SETTLE, &arg);
}

static uint64_t dev_log_no(struct capture *c, uint16_t volume)
{
	struct blkship_volume_info info = { .volume = volume };

	return call(c, BLKSHIP_IOC_VOLUME, &info) ? 0 : info.log_no;
}

/* What stays the same when names change: a serial, a wwid, a dm uuid. */
static void device_identity(const struct blkship_volume_info *info, char *out, size_t bytes)
{
	static const char *const names[] = { "serial", "wwid", "device/wwid", "dm/uuid" };
	struct sysblock dev;

	out[0] = '\0';
	if (sysblock_get("/sys", info->dev_major, info->dev_minor, &dev))
		return;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !out[0]; i++)
		sysblock_text(&dev, names[i], out, bytes);
}

static int dev_volumes(struct capture *c, struct capture_volume *out, int max)
{
	int nr = 0;

	for (int i = 0; i < BLKSHIP_MAX_VOLUMES && nr < max; i++) {
		struct blkship_volume_info info = { .volume = i };
		int ret = call(c, BLKSHIP_IOC_VOLUME, &info);

		if (ret == -ENOENT)
			continue;
		if (ret)
			return ret;
		out[nr] = (struct capture_volume){
			.index = i,
			.flags = info.flags,
			.size_bytes = info.size_bytes,
			.kept_incarnation = info.kept_incarnation,
			.kept_ordinal = info.kept_ordinal,
			.kept_log_no = info.kept_log_no,
		};
		memcpy(out[nr].kept_instance, info.kept_instance, sizeof(info.kept_instance));
		memcpy(out[nr].name, info.name, sizeof(out[nr].name));
		out[nr].name[sizeof(out[nr].name) - 1] = '\0';
		device_identity(&info, out[nr].identity, sizeof(out[nr].identity));
		nr++;
	}
	return nr;
}

/* A node of our own, gone from sight at once: only the descriptor stays. */
static int node_open(unsigned int major, unsigned int minor)
{
	char path[] = "/dev/.blkship-XXXXXX";
	int fd = mkstemp(path), ret;

	if (fd < 0)
		return -errno;
	close(fd);
	unlink(path);
	if (mknod(path, S_IFBLK | 0400, makedev(major, minor)))
		return -errno;
	fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	ret = fd < 0 ? -errno : fd;
	unlink(path);
	return ret;
}

/* The volume may be on another device than last time: a table can be reloaded. */
static int device_open(struct capture *c, uint16_t volume)
{
	struct blkship_volume_info info = { .volume = volume };
	struct device *d = &dev_of(c)->devices[volume];
	int ret = call(c, BLKSHIP_IOC_VOLUME, &info);

	if (ret)
		return ret;
	d->start_bytes = info.dev_start_bytes;
	if (d->fd >= 0 && d->major == info.dev_major && d->minor == info.dev_minor)
		return 0;
	ret = node_open(info.dev_major, info.dev_minor);
	if (ret < 0)
		return ret;
	if (d->fd >= 0)
		close(d->fd);	/* reads in flight keep their file */
	d->fd = ret;
	d->major = info.dev_major;
	d->minor = info.dev_minor;
	return 0;
}

static void read_done(struct loop_io *io, int32_t result)
{
	struct read_io *r = (struct read_io *)io;

	r->done(r->arg, result);
	free(r);
}

static int dev_read(struct capture *c, uint16_t volume, uint64_t offset_bytes, void *buf,
		    uint32_t bytes, void (*done)(void *arg, int64_t result), void *arg)
{
	struct capture_dev *d = dev_of(c);
	struct read_io *r;
	int ret;

	if (volume >= BLKSHIP_MAX_VOLUMES)
		return -EINVAL;
	ret = device_open(c, volume);
	if (ret)
		return ret;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->io.done = read_done;
	r->done = done;
	r->arg = arg;
	loop_read(d->loop, &r->io, d->devices[volume].fd, buf, bytes,
		  d->devices[volume].start_bytes + offset_bytes);
	return 0;
}

static const struct capture_ops dev_ops = {
	.take = dev_take,
	.clear = dev_clear,
	.map_read = dev_map_read,
	.mark = dev_mark,
	.set_incarnation = dev_set_incarnation,
	.volumes = dev_volumes,
	.read = dev_read,
	.settle = dev_settle,
	.log_no = dev_log_no,
};

static int ring_map(struct capture_dev *d, char *why)
{
	long page = sysconf(_SC_PAGESIZE);
	struct capture *c = &d->capture;
	void *kernel = mmap(NULL, page, PROT_READ, MAP_SHARED, d->fd, BLKSHIP_MMAP_KERNEL);
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, d->fd,
			      BLKSHIP_MMAP_CONSUMER);
	void *descs, *payload;

	c->kernel = kernel == MAP_FAILED ? NULL : kernel;
	c->consumer = consumer == MAP_FAILED ? NULL : consumer;
	if (!c->kernel || !c->consumer) {
		snprintf(why, TLS_TEXT_BYTES, "mapping the ring: %s", strerror(errno));
		return -errno;
	}
	if (c->kernel->magic != BLKSHIP_RING_MAGIC ||
	    c->kernel->abi_version != BLKSHIP_ABI_VERSION) {
		snprintf(why, TLS_TEXT_BYTES,
			 "the module's ring has version %u, this daemon knows %u",
			 c->kernel->abi_version, BLKSHIP_ABI_VERSION);
		return -EPROTO;
	}
	c->desc_count = c->kernel->desc_count;
	c->payload_bytes = c->kernel->payload_bytes;
	d->desc_bytes = ((size_t)c->desc_count * sizeof(*c->descs) + page - 1) / page * page;
	descs = mmap(NULL, d->desc_bytes, PROT_READ, MAP_SHARED, d->fd, BLKSHIP_MMAP_DESC);
	payload = mmap(NULL, c->payload_bytes, PROT_READ, MAP_SHARED, d->fd,
		       BLKSHIP_MMAP_PAYLOAD);
	c->descs = descs == MAP_FAILED ? NULL : descs;
	c->payload = payload == MAP_FAILED ? NULL : payload;
	if (c->descs && c->payload)
		return 0;
	snprintf(why, TLS_TEXT_BYTES, "mapping the ring: %s", strerror(errno));
	return -errno;
}

static void dev_close(struct capture *c)
{
	struct capture_dev *d = dev_of(c);
	long page = sysconf(_SC_PAGESIZE);

	for (int i = 0; i < BLKSHIP_MAX_VOLUMES; i++)
		if (d->devices[i].fd >= 0)
			close(d->devices[i].fd);
	if (c->payload)
		munmap((void *)c->payload, c->payload_bytes);
	if (c->descs)
		munmap((void *)c->descs, d->desc_bytes);
	if (c->consumer)
		munmap(c->consumer, page);
	if (c->kernel)
		munmap((void *)c->kernel, page);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

static int dev_open(void *arg, struct loop *loop, const char *group, struct capture **out,
		    int *poll_fd, char *why)
{
	struct blkship_bind bind = { .abi_version = BLKSHIP_ABI_VERSION };
	struct capture_dev *d = calloc(1, sizeof(*d));
	int ret;

	if (!d)
		return -ENOMEM;
	for (int i = 0; i < BLKSHIP_MAX_VOLUMES; i++)
		d->devices[i].fd = -1;
	d->loop = loop;
	d->capture.ops = &dev_ops;
	snprintf(d->capture.group, sizeof(d->capture.group), "%s", group);
	memcpy(bind.group, d->capture.group, sizeof(bind.group));
	d->fd = open(CAPTURE_DEV_PATH, O_RDWR | O_CLOEXEC);
	ret = d->fd < 0 ? -errno : call(&d->capture, BLKSHIP_IOC_BIND, &bind);
	if (ret)
		snprintf(why, TLS_TEXT_BYTES, "%s: %s", CAPTURE_DEV_PATH,
			 ret == -EBUSY ? "the group has a consumer already" : strerror(-ret));
	else
		ret = ring_map(d, why);
	if (ret) {
		dev_close(&d->capture);
		return ret;
	}
	*out = &d->capture;
	*poll_fd = d->fd;
	return 0;
}

const struct capture_opener capture_dev_opener = { .open = dev_open, .close = dev_close };
