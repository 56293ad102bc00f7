/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * space_warn - whether something may run out of space: a disk, or a cap somebody has set.
 *
 * Pure. Fed by what space.h measures; feeds the command line and the target's alarms, which say
 * the same for that.
 */
#ifndef BLKSHIP_SPACE_WARN_H
#define BLKSHIP_SPACE_WARN_H

#include <stddef.h>
#include <stdint.h>

#define SPACE_WARN_DAYS		30
#define SPACE_WARN_PART		10	/* less than one part of so many is left */
#define SPACE_TEXT_BYTES	256

/* The worst comes last. */
enum space_warning {
	SPACE_WARN_SOON = 1 << 0,	/* full in SPACE_WARN_DAYS, if nothing is dropped */
	SPACE_WARN_LOW = 1 << 1,	/* little is left, whatever comes in */
	SPACE_WARN_WINDOW = 1 << 2,	/* full before the immutable window lets anything go */
	SPACE_WARN_FULL = 1 << 3,
	SPACE_WARN_END = 1 << 4,	/* none has this bit */
};

/* What shares a disk, or a cap; sums of struct space. */
struct space_place {
	uint64_t left_bytes;	/* free on the disk, or up to the cap */
	uint64_t taken_bytes;
	uint64_t most_bytes;	/* 0: no end, or not known */
	uint64_t day_bytes;	/* 0: not known */
	uint64_t window_bytes;	/* that come before anything may go; 0: none, or not known */
};

/** space_warn - Return: SPACE_WARN_*, several or 0. */
unsigned int space_warn(const struct space_place *p);

/**
 * space_warn_again - the same for who has said @told before
 * What was said stays until there is clearly more room: a third more than it begins at, a
 * thirty-second of all for SPACE_WARN_FULL. So what goes to and fro is said once.
 */
unsigned int space_warn_again(const struct space_place *p, unsigned int told);

/** space_warn_name - of one SPACE_WARN_*, for programs: "soon", "low", "window", "full" */
const char *space_warn_name(unsigned int warning);

/** space_size_text - "3.5 GiB"; @text, which is returned */
const char *space_size_text(uint64_t bytes, char text[16]);

/** space_warn_text - one of them for people, without a full stop; @text: SPACE_TEXT_BYTES */
void space_warn_text(const struct space_place *p, unsigned int warning, char *text);

#endif
