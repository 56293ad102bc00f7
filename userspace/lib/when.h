/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * when - points in time, as people type and read them. Pure but for the time zone.
 */
#ifndef BLKSHIP_WHEN_H
#define BLKSHIP_WHEN_H

#include <stddef.h>
#include <stdint.h>

#define WHEN_TEXT_BYTES	128
#define WHEN_NS		1000000000u

enum when_kind {
	WHEN_LATEST,	/* "latest": the newest recovery point */
	WHEN_TIME,	/* the last one at or before time_ns */
	WHEN_SEQ,	/* the one with exactly this cut */
};

struct when {
	enum when_kind kind;
	uint64_t time_ns;	/* of the real-time clock */
	uint64_t seq;		/* packed */
};

/**
 * when_parse - read the WHEN of GROUP@WHEN
 * @text: "latest"; "-1h30m" (d, h, m, s before now); "14:03" or "14:03:07[.5]"
 *	(today, local time); "2026-11-22T14:03:07[.5][Z|+01:00]" (local without
 *	zone; a blank may stand for the T); "seq:INCARNATION:NUMBER" or "seq:PACKED"
 * @now_ns: real time now
 * @out: out
 * @why: out on failure, WHEN_TEXT_BYTES
 *
 * A time of day that is more than a minute ahead is refused: it was meant to be
 * yesterday's, and would silently be the newest point.
 *
 * Return: 0 or -EINVAL.
 */
int when_parse(const char *text, uint64_t now_ns, struct when *out, char *why);

/**
 * when_duration - read "15m", "1h30m", "90s", "7d"
 * Return: 0 or -EINVAL.
 */
int when_duration(const char *text, uint64_t *seconds);

/**
 * when_utc - RFC 3339, whole: 2026-11-22T13:03:07.250000000Z
 * Given to when_parse() it is the same time again: a point is found by its own time.
 */
void when_utc(uint64_t time_ns, char *text, size_t bytes);

/** when_local - for people: 2026-11-22 14:03:07 CET */
void when_local(uint64_t time_ns, char *text, size_t bytes);

#endif
