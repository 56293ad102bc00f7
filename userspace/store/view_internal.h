/* SPDX-License-Identifier: GPL-2.0-only */
/* view_internal - what view*.c share. */
#ifndef BLKSHIP_VIEW_INTERNAL_H
#define BLKSHIP_VIEW_INTERNAL_H

#include <stdbool.h>

#include "pack_read.h"
#include "run_read.h"
#include "view.h"

/* An extent, or a part of one, and where it stands in the order of versions. */
struct view_version {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint64_t label_seq;
	uint64_t readback_no;
	uint64_t unit_offset;
	uint32_t segment;
	uint32_t data_offset;	/* EXTENT_DATA: of this part, in the unit's data */
	uint16_t extent_no;	/* of the extent in its unit */
	uint16_t volume;
	uint8_t kind;		/* enum extent_kind */
};

struct view_versions {
	struct view_version *items;
	size_t nr, max;
};

/* A stretch of a volume, and where its content lies. */
struct view_piece {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint64_t unit_offset;	/* in the segment file */
	uint32_t segment;
	uint32_t data_offset;	/* EXTENT_DATA: of this piece, in the unit's data */
	uint16_t extent_no;	/* of its extent in the unit */
	uint8_t kind;		/* enum extent_kind */
};

/*
 * In the place of what a hole had: "data" of a unit that is none, as the header lies there. Nobody
 * knows what it was, so reading it fails.
 */
#define VIEW_LOST_UNIT	0

/* Where the data of a piece are now: a pack may have taken the segment's place. */
struct view_place {
	uint64_t file;		/* number of the segment, or of the pack with VIEW_PACK_FILE */
	uint64_t unit_offset;
	uint32_t data_offset;	/* in the unit's data */
};

#define VIEW_PACK_FILE (UINT64_C(1) << 63)

struct view_volume {
	uint16_t id;
	uint64_t size_bytes;
};

struct view_run {
	struct run run;
	uint64_t first_ordinal;	/* in its first segment */
};

/* An unpacked unit. */
struct view_unit {
	uint64_t unit_offset;
	uint64_t file;		/* as in a view_place; 0: empty */
	uint32_t data_bytes;
	uint64_t used;		/* when, for the oldest to go */
	uint8_t *data;
};

struct view_file {
	uint64_t number;	/* as in a view_place */
	struct env_file *file;
	struct unit_cipher *cipher;	/* NULL: in clear, or see key_error */
	int key_error;			/* -errno: what is encrypted in it cannot be read */
};

#define VIEW_SETS	128	/* a unit has its place in one of them */
#define VIEW_WAYS	4	/* 512 units: 32 MiB, as far as used */
#define VIEW_FILES	32
#define VIEW_PACKS	16	/* whose directories are in hand */
#define VIEW_RELOADS	3	/* beside a writer that merges and packs */
#define VIEW_WINDOW_BYTES (1u << 20)
#define VIEW_WINDOW_VERSIONS 8192	/* in a window of pieces, about */

struct view {
	struct env *env;
	struct timeline *tl;
	struct timeline *parent_tl;	/* of a branch: what shows through, and ... */
	struct view *parent;		/* ... its view, where the branch begins; or NULL */
	uint64_t cut_seq;
	uint64_t last_ordinal;	/* of what was durable when it was opened */
	struct view_volume *volumes;
	size_t nr_volumes;
	struct view_run *runs;
	size_t nr_runs;
	struct view_versions rest;	/* seen in segments without a run; by place, disjoint */
	struct run_cache cache;

	uint64_t points_seen;	/* number of a points file that has the cut; 0: none was read */
	uint64_t looked_ns;	/* monotonic: after an error, the point was still there; 0: never */

	/* view_window.c: what was looked up last, [start, end) of a volume */
	uint16_t pieces_volume;
	uint64_t pieces_start, pieces_end;
	struct view_piece *pieces;
	size_t nr_pieces, max_pieces;
	struct view_versions found;
	size_t ahead;		/* versions to look for; more when it is read in order */

	/* view_pack.c */
	struct pack packs[VIEW_PACKS];	/* by number */
	struct pack_cache *pack_cache;	/* NULL: none was needed yet */

	/* view_file.c */
	struct view_file files[VIEW_FILES];
	uint8_t *window;	/* part of one of them */
	uint64_t window_file;
	uint64_t window_offset;
	size_t window_bytes;
	size_t window_wanted_bytes;	/* of it, by those who asked ... */
	uint64_t window_wanted_end;	/* ... in the file */

	/* view_read.c */
	struct view_unit units[VIEW_SETS][VIEW_WAYS];
	uint64_t clock;
	uint64_t fault_file;	/* of the last piece that could not be had; 0: none */
	bool units_stored;	/* the last one was not compressed */
	size_t unit_bytes;	/* of the last one that was; 0: none */
	uint8_t tables[512] __attribute__((aligned(8))); /* beginning of a unit */
	uint64_t tables_file;	/* 0: none */
	size_t tables_bytes;
	uint64_t tables_offset;
	uint8_t *clear;		/* what a unit has encrypted */
};

