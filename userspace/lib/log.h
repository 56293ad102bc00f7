/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * log - one-line messages on standard error.
 *
 * A message says what failed, on what, why, what happens now and what to do. The
 * journal adds time and name; a level in angle brackets, as sd-daemon(3) has it,
 * is put in front when standard error is the journal's.
 */
#ifndef BLKSHIP_LOG_H
#define BLKSHIP_LOG_H

#define LOG_PRINTF __attribute__((format(printf, 1, 2)))

/** log_error - something is not done that should be; somebody has to look */
LOG_PRINTF void log_error(const char *format, ...);
/** log_warning - it works, but not as it should */
LOG_PRINTF void log_warning(const char *format, ...);
/** log_info - a step in the life of the daemon or a group; never per batch */
LOG_PRINTF void log_info(const char *format, ...);

#endif
