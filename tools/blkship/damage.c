// SPDX-License-Identifier: GPL-2.0-only
#include "damage.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../userspace/store/array.h"
#include "../../userspace/store/view.h"
#include "cli.h"

#define TOLD_RANGES	10
#define AT_SOURCE	"could not be read at the source then"

void damage_fini(struct damage *d)
{
	free(d->ranges);
	*d = (struct damage){ 0 };
}

static bool is_more_of(const struct damage_range *last, const struct damage_range *range)
{
	return last->output == range->output && last->at_source == range->at_source &&
	       last->error == range->error &&
	       last->offset_bytes + last->length_bytes == range->offset_bytes &&
	       strcmp(last->file, range->file) == 0;
}

/* Either may be the one before the other. */
static void widen(struct damage_range *last, const struct damage_range *range)
{
	uint64_t end = last->offset_bytes + last->length_bytes;

	if (end < range->offset_bytes + range->length_bytes)
		end = range->offset_bytes + range->length_bytes;
	if (last->offset_bytes > range->offset_bytes)
		last->offset_bytes = range->offset_bytes;
	last->length_bytes = end - last->offset_bytes;
}

int damage_add(struct damage *d, const struct damage_range *range, size_t max_ranges)
{
	struct damage_range *last = d->nr ? &d->ranges[d->nr - 1] : NULL;

	if (last && (d->nr >= max_ranges || is_more_of(last, range))) {
		widen(last, range);
		return 0;
	}
	if (!array_reserve(&d->ranges, &d->max, d->nr + 1))
		return -ENOMEM;
	d->ranges[d->nr++] = *range;
	return 0;
}

bool damage_has(const struct damage *d, size_t output, uint64_t offset_bytes, uint64_t length_bytes)
{
	for (size_t i = 0; i < d->nr; i++) {
		const struct damage_range *r = &d->ranges[i];

		if (r->output == output && offset_bytes >= r->offset_bytes &&
		    offset_bytes + length_bytes <= r->offset_bytes + r->length_bytes)
			return true;
	}
	return false;
}

int damage_join(struct damage *d, const struct damage *other)
{
	if (!other->nr)
		return 0;
	if (!array_reserve(&d->ranges, &d->max, d->nr + other->nr))
		return -ENOMEM;
	memcpy(d->ranges + d->nr, other->ranges, other->nr * sizeof(*d->ranges));
	d->nr += other->nr;
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct damage_range *x = a, *y = b;

	if (x->output != y->output)
		return x->output < y->output ? -1 : 1;
	return x->offset_bytes < y->offset_bytes ? -1 : x->offset_bytes > y->offset_bytes;
}

void damage_sort(struct damage *d)
{
	if (d->nr)
		qsort(d->ranges, d->nr, sizeof(*d->ranges), by_place);
}

json_t *damage_json(const struct damage *d, size_t output)
{
	json_t *ranges = json_array();

	for (size_t i = 0; i < d->nr; i++) {
		const struct damage_range *r = &d->ranges[i];

		if (r->output == output && json_array_append_new(ranges, json_pack(
			"{s:I, s:I, s:s, s:s?}", "offset_bytes", (json_int_t)r->offset_bytes,
			"length_bytes", (json_int_t)r->length_bytes, "why",
			r->at_source ? AT_SOURCE : view_error_text(r->error), "file",
			*r->file ? r->file : NULL))) {
			json_decref(ranges);
			return NULL;
		}
	}
	return ranges;
}

bool damage_is_of_store(const json_t *ranges)
{
	const json_t *range;
	size_t i;

	json_array_foreach(ranges, i, range) {
		const char *why = json_string_value(json_object_get(range, "why"));

		if (!why || strcmp(why, AT_SOURCE) != 0)
			return true;
	}
	return false;
}

void damage_tell(const char *volume, const json_t *ranges)
{
	json_int_t bytes = 0;
	const json_t *range;
	size_t i;

	json_array_foreach(ranges, i, range) {
		const char *file = json_string_value(json_object_get(range, "file"));
		json_int_t length = json_integer_value(json_object_get(range, "length_bytes"));

		bytes += length;
		if (i < TOLD_RANGES)
			fprintf(stderr, "blkship: volume %s at byte %lld: %lld bytes: %s%s%s\n", volume,
				(long long)json_integer_value(json_object_get(range, "offset_bytes")),
				(long long)length, json_string_value(json_object_get(range, "why")),
				file ? ": " : "", file ? file : "");
	}
	if (!i)
		return;
	fprintf(stderr, "blkship: volume %s: zeroes in place of %lld bytes (ranges: %zu%s)\n", volume,
		(long long)bytes, i, i > TOLD_RANGES ? ", the first are above" : "");
}

int damage_save(const char *path, const char *group, const char *seq, const char *volume,
		const json_t *ranges)
{
	json_t *document = json_pack("{s:i, s:s, s:s, s:s, s:O}", "schema", 1, "group", group, "seq",
				     seq, "volume", volume, "damage", ranges);
	int fd, ret = 0;

	if (!document)
		return -ENOMEM;
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || json_dumpfd(document, fd, JSON_INDENT(1)) < 0 || fsync(fd) < 0)
		ret = errno ? -errno : -EIO;
	if (fd >= 0)
		close(fd);
	json_decref(document);
	return ret;
}

json_t *damage_load(const char *path)
{
	json_t *document = json_load_file(path, 0, NULL);
	json_t *ranges = json_incref(json_object_get(document, "damage"));

	json_decref(document);
	return ranges;
}
