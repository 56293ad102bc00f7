// SPDX-License-Identifier: GPL-2.0-only
/* See ring_gen.h. */
#include "ring_gen.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../../kmod/dirty_core.h"
#include "../../kmod/ring_core.h"
#include "../../userspace/lib/crc32c.h"

#define MAX_VOLUMES 8

struct gen_volume {
	struct ring_gen_volume v;
	struct blkship_dirty maps;
	uint64_t *dirty, *repairing;
	int fd;
};

struct ring_gen {
	struct capture capture;		/* first: found by its address */
	struct capture_opener opener;
	pthread_mutex_t lock;
	struct blkship_ring ring;
	struct blkship_ring_kernel kernel;
	struct blkship_ring_consumer consumer;
	struct gen_volume volumes[MAX_VOLUMES];
	uint32_t nr_volumes;
	struct loop *loop;
	int wake_fd;
};

struct read_io {
	struct loop_io io;
	void (*done)(void *arg, int64_t result);
	void *arg;
};

static struct ring_gen *gen_of(struct capture *c)
{
	return (struct ring_gen *)c;
}

static void mark(struct ring_gen *g, struct gen_volume *v, uint64_t offset, uint64_t bytes)
{
	blkship_dirty_mark(&v->maps, offset, bytes);
	blkship_ring_mark(&g->ring);
}