const struct view_volume *view_volume(const struct view *v, uint16_t id);

/*
 * A branch's view: what its own commits up to @ordinal (0: none) have written to the
 * volumes that its manifest gives a size. Whatever came later is not looked at.
 */
int view_open_until(struct timeline *tl, uint64_t ordinal, struct view **out, char *why);

/* -- view_parent.c: all but the first only with a parent -- */

/* Open the parent's view, if it is of a branch; what was opened is closed with the view. */
int view_parent_open(struct view *v, char *why);
void view_parent_close(struct view *v);

/* In the place of a stretch of nothing, what the parent has there. */
int view_parent_next(struct view *v, uint16_t volume, struct view_extent *out);

/* view_copy_range() of what shows through. */
int view_parent_copy(struct view *v, uint16_t volume, uint64_t start_bytes, uint64_t end_bytes,
		     int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
		     void *arg, uint64_t *offset_bytes);

/*
 * Whether the cut still exists, as far as the manifest in hand knows: packs do not have what
 * only a dropped one needs. Return: 0; -ESTALE it was dropped; -ENOENT read the manifest again;
 * -errno.
 */
int view_cut_check(struct view *v);

/*
 * What a caller is told for @error: -ESTALE if what is missing, or damaged, is so because the
 * point was dropped since the view was opened; -EBADMSG for a file that is missing. It is looked for
 * once a second at most: until then it is damage.
 */
int view_error(struct view *v, int error);

/* Whether it did, and found the point there, less than that ago: what does not check is damage. */
bool view_has_looked(const struct view *v);

/*
 * Take runs, and the rest, by the manifest in hand, which has the cut. Return: 0; -ENOENT a file is
 * gone: read the manifest again; -EBADMSG; -errno. Then the view has what it had.
 */
int view_segments_renew(struct view *v);

/* -- view_version.c -- */

/* Make room and add one; 0 or -ENOMEM. */
int view_version_add(struct view_versions *versions, const struct view_version *add);

/*
 * Call @emit for what is seen of them, by place; two parts of one extent come as one if they
 * touch. Return: 0; -ENOMEM; -EFBIG; what @emit returned.
 */
int view_versions_sweep(const struct view_versions *versions,
			int (*emit)(void *arg, const struct view_version *seen), void *arg);

/* -- view_rest.c -- */

/*
 * Read segments [@first, @last], or up to the last durable commit, and add to the rest what
 * of them is at or below the cut. *ordinal: in, before @first; out, the last one read.
 * @final: what is missing now will not be found by looking again, and is lost: what is older than it
 * could have been does not show
 * Return: 0; -ENOENT a file is gone: a writer has perhaps put another in its place; -EBADMSG;
 * -errno.
 */
int view_rest_add(struct view *v, uint64_t first, uint64_t last, uint64_t *ordinal, bool final,
		  char *why);

/* -- view_window.c -- */

/*
 * Look up a range of a volume that begins at or before @offset_bytes, if that is not in
 * hand, and goes on up to @end_bytes if the bound allows, else as far as it does.
 */
int view_window(struct view *v, const struct view_volume *volume, uint64_t offset_bytes,
		uint64_t end_bytes);

/* The first piece in hand that ends past @offset_bytes; nr_pieces: none. */
size_t view_find(const struct view *v, uint64_t offset_bytes);

/* -- view_pack.c -- */

void view_pack_fini(struct view *v);

/* An open pack that the manifest names, good until the next call; 0, -ENOENT, -EBADMSG, -errno. */
int view_pack_get(struct view *v, const struct manifest_pack *named, const struct pack **out);

/* Where the data of a piece are; 0; -ENOENT the file is gone; -EBADMSG; -errno. */
int view_pack_place(struct view *v, const struct view_piece *p, struct view_place *out);

/* -- view_file.c -- */

void view_file_fini(struct view *v);

/* Whether there is none of its name any more, also if it is open. */
bool view_file_is_gone(struct view *v, uint64_t number);

/* An open file, known to be what its name says, good until the next call; 0 or -errno. */
int view_file_get(struct view *v, uint64_t number, struct view_file **out);

/*
 * All bytes in hand of a file from @offset on, @need at least if the file has them; *at is good
 * until the next call. Return: how many, more than 0; -EBADMSG the file ends before; -errno.
 */
int64_t view_file_window(struct view *v, uint64_t number, uint64_t offset, size_t need,
			 const uint8_t **at);

/* -- view_read.c -- */

void view_read_fini(struct view *v);

/* The data of a piece, from @skip on, checked; @bytes of them are good until the next call. */
int view_piece_data(struct view *v, const struct view_piece *p, uint64_t skip, uint64_t bytes,
		    const uint8_t **out);

#endif
