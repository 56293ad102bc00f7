/* SPDX-License-Identifier: GPL-2.0-only */
/* tap - attach to a device as it is, in use or not. */
#ifndef BLKSHIP_TOOL_TAP_H
#define BLKSHIP_TOOL_TAP_H

#include <stdbool.h>
#include <stdint.h>

struct knl;

struct tap_attach {
	const char *group, *volume, *device;
	const uint32_t *meta;		/* major and minor, or NULL */
	unsigned long ring_mib;		/* 0: as the module thinks */
	bool json;
};

/** tap_attach - look, ask the module, and say what came of it; an exit code */
int tap_attach(struct knl *nl, const struct tap_attach *a);

#endif
