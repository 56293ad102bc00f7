/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * manifest_rebuild - a manifest in the place of one that is damaged or gone: docs/SEGMENT.md, "A
 * manifest that is lost".
 *
 * Only when the operator says so: who makes a manifest without being told makes segments void.
 */
#ifndef BLKSHIP_MANIFEST_REBUILD_H
#define BLKSHIP_MANIFEST_REBUILD_H

#include "timeline.h"

struct timeline;

/**
 * timeline_manifest_mend - turn single bits of records back, if that is all that is wrong
 * To be asked before it is opened: if it is the last record, opening takes that for an append that
 * was torn, and cuts it off. As timeline_manifest_rebuild(); -ENODATA: that is not it.
 */
int timeline_manifest_mend(struct timeline *tl, struct timeline_remade *out, char *why);

/**
 * timeline_manifest_rebuild - make and name it; durable when it returns
 * @tl: of a writer that has the lock; its manifest could not be opened
 * @unpromoted: the operator says that no branch has become the main line
 * @out: what was done, and what is not known any more
 * @why: out on failure, TIMELINE_TEXT_BYTES
 *
 * A crash at any moment leaves the old manifest, or the new one. The old is manifest.damaged then.
 * Return: 0; -EUCLEAN it cannot be, or not without guessing: nothing was changed; -ENODATA there
 * are no files to make it of, or the old one has no record that is damaged; -errno.
 */
int timeline_manifest_rebuild(struct timeline *tl, bool unpromoted, struct timeline_remade *out,
			      char *why);

#endif
