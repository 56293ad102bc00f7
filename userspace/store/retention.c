// SPDX-License-Identifier: GPL-2.0-only
/* See retention.h. */
#include "retention.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "../lib/when.h"

/* -- as text -- */

static int tier_parse(char *text, bool first, struct retention_tier *out, char *why)
{
	char *colon = strchr(text, ':');
	uint64_t every_s = 0, for_s;

	if (!colon) {
		snprintf(why, RETENTION_TEXT_BYTES,
			 "'%.60s': a tier is EVERY:FOR, like 5m:7d", text);
		return -EINVAL;
	}
	*colon = '\0';
	if (!(first && strcmp(text, "all") == 0) &&
	    (when_duration(text, &every_s) || !every_s)) {
		snprintf(why, RETENTION_TEXT_BYTES, "'%.60s': not a time like 5m%s", text,
			 first ? ", nor 'all'" : "; only the first tier keeps all");
		return -EINVAL;
	}
	if (when_duration(colon + 1, &for_s) || !for_s || for_s > UINT64_MAX / 4 / WHEN_NS ||
	    every_s > for_s) {
		snprintf(why, RETENTION_TEXT_BYTES,
			 "'%.60s': not a time like 7d, or shorter than what it keeps one of",
			 colon + 1);
		return -EINVAL;
	}
	out->every_ns = every_s * WHEN_NS;
	out->for_ns = for_s * WHEN_NS;
	return 0;
}

/* Its stretches are whole ones of the finer tier, whose last points are still there. */
static bool tier_follows(const struct retention_tier *t, const struct retention_tier *finer)
{
	return t->for_ns > finer->for_ns && t->every_ns > finer->every_ns &&
	       (!finer->every_ns || t->every_ns % finer->every_ns == 0);
}

int retention_parse(const char *text, struct retention_policy *out, char *why)
{
	struct retention_policy p = { .nr_tiers = 0 };
	char copy[RETENTION_TEXT_BYTES], *rest = copy, *tier;

	if (snprintf(copy, sizeof(copy), "%s", text) >= (int)sizeof(copy)) {
		snprintf(why, RETENTION_TEXT_BYTES, "too long for a retention policy");
		return -EINVAL;
	}
	while ((tier = strsep(&rest, ","))) {
		struct retention_tier *t = &p.tiers[p.nr_tiers];

		if (p.nr_tiers == RETENTION_MAX_TIERS) {
			snprintf(why, RETENTION_TEXT_BYTES, "more than %d tiers",
				 RETENTION_MAX_TIERS);
			return -EINVAL;
		}
		if (tier_parse(tier, !p.nr_tiers, t, why))
			return -EINVAL;
		if (p.nr_tiers && !tier_follows(t, t - 1)) {
			snprintf(why, RETENTION_TEXT_BYTES,
				 "tier %u: each tier has to keep one point of a multiple of what the one before keeps one of, and for longer",
				 p.nr_tiers + 1);
			return -EINVAL;
		}
		p.nr_tiers++;
	}
	*out = p;
	return 0;
}

static int duration_format(uint64_t ns, char *text, size_t bytes)
{
	uint64_t s = ns / WHEN_NS;

	/* A day is called 24h: "all:24h" is what people read as one. */
	if (s % 86400 == 0 && s > 86400)
		return snprintf(text, bytes, "%llud", (unsigned long long)s / 86400);
	if (s % 3600 == 0)
		return snprintf(text, bytes, "%lluh", (unsigned long long)s / 3600);
	if (s % 60 == 0)
		return snprintf(text, bytes, "%llum", (unsigned long long)s / 60);
	return snprintf(text, bytes, "%llus", (unsigned long long)s);
}

void retention_format(const struct retention_policy *policy, char *text, size_t bytes)
{
	char every[32], how_long[32];
	size_t used = 0;

	text[0] = '\0';
	for (unsigned int i = 0; i < policy->nr_tiers && used < bytes; i++) {
		const struct retention_tier *t = &policy->tiers[i];

		if (t->every_ns)
			duration_format(t->every_ns, every, sizeof(every));
		else
			snprintf(every, sizeof(every), "all");
		duration_format(t->for_ns, how_long, sizeof(how_long));
		used += snprintf(text + used, bytes - used, "%s%s:%s", i ? "," : "", every,
				 how_long);
	}
}

