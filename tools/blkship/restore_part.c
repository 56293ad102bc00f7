// SPDX-License-Identifier: GPL-2.0-only
#include "restore_part.h"

#include <errno.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "qcow2.h"

#define CHUNK_BYTES	(1u << 20)
#define BLOCK_BYTES	4096	/* as small as what is left out */
#define UNKNOWN_BYTES	65536	/* left out where it cannot be known what there is */
#define PART_RANGES	1024	/* that are told apart in a part */

static const uint8_t zeroes[CHUNK_BYTES];

/* -- writing -- */

static int write_all(int fd, const uint8_t *buf, size_t bytes, uint64_t offset)
{
	while (bytes) {
		ssize_t n = pwrite(fd, buf, bytes, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		buf += n;
		offset += n;
		bytes -= n;
	}
	return 0;
}

/* Also where a restore that was interrupted has left something: only devices have. */
static int write_zeroes(const struct restore_output *o, uint64_t offset, uint64_t bytes)
{
	uint64_t range[2] = { offset, bytes };

	if (!o->device || ioctl(o->fd, BLKZEROOUT, range) == 0)
		return 0;
	while (bytes) {
		size_t n = bytes < CHUNK_BYTES ? bytes : CHUNK_BYTES;
		int ret = write_all(o->fd, zeroes, n, offset);

		if (ret < 0)
			return ret;
		offset += n;
		bytes -= n;
	}
	return 0;
}

static bool went_on(struct part_copy *c, uint64_t bytes)
{
	uint64_t known_bytes = bytes < c->known_bytes ? bytes : c->known_bytes;

	c->known_bytes -= known_bytes;
	return c->went_on(c->arg, bytes - known_bytes);
}

static int copy_data(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes)
{
	struct part_copy *c = arg;

	c->write_error = c->output->image ?
		qcow2_write(c->output->image, c->connection, buf, bytes, offset_bytes) :
		write_all(c->output->fd, buf, bytes, offset_bytes);
	if (c->write_error)
		return c->write_error;
	c->part->data_bytes += bytes;
	return went_on(c, bytes) ? 0 : -ECANCELED;
}

/* Whether it is what is to be read that is at fault, which --force does without. */
static bool is_left_out(const struct part_copy *c, int error)
{
	return c->force && !c->write_error &&
	       (error == -EBADMSG || error == -ENOKEY || error == -EIO || error == -ENOENT);
}

/* @error: 0 where it was not readable at the source; @path: what it lies in, or "". */
static int leave_out(struct part_copy *c, uint64_t offset, uint64_t bytes, int error, const char *path)
{
	struct damage_range range = {
		.output = c->part->output, .offset_bytes = offset, .length_bytes = bytes,
		.at_source = !error, .error = error,
	};
	const char *slash = strrchr(path, '/');

	snprintf(range.file, sizeof(range.file), "%.*s", DAMAGE_FILE_BYTES - 1, slash ? slash + 1 : path);
	return damage_add(&c->damage, &range, PART_RANGES);
}

/* As view_next(), of this part. @error: what the damage is where it is EXTENT_UNREADABLE. */
static int next_extent(const struct part_copy *c, struct view *view, uint64_t offset,
		       struct view_extent *e, int *error)
{
	uint64_t left = c->part->end_bytes - offset;
	int ret = view_next(view, c->output->volume, offset, e);

	*error = 0;
	if (ret && is_left_out(c, ret)) {
		*error = ret;
		ret = 0;
		*e = (struct view_extent){ offset, UNKNOWN_BYTES - offset % UNKNOWN_BYTES, EXTENT_UNREADABLE };
	}
	if (!ret && e->length_bytes > left)
		e->length_bytes = left;
	return ret;
}

/* What is not data: zeroes, also where nothing could be read and --force was given. */
static int copy_zeroes(struct part_copy *c, struct view *view, uint64_t *offset)
{
	const struct restore_part *part = c->part;

	for (*offset = part->start_bytes; *offset < part->end_bytes;) {
		struct view_extent e;
		int error, ret = next_extent(c, view, *offset, &e, &error);

		if (!ret && e.kind == EXTENT_UNREADABLE)
			ret = c->force ? leave_out(c, *offset, e.length_bytes, error, "") : -EIO;
		if (!ret && e.kind != EXTENT_DATA) {
			ret = c->write_error = write_zeroes(c->output, *offset, e.length_bytes);
			if (!ret && !went_on(c, e.length_bytes))
				ret = -ECANCELED;
		}
		if (ret)
			return ret;
		if (error)
			c->unknown_bytes += e.length_bytes;
		*offset += e.length_bytes;
	}
	return 0;
}

/* What lies from a place on, of one kind. */
struct stretch {
	uint64_t bytes;
	bool data;
	int error;	/* not 0: it cannot be known what there is */
};

/* Data from @offset on, at most a chunk, or what lies before the next data. */
static int stretch(const struct part_copy *c, struct view *view, uint64_t offset, struct stretch *s)
{
	uint64_t max = c->part->end_bytes - offset;

	if (max > CHUNK_BYTES)
		max = CHUNK_BYTES;
	*s = (struct stretch){ 0 };
	while (s->bytes < max && !s->error) {
		struct view_extent e;
		int error, ret = next_extent(c, view, offset + s->bytes, &e, &error);

		if (ret)
			return ret;
		if (s->bytes && (error || s->data != (e.kind == EXTENT_DATA)))
			break;
		s->data = e.kind == EXTENT_DATA;
		s->error = error;
		s->bytes += e.length_bytes < max - s->bytes ? e.length_bytes : max - s->bytes;
	}
	return 0;
}

/* In the place of what cannot be read, which may be told of already. */
static int zeroes_instead(struct part_copy *c, uint64_t offset, uint64_t bytes, int error,
			  const char *path)
{
	int ret = 0;

	if (!damage_has(&c->damage, c->part->output, offset, bytes))
		ret = leave_out(c, offset, bytes, error, path);
	if (!ret)
		ret = c->write_error = write_zeroes(c->output, offset, bytes);
	return !ret && !went_on(c, bytes) ? -ECANCELED : ret;
}

/* A stretch that cannot be read as a whole: block by block, without those that cannot be. */
static int copy_blocks(struct part_copy *c, struct view *view, uint64_t offset, uint8_t *buf,
		       uint64_t bytes)
{
	uint64_t end = offset + bytes;
	char path[PATH_MAX];
	int ret = 0;

	while (offset < end && !ret) {
		size_t n = BLOCK_BYTES - offset % BLOCK_BYTES;

		if (n > end - offset)
			n = end - offset;
		ret = view_read(view, c->output->volume, offset, buf, n);
		if (!ret) {
			ret = copy_data(c, offset, buf, n);
		} else if (is_left_out(c, ret)) {
			view_fault(view, path, sizeof(path));
			ret = zeroes_instead(c, offset, n, ret, path);
		}
		offset += n;
	}
	return ret;
}

/*
 * Data in the order of the volume. An image is better off that way: QEMU takes its time for each
 * write, and by the order of the store they are as small as what was written at the source.
 */
static int copy_in_order(struct part_copy *c, struct view *view, uint64_t *offset)
{
	uint8_t *buf = malloc(CHUNK_BYTES);
	int ret = buf ? 0 : -ENOMEM;

	*offset = c->part->start_bytes;
	while (!ret && *offset < c->part->end_bytes) {
		struct stretch s;

		ret = stretch(c, view, *offset, &s);
		if (!ret && s.data) {
			ret = view_read(view, c->output->volume, *offset, buf, s.bytes);
			if (!ret)
				ret = copy_data(c, *offset, buf, s.bytes);
			else if (is_left_out(c, ret))
				ret = copy_blocks(c, view, *offset, buf, s.bytes);
		} else if (!ret && s.error) {
			/* It may have been known when zeroes were looked for. */
			ret = zeroes_instead(c, *offset, s.bytes, s.error, "");
		}
		if (!ret)
			*offset += s.bytes;
	}
	free(buf);
	return ret;
}

int part_copy_run(struct part_copy *c, struct view *view, uint64_t *offset)
{
	int ret;

	c->part->data_bytes = 0;
	ret = copy_zeroes(c, view, offset);
	if (ret)
		return ret;
	if (!c->output->image) {
		ret = view_copy_range(view, c->output->volume, c->part->start_bytes, c->part->end_bytes,
				      copy_data, c, offset);
		if (!is_left_out(c, ret))
			return ret;
	}
	/* Once more, what was copied, too: where the others begin is not known. */
	c->known_bytes = c->part->data_bytes + c->unknown_bytes;
	c->part->data_bytes = 0;
	return copy_in_order(c, view, offset);
}

int part_copy_sync(const struct part_copy *c)
{
	if (c->output->image)
		return qcow2_flush(c->output->image, c->connection);
	return fsync(c->output->fd) < 0 ? -errno : 0;
}
