// SPDX-License-Identifier: GPL-2.0-only
/* See tap_check.h. */
#include "tap_check.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MIN_BYTES (1u << 20)

struct check {
	const struct tap_request *request;
	struct tap_answer *answer;
};

__attribute__((format(printf, 2, 3)))
static int refuse(struct tap_answer *a, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(a->text, sizeof(a->text), format, args);
	va_end(args);
	return -EPERM;
}

/* -- the device itself -- */

static int check_kind(const struct sysblock *dev, struct tap_answer *a)
{
	switch (dev->kind) {
	case SYSBLOCK_MD:
		return refuse(a, "it is an md array, which cannot be tapped; nothing was changed; attach the logical volumes on it, or it with --front dm while nothing uses it");
	case SYSBLOCK_BCACHE:
		return refuse(a, "it is a bcache device, which cannot be tapped; nothing was changed; attach the logical volumes on it, or it with --front dm while nothing uses it");
	case SYSBLOCK_NVME_HEAD:
		return refuse(a, "it is the head of NVMe paths, whose ends are told of the paths; nothing was changed; attach the logical volumes on it, or boot with nvme_core.multipath=N if it has one path");
	default:
		return 0;
	}
}

static int check_device(const struct check *c)
{
	const struct sysblock *dev = &c->answer->dev;
	struct tap_answer *a = c->answer;
	int ret = check_kind(dev, a);
	char text[32];

	if (ret)
		return ret;
	sysblock_disk_text(dev, "queue/zoned", text, sizeof(text));
	if (text[0] && strcmp(text, "none") != 0)
		return refuse(a, "it is zoned (%s): it writes at places of its own choice; nothing was changed; protect a disk that is not zoned",
			      text);
	sysblock_disk_text(dev, "queue/dax", text, sizeof(text));
	if (strcmp(text, "1") == 0)
		return refuse(a, "it has DAX: programs change it without writing to it; nothing was changed; make its namespace again with ndctl --mode=sector");
	sysblock_text(dev, "ro", text, sizeof(text));
	if (strcmp(text, "1") == 0)
		return refuse(a, "it is read-only: there are no writes to capture; nothing was changed; make it writable first (blockdev --setrw), or leave it out");
	if (dev->size_bytes < MIN_BYTES)
		return refuse(a, "device too small: %llu bytes, at least %u are wanted; nothing was changed; name a larger one",
			      (unsigned long long)dev->size_bytes, MIN_BYTES);
	if (c->request->is_swap(dev->major, dev->minor))
		return refuse(a, "it is used as swap, which is nothing to restore; nothing was changed; leave it out");
	return 0;
}

/* -- what is captured already -- */

static bool overlaps(const struct check *c, const struct sysblock *dev,
		     const struct knl_volume *v, bool *same)
{
	uint64_t start, end;
	struct sysblock on;

	if (sysblock_get(c->request->sysfs, v->dev_major, v->dev_minor, &on) ||
	    strcmp(on.disk, dev->disk) != 0)
		return false;
	start = on.start_bytes + v->dev_start_bytes;
	end = start + v->size_bytes;
	*same = start == dev->start_bytes && end == dev->start_bytes + dev->size_bytes;
	return start < dev->start_bytes + dev->size_bytes && dev->start_bytes < end;
}

/* The volume, other than ours, that captures some of this device; or NULL. */
static const struct knl_volume *captured_by(const struct check *c, const struct sysblock *dev)
{
	const struct tap_request *r = c->request;
	bool same;

	for (size_t i = 0; i < r->nr_volumes; i++)
		if (!(r->volumes[i].flags & BLKSHIP_VOLUME_DETACHED) &&
		    overlaps(c, dev, &r->volumes[i], &same))
			return &r->volumes[i];
	return NULL;
}

