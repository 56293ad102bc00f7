/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * manifest - what a timeline must know before it looks at a segment.
 *
 * Append-only: identity, volumes, incarnations, ends of segments given up, runs, points
 * files. A record is durable when the call that added it returned 0. What a torn append left is
 * cut off by a rewrite (temporary file, sync, rename, sync of the directory);
 * anything else that does not check is damage, and refused. A rewrite also drops
 * superseded records, when the file would become too long or most of it is out
 * of date; what does not fit then is refused with -ENOSPC.
 */
#ifndef BLKSHIP_MANIFEST_H
#define BLKSHIP_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../lib/env.h"
#include "manifest_format.h"
#include "retention.h"
#include "timeline.h"

/* A policy, from when on. */
struct manifest_retention {
	struct retention_policy policy;
	uint64_t immutable_ns;
	uint64_t since_ns;
};

struct manifest {
	struct env *env;
	char *path, *tmp_path, *dir;
	struct env_file *file;	/* of a writer */
	uint8_t *image;		/* the file as it should be */
	size_t image_bytes, max_image_bytes;
	size_t limit_bytes;	/* longer it never becomes; tests lower it */
	bool rewrite;		/* the file's tail is not to be trusted */

	struct manifest_identity identity;
	struct timeline_volume *volumes;
	size_t nr_volumes, max_volumes;
	uint32_t incarnation;	/* newest granted, 0: none */
	uint8_t instance[16];
	struct manifest_segment_end *ends;
	size_t nr_ends, max_ends;
	struct manifest_run *runs;	/* valid ones, by first_segment; they never overlap */
	size_t nr_runs, max_runs;
	uint64_t run_number;	/* highest so far */
	struct manifest_points points;	/* the points file; number 0: none yet */
	uint64_t points_number;	/* highest that failed to be added; 0: none */
	struct manifest_pack *packs;	/* valid ones, by first_segment; they never overlap */
	size_t nr_packs, max_packs;
	uint64_t pack_number;	/* highest so far */
	size_t nr_old_records;	/* in the image, that newer ones replaced */
	struct manifest_key *keys; /* in the order in which they came; the last is in use */
	size_t nr_keys, max_keys;
	struct manifest_retention *policies; /* in order; the last one is in force */
	size_t nr_policies, max_policies;
	struct timeline_pin *pins;	/* that are not released */
	size_t nr_pins, max_pins;
	uint64_t pin_id;		/* highest so far */
	bool has_parent;	/* it is a branch's */
	struct manifest_parent parent;
	struct timeline_line *lines;	/* by epoch; the last is in force */
	size_t nr_lines, max_lines;
	bool line_unknown;	/* one may be in the file that was said not to be */
	struct manifest_durable durable; /* the last that was told; ordinal 0: none was */
};

/**
 * manifest_open - read, check, and for a writer mend, the manifest of a directory
 * @why: TIMELINE_TEXT_BYTES, filled on failure
 * Return: 0; -ENOENT; -EBADMSG damaged; -errno. In all cases manifest_close() is due.
 */
int manifest_open(struct manifest *m, struct env *env, const char *dir, bool writer, char *why);

/**
 * manifest_create - the same, for a directory without one
 * @id: 16 random bytes
 */
int manifest_create(struct manifest *m, struct env *env, const char *dir, const uint8_t *id,
		    const char *owner, char *why);

/**
 * manifest_create_branch - the same, for a branch; all of it appears at once
 * @of: the parent's, whose owner and keys it gets
 * @parent: host order
 * @volumes: those of @of, with the sizes they have in the branch
 * Incarnation 1 is granted to @id.
 */
int manifest_create_branch(struct manifest *m, struct env *env, const char *dir,
			   const uint8_t *id, const struct manifest *of,
			   const struct manifest_parent *parent,
			   const struct timeline_volume *volumes, char *why);
void manifest_close(struct manifest *m);

int manifest_add_volume(struct manifest *m, const char *name, uint64_t size_bytes,
			const char *identity);
int manifest_resize_volume(struct manifest *m, uint16_t id, uint64_t size_bytes);
int manifest_add_grant(struct manifest *m, uint32_t incarnation, const uint8_t *instance);
/** manifest_has_grant - whether it (still) has this grant to this instance */
bool manifest_has_grant(const struct manifest *m, uint32_t incarnation, const uint8_t *instance);
int manifest_add_end(struct manifest *m, uint64_t number, uint64_t end_offset,
		     uint64_t last_ordinal);

/** manifest_add_key - segments may be encrypted with this one from now on */
int manifest_add_key(struct manifest *m, const uint8_t *id);

/** manifest_has_key - whether some may be already */
bool manifest_has_key(const struct manifest *m, const uint8_t *id);

/**
 * manifest_add_run - name a run; from now on it stands for those it overlaps
 * @run: its number is manifest_next_run(); host order
 */
int manifest_add_run(struct manifest *m, const struct manifest_run *run);

/** manifest_next_run - the number that no run has had yet */
uint64_t manifest_next_run(const struct manifest *m);

/**
 * manifest_add_points - name a points file; from now on it is the one that counts
 * @points: its number is manifest_next_points(); host order
 */
int manifest_add_points(struct manifest *m, const struct manifest_points *points);

/** manifest_next_points - the number that no points file has had yet */
uint64_t manifest_next_points(const struct manifest *m);

/**
 * manifest_points_alone - whether only the points file says which commits there still are
 * Segments have those that were dropped as well, and packs do not have all that were not.
 */
bool manifest_points_alone(const struct manifest *m);

/**
 * manifest_add_pack - name a pack; from now on it stands for its segments and for the packs it
 * covers, which must be whole
 * @pack: its number is manifest_next_pack(); host order
 */
int manifest_add_pack(struct manifest *m, const struct manifest_pack *pack);

/** manifest_next_pack - the number that no pack has had yet */
uint64_t manifest_next_pack(const struct manifest *m);

/** manifest_pack - the one that stands for a segment, or NULL */
const struct manifest_pack *manifest_pack(const struct manifest *m, uint64_t segment);

/** manifest_add_policy - from now on it is the one in force */
int manifest_add_policy(struct manifest *m, const struct manifest_retention *retention);

/** manifest_add_pin - a new one (its id is pin_id + 1), a new until_ns, or, @released, its end */
int manifest_add_pin(struct manifest *m, const struct timeline_pin *pin, bool released);

/**
 * manifest_add_line - a branch is the main line from now on
 * @line: its epoch is manifest_epoch() + 1
 * Return: 0; -errno: there is no such record, unless line_unknown is set: then it is not known
 * before the file was written anew.
 */
int manifest_add_line(struct manifest *m, const struct timeline_line *line);

/** manifest_add_durable - this commit is durable in this segment: less than it is a loss */
int manifest_add_durable(struct manifest *m, uint64_t ordinal, uint64_t segment);

/** manifest_epoch - in which the main line is now */
uint32_t manifest_epoch(const struct manifest *m);

/** manifest_end - where a segment was given up, or NULL */
const struct manifest_segment_end *manifest_end(const struct manifest *m, uint64_t number);

/**
 * manifest_parse - read an image into @m; nothing of the environment is touched
 * @valid_bytes: out, where the last whole record ends
 * Return: 0 also with a torn tail (then *valid_bytes < bytes); -EBADMSG; -ENOMEM.
 */
int manifest_parse(struct manifest *m, const void *image, size_t bytes, size_t *valid_bytes,
		   char *why);

#endif