/* -- what is kept -- */

/*
 * Which stretch of which tier a time belongs to. The stretch of a tier holds from when
 * all of it is older than the finer tier; until then the finer one does.
 */
struct stretch {
	unsigned int tier;	/* nr_tiers: of none */
	uint64_t number;
};

static struct stretch stretch_of(const struct retention_policy *p, uint64_t now_ns,
				 uint64_t time_ns)
{
	uint64_t age_ns = now_ns > time_ns ? now_ns - time_ns : 0;
	struct stretch s = { .tier = 0 };

	if (!p->nr_tiers || age_ns >= p->tiers[p->nr_tiers - 1].for_ns) {
		s.tier = p->nr_tiers;
		return s;
	}
	for (unsigned int i = p->nr_tiers; i-- > 0;) {
		uint64_t every_ns = p->tiers[i].every_ns;
		uint64_t number = every_ns ? time_ns / every_ns : time_ns;
		uint64_t end_ns = (number + 1) * every_ns;

		if (i && (now_ns < p->tiers[i - 1].for_ns ||
			  end_ns > now_ns - p->tiers[i - 1].for_ns))
			continue;
		s.tier = i;
		s.number = number;
		break;
	}
	return s;
}

/* Of a stretch the last point stays: it is what a time in the stretch's end means. */
static bool policy_keeps(const struct retention_policy *p, uint64_t now_ns, uint64_t time_ns,
			 const struct retention_point *next)
{
	struct stretch s = stretch_of(p, now_ns, time_ns), after;

	if (s.tier == p->nr_tiers)
		return false;
	/* Of the same time are those that came while the clock was behind: how far apart is lost. */
	if (!p->tiers[s.tier].every_ns || !next || next->time_ns == time_ns)
		return true;
	after = stretch_of(p, now_ns, next->time_ns);
	return after.tier != s.tier || after.number != s.number;
}

/* Whether some policy that was in force since the point was made keeps it. */
static bool past_keeps(const struct retention *r, uint64_t now_ns, uint64_t time_ns,
		       const struct retention_point *next)
{
	for (size_t i = 0; i < r->nr_past; i++)
		if (r->past[i].until_ns > time_ns &&
		    policy_keeps(&r->past[i].policy, now_ns, time_ns, next))
			return true;
	return false;
}

uint64_t retention_immutable_ns(const struct retention *r, uint64_t now_ns)
{
	uint64_t immutable_ns = r->immutable_ns;

	for (size_t i = 0; i < r->nr_past; i++) {
		const struct retention_past *past = &r->past[i];
		uint64_t since_ns = now_ns > past->until_ns ? now_ns - past->until_ns : 0;

		if (since_ns < past->immutable_ns && past->immutable_ns > immutable_ns)
			immutable_ns = past->immutable_ns;
	}
	return immutable_ns;
}

size_t retention_apply(const struct retention *r, uint64_t now_ns,
		       struct retention_point *points, size_t nr_points)
{
	uint64_t immutable_ns = retention_immutable_ns(r, now_ns);
	size_t kept = 0;

	for (size_t i = 0; i < nr_points; i++) {
		struct retention_point *point = &points[i];
		const struct retention_point *next = i + 1 < nr_points ? point + 1 : NULL;
		uint64_t time_ns = point->time_ns;
		bool immutable = now_ns < time_ns || now_ns - time_ns < immutable_ns;

		point->keep = point->pinned || !next ||
			      policy_keeps(&r->policy, now_ns, time_ns, next) ||
			      (immutable && past_keeps(r, now_ns, time_ns, next));
		kept += point->keep;
	}
	return kept;
}

uint64_t retention_max_points(const struct retention_policy *policy)
{
	uint64_t points = 1, from_ns = 0;

	for (unsigned int i = 0; i < policy->nr_tiers; i++) {
		const struct retention_tier *t = &policy->tiers[i];
		uint64_t every_ns = t->every_ns > WHEN_NS ? t->every_ns : WHEN_NS;

		/* A stretch at either end may be begun only. */
		points += (t->for_ns - from_ns) / every_ns + 2;
		from_ns = t->for_ns;
	}
	return points;
}
