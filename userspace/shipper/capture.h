/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * capture - where a shipper gets its writes from: a ring and what goes with it.
 *
 * Behind it is /dev/blkship, a memory file with a generator, or the simulator.
 * The ring pages are shared with the producer; see uapi/linux/blkship.h for the
 * order in which to read them.
 */
#ifndef BLKSHIP_CAPTURE_H
#define BLKSHIP_CAPTURE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "../../uapi/linux/blkship.h"

struct capture_volume {
	uint16_t index;
	uint32_t flags;			/* BLKSHIP_VOLUME_* */
	uint64_t size_bytes;
	char name[BLKSHIP_NAME_BYTES];
	char identity[64];
	/* What its maps compare with, until it was asked at the target: docs/META.md. */
	uint32_t kept_incarnation;	/* 0: nothing to ask */
	uint8_t kept_instance[16];
	uint64_t kept_ordinal;
	uint64_t kept_log_no;
};

struct capture;

struct capture_ops {
	/* Window as in struct blkship_take; returns 0 or -errno. */
	int (*take)(struct capture *c, uint16_t volume, uint64_t first_region, uint32_t count,
		    uint32_t max_regions, uint64_t *bitmap, uint32_t *taken, uint64_t *seq);
	int (*clear)(struct capture *c, uint16_t volume, uint64_t first_region, uint32_t count,
		     const uint64_t *bitmap);
	int (*map_read)(struct capture *c, uint16_t volume, int which, uint64_t first_region,
			uint32_t count, uint64_t *bitmap);
	int (*mark)(struct capture *c, uint16_t volume, uint64_t offset_bytes,
		    uint64_t length_bytes, uint64_t *seq);
	int (*set_incarnation)(struct capture *c, uint32_t incarnation);
	/* Fills at most max; returns how many there are, or -errno. */
	int (*volumes)(struct capture *c, struct capture_volume *out, int max);
	/*
	 * Read the device for a repair, asynchronously; done is called once, never
	 * from within, with bytes or -errno. buf is 4096-aligned.
	 */
	int (*read)(struct capture *c, uint16_t volume, uint64_t offset_bytes, void *buf,
		    uint32_t bytes, void (*done)(void *arg, int64_t result), void *arg);
	/* Optional: the descriptor that is polled for wake-ups was readable. */
	void (*woken)(struct capture *c);
	/* Only where volumes() names something kept: it fits, or all is dirty. -ESTALE. */
	int (*settle)(struct capture *c, uint16_t volume, bool fits, uint64_t kept_log_no);
	/* Optional: of the volume's list that is durable, 0 without one. */
	uint64_t (*log_no)(struct capture *c, uint16_t volume);
};

struct capture {
	const struct capture_ops *ops;
	const struct blkship_ring_kernel *kernel;
	struct blkship_ring_consumer *consumer;
	const struct blkship_desc *descs;
	const uint8_t *payload;
	uint32_t desc_count;	/* read once and checked: not again from the page */
	uint64_t payload_bytes;
	char group[BLKSHIP_NAME_BYTES];
};

#endif
