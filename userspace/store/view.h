/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * view - the content of the volumes at a recovery point.
 *
 * Stage [9 view]. Fed by the runs and segments of a timeline; feeds restore and export.
 * Promises: the newest version of each block at or below the cut by (stamp,
 * record before read-back, read-back number), DESIGN 1.5; every byte handed
 * out has been checked against the CRC of capture time; opening and reading cost the same
 * at any age, and memory is bounded (docs/STORE.md), as far as there are runs. What has
 * none, or a damaged one, is looked up in the segments.
 */
#ifndef BLKSHIP_VIEW_H
#define BLKSHIP_VIEW_H

#include "timeline.h"

struct view;

/**
 * view_open - open the runs, and index the segments that have none
 * Of a branch also its parent, which shows through where the branch has nothing.
 * @tl: borrowed until view_close
 * @cut_seq: of a commit; the caller has checked that it is listed
 * Return: 0; -ENOENT no durable commit has this cut; -ESTALE the point has been dropped since
 * @tl was opened; -EBADMSG a segment is damaged (@why
 * says where); -ENOMEM; -errno.
 */
int view_open(struct timeline *tl, uint64_t cut_seq, struct view **out, char *why);
void view_close(struct view *v);

/**
 * view_check - whether its point still exists, by what is on disk now
 * Return: 0; -ESTALE it has been dropped: what was read is right, but what only it needed may go
 * at any time; -errno.
 */
int view_check(struct view *v);

/* One stretch of a volume, all of the same kind. */
struct view_extent {
	uint64_t offset_bytes;
	uint64_t length_bytes;
	uint8_t kind;		/* enum extent_kind; EXTENT_ZERO also where nothing was ever
				 * shipped; EXTENT_DISCARD reads as zeroes */
};

/**
 * view_next - the stretch that holds @offset_bytes, cut to begin there
 * Ends at the volume's size as of the point; what follows may be of the same kind.
 * Return: 0; -ENOENT past the end; -ESTALE the point was dropped and what it needs has gone;
 * -EBADMSG a segment is damaged; -errno.
 */
int view_next(struct view *v, uint16_t volume, uint64_t offset_bytes, struct view_extent *out);

/** view_size - of a volume at this point; 0: not a member */
uint64_t view_size(const struct view *v, uint16_t volume);

#define VIEW_NOTHING 0

/**
 * view_next_written - the same, with the kind VIEW_NOTHING where nothing was ever shipped
 * Of a branch: where it has nothing of its own.
 */
int view_next_written(struct view *v, uint16_t volume, uint64_t offset_bytes,
		      struct view_extent *out);

/**
 * view_changes - all that was written to a volume up to the point, by place
 * @each: called for each stretch of one kind; two that touch have different kinds; not 0: stop
 * and return that
 *
 * Of a branch: since it began, by its own index, without reading any content. What was
 * written with what had been there counts.
 * Return: 0; -ENOENT no such volume; as view_next(); what @each returned.
 */
int view_changes(struct view *v, uint16_t volume,
		 int (*each)(void *arg, const struct view_extent *extent), void *arg);

/**
 * view_read - content at the point; multiples of 512
 * Return: 0; -EIO touches unreadable sectors; -ESTALE the point was dropped and this has gone;
 * -EBADMSG a checksum is wrong or a segment damaged; -ENOKEY it is encrypted with a key that was
 * not set; -ERANGE past the end; -errno.
 */
int view_read(struct view *v, uint16_t volume, uint64_t offset_bytes, void *buf, size_t bytes);

/** view_error_text - what to tell people of what a call here has returned */
const char *view_error_text(int error);

/**
 * view_fault - the segment or pack that the last view_read() failed for
 * @path: out, "" when it did not, or that is not known
 */
void view_fault(const struct view *v, char *path, size_t bytes);

/**
 * view_copy - hand out all data of a volume in the order in which they are stored
 * @put: called for each stretch of data, up to 64 KiB; not 0: stop and return that
 * @offset_bytes: out, on failure: where in the volume
 *
 * Reads each unit once, however its blocks are scattered over the volume, or once for every
 * four million stretches: what a restore wants. Where view_next() says something other than
 * data, nothing is handed out.
 * Return: 0; as view_read; or what @put returned.
 */
int view_copy(struct view *v, uint16_t volume,
	      int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
	      void *arg, uint64_t *offset_bytes);

/** view_copy_range - the same of a part of the volume; multiples of 512, up to its size */
int view_copy_range(struct view *v, uint16_t volume, uint64_t start_bytes, uint64_t end_bytes,
		    int (*put)(void *arg, uint64_t offset_bytes, const void *buf, size_t bytes),
		    void *arg, uint64_t *offset_bytes);

#endif
