// SPDX-License-Identifier: GPL-2.0-only
/*
 * restore_plan - what of a point is written where, and whether it may be.
 *
 * Everything is looked at before anything is written: names, sizes, what is on the devices.
 */
#include "restore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK_BYTES	(1u << 20)
#define COMPARE_BYTES	(64ull << 20)	/* of a device, before a restore to it goes on */

int cut_parts(struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++)
		if (restore_parts_cut(&r->parts, i, r->outputs[i].size_bytes))
			return cli_fail(CLI_FAILED, "out of memory; nothing was written");
	return CLI_DONE;
}

static const char *device_for(const struct restore *r, const char *volume)
{
	size_t len = strlen(volume);

	for (size_t i = 0; i < r->nr_devices; i++)
		if (strncmp(r->devices[i], volume, len) == 0 && r->devices[i][len] == '=')
			return r->devices[i] + len + 1;
	return NULL;
}

static int add_output(struct restore *r, const struct timeline_volume *v, uint64_t size_bytes)
{
	struct output *o = &r->outputs[r->nr_outputs];

	if (r->nr_outputs == MAX_OUTPUTS)
		return cli_fail(CLI_FAILED, "group %s has more than %d volumes; restore them one by one with --volume",
				r->named.name.group, MAX_OUTPUTS);
	memset(o, 0, sizeof(*o));
	o->volume = v->id;
	o->name = v->name;
	o->size_bytes = size_bytes;
	o->fd = o->dev.fd = -1;
	o->device = device_for(r, v->name);
	if (!o->device) {
		snprintf(o->path, sizeof(o->path), "%.500s/%.32s.%s", r->dir, v->name,
			 r->qcow2 ? "qcow2" : "img");
		snprintf(o->part, sizeof(o->part), "%.500s/%.32s.%s.part", r->dir, v->name,
			 r->qcow2 ? "qcow2" : "img");
	}
	r->nr_outputs++;
	return CLI_DONE;
}

int choose_outputs(struct restore *r)
{
	const struct timeline_volume *volumes;
	size_t nr = timeline_volumes(r->named.list.tl, &volumes), found = 0;

	for (size_t i = 0; i < nr; i++) {
		uint64_t size_bytes = view_size(r->view, volumes[i].id);
		bool named = r->only && strcmp(r->only, volumes[i].name) == 0;
		int ret;

		if (!size_bytes || (r->only && !named))
			continue;
		if (device_for(r, volumes[i].name))
			found++;
		else if (!r->dir)
			continue;	/* only those for which a device was named */
		ret = add_output(r, &volumes[i], size_bytes);
		if (ret != CLI_DONE)
			return ret;
	}
	if (found < r->nr_devices || !r->nr_outputs)
		return cli_fail(CLI_NOT_FOUND, "group %s has no such volume at this point; nothing was written; `blkship points %s --store %s --json` names them",
				r->named.name.group, r->named.name.group, r->store);
	return CLI_DONE;
}

/* What it holds is not overwritten unasked. */
static int check_signature(const struct restore *r, const struct output *o)
{
	char what[128];
	int ret = blockdev_signature(&o->dev, what, sizeof(what));

	if (ret < 0)
		return cli_fail(CLI_FAILED, "device %s: cannot be read: %s; nothing was written", o->device,
				strerror(-ret));
	if (ret == 0 || r->dry_run)
		return CLI_DONE;
	if (!r->force)
		return cli_fail(CLI_REFUSED, "device %s holds %s; nothing was written; --force overwrites it",
				o->device, what);
	fprintf(stderr, "blkship: OVERWRITES %s (%s)\n", o->device, what);
	return CLI_DONE;
}

/* Whether a stretch of it holds what the point has there; 0, 1 or -errno. */
static int differs(const struct restore *r, const struct output *o, uint64_t offset, size_t bytes,
		   uint8_t *want, uint8_t *have)
{
	int ret = view_read(r->view, o->volume, offset, want, bytes);
	ssize_t n;

	if (ret)
		return ret;
	n = pread(o->fd, have, bytes, offset);
	if (n < 0)
		return -errno;
	return (size_t)n < bytes || memcmp(want, have, bytes) != 0;
}