static int gen_take(struct capture *c, uint16_t volume, uint64_t first, uint32_t count,
		    uint32_t max_regions, uint64_t *bitmap, uint32_t *taken, uint64_t *seq)
{
	struct ring_gen *g = gen_of(c);

	pthread_mutex_lock(&g->lock);
	*taken = blkship_dirty_take(&g->volumes[volume].maps, first, count, max_regions, bitmap);
	*seq = blkship_ring_mark(&g->ring);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static int gen_clear(struct capture *c, uint16_t volume, uint64_t first, uint32_t count,
		     const uint64_t *bitmap)
{
	struct ring_gen *g = gen_of(c);

	pthread_mutex_lock(&g->lock);
	blkship_dirty_clear(&g->volumes[volume].maps, first, count, bitmap);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static int gen_map_read(struct capture *c, uint16_t volume, int which, uint64_t first,
			uint32_t count, uint64_t *bitmap)
{
	struct ring_gen *g = gen_of(c);
	struct blkship_dirty *d = &g->volumes[volume].maps;

	pthread_mutex_lock(&g->lock);
	blkship_dirty_read(d, which == BLKSHIP_MAP_DIRTY ? d->dirty : d->repairing, first, count,
			   bitmap);
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static int gen_mark(struct capture *c, uint16_t volume, uint64_t offset, uint64_t bytes,
		    uint64_t *seq)
{
	struct ring_gen *g = gen_of(c);

	pthread_mutex_lock(&g->lock);
	mark(g, &g->volumes[volume], offset, bytes);
	*seq = g->ring.newest_seq;
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static int gen_set_incarnation(struct capture *c, uint32_t incarnation)
{
	struct ring_gen *g = gen_of(c);

	pthread_mutex_lock(&g->lock);
	if (g->kernel.incarnation)
		for (uint32_t i = 0; i < g->nr_volumes; i++)
			mark(g, &g->volumes[i], 0, g->volumes[i].v.size_bytes);
	g->kernel.incarnation = incarnation;
	pthread_mutex_unlock(&g->lock);
	return 0;
}

static int gen_volumes(struct capture *c, struct capture_volume *out, int max)
{
	struct ring_gen *g = gen_of(c);

	for (uint32_t i = 0; i < g->nr_volumes && (int)i < max; i++) {
		out[i] = (struct capture_volume){
			.index = i,
			.size_bytes = g->volumes[i].v.size_bytes,
		};
		snprintf(out[i].name, sizeof(out[i].name), "%s", g->volumes[i].v.name);
	}
	return g->nr_volumes;
}

static void read_done(struct loop_io *io, int32_t result)
{
	struct read_io *r = (struct read_io *)io;

	r->done(r->arg, result);
	free(r);
}

static int gen_read(struct capture *c, uint16_t volume, uint64_t offset, void *buf,
		    uint32_t bytes, void (*done)(void *arg, int64_t result), void *arg)
{
	struct ring_gen *g = gen_of(c);
	struct read_io *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->io.done = read_done;
	r->done = done;
	r->arg = arg;
	loop_read(g->loop, &r->io, g->volumes[volume].fd, buf, bytes, offset);
	return 0;
}

static void gen_woken(struct capture *c)
{
	uint64_t count;

	if (read(gen_of(c)->wake_fd, &count, sizeof(count)) < 0)
		return;		/* a wake-up less: nothing to do */
}

static const struct capture_ops gen_ops = {
	gen_take, gen_clear, gen_map_read, gen_mark, gen_set_incarnation, gen_volumes, gen_read,
	gen_woken, NULL, NULL,
};

static int gen_open(void *arg, struct loop *loop, const char *group, struct capture **out,
		    int *poll_fd, char *why)
{
	struct ring_gen *g = arg;

	g->loop = loop;
	snprintf(g->capture.group, sizeof(g->capture.group), "%s", group);
	*out = &g->capture;
	*poll_fd = g->wake_fd;
	return 0;
}

/* The consumer is gone: what it was repairing is dirty again. */
static void gen_close(struct capture *c)
{
	struct ring_gen *g = gen_of(c);

	pthread_mutex_lock(&g->lock);
	for (uint32_t i = 0; i < g->nr_volumes; i++) {
		struct blkship_dirty *d = &g->volumes[i].maps;

		if (!d->nr_repairing)
			continue;
		blkship_dirty_fall_back(d, 0, blkship_dirty_words(d->nr_regions));
		blkship_ring_mark(&g->ring);
	}
	pthread_mutex_unlock(&g->lock);
}

static int volume_make(struct ring_gen *g, const struct ring_gen_volume *v)
{
	struct gen_volume *to = &g->volumes[g->nr_volumes];
	uint64_t regions = blkship_dirty_regions(v->size_bytes);

	to->v = *v;
	to->dirty = calloc(blkship_dirty_words(regions), 8);
	to->repairing = calloc(blkship_dirty_words(regions), 8);
	to->fd = open(v->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	g->nr_volumes++;
	if (!to->dirty || !to->repairing || to->fd < 0 || ftruncate(to->fd, v->size_bytes))
		return -errno;
	blkship_dirty_init(&to->maps, regions, to->dirty, to->repairing);
	mark(g, to, 0, v->size_bytes);
	return 0;
}

int ring_gen_create(uint32_t desc_count, uint64_t payload_bytes,
		    const struct ring_gen_volume *volumes, uint32_t nr_volumes,
		    struct ring_gen **out)
{
	struct ring_gen *g = calloc(1, sizeof(*g));
	int ret = 0;

	if (!g)
		return -ENOMEM;
	pthread_mutex_init(&g->lock, NULL);
	g->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	g->ring.shared = &g->kernel;
	g->ring.consumer = &g->consumer;
	g->ring.desc_count = desc_count;
	g->ring.payload_bytes = payload_bytes;
	g->ring.descs = calloc(desc_count, sizeof(*g->ring.descs));
	g->ring.entries = calloc(desc_count, sizeof(*g->ring.entries));
	g->ring.payload = mmap(NULL, payload_bytes, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (g->wake_fd < 0 || !g->ring.descs || !g->ring.entries || g->ring.payload == MAP_FAILED)
		ret = -ENOMEM;
	else
		blkship_ring_init(&g->ring);
	if (getentropy(g->kernel.instance, sizeof(g->kernel.instance)))
		ret = -errno;
	for (uint32_t i = 0; i < nr_volumes && i < MAX_VOLUMES && !ret; i++)
		ret = volume_make(g, &volumes[i]);
	if (ret) {
		ring_gen_destroy(g);
		return ret;
	}
	g->capture = (struct capture){
		.ops = &gen_ops,
		.kernel = &g->kernel,
		.consumer = &g->consumer,
		.descs = g->ring.descs,
		.payload = g->ring.payload,
		.desc_count = desc_count,
		.payload_bytes = payload_bytes,
	};
	g->opener = (struct capture_opener){ gen_open, gen_close, g };
	*out = g;
	return 0;
}

void ring_gen_destroy(struct ring_gen *g)
{
	if (!g)
		return;
	for (uint32_t i = 0; i < g->nr_volumes; i++) {
		free(g->volumes[i].dirty);
		free(g->volumes[i].repairing);
		if (g->volumes[i].fd >= 0)
			close(g->volumes[i].fd);
	}
	free(g->ring.descs);
	free(g->ring.entries);
	if (g->ring.payload && g->ring.payload != MAP_FAILED)
		munmap(g->ring.payload, g->ring.payload_bytes);
	if (g->wake_fd >= 0)
		close(g->wake_fd);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

const struct capture_opener *ring_gen_opener(struct ring_gen *g)
{
	return &g->opener;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void device_write(struct gen_volume *v, uint64_t offset, const void *data, uint32_t bytes)
{
	static const uint8_t zeroes[1 << 20];
	ssize_t n = pwrite(v->fd, data ? data : zeroes, bytes, offset);

	if (n != (ssize_t)bytes) {
		perror(v->v.path);
		abort();
	}
}

bool ring_gen_write(struct ring_gen *g, uint16_t volume, uint64_t offset_bytes,
		    const void *data, uint32_t bytes, bool to_device)
{
	struct gen_volume *v = &g->volumes[volume];
	struct blkship_write w = {
		.offset_bytes = offset_bytes,
		.length_bytes = bytes,
		.time_ns = clock_ns(CLOCK_REALTIME),
		.submit_ns = clock_ns(CLOCK_MONOTONIC),
		.volume = volume,
		.op = data ? BLKSHIP_OP_WRITE : BLKSHIP_OP_ZERO,
	};
	uint64_t seq, pos = 0;
	bool captured, wake;

	pthread_mutex_lock(&g->lock);
	captured = blkship_ring_reserve(&g->ring, &w, &seq, &pos);
	if (!captured)
		blkship_dirty_mark(&v->maps, offset_bytes, bytes);
	pthread_mutex_unlock(&g->lock);
	if (captured && data) {
		uint8_t *to = blkship_ring_payload(&g->ring, pos);

		memcpy(to, data, bytes);
		blkship_ring_publish(&g->ring, pos, crc32c(to, bytes));
	}
	if (to_device)
		device_write(v, offset_bytes, data, bytes);
	pthread_mutex_lock(&g->lock);
	if (!captured)
		mark(g, v, offset_bytes, bytes);
	else
		blkship_ring_end(&g->ring, pos, seq, BLKSHIP_STATE_DONE);
	wake = blkship_ring_wants_wake(&g->ring);
	pthread_mutex_unlock(&g->lock);
	if (wake && eventfd_write(g->wake_fd, 1))
		perror("eventfd");
	return captured;
}

bool ring_gen_room(struct ring_gen *g, uint32_t bytes)
{
	bool room;

	pthread_mutex_lock(&g->lock);
	blkship_ring_collect(&g->ring);
	room = g->ring.desc_head - g->ring.desc_tail < g->ring.desc_count / 16 * 14 &&
	       g->ring.payload_head - g->ring.payload_tail + 2 * bytes < g->ring.payload_bytes;
	pthread_mutex_unlock(&g->lock);
	return room;
}

const struct blkship_ring_kernel *ring_gen_kernel(const struct ring_gen *g)
{
	return &g->kernel;
}
