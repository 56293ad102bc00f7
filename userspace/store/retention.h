/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * retention - which recovery points a policy keeps. Pure.
 *
 * A policy is tiers from fine to coarse, "all:24h,5m:7d,1h:30d": every point of the
 * last day, of the week before it the last one of each five minutes, then of each hour;
 * what is older than the last tier goes. Times are those of the target's clock, at
 * which points arrived: a source's clock, which an attacker may own, ages nothing.
 *
 * Promises:
 *  - the newest point is always kept, and so is every point that is pinned;
 *  - a point that was let go is never needed again: what stays of a stretch of a tier is
 *    decided once, when all of that stretch has left the finer tier;
 *  - within the immutable window nothing goes that any policy in force since the point
 *    was made would have kept: changing the policy shortens nothing there. A window that
 *    was longer holds on until as much time has passed since it was made shorter.
 */
#ifndef BLKSHIP_RETENTION_H
#define BLKSHIP_RETENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RETENTION_MAX_TIERS	8
#define RETENTION_TEXT_BYTES	256
#define RETENTION_DEFAULT	"all:24h,5m:7d,1h:30d"

struct retention_tier {
	uint64_t every_ns;	/* 0: all */
	uint64_t for_ns;	/* age at which it ends */
};

struct retention_policy {
	struct retention_tier tiers[RETENTION_MAX_TIERS];
	unsigned int nr_tiers;
};

/* A policy with its window, and until when it was the one in force. */
struct retention_past {
	struct retention_policy policy;
	uint64_t immutable_ns;
	uint64_t until_ns;
};

struct retention {
	struct retention_policy policy;	/* in force */
	uint64_t immutable_ns;		/* length of the window, 0: none */
	const struct retention_past *past; /* borrowed; in any order */
	size_t nr_past;
};

struct retention_point {
	uint64_t time_ns;	/* the target's, when it arrived */
	bool pinned;
	bool keep;		/* the answer */
};

/**
 * retention_parse - read a policy
 * @text: EVERY:FOR[,EVERY:FOR...]; durations as when_duration() has them, the first
 *	EVERY may be "all"; FOR has to grow from tier to tier, EVERY to multiples
 * @why: out on failure, RETENTION_TEXT_BYTES
 * Return: 0 or -EINVAL.
 */
int retention_parse(const char *text, struct retention_policy *out, char *why);

/** retention_format - the same text again; RETENTION_TEXT_BYTES are enough */
void retention_format(const struct retention_policy *policy, char *text, size_t bytes);

/**
 * retention_apply - set @keep of each point
 * @points: listed points, times never falling; of equal times all stay, until their age is past
 *	the last tier
 * @now_ns: the target's clock
 * Return: how many are kept.
 */
size_t retention_apply(const struct retention *r, uint64_t now_ns,
		       struct retention_point *points, size_t nr_points);

/** retention_immutable_ns - the window that counts now: that of the policy, or a past one's */
uint64_t retention_immutable_ns(const struct retention *r, uint64_t now_ns);

/** retention_max_points - as many as the policy keeps at most, at one a second */
uint64_t retention_max_points(const struct retention_policy *policy);

#endif