/*
 * A name may mean another device than it did. What is said to be done has to be there; where
 * nothing is, it is a device like any other.
 */
static int check_resumed(const struct restore *r, const struct output *o)
{
	uint8_t *buf = malloc(2 * CHUNK_BYTES);
	uint64_t seen = 0;
	bool any = false;
	int ret = buf ? 0 : -ENOMEM;

	for (size_t i = 0; i < r->parts.nr && !ret && seen < COMPARE_BYTES; i++) {
		const struct restore_part *part = &r->parts.items[i];

		if (&r->outputs[part->output] != o || !part->done)
			continue;
		any = true;
		for (uint64_t at = part->start_bytes; at < part->end_bytes && !ret &&
						      seen < COMPARE_BYTES;) {
			uint64_t left = part->end_bytes - at;
			size_t n = left < CHUNK_BYTES ? left : CHUNK_BYTES;

			ret = differs(r, o, at, n, buf, buf + CHUNK_BYTES);
			at += n;
			seen += n;
		}
	}
	free(buf);
	if (ret == 1)
		return cli_fail(CLI_REFUSED, "device %s does not hold what was restored to it: it is another one, or was written to; nothing was written; begin anew without --resume",
				o->device);
	if (ret && !r->force)
		return cli_fail(CLI_FAILED, "device %s: what was restored to it cannot be compared: %s; nothing was written; begin anew without --resume",
				o->device, strerror(-ret));
	return any ? CLI_DONE : check_signature(r, o);
}

static int check_device(const struct restore *r, struct output *o)
{
	char why[BLOCKDEV_TEXT_BYTES];
	int ret = blockdev_open(o->device, true, &o->dev, why);

	if (ret == -EBUSY)
		return cli_fail(CLI_REFUSED, "device %s: %s; nothing was written; choose another, or release it",
				o->device, why);
	if (ret < 0)
		return cli_fail(cli_exit_of(ret), "device %s: %s; nothing was written", o->device, why);
	o->fd = o->dev.fd;
	if (o->dev.size_bytes < o->size_bytes)
		return cli_fail(CLI_REFUSED, "device %s: device too small: volume %s has %llu bytes, the device %llu; nothing was written",
				o->device, o->name, (unsigned long long)o->size_bytes,
				(unsigned long long)o->dev.size_bytes);
	return r->resume ? check_resumed(r, o) : check_signature(r, o);
}

static int check_file(const struct restore *r, const struct output *o)
{
	if (access(o->path, F_OK) < 0 || r->dry_run || r->parts.complete)
		return CLI_DONE;
	if (!r->force)
		return cli_fail(CLI_REFUSED, "%s exists; nothing was written; --force overwrites it, or choose another --output",
				o->path);
	fprintf(stderr, "blkship: OVERWRITES %s\n", o->path);
	return CLI_DONE;
}

int check_outputs(struct restore *r)
{
	for (size_t i = 0; i < r->nr_outputs; i++) {
		struct output *o = &r->outputs[i];
		int ret = o->device ? check_device(r, o) : check_file(r, o);

		if (ret != CLI_DONE)
			return ret;
		r->total_bytes += o->size_bytes;
	}
	return CLI_DONE;
}

int print_plan(const struct restore *r)
{
	char size[16], what[128];

	for (size_t i = 0; i < r->nr_outputs; i++) {
		const struct output *o = &r->outputs[i];

		cli_bytes(o->size_bytes, size, sizeof(size));
		if (o->device && blockdev_signature(&o->dev, what, sizeof(what)) == 1)
			printf("%s (%s) would OVERWRITE %s, which holds %s%s\n", o->name, size, o->device,
			       what, r->force ? "" : "; needs --force");
		else if (o->device)
			printf("%s (%s) would OVERWRITE %s\n", o->name, size, o->device);
		else
			printf("%s (%s) would %s %s\n", o->name, size,
			       access(o->path, F_OK) == 0 ? "OVERWRITE" : "become", o->path);
	}
	return CLI_DONE;
}
