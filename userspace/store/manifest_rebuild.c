// SPDX-License-Identifier: GPL-2.0-only
/* manifest_rebuild - a manifest in the place of one that is damaged or gone. */
#include "manifest_rebuild.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/seq.h"
#include "array.h"
#include "branches.h"
#include "manifest_copy.h"
#include "manifest_internal.h"
#include "manifest_parts.h"
#include "manifest_salvage.h"
#include "pack.h"
#include "points_build.h"
#include "timeline_internal.h"

#define PATH_BYTES	4096
#define MAX_BYTES	(64u << 20)	/* as long as a manifest can be */

struct volume {
	bool known;
	struct manifest_volume raw;
};

struct rebuild {
	struct timeline *tl;
	struct manifest_parts parts;
	uint8_t *old;			/* the file as it is; NULL: it is gone */
	size_t old_bytes;
	struct manifest_salvage salvage;
	struct manifest m;		/* what is made */
	struct timeline_remade *out;
	char *why;

	/* What records say, wherever they lie; as on disk. */
	bool has_identity, has_parent;
	struct manifest_identity identity;
	struct manifest_parent parent;
	struct manifest_grant grant;	/* the newest */
	struct volume *volumes;
	size_t nr_volumes, max_volumes;
	uint64_t points_no;		/* of the newest points file that a record names; 0: none */
};

/* -- what there is -- */

static int old_read(struct rebuild *r)
{
	const struct env_ops *ops = r->tl->env->ops;
	char path[PATH_BYTES];
	struct env_file *file;
	uint64_t bytes;
	int64_t got;
	int ret;

	snprintf(path, sizeof(path), "%s/manifest", r->tl->dir);
	ret = ops->open(r->tl->env, path, ENV_READ, &file);
	if (ret == -ENOENT) {
		r->salvage.lost_bytes = SIZE_MAX;
		return 0;
	}
	if (ret)
		return ret;
	ret = ops->size(r->tl->env, file, &bytes);
	if (!ret && bytes > MAX_BYTES)
		bytes = MAX_BYTES;
	if (!ret)
		r->old = malloc(bytes + 1);
	if (!ret && !r->old)
		ret = -ENOMEM;
	if (!ret) {
		got = ops->read(r->tl->env, file, r->old, bytes, 0);
		ret = got < 0 ? got : 0;
		r->old_bytes = got;
	}
	ops->close(r->tl->env, file);
	if (!ret)
		ret = manifest_salvage(r->old, r->old_bytes, &r->salvage);
	if (ret == -EOPNOTSUPP)
		ret = manifest_parts_refuse(&r->parts, "it has a record of a newer version; use that version");
	return ret;
}

/* A later word on something is the one that counts. */
static int fact_take(void *arg, uint16_t type, const void *payload)
{
	struct rebuild *r = arg;
	const struct manifest_volume *volume = payload;
	const struct manifest_grant *grant = payload;
	const struct manifest_points *points = payload;
	size_t id;

	switch (type) {
	case MANIFEST_POINTS:
		if (le64toh(points->number) > r->points_no)
			r->points_no = le64toh(points->number);
		break;
	case MANIFEST_IDENTITY:
		r->has_identity = true;
		memcpy(&r->identity, payload, sizeof(r->identity));
		break;
	case MANIFEST_PARENT:
		r->has_parent = true;
		memcpy(&r->parent, payload, sizeof(r->parent));
		break;
	case MANIFEST_GRANT:
		if (le32toh(grant->incarnation) >= le32toh(r->grant.incarnation))
			r->grant = *grant;
		break;
	case MANIFEST_VOLUME:
		id = le16toh(volume->id);
		if (!array_reserve(&r->volumes, &r->max_volumes, id + 1))
			return -ENOMEM;
		while (r->nr_volumes <= id)
			r->volumes[r->nr_volumes++] = (struct volume){ .known = false };
		r->volumes[id] = (struct volume){ true, *volume };
		break;
	}
	return 0;
}

/* -- the new one -- */

/* As a record that is read: what it says is known, and is in the image. */
static int add(struct rebuild *r, uint16_t type, const void *payload)
{
	int ret = manifest_record_take(&r->m, type, payload);

	return ret ? ret : manifest_image_add(&r->m, type, payload);
}

