/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * ring_gen - a ring in memory and volumes in files, in place of the module.
 *
 * The module's own arithmetic behind a mutex; writes come from any thread. Feeds
 * host end-to-end tests and the pipeline benchmark.
 */
#ifndef RING_GEN_H
#define RING_GEN_H

#include "../../userspace/shipper/source.h"

struct ring_gen;

struct ring_gen_volume {
	const char *name;
	const char *path;	/* the device: a file */
	uint64_t size_bytes;	/* the file is made this long */
};

/** ring_gen_create - all volumes are dirty as a whole; 0 or -errno */
int ring_gen_create(uint32_t desc_count, uint64_t payload_bytes,
		    const struct ring_gen_volume *volumes, uint32_t nr_volumes,
		    struct ring_gen **out);
void ring_gen_destroy(struct ring_gen *g);

/** ring_gen_opener - for source_create(); any group name */
const struct capture_opener *ring_gen_opener(struct ring_gen *g);

/**
 * ring_gen_write - one write, as the module sees it
 * @data: NULL: write zeroes
 * @to_device: also write it to the volume's file, between submission and completion
 * Return: whether it was captured.
 */
bool ring_gen_write(struct ring_gen *g, uint16_t volume, uint64_t offset_bytes,
		    const void *data, uint32_t bytes, bool to_device);

/** ring_gen_room - whether a write of this size would be captured now */
bool ring_gen_room(struct ring_gen *g, uint32_t bytes);

/** ring_gen_kernel - counters and positions */
const struct blkship_ring_kernel *ring_gen_kernel(const struct ring_gen *g);

#endif
