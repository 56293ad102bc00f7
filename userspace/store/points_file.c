// SPDX-License-Identifier: GPL-2.0-only
/* points_file - a points file on disk: two copies, written anew each time. */
#include "points_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "new_file.h"
#include "points_format.h"

static_assert(POINTS_BLOCK_BYTES == NEW_FILE_HEADER_BYTES, "the header is a block");

#define PATH_BYTES	4096

void points_path(char *path, size_t bytes, const char *dir, uint64_t number, int unfinished)
{
	snprintf(path, bytes, "%s/%016llx.points%s", dir, (unsigned long long)number,
		 unfinished ? ".new" : "");
}

/* -- writing -- */

static int copies_write(struct new_file *f, const uint8_t *copy, size_t bytes)
{
	/* The header of the first is written last. */
	int ret = new_file_put(f, copy + NEW_FILE_HEADER_BYTES, bytes - NEW_FILE_HEADER_BYTES);

	return ret ? ret : new_file_put(f, copy, bytes);
}

/* What the manifest has to say of it. */
static struct manifest_points named_of(const struct points_file *file, uint64_t file_bytes)
{
	const struct points *p = &file->points;

	return (struct manifest_points){
		.number = file->number, .last_segment = file->last_segment,
		.last_ordinal = p->last_ordinal, .nr_commits = p->nr_commits,
		.file_bytes = file_bytes,
		.flags = p->nr_commits < p->last_ordinal ? MANIFEST_POINTS_LEFT_OUT : 0,
	};
}

int points_file_write(struct env *env, const char *dir, const struct points_file *file,
		      const struct run_pace *pace, struct manifest_points *out)
{
	char from[PATH_BYTES], to[PATH_BYTES];
	struct new_file f;
	void *copy;
	size_t bytes;
	int ret = points_encode(file, &copy, &bytes);

	if (ret)
		return ret;
	points_path(from, sizeof(from), dir, file->number, 1);
	points_path(to, sizeof(to), dir, file->number, 0);
	ret = new_file_begin(&f, env, from, pace);
	if (!ret)
		ret = copies_write(&f, copy, bytes);
	if (!ret)
		ret = new_file_finish(&f, dir, from, to, copy);
	if (ret)
		new_file_abort(&f, from);
	free(copy);
	if (ret)
		return ret;
	*out = named_of(file, 2 * bytes);
	return 0;
}

/* -- reading -- */

static int copy_read(struct env *env, struct env_file *f, const uint8_t timeline[16],
		     const struct manifest_points *named, uint8_t *buf, unsigned int copy,
		     struct points_file *file)
{
	size_t bytes = named->file_bytes / 2;
	int64_t got = env->ops->read(env, f, buf, bytes, copy * bytes);
	int ret;

	if (got != (int64_t)bytes)
		return got < 0 ? got : -EBADMSG;
	ret = points_decode(buf, bytes, file);
	if (ret)
		return ret;
	if (!memcmp(file->timeline, timeline, 16) && file->number == named->number &&
	    (!named->last_segment ||
	     (file->last_segment == named->last_segment &&
	      file->points.last_ordinal == named->last_ordinal &&
	      file->points.nr_commits == named->nr_commits)))
		return 0;
	points_fini(&file->points);
	return -EBADMSG;
}

int points_file_read(struct env *env, const char *dir, const uint8_t timeline[16],
		     const struct manifest_points *named, struct points_file *file,
		     unsigned int *nr_bad)
{
	struct points_file second;
	uint8_t *buf = NULL;
	char path[PATH_BYTES];
	struct env_file *f;
	uint64_t bytes;
	int ret;

	if (nr_bad)
		*nr_bad = 2;
	points_path(path, sizeof(path), dir, named->number, 0);
	ret = env->ops->open(env, path, ENV_READ | ENV_DIRECT, &f);
	if (ret)
		return ret;
	ret = env->ops->size(env, f, &bytes);
	if (!ret && (bytes != named->file_bytes || !bytes || bytes % (2 * POINTS_BLOCK_BYTES)))
		ret = -EBADMSG;
	if (ret) {
		env->ops->close(env, f);
		return ret;
	}
	buf = aligned_alloc(POINTS_BLOCK_BYTES, bytes / 2);
	ret = buf ? copy_read(env, f, timeline, named, buf, 0, file) : -ENOMEM;
	if (ret == -EBADMSG || ret == -EIO) {
		ret = copy_read(env, f, timeline, named, buf, 1, file);
		if (nr_bad)
			*nr_bad -= !ret;
	} else if (!ret && nr_bad) {
		*nr_bad = copy_read(env, f, timeline, named, buf, 1, &second) != 0;
		if (!*nr_bad)
			points_fini(&second.points);
	}
	free(buf);
	env->ops->close(env, f);
	return ret;
}

int points_file_find(struct env *env, const char *dir, const uint8_t timeline[16],
		     uint64_t number, struct manifest_points *out, uint64_t *last_cut)
{
	struct manifest_points named = { .number = number };
	struct points_file file;
	char path[PATH_BYTES];
	struct env_file *f;
	int ret;

	points_path(path, sizeof(path), dir, number, 0);
	ret = env->ops->open(env, path, ENV_READ, &f);
	if (ret)
		return ret;
	ret = env->ops->size(env, f, &named.file_bytes);
	env->ops->close(env, f);
	if (!ret)
		ret = points_file_read(env, dir, timeline, &named, &file, NULL);
	if (ret)
		return ret;
	*out = named_of(&file, named.file_bytes);
	*last_cut = file.points.last_cut_seq;
	points_fini(&file.points);
	return 0;
}