static int key_take(void *arg, const uint8_t *id)
{
	struct rebuild *r = arg;
	struct manifest_key raw = { .time_ns = 0 };

	if (manifest_has_key(&r->m, id))
		return 0;
	memcpy(raw.id, id, sizeof(raw.id));
	return add(r, MANIFEST_KEY, &raw);
}

static int copy_take(struct rebuild *r, uint64_t number, const char *suffix, const uint8_t *room,
		     size_t bytes)
{
	int ret = manifest_copy_each(room, bytes, fact_take, r);

	if (ret == -EBADMSG)
		ret = manifest_parts_refuse(&r->parts, "%016llx%s tells of it in a newer version's way; use that version",
					    (unsigned long long)number, suffix);
	return ret;
}

/* Headers come lowest first, so the newest copy is taken last. */
static int header_take(void *arg, const struct segment_header *header, const uint8_t *room,
		       size_t bytes)
{
	return copy_take(arg, header->number, ".seg", room, bytes);
}

static int pack_take(void *arg, const struct pack_header *header, const uint8_t *room, size_t bytes)
{
	return copy_take(arg, header->number, ".pack", room, bytes);
}

static int pack_add(void *arg, const struct pack_header *h, const uint8_t *room, size_t bytes)
{
	struct rebuild *r = arg;
	struct manifest_pack raw = {
		htole64(h->number), htole64(h->first_segment), htole64(h->last_segment),
		htole64(h->last_ordinal), htole64(h->points_no), htole64(h->nr_extents),
		htole64(h->live_bytes), htole64(pack_header_file_bytes(h)) };
	int ret = add(r, MANIFEST_PACK, &raw);

	if (ret == -EBADMSG)
		ret = manifest_parts_refuse(&r->parts, "%016llx.pack has the place of some of the segments of another pack, and not of all",
					    (unsigned long long)h->number);
	return !ret && h->flags & PACK_ENCRYPTED ? key_take(r, h->key_id) : ret;
}

static int header_key_take(void *arg, const struct segment_header *header, const uint8_t *room,
			   size_t bytes)
{
	return header->flags & SEGMENT_ENCRYPTED ? key_take(arg, header->key_id) : 0;
}

/* What segments do not tell: from the old one, as far as its records are whole. */
static int old_record_take(void *arg, uint16_t type, const void *payload)
{
	struct rebuild *r = arg;
	const struct manifest_key *key = payload;

	switch (type) {
	case MANIFEST_KEY:
		return key_take(r, key->id);
	case MANIFEST_SEGMENT_END:
	case MANIFEST_POLICY:
	case MANIFEST_PIN:
	case MANIFEST_LINE:
	case MANIFEST_DURABLE:
		return add(r, type, payload);
	}
	return 0;
}

/* What it names was durable. */
static int witness_take(void *arg, uint16_t type, const void *payload)
{
	struct rebuild *r = arg;
	uint64_t ordinal = 0;

	if (type == MANIFEST_RUN)
		ordinal = le64toh(((const struct manifest_run *)payload)->last_ordinal);
	else if (type == MANIFEST_POINTS)
		ordinal = le64toh(((const struct manifest_points *)payload)->last_ordinal);
	else if (type == MANIFEST_PACK)
		ordinal = le64toh(((const struct manifest_pack *)payload)->last_ordinal);
	else if (type == MANIFEST_SEGMENT_END)
		ordinal = le64toh(((const struct manifest_segment_end *)payload)->last_ordinal);
	if (ordinal > r->parts.last_ordinal)
		r->parts.last_ordinal = ordinal;
	return 0;
}

