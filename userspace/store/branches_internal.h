/* SPDX-License-Identifier: GPL-2.0-only */
/* branches_internal - what branches.c and branch_promote.c share. */
#ifndef BLKSHIP_BRANCHES_INTERNAL_H
#define BLKSHIP_BRANCHES_INTERNAL_H

#include <stdint.h>

#include "../lib/env.h"
#include "timeline.h"

#define PATH_BYTES	4096

/** branch_complain - say @text of a branch; @why: TIMELINE_TEXT_BYTES. Return: @error */
int branch_complain(char *why, int error, const char *name, const char *text);

/**
 * branch_id - which one it is that has a directory now
 * @id: out
 * @why: out on failure, TIMELINE_TEXT_BYTES
 * Return: 0; -ENOENT there is none; -errno: its manifest cannot be read.
 */
int branch_id(struct env *env, const char *dir, uint8_t id[16], char *why);

#endif
