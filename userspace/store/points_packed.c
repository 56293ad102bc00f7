// SPDX-License-Identifier: GPL-2.0-only
/* points_packed - what packs say of points, where the points file that knew it is lost. */
#include "points_packed.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>

#include "array.h"
#include "pack_read.h"
#include "thin.h"

/* Extents of one batch, of what a pack still has. */
struct batch {
	const struct points_packed *from;
	struct points *points;
	struct pack_stream stream;
	struct pack_extent next;	/* not taken yet ... */
	bool more;			/* ... and whether there is one */
	struct footer_extent *extents;
	size_t nr, max;
};

static int next_read(struct batch *b)
{
	int ret = pack_stream_next(&b->stream, &b->next);

	b->more = !ret;
	if (!ret && b->next.volume >= b->from->nr_volumes)
		return -EBADMSG;
	return ret == -ENOENT ? 0 : ret;
}

static int extents_read(struct batch *b, uint64_t ordinal)
{
	int ret = 0;

	b->nr = 0;
	while (b->more && b->next.batch_ordinal == ordinal && !ret) {
		if (!array_reserve(&b->extents, &b->max, b->nr + 1))
			return -ENOMEM;
		b->extents[b->nr++] = (struct footer_extent){
			.extent = { .offset_bytes = b->next.offset_bytes,
				    .length_bytes = b->next.length_bytes,
				    .volume = b->next.volume, .kind = b->next.kind },
			.label_seq = b->next.label_seq, .readback_no = b->next.readback_no,
			.batch_ordinal = ordinal };
		ret = next_read(b);
	}
	return ret;
}

/* Batches below @ordinal: they have no commit record any more. */
static int batches_add(struct batch *b, uint64_t ordinal)
{
	int ret = 0;

	while (b->more && b->next.batch_ordinal < ordinal && !ret) {
		ret = extents_read(b, b->next.batch_ordinal);
		if (!ret)
			ret = points_add_batch(b->points, b->extents, b->nr);
	}
	return ret;
}

static int commit_add(void *arg, const struct commit_view *commit)
{
	const struct commit_header *h = &commit->header;
	struct batch *b = arg;
	int ret;

	if (h->cut_seq < b->points->last_cut_seq)
		return -EBADMSG;
	for (uint32_t i = 0; i < h->nr_volumes; i++)
		if (le16toh(commit->volumes[i].volume) >= b->from->nr_volumes)
			return -EBADMSG;
	ret = batches_add(b, h->ordinal);
	if (!ret)
		ret = extents_read(b, h->ordinal);
	return ret ? ret : points_add(b->points, commit, b->extents, b->nr);
}

static int pack_add(struct batch *b, const struct pack *pack, const struct pack_tables *t)
{
	int ret = pack_stream_begin(&b->stream, pack);

	if (!ret)
		ret = next_read(b);
	if (!ret)
		ret = pack_tables_commits(t, &pack->header, commit_add, b);
	if (!ret)
		ret = batches_add(b, UINT64_MAX);
	pack_stream_end(&b->stream);
	free(b->extents);
	b->points->last_ordinal = pack->header.last_ordinal;
	return ret;
}

int points_packed_add(const struct points_packed *from, const struct manifest_pack *named,
		      struct points *p)
{
	struct batch b = { .from = from, .points = p };
	struct pack_tables t = { 0 };
	struct pack pack;
	int ret = pack_open(from->env, from->dir, from->timeline, named, &pack);

	if (!ret && pack.header.first_ordinal != p->last_ordinal + 1)
		ret = -EBADMSG;
	if (!ret)
		ret = pack_tables_load(&pack, &t);
	if (!ret)
		ret = pack_add(&b, &pack, &t);
	free(t.bytes);
	pack_close(&pack);
	return ret;
}

const struct manifest_pack *points_packed_newest(const struct manifest_pack *packs,
						 size_t nr_packs)
{
	const struct manifest_pack *found = &packs[0];

	for (size_t i = 1; i < nr_packs; i++)
		if (packs[i].points_no > found->points_no)
			found = &packs[i];
	return found;
}

int points_packed_kept(const struct points_packed *from, const struct manifest_pack *newest,
		       uint64_t **cuts, size_t *nr)
{
	struct pack_tables t = { 0 };
	struct pack pack;
	int ret = pack_open(from->env, from->dir, from->timeline, newest, &pack);

	if (!ret)
		ret = pack_tables_load(&pack, &t);
	if (!ret && from->pace)
		ret = from->pace->fn(from->pace->arg, t.nr_bytes);
	if (!ret)
		ret = pack_tables_kept(&t, cuts, nr);
	free(t.bytes);
	pack_close(&pack);
	return ret;
}

int points_packed_keep(const struct points_packed *from, const struct manifest_pack *packs,
		       size_t nr_packs, struct points *p)
{
	struct thin_cuts kept = { 0 };
	uint64_t *cuts = NULL;
	int ret = points_packed_kept(from, points_packed_newest(packs, nr_packs), &cuts, &kept.nr);

	if (!ret) {
		kept.cuts = cuts;
		kept.settled_cut = cuts[kept.nr - 1];
		points_keep(p, &kept);
	}
	free(cuts);
	return ret;
}
