/* SPDX-License-Identifier: GPL-2.0-only */
/* pin - have a point stay: asked of the target's daemon, or done here when it has none. */
#ifndef BLKSHIP_PIN_H
#define BLKSHIP_PIN_H

#include <stdbool.h>
#include <stdint.h>

#include "../../userspace/store/timeline.h"

struct pin_change {
	const char *store, *group;
	bool release;
	uint64_t cut_seq;		/* no release: the point, by whom, said in lists */
	enum timeline_pin_kind kind;
	const char *label;
	uint64_t lease_s;		/* and for how long; 0: until it is released */
	uint64_t id;			/* of the pin; out, when it is no release */
};

/**
 * pin_by_daemon - ask the daemon that has the group open
 * @why: TIMELINE_TEXT_BYTES, filled on some failures
 * Return: 0; as daemon_ask(), timeline_pin() and timeline_unpin().
 */
int pin_by_daemon(struct pin_change *c, char *why);

/** pin_here - open the timeline for writing and do it; -EBUSY somebody else has it open */
int pin_here(struct pin_change *c, char *why);

#endif
