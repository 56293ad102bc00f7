/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * name - what a group or a volume may be called, for everybody who asks.
 *
 * Names become parts of paths, of log lines and of command lines.
 */
#ifndef BLKSHIP_NAME_H
#define BLKSHIP_NAME_H

#include <stdbool.h>

#define NAME_BYTES 32	/* with the NUL */

/**
 * name_valid - a letter, digit or '_', then those, '.' and '-'; 31 at most
 * @name: NUL-terminated, or a field of NAME_BYTES that may not be
 */
bool name_valid(const char *name);

#endif
