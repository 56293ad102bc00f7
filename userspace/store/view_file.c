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

#define PATH_BYTES	4096
#define ALIGN_BYTES	64	/* units lie on 8 */

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

bool view_file_is_gone(struct view *v, uint64_t number)
{
	struct view_file f;
	int ret = file_open(v, number, &f);

	if (!ret)
		v->env->ops->close(v->env, f.file);
	return ret == -ENOENT;
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

/*
 * How much to read: what is needed; or, if it is no further behind what is in hand than as much as
 * was wanted of that, twice as much. So it grows where a file is read in order, and hardly
 * anything is read in vain where most was overwritten.
 */
static size_t window_size(const struct view *v, uint64_t offset, size_t need, bool same)
{
	uint64_t end = v->window_offset + v->window_bytes;
	size_t wanted = same && offset <= end + v->window_wanted_bytes ? v->window_wanted_bytes : 0;

	if (wanted > VIEW_WINDOW_BYTES / 2)
		wanted = VIEW_WINDOW_BYTES / 2;
	return 2 * wanted > need ? 2 * wanted : need;
}

static int window_read(struct view *v, uint64_t number, uint64_t offset, size_t bytes)
{
	uint64_t start = offset / ALIGN_BYTES * ALIGN_BYTES;
	struct view_file *file;
	int64_t got;
	int ret;

	if (!v->window)
		v->window = aligned_alloc(ALIGN_BYTES, VIEW_WINDOW_BYTES + ALIGN_BYTES);
	if (!v->window)
		return -ENOMEM;
	v->window_bytes = 0;
	ret = view_file_get(v, number, &file);
	if (ret)
		return ret;
	got = v->env->ops->read(v->env, file->file, v->window, offset - start + bytes, start);
	if (got < 0)
		return got;
	if (start + got <= offset)
		return -EBADMSG;
	v->window_file = number;
	v->window_offset = start;
	v->window_bytes = got;
	v->window_wanted_bytes = 0;
	v->window_wanted_end = offset;
	return 0;
}

int64_t view_file_window(struct view *v, uint64_t number, uint64_t offset, size_t need,
			 const uint8_t **at)
{
	bool same = v->window_file == number && v->window_bytes && offset >= v->window_offset;
	uint64_t end = v->window_offset + v->window_bytes;
	int ret = 0;

	if (!same || offset + need > end)
		ret = window_read(v, number, offset, window_size(v, offset, need, same));
	if (ret)
		return ret;
	if (offset + need > v->window_wanted_end) {
		uint64_t from = offset > v->window_wanted_end ? offset : v->window_wanted_end;

		v->window_wanted_bytes += offset + need - from;
		v->window_wanted_end = offset + need;
	}
	*at = v->window + (offset - v->window_offset);
	return v->window_offset + v->window_bytes - offset;
}
