/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * helper - programs of others that go on when the command has ended: nbdkit, nbdfuse.
 *
 * Each has its files in the directory of the mapping it is for:
 *	NAME.proc	pid and start time, written by the process itself before it becomes
 *			the program: whatever happens to us, none is left that is not known
 *	NAME.pid	written by the program when it serves
 *	NAME.log	what it says
 */
#ifndef BLKSHIP_HELPER_H
#define BLKSHIP_HELPER_H

#include <stdbool.h>

#define HELPER_TEXT_BYTES 1024

/**
 * helper_start - start a program, and wait until it serves
 * @dir: of the mapping
 * @name: of its files
 * @argv: NULL-terminated; the program is looked for in PATH and writes @dir/NAME.pid
 * @writes_files: it has others to write than its log, whose length is bounded otherwise
 * @why: HELPER_TEXT_BYTES, filled on failure: the end of what it said
 * Return: 0; -errno, then it has ended.
 */
int helper_start(const char *dir, const char *name, char *const argv[], bool writes_files,
		 char *why);

/** helper_pid - the process while it lives; 0: it does not */
int helper_pid(const char *dir, const char *name);

/**
 * helper_stop - end it and wait until it has; 0 also when there is none; -errno
 * @patience_ms: after that it is killed
 */
int helper_stop(const char *dir, const char *name, int patience_ms);

#endif
