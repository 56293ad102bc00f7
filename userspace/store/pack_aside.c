// SPDX-License-Identifier: GPL-2.0-only
/* pack_aside - files of a timeline that cannot be read now: what is beside them goes on. */
#include "pack_aside.h"

#include <errno.h>

#include "array.h"

bool pack_aside_is_due(int error)
{
	return error == -EBADMSG || error == -EIO || error == -ENOENT || error == -ENOKEY ||
	       error == -EFBIG || error == -E2BIG;
}

static struct pack_aside *find(const struct pack_asides *list, uint64_t segment, uint64_t pack,
			       bool run)
{
	for (size_t i = 0; i < list->nr; i++) {
		struct pack_aside *a = &list->items[i];

		if (a->segment == segment && a->pack == pack && a->run == run)
			return a;
	}
	return NULL;
}

const struct pack_aside *pack_aside_find(const struct pack_asides *list, uint64_t segment,
					 uint64_t pack, bool run, uint64_t now_ns)
{
	const struct pack_aside *a = find(list, segment, pack, run);

	return a && now_ns < a->until_ns ? a : NULL;
}

int pack_aside_add(struct pack_asides *list, const struct pack_aside *add)
{
	struct pack_aside *a = find(list, add->segment, add->pack, add->run);

	if (!a) {
		if (!array_reserve(&list->items, &list->max, list->nr + 1))
			return -ENOMEM;
		a = &list->items[list->nr++];
	}
	*a = *add;
	return 0;
}

bool pack_aside_drop(struct pack_asides *list, uint64_t first, uint64_t last, bool run)
{
	const size_t nr = list->nr;
	size_t kept = 0;

	for (size_t i = 0; i < list->nr; i++) {
		const struct pack_aside *a = &list->items[i];

		if (a->run != run || a->segment < first || a->segment > last)
			list->items[kept++] = *a;
	}
	list->nr = kept;
	return kept < nr;
}

void pack_aside_renew(struct pack_asides *list, uint64_t now_ns, uint64_t until_ns)
{
	for (size_t i = 0; i < list->nr; i++)
		if (!list->items[i].run && now_ns >= list->items[i].until_ns)
			list->items[i].until_ns = until_ns;
}

void pack_aside_retry(struct pack_asides *list)
{
	for (size_t i = 0; i < list->nr; i++)
		list->items[i].until_ns = 0;
}