static int facts_add(struct rebuild *r)
{
	int ret = manifest_parts_packs(&r->parts, pack_take, r);

	if (!ret)
		ret = manifest_parts_headers(&r->parts, header_take, r);
	if (!ret)
		ret = manifest_salvage_each(&r->salvage, fact_take, r);
	if (ret)
		return ret;
	if (!r->has_identity)
		return manifest_parts_refuse(&r->parts, "no segment or pack tells what it had, as they are of an older version; put it back from a copy");
	if (r->parts.has_timeline && memcmp(r->parts.timeline, r->identity.timeline, 16))
		return manifest_parts_refuse(&r->parts, "it is of another timeline than the segments beside it");
	ret = add(r, MANIFEST_IDENTITY, &r->identity);
	if (!ret && r->has_parent)
		ret = add(r, MANIFEST_PARENT, &r->parent);
	for (size_t i = 0; i < r->nr_volumes && !ret; i++) {
		if (!r->volumes[i].known)
			return manifest_parts_refuse(&r->parts, "volume %zu is not known: no segment or pack tells its name; put it back from a copy",
						     i);
		ret = add(r, MANIFEST_VOLUME, &r->volumes[i].raw);
	}
	if (!ret)
		ret = manifest_salvage_each(&r->salvage, old_record_take, r);
	if (!ret)
		ret = manifest_parts_headers(&r->parts, header_key_take, r);
	return ret;
}

/* Nothing says which incarnation was granted to whom after the last segment was begun. */
static int grant_add(struct rebuild *r)
{
	uint32_t seen = seq_incarnation(r->parts.cut_seq);

	if (seen > le32toh(r->grant.incarnation)) {
		r->grant = (struct manifest_grant){ .incarnation = htole32(seen) };
		r->out->grant_lost = true;
	}
	return r->grant.incarnation ? add(r, MANIFEST_GRANT, &r->grant) : 0;
}

/* They may have been changed after the last segment was begun. */
static int sizes_add(struct rebuild *r)
{
	int ret = 0;

	for (size_t i = 0; i < r->parts.nr_sizes && i < r->nr_volumes && !ret; i++) {
		struct manifest_volume raw = r->volumes[i].raw;

		if (!r->parts.sizes[i] || htole64(r->parts.sizes[i]) == raw.size_bytes)
			continue;
		raw.size_bytes = htole64(r->parts.sizes[i]);
		ret = add(r, MANIFEST_VOLUME, &raw);
	}
	return ret;
}

/* A record of a promotion may be among what is lost: who guesses shows the wrong line. */
static int lines_check(struct rebuild *r, bool unpromoted)
{
	struct branch_info *branches = NULL;
	const char *name = NULL;
	size_t nr = 0;
	int ret;

	if (r->has_parent || r->salvage.lost_bytes < manifest_record_bytes(MANIFEST_LINE))
		return 0;
	r->out->lines_lost = true;
	if (unpromoted)
		return 0;
	ret = branch_list(r->tl->env, r->tl->dir, &branches, &nr);
	if (ret == -ENOENT)
		return 0;
	for (size_t i = 0; i < nr && !ret; i++)
		name = branches[i].name;
	if (!ret && name)
		ret = manifest_parts_refuse(&r->parts, "whether branch %.40s, or another, had become the main line is not known; say --unpromoted, and if one had promote it again before blkship-targetd is started",
					    name);
	free(branches);
	return ret;
}

/* Without one that is whole, what packs say: docs/STORE.md, "A points file that is lost". */
static int points_make(struct rebuild *r, struct manifest_points *out)
{
	const struct manifest_numbers *numbers = &r->parts.points;
	struct manifest *m = &r->m;
	struct points_build b = {
		.env = r->tl->env, .dir = r->tl->dir,
		.number = numbers->nr ? numbers->items[numbers->nr - 1] : 0,
		.last_segment = m->packs[m->nr_packs - 1].last_segment,
		.ends = m->ends, .nr_ends = m->nr_ends,
		.packs = m->packs, .nr_packs = m->nr_packs, .nr_volumes = m->nr_volumes,
		.created_ns = m->identity.created_ns, .now_ns = m->identity.created_ns,
	};
	int ret;

	for (size_t i = 0; i < m->nr_packs; i++)
		if (m->packs[i].points_no > b.number)
			b.number = m->packs[i].points_no;
	b.number++;
	memcpy(b.timeline, m->identity.timeline, sizeof(b.timeline));
	ret = points_build_run(&b);
	if (ret == -EBADMSG || ret == -ENOENT)
		ret = manifest_parts_refuse(&r->parts, "its points file is lost as well, and segment %016llx, or the pack in its place, is missing or damaged",
					    (unsigned long long)b.at_segment);
	*out = b.named;
	if (b.points.last_cut_seq > r->parts.cut_seq)
		r->parts.cut_seq = b.points.last_cut_seq;
	points_fini(&b.points);
	r->out->points_made = !ret;
	return ret;
}

