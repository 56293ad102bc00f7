// SPDX-License-Identifier: GPL-2.0-only
/* space_warn - whether something may run out of space: a disk, or a cap somebody has set. */
#include "space_warn.h"

#include <stdio.h>

#include "space.h"

#define FULL_PART 32	/* so much must be left before it is not full any more */

static uint64_t days_left(const struct space_place *p)
{
	return space_days_left(p->left_bytes, p->taken_bytes, p->most_bytes, p->day_bytes);
}

unsigned int space_warn(const struct space_place *p)
{
	const uint64_t all_bytes = p->taken_bytes + p->left_bytes;
	unsigned int warnings = 0;

	if (days_left(p) < SPACE_WARN_DAYS)
		warnings |= SPACE_WARN_SOON;
	if (p->left_bytes < all_bytes / SPACE_WARN_PART)
		warnings |= SPACE_WARN_LOW;
	if (p->left_bytes < p->window_bytes)
		warnings |= SPACE_WARN_WINDOW;
	if (p->left_bytes == 0)
		warnings |= SPACE_WARN_FULL;
	return warnings;
}

unsigned int space_warn_again(const struct space_place *p, unsigned int told)
{
	struct space_place less = *p;
	unsigned int still;

	less.left_bytes = p->left_bytes / 4 * 3;
	/* What is not left any more counts as taken: of all it is the same part. */
	less.taken_bytes += p->left_bytes - less.left_bytes;
	still = space_warn(&less) & ~SPACE_WARN_FULL;
	if (p->left_bytes < (p->taken_bytes + p->left_bytes) / FULL_PART)
		still |= SPACE_WARN_FULL;
	return space_warn(p) | (still & told);
}

const char *space_warn_name(unsigned int warning)
{
	switch (warning) {
	case SPACE_WARN_SOON:
		return "soon";
	case SPACE_WARN_LOW:
		return "low";
	case SPACE_WARN_WINDOW:
		return "window";
	default:
		return "full";
	}
}

const char *space_size_text(uint64_t bytes, char text[16])
{
	static const char units[] = "KMGTPE";
	double v = bytes / 1024.0;
	int unit = 0;

	for (; v >= 1023.5 && units[unit + 1]; unit++)
		v /= 1024;
	snprintf(text, 16, v < 9.95 ? "%.1f %ciB" : "%.0f %ciB", v, units[unit]);
	return text;
}

void space_warn_text(const struct space_place *p, unsigned int warning, char *text)
{
	char left[16], all[16], other[16];

	space_size_text(p->left_bytes, left);
	space_size_text(p->taken_bytes + p->left_bytes, all);
	switch (warning) {
	case SPACE_WARN_SOON:
		snprintf(text, SPACE_TEXT_BYTES, "%s left: may be full in %llu days, at %s a day", left,
			 (unsigned long long)days_left(p), space_size_text(p->day_bytes, other));
		return;
	case SPACE_WARN_LOW:
		snprintf(text, SPACE_TEXT_BYTES, "%s left of %s", left, all);
		return;
	case SPACE_WARN_WINDOW:
		snprintf(text, SPACE_TEXT_BYTES, "%s left, and %s may come in before the immutable window lets anything go",
			 left, space_size_text(p->window_bytes, other));
		return;
	default:
		snprintf(text, SPACE_TEXT_BYTES, "all of %s is taken", all);
	}
}
