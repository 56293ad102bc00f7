/* SPDX-License-Identifier: GPL-2.0-only */
/* qcow2 - a volume of a point as a qcow2 image: qemu-img, fed by the nbdkit plugin. */
#ifndef BLKSHIP_QCOW2_H
#define BLKSHIP_QCOW2_H

#include <stdbool.h>
#include <stdint.h>

#include "../../userspace/lib/key_source.h"

struct qcow2_request {
	const char *store;
	struct key_source keys;
	const char *group;
	uint64_t seq;		/* of the point */
	const char *volume;
	const char *path;	/* is written anew */
	bool force;		/* although the point is known to be damaged */
};

/**
 * qcow2_write - write an image, whole and synced when it returns
 * Shows qemu-img's progress on a terminal. Return: 0, or an exit code after complaining.
 */
int qcow2_write(const struct qcow2_request *request);

#endif