static int points_add_found(struct rebuild *r)
{
	struct manifest_points found, raw;
	int ret = manifest_parts_points(&r->parts, &r->m, r->points_no, &found,
					&r->out->points_older);

	if (!ret && !found.number && r->m.nr_packs)
		ret = points_make(r, &found);
	if (ret || !found.number)
		return ret;
	raw = (struct manifest_points){
		htole64(found.number), htole64(found.last_segment), htole64(found.last_ordinal),
		htole64(found.nr_commits), htole64(found.file_bytes), htole32(found.flags), 0 };
	return add(r, MANIFEST_POINTS, &raw);
}

/* All of them are made anew. One that is none keeps their numbers from being used again. */
static int run_add(struct rebuild *r)
{
	const struct manifest_numbers *runs = &r->parts.runs;
	struct manifest_run raw = { .first_segment = htole64(1), .last_segment = htole64(1),
				    .last_ordinal = htole64(1), .nr_blocks = htole32(1) };

	if (!runs->nr)
		return 0;
	raw.number = htole64(runs->items[runs->nr - 1]);
	return add(r, MANIFEST_RUN, &raw);
}

static int image_make(struct rebuild *r, bool unpromoted)
{
	int ret = facts_add(r);

	if (!ret)
		ret = manifest_parts_packs(&r->parts, pack_add, r);
	if (!ret)
		ret = manifest_parts_walk(&r->parts, &r->m);
	if (!ret)
		ret = lines_check(r, unpromoted);
	if (!ret)
		ret = points_add_found(r);
	if (!ret)
		ret = manifest_parts_witness(&r->parts);
	if (!ret)
		ret = manifest_salvage_each(&r->salvage, witness_take, r);
	if (!ret)
		ret = grant_add(r);
	if (!ret)
		ret = sizes_add(r);
	if (!ret)
		ret = run_add(r);
	if (ret == -EBADMSG)
		ret = manifest_parts_refuse(&r->parts, "what is left of it does not fit together");
	return ret;
}

/* -- whether it is right -- */

/* Open the timeline by it, as a reader does: all that was durable has to be there. */
static int image_check(struct rebuild *r)
{
	struct timeline *probe = calloc(1, sizeof(*probe));
	size_t valid_bytes;
	int ret = probe ? 0 : -ENOMEM;

	if (!ret) {
		probe->env = r->tl->env;
		probe->read_only = true;
		probe->dir = strdup(r->tl->dir);
		ret = probe->dir ? manifest_begin(&probe->manifest, probe->env, probe->dir) : -ENOMEM;
	}
	if (!ret)
		ret = manifest_parse(&probe->manifest, r->m.image, r->m.image_bytes, &valid_bytes,
				     r->why);
	if (!ret)
		ret = timeline_recover(probe, r->why);
	if (!ret && probe->damaged)
		ret = manifest_parts_refuse(&r->parts, "%.190s", probe->damage);
	if (!ret && probe->points.last_ordinal < r->parts.last_ordinal)
		ret = manifest_parts_refuse(&r->parts, "commit %llu was durable, and what is there ends with %llu",
					    (unsigned long long)r->parts.last_ordinal,
					    (unsigned long long)probe->points.last_ordinal);
	timeline_close(probe);
	return ret;
}

/* -- in its place -- */

