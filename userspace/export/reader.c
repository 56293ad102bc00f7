// SPDX-License-Identifier: GPL-2.0-only
#include "reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "main_line.h"

static int open_view(struct reader *r, const struct point_name *name, bool force,
		     const struct point **point, char *why)
{
	char text[TIMELINE_TEXT_BYTES] = "";
	int ret = point_choose(&r->list, name, force, point, why);

	if (ret < 0)
		return ret;
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
	struct point_name meant = *name;
	int ret;

	if (!r) {
		snprintf(why, POINT_TEXT_BYTES, "group %s: out of memory", name->group);
		return -ENOMEM;
	}
	if (seq)
		meant.when = (struct when){ .kind = WHEN_SEQ, .seq = seq };
	ret = main_line_open(store, &meant, &r->list, why);
	if (ret == 0)
		ret = point_list_set_keys(&r->list, meant.group, keys, note, force, why);
	if (ret == 0)
		ret = open_view(r, &meant, force, point, why);
	if (ret < 0) {
		reader_close(r);
		return ret;
	}
	strcpy(r->group, meant.group);
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