/* The same volume again is fine when it is not captured: that is how it comes back. */
static int check_captured(const struct check *c)
{
	const struct tap_request *r = c->request;
	struct tap_answer *a = c->answer;
	bool same = false;

	for (size_t i = 0; i < r->nr_volumes; i++) {
		const struct knl_volume *v = &r->volumes[i];
		bool ours = strcmp(v->group, r->group) == 0 && strcmp(v->name, r->volume) == 0;

		if (!overlaps(c, &a->dev, v, &same))
			continue;
		if (ours && same && v->flags & (BLKSHIP_VOLUME_DIVERGED | BLKSHIP_VOLUME_DETACHED))
			a->again = true;
		else if (same && !(v->flags & BLKSHIP_VOLUME_DETACHED))
			return refuse(a, "it is captured already, as %s/%s; nothing was changed; detach that first if it is to have another name",
				      v->group, v->name);
		else if (!(v->flags & BLKSHIP_VOLUME_DETACHED))
			return refuse(a, "%s/%s captures a part of %s that this is in, or that is in this: each write would be kept twice; nothing was changed; detach that first, or leave this out",
				      v->group, v->name, a->dev.disk);
	}
	return 0;
}

/* -- above and below -- */

static int look_above(void *arg, const struct sysblock *above)
{
	const struct check *c = arg;
	const struct knl_volume *v = captured_by(c, above);
	struct tap_answer *a = c->answer;
	size_t used = strlen(a->swaps);

	switch (above->kind) {
	case SYSBLOCK_MD:
		return refuse(a, "it is a member of the md array %s: no member alone is what the array holds; nothing was changed; attach the logical volumes on %s, or %s with --front dm while nothing uses it",
			      above->label, above->label, above->label);
	case SYSBLOCK_MULTIPATH:
		return refuse(a, "it is a path of the multipath device %s: others lead to the same disk; nothing was changed; attach the logical volumes on %s",
			      above->label, above->label);
	case SYSBLOCK_BCACHE:
		return refuse(a, "it belongs to the bcache device %s: a part of what that holds is elsewhere; nothing was changed; attach the logical volumes on %s",
			      above->label, above->label);
	default:
		break;
	}
	if (v)
		return refuse(a, "%s on it is captured already, as %s/%s: each write would be kept twice; nothing was changed; detach that first, or attach the other devices on it instead",
			      above->label, v->group, v->name);
	if (c->request->is_swap(above->major, above->minor))
		snprintf(a->swaps + used, sizeof(a->swaps) - used, "%s%s", used ? ", " : "",
			 above->label);
	return 0;
}

static int look_below(void *arg, const struct sysblock *below)
{
	const struct check *c = arg;
	const struct knl_volume *v = captured_by(c, below);

	if (!v)
		return 0;
	return refuse(c->answer, "%s below it is captured already, as %s/%s: each write would be kept twice; nothing was changed; detach that first, or leave this out",
		      below->label, v->group, v->name);
}

static int look_at_partition(void *arg, const struct sysblock *part)
{
	const struct check *c = arg;
	char *swaps = c->answer->swaps;
	size_t used = strlen(swaps);

	if (c->request->is_swap(part->major, part->minor))
		snprintf(swaps + used, sizeof(c->answer->swaps) - used, "%s%s", used ? ", " : "",
			 part->label);
	return 0;
}

int tap_check(const struct tap_request *request, struct tap_answer *answer)
{
	struct check c = { request, answer };
	int ret;

	memset(answer, 0, sizeof(*answer));
	ret = sysblock_get(request->sysfs, request->major, request->minor, &answer->dev);
	if (ret == 0)
		ret = check_device(&c);
	if (ret == 0)
		ret = check_captured(&c);
	if (ret == 0)
		ret = sysblock_partitions(request->sysfs, &answer->dev, look_at_partition, &c);
	if (ret == 0)
		ret = sysblock_above(request->sysfs, &answer->dev, look_above, &c);
	if (ret == 0)
		ret = sysblock_below(request->sysfs, &answer->dev, look_below, &c);
	if (ret == -E2BIG)
		ret = refuse(answer, "more devices are built on it than can be looked at; nothing was changed; attach those on it one by one");
	return ret;
}