static int old_keep(struct rebuild *r)
{
	const struct env_ops *ops = r->tl->env->ops;
	char from[PATH_BYTES], to[PATH_BYTES];
	struct env_file *file;
	int ret;

	if (!r->old)
		return 0;
	snprintf(from, sizeof(from), "%s/manifest.damaged.new", r->tl->dir);
	snprintf(to, sizeof(to), "%s/manifest.damaged", r->tl->dir);
	ops->unlink(r->tl->env, from);
	ret = ops->open(r->tl->env, from, ENV_WRITE | ENV_CREATE, &file);
	if (ret)
		return ret;
	ret = ops->write(r->tl->env, file, r->old, r->old_bytes, 0);
	if (!ret)
		ret = ops->datasync(r->tl->env, file);
	ops->close(r->tl->env, file);
	if (!ret)
		ret = ops->rename(r->tl->env, from, to);
	if (!ret)
		ret = ops->sync_dir(r->tl->env, r->tl->dir);
	if (ret)
		ops->unlink(r->tl->env, from);
	return ret;
}

/* All records are whole again: it is what it was. */
static int image_mend(struct rebuild *r)
{
	size_t valid_bytes;
	int ret;

	if (!array_reserve(&r->m.image, &r->m.max_image_bytes, r->salvage.nr_bytes))
		return -ENOMEM;
	memcpy(r->m.image, r->salvage.records, r->salvage.nr_bytes);
	r->m.image_bytes = r->salvage.nr_bytes;
	ret = manifest_parse(&r->m, r->m.image, r->m.image_bytes, &valid_bytes, NULL);
	if (ret == -EBADMSG)
		ret = manifest_parts_refuse(&r->parts, "its records do not fit together");
	return ret;
}

/* A branch that was dropped is to stay dropped. */
static int dropped_check(struct rebuild *r)
{
	char path[PATH_BYTES];
	struct env_file *file;
	int ret;

	snprintf(path, sizeof(path), "%s/manifest.dropped", r->tl->dir);
	ret = r->tl->env->ops->open(r->tl->env, path, ENV_READ, &file);
	if (ret)
		return ret == -ENOENT ? 0 : ret;
	r->tl->env->ops->close(r->tl->env, file);
	return -ENODATA;
}

/* @bits_only: turn bits back if that does it; -ENODATA: it does not */
static int rebuild_run(struct rebuild *r, bool bits_only, bool unpromoted)
{
	int ret = manifest_begin(&r->m, r->tl->env, r->tl->dir);

	if (!ret)
		ret = dropped_check(r);
	if (!ret)
		ret = old_read(r);
	if (!ret)
		ret = manifest_parts_list(&r->parts);
	if (ret)
		return ret;
	if (r->old && !r->salvage.nr_lost) {
		ret = r->salvage.nr_bits ? image_mend(r) : -ENODATA;
	} else if (bits_only) {
		ret = -ENODATA;
	} else {
		if (!r->parts.segments.nr && !r->parts.packs.nr)
			return -ENODATA;
		r->out->from_segments = true;
		ret = image_make(r, unpromoted);
		if (!ret)
			ret = image_check(r);
	}
	if (!ret)
		ret = old_keep(r);
	return ret ? ret : manifest_rewrite(&r->m);
}

static int rebuild(struct timeline *tl, bool bits_only, bool unpromoted,
		   struct timeline_remade *out, char *why)
{
	struct rebuild r = { .tl = tl, .out = out, .why = why,
			     .parts = { .env = tl->env, .dir = tl->dir, .why = why } };
	int ret;

	*out = (struct timeline_remade){ .manifest = false };
	ret = rebuild_run(&r, bits_only, unpromoted);
	if (!ret) {
		out->manifest = true;
		out->nr_bits = r.salvage.nr_bits;
		out->pins_lost = r.salvage.lost_bytes >= manifest_record_bytes(MANIFEST_PIN);
		out->policies_lost = r.salvage.lost_bytes >= manifest_record_bytes(MANIFEST_POLICY);
	} else {
		*out = (struct timeline_remade){ .manifest = false };
	}
	manifest_close(&r.m);
	manifest_parts_fini(&r.parts);
	free(r.salvage.records);
	free(r.volumes);
	free(r.old);
	return ret;
}

int timeline_manifest_mend(struct timeline *tl, struct timeline_remade *out, char *why)
{
	return rebuild(tl, true, false, out, why);
}

int timeline_manifest_rebuild(struct timeline *tl, bool unpromoted, struct timeline_remade *out,
			      char *why)
{
	return rebuild(tl, false, unpromoted, out, why);
}
