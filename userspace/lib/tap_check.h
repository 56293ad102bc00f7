/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * tap_check - whether a device can be tapped, from what sysfs says and from what is
 * captured already.
 *
 * The kernel has the last word; this says sooner and in more words what would lead to
 * points that cannot be used: half of a stripe, the same write twice.
 */
#ifndef BLKSHIP_TAP_CHECK_H
#define BLKSHIP_TAP_CHECK_H

#include "knl.h"
#include "sysblock.h"

#define TAP_TEXT_BYTES 512

struct tap_request {
	const char *sysfs;		/* "/sys" */
	const char *group, *volume;
	unsigned int major, minor;
	const struct knl_volume *volumes;	/* all that the module has */
	size_t nr_volumes;
	bool (*is_swap)(unsigned int major, unsigned int minor);
};

struct tap_answer {
	struct sysblock dev;
	bool again;			/* it is this volume already, not captured: begins anew */
	char swaps[128];		/* names of swap areas on it, which are left out; or empty */
	char text[TAP_TEXT_BYTES];	/* refused: why, what now, what to do */
};

/**
 * tap_check - look at the device and its neighbours
 * Return: 0; -ENODEV there is no such device; -EPERM refused, see @answer->text;
 * -ENOMEM.
 */
int tap_check(const struct tap_request *request, struct tap_answer *answer);

#endif
