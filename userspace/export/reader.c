// SPDX-License-Identifier: GPL-2.0-only
#include "reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/container_of.h"

/*
 * A view says in which segment or pack it found what is wrong. Of runs it does not: there the
 * file that was read last, or could not be opened, is the one.
 */

static struct reader *reader_of(struct env *env)
{
	return container_of(env->ops, struct reader, ops);
}

static int reader_env_open(struct env *env, const char *path, unsigned int flags,
			   struct env_file **out)
{
	struct reader *r = reader_of(env);
	int ret = r->real_ops->open(env, path, flags, out);

	if (ret < 0) {
		r->last_file = NULL;
		snprintf(r->missing, sizeof(r->missing), "%.255s", path);
	}
	return ret;
}

static void reader_env_close(struct env *env, struct env_file *file)
{
	struct reader *r = reader_of(env);

	if (r->last_file == file)
		r->last_file = NULL;
	r->real_ops->close(env, file);
}

static int64_t reader_env_read(struct env *env, struct env_file *file, void *buf, size_t bytes,
			       uint64_t offset_bytes)
{
	struct reader *r = reader_of(env);

	r->last_file = file;
	r->missing[0] = 0;
	return r->real_ops->read(env, file, buf, bytes, offset_bytes);
}

void reader_segment(const struct reader *r, char *text, size_t bytes)
{
	view_fault(r->view, text, bytes);
	if (text[0])
		return;
	snprintf(text, bytes, "%s", r->missing);
	if (r->last_file)
		home_file_path(r->list.home, r->last_file, text, bytes);
}

static int open_view(struct reader *r, const struct point_name *name, uint64_t seq,
		     bool force, const struct point **point, char *why)
{
	struct point_name by_seq = *name;
	char text[TIMELINE_TEXT_BYTES] = "";
	int ret;

	if (seq)
		by_seq.when = (struct when){ .kind = WHEN_SEQ, .seq = seq };
	ret = point_choose(&r->list, &by_seq, force, point, why);
	if (ret < 0)
		return ret;
	r->real_ops = r->list.env->ops;
	r->ops = *r->real_ops;
	r->ops.open = reader_env_open;
	r->ops.close = reader_env_close;
	r->ops.read = reader_env_read;
	r->list.env->ops = &r->ops;
	ret = view_open(r->list.tl, (*point)->seq, &r->view, text);
	if (ret < 0)
		snprintf(why, POINT_TEXT_BYTES, "group %s: %s; try another point", name->group,
			 *text ? text : strerror(-ret));
	return ret;
}

int reader_open(const char *store, const struct point_name *name, uint64_t seq,
		const struct keyring *keys, const char *note, bool force, struct reader **out, const struct point **point, char *why)
{
	struct reader *r = calloc(1, sizeof(*r));
	int ret;

	if (!r) {
		snprintf(why, POINT_TEXT_BYTES, "group %s: out of memory", name->group);
		return -ENOMEM;
	}
	ret = point_list_open(store, name->group, &r->list, why);
	if (ret == 0)
		ret = point_list_set_keys(&r->list, name->group, keys, note, force, why);
	if (ret == 0)
		ret = open_view(r, name, seq, force, point, why);
	if (ret < 0) {
		reader_close(r);
		return ret;
	}
	*out = r;
	return 0;
}

void reader_close(struct reader *r)
{
	if (!r)
		return;
	if (r->view)
		view_close(r->view);
	if (r->list.tl)
		point_list_close(&r->list);
	free(r);
}
