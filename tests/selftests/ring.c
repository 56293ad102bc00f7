// SPDX-License-Identifier: GPL-2.0-only
/* The consumer's side of a ring, as simple as it can be: see selftest.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "selftest.h"

#define PAGE_BYTES 4096

static void *map(int fd, size_t bytes, int rights, uint64_t at)
{
	void *p = mmap(NULL, bytes, rights, MAP_SHARED, fd, at);

	if (p == MAP_FAILED)
		give_up("mmap at %#llx: %s", (unsigned long long)at,
			strerror(errno));
	return p;
}

int ring_try(struct ring *r, const char *group)
{
	struct blkship_bind bind = { .abi_version = BLKSHIP_ABI_VERSION };
	int ret;

	snprintf(bind.group, sizeof(bind.group), "%s", group);
	r->fd = open("/dev/blkship", O_RDWR | O_CLOEXEC);
	if (r->fd < 0)
		return -errno;
	if (ioctl(r->fd, BLKSHIP_IOC_BIND, &bind)) {
		ret = -errno;
		close(r->fd);
		return ret;
	}
	r->kernel = map(r->fd, PAGE_BYTES, PROT_READ, BLKSHIP_MMAP_KERNEL);
	r->consumer = map(r->fd, PAGE_BYTES, PROT_READ | PROT_WRITE,
			  BLKSHIP_MMAP_CONSUMER);
	r->descs = map(r->fd, r->kernel->desc_count * sizeof(*r->descs),
		       PROT_READ, BLKSHIP_MMAP_DESC);
	r->payload = map(r->fd, r->kernel->payload_bytes, PROT_READ,
			 BLKSHIP_MMAP_PAYLOAD);
	return 0;
}

void ring_bind(struct ring *r, const char *group)
{
	int ret = ring_try(r, group);

	if (ret)
		give_up("cannot bind to %s: %s", group, strerror(-ret));
}

void ring_unbind(struct ring *r)
{
	munmap((void *)r->payload, r->kernel->payload_bytes);
	munmap((void *)r->descs, r->kernel->desc_count * sizeof(*r->descs));
	munmap(r->consumer, PAGE_BYTES);
	munmap((void *)r->kernel, PAGE_BYTES);
	close(r->fd);
}

uint64_t ring_newest(const struct ring *r)
{
	return __atomic_load_n(&r->kernel->newest_seq, __ATOMIC_ACQUIRE);
}

uint64_t ring_watermark(const struct ring *r)
{
	return __atomic_load_n(&r->kernel->watermark_seq, __ATOMIC_ACQUIRE);
}

uint64_t ring_head(const struct ring *r)
{
	return __atomic_load_n(&r->kernel->desc_head, __ATOMIC_ACQUIRE);
}

static bool settled(void *arg)
{
	const struct ring *r = arg;

	return ring_watermark(r) == ring_newest(r);
}

bool ring_settle(const struct ring *r)
{
	return wait_until(settled, (void *)r);
}

const struct blkship_desc *ring_desc(const struct ring *r, uint64_t pos)
{
	return &r->descs[pos & (r->kernel->desc_count - 1)];
}

const uint8_t *ring_payload(const struct ring *r, const struct blkship_desc *d)
{
	return r->payload + (d->payload_pos & (r->kernel->payload_bytes - 1));
}

void ring_release_all(struct ring *r)
{
	uint64_t pos = __atomic_load_n(&r->kernel->watermark_pos,
				       __ATOMIC_ACQUIRE);

	__atomic_store_n(&r->consumer->drained_pos, pos, __ATOMIC_RELEASE);
	__atomic_store_n(&r->consumer->released_pos, pos, __ATOMIC_RELEASE);
}

const struct blkship_desc *ring_find(const struct ring *r, uint64_t seq)
{
	uint64_t head = ring_head(r);
	uint64_t pos = head > r->kernel->desc_count ?
		head - r->kernel->desc_count : 0;

	for (; pos < head; pos++)
		if (ring_desc(r, pos)->seq == seq)
			return ring_desc(r, pos);
	return NULL;
}

unsigned int ring_marked(const struct ring *r, unsigned int volume,
			 unsigned int which, uint64_t first,
			 unsigned int count)
{
	/* The window has to begin at a multiple of 64. */
	unsigned int before = first % 64, marked = 0;
	uint64_t bits[BLKSHIP_TAKE_MAX_REGIONS / 64] = { 0 };
	struct blkship_map_read read = {
		.volume = volume,
		.which = which,
		.count = before + count,
		.first_region = first - before,
		.bitmap = (uintptr_t)bits,
	};

	if (ioctl(r->fd, BLKSHIP_IOC_MAP_READ, &read))
		give_up("MAP_READ: %s", strerror(errno));
	for (unsigned int i = before; i < before + count; i++)
		marked += bits[i / 64] >> i % 64 & 1;
	return marked;
}

void ring_clean(const struct ring *r, unsigned int volume)
{
	uint64_t bits[BLKSHIP_TAKE_MAX_REGIONS / 64];
	uint64_t regions = DISK_SECTORS * 512 / BLKSHIP_REGION_BYTES;
	struct blkship_take take = {
		.volume = volume,
		.count = regions,
		.max_regions = regions,
		.bitmap = (uintptr_t)bits,
	};
	struct blkship_clear clear = {
		.volume = volume,
		.count = regions,
		.bitmap = (uintptr_t)bits,
	};

	if (ioctl(r->fd, BLKSHIP_IOC_TAKE, &take) ||
	    ioctl(r->fd, BLKSHIP_IOC_CLEAR, &clear))
		give_up("cannot clean volume %u: %s", volume, strerror(errno));
}
