// SPDX-License-Identifier: GPL-2.0-only
/*
 * view_file - the segments and packs that a view reads: open, known to be its own, and read
 * in windows that grow as long as what is in them is wanted.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "segment_index.h"
#include "timeline_internal.h"
#include "view_internal.h"

#define PATH_BYTES 4096

static void file_drop(struct view *v, struct view_file *f)
{
	if (f->file)
		v->env->ops->close(v->env, f->file);
	unit_cipher_destroy(f->cipher);
	memset(f, 0, sizeof(*f));
}

void view_file_fini(struct view *v)
{
	for (size_t i = 0; i < VIEW_FILES; i++)
		file_drop(v, &v->files[i]);
	free(v->window);
}

static void file_path(const struct view *v, uint64_t number, char *path, size_t bytes)
{
	if (number & VIEW_PACK_FILE)
		pack_path(path, bytes, v->tl->dir, number & ~VIEW_PACK_FILE, 0);
	else
		segment_path(path, bytes, v->tl->dir, number);
}

void view_fault(const struct view *v, char *path, size_t bytes)
{
	path[0] = 0;
	if (v->fault_file)
		file_path(v, v->fault_file, path, bytes);
	else if (v->parent)
		view_fault(v->parent, path, bytes);
}

static int file_open(struct view *v, uint64_t number, struct view_file *f)
{
	char path[PATH_BYTES];
	int ret;

	file_path(v, number, path, sizeof(path));
	ret = v->env->ops->open(v->env, path, ENV_READ, &f->file);
	if (ret)
		f->file = NULL;
	return ret;
}

/*
 * Whether it is the file that its name says, and of this timeline, which its units do not
 * tell; and what decrypts them. Without keys nobody expects more of a unit in clear than that
 * its CRCs are right.
 */
static int file_begin(struct view *v, uint64_t number, struct view_file *f)
{
	uint8_t block[BLOCK_BYTES] __attribute__((aligned(BLOCK_BYTES)));
	const uint8_t *timeline = v->tl->manifest.identity.timeline;
	int64_t got = v->env->ops->read(v->env, f->file, block, sizeof(block), 0);
	const struct keyring *keys = v->tl->keys;
	struct segment_header segment;
	struct pack_header pack;

	if (got < (int64_t)sizeof(block))
		return got < 0 ? got : -EBADMSG;
	if (number & VIEW_PACK_FILE) {
		if (pack_header_decode(block, &pack) ||
		    memcmp(pack.timeline, timeline, sizeof(pack.timeline)) != 0 ||
		    pack.number != (number & ~VIEW_PACK_FILE))
			return -EBADMSG;
		f->key_error = keys ? pack_cipher(&pack, keys, &f->cipher) : -ENOKEY;
	} else {
		if (segment_header_decode(block, &segment) ||
		    memcmp(segment.timeline, timeline, sizeof(segment.timeline)) != 0 ||
		    segment.number != number)
			return -EBADMSG;
		f->key_error = keys ? unit_cipher_create_segment(keys, &segment, &f->cipher) :
				      -ENOKEY;
	}
	f->number = number;
	return 0;
}

int view_file_get(struct view *v, uint64_t number, struct view_file **out)
{
	struct view_file *f = &v->files[number % VIEW_FILES];
	int ret;

	*out = f;
	if (f->file && f->number == number)
		return 0;
	file_drop(v, f);
	ret = file_open(v, number, f);
	if (ret)
		return ret;
	ret = file_begin(v, number, f);
	if (ret)
		file_drop(v, f);
	return ret;
}

int64_t view_file_window(struct view *v, uint64_t number, uint64_t offset, size_t need,
			 const uint8_t **at)
{
	uint64_t end = v->window_offset + v->window_bytes;
	bool same = v->window_file == number && v->window_bytes;
	struct view_file *file;
	size_t want;
	int64_t got;
	int ret;

	if (same && offset >= v->window_offset && offset + need <= end)
		goto out;
	/* Shortly after those in the window: more of them will follow. */
	want = same && offset >= v->window_offset && offset <= end + VIEW_WINDOW_BYTES / 2 ?
	       VIEW_WINDOW_BYTES : (offset % BLOCK_BYTES + need + BLOCK_BYTES - 1) / BLOCK_BYTES *
	       BLOCK_BYTES;
	if (!v->window) {
		v->window = aligned_alloc(BLOCK_BYTES, VIEW_WINDOW_BYTES);
		if (!v->window)
			return -ENOMEM;
	}
	v->window_bytes = 0;
	ret = view_file_get(v, number, &file);
	if (ret)
		return ret;
	v->window_offset = offset / BLOCK_BYTES * BLOCK_BYTES;
	got = v->env->ops->read(v->env, file->file, v->window, want, v->window_offset);
	if (got < 0)
		return got;
	v->window_file = number;
	v->window_bytes = got;
	end = v->window_offset + got;
	if (offset >= end)
		return -EBADMSG;
out:
	*at = v->window + (offset - v->window_offset);
	return end - offset;
}
